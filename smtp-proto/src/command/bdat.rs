//! BDAT (RFC 3030 §2) and BURL (RFC 4468): a message in parts of known length.

use std::fmt;

use mailwright_line_proto::Request;

use super::{Command, Syntax, SyntaxError};
use crate::{
    Reply,
    words::{Key, leading_number, skip_spaces, split_word, text},
};

/// The next part of a message: so many octets follow the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bdat {
    /// How many octets.
    pub size: u64,
    /// Whether it is the last part.
    pub last: bool,
}

/// The next part of a message is to be fetched by the server from an IMAP URL.
///
/// The answer is a reply: 250 if the part was fetched and put behind what the message has so far.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Burl {
    /// The URL, as it was sent.
    pub url: String,
    /// Whether it is the last part.
    pub last: bool,
}

impl Bdat {
    /// A part of so many octets.
    pub fn new(size: u64, last: bool) -> Self {
        Self { size, last }
    }
}

impl Burl {
    /// A part from this URL.
    ///
    /// # Errors
    /// If it is empty or has other octets than printable ASCII.
    pub fn new(url: impl Into<String>, last: bool) -> Result<Self, SyntaxError> {
        let url = url.into();
        let fits = !url.is_empty() && url.bytes().all(|octet| octet.is_ascii_graphic());
        if fits { Ok(Self { url, last }) } else { Err(BURL) }
    }
}

impl Request for Burl {
    type Answer = Reply;
}

impl fmt::Display for Bdat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "BDAT {}{}", self.size, if self.last { " LAST" } else { "" })
    }
}

impl fmt::Display for Burl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "BURL {}{}", self.url, if self.last { " LAST" } else { "" })
    }
}

const BDAT: SyntaxError = SyntaxError::Arguments("BDAT octets [LAST]");
const BURL: SyntaxError = SyntaxError::Arguments("BURL url [LAST]");

/// A number is read exactly or not at all.
pub(super) fn parse_bdat(arguments: &[u8], _: Syntax) -> Result<Command, SyntaxError> {
    let (size, rest) = leading_number(skip_spaces(arguments), 20).ok_or(BDAT)?;
    let last = is_last(rest).ok_or(BDAT)?;
    Ok(Command::Bdat(Bdat { size, last }))
}

pub(super) fn parse_burl(arguments: &[u8], _: Syntax) -> Result<Command, SyntaxError> {
    let (url, rest) = split_word(skip_spaces(arguments));
    let last = is_last(rest).ok_or(BURL)?;
    Burl::new(text(url)?, last).map(Command::Burl)
}

/// Whether LAST stands behind the first word, if that is all that may stand there.
fn is_last(rest: &[u8]) -> Option<bool> {
    const LAST: Key = Key::of("LAST");
    match rest {
        [] => Some(false),
        [b' ', rest @ ..] => match skip_spaces(rest) {
            [] => Some(false),
            last => (Key::of_octets(last) == LAST).then_some(true),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_numbers_and_nothing_else() {
        for bad in [
            "",
            "99999999999999999999999",
            "18446744073709551616",
            "0x10",
            "abc",
            "-1",
            "+1",
            "1.0",
            "1 LAS",
            "10 LAST EXTRA",
            "LAST",
            "LAST 10",
            "1,000",
        ] {
            let line = format!("BDAT {bad}");
            assert_eq!(Command::parse(line.as_bytes(), Syntax::Lenient), Err(BDAT), "{bad}");
        }
        assert_eq!(
            Command::parse(b"bdat 4294967296 last", Syntax::Strict),
            Ok(Command::Bdat(Bdat::new(1 << 32, true)))
        );
        assert!(Command::parse(b"BURL", Syntax::Strict).is_err());
        assert!(Burl::new("imap://a b/", false).is_err());
    }

    proptest! {
        #[test]
        fn comes_round(size: u64, last: bool, url in "[!-~]{1,60}") {
            for command in [Command::Bdat(Bdat::new(size, last)), Command::Burl(Burl::new(url, last).unwrap())] {
                let line = command.encode();
                prop_assert_eq!(Command::parse(line.trim_end().as_bytes(), Syntax::Strict), Ok(command));
            }
        }
    }
}
