//! Names of Sieve scripts.

use std::{fmt, str::FromStr};

use thiserror::Error;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// The name of a Sieve script (RFC 5804 §1.6): 1 to 128 characters, none of them a control character, U+2028, U+2029 or a
/// byte order mark; in the normalization form NFC (RFC 5198 §2), so that a name is the same from whichever keyboard it came.
/// Compared octet by octet.
///
/// ```
/// use mailwright_mail_model::ScriptName;
///
/// assert_eq!(ScriptName::new("vacation")?.as_str(), "vacation");
/// assert!(ScriptName::new("").is_err());
/// # Ok::<(), mailwright_mail_model::ScriptNameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScriptName(Box<str>);

impl ScriptName {
    /// The most characters, which have up to 512 octets.
    pub const LIMIT: usize = 128;

    /// The script of this name, which is brought into NFC.
    ///
    /// # Errors
    /// If it is empty, too long, or holds a character that no name may hold.
    pub fn new(name: &str) -> Result<Self, ScriptNameError> {
        // RFC 5198 §2
        match is_nfc_quick(name.chars()) {
            IsNormalized::Yes => Self::normalized(name),
            _ => Self::normalized(&name.nfc().collect::<String>()),
        }
    }

    fn normalized(name: &str) -> Result<Self, ScriptNameError> {
        let length = name.chars().count();
        if length == 0 || length > Self::LIMIT {
            return Err(ScriptNameError::Length(length));
        }
        // RFC 5804 §1.6, RFC 5198 §2
        let forbidden =
            |letter: &char| letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{feff}');
        match name.chars().find(forbidden) {
            Some(letter) => Err(ScriptNameError::Character(letter)),
            None => Ok(Self(name.into())),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ScriptName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for ScriptName {
    type Err = ScriptNameError;

    /// As [`ScriptName::new`].
    fn from_str(name: &str) -> Result<Self, ScriptNameError> {
        Self::new(name)
    }
}

/// Why something is no [`ScriptName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ScriptNameError {
    /// Its length in characters.
    #[error("a script name has 1 to {limit} characters, this one has {0}", limit = ScriptName::LIMIT)]
    Length(usize),
    /// A character that no name may hold.
    #[error("a script name has no control characters and line separators, this one has {0:?}")]
    Character(char),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_on_one_line() {
        for (length, fits) in [(0, false), (1, true), (127, true), (128, true), (129, false)] {
            assert_eq!(ScriptName::new(&"é".repeat(length)).is_ok(), fits, "{length}");
        }
        for bad in
            ["a\0", "\u{1f}", "\u{7f}", "\u{80}", "\u{9f}", "a\u{2028}", "\u{2029}", "\u{feff}a", "a\r\nb"]
        {
            assert!(matches!(ScriptName::new(bad), Err(ScriptNameError::Character(_))), "{bad:?}");
        }
        assert!(ScriptName::new("clever\"script / ein näher").is_ok());
    }

    #[test]
    fn names_are_normalized() {
        // RFC 5198 §2: the letter and its mark, the letter with its mark, and the sign of a unit that is a letter.
        for (name, normal) in
            [("na\u{308}her", "n\u{e4}her"), ("n\u{e4}her", "n\u{e4}her"), ("\u{212b}", "\u{c5}")]
        {
            assert_eq!(ScriptName::new(name).unwrap().as_str(), normal);
        }
        // Counted as it is kept.
        assert!(ScriptName::new(&"a\u{308}".repeat(128)).is_ok());
    }
}
