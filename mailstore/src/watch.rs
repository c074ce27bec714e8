//! The facet of a store that tells when a mailbox changes.

use std::sync::Arc;

use mailwright_mail_model::MailboxName;

use crate::store::Never;
use crate::{Result, Snapshot, User};

/// Change notices, for IDLE.
pub trait Watch: Send + Sync {
    /// Waits until the mailbox is no longer as `seen`, and gives what it is then. Returns at once if it already
    /// differs, so nothing is missed between two calls. Dropping the future ends the wait and loses nothing.
    ///
    /// Several changes may be told as one; compare with [`Snapshot::difference`].
    ///
    /// # Errors
    /// [`NotFound`](crate::StoreError::NotFound) once the mailbox is deleted or has another name.
    fn changed(
        &self,
        user: &User,
        name: &MailboxName,
        seen: &Snapshot,
    ) -> impl Future<Output = Result<Arc<Snapshot>>> + Send;
}

impl Watch for Never {
    async fn changed(&self, _: &User, _: &MailboxName, _: &Snapshot) -> Result<Arc<Snapshot>> {
        match *self {}
    }
}
