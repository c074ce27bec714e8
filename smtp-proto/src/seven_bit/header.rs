//! What a header says about the content behind it.

use std::ops::Range;

use mailwright_mail_model::{encoding::TransferEncoding, header, parameter::Parameters};

/// A message or part.
#[derive(Debug)]
pub(super) struct Entity {
    pub(super) kind: Kind,
    encoding: TransferEncoding,
    /// Where the field stands that says so.
    field: Option<Range<usize>>,
}

/// What its content is.
#[derive(Debug)]
pub(super) enum Kind {
    Multipart {
        boundary: Vec<u8>,
        /// What is in it is covered by a signature.
        signed: bool,
    },
    /// A message with a header of its own.
    Message,
    Text,
    Other,
}

impl Entity {
    pub(super) fn of(octets: &[u8]) -> Self {
        let field = header::find(octets, "Content-Transfer-Encoding");
        let encoding =
            field.map_or(TransferEncoding::SevenBit, |field| TransferEncoding::of(first_word(&field.text())));
        Self { kind: kind(octets), encoding, field: field.map(|field| field.range()) }
    }

    pub(super) fn is_eight_bit(&self) -> bool {
        self.encoding == TransferEncoding::EightBit
    }

    pub(super) fn is_binary(&self) -> bool {
        self.encoding == TransferEncoding::Binary
    }

    /// Writes the header with another encoding in it.
    pub(super) fn write(&self, octets: &[u8], encoding: &str, output: &mut Vec<u8>) {
        let field = self.field.clone().unwrap_or(0..0);
        output.extend_from_slice(octets.get(..field.start).unwrap_or_default());
        output.extend_from_slice(format!("Content-Transfer-Encoding: {encoding}\r\n").as_bytes());
        output.extend_from_slice(octets.get(field.end..).unwrap_or_default());
    }
}

fn kind(octets: &[u8]) -> Kind {
    let Some(field) = header::find(octets, "Content-Type") else { return Kind::Text };
    let text = field.text();
    let name = first_word(&text).to_ascii_lowercase();
    if name.starts_with(b"multipart/") {
        return match Parameters::parse(&text).value("boundary") {
            Some(boundary) if !boundary.is_empty() && boundary.len() <= 150 => {
                Kind::Multipart { boundary: boundary.to_vec(), signed: name == b"multipart/signed" }
            }
            // Nothing in it can be told apart.
            _ => Kind::Other,
        };
    }
    match &name[..] {
        b"message/rfc822" | b"message/global" => Kind::Message,
        name if name.starts_with(b"text/") => Kind::Text,
        _ => Kind::Other,
    }
}

/// Up to white space, a comment or a semicolon.
fn first_word(text: &[u8]) -> &[u8] {
    text.split(|octet| matches!(octet, b' ' | b'\t' | b';' | b'(')).next().unwrap_or_default()
}
