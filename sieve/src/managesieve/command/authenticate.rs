//! AUTHENTICATE: a login with a SASL mechanism.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use mailwright_line_proto::{Authenticate, Secret, is_mechanism_name};

use super::{Arguments, Command};
use crate::managesieve::token::put_string;

/// The command that begins an exchange, its initial response still encoded: what cannot be decoded must fail as
/// a login, not as a command.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::managesieve) struct Auth {
    /// In upper case.
    pub(in crate::managesieve) mechanism: String,
    pub(in crate::managesieve) initial: Option<Secret>,
}

impl Auth {
    /// The line that begins this exchange, or nothing if the mechanism's name is none.
    pub(in crate::managesieve) fn encode(request: &Authenticate) -> Option<Secret> {
        if !is_mechanism_name(request.mechanism.as_bytes()) {
            return None;
        }
        let mut line = format!("AUTHENTICATE \"{}\"", request.mechanism.to_ascii_uppercase()).into_bytes();
        if let Some(response) = &request.response {
            line.push(b' ');
            line.extend_from_slice(&encode_response(response.expose(), "+"));
        }
        Some(Secret::from(&line[..]))
    }
}

pub(super) fn parse(mut arguments: Arguments) -> Option<Command> {
    let mechanism = arguments.text().filter(|name| is_mechanism_name(name.as_bytes()))?.to_ascii_uppercase();
    let initial = if arguments.is_empty() { None } else { Some(Secret::from(&arguments.string()?[..])) };
    arguments.end(Command::Authenticate(Auth { mechanism, initial }))
}

/// A challenge or response as it stands on a line of its own; a literal's mark ends with `plus`.
pub(in crate::managesieve) fn encode_response(octets: &[u8], plus: &str) -> Vec<u8> {
    let mut line = Vec::new();
    put_string(&mut line, STANDARD.encode(octets).as_bytes(), plus);
    line
}

/// The octets of a challenge or response.
pub(in crate::managesieve) fn decode(text: &[u8]) -> Result<Bytes, BadBase64> {
    STANDARD.decode(text).map(Bytes::from).map_err(|_| BadBase64)
}

/// What should be Base64 is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::managesieve) struct BadBase64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::managesieve::command::parse_line;

    proptest! {
        #[test]
        fn survives_the_wire(
            mechanism in "[A-Z0-9_-]{1,20}",
            response in prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
        ) {
            let request = Authenticate::new(mechanism.clone(), response.as_deref().map(Secret::from));
            let line = Auth::encode(&request).unwrap();
            let Some(Command::Authenticate(auth)) = parse_line(line.expose()) else { panic!("{line:?}") };
            let found = auth.initial.map(|initial| decode(initial.expose()).unwrap().to_vec());
            prop_assert_eq!(found, response);
            prop_assert_eq!(auth.mechanism, mechanism);
        }
    }

    #[test]
    fn refuses_what_is_no_mechanism() {
        for bad in
            ["AUTHENTICATE PLAIN", "AUTHENTICATE \"PL@IN\"", "AUTHENTICATE \"\"", "AUTHENTICATE \"A\" B"]
        {
            assert_eq!(parse_line(bad.as_bytes()), None, "{bad}");
        }
    }
}
