//! Benchmarks of the mailwright family.
