//! CREATE (RFC 3501 §6.3.3).

use mailwright_line_proto::Request;
use mailwright_mail_model::MailboxName;

use crate::grammar::{GrammarError, Input, Wire};
use crate::refusal::Answered;

/// Makes a mailbox, and those above it if they are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Create {
    /// The name. Never INBOX: the machine refuses that by itself.
    pub mailbox: MailboxName,
}

impl Create {
    /// Makes a mailbox of this name.
    pub fn new(mailbox: MailboxName) -> Self {
        Self { mailbox }
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        input.space()?;
        Ok(Self { mailbox: new_name(input)? })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"CREATE ");
        wire.put_mailbox(&self.mailbox);
    }
}

impl Request for Create {
    type Answer = Answered<()>;
}

/// Takes a name for a new mailbox: no wildcards in it.
pub(super) fn new_name(input: &mut Input<'_>) -> Result<MailboxName, GrammarError> {
    let name = input.astring()?;
    // RFC 3501 §6.3.3: a separator at the end only says that mailboxes will be made below this one.
    let name = MailboxName::from_utf7(name.strip_suffix(b"/").unwrap_or(&name))?;
    Ok(MailboxName::new(name.as_str())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_for_new_mailboxes() {
        let name = |text: &[u8]| new_name(&mut Input::new(text)).map(|name| name.to_string());
        assert_eq!(name(b"owatagusiam/"), Ok("owatagusiam".into()));
        assert_eq!(name(b"a/b"), Ok("a/b".into()));
        for bad in [
            "\"\"",
            "/",
            "a//",
            "\"a*b%c\"",
            "a/../../../escape",
            "..",
            ".",
            "&AC8-etc",
            "&AAA-x",
            "&AC4ALg-/x",
            "/x",
            "{5}\r\ncaf\u{e9}",
            "{2}\r\n\r\n",
        ] {
            assert!(matches!(name(bad.as_bytes()), Err(GrammarError::Mailbox(_))), "{bad}");
        }
    }
}
