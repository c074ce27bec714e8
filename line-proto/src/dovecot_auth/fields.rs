//! What stands in a line.

use std::net::IpAddr;

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{Secret, is_mechanism_name};

/// A mechanism that a server offers, with its properties as Dovecot names them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MechanismOffer {
    /// Its name, in upper case.
    pub name: String,
    /// Whether it shows the password to whoever listens.
    pub plaintext: bool,
}

impl MechanismOffer {
    /// A mechanism of this name.
    pub fn new(name: impl Into<String>, plaintext: bool) -> Self {
        Self { name: name.into(), plaintext }
    }

    pub(super) fn encode(&self) -> String {
        let properties = if self.plaintext { "\tplaintext" } else { "" };
        format!("MECH\t{}{properties}\n", self.name)
    }

    /// What stands behind `MECH`.
    pub(super) fn parse<'a>(mut fields: impl Iterator<Item = &'a str>) -> Option<Self> {
        let name = fields.next().filter(|name| is_mechanism_name(name.as_bytes()))?.to_ascii_uppercase();
        Some(Self { name, plaintext: fields.any(|property| property == "plaintext") })
    }
}

/// The beginning of an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthRequest {
    /// The mechanism's name, in upper case.
    pub mechanism: String,
    /// What the login is for: `smtp`, `imap`.
    pub service: String,
    /// The address of the user's program, and our own that it connected to.
    pub remote: Option<IpAddr>,
    /// As above.
    pub local: Option<IpAddr>,
    /// Whether the user's program is connected with TLS.
    pub secured: bool,
    /// The initial response.
    pub initial: Option<Secret>,
}

impl AuthRequest {
    /// A login for this service, from nobody knows where.
    pub fn new(mechanism: impl Into<String>, service: impl Into<String>) -> Self {
        Self {
            mechanism: mechanism.into(),
            service: service.into(),
            remote: None,
            local: None,
            secured: false,
            initial: None,
        }
    }

    /// What stands behind `AUTH` and the number.
    pub(super) fn parse<'a>(mut fields: impl Iterator<Item = &'a str>) -> Result<Self, BadRequest> {
        let mechanism = fields.next().filter(|name| is_mechanism_name(name.as_bytes()));
        let mut request = Self::new(mechanism.ok_or(BadRequest::Line)?.to_ascii_uppercase(), "");
        for field in fields {
            let (key, value) = field.split_once('=').unwrap_or((field, ""));
            match key {
                "service" => request.service = unescape(value).ok_or(BadRequest::Line)?,
                "rip" => request.remote = value.parse().ok(),
                "lip" => request.local = value.parse().ok(),
                "secured" => request.secured = true,
                "resp" => request.initial = Some(decode(value).ok_or(BadRequest::Response)?),
                // The rest is for the log of whoever wants it; what is new is to be ignored.
                _ => {}
            }
        }
        if request.service.is_empty() { Err(BadRequest::Line) } else { Ok(request) }
    }

    pub(super) fn encode(&self, id: u32) -> String {
        let mut line = format!("AUTH\t{id}\t{}\tservice={}", self.mechanism, escape(&self.service));
        for (key, address) in [("lip", self.local), ("rip", self.remote)] {
            if let Some(address) = address {
                line += &format!("\t{key}={address}");
            }
        }
        if self.secured {
            line += "\tsecured";
        }
        // It is the last: everything behind it belongs to it.
        if let Some(initial) = &self.initial {
            line += &format!("\tresp={}", STANDARD.encode(initial.expose()));
        }
        line + "\n"
    }
}

/// Why a request cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadRequest {
    /// It is the program's fault that speaks the protocol.
    Line,
    /// What its user sent as an initial response is no Base64: programs hand it on as it came.
    Response,
}

pub(super) fn decode(text: &str) -> Option<Secret> {
    Some(Secret::from(&STANDARD.decode(text).ok()?[..]))
}

/// What would end a field or a line stands behind an octet 1.
pub(super) fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, letter| {
        match letter {
            '\0' => escaped.push_str("\x010"),
            '\x01' => escaped.push_str("\x011"),
            '\t' => escaped.push_str("\x01t"),
            '\r' => escaped.push_str("\x01r"),
            '\n' => escaped.push_str("\x01n"),
            other => escaped.push(other),
        }
        escaped
    })
}

pub(super) fn unescape(text: &str) -> Option<String> {
    let mut letters = text.chars();
    let mut plain = String::with_capacity(text.len());
    while let Some(letter) = letters.next() {
        plain.push(match letter {
            '\x01' => match letters.next()? {
                '0' => '\0',
                '1' => '\x01',
                't' => '\t',
                'r' => '\r',
                'n' => '\n',
                _ => return None,
            },
            other => other,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_are_read_as_postfix_writes_them() {
        let line = "PLAIN\tservice=smtp\tnologin\tlip=127.0.0.1\trip=192.0.2.1\tsecured\tresp=AHRpbQBwYXNz";
        let found = AuthRequest::parse(line.split('\t')).unwrap();
        assert_eq!((found.mechanism.as_str(), found.service.as_str()), ("PLAIN", "smtp"));
        assert_eq!((found.remote, found.secured), (Some("192.0.2.1".parse().unwrap()), true));
        assert_eq!(found.initial.as_ref().map(Secret::expose), Some(&b"\0tim\0pass"[..]));
        let encoded = found.encode(7);
        let fields = encoded.trim_end().strip_prefix("AUTH\t7\t").unwrap();
        assert_eq!(AuthRequest::parse(fields.split('\t')), Ok(found));
        for (text, bad) in [
            ("", BadRequest::Line),
            ("PLAIN", BadRequest::Line),
            ("PL AIN\tservice=smtp", BadRequest::Line),
            ("PLAIN\tservice=a\x01", BadRequest::Line),
            ("PLAIN\tservice=smtp\tresp=!", BadRequest::Response),
        ] {
            assert_eq!(AuthRequest::parse(text.split('\t')), Err(bad), "{text}");
        }
    }

    proptest! {
        #[test]
        fn escapes_are_taken_off_again(text in "[\0\x01\t\r\na-c]{0,12}") {
            prop_assert!(!escape(&text).contains(['\0', '\t', '\r', '\n']));
            prop_assert_eq!(unescape(&escape(&text)), Some(text));
        }
    }
}
