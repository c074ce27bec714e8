#![no_main]
mailwright_fuzz_targets::target!(auth_proxy);
