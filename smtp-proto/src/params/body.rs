//! SIZE, BODY and AUTH of MAIL: what the message is, and whose.

use crate::{
    SyntaxError,
    words::{Key, number},
    xtext,
};

/// The kind of content that BODY announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BodyKind {
    /// Nothing but ASCII, in lines.
    SevenBit,
    /// Any octets, in lines (RFC 6152).
    EightBitMime,
    /// Any octets (RFC 3030): no line ends are needed, and a lone CR or LF is as good as any other.
    BinaryMime,
}

const KINDS: &[(&str, Key, BodyKind)] = &[
    ("7BIT", Key::of("7BIT"), BodyKind::SevenBit),
    ("8BITMIME", Key::of("8BITMIME"), BodyKind::EightBitMime),
    ("BINARYMIME", Key::of("BINARYMIME"), BodyKind::BinaryMime),
];

impl BodyKind {
    pub(super) fn parse(value: &str) -> Option<Self> {
        let value = Key::of(value);
        KINDS.iter().find(|(_, key, _)| *key == value).map(|(_, _, kind)| *kind)
    }

    pub(super) fn name(self) -> Option<&'static str> {
        KINDS.iter().find(|(_, _, named)| *named == self).map(|(name, _, _)| *name)
    }
}

/// Who the AUTH parameter names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Submitter {
    /// `<>`: not known, or not trusted.
    Unknown,
    /// This mailbox, decoded.
    Mailbox(String),
}

impl Submitter {
    pub(super) fn parse(value: &str) -> Option<Self> {
        match value {
            "<>" => Some(Self::Unknown),
            text => {
                let mailbox = xtext::decode(text).filter(|mailbox| !mailbox.is_empty())?;
                Some(Self::Mailbox(mailbox.into_owned()))
            }
        }
    }

    pub(super) fn encode(&self) -> String {
        match self {
            Self::Unknown => "<>".to_owned(),
            Self::Mailbox(mailbox) => xtext::encode(mailbox),
        }
    }
}

/// RFC 1870 §4: 1 to 20 digits. A number beyond every limit is not wrapped but refused as too large.
pub(super) fn parse_size(value: &str) -> Result<u64, SyntaxError> {
    number(value, 20).ok_or_else(|| {
        let is_number = (1..=20).contains(&value.len()) && value.bytes().all(|octet| octet.is_ascii_digit());
        if is_number { SyntaxError::Size } else { SyntaxError::Value("SIZE") }
    })
}
