//! A store chosen at run time.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use mailwright_mail_model::{MailboxName, ModSeq, SpecialUse, UidSet};

use crate::{
    Cache, Changes, Copied, Due, Expunge, Expunged, FlagChange, FlagsStored, Folders, Mailbox, MailboxRef,
    MessageRef, QueueEntry, QueueNumber, Result, Scheduled, Settlement, Snapshot, Spool, Status, Store,
    Summary, Upload, User, Watch, Write,
};

// Its traits have the methods of the public ones, so it lives in a module of its own: with both in scope no call
// would be unambiguous.
mod erased;

/// Any store, chosen at run time: [`Store`] itself cannot be a trait object. Costs an allocation a call. Cheap to clone.
///
/// ```
/// use mailwright_mailstore::memory::Memory;
/// use mailwright_mailstore::{AnyStore, Store, User, block_on};
///
/// let store = AnyStore::new(Memory::new());
/// let alice = User::new("alice")?;
/// assert_eq!(block_on(store.mailboxes(&alice))?.len(), 1);
/// assert!(store.writer().is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct AnyStore(Arc<dyn erased::Erased>);

impl AnyStore {
    /// This store, its type forgotten.
    pub fn new(store: impl Store + 'static) -> Self {
        Self(Arc::new(store))
    }

    fn erased(&self) -> &dyn erased::Erased {
        &*self.0
    }
}

impl std::fmt::Debug for AnyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnyStore").finish_non_exhaustive()
    }
}

impl Store for AnyStore {
    async fn mailboxes(&self, user: &User) -> Result<Vec<Mailbox>> {
        self.erased().mailboxes(user).await
    }

    async fn open(&self, user: &User, name: &MailboxName) -> Result<Arc<Snapshot>> {
        self.erased().open(user, name).await
    }

    async fn read(&self, message: &MessageRef, range: Range<u64>) -> Result<Bytes> {
        self.erased().read(message, range).await
    }

    async fn status(&self, user: &User, name: &MailboxName) -> Result<Status> {
        self.erased().status(user, name).await
    }

    fn writer(&self) -> Option<&impl Write> {
        self.erased().writer().map(|_| self)
    }

    fn folders(&self) -> Option<&impl Folders> {
        self.erased().folders().map(|_| self)
    }

    fn watch(&self) -> Option<&impl Watch> {
        self.erased().watch().map(|_| self)
    }

    fn changes(&self) -> Option<&impl Changes> {
        self.erased().changes().map(|_| self)
    }

    fn cache(&self) -> Option<&impl Cache> {
        self.erased().cache().map(|_| self)
    }

    fn spool(&self) -> Option<&impl Spool> {
        self.erased().spool().map(|_| self)
    }
}

impl AnyStore {
    /// A facet, which is there because this type only hands itself out as one that is.
    fn facet<'a, T: ?Sized>(
        &'a self,
        facet: impl FnOnce(&'a dyn erased::Erased) -> Option<&'a T>,
    ) -> Result<&'a T> {
        facet(self.erased())
            .ok_or_else(|| crate::StoreError::Invalid("expected a facet the store offers".into()))
    }
}

impl Write for AnyStore {
    async fn begin(&self, size: Option<u64>) -> Result<Upload> {
        self.facet(|store| store.writer())?.begin(size).await
    }

    async fn store_flags(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        change: &FlagChange,
    ) -> Result<FlagsStored> {
        self.facet(|store| store.writer())?.store_flags(mailbox, uids, change).await
    }

    async fn expunge(&self, mailbox: &MailboxRef, which: &Expunge) -> Result<Expunged> {
        self.facet(|store| store.writer())?.expunge(mailbox, which).await
    }

    async fn copy(&self, mailbox: &MailboxRef, uids: &UidSet, target: &MailboxName) -> Result<Copied> {
        self.facet(|store| store.writer())?.copy(mailbox, uids, target).await
    }

    async fn move_to(&self, mailbox: &MailboxRef, uids: &UidSet, target: &MailboxName) -> Result<Copied> {
        self.facet(|store| store.writer())?.move_to(mailbox, uids, target).await
    }
}

impl Folders for AnyStore {
    async fn create(
        &self,
        user: &User,
        name: &MailboxName,
        special_use: Option<SpecialUse>,
    ) -> Result<Mailbox> {
        self.facet(|store| store.folders())?.create(user, name, special_use).await
    }

    async fn delete(&self, user: &User, name: &MailboxName) -> Result<()> {
        self.facet(|store| store.folders())?.delete(user, name).await
    }

    async fn rename(&self, user: &User, from: &MailboxName, to: &MailboxName) -> Result<()> {
        self.facet(|store| store.folders())?.rename(user, from, to).await
    }

    async fn subscribe(&self, user: &User, name: &MailboxName) -> Result<()> {
        self.facet(|store| store.folders())?.subscribe(user, name).await
    }

    async fn unsubscribe(&self, user: &User, name: &MailboxName) -> Result<()> {
        self.facet(|store| store.folders())?.unsubscribe(user, name).await
    }

    async fn subscriptions(&self, user: &User) -> Result<Vec<MailboxName>> {
        self.facet(|store| store.folders())?.subscriptions(user).await
    }
}

impl Watch for AnyStore {
    async fn changed(&self, user: &User, name: &MailboxName, seen: &Snapshot) -> Result<Arc<Snapshot>> {
        self.facet(|store| store.watch())?.changed(user, name, seen).await
    }
}

impl Changes for AnyStore {
    async fn expunged(&self, mailbox: &MailboxRef, since: ModSeq) -> Result<Option<UidSet>> {
        self.facet(|store| store.changes())?.expunged(mailbox, since).await
    }
}

impl Cache for AnyStore {
    async fn load(&self, messages: &[MessageRef]) -> Result<Vec<Option<Summary>>> {
        self.facet(|store| store.cache())?.load(messages).await
    }

    async fn save(&self, message: &MessageRef, summary: &Summary) -> Result<()> {
        self.facet(|store| store.cache())?.save(message, summary).await
    }
}

impl Spool for AnyStore {
    async fn due(&self, until: u64, after: Option<Due>, limit: usize) -> Result<Vec<Scheduled>> {
        self.facet(|store| store.spool())?.due(until, after, limit).await
    }

    async fn next_due(&self, after: u64) -> Result<Option<u64>> {
        self.facet(|store| store.spool())?.next_due(after).await
    }

    async fn entries(&self, after: Option<QueueNumber>, limit: usize) -> Result<Vec<QueueEntry>> {
        self.facet(|store| store.spool())?.entries(after, limit).await
    }

    async fn entry(&self, number: QueueNumber) -> Result<Option<QueueEntry>> {
        self.facet(|store| store.spool())?.entry(number).await
    }

    async fn octets(&self, entry: &QueueEntry, range: Range<u64>) -> Result<Bytes> {
        self.facet(|store| store.spool())?.octets(entry, range).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<()> {
        self.facet(|store| store.spool())?.settle(settlements).await
    }

    async fn added(&self, seen: u64) -> u64 {
        match self.erased().spool() {
            Some(spool) => spool.added(seen).await,
            // There is no such facet, so nothing is ever added.
            None => std::future::pending().await,
        }
    }
}
