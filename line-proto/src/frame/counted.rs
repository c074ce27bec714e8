//! Bodies whose length was said before: IMAP literals and BDAT chunks.

use bytes::{Bytes, BytesMut};

/// Takes a body of a known length from the front of a buffer, as slices of it.
///
/// ```
/// use bytes::BytesMut;
/// use mailwright_line_proto::frame::Counted;
///
/// let mut literal = Counted::new(6);
/// let mut rx = BytesMut::from("hel");
/// assert_eq!(literal.next(&mut rx).as_deref(), Some(&b"hel"[..]));
/// assert_eq!(literal.next(&mut rx), None);
/// rx.extend_from_slice(b"lo!)\r\n");
/// assert_eq!(literal.next(&mut rx).as_deref(), Some(&b"lo!"[..]));
/// assert!(literal.is_done());
/// assert_eq!(&rx[..], b")\r\n");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    remaining: u64,
}

impl Counted {
    /// A body of `length` octets.
    pub fn new(length: u64) -> Self {
        Self { remaining: length }
    }

    /// The next slice of the body: all that is there and belongs to it. `None` if nothing is.
    pub fn next(&mut self, rx: &mut BytesMut) -> Option<Bytes> {
        let take = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(rx.len());
        if take == 0 {
            return None;
        }
        self.remaining -= take as u64;
        Some(rx.split_to(take).freeze())
    }

    /// How many octets are still to come.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Whether the whole body was taken.
    pub fn is_done(&self) -> bool {
        self.remaining == 0
    }
}
