#![no_main]
mailwright_fuzz_targets::target!(sieve_compare);
