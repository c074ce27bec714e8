//! CAPABILITY: what the server can do.

use mailwright_line_proto::Request;

use super::{Arguments, Command};
use crate::managesieve::{Capabilities, Refusal};

/// Asks what the server can do (RFC 5804 §2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capability;

impl Capability {
    pub(in crate::managesieve) const LINE: &'static [u8] = b"CAPABILITY";
}

impl Request for Capability {
    type Answer = Result<Capabilities, Refusal>;
}

pub(super) fn parse(arguments: Arguments) -> Option<Command> {
    arguments.end(Command::Capability)
}
