//! URLFETCH (RFC 4467 §7, RFC 5524): what URLs name that somebody has given out.

use mailwright_line_proto::Request;

use crate::{
    grammar::{GrammarError, Input, Wire},
    refusal::Answered,
};

/// How many URLs one command may name, and things about each.
const MOST_URLS: usize = 100;
const MOST_ITEMS: usize = 8;

/// Sends what these URLs name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UrlFetch {
    /// Each with what is wanted of it.
    pub urls: Vec<WantedUrl>,
}

/// A URL, and what is wanted of what it names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WantedUrl {
    /// The URL as the client gave it.
    pub url: String,
    /// The octets: as they are, or without their transfer encoding; `None` if only the structure is wanted.
    pub octets: Option<UrlOctets>,
    /// The structure of the part.
    pub structure: bool,
    /// Whether it is to be answered in the form of RFC 5524.
    pub(crate) extended: bool,
}

/// How the octets are to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UrlOctets {
    /// As they are stored.
    Encoded,
    /// Without their transfer encoding.
    Decoded,
}

impl UrlFetch {
    /// Asks for the octets of what these URLs name.
    pub fn new(urls: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let urls = urls.into_iter().map(|url| WantedUrl::plain(url.into())).collect();
        Self { urls }
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        let mut urls = Vec::new();
        input.space()?;
        loop {
            if urls.len() == MOST_URLS {
                return Err(GrammarError::TooMany { what: "URLs", limit: MOST_URLS });
            }
            urls.push(WantedUrl::parse(input)?);
            if !input.eat(b' ') {
                return Ok(Self { urls });
            }
        }
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"URLFETCH");
        for wanted in &self.urls {
            wire.put(b" ");
            wanted.encode(wire);
        }
    }
}

impl Request for UrlFetch {
    type Answer = Answered<()>;
}

impl WantedUrl {
    fn plain(url: String) -> Self {
        Self { url, octets: Some(UrlOctets::Encoded), structure: false, extended: false }
    }

    /// This of what a URL names, in the form of RFC 5524.
    pub fn new(url: impl Into<String>, octets: Option<UrlOctets>, structure: bool) -> Self {
        Self { url: url.into(), octets, structure, extended: true }
    }

    fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        let url = |input: &mut Input<'_>| -> Result<String, GrammarError> {
            let here = input.clone();
            let octets = input.astring()?.into_owned();
            // What is no URL at all is answered with NIL; what cannot be repeated in an answer is an error.
            let text = String::from_utf8(octets).ok();
            let text = text.filter(|text| text.bytes().all(|octet| octet.is_ascii_graphic()));
            text.ok_or_else(|| here.expected("a URL"))
        };
        if !input.eat(b'(') {
            return Ok(Self::plain(url(input)?));
        }
        let mut wanted = Self::new(url(input)?, None, false);
        let mut items = 0;
        while input.eat(b' ') {
            items += 1;
            let here = input.clone();
            let octets = if input.keyword("BODYPARTSTRUCTURE") {
                wanted.structure = true;
                None
            } else if input.keyword("BODY") {
                Some(UrlOctets::Encoded)
            } else if input.keyword("BINARY") {
                Some(UrlOctets::Decoded)
            } else {
                return Err(here.expected("BODY, BINARY or BODYPARTSTRUCTURE"));
            };
            // RFC 5524 §3.2: one of them.
            let twice = octets.is_some() && wanted.octets.is_some();
            if items > MOST_ITEMS || twice {
                return Err(here.expected("one of BODY and BINARY"));
            }
            wanted.octets = octets.or(wanted.octets);
        }
        input.octet(b')', "a closing parenthesis")?;
        if items == 0 {
            wanted.octets = Some(UrlOctets::Encoded);
        }
        Ok(wanted)
    }

    fn encode(&self, wire: &mut impl Wire) {
        if !self.extended {
            return wire.put_string(self.url.as_bytes());
        }
        wire.put(b"(");
        wire.put_string(self.url.as_bytes());
        for (wanted, word) in [
            (self.structure, &b" BODYPARTSTRUCTURE"[..]),
            (self.octets == Some(UrlOctets::Encoded), b" BODY"),
            (self.octets == Some(UrlOctets::Decoded), b" BINARY"),
        ] {
            if wanted {
                wire.put(word);
            }
        }
        wire.put(b")");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_as_they_were_written() {
        for text in [
            " \"imap://a@b/c;uid=1\"",
            " \"imap://a@b/c;uid=1\" (\"x\" BODYPARTSTRUCTURE BINARY) (\"y\" BODY)",
            " (\"x\" BODYPARTSTRUCTURE)",
        ] {
            let mut input = Input::new(text.as_bytes());
            let read = UrlFetch::parse(&mut input).unwrap();
            assert!(input.is_empty());
            let mut wire = Vec::new();
            read.encode(&mut wire);
            assert_eq!(String::from_utf8(wire).unwrap(), format!("URLFETCH{text}"));
        }
        for bad in ["", " (x BODY BINARY)", " (x TEXT)", " (x", " \"a b\"", " ()"] {
            assert!(UrlFetch::parse(&mut Input::new(bad.as_bytes())).is_err(), "{bad}");
        }
    }
}
