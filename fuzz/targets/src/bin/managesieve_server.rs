#![no_main]
mailwright_fuzz_targets::target!(managesieve_server);
