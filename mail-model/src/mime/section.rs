//! Naming a piece of a message as IMAP does: `2.1`, `1.MIME`, `3.HEADER` (RFC 9051 §6.4.5.1).

use std::fmt;
use std::num::NonZeroU32;
use std::ops::Range;
use std::str::FromStr;

use super::{Limits, Part, Shape, Structure};

/// The name of a piece of a message: part numbers, then what of that part.
///
/// The empty section is the whole message. `HEADER.FIELDS` is the `HEADER` section, filtered by whoever reads it.
///
/// ```
/// use mailwright_mail_model::mime::{Section, SectionText, Structure};
///
/// let section: Section = "text".parse()?;
/// assert_eq!(section.text(), SectionText::Text);
/// let structure = Structure::of(b"Subject: tea\r\n\r\nNow?\r\n");
/// assert_eq!(structure.locate(&section), Some(16..22));
/// assert_eq!(structure.locate(&"2".parse()?), None);
/// # Ok::<(), mailwright_mail_model::mime::SectionError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Section {
    path: Vec<NonZeroU32>,
    text: SectionText,
}

/// What of the part that a [`Section`] names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SectionText {
    /// The body of the part; of a message with no part number, all of it.
    #[default]
    All,
    /// The header of a message, with the empty line that ends it.
    Header,
    /// The body of a message.
    Text,
    /// The MIME header of a part, with the empty line that ends it.
    Mime,
}

/// What follows the part numbers, and what it means.
const TEXTS: [(&str, SectionText); 3] =
    [("HEADER", SectionText::Header), ("TEXT", SectionText::Text), ("MIME", SectionText::Mime)];

impl Section {
    /// The most part numbers in a section.
    pub const DEPTH: usize = Limits::DEPTH;

    /// The section of these part numbers.
    ///
    /// # Errors
    /// If there are more than [`Section::DEPTH`] numbers, or none for [`SectionText::Mime`].
    pub fn new(path: Vec<NonZeroU32>, text: SectionText) -> Result<Self, SectionError> {
        if path.len() > Self::DEPTH {
            return Err(SectionError::TooDeep(path.len()));
        }
        // RFC 9051 §6.4.5.1: MIME must come after a part number.
        if path.is_empty() && text == SectionText::Mime {
            return Err(SectionError::MimeOfNothing);
        }
        Ok(Self { path, text })
    }

    /// The part numbers, each from 1.
    pub fn path(&self) -> &[NonZeroU32] {
        &self.path
    }

    /// What of the part.
    pub const fn text(&self) -> SectionText {
        self.text
    }
}

impl FromStr for Section {
    type Err = SectionError;

    /// RFC 9051 §9 `section-spec` without field names; letters in any case.
    fn from_str(spec: &str) -> Result<Self, SectionError> {
        let mut path = Vec::new();
        if spec.is_empty() {
            return Ok(Self::default());
        }
        for word in spec.split('.') {
            if path.len() > Self::DEPTH {
                return Err(SectionError::TooDeep(path.len()));
            }
            if let Some(number) = number(word) {
                path.push(number);
                continue;
            }
            // What is no number must be the last word.
            let at = word.as_ptr() as usize - spec.as_ptr() as usize;
            let rest = spec.get(at..).unwrap_or_default();
            let text = TEXTS.iter().find(|(name, _)| name.eq_ignore_ascii_case(rest));
            return Self::new(path, text.ok_or(SectionError::Malformed)?.1);
        }
        Self::new(path, SectionText::All)
    }
}

/// RFC 9051 §9 `nz-number`.
fn number(word: &str) -> Option<NonZeroU32> {
    let digits = word.bytes().all(|byte| byte.is_ascii_digit()) && !word.starts_with('0');
    digits.then(|| word.parse().ok()).flatten()
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for number in &self.path {
            write!(f, "{separator}{number}")?;
            separator = ".";
        }
        match TEXTS.iter().find(|(_, text)| *text == self.text) {
            Some((name, _)) => write!(f, "{separator}{name}"),
            None => Ok(()),
        }
    }
}

/// Why a text is not a [`Section`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SectionError {
    /// More part numbers than [`Section::DEPTH`].
    #[error("expected at most 100 part numbers, got {0}")]
    TooDeep(usize),
    /// `MIME` without a part number.
    #[error("expected a part number before MIME, got none")]
    MimeOfNothing,
    /// Not part numbers, `HEADER`, `TEXT` or `MIME`, joined by dots.
    #[error("expected part numbers, HEADER, TEXT or MIME joined by dots, got something else")]
    Malformed,
}

impl Structure {
    /// The part of this number, one number a level; the message itself if there is none.
    pub fn part_at(&self, path: &[NonZeroU32]) -> Option<&Part> {
        if path.is_empty() {
            return self.part(0);
        }
        self.part(self.find(path)?)
    }

    /// Where a section stands in the message; `None` if there is no such part, or it is no message and has no
    /// header or text of its own.
    pub fn locate(&self, section: &Section) -> Option<Range<u64>> {
        if section.path.is_empty() {
            let message = self.part(0)?;
            return Some(match section.text {
                SectionText::Header => message.header(),
                SectionText::Text => message.body(),
                SectionText::All | SectionText::Mime => 0..self.octets(),
            });
        }
        let index = self.find(&section.path)?;
        let part = self.part(index)?;
        match section.text {
            SectionText::All => Some(part.body()),
            SectionText::Mime => Some(part.header()),
            SectionText::Header => self.message_in(index).map(Part::header),
            SectionText::Text => self.message_in(index).map(Part::body),
        }
    }

    /// The index of the part that part numbers name.
    ///
    /// The single part of a message that is no multipart is number 1 (RFC 9051 §6.4.5.1).
    pub fn find(&self, path: &[NonZeroU32]) -> Option<usize> {
        // The message whose parts the next number counts, and the part that is counted in.
        let mut container = Some((0, true));
        let mut found = 0;
        for number in path {
            let (index, message) = container?;
            let number = usize::try_from(number.get()).ok()?;
            found = match self.part(index)?.shape {
                Shape::Multipart => self.children(index).nth(number - 1)?,
                _ if message && number == 1 => index,
                _ => return None,
            };
            container = match self.part(found)?.shape {
                Shape::Leaf => None,
                Shape::Multipart => Some((found, false)),
                Shape::Message => Some((self.children(found).next()?, true)),
            };
        }
        Some(found)
    }

    fn message_in(&self, index: usize) -> Option<&Part> {
        let part = self.part(index).filter(|part| part.shape == Shape::Message);
        part.and_then(|_| self.children(index).next()).and_then(|child| self.part(child))
    }
}
