//! RSET: takes back every DELE.

use mailwright_line_proto::Request;

use super::Command;
use crate::Refusal;

/// Unmarks all that was marked deleted in this session (RFC 1939 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rset;

impl Rset {
    pub(crate) const LINE: &'static [u8] = b"RSET";
}

impl Request for Rset {
    type Answer = Result<(), Refusal>;
}

pub(super) fn parse(arguments: Option<&[u8]>) -> Option<Command> {
    arguments.is_none().then_some(Command::Rset(Rset))
}
