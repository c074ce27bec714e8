//! The facet of a store whose mod-sequences last.

use mailwright_mail_model::{ModSeq, UidSet};

use crate::store::Never;
use crate::{MailboxRef, Result};

/// CONDSTORE and QRESYNC (RFC 7162): a store that offers this keeps each message's mod-sequence for good, and
/// remembers what was expunged. What else changed, [`Snapshot::changed_since`](crate::Snapshot::changed_since) tells.
pub trait Changes: Send + Sync {
    /// The messages expunged after the mailbox's highest mod-sequence was `since`; `None` if that is
    /// too long ago for the store to know, and any UID without a message may be one.
    ///
    /// # Errors
    /// [`NotFound`](crate::StoreError::NotFound) if the mailbox is gone.
    fn expunged(
        &self,
        mailbox: &MailboxRef,
        since: ModSeq,
    ) -> impl Future<Output = Result<Option<UidSet>>> + Send;
}

impl Changes for Never {
    async fn expunged(&self, _: &MailboxRef, _: ModSeq) -> Result<Option<UidSet>> {
        match *self {}
    }
}
