//! Messages come, change and go.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use mailwright_mail_model::{Flag, MailboxName, Uid, UidSet};

use super::{Body, Folder, Memory, State};
use crate::{
    Appended, Batch, CommitError, Committed, Copied, Expunge, Expunged, FlagChange, FlagsStored, MailboxRef,
    Message, Result, Sink, StoreError, Summary, Target, Upload, Write,
};

impl Write for Memory {
    async fn begin(&self, _size: Option<u64>) -> Result<Upload> {
        let octets = Some(BytesMut::new());
        Ok(Upload::new(Incoming { store: self.clone(), octets, summary: None }))
    }

    async fn store_flags(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        change: &FlagChange,
    ) -> Result<FlagsStored> {
        self.change(|state| {
            let folder = state.selected(mailbox)?;
            let modseq = folder.next_modseq()?;
            let mut stored = FlagsStored::default();
            let before = Arc::clone(&folder.snapshot);
            for message in before.among(uids) {
                if change.unchanged_since.is_some_and(|limit| message.modseq > limit) {
                    stored.modified.insert(message.uid);
                    continue;
                }
                let flags = change.apply(&message.flags);
                let changed = flags != message.flags;
                if changed {
                    Arc::make_mut(&mut folder.snapshot).set_flags(message.uid, flags.clone(), modseq);
                }
                stored.messages.push((message.uid, flags, if changed { modseq } else { message.modseq }));
            }
            Ok(stored)
        })
    }

    async fn expunge(&self, mailbox: &MailboxRef, which: &Expunge) -> Result<Expunged> {
        self.change(|state| {
            let snapshot = Arc::clone(&state.selected(mailbox)?.snapshot);
            let deleted = |message: &&Message| message.flags.contains(&Flag::Deleted);
            let uids: UidSet = match which {
                Expunge::Deleted => snapshot.messages().filter(deleted).map(|message| message.uid).collect(),
                Expunge::DeletedAmong(uids) => {
                    snapshot.among(uids).filter(deleted).map(|message| message.uid).collect()
                }
                Expunge::Exactly(uids) => snapshot.among(uids).map(|message| message.uid).collect(),
            };
            remove(state, mailbox, &uids)?;
            let highest_modseq = state.selected(mailbox)?.snapshot.highest_modseq();
            Ok(Expunged { uids, highest_modseq })
        })
    }

    async fn copy(&self, mailbox: &MailboxRef, uids: &UidSet, target: &MailboxName) -> Result<Copied> {
        self.change(|state| copy(state, mailbox, uids, target))
    }

    async fn move_to(&self, mailbox: &MailboxRef, uids: &UidSet, target: &MailboxName) -> Result<Copied> {
        self.change(|state| {
            let mut copied = copy(state, mailbox, uids, target)?;
            remove(state, mailbox, &copied.source)?;
            copied.highest_modseq = state.selected(mailbox)?.snapshot.highest_modseq();
            Ok(copied)
        })
    }
}

/// Removes messages that exist.
fn remove(state: &mut State, mailbox: &MailboxRef, uids: &UidSet) -> Result<()> {
    let folder = state.selected(mailbox)?;
    if uids.is_empty() {
        return Ok(());
    }
    let modseq = folder.next_modseq()?;
    let before = Arc::clone(&folder.snapshot);
    Arc::make_mut(&mut folder.snapshot).remove(uids, modseq);
    folder.expunged.push((modseq, uids.clone()));
    state.release(before.among(uids));
    Ok(())
}

fn copy(state: &mut State, mailbox: &MailboxRef, uids: &UidSet, target: &MailboxName) -> Result<Copied> {
    let source = Arc::clone(&state.selected(mailbox)?.snapshot);
    let folder = state.find(mailbox.user(), target)?;
    let mut copied =
        Copied::new(folder.snapshot.uid_validity(), UidSet::new(), UidSet::new(), source.highest_modseq());
    folder.room(source.among(uids).count())?;
    for message in source.among(uids) {
        copied.source.insert(message.uid);
        copied.target.insert(folder.append(message.clone())?);
    }
    for object in source.among(uids).filter_map(|message| message.object) {
        if let Some(body) = state.bodies.get_mut(&object) {
            body.references += 1;
        }
    }
    copied.highest_modseq = state.selected(mailbox)?.snapshot.highest_modseq();
    Ok(copied)
}

impl Folder {
    /// Whether so many messages more can have UIDs.
    fn room(&self, messages: usize) -> Result<()> {
        let free = self.snapshot.uid_next().map_or(0, |next| u64::from(u32::MAX - next.get()) + 1);
        let enough = u64::try_from(messages).is_ok_and(|messages| messages <= free);
        if enough { Ok(()) } else { Err(StoreError::Unavailable("no UID is left in the mailbox".into())) }
    }

    /// Adds a message under the next UID.
    fn append(&mut self, message: Message) -> Result<Uid> {
        self.room(1)?;
        let uid = self.snapshot.uid_next().ok_or(StoreError::NotFound)?;
        let modseq = self.next_modseq()?;
        Arc::make_mut(&mut self.snapshot).add(Message { uid, modseq, ..message });
        Ok(uid)
    }
}

struct Incoming {
    store: Memory,
    /// `None` once it is committed.
    octets: Option<BytesMut>,
    summary: Option<Summary>,
}

impl Sink for Incoming {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.octets.as_mut().ok_or_else(spent)?.extend_from_slice(&chunk);
        Ok(())
    }

    async fn commit(&mut self, targets: &[Target]) -> Result<Vec<Appended>, CommitError> {
        self.commit_batch(&Batch::to(targets)).await.map(|committed| committed.appended)
    }

    async fn commit_batch(&mut self, batch: &Batch) -> Result<Committed, CommitError> {
        let targets = &batch.targets;
        let octets = self.octets.take().ok_or_else(spent)?.freeze();
        let (summary, size) = (self.summary.clone(), octets.len() as u64);
        let body = Body { octets: octets.clone(), summary, references: targets.len() + batch.queue.len() };
        let result = self.store.change(|state| {
            for (index, target) in targets.iter().enumerate() {
                let same = |other: &&Target| (&other.user, &other.mailbox) == (&target.user, &target.mailbox);
                let count = targets.iter().filter(same).count();
                let folder = state.find(&target.user, &target.mailbox);
                folder
                    .and_then(|folder| folder.room(count))
                    .map_err(|error| CommitError::of_target(index, error))?;
            }
            let object = state.id();
            let appended = targets.iter().map(|target| {
                let folder = state.find(&target.user, &target.mailbox)?;
                let uid = folder.append(Message {
                    flags: target.flags.clone(),
                    object: Some(object),
                    ..Message::new(Uid::MIN, size, target.internal_date)
                })?;
                Ok(Appended::new(folder.snapshot.uid_validity(), uid))
            });
            let appended = appended.collect::<Result<Vec<_>>>()?;
            if body.references > 0 {
                state.bodies.insert(object, body);
            }
            let queued = batch.queue.iter().map(|entry| state.enqueue(entry, object, size)).collect();
            batch.settle.iter().for_each(|settlement| state.settle(settlement));
            Ok(Committed::new(appended, queued))
        });
        self.store.0.added.raise();
        if result.is_err() {
            self.octets = Some(octets.into());
        }
        result
    }

    fn summarize(&mut self, summary: Summary) {
        self.summary = Some(summary);
    }
}

fn spent() -> StoreError {
    StoreError::Invalid("expected an upload that is not committed yet".into())
}
