//! A message on its way in: small ones wait in memory for their commit, large ones are written as they come.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mailwright_mail_model::UidSet;

use super::append::Arrival;
use super::body::{CHUNK, CHUNK_HEAD, USUAL, empty_chunk, key};
use super::chunk::Packing;
use super::sealed::Reader;
use super::{Core, Shared};
use crate::vault::BodyKey;
use crate::{
    Appended, Batch, CommitError, Committed, Joined, MailboxRef, ObjectId, Offload, Result, Sink, StoreError,
    Summary, Target,
};

mod complete;
mod together;

/// At most one chunk of the message is in memory, beside what the caller has in hand.
pub(super) struct Incoming<O> {
    shared: Arc<Shared>,
    offload: O,
    body: u64,
    size: u64,
    /// The chunk being filled, and how many have been written before it.
    chunk: BytesMut,
    spilled: u32,
    /// In which epoch of the database they were.
    epoch: Option<u32>,
    /// What the chunks are sealed with that are written before anybody knows for whom they are, where anybody has a lock.
    seal: Option<BodyKey>,
    summary: Option<Summary>,
    ids: Vec<Bytes>,
    /// The messages before this one, and what all of them replace.
    earlier: Arrival,
    /// How many octets of `earlier` are in memory, and how many targets it has.
    held: usize,
    placed: usize,
    /// Bodies with the same octets as others of this upload, sealed for those who have locks: of earlier messages, and of this one.
    twins: Vec<u64>,
    twin: Option<u64>,
    /// Bodies of which only such a twin is wanted.
    orphans: Vec<u64>,
    orphan: Option<u64>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// A chunk could not be written, so the message has a hole.
    Broken,
    Committed,
}

impl<O: Offload + Clone> Incoming<O> {
    /// `size` is how many octets are expected, if that is known.
    pub(super) fn begin(shared: Arc<Shared>, offload: O, size: Option<u64>) -> Result<Self> {
        let body = shared.core()?.identity()?;
        let seal = shared.seal()?;
        // Whoever announces much and sends little holds no more than this for it.
        let room = size.and_then(|size| usize::try_from(size).ok()).unwrap_or(USUAL).min(ANNOUNCED);
        let (chunk, state) = (empty_chunk(room), State::Open);
        let (summary, ids, earlier) = (None, Vec::new(), Arrival::default());
        Ok(Self {
            shared,
            offload,
            body,
            size: 0,
            chunk,
            spilled: 0,
            epoch: None,
            seal,
            summary,
            ids,
            earlier,
            held: 0,
            placed: 0,
            twins: Vec::new(),
            twin: None,
            orphans: Vec::new(),
            orphan: None,
            state,
        })
    }

    /// Writes the full chunk.
    async fn spill(&mut self) -> Result<()> {
        let (body, number) = (self.body, self.spilled);
        let chunk = std::mem::replace(&mut self.chunk, BytesMut::new());
        // A dropped future leaves the upload broken: nobody knows whether the chunk was written.
        let before = std::mem::replace(&mut self.state, State::Broken);
        let limit = u64::from(u32::MAX) * CHUNK as u64;
        self.spilled = number.checked_add(1).ok_or(StoreError::TooLarge { limit })?;
        let (shared, epoch, seal) = (Arc::clone(&self.shared), self.epoch, self.seal.clone());
        let spilled =
            self.offload.run(move || shared.core()?.spill(body, number, chunk, epoch, seal.as_ref()));
        self.epoch = Some(spilled.await?);
        self.state = before;
        self.chunk = BytesMut::with_capacity(CHUNK + CHUNK_HEAD);
        self.chunk.extend_from_slice(&[0; CHUNK_HEAD]);
        Ok(())
    }

    fn check(&self) -> Result<()> {
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
}

/// The most room that is made for a message before it comes.
const ANNOUNCED: usize = 64 * 1024;

/// How long, and how often, to wait for the disk after a chunk of a large message.
const MOMENT: Duration = Duration::from_millis(1);
const PATIENCE: u32 = 2_000;

impl Core {
    /// Writes a chunk that nothing refers to yet. It need not last before the commit does, which comes later in
    /// the same log; the note that it exists goes with the first one, so it can be found if there is no commit.
    pub(super) fn spill(
        &self,
        body: u64,
        number: u32,
        mut chunk: BytesMut,
        epoch: Option<u32>,
        seal: Option<&BodyKey>,
    ) -> Result<u32> {
        self.writable()?;
        if !self.has(epoch) {
            return Err(StoreError::Unavailable("an earlier part of the message was not stored".into()));
        }
        let packing = Packing::new(&self.options);
        let chunk = match seal {
            Some(seal) => packing.seal(body, number, &chunk, seal)?,
            None => packing.pack(body, number, &mut chunk).unwrap_or_else(|| chunk.freeze()),
        };
        self.room(chunk.len() as u64)?;
        let (mut batch, octets) = (self.database.handle.batch(), chunk.len());
        if number == 0 {
            batch.insert(&self.database.uploads, body.to_be_bytes(), Bytes::new());
        }
        batch.insert(&self.database.bodies, key(body, number), chunk);
        self.database.commit(batch, octets).map_err(|error| self.fail(&error))?;
        self.let_the_disk_catch_up();
        Ok(self.database.epoch)
    }

    /// Whether the chunks written in this epoch are there still: if the database was opened anew since, nobody knows.
    pub(super) fn has(&self, epoch: Option<u32>) -> bool {
        epoch.is_none_or(|epoch| epoch == self.database.epoch)
    }

    /// What the database cannot write out as fast as it comes, it keeps in memory, and when that gets too much it makes every
    /// writer wait. A large message waits earlier, so that it neither takes the memory nor holds up small ones.
    fn let_the_disk_catch_up(&self) {
        for _ in 0..PATIENCE {
            if !self.database.has_bodies_to_write() {
                return;
            }
            std::thread::sleep(MOMENT);
        }
    }
}

impl<O: Offload + Clone> Sink for Incoming<O> {
    async fn write(&mut self, mut octets: Bytes) -> Result<()> {
        self.check()?;
        if !self.size.is_multiple_of(CHUNK as u64) && self.chunk.len() == CHUNK_HEAD {
            return Err(StoreError::Invalid("expected an upload that was not set aside".into()));
        }
        while !octets.is_empty() {
            let room = (CHUNK + CHUNK_HEAD).saturating_sub(self.chunk.len());
            let part = octets.split_to(room.min(octets.len()));
            self.chunk.extend_from_slice(&part);
            self.size += part.len() as u64;
            if self.chunk.len() == CHUNK + CHUNK_HEAD {
                self.spill().await?;
            }
        }
        Ok(())
    }

    async fn read(&mut self, range: Range<u64>) -> Result<Bytes> {
        self.check()?;
        let end = range.end.min(self.size);
        if range.start >= end {
            return Ok(Bytes::new());
        }
        let before = u64::from(self.spilled) * CHUNK as u64;
        if let Some(start) = range.start.checked_sub(before) {
            let index = |place: u64| usize::try_from(place).map_or(usize::MAX, |place| place + CHUNK_HEAD);
            let found = self.chunk.get(index(start)..index(end - before));
            return Ok(found.map(Bytes::copy_from_slice).unwrap_or_default());
        }
        let object = Some(ObjectId::from(u128::from(self.body)));
        let (shared, range) = (Arc::clone(&self.shared), range.start..end.min(before));
        let (corrupt, seal) = (corrupt, self.seal.clone());
        self.offload
            .run(move || {
                let maker = Reader::Maker(seal.as_ref());
                shared.core()?.octets(object, range.end, &range, maker, corrupt, || Ok(true))
            })
            .await
    }

    async fn commit(&mut self, targets: &[Target]) -> Result<Vec<Appended>, CommitError> {
        self.commit_batch(&Batch::to(targets)).await.map(|committed| committed.appended)
    }

    async fn commit_batch(&mut self, batch: &Batch) -> Result<Committed, CommitError> {
        self.commit_together(batch, Vec::new()).await
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
        if self.chunk.len() > CHUNK_HEAD { self.spill().await } else { Ok(()) }
    }

    fn summarize(&mut self, summary: Summary) {
        self.summary = Some(summary);
    }

    fn relate(&mut self, ids: Vec<Bytes>) {
        self.ids = ids;
    }

    async fn next(&mut self, targets: &[Target]) -> Result<()> {
        self.check()?;
        if self.placed.max(self.earlier.messages.len()) >= MOST {
            return Err(StoreError::TooMany { limit: MOST as u64 });
        }
        if self.held + self.chunk.len() > HELD && self.chunk.len() > CHUNK_HEAD {
            self.spill().await?;
        }
        let complete = self.complete(targets, &[]).await?;
        self.held +=
            complete.iter().flat_map(|message| &message.tail).map(|(_, tail)| tail.len()).sum::<usize>();
        self.earlier.messages.extend(complete);
        self.placed += targets.len();
        self.twins.extend(self.twin.take());
        self.orphans.extend(self.orphan.take());
        self.body = self.shared.core()?.identity()?;
        self.seal = self.shared.seal()?;
        (self.size, self.spilled, self.epoch, self.chunk) = (0, 0, None, empty_chunk(USUAL));
        (self.summary, self.ids) = (None, Vec::new());
        Ok(())
    }

    fn replace(&mut self, mailbox: &MailboxRef, uids: &UidSet) -> Result<()> {
        self.check()?;
        self.earlier.replaced.push((mailbox.clone(), uids.clone()));
        Ok(())
    }
}

/// How many messages an upload takes, and how many of their octets wait in memory.
const MOST: usize = 10_000;
const HELD: usize = 1 << 20;

fn corrupt() -> StoreError {
    StoreError::Corrupt("a message that is being stored".into())
}

impl<O> Drop for Incoming<O> {
    fn drop(&mut self) {
        let orphans = std::mem::take(&mut self.orphans);
        orphans.into_iter().chain(self.orphan.take()).for_each(|body| self.discard(body));
        if self.state == State::Committed {
            return;
        }
        let twins = std::mem::take(&mut self.twins);
        twins.into_iter().chain(self.twin.take()).for_each(|body| self.discard(body));
        let earlier = self.earlier.messages.iter().filter(|message| message.spilled.is_some());
        let mut written: Vec<u64> = earlier.map(|message| message.body).collect();
        written.extend((self.spilled > 0).then_some(self.body));
        written.into_iter().for_each(|body| self.discard(body));
    }
}
