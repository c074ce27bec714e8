//! Standard output of commands: whoever reads it may stop reading, as `head` does, and that is no reason to panic, which the macros of the
//! standard library do.

use std::{
    fmt,
    io::{self, Write},
    process,
};

/// What a shell says of a program that SIGPIPE has ended.
const BROKEN_PIPE: i32 = 128 + 13;

/// As the one of the standard library.
macro_rules! print {
    ($($part:tt)*) => { $crate::output::write(format_args!($($part)*)) };
}

/// As the one of the standard library.
macro_rules! println {
    () => { $crate::output::write(format_args!("\n")) };
    ($($part:tt)*) => { $crate::output::write(format_args!("{}\n", format_args!($($part)*))) };
}

/// Writes to standard output. If nobody reads it the process ends without a word, and if it cannot be written with one.
pub(crate) fn write(text: fmt::Arguments<'_>) {
    match io::stdout().lock().write_fmt(text) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => process::exit(BROKEN_PIPE),
        Err(error) => {
            eprintln!("mailwrightd: cannot write to standard output: {error}");
            process::exit(1);
        }
    }
}
