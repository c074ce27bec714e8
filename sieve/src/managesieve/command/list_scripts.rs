//! LISTSCRIPTS: which scripts there are.

use mailwright_line_proto::Request;
use mailwright_mail_model::ScriptName;

use super::{Arguments, Command, Token};
use crate::managesieve::{Refusal, token::put_string};

/// Asks which scripts there are (RFC 5804 §2.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListScripts;

impl ListScripts {
    pub(in crate::managesieve) const LINE: &'static [u8] = b"LISTSCRIPTS";
}

impl Request for ListScripts {
    type Answer = Result<Vec<Listed>, Refusal>;
}

pub(super) fn parse(arguments: Arguments) -> Option<Command> {
    arguments.end(Command::ListScripts)
}

/// One script of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// Its name.
    pub name: ScriptName,
    /// Whether it is the one that filters mail.
    pub active: bool,
}

impl Listed {
    /// A script of this name.
    pub fn new(name: ScriptName, active: bool) -> Self {
        Self { name, active }
    }

    pub(in crate::managesieve) fn encode(&self) -> Vec<u8> {
        let mut line = Vec::new();
        put_string(&mut line, self.name.as_str().as_bytes(), "");
        if self.active {
            line.extend_from_slice(b" ACTIVE");
        }
        line
    }

    pub(in crate::managesieve) fn decode(tokens: &[Token]) -> Option<Self> {
        let (Token::String(name), rest) = tokens.split_first()? else { return None };
        let active = match rest {
            [] => false,
            [word] if word.is("ACTIVE") => true,
            _ => return None,
        };
        let name = ScriptName::new(std::str::from_utf8(name).ok()?).ok()?;
        Some(Self { name, active })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_survives_the_wire() {
        for (name, active) in [("a", true), ("clever\"script \\ ü", false)] {
            let listed = Listed::new(name.parse().unwrap(), active);
            let mut tokens = Vec::new();
            crate::managesieve::token::scan(&listed.encode(), &mut tokens).unwrap();
            assert_eq!(Listed::decode(&tokens), Some(listed));
        }
        for bad in ["a", "\"\"", "\"a\" b", "\"a\" ACTIVE x", ""] {
            let mut tokens = Vec::new();
            crate::managesieve::token::scan(bad.as_bytes(), &mut tokens).unwrap();
            assert_eq!(Listed::decode(&tokens), None, "{bad}");
        }
    }
}
