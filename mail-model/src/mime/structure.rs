//! The tree of parts of a message, flat in one list.

use std::ops::Range;

use super::{Content, Scanner};
use crate::Envelope;

/// The parts of a message and where they stand.
///
/// Parts lie in one list, each before the parts it contains; the first is the message itself. So nothing here
/// recurses, however deep the message is.
///
/// ```
/// use mailwright_mail_model::mime::Structure;
///
/// let message = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b--\r\n";
/// let structure = Structure::of(message);
/// let text = structure.children(0).next().ok_or("no part")?;
/// let body = structure.part(text).ok_or("no part")?.body();
/// assert_eq!(body, 52..57);
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Structure {
    /// Never empty.
    pub(super) parts: Vec<Part>,
}

/// What a part holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shape {
    /// Data. Also a multipart or message that could not be, or was not to be, looked into.
    #[default]
    Leaf,
    /// At least one part.
    Multipart,
    /// Exactly one part: the header and body of another message.
    Message,
}

/// A part of a message: its header, its body, and what the header says of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub(super) parent: Option<u32>,
    /// The index behind the last part in this one.
    pub(super) after: u32,
    pub(super) shape: Shape,
    pub(super) start: u64,
    pub(super) header_octets: u64,
    pub(super) body_octets: u64,
    pub(super) lines: u64,
    pub(super) content: Content,
    pub(super) envelope: Option<Box<Envelope>>,
}

impl Structure {
    /// The structure of a message that is all in memory. Within the default limits.
    pub fn of(message: &[u8]) -> Self {
        let mut scanner = Scanner::new();
        scanner.push(message);
        scanner.finish()
    }

    /// The part at an index below [`len`](Self::len); 0 is the message.
    pub fn part(&self, index: usize) -> Option<&Part> {
        self.parts.get(index)
    }

    /// How many parts there are, the message itself included; at least 1.
    pub const fn len(&self) -> usize {
        self.parts.len()
    }

    /// Always `false`: a message is a part, even if it has no octets.
    pub const fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Every part, containers before what they contain.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = &Part> {
        self.parts.iter()
    }

    /// The indexes of the parts directly in the part at `index`, in order.
    pub fn children(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        let after = self.parts.get(index).map_or(0, |part| part.after as usize);
        std::iter::successors(Some(index + 1), |child| self.parts.get(*child).map(|part| part.after as usize))
            .take_while(move |child| *child < after)
    }

    /// The octets of the message.
    pub fn octets(&self) -> u64 {
        self.parts.first().map_or(0, |part| part.body().end)
    }
}

impl Part {
    /// The index of the part this one is in; `None` for the message itself.
    pub fn parent(&self) -> Option<usize> {
        self.parent.map(|parent| parent as usize)
    }

    /// What the part holds.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// Where the header stands in the message, with the empty line that ends it.
    pub const fn header(&self) -> Range<u64> {
        self.start..self.start + self.header_octets
    }

    /// Where the body stands in the message, without the line break that belongs to the boundary after it.
    pub const fn body(&self) -> Range<u64> {
        let start = self.start + self.header_octets;
        start..start + self.body_octets
    }

    /// How many line breaks the body has.
    pub const fn lines(&self) -> u64 {
        self.lines
    }

    /// What the header says of the body.
    pub const fn content(&self) -> &Content {
        &self.content
    }

    /// The envelope, if the part is a message: the one at index 0, or the one in a [`Shape::Message`].
    pub fn envelope(&self) -> Option<&Envelope> {
        self.envelope.as_deref()
    }
}
