//! What a message says of its way so far, to find loops.

/// So many addresses are remembered; more is a loop that has other ends (RFC 5321 §6.3).
const MOST: usize = 100;
/// As long as an address may be (RFC 5321 §4.5.3.1), and blanks.
const LONGEST: usize = 400;

const RECEIVED: &[u8] = b"received:";
const DELIVERED_TO: &[u8] = b"delivered-to:";

/// Counts the `Received` fields of a message (RFC 5321 §6.3) and reads those of `Delivered-To` (RFC 9228) while it streams by.
#[derive(Debug, Default)]
pub(super) struct Hops {
    count: usize,
    delivered_to: Vec<String>,
    value: Vec<u8>,
    position: Position,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Position {
    /// Where a line begins.
    #[default]
    Start,
    /// This many octets of this field name were seen on a line, all of them right.
    Name(&'static [u8], usize),
    /// In an address.
    Value,
    /// In a line that is another field, or the rest of one.
    Line,
    /// Behind the header.
    Body,
}

impl Hops {
    /// Looks at the next part of the message.
    pub(super) fn push(&mut self, octets: &[u8]) {
        let mut rest = octets;
        while let Some((octet, behind)) = rest.split_first() {
            rest = behind;
            self.position = match (self.position, octet) {
                (Position::Body, _) => return,
                // An empty line ends the header. Its CR was taken for the start of another field.
                (Position::Start, b'\n') => Position::Body,
                (Position::Start, b'\r') => Position::Start,
                (Position::Start, b'r' | b'R') => Position::Name(RECEIVED, 1),
                (Position::Start, b'd' | b'D') => Position::Name(DELIVERED_TO, 1),
                (Position::Value, b'\n') => {
                    self.end_value();
                    Position::Start
                }
                (Position::Value, octet) => {
                    if self.value.len() <= LONGEST {
                        self.value.push(*octet);
                    }
                    Position::Value
                }
                (_, b'\n') => Position::Start,
                (Position::Name(name, seen), octet)
                    if name.get(seen) == Some(&octet.to_ascii_lowercase()) =>
                {
                    self.named(name, seen + 1)
                }
                _ => {
                    // Most of a header is lines of no interest.
                    let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                    rest = rest.get(end..).unwrap_or_default();
                    Position::Line
                }
            };
        }
    }

    fn named(&mut self, name: &'static [u8], seen: usize) -> Position {
        if seen < name.len() {
            return Position::Name(name, seen);
        }
        if name == DELIVERED_TO {
            return Position::Value;
        }
        self.count += 1;
        Position::Line
    }

    fn end_value(&mut self) {
        if self.value.len() <= LONGEST && self.delivered_to.len() < MOST {
            let value = String::from_utf8_lossy(&self.value);
            self.delivered_to.push(value.trim().trim_matches(['<', '>']).to_lowercase());
        }
        self.value.clear();
    }

    /// How many hosts it came through.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// The addresses that it was forwarded for already, in lower case.
    pub(super) fn delivered_to(self) -> Vec<String> {
        self.delivered_to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_fields_of_the_header_count() {
        let message = b"Received: a\r\n folded Received: no\r\nX-Received: b\r\nRECEIVED: c\r\nReceived : d\r\n\r\nReceived: e\r\n";
        for split in 1..message.len() {
            let mut counter = Hops::default();
            message.chunks(split).for_each(|chunk| counter.push(chunk));
            assert_eq!(counter.count(), 2, "pieces of {split}");
        }
    }

    #[test]
    fn the_fields_of_the_header_are_found_however_it_comes() {
        let long = "x".repeat(500);
        let message = format!(
            "Delivered-To: Ann@A.example\r\nSubject: x\r\n Delivered-To: folded@a.example\r\nX-Delivered-To: no@a.example\r\n\
             delivered-to:<bob@b.example> \r\nDelivered-To: {long}\r\n\r\nDelivered-To: body@a.example\r\n"
        );
        for split in 1..message.len() {
            let mut fields = Hops::default();
            message.as_bytes().chunks(split).for_each(|chunk| fields.push(chunk));
            assert_eq!(fields.delivered_to(), ["ann@a.example", "bob@b.example"], "pieces of {split}");
        }
    }

    #[test]
    fn no_more_are_kept_than_any_way_is_long() {
        let mut fields = Hops::default();
        (0..500).for_each(|_| fields.push(b"Delivered-To: a@b.example\r\n"));
        assert_eq!(fields.delivered_to().len(), MOST);
    }
}
