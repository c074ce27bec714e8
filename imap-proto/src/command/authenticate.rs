//! AUTHENTICATE (RFC 3501 §6.2.2), with the initial response of SASL-IR (RFC 4959).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mailwright_line_proto::{Authenticate, Secret};

use crate::grammar::{GrammarError, Input, Wire};

/// Takes the arguments.
pub(super) fn parse(input: &mut Input<'_>) -> Result<Authenticate, GrammarError> {
    input.space()?;
    let mechanism = input.atom()?.to_ascii_uppercase();
    if input.is_empty() {
        return Ok(Authenticate::new(mechanism, None));
    }
    input.space()?;
    // Mutt with GNU SASL writes the space of an initial response also where there is none.
    if input.is_empty() {
        return Ok(Authenticate::new(mechanism, None));
    }
    let here = input.clone();
    let text = input.astring()?;
    let response = decode_response(&text).ok_or_else(|| here.expected("base64"))?;
    Ok(Authenticate::new(mechanism, Some(response)))
}

/// A SASL response as it stands on the wire: base64, or `=` for an empty initial one (RFC 4959 §3).
pub(crate) fn decode_response(text: &[u8]) -> Option<Secret> {
    if text == b"=" {
        return Some(Secret::default());
    }
    STANDARD.decode(text).ok().map(|octets| Secret::from(&octets[..]))
}

/// Writes the command; the initial response only if there is one, which the server must allow by SASL-IR.
pub(super) fn encode(authenticate: &Authenticate, wire: &mut impl Wire) {
    wire.put(b"AUTHENTICATE ");
    wire.put(authenticate.mechanism.as_bytes());
    if let Some(response) = &authenticate.response {
        wire.put(b" ");
        match response.expose() {
            [] => wire.put(b"="),
            octets => wire.put(STANDARD.encode(octets).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &[u8]) -> Option<Authenticate> {
        parse(&mut Input::new(text)).ok()
    }

    #[test]
    fn initial_responses() {
        let plain = |response: Option<&str>| Authenticate::new("PLAIN".into(), response.map(Secret::from));
        assert_eq!(parsed(b" plain"), Some(plain(None)));
        assert_eq!(parsed(b" plain "), Some(plain(None)));
        assert_eq!(parsed(b" plain  "), None);
        assert_eq!(parsed(b" PLAIN ="), Some(plain(Some(""))));
        assert_eq!(parsed(b" PLAIN AHRlc3QAdGVzdA=="), Some(plain(Some("\0test\0test"))));
        assert_eq!(parsed(b" PLAIN !!"), None);
        assert_eq!(parsed(b""), None);
        for request in [plain(None), plain(Some("")), plain(Some("\0a\0b"))] {
            let mut wire = Vec::new();
            encode(&request, &mut wire);
            assert_eq!(parsed(wire.strip_prefix(b"AUTHENTICATE").unwrap()), Some(request));
        }
    }
}
