//! LANG: the language of texts for people (RFC 6856 §3).

use mailwright_line_proto::Request;

use super::Command;
use crate::{Refusal, Text, grammar};

/// Asks for a language, by a basic language range (RFC 4647 §2.1) or `*` for the server's favourite; or for all that there
/// are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lang(
    /// The range, or nothing to have them listed.
    pub Option<String>,
);

impl Lang {
    /// The line, or nothing if the range is none.
    pub(crate) fn encode(&self) -> Option<String> {
        match &self.0 {
            None => Some("LANG".to_owned()),
            Some(range) => is_range(range.as_bytes()).then(|| format!("LANG {range}")),
        }
    }
}

impl Request for Lang {
    /// The one language that was chosen, or all that there are.
    type Answer = Result<Vec<Language>, Refusal>;
}

/// A language that a server speaks (RFC 6856 §3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Language {
    /// Its tag (RFC 5646).
    pub tag: Text,
    /// What it is called, in itself; of one that was just chosen, what the server says in it.
    pub description: Text,
}

impl Language {
    /// Reads a language listing, or what stands behind the `+OK` of a choice.
    pub(crate) fn decode(text: &[u8]) -> Option<Self> {
        let tag = grammar::fields(text).next()?;
        let at = text.iter().position(|octet| !octet.is_ascii_whitespace())? + tag.len();
        Some(Self { tag: Text::received(tag), description: Text::received(text.get(at..)?) })
    }
}

/// RFC 4647 §2.1: at most eight subtags of at most eight letters and digits.
fn is_range(text: &[u8]) -> bool {
    let subtag = |tag: &[u8]| (1..=8).contains(&tag.len()) && tag.iter().all(u8::is_ascii_alphanumeric);
    text == b"*" || (text.len() <= 72 && text.split(|octet| *octet == b'-').all(subtag))
}

pub(super) fn parse(arguments: Option<&[u8]>) -> Option<Command> {
    let range = match arguments {
        None => None,
        Some(range) if is_range(range) => Some(String::from_utf8_lossy(range).into_owned()),
        Some(_) => return None,
    };
    Some(Command::Lang(Lang(range)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::command::parse_line;

    #[test]
    fn reads_listings_and_choices() {
        for (text, tag, description) in [
            ("en English", "en", "English"),
            ("en-boont English Boontling dialect", "en-boont", "English Boontling dialect"),
            (" es  Espa\u{f1}ol ", "es", "Espa\u{f1}ol"),
            ("sv", "sv", ""),
        ] {
            let found = Language::decode(text.as_bytes()).unwrap();
            assert_eq!((found.tag.as_str(), found.description.as_str()), (tag, description), "{text:?}");
        }
        assert_eq!(Language::decode(b"  "), None);
        for bad in ["LANG ", "LANG a b", "LANG -", "LANG \u{e9}", "LANG abcdefghi", "LANG a--b"] {
            assert_eq!(parse_line(bad.as_bytes()), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn survives_the_wire(range in prop::option::of("\\*|[a-zA-Z]{1,8}(-[a-z0-9]{1,8}){0,3}")) {
            let lang = Lang(range);
            prop_assert_eq!(parse_line(lang.encode().unwrap().as_bytes()), Some(Command::Lang(lang)));
        }
    }
}
