//! Who listens while a message is scanned.

use super::Part;

/// What is told of a message while it is scanned. Every method does nothing unless it is written.
///
/// Parts are named by their index in the [`Structure`](super::Structure) to come. Octets come in order, each once.
pub trait Sink {
    /// Whether [`field`](Self::field) wants every field. Asked once for each.
    fn wants_fields(&self) -> bool {
        false
    }

    /// A field of the header of a part, with its name and line breaks; cut at [`Limits::field`](super::Limits::field).
    fn field(&mut self, part: usize, field: &[u8]) {
        let _ = (part, field);
    }

    /// The header of a part has ended. The ranges of `details` are not known yet.
    fn header_end(&mut self, part: usize, details: &Part) {
        let _ = (part, details);
    }

    /// Octets of the body of a part that holds no part at this place; of a multipart, what stands before its
    /// first part or after its last.
    fn body(&mut self, part: usize, octets: &[u8]) {
        let _ = (part, octets);
    }

    /// The body of a part has ended.
    fn part_end(&mut self, part: usize) {
        let _ = part;
    }
}

/// Tells nobody.
impl Sink for () {}
