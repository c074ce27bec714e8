//! DELETE (RFC 3501 §6.3.4).

use mailwright_line_proto::Request;
use mailwright_mail_model::MailboxName;

use crate::grammar::{GrammarError, Input, Wire};
use crate::refusal::Answered;

/// Removes a mailbox for good.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delete {
    /// Which. Never INBOX: the machine refuses that by itself.
    pub mailbox: MailboxName,
}

impl Delete {
    /// Removes this mailbox.
    pub fn new(mailbox: MailboxName) -> Self {
        Self { mailbox }
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        input.space()?;
        Ok(Self { mailbox: input.mailbox()? })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"DELETE ");
        wire.put_mailbox(&self.mailbox);
    }
}

impl Request for Delete {
    type Answer = Answered<()>;
}
