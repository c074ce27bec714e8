//! REPLACE (RFC 8508): a message in the place of another.

use super::Append;
use crate::{
    MessageSet,
    grammar::{CommandWriter, GrammarError, Input},
};

/// Puts a message into a mailbox and takes another out of the selected one, at one moment. The message itself follows, streamed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replace {
    /// The message to take out: one.
    pub message: MessageSet,
    /// The message to put in.
    pub append: Append,
}

impl Replace {
    /// Replaces this message.
    pub fn new(message: MessageSet, append: Append) -> Self {
        Self { message, append }
    }

    /// Takes what stands before the mailbox.
    pub(crate) fn parse_message(input: &mut Input<'_>, by_uid: bool) -> Result<MessageSet, GrammarError> {
        input.space()?;
        MessageSet::parse(input, by_uid)
    }

    /// Takes the arguments to the mark of the message's literal, which must be all there is.
    pub(super) fn parse(input: &mut Input<'_>, by_uid: bool) -> Result<Self, GrammarError> {
        Ok(Self { message: Self::parse_message(input, by_uid)?, append: Append::parse(input)? })
    }

    pub(super) fn encode(&self, wire: &mut CommandWriter) {
        use crate::grammar::Wire;
        wire.put(if self.message.is_uid() { b"UID REPLACE " } else { b"REPLACE " });
        self.message.set().encode(wire);
        wire.put(b" ");
        self.append.encode_arguments(wire);
    }
}
