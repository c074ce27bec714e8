//! STLS: TLS on the connection that is there.

use mailwright_line_proto::Request;

use super::Command;
use crate::Refusal;

/// Starts TLS (RFC 2595 §4). Answered when TLS is up; all that was known of the server is then forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stls;

impl Stls {
    pub(crate) const LINE: &'static [u8] = b"STLS";
}

impl Request for Stls {
    type Answer = Result<(), Refusal>;
}

pub(super) fn parse(arguments: Option<&[u8]>) -> Option<Command> {
    arguments.is_none().then_some(Command::Stls(Stls))
}
