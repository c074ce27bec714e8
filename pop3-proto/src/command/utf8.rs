//! UTF8: messages may be sent as they are.

use mailwright_line_proto::Request;

use super::Command;
use crate::Refusal;

/// Says that the client understands UTF-8 in header fields (RFC 6856 §2.1). Before login only, and behind STLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Utf8;

impl Utf8 {
    pub(crate) const LINE: &'static [u8] = b"UTF8";
}

impl Request for Utf8 {
    type Answer = Result<(), Refusal>;
}

pub(super) fn parse(arguments: Option<&[u8]>) -> Option<Command> {
    arguments.is_none().then_some(Command::Utf8(Utf8))
}
