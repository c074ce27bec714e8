//! NOOP: nothing happens.

use mailwright_line_proto::Request;

use super::Command;
use crate::Refusal;

/// Does nothing; a sign of life (RFC 1939 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noop;

impl Noop {
    pub(crate) const LINE: &'static [u8] = b"NOOP";
}

impl Request for Noop {
    type Answer = Result<(), Refusal>;
}

pub(super) fn parse(arguments: Option<&[u8]>) -> Option<Command> {
    arguments.is_none().then_some(Command::Noop(Noop))
}
