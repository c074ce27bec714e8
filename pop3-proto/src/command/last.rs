//! LAST: the highest message that was looked at.

use mailwright_line_proto::Request;

use super::Command;
use crate::{Refusal, grammar};

/// Asks for the highest number of a message that was retrieved in this session, 0 if none was (RFC 1460 §5; RFC 1725 took
/// the command away again).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Last;

impl Last {
    pub(crate) const LINE: &'static [u8] = b"LAST";

    /// Reads the server's number.
    pub(crate) fn decode(text: &[u8]) -> Option<u32> {
        grammar::fields(text).next().and_then(grammar::whole_number)
    }
}

impl Request for Last {
    type Answer = Result<u32, Refusal>;
}

pub(super) fn parse(arguments: Option<&[u8]>) -> Option<Command> {
    arguments.is_none().then_some(Command::Last(Last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_number_and_nothing_else() {
        assert_eq!(Last::decode(b"4 was the last"), Some(4));
        for bad in ["", "four", "-1"] {
            assert_eq!(Last::decode(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
