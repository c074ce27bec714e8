//! BODY and BODYSTRUCTURE: the MIME parts of a message.

use super::{
    Envelope,
    reader::{Reader, Result},
};
use crate::grammar::{GrammarError, Wire};

/// How many levels of parts a client follows. A deeper structure is not read at all.
const MAX_DEPTH: usize = 100;

/// One MIME part and all that is in it (RFC 9051 §7.5.2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BodyStructure {
    /// The type: `text`, `multipart`.
    pub media_type: String,
    /// The subtype: `plain`.
    pub subtype: String,
    /// The parameters of the type. BODY has none for multiparts.
    pub parameters: Vec<(String, String)>,
    /// The Content-ID. None for multiparts, as all up to the size.
    pub id: Option<String>,
    /// The Content-Description.
    pub description: Option<String>,
    /// The transfer encoding.
    pub encoding: String,
    /// The size in octets, as encoded.
    pub size: u64,
    /// What is in it.
    pub content: Content,
    /// What only BODYSTRUCTURE has.
    pub extension: Option<Extension>,
}

/// What a part holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// Nothing that IMAP would look into.
    #[default]
    Basic,
    /// Text of so many lines.
    Text {
        /// The number of lines.
        lines: u64,
    },
    /// A message.
    Message {
        /// Its envelope.
        envelope: Box<Envelope>,
        /// Its structure.
        body: Box<BodyStructure>,
        /// The number of its lines.
        lines: u64,
    },
    /// Other parts.
    Multipart(Vec<BodyStructure>),
}

/// The extension data of BODYSTRUCTURE.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Extension {
    /// The Content-MD5.
    pub md5: Option<String>,
    /// The disposition and its parameters.
    pub disposition: Option<(String, Vec<(String, String)>)>,
    /// The languages.
    pub language: Vec<String>,
    /// The Content-Location.
    pub location: Option<String>,
}

impl BodyStructure {
    /// Whether there are parts in it.
    pub fn is_multipart(&self) -> bool {
        matches!(self.content, Content::Multipart(_))
    }

    /// Writes the structure in its parentheses. Recursive: for structures that this side made or has read.
    pub fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"(");
        if let Content::Multipart(parts) = &self.content {
            parts.iter().for_each(|part| part.encode(wire));
            wire.put(b" ");
            wire.put_string(self.subtype.as_bytes());
            if self.extension.is_some() {
                wire.put(b" ");
                put_parameters(&self.parameters, wire);
            }
        } else {
            self.encode_single(wire);
        }
        if let Some(extension) = &self.extension {
            extension.encode(self.is_multipart(), wire);
        }
        wire.put(b")");
    }

    fn encode_single(&self, wire: &mut impl Wire) {
        wire.put_string(self.media_type.as_bytes());
        wire.put(b" ");
        wire.put_string(self.subtype.as_bytes());
        wire.put(b" ");
        put_parameters(&self.parameters, wire);
        for field in [&self.id, &self.description] {
            wire.put(b" ");
            wire.put_nstring(field.as_deref().map(str::as_bytes));
        }
        wire.put(b" ");
        wire.put_string(self.encoding.as_bytes());
        wire.put(b" ");
        wire.put_number(self.size);
        match &self.content {
            Content::Text { lines } => {
                wire.put(b" ");
                wire.put_number(*lines);
            }
            Content::Message { envelope, body, lines } => {
                wire.put(b" ");
                envelope.encode(wire);
                wire.put(b" ");
                body.encode(wire);
                wire.put(b" ");
                wire.put_number(*lines);
            }
            Content::Basic | Content::Multipart(_) => {}
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Self::read_at(reader, MAX_DEPTH)
    }

    fn read_at(reader: &mut Reader<'_>, depth: usize) -> Result<Self> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(GrammarError::TooMany { what: "levels of parts", limit: MAX_DEPTH });
        };
        reader.open()?;
        if reader.input.peek() != Some(b'(') {
            return Self::read_single(reader, depth);
        }
        // Most have two; there is room for more only where there are more.
        let mut parts = Vec::with_capacity(2);
        while reader.input.peek() == Some(b'(') {
            parts.push(Self::read_at(reader, depth)?);
            if reader.leniency.spaces && reader.input.rest().starts_with(b" (") {
                reader.padding();
            }
        }
        reader.space()?;
        let mut multipart = Self {
            media_type: "multipart".into(),
            subtype: reader.text()?,
            content: Content::Multipart(parts),
            ..Self::default()
        };
        if !reader.closes()? {
            multipart.parameters = parameters(reader)?;
            multipart.extension = Some(Extension::read(reader, None)?);
        }
        Ok(multipart)
    }

    fn read_single(reader: &mut Reader<'_>, depth: usize) -> Result<Self> {
        let media_type = reader.text()?;
        reader.space()?;
        let subtype = reader.text()?;
        reader.space()?;
        let parameters = parameters(reader)?;
        reader.space()?;
        let id = reader.optional_text()?;
        reader.space()?;
        let description = reader.optional_text()?;
        reader.space()?;
        let encoding = reader.text()?;
        reader.space()?;
        let size = reader.number64()?;
        let mut part = Self {
            media_type,
            subtype,
            parameters,
            id,
            description,
            encoding,
            size,
            content: Content::Basic,
            extension: None,
        };
        if reader.closes()? {
            return Ok(part);
        }
        // Not the type decides but what is there: servers send messages without an envelope, texts without lines.
        match reader.input.peek() {
            Some(b'(') => {
                let envelope = Envelope::read(reader)?.into();
                reader.space()?;
                let body = Self::read_at(reader, depth)?.into();
                reader.space()?;
                part.content = Content::Message { envelope, body, lines: reader.number64()? };
            }
            Some(b'0'..=b'9') => part.content = Content::Text { lines: reader.number64()? },
            _ => {
                let md5 = reader.optional_text()?;
                part.extension = Some(Extension::read(reader, md5)?);
                return Ok(part);
            }
        }
        if !reader.closes()? {
            let md5 = reader.optional_text()?;
            part.extension = Some(Extension::read(reader, md5)?);
        }
        Ok(part)
    }
}

impl Extension {
    fn encode(&self, multipart: bool, wire: &mut impl Wire) {
        if !multipart {
            wire.put(b" ");
            wire.put_nstring(self.md5.as_deref().map(str::as_bytes));
        }
        match &self.disposition {
            Some((name, parameters)) => {
                wire.put(b" (");
                wire.put_string(name.as_bytes());
                wire.put(b" ");
                put_parameters(parameters, wire);
                wire.put(b")");
            }
            None => wire.put(b" NIL"),
        }
        wire.put(b" ");
        match &self.language[..] {
            [] => wire.put(b"NIL"),
            [one] => wire.put_string(one.as_bytes()),
            many => wire.put_list(many, |wire, one| wire.put_string(one.as_bytes())),
        }
        wire.put(b" ");
        wire.put_nstring(self.location.as_deref().map(str::as_bytes));
    }

    /// What follows the MD5 or the parameters, up to and with the closing parenthesis.
    fn read(reader: &mut Reader<'_>, md5: Option<String>) -> Result<Self> {
        let mut extension = Self { md5, ..Self::default() };
        if reader.closes()? {
            return Ok(extension);
        }
        if !reader.nil() {
            reader.open()?;
            let name = reader.text()?;
            reader.space()?;
            extension.disposition = Some((name, parameters(reader)?));
            reader.padding();
            reader.input.octet(b')', "the end of the disposition")?;
        }
        if reader.closes()? {
            return Ok(extension);
        }
        extension.language = match reader.input.peek() {
            Some(b'(') => reader.list(Reader::text)?,
            _ => reader.optional_text()?.into_iter().collect(),
        };
        if reader.closes()? {
            return Ok(extension);
        }
        extension.location = reader.optional_text()?;
        // RFC 9051 §7.5.2: what later revisions add stands behind.
        while !reader.closes()? {
            reader.skip_value()?;
        }
        Ok(extension)
    }
}

fn put_parameters(parameters: &[(String, String)], wire: &mut impl Wire) {
    if parameters.is_empty() {
        return wire.put(b"NIL");
    }
    wire.put_list(parameters, |wire, (name, value)| {
        wire.put_string(name.as_bytes());
        wire.put(b" ");
        wire.put_string(value.as_bytes());
    });
}

fn parameters(reader: &mut Reader<'_>) -> Result<Vec<(String, String)>> {
    if reader.nil() {
        return Ok(Vec::new());
    }
    reader.list(|reader| {
        let name = reader.text()?;
        reader.space()?;
        Ok((name, reader.text()?))
    })
}

#[cfg(test)]
pub(super) mod tests;
