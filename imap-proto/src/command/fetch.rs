//! FETCH (RFC 3501 §6.4.5).

use mailwright_line_proto::Request;
use mailwright_mail_model::UidSet;

use super::{Partial, Section, SectionText};
use crate::{
    MessageSet,
    grammar::{GrammarError, Input, Wire},
    refusal::Answered,
};

/// How many items one FETCH may ask for.
const MAX_ITEMS: usize = 256;

/// Reads messages.
///
/// A server's application sends each message's items, in the order of the UIDs, with `Server::fetch`, and answers
/// when all are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fetch<M = MessageSet> {
    /// Which messages.
    pub messages: M,
    /// What of them; each item once. Never [`FetchItem::Uid`] in a server's event: the machine sends UIDs by itself.
    pub items: Vec<FetchItem>,
}

/// One thing to know of a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FetchItem {
    /// The flags.
    Flags,
    /// When the message came into this store.
    InternalDate,
    /// The size in octets, line ends as CRLF.
    Size,
    /// The envelope: what the header says of sender, recipients, date and subject.
    Envelope,
    /// The MIME structure without extension data (`BODY`).
    Body,
    /// The MIME structure with extension data.
    BodyStructure,
    /// The UID.
    Uid,
    /// Octets of the message.
    Section(BodySection),
}

/// Octets of a message, as one item of FETCH.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct BodySection {
    /// The name it is asked for and answered by; it changes nothing about the octets.
    pub name: BodyName,
    /// Which part of the message.
    pub section: Section,
    /// Which octets of it; all if `None`.
    pub partial: Option<Partial>,
    /// Whether `\Seen` shall stay as it is.
    pub peek: bool,
}

/// The names by which octets of a message are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BodyName {
    /// `BODY[section]`, or `BODY.PEEK[section]`.
    Body,
    /// `RFC822`, the whole message.
    Rfc822,
    /// `RFC822.HEADER`, the header; like `BODY.PEEK[HEADER]`.
    Rfc822Header,
    /// `RFC822.TEXT`, what follows the header.
    Rfc822Text,
}

impl BodySection {
    /// `BODY.PEEK[section]`: octets of a message without a change to its flags.
    pub fn peek(section: Section) -> Self {
        Self { name: BodyName::Body, section, partial: None, peek: true }
    }

    /// Only some octets of it.
    #[must_use]
    pub fn with_partial(self, partial: Partial) -> Self {
        Self { partial: Some(partial), ..self }
    }

    fn rfc822(name: BodyName) -> Self {
        let text = match name {
            BodyName::Rfc822Header => SectionText::Header,
            BodyName::Rfc822Text => SectionText::Text,
            _ => SectionText::Whole,
        };
        let section = Section::new(Vec::new(), text);
        Self { name, section, partial: None, peek: name == BodyName::Rfc822Header }
    }

    /// The name of the item in the response, where a partial is named by its first octet.
    pub(crate) fn encode_in_response(&self, wire: &mut impl Wire) {
        wire.put(match self.name {
            BodyName::Body => b"BODY",
            BodyName::Rfc822 => return wire.put(b"RFC822"),
            BodyName::Rfc822Header => return wire.put(b"RFC822.HEADER"),
            BodyName::Rfc822Text => return wire.put(b"RFC822.TEXT"),
        });
        self.section.encode(wire);
        if let Some(partial) = self.partial {
            wire.put(b"<");
            wire.put_number(partial.offset);
            wire.put(b">");
        }
    }
}

impl<M> Fetch<M> {
    /// Reads these items; what is named twice is read once.
    pub fn new(messages: M, items: impl IntoIterator<Item = FetchItem>) -> Self {
        let mut unique = Vec::new();
        for item in items {
            if !unique.contains(&item) {
                unique.push(item);
            }
        }
        Self { messages, items: unique }
    }

    /// Whether reading sets `\Seen` (RFC 3501 §6.4.5). A server's application then reports the flags as well, of
    /// those messages whose flags change.
    pub fn sets_seen(&self) -> bool {
        self.items.iter().any(|item| matches!(item, FetchItem::Section(section) if !section.peek))
    }
}

impl Fetch {
    pub(super) fn parse(input: &mut Input<'_>, by_uid: bool) -> Result<Self, GrammarError> {
        input.space()?;
        let messages = MessageSet::parse(input, by_uid)?;
        input.space()?;
        if input.peek() != Some(b'(') {
            return Ok(Self::new(messages, FetchItem::parse_macro(input)?));
        }
        let here = input.clone();
        let items = input.list("FETCH items", MAX_ITEMS, FetchItem::parse)?;
        if items.is_empty() {
            return Err(here.expected("at least one FETCH item"));
        }
        Ok(Self::new(messages, items))
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(if self.messages.is_uid() { b"UID FETCH " } else { b"FETCH " });
        self.messages.set().encode(wire);
        wire.put(b" ");
        wire.put_list(&self.items, |wire, item| item.encode(wire));
    }
}

impl Request for Fetch<UidSet> {
    type Answer = Answered<()>;
}

/// Items without arguments. No name is followed by what could be part of a longer one.
const WORDS: [(&str, FetchItem); 7] = [
    ("FLAGS", FetchItem::Flags),
    ("UID", FetchItem::Uid),
    ("INTERNALDATE", FetchItem::InternalDate),
    ("RFC822.SIZE", FetchItem::Size),
    ("ENVELOPE", FetchItem::Envelope),
    ("BODYSTRUCTURE", FetchItem::BodyStructure),
    ("BODY", FetchItem::Body),
];

impl FetchItem {
    fn parse_macro(input: &mut Input<'_>) -> Result<Vec<Self>, GrammarError> {
        let fast = [Self::Flags, Self::InternalDate, Self::Size];
        let more: &[Self] = if input.keyword("FAST") {
            &[]
        } else if input.keyword("ALL") {
            &[Self::Envelope]
        } else if input.keyword("FULL") {
            &[Self::Envelope, Self::Body]
        } else {
            return Self::parse(input).map(|item| vec![item]);
        };
        Ok(fast.iter().chain(more).cloned().collect())
    }

    fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        for (word, name) in [
            ("RFC822.HEADER", BodyName::Rfc822Header),
            ("RFC822.TEXT", BodyName::Rfc822Text),
            ("RFC822", BodyName::Rfc822),
        ] {
            if input.keyword(word) {
                return Ok(Self::Section(BodySection::rfc822(name)));
            }
        }
        let peek = input.keyword("BODY.PEEK");
        if peek || input.prefix("BODY[") {
            let section = if peek { Section::parse(input)? } else { Section::parse_after_bracket(input)? };
            let partial = Partial::parse(input)?;
            return Ok(Self::Section(BodySection { name: BodyName::Body, section, partial, peek }));
        }
        let word = WORDS.into_iter().find(|(word, _)| input.keyword(word));
        word.map(|(_, item)| item).ok_or_else(|| input.expected("a FETCH item"))
    }

    fn encode(&self, wire: &mut impl Wire) {
        let Self::Section(body) = self else {
            let word = WORDS.iter().find(|(_, item)| item == self);
            return wire.put(word.map_or("", |(word, _)| word).as_bytes());
        };
        if body.name != BodyName::Body {
            return body.encode_in_response(wire);
        }
        wire.put(if body.peek { b"BODY.PEEK" } else { b"BODY" });
        body.section.encode(wire);
        if let Some(partial) = body.partial {
            partial.encode(wire);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::command::section::tests::sections;

    pub(crate) fn items() -> impl Strategy<Value = FetchItem> {
        let partial =
            (0_u64..1 << 40, 1_u64..1 << 40).prop_map(|(offset, length)| Partial::new(offset, length));
        let body =
            (sections(), prop::option::of(partial), any::<bool>()).prop_map(|(section, partial, peek)| {
                FetchItem::Section(BodySection { name: BodyName::Body, section, partial, peek })
            });
        let old = prop::sample::select(vec![BodyName::Rfc822, BodyName::Rfc822Header, BodyName::Rfc822Text])
            .prop_map(|name| FetchItem::Section(BodySection::rfc822(name)));
        let word = prop::sample::select(WORDS.map(|(_, item)| item).to_vec());
        prop_oneof![body, old, word]
    }

    fn parse(text: &str) -> Result<Vec<FetchItem>, GrammarError> {
        let mut input = Input::new(text.as_bytes());
        Fetch::parse(&mut input, false).and_then(|fetch| input.end().map(|()| fetch.items))
    }

    #[test]
    fn macros_and_single_items() {
        assert_eq!(parse(" 1 fast").unwrap(), parse(" 1 (FLAGS INTERNALDATE RFC822.SIZE)").unwrap());
        assert_eq!(parse(" 1 all").unwrap().len(), 4);
        assert_eq!(parse(" 1 full").unwrap().len(), 5);
        assert_eq!(parse(" 1 UID"), Ok(vec![FetchItem::Uid]));
        assert_eq!(parse(" 1 BODY"), Ok(vec![FetchItem::Body]));
        assert_eq!(parse(" 1 (FLAGS FLAGS flags)").unwrap(), [FetchItem::Flags]);
        for bad in [
            " 1 (ALL)",
            " 1 ()",
            " 1 (FLAGS",
            " 1 (",
            " 1",
            " 1 FLAGSX",
            " 1 BODY.PEEK",
            " 1 BODY[",
            " 1 RFC822.",
            "1 UID",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let many = vec!["FLAGS"; 20_001].join(" ");
        assert!(matches!(parse(&format!(" 1 ({many})")), Err(GrammarError::TooMany { .. })));
    }

    #[test]
    fn only_reading_without_peek_sets_seen() {
        for (item, sets) in [
            ("BODY[]", true),
            ("RFC822", true),
            ("RFC822.TEXT", true),
            ("RFC822.HEADER", false),
            ("BODY.PEEK[1]", false),
        ] {
            let fetch = Fetch::parse(&mut Input::new(format!(" 1 ({item} UID)").as_bytes()), true).unwrap();
            assert_eq!(fetch.sets_seen(), sets, "{item}");
        }
    }
}
