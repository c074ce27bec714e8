//! QUIT: the end, and the only way to delete.

use mailwright_line_proto::Request;

use super::Command;
use crate::Refusal;

/// Ends the session. What was marked deleted is deleted now and at no other moment (RFC 1939 §6).
///
/// Refused if something of it could not be deleted; the session is over all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quit;

impl Quit {
    pub(crate) const LINE: &'static [u8] = b"QUIT";
}

impl Request for Quit {
    type Answer = Result<(), Refusal>;
}

pub(super) fn parse(arguments: Option<&[u8]>) -> Option<Command> {
    arguments.is_none().then_some(Command::Quit(Quit))
}
