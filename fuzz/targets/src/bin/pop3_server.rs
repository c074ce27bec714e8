#![no_main]
mailwright_fuzz_targets::target!(pop3_server);
