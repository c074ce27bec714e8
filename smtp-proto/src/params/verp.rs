//! XVERP of MAIL, as Postfix has it: each recipient is sent a message whose sender tells who it was for.

use std::fmt;

/// What stands before the recipient in such a sender, and what for the recipient's `@`: each is one of `-`, `=` and `+`.
///
/// ```
/// use mailwright_smtp_proto::VerpDelimiters;
///
/// let delimiters = VerpDelimiters::new('-', '=').unwrap();
/// assert_eq!((delimiters.before(), delimiters.at()), ('-', '='));
/// assert_eq!(VerpDelimiters::default().to_string(), "+=");
/// assert_eq!(VerpDelimiters::new('a', '='), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VerpDelimiters {
    before: char,
    at: char,
}

impl Default for VerpDelimiters {
    /// Postfix's: `+=`.
    fn default() -> Self {
        Self { before: '+', at: '=' }
    }
}

impl VerpDelimiters {
    /// `None` for any other characters: they could not be told from those of an address.
    pub fn new(before: char, at: char) -> Option<Self> {
        let fits = |delimiter| matches!(delimiter, '-' | '=' | '+');
        (fits(before) && fits(at)).then_some(Self { before, at })
    }

    /// What stands before the recipient.
    pub fn before(self) -> char {
        self.before
    }

    /// What stands for the recipient's `@`.
    pub fn at(self) -> char {
        self.at
    }

    /// Without a value they are those that are usual here.
    pub(super) fn parse(value: Option<&str>) -> Option<Self> {
        let Some(value) = value else { return Some(Self::default()) };
        let mut letters = value.chars();
        let (before, at) = (letters.next()?, letters.next()?);
        Self::new(before, at).filter(|_| letters.next().is_none())
    }
}

impl fmt::Display for VerpDelimiters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.before, self.at)
    }
}
