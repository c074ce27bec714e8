//! A durable store in one directory: an embedded database that holds index and bodies.
//!
//! One thread writes. It takes whatever all sessions want at a time, makes one atomic batch of it, flushes once, shows
//! everybody the new snapshots and only then answers. Reading never waits for it.
//!
//! The database belongs to one process; a second one that opens it is refused.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mailwright_mail_model::{MailboxName, ModSeq, SpecialUse, Uid, UidSet};

use crate::{
    Cache, Changes, Copied, Expunge, Expunged, FlagChange, FlagsStored, Folders, Inline, Mailbox, MailboxRef,
    MessageRef, Offload, Result, Snapshot, Spool, Status, Store, StoreError, Summary, Upload, User, Watch,
    Write,
};

mod arrange;
mod body;
mod collect;
mod committer;
mod database;
mod header;
mod live;
mod messages;
mod promise;
mod row;
mod spool;
mod staged;
mod table;
#[cfg(test)]
mod tests;
mod upload;

pub use table::Table;

use committer::Committer;
use database::{Database, failed};
use live::{Live, LiveMailboxes};
use row::name_key;

/// A [`Store`] in a directory, with every facet. Cheap to clone; the directory is free again when the last clone, and
/// every upload and table made from it, is gone.
///
/// ```
/// use bytes::Bytes;
/// use mailwright_mail_model::{DateTime, MailboxName};
/// use mailwright_mailstore::embedded::{Embedded, Options};
/// use mailwright_mailstore::{Store, Target, User, Write, block_on};
///
/// # let directory = tempfile::tempdir()?;
/// let alice = User::new("alice@example.org")?;
/// {
///     let store = Embedded::open(directory.path(), Options::default())?;
///     block_on(async {
///         let arrived = DateTime::from_imap("17-Jul-1996 02:44:25 -0700")?;
///         let mut upload = store.begin(None).await?;
///         upload.write(Bytes::from_static(b"Subject: hi\r\n\r\n")).await?;
///         upload.commit(&[Target::new(alice.clone(), MailboxName::inbox(), arrived)]).await?;
///         Ok::<(), Box<dyn std::error::Error>>(())
///     })?;
/// }
/// let store = Embedded::open(directory.path(), Options::default())?;
/// assert_eq!(block_on(store.open(&alice, &MailboxName::inbox()))?.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Embedded<O = Inline> {
    shared: Arc<Shared>,
    offload: O,
}

/// How an [`Embedded`] store behaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How many octets of blocks read from disk to keep in memory.
    pub cache: u64,
    /// How many octets written the database keeps in memory before it sorts them into tables. A few
    /// times this much may be in use.
    pub memtable: u64,
    /// How many octets of snapshots to keep in memory for mailboxes nobody has open.
    pub snapshots: usize,
    /// How long an expunged message can be read by sessions that still show it.
    pub grace: Duration,
}

impl Default for Options {
    /// 16 MiB, 8 MiB, 64 MiB and five minutes.
    fn default() -> Self {
        Self { cache: 16 << 20, memtable: 8 << 20, snapshots: 64 << 20, grace: Duration::from_secs(300) }
    }
}

/// What a store's clones, uploads and tables share.
struct Shared {
    // Dropped first: its thread holds the core too, and ends with it.
    committer: Committer,
    core: Arc<Core>,
}

/// The database, and what of it is in memory.
struct Core {
    database: Database,
    live: LiveMailboxes,
    options: Options,
    opened: Instant,
    failure: committer::Failure,
    /// Raised after entries of the queue were added or made due.
    queued: crate::signal::Signal,
}

impl Embedded {
    /// Opens the store in `directory`, which is made if it does not exist. Blocks.
    ///
    /// # Errors
    /// [`Unavailable`](StoreError::Unavailable) if another process has it open or it cannot be read,
    /// [`Corrupt`](StoreError::Corrupt) if it is damaged.
    pub fn open(directory: impl AsRef<Path>, options: Options) -> Result<Self> {
        Self::open_with(directory, options, Inline)
    }
}

impl<O: Offload + Clone> Embedded<O> {
    /// As [`open`](Embedded::open), with another place for reads from disk to block in.
    ///
    /// # Errors
    /// As [`open`](Embedded::open).
    pub fn open_with(directory: impl AsRef<Path>, options: Options, offload: O) -> Result<Self> {
        let database = Database::open(directory.as_ref(), &options)?;
        let (live, opened, failure) =
            (LiveMailboxes::default(), Instant::now(), committer::Failure::default());
        let queued = crate::signal::Signal::default();
        let core = Arc::new(Core { database, live, options, opened, failure, queued });
        core.collect_uploads()?;
        let committer = Committer::start(Arc::clone(&core))?;
        Ok(Self { shared: Arc::new(Shared { committer, core }), offload })
    }

    /// A map for small rows that are no mail, in the same database.
    ///
    /// # Errors
    /// [`Invalid`](StoreError::Invalid) for a name that is empty or too long.
    pub fn table(&self, name: &str) -> Result<Table> {
        Table::new(Arc::clone(&self.shared), name)
    }

    /// Runs something that may block.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&Core) -> T + Send + 'static) -> T {
        let core = Arc::clone(&self.shared.core);
        self.offload.run(move || work(&core)).await
    }

    /// A mailbox in memory; `INBOX` is made if need be.
    async fn live(&self, user: &User, name: &MailboxName) -> Result<(Box<[u8]>, Arc<Live>)> {
        let key = name_key(user.as_str(), name.as_str());
        if let Some(live) = self.shared.core.live.cached(&key) {
            return Ok((key, live));
        }
        for attempt in 0..2 {
            let wanted = key.clone();
            if let Some(live) = self.run(move |core| core.live(&wanted)).await? {
                return Ok((key, live));
            }
            if attempt == 0 && name.is_inbox() {
                let (user, name) = (user.clone(), name.clone());
                self.shared.committer.submit(move |group| group.named(&user, &name).map(|_| ())).await?;
            }
        }
        Err(StoreError::NotFound)
    }

    async fn snapshot(&self, key: Box<[u8]>, live: Arc<Live>) -> Result<Arc<Snapshot>> {
        // Nothing blocks if it is in memory, which it is for every mailbox in use.
        match live.current() {
            Some(snapshot) => Ok(snapshot),
            None => self.run(move |core| core.snapshot(&key, &live)).await,
        }
    }
}

impl<O> std::fmt::Debug for Embedded<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded").finish_non_exhaustive()
    }
}

impl<O: Offload + Clone> Store for Embedded<O> {
    async fn mailboxes(&self, user: &User) -> Result<Vec<Mailbox>> {
        self.live(user, &MailboxName::inbox()).await?;
        let user = user.clone();
        self.run(move |core| core.mailboxes(&user)).await
    }

    async fn open(&self, user: &User, name: &MailboxName) -> Result<Arc<Snapshot>> {
        let (key, live) = self.live(user, name).await?;
        self.snapshot(key, live).await
    }

    async fn read(&self, message: &MessageRef, range: Range<u64>) -> Result<Bytes> {
        let message = message.clone();
        self.run(move |core| core.read(&message, &range)).await
    }

    async fn status(&self, user: &User, name: &MailboxName) -> Result<Status> {
        let (_, live) = self.live(user, name).await?;
        Ok(crate::signal::lock(&live.state).header.status())
    }

    fn writer(&self) -> Option<&impl Write> {
        Some(self)
    }

    fn folders(&self) -> Option<&impl Folders> {
        Some(self)
    }

    fn watch(&self) -> Option<&impl Watch> {
        Some(self)
    }

    fn changes(&self) -> Option<&impl Changes> {
        Some(self)
    }

    fn cache(&self) -> Option<&impl Cache> {
        Some(self)
    }

    fn spool(&self) -> Option<&impl Spool> {
        Some(self)
    }
}

impl<O: Offload + Clone> Write for Embedded<O> {
    async fn begin(&self, _size: Option<u64>) -> Result<Upload> {
        self.shared.core.writable()?;
        upload::Incoming::begin(Arc::clone(&self.shared), self.offload.clone()).map(Upload::new)
    }

    async fn store_flags(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        change: &FlagChange,
    ) -> Result<FlagsStored> {
        let (mailbox, uids, change) = (mailbox.clone(), uids.clone(), change.clone());
        self.shared.committer.submit(move |group| group.store_flags(&mailbox, &uids, &change)).await
    }

    async fn expunge(&self, mailbox: &MailboxRef, which: &Expunge) -> Result<Expunged> {
        let (mailbox, which) = (mailbox.clone(), which.clone());
        self.shared.committer.submit(move |group| group.expunge(&mailbox, &which)).await
    }

    async fn copy(&self, mailbox: &MailboxRef, uids: &UidSet, target: &MailboxName) -> Result<Copied> {
        let (mailbox, uids, target) = (mailbox.clone(), uids.clone(), target.clone());
        self.shared.committer.submit(move |group| group.copy(&mailbox, &uids, &target)).await
    }

    async fn move_to(&self, mailbox: &MailboxRef, uids: &UidSet, target: &MailboxName) -> Result<Copied> {
        let (mailbox, uids, target) = (mailbox.clone(), uids.clone(), target.clone());
        self.shared.committer.submit(move |group| group.move_to(&mailbox, &uids, &target)).await
    }
}

impl<O: Offload + Clone> Folders for Embedded<O> {
    async fn create(
        &self,
        user: &User,
        name: &MailboxName,
        special_use: Option<SpecialUse>,
    ) -> Result<Mailbox> {
        let (user, name) = (user.clone(), name.clone());
        self.shared.committer.submit(move |group| group.make(&user, &name, special_use)).await
    }

    async fn delete(&self, user: &User, name: &MailboxName) -> Result<()> {
        let (user, name) = (user.clone(), name.clone());
        self.shared.committer.submit(move |group| group.drop_mailbox(&user, &name)).await
    }

    async fn rename(&self, user: &User, from: &MailboxName, to: &MailboxName) -> Result<()> {
        let (user, from, to) = (user.clone(), from.clone(), to.clone());
        self.shared.committer.submit(move |group| group.rename(&user, &from, &to)).await
    }

    async fn subscribe(&self, user: &User, name: &MailboxName) -> Result<()> {
        let key = name_key(user.as_str(), name.as_str()).into_vec();
        let operation = move |group: &mut committer::Group<'_>| {
            group.put(&group.core.database.subscriptions, key, Bytes::new());
            Ok(())
        };
        self.shared.committer.submit(operation).await
    }

    async fn unsubscribe(&self, user: &User, name: &MailboxName) -> Result<()> {
        let key = name_key(user.as_str(), name.as_str()).into_vec();
        let operation = move |group: &mut committer::Group<'_>| {
            group.delete(&group.core.database.subscriptions, key);
            Ok(())
        };
        self.shared.committer.submit(operation).await
    }

    async fn subscriptions(&self, user: &User) -> Result<Vec<MailboxName>> {
        let user = user.clone();
        self.run(move |core| core.subscriptions(&user)).await
    }
}

impl<O: Offload + Clone> Watch for Embedded<O> {
    async fn changed(&self, user: &User, name: &MailboxName, seen: &Snapshot) -> Result<Arc<Snapshot>> {
        loop {
            let (key, live) = self.live(user, name).await?;
            // Counted before looking, so that a change after the look is not slept through.
            let raised = live.changed.raised();
            let snapshot = self.snapshot(key, Arc::clone(&live)).await?;
            let version = |snapshot: &Snapshot| (snapshot.uid_validity(), snapshot.highest_modseq());
            if version(&snapshot) != version(seen) {
                return Ok(snapshot);
            }
            drop(snapshot);
            if !live.is_gone() {
                live.changed.wait(raised).await;
            }
        }
    }
}

impl<O: Offload + Clone> Changes for Embedded<O> {
    async fn expunged(&self, mailbox: &MailboxRef, since: ModSeq) -> Result<Option<UidSet>> {
        let (_, live) = self.live(mailbox.user(), mailbox.name()).await?;
        let header = crate::signal::lock(&live.state).header.clone();
        if header.uid_validity != mailbox.uid_validity() {
            return Err(StoreError::NotFound);
        }
        if since < header.history_since {
            return Ok(None);
        }
        self.run(move |core| core.history(header.id, since)).await.map(Some)
    }
}

impl Core {
    /// What was expunged from a mailbox after this mod-sequence.
    fn history(&self, mailbox: u64, since: ModSeq) -> Result<UidSet> {
        let bound = |modseq: u64| row::key(mailbox, &modseq.to_be_bytes());
        let mut ranges = Vec::new();
        for entry in self.database.expunged.range(bound(since.get().saturating_add(1))..=bound(u64::MAX)) {
            let (key, sealed) = entry.into_inner().map_err(failed)?;
            let corrupt = || StoreError::Corrupt("the history of a mailbox".into());
            let mut fields = row::Fields(row::open(&key, &sealed).ok_or_else(corrupt)?);
            while let (Some(first), Some(last)) = (fields.u32(), fields.u32()) {
                ranges.extend(Uid::new(first).zip(Uid::new(last)).map(|(first, last)| first..=last));
            }
        }
        Ok(ranges.into_iter().collect())
    }
}

impl<O: Offload + Clone> Cache for Embedded<O> {
    async fn load(&self, messages: &[MessageRef]) -> Result<Vec<Option<Summary>>> {
        let messages = messages.to_vec();
        self.run(move |core| messages.iter().map(|message| core.summary(message)).collect()).await
    }

    async fn save(&self, message: &MessageRef, summary: &Summary) -> Result<()> {
        let (message, summary) = (message.clone(), summary.clone());
        let operation = move |group: &mut committer::Group<'_>| {
            // Only while the message is there: nobody would remove the summary of a body that is gone.
            let Ok((key, _)) = group.selected(&message.mailbox) else { return Ok(()) };
            if let Some(found) = group.snapshot(&key)?.message(message.uid) {
                group.put_summary(body::of(found)?, &summary);
            }
            Ok(())
        };
        self.shared.committer.submit(operation).await
    }
}
