//! The facet of a store that keeps expunged messages for a while.

use mailwright_mail_model::{DateTime, MailboxName, Uid};

use crate::store::Never;
use crate::{Appended, ObjectId, Result, User};

/// Undoing an EXPUNGE, as long as the store's undelete window lasts. What is kept so does not count for the quota.
pub trait Undelete: Send + Sync {
    /// The expunged messages of a user that can be had back, oldest expunge first.
    fn expunged_messages(&self, user: &User) -> impl Future<Output = Result<Vec<ExpungedMessage>>> + Send;

    /// Puts an expunged message into a mailbox, with its flags but for `\Deleted`, under a new UID.
    ///
    /// # Errors
    /// [`NotFound`](crate::StoreError::NotFound) if it cannot be had back, or there is no such mailbox;
    /// [`OverQuota`](crate::StoreError::OverQuota).
    fn bring_back(
        &self,
        user: &User,
        id: ObjectId,
        target: &MailboxName,
    ) -> impl Future<Output = Result<Appended>> + Send;
}

/// A message that was expunged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExpungedMessage {
    /// What to ask for it by; nothing else in the store has this identity.
    pub id: ObjectId,
    /// The mailbox it was in, by its name then.
    pub mailbox: MailboxName,
    /// The UID it had there.
    pub uid: Uid,
    /// Its size in octets.
    pub size: u64,
    /// When it had arrived.
    pub internal_date: DateTime,
    /// When it was expunged.
    pub expunged: DateTime,
}

impl ExpungedMessage {
    /// For stores.
    pub const fn new(
        id: ObjectId,
        mailbox: MailboxName,
        message: &crate::Message,
        expunged: DateTime,
    ) -> Self {
        let (uid, size, internal_date) = (message.uid, message.size, message.internal_date);
        Self { id, mailbox, uid, size, internal_date, expunged }
    }
}

impl Undelete for Never {
    async fn expunged_messages(&self, _: &User) -> Result<Vec<ExpungedMessage>> {
        match *self {}
    }

    async fn bring_back(&self, _: &User, _: ObjectId, _: &MailboxName) -> Result<Appended> {
        match *self {}
    }
}
