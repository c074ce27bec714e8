//! SOLICIT of MAIL, and the classes that NO-SOLICITING names (RFC 3865).

use std::{fmt, str::FromStr};

use crate::SyntaxError;

/// Classes of advertising, `net.example:ADV,org.example:ADV:ADLT`: those a message belongs to, or those a server
/// does not want.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Solicitation(String);

/// RFC 3865: the list has at most 1,000 characters.
const LONGEST: usize = 1000;

impl Solicitation {
    /// Each class.
    pub fn classes(&self) -> impl Iterator<Item = &str> {
        self.0.split(',')
    }
}

impl FromStr for Solicitation {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        let is_class = |class: &str| {
            let fits =
                |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_' | ':');
            class.starts_with(|first: char| first.is_ascii_alphabetic()) && class.chars().all(fits)
        };
        if text.len() <= LONGEST && text.split(',').all(is_class) {
            Ok(Self(text.to_owned()))
        } else {
            Err(SyntaxError::Value("SOLICIT"))
        }
    }
}

impl fmt::Display for Solicitation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
