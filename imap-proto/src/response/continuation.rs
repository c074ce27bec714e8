//! `+`: the server waits for the rest of a command.

use super::reader::{Reader, Result};
use crate::grammar::Wire;

/// A command continuation request (RFC 9051 §7.6): text for people, or the Base64 of a SASL challenge.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Continuation {
    /// What follows `+` and the space.
    pub text: Vec<u8>,
}

impl Continuation {
    /// With this text; line ends in it become spaces.
    pub fn new(text: impl Into<Vec<u8>>) -> Self {
        let mut text = text.into();
        for octet in &mut text {
            if matches!(octet, b'\r' | b'\n' | 0) {
                *octet = b' ';
            }
        }
        Self { text }
    }

    /// Writes `+`, a space (some clients want it even before nothing) and the text.
    pub fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"+ ");
        wire.put(&self.text);
        wire.put(b"\r\n");
    }

    /// What follows the `+`.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let missing = reader.leniency.missing_text && reader.input.is_empty();
        if !missing && !reader.eat(b' ') {
            return Err(reader.expected("a space behind the +"));
        }
        Ok(Self { text: reader.rest().to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::{Leniency, Response};

    #[test]
    fn with_and_without_text() {
        for text in ["", "idling", "YGgGCSqGSIb3EgECAgIAb1kwV6ADAgEFoQMCAQ+iSzBJoAMC"] {
            let continuation = Continuation::new(text);
            let mut octets = Vec::new();
            continuation.encode(&mut octets);
            assert_eq!(Response::parse(&octets, Leniency::strict()), Ok(Response::Continue(continuation)));
        }
        assert_eq!(
            Response::parse(b"+\r\n", Leniency::tolerant()),
            Ok(Response::Continue(Continuation::default()))
        );
        assert!(Response::parse(b"+\r\n", Leniency::strict()).is_err());
        let mut octets = Vec::new();
        Continuation::new("a\r\nb").encode(&mut octets);
        assert_eq!(octets, b"+ a  b\r\n");
    }
}
