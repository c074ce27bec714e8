//! Text for people, as it may stand in a reply line.

use std::fmt;

use thiserror::Error;

/// The human part of a reply: no control characters, at most [`Text::LIMIT`] octets of UTF-8.
///
/// What is a `Text` cannot end a reply line early, whatever it was made from.
///
/// ```
/// use mailwright_pop3_proto::Text;
///
/// assert_eq!(Text::new("mailbox is locked")?.as_str(), "mailbox is locked");
/// assert!(Text::new("one\r\n+OK two").is_err());
/// # Ok::<(), mailwright_pop3_proto::TextError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Text(Box<str>);

impl Text {
    /// The most octets of a text: with status, code and line end they fit the 512 octets of RFC 2449 §4.
    pub const LIMIT: usize = 400;

    /// Takes a text that can stand in a reply.
    ///
    /// # Errors
    /// If it is longer than [`Text::LIMIT`] or holds a control character.
    pub fn new(text: &str) -> Result<Self, TextError> {
        if text.len() > Self::LIMIT {
            return Err(TextError::TooLong { length: text.len() });
        }
        match text.chars().find(|letter| letter.is_control()) {
            Some(letter) => Err(TextError::Control(letter)),
            None => Ok(Self(text.into())),
        }
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a peer sent, made presentable: trimmed, cut at the limit, with `?` in the place of control characters.
    pub(crate) fn received(octets: &[u8]) -> Self {
        let mut text = String::new();
        for letter in String::from_utf8_lossy(octets).trim().chars() {
            if text.len() + letter.len_utf8() > Self::LIMIT {
                break;
            }
            text.push(if letter.is_control() { '?' } else { letter });
        }
        Self(text.into())
    }

    /// A text of ours.
    pub(crate) fn fixed(text: &'static str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Why something is no [`Text`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TextError {
    /// It is too long.
    #[error("a reply text has at most {limit} octets, this one has {length}", limit = Text::LIMIT)]
    TooLong {
        /// Its length in octets.
        length: usize,
    },
    /// It holds a control character.
    #[error("a reply text has no control characters, this one has {0:?}")]
    Control(char),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_bounded_and_has_no_line_end() {
        for (length, fits) in [(399, true), (400, true), (401, false)] {
            assert_eq!(Text::new(&"x".repeat(length)).is_ok(), fits, "{length}");
            assert_eq!(Text::received("é".repeat(length).as_bytes()).as_str().len(), 400);
        }
        assert_eq!(Text::new("a\rb"), Err(TextError::Control('\r')));
        assert_eq!(Text::received(b"  a\0b\xff \r").as_str(), "a?b\u{fffd}");
    }
}
