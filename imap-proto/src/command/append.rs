//! APPEND (RFC 3501 §6.3.11), with literals that may hold NUL (RFC 3516 §4.4) and headers in UTF-8 (RFC 6855 §4).

use mailwright_mail_model::{DateTime, FlagSet, MailboxName};

use super::{
    AnnotationValue,
    annotate::put_values,
    append_steps::{attributes, message_mark},
};
use crate::grammar::{CommandWriter, GrammarError, Input, Wire};

/// Puts a message into a mailbox. The message itself follows, streamed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Append {
    /// The mailbox to put it into.
    pub mailbox: MailboxName,
    /// The flags it shall have.
    pub flags: FlagSet,
    /// The internal date it shall have; now if `None`.
    pub internal_date: Option<DateTime>,
    /// What is noted about it (RFC 5257 §4.7).
    pub annotations: Vec<AnnotationValue>,
    /// Its length in octets.
    pub size: u64,
    /// `UTF8`: its header is in UTF-8.
    pub utf8: bool,
}

impl Append {
    /// A message of `size` octets for this mailbox, without flags, dated now.
    pub fn new(mailbox: MailboxName, size: u64) -> Self {
        Self {
            mailbox,
            flags: FlagSet::new(),
            internal_date: None,
            annotations: Vec::new(),
            size,
            utf8: false,
        }
    }

    /// Takes the arguments to the mark of the message's literal, which must be all there is.
    pub(crate) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        input.space()?;
        let mailbox = input.mailbox()?;
        input.space()?;
        let (flags, internal_date, annotations) = attributes(input)?;
        let utf8 = input.prefix("UTF8 (");
        let mark = message_mark(input, utf8)?;
        Ok(Self { mailbox, flags, internal_date, annotations, size: mark.length, utf8 })
    }

    pub(super) fn encode(&self, wire: &mut CommandWriter) {
        wire.put(b"APPEND ");
        self.encode_arguments(wire);
    }

    /// The arguments, to the mark of the message.
    pub(super) fn encode_arguments(&self, wire: &mut CommandWriter) {
        wire.put_mailbox(&self.mailbox);
        wire.put(b" ");
        if !self.flags.is_empty() {
            wire.put_flags(&self.flags);
            wire.put(b" ");
        }
        if let Some(date) = self.internal_date {
            wire.put(b"\"");
            wire.put(date.to_imap().as_bytes());
            wire.put(b"\" ");
        }
        if !self.annotations.is_empty() {
            put_values(&self.annotations, wire);
            wire.put(b" ");
        }
        if self.utf8 {
            wire.put(b"UTF8 (~");
        }
        wire.put_mark(self.size);
    }
}
