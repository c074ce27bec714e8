//! Status lines: `+OK`, `-ERR`, and the response codes in brackets.

use std::fmt;

use mailwright_line_proto::AuthRefusal;
use thiserror::Error;

use crate::Text;

/// A request was refused: `-ERR`, perhaps a code, and a text for people.
///
/// A server's application makes it, a client's application receives it.
///
/// ```
/// use mailwright_pop3_proto::{Refusal, ResponseCode, Text};
///
/// let refusal = Refusal::new(Some(ResponseCode::InUse), Text::new("the mailbox is open elsewhere")?);
/// assert_eq!(refusal.to_string(), "[IN-USE] the mailbox is open elsewhere");
/// # Ok::<(), mailwright_pop3_proto::TextError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}{text}", Prefix(.code))]
pub struct Refusal {
    code: Option<ResponseCode>,
    text: Text,
}

impl Refusal {
    /// A refusal with these words.
    pub fn new(code: Option<ResponseCode>, text: Text) -> Self {
        Self { code, text }
    }

    /// `[IN-USE]`: another session has the maildrop.
    pub fn in_use() -> Self {
        Self::fixed(Some(ResponseCode::InUse), "the maildrop is in use by another session")
    }

    /// `[SYS/TEMP]`: trouble that may be gone when it is tried again.
    pub fn temporary() -> Self {
        Self::fixed(Some(ResponseCode::SysTemp), "temporary failure, try again later")
    }

    /// `[SYS/PERM]`: trouble that only a person can end.
    pub fn permanent() -> Self {
        Self::fixed(Some(ResponseCode::SysPerm), "permanent failure, ask your mail administrator")
    }

    /// The message was there when the maildrop was opened, and is not any more. That is no trouble (RFC 3206 §4), so it has no code.
    pub fn gone() -> Self {
        Self::fixed(None, "the message was expunged by another session")
    }

    /// `[LOGIN-DELAY]`: this user was here too short a time ago.
    pub fn login_delay() -> Self {
        Self::fixed(Some(ResponseCode::LoginDelay), "too soon after the last login")
    }

    /// The machine-readable reason, if there is one.
    pub fn code(&self) -> Option<&ResponseCode> {
        self.code.as_ref()
    }

    /// The text for people.
    pub fn text(&self) -> &Text {
        &self.text
    }

    pub(crate) fn fixed(code: Option<ResponseCode>, text: &'static str) -> Self {
        Self { code, text: Text::fixed(text) }
    }

    /// What stands behind `-ERR`.
    fn received(octets: &[u8]) -> Self {
        let octets = octets.trim_ascii();
        let code = octets.strip_prefix(b"[").and_then(|rest| {
            let end = memchr::memchr(b']', rest)?;
            let (code, text) = rest.split_at_checked(end)?;
            Some((ResponseCode::received(code), text.get(1..)?))
        });
        match code {
            Some((code, text)) => Self { code: Some(code), text: Text::received(text) },
            None => Self { code: None, text: Text::received(octets) },
        }
    }
}

impl From<AuthRefusal> for Refusal {
    fn from(refusal: AuthRefusal) -> Self {
        let code = match refusal {
            // RFC 3206 §4: [AUTH] is a problem with the credentials, and with nothing else.
            AuthRefusal::Credentials | AuthRefusal::NotAuthorized | AuthRefusal::Expired => {
                Some(ResponseCode::Auth)
            }
            // RFC 2449 §8.1.2: the credentials are right, but another session is in the way.
            AuthRefusal::Busy => Some(ResponseCode::InUse),
            AuthRefusal::Unavailable => Some(ResponseCode::SysTemp),
            _ => None,
        };
        Self { code, text: Text::received(refusal.to_string().as_bytes()) }
    }
}

/// A response code (RFC 2449 §8, RFC 3206 §4).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResponseCode {
    /// `IN-USE`: the maildrop is in use by another session (RFC 2449 §8.1.2).
    InUse,
    /// `LOGIN-DELAY`: this user logged in too short a time ago (RFC 2449 §8.1.1).
    LoginDelay,
    /// `SYS/TEMP`: a failure of the system that is likely to pass (RFC 3206 §4).
    SysTemp,
    /// `SYS/PERM`: a failure of the system that a person must end (RFC 3206 §4).
    SysPerm,
    /// `AUTH`: a problem with the user's credentials (RFC 3206 §4).
    Auth,
    /// `UTF8`: what was asked for needs UTF-8, which the client did not ask for (RFC 6856 §5).
    Utf8,
    /// Any other.
    Other(Text),
}

impl ResponseCode {
    /// As it stands between the brackets.
    pub fn as_str(&self) -> &str {
        match self {
            Self::InUse => "IN-USE",
            Self::LoginDelay => "LOGIN-DELAY",
            Self::SysTemp => "SYS/TEMP",
            Self::SysPerm => "SYS/PERM",
            Self::Auth => "AUTH",
            Self::Utf8 => "UTF8",
            Self::Other(text) => text.as_str(),
        }
    }

    fn received(octets: &[u8]) -> Self {
        [Self::InUse, Self::LoginDelay, Self::SysTemp, Self::SysPerm, Self::Auth, Self::Utf8]
            .into_iter()
            .find(|code| code.as_str().as_bytes().eq_ignore_ascii_case(octets))
            .unwrap_or_else(|| Self::Other(Text::received(octets)))
    }
}

struct Prefix<'a>(&'a Option<ResponseCode>);

impl fmt::Display for Prefix<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(code) => write!(formatter, "[{}] ", code.as_str()),
            None => Ok(()),
        }
    }
}

/// The first line of a server's reply, read with patience for its spacing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Status<'a> {
    /// `+OK` and what follows it.
    Ok(&'a [u8]),
    /// `-ERR`.
    Refused(Refusal),
    /// `+` and a Base64 challenge (RFC 5034 §4).
    Continue(&'a [u8]),
}

impl<'a> Status<'a> {
    /// Nothing if the line is no status at all.
    pub(crate) fn parse(line: &'a [u8]) -> Option<Self> {
        if let Some(rest) = strip(line, b"+OK") {
            return Some(Self::Ok(rest.trim_ascii()));
        }
        if let Some(rest) = strip(line, b"-ERR") {
            return Some(Self::Refused(Refusal::received(rest)));
        }
        strip(line, b"+").map(|rest| Self::Continue(rest.trim_ascii()))
    }
}

/// What follows `word`, if something else than a letter or digit does.
fn strip<'a>(line: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = line.split_at_checked(word.len())?;
    let ends = rest.first().is_none_or(|octet| octet.is_ascii_whitespace() || *octet == b'[');
    (start.eq_ignore_ascii_case(word) && ends).then_some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_servers_send() {
        for (line, status) in [
            ("+OK", Some(Status::Ok(b""))),
            ("+ok  2   320 ", Some(Status::Ok(b"2   320"))),
            ("+OK\t2", Some(Status::Ok(b"2"))),
            ("+ ", Some(Status::Continue(b""))),
            ("+", Some(Status::Continue(b""))),
            ("+ Zm9v", Some(Status::Continue(b"Zm9v"))),
            ("+OKAY", None),
            ("OK", None),
            ("", None),
            ("-ERRor", None),
            ("* OK IMAP", None),
            ("220 smtp", None),
        ] {
            assert_eq!(Status::parse(line.as_bytes()), status, "{line:?}");
        }
        for (line, shown) in [
            ("-ERR", ""),
            ("-err no", "no"),
            ("-ERR [in-use] busy", "[IN-USE] busy"),
            ("-ERR[AUTH]wrong", "[AUTH] wrong"),
            ("-ERR [X/Y] z", "[X/Y] z"),
            ("-ERR [unclosed", "[unclosed"),
        ] {
            let Some(Status::Refused(refusal)) = Status::parse(line.as_bytes()) else { panic!("{line:?}") };
            assert_eq!(refusal.to_string(), shown, "{line:?}");
        }
    }

    #[test]
    fn only_credentials_get_the_auth_code() {
        for (refusal, code) in [
            (AuthRefusal::Credentials, Some(ResponseCode::Auth)),
            (AuthRefusal::Expired, Some(ResponseCode::Auth)),
            (AuthRefusal::Busy, Some(ResponseCode::InUse)),
            (AuthRefusal::Unavailable, Some(ResponseCode::SysTemp)),
            (AuthRefusal::NeedsTls, None),
            (AuthRefusal::Mechanism, None),
        ] {
            assert_eq!(Refusal::from(refusal).code(), code.as_ref(), "{refusal:?}");
        }
    }

    proptest! {
        #[test]
        fn a_refusal_survives_the_wire(index in 0_usize..7, text in "[a-zA-Z(][ -~]{0,40}[a-z]") {
            let code = [
                None,
                Some(ResponseCode::InUse),
                Some(ResponseCode::LoginDelay),
                Some(ResponseCode::SysTemp),
                Some(ResponseCode::SysPerm),
                Some(ResponseCode::Auth),
                Some(ResponseCode::Utf8),
            ][index].clone();
            let refusal = Refusal::new(code, Text::new(&text).unwrap());
            let line = format!("-ERR {refusal}");
            prop_assert_eq!(Status::parse(line.as_bytes()), Some(Status::Refused(refusal)));
        }
    }
}
