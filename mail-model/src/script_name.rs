//! Names of Sieve scripts.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// The name of a Sieve script (RFC 5804 §1.6): 1 to 128 characters, none of them a control character, U+2028 or
/// U+2029. Compared octet by octet.
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

    /// The script of this name.
    ///
    /// # Errors
    /// If it is empty, too long, or holds a character that no name may hold.
    pub fn new(name: &str) -> Result<Self, ScriptNameError> {
        let length = name.chars().count();
        if length == 0 || length > Self::LIMIT {
            return Err(ScriptNameError::Length(length));
        }
        // RFC 5804 §1.6
        match name.chars().find(|letter| letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}')) {
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
        for bad in ["a\0", "\u{1f}", "\u{7f}", "\u{80}", "\u{9f}", "a\u{2028}", "\u{2029}", "a\r\nb"] {
            assert!(matches!(ScriptName::new(bad), Err(ScriptNameError::Character(_))), "{bad:?}");
        }
        assert!(ScriptName::new("clever\"script / ein näher").is_ok());
    }
}
