//! What the header of a part says about its body: the fields of MIME (RFC 2045, RFC 2183, RFC 3282, RFC 2557, RFC 1864).

use std::borrow::Cow;

use super::Limits;
use super::parameters::{Parameter, Tokens, parameters};
use crate::encoding::TransferEncoding;
use crate::header::Fields;
use crate::parameter::Parameters;

/// What kind of data a body holds (RFC 2045 §5).
///
/// Compares type and subtype as written; use [`MediaType::is`] to ignore case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaType {
    pub(super) kind: Box<str>,
    pub(super) subtype: Box<str>,
    pub(super) parameters: Vec<Parameter>,
}

impl MediaType {
    /// RFC 2045 §5.2: what is meant when there is no Content-Type field, or none that can be read.
    pub(super) fn text() -> Self {
        let charset = Parameter { name: "charset".into(), value: (*b"us-ascii").into() };
        Self { kind: "text".into(), subtype: "plain".into(), parameters: vec![charset] }
    }

    /// RFC 2046 §5.1.5: what is meant in a multipart/digest.
    pub(super) fn message() -> Self {
        Self { kind: "message".into(), subtype: "rfc822".into(), parameters: Vec::new() }
    }

    fn parse(value: &[u8], limits: &Limits) -> Option<Self> {
        let mut tokens = Tokens::new(value);
        let kind = tokens.token()?.into();
        let subtype = tokens.take(b'/').then(|| tokens.token()).flatten()?.into();
        Some(Self { kind, subtype, parameters: parameters(value, limits.parameters) })
    }

    /// The type, such as `text`, in the case it was written.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The subtype, such as `plain`, in the case it was written.
    pub fn subtype(&self) -> &str {
        &self.subtype
    }

    /// The parameters in order, those that were cut in pieces last.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The value of the first parameter of that name; case does not matter.
    pub fn parameter(&self, name: &str) -> Option<&[u8]> {
        self.parameters
            .iter()
            .find(|parameter| parameter.name.eq_ignore_ascii_case(name))
            .map(Parameter::value)
    }

    /// The text of the parameter called `name`, put together and decoded (RFC 2231, RFC 2047).
    pub fn decoded(&self, name: &str) -> Option<String> {
        decoded(&self.parameters, name)
    }

    /// Whether the type is `kind`, and the subtype too unless `subtype` is `*`; case does not matter.
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind) && (subtype == "*" || self.subtype.eq_ignore_ascii_case(subtype))
    }

    /// Whether the body is a message that can be looked into (RFC 2046 §5.2.1, RFC 6532 §3.7).
    pub(super) fn is_message(&self) -> bool {
        self.is("message", "rfc822") || self.is("message", "global")
    }

    /// The boundary of a multipart, if it is one that can be split.
    pub(super) fn boundary(&self, limits: &Limits) -> Option<Cow<'_, [u8]>> {
        if !self.is("multipart", "*") {
            return None;
        }
        // RFC 2231 §3: any parameter may come in pieces.
        let boundary = match self.parameter("boundary") {
            Some(boundary) => Cow::Borrowed(boundary),
            None => Cow::Owned(self.decoded("boundary")?.into_bytes()),
        };
        // RFC 2046 §5.1.1: a boundary does not end in white space.
        let boundary = match boundary {
            Cow::Borrowed(boundary) => Cow::Borrowed(boundary.trim_ascii_end()),
            Cow::Owned(boundary) => Cow::Owned(boundary.trim_ascii_end().to_vec()),
        };
        let fits = (1..=limits.boundary.min(Limits::BOUNDARY)).contains(&boundary.len());
        (fits && !boundary.contains(&b'\n')).then_some(boundary)
    }

    /// The charset of a text as it is written, whole or in the form of RFC 2231.
    pub fn charset(&self) -> Option<Cow<'_, str>> {
        match self.parameter("charset") {
            Some(charset) => str::from_utf8(charset).ok().map(Cow::Borrowed),
            None => self.decoded("charset").map(Cow::Owned),
        }
    }
}

/// How a part wants to be shown (RFC 2183).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disposition {
    pub(super) kind: Box<str>,
    pub(super) parameters: Vec<Parameter>,
}

impl Disposition {
    fn parse(value: &[u8], limits: &Limits) -> Option<Self> {
        let mut tokens = Tokens::new(value);
        let kind = tokens.token()?.into();
        Some(Self { kind, parameters: parameters(value, limits.parameters) })
    }

    /// The disposition, such as `inline` or `attachment`, in the case it was written.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The parameters in order, those that were cut in pieces last.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The text of the parameter called `name`, put together and decoded (RFC 2231, RFC 2047).
    pub fn decoded(&self, name: &str) -> Option<String> {
        decoded(&self.parameters, name)
    }
}

/// The text of a parameter, in whichever form it was written.
fn decoded(parameters: &[Parameter], name: &str) -> Option<String> {
    let pairs = parameters.iter().map(|parameter| (parameter.name(), parameter.value()));
    Parameters::of_pairs(pairs).decoded(name)
}

/// What the header of a part says about its body. Values are unfolded and otherwise as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    pub(super) media_type: MediaType,
    pub(super) encoding: Option<Box<str>>,
    pub(super) id: Option<Box<[u8]>>,
    pub(super) description: Option<Box<[u8]>>,
    pub(super) disposition: Option<Disposition>,
    pub(super) languages: Vec<Box<str>>,
    pub(super) location: Option<Box<[u8]>>,
    pub(super) md5: Option<Box<[u8]>>,
}

impl Content {
    /// What is not known yet. It takes no memory.
    pub(super) fn unknown() -> Self {
        let media_type = MediaType { kind: "".into(), subtype: "".into(), parameters: Vec::new() };
        ContentBuilder::default().finish(|| media_type)
    }

    /// The media type, or what is meant in its absence.
    pub const fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// The name of the transfer encoding as it was written; `7bit` in its absence (RFC 2045 §6.1).
    pub fn encoding_name(&self) -> &str {
        self.encoding.as_deref().unwrap_or("7bit")
    }

    /// The transfer encoding.
    pub fn encoding(&self) -> TransferEncoding {
        TransferEncoding::of(self.encoding_name().as_bytes())
    }

    /// The Content-ID field, with its angle brackets.
    pub fn id(&self) -> Option<&[u8]> {
        self.id.as_deref()
    }

    /// The Content-Description field.
    pub fn description(&self) -> Option<&[u8]> {
        self.description.as_deref()
    }

    /// The Content-Disposition field.
    pub const fn disposition(&self) -> Option<&Disposition> {
        self.disposition.as_ref()
    }

    /// The name that the part is to be stored by, decoded: `filename` of its disposition (RFC 2183 §2.3), else `name` of its type, where
    /// mail had it before. It is the sender's word, which may be a path or the name of another file: never make a file of that name
    /// without a look at it.
    ///
    /// ```
    /// use mailwright_mail_model::mime::Structure;
    ///
    /// let structure = Structure::of(
    ///     b"Content-Type: application/pdf; name=old.pdf\r\n\
    ///       Content-Disposition: attachment; filename*=UTF-8''caf%C3%A9.pdf\r\n\r\n",
    /// );
    /// let part = structure.part(0).ok_or("no part")?;
    /// assert_eq!(part.content().file_name().as_deref(), Some("café.pdf"));
    /// # Ok::<(), &str>(())
    /// ```
    pub fn file_name(&self) -> Option<String> {
        let named = self.disposition().and_then(|disposition| disposition.decoded("filename"));
        named.or_else(|| self.media_type.decoded("name"))
    }

    /// The language tags of the Content-Language field (RFC 3282).
    pub fn languages(&self) -> impl ExactSizeIterator<Item = &str> {
        self.languages.iter().map(|language| &**language)
    }

    /// The Content-Location field (RFC 2557 §4).
    pub fn location(&self) -> Option<&[u8]> {
        self.location.as_deref()
    }

    /// The Content-MD5 field (RFC 1864).
    pub fn md5(&self) -> Option<&[u8]> {
        self.md5.as_deref()
    }
}

/// Content as its fields come. Of two fields with one name the first counts.
#[derive(Clone, Debug, Default)]
pub(super) struct ContentBuilder {
    /// Some from the first Content-Type field on, even if that cannot be read.
    media_type: Option<MediaType>,
    encoding: Option<Box<str>>,
    id: Option<Box<[u8]>>,
    description: Option<Box<[u8]>>,
    disposition: Option<Disposition>,
    languages: Vec<Box<str>>,
    location: Option<Box<[u8]>>,
    md5: Option<Box<[u8]>>,
}

type Take = fn(&mut ContentBuilder, &[u8], &Limits);

/// The fields that are read, and what is done with their unfolded values.
const FIELDS: [(&str, Take); 8] = [
    ("Content-Type", |builder, value, limits| {
        builder
            .media_type
            .get_or_insert_with(|| MediaType::parse(value, limits).unwrap_or_else(MediaType::text));
    }),
    ("Content-Transfer-Encoding", |builder, value, _| {
        builder.encoding = builder.encoding.take().or_else(|| Tokens::new(value).token().map(Box::from));
    }),
    ("Content-ID", |builder, value, _| keep(&mut builder.id, value)),
    ("Content-Description", |builder, value, _| keep(&mut builder.description, value)),
    ("Content-Disposition", |builder, value, limits| {
        builder.disposition = builder.disposition.take().or_else(|| Disposition::parse(value, limits));
    }),
    ("Content-Language", |builder, value, limits| {
        if builder.languages.is_empty() {
            builder.languages = languages(value, limits.parameters);
        }
    }),
    ("Content-Location", |builder, value, _| keep(&mut builder.location, value)),
    ("Content-MD5", |builder, value, _| keep(&mut builder.md5, value)),
];

fn keep(slot: &mut Option<Box<[u8]>>, value: &[u8]) {
    slot.get_or_insert_with(|| value.into());
}

/// RFC 3282 §2: tags separated by commas.
fn languages(value: &[u8], limit: usize) -> Vec<Box<str>> {
    let mut tokens = Tokens::new(value);
    let mut tags = Vec::new();
    while tags.len() < limit && !tokens.is_empty() {
        let Some(tag) = tokens.token() else { break };
        tags.push(tag.into());
        if !tokens.take(b',') {
            break;
        }
    }
    tags
}

impl ContentBuilder {
    /// Whether fields of this name are read.
    pub(super) fn wants(name: &[u8]) -> bool {
        FIELDS.iter().any(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Reads a field with its name and line breaks.
    pub(super) fn take(&mut self, raw: &[u8], limits: &Limits) {
        let Some(field) = Fields::new(raw).next() else { return };
        if let Some((_, take)) = FIELDS.iter().find(|(known, _)| field.is(known)) {
            take(self, &field.text(), limits);
        }
    }

    /// How many values were read that are held one by one.
    pub(super) fn items(&self) -> usize {
        let media_type = self.media_type.as_ref().map_or(0, |media_type| media_type.parameters.len());
        let disposition = self.disposition.as_ref().map_or(0, |disposition| disposition.parameters.len());
        media_type + disposition + self.languages.len()
    }

    /// The header has ended; `default` is the media type of a part that names none.
    pub(super) fn finish(self, default: impl FnOnce() -> MediaType) -> Content {
        Content {
            media_type: self.media_type.unwrap_or_else(default),
            encoding: self.encoding,
            id: self.id,
            description: self.description,
            disposition: self.disposition,
            languages: self.languages,
            location: self.location,
            md5: self.md5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &str) -> Content {
        let mut builder = ContentBuilder::default();
        for field in Fields::new(header.as_bytes()) {
            builder.take(field.raw(), &Limits::default());
        }
        builder.finish(MediaType::text)
    }

    #[test]
    fn every_field() {
        let content = read(concat!(
            "Content-Type: Text/HTML;\r\n charset=\"utf-8\"\r\n",
            "content-transfer-encoding: (so) BASE64 x\r\n",
            "Content-ID: <a@b>\r\nContent-Description: a\r\n b\r\n",
            "Content-Disposition: attachment; filename=\"a b\"\r\n",
            "Content-Language: en, de-AT (comment) , nl\r\n",
            "Content-Location: http://a/\r\nContent-MD5: Q2hlY2s=\r\n",
        ));
        assert!(content.media_type().is("text", "html") && content.media_type().is("TEXT", "*"));
        assert_eq!((content.media_type().kind(), content.media_type().subtype()), ("Text", "HTML"));
        assert_eq!(content.media_type().parameter("Charset"), Some(&b"utf-8"[..]));
        assert_eq!(content.encoding(), TransferEncoding::Base64);
        assert_eq!(content.id(), Some(&b"<a@b>"[..]));
        assert_eq!(content.description(), Some(&b"a b"[..]));
        let disposition = content.disposition().unwrap();
        assert_eq!((disposition.kind(), disposition.parameters().len()), ("attachment", 1));
        assert!(content.languages().eq(["en", "de-AT", "nl"]));
        assert_eq!(content.location(), Some(&b"http://a/"[..]));
        assert_eq!(content.md5(), Some(&b"Q2hlY2s="[..]));
    }

    #[test]
    fn file_names() {
        let name = |header: &str| read(header).file_name();
        assert_eq!(
            name("Content-Type: image/png; name=\"=?UTF-8?Q?=C3=A9?=.png\"\r\n").as_deref(),
            Some("é.png")
        );
        let both =
            "Content-Type: a/b; name=x\r\nContent-Disposition: inline; filename*0=\"y \"; filename*1=z\r\n";
        assert_eq!(name(both).as_deref(), Some("y z"));
        assert_eq!(
            name("Content-Type: a/b; name=x\r\nContent-Disposition: inline\r\n").as_deref(),
            Some("x")
        );
        assert_eq!(name("Content-Disposition: attachment\r\n"), None);
    }

    #[test]
    fn absent_and_unreadable_types() {
        assert_eq!(read("").media_type(), &MediaType::text());
        assert_eq!(read("Content-Type: text\r\n").media_type(), &MediaType::text());
        assert_eq!(read("Content-Type: ; charset=x\r\n").media_type(), &MediaType::text());
        assert_eq!(read("").encoding(), TransferEncoding::SevenBit);
        assert_eq!(read("Content-Transfer-Encoding: x-odd\r\n").encoding(), TransferEncoding::Unknown);
    }

    #[test]
    fn parameters_may_come_in_pieces() {
        let pieces =
            "Content-Type: multipart/mixed; boundary*1=b; boundary*0=a; charset*=us-ascii''koi8-r\r\n";
        let content = read(pieces);
        assert_eq!(content.media_type().boundary(&Limits::default()).as_deref(), Some(&b"ab"[..]));
        assert_eq!(content.media_type().charset().as_deref(), Some("koi8-r"));
    }

    /// Of two the first counts.
    #[test]
    fn two_types_and_two_boundaries() {
        let content =
            read("Content-Type: multipart/mixed; boundary=a; boundary=b\r\nContent-Type: text/html\r\n");
        assert_eq!(content.media_type().boundary(&Limits::default()).as_deref(), Some(&b"a"[..]));
    }

    #[test]
    fn boundaries_of_seventy_and_some_more() {
        let boundary = |length: usize| {
            let content =
                read(&format!("Content-Type: multipart/mixed; boundary=\"{} \"", "b".repeat(length)));
            content.media_type().boundary(&Limits::default()).map(|boundary| boundary.len())
        };
        assert_eq!((boundary(0), boundary(1), boundary(80), boundary(81)), (None, Some(1), Some(80), None));
    }
}
