//! The reference mail server.
fn main() {}
