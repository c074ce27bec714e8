//! COPY (RFC 3501 §6.4.7).

use mailwright_line_proto::Request;
use mailwright_mail_model::{MailboxName, UidSet, UidValidity};

use crate::{
    MessageSet,
    grammar::{GrammarError, Input, Wire},
    refusal::Answered,
};

/// Puts copies of messages into another mailbox, all of them or none.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copy<M = MessageSet> {
    /// Which messages.
    pub messages: M,
    /// The mailbox to put them into.
    pub to: MailboxName,
}

impl<M> Copy<M> {
    /// Puts these messages there.
    pub fn new(messages: M, to: MailboxName) -> Self {
        Self { messages, to }
    }
}

impl Copy {
    pub(super) fn parse(input: &mut Input<'_>, by_uid: bool) -> Result<Self, GrammarError> {
        input.space()?;
        let messages = MessageSet::parse(input, by_uid)?;
        input.space()?;
        Ok(Self { messages, to: input.mailbox()? })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(if self.messages.is_uid() { b"UID COPY " } else { b"COPY " });
        self.messages.set().encode(wire);
        wire.put(b" ");
        wire.put_mailbox(&self.to);
    }
}

impl Request for Copy<UidSet> {
    /// Which UIDs the copies have; `None` if the store does not tell.
    type Answer = Answered<Option<CopyUid>>;
}

/// Which UIDs copies have (RFC 4315 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyUid {
    /// The validity of the UIDs in the mailbox copied to.
    pub uid_validity: UidValidity,
    /// The messages that were copied.
    pub source: UidSet,
    /// Their copies, in the same order. Both sets ascend, so that the n-th of one is the n-th of the other.
    pub destination: UidSet,
}

impl CopyUid {
    /// Both together, if they say the same of the mailbox copied to and the second tells of later messages.
    pub fn and(self, later: &Self) -> Option<Self> {
        let follows =
            self.source.last() < later.source.first() && self.destination.last() < later.destination.first();
        let and = || Self {
            uid_validity: self.uid_validity,
            source: self.source.union(&later.source),
            destination: self.destination.union(&later.destination),
        };
        (follows && self.uid_validity == later.uid_validity).then(and)
    }

    /// Copies of `source` with the UIDs `destination`.
    pub fn new(uid_validity: UidValidity, source: UidSet, destination: UidSet) -> Self {
        Self { uid_validity, source, destination }
    }
}
