//! Mail in SQLite: a [`Store`] that can be read and written, with mailboxes that can be arranged.
//!
//! One connection behind a lock; every method is one transaction, and SQLite's own log makes it durable before the method
//! returns. Bodies are rows of at most 256 KiB each, so that no message is ever whole in memory.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use mailwright_mail_model::{DateTime, Flag, MailboxName, ModSeq, SpecialUse, Uid, UidSet, UidValidity};
use mailwright_mailstore::{
    Appended, CommitError, Copied, Expunge, Expunged, FlagChange, FlagsStored, Folders, Mailbox, MailboxRef,
    Message, MessageRef, Result, Sink, Snapshot, Store, StoreError, Target, Upload, User, Write, backend,
};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

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
pub struct SqliteStore(Arc<Mutex<Connection>>);

impl SqliteStore {
    /// Opens the file, which is made if it does not exist.
    ///
    /// # Errors
    /// [`Unavailable`](StoreError::Unavailable) if that cannot be done.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let connection = Connection::open(path).map_err(failed)?;
        connection.execute_batch(SCHEMA).map_err(failed)?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does all of something, or, if it fails, nothing of it.
    fn change<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.lock();
        let transaction = connection.transaction().map_err(failed)?;
        let done = work(&transaction)?;
        transaction.commit().map_err(failed)?;
        Ok(done)
    }
}

/// Whatever SQLite says is for later; only a full disk has a kind of its own.
fn failed(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => StoreError::Full(error.to_string()),
        Some(rusqlite::ErrorCode::DatabaseCorrupt) => StoreError::Corrupt(error.to_string()),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// A value that cannot be in a column.
fn corrupt<T>(value: Option<T>, what: &str) -> Result<T> {
    value.ok_or_else(|| StoreError::Corrupt(what.into()))
}

/// A mailbox's number; `INBOX` is made if need be.
fn mailbox(transaction: &Transaction<'_>, owner: &User, name: &MailboxName) -> Result<u32> {
    let (owner, name_text) = (owner.as_str(), name.as_str());
    if name.is_inbox() {
        let insert = "INSERT OR IGNORE INTO mailbox (owner, name) VALUES (?, ?)";
        transaction
            .prepare_cached(insert)
            .and_then(|mut insert| insert.execute([owner, name_text]))
            .map_err(failed)?;
    }
    let select = "SELECT id FROM mailbox WHERE owner = ? AND name = ?";
    let mut select = transaction.prepare_cached(select).map_err(failed)?;
    let id = select.query_row([owner, name_text], |row| row.get(0)).optional().map_err(failed)?;
    id.ok_or(StoreError::NotFound)
}

/// The mailbox a session selected, if it is still the same.
fn selected(transaction: &Transaction<'_>, place: &MailboxRef) -> Result<u32> {
    let id = mailbox(transaction, place.user(), place.name())?;
    if id == place.uid_validity().get() { Ok(id) } else { Err(StoreError::NotFound) }
}

/// What a mailbox shows now.
fn snapshot(transaction: &Transaction<'_>, id: u32) -> Result<Snapshot> {
    let validity = corrupt(UidValidity::new(id), "a UIDVALIDITY")?;
    let numbers = "SELECT uid_next, modseq FROM mailbox WHERE id = ?";
    let (next, modseq): (u32, u64) =
        transaction.query_row(numbers, [id], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
    let rows = "SELECT uid, modseq, size, date, zone, flags FROM message WHERE mailbox = ? ORDER BY uid";
    let mut rows = transaction.prepare_cached(rows).map_err(failed)?;
    let mut rows = rows.query([id]).map_err(failed)?;
    let mut builder = Snapshot::builder(validity)
        .uid_next(Uid::new(next))
        .highest_modseq(corrupt(ModSeq::new(modseq), "a mod-sequence")?);
    while let Some(row) = rows.next().map_err(failed)? {
        let message = || -> rusqlite::Result<Option<Message>> {
            let (date, flags): (_, String) = (DateTime::new(row.get(3)?, row.get(4)?), row.get(5)?);
            let Some(((uid, date), modseq)) = Uid::new(row.get(0)?).zip(date).zip(ModSeq::new(row.get(1)?))
            else {
                return Ok(None);
            };
            let mut message = Message::new(uid, row.get(2)?, date);
            message.modseq = modseq;
            message.flags = flags.parse().unwrap_or_default();
            Ok(Some(message))
        };
        builder = builder.message(corrupt(message().map_err(failed)?, "a message")?);
    }
    Ok(builder.build())
}

/// The mod-sequence of a change that is being made.
fn next_modseq(transaction: &Transaction<'_>, id: u32) -> Result<ModSeq> {
    let update = "UPDATE mailbox SET modseq = modseq + 1 WHERE id = ? RETURNING modseq";
    let modseq = transaction.query_row(update, [id], |row| row.get(0)).map_err(failed)?;
    corrupt(ModSeq::new(modseq), "a mod-sequence")
}

/// Adds a message under the next UID.
fn add(transaction: &Transaction<'_>, id: u32, message: &Message, body: i64) -> Result<Uid> {
    let modseq = next_modseq(transaction, id)?;
    let update = "UPDATE mailbox SET uid_next = uid_next + 1 WHERE id = ? AND uid_next <= 4294967295 RETURNING uid_next - 1";
    let uid: Option<u32> =
        transaction.query_row(update, [id], |row| row.get(0)).optional().map_err(failed)?;
    let uid = uid.and_then(Uid::new).ok_or_else(|| StoreError::Unavailable("no UID is left".into()))?;
    let date = message.internal_date;
    let values = params![
        id,
        uid.get(),
        modseq.get(),
        message.size,
        date.seconds(),
        date.offset_minutes(),
        message.flags.to_string(),
        body
    ];
    let insert = "INSERT INTO message (mailbox, uid, modseq, size, date, zone, flags, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    transaction.prepare_cached(insert).and_then(|mut insert| insert.execute(values)).map_err(failed)?;
    Ok(uid)
}

/// Removes messages, all in one change.
fn remove(transaction: &Transaction<'_>, id: u32, uids: &UidSet) -> Result<ModSeq> {
    if uids.is_empty() {
        return Ok(snapshot(transaction, id)?.highest_modseq());
    }
    for uid in uids.iter() {
        let delete = "DELETE FROM message WHERE mailbox = ? AND uid = ?";
        transaction
            .prepare_cached(delete)
            .and_then(|mut delete| delete.execute([id, uid.get()]))
            .map_err(failed)?;
    }
    next_modseq(transaction, id)
}

impl Store for SqliteStore {
    async fn mailboxes(&self, user: &User) -> Result<Vec<Mailbox>> {
        self.change(|transaction| {
            mailbox(transaction, user, &MailboxName::inbox())?;
            folders::list(transaction, user)
        })
    }

    async fn open(&self, user: &User, name: &MailboxName) -> Result<Arc<Snapshot>> {
        self.change(|transaction| snapshot(transaction, mailbox(transaction, user, name)?).map(Arc::new))
    }

    async fn read(&self, message: &MessageRef, range: Range<u64>) -> Result<Bytes> {
        self.change(|transaction| {
            let id = selected(transaction, &message.mailbox)?;
            let body = "SELECT body FROM message WHERE mailbox = ? AND uid = ?";
            let body = transaction.query_row(body, [id, message.uid.get()], |row| row.get::<_, i64>(0));
            let body = body.optional().map_err(failed)?.ok_or(StoreError::NotFound)?;
            // The octets of one row: a caller who wants more reads on.
            let chunk =
                "SELECT start, octets FROM chunk WHERE body = ? AND start <= ? ORDER BY start DESC LIMIT 1";
            let found = transaction
                .query_row(chunk, params![body, range.start], |row| {
                    Ok((row.get::<_, u64>(0)?, row.get::<_, Vec<u8>>(1)?))
                })
                .optional()
                .map_err(failed)?;
            let Some((start, octets)) = found else { return Ok(Bytes::new()) };
            let place =
                |at: u64| usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX).min(octets.len());
            let (from, to) = (place(range.start), place(range.end));
            Ok(Bytes::from(octets).slice(from.min(to)..to))
        })
    }

    fn writer(&self) -> Option<&impl Write> {
        Some(self)
    }

    fn folders(&self) -> Option<&impl Folders> {
        Some(self)
    }
}

impl Write for SqliteStore {
    async fn begin(&self, _: Option<u64>) -> Result<Upload> {
        let connection = self.lock();
        connection.execute("INSERT INTO body DEFAULT VALUES", []).map_err(failed)?;
        let body = connection.last_insert_rowid();
        Ok(Upload::new(Incoming { store: self.clone(), body, size: 0, tail: BytesMut::new(), spent: false }))
    }

    async fn store_flags(
        &self,
        place: &MailboxRef,
        uids: &UidSet,
        change: &FlagChange,
    ) -> Result<FlagsStored> {
        self.change(|transaction| {
            let id = selected(transaction, place)?;
            let (mut messages, mut modified, mut modseq) = (Vec::new(), UidSet::new(), None);
            for message in snapshot(transaction, id)?.among(uids) {
                if change.unchanged_since.is_some_and(|limit| message.modseq > limit) {
                    modified.insert(message.uid);
                    continue;
                }
                let flags = change.apply(&message.flags);
                let mut known = message.modseq;
                if flags != message.flags {
                    known = match modseq {
                        Some(modseq) => modseq,
                        None => *modseq.insert(next_modseq(transaction, id)?),
                    };
                    let update = "UPDATE message SET flags = ?, modseq = ? WHERE mailbox = ? AND uid = ?";
                    let values = params![flags.to_string(), known.get(), id, message.uid.get()];
                    transaction
                        .prepare_cached(update)
                        .and_then(|mut update| update.execute(values))
                        .map_err(failed)?;
                }
                messages.push((message.uid, flags, known));
            }
            Ok(FlagsStored::new(messages, modified))
        })
    }

    async fn expunge(&self, place: &MailboxRef, which: &Expunge) -> Result<Expunged> {
        self.change(|transaction| {
            let id = selected(transaction, place)?;
            let snapshot = snapshot(transaction, id)?;
            let deleted = |message: &&Message| message.flags.contains(&Flag::Deleted);
            let uids: UidSet = match which {
                Expunge::Deleted => snapshot.messages().filter(deleted).map(|message| message.uid).collect(),
                Expunge::DeletedAmong(uids) => {
                    snapshot.among(uids).filter(deleted).map(|message| message.uid).collect()
                }
                Expunge::Exactly(uids) => snapshot.among(uids).map(|message| message.uid).collect(),
                _ => return Err(StoreError::Invalid("expected a kind of expunge that is known here".into())),
            };
            let modseq = remove(transaction, id, &uids)?;
            Ok(Expunged::new(uids, modseq))
        })
    }

    async fn copy(&self, place: &MailboxRef, uids: &UidSet, target: &MailboxName) -> Result<Copied> {
        self.change(|transaction| copy(transaction, place, uids, target))
    }

    async fn move_to(&self, place: &MailboxRef, uids: &UidSet, target: &MailboxName) -> Result<Copied> {
        self.change(|transaction| {
            let mut copied = copy(transaction, place, uids, target)?;
            copied.highest_modseq = remove(transaction, selected(transaction, place)?, &copied.source)?;
            Ok(copied)
        })
    }
}

fn copy(
    transaction: &Transaction<'_>,
    place: &MailboxRef,
    uids: &UidSet,
    target: &MailboxName,
) -> Result<Copied> {
    let (from, to) = (selected(transaction, place)?, mailbox(transaction, place.user(), target)?);
    let (mut source, mut copies) = (UidSet::new(), UidSet::new());
    for message in snapshot(transaction, from)?.among(uids) {
        let body = "SELECT body FROM message WHERE mailbox = ? AND uid = ?";
        let body =
            transaction.query_row(body, [from, message.uid.get()], |row| row.get(0)).map_err(failed)?;
        source.insert(message.uid);
        copies.insert(add(transaction, to, message, body)?);
    }
    let highest = snapshot(transaction, from)?.highest_modseq();
    Ok(Copied::new(corrupt(UidValidity::new(to), "a UIDVALIDITY")?, source, copies, highest))
}

/// A message on its way in: rows of a body that no message has yet.
struct Incoming {
    store: SqliteStore,
    body: i64,
    size: u64,
    tail: BytesMut,
    /// Whether it is committed.
    spent: bool,
}

impl Incoming {
    fn put(&self, transaction: &Connection, octets: &[u8]) -> Result<()> {
        let insert = "INSERT INTO chunk (body, start, octets) VALUES (?, ?, ?)";
        let values = params![self.body, self.size, octets];
        transaction.prepare_cached(insert).and_then(|mut insert| insert.execute(values)).map_err(failed)?;
        Ok(())
    }

    fn unspent(&self) -> Result<()> {
        if self.spent {
            Err(StoreError::Invalid("expected an upload that is not committed yet".into()))
        } else {
            Ok(())
        }
    }
}

impl Sink for Incoming {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.unspent()?;
        self.tail.extend_from_slice(&chunk);
        while self.tail.len() >= CHUNK {
            let (octets, store) = (self.tail.split_to(CHUNK), self.store.clone());
            self.put(&store.lock(), &octets)?;
            self.size += octets.len() as u64;
        }
        Ok(())
    }

    async fn commit(&mut self, targets: &[Target]) -> Result<Vec<Appended>, CommitError> {
        self.unspent()?;
        let (store, tail) = (self.store.clone(), self.tail.clone());
        let size = self.size + tail.len() as u64;
        let appended = store.change(|transaction| {
            if !tail.is_empty() {
                self.put(transaction, &tail)?;
            }
            let mut appended = Vec::new();
            for (index, target) in targets.iter().enumerate() {
                let place = || {
                    let id = mailbox(transaction, &target.user, &target.mailbox)?;
                    let mut message = Message::new(Uid::MIN, size, target.internal_date);
                    message.flags.clone_from(&target.flags);
                    let uid = add(transaction, id, &message, self.body)?;
                    Ok(Appended::new(corrupt(UidValidity::new(id), "a UIDVALIDITY")?, uid))
                };
                appended.push(place().map_err(|error| CommitError::of_target(index, error))?);
            }
            Ok::<_, CommitError>(appended)
        })?;
        self.spent = !appended.is_empty();
        Ok(appended)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.spent {
            // What fails here is removed when the file is opened the next time.
            let _ = self.store.lock().execute("DELETE FROM body WHERE id = ?", [self.body]);
        }
    }
}
