//! The database under the store: its keyspaces, its numbers, and what its errors mean.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fjall::config::{BlockSizePolicy, RestartIntervalPolicy};
use fjall::{
    AbstractTree, CompressionType, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, OwnedWriteBatch,
    PersistMode, Snapshot,
};

use super::chunk::Packing;
use super::journal::ahead::Ahead;
use super::{Core, Options, backup, journal, row, whole};
use crate::signal::lock;
use crate::{Result, StoreError, clock};

/// The database and its keyspaces. Each comment is `key: value`; numbers are big-endian.
pub(super) struct Database {
    pub(super) handle: fjall::Database,
    /// name: number.
    pub(super) meta: Keyspace,
    /// user NUL mailbox: [`Header`](super::header::Header).
    pub(super) names: Keyspace,
    /// rows, UID: message. `rows` is a number in the header, so that a mailbox can be renamed or emptied at once.
    pub(super) rows: Keyspace,
    /// body, chunk number: octets.
    pub(super) bodies: Keyspace,
    /// body: how many messages share it; nothing if one does.
    pub(super) references: Keyspace,
    /// body: nothing. Chunks of it may have been written although nothing refers to it yet.
    pub(super) uploads: Keyspace,
    /// column, body: that part of the summary. See [`body`](super::body).
    pub(super) summaries: Keyspace,
    /// rows, UID: see [`origins`](super::origins).
    pub(super) origins: Keyspace,
    /// See [`threads`](super::threads).
    pub(super) threads: Keyspace,
    /// user: see [`account`](super::account).
    pub(super) users: Keyspace,
    /// See [`detail`](super::detail).
    pub(super) details: Keyspace,
    /// mailbox identity, mod-sequence: UIDs.
    pub(super) expunged: Keyspace,
    /// See [`collect`](super::collect).
    pub(super) trash: Keyspace,
    /// user NUL mailbox: nothing.
    pub(super) subscriptions: Keyspace,
    /// length of name, name, key: value.
    pub(super) tables: Keyspace,
    /// number: [entry](crate::spool::row).
    pub(super) queue: Keyspace,
    /// time, number: destination NUL sender. For entries that are not held.
    pub(super) queue_due: Keyspace,
    /// Rows of messages that a check set aside, as they were.
    pub(super) lost: Keyspace,
    /// rows, number: see [`packed`](super::packed). In no backup.
    pub(super) packs: Keyspace,
    /// How often the database has been opened, this time included.
    pub(super) epoch: u32,
    /// How many octets a table in memory is meant to hold.
    memtable: u64,
    /// What was found damaged before it was opened.
    pub(super) damage: Vec<String>,
    /// Whether some of that was when it was opened this time.
    pub(super) lost_now: bool,
    /// Held while a batch is committed.
    writing: Mutex<Writing>,
    /// A number that the batch being committed is not below; the highest number there is while none is being committed.
    unfinished: AtomicU64,
    identities: Mutex<Identities>,
    last_validity: Mutex<u32>,
}

struct Writing {
    /// How many octets were committed since somebody looked whether the database is behind.
    unlooked: u64,
    ahead: Ahead,
}

/// Identities of bodies and mailboxes. They are set aside in lots, so that an upload takes one without a write to disk
/// and none is used twice after a crash.
struct Identities {
    next: u64,
    reserved: u64,
}

/// How many threads of the database write out and merge tables. Of several the first merges none: while the others are busy it puts what there
/// is to merge back into the queue, and takes it out again, without a pause. With two, and with four, that was more than half of all the
/// processor time that large messages took, and nothing was faster for it.
const WORKERS: usize = 1;

/// How many octets a block of rows has that are read in long runs, about.
const RUN_BLOCK: u32 = 16 * 1024;

/// The number of the version of whoever described all messages there are.
pub(super) const DESCRIBED: &str = "described";

const LOT: u64 = 1 << 20;
const FORMAT: u64 = 2;
/// The format once bodies may be compressed.
const PACKED_FORMAT: u64 = 3;
/// What is added to either once they may be sealed.
const ENCRYPTED: u64 = 2;

impl Database {
    pub(super) fn open(directory: &Path, options: &Options) -> Result<Self> {
        if backup::is_unfinished(directory) {
            return Err(StoreError::Unavailable(format!(
                "a restore of a backup into {} was cut short: restore again, which begins anew, or remove the directory",
                directory.display()
            )));
        }
        // What is in it has the modes that the process makes files with: only the directory keeps others from the mail.
        backup::make_directory(directory)?;
        let mended = whole::mend(directory)?;
        let mut database = Self::open_empty(directory, options)?;
        (database.damage, database.lost_now) = (mended.damage, mended.lost_now);
        flush_names(directory)?;
        database.begin(Packing::new(options), options)?;
        whole::note_made(directory)?;
        Ok(database)
    }

    /// Every keyspace but those of bodies and packed messages, and its number in backups.
    pub(super) const fn index(&self) -> [(u8, &Keyspace); 17] {
        [
            (1, &self.meta),
            (2, &self.names),
            (3, &self.rows),
            (4, &self.references),
            (5, &self.uploads),
            (6, &self.summaries),
            (7, &self.origins),
            (8, &self.threads),
            (9, &self.users),
            (10, &self.details),
            (11, &self.queue),
            (12, &self.queue_due),
            (13, &self.expunged),
            (14, &self.trash),
            (15, &self.subscriptions),
            (16, &self.tables),
            (17, &self.lost),
        ]
    }

    /// The database without a look at what is in it.
    pub(super) fn open_empty(directory: &Path, options: &Options) -> Result<Self> {
        let ahead = Ahead::new(directory);
        let handle = fjall::Database::builder(directory)
            .cache_size(options.cache)
            .max_cached_files(Some(options.files))
            .journal_compression(CompressionType::None)
            .worker_threads(WORKERS)
            .open()
            .map_err(|error| opening(directory, error))?;
        if handle.keyspace_exists("meta") {
            let meta = handle.keyspace("meta", KeyspaceCreateOptions::default).map_err(failed)?;
            whole::look_for_keyspaces(&handle, whole::number_in(&meta, whole::KEYSPACES)?)?;
        }
        let plain = |name| {
            let options = || KeyspaceCreateOptions::default().max_memtable_size(options.memtable);
            handle.keyspace(name, options).map_err(failed)
        };
        // Summaries are read in long runs: in larger blocks, with keys that lie there whole. A keyspace stays as it was made.
        let runs = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(options.memtable)
                .data_block_size_policy(BlockSizePolicy::all(RUN_BLOCK))
                .data_block_restart_interval_policy(RestartIntervalPolicy::all(1))
        };
        // Bodies lie as they came, or packed already: to squeeze them while they are written out takes a third of the time that a
        // large message takes, and most of their octets are Base64 of what is compressed.
        let large = || {
            let apart = KvSeparationOptions::default().compression(CompressionType::None);
            KeyspaceCreateOptions::default()
                .max_memtable_size(options.memtable)
                .with_kv_separation(Some(apart))
        };
        Ok(Self {
            meta: plain("meta")?,
            names: plain("names")?,
            rows: plain("rows")?,
            bodies: handle.keyspace("bodies", large).map_err(failed)?,
            packs: handle.keyspace("packs", large).map_err(failed)?,
            references: plain("references")?,
            uploads: plain("uploads")?,
            summaries: handle.keyspace("summaries", runs).map_err(failed)?,
            origins: plain("origins")?,
            threads: plain("threads")?,
            users: plain("users")?,
            details: plain("details")?,
            expunged: plain("expunged")?,
            trash: plain("trash")?,
            subscriptions: plain("subscriptions")?,
            tables: plain("tables")?,
            lost: plain("lost")?,
            queue: plain("queue")?,
            queue_due: plain("queue_due")?,
            epoch: 0,
            memtable: options.memtable,
            damage: Vec::new(),
            lost_now: false,
            writing: Mutex::new(Writing { unlooked: 0, ahead }),
            unfinished: AtomicU64::new(u64::MAX),
            identities: Mutex::new(Identities { next: 1, reserved: 1 }),
            last_validity: Mutex::new(0),
            handle,
        })
    }

    /// Reads the numbers, and notes that the database is open.
    fn begin(&mut self, packing: Packing, options: &Options) -> Result<()> {
        let known = self.number("format")?;
        let format = known.unwrap_or(FORMAT);
        let sealed = if format > PACKED_FORMAT { ENCRYPTED } else { 0 };
        let lacks = match format - sealed {
            PACKED_FORMAT if !cfg!(feature = "zstd") => {
                Some("a store without compression, which this program lacks (feature zstd)".to_owned())
            }
            FORMAT | PACKED_FORMAT if sealed > 0 && !cfg!(feature = "encryption") => {
                Some("a store without encryption, which this program lacks (feature encryption)".to_owned())
            }
            FORMAT | PACKED_FORMAT => None,
            _ => Some(format!("a store of format {FORMAT} to {}, found {format}", PACKED_FORMAT + ENCRYPTED)),
        };
        if let Some(lacks) = lacks {
            return Err(StoreError::Unavailable(format!("expected {lacks}")));
        }
        let format = if packing.is_new() { PACKED_FORMAT + sealed } else { format };
        let epoch = self.number("epoch")?.unwrap_or(0) + 1;
        self.epoch = u32::try_from(epoch).unwrap_or(u32::MAX);
        if known.is_none() && self.damage.is_empty() && self.is_filled() {
            return Err(StoreError::Corrupt(
                "there is mail, but not the store's own numbers: restore a backup".into(),
            ));
        }
        let next = self.number("identities")?.unwrap_or(1).max(self.highest_identity().saturating_add(1));
        self.identities = Mutex::new(Identities { next, reserved: next });
        let validity = self.number("validity")?.unwrap_or(0);
        self.last_validity = Mutex::new(u32::try_from(validity).unwrap_or(u32::MAX));
        if let (None, Some(describer)) = (known, options.describer) {
            self.set_number(DESCRIBED, u64::from(describer.version()))?;
        }
        self.set_number("format", format)?;
        let keyspaces = whole::NAMES.len() as u64;
        if self.number(whole::KEYSPACES)?.is_none_or(|known| known < keyspaces) {
            self.set_number(whole::KEYSPACES, keyspaces)?;
        }
        self.set_number("epoch", epoch)?;
        self.identity().map(|_| ())
    }

    /// Goes on with the numbers that rows say now.
    pub(super) fn reread_numbers(&self) -> Result<()> {
        let next = self.number("identities")?.unwrap_or(1);
        *lock(&self.identities) = Identities { next, reserved: next };
        let validity = self.number("validity")?.unwrap_or(0);
        *lock(&self.last_validity) = u32::try_from(validity).unwrap_or(u32::MAX);
        Ok(())
    }

    /// Which version of whoever describes messages has described all there are.
    pub(super) fn described_by(&self) -> Result<Option<u64>> {
        self.number(DESCRIBED)
    }

    fn number(&self, name: &str) -> Result<Option<u64>> {
        whole::number_in(&self.meta, name)
    }

    fn set_number(&self, name: &str, value: u64) -> Result<()> {
        let mut batch = self.handle.batch();
        batch.insert(&self.meta, name, row::seal(name.as_bytes(), value.to_be_bytes().to_vec()));
        self.commit(batch, 0)
    }

    /// The row that keeps out programs that cannot read what is sealed.
    #[cfg(feature = "encryption")]
    pub(super) fn sealed_format(&self) -> Result<(&'static str, Vec<u8>)> {
        let format = self.number("format")?.unwrap_or(FORMAT);
        let format = if format > PACKED_FORMAT { format } else { format + ENCRYPTED };
        Ok(("format", row::seal(b"format", format.to_be_bytes().to_vec())))
    }

    /// The number of the last group of changes.
    pub(super) fn group(&self) -> Result<u64> {
        let Some(row) = self.meta.get(journal::GROUP).map_err(failed)? else { return Ok(0) };
        // Only what is in the journal matters, and a damaged row is there no more.
        Ok(journal::group_numbers(&row).map_or(0, |(number, _)| number))
    }

    /// Writes a batch of about so many octets.
    pub(super) fn commit(&self, batch: OwnedWriteBatch, octets: usize) -> Result<()> {
        let mut writing = lock(&self.writing);
        // Not each time: there are many keyspaces to look at, and nothing falls behind by a small batch.
        writing.unlooked = writing.unlooked.saturating_add(octets as u64 + BATCH);
        if writing.unlooked >= self.memtable / LOOKS {
            self.catch_up()?;
            writing.unlooked = 0;
        }
        if writing.ahead.is_short(octets, batch.len()) {
            // What waits in memory would be written where the zeros go, by a thread of the database.
            self.handle.persist(PersistMode::Buffer).map_err(failed)?;
            writing.ahead.fill();
        }
        // The batch gets this number or a higher one; whoever looks from here to its end sees that.
        self.unfinished.store(self.handle.seqno(), Ordering::SeqCst);
        let committed = batch.commit().map_err(failed);
        self.unfinished.store(u64::MAX, Ordering::SeqCst);
        committed
    }

    /// All that is committed at one moment: of each batch everything or nothing.
    ///
    /// The database's own snapshots are not enough. Its threads publish a number of their own whenever a table is written out or
    /// merged, and with it all lower ones: also that of a batch of which only some rows are there yet.
    pub(super) fn moment(&self) -> Snapshot {
        let moment = self.handle.snapshot();
        if moment.seqno() <= self.unfinished.load(Ordering::SeqCst) {
            return moment;
        }
        let _nothing_is_written = lock(&self.writing);
        self.handle.snapshot()
    }

    /// Whether tables of bodies wait to be written out.
    pub(super) fn has_bodies_to_write(&self) -> bool {
        self.bodies.tree.sealed_memtable_count() > 1
    }

    /// Waits until the database has written out enough of what it has in memory. It would wait too, though for ever if its threads
    /// that do it have failed.
    fn catch_up(&self) -> Result<()> {
        let behind = |keyspace: &Keyspace| {
            keyspace.tree.sealed_memtable_count() >= SEALED || keyspace.tree.l0_run_count() >= RUNS
        };
        let is_behind = || {
            let index = self.index();
            index.iter().map(|(_, keyspace)| *keyspace).chain([&self.bodies, &self.packs]).any(behind)
        };
        // The thread that merges tables begins no new ones in memory meanwhile, so those that are there would grow.
        let most = self.memtable.saturating_mul(HEAPED);
        let index = self.index();
        for keyspace in index.iter().map(|(_, keyspace)| *keyspace).chain([&self.bodies, &self.packs]) {
            if keyspace.tree.active_memtable().size() > most {
                keyspace.rotate_memtable().map_err(failed)?;
            }
        }
        while is_behind() {
            // Writes nothing, but says whether they have.
            self.handle.persist(PersistMode::Buffer).map_err(failed)?;
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// A number that no body and no mailbox ever had.
    pub(super) fn identity(&self) -> Result<u64> {
        let mut identities = lock(&self.identities);
        if identities.next == identities.reserved {
            let reserved = identities.reserved + LOT;
            self.set_number("identities", reserved)?;
            self.handle.persist(PersistMode::SyncData).map_err(failed)?;
            identities.reserved = reserved;
        }
        identities.next += 1;
        Ok(identities.next - 1)
    }

    /// A UIDVALIDITY that no mailbox ever had, and the row that says so. Follows the clock, so that it rises even
    /// from one database to another made later in its place.
    pub(super) fn uid_validity(&self) -> Result<(u32, &'static str, Vec<u8>)> {
        let now = now().max(1);
        let mut last = lock(&self.last_validity);
        let next =
            last.checked_add(1).ok_or_else(|| StoreError::Unavailable("no UIDVALIDITY is left".into()))?;
        // Not beyond half of the range, whatever the clock says: a wrong one must not use them up.
        *last = next.max(u32::try_from(now).unwrap_or(0).min(u32::MAX / 2));
        let value = row::seal(b"validity", u64::from(*last).to_be_bytes().to_vec());
        Ok((*last, "validity", value))
    }

    /// Notes a UIDVALIDITY that was given out elsewhere, so that no later mailbox has it; the row that says so.
    pub(super) fn adopt_validity(&self, given: u32) -> (&'static str, Vec<u8>) {
        let mut last = lock(&self.last_validity);
        if given <= u32::MAX / 2 {
            *last = given.max(*last);
        }
        ("validity", row::seal(b"validity", u64::from(*last).to_be_bytes().to_vec()))
    }
}

/// How far behind the database may be, in memory tables that wait to be written and in runs that wait to be merged: less than what
/// makes itself wait.
const SEALED: usize = 3;
/// How often to look at that while as much is written as one table in memory holds.
const LOOKS: u64 = 64;
/// What a batch takes beside its octets, roughly.
const BATCH: u64 = 1_024;
/// How many times as much as it is meant to hold a table in memory may hold.
const HEAPED: u64 = 2;
const RUNS: usize = 24;

impl Core {
    /// A number that no body and no mailbox ever had.
    pub(super) fn identity(&self) -> Result<u64> {
        self.writable()?;
        self.database.identity().map_err(|error| self.fail(&error))
    }

    /// Makes known what was found damaged while the database was opened.
    pub(super) fn tell_damage(&self) {
        self.database.damage.iter().for_each(|text| self.damage.note_text(text));
    }
}

/// Makes the folders of keyspaces last. The database flushes what is in them, and not that they are there.
#[cfg(unix)]
pub(super) fn flush_names(directory: &Path) -> Result<()> {
    let flush = || {
        let folders = directory.join("keyspaces");
        for folder in std::fs::read_dir(&folders)? {
            File::open(folder?.path())?.sync_all()?;
        }
        File::open(&folders)?.sync_all()?;
        File::open(directory)?.sync_all()
    };
    flush().map_err(|error| failed(fjall::Error::Io(error)))
}

#[cfg(not(unix))]
pub(super) fn flush_names(_: &Path) -> Result<()> {
    Ok(())
}

/// The file by which a database keeps others out, locked as long as this is there.
pub(super) struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        // To close it is not enough: a program that is just being started has it too, until it runs.
        let _unlocked = self.0.unlock();
    }
}

/// The file by which a database keeps others out; `None` if there is none.
pub(super) fn is_free(directory: &Path) -> Result<Option<Held>> {
    let path = directory.join("lock");
    let unusable = |error: std::io::Error| StoreError::Unavailable(format!("{}: {error}", path.display()));
    let lock = match File::options().read(true).write(true).open(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(error)),
    };
    match lock.try_lock() {
        Ok(()) => Ok(Some(Held(lock))),
        Err(TryLockError::WouldBlock) => Err(opening(directory, fjall::Error::Locked)),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

/// Seconds since 1970 by the clock, which may be wrong and may jump.
pub(super) fn now() -> i64 {
    i64::try_from(clock::read().shown()).unwrap_or(i64::MAX)
}

/// The time that is noted of what is removed when it is old.
pub(super) fn date() -> i64 {
    i64::try_from(clock::read().to_date_with()).unwrap_or(i64::MAX)
}

fn opening(directory: &Path, error: fjall::Error) -> StoreError {
    match error {
        fjall::Error::Locked => StoreError::Unavailable(format!(
            "expected {} to be free, but a process has it open",
            directory.display()
        )),
        error => whole::told(directory, failed(error)),
    }
}

/// What an error of the database means to callers.
pub(super) fn failed(error: fjall::Error) -> StoreError {
    match error {
        fjall::Error::Poisoned => StoreError::ReadOnly("an earlier write to disk failed".into()),
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Full(error.to_string()),
            _ => StoreError::Unavailable(error.to_string()),
        },
        fjall::Error::Locked => StoreError::Unavailable("the database is locked".into()),
        error => StoreError::Corrupt(error.to_string()),
    }
}
