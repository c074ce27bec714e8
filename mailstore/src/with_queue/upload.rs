//! A message on its way into mailboxes, and perhaps into the queue.

use std::ops::Range;

use bytes::Bytes;
use mailwright_mail_model::UidSet;

use super::SharedQueue;
use crate::{
    Appended, Batch, CommitError, Committed, Joined, MailboxRef, QueueNumber, Result, Sink, Spool, Store,
    StoreError, Summary, Target, Upload, Write,
};

/// How much is read back at a time, in octets.
const PIECE: u64 = 256 << 10;

pub(super) struct Incoming<Q> {
    pub(super) queue: SharedQueue<Q>,
    pub(super) mail: Upload,
    /// The same message on its way into the queue. From a store that reads back it is made when it is needed.
    along: Option<Upload>,
    reads_back: bool,
    size: u64,
    /// Whether there are earlier messages, or some that are replaced: the mailboxes' affair.
    pub(super) earlier: bool,
    pub(super) state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// The queue has a part of the message, or none.
    Broken,
    Committed,
}

impl<Q: Store> Incoming<Q> {
    pub(super) async fn begin(queue: SharedQueue<Q>, mut mail: Upload, size: Option<u64>) -> Result<Self> {
        let reads_back = mail.read(0..0).await.is_ok();
        let along = if reads_back { None } else { Some(queue.writer()?.begin(size).await?) };
        let (earlier, state) = (false, State::Open);
        Ok(Self { queue, mail, along, reads_back, size: 0, earlier, state })
    }

    pub(super) fn check(&self) -> Result<()> {
        match self.state {
            State::Open => Ok(()),
            State::Broken => {
                Err(StoreError::Unavailable("an earlier part of the message was not stored".into()))
            }
            State::Committed => {
                Err(StoreError::Invalid("expected an upload that is not committed yet".into()))
            }
        }
    }

    /// Puts the message into the queue, and does there what is said.
    pub(super) async fn enqueue(&mut self, batch: &Batch) -> Result<Vec<QueueNumber>> {
        let mut upload = match self.along.take() {
            Some(along) => along,
            None => self.copy().await?,
        };
        match upload.commit_batch(batch).await {
            Ok(committed) => Ok(committed.queued),
            Err(failed) => {
                self.along = Some(upload);
                Err(failed.error)
            }
        }
    }

    /// The message as the mailboxes have it, for the queue.
    async fn copy(&mut self) -> Result<Upload> {
        let mut upload = self.queue.writer()?.begin(Some(self.size)).await?;
        let mut place = 0;
        while place < self.size {
            let piece = self.mail.read(place..self.size.min(place + PIECE)).await?;
            place += read(&piece)?;
            upload.write(piece).await?;
        }
        Ok(upload)
    }

    /// The message is about to be taken out of the queue again. Where it cannot be read back from the mailboxes, another attempt
    /// needs it from there.
    pub(super) async fn recover(&mut self, number: QueueNumber) {
        if self.reads_back {
            return;
        }
        match copy_of(&self.queue, number).await {
            Ok(along) => self.along = Some(along),
            Err(_) => self.state = State::Broken,
        }
    }
}

/// The message as the queue has it.
async fn copy_of<Q: Store>(queue: &SharedQueue<Q>, number: QueueNumber) -> Result<Upload> {
    let spool = queue.inner()?;
    let entry = spool.entry(number).await?.ok_or(StoreError::NotFound)?;
    let mut upload = queue.writer()?.begin(Some(entry.size)).await?;
    let mut place = 0;
    while place < entry.size {
        let piece = spool.octets(&entry, place..entry.size.min(place + PIECE)).await?;
        place += read(&piece)?;
        upload.write(piece).await?;
    }
    Ok(upload)
}

/// How much was read: something, where something is left.
fn read(piece: &Bytes) -> Result<u64> {
    if piece.is_empty() {
        return Err(StoreError::Corrupt("a message that is being stored".into()));
    }
    Ok(piece.len() as u64)
}

impl<Q: Store + 'static> Sink for Incoming<Q> {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.check()?;
        self.size += chunk.len() as u64;
        if let Some(along) = &mut self.along {
            // A dropped future leaves the upload broken: one of both may have what the other has not.
            self.state = State::Broken;
            along.write(chunk.clone()).await?;
            self.mail.write(chunk).await?;
            self.state = State::Open;
            return Ok(());
        }
        self.mail.write(chunk).await
    }

    async fn read(&mut self, range: Range<u64>) -> Result<Bytes> {
        self.check()?;
        self.mail.read(range).await
    }

    async fn commit(&mut self, targets: &[Target]) -> Result<Vec<Appended>, CommitError> {
        self.commit_batch(&Batch::to(targets)).await.map(|committed| committed.appended)
    }

    async fn commit_batch(&mut self, batch: &Batch) -> Result<Committed, CommitError> {
        self.commit_joined(batch, Vec::new()).await
    }

    async fn commit_joined(
        &mut self,
        batch: &Batch,
        joined: Vec<Joined<'_>>,
    ) -> Result<Committed, CommitError> {
        self.commit_together(batch, joined).await
    }

    async fn set_aside(&mut self) -> Result<()> {
        self.check()?;
        if let Some(along) = &mut self.along {
            along.set_aside().await?;
        }
        self.mail.set_aside().await
    }

    fn summarize(&mut self, summary: Summary) {
        self.mail.summarize(summary);
    }

    fn relate(&mut self, ids: Vec<Bytes>) {
        self.mail.relate(ids);
    }

    async fn next(&mut self, targets: &[Target]) -> Result<()> {
        self.check()?;
        self.mail.next(targets).await?;
        self.earlier = true;
        self.size = 0;
        self.along = None;
        if !self.reads_back {
            self.state = State::Broken;
            self.along = Some(self.queue.writer()?.begin(None).await?);
            self.state = State::Open;
        }
        Ok(())
    }

    fn replace(&mut self, mailbox: &MailboxRef, uids: &UidSet) -> Result<()> {
        self.check()?;
        self.mail.replace(mailbox, uids)?;
        self.earlier = true;
        Ok(())
    }
}
