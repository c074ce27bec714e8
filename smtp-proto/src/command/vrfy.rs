//! VRFY (RFC 5321 §4.1.1.6).

use std::fmt;

use mailwright_line_proto::Request;

use super::{Command, Syntax, SyntaxError};
use crate::{Reply, words::text};

/// A client wants to know whether this is a user. RFC 5321 §7.3 lets a server answer 252: neither yes nor no.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Vrfy {
    /// The user's name or address, as it was sent.
    pub user: String,
}

impl Vrfy {
    /// Neither yes nor no.
    pub const DECLINED: Reply =
        Reply::fixed(252, (2, 5, 0), "Cannot VRFY user, but will accept message and attempt delivery");

    /// Asks for this user.
    ///
    /// # Errors
    /// If the name is empty or has control characters, or spaces at its ends.
    pub fn new(user: impl Into<String>) -> Result<Self, SyntaxError> {
        let user = user.into();
        let fits =
            !user.is_empty() && user.trim_matches(' ') == user && !user.bytes().any(|o| o.is_ascii_control());
        if fits { Ok(Self { user }) } else { Err(SyntaxError::Arguments("VRFY user")) }
    }
}

impl Request for Vrfy {
    type Answer = Reply;
}

impl fmt::Display for Vrfy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "VRFY {}", self.user)
    }
}

pub(super) fn parse(arguments: &[u8], _: Syntax) -> Result<Command, SyntaxError> {
    Vrfy::new(text(arguments)?.trim_matches(' ')).map(Command::Vrfy)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_user_is_needed() {
        assert!(Command::parse(b"VRFY", Syntax::Strict).is_err());
        assert!(Vrfy::new("a\r\nQUIT").is_err());
    }

    proptest! {
        #[test]
        fn comes_round(user in "[!-~é]{1,20}( [!-~]{1,10})?") {
            let command = Command::Vrfy(Vrfy::new(user).unwrap());
            prop_assert_eq!(Command::parse(command.encode().trim_end().as_bytes(), Syntax::Strict), Ok(command));
        }
    }
}
