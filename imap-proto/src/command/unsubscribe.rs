//! UNSUBSCRIBE (RFC 3501 §6.3.7).

use mailwright_line_proto::Request;
use mailwright_mail_model::MailboxName;

use crate::grammar::{GrammarError, Input, Wire};
use crate::refusal::Answered;

/// Takes a name off the list of subscriptions.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unsubscribe {
    /// The name.
    pub mailbox: MailboxName,
}

impl Unsubscribe {
    /// Unsubscribes from this name.
    pub fn new(mailbox: MailboxName) -> Self {
        Self { mailbox }
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        input.space()?;
        Ok(Self { mailbox: input.mailbox()? })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"UNSUBSCRIBE ");
        wire.put_mailbox(&self.mailbox);
    }
}

impl Request for Unsubscribe {
    type Answer = Answered<()>;
}
