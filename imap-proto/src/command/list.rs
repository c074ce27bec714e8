//! LIST (RFC 3501 §6.3.8).

use mailwright_mail_model::{MailboxPattern, mailbox::utf7};

use crate::grammar::{GrammarError, Input, Wire};

/// Which mailboxes are there?
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct List {
    /// What the pattern is relative to; most often empty. UTF-8.
    pub reference: String,
    /// The pattern, with `*` and `%`. UTF-8.
    pub pattern: String,
}

impl List {
    /// Asks for the mailboxes that match.
    pub fn new(reference: impl Into<String>, pattern: impl Into<String>) -> Self {
        Self { reference: reference.into(), pattern: pattern.into() }
    }

    /// Reference and pattern together, ready to match with.
    pub fn matcher(&self) -> MailboxPattern {
        // RFC 3501 §6.3.8: how the two are combined is the server's choice; a pattern with a leading separator
        // would leave the reference, and no name of ours begins with one.
        MailboxPattern::new(&format!("{}{}", self.reference, self.pattern))
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        input.space()?;
        let reference = pattern(&input.astring()?);
        input.space()?;
        let pattern = pattern(&input.list_mailbox()?);
        Ok(Self { reference, pattern })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"LIST ");
        self.encode_arguments(wire);
    }

    pub(super) fn encode_arguments(&self, wire: &mut impl Wire) {
        wire.put_astring(utf7::encode(&self.reference).as_bytes());
        wire.put(b" ");
        wire.put_string(utf7::encode(&self.pattern).as_bytes());
    }
}

/// A pattern that is no modified UTF-7 is taken as it stands: it may still match names that are spelled so.
fn pattern(text: &[u8]) -> String {
    utf7::decode(text).unwrap_or_else(|_| String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use mailwright_mail_model::MailboxName;

    use super::*;

    fn parse(text: &[u8]) -> Result<List, GrammarError> {
        List::parse(&mut Input::new(text))
    }

    #[test]
    fn patterns_are_utf8_inside() {
        assert_eq!(parse(b" \"\" %"), Ok(List::new("", "%")));
        assert_eq!(parse(b" a/ \"Entw&APw-rfe/*\""), Ok(List::new("a/", "Entw\u{fc}rfe/*")));
        assert_eq!(parse(b" \"\" {2}\r\n&x"), Ok(List::new("", "&x")));
        assert!(parse(b" \"\" (a)").is_err());
        let name = MailboxName::new("a/b").unwrap();
        assert!(parse(b" a/ %").unwrap().matcher().matches(&name));
        assert!(!parse(b" \"\" %").unwrap().matcher().matches(&name));
    }
}
