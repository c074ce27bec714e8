#![no_main]
mailwright_fuzz_targets::target!(frame_dot);
