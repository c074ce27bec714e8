//! Answers of which a part cannot be read.

use mailwright_line_proto::Ticket;
use mailwright_mail_model::Uid;

use super::ImapClient;
use crate::client::ClientError;

impl ImapClient {
    /// Whether the response that was passed over last is part of this call's answer.
    pub(super) fn lacks<R>(&mut self, ticket: Ticket<R>) -> bool {
        self.link.machine().skipped().is_of(ticket)
    }

    /// The message that it told of, if that is known.
    pub(crate) fn skipped_uid(&mut self) -> Option<Uid> {
        self.link.machine().skipped().uid
    }
}

/// What is said of an answer with a response that begins so and cannot be read.
pub(super) fn unread(start: &[u8]) -> ClientError {
    ClientError::Unreadable(start.escape_ascii().to_string())
}

/// Whether it begins as what says how many messages there are.
pub(super) fn is_exists(start: &[u8]) -> bool {
    let word = start.split(|octet| *octet == b' ').nth(2).unwrap_or_default();
    word.trim_ascii_end().eq_ignore_ascii_case(b"EXISTS")
}
