//! RETR: one message, whole.

use std::num::NonZeroU32;

use mailwright_line_proto::Request;

use super::Command;
use crate::{Refusal, grammar};

/// Asks for a message (RFC 1939 §5). If it is granted, its body follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retr(
    /// The message's number.
    pub NonZeroU32,
);

impl Retr {
    pub(crate) fn encode(self) -> String {
        format!("RETR {}", self.0)
    }
}

impl Request for Retr {
    type Answer = Result<(), Refusal>;
}

pub(super) fn parse(arguments: Option<&[u8]>) -> Option<Command> {
    grammar::message_number(arguments?).map(|number| Command::Retr(Retr(number)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::command::parse_line;

    proptest! {
        #[test]
        fn survives_the_wire(number in 1_u32..) {
            let retr = Retr(NonZeroU32::new(number).unwrap());
            prop_assert_eq!(parse_line(retr.encode().as_bytes()), Some(Command::Retr(retr)));
        }
    }
}
