//! LOGOUT: the end of a session.

use mailwright_line_proto::Request;

use super::{Arguments, Command};
use crate::managesieve::Refusal;

/// Takes leave (RFC 5804 §2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logout;

impl Logout {
    pub(in crate::managesieve) const LINE: &'static [u8] = b"LOGOUT";
}

impl Request for Logout {
    type Answer = Result<(), Refusal>;
}

pub(super) fn parse(arguments: Arguments) -> Option<Command> {
    arguments.end(Command::Logout)
}
