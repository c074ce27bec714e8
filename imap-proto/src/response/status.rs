//! `OK`, `NO`, `BAD`, `BYE` and `PREAUTH`, tagged or not.

use super::{
    ResponseCode, Text,
    reader::{Reader, Result},
};
use crate::grammar::Wire;

/// A status response (RFC 9051 §7.1), without its tag.
///
/// ```
/// use mailwright_imap_proto::response::{ResponseCode, Status};
///
/// let mut octets = Vec::new();
/// Status::no("no such mailbox").with(ResponseCode::TryCreate).encode(Some("a7"), &mut octets);
/// assert_eq!(octets, b"a7 NO [TRYCREATE] no such mailbox\r\n");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Status {
    /// What it says.
    pub kind: StatusKind,
    /// The same for machines.
    pub code: Option<ResponseCode>,
    /// The same for people.
    pub text: Text,
}

/// The five words that begin a status response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StatusKind {
    /// Done, or a notice.
    Ok,
    /// Not done, or a warning.
    No,
    /// Not understood, or not allowed now.
    Bad,
    /// The server closes the connection.
    Bye,
    /// The greeting of a connection that is logged in by other means.
    Preauth,
}

const KINDS: [(&str, StatusKind); 5] = [
    ("OK", StatusKind::Ok),
    ("NO", StatusKind::No),
    ("BAD", StatusKind::Bad),
    ("BYE", StatusKind::Bye),
    ("PREAUTH", StatusKind::Preauth),
];

impl StatusKind {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::No => "NO",
            Self::Bad => "BAD",
            Self::Bye => "BYE",
            Self::Preauth => "PREAUTH",
        }
    }
}

impl Status {
    /// A status without a code.
    pub fn new(kind: StatusKind, text: impl Into<Text>) -> Self {
        Self { kind, code: None, text: text.into() }
    }

    /// `OK`.
    pub fn ok(text: impl Into<Text>) -> Self {
        Self::new(StatusKind::Ok, text)
    }

    /// `NO`.
    pub fn no(text: impl Into<Text>) -> Self {
        Self::new(StatusKind::No, text)
    }

    /// `BAD`.
    pub fn bad(text: impl Into<Text>) -> Self {
        Self::new(StatusKind::Bad, text)
    }

    /// `BYE`.
    pub fn bye(text: impl Into<Text>) -> Self {
        Self::new(StatusKind::Bye, text)
    }

    /// With this code.
    #[must_use]
    pub fn with(self, code: ResponseCode) -> Self {
        Self { code: Some(code), ..self }
    }

    /// Whether it is `OK`.
    pub fn is_ok(&self) -> bool {
        self.kind == StatusKind::Ok
    }

    /// Writes the line with its tag, or with `*`.
    pub fn encode(&self, tag: Option<&str>, wire: &mut impl Wire) {
        self.encode_head(tag, wire);
        self.text.encode(wire);
        wire.put(b"\r\n");
    }

    /// The same with a text in UTF-8, for a client that has chosen a language (RFC 5255 §3.5).
    pub(crate) fn encode_utf8(&self, tag: Option<&str>, wire: &mut impl Wire) {
        self.encode_head(tag, wire);
        self.text.encode_utf8(wire);
        wire.put(b"\r\n");
    }

    fn encode_head(&self, tag: Option<&str>, wire: &mut impl Wire) {
        wire.put(tag.unwrap_or("*").as_bytes());
        wire.put(b" ");
        wire.put(self.kind.as_str().as_bytes());
        wire.put(b" ");
        if let Some(code) = &self.code {
            code.encode(wire);
            wire.put(b" ");
        }
    }

    /// What follows the tag and the space; `None` if no status response does.
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Result<Self>> {
        // Most responses are none, which the first letter tells.
        if !matches!(reader.input.peek()?.to_ascii_uppercase(), b'O' | b'N' | b'B' | b'P') {
            return None;
        }
        let kind = KINDS.into_iter().find_map(|(word, kind)| reader.keyword(word).then_some(kind))?;
        Some(Self::rest(kind, reader))
    }

    fn rest(kind: StatusKind, reader: &mut Reader<'_>) -> Result<Self> {
        let missing = reader.leniency.missing_text;
        if !(missing && reader.input.is_empty()) {
            reader.input.space()?;
        }
        let before = reader.clone();
        let code = match reader.input.peek() {
            Some(b'[') => match ResponseCode::read(reader) {
                Ok(code) => Some(code),
                // A bracket that belongs to the text.
                Err(error) if !missing => return Err(error),
                Err(_) => {
                    *reader = before;
                    None
                }
            },
            _ => None,
        };
        let optional = missing && reader.input.peek() != Some(b' ');
        if code.is_some() && !optional {
            reader.input.space()?;
        }
        Ok(Self { kind, code, text: Text::read(reader)? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::response::{Leniency, Response};

    proptest! {
        #[test]
        fn what_is_written_is_read(
            kind in prop::sample::select(KINDS.map(|(_, kind)| kind).to_vec()),
            text in "[ -~]{0,30}",
            code in prop::option::of(Just(ResponseCode::ReadOnly)),
            tagged in any::<bool>(),
        ) {
            let status = Status { kind, code, text: text.into() };
            let tagged = tagged && !matches!(kind, StatusKind::Bye | StatusKind::Preauth);
            let mut octets = Vec::new();
            status.encode(tagged.then_some("A142"), &mut octets);
            let expected = match tagged {
                true => Response::Tagged { tag: "A142".into(), status },
                false => Response::Status(status),
            };
            prop_assert_eq!(Response::parse(&octets, Leniency::strict()), Ok(expected));
        }
    }

    #[test]
    fn what_servers_leave_out() {
        let read = |line: &str, leniency| Response::parse(format!("{line}\r\n").as_bytes(), leniency);
        for (line, kind, code, text) in [
            ("* OK", StatusKind::Ok, None, "-"),
            ("* ok ", StatusKind::Ok, None, "-"),
            ("* OK [ALERT]", StatusKind::Ok, Some(ResponseCode::Alert), "-"),
            ("* OK [ALERT]x", StatusKind::Ok, Some(ResponseCode::Alert), "x"),
            ("* NO [not a code", StatusKind::No, None, "(not a code"),
        ] {
            let status = Status { kind, code, text: text.into() };
            assert_eq!(read(line, Leniency::tolerant()), Ok(Response::Status(status)), "{line}");
            assert!(read(line, Leniency::strict()).is_err(), "{line}");
        }
        assert!(read("* OKAY", Leniency::tolerant()).is_err());
        // RFC 3501 §7.1: a tagged status response is OK, NO or BAD.
        assert!(read("a1 BYE x", Leniency::tolerant()).is_err());
    }
}
