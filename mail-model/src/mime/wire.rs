//! The stored form of a [`Structure`]: a version, then numbers in base 128 and counted octets.
//!
//! It says nothing twice, so most of what could be wrong cannot be written. What can is checked on reading.

use super::content::{Disposition, MediaType};
use super::{Content, Limits, Parameter, Part, Shape, Structure};
use crate::Envelope;

/// Raised when the form changes; others are refused.
const VERSION: u8 = 1;

/// Why octets are not a stored [`Structure`] or [`Envelope`](crate::Envelope).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StructureError {
    /// Written by another version of this crate.
    #[error("expected a stored structure of version 1, got version {0}")]
    Version(u8),
    /// Cut short, too long, or altered.
    #[error("expected a stored structure, got one that is damaged")]
    Damaged,
}

impl Structure {
    /// The structure in a compact form for storage; [`from_bytes`](Self::from_bytes) reads it.
    ///
    /// ```
    /// use mailwright_mail_model::mime::Structure;
    ///
    /// let structure = Structure::of(b"Subject: tea\r\n\r\nNow?\r\n");
    /// let bytes = structure.to_bytes();
    /// assert!(bytes.len() < 64);
    /// assert_eq!(Structure::from_bytes(&bytes), Ok(structure));
    /// ```
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.number(self.parts.len() as u64);
        for (index, part) in self.parts.iter().enumerate() {
            writer.number(u64::from(part.after) - index as u64);
            writer.number(match part.shape {
                Shape::Leaf => 0,
                Shape::Multipart => 1,
                Shape::Message => 2,
            });
            for number in [part.start, part.header_octets, part.body_octets, part.lines] {
                writer.number(number);
            }
            write_content(&part.content, &mut writer);
            if let Some(envelope) = &part.envelope {
                envelope.write(&mut writer);
            }
        }
        writer.finish()
    }

    /// The structure that [`to_bytes`](Self::to_bytes) wrote. Ranges are those of one message: parts lie in order
    /// within what contains them, at most [`Limits::DEPTH`] deep.
    ///
    /// # Errors
    /// If the octets are of another version or were damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StructureError> {
        let mut reader = Reader::new(bytes)?;
        let count = u32::try_from(reader.number()?).map_err(|_| StructureError::Damaged)?;
        let mut tree = Tree::default();
        for index in 0..count {
            let part = tree.read(index, count, &mut reader)?;
            tree.parts.push(part);
        }
        reader.finish()?;
        match tree.parts.is_empty() {
            true => Err(StructureError::Damaged),
            false => Ok(Self { parts: tree.parts }),
        }
    }
}

/// The parts read so far, and the containers that are not full yet: their index, the index behind their last
/// part, and the offset their next part starts at or after.
#[derive(Default)]
struct Tree {
    parts: Vec<Part>,
    open: Vec<(u32, u32, u64)>,
}

impl Tree {
    fn read(&mut self, index: u32, count: u32, reader: &mut Reader<'_>) -> Result<Part, StructureError> {
        while self.open.pop_if(|(_, after, _)| *after == index).is_some() {}
        let after = u64::from(index) + reader.number()?;
        let limit = self.open.last().map_or(count, |(_, after, _)| *after);
        let after = u32::try_from(after).ok().filter(|after| (index + 1..=limit).contains(after));
        let after = after.ok_or(StructureError::Damaged)?;
        let shape = match reader.number()? {
            0 if after == index + 1 => Shape::Leaf,
            1 if after > index + 1 => Shape::Multipart,
            2 if after > index + 1 => Shape::Message,
            _ => return Err(StructureError::Damaged),
        };
        let parent = self.open.last().map(|(parent, ..)| *parent);
        let (start, header_octets) = (reader.number()?, reader.number()?);
        let (body_octets, lines) = (reader.number()?, reader.number()?);
        let body = start.checked_add(header_octets).ok_or(StructureError::Damaged)?;
        let end = body.checked_add(body_octets).ok_or(StructureError::Damaged)?;
        let mut in_message = parent.is_none();
        if let Some((parent, parent_after, from)) = self.open.last_mut() {
            let container = self.parts.get(*parent as usize).ok_or(StructureError::Damaged)?;
            in_message = container.shape == Shape::Message;
            let fits = start >= *from && end <= container.body().end;
            if !fits || (in_message && after != *parent_after) {
                return Err(StructureError::Damaged);
            }
            *from = end;
        } else if start != 0 || after != count {
            return Err(StructureError::Damaged);
        }
        if lines > body_octets {
            return Err(StructureError::Damaged);
        }
        if shape != Shape::Leaf {
            self.open.push((index, after, body));
            if self.open.len() >= Limits::DEPTH {
                return Err(StructureError::Damaged);
            }
        }
        let content = read_content(reader)?;
        let envelope = in_message.then(|| Envelope::read(reader).map(Box::new)).transpose()?;
        Ok(Part { parent, after, shape, start, header_octets, body_octets, lines, content, envelope })
    }
}

fn write_content(content: &Content, writer: &mut Writer) {
    writer.text(&content.media_type.kind);
    writer.text(&content.media_type.subtype);
    write_parameters(&content.media_type.parameters, writer);
    writer.optional(content.encoding.as_deref().map(str::as_bytes));
    for octets in [&content.id, &content.description, &content.location, &content.md5] {
        writer.optional(octets.as_deref());
    }
    writer.optional(content.disposition.as_ref().map(|disposition| disposition.kind.as_bytes()));
    if let Some(disposition) = &content.disposition {
        write_parameters(&disposition.parameters, writer);
    }
    writer.number(content.languages.len() as u64);
    content.languages.iter().for_each(|language| writer.text(language));
}

fn read_content(reader: &mut Reader<'_>) -> Result<Content, StructureError> {
    let (kind, subtype) = (reader.text()?, reader.text()?);
    let media_type = MediaType { kind, subtype, parameters: read_parameters(reader)? };
    let encoding = reader.optional()?.map(text).transpose()?;
    let (id, description) = (reader.optional()?.map(Box::from), reader.optional()?.map(Box::from));
    let (location, md5) = (reader.optional()?.map(Box::from), reader.optional()?.map(Box::from));
    let disposition = match reader.optional()? {
        Some(kind) => Some(Disposition { kind: text(kind)?, parameters: read_parameters(reader)? }),
        None => None,
    };
    let languages = (0..reader.number()?).map(|_| reader.text()).collect::<Result<_, _>>()?;
    Ok(Content { media_type, encoding, id, description, disposition, languages, location, md5 })
}

fn write_parameters(parameters: &[Parameter], writer: &mut Writer) {
    writer.number(parameters.len() as u64);
    for parameter in parameters {
        writer.text(&parameter.name);
        writer.octets(&parameter.value);
    }
}

fn read_parameters(reader: &mut Reader<'_>) -> Result<Vec<Parameter>, StructureError> {
    let count = reader.number()?;
    (0..count).map(|_| Ok(Parameter { name: reader.text()?, value: reader.octets()?.into() })).collect()
}

/// What is text here is in printable ASCII, as the wire forms of IMAP want it.
fn text(octets: &[u8]) -> Result<Box<str>, StructureError> {
    let printable = octets.iter().all(u8::is_ascii_graphic);
    let text = str::from_utf8(octets).ok().filter(|_| printable).ok_or(StructureError::Damaged)?;
    Ok(text.into())
}

/// Writes the stored form.
#[derive(Debug)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new() -> Self {
        // As much as most messages need.
        let mut octets = Vec::with_capacity(512);
        octets.push(VERSION);
        Self(octets)
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }

    /// Seven bits an octet, lowest first.
    pub(crate) fn number(&mut self, mut number: u64) {
        while number >= 128 {
            self.0.push(number as u8 | 128);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    pub(crate) fn octets(&mut self, octets: &[u8]) {
        self.number(octets.len() as u64);
        self.0.extend_from_slice(octets);
    }

    pub(crate) fn optional(&mut self, octets: Option<&[u8]>) {
        self.number(octets.map_or(0, |octets| octets.len() as u64 + 1));
        self.0.extend_from_slice(octets.unwrap_or_default());
    }

    fn text(&mut self, text: &str) {
        self.octets(text.as_bytes());
    }
}

/// Reads the stored form; never allocates more than it is given.
#[derive(Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, StructureError> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => Ok(Self(rest)),
            Some((&version, _)) => Err(StructureError::Version(version)),
            None => Err(StructureError::Damaged),
        }
    }

    pub(crate) const fn finish(self) -> Result<(), StructureError> {
        if self.0.is_empty() { Ok(()) } else { Err(StructureError::Damaged) }
    }

    pub(crate) fn number(&mut self) -> Result<u64, StructureError> {
        let mut number = 0;
        for shift in (0..63).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(StructureError::Damaged)?;
            self.0 = rest;
            number |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Ok(number);
            }
        }
        Err(StructureError::Damaged)
    }

    pub(crate) fn octets(&mut self) -> Result<&'a [u8], StructureError> {
        let length = self.number()?;
        self.take(length)
    }

    pub(crate) fn optional(&mut self) -> Result<Option<&'a [u8]>, StructureError> {
        match self.number()? {
            0 => Ok(None),
            length => self.take(length - 1).map(Some),
        }
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], StructureError> {
        let split = usize::try_from(length).ok().and_then(|length| self.0.split_at_checked(length));
        let (octets, rest) = split.ok_or(StructureError::Damaged)?;
        self.0 = rest;
        Ok(octets)
    }

    fn text(&mut self) -> Result<Box<str>, StructureError> {
        text(self.octets()?)
    }
}
