//! Mail in SQLite: a [`Store`] that can be read and written, with mailboxes that can be arranged.
//!
//! One connection behind a lock; every method is one transaction, and SQLite's own log makes it durable before the method
//! returns. Bodies are rows of at most 256 KiB each, so that no message is ever whole in memory.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use mailwright_mail_model::{MailboxName, ModSeq, Uid, UidSet, UidValidity};
use mailwright_mailstore::backend::{self, Chunks, MailboxRow, MessageRow, Signal};
use mailwright_mailstore::{
    Appended, CommitError, Copied, Expunge, Expunged, FlagChange, FlagsStored, Folders, Mailbox, MailboxRef,
    Message, MessageRef, Result, Snapshot, Store, StoreError, Target, Upload, User, Watch, Write,
};
use rusqlite::{Connection, Params, Row, params};

mod folders;

const SCHEMA: &str = "
PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
-- Its number is the mailbox's UIDVALIDITY: never given again, even to another mailbox of the name.
CREATE TABLE IF NOT EXISTS mailbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT NOT NULL, name TEXT NOT NULL, special_use TEXT,
  uid_next INTEGER NOT NULL DEFAULT 1, modseq INTEGER NOT NULL DEFAULT 1, UNIQUE (owner, name));
CREATE TABLE IF NOT EXISTS body (id INTEGER PRIMARY KEY AUTOINCREMENT);
CREATE TABLE IF NOT EXISTS chunk (
  body INTEGER NOT NULL REFERENCES body ON DELETE CASCADE, start INTEGER NOT NULL, octets BLOB NOT NULL,
  PRIMARY KEY (body, start)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS message (
  mailbox INTEGER NOT NULL REFERENCES mailbox ON DELETE CASCADE, uid INTEGER NOT NULL, modseq INTEGER NOT NULL,
  size INTEGER NOT NULL, date INTEGER NOT NULL, zone INTEGER NOT NULL, flags TEXT NOT NULL,
  body INTEGER NOT NULL REFERENCES body, PRIMARY KEY (mailbox, uid)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS message_body ON message (body);
CREATE TRIGGER IF NOT EXISTS unused AFTER DELETE ON message
  WHEN NOT EXISTS (SELECT 1 FROM message WHERE body = OLD.body) BEGIN DELETE FROM body WHERE id = OLD.body; END;
CREATE TABLE IF NOT EXISTS subscription (owner TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (owner, name));
-- Uploads that a crash cut short.
DELETE FROM body WHERE id NOT IN (SELECT body FROM message);
";

/// How much of a message is in one row.
const CHUNK: usize = 256 * 1024;

/// A [`Store`] in one file of SQLite. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SqliteStore(Arc<File>);

#[derive(Debug)]
struct File {
    connection: Mutex<Connection>,
    /// Raised after every change by this process. What another one changes, sessions see with their next command.
    changed: Signal,
}

impl SqliteStore {
    /// Opens the file, which is made if it does not exist.
    ///
    /// # Errors
    /// [`Unavailable`](StoreError::Unavailable) if that cannot be done.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let connection = Connection::open(path).map_err(failed)?;
        connection.execute_batch(SCHEMA).map_err(failed)?;
        Ok(Self(Arc::new(File { connection: Mutex::new(connection), changed: Signal::default() })))
    }

    /// Does all of something, or, if it fails, nothing of it.
    fn change<T, E: From<StoreError>>(&self, work: impl FnOnce(&Sql<'_>) -> Result<T, E>) -> Result<T, E> {
        let mut connection = self.0.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let before = connection.total_changes();
        let transaction = connection.transaction().map_err(failed)?;
        let done = work(&Sql(&transaction))?;
        transaction.commit().map_err(failed)?;
        if connection.total_changes() != before {
            drop(connection);
            self.0.changed.raise();
        }
        Ok(done)
    }
}

/// Whatever SQLite says is for later; only a full disk and a damaged file have a kind of their own.
fn failed(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => StoreError::Full(error.to_string()),
        Some(rusqlite::ErrorCode::DatabaseCorrupt) => StoreError::Corrupt(error.to_string()),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// A transaction.
struct Sql<'a>(&'a Connection);

impl Sql<'_> {
    /// How many rows a statement changed.
    fn run(&self, statement: &str, values: impl Params) -> Result<usize> {
        self.0.prepare_cached(statement).and_then(|mut run| run.execute(values)).map_err(failed)
    }

    /// What a statement gives.
    fn all<T>(
        &self,
        statement: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let mut select = self.0.prepare_cached(statement).map_err(failed)?;
        select.query_map(values, read).and_then(Iterator::collect).map_err(failed)
    }

    /// The first number that a statement gives.
    fn number<T: rusqlite::types::FromSql>(&self, statement: &str, values: impl Params) -> Result<T> {
        self.all(statement, values, |row| row.get(0))?.pop().ok_or(StoreError::NotFound)
    }

    /// A mailbox's number; `INBOX` is made if need be.
    fn mailbox(&self, owner: &User, name: &MailboxName) -> Result<u32> {
        let key = [owner.as_str(), name.as_str()];
        if name.is_inbox() {
            self.run("INSERT OR IGNORE INTO mailbox (owner, name) VALUES (?, ?)", key)?;
        }
        self.number("SELECT id FROM mailbox WHERE owner = ? AND name = ?", key)
    }

    /// The mailbox a session selected, if it is still the same.
    fn selected(&self, place: &MailboxRef) -> Result<u32> {
        let id = self.mailbox(place.user(), place.name())?;
        if id == place.uid_validity().get() { Ok(id) } else { Err(StoreError::NotFound) }
    }

    /// What a mailbox shows now.
    fn snapshot(&self, id: u32) -> Result<Snapshot> {
        let numbers = "SELECT id, uid_next, modseq FROM mailbox WHERE id = ?";
        let mailbox = self.all(numbers, [id], |row| {
            Ok(MailboxRow { uid_validity: row.get(0)?, uid_next: row.get(1)?, highest_modseq: row.get(2)? })
        })?;
        let rows = "SELECT uid, size, date, zone, modseq, flags FROM message WHERE mailbox = ? ORDER BY uid";
        let messages = self.all(rows, [id], |row| {
            let (uid, size, seconds) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let (offset_minutes, modseq, flags) = (row.get(3)?, row.get(4)?, row.get(5)?);
            Ok(MessageRow { uid, size, seconds, offset_minutes, modseq, flags })
        })?;
        mailbox.first().ok_or(StoreError::NotFound)?.snapshot(messages)
    }

    /// The mod-sequence of a change that is being made.
    fn next_modseq(&self, id: u32) -> Result<ModSeq> {
        let modseq =
            self.number("UPDATE mailbox SET modseq = modseq + 1 WHERE id = ? RETURNING modseq", [id])?;
        ModSeq::new(modseq).ok_or_else(|| StoreError::Unavailable("no mod-sequence is left".into()))
    }

    /// Adds a message under the next UID.
    fn add(&self, id: u32, message: &Message, body: i64) -> Result<Appended> {
        let modseq = self.next_modseq(id)?.get();
        let next = "UPDATE mailbox SET uid_next = uid_next + 1 WHERE id = ? RETURNING uid_next - 1";
        let uid = u32::try_from(self.number::<u64>(next, [id])?).ok().and_then(Uid::new);
        let uid = uid.ok_or_else(|| StoreError::Unavailable("no UID is left".into()))?;
        let MessageRow { size, seconds, offset_minutes, flags, .. } = message.into();
        let values = params![id, uid.get(), modseq, size, seconds, offset_minutes, flags, body];
        self.run("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)?;
        let validity = UidValidity::new(id).ok_or_else(|| StoreError::Corrupt("a UIDVALIDITY".into()))?;
        Ok(Appended::new(validity, uid))
    }

    /// Removes messages, all in one change.
    fn remove(&self, id: u32, uids: &UidSet) -> Result<ModSeq> {
        if uids.is_empty() {
            return Ok(self.snapshot(id)?.highest_modseq());
        }
        for range in uids.ranges() {
            let values = [id, range.start().get(), range.end().get()];
            self.run("DELETE FROM message WHERE mailbox = ? AND uid BETWEEN ? AND ?", values)?;
        }
        self.next_modseq(id)
    }

    fn copy(&self, place: &MailboxRef, uids: &UidSet, target: &MailboxName) -> Result<Copied> {
        let (from, to) = (self.selected(place)?, self.mailbox(place.user(), target)?);
        let (snapshot, mut source, mut copies) = (self.snapshot(from)?, UidSet::new(), UidSet::new());
        for message in snapshot.among(uids) {
            let body = "SELECT body FROM message WHERE mailbox = ? AND uid = ?";
            let body = self.number(body, [from, message.uid.get()])?;
            source.insert(message.uid);
            copies.insert(self.add(to, message, body)?.uid);
        }
        let validity = self.snapshot(to)?.uid_validity();
        Ok(Copied::new(validity, source, copies, self.snapshot(from)?.highest_modseq()))
    }
}

impl Store for SqliteStore {
    async fn mailboxes(&self, user: &User) -> Result<Vec<Mailbox>> {
        self.change(|sql| sql.mailbox(user, &MailboxName::inbox()).and_then(|_| sql.mailboxes(user)))
    }

    async fn open(&self, user: &User, name: &MailboxName) -> Result<Arc<Snapshot>> {
        self.change(|sql| sql.snapshot(sql.mailbox(user, name)?).map(Arc::new))
    }

    async fn read(&self, message: &MessageRef, range: Range<u64>) -> Result<Bytes> {
        self.change(|sql| {
            let id = sql.selected(&message.mailbox)?;
            let body = "SELECT body FROM message WHERE mailbox = ? AND uid = ?";
            let body: i64 = sql.number(body, [id, message.uid.get()])?;
            // The octets of one row: a caller who wants more reads on.
            let octets = "SELECT substr(octets, 1 + ?2 - start, max(0, ?3 - ?2)) FROM chunk
                WHERE body = ?1 AND start <= ?2 ORDER BY start DESC LIMIT 1";
            let octets = sql
                .all(octets, params![body, range.start, range.end.min(message.size)], |row| row.get(0))?
                .pop();
            // No octet is NULL.
            Ok(Bytes::from(octets.flatten().unwrap_or_else(Vec::new)))
        })
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
}

impl Watch for SqliteStore {
    async fn changed(&self, user: &User, name: &MailboxName, seen: &Snapshot) -> Result<Arc<Snapshot>> {
        self.0.changed.changed(self, user, name, seen).await
    }
}

impl Write for SqliteStore {
    async fn begin(&self, _: Option<u64>) -> Result<Upload> {
        let body = self.change(|sql| sql.number("INSERT INTO body DEFAULT VALUES RETURNING id", []))?;
        Ok(backend::in_chunks(CHUNK, Body { store: self.clone(), id: body, spent: false }))
    }

    async fn store_flags(
        &self,
        place: &MailboxRef,
        uids: &UidSet,
        change: &FlagChange,
    ) -> Result<FlagsStored> {
        self.change(|sql| {
            let id = sql.selected(place)?;
            let (stored, changed) = change.plan(&sql.snapshot(id)?, uids)?;
            for (uid, flags, modseq) in &changed {
                let values = params![flags.to_string(), modseq.get(), id, uid.get()];
                sql.run("UPDATE message SET flags = ?, modseq = ? WHERE mailbox = ? AND uid = ?", values)?;
            }
            changed.first().map_or(Ok(()), |_| sql.next_modseq(id).map(drop))?;
            Ok(stored)
        })
    }

    async fn expunge(&self, place: &MailboxRef, which: &Expunge) -> Result<Expunged> {
        self.change(|sql| {
            let id = sql.selected(place)?;
            let uids = which.select(&sql.snapshot(id)?);
            let modseq = sql.remove(id, &uids)?;
            Ok(Expunged::new(uids, modseq))
        })
    }

    async fn copy(&self, place: &MailboxRef, uids: &UidSet, target: &MailboxName) -> Result<Copied> {
        self.change(|sql| sql.copy(place, uids, target))
    }

    async fn move_to(&self, place: &MailboxRef, uids: &UidSet, target: &MailboxName) -> Result<Copied> {
        self.change(|sql| {
            let mut copied = sql.copy(place, uids, target)?;
            copied.highest_modseq = sql.remove(sql.selected(place)?, &copied.source)?;
            Ok(copied)
        })
    }
}

/// A message on its way in: rows of a body that no message has yet.
struct Body {
    store: SqliteStore,
    id: i64,
    /// Whether it is committed.
    spent: bool,
}

const PUT: &str = "INSERT INTO chunk (body, start, octets) VALUES (?, ?, ?)";

impl Chunks for Body {
    async fn write(&mut self, start: u64, chunk: Bytes) -> Result<()> {
        self.store.change(|sql| sql.run(PUT, params![self.id, start, &chunk[..]]).map(drop))
    }

    async fn commit(
        &mut self,
        start: u64,
        rest: Bytes,
        targets: &[Target],
    ) -> Result<Vec<Appended>, CommitError> {
        let appended = self.store.change(|sql| {
            sql.run(PUT, params![self.id, start, &rest[..]])?;
            let place = |(index, target): (usize, &Target)| {
                let mut message = Message::new(Uid::MIN, start + rest.len() as u64, target.internal_date);
                message.flags.clone_from(&target.flags);
                let id = sql.mailbox(&target.user, &target.mailbox);
                id.and_then(|id| sql.add(id, &message, self.id))
                    .map_err(|error| CommitError::of_target(index, error))
            };
            targets.iter().enumerate().map(place).collect::<Result<Vec<_>, _>>()
        })?;
        self.spent = !appended.is_empty();
        Ok(appended)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if !self.spent {
            // What fails here is removed when the file is opened the next time.
            let _ = self.store.change(|sql| sql.run("DELETE FROM body WHERE id = ?", [self.id]));
        }
    }
}
