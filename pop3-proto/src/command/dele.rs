//! DELE: marks one message.

use std::num::NonZeroU32;

use mailwright_line_proto::Request;

use super::Command;
use crate::{Refusal, grammar};

/// Marks a message as deleted; it goes with QUIT (RFC 1939 §5, §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dele(
    /// The message's number.
    pub NonZeroU32,
);

impl Dele {
    pub(crate) fn encode(self) -> String {
        format!("DELE {}", self.0)
    }
}

impl Request for Dele {
    type Answer = Result<(), Refusal>;
}

pub(super) fn parse(arguments: Option<&[u8]>) -> Option<Command> {
    grammar::message_number(arguments?).map(|number| Command::Dele(Dele(number)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::command::parse_line;

    proptest! {
        #[test]
        fn survives_the_wire(number in 1_u32..) {
            let dele = Dele(NonZeroU32::new(number).unwrap());
            prop_assert_eq!(parse_line(dele.encode().as_bytes()), Some(Command::Dele(dele)));
        }
    }
}
