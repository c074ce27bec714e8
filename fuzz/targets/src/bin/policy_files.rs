#![no_main]
mailwright_fuzz_targets::target!(policy_files);
