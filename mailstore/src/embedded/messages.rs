//! Operations on messages: delivery, flags, expunge, copy and move. Each checks all before it stages anything.

use bytes::Bytes;
use mailwright_mail_model::{Flag, MailboxName, ModSeq, UidSet};

use super::committer::Group;
use super::{body, row};
use crate::{
    Appended, Batch, CommitError, Committed, Copied, Expunge, Expunged, FlagChange, FlagsStored, MailboxRef,
    Message, ObjectId, Result, StoreError, Summary, Target,
};

/// A message that is all there.
pub(super) struct Complete {
    pub(super) body: u64,
    pub(super) size: u64,
    /// The last chunk and its number, unless it is empty.
    pub(super) tail: Option<(u32, Bytes)>,
    /// Whether chunks have been written already.
    pub(super) spilled: bool,
    pub(super) summary: Option<Summary>,
}

/// How many rows of its history a mailbox keeps; past that, the older half is forgotten.
const HISTORY: u32 = 8_192;

impl Group<'_> {
    /// Puts one message into every mailbox and the queue, and settles earlier entries of that.
    pub(super) fn append(&mut self, complete: Complete, batch: &Batch) -> Result<Committed, CommitError> {
        let targets = &batch.targets;
        for (index, target) in targets.iter().enumerate() {
            let same = |other: &&Target| (&other.user, &other.mailbox) == (&target.user, &target.mailbox);
            let count = targets.iter().filter(same).count() as u64;
            let found = self.named(&target.user, &target.mailbox);
            let room = found.and_then(|(_, staged)| staged.header()?.room(count));
            room.map_err(|error| CommitError::of_target(index, error))?;
        }
        let core = self.core;
        if let Some((number, chunk)) = complete.tail {
            self.put(&core.database.bodies, body::key(complete.body, number), chunk);
        }
        if complete.spilled {
            self.delete(&core.database.uploads, complete.body.to_be_bytes().to_vec());
        }
        if let Some(summary) = complete.summary {
            self.put_summary(complete.body, &summary);
        }
        match u32::try_from(targets.len() + batch.queue.len()).unwrap_or(u32::MAX) {
            // The body is new, so there is no row to remove.
            1 => drop(self.references.insert(complete.body, 1)),
            count => self.set_references(complete.body, count),
        }
        let mut appended = Vec::with_capacity(targets.len());
        for target in targets {
            let (key, staged) = self.named(&target.user, &target.mailbox)?;
            let header = staged.header()?;
            let uid = header.uid_next.ok_or(StoreError::NotFound)?;
            header.uid_next = uid.next();
            let modseq = header.next_modseq()?;
            appended.push(Appended::new(header.uid_validity, uid));
            let message = Message {
                flags: target.flags.clone(),
                modseq,
                object: Some(ObjectId::from(u128::from(complete.body))),
                ..Message::new(uid, complete.size, target.internal_date)
            };
            self.add_messages(&key, vec![message])?;
        }
        let mut queued = Vec::with_capacity(batch.queue.len());
        for entry in &batch.queue {
            queued.push(self.enqueue(entry, complete.body, complete.size)?);
        }
        self.settle(&batch.settle)?;
        Ok(Committed::new(appended, queued))
    }

    pub(super) fn store_flags(
        &mut self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        change: &FlagChange,
    ) -> Result<FlagsStored> {
        let (key, _) = self.selected(mailbox)?;
        let snapshot = self.snapshot(&key)?;
        let (mut stored, mut modified, mut changed) = (FlagsStored::default(), Vec::new(), Vec::new());
        for message in snapshot.among(uids) {
            if change.unchanged_since.is_some_and(|limit| message.modseq > limit) {
                modified.push(message.uid);
                continue;
            }
            let flags = change.apply(&message.flags);
            stored.messages.push((message.uid, flags.clone(), message.modseq));
            if flags != message.flags {
                changed.push((message.clone(), Message { flags, ..message.clone() }));
            }
        }
        stored.modified = modified.into_iter().collect();
        if changed.is_empty() {
            return Ok(stored);
        }
        let modseq = self.selected(mailbox)?.1.header()?.next_modseq()?;
        changed.iter_mut().for_each(|(_, after)| after.modseq = modseq);
        let mut changes = changed.iter().map(|(_, after)| after.uid).peekable();
        for (uid, _, known) in &mut stored.messages {
            if changes.next_if_eq(uid).is_some() {
                *known = modseq;
            }
        }
        self.change_flags(&key, changed)?;
        Ok(stored)
    }

    pub(super) fn expunge(&mut self, mailbox: &MailboxRef, which: &Expunge) -> Result<Expunged> {
        let (key, _) = self.selected(mailbox)?;
        let snapshot = self.snapshot(&key)?;
        let deleted = |message: &&Message| message.flags.contains(&Flag::Deleted);
        let messages: Vec<Message> = match which {
            Expunge::Deleted if snapshot.deleted() == 0 => Vec::new(),
            Expunge::Deleted => snapshot.messages().filter(deleted).cloned().collect(),
            Expunge::DeletedAmong(uids) => snapshot.among(uids).filter(deleted).cloned().collect(),
            Expunge::Exactly(uids) => snapshot.among(uids).cloned().collect(),
        };
        drop(snapshot);
        for message in &messages {
            self.release(message)?;
        }
        self.remove(&key, &messages)
    }

    pub(super) fn copy(
        &mut self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        target: &MailboxName,
    ) -> Result<Copied> {
        let (key, messages) = self.originals(mailbox, uids)?;
        let mut copied = self.duplicate(mailbox, &messages, target)?;
        for message in &messages {
            let body = body::of(message)?;
            let references = self.references(body)?.saturating_add(1);
            self.set_references(body, references);
        }
        copied.highest_modseq = self.find(&key)?.ok_or(StoreError::NotFound)?.header()?.highest_modseq;
        Ok(copied)
    }

    /// As a copy and an expunge, but the number of references to each body stays.
    pub(super) fn move_to(
        &mut self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        target: &MailboxName,
    ) -> Result<Copied> {
        let (key, messages) = self.originals(mailbox, uids)?;
        let mut copied = self.duplicate(mailbox, &messages, target)?;
        copied.highest_modseq = self.remove(&key, &messages)?.highest_modseq;
        Ok(copied)
    }

    fn originals(&mut self, mailbox: &MailboxRef, uids: &UidSet) -> Result<(Box<[u8]>, Vec<Message>)> {
        let (key, _) = self.selected(mailbox)?;
        let messages = self.snapshot(&key)?.among(uids).cloned().collect();
        Ok((key, messages))
    }

    /// Adds messages to another mailbox.
    fn duplicate(
        &mut self,
        mailbox: &MailboxRef,
        messages: &[Message],
        target: &MailboxName,
    ) -> Result<Copied> {
        let (key, staged) = self.named(mailbox.user(), target)?;
        let header = staged.header()?;
        header.room(messages.len() as u64)?;
        let uid_validity = header.uid_validity;
        let mut copies = Vec::with_capacity(messages.len());
        if !messages.is_empty() {
            let modseq = header.next_modseq()?;
            for message in messages {
                let uid = header.uid_next.ok_or(StoreError::NotFound)?;
                header.uid_next = uid.next();
                copies.push(Message { uid, modseq, ..message.clone() });
            }
        }
        let uids = |messages: &[Message]| messages.iter().map(|message| message.uid).collect();
        let copied = Copied::new(uid_validity, uids(messages), uids(&copies), ModSeq::ZERO);
        self.add_messages(&key, copies)?;
        Ok(copied)
    }

    /// Removes the rows of messages that exist, and remembers that.
    pub(super) fn remove(&mut self, key: &[u8], messages: &[Message]) -> Result<Expunged> {
        let core = self.core;
        let header = self.find(key)?.ok_or(StoreError::NotFound)?.header()?;
        if messages.is_empty() {
            return Ok(Expunged::new(UidSet::new(), header.highest_modseq));
        }
        let modseq = header.next_modseq()?;
        let rows = header.rows;
        for message in messages {
            self.delete(&core.database.rows, row::key(rows, &message.uid.get().to_be_bytes()));
        }
        let uids = self.forget_messages(key, messages, modseq)?;
        self.remember(key, modseq, &uids)?;
        Ok(Expunged::new(uids, modseq))
    }

    /// Stages the row that tells what was expunged.
    pub(super) fn remember(&mut self, key: &[u8], modseq: ModSeq, uids: &UidSet) -> Result<()> {
        let core = self.core;
        let header = self.find(key)?.ok_or(StoreError::NotFound)?.header()?;
        let id = header.id;
        header.history += 1;
        if header.history > HISTORY {
            let mut forgotten = Vec::new();
            for entry in core.database.expunged.prefix(id.to_be_bytes()).take(HISTORY as usize / 2) {
                forgotten.push(entry.key().map_err(super::database::failed)?);
            }
            let last = forgotten.last().and_then(|row_key| row_key.last_chunk::<8>());
            if let Some(last) = last.and_then(|last| ModSeq::new(u64::from_be_bytes(*last))) {
                header.history_since = last;
            }
            header.history =
                header.history.saturating_sub(u32::try_from(forgotten.len()).unwrap_or(u32::MAX));
            for row_key in forgotten {
                self.delete(&core.database.expunged, Bytes::from(row_key));
            }
        }
        let row_key = row::key(id, &modseq.get().to_be_bytes());
        let mut value = Vec::new();
        for range in uids.ranges() {
            value.extend_from_slice(&range.start().get().to_be_bytes());
            value.extend_from_slice(&range.end().get().to_be_bytes());
        }
        let value = row::seal(&row_key, value);
        self.put(&core.database.expunged, row_key, value);
        Ok(())
    }
}
