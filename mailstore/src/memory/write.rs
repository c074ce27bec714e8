//! Messages come, change and go.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use mailwright_mail_model::{MailboxName, ModSeq, Uid, UidSet};

use super::annotate::{Notes, changed, octets};
use super::extended::now;
use super::{Body, Folder, Memory, Origin, State};
use crate::{
    AnnotationLimits, Appended, Batch, Carried, CommitError, Committed, Copied, Expunge, Expunged, FeedEvent,
    FlagChange, FlagsStored, Joined, MailboxRef, Message, QueueEntry, QuotaUsage, Result, Sink, StoreError,
    Summary, Target, Upload, User, Write,
};

impl Write for Memory {
    async fn begin(&self, _size: Option<u64>) -> Result<Upload> {
        let (messages, replaced) = (vec![Arriving::default()], Vec::new());
        Ok(Upload::new(Incoming { store: self.clone(), messages, replaced, spent: false }))
    }

    async fn store_flags(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        change: &FlagChange,
    ) -> Result<FlagsStored> {
        self.change(&[messages_of(mailbox)], |state| {
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
        self.change(&[messages_of(mailbox)], |state| {
            let snapshot = Arc::clone(&state.selected(mailbox)?.snapshot);
            let uids = which.select(&snapshot);
            for message in snapshot.among(&uids) {
                let notes = state.selected(mailbox)?.notes.get(&message.uid).cloned().unwrap_or_default();
                state.keep(mailbox.user(), mailbox.name(), message, notes)?;
            }
            remove(state, mailbox, &uids)?;
            let highest_modseq = state.selected(mailbox)?.snapshot.highest_modseq();
            Ok(Expunged { uids, highest_modseq })
        })
    }

    async fn copy(&self, mailbox: &MailboxRef, uids: &UidSet, target: &MailboxName) -> Result<Copied> {
        copy_messages(self, mailbox, uids, target, &Carried::by_owner(mailbox))
    }

    async fn move_to(&self, mailbox: &MailboxRef, uids: &UidSet, target: &MailboxName) -> Result<Copied> {
        move_messages(self, mailbox, uids, target, &Carried::by_owner(mailbox))
    }

    fn takes_several(&self) -> bool {
        true
    }

    async fn claim_recent(&self, mailbox: &MailboxRef) -> Result<Option<Uid>> {
        let mut state = self.state();
        let folder = state.selected(mailbox)?;
        Ok(std::mem::replace(&mut folder.recent_from, folder.snapshot.uid_next()))
    }
}

/// COPY, with these annotations.
pub(super) fn copy_messages(
    store: &Memory,
    mailbox: &MailboxRef,
    uids: &UidSet,
    target: &MailboxName,
    carried: &Carried,
) -> Result<Copied> {
    let event = (mailbox.user(), FeedEvent::Messages(target.clone()));
    store.change(&[event], |state| {
        let source = Arc::clone(&state.selected(mailbox)?.snapshot);
        let annotations = state.carried_octets(mailbox, uids, carried)?;
        let sum = source.among(uids).fold(QuotaUsage::NOTHING, plus);
        state.find(mailbox.user(), target)?;
        state.admit(mailbox.user(), &QuotaUsage { annotations, ..sum }, &QuotaUsage::NOTHING)?;
        let copied = copy(state, mailbox, uids, target, carried)?;
        for object in source.among(uids).filter_map(|message| message.object) {
            state.refer(object);
        }
        Ok(copied)
    })
}

/// MOVE, with these annotations.
pub(super) fn move_messages(
    store: &Memory,
    mailbox: &MailboxRef,
    uids: &UidSet,
    target: &MailboxName,
    carried: &Carried,
) -> Result<Copied> {
    let event = (mailbox.user(), FeedEvent::Messages(target.clone()));
    store.change(&[messages_of(mailbox), event], |state| {
        let mut copied = copy(state, mailbox, uids, target, carried)?;
        remove(state, mailbox, &copied.source)?;
        copied.highest_modseq = state.selected(mailbox)?.snapshot.highest_modseq();
        Ok(copied)
    })
}

pub(super) fn messages_of(mailbox: &MailboxRef) -> (&User, FeedEvent) {
    (mailbox.user(), FeedEvent::Messages(mailbox.name().clone()))
}

/// What there is with this message too.
pub(super) fn plus(sum: QuotaUsage, message: &Message) -> QuotaUsage {
    QuotaUsage { messages: sum.messages + 1, storage: sum.storage + message.size, ..sum }
}

/// Removes messages that exist. Their bodies are the caller's affair.
fn remove(state: &mut State, mailbox: &MailboxRef, uids: &UidSet) -> Result<()> {
    let folder = state.selected(mailbox)?;
    if uids.is_empty() {
        return Ok(());
    }
    let modseq = folder.next_modseq()?;
    Arc::make_mut(&mut folder.snapshot).remove(uids, modseq);
    folder.expunged.push((modseq, uids.clone()));
    folder.origins.retain(|uid, _| !uids.contains(*uid));
    folder.notes.retain(|uid, _| !uids.contains(*uid));
    Ok(())
}

fn copy(
    state: &mut State,
    mailbox: &MailboxRef,
    uids: &UidSet,
    target: &MailboxName,
    carried: &Carried,
) -> Result<Copied> {
    let folder = state.selected(mailbox)?;
    let (source, origins) = (Arc::clone(&folder.snapshot), folder.origins.clone());
    let mut notes: HashMap<Uid, Notes> =
        source.among(uids).filter_map(|one| Some((one.uid, folder.carried(one.uid, carried)?))).collect();
    let folder = state.find(mailbox.user(), target)?;
    let mut copied =
        Copied::new(folder.snapshot.uid_validity(), UidSet::new(), UidSet::new(), source.highest_modseq());
    folder.room(source.among(uids).count())?;
    for message in source.among(uids) {
        copied.source.insert(message.uid);
        // RFC 8514 §2: a copy is saved when it is made.
        let uid = folder.append(message.clone().with_saved(now()), None)?;
        copied.target.insert(uid);
        if let Some(origin) = origins.get(&message.uid) {
            folder.origins.insert(uid, origin.clone());
        }
        if let Some(notes) = notes.remove(&message.uid) {
            folder.notes.insert(uid, notes);
        }
    }
    copied.highest_modseq = state.selected(mailbox)?.snapshot.highest_modseq();
    Ok(copied)
}

impl Folder {
    /// Whether so many messages more can have UIDs.
    pub(super) fn room(&self, messages: usize) -> Result<()> {
        let free = self.snapshot.uid_next().map_or(0, |next| u64::from(u32::MAX - next.get()) + 1);
        let enough = u64::try_from(messages).is_ok_and(|messages| messages <= free);
        if enough { Ok(()) } else { Err(StoreError::Unavailable("no UID is left in the mailbox".into())) }
    }

    /// Adds a message under the next UID, or under the one that is given.
    pub(super) fn append(&mut self, message: Message, given: Option<Uid>) -> Result<Uid> {
        self.room(1)?;
        let uid = given.or_else(|| self.snapshot.uid_next()).ok_or(StoreError::NotFound)?;
        let modseq = self.next_modseq()?;
        Arc::make_mut(&mut self.snapshot).add(Message { uid, modseq, ..message });
        Ok(uid)
    }
}

struct Incoming {
    store: Memory,
    /// Never empty; the last one is being written.
    messages: Vec<Arriving>,
    replaced: Vec<(MailboxRef, UidSet)>,
    /// Whether it is committed.
    spent: bool,
}

#[derive(Clone, Default)]
struct Arriving {
    octets: BytesMut,
    summary: Option<Summary>,
    ids: Vec<Bytes>,
    targets: Vec<Target>,
    queue: Vec<QueueEntry>,
}

impl Arriving {
    const fn references(&self) -> usize {
        self.targets.len() + self.queue.len()
    }
}

impl Incoming {
    fn last(&mut self) -> Result<&mut Arriving> {
        self.messages.last_mut().filter(|_| !self.spent).ok_or_else(spent)
    }

    /// Says where the last message goes.
    fn aim(&mut self, batch: &Batch) -> Result<()> {
        if !batch.rows.is_empty() {
            return Err(StoreError::Invalid("expected no rows: this store has no tables".into()));
        }
        let last = self.last()?;
        last.targets.clone_from(&batch.targets);
        last.queue.clone_from(&batch.queue);
        Ok(())
    }

    /// It is committed, unless there was nothing to commit.
    fn spend(&mut self) {
        self.spent = self.messages.iter().any(|message| message.references() > 0);
    }
}

impl Sink for Incoming {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.last()?.octets.extend_from_slice(&chunk);
        Ok(())
    }

    async fn read(&mut self, range: Range<u64>) -> Result<Bytes> {
        let octets = &self.last()?.octets;
        let end = range.end.min(octets.len() as u64);
        let within = usize::try_from(range.start).ok().zip(usize::try_from(end).ok());
        let found = within.and_then(|(start, end)| octets.get(start..end));
        Ok(found.map(Bytes::copy_from_slice).unwrap_or_default())
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
        self.aim(batch)?;
        let mut settle = batch.settle.clone();
        let mut others: Vec<&mut Self> = Vec::with_capacity(joined.len());
        for (index, Joined { upload, batch, .. }) in joined.into_iter().enumerate() {
            let of_joined = |error: StoreError| CommitError::from(error).of_joined(index);
            let foreign = || StoreError::Invalid("expected uploads of one store".into());
            let other = upload.sink_mut::<Self>().ok_or_else(|| of_joined(foreign()))?;
            other.aim(batch).map_err(of_joined)?;
            settle.extend_from_slice(&batch.settle);
            others.push(other);
        }
        let all = || std::iter::once(&*self).chain(others.iter().map(|other| &**other));
        let messages: Vec<&Arriving> = all().flat_map(|upload| &upload.messages).collect();
        let replaced: Vec<&(MailboxRef, UidSet)> = all().flat_map(|upload| &upload.replaced).collect();
        let ends: Vec<usize> = all()
            .scan(0, |end, upload| {
                *end += upload.messages.iter().map(|message| message.targets.len()).sum::<usize>();
                Some(*end)
            })
            .collect();
        let targets = messages.iter().flat_map(|message| &message.targets);
        let mut events: Vec<_> =
            targets.map(|target| (&target.user, FeedEvent::Messages(target.mailbox.clone()))).collect();
        events.extend(replaced.iter().map(|(mailbox, _)| messages_of(mailbox)));
        let written = &self.store.0.written;
        let committed = self.store.change(&events, |state| {
            check(state, &messages, &replaced).map_err(|failed| at_fault(failed, &ends))?;
            let mut committed = Committed::default();
            for message in messages.iter().filter(|message| message.references() > 0) {
                place(state, message, &mut committed)?;
            }
            for (mailbox, uids) in &replaced {
                let snapshot = Arc::clone(&state.selected(mailbox)?.snapshot);
                let there: UidSet = snapshot.among(uids).map(|message| message.uid).collect();
                for message in snapshot.among(uids) {
                    let notes = state.selected(mailbox)?.notes.get(&message.uid).cloned().unwrap_or_default();
                    state.keep(mailbox.user(), mailbox.name(), message, notes)?;
                }
                remove(state, mailbox, &there)?;
            }
            settle.iter().for_each(|settlement| state.settle(settlement));
            if let Some(first) = state.first_written.take() {
                written.note(first);
            }
            Ok::<_, CommitError>(committed)
        });
        let mut committed = committed?;
        self.store.0.added.raise();
        committed.appended.truncate(ends.first().copied().unwrap_or(0));
        committed.queued.truncate(self.messages.iter().map(|message| message.queue.len()).sum());
        std::iter::once(self).chain(others).for_each(Self::spend);
        Ok(committed)
    }

    fn summarize(&mut self, summary: Summary) {
        if let Ok(message) = self.last() {
            message.summary = Some(summary);
        }
    }

    fn relate(&mut self, ids: Vec<Bytes>) {
        if let Ok(message) = self.last() {
            message.ids = ids;
        }
    }

    async fn next(&mut self, targets: &[Target]) -> Result<()> {
        self.last()?.targets = targets.to_vec();
        self.messages.push(Arriving::default());
        Ok(())
    }

    fn replace(&mut self, mailbox: &MailboxRef, uids: &UidSet) -> Result<()> {
        self.last()?;
        self.replaced.push((mailbox.clone(), uids.clone()));
        Ok(())
    }
}

/// The fault as a caller knows it, who counts the targets of each upload; the first of these `ends` is that of its own.
fn at_fault(failed: CommitError, ends: &[usize]) -> CommitError {
    let found = failed.target.and_then(|target| {
        let joined = ends.iter().position(|end| target < *end)?.checked_sub(1)?;
        Some((joined, target - ends.get(joined)?))
    });
    match found {
        Some((joined, target)) => CommitError::of_target(target, failed.error).of_joined(joined),
        None => failed,
    }
}

/// Whether every target can take its messages.
fn check(
    state: &mut State,
    messages: &[&Arriving],
    replaced: &[&(MailboxRef, UidSet)],
) -> Result<(), CommitError> {
    let mut less = Vec::new();
    for (mailbox, uids) in replaced {
        let snapshot = &state.selected(mailbox)?.snapshot;
        if (snapshot.among(uids).count() as u64) < uids.len() {
            return Err(StoreError::Conflict.into());
        }
        let sum = snapshot.among(uids).fold(QuotaUsage::NOTHING, plus);
        less.push((mailbox.user(), sum));
    }
    let mut next: HashMap<(&User, &MailboxName), Option<Uid>> = HashMap::new();
    let mut more: HashMap<&User, QuotaUsage> = HashMap::new();
    let targets =
        messages.iter().flat_map(|message| message.targets.iter().map(move |target| (*message, target)));
    for (index, (message, target)) in targets.enumerate() {
        let mut check = || {
            target.check_unique_id()?;
            let known = state.find(&target.user, &target.mailbox)?.snapshot.uid_next();
            let next = next.entry((&target.user, &target.mailbox)).or_insert(known);
            let uid = next.ok_or_else(|| StoreError::Unavailable("no UID is left in the mailbox".into()))?;
            let given = target.uid.unwrap_or(uid);
            if given < uid {
                return Err(StoreError::Exists);
            }
            *next = given.next();
            let noted = noted(target, ModSeq::MIN, &state.annotation_limits)?;
            let sum = more.entry(&target.user).or_default();
            let annotations = sum.annotations + octets(&noted);
            let messages =
                QuotaUsage::of_messages(sum.messages + 1, sum.storage + message.octets.len() as u64);
            *sum = QuotaUsage { annotations, ..messages };
            let less = less.iter().filter(|(user, _)| **user == target.user);
            let less = less.fold(QuotaUsage::NOTHING, |all, (_, sum)| {
                QuotaUsage::of_messages(all.messages + sum.messages, all.storage + sum.storage)
            });
            if target.exempt { Ok(()) } else { state.admit(&target.user, sum, &less) }
        };
        check().map_err(|error| CommitError::of_target(index, error))?;
    }
    Ok(())
}

/// What is noted about a message as it comes.
fn noted(target: &Target, modseq: ModSeq, limits: &AnnotationLimits) -> Result<Notes> {
    let mut notes = Notes::new();
    if let Some((writer, values)) = target.annotations.as_deref() {
        changed(&mut notes, writer, values, modseq, limits)?;
    }
    Ok(notes)
}

fn place(state: &mut State, message: &Arriving, committed: &mut Committed) -> Result<()> {
    let octets = Bytes::copy_from_slice(&message.octets);
    let (size, object, limits) = (octets.len() as u64, state.id(), state.annotation_limits);
    for target in &message.targets {
        let thread = state.thread(&target.user, &message.ids);
        let folder = state.find(&target.user, &target.mailbox)?;
        let row = Message {
            flags: target.flags.clone(),
            object: Some(object),
            thread: Some(thread),
            ..Message::new(Uid::MIN, size, target.internal_date)
        };
        let notes = noted(target, folder.next_modseq()?, &limits)?;
        let uid = folder.append(row.with_saved(target.saved.or_else(now)), target.uid)?;
        if !notes.is_empty() {
            folder.notes.insert(uid, notes);
        }
        if target.unique_id.is_some() || target.delivery.is_some() {
            let (unique_id, delivery) = (target.unique_id.clone(), target.delivery.clone());
            folder.origins.insert(uid, Origin { unique_id, delivery });
        }
        committed.appended.push(Appended::new(folder.snapshot.uid_validity(), uid));
    }
    let body = Body { octets, summary: message.summary.clone(), references: message.references() };
    state.bodies.insert(object, body);
    committed.queued.extend(message.queue.iter().map(|entry| state.enqueue(entry, object, size)));
    Ok(())
}

fn spent() -> StoreError {
    StoreError::Invalid("expected an upload that is not committed yet".into())
}
