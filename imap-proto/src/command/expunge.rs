//! EXPUNGE (RFC 3501 §6.4.3) and UID EXPUNGE (RFC 4315 §2.1).

use mailwright_line_proto::Request;
use mailwright_mail_model::UidSet;

use crate::{
    MessageSet,
    grammar::{GrammarError, Input, Wire},
    refusal::Answered,
};

/// Removes the messages that have `\Deleted`: all of them, or those of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expunge<M = MessageSet> {
    /// Remove none but these; without `\Deleted` they stay as well.
    pub messages: Option<M>,
}

impl<M> Expunge<M> {
    /// Removes what has `\Deleted`, of `messages` if a set is given.
    pub fn new(messages: Option<M>) -> Self {
        Self { messages }
    }
}

impl Expunge {
    pub(super) fn parse(input: &Input<'_>) -> Result<Self, GrammarError> {
        input.end().map(|()| Self { messages: None })
    }

    pub(super) fn parse_uid(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        input.space()?;
        Ok(Self { messages: Some(MessageSet::parse(input, true)?) })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        match &self.messages {
            Some(messages) => {
                wire.put(b"UID EXPUNGE ");
                messages.set().encode(wire);
            }
            None => wire.put(b"EXPUNGE"),
        }
    }
}

impl Request for Expunge<UidSet> {
    /// The UIDs that were removed.
    type Answer = Answered<UidSet>;
}
