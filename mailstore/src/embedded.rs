//! A durable store in one directory: an embedded database that holds index and bodies.
//!
//! One thread writes. It takes whatever all sessions want at a time, makes one atomic batch of it, flushes once, shows
//! everybody the new snapshots and only then answers. Reading never waits for it.
//!
//! The database belongs to one process; a second one that opens it is refused.

use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mailwright_mail_model::MailboxName;

use crate::feeds::Feeds;
use crate::signal::Signal;
use crate::spool::Written;
use crate::{
    Acl, Annotate, AnnotationLimits, Cache, Changes, Feed, Folders, Import, Inline, Mailbox, MailboxRef,
    MessageRef, Metadata, Offload, Origins, Quota, QuotaLimits, Result, Scripts, Snapshot, Spool, Status,
    Store, StoreError, Undelete, User, Watch, Write,
};

mod account;
mod annotations;
mod append;
mod arrange;
mod backup;
mod body;
mod check;
mod chunk;
mod collect;
mod committer;
mod damage;
mod database;
mod detail;
#[cfg(feature = "encryption")]
mod encryption;
mod erase;
mod facets;
mod failure;
#[cfg(feature = "fulltext")]
mod fulltext;
mod header;
#[cfg(feature = "fulltext")]
mod indexing;
mod journal;
mod live;
mod messages;
mod opening;
mod origins;
mod packed;
mod promise;
mod row;
mod scripts;
mod sealed;
mod space;
mod spool;
mod staged;
mod summary;
mod sweep;
mod table;
mod tell;
#[cfg(test)]
mod tests;
mod threads;
mod undelete;
mod upload;
mod walk;

pub use backup::{BackupReport, restore};
pub use check::{CheckProgress, CheckReport, Finding};
pub use table::Table;

use committer::Committer;
use database::Database;
use header::Header;
use live::{Live, LiveMailboxes};
use opening::Opening;
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
    /// How many of its files the database keeps open. When it cannot open one more, it keeps nothing until the store is opened anew;
    /// so whatever else opens files, such as a server for its clients, must leave it these and about as many as 50.
    pub files: usize,
    /// How many octets written the database keeps in memory before it sorts them into tables. A few
    /// times this much may be in use.
    pub memtable: u64,
    /// How many octets of snapshots to keep in memory for mailboxes nobody has open.
    pub snapshots: usize,
    /// The messages of mailboxes with as many as this are packed when they leave memory, so that they open faster: see
    /// [`Embedded::wind_down`].
    pub pack_from: u32,
    /// How long an expunged message can be read by sessions that still show it.
    pub grace: Duration,
    /// How many octets of the disk to keep free. With less, messages are refused with [`Full`](StoreError::Full) until there is
    /// room again; with less than a quarter, so is everything. 0 looks at nothing.
    pub reserve: u64,
    /// What a user may have who has no limits of their own.
    pub quota: QuotaLimits,
    /// How much may be noted about a message (RFC 5257 §4.1).
    pub annotations: AnnotationLimits,
    /// At which parts of a limit, in percent, to warn.
    pub quota_warnings: Vec<u8>,
    /// How long an expunged message can be had back; with zero, not at all.
    pub undelete: Duration,
    /// The level of Zstandard, 1 to 19, by which bodies that come are compressed; `None` writes them as they are. Both are read, and
    /// each chunk of 256 KiB by itself, so that a range costs no more than that. Once this was `Some`, programs without the
    /// feature `zstd` refuse to open the store.
    #[cfg(feature = "zstd")]
    pub zstd: Option<i32>,
    /// The most octets of a message that is appended, as servers announce it; `None` is no limit.
    pub append_limit: Option<u64>,
    /// Whether the texts of mail are indexed for searches, in the directory `fulltext` of the store's: a few kilobytes a message, made
    /// of the mail and made anew if it is missing or damaged, so in no backup. It has to be kept up with the mail, see
    /// [`Search`](crate::Search). The mail of users who have keys to encrypted mail is not in it. A store that is opened without
    /// this removes it.
    #[cfg(feature = "fulltext")]
    pub fulltext: bool,
}

impl Default for Options {
    /// 16 MiB, 256 files, 8 MiB, 64 MiB, 1,024 messages, five minutes, 128 MiB of the disk; no quota, warnings at 80 and 95 percent; no undelete window, no
    /// limit to messages.
    fn default() -> Self {
        Self {
            cache: 16 << 20,
            files: 256,
            memtable: 8 << 20,
            snapshots: 64 << 20,
            pack_from: packed::PACK_FROM,
            grace: Duration::from_secs(300),
            reserve: 128 << 20,
            quota: QuotaLimits::NONE,
            annotations: AnnotationLimits::default(),
            quota_warnings: vec![80, 95],
            undelete: Duration::ZERO,
            #[cfg(feature = "zstd")]
            zstd: None,
            append_limit: None,
            #[cfg(feature = "fulltext")]
            fulltext: false,
        }
    }
}

/// Where the index of texts is, if there is one.
const FULLTEXT: &str = "fulltext";

/// What a store's clones, uploads and tables share.
struct Shared {
    // Dropped first: its thread ends with it, after it has closed the database.
    committer: Committer,
    opening: Arc<Opening>,
    lasting: Arc<Lasting>,
}

impl Shared {
    /// The open database. Not to be held longer than one operation takes.
    fn core(&self) -> Result<Arc<Core>> {
        self.opening.core()
    }
}

/// The database as it is open now, and what is in memory.
struct Core {
    database: Database,
    lasting: Arc<Lasting>,
}

impl Deref for Core {
    type Target = Lasting;

    fn deref(&self) -> &Lasting {
        &self.lasting
    }
}

/// What stays in memory while the database is opened anew.
struct Lasting {
    directory: PathBuf,
    live: LiveMailboxes,
    options: Options,
    opened: Instant,
    /// The epoch of the database at the first opening.
    epoch: u32,
    failure: failure::Failure,
    damage: damage::Damage,
    space: space::Space,
    sealing: sealed::Sealing,
    sweeping: sweep::Sweeping,
    feeds: Feeds,
    /// Raised after entries of the queue were added or made due.
    queued: Signal,
    /// Where the queue was written.
    written: Written,
    /// Raised when a quota warning is there.
    warned: Signal,
    #[cfg(feature = "fulltext")]
    fulltext: Option<fulltext::FullText>,
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
        let directory = directory.as_ref();
        let database = Database::open(directory, &options)?;
        let lasting = Arc::new(Lasting {
            directory: directory.to_owned(),
            live: LiveMailboxes::default(),
            opened: Instant::now(),
            epoch: database.epoch,
            failure: failure::Failure::default(),
            damage: damage::Damage::default(),
            space: space::Space::new(directory, options.reserve),
            sealing: sealed::Sealing::of(&database),
            sweeping: sweep::Sweeping::default(),
            feeds: Feeds::default(),
            queued: Signal::default(),
            written: Written::default(),
            warned: Signal::default(),
            #[cfg(feature = "fulltext")]
            fulltext: options.fulltext.then(|| fulltext::FullText::new(directory.join(FULLTEXT))),
            options,
        });
        let core = Core { database, lasting: Arc::clone(&lasting) };
        core.tell_damage();
        core.collect_uploads()?;
        core.tidy_texts();
        let opening = Arc::new(Opening::new(core));
        let committer = Committer::start(Arc::clone(&opening), Arc::clone(&lasting))?;
        Ok(Self { shared: Arc::new(Shared { committer, opening, lasting }), offload })
    }

    /// A map for small rows that are no mail, in the same database.
    ///
    /// # Errors
    /// [`Invalid`](StoreError::Invalid) for a name that is empty or too long.
    pub fn table(&self, name: &str) -> Result<Table> {
        Table::new(Arc::clone(&self.shared), name)
    }

    /// What was found to be damaged since the store was opened, each thing once, while the rest was served.
    pub fn damage(&self) -> Vec<String> {
        self.shared.lasting.damage.all()
    }

    /// Why the store takes no changes now, if a write to disk failed. After one for lack of room it takes them again as soon as
    /// there is room; after any other it has to be opened anew, by a new process at best.
    pub fn failure(&self) -> Option<String> {
        self.shared.lasting.failure.text()
    }

    /// Leaves the store on disk as its last clone does when it goes: the messages of large mailboxes that are in memory packed, so that
    /// they open faster after the next start, and a last group that is flushed. This is for a process that ends without that.
    ///
    /// # Errors
    /// If that cannot be written, for lack of room say. Nothing is lost then.
    pub async fn wind_down(&self) -> Result<()> {
        let committer = &self.shared.committer;
        for key in self.shared.lasting.live.all() {
            let mut packing = None;
            loop {
                let key = key.clone();
                packing = committer.submit(move |group| group.pack(&key, packing)).await?;
                if packing.is_none() {
                    break;
                }
            }
        }
        // Damage to what is before it can be told from an incomplete end.
        let last = |group: &mut committer::Group<'_>| {
            group.must_last();
            Ok(())
        };
        committer.submit(last).await
    }

    /// Runs something that may block.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Core) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let opening = Arc::clone(&self.shared.opening);
        self.offload.run(move || work(&*opening.core()?)).await
    }

    /// A mailbox in memory; `INBOX` is made if need be.
    async fn live(&self, user: &User, name: &MailboxName) -> Result<(Box<[u8]>, Arc<Live>)> {
        let key = name_key(user.as_str(), name.as_str());
        if let Some(live) = self.shared.lasting.live.cached(&key) {
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

    async fn list(&self, user: &User) -> Result<Vec<(Mailbox, Status)>> {
        self.live(user, &MailboxName::inbox()).await?;
        let user = user.clone();
        self.run(move |core| core.list(&user)).await
    }

    fn append_limit(&self) -> Option<u64> {
        self.shared.lasting.options.append_limit
    }

    fn keeps_object_ids(&self) -> bool {
        true
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

    #[cfg(feature = "fulltext")]
    fn search(&self) -> Option<&impl crate::Search> {
        Some(self).filter(|store| store.shared.lasting.fulltext.is_some())
    }

    fn spool(&self) -> Option<&impl Spool> {
        Some(self)
    }

    fn quota(&self) -> Option<&impl Quota> {
        Some(self)
    }

    fn acl(&self) -> Option<&impl Acl> {
        Some(self)
    }

    fn scripts(&self) -> Option<&impl Scripts> {
        Some(self)
    }

    fn annotator(&self) -> Option<&impl Annotate> {
        Some(self)
    }

    fn metadata(&self) -> Option<&impl Metadata> {
        Some(self)
    }

    fn origins(&self) -> Option<&impl Origins> {
        Some(self)
    }

    fn import(&self) -> Option<&impl Import> {
        Some(self)
    }

    fn feed(&self) -> Option<&impl Feed> {
        Some(self)
    }

    fn undelete(&self) -> Option<&impl Undelete> {
        Some(self).filter(|store| !store.shared.lasting.options.undelete.is_zero())
    }
}

impl Core {
    /// Removes what nobody keeps up of the index of texts. It is no reason not to open the store.
    fn tidy_texts(&self) {
        #[cfg(feature = "fulltext")]
        if self.fulltext.is_some() {
            return self.sweep_texts().unwrap_or_else(|error| self.damage.note(&error));
        }
        let directory = self.directory.join(FULLTEXT);
        if let Err(error) = std::fs::remove_dir_all(&directory)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            self.damage.note_text(&format!("{} cannot be removed: {error}", directory.display()));
        }
    }

    /// The numbers of a mailbox as a session selected it.
    fn header_of(&self, mailbox: &MailboxRef) -> Result<Header> {
        let key = name_key(mailbox.user().as_str(), mailbox.name().as_str());
        let live = self.live(&key)?.ok_or(StoreError::NotFound)?;
        let header = crate::signal::lock(&live.state).header.clone();
        if header.uid_validity == mailbox.uid_validity() { Ok(header) } else { Err(StoreError::NotFound) }
    }

    fn rows_of(&self, mailbox: &MailboxRef) -> Result<u64> {
        self.header_of(mailbox).map(|header| header.rows)
    }
}
