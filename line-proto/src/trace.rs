//! Watching a session without learning its secrets.

use std::fmt;

/// One line of a session, as the machine saw it: secrets are left out before the callback is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Traced<'a> {
    /// A line from the peer, without its line end.
    Received(&'a [u8]),
    /// A line to the peer, without its line end.
    Sent(&'a [u8]),
    /// A line from the peer that holds a secret; what kind is said.
    ReceivedSecret(&'static str),
    /// A line to the peer that holds a secret.
    SentSecret(&'static str),
}

/// The callback of a machine that wants to be watched. Does nothing by default.
///
/// Only the machine knows which line is a password, so it decides what is secret.
#[derive(Default)]
pub struct Trace(Option<Callback>);

type Callback = Box<dyn FnMut(Traced<'_>) + Send>;

impl Trace {
    /// Calls `callback` for every line.
    pub fn new(callback: impl FnMut(Traced<'_>) + Send + 'static) -> Self {
        Self(Some(Box::new(callback)))
    }

    /// Reports a line; free of cost if nobody watches.
    pub fn line(&mut self, traced: Traced<'_>) {
        if let Some(callback) = &mut self.0 {
            callback(traced);
        }
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "Trace(on)" } else { "Trace(off)" })
    }
}
