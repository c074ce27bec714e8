//! Which recipients a message was forwarded for already.

/// So many of them are remembered; more is a loop that has other ends (RFC 5321 §6.3).
const MOST: usize = 100;
/// As long as an address may be (RFC 5321 §4.5.3.1), and blanks.
const LONGEST: usize = 400;
const NAME: &[u8] = b"delivered-to:";

/// Reads the `Delivered-To` fields (RFC 9228) of a message while it streams by.
#[derive(Debug, Default)]
pub(super) struct DeliveredTo {
    found: Vec<String>,
    value: Vec<u8>,
    position: Position,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// This many octets of the field name were seen on a line, all of them right.
    Name(usize),
    Value,
    /// In a line that is another field, or the rest of one.
    Line,
    /// Behind the header.
    Body,
}

impl Default for Position {
    fn default() -> Self {
        Self::Name(0)
    }
}

impl DeliveredTo {
    /// Looks at the next part of the message.
    pub(super) fn push(&mut self, octets: &[u8]) {
        for octet in octets {
            self.position = match (self.position, octet) {
                (Position::Body, _) => return,
                // An empty line ends the header. Its CR was taken for the start of another field.
                (Position::Name(0), b'\n') => Position::Body,
                (Position::Name(0), b'\r') => Position::Name(0),
                (Position::Value, b'\n') => {
                    self.end_value();
                    Position::Name(0)
                }
                (Position::Value, octet) => {
                    if self.value.len() <= LONGEST {
                        self.value.push(*octet);
                    }
                    Position::Value
                }
                (_, b'\n') => Position::Name(0),
                (Position::Name(seen), octet) if NAME.get(seen) == Some(&octet.to_ascii_lowercase()) => {
                    if seen + 1 == NAME.len() {
                        Position::Value
                    } else {
                        Position::Name(seen + 1)
                    }
                }
                _ => Position::Line,
            };
        }
    }

    fn end_value(&mut self) {
        if self.value.len() <= LONGEST && self.found.len() < MOST {
            let value = String::from_utf8_lossy(&self.value);
            self.found.push(value.trim().trim_matches(['<', '>']).to_lowercase());
        }
        self.value.clear();
    }

    /// The addresses, in lower case.
    pub(super) fn finish(self) -> Vec<String> {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_the_header_are_found_however_it_comes() {
        let long = "x".repeat(500);
        let message = format!(
            "Delivered-To: Ann@A.example\r\nSubject: x\r\n Delivered-To: folded@a.example\r\nX-Delivered-To: no@a.example\r\n\
             delivered-to:<bob@b.example> \r\nDelivered-To: {long}\r\n\r\nDelivered-To: body@a.example\r\n"
        );
        for split in 1..message.len() {
            let mut fields = DeliveredTo::default();
            message.as_bytes().chunks(split).for_each(|chunk| fields.push(chunk));
            assert_eq!(fields.finish(), ["ann@a.example", "bob@b.example"], "pieces of {split}");
        }
    }

    #[test]
    fn no_more_are_kept_than_any_way_is_long() {
        let mut fields = DeliveredTo::default();
        (0..500).for_each(|_| fields.push(b"Delivered-To: a@b.example\r\n"));
        assert_eq!(fields.finish().len(), MOST);
    }
}
