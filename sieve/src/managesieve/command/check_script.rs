//! CHECKSCRIPT: whether a script is valid, without storing it.

use bytes::Bytes;
use mailwright_line_proto::Request;

use super::{Accepted, Arguments, Command};
use crate::managesieve::Refusal;

/// Checks a script (RFC 5804 §2.12). Its octets are sent and come as those of [`PutScript`](super::PutScript).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "RFC 5804 has this argument and always will")]
pub struct CheckScript {
    /// Its size in octets.
    pub size: u32,
}

impl CheckScript {
    /// Up to the octets of the script.
    pub(in crate::managesieve) fn encode(self) -> Vec<u8> {
        format!("CHECKSCRIPT {{{}+}}", self.size).into_bytes()
    }
}

impl Request for CheckScript {
    type Answer = Result<Accepted, Refusal>;
}

pub(super) fn parse(mut arguments: Arguments) -> Option<Command> {
    let script: Option<Bytes> = if arguments.is_empty() { None } else { Some(arguments.string()?) };
    arguments.end(Command::CheckScript(script))
}
