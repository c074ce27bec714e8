#![no_main]
mailwright_fuzz_targets::target!(deflate_layer);
