//! The facet of a store that takes over mailboxes as they were elsewhere.

use mailwright_mail_model::{MailboxName, Uid, UidValidity};

use crate::store::Never;
use crate::{Result, User};

/// Import that clients do not notice: UIDs, UIDVALIDITY, dates and unique ids stay what they were.
///
/// Make the mailbox, [`adopt`](Self::adopt) its numbers, then append its messages, ascending, with
/// [`Target::with_uid`](crate::Target::with_uid). To resume, go on behind the highest UID that is there.
pub trait Import: Send + Sync {
    /// Gives a mailbox without messages this UIDVALIDITY, and a UIDNEXT of at least this.
    ///
    /// A mailbox that has this UIDVALIDITY already may hold messages: then only UIDNEXT rises.
    ///
    /// # Errors
    /// [`NotFound`](crate::StoreError::NotFound); [`Exists`](crate::StoreError::Exists) if there are messages under another
    /// UIDVALIDITY.
    fn adopt(
        &self,
        user: &User,
        name: &MailboxName,
        uid_validity: UidValidity,
        uid_next: Option<Uid>,
    ) -> impl Future<Output = Result<()>> + Send;
}

impl Import for Never {
    async fn adopt(&self, _: &User, _: &MailboxName, _: UidValidity, _: Option<Uid>) -> Result<()> {
        match *self {}
    }
}
