//! The one place where the database is changed: what many callers want at a time becomes one batch and one flush.
//!
//! A thread does it. A single caller may do it in its place, which takes the writer for as long as that takes; what others want
//! meanwhile waits for the thread, as it waits for a flush.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use fjall::{Keyspace, OwnedWriteBatch, PersistMode};

use super::account::Account;
use super::opening::Opening;
use super::options::InPlace;
use super::promise::{Promised, promise};
use super::staged::Staged;
use super::{Core, Lasting, journal};
use crate::{Due, FeedEvent, QueueEntry, QueueNumber, Result, StoreError};

mod desk;
mod writer;

use desk::Desk;
use writer::Writer;

/// Where to send operations.
pub(super) struct Committer {
    desk: Arc<Desk>,
    in_place: Option<InPlace>,
    thread: Option<JoinHandle<()>>,
}

/// Something to do to the database. Stages its rows in the group or, if it cannot be done, none. Without a database there is
/// the reason.
type Operation = Box<dyn FnOnce(Result<&mut Group<'_>>) + Send>;

impl Committer {
    pub(super) fn start(opening: Arc<Opening>, lasting: Arc<Lasting>) -> Result<Self> {
        let in_place = lasting.options.in_place;
        let writer = Writer::new(opening, lasting)?;
        let desk = Arc::new(Desk::new(writer));
        let working = Arc::clone(&desk);
        let thread = thread::Builder::new()
            .name("mailstore".into())
            .spawn(move || working.run())
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Self { desk, in_place, thread: Some(thread) })
    }

    /// Does something to the database. Returns after it is durable and has been published, or with its error.
    ///
    /// Where nobody else has anything done, it is done on the thread that asks, if there is a way: to wake another thread and to be
    /// woken by it takes as long as all the rest but the flush.
    pub(super) async fn submit<T, E>(
        &self,
        operation: impl FnOnce(&mut Group<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (operation, promised) = promising(operation);
        let mut operation = Some(operation);
        if let Some(in_place) = self.in_place.filter(|_| self.desk.is_quiet()) {
            // Others may have been faster, or this thread is none that may wait: then the operation is still there.
            in_place(&mut || self.desk.lead(&mut operation));
        }
        let sent = operation.is_none_or(|operation| self.desk.send(operation));
        let closing = || StoreError::Unavailable("the store is closing".into());
        if !sent {
            return Err(closing().into());
        }
        promised.await.unwrap_or_else(|| Err(closing().into()))
    }

    /// Whether the next change may be made in place, and the thread has nothing of its own to do.
    #[cfg(test)]
    pub(super) fn is_settled(&self) -> bool {
        self.desk.is_settled()
    }

    /// Does something to the database some time, whatever comes of it.
    pub(super) fn post(&self, operation: impl FnOnce(&mut Group<'_>) + Send + 'static) -> bool {
        self.desk.send(Box::new(move |group| {
            // Without a database: as if it had been lost in a crash.
            let _ = group.map(operation);
        }))
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        // The thread ends after what is waiting.
        self.desk.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What is done of an operation, and what comes of it.
fn promising<T, E>(
    operation: impl FnOnce(&mut Group<'_>) -> Result<T, E> + Send + 'static,
) -> (Operation, Promised<Result<T, E>>)
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    let (promise, promised) = promise();
    let operation = Box::new(move |group: Result<&mut Group<'_>>| {
        let ready = group.and_then(|group| {
            group.core.writable()?;
            group.core.room_for_changes()?;
            Ok(group)
        });
        let group = match ready {
            Ok(group) => group,
            Err(error) => return promise.keep(Err(error.into())),
        };
        match operation(group) {
            // What others of this group did is why it cannot be done: whoever is told so must find it.
            Err(error) if !group.replies.is_empty() => group.replies.push(Box::new(move |outcome| {
                promise.keep(outcome.map_err(E::from).and(Err(error)));
            })),
            Err(error) => promise.keep(Err(error)),
            Ok(value) => group.replies.push(Box::new(move |outcome| {
                promise.keep(outcome.map(|()| value).map_err(E::from));
            })),
        }
    });
    (operation, promised)
}

/// What is about to be committed together. Most groups are small: what they change is found by comparing keys, not by hashing them.
pub(super) struct Group<'a> {
    pub(super) core: &'a Core,
    /// The last group that was flushed.
    flushed: u64,
    batch: OwnedWriteBatch,
    octets: usize,
    /// Whether somebody was promised that it lasts.
    durable: bool,
    pub(super) mailboxes: BTreeMap<Box<[u8]>, Staged>,
    /// Mailboxes that were deleted before others took their names.
    pub(super) replaced: Vec<(Box<[u8]>, Staged)>,
    /// Reference counts of bodies that this group changes.
    pub(super) references: BTreeMap<u64, u32>,
    /// Table rows that this group changes.
    pub(super) tables: BTreeMap<Vec<u8>, Option<Bytes>>,
    /// Entries of the queue that this group changes.
    pub(super) queue: BTreeMap<QueueNumber, Option<QueueEntry>>,
    /// Whether an entry was added to the queue, released or made due.
    pub(super) queue_added: bool,
    /// The first place in the order of the queue that this group writes.
    pub(super) queue_written: Option<Due>,
    /// What users have, as this group leaves it so far.
    pub(super) accounts: BTreeMap<Box<[u8]>, Account>,
    /// Threads that this group begins or continues.
    pub(super) threads: BTreeMap<Vec<u8>, u64>,
    /// Origins that this group adds.
    pub(super) origins: BTreeMap<Vec<u8>, Bytes>,
    /// Whether this group warns of a quota.
    pub(super) warned: bool,
    /// Rows of details that this group changes.
    pub(super) details: BTreeMap<Vec<u8>, Option<Bytes>>,
    /// What to tell whoever follows a user's feed, beside what `mailboxes` tells.
    pub(super) events: Vec<(Box<[u8]>, FeedEvent)>,
    replies: Vec<Reply>,
}

type Reply = Box<dyn FnOnce(Result<()>) + Send>;

impl<'a> Group<'a> {
    fn new(core: &'a Core, flushed: u64) -> Self {
        Self {
            core,
            flushed,
            batch: core.database.handle.batch(),
            octets: 0,
            durable: false,
            mailboxes: BTreeMap::new(),
            replaced: Vec::new(),
            references: BTreeMap::new(),
            tables: BTreeMap::new(),
            queue: BTreeMap::new(),
            queue_added: false,
            queue_written: None,
            accounts: BTreeMap::new(),
            threads: BTreeMap::new(),
            origins: BTreeMap::new(),
            warned: false,
            details: BTreeMap::new(),
            events: Vec::new(),
            replies: Vec::new(),
        }
    }

    /// Stages a row that must last.
    pub(super) fn put(&mut self, keyspace: &Keyspace, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.durable = true;
        self.put_lazily(keyspace, key, value);
    }

    /// Has all that is staged on disk before anybody is told.
    pub(super) const fn must_last(&mut self) {
        self.durable = true;
    }

    /// Stages a row that may be lost.
    pub(super) fn put_lazily(&mut self, keyspace: &Keyspace, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        let (key, value) = (key.into(), value.into());
        self.octets += key.len() + value.len();
        self.batch.insert(keyspace, key, value);
    }

    /// Stages the removal of a row, which must last.
    pub(super) fn delete(&mut self, keyspace: &Keyspace, key: impl Into<Bytes>) {
        self.durable = true;
        self.delete_lazily(keyspace, key);
    }

    /// Stages the removal of a row, which may be lost.
    pub(super) fn delete_lazily(&mut self, keyspace: &Keyspace, key: impl Into<Bytes>) {
        let key = key.into();
        self.octets += key.len();
        self.batch.remove(keyspace, key);
    }

    /// Writes it all as the group of this number, then tells everybody.
    fn commit(mut self, number: u64) -> Outcome {
        self.stage_headers();
        self.stage_accounts();
        let mode = self.durable.then_some(PersistMode::SyncData);
        let mut batch = std::mem::replace(&mut self.batch, self.core.database.handle.batch());
        let mut outcome = Ok(());
        let written = self.durable || !batch.is_empty();
        if written {
            let row = journal::group_row(number, self.flushed);
            batch.insert(&self.core.database.meta, journal::GROUP, row);
            let committed = self.core.database.commit(batch.durability(mode), self.octets);
            outcome = committed.map_err(|error| self.core.fail(&error));
        }
        if outcome.is_ok() {
            self.publish();
            // Before anybody is woken by it.
            if let Some(first) = self.queue_written {
                self.core.written.note(first);
            }
            if self.queue_added {
                self.core.queued.raise();
            }
        }
        for reply in self.replies {
            reply(outcome.clone());
        }
        match (outcome, written) {
            (Err(_), _) => Outcome::Failed,
            (Ok(()), false) => Outcome::Nothing,
            (Ok(()), true) if mode.is_some() => Outcome::Flushed,
            (Ok(()), true) => Outcome::Written,
        }
    }
}

/// What became of a group.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Nothing,
    Written,
    Flushed,
    Failed,
}
