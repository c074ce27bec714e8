//! UNAUTHENTICATE: another user's turn.

use mailwright_line_proto::Request;

use super::{Arguments, Command};
use crate::managesieve::Refusal;

/// Goes back to before the login, so that somebody else can log in (RFC 5804 §2.14.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unauthenticate;

impl Unauthenticate {
    pub(in crate::managesieve) const LINE: &'static [u8] = b"UNAUTHENTICATE";
}

impl Request for Unauthenticate {
    type Answer = Result<(), Refusal>;
}

pub(super) fn parse(arguments: Arguments) -> Option<Command> {
    arguments.end(Command::Unauthenticate)
}
