//! EXPN (RFC 5321 §4.1.1.7).

use std::fmt;

use mailwright_line_proto::Request;

use super::{Command, Syntax, SyntaxError, Vrfy};
use crate::{Reply, words::text};

/// A client wants to know who is on this list. RFC 5321 §7.3 lets a server refuse, and most do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expn {
    /// The list's name or address, as it was sent.
    pub list: String,
}

impl Expn {
    /// Neither yes nor no, and nothing listed.
    pub const DECLINED: Reply =
        Reply::fixed(252, (2, 5, 0), "Cannot EXPN list, but will accept message for it");

    /// Asks for this list.
    ///
    /// # Errors
    /// If the name is empty or has control characters, or spaces at its ends.
    pub fn new(list: impl Into<String>) -> Result<Self, SyntaxError> {
        let Vrfy { user, .. } = Vrfy::new(list).map_err(|_| SyntaxError::Arguments("EXPN list"))?;
        Ok(Self { list: user })
    }
}

impl Request for Expn {
    type Answer = Reply;
}

impl fmt::Display for Expn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "EXPN {}", self.list)
    }
}

pub(super) fn parse(arguments: &[u8], _: Syntax) -> Result<Command, SyntaxError> {
    Expn::new(text(arguments)?.trim_matches(' ')).map(Command::Expn)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_list_is_needed() {
        assert_eq!(Command::parse(b"EXPN", Syntax::Lenient), Err(SyntaxError::Arguments("EXPN list")));
        assert!(Expn::new("a\r\nQUIT").is_err());
    }

    proptest! {
        #[test]
        fn comes_round(list in "[!-~é]{1,20}( [!-~]{1,10})?") {
            let command = Command::Expn(Expn::new(list).unwrap());
            prop_assert_eq!(Command::parse(command.encode().trim_end().as_bytes(), Syntax::Strict), Ok(command));
        }
    }
}
