//! STAT: how much there is.

use mailwright_line_proto::Request;

use super::Command;
use crate::{Refusal, grammar};

/// Asks how many messages there are and how large they are together (RFC 1939 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat;

impl Stat {
    pub(crate) const LINE: &'static [u8] = b"STAT";
}

impl Request for Stat {
    type Answer = Result<Totals, Refusal>;
}

/// The messages of a maildrop that are not marked deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Totals {
    /// How many there are.
    pub messages: u32,
    /// Their sizes together.
    pub octets: u64,
}

impl Totals {
    pub(crate) fn new(messages: u32, octets: u64) -> Self {
        Self { messages, octets }
    }

    /// The drop listing (RFC 1939 §5): what stands behind `+OK`.
    pub(crate) fn encode(self) -> String {
        format!("{} {}", self.messages, self.octets)
    }

    /// For people: `2 messages (320 octets)`.
    pub(crate) fn describe(self) -> String {
        let plural = if self.messages == 1 { "" } else { "s" };
        format!("{} message{plural} ({} octets)", self.messages, self.octets)
    }

    /// Reads a drop listing. RFC 1939 allows more behind it.
    pub(crate) fn decode(text: &[u8]) -> Option<Self> {
        let mut fields = grammar::fields(text);
        let messages = grammar::whole_number(fields.next()?)?;
        let octets = grammar::whole_number(fields.next()?)?;
        Some(Self { messages, octets })
    }
}

pub(super) fn parse(arguments: Option<&[u8]>) -> Option<Command> {
    arguments.is_none().then_some(Command::Stat(Stat))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_drop_listings_and_nothing_else() {
        let two = Some(Totals::new(2, 320));
        for good in ["2 320", "2\t320", "2   320 octets", "2 320 (more)"] {
            assert_eq!(Totals::decode(good.as_bytes()), two, "{good:?}");
        }
        for bad in ["", "2", "two 320", "-2 320", "2 320x", "2 18446744073709551616"] {
            assert_eq!(Totals::decode(bad.as_bytes()), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn survives_the_wire(messages: u32, octets: u64) {
            let totals = Totals::new(messages, octets);
            prop_assert_eq!(Totals::decode(totals.encode().as_bytes()), Some(totals));
        }
    }
}
