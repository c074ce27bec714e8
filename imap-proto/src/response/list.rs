//! `* LIST` and `* LSUB`: one mailbox of the answer.

use std::borrow::Cow;

use bytes::Bytes;
use mailwright_mail_model::{MailboxName, SpecialUse, mailbox::utf7};

use super::reader::{Reader, Result};
use crate::grammar::Wire;

/// One mailbox in the answer to LIST or LSUB (RFC 9051 §7.3.1, RFC 3501 §7.2.3).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Listed {
    /// What is known of it.
    pub attributes: Vec<ListAttribute>,
    /// What separates the levels of its name; `None` if there are no levels.
    pub delimiter: Option<char>,
    /// Its name.
    pub name: ListedName,
    /// The name that it had before, or by which it was asked for, if the server says so (RFC 9051 §6.3.9.7).
    pub old_name: Option<ListedName>,
}

/// A name as a server lists it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ListedName {
    /// The name of a mailbox.
    Name(MailboxName),
    /// Something else: the empty name that asks for the delimiter, the root of a namespace, or a name that this
    /// library will not handle, as it came.
    Other(Bytes),
}

impl Listed {
    /// The mailbox, if the name is one that can be opened.
    pub fn mailbox(&self) -> Option<&MailboxName> {
        match &self.name {
            ListedName::Name(name) => Some(name).filter(|_| self.can_be_opened()),
            ListedName::Other(_) => None,
        }
    }

    /// Whether nothing says that it cannot be opened: the server may list names that are there for their children only.
    fn can_be_opened(&self) -> bool {
        let closed =
            |attribute: &_| matches!(attribute, ListAttribute::NoSelect | ListAttribute::NonExistent);
        !self.attributes.iter().any(closed)
    }
}

/// An attribute of a mailbox (RFC 9051 §7.3.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ListAttribute {
    /// There can be no children.
    NoInferiors,
    /// It cannot be selected.
    NoSelect,
    /// There is no such mailbox, only its children or subscription (RFC 5258 §3).
    NonExistent,
    /// There may be new mail in it.
    Marked,
    /// There is no new mail in it.
    Unmarked,
    /// It has children (RFC 3348).
    HasChildren,
    /// It has none.
    HasNoChildren,
    /// It is subscribed (RFC 5258 §3.2).
    Subscribed,
    /// It is on another server (RFC 5258 §3.3).
    Remote,
    /// The user may not do what is needed for the events that NOTIFY asks for (RFC 5465 §3.1).
    NoAccess,
    /// What it is used for (RFC 6154).
    Special(SpecialUse),
    /// Another attribute, with its backslash if it had one.
    Other(Box<str>),
}

static ATTRIBUTES: [(&str, ListAttribute); 10] = [
    ("\\Noinferiors", ListAttribute::NoInferiors),
    ("\\Noselect", ListAttribute::NoSelect),
    ("\\NonExistent", ListAttribute::NonExistent),
    ("\\Marked", ListAttribute::Marked),
    ("\\Unmarked", ListAttribute::Unmarked),
    ("\\HasChildren", ListAttribute::HasChildren),
    ("\\HasNoChildren", ListAttribute::HasNoChildren),
    ("\\Subscribed", ListAttribute::Subscribed),
    ("\\Remote", ListAttribute::Remote),
    ("\\NoAccess", ListAttribute::NoAccess),
];

impl ListAttribute {
    /// The attribute as it is sent.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Special(special) => special.as_str(),
            Self::Other(name) => name,
            known => ATTRIBUTES.iter().find(|(_, one)| one == known).map_or("", |(name, _)| name),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let word = reader.word()?;
        let named = |known: &&(&str, Self)| known.0.as_bytes().eq_ignore_ascii_case(word);
        if let Some((_, known)) = ATTRIBUTES.iter().find(named) {
            return Ok(known.clone());
        }
        let Ok(name) = str::from_utf8(word) else { return Err(reader.expected("an attribute")) };
        Ok(name.parse().map_or_else(|_| Self::Other(name.into()), Self::Special))
    }
}

impl ListedName {
    fn put(&self, wire: &mut impl Wire) {
        match self {
            Self::Name(name) => wire.put_mailbox(name),
            Self::Other(octets) => wire.put_astring(octets),
        }
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        self.put(wire);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let octets = reader.astring()?;
        Ok(MailboxName::from_utf7(&octets)
            .map_or_else(|_| Self::Other(Bytes::copy_from_slice(&octets)), Self::Name))
    }

    /// The name, or as much as can be read of what is none: it may be no modified UTF-7, and of any depth.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Name(name) => name.as_str().into(),
            Self::Other(octets) => {
                utf7::decode(octets).map_or_else(|_| String::from_utf8_lossy(octets), Cow::Owned)
            }
        }
    }

    /// The name, if it is one.
    pub fn name(&self) -> Option<&MailboxName> {
        match self {
            Self::Name(name) => Some(name),
            Self::Other(_) => None,
        }
    }
}

impl From<MailboxName> for ListedName {
    fn from(name: MailboxName) -> Self {
        Self::Name(name)
    }
}

impl Listed {
    /// A mailbox whose levels are separated by `/`, with these attributes.
    pub fn new(name: impl Into<ListedName>, attributes: Vec<ListAttribute>) -> Self {
        Self { attributes, delimiter: Some(MailboxName::SEPARATOR), name: name.into(), old_name: None }
    }

    /// The answer to `LIST "" ""`: the delimiter, and the name of the root, which is empty (RFC 9051 §6.3.9).
    pub fn root() -> Self {
        Self {
            attributes: vec![ListAttribute::NoSelect],
            delimiter: Some(MailboxName::SEPARATOR),
            name: ListedName::Other(Bytes::new()),
            old_name: None,
        }
    }

    /// Whether it has this attribute.
    pub fn has(&self, attribute: &ListAttribute) -> bool {
        self.attributes.contains(attribute)
    }

    /// Writes `* LIST` and the mailbox.
    pub fn encode(&self, wire: &mut impl Wire) {
        self.encode_as(b"* LIST ", wire);
    }

    /// Writes `* LSUB` and the mailbox.
    pub fn encode_lsub(&self, wire: &mut impl Wire) {
        self.encode_as(b"* LSUB ", wire);
    }

    /// Writes `* XLIST` and the mailbox.
    pub fn encode_xlist(&self, wire: &mut impl Wire) {
        self.encode_as(b"* XLIST ", wire);
    }

    /// Writes `* LIST`, the mailbox, and what there is below it that was asked for (RFC 5258 §3.5).
    pub(crate) fn encode_extended(&self, below: &[&str], wire: &mut impl Wire) {
        if below.is_empty() {
            return self.encode(wire);
        }
        self.put(b"* LIST ", wire);
        wire.put(b" (CHILDINFO (");
        for (index, word) in below.iter().enumerate() {
            wire.put(if index == 0 { b"\"" } else { b" \"" });
            wire.put(word.as_bytes());
            wire.put(b"\"");
        }
        wire.put(b"))\r\n");
    }

    /// Writes `* LIST`, the mailbox, and the name that it had before (RFC 5465 §5.4).
    pub(crate) fn encode_renamed(&self, before: Option<&MailboxName>, wire: &mut impl Wire) {
        self.put(b"* LIST ", wire);
        if let Some(before) = before {
            wire.put(b" (\"OLDNAME\" (");
            wire.put_mailbox(before);
            wire.put(b"))");
        }
        wire.put(b"\r\n");
    }

    fn encode_as(&self, start: &[u8], wire: &mut impl Wire) {
        self.put(start, wire);
        wire.put(b"\r\n");
    }

    fn put(&self, start: &[u8], wire: &mut impl Wire) {
        wire.put(start);
        wire.put_list(&self.attributes, |wire, attribute| wire.put(attribute.as_str().as_bytes()));
        wire.put(b" ");
        put_delimiter(self.delimiter, wire);
        wire.put(b" ");
        self.name.put(wire);
    }

    /// What follows the word.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        reader.space()?;
        let attributes = reader.list(ListAttribute::read)?;
        reader.space()?;
        let delimiter = read_delimiter(reader)?;
        reader.space()?;
        let name = ListedName::read(reader)?;
        // RFC 5258 §6: extended data items may follow.
        let mut old_name = None;
        if reader.input.peek() == Some(b' ') {
            reader.space()?;
            if !reader.input.is_empty() {
                old_name = extended(&mut reader.clone());
                reader.skip_value()?;
            }
        }
        Ok(Self { attributes, delimiter, name, old_name })
    }
}

/// The OLDNAME among extended data items. What else is there, and however it is written, is passed over.
fn extended(reader: &mut Reader<'_>) -> Option<ListedName> {
    reader.open().ok()?;
    loop {
        let name = reader.astring().ok()?;
        reader.space().ok()?;
        if name.eq_ignore_ascii_case(b"OLDNAME") {
            reader.open().ok()?;
            return ListedName::read(reader).ok();
        }
        reader.skip_value().ok()?;
        if reader.closes().ok()? {
            return None;
        }
    }
}

/// The delimiter is always quoted (RFC 9051 §9 `mailbox-list`).
pub(super) fn put_delimiter(delimiter: Option<char>, wire: &mut impl Wire) {
    match delimiter {
        Some(delimiter) => wire.put_string(delimiter.encode_utf8(&mut [0; 4]).as_bytes()),
        None => wire.put(b"NIL"),
    }
}

/// One character, or `NIL`; the empty string that some servers send for it means the same.
pub(super) fn read_delimiter(reader: &mut Reader<'_>) -> Result<Option<char>> {
    let Some(text) = reader.nstring()? else { return Ok(None) };
    if let [delimiter @ ..=0x7f] = *text {
        return Ok(Some(delimiter.into()));
    }
    let text = String::from_utf8_lossy(&text);
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (delimiter @ Some(_), None) => Ok(delimiter),
        (None, _) if reader.leniency.nil_strings => Ok(None),
        _ => Err(reader.expected("one character before this")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::response::{Leniency, Response};

    fn attributes() -> impl Strategy<Value = ListAttribute> {
        prop_oneof![
            prop::sample::select(ATTRIBUTES.iter().map(|(_, one)| one.clone()).collect::<Vec<_>>()),
            prop::sample::select(SpecialUse::ALL.map(ListAttribute::Special).to_vec()),
            Just(ListAttribute::Other("\\X-odd".into())),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            name in "[a-z \"&\\\\é😀.~%]{1,12}",
            attributes in prop::collection::vec(attributes(), 0..4),
            delimiter in prop::option::of(prop::sample::select(vec!['/', '.', '\\', '"'])),
            lsub in any::<bool>(),
        ) {
            prop_assume!(MailboxName::lookup(&name).is_ok());
            let listed = Listed { delimiter, ..Listed::new(MailboxName::lookup(&name).unwrap(), attributes) };
            let mut octets = Vec::new();
            let expected = if lsub {
                listed.encode_lsub(&mut octets);
                Response::Lsub(listed)
            } else {
                listed.encode(&mut octets);
                Response::List(listed)
            };
            prop_assert_eq!(Response::parse(&octets, Leniency::strict()), Ok(expected));
        }
    }

    #[test]
    fn names_that_are_none() {
        let read = |line: &str| match Response::parse(format!("{line}\r\n").as_bytes(), Leniency::tolerant())
        {
            Ok(Response::List(listed)) => listed,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(read("* LIST (\\Noselect) \"/\" \"\""), Listed::root());
        let odd = read("* LIST () \"/\" a//b");
        assert_eq!(odd.name, ListedName::Other("a//b".into()));
        assert_eq!(odd.name.text(), "a//b");
        assert_eq!(read("* LIST () \"/\" A&B").name.text(), "A&B");
        assert_eq!(read("* LIST () \"/\" Entw&APw-rfe//x").name.text(), "Entwürfe//x");
        assert_eq!(read("* LIST () NIL INBOX").delimiter, None);
        assert_eq!(read("* LIST () \"\" INBOX").delimiter, None);
        assert_eq!(
            read("* LIST ( \\sent ) \"/\" {1}\r\nx ").attributes,
            [ListAttribute::Special(SpecialUse::Sent)]
        );
        assert_eq!(
            read("* LIST () \"/\" x (\"CHILDINFO\" (\"SUBSCRIBED\"))").name.name().unwrap().as_str(),
            "x"
        );
        let renamed = read("* LIST () \"/\" y (\"CHILDINFO\" (\"SUBSCRIBED\") \"OLDNAME\" (\"&AOk-\"))");
        assert_eq!((renamed.name.text(), renamed.old_name.unwrap().text()), ("y".into(), "\u{e9}".into()));
        assert_eq!(read("* LIST () \"/\" y (OLDNAME x)").old_name, None);
    }
}
