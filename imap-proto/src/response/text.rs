//! The human-readable end of a status response.

use std::{borrow::Cow, fmt};

use super::reader::{Reader, Result, text_of};
use crate::grammar::Wire;

/// Text for people: never empty, without line ends, NUL or other controls, and not to be taken for a response code.
///
/// Anything becomes text: what may not stand in it is replaced, so that no text can end the line it is sent in.
///
/// ```
/// use mailwright_imap_proto::response::Text;
///
/// assert_eq!(Text::from("done\r\na2 BAD injected").as_str(), "done  a2 BAD injected");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Text(Cow<'static, str>);

impl Text {
    /// The longest text that is sent, in octets; more is cut off.
    pub const MAX_OCTETS: usize = 1000;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As it is, for a client that has chosen a language (RFC 5255 §3.5).
    pub(crate) fn encode_utf8(&self, wire: &mut impl Wire) {
        wire.put(self.0.as_bytes());
    }

    pub(crate) fn encode(&self, wire: &mut impl Wire) {
        if self.0.is_ascii() {
            return wire.put(self.0.as_bytes());
        }
        // RFC 9051 §9: text is of 7 bits.
        let ascii = |letter: char| if letter.is_ascii() { letter } else { '?' };
        wire.put(self.0.chars().map(ascii).collect::<String>().as_bytes());
    }

    /// The rest of a line.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let leniency = reader.leniency;
        if reader.input.is_empty() && !leniency.missing_text {
            return Err(reader.expected("text"));
        }
        let octets = reader.rest();
        if !leniency.eight_bit_quoted && !octets.is_ascii() {
            return Err(reader.expected("text of 7 bits"));
        }
        Ok(text_of(octets).into())
    }
}

/// What stands for a text that is missing: RFC 3501 §9 asks for at least one character.
const MISSING: &str = "-";

impl From<Cow<'static, str>> for Text {
    fn from(text: Cow<'static, str>) -> Self {
        if text.is_empty() {
            return Self(Cow::Borrowed(MISSING));
        }
        let is_printable = |text: &str| text.bytes().all(|octet| matches!(octet, b' '..=b'~'));
        let clean = text.len() <= Self::MAX_OCTETS
            && (is_printable(&text) || !text.contains(char::is_control))
            && !text.starts_with('[');
        if clean {
            return Self(text);
        }
        let end = text.floor_char_boundary(Self::MAX_OCTETS);
        let (kept, _) = text.split_at_checked(end).unwrap_or((&text, ""));
        let mut cleaned = kept.replace(char::is_control, " ");
        if cleaned.starts_with('[') {
            cleaned.replace_range(..1, "(");
        }
        Self(Cow::Owned(cleaned))
    }
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Cow::Borrowed(text).into()
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Cow::<'static, str>::Owned(text).into()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_can_end_its_line_or_begin_a_code() {
        for (text, expected) in [
            ("done", "done"),
            ("", "-"),
            ("a\r\nb\0c", "a  b c"),
            ("[ALERT] x", "(ALERT] x"),
            ("caf\u{e9}", "caf\u{e9}"),
            ("\u{85}", " "),
        ] {
            assert_eq!(Text::from(text).as_str(), expected);
        }
        assert_eq!(Text::from("\u{e9}".repeat(600)).as_str().len(), 1000);
        let mut octets = Vec::new();
        Text::from("caf\u{e9}").encode(&mut octets);
        assert_eq!(octets, b"caf?");
    }
}
