#![no_main]
mailwright_fuzz_targets::target!(smtp_seven_bit);
