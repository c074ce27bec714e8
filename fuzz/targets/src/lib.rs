//! Wraps a function of `mailwright_fuzz` for libFuzzer.

#[doc(hidden)]
pub use libfuzzer_sys;
#[doc(hidden)]
pub use mailwright_fuzz;

/// The whole of a binary in `src/bin/`, named like the function it runs.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        use $crate::libfuzzer_sys;
        libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::mailwright_fuzz::$name(data));
    };
}
