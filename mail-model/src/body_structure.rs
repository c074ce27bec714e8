//! The view of a [`Structure`] that IMAP reports as BODYSTRUCTURE (RFC 9051 §7.5.2).

use crate::Envelope;
use crate::mime::{Disposition, Parameter, Part, Shape, Structure};

/// A part of a message as BODYSTRUCTURE describes it. Cheap to copy.
///
/// What could not be looked into is described as a leaf of a type that fits: a multipart without parts as
/// text/plain (RFC 2045 §5.2), a message that was not opened as application/octet-stream. Parts lie at most
/// [`Limits::DEPTH`](crate::mime::Limits::DEPTH) deep, so a writer may recurse.
///
/// ```
/// use mailwright_mail_model::mime::Structure;
/// use mailwright_mail_model::{BodyKind, BodyStructure};
///
/// let structure = Structure::of(b"Content-Type: text/html; charset=utf-8\r\n\r\n<p>tea\r\n");
/// let body = BodyStructure::of(&structure, 0).ok_or("no part")?;
/// assert_eq!((body.media_kind(), body.media_subtype()), ("text", "html"));
/// assert_eq!(body.octets(), 8);
/// assert!(matches!(body.kind(), BodyKind::Text { lines: 1 }));
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct BodyStructure<'a> {
    structure: &'a Structure,
    part: &'a Part,
    index: usize,
}

/// Which of the four forms of BODYSTRUCTURE describes a part, and what only that form says.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum BodyKind<'a> {
    /// `body-type-mpart`: one or more parts, from [`BodyStructure::children`].
    Multipart,
    /// `body-type-msg`: another message.
    Message {
        /// Its envelope.
        envelope: &'a Envelope,
        /// Its body.
        body: BodyStructure<'a>,
        /// The line breaks of the whole of it.
        lines: u64,
    },
    /// `body-type-text`.
    Text {
        /// The line breaks of the body.
        lines: u64,
    },
    /// `body-type-basic`: anything else.
    Basic,
}

impl<'a> BodyStructure<'a> {
    /// The description of the part at an index of `structure`; 0 is the message. `None` if there is no such part.
    pub fn of(structure: &'a Structure, index: usize) -> Option<Self> {
        structure.part(index).map(|part| Self { structure, part, index })
    }

    /// Which form describes this part.
    pub fn kind(&self) -> BodyKind<'a> {
        match self.part.shape() {
            Shape::Multipart => BodyKind::Multipart,
            Shape::Message => self.message().unwrap_or(BodyKind::Basic),
            Shape::Leaf if self.media_kind().eq_ignore_ascii_case("text") => {
                BodyKind::Text { lines: self.part.lines() }
            }
            Shape::Leaf => BodyKind::Basic,
        }
    }

    fn message(&self) -> Option<BodyKind<'a>> {
        let body = self.children().next()?;
        let envelope = body.part.envelope()?;
        Some(BodyKind::Message { envelope, body, lines: self.part.lines() })
    }

    /// The parts of a multipart in order; of a message, the one message.
    pub fn children(&self) -> impl Iterator<Item = Self> + use<'a> {
        let structure = self.structure;
        structure.children(self.index).filter_map(move |index| Self::of(structure, index))
    }

    /// The part described, with its ranges.
    pub const fn part(&self) -> &'a Part {
        self.part
    }

    /// The type, such as `text`, in the case it was written.
    pub fn media_kind(&self) -> &'a str {
        self.substitute().map_or_else(|| self.part.content().media_type().kind(), |(kind, _)| kind)
    }

    /// The subtype, such as `plain`, in the case it was written.
    pub fn media_subtype(&self) -> &'a str {
        self.substitute().map_or_else(|| self.part.content().media_type().subtype(), |(_, subtype)| subtype)
    }

    /// The parameters of the type.
    pub fn parameters(&self) -> &'a [Parameter] {
        if self.substitute().is_some() { &[] } else { self.part.content().media_type().parameters() }
    }

    /// The Content-ID field.
    pub fn id(&self) -> Option<&'a [u8]> {
        self.part.content().id()
    }

    /// The Content-Description field.
    pub fn description(&self) -> Option<&'a [u8]> {
        self.part.content().description()
    }

    /// The name of the transfer encoding, such as `7bit`.
    pub fn encoding(&self) -> &'a str {
        self.part.content().encoding_name()
    }

    /// The octets of the body, as it is encoded.
    pub const fn octets(&self) -> u64 {
        let body = self.part.body();
        body.end - body.start
    }

    /// The Content-MD5 field.
    pub fn md5(&self) -> Option<&'a [u8]> {
        self.part.content().md5()
    }

    /// The Content-Disposition field.
    pub const fn disposition(&self) -> Option<&'a Disposition> {
        self.part.content().disposition()
    }

    /// The tags of the Content-Language field.
    pub fn languages(&self) -> impl ExactSizeIterator<Item = &'a str> + use<'a> {
        self.part.content().languages()
    }

    /// The Content-Location field.
    pub fn location(&self) -> Option<&'a [u8]> {
        self.part.content().location()
    }

    /// The type to give for a leaf whose own type promises parts.
    fn substitute(&self) -> Option<(&'static str, &'static str)> {
        let media_type = self.part.content().media_type();
        match self.part.shape() {
            Shape::Leaf if media_type.is("multipart", "*") => Some(("text", "plain")),
            Shape::Leaf if media_type.is("message", "rfc822") || media_type.is("message", "global") => {
                Some(("application", "octet-stream"))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn describe(body: &BodyStructure<'_>) -> String {
        match body.kind() {
            BodyKind::Multipart => {
                let parts: String = body.children().map(|child| describe(&child)).collect();
                format!("({parts} {})", body.media_subtype())
            }
            BodyKind::Message { envelope, body: inner, lines } => {
                let subject = String::from_utf8_lossy(envelope.subject().unwrap_or(b"NIL"));
                format!("({} {} {subject} {} {lines})", body.media_kind(), body.octets(), describe(&inner))
            }
            BodyKind::Text { lines } => format!("(text {} {lines})", body.octets()),
            BodyKind::Basic => format!("({}/{})", body.media_kind(), body.media_subtype()),
        }
    }

    fn describe_message(message: &str) -> String {
        describe(&BodyStructure::of(&Structure::of(message.as_bytes()), 0).unwrap())
    }

    #[test]
    fn all_four_forms() {
        let message = concat!(
            "Content-Type: multipart/mixed; boundary=b\n\n--b\n\ntea\n\n--b\nContent-Type: image/gif\n\nx\n",
            "--b\nContent-Type: message/rfc822\n\nSubject: inner\n\ntext\n--b--\n",
        );
        assert_eq!(describe_message(message), "((text 4 1)(image/gif)(message 20 inner (text 4 0) 2) mixed)");
    }

    #[test]
    fn what_was_not_opened_is_a_leaf() {
        assert_eq!(describe_message("Content-Type: multipart/mixed\n\na\n"), "(text 2 1)");
        assert_eq!(
            describe_message("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\na\n"),
            "(application/octet-stream)"
        );
        let deep = "Content-Type: message/rfc822\n\n".repeat(200);
        assert!(describe_message(&deep).contains("(application/octet-stream)"));
    }

    #[test]
    fn every_detail_is_there() {
        let message = concat!(
            "Content-Type: image/png; name=a\nContent-ID: <1>\nContent-Description: d\n",
            "Content-Transfer-Encoding: base64\nContent-MD5: m\nContent-Disposition: inline; size=1\n",
            "Content-Language: en\nContent-Location: l\n\n",
        );
        let structure = Structure::of(message.as_bytes());
        let body = BodyStructure::of(&structure, 0).unwrap();
        assert_eq!(body.parameters().first().map(|parameter| parameter.value()), Some(&b"a"[..]));
        assert_eq!((body.id(), body.description()), (Some(&b"<1>"[..]), Some(&b"d"[..])));
        assert_eq!((body.encoding(), body.md5()), ("base64", Some(&b"m"[..])));
        assert_eq!(body.disposition().map(Disposition::kind), Some("inline"));
        assert!(body.languages().eq(["en"]));
        assert_eq!(body.location(), Some(&b"l"[..]));
        assert_eq!(body.part().body().start, message.len() as u64);
    }
}
