//! The structure of a message: its parts and where they stand, found while the message streams by.
//!
//! A [`Scanner`] reads a message once, in pieces of any size, and gives its [`Structure`]: the tree of
//! parts with octet ranges, line counts and what their headers say. A [`Section`] names a piece of a message
//! as IMAP does and is turned into a range by [`Structure::locate`]. Bodies are never held. Whatever is
//! malformed or over the [`Limits`] makes the tree smaller, never the scan fail.

mod boundaries;
mod content;
mod field_reader;
mod parameters;
mod scanner;
mod section;
mod sink;
mod structure;
mod wire;

#[cfg(test)]
mod tests;

pub use content::{Content, Disposition, MediaType};
pub use parameters::Parameter;
pub use scanner::Scanner;
pub use section::{Section, SectionError, SectionText};
pub use sink::Sink;
pub use structure::{Part, Shape, Structure};
pub use wire::StructureError;
pub(crate) use wire::{Reader, Writer};

/// How much of a message is interpreted. What is over a limit stays in the ranges but is not looked into.
///
/// ```
/// use mailwright_mail_model::mime::Limits;
///
/// let mut limits = Limits::default();
/// limits.parts = 100;
/// assert_eq!(limits.depth, Limits::DEPTH);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// How deep parts may lie in parts; a container at this depth is a leaf. Values above [`Limits::DEPTH`] count
    /// as that.
    pub depth: usize,
    /// How many parts are told apart, at least 1; the last one takes all that follows.
    pub parts: usize,
    /// The longest boundary, in octets, at most [`Limits::BOUNDARY`]; a multipart with a longer one is a leaf.
    pub boundary: usize,
    /// Octets of one header field that are read; the rest of the field is not.
    pub field: usize,
    /// Octets of the header of one part; later fields are not read. Also what is kept of all headers together, in
    /// octets and 128 for each address and parameter.
    pub header: usize,
    /// Fields of the header of one part; later fields are not read.
    pub fields: usize,
    /// Parameters of one field; later ones are not read.
    pub parameters: usize,
}

impl Limits {
    /// The default and highest depth of parts, and so of IMAP section numbers.
    pub const DEPTH: usize = 100;
    /// The default number of parts.
    pub const PARTS: usize = 10_000;
    /// The default and highest length of a boundary in octets. RFC 2046 §5.1.1 allows 70; some senders use more.
    pub const BOUNDARY: usize = 80;
    /// The default length of a field in octets.
    pub const FIELD: usize = 1 << 20;
    /// The default length of a header in octets.
    pub const HEADER: usize = 10 << 20;
    /// The default number of fields.
    pub const FIELDS: usize = 10_000;
    /// The default number of parameters.
    pub const PARAMETERS: usize = 128;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: Self::DEPTH,
            parts: Self::PARTS,
            boundary: Self::BOUNDARY,
            field: Self::FIELD,
            header: Self::HEADER,
            fields: Self::FIELDS,
            parameters: Self::PARAMETERS,
        }
    }
}
