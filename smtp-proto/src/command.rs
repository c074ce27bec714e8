//! Commands: the table that says when each one is allowed, and the type that holds any of them.

mod attributes;
mod auth;
mod bdat;
mod data;
mod expn;
mod hello;
mod mail;
mod rcpt;
mod simple;
mod turn;
mod vrfy;

use mailwright_line_proto::Authenticate;
use mailwright_mail_model::AddressError;
use thiserror::Error;

pub use attributes::{Attribute, ClientAttributes, XClient, XForward};
pub use bdat::{Bdat, Burl};
pub use data::{Commit, Message, Outcome};
pub use expn::Expn;
pub use hello::{Hello, HelloKind, HelloName};
pub use mail::Mail;
pub use rcpt::Rcpt;
pub use simple::{Connect, Data, Noop, Quit, Rset, StartTls};
pub use turn::{Atrn, Etrn};
pub use vrfy::Vrfy;

pub(crate) use auth::response;

use crate::{
    Reply,
    words::{Index, Key, is_printable, text, word},
};

/// How closely commands must follow RFC 5321. The end of a message is never read leniently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[non_exhaustive]
pub enum Syntax {
    /// As the RFC says.
    #[default]
    Strict,
    /// Also what people and old programs type: paths without brackets, spaces behind `FROM:` and `TO:`, no HELO
    /// at all, lines that end with LF.
    Lenient,
}

/// Any command, parsed.
///
/// ```
/// use mailwright_smtp_proto::{Command, Syntax};
///
/// let command = Command::parse(b"mail FROM:<ann@example.org> size=100", Syntax::Strict)?;
/// assert_eq!(command.encode(), "MAIL FROM:<ann@example.org> SIZE=100\r\n");
/// assert!(Command::parse(b"MAIL FROM:ann@example.org", Syntax::Strict).is_err());
/// assert!(Command::parse(b"MAIL FROM:ann@example.org", Syntax::Lenient).is_ok());
/// # Ok::<(), mailwright_smtp_proto::SyntaxError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// HELO, EHLO or LHLO.
    Hello(Hello),
    /// STARTTLS.
    StartTls,
    /// AUTH with its initial response.
    Authenticate(Authenticate),
    /// MAIL.
    Mail(Mail),
    /// RCPT.
    Rcpt(Rcpt),
    /// DATA.
    Data,
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// VRFY.
    Vrfy(Vrfy),
    /// EXPN.
    Expn(Expn),
    /// ETRN.
    Etrn(Etrn),
    /// ATRN.
    Atrn(Atrn),
    /// BDAT; its octets follow the line.
    Bdat(Bdat),
    /// BURL.
    Burl(Burl),
    /// XCLIENT.
    XClient(Box<XClient>),
    /// XFORWARD.
    XForward(Box<XForward>),
    /// HELP.
    Help,
    /// QUIT.
    Quit,
}

/// Why a line is not a command.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SyntaxError {
    /// There is no such command.
    #[error("Command not recognized")]
    Unknown,
    /// There is, but it is not offered.
    #[error("Command not implemented")]
    NotImplemented,
    /// Octets that no command may hold: controls, or what is not UTF-8.
    #[error("Commands are text without control characters")]
    Octets,
    /// Not the arguments of this command; its syntax is said.
    #[error("Syntax: {0}")]
    Arguments(&'static str),
    /// The sender's address is none.
    #[error("Bad sender address syntax: {0}")]
    Sender(AddressError),
    /// The recipient's address is none.
    #[error("Bad recipient address syntax: {0}")]
    Recipient(AddressError),
    /// A parameter that is not offered. [`Command::parse`] keeps such parameters; a server refuses those that its
    /// application does not know.
    #[error("Parameter not recognized: {0}")]
    UnknownParameter(String),
    /// A parameter that stands there twice.
    #[error("Parameter given twice: {0}")]
    Twice(String),
    /// A parameter with a value that is none for it.
    #[error("Bad value of parameter {0}")]
    Value(&'static str),
    /// A size beyond any limit.
    #[error("Message size exceeds fixed limit")]
    Size,
    /// A SASL response that is not Base64.
    #[error("Cannot decode Base64")]
    Base64,
}

/// What the server does with a command, beside parsing it: one row of [`TABLE`].
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) verb: &'static str,
    key: Key,
    pub(crate) parse: Parser,
    /// Whether it may come before HELO, EHLO or LHLO.
    pub(crate) before_hello: bool,
    /// Whether it may come before TLS where TLS is required (RFC 3207 §4).
    pub(crate) before_tls: bool,
    /// Whether it may come before AUTH where that is required (RFC 4954 §6).
    pub(crate) before_auth: bool,
    /// Whether it may come between the parts of a message that BDAT sends.
    pub(crate) amid_parts: bool,
    /// Whether it may be begun while RCPTs before it are still being decided.
    pub(crate) overlaps: bool,
    /// Whether too many of it without a message between them are errors.
    pub(crate) junk: bool,
}

/// Reads the arguments, in which there is no control character and nothing that is not UTF-8.
type Parser = fn(&[u8], Syntax) -> Result<Command, SyntaxError>;

/// What most commands are.
const PLAIN: Row = Row {
    verb: "",
    key: Key::of(""),
    parse: not_implemented,
    before_hello: false,
    before_tls: false,
    before_auth: false,
    amid_parts: false,
    overlaps: false,
    junk: false,
};

/// Allowed at any time.
const ALWAYS: Row =
    Row { before_hello: true, before_tls: true, before_auth: true, amid_parts: true, junk: true, ..PLAIN };

/// Every command that is known; HELP lists them in this order.
pub(crate) const TABLE: &[Row] = &[
    named("HELO", Row { parse: hello::parse_helo, ..ALWAYS }),
    named("EHLO", Row { parse: hello::parse_ehlo, ..ALWAYS }),
    named("LHLO", Row { parse: hello::parse_lhlo, ..ALWAYS }),
    named("STARTTLS", Row { parse: simple::parse_starttls, before_tls: true, before_auth: true, ..PLAIN }),
    named("AUTH", Row { parse: auth::parse, before_auth: true, ..PLAIN }),
    named("MAIL", Row { parse: mail::parse, ..PLAIN }),
    named("RCPT", Row { parse: rcpt::parse, overlaps: true, ..PLAIN }),
    named("DATA", Row { parse: simple::parse_data, ..PLAIN }),
    named("BDAT", Row { parse: bdat::parse_bdat, amid_parts: true, ..PLAIN }),
    named("BURL", Row { parse: bdat::parse_burl, amid_parts: true, ..PLAIN }),
    named("RSET", Row { parse: simple::parse_rset, ..ALWAYS }),
    named("NOOP", Row { parse: simple::parse_noop, overlaps: true, ..ALWAYS }),
    named("VRFY", Row { parse: vrfy::parse, junk: true, ..PLAIN }),
    named("HELP", Row { parse: simple::parse_help, overlaps: true, ..ALWAYS }),
    named("QUIT", Row { parse: simple::parse_quit, ..ALWAYS }),
    named("EXPN", Row { parse: expn::parse, junk: true, ..PLAIN }),
    named("ETRN", Row { parse: turn::parse_etrn, junk: true, ..PLAIN }),
    named("ATRN", Row { parse: turn::parse_atrn, ..PLAIN }),
    named("XCLIENT", Row { parse: attributes::parse_xclient, before_tls: true, before_auth: true, ..PLAIN }),
    named("XFORWARD", Row { parse: attributes::parse_xforward, ..PLAIN }),
    named("TURN", Row { before_hello: true, before_auth: true, ..PLAIN }),
];

/// What other protocols say first: a peer that says this is no mail client, however the rest of it looks.
const FOREIGN: &[&str] = &["GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"];

impl Command {
    /// Reads one line, without its CRLF.
    ///
    /// # Errors
    /// [`SyntaxError`], which has the reply to send.
    pub fn parse(line: &[u8], syntax: Syntax) -> Result<Self, SyntaxError> {
        let (row, arguments) = find(line)?;
        (row.parse)(arguments, syntax)
    }

    /// The line that goes on the wire, CRLF included.
    pub fn encode(&self) -> String {
        let mut line = match self {
            Self::Hello(hello) => hello.to_string(),
            Self::StartTls => "STARTTLS".to_owned(),
            Self::Authenticate(authenticate) => auth::encode(authenticate),
            Self::Mail(mail) => mail.to_string(),
            Self::Rcpt(rcpt) => rcpt.to_string(),
            Self::Data => "DATA".to_owned(),
            Self::Rset => "RSET".to_owned(),
            Self::Noop => "NOOP".to_owned(),
            Self::Vrfy(vrfy) => vrfy.to_string(),
            Self::Expn(expn) => expn.to_string(),
            Self::Etrn(etrn) => etrn.to_string(),
            Self::Atrn(atrn) => atrn.to_string(),
            Self::Bdat(bdat) => bdat.to_string(),
            Self::Burl(burl) => burl.to_string(),
            Self::XClient(client) => client.to_string(),
            Self::XForward(client) => client.to_string(),
            Self::Help => "HELP".to_owned(),
            Self::Quit => "QUIT".to_owned(),
        };
        line.push_str("\r\n");
        line
    }
}

impl SyntaxError {
    /// The reply to such a line.
    pub fn reply(&self) -> Reply {
        let (code, enhanced) = match self {
            // RFC 5321 §4.2.4: 500 for what is not recognized, 502 for what is and is not implemented
            Self::Unknown | Self::Octets => (500, (5, 5, 2)),
            Self::NotImplemented => (502, (5, 5, 1)),
            Self::Sender(AddressError::Brackets) | Self::Recipient(AddressError::Brackets) => {
                (501, (5, 5, 4))
            }
            Self::Arguments(_) | Self::Twice(_) | Self::Value(_) => (501, (5, 5, 4)),
            Self::Sender(_) => (501, (5, 1, 7)),
            Self::Recipient(_) => (501, (5, 1, 3)),
            // RFC 5321 §4.1.1.11
            Self::UnknownParameter(_) => (555, (5, 5, 4)),
            Self::Size => (552, (5, 3, 4)),
            Self::Base64 => (501, (5, 5, 2)),
        };
        Reply::lossy(code, enhanced, self.to_string())
    }
}

/// The row of the command that this line is, and its arguments.
#[inline]
pub(crate) fn find(line: &[u8]) -> Result<(&'static Row, &[u8]), SyntaxError> {
    // Nothing is cut at a NUL, and no lone CR or LF is passed on to anything that might take it for a line end.
    if !is_printable(line) && text(line)?.contains(|letter: char| letter.is_ascii_control()) {
        return Err(SyntaxError::Octets);
    }
    // RFC 5321 §4.1.1: white space before the CRLF is to be tolerated.
    let mut rest = line;
    while let [before @ .., b' '] = rest {
        rest = before;
    }
    let (key, arguments) = verb(rest);
    match INDEX.row(key, TABLE) {
        Some((_, row)) if row.key == key => Ok((row, arguments)),
        _ => Err(SyntaxError::Unknown),
    }
}

/// The word that a line begins with, and what stands behind the space that ends it.
fn verb(line: &[u8]) -> (Key, &[u8]) {
    // Nearly all have four letters. A space among the four has no place in any key.
    match line.split_first_chunk::<4>() {
        Some((verb, [])) => (Key::of_octets(verb), &[]),
        Some((verb, [b' ', arguments @ ..])) => (Key::of_octets(verb), arguments),
        _ => {
            let (verb, arguments) = word(line);
            (Key::of_octets(verb), arguments)
        }
    }
}

const fn named(verb: &'static str, row: Row) -> Row {
    Row { verb, key: Key::of(verb), ..row }
}

/// Where the rows of [`TABLE`] are.
static INDEX: Index = {
    let (mut index, mut rows) = (Index::EMPTY, TABLE);
    while let [row, others @ ..] = rows {
        index = index.with(row.key);
        rows = others;
    }
    index
};

/// Whether the line begins as those of other protocols do.
pub(crate) fn is_foreign(line: &[u8]) -> bool {
    let verb = line.split(|octet| *octet == b' ').next().unwrap_or_default();
    FOREIGN.iter().any(|foreign| verb.eq_ignore_ascii_case(foreign.as_bytes()))
}

fn not_implemented(_: &[u8], _: Syntax) -> Result<Command, SyntaxError> {
    Err(SyntaxError::NotImplemented)
}

/// For the commands without arguments.
fn nothing(arguments: &[u8], syntax: &'static str) -> Result<(), SyntaxError> {
    if arguments.is_empty() { Ok(()) } else { Err(SyntaxError::Arguments(syntax)) }
}

/// Takes `FROM:` or `TO:`, which have so many octets, off the front of the arguments.
fn after_keyword<const N: usize>(arguments: &str, keyword: Key, syntax: Syntax) -> Option<&str> {
    let (head, rest) = arguments.split_at_checked(N)?;
    if Key::of_octets(head.as_bytes().first_chunk::<N>()?) != keyword {
        return None;
    }
    // RFC 5321 §3.3: no spaces around the colon, however many clients send one.
    Some(if syntax == Syntax::Lenient { rest.trim_start_matches(' ') } else { rest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_no_commands() {
        for (line, error) in [
            (&b"FOO"[..], SyntaxError::Unknown),
            (b"", SyntaxError::Unknown),
            (b" NOOP", SyntaxError::Unknown),
            (b"NOOPS", SyntaxError::Unknown),
            (b"XFORWARDS", SyntaxError::Unknown),
            ("DÁTA".as_bytes(), SyntaxError::Unknown),
            (b"TURN", SyntaxError::NotImplemented),
            (b"NOOP\0", SyntaxError::Octets),
            (b"RCPT TO:<a@b.example>\0", SyntaxError::Octets),
            (b"NOOP\rNOOP", SyntaxError::Octets),
            (b"NOOP\nNOOP", SyntaxError::Octets),
            (b"NOOP \xff", SyntaxError::Octets),
            (b"DATA now", SyntaxError::Arguments("DATA")),
            (b"STARTTLS now", SyntaxError::Arguments("STARTTLS")),
            (b"QUIT now", SyntaxError::Arguments("QUIT")),
            (b"RSET now", SyntaxError::Arguments("RSET")),
        ] {
            assert_eq!(
                Command::parse(line, Syntax::Lenient),
                Err(error),
                "{}",
                String::from_utf8_lossy(line)
            );
        }
    }

    #[test]
    fn every_row_is_found_in_any_case() {
        for row in TABLE {
            let line = row.verb.to_lowercase();
            let (found, arguments) = find(line.as_bytes()).unwrap();
            assert_eq!((found.verb, arguments), (row.verb, &b""[..]));
        }
    }

    #[test]
    fn commands_without_arguments_come_round() {
        for command in
            [Command::StartTls, Command::Data, Command::Rset, Command::Noop, Command::Help, Command::Quit]
        {
            let line = command.encode();
            assert_eq!(Command::parse(line.trim_end().as_bytes(), Syntax::Strict), Ok(command));
        }
    }

    #[test]
    fn other_protocols_are_known_by_their_first_word() {
        assert!(is_foreign(b"POST / HTTP/1.1"));
        assert!(is_foreign(b"get"));
        assert!(!is_foreign(b"MAIL FROM:<post@example.org>"));
        assert!(!is_foreign(b""));
    }
}
