//! UIDL: the lasting name of one message or of all.

use std::num::NonZeroU32;

use mailwright_line_proto::Request;

use super::Command;
use crate::{Refusal, UniqueId, grammar};

/// Asks for the unique id of a message, or of every message that is not marked deleted (RFC 1939 §7).
///
/// Each comes as an [`Identified`] of its own, then the answer: how many there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uidl(
    /// The message's number, or all of them.
    pub Option<NonZeroU32>,
);

impl Uidl {
    pub(crate) fn encode(self) -> String {
        match self.0 {
            Some(number) => format!("UIDL {number}"),
            None => "UIDL".to_owned(),
        }
    }
}

impl Request for Uidl {
    type Answer = Result<u32, Refusal>;
}

/// A unique-id listing (RFC 1939 §7): one message's number and id.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identified {
    /// The message's number.
    pub number: NonZeroU32,
    /// Its id, the same in every session.
    pub unique_id: UniqueId,
}

impl Identified {
    /// What is sent of a message whose id is known to be one.
    pub(crate) fn encode(number: NonZeroU32, unique_id: &str) -> String {
        format!("{number} {unique_id}")
    }

    /// Reads a unique-id listing. RFC 1939 allows more behind it.
    pub(crate) fn decode(text: &[u8]) -> Option<Self> {
        let mut fields = grammar::fields(text);
        let number = grammar::whole_number(fields.next()?).and_then(NonZeroU32::new)?;
        let unique_id = UniqueId::new(std::str::from_utf8(fields.next()?).ok()?).ok()?;
        Some(Self { number, unique_id })
    }
}

pub(super) fn parse(arguments: Option<&[u8]>) -> Option<Command> {
    let number = arguments.map(|text| grammar::message_number(text).ok_or(())).transpose().ok()?;
    Some(Command::Uidl(Uidl(number)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::command::parse_line;

    #[test]
    fn reads_unique_id_listings_and_nothing_else() {
        for good in ["1 abc", "  1   abc ", "1\tabc", "1 abc more"] {
            assert_eq!(Identified::decode(good.as_bytes()).unwrap().unique_id.as_str(), "abc", "{good:?}");
        }
        for bad in ["", "1", "0 abc", "x abc", "1 \u{e9}", &format!("1 {}", "x".repeat(71))] {
            assert_eq!(Identified::decode(bad.as_bytes()), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn survives_the_wire(number: u32, id in "[!-~]{1,70}") {
            let uidl = Uidl(NonZeroU32::new(number));
            prop_assert_eq!(parse_line(uidl.encode().as_bytes()), Some(Command::Uidl(uidl)));
            let line = Identified::encode(NonZeroU32::MIN, &id);
            let found = Identified::decode(line.as_bytes()).unwrap();
            prop_assert_eq!(found.unique_id.as_str(), id);
        }
    }
}
