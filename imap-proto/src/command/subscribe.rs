//! SUBSCRIBE (RFC 3501 §6.3.6).

use mailwright_line_proto::Request;
use mailwright_mail_model::MailboxName;

use crate::grammar::{GrammarError, Input, Wire};
use crate::refusal::Answered;

/// Puts a name on the list of subscriptions. The mailbox need not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subscribe {
    /// The name.
    pub mailbox: MailboxName,
}

impl Subscribe {
    /// Subscribes to this name.
    pub fn new(mailbox: MailboxName) -> Self {
        Self { mailbox }
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        input.space()?;
        Ok(Self { mailbox: input.mailbox()? })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"SUBSCRIBE ");
        wire.put_mailbox(&self.mailbox);
    }
}

impl Request for Subscribe {
    type Answer = Answered<()>;
}
