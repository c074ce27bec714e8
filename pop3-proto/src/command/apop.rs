//! APOP: a login that does not show the password (RFC 1939 §7).

use std::fmt;

use mailwright_line_proto::{AuthRefusal, Request};
use thiserror::Error;

use super::{Command, user::is_name};

/// A login with the MD5 of the greeting's timestamp and the password behind it.
///
/// `mailwright_line_proto::sasl::apop_digest` makes the digest, on both sides. The server must know the password in clear,
/// and MD5 is broken: this is for clients that can do nothing better.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Apop {
    /// The user's name as it was sent.
    pub user: String,
    /// The digest.
    pub digest: [u8; 16],
}

impl Apop {
    /// A login with this name and digest.
    pub fn new(user: impl Into<String>, digest: [u8; 16]) -> Self {
        Self { user: user.into(), digest }
    }

    /// The line, or nothing if the name cannot stand on one.
    pub(crate) fn encode(&self) -> Option<String> {
        let digits = self.digest.iter().fold(String::new(), |text, octet| text + &format!("{octet:02x}"));
        is_name(&self.user).then(|| format!("APOP {} {digits}", self.user))
    }
}

impl Request for Apop {
    type Answer = Result<(), AuthRefusal>;
}

pub(super) fn parse(arguments: Option<&[u8]>) -> Option<Command> {
    let (user, digits) = std::str::from_utf8(arguments?).ok()?.rsplit_once(' ')?;
    if digits.len() != 32 || !digits.bytes().all(|octet| octet.is_ascii_hexdigit()) || !is_name(user) {
        return None;
    }
    let digest = u128::from_str_radix(digits, 16).ok()?.to_be_bytes();
    Some(Command::Apop(Apop::new(user, digest)))
}

/// What a greeting bears so that APOP can be used: `<process.clock@host>`, never the same twice (RFC 1939 §7).
///
/// ```
/// use mailwright_pop3_proto::Timestamp;
///
/// assert!(Timestamp::new("<1896.697170952@dbc.mtview.ca.us>").is_ok());
/// assert!(Timestamp::new("1896.697170952").is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamp(Box<str>);

impl Timestamp {
    /// The most octets.
    pub const LIMIT: usize = 300;

    /// Takes a timestamp, which has the form of a Message-ID.
    ///
    /// # Errors
    /// If it does not, or is longer than [`Timestamp::LIMIT`].
    pub fn new(text: &str) -> Result<Self, TimestampError> {
        let inner = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
        let (left, right) = inner.and_then(|inner| inner.split_once('@')).ok_or(TimestampError)?;
        let part = |part: &str| {
            !part.is_empty() && part.bytes().all(|octet| octet.is_ascii_graphic() && !b"<>@".contains(&octet))
        };
        if text.len() > Self::LIMIT || !part(left) || !part(right) {
            return Err(TimestampError);
        }
        Ok(Self(text.into()))
    }

    /// The text, its brackets with it: what the digest begins with.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The one in a greeting.
    pub(crate) fn find(greeting: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(greeting).ok()?;
        let rest = text.get(text.rfind('<')?..)?;
        let end = rest.find('>')?;
        Self::new(rest.get(..=end)?).ok()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Not a timestamp for APOP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a timestamp has the form <left@right> and at most {limit} octets", limit = Timestamp::LIMIT)]
pub struct TimestampError;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::command::parse_line;

    #[test]
    fn finds_the_timestamp_of_a_greeting() {
        for (greeting, found) in [
            (
                "POP3 server ready <1896.697170952@dbc.mtview.ca.us>",
                Some("<1896.697170952@dbc.mtview.ca.us>"),
            ),
            ("ready <a@b> (really)", Some("<a@b>")),
            ("ready", None),
            ("ready <now>", None),
            ("<a@b", None),
            ("<a b@c>", None),
            ("<@c>", None),
        ] {
            let timestamp = Timestamp::find(greeting.as_bytes());
            assert_eq!(timestamp.as_ref().map(Timestamp::as_str), found, "{greeting}");
        }
        assert!(Timestamp::new(&format!("<{}@b>", "a".repeat(297))).is_err());
    }

    #[test]
    fn refuses_what_is_no_login() {
        let digest = "c4c9334bac560ecc979e58001b3e22fb";
        for bad in ["APOP", "APOP ", "APOP mrose", "APOP mrose x", "APOP  c4c9334bac560ecc979e58001b3e22fb"] {
            assert_eq!(parse_line(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(parse_line(format!("APOP mrose +{}", &digest[1..]).as_bytes()), None);
        assert_eq!(Apop::new("a\r\nDELE 1", [0; 16]).encode(), None);
    }

    proptest! {
        #[test]
        fn survives_the_wire(name in "[!-~é]([ -~]{0,30}[!-~])?", digest: [u8; 16]) {
            let apop = Apop::new(name, digest);
            prop_assert_eq!(parse_line(apop.encode().unwrap().as_bytes()), Some(Command::Apop(apop)));
        }
    }
}
