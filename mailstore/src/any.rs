//! A store chosen at run time.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use mailwright_mail_model::MailboxName;

use crate::{
    Acl, Annotate, Cache, Changes, Feed, Folders, Import, Mailbox, MessageRef, Metadata, Origins, Quota,
    Result, Scripts, Search, Snapshot, Spool, Status, Store, Undelete, User, Watch, Write,
};

mod facets;
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

    async fn read_together(&self, messages: &[MessageRef]) -> Result<Vec<Option<Bytes>>> {
        self.erased().read_together(messages).await
    }

    async fn status(&self, user: &User, name: &MailboxName) -> Result<Status> {
        self.erased().status(user, name).await
    }

    async fn list(&self, user: &User) -> Result<Vec<(Mailbox, Status)>> {
        self.erased().list(user).await
    }

    fn append_limit(&self) -> Option<u64> {
        self.erased().append_limit()
    }

    fn keyword_limit(&self) -> Option<usize> {
        self.erased().keyword_limit()
    }

    fn keeps_object_ids(&self) -> bool {
        self.erased().keeps_object_ids()
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

    fn search(&self) -> Option<&impl Search> {
        self.erased().search().map(|_| self)
    }

    fn spool(&self) -> Option<&impl Spool> {
        self.erased().spool().map(|_| self)
    }

    fn quota(&self) -> Option<&impl Quota> {
        self.erased().quota().map(|_| self)
    }

    fn acl(&self) -> Option<&impl Acl> {
        self.erased().acl().map(|_| self)
    }

    fn scripts(&self) -> Option<&impl Scripts> {
        self.erased().scripts().map(|_| self)
    }

    fn metadata(&self) -> Option<&impl Metadata> {
        self.erased().metadata().map(|_| self)
    }

    fn annotator(&self) -> Option<&impl Annotate> {
        self.erased().annotator().map(|_| self)
    }

    fn origins(&self) -> Option<&impl Origins> {
        self.erased().origins().map(|_| self)
    }

    fn import(&self) -> Option<&impl Import> {
        self.erased().import().map(|_| self)
    }

    fn feed(&self) -> Option<&impl Feed> {
        self.erased().feed().map(|_| self)
    }

    fn undelete(&self) -> Option<&impl Undelete> {
        self.erased().undelete().map(|_| self)
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
