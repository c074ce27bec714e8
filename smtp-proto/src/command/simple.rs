//! The commands without arguments, and the question before the greeting.

use mailwright_line_proto::Request;

use super::{Command, Syntax, SyntaxError, nothing};
use crate::Reply;

/// A client has connected and has not been greeted. Asked only if the configuration says so.
///
/// Refused with 421, the connection closes at once. Refused otherwise, with 554 as RFC 5321 §3.1 has it, it stays
/// open for a QUIT and answers 503 to all else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connect;

/// STARTTLS (RFC 3207).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StartTls;

/// DATA, as a client calls it that does not call a whole [`Message`](crate::Message).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Data;

/// RSET: forget the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rset;

/// NOOP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Noop;

/// QUIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quit;

impl Request for Connect {
    type Answer = Result<(), Reply>;
}

impl Request for StartTls {
    type Answer = Reply;
}

impl Request for Data {
    type Answer = Result<(), Reply>;
}

impl Request for Rset {
    type Answer = Reply;
}

impl Request for Noop {
    type Answer = Reply;
}

impl Request for Quit {
    type Answer = Reply;
}

pub(super) fn parse_starttls(arguments: &[u8], _: Syntax) -> Result<Command, SyntaxError> {
    // RFC 3207 §4: 501 if there are parameters
    nothing(arguments, "STARTTLS")?;
    Ok(Command::StartTls)
}

pub(super) fn parse_data(arguments: &[u8], _: Syntax) -> Result<Command, SyntaxError> {
    nothing(arguments, "DATA")?;
    Ok(Command::Data)
}

pub(super) fn parse_rset(arguments: &[u8], _: Syntax) -> Result<Command, SyntaxError> {
    nothing(arguments, "RSET")?;
    Ok(Command::Rset)
}

/// RFC 5321 §4.1.1.9: an argument is ignored.
pub(super) fn parse_noop(_: &[u8], _: Syntax) -> Result<Command, SyntaxError> {
    Ok(Command::Noop)
}

/// RFC 5321 §4.1.1.8: an argument is allowed; our help does not depend on it.
pub(super) fn parse_help(_: &[u8], _: Syntax) -> Result<Command, SyntaxError> {
    Ok(Command::Help)
}

pub(super) fn parse_quit(arguments: &[u8], _: Syntax) -> Result<Command, SyntaxError> {
    nothing(arguments, "QUIT")?;
    Ok(Command::Quit)
}
