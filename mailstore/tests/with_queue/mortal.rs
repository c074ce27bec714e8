//! A store of a process that dies at a chosen moment.
#![allow(unreachable_pub, reason = "a module of a test program")]

use std::future::Future;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use mailwright_mail_model::{MailboxName, UidSet};
use mailwright_mailstore::memory::Memory;
use mailwright_mailstore::{
    Appended, Batch, CommitError, Committed, Copied, Due, Expunge, Expunged, FlagChange, FlagsStored,
    Mailbox, MailboxRef, MessageRef, QueueEntry, QueueNews, QueueNumber, Quota, Result, Scheduled,
    Settlement, Sink, Snapshot, Spool, Store, StoreError, Target, Upload, User, Write,
};

/// How much longer the process lives: so many acts that last. The last of them is done or not done, and is not answered.
#[derive(Clone)]
pub struct Life(Arc<Mutex<(usize, End)>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    BeforeIt,
    BehindIt,
    /// It never ends.
    Hangs,
    /// It is done and told to have failed, and the process lives on.
    Unheard,
}

impl Life {
    pub fn of(acts: usize, end: End) -> Self {
        Self(Arc::new(Mutex::new((acts, end))))
    }

    pub fn eternal() -> Self {
        Self::of(usize::MAX, End::BeforeIt)
    }

    async fn act<T, E: From<StoreError>>(&self, act: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let dead = || Err(StoreError::Unavailable("the process is dead".into()).into());
        let (left, end) = {
            let mut life = self.0.lock().unwrap();
            let now = *life;
            life.0 = now.0.saturating_sub(1);
            now
        };
        match (left, end) {
            (0, _) | (1, End::BeforeIt) => dead(),
            (1, End::BehindIt) => {
                let _unheard = act.await;
                dead()
            }
            (1, End::Hangs) => std::future::pending().await,
            (1, End::Unheard) => {
                *self.0.lock().unwrap() = (usize::MAX, End::BeforeIt);
                let _unheard = act.await;
                dead()
            }
            _ => act.await,
        }
    }
}

/// A store in memory, of a process that dies.
#[derive(Clone)]
pub struct Mortal {
    pub memory: Memory,
    pub life: Life,
    pub reads_back: bool,
}

impl Store for Mortal {
    async fn mailboxes(&self, user: &User) -> Result<Vec<Mailbox>> {
        self.memory.mailboxes(user).await
    }

    async fn open(&self, user: &User, name: &MailboxName) -> Result<Arc<Snapshot>> {
        self.memory.open(user, name).await
    }

    async fn read(&self, message: &MessageRef, range: Range<u64>) -> Result<Bytes> {
        self.memory.read(message, range).await
    }

    fn writer(&self) -> Option<&impl Write> {
        Some(self)
    }

    fn spool(&self) -> Option<&impl Spool> {
        Some(self)
    }

    fn quota(&self) -> Option<&impl Quota> {
        self.memory.quota()
    }
}

impl Write for Mortal {
    async fn begin(&self, size: Option<u64>) -> Result<Upload> {
        let upload = self.memory.begin(size).await?;
        Ok(Upload::new(Dying { upload, life: self.life.clone(), reads_back: self.reads_back }))
    }

    async fn store_flags(&self, _: &MailboxRef, _: &UidSet, _: &FlagChange) -> Result<FlagsStored> {
        Err(StoreError::Invalid("not tested".into()))
    }

    async fn expunge(&self, _: &MailboxRef, _: &Expunge) -> Result<Expunged> {
        Err(StoreError::Invalid("not tested".into()))
    }

    async fn copy(&self, _: &MailboxRef, _: &UidSet, _: &MailboxName) -> Result<Copied> {
        Err(StoreError::Invalid("not tested".into()))
    }

    async fn move_to(&self, _: &MailboxRef, _: &UidSet, _: &MailboxName) -> Result<Copied> {
        Err(StoreError::Invalid("not tested".into()))
    }
}

struct Dying {
    upload: Upload,
    life: Life,
    reads_back: bool,
}

impl Sink for Dying {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.upload.write(chunk).await
    }

    async fn read(&mut self, range: Range<u64>) -> Result<Bytes> {
        if self.reads_back {
            return self.upload.read(range).await;
        }
        Err(StoreError::Invalid("expected a store that gives back what it has not committed".into()))
    }

    async fn commit(&mut self, targets: &[Target]) -> Result<Vec<Appended>, CommitError> {
        self.commit_batch(&Batch::to(targets)).await.map(|committed| committed.appended)
    }

    async fn commit_batch(&mut self, batch: &Batch) -> Result<Committed, CommitError> {
        self.life.act(self.upload.commit_batch(batch)).await
    }
}

impl Spool for Mortal {
    async fn due(&self, until: u64, after: Option<Due>, limit: usize) -> Result<Vec<Scheduled>> {
        self.memory.due(until, after, limit).await
    }

    async fn next_due(&self, after: u64) -> Result<Option<u64>> {
        self.memory.next_due(after).await
    }

    async fn entries(&self, after: Option<QueueNumber>, limit: usize) -> Result<Vec<QueueEntry>> {
        self.memory.entries(after, limit).await
    }

    async fn entry(&self, number: QueueNumber) -> Result<Option<QueueEntry>> {
        self.memory.entry(number).await
    }

    async fn octets(&self, entry: &QueueEntry, range: Range<u64>) -> Result<Bytes> {
        self.memory.octets(entry, range).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<()> {
        self.life.act(self.memory.settle(settlements)).await
    }

    async fn added(&self, seen: u64) -> u64 {
        self.memory.added(seen).await
    }

    fn news(&self, mark: u64) -> (u64, QueueNews) {
        self.memory.news(mark)
    }
}
