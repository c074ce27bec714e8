//! The content transfer encodings of MIME (RFC 2045 §6): what they are called, and their streaming coders.

mod base64;
mod quoted_printable;

pub use self::base64::{Base64Decoder, Base64Encoder};
pub use self::quoted_printable::{QuotedPrintableDecoder, QuotedPrintableEncoder};

/// How the body of a part is encoded (RFC 2045 §6.1).
///
/// ```
/// use mailwright_mail_model::encoding::TransferEncoding;
///
/// assert_eq!(TransferEncoding::of(b"Base64"), TransferEncoding::Base64);
/// assert_eq!(TransferEncoding::of(b"x-uuencode"), TransferEncoding::Unknown);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransferEncoding {
    /// Lines of ASCII; what is meant when no field says otherwise.
    #[default]
    SevenBit,
    /// Lines of any octets but NUL.
    EightBit,
    /// Any octets.
    Binary,
    /// Mostly ASCII, with `=XX` for the rest.
    QuotedPrintable,
    /// Three octets in four letters.
    Base64,
    /// A name that this crate does not know: the body cannot be decoded.
    Unknown,
}

/// Names and what they mean; the first of a kind is the name it is written with.
const NAMES: [(&str, TransferEncoding); 5] = [
    ("7bit", TransferEncoding::SevenBit),
    ("8bit", TransferEncoding::EightBit),
    ("binary", TransferEncoding::Binary),
    ("quoted-printable", TransferEncoding::QuotedPrintable),
    ("base64", TransferEncoding::Base64),
];

impl TransferEncoding {
    /// The encoding called `name`, without regard to case.
    pub fn of(name: &[u8]) -> Self {
        let found = NAMES.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name));
        found.map_or(Self::Unknown, |(_, encoding)| *encoding)
    }

    /// The name to write; `None` for [`TransferEncoding::Unknown`].
    pub fn as_str(self) -> Option<&'static str> {
        NAMES.iter().find(|(_, encoding)| *encoding == self).map(|(name, _)| *name)
    }

    /// Whether the body is as it stands, so that what it holds can be found by octet ranges.
    pub const fn is_identity(self) -> bool {
        matches!(self, Self::SevenBit | Self::EightBit | Self::Binary)
    }

    /// A decoder of bodies in this encoding; `None` for [`TransferEncoding::Unknown`].
    pub fn decoder(self) -> Option<Decoder> {
        Some(Decoder(match self {
            Self::SevenBit | Self::EightBit | Self::Binary => Kind::Identity,
            Self::QuotedPrintable => Kind::QuotedPrintable(QuotedPrintableDecoder::new()),
            Self::Base64 => Kind::Base64(Base64Decoder::new()),
            Self::Unknown => return None,
        }))
    }
}

/// Decodes a body as it comes, in whichever encoding. Never fails: what is malformed is skipped or kept as it is.
///
/// ```
/// use mailwright_mail_model::encoding::TransferEncoding;
///
/// let mut decoder = TransferEncoding::QuotedPrintable.decoder().ok_or("unknown encoding")?;
/// let mut octets = Vec::new();
/// decoder.push(b"1 =3", &mut octets);
/// decoder.push(b"D 1", &mut octets);
/// decoder.finish(&mut octets);
/// assert_eq!(octets, b"1 = 1");
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Debug)]
pub struct Decoder(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Identity,
    QuotedPrintable(QuotedPrintableDecoder),
    Base64(Base64Decoder),
}

impl Decoder {
    /// Appends the octets that `bytes` complete to `output`.
    pub fn push(&mut self, bytes: &[u8], output: &mut Vec<u8>) {
        match &mut self.0 {
            Kind::Identity => output.extend_from_slice(bytes),
            Kind::QuotedPrintable(decoder) => decoder.push(bytes, output),
            Kind::Base64(decoder) => decoder.push(bytes, output),
        }
    }

    /// The body has ended: appends what was kept back to `output`, and starts anew.
    pub fn finish(&mut self, output: &mut Vec<u8>) {
        match &mut self.0 {
            Kind::Identity => {}
            Kind::QuotedPrintable(decoder) => decoder.finish(output),
            Kind::Base64(decoder) => decoder.finish(output),
        }
    }
}

/// The longest line an encoder writes, in octets without the line break (RFC 2045 §6.7 and §6.8).
const LINE: usize = 76;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for (name, encoding) in NAMES {
            assert_eq!(TransferEncoding::of(name.to_ascii_uppercase().as_bytes()), encoding);
            assert_eq!(encoding.as_str(), Some(name));
            assert!(encoding.decoder().is_some());
        }
        assert!(TransferEncoding::Unknown.decoder().is_none());
        assert_eq!(TransferEncoding::Unknown.as_str(), None);
    }
}
