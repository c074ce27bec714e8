//! CAPA: what a server can do (RFC 2449).

use std::fmt;

use mailwright_line_proto::Request;

use super::Command;
use crate::{Refusal, Text, grammar};

/// Asks what the server can do (RFC 2449 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capa;

impl Capa {
    pub(crate) const LINE: &'static [u8] = b"CAPA";
}

impl Request for Capa {
    type Answer = Result<Capabilities, Refusal>;
}

/// What a server said that it can do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities(Vec<Capability>);

impl Capabilities {
    /// All of them, in the order in which they came.
    pub fn iter(&self) -> std::slice::Iter<'_, Capability> {
        self.0.iter()
    }

    /// Whether this one is among them.
    pub fn contain(&self, capability: &Capability) -> bool {
        self.0.contains(capability)
    }

    /// The SASL mechanisms, in upper case.
    pub fn mechanisms(&self) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .flat_map(|capability| match capability {
                Capability::Sasl(mechanisms) => mechanisms.as_slice(),
                _ => &[],
            })
            .map(String::as_str)
    }

    pub(crate) fn push(&mut self, capability: Capability) {
        self.0.push(capability);
    }

    pub(crate) fn extend(&mut self, capabilities: impl IntoIterator<Item = Capability>) {
        self.0.extend(capabilities);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// One line of the answer to CAPA. Its `Display` is the line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// `TOP` is understood (RFC 2449 §6.1).
    Top,
    /// `USER` and `PASS` are (RFC 2449 §6.2).
    User,
    /// `AUTH` is, with these mechanisms (RFC 2449 §6.3).
    Sasl(Vec<String>),
    /// Refusals bear response codes (RFC 2449 §6.4).
    RespCodes,
    /// The code `AUTH` is among them, so that its absence means something (RFC 3206 §5).
    AuthRespCode,
    /// Commands may be sent without waiting for replies (RFC 2449 §6.6).
    Pipelining,
    /// `UIDL` is understood (RFC 2449 §6.8).
    Uidl,
    /// The server's software (RFC 2449 §6.9).
    Implementation(Text),
    /// `STLS` is understood (RFC 2595 §4).
    Stls,
    /// How long messages stay on the server (RFC 2449 §6.7).
    Expire {
        /// The policy, before login the strictest of any user.
        after: Expire,
        /// Whether users differ, so that asking again after login is worth it.
        per_user: bool,
    },
    /// How long to wait between logins (RFC 2449 §6.5).
    LoginDelay {
        /// The delay in seconds, before login the longest of any user.
        seconds: u32,
        /// Whether users differ.
        per_user: bool,
    },
    /// `UTF8` is understood (RFC 6856 §2).
    Utf8 {
        /// Whether `USER` and `PASS` take UTF-8 too.
        logins: bool,
    },
    /// `LANG` is understood (RFC 6856 §3).
    Lang,
    /// Any other, as its line.
    Other(Text),
}

impl Capability {
    /// Reads a line of the listing; nothing if it is empty.
    pub(crate) fn decode(line: &[u8]) -> Option<Self> {
        let mut fields = grammar::fields(line);
        let tag = fields.next()?.to_ascii_uppercase();
        Some(match tag.as_slice() {
            b"TOP" => Self::Top,
            b"USER" => Self::User,
            b"SASL" => {
                Self::Sasl(fields.map(|name| Text::received(name).as_str().to_ascii_uppercase()).collect())
            }
            b"RESP-CODES" => Self::RespCodes,
            b"AUTH-RESP-CODE" => Self::AuthRespCode,
            b"PIPELINING" => Self::Pipelining,
            b"UIDL" => Self::Uidl,
            b"IMPLEMENTATION" => {
                Self::Implementation(Text::received(line.trim_ascii_start().get(tag.len()..)?))
            }
            b"STLS" => Self::Stls,
            b"LANG" => Self::Lang,
            b"UTF8" => Self::Utf8 { logins: fields.any(|field| field.eq_ignore_ascii_case(b"USER")) },
            b"EXPIRE" | b"LOGIN-DELAY" => {
                return Some(Self::policy(&tag, fields).unwrap_or_else(|| Self::Other(Text::received(line))));
            }
            _ => Self::Other(Text::received(line)),
        })
    }

    /// Reads what follows `EXPIRE` or `LOGIN-DELAY`.
    fn policy<'a>(tag: &[u8], mut fields: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let value = fields.next()?;
        let per_user = fields.next().is_some_and(|field| field.eq_ignore_ascii_case(b"USER"));
        Some(match tag {
            b"EXPIRE" if value.eq_ignore_ascii_case(b"NEVER") => {
                Self::Expire { after: Expire::Never, per_user }
            }
            b"EXPIRE" => Self::Expire { after: Expire::Days(grammar::whole_number(value)?), per_user },
            _ => Self::LoginDelay { seconds: grammar::whole_number(value)?, per_user },
        })
    }
}

/// How long a server keeps messages (RFC 2449 §6.7). The strictest is the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "RFC 2449 has these two")]
pub enum Expire {
    /// So many days; with 0, what was retrieved is deleted at QUIT.
    Days(u32),
    /// For ever.
    Never,
}

impl fmt::Display for Expire {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Days(days) => write!(formatter, "{days}"),
            Self::Never => formatter.write_str("NEVER"),
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Top => "TOP",
            Self::User => "USER",
            Self::Sasl(mechanisms) => {
                formatter.write_str("SASL")?;
                return mechanisms.iter().try_for_each(|mechanism| write!(formatter, " {mechanism}"));
            }
            Self::RespCodes => "RESP-CODES",
            Self::AuthRespCode => "AUTH-RESP-CODE",
            Self::Pipelining => "PIPELINING",
            Self::Uidl => "UIDL",
            Self::Implementation(software) => return write!(formatter, "IMPLEMENTATION {software}"),
            Self::Stls => "STLS",
            Self::Expire { after, per_user } => {
                return write!(formatter, "EXPIRE {after}{}", user(*per_user));
            }
            Self::LoginDelay { seconds, per_user } => {
                return write!(formatter, "LOGIN-DELAY {seconds}{}", user(*per_user));
            }
            Self::Utf8 { logins } => return write!(formatter, "UTF8{}", user(*logins)),
            Self::Lang => "LANG",
            Self::Other(line) => line.as_str(),
        })
    }
}

fn user(said: bool) -> &'static str {
    if said { " USER" } else { "" }
}

pub(super) fn parse(arguments: Option<&[u8]>) -> Option<Command> {
    arguments.is_none().then_some(Command::Capa(Capa))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_survives_the_wire() {
        for capability in [
            Capability::Top,
            Capability::User,
            Capability::Sasl(vec!["PLAIN".to_owned(), "SCRAM-SHA-256".to_owned()]),
            Capability::RespCodes,
            Capability::AuthRespCode,
            Capability::Pipelining,
            Capability::Uidl,
            Capability::Implementation(Text::new("Shlemazle-Plotz-v302").unwrap()),
            Capability::Stls,
            Capability::Expire { after: Expire::Days(60), per_user: true },
            Capability::Expire { after: Expire::Never, per_user: false },
            Capability::LoginDelay { seconds: 900, per_user: false },
            Capability::Utf8 { logins: true },
            Capability::Utf8 { logins: false },
            Capability::Lang,
            Capability::Other(Text::new("X-NEW 60 USER").unwrap()),
        ] {
            let line = capability.to_string();
            assert_eq!(Capability::decode(line.as_bytes()), Some(capability.clone()), "{line}");
            let odd = format!("  {}  ", line.to_ascii_lowercase().replace(' ', "  "));
            let found = Capability::decode(odd.as_bytes()).unwrap();
            assert_eq!(std::mem::discriminant(&found), std::mem::discriminant(&capability), "{odd}");
        }
        assert_eq!(Capability::decode(b" "), None);
        for odd in ["EXPIRE", "EXPIRE soon", "LOGIN-DELAY -1"] {
            assert!(matches!(Capability::decode(odd.as_bytes()), Some(Capability::Other(_))), "{odd}");
        }
        assert!(Expire::Days(0) < Expire::Days(1) && Expire::Days(u32::MAX) < Expire::Never);
    }
}
