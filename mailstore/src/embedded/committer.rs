//! The one thread that changes the database: what many callers want at a time becomes one batch and one flush.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fjall::{Keyspace, OwnedWriteBatch, PersistMode};

use super::Core;
use super::account::Account;
use super::database::failed;
use super::promise::promise;
use super::staged::Staged;
use crate::{FeedEvent, QueueEntry, QueueNumber, Result, StoreError};

/// How many octets, and how many operations, a group takes in at most.
const GROUP_OCTETS: usize = 16 << 20;
const GROUP_OPERATIONS: usize = 4_096;

/// Where to send operations.
pub(super) struct Committer {
    /// `None` once the store closes.
    queue: Option<Sender<Operation>>,
    thread: Option<JoinHandle<()>>,
}

/// Something to do to the database. Stages its rows in the group or, if it cannot be done, none.
type Operation = Box<dyn FnOnce(&mut Group<'_>) + Send>;

impl Committer {
    pub(super) fn start(core: Arc<Core>) -> Result<Self> {
        let (queue, operations) = channel();
        let thread = thread::Builder::new()
            .name("mailstore".into())
            .spawn(move || run(&core, &operations))
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Does something to the database. Returns after it is durable and has been published, or with its error.
    pub(super) async fn submit<T, E>(
        &self,
        operation: impl FnOnce(&mut Group<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (promise, promised) = promise();
        let sent = self.post(move |group| {
            let ready = group.core.writable().and_then(|()| group.core.room_for_changes());
            match ready.map_err(E::from).and_then(|()| operation(group)) {
                Err(error) => promise.keep(Err(error)),
                Ok(value) => group.replies.push(Box::new(move |outcome| {
                    promise.keep(outcome.map(|()| value).map_err(E::from));
                })),
            }
        });
        let closing = || StoreError::Unavailable("the store is closing".into());
        if !sent {
            return Err(closing().into());
        }
        promised.await.unwrap_or_else(|| Err(closing().into()))
    }

    /// Does something to the database some time, whatever comes of it.
    pub(super) fn post(&self, operation: impl FnOnce(&mut Group<'_>) + Send + 'static) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.send(Box::new(operation)).is_ok())
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        // The thread ends when the queue does, after what is in it.
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What is about to be committed together.
pub(super) struct Group<'a> {
    pub(super) core: &'a Core,
    batch: OwnedWriteBatch,
    octets: usize,
    /// Whether somebody was promised that it lasts.
    durable: bool,
    pub(super) mailboxes: HashMap<Box<[u8]>, Staged>,
    /// Mailboxes that were deleted before others took their names.
    pub(super) replaced: Vec<(Box<[u8]>, Staged)>,
    /// Reference counts of bodies that this group changes.
    pub(super) references: HashMap<u64, u32>,
    /// Table rows that this group changes.
    pub(super) tables: HashMap<Vec<u8>, Option<Bytes>>,
    /// Entries of the queue that this group changes.
    pub(super) queue: HashMap<QueueNumber, Option<QueueEntry>>,
    /// Whether an entry was added to the queue, released or made due.
    pub(super) queue_added: bool,
    /// What users have, as this group leaves it so far.
    pub(super) accounts: HashMap<Box<[u8]>, Account>,
    /// Threads that this group begins or continues.
    pub(super) threads: HashMap<[u8; 16], u64>,
    /// Origins that this group adds.
    pub(super) origins: HashMap<Vec<u8>, Bytes>,
    /// Whether this group warns of a quota.
    pub(super) warned: bool,
    /// Rows of details that this group changes.
    pub(super) details: HashMap<Vec<u8>, Option<Bytes>>,
    /// What to tell whoever follows a user's feed, beside what `mailboxes` tells.
    pub(super) events: Vec<(Box<[u8]>, FeedEvent)>,
    replies: Vec<Reply>,
}

type Reply = Box<dyn FnOnce(Result<()>) + Send>;

impl<'a> Group<'a> {
    fn new(core: &'a Core) -> Self {
        Self {
            core,
            batch: core.database.handle.batch(),
            octets: 0,
            durable: false,
            mailboxes: HashMap::new(),
            replaced: Vec::new(),
            references: HashMap::new(),
            tables: HashMap::new(),
            queue: HashMap::new(),
            queue_added: false,
            accounts: HashMap::new(),
            threads: HashMap::new(),
            origins: HashMap::new(),
            warned: false,
            details: HashMap::new(),
            events: Vec::new(),
            replies: Vec::new(),
        }
    }

    /// Stages a row that must last.
    pub(super) fn put(&mut self, keyspace: &Keyspace, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.durable = true;
        self.put_lazily(keyspace, key, value);
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

    /// Writes it all, then tells everybody.
    fn commit(mut self) -> Result<()> {
        self.stage_headers();
        self.stage_accounts();
        let mode = self.durable.then_some(PersistMode::SyncData);
        let batch = std::mem::replace(&mut self.batch, self.core.database.handle.batch());
        let outcome = batch.durability(mode).commit().map_err(failed);
        match &outcome {
            Ok(()) => {
                self.publish();
                if self.queue_added {
                    self.core.queued.raise();
                }
            }
            // Whatever the kind of failure, nobody knows what the disk holds now.
            Err(error) => self.core.fail(error),
        }
        for reply in self.replies {
            reply(outcome.clone());
        }
        outcome
    }
}

fn run(core: &Core, operations: &Receiver<Operation>) {
    let mut collect_at = Instant::now();
    loop {
        let wait = collect_at.saturating_duration_since(Instant::now());
        match operations.recv_timeout(wait) {
            Ok(first) => {
                let mut group = Group::new(core);
                first(&mut group);
                for operation in operations.try_iter().take(GROUP_OPERATIONS) {
                    operation(&mut group);
                    if group.octets > GROUP_OCTETS {
                        break;
                    }
                }
                // A failure has been told to everybody in the group, and stays in `core`.
                let _ = group.commit();
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if core.live.is_full(core.options.snapshots) {
            core.live.evict(core.options.snapshots);
        }
        if Instant::now() >= collect_at {
            let mut group = Group::new(core);
            let more = group.collect().is_ok_and(|more| more) && group.commit().is_ok();
            collect_at = Instant::now() + if more { COLLECT_MORE } else { COLLECT };
        }
    }
}

/// How often to look for bodies nobody needs, and how soon again if there were many.
const COLLECT: Duration = Duration::from_secs(15);
const COLLECT_MORE: Duration = Duration::from_millis(20);

/// The first failure to write, after which nothing is written any more.
#[derive(Default)]
pub(super) struct Failure(OnceLock<String>);

impl Failure {
    pub(super) fn text(&self) -> Option<String> {
        self.0.get().cloned()
    }
}

impl Core {
    pub(super) fn fail(&self, error: &StoreError) {
        let _ = self.failure.0.set(error.to_string());
    }

    /// Whether writes are possible still.
    pub(super) fn writable(&self) -> Result<()> {
        self.failure.0.get().map_or(Ok(()), |text| Err(StoreError::ReadOnly(text.clone())))
    }
}
