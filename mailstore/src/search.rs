//! The facet of a store that knows which messages a search need not look at.

use std::sync::Arc;

use mailwright_mail_model::{UidSet, query::Query};

use crate::store::Never;
use crate::{MailboxRef, Result, Snapshot, User};

/// An index of texts: it narrows a search, and whoever searches confirms what it says. With and without it, the same is found.
///
/// Searching never waits for it: what is not in it yet is looked at. Somebody has to bring it up to the mail, by calling
/// [`behind`](Self::behind) and [`keep_up`](Self::keep_up) in turn for as long as the store is open.
pub trait Search: Send + Sync {
    /// The messages of a mailbox that may answer a query, all that do among them; `None` if any may.
    fn candidates(
        &self,
        mailbox: &MailboxRef,
        snapshot: &Arc<Snapshot>,
        query: &Query,
    ) -> impl Future<Output = Result<Option<UidSet>>> + Send;

    /// Waits for a user whose mail has changed since the index looked at it; all there are, after the store was opened. Dropping the
    /// future loses nobody.
    fn behind(&self) -> impl Future<Output = User> + Send;

    /// Brings the index up to the present mail of a user, and takes out of it what is no longer there. Dropping the future loses
    /// nothing but time.
    fn keep_up(&self, user: &User) -> impl Future<Output = Result<()>> + Send;
}

impl Search for Never {
    async fn candidates(&self, _: &MailboxRef, _: &Arc<Snapshot>, _: &Query) -> Result<Option<UidSet>> {
        match *self {}
    }

    async fn behind(&self) -> User {
        match *self {}
    }

    async fn keep_up(&self, _: &User) -> Result<()> {
        match *self {}
    }
}
