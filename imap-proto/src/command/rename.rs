//! RENAME (RFC 3501 §6.3.5).

use mailwright_line_proto::Request;
use mailwright_mail_model::MailboxName;

use super::create::new_name;
use crate::grammar::{GrammarError, Input, Wire};
use crate::refusal::Answered;

/// Gives a mailbox another name, and those below it with it. Of INBOX only the messages move (RFC 3501 §6.3.5).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rename {
    /// The name it has.
    pub from: MailboxName,
    /// The name it shall have.
    pub to: MailboxName,
}

impl Rename {
    /// Renames `from` to `to`.
    pub fn new(from: MailboxName, to: MailboxName) -> Self {
        Self { from, to }
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        input.space()?;
        let from = input.mailbox()?;
        input.space()?;
        Ok(Self { from, to: new_name(input)? })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"RENAME ");
        wire.put_mailbox(&self.from);
        wire.put(b" ");
        wire.put_mailbox(&self.to);
    }
}

impl Request for Rename {
    type Answer = Answered<()>;
}
