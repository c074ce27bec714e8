//! `* CAPABILITY` and `* ENABLED`: lists of names.

use super::reader::{Reader, Result};
use crate::grammar::Wire;

/// What a server says it can do (RFC 9051 §7.2.2), in upper case, in its order.
///
/// ```
/// use mailwright_imap_proto::response::Capabilities;
///
/// let capabilities: Capabilities = ["IMAP4rev1", "auth=plain", "IDLE"].into_iter().collect();
/// assert!(capabilities.has("idle"));
/// assert!(capabilities.mechanisms().eq(["PLAIN"]));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Capabilities(Vec<Box<str>>);

impl Capabilities {
    /// Whether `name` is among them, in any case.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|one| one.eq_ignore_ascii_case(name))
    }

    /// All names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }

    /// The SASL mechanisms among them.
    pub fn mechanisms(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|name| name.strip_prefix("AUTH="))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes `* CAPABILITY` and the names.
    pub fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"* CAPABILITY");
        self.put_names(wire);
        wire.put(b"\r\n");
    }

    /// Writes `* ENABLED` and the names (RFC 5161 §3.2).
    pub fn encode_enabled(&self, wire: &mut impl Wire) {
        wire.put(b"* ENABLED");
        self.put_names(wire);
        wire.put(b"\r\n");
    }

    /// Writes each name behind a space.
    pub(super) fn put_names(&self, wire: &mut impl Wire) {
        for name in &self.0 {
            wire.put(b" ");
            // Case means nothing, but every server spells these two so, and there are clients that look for that.
            wire.put(match &**name {
                "IMAP4REV1" => b"IMAP4rev1",
                "IMAP4REV2" => b"IMAP4rev2",
                name => name.as_bytes(),
            });
        }
    }

    /// Reads each name behind a space, to the end of the line or a `]`.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let mut names = Vec::new();
        loop {
            let before = reader.clone();
            if reader.space().is_err() {
                break;
            }
            // Spaces at the end of the list are the caller's to judge.
            let Ok(name) = reader.atom() else {
                *reader = before;
                reader.padding();
                break;
            };
            names.push(spelled(name));
        }
        Ok(Self(names))
    }
}

/// In upper case, for case means nothing; but the URL behind `IMAPSIEVE=` is as it was written (RFC 6785 §2.1).
fn spelled(name: &str) -> Box<str> {
    const SIEVE: &str = "IMAPSIEVE=";
    match name.split_at_checked(SIEVE.len()) {
        Some((front, url)) if front.eq_ignore_ascii_case(SIEVE) => format!("{SIEVE}{url}").into(),
        _ => name.to_ascii_uppercase().into(),
    }
}

impl<'a> FromIterator<&'a str> for Capabilities {
    /// Names that are no atoms are left out: they cannot be sent.
    fn from_iter<I: IntoIterator<Item = &'a str>>(names: I) -> Self {
        let is_atom = |name: &&str| !name.is_empty() && name.bytes().all(crate::grammar::is_atom_char);
        Self(names.into_iter().filter(is_atom).map(spelled).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::{Leniency, Response};

    #[test]
    fn a_url_is_spelled_as_it_was() {
        let line = b"* CAPABILITY IMAP4rev1 imapsieve=sieve://Mail.example.org idle\r\n";
        let Ok(Response::Capability(names)) = Response::parse(line, Leniency::strict()) else { panic!() };
        assert!(names.iter().eq(["IMAP4REV1", "IMAPSIEVE=sieve://Mail.example.org", "IDLE"]));
        assert!(names.has("IMAPSIEVE=SIEVE://MAIL.EXAMPLE.ORG"));
    }

    #[test]
    fn both_responses() {
        let names: Capabilities =
            ["IMAP4rev1", "AUTH=PLAIN", "LITERAL+", "bad name", ""].into_iter().collect();
        let mut octets = Vec::new();
        names.encode(&mut octets);
        assert_eq!(String::from_utf8_lossy(&octets), "* CAPABILITY IMAP4rev1 AUTH=PLAIN LITERAL+\r\n");
        assert_eq!(Response::parse(&octets, Leniency::strict()), Ok(Response::Capability(names)));
        let mut octets = Vec::new();
        Capabilities::default().encode_enabled(&mut octets);
        assert_eq!(
            Response::parse(&octets, Leniency::strict()),
            Ok(Response::Enabled(Capabilities::default()))
        );
        let spaces = b"* CAPABILITY IMAP4rev1  IDLE \r\n";
        assert!(Response::parse(spaces, Leniency::strict()).is_err());
        assert!(Response::parse(spaces, Leniency::tolerant()).is_ok());
    }
}
