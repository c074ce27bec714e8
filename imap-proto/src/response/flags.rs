//! `* FLAGS`, and the lists of flags in other responses.

use mailwright_mail_model::{Flag, FlagSet};

use super::reader::{Reader, Result};
use crate::grammar::{GrammarError, Wire};

/// The most keywords of a list that is read: sets of them are made for dozens.
const MAX_KEYWORDS: usize = 1000;

/// Flags in a response, with the two that are none: `\Recent` and `\*`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FlagList {
    /// The flags.
    pub flags: FlagSet,
    /// `\Recent`: this session is the first to be told of the message (RFC 3501 §2.3.2).
    pub recent: bool,
    /// `\*` in PERMANENTFLAGS: new keywords can be made (RFC 9051 §7.1).
    pub wildcard: bool,
}

impl FlagList {
    /// These flags, without the two others.
    pub fn new(flags: FlagSet) -> Self {
        Self { flags, recent: false, wildcard: false }
    }

    /// With `\Recent`, or without.
    #[must_use]
    pub fn recent(self, recent: bool) -> Self {
        Self { recent, ..self }
    }

    /// With `\*`, or without.
    #[must_use]
    pub fn wildcard(self, wildcard: bool) -> Self {
        Self { wildcard, ..self }
    }

    /// Writes `* FLAGS (…)`.
    pub fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"* FLAGS ");
        self.put(wire);
        wire.put(b"\r\n");
    }

    pub(super) fn put(&self, wire: &mut impl Wire) {
        let extra = match (self.recent, self.wildcard) {
            (false, false) => None,
            (true, false) => Some("\\Recent"),
            (false, true) => Some("\\*"),
            (true, true) => Some("\\Recent \\*"),
        };
        wire.put_flags_and(&self.flags, extra);
    }

    /// The list in its parentheses. Flags that nobody knows are passed over: they cannot be asked for either.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let mut list = Self::default();
        reader.list(|reader| {
            let word = reader.word()?;
            match word {
                b"\\*" => list.wildcard = true,
                word if word.eq_ignore_ascii_case(b"\\Recent") => list.recent = true,
                word => {
                    if let Some(flag) = str::from_utf8(word).ok().and_then(|word| word.parse::<Flag>().ok()) {
                        list.flags.insert(flag);
                    }
                    if list.flags.keywords().len() > MAX_KEYWORDS {
                        return Err(GrammarError::TooMany { what: "keywords", limit: MAX_KEYWORDS });
                    }
                }
            }
            Ok(())
        })?;
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::{Leniency, Response};

    #[test]
    fn unknown_flags_are_passed_over() {
        let found = Response::parse(b"* FLAGS (\\Seen \\Weird $x \\* a]b \\recent)\r\n", Leniency::strict());
        let flags = FlagList::new("(\\Seen $x)".parse().unwrap()).recent(true).wildcard(true);
        assert_eq!(found, Ok(Response::Flags(flags.clone())));
        let mut octets = Vec::new();
        flags.encode(&mut octets);
        assert_eq!(octets, b"* FLAGS (\\Seen $x \\Recent \\*)\r\n");
    }
    #[test]
    fn keywords_are_bounded() {
        for (count, fits) in [(999, true), (1000, true), (1001, false), (1_000_000, false)] {
            let names: Vec<_> = (0..count).map(|number| format!("kw{number}")).collect();
            let line = format!("* FLAGS ({})\r\n", names.join(" "));
            assert_eq!(Response::parse(line.as_bytes(), Leniency::tolerant()).is_ok(), fits, "{count}");
        }
    }
}
