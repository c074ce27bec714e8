//! Picks whole fields out of a header that comes in pieces, within bounds.

use memchr::memchr;

use super::Limits;

/// How many octets of a line are looked at for the colon after a name; no name of interest is as long.
const NAME: usize = 128;

/// How much room of a field is kept for the next one.
const KEPT: usize = 2_048;

/// Collects one field at a time and says when it is whole. Lines are told apart by the caller.
#[derive(Clone, Debug, Default)]
pub(super) struct FieldReader {
    /// The field so far, with its line breaks.
    field: Vec<u8>,
    keep: Keep,
    /// Fields and octets of this header so far.
    fields: usize,
    octets: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Keep {
    /// The name is not whole yet.
    Undecided,
    Yes,
    #[default]
    No,
}

impl FieldReader {
    /// A line begins, with this octet; gives the field that ended before it.
    pub(super) fn begin_line(&mut self, first: u8, limits: &Limits) -> Option<Vec<u8>> {
        if matches!(first, b' ' | b'\t') {
            return None;
        }
        let field = self.take();
        self.fields += 1;
        let over = self.fields > limits.fields || self.octets > limits.header;
        self.keep = if over { Keep::No } else { Keep::Undecided };
        field
    }

    /// Octets of the line that began; `wanted` decides by the name of a field.
    pub(super) fn push(&mut self, bytes: &[u8], limits: &Limits, wanted: impl Fn(&[u8]) -> bool) {
        self.octets = self.octets.saturating_add(bytes.len());
        let mut rest = bytes;
        if self.keep == Keep::Undecided {
            let room = NAME.saturating_sub(self.field.len()).min(rest.len());
            let (head, tail) = rest.split_at_checked(room).unwrap_or_default();
            self.field.extend_from_slice(head);
            rest = tail;
            if let Some(name) = memchr(b':', &self.field).and_then(|colon| self.field.get(..colon)) {
                self.keep = if wanted(name.trim_ascii_end()) { Keep::Yes } else { Keep::No };
            } else if self.field.len() >= NAME || self.field.ends_with(b"\n") {
                self.keep = Keep::No;
            }
        }
        match self.keep {
            Keep::Yes => {
                self.field.truncate(limits.field);
                let room = limits.field.saturating_sub(self.field.len()).min(rest.len());
                self.field.extend_from_slice(rest.get(..room).unwrap_or_default());
            }
            Keep::No => self.field.clear(),
            Keep::Undecided => {}
        }
    }

    /// Takes back what held a field, for the next one.
    pub(super) fn reuse(&mut self, mut field: Vec<u8>) {
        // A long one is not kept: there may be a header a part.
        if self.field.capacity() == 0 && field.capacity() <= KEPT {
            field.clear();
            self.field = field;
        }
    }

    /// The octets held at this moment.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.field.capacity()
    }

    /// The header has ended; gives its last field.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        if std::mem::take(&mut self.keep) == Keep::Yes {
            return Some(std::mem::take(&mut self.field));
        }
        self.field.clear();
        None
    }
}
