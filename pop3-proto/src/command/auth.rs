//! AUTH: a login with a SASL mechanism (RFC 5034).

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use mailwright_line_proto::{Authenticate, Secret, is_mechanism_name};

use super::Command;

/// The command that begins an exchange, its initial response still encoded: what cannot be decoded must fail as
/// a login, not as a command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Auth {
    /// In upper case.
    pub(crate) mechanism: String,
    pub(crate) initial: Option<Secret>,
}

impl Auth {
    /// The line that begins this exchange, or nothing if the mechanism's name is none.
    pub(crate) fn encode(request: &Authenticate) -> Option<Secret> {
        if !is_mechanism_name(request.mechanism.as_bytes()) {
            return None;
        }
        let initial = match &request.response {
            None => String::new(),
            // RFC 5034 §4: an initial response of no octets is a "=".
            Some(response) if response.expose().is_empty() => " =".to_owned(),
            Some(response) => format!(" {}", STANDARD.encode(response.expose())),
        };
        Some(Secret::from(format!("AUTH {}{initial}", request.mechanism.to_ascii_uppercase()).as_str()))
    }

    /// The initial response, decoded.
    pub(crate) fn response(&self) -> Result<Option<Secret>, BadBase64> {
        match &self.initial {
            None => Ok(None),
            // RFC 5034 §4
            Some(initial) if initial.expose() == b"=" => Ok(Some(Secret::default())),
            Some(initial) => decode(initial.expose()).map(|octets| Some(Secret::from(&octets[..]))),
        }
    }
}

pub(super) fn parse(arguments: Option<&[u8]>) -> Option<Command> {
    let mut words = arguments?.split(|octet| *octet == b' ');
    let mechanism = words.next().filter(|name| is_mechanism_name(name))?;
    let initial = words.next();
    if words.next().is_some() || initial.is_some_and(<[u8]>::is_empty) {
        return None;
    }
    let mechanism = std::str::from_utf8(mechanism).ok()?.to_ascii_uppercase();
    Some(Command::Auth(Auth { mechanism, initial: initial.map(Secret::from) }))
}

/// A challenge or response as it stands on a line of its own.
pub(crate) fn encode_response(octets: &[u8]) -> String {
    STANDARD.encode(octets)
}

/// The octets of a challenge or response.
pub(crate) fn decode(text: &[u8]) -> Result<Bytes, BadBase64> {
    STANDARD.decode(text).map(Bytes::from).map_err(|_| BadBase64)
}

/// What should be Base64 is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadBase64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::command::parse_line;

    #[test]
    fn refuses_what_is_no_mechanism() {
        let long = [b"AUTH ".as_slice(), &[b'A'; 21]].concat();
        for bad in
            [&b"AUTH"[..], b"AUTH ", b"AUTH  PLAIN", b"AUTH PLAIN ", b"AUTH PLAIN a b", b"AUTH PL@IN", &long]
        {
            assert_eq!(parse_line(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn empty_and_absent_are_not_the_same() {
        for (line, response) in [("AUTH X", None), ("AUTH x =", Some(Secret::default()))] {
            let Some(Command::Auth(auth)) = parse_line(line.as_bytes()) else { panic!("{line}") };
            assert_eq!((auth.mechanism.as_str(), auth.response()), ("X", Ok(response)));
        }
        for bad in ["AUTH X ==", "AUTH X a", "AUTH X *", "AUTH X Zg", "AUTH X Zm=v"] {
            let Some(Command::Auth(auth)) = parse_line(bad.as_bytes()) else { panic!("{bad}") };
            assert_eq!(auth.response(), Err(BadBase64), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn survives_the_wire(
            mechanism in "[A-Z0-9_-]{1,20}",
            response in prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
        ) {
            let response = response.map(|octets| Secret::from(octets.as_slice()));
            let request = Authenticate::new(mechanism.clone(), response.clone());
            let line = Auth::encode(&request).unwrap();
            let Some(Command::Auth(auth)) = parse_line(line.expose()) else { panic!("{line:?}") };
            prop_assert_eq!(auth.response(), Ok(response));
            prop_assert_eq!(auth.mechanism, mechanism);
        }
    }
}
