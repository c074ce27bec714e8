//! What a mailbox is told apart by, for as long as the server runs.

use mailwright_mail_model::UidValidity;
use mailwright_mailstore::{MailboxRef, ObjectId, Snapshot};

/// A mailbox: by its identity, which it keeps when it is renamed, or by its name where it has none. While this is the same, a UID
/// stands for the same message (RFC 9051 §2.3.1.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct MailboxKey {
    /// By name alone: what outlives a session must not have its key with it.
    user: Box<str>,
    mailbox: Result<ObjectId, String>,
    uid_validity: UidValidity,
}

impl MailboxKey {
    /// Of a mailbox as `snapshot` shows it.
    pub(super) fn new(mailbox: &MailboxRef, snapshot: &Snapshot) -> Self {
        Self {
            user: mailbox.user().as_str().into(),
            mailbox: snapshot.id().ok_or_else(|| mailbox.name().as_str().to_owned()),
            uid_validity: snapshot.uid_validity(),
        }
    }
}
