//! STARTTLS: TLS from here on.

use mailwright_line_proto::Request;

use super::{Arguments, Command};
use crate::managesieve::Refusal;

/// Asks for TLS (RFC 5804 §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartTls;

impl StartTls {
    pub(in crate::managesieve) const LINE: &'static [u8] = b"STARTTLS";
}

impl Request for StartTls {
    type Answer = Result<(), Refusal>;
}

pub(super) fn parse(arguments: Arguments) -> Option<Command> {
    arguments.end(Command::StartTls)
}
