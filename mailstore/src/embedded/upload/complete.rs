//! The message as it is about to be committed: in the clear for some, sealed for those who have locks.
//!
//! Whoever has no lock has the message in the clear, and so has the queue; whoever has one shares a body with others that have one.
//! Where a message goes to both kinds, its octets are there twice.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::{Incoming, corrupt};
use crate::embedded::append::Complete;
use crate::embedded::body::{CHUNK, CHUNK_HEAD, empty_chunk};
use crate::embedded::chunk::Packing;
use crate::embedded::sealed::{KeyRow, Reader};
use crate::embedded::{Core, Shared};
use crate::vault::{BodyKey, Lock};
use crate::{ObjectId, Offload, QueueEntry, Result, Target, User};

/// The users among the targets who have locks.
type Locks = Vec<(User, Lock)>;

impl Shared {
    /// What a new body is sealed with, if anybody has a lock.
    pub(super) fn seal(&self) -> Result<Option<BodyKey>> {
        self.lasting.sealing.is_on().then(BodyKey::random).transpose()
    }
}

impl<O: Offload + Clone> Incoming<O> {
    /// The message as it is now, in as many bodies as it needs.
    pub(super) async fn complete(
        &mut self,
        targets: &[Target],
        queue: &[QueueEntry],
    ) -> Result<Vec<Complete>> {
        if let Some(twin) = self.twin.take() {
            self.discard(twin);
        }
        self.orphan = None;
        let locks = self.locks(targets).await?;
        let has_lock = |target: &Target| locks.iter().any(|(user, _)| *user == target.user);
        let places = || (self.placed..).zip(targets);
        let closed: Vec<_> = places().filter(|(_, target)| has_lock(target)).collect();
        let open: Vec<_> = places().filter(|(_, target)| !has_lock(target)).collect();
        let in_the_clear = closed.is_empty() || !open.is_empty() || !queue.is_empty();
        let (closed, open) = (sorted(&closed), sorted(&open));
        let mut made = Vec::with_capacity(2);
        if in_the_clear {
            made.push(self.open(open, queue));
        }
        if !locks.is_empty() {
            let sealed = match &self.seal {
                // Nobody else needs the body, so it is all theirs.
                Some(seal) if !in_the_clear => (self.body, seal.clone(), self.epoch),
                _ => {
                    // What was written before anybody had a lock must not stay in the clear.
                    self.orphan = Some(self.body).filter(|_| !in_the_clear && self.spilled > 0);
                    self.copy().await?
                }
            };
            made.push(self.closed(sealed, closed, &locks)?);
        }
        Ok(made)
    }

    async fn locks(&self, targets: &[Target]) -> Result<Locks> {
        if !self.shared.lasting.sealing.is_on() {
            return Ok(Locks::new());
        }
        let mut users: Vec<User> = targets.iter().map(|target| target.user.clone()).collect();
        users.sort_unstable();
        users.dedup();
        let shared = Arc::clone(&self.shared);
        let find = move || {
            let core = shared.core()?;
            let mut locks = Locks::new();
            for user in users {
                if let Some(lock) = core.lock_of(&user)?.filter(Lock::is_sealing) {
                    locks.push((user, lock));
                }
            }
            Ok(locks)
        };
        self.offload.run(find).await
    }

    /// For those who have no locks, and the queue.
    fn open(&mut self, (places, targets): (Vec<usize>, Vec<Target>), queue: &[QueueEntry]) -> Complete {
        let tail = (self.chunk.len() > CHUNK_HEAD).then(|| {
            let packing = Packing::new(&self.shared.lasting.options);
            let packed = packing.pack(self.body, self.spilled, &mut self.chunk);
            // Copied to its exact size: the database keeps it for a while, and would keep the spare room too.
            (self.spilled, packed.unwrap_or_else(|| Bytes::copy_from_slice(&self.chunk)))
        });
        // Chunks that are written already may be sealed all the same.
        let keys = self.seal.iter().filter(|_| self.spilled > 0).map(KeyRow::open).collect();
        Complete {
            body: self.body,
            size: self.size,
            tail,
            spilled: self.epoch,
            summary: self.summary.clone(),
            ids: self.ids.clone(),
            targets,
            places,
            queue: queue.to_vec(),
            seal: None,
            keys,
        }
    }

    /// For those who have locks.
    fn closed(
        &self,
        (body, seal, spilled): (u64, BodyKey, Option<u32>),
        (places, targets): (Vec<usize>, Vec<Target>),
        locks: &Locks,
    ) -> Result<Complete> {
        let keys = locks.iter().map(|(user, lock)| KeyRow::sealed(body, self.size, &seal, user, lock));
        let keys = keys.collect::<Result<_>>()?;
        let mut tail = None;
        if self.chunk.len() > CHUNK_HEAD {
            let packing = Packing::new(&self.shared.lasting.options);
            tail = Some((self.spilled, packing.seal(body, self.spilled, &self.chunk, &seal)?));
        }
        Ok(Complete {
            body,
            size: self.size,
            tail,
            spilled,
            summary: self.summary.clone(),
            ids: self.ids.clone(),
            targets,
            places,
            queue: Vec::new(),
            seal: Some(seal),
            keys,
        })
    }

    /// Another body with what is written of this one, sealed with a key of its own.
    async fn copy(&mut self) -> Result<(u64, BodyKey, Option<u32>)> {
        let (from, to, seal) = (self.body, self.shared.core()?.identity()?, BodyKey::random()?);
        let mut epoch = None;
        for number in 0..self.spilled {
            self.twin = Some(to);
            let (shared, old, new) = (Arc::clone(&self.shared), self.seal.clone(), seal.clone());
            let written = move || shared.core()?.copy_chunk((from, old.as_ref()), (to, &new), number, epoch);
            epoch = Some(self.offload.run(written).await?);
        }
        Ok((to, seal, epoch))
    }
}

impl<O> Incoming<O> {
    /// Removes a body that was written and is not committed.
    pub(super) fn discard(&self, body: u64) {
        self.shared.committer.post(move |group| {
            group.discard_body(body);
            let uploads = group.core.database.uploads.clone();
            group.delete_lazily(&uploads, body.to_be_bytes().to_vec());
        });
    }
}

impl Core {
    fn copy_chunk(
        &self,
        (from, old): (u64, Option<&BodyKey>),
        (to, new): (u64, &BodyKey),
        number: u32,
        epoch: Option<u32>,
    ) -> Result<u32> {
        let start = u64::from(number) * CHUNK as u64;
        let range = start..start + CHUNK as u64;
        let object = Some(ObjectId::from(u128::from(from)));
        let octets = self.octets(object, range.end, &range, Reader::Maker(old), corrupt, || Ok(true))?;
        let mut chunk: BytesMut = empty_chunk(octets.len());
        chunk.extend_from_slice(&octets);
        self.spill(to, number, chunk, epoch, Some(new))
    }
}

fn sorted(targets: &[(usize, &Target)]) -> (Vec<usize>, Vec<Target>) {
    targets.iter().map(|(place, target)| (*place, (*target).clone())).unzip()
}
