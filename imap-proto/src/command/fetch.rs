//! FETCH (RFC 3501 §6.4.5), with the items and modifiers of its extensions.

use std::num::NonZeroU32;

use mailwright_line_proto::Request;
use mailwright_mail_model::{ModSeq, UidSet};

use super::{
    FetchAnnotations, FuzzyName, Partial, ResultRange, Section, SectionText, fuzzy_preview, select::mod_seq,
};
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
    /// `CHANGEDSINCE`: pass over messages whose mod-sequence is not higher (RFC 7162 §3.1.4.1).
    pub changed_since: Option<ModSeq>,
    /// `VANISHED`: say first which of them were expunged since (RFC 7162 §3.2.6).
    pub vanished: Option<M>,
    /// `PARTIAL`: only some of the messages (RFC 9394 §3.2). Never in a server's event: `messages` are those.
    pub partial: Option<ResultRange>,
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
    /// The mod-sequence (RFC 7162 §3.1.4.2).
    ModSeq,
    /// When the message came into this mailbox (RFC 8514).
    SaveDate,
    /// The identity of the message (RFC 8474 §5.1).
    EmailId,
    /// The identity of its thread (RFC 8474 §5.2).
    ThreadId,
    /// How its text begins (RFC 8970); `lazy` if it must cost nothing.
    Preview {
        /// Only if it is at hand.
        lazy: bool,
    },
    /// The same in Dovecot's form, which names the algorithm: `SNIPPET (FUZZY)`, `PREVIEW (FUZZY)`.
    FuzzyPreview {
        /// By which name.
        name: FuzzyName,
        /// Only if it is at hand.
        lazy: bool,
    },
    /// Octets of a part, its transfer encoding undone (RFC 3516).
    Binary(BinarySection),
    /// How many octets [`Binary`](Self::Binary) of this part has.
    BinarySize(Vec<NonZeroU32>),
    /// What is noted about it (RFC 5257 §4.3).
    Annotations(FetchAnnotations),
}

/// Octets of a part without its transfer encoding, as one item of FETCH.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct BinarySection {
    /// The number of the part at each level; none for the message itself, which has no encoding.
    pub part: Vec<NonZeroU32>,
    /// Which octets of it; all if `None`.
    pub partial: Option<Partial>,
    /// Whether `\Seen` shall stay as it is.
    pub peek: bool,
}

impl BinarySection {
    /// `BINARY.PEEK[part]`.
    pub fn peek(part: Vec<NonZeroU32>) -> Self {
        Self { part, partial: None, peek: true }
    }

    /// The name of the item in the response, where a partial is named by its first octet.
    pub(crate) fn encode_in_response(&self, wire: &mut impl Wire) {
        wire.put(b"BINARY");
        Section::new(self.part.clone(), SectionText::Whole).encode(wire);
        if let Some(partial) = self.partial {
            wire.put(b"<");
            wire.put_number(partial.offset);
            wire.put(b">");
        }
    }
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
        Self { messages, items: unique, changed_since: None, vanished: None, partial: None }
    }

    /// Whether reading sets `\Seen` (RFC 3501 §6.4.5). A server's application then reports the flags as well, of
    /// those messages whose flags change.
    pub fn sets_seen(&self) -> bool {
        self.items.iter().any(|item| match item {
            FetchItem::Section(section) => !section.peek,
            FetchItem::Binary(section) => !section.peek,
            _ => false,
        })
    }
}

impl Fetch {
    pub(super) fn parse(input: &mut Input<'_>, by_uid: bool) -> Result<Self, GrammarError> {
        input.space()?;
        let messages = MessageSet::parse(input, by_uid)?;
        input.space()?;
        let items = if input.peek() == Some(b'(') {
            let here = input.clone();
            let items = input.list("FETCH items", MAX_ITEMS, FetchItem::parse)?;
            if items.is_empty() {
                return Err(here.expected("at least one FETCH item"));
            }
            items
        } else {
            FetchItem::parse_macro(input)?
        };
        let mut fetch = Self::new(messages, items);
        if input.eat(b' ') {
            fetch.parse_modifiers(input)?;
        }
        Ok(fetch)
    }

    fn parse_modifiers(&mut self, input: &mut Input<'_>) -> Result<(), GrammarError> {
        let here = input.clone();
        input.list("FETCH modifiers", 16, |input| {
            if input.keyword("CHANGEDSINCE") {
                input.space()?;
                self.changed_since = Some(mod_seq(input)?);
            } else if input.keyword("VANISHED") {
                self.vanished = Some(self.messages.clone());
            } else if input.keyword("PARTIAL") {
                input.space()?;
                self.partial = Some(ResultRange::parse(input)?);
            } else {
                return Err(input.expected("CHANGEDSINCE, VANISHED or PARTIAL"));
            }
            Ok(())
        })?;
        // RFC 7162 §3.2.6
        if self.vanished.is_some() && (self.changed_since.is_none() || !self.messages.is_uid()) {
            return Err(here.expected("CHANGEDSINCE and UID FETCH beside VANISHED"));
        }
        Ok(())
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(if self.messages.is_uid() { b"UID FETCH " } else { b"FETCH " });
        self.messages.set().encode(wire);
        wire.put(b" ");
        wire.put_list(&self.items, |wire, item| item.encode(wire));
        let mut before: &[u8] = b" (";
        if let Some(mod_seq) = self.changed_since {
            wire.put(std::mem::replace(&mut before, b" "));
            wire.put(b"CHANGEDSINCE ");
            wire.put_number(mod_seq.get());
        }
        if self.vanished.is_some() {
            wire.put(std::mem::replace(&mut before, b" "));
            wire.put(b"VANISHED");
        }
        if let Some(range) = self.partial {
            wire.put(std::mem::replace(&mut before, b" "));
            wire.put(b"PARTIAL ");
            range.encode(wire);
        }
        if before == b" " {
            wire.put(b")");
        }
    }
}

impl Request for Fetch<UidSet> {
    type Answer = Answered<()>;
}

/// Items without arguments. No name is followed by what could be part of a longer one.
const WORDS: [(&str, FetchItem); 12] = [
    ("FLAGS", FetchItem::Flags),
    ("UID", FetchItem::Uid),
    ("INTERNALDATE", FetchItem::InternalDate),
    ("RFC822.SIZE", FetchItem::Size),
    ("ENVELOPE", FetchItem::Envelope),
    ("BODYSTRUCTURE", FetchItem::BodyStructure),
    ("BODY", FetchItem::Body),
    ("MODSEQ", FetchItem::ModSeq),
    ("SAVEDATE", FetchItem::SaveDate),
    ("EMAILID", FetchItem::EmailId),
    ("THREADID", FetchItem::ThreadId),
    ("PREVIEW", FetchItem::Preview { lazy: false }),
];

impl FetchItem {
    /// The name of an item without arguments.
    pub(crate) fn name(&self) -> &'static str {
        // Those that are written for every message of a mailbox are not looked for.
        match self {
            Self::Envelope => "ENVELOPE",
            Self::BodyStructure => "BODYSTRUCTURE",
            _ => WORDS.iter().find(|(_, item)| item == self).map_or("", |(word, _)| word),
        }
    }

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

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
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
        for (word, peek) in [("BINARY.PEEK[", true), ("BINARY[", false)] {
            if input.prefix(word) {
                let part = part(input)?;
                let partial = Partial::parse(input)?;
                return Ok(Self::Binary(BinarySection { part, partial, peek }));
            }
        }
        if input.prefix("BINARY.SIZE[") {
            return part(input).map(Self::BinarySize);
        }
        if input.keyword("ANNOTATION") {
            return FetchAnnotations::parse(input).map(Self::Annotations);
        }
        if input.keyword("SNIPPET") {
            return fuzzy_preview::snippet(input);
        }
        let word = WORDS.iter().find(|(word, _)| input.keyword(word));
        let item = word.map(|(_, item)| item.clone()).ok_or_else(|| input.expected("a FETCH item"))?;
        // RFC 8970 §3.1
        if item == (Self::Preview { lazy: false }) && input.rest().starts_with(b" (") {
            return fuzzy_preview::preview(input);
        }
        Ok(item)
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        match self {
            Self::Annotations(asked) => return asked.encode(wire),
            Self::FuzzyPreview { name, lazy } => return fuzzy_preview::encode(*name, *lazy, wire),
            Self::Preview { lazy: true } => return wire.put(b"PREVIEW (LAZY)"),
            Self::Binary(section) => {
                wire.put(if section.peek { b"BINARY.PEEK" } else { b"BINARY" });
                Section::new(section.part.clone(), SectionText::Whole).encode(wire);
                return section.partial.into_iter().for_each(|partial| partial.encode(wire));
            }
            Self::BinarySize(part) => {
                wire.put(b"BINARY.SIZE");
                return Section::new(part.clone(), SectionText::Whole).encode(wire);
            }
            _ => {}
        }
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

/// The number of a part, behind the opening bracket.
fn part(input: &mut Input<'_>) -> Result<Vec<NonZeroU32>, GrammarError> {
    let here = input.clone();
    match Section::parse_after_bracket(input)? {
        Section { part, text: SectionText::Whole } => Ok(part),
        _ => Err(here.expected("the number of a part")),
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
        let number = prop::collection::vec((1_u32..9).prop_map(|n| NonZeroU32::new(n).unwrap()), 0..3);
        let binary = (number, any::<bool>()).prop_map(|(part, size)| match size {
            true => FetchItem::BinarySize(part),
            false => FetchItem::Binary(BinarySection::peek(part)),
        });
        prop_oneof![body, old, word, binary, Just(FetchItem::Preview { lazy: true })]
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
