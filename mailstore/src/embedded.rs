//! A durable store in one directory: an embedded database that holds index and bodies.
//!
//! One thread writes. It takes whatever all sessions want at a time, makes one atomic batch of it, flushes once, shows
//! everybody the new snapshots and only then answers. Reading never waits for it. A session that is the only one may write in its
//! place ([`Options::in_place`]).
//!
//! The database belongs to one process; a second one that opens it is refused.

use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use mailwright_mail_model::MailboxName;

use crate::feeds::Feeds;
use crate::signal::Signal;
use crate::spool::Written;
use crate::{
    Acl, Annotate, Cache, Changes, Feed, Folders, Import, Inline, Mailbox, MailboxRef, MessageRef, Metadata,
    Offload, Origins, Quota, Result, Scripts, Snapshot, Spool, Status, Store, StoreError, Undelete, User,
    Watch, Write,
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
mod leap;
mod live;
mod losses;
mod messages;
mod opening;
mod options;
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
mod whole;

pub use backup::{BackupCheck, BackupReport, check_backup, restore, restore_damaged};
pub use check::{CheckProgress, CheckReport, Finding};
pub use options::{InPlace, Options};
pub use space::FreeSpace;
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
    ripening: packed::Ripening,
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
    /// Opens the store in `directory`, which is made for its owner alone if it does not exist; the mode of one that exists is the
    /// caller's to look at. Blocks.
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
            ripening: packed::Ripening::default(),
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
        core.settle_losses()?;
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

    /// Why no mail is taken now, if less than [`Options::reserve`] is free: it is refused before anything is written, so that is no
    /// [`failure`](Embedded::failure), and over as soon as there is room.
    pub fn shortage(&self) -> Option<String> {
        self.shared.lasting.room(0).err().map(|error| error.to_string())
    }

    /// Whether what is kept of mail may be what another version of the [describer](Options::describer) found in it, until a
    /// [check](Embedded::check) with repair has found it out again.
    pub fn is_described_by_another(&self) -> bool {
        let Some(describer) = self.shared.lasting.options.describer else { return false };
        let known = self.shared.core().and_then(|core| core.database.described_by());
        known.is_ok_and(|known| known != Some(u64::from(describer.version())))
    }

    /// Leaves the store on disk as its last clone does when it goes: the messages of large mailboxes that are in memory packed, so that
    /// they open faster after the next start, and a last group that is flushed. This is for a process that ends without that.
    ///
    /// # Errors
    /// If that cannot be written, for lack of room say. Nothing is lost then.
    pub async fn wind_down(&self) -> Result<()> {
        let (committer, since) = (&self.shared.committer, Instant::now());
        for key in self.shared.lasting.live.all() {
            let mut packing = None;
            loop {
                let (key, begin) = (key.clone(), packed::when_closing(since));
                packing = committer.submit(move |group| group.pack(&key, packing, begin)).await?;
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

    async fn read_together(&self, messages: &[MessageRef]) -> Result<Vec<Option<Bytes>>> {
        let messages = messages.to_vec();
        self.run(move |core| Ok(core.read_together(&messages))).await
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
