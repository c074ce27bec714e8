//! AUTH (RFC 4954 §4).

use base64::{Engine, engine::general_purpose::STANDARD};
use mailwright_line_proto::{Authenticate, Secret, is_mechanism_name};
use memchr::memchr;

use super::{Command, Syntax, SyntaxError};
use crate::words::{skip_spaces, word};

const USAGE: &str = "AUTH mechanism [initial-response]";

pub(super) fn parse(arguments: &[u8], _: Syntax) -> Result<Command, SyntaxError> {
    const WRONG: SyntaxError = SyntaxError::Arguments(USAGE);
    let (name, rest) = word(skip_spaces(arguments));
    if !is_mechanism_name(name) {
        return Err(WRONG);
    }
    let mechanism = String::from_utf8(name.to_ascii_uppercase()).map_err(|_| WRONG)?;
    let rest = skip_spaces(rest);
    // A response may be long.
    let end = memchr(b' ', rest).unwrap_or(rest.len());
    let (response, rest) = rest.split_at_checked(end).ok_or(WRONG)?;
    let response = (!response.is_empty()).then(|| initial(response)).transpose()?;
    if !skip_spaces(rest).is_empty() {
        return Err(WRONG);
    }
    Ok(Command::Authenticate(Authenticate::new(mechanism, response)))
}

pub(super) fn encode(authenticate: &Authenticate) -> String {
    let mut line = format!("AUTH {}", authenticate.mechanism);
    if let Some(response) = &authenticate.response {
        line.push(' ');
        match response.expose() {
            // RFC 4954 §4: an empty initial response, not to be taken for none
            [] => line.push('='),
            octets => STANDARD.encode_string(octets, &mut line),
        }
    }
    line
}

/// A line that answers a challenge: `None` if it cancels the exchange.
pub(crate) fn response(line: &[u8]) -> Result<Option<Secret>, SyntaxError> {
    // RFC 4954 §4: a line of one "*"
    if line == b"*" { Ok(None) } else { decode(line).map(Some) }
}

fn initial(word: &[u8]) -> Result<Secret, SyntaxError> {
    if word == b"=" { Ok(Secret::default()) } else { decode(word) }
}

fn decode(text: &[u8]) -> Result<Secret, SyntaxError> {
    STANDARD.decode(text).map(Secret::from).map_err(|_| SyntaxError::Base64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn initial_responses() {
        let parse = |line: &str| Command::parse(line.as_bytes(), Syntax::Strict);
        let auth = |response: Option<&str>| {
            Ok(Command::Authenticate(Authenticate::new("PLAIN".to_owned(), response.map(Secret::from))))
        };
        assert_eq!(parse("AUTH PLAIN"), auth(None));
        assert_eq!(parse("auth plain AGEAYg=="), auth(Some("\0a\0b")));
        assert_eq!(parse("AUTH PLAIN ="), auth(Some("")));
        assert_eq!(parse("AUTH  plain  YQ==  "), auth(Some("a")));
        for bad in ["AUTH", "AUTH PLAIN YQ== b", "AUTH PL!IN", "AUTH AAAAAAAAAABBBBBBBBBBC"] {
            assert_eq!(parse(bad), Err(SyntaxError::Arguments(USAGE)), "{bad}");
        }
        for bad in ["AUTH PLAIN !!!!", "AUTH PLAIN AGEAYg=", "AUTH PLAIN *", "AUTH PLAIN =="] {
            assert_eq!(parse(bad), Err(SyntaxError::Base64), "{bad}");
        }
    }

    #[test]
    fn responses() {
        assert_eq!(response(b"*"), Ok(None));
        assert_eq!(response(b""), Ok(Some(Secret::default())));
        assert_eq!(response(b"YQ=="), Ok(Some(Secret::from("a"))));
        assert_eq!(response(b"="), Err(SyntaxError::Base64));
        assert_eq!(response(b"YQ== "), Err(SyntaxError::Base64));
    }

    proptest! {
        #[test]
        fn comes_round(name in "[A-Z0-9_-]{1,20}", octets in prop::option::of(prop::collection::vec(any::<u8>(), 0..80))) {
            let response = octets.map(|octets| Secret::from(&octets[..]));
            let command = Command::Authenticate(Authenticate::new(name, response));
            prop_assert_eq!(Command::parse(command.encode().trim_end().as_bytes(), Syntax::Strict), Ok(command));
        }
    }
}
