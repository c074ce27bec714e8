//! Counting hops, to find loops.

/// Counts the Received fields of a message while it streams by (RFC 5321 §6.3).
#[derive(Debug, Default)]
pub(super) struct HopCounter {
    hops: usize,
    position: Position,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// This many octets of the field name were seen on a line, all of them right.
    Name(usize),
    /// In a line that is another field, or the rest of this one.
    Line,
    /// Behind the header.
    Body,
}

impl Default for Position {
    fn default() -> Self {
        Self::Name(0)
    }
}

const NAME: &[u8] = b"received:";

impl HopCounter {
    /// Looks at the next part of the message.
    pub(super) fn push(&mut self, octets: &[u8]) {
        for octet in octets {
            self.position = match (self.position, octet) {
                (Position::Body, _) => return,
                // An empty line ends the header. Its CR was taken for the start of another field.
                (Position::Name(0), b'\n') => Position::Body,
                (Position::Name(0), b'\r') => Position::Name(0),
                (_, b'\n') => Position::Name(0),
                (Position::Name(seen), octet) if NAME.get(seen) == Some(&octet.to_ascii_lowercase()) => {
                    if seen + 1 == NAME.len() {
                        self.hops += 1;
                        Position::Line
                    } else {
                        Position::Name(seen + 1)
                    }
                }
                _ => Position::Line,
            };
        }
    }

    /// How many there were so far.
    pub(super) fn hops(&self) -> usize {
        self.hops
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_fields_of_the_header_count() {
        let message = b"Received: a\r\n folded Received: no\r\nX-Received: b\r\nRECEIVED: c\r\nReceived : d\r\n\r\nReceived: e\r\n";
        for split in 1..message.len() {
            let mut counter = HopCounter::default();
            message.chunks(split).for_each(|chunk| counter.push(chunk));
            assert_eq!(counter.hops(), 2, "pieces of {split}");
        }
    }
}
