//! Operations on messages that are there: flags, expunge, copy and move. Each checks all before it stages anything.

use bytes::Bytes;
use mailwright_mail_model::{DateTime, MailboxName, ModSeq, Uid, UidSet};

use super::committer::Group;
use super::database::date;
use super::{body, row};
use crate::{
    Carried, Copied, Expunge, Expunged, FlagChange, FlagsStored, MailboxRef, Message, QuotaUsage, Result,
    StoreError,
};

/// How many rows of its history a mailbox keeps; past that, the older half is forgotten.
const HISTORY: u32 = 8_192;

impl Group<'_> {
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
        let messages: Vec<Message> = snapshot.among(&which.select(&snapshot)).cloned().collect();
        drop(snapshot);
        self.let_go(&key, &messages)?;
        self.remove(&key, &messages)
    }

    pub(super) fn copy(
        &mut self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        target: &MailboxName,
    ) -> Result<Copied> {
        self.copy_carrying(mailbox, uids, target, &Carried::by_owner(mailbox))
    }

    /// The same, with these annotations.
    pub(super) fn copy_carrying(
        &mut self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        target: &MailboxName,
        carried: &Carried,
    ) -> Result<Copied> {
        let (key, messages) = self.originals(mailbox, uids)?;
        let octets = messages.iter().map(|message| message.size).sum();
        let annotations = self.carried_octets(mailbox, &messages, carried)?;
        let more = QuotaUsage { annotations, ..QuotaUsage::of_messages(messages.len() as u64, octets) };
        // Whether there is room in it matters to nobody if it is not there.
        self.named(mailbox.user(), target)?;
        self.admit(mailbox.user().as_str().as_bytes(), &more, &QuotaUsage::NOTHING)?;
        let mut copied = self.duplicate(mailbox, &messages, target, carried)?;
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
        self.move_carrying(mailbox, uids, target, &Carried::by_owner(mailbox))
    }

    /// The same, with these annotations.
    pub(super) fn move_carrying(
        &mut self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        target: &MailboxName,
        carried: &Carried,
    ) -> Result<Copied> {
        let (key, messages) = self.originals(mailbox, uids)?;
        let mut copied = self.duplicate(mailbox, &messages, target, carried)?;
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
        carried: &Carried,
    ) -> Result<Copied> {
        let (_, source) = self.selected(mailbox)?;
        let header = source.header()?;
        let (from, annotated) = (header.rows, header.annotated.is_some());
        let (key, staged) = self.named(mailbox.user(), target)?;
        let header = staged.header()?;
        header.room(messages.len() as u64)?;
        let (uid_validity, to) = (header.uid_validity, header.rows);
        // RFC 8514 §2: a copy is saved when it is made, and so is what a MOVE makes.
        let saved = DateTime::new(date(), 0);
        let mut copies = Vec::with_capacity(messages.len());
        if !messages.is_empty() {
            let modseq = header.next_modseq()?;
            for message in messages {
                let uid = header.uid_next.ok_or(StoreError::NotFound)?;
                header.uid_next = uid.next();
                copies.push(Message { uid, modseq, ..message.clone() }.with_saved(saved));
            }
        }
        let mut unique_ids = false;
        for (message, copy) in messages.iter().zip(&copies) {
            unique_ids |= self.copy_origin((from, message.uid), (to, copy.uid))?;
        }
        self.find(&key)?.ok_or(StoreError::NotFound)?.header()?.unique_ids |= unique_ids;
        if annotated {
            self.copy_notes(from, messages, (&key, to), &copies, carried)?;
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
        self.forget_notes(key, messages)?;
        for message in messages {
            let row_key = row::key(rows, &message.uid.get().to_be_bytes());
            self.delete(&core.database.rows, row_key.clone());
            self.delete_lazily(&core.database.origins, row_key);
        }
        let uids = self.forget_messages(key, messages, modseq)?;
        self.remember(key, modseq, &uids)?;
        Ok(Expunged::new(uids, modseq))
    }

    /// Makes the recent messages nobody's; from which UID on they were.
    pub(super) fn claim_recent(&mut self, mailbox: &MailboxRef) -> Result<Option<Uid>> {
        let (_, staged) = self.selected(mailbox)?;
        let header = staged.header()?;
        let from = header.recent_from;
        if from != header.uid_next {
            (header.recent, header.recent_from) = (0, header.uid_next);
            staged.touch_lazily();
        }
        Ok(from)
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
