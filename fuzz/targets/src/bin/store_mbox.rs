#![no_main]
mailwright_fuzz_targets::target!(store_mbox);
