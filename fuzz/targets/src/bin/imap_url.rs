#![no_main]
mailwright_fuzz_targets::target!(imap_url);
