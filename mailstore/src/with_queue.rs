//! Mailboxes of one store, the queue of another: a commit that both have a part in, whenever the process may die.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use mailwright_mail_model::{MailboxName, Uid, UidSet};

use crate::signal::lock;
use crate::{
    Acl, Annotate, Cache, Changes, Copied, Due, Expunge, Expunged, Feed, FlagChange, FlagsStored, Folders,
    Import, Mailbox, MailboxRef, MessageRef, Metadata, Origins, QueueEntry, QueueNumber, Quota, Result,
    Scripts, Search, Settlement, Snapshot, Spool, Status, Store, StoreError, Undelete, Upload, User, Watch,
    Write,
};

mod commit;
mod spool;
mod upload;

/// A store whose mailboxes are those of one, and whose queue is that of another: for a store that has no [`Spool`] of its own, such as
/// Maildirs or a database of yours. All other facets are those of the first one.
///
/// What concerns mailboxes alone, or the queue alone, is one commit there. What concerns both is done in three steps, each of them durable
/// before the next begins:
///
/// 1. the entries are written to the queue, *reserved*: nobody sees them, and they are never due;
/// 2. the message appears in the mailboxes. If they refuse it, the entries are taken back;
/// 3. the entries are released, and what is to be settled with them is, as one change. Only then the commit is told to be done.
///
/// So a process that dies in between has acknowledged nothing, and what it left reserved was never sent: [`SharedQueue::open`] removes it. The
/// sender comes again, and at most the mailboxes have that message twice. Since settlements come last, an entry whose report
/// is in a mailbox may be tried, and reported, once more. An error of the third step is one of the whole commit, though the mailboxes
/// have the message; the upload is of no more use then, and nobody knows whether the entries were released: they are not taken back, and
/// where they were not, the next start removes them.
///
/// The message's octets go to the queue when it is known that they are for it, read back from the upload into mailboxes: a piece at a time, so
/// no message is ever whole in memory. From a store that cannot read back ([`Sink::read`](crate::Sink::read)) they go both ways
/// as they come.
///
/// ```
/// use mailwright_mail_model::{DateTime, MailboxName, ReversePath};
/// use mailwright_mailstore::embedded::{Embedded, Options};
/// use mailwright_mailstore::maildir::{self, Maildir, Template};
/// use mailwright_mailstore::{
///     Batch, QueueEntry, QueueRecipient, SharedQueue, Spool, Store, Target, User, WithQueue, Write, block_on,
/// };
///
/// # let directory = tempfile::tempdir()?;
/// # let base = directory.path().display();
/// let mail = Maildir::new(Template::new(&format!("{base}/%d/%n/Maildir"))?, maildir::Options::default());
/// let database = Embedded::open(directory.path().join("queue"), Options::default())?;
/// block_on(async {
///     let store = WithQueue::new(mail, SharedQueue::open(database).await?);
///     let alice = User::new("alice@example.org")?;
///     let mut entry = QueueEntry::new("9C4DCEE3382", ReversePath::Null, "b.example", 1_700_000_000);
///     entry.recipients.push(QueueRecipient::new("bob@b.example".parse()?));
///
///     let mut upload = store.begin(None).await?;
///     upload.write("Subject: for both\r\n\r\n".into()).await?;
///     let target = Target::new(alice.clone(), MailboxName::inbox(), DateTime::EPOCH);
///     upload.commit_batch(&Batch::to([target]).with_queue(vec![entry])).await?;
///
///     assert_eq!(store.open(&alice, &MailboxName::inbox()).await?.len(), 1);
///     let spool = store.spool().ok_or("no queue")?;
///     assert_eq!(spool.due(1_700_000_000, None, 10).await?.len(), 1);
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct WithQueue<M, Q> {
    mail: M,
    queue: SharedQueue<Q>,
}

/// The queue of a store, for one or more [`WithQueue`] of this process. Cheap to clone.
pub struct SharedQueue<Q>(Arc<Shared<Q>>);

struct Shared<Q> {
    queue: Q,
    /// Entries that are reserved and never will be released, such as those of a commit whose future was dropped.
    abandoned: Mutex<Vec<QueueNumber>>,
}

/// When reserved entries are due, in seconds since 1970: never. They are [held back](QueueEntry::release) until then, so that not even whoever
/// makes the whole queue due sends them. Stores that count in signed numbers have room for it.
const RESERVED: u64 = u64::MAX >> 1;

/// How many reserved entries are removed at a time.
const PAGE: usize = 500;

impl<Q: Store> SharedQueue<Q> {
    /// The queue of this store, without what a process that died has reserved there and not released. To be done once in a process, before
    /// anything is committed: what another one has reserved meanwhile would go as well.
    ///
    /// # Errors
    /// If the store has no [`Spool`] or cannot be written to, or fails.
    pub async fn open(queue: Q) -> Result<Self> {
        let shared = Self(Arc::new(Shared { queue, abandoned: Mutex::default() }));
        shared.writer()?;
        shared.remove_reserved().await?;
        Ok(shared)
    }

    async fn remove_reserved(&self) -> Result<()> {
        let mut after = Due::new(RESERVED - 1, QueueNumber::new(u64::MAX));
        loop {
            let found = self.inner()?.due(u64::MAX, Some(after), PAGE).await?;
            let reserved = found.iter().filter(|entry| entry.due.at == RESERVED);
            let settle: Vec<_> = reserved.map(|entry| Settlement::Remove(entry.due.number)).collect();
            if !settle.is_empty() {
                self.inner()?.settle(&settle).await?;
            }
            match found.last() {
                Some(last) if found.len() == PAGE => after = last.due,
                _ => return Ok(()),
            }
        }
    }

    fn inner(&self) -> Result<&impl Spool> {
        self.0.queue.spool().ok_or_else(|| StoreError::Invalid("expected a store with a queue".into()))
    }

    fn writer(&self) -> Result<&impl Write> {
        self.inner()?;
        self.0.queue.writer().ok_or_else(|| StoreError::Invalid("expected a queue to write to".into()))
    }
}

impl<Q> SharedQueue<Q> {
    /// What is to be removed with the next change.
    fn take_abandoned(&self) -> Vec<QueueNumber> {
        std::mem::take(&mut *lock(&self.0.abandoned))
    }

    fn abandon(&self, numbers: impl IntoIterator<Item = QueueNumber>) {
        lock(&self.0.abandoned).extend(numbers);
    }
}

impl<Q> Clone for SharedQueue<Q> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<Q> std::fmt::Debug for SharedQueue<Q> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedQueue").finish_non_exhaustive()
    }
}

/// Whether an entry is one that nobody is to see.
fn is_reserved(entry: &QueueEntry) -> bool {
    entry.release == Some(RESERVED)
}

impl<M: Store, Q: Store + 'static> WithQueue<M, Q> {
    /// These mailboxes beside this queue.
    pub const fn new(mail: M, queue: SharedQueue<Q>) -> Self {
        Self { mail, queue }
    }

    fn writes(&self) -> Result<&impl Write> {
        self.mail.writer().ok_or_else(|| StoreError::Invalid("expected mailboxes to write to".into()))
    }
}

impl<M: Store, Q: Store + 'static> Store for WithQueue<M, Q> {
    async fn mailboxes(&self, user: &User) -> Result<Vec<Mailbox>> {
        self.mail.mailboxes(user).await
    }

    async fn open(&self, user: &User, name: &MailboxName) -> Result<Arc<Snapshot>> {
        self.mail.open(user, name).await
    }

    async fn read(&self, message: &MessageRef, range: Range<u64>) -> Result<Bytes> {
        self.mail.read(message, range).await
    }

    async fn read_together(&self, messages: &[MessageRef]) -> Result<Vec<Option<Bytes>>> {
        self.mail.read_together(messages).await
    }

    async fn status(&self, user: &User, name: &MailboxName) -> Result<Status> {
        self.mail.status(user, name).await
    }

    async fn list(&self, user: &User) -> Result<Vec<(Mailbox, Status)>> {
        self.mail.list(user).await
    }

    fn append_limit(&self) -> Option<u64> {
        self.mail.append_limit()
    }

    fn keyword_limit(&self) -> Option<usize> {
        self.mail.keyword_limit()
    }

    fn keeps_object_ids(&self) -> bool {
        self.mail.keeps_object_ids()
    }

    fn writer(&self) -> Option<&impl Write> {
        self.mail.writer().map(|_| self)
    }

    fn spool(&self) -> Option<&impl Spool> {
        // Without a way to write there is none to fill it.
        self.mail.writer().map(|_| &self.queue)
    }

    fn folders(&self) -> Option<&impl Folders> {
        self.mail.folders()
    }

    fn watch(&self) -> Option<&impl Watch> {
        self.mail.watch()
    }

    fn changes(&self) -> Option<&impl Changes> {
        self.mail.changes()
    }

    fn cache(&self) -> Option<&impl Cache> {
        self.mail.cache()
    }

    fn search(&self) -> Option<&impl Search> {
        self.mail.search()
    }

    fn quota(&self) -> Option<&impl Quota> {
        self.mail.quota()
    }

    fn acl(&self) -> Option<&impl Acl> {
        self.mail.acl()
    }

    fn metadata(&self) -> Option<&impl Metadata> {
        self.mail.metadata()
    }

    fn origins(&self) -> Option<&impl Origins> {
        self.mail.origins()
    }

    fn import(&self) -> Option<&impl Import> {
        self.mail.import()
    }

    fn feed(&self) -> Option<&impl Feed> {
        self.mail.feed()
    }

    fn undelete(&self) -> Option<&impl Undelete> {
        self.mail.undelete()
    }

    fn annotator(&self) -> Option<&impl Annotate> {
        self.mail.annotator()
    }

    fn scripts(&self) -> Option<&impl Scripts> {
        self.mail.scripts()
    }
}

impl<M: Store, Q: Store + 'static> Write for WithQueue<M, Q> {
    async fn begin(&self, size: Option<u64>) -> Result<Upload> {
        let mail = self.writes()?.begin(size).await?;
        upload::Incoming::begin(self.queue.clone(), mail, size).await.map(Upload::new)
    }

    async fn store_flags(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        change: &FlagChange,
    ) -> Result<FlagsStored> {
        self.writes()?.store_flags(mailbox, uids, change).await
    }

    async fn expunge(&self, mailbox: &MailboxRef, which: &Expunge) -> Result<Expunged> {
        self.writes()?.expunge(mailbox, which).await
    }

    async fn copy(&self, mailbox: &MailboxRef, uids: &UidSet, target: &MailboxName) -> Result<Copied> {
        self.writes()?.copy(mailbox, uids, target).await
    }

    async fn move_to(&self, mailbox: &MailboxRef, uids: &UidSet, target: &MailboxName) -> Result<Copied> {
        self.writes()?.move_to(mailbox, uids, target).await
    }

    fn takes_several(&self) -> bool {
        self.mail.writer().is_some_and(Write::takes_several)
    }

    fn takes_rows(&self) -> bool {
        self.mail.writer().is_some_and(Write::takes_rows)
    }

    async fn claim_recent(&self, mailbox: &MailboxRef) -> Result<Option<Uid>> {
        self.writes()?.claim_recent(mailbox).await
    }
}
