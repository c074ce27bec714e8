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

    /// The first class of a message that these, which are not wanted, hold: one of them, or what one is refined to, as
    /// `net.example:ADV:ADLT` is of `net.example:ADV`. Letters count in either case.
    ///
    /// ```
    /// use mailwright_smtp_proto::Solicitation;
    ///
    /// let unwanted: Solicitation = "net.example:ADV".parse()?;
    /// let message: Solicitation = "org.example:ADV,net.example:ADV:ADLT".parse()?;
    /// assert_eq!(unwanted.first_held(&message), Some("net.example:ADV:ADLT"));
    /// assert_eq!(message.first_held(&unwanted), None);
    /// # Ok::<(), mailwright_smtp_proto::SyntaxError>(())
    /// ```
    pub fn first_held<'a>(&self, message: &'a Self) -> Option<&'a str> {
        message.classes().find(|class| self.classes().any(|unwanted| holds(unwanted, class)))
    }
}

/// Whether a class is this one or a part of it.
fn holds(whole: &str, class: &str) -> bool {
    let Some((front, rest)) = class.split_at_checked(whole.len()) else { return false };
    front.eq_ignore_ascii_case(whole) && (rest.is_empty() || rest.starts_with(':'))
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
