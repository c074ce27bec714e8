#![no_main]
mailwright_fuzz_targets::target!(model_names);
