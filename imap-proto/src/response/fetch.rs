//! `* n FETCH`: what is known of one message.

pub(super) mod chosen;
mod items;

use std::num::NonZeroU32;

use bytes::Bytes;
use mailwright_mail_model::{self as mail_model, DateTime, FlagSet, ModSeq, Uid, mime::Structure};

use super::{
    BodyStructure, ChosenFields, Envelope, FetchedAnnotation, FlagList, described, is_object_id,
    reader::{Reader, Result},
};
use crate::{
    command::{
        AnnotationValue, BinarySection, BodyName, BodySection, FetchAnnotations, FuzzyName, Section,
        SectionText,
    },
    grammar::{Wire, upper_case},
};

/// What a FETCH response says of one message (RFC 9051 §7.5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fetched {
    /// The message's number.
    pub sequence: NonZeroU32,
    /// What is said of it, in the server's order.
    pub items: Vec<FetchedItem>,
}

/// One item of a FETCH response.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchedItem {
    /// `FLAGS`.
    Flags(FlagList),
    /// `UID`.
    Uid(Uid),
    /// `INTERNALDATE`.
    InternalDate(DateTime),
    /// `RFC822.SIZE`.
    Size(u64),
    /// `ENVELOPE`.
    Envelope(Box<Envelope>),
    /// `BODY`.
    Body(Box<BodyStructure>),
    /// `BODYSTRUCTURE`.
    BodyStructure(Box<BodyStructure>),
    /// `MODSEQ` (RFC 7162).
    ModSeq(ModSeq),
    /// `ANNOTATION` (RFC 5257 §4.4).
    Annotations(Vec<FetchedAnnotation>),
    /// `BODY[section]` and the like, whole: on a client, only where no stream was read.
    Section(FetchedSection, Option<Bytes>),
}

/// Which octets of a message a FETCH response brings.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FetchedSection {
    /// The name it goes by.
    pub name: BodyName,
    /// Which part.
    pub section: Section,
    /// The number of its first octet, if only some were asked for.
    pub origin: Option<u64>,
}

impl FetchedSection {
    /// `BODY[section]`, from `origin` on if only some octets were asked for.
    pub fn new(section: Section, origin: Option<u64>) -> Self {
        Self { name: BodyName::Body, section, origin }
    }

    fn encode(&self, wire: &mut impl Wire) {
        put_name(self.name, &self.section, self.origin, wire);
    }
}

/// What a section is called in a response.
fn put_name(name: BodyName, section: &Section, origin: Option<u64>, wire: &mut impl Wire) {
    wire.put(match name {
        BodyName::Body => b"BODY",
        BodyName::Rfc822 => return wire.put(b"RFC822"),
        BodyName::Rfc822Header => return wire.put(b"RFC822.HEADER"),
        BodyName::Rfc822Text => return wire.put(b"RFC822.TEXT"),
    });
    section.encode(wire);
    if let Some(origin) = origin {
        wire.put(b"<");
        wire.put_number(origin);
        wire.put(b">");
    }
}

impl Fetched {
    /// These items of the message with this number.
    pub fn new(sequence: NonZeroU32, items: Vec<FetchedItem>) -> Self {
        Self { sequence, items }
    }

    /// Writes the response. Large bodies are better written with [`FetchWriter`].
    pub fn encode(&self, wire: &mut impl Wire) {
        let mut writer = FetchWriter::new(self.sequence, wire);
        for item in &self.items {
            writer.item(item);
        }
        writer.end();
    }

    /// What follows `FETCH`.
    pub(super) fn read(sequence: NonZeroU32, reader: &mut Reader<'_>) -> Result<Self> {
        reader.space()?;
        let mut items = Vec::new();
        reader.list(|reader| {
            match read_item(reader)? {
                Item::Small(item) => items.push(item),
                Item::Unknown => {}
                Item::Section(section) => {
                    let octets = reader.nstring()?.map(|octets| Bytes::copy_from_slice(&octets));
                    items.push(FetchedItem::Section(section, octets));
                }
            }
            Ok(())
        })?;
        Ok(Self { sequence, items })
    }
}

/// An item without its octets, if it is one that has some.
pub(crate) enum Item {
    Small(FetchedItem),
    /// Its octets are next.
    Section(FetchedSection),
    /// Passed over.
    Unknown,
}

/// Takes one item; of a section, only the name and the space behind it.
pub(crate) fn read_item(reader: &mut Reader<'_>) -> Result<Item> {
    if matches!(reader.input.peek(), Some(b'R' | b'r')) {
        for (word, name, text) in [
            ("RFC822.HEADER", BodyName::Rfc822Header, SectionText::Header),
            ("RFC822.TEXT", BodyName::Rfc822Text, SectionText::Text),
            ("RFC822", BodyName::Rfc822, SectionText::Whole),
        ] {
            if reader.keyword(word) {
                reader.space()?;
                let section = Section::new(Vec::new(), text);
                return Ok(Item::Section(FetchedSection { name, section, origin: None }));
            }
        }
    }
    if reader.input.rest().get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"BODY[")) {
        reader.input.prefix("BODY");
        let section = Section::parse(&mut reader.input)?;
        let mut origin = None;
        if reader.eat(b'<') {
            origin = Some(reader.number64()?);
            reader.input.octet(b'>', "the end of the origin")?;
        }
        reader.space()?;
        return Ok(Item::Section(FetchedSection { name: BodyName::Body, section, origin }));
    }
    let name = upper_case(reader.word()?);
    reader.space()?;
    Ok(Item::Small(match &*name {
        b"FLAGS" => FetchedItem::Flags(FlagList::read(reader)?),
        b"UID" => {
            let uid = reader.number()?;
            FetchedItem::Uid(Uid::new(uid).ok_or_else(|| reader.expected("a UID above zero before this"))?)
        }
        b"INTERNALDATE" => {
            let text = reader.text()?;
            let date = DateTime::from_imap(&text);
            FetchedItem::InternalDate(date.map_err(|_| reader.expected("a date and time before this"))?)
        }
        b"RFC822.SIZE" => FetchedItem::Size(reader.number64()?),
        b"ENVELOPE" => FetchedItem::Envelope(Envelope::read(reader)?.into()),
        b"BODY" => FetchedItem::Body(BodyStructure::read(reader)?.into()),
        b"BODYSTRUCTURE" => FetchedItem::BodyStructure(BodyStructure::read(reader)?.into()),
        b"MODSEQ" => {
            let numbers = reader.list(Reader::number64)?;
            let modseq = numbers.first().copied().and_then(ModSeq::new);
            FetchedItem::ModSeq(modseq.ok_or_else(|| reader.expected("a mod-sequence before this"))?)
        }
        b"ANNOTATION" => FetchedItem::Annotations(FetchedAnnotation::read_all(reader)?),
        _ => {
            reader.skip_value()?;
            return Ok(Item::Unknown);
        }
    }))
}

/// Writes a FETCH response item by item, to where it is sent from.
///
/// ```
/// use std::num::NonZeroU32;
/// use mailwright_imap_proto::response::{FetchWriter, FetchedSection};
/// use mailwright_mail_model::{FlagSet, Uid};
///
/// let mut octets = Vec::new();
/// let mut writer = FetchWriter::new(NonZeroU32::MIN, &mut octets);
/// writer.uid(Uid::MIN);
/// writer.flags(&FlagSet::new(), true);
/// writer.begin_section(&FetchedSection::new(Default::default(), None), 5);
/// octets.extend_from_slice(b"hello");
/// FetchWriter::resume(&mut octets).end();
/// assert_eq!(octets, b"* 1 FETCH (UID 1 FLAGS (\\Recent) BODY[] {5}\r\nhello)\r\n");
/// ```
#[derive(Debug)]
pub struct FetchWriter<'a, W> {
    wire: &'a mut W,
    first: bool,
}

impl<'a, W: Wire> FetchWriter<'a, W> {
    /// Begins the response about the message with this UID, to a client that will not hear of numbers (RFC 9586 §3.3).
    pub fn by_uid(uid: Uid, wire: &'a mut W) -> Self {
        wire.put(b"* ");
        wire.put_number(uid.get().into());
        wire.put(b" UIDFETCH (");
        Self { wire, first: true }
    }

    /// `MODSEQ` (RFC 7162 §3.1.4.2).
    pub fn mod_seq(&mut self, mod_seq: ModSeq) {
        self.name(b"MODSEQ (");
        self.wire.put_number(mod_seq.get());
        self.wire.put(b")");
    }

    /// `SAVEDATE` (RFC 8514 §4.2).
    pub fn save_date(&mut self, date: Option<DateTime>) {
        self.name(b"SAVEDATE ");
        match date {
            Some(date) => {
                self.wire.put(b"\"");
                self.wire.put(date.to_imap().as_bytes());
                self.wire.put(b"\"");
            }
            None => self.wire.put(b"NIL"),
        }
    }

    /// `EMAILID` (RFC 8474 §5.1). Left out if it [is none](is_object_id).
    pub fn email_id(&mut self, id: &str) {
        if !is_object_id(id) {
            return;
        }
        self.name(b"EMAILID (");
        self.wire.put(id.as_bytes());
        self.wire.put(b")");
    }

    /// `THREADID` (RFC 8474 §5.2). `NIL` if it [is none](is_object_id).
    pub fn thread_id(&mut self, id: Option<&str>) {
        self.name(b"THREADID ");
        match id.filter(|id| is_object_id(id)) {
            Some(id) => {
                self.wire.put(b"(");
                self.wire.put(id.as_bytes());
                self.wire.put(b")");
            }
            None => self.wire.put(b"NIL"),
        }
    }

    /// `PREVIEW` (RFC 8970 §3).
    pub fn preview(&mut self, text: Option<&str>) {
        self.name(b"PREVIEW ");
        self.wire.put_nstring(text.map(str::as_bytes));
    }

    /// `SNIPPET` or `PREVIEW` with its algorithm, as Dovecot sends them.
    pub fn fuzzy_preview(&mut self, name: FuzzyName, text: Option<&str>) {
        self.name(name.as_str().as_bytes());
        self.wire.put(b" (FUZZY ");
        self.wire.put_nstring(text.map(str::as_bytes));
        self.wire.put(b")");
    }

    /// `BINARY.SIZE` (RFC 3516 §4.2).
    pub fn binary_size(&mut self, part: &[NonZeroU32], size: u64) {
        self.name(b"BINARY.SIZE");
        Section::new(part.to_vec(), SectionText::Whole).encode(self.wire);
        self.wire.put(b" ");
        self.wire.put_number(size);
    }

    /// `BINARY`; `None` if there is no such part.
    pub fn binary(&mut self, section: &BinarySection, octets: Option<&[u8]>) {
        self.name(b"");
        section.encode_in_response(self.wire);
        self.wire.put(b" ");
        match octets {
            // RFC 3516 §4.2: NUL stands in a literal8 only.
            Some(octets) => {
                if memchr::memchr(0, octets).is_some() {
                    self.wire.put(b"~");
                }
                self.wire.put_literal(octets);
            }
            None => self.wire.put(b"NIL"),
        }
    }

    /// A part without its encoding, whose `length` octets follow: as [`begin_section`](Self::begin_section). They are announced as
    /// octets of any kind, for nobody has seen yet whether NUL is among them (RFC 3516 §4.2).
    pub fn begin_binary(mut self, section: &BinarySection, length: u64) {
        self.name(b"");
        section.encode_in_response(self.wire);
        self.wire.put(b" ~{");
        self.wire.put_number(length);
        self.wire.put(b"}\r\n");
    }

    /// `ANNOTATION` as it was asked for (RFC 5257 §4.4); nothing if no entry answers that.
    pub fn annotations(&mut self, asked: &FetchAnnotations, all: &[AnnotationValue]) {
        let before: &[u8] = if self.first { b"ANNOTATION " } else { b" ANNOTATION " };
        if asked.encode_of(all, before, self.wire) {
            self.first = false;
        }
    }

    /// An item by its name, its value written already.
    pub fn written(&mut self, name: &str, value: &[u8]) {
        self.name(name.as_bytes());
        self.wire.put(b" ");
        self.wire.put(value);
    }

    /// Begins the response about the message with this number.
    pub fn new(sequence: NonZeroU32, wire: &'a mut W) -> Self {
        wire.put(b"* ");
        wire.put_number(sequence.get().into());
        wire.put(b" FETCH (");
        Self { wire, first: true }
    }

    /// Goes on behind the octets of a section.
    pub fn resume(wire: &'a mut W) -> Self {
        Self { wire, first: false }
    }

    /// Ends the response.
    pub fn end(self) {
        self.wire.put(b")\r\n");
    }

    /// `UID`.
    pub fn uid(&mut self, uid: Uid) {
        self.name(b"UID ");
        self.wire.put_number(uid.get().into());
    }

    /// `FLAGS`, with `\Recent` if it is.
    pub fn flags(&mut self, flags: &FlagSet, recent: bool) {
        self.name(b"FLAGS ");
        self.wire.put_flags_and(flags, recent.then_some("\\Recent"));
    }

    /// `INTERNALDATE`.
    pub fn internal_date(&mut self, date: DateTime) {
        self.name(b"INTERNALDATE \"");
        self.wire.put(date.to_imap().as_bytes());
        self.wire.put(b"\"");
    }

    /// `RFC822.SIZE`.
    pub fn size(&mut self, size: u64) {
        self.name(b"RFC822.SIZE ");
        self.wire.put_number(size);
    }

    /// `ENVELOPE`.
    pub fn envelope(&mut self, envelope: &Envelope) {
        self.name(b"ENVELOPE ");
        envelope.encode(self.wire);
    }

    /// `BODY`, which should be without extension data.
    pub fn body(&mut self, structure: &BodyStructure) {
        self.name(b"BODY ");
        structure.encode(self.wire);
    }

    /// `BODYSTRUCTURE`.
    pub fn body_structure(&mut self, structure: &BodyStructure) {
        self.name(b"BODYSTRUCTURE ");
        structure.encode(self.wire);
    }

    /// `ENVELOPE` of a message at hand.
    pub fn envelope_of(&mut self, envelope: &mail_model::Envelope) {
        self.name(b"ENVELOPE ");
        described::put_envelope(envelope, self.wire);
    }

    /// `BODY` of a message at hand.
    pub fn body_of(&mut self, structure: &Structure) {
        self.name(b"BODY ");
        described::put_structure(structure, false, self.wire);
    }

    /// `BODYSTRUCTURE` of a message at hand.
    pub fn body_structure_of(&mut self, structure: &Structure) {
        self.name(b"BODYSTRUCTURE ");
        described::put_structure(structure, true, self.wire);
    }

    /// A section whose octets are at hand; `None` if there is no such section.
    pub fn section(&mut self, section: &FetchedSection, octets: Option<&[u8]>) {
        self.section_name(section);
        self.octets(octets);
    }

    /// The same, as it was asked for: nothing is copied for a message, and of what is large no octet.
    pub(crate) fn asked_section(&mut self, asked: &BodySection, octets: Option<&Bytes>) {
        self.name(b"");
        put_name(asked.name, &asked.section, asked.partial.map(|partial| partial.offset), self.wire);
        self.wire.put(b" ");
        match octets {
            Some(octets) if memchr::memchr(0, octets).is_none() => {
                self.wire.put_shared_literal(octets.clone());
            }
            octets => self.octets(octets.map(|octets| &octets[..])),
        }
    }

    /// The fields of this header that were asked for.
    pub(crate) fn chosen(&mut self, chosen: &ChosenFields, header: &[u8]) {
        self.name(b"");
        chosen.encode(header, self.wire);
    }

    fn octets(&mut self, octets: Option<&[u8]>) {
        match octets {
            Some(octets) => match without_nul(octets) {
                Some(octets) => self.wire.put_literal(&octets),
                None => self.wire.put_literal(octets),
            },
            None => self.wire.put(b"NIL"),
        }
    }

    /// A section whose `length` octets follow: send them, then go on with [`resume`](Self::resume).
    pub fn begin_section(mut self, section: &FetchedSection, length: u64) {
        self.section_name(section);
        self.wire.put(b"{");
        self.wire.put_number(length);
        self.wire.put(b"}\r\n");
    }

    /// Any item.
    pub fn item(&mut self, item: &FetchedItem) {
        match item {
            FetchedItem::Flags(flags) => self.flags(&flags.flags, flags.recent),
            FetchedItem::Uid(uid) => self.uid(*uid),
            FetchedItem::InternalDate(date) => self.internal_date(*date),
            FetchedItem::Size(size) => self.size(*size),
            FetchedItem::Envelope(envelope) => self.envelope(envelope),
            FetchedItem::Body(structure) => self.body(structure),
            FetchedItem::BodyStructure(structure) => self.body_structure(structure),
            FetchedItem::ModSeq(modseq) => self.mod_seq(*modseq),
            FetchedItem::Annotations(annotations) => {
                self.name(b"ANNOTATION ");
                self.wire.put_list(annotations, |wire, annotation| annotation.encode(wire));
            }
            FetchedItem::Section(section, octets) => self.section(section, octets.as_deref()),
        }
    }

    fn section_name(&mut self, section: &FetchedSection) {
        self.name(b"");
        section.encode(self.wire);
        self.wire.put(b" ");
    }

    fn name(&mut self, name: &[u8]) {
        if !std::mem::take(&mut self.first) {
            self.wire.put(b" ");
        }
        self.wire.put(name);
    }
}

/// What a literal says in the place of NUL, which has one in a literal8 only (RFC 3501 §9, RFC 9051 §9): 0x80, so that no length changes, as
/// Dovecot does. `None` if there is none.
pub(crate) fn without_nul(octets: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr(0, octets)?;
    Some(octets.iter().map(|octet| if *octet == 0 { 0x80 } else { *octet }).collect())
}

#[cfg(test)]
mod tests;
