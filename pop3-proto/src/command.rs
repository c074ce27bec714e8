//! Every command as one row of a table: when it is allowed, what it takes, and who reads its arguments.

mod apop;
mod auth;
mod capa;
mod dele;
mod lang;
mod last;
mod list;
mod noop;
mod pass;
mod quit;
mod retr;
mod rset;
mod stat;
mod stls;
mod top;
mod uidl;
mod user;
mod utf8;

use mailwright_line_proto::Secret;

pub use apop::{Apop, Timestamp, TimestampError};
pub(crate) use auth::{Auth, decode, encode_response};
pub use capa::{Capa, Capabilities, Capability, Expire};
pub use dele::Dele;
pub use lang::{Lang, Language};
pub use last::Last;
pub use list::{List, Listed};
pub use noop::Noop;
pub use quit::Quit;
pub use retr::Retr;
pub use rset::Rset;
pub use stat::{Stat, Totals};
pub use stls::Stls;
pub(crate) use top::Cut;
pub use top::Top;
pub use uidl::{Identified, Uidl};
pub use utf8::Utf8;

pub(crate) use pass::encode as encode_pass;
pub(crate) use user::encode as encode_user;

/// The commands. Both machines obey it: the server refuses and the client does not send what a row forbids.
///
/// The columns: verb, arguments as people read them, states, whether TLS must be up (or plaintext logins be
/// allowed), whether the arguments hold a secret, the parser of the arguments.
pub(crate) static TABLE: [Row; 18] = [
    row("CAPA", "", States::Both, FREE, SHOWN, capa::parse),
    row("STLS", "", States::Authorization, FREE, SHOWN, stls::parse),
    row("USER", " name", States::Authorization, NEEDS_TLS, SHOWN, user::parse),
    row("PASS", " password", States::Authorization, NEEDS_TLS, SECRET, pass::parse),
    row("APOP", " name digest", States::Authorization, NEEDS_TLS, SECRET, apop::parse),
    row("AUTH", " mechanism [initial-response]", States::Authorization, NEEDS_TLS, SECRET, auth::parse),
    row("UTF8", "", States::Authorization, FREE, SHOWN, utf8::parse),
    row("LANG", " [language]", States::Both, FREE, SHOWN, lang::parse),
    row("STAT", "", States::Transaction, FREE, SHOWN, stat::parse),
    row("LIST", " [message]", States::Transaction, FREE, SHOWN, list::parse),
    row("UIDL", " [message]", States::Transaction, FREE, SHOWN, uidl::parse),
    row("RETR", " message", States::Transaction, FREE, SHOWN, retr::parse),
    row("TOP", " message lines", States::Transaction, FREE, SHOWN, top::parse),
    row("DELE", " message", States::Transaction, FREE, SHOWN, dele::parse),
    row("NOOP", "", States::Transaction, FREE, SHOWN, noop::parse),
    row("RSET", "", States::Transaction, FREE, SHOWN, rset::parse),
    row("LAST", "", States::Transaction, FREE, SHOWN, last::parse),
    row("QUIT", "", States::Both, FREE, SHOWN, quit::parse),
];

const FREE: bool = false;
const NEEDS_TLS: bool = true;
const SHOWN: bool = false;
const SECRET: bool = true;

/// One command.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) verb: &'static str,
    pub(crate) arguments: &'static str,
    pub(crate) states: States,
    pub(crate) needs_tls: bool,
    pub(crate) secret: bool,
    pub(crate) parse: fn(Option<&[u8]>) -> Option<Command>,
}

const fn row(
    verb: &'static str,
    arguments: &'static str,
    states: States,
    needs_tls: bool,
    secret: bool,
    parse: fn(Option<&[u8]>) -> Option<Command>,
) -> Row {
    Row { verb, arguments, states, needs_tls, secret, parse }
}

/// The states of a session that see commands (RFC 1939 §3). The third one, UPDATE, sees none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum States {
    Authorization,
    Transaction,
    Both,
}

impl States {
    /// Whether the state of a session that is or is not logged in is among them.
    pub(crate) fn contain(self, logged_in: bool) -> bool {
        match self {
            Self::Authorization => !logged_in,
            Self::Transaction => logged_in,
            Self::Both => true,
        }
    }
}

/// A command that was understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Capa(Capa),
    Stls(Stls),
    User(String),
    Pass(Secret),
    Apop(Apop),
    Auth(Auth),
    Utf8(Utf8),
    Lang(Lang),
    Stat(Stat),
    List(List),
    Uidl(Uidl),
    Retr(Retr),
    Top(Top),
    Dele(Dele),
    Noop(Noop),
    Rset(Rset),
    Last(Last),
    Quit(Quit),
}

/// The row of a verb, in any case, and what stands behind its space, if it has one. Behind commands that take nothing blanks are nothing:
/// RFC 1939 §3 has a space before arguments only, but one too many says nothing else, and Dovecot takes it too.
pub(crate) fn find(line: &[u8]) -> Option<(&'static Row, Option<&[u8]>)> {
    let (verb, arguments) = match memchr::memchr(b' ', line) {
        Some(at) => (line.get(..at)?, line.get(at + 1..)),
        None => (line, None),
    };
    let row = TABLE.iter().find(|row| row.verb.as_bytes().eq_ignore_ascii_case(verb))?;
    let is_nothing = |behind: &&[u8]| row.arguments.is_empty() && behind.iter().all(|octet| *octet == b' ');
    Some((row, arguments.filter(|behind| !is_nothing(behind))))
}

#[cfg(test)]
pub(crate) fn parse_line(line: &[u8]) -> Option<Command> {
    let (row, arguments) = find(line)?;
    (row.parse)(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_come_in_any_case_and_end_with_a_space() {
        assert_eq!(parse_line(b"qUiT"), Some(Command::Quit(Quit)));
        for bad in [&b""[..], b" ", b" QUIT", b"QUITX", b"QUI", b"QUIT\t", b"\0", b"GET / HTTP/1.1"] {
            assert!(find(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn blanks_behind_commands_that_take_nothing_are_nothing() {
        for row in TABLE.iter().filter(|row| row.arguments.is_empty()) {
            let line = |behind: &str| parse_line(format!("{}{behind}", row.verb).as_bytes());
            assert!(line("").is_some() && line(" ") == line("") && line("   ") == line(""), "{}", row.verb);
            assert!(line(" ? x").is_none() && line(" \t").is_none() && line("\t").is_none(), "{}", row.verb);
        }
        for bad in [&b"RETR 1 "[..], b"DELE 1 ", b"LIST 1 ", b"LIST ", b"UIDL ", b"TOP 1 0 ", b"LIST  1"] {
            assert_eq!(parse_line(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn commands_without_arguments_take_none() {
        for row in TABLE.iter().filter(|row| row.arguments.is_empty()) {
            assert!((row.parse)(None).is_some(), "{}", row.verb);
            for bad in [&b""[..], b" ", b"1", b"x y"] {
                assert!((row.parse)(Some(bad)).is_none(), "{} {bad:?}", row.verb);
            }
        }
    }

    #[test]
    fn commands_with_arguments_want_them() {
        for row in
            TABLE.iter().filter(|row| row.arguments.starts_with(' ') && !row.arguments.starts_with(" ["))
        {
            assert!((row.parse)(None).is_none(), "{}", row.verb);
            assert!((row.parse)(Some(b"")).is_none(), "{}", row.verb);
        }
    }
}
