//! TOP: the header of a message and the first lines of its body.

use std::num::NonZeroU32;

use mailwright_line_proto::Request;

use super::Command;
use crate::{Refusal, grammar};

/// Asks for the header of a message, the empty line, and so many lines of its body (RFC 1939 §7). If it is granted,
/// they follow as a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "RFC 1939 has two arguments and always will")]
pub struct Top {
    /// The message's number.
    pub number: NonZeroU32,
    /// How many lines of its body.
    pub lines: u32,
}

impl Top {
    pub(crate) fn encode(self) -> String {
        format!("TOP {} {}", self.number, self.lines)
    }
}

impl Request for Top {
    type Answer = Result<(), Refusal>;
}

pub(super) fn parse(arguments: Option<&[u8]>) -> Option<Command> {
    let (number, lines) = grammar::message_number_and_lines(arguments?)?;
    Some(Command::Top(Top { number, lines }))
}

/// Finds in a message that comes in pieces where its top ends.
#[derive(Debug, Clone)]
pub(crate) struct Cut {
    /// How many lines of the body are still wanted.
    lines: u32,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the header: nothing of the line was seen yet.
    LineStart,
    /// In the header: a CR is all that was seen of the line.
    Cr,
    /// In the header: within a line that is not empty.
    Line,
    Body,
}

impl Cut {
    pub(crate) fn new(lines: u32) -> Self {
        Self { lines, place: Place::LineStart }
    }

    /// How many octets of the next piece belong to the top, and whether it ends with them.
    pub(crate) fn take(&mut self, piece: &[u8]) -> (usize, bool) {
        let mut taken = 0;
        while let Some(rest) = piece.get(taken..).filter(|_| !self.is_complete()) {
            let Some(at) = memchr::memchr(b'\n', rest) else {
                self.partial_line(rest);
                return (piece.len(), false);
            };
            let line = rest.get(..at).unwrap_or_default();
            taken += at + 1;
            self.place = match (self.place, line) {
                (Place::Body, _) => {
                    self.lines -= 1;
                    Place::Body
                }
                (Place::LineStart, [] | [b'\r']) | (Place::Cr, []) => Place::Body,
                _ => Place::LineStart,
            };
        }
        (taken, true)
    }

    /// What a header that ends here lacks to the end of its last line.
    pub(crate) fn line_end(&self) -> &'static [u8] {
        match self.place {
            Place::LineStart | Place::Body => b"",
            Place::Cr => b"\n",
            Place::Line => b"\r\n",
        }
    }

    fn is_complete(&self) -> bool {
        self.place == Place::Body && self.lines == 0
    }

    fn partial_line(&mut self, line: &[u8]) {
        self.place = match (self.place, line) {
            (place, []) => place,
            (Place::Body, _) => Place::Body,
            (Place::LineStart, [b'\r']) => Place::Cr,
            _ => Place::Line,
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::command::parse_line;

    fn top(message: &str, lines: u32, split: usize) -> (String, bool) {
        let (mut cut, mut found) = (Cut::new(lines), String::new());
        for piece in message.as_bytes().chunks(split) {
            let (taken, ends) = cut.take(piece);
            found.push_str(std::str::from_utf8(&piece[..taken]).unwrap());
            if ends {
                return (found, true);
            }
        }
        (found, false)
    }

    #[test]
    fn cuts_behind_the_lines() {
        let message = "A: b\r\n\tc\r\nD: e\r\n\r\none\r\n\r\nthree\r\nfour";
        for (lines, end, ends) in [
            (0, "e\r\n\r\n", true),
            (1, "one\r\n", true),
            (2, "one\r\n\r\n", true),
            (3, "three\r\n", true),
            (4, "four", false),
            (u32::MAX, "four", false),
        ] {
            for split in 1..=message.len() {
                let (found, ended) = top(message, lines, split);
                assert!(message.starts_with(&found) && found.ends_with(end), "{lines} by {split}: {found:?}");
                assert_eq!(ended, ends, "{lines} by {split}");
            }
        }
    }

    #[test]
    fn knows_odd_messages() {
        for (message, lines, expected) in [
            ("\r\nbody\r\n", 0, "\r\n"),
            ("\nbody\nmore\n", 1, "\nbody\n"),
            ("A: b\n\nbody\n", 0, "A: b\n\n"),
            ("A: b", 0, "A: b"),
            ("A: b\r\n", 7, "A: b\r\n"),
            ("A: b\r\n\rC\r\n\r\nx", 0, "A: b\r\n\rC\r\n\r\n"),
            ("A: b\r\n\r\r\nx\r\n\r\n", 0, "A: b\r\n\r\r\nx\r\n\r\n"),
        ] {
            for split in 1..=message.len() {
                assert_eq!(top(message, lines, split).0, expected, "{message:?} by {split}");
            }
        }
    }

    proptest! {
        #[test]
        fn survives_the_wire(number in 1_u32.., lines: u32) {
            let top = Top { number: NonZeroU32::new(number).unwrap(), lines };
            prop_assert_eq!(parse_line(top.encode().as_bytes()), Some(Command::Top(top)));
        }
    }
}
