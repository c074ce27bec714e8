//! LANGUAGE (RFC 5255 §3).

use crate::grammar::{GrammarError, Input, Wire};

/// How many languages one command may name.
const MOST_RANGES: usize = 32;

/// The texts for people shall be in the first of these languages that is known; which are there, if none is named.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Language {
    /// Language ranges (RFC 4647), the best first, or `default`.
    pub ranges: Vec<String>,
}

impl Language {
    /// Asks which languages there are.
    pub fn known() -> Self {
        Self::default()
    }

    /// Asks for the first of these that is known.
    pub fn new(ranges: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { ranges: ranges.into_iter().map(Into::into).collect() }
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        let mut ranges = Vec::new();
        while input.eat(b' ') {
            if ranges.len() == MOST_RANGES {
                return Err(GrammarError::TooMany { what: "languages", limit: MOST_RANGES });
            }
            let here = input.clone();
            let range = String::from_utf8_lossy(&input.astring()?).into_owned();
            let fits = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'*');
            if range.is_empty() || !range.bytes().all(fits) {
                return Err(here.expected("a language such as en or de-CH"));
            }
            ranges.push(range);
        }
        Ok(Self { ranges })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"LANGUAGE");
        for range in &self.ranges {
            wire.put(b" ");
            wire.put_astring(range.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_they_were_written() {
        for (text, count) in [("", 0), (" EN", 1), (" \"default\"", 1), (" fr-CA \"*\" i-default", 3)] {
            let mut input = Input::new(text.as_bytes());
            let language = Language::parse(&mut input).unwrap();
            assert!(input.is_empty() && language.ranges.len() == count, "{text}");
            let mut wire = Vec::new();
            language.encode(&mut wire);
            let mut again = Input::new(wire.strip_prefix(b"LANGUAGE").unwrap());
            assert_eq!(Language::parse(&mut again).unwrap(), language);
        }
        for bad in [" ", " \"\"", " \"d e\"", " en  de"] {
            assert!(Language::parse(&mut Input::new(bad.as_bytes())).is_err(), "{bad:?}");
        }
    }
}
