//! SELECT and EXAMINE (RFC 3501 §6.3.1, §6.3.2).

use mailwright_mail_model::MailboxName;

use crate::grammar::{GrammarError, Input, Wire};

/// Opens a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Select {
    /// Which.
    pub mailbox: MailboxName,
    /// EXAMINE: nothing may change, not even by reading.
    pub read_only: bool,
}

impl Select {
    /// Opens this mailbox.
    pub fn new(mailbox: MailboxName, read_only: bool) -> Self {
        Self { mailbox, read_only }
    }

    pub(super) fn parse_select(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        input.space()?;
        Ok(Self { mailbox: input.mailbox()?, read_only: false })
    }

    pub(super) fn parse_examine(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        Ok(Self { read_only: true, ..Self::parse_select(input)? })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(if self.read_only { b"EXAMINE " } else { b"SELECT " });
        wire.put_mailbox(&self.mailbox);
    }
}
