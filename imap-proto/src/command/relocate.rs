//! MOVE (RFC 6851).

use mailwright_line_proto::Request;
use mailwright_mail_model::{MailboxName, UidSet};

use super::CopyUid;
use crate::{
    MessageSet,
    grammar::{GrammarError, Input, Wire},
    refusal::Answered,
};

/// Moves messages into another mailbox, all of them or none.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Move<M = MessageSet> {
    /// Which messages.
    pub messages: M,
    /// The mailbox to put them into.
    pub to: MailboxName,
}

impl<M> Move<M> {
    /// Puts these messages there.
    pub fn new(messages: M, to: MailboxName) -> Self {
        Self { messages, to }
    }
}

impl Move {
    pub(super) fn parse(input: &mut Input<'_>, by_uid: bool) -> Result<Self, GrammarError> {
        input.space()?;
        let messages = MessageSet::parse(input, by_uid)?;
        input.space()?;
        Ok(Self { messages, to: input.mailbox()? })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(if self.messages.is_uid() { b"UID MOVE " } else { b"MOVE " });
        self.messages.set().encode(wire);
        wire.put(b" ");
        wire.put_mailbox(&self.to);
    }
}

impl Request for Move<UidSet> {
    /// Which UIDs the messages have now. Those of `source` are taken for removed from this mailbox.
    type Answer = Answered<CopyUid>;
}
