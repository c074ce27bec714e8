//! How a store finds out about messages again that it knows something about already.

use crate::Summary;

/// Finds out about one message, from its octets as they come, in pieces of any size.
pub trait Describe: Send {
    /// The next octets.
    fn push(&mut self, octets: &[u8]);

    /// What is to be kept of the message, the same for the same octets however they came.
    fn finish(self: Box<Self>) -> Summary;
}

/// Who finds out what is kept of messages ([`Summary`]), for a store that is to look whether what it keeps is still what would be found.
///
/// ```
/// use mailwright_mailstore::{Describe, Describer, Summary};
///
/// #[derive(Default)]
/// struct Length(u64);
///
/// impl Describe for Length {
///     fn push(&mut self, octets: &[u8]) {
///         self.0 += octets.len() as u64;
///     }
///
///     fn finish(self: Box<Self>) -> Summary {
///         Summary::new(self.0.to_string().into(), "".into())
///     }
/// }
///
/// let describer = Describer::new(1, || Box::new(Length::default()));
/// let mut message = describer.begin();
/// message.push(b"Subject: hi\r\n\r\n");
/// assert_eq!(message.finish().envelope, "15");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Describer {
    version: u32,
    begin: fn() -> Box<dyn Describe>,
}

impl Describer {
    /// One of this version, which rises whenever something else is found of the same octets.
    pub const fn new(version: u32, begin: fn() -> Box<dyn Describe>) -> Self {
        Self { version, begin }
    }

    /// Its version.
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// Begins with a message.
    pub fn begin(&self) -> Box<dyn Describe> {
        (self.begin)()
    }
}
