//! LIST: the size of one message or of all.

use std::num::NonZeroU32;

use mailwright_line_proto::Request;

use super::Command;
use crate::{Refusal, grammar};

/// Asks for the size of a message, or of every message that is not marked deleted (RFC 1939 §5).
///
/// Each comes as a [`Listed`] of its own, then the answer: how many there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct List(
    /// The message's number, or all of them.
    pub Option<NonZeroU32>,
);

impl List {
    pub(crate) fn encode(self) -> String {
        match self.0 {
            Some(number) => format!("LIST {number}"),
            None => "LIST".to_owned(),
        }
    }
}

impl Request for List {
    type Answer = Result<u32, Refusal>;
}

/// A scan listing (RFC 1939 §5): one message's number and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// The message's number.
    pub number: NonZeroU32,
    /// Its size, as the server believes it is.
    pub octets: u64,
}

impl Listed {
    pub(crate) fn new(number: NonZeroU32, octets: u64) -> Self {
        Self { number, octets }
    }

    pub(crate) fn encode(self) -> String {
        format!("{} {}", self.number, self.octets)
    }

    /// Reads a scan listing. RFC 1939 allows more behind it.
    pub(crate) fn decode(text: &[u8]) -> Option<Self> {
        let mut fields = grammar::fields(text);
        let number = grammar::whole_number(fields.next()?).and_then(NonZeroU32::new)?;
        let octets = grammar::whole_number(fields.next()?)?;
        Some(Self { number, octets })
    }
}

pub(super) fn parse(arguments: Option<&[u8]>) -> Option<Command> {
    let number = arguments.map(|text| grammar::message_number(text).ok_or(())).transpose().ok()?;
    Some(Command::List(List(number)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::command::parse_line;

    #[test]
    fn reads_scan_listings_and_nothing_else() {
        for good in ["1 120", " 1  120 ", "1\t120", "1 120 more"] {
            assert_eq!(Listed::decode(good.as_bytes()), Some(Listed::new(NonZeroU32::MIN, 120)), "{good:?}");
        }
        for bad in ["", "1", "0 120", "x 120", "1 x", "1 -1"] {
            assert_eq!(Listed::decode(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(parse_line(b"LIST 0"), None);
        assert_eq!(parse_line(b"LIST "), None);
    }

    proptest! {
        #[test]
        fn survives_the_wire(number: u32, octets: u64) {
            let list = List(NonZeroU32::new(number));
            prop_assert_eq!(parse_line(list.encode().as_bytes()), Some(Command::List(list)));
            let listed = Listed::new(list.0.unwrap_or(NonZeroU32::MIN), octets);
            prop_assert_eq!(Listed::decode(listed.encode().as_bytes()), Some(listed));
        }
    }
}
