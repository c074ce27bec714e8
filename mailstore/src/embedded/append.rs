//! New messages, one or several, are put into mailboxes in one go.

use std::collections::BTreeMap;

use bytes::Bytes;
use mailwright_mail_model::{DateTime, Uid, UidSet, UidValidity};

use super::annotations::noted_octets;
use super::committer::Group;
use super::database::date;
use super::origins::origin_row;
use super::row::name_key;
use super::sealed::KeyRow;
use super::{body, row};
use crate::vault::BodyKey;
use crate::{
    Appended, CommitError, Committed, MailboxRef, Message, ObjectId, QueueEntry, QuotaUsage, Result, Row,
    Settlement, StoreError, Summary, Target, User,
};

/// A message that is all there.
#[derive(Clone)]
pub(super) struct Complete {
    pub(super) body: u64,
    pub(super) size: u64,
    /// The last chunk and its number, unless it is empty.
    pub(super) tail: Option<(u32, Bytes)>,
    /// In which epoch of the database chunks have been written already.
    pub(super) spilled: Option<u32>,
    pub(super) summary: Option<Summary>,
    /// The identifiers it carries, its own first.
    pub(super) ids: Vec<Bytes>,
    pub(super) targets: Vec<Target>,
    /// The place of each target among those of all messages.
    pub(super) places: Vec<usize>,
    /// The entries of the queue it is for.
    pub(super) queue: Vec<QueueEntry>,
    /// What is found out about it is sealed with this.
    pub(super) seal: Option<BodyKey>,
    /// By what its body is opened, if that is sealed.
    pub(super) keys: Vec<KeyRow>,
}

/// What takes part in one commit of an upload. Whatever else is to happen at the same moment belongs here.
#[derive(Clone, Default)]
pub(super) struct Arrival {
    pub(super) messages: Vec<Complete>,
    /// What they take the place of.
    pub(super) replaced: Vec<(MailboxRef, UidSet)>,
    /// What becomes of earlier entries of the queue.
    pub(super) settle: Vec<Settlement>,
    /// Rows of tables that change.
    pub(super) rows: Vec<Row>,
}

/// The rows, those that are about new messages under the names that these have now.
fn named(mut rows: Vec<Row>, appended: &[(usize, Appended)]) -> Vec<Row> {
    for row in &mut rows {
        let target = row.target.take();
        let found = appended.iter().find(|(place, _)| Some(*place) == target);
        if let Some((_, message)) = found {
            row.key.extend_from_slice(&message.uid_validity.get().to_be_bytes());
            row.key.extend_from_slice(&message.uid.get().to_be_bytes());
        }
    }
    rows
}

/// The messages of a mailbox that go when others come.
type Leaving = (Box<[u8]>, Vec<Message>);

impl Group<'_> {
    /// Puts every message into every mailbox of it and the queue, and settles earlier entries of that, or does nothing.
    pub(super) fn append(&mut self, arrival: Arrival) -> Result<Committed, CommitError> {
        let octets =
            arrival.messages.iter().flat_map(|message| &message.tail).map(|(_, tail)| tail.len() as u64);
        self.core.room(octets.sum())?;
        if arrival.messages.iter().any(|message| !self.core.has(message.spilled)) {
            return Err(
                StoreError::Unavailable("an earlier part of the message was not stored".into()).into()
            );
        }
        arrival.messages.iter().try_for_each(|message| self.check_keys(&message.keys))?;
        let leaving = self.leaving(&arrival.replaced)?;
        self.check(&arrival.messages, &leaving)?;
        let targets = arrival.messages.iter().flat_map(|message| &message.places).count();
        Self::check_rows(&arrival.rows, targets)?;
        self.check_conditions(&arrival.rows)?;
        let (mut appended, mut queued) = (Vec::new(), Vec::new());
        for message in arrival.messages {
            self.store_body(&message)?;
            for (place, target) in message.places.iter().zip(&message.targets) {
                appended.push((*place, self.place(&message, target)?));
            }
            for entry in &message.queue {
                queued.push(self.enqueue(entry, message.body, message.size)?);
            }
        }
        for (key, messages) in leaving {
            self.let_go(&key, &messages)?;
            self.remove(&key, &messages)?;
        }
        self.settle(&arrival.settle)?;
        self.set_rows(&named(arrival.rows, &appended))?;
        appended.sort_unstable_by_key(|(place, _)| *place);
        Ok(Committed::new(appended.into_iter().map(|(_, appended)| appended).collect(), queued))
    }

    fn leaving(&mut self, replaced: &[(MailboxRef, UidSet)]) -> Result<Vec<Leaving>> {
        let mut leaving = Vec::with_capacity(replaced.len());
        for (mailbox, uids) in replaced {
            let (key, _) = self.selected(mailbox)?;
            let messages: Vec<Message> = self.snapshot(&key)?.among(uids).cloned().collect();
            if (messages.len() as u64) < uids.len() {
                return Err(StoreError::Conflict);
            }
            leaving.push((key, messages));
        }
        Ok(leaving)
    }

    /// Whether every target can take its messages.
    fn check(&mut self, messages: &[Complete], leaving: &[Leaving]) -> Result<(), CommitError> {
        let mut next: BTreeMap<Box<[u8]>, Option<Uid>> = BTreeMap::new();
        let mut more: BTreeMap<&User, QuotaUsage> = BTreeMap::new();
        let mut targets: Vec<_> = messages
            .iter()
            .flat_map(|message| {
                let targets = message.places.iter().zip(&message.targets);
                targets.map(move |(place, target)| (*place, message, target))
            })
            .collect();
        // What is given out is, too, in the order in which it was asked for.
        targets.sort_unstable_by_key(|(place, ..)| *place);
        for (index, message, target) in targets {
            let mut check = || {
                target.check_unique_id()?;
                let key = name_key(target.user.as_str(), target.mailbox.as_str());
                let uid = match next.get(&key) {
                    Some(uid) => *uid,
                    None => self.named(&target.user, &target.mailbox)?.1.header()?.uid_next,
                };
                let uid =
                    uid.ok_or_else(|| StoreError::Unavailable("no UID is left in the mailbox".into()))?;
                let given = target.uid.unwrap_or(uid);
                if given < uid {
                    return Err(StoreError::Exists);
                }
                next.insert(key, given.next());
                let user = target.user.as_str().as_bytes();
                let noted = noted_octets(target, &self.core.options.annotations)?;
                let sum = more.entry(&target.user).or_default();
                let annotations = sum.annotations.saturating_add(noted);
                let storage = sum.storage.saturating_add(message.size);
                *sum = QuotaUsage { annotations, ..QuotaUsage::of_messages(sum.messages + 1, storage) };
                let less = leaving.iter().filter(|(key, _)| row::user_of(key) == user);
                let less =
                    less.flat_map(|(_, messages)| messages).fold(QuotaUsage::NOTHING, |less, message| {
                        QuotaUsage::of_messages(less.messages + 1, less.storage + message.size)
                    });
                if target.exempt { Ok(()) } else { self.admit(user, sum, &less) }
            };
            check().map_err(|error| CommitError::of_target(index, error))?;
        }
        Ok(())
    }

    fn store_body(&mut self, message: &Complete) -> Result<()> {
        let core = self.core;
        if let Some((number, chunk)) = &message.tail {
            self.put(&core.database.bodies, body::key(message.body, *number), chunk.clone());
        }
        if message.spilled.is_some() {
            self.delete(&core.database.uploads, message.body.to_be_bytes().to_vec());
        }
        if let Some(summary) = &message.summary {
            self.put_summary(message.body, summary, message.seal.as_ref())?;
        }
        self.put_keys(message.body, &message.keys);
        match u32::try_from(message.targets.len() + message.queue.len()).unwrap_or(u32::MAX) {
            // The body is new, so there is no row to remove.
            1 => drop(self.references.insert(message.body, 1)),
            count => self.set_references(message.body, count),
        }
        Ok(())
    }

    fn place(&mut self, complete: &Complete, target: &Target) -> Result<Appended> {
        let thread = self.thread(target.user.as_str().as_bytes(), &complete.ids)?;
        let (key, staged) = self.named(&target.user, &target.mailbox)?;
        let header = staged.header()?;
        let next = header.uid_next.ok_or(StoreError::NotFound)?;
        let uid = target.uid.unwrap_or(next);
        header.uid_next = uid.next();
        header.unique_ids |= target.unique_id.is_some();
        let (modseq, rows) = (header.next_modseq()?, header.rows);
        let appended = Appended::new(header.uid_validity, uid);
        let message = Message {
            flags: target.flags.clone(),
            modseq,
            object: Some(ObjectId::from(u128::from(complete.body))),
            thread: Some(thread),
            ..Message::new(uid, complete.size, target.internal_date)
        };
        let saved = target.saved.or_else(|| DateTime::new(date(), 0));
        if let Some((row_key, sealed)) = origin_row(rows, uid, target, complete.seal.as_ref())? {
            self.put_origin(row_key, sealed);
        }
        self.note_new(&key, (rows, uid), target, modseq, complete.seal.as_ref())?;
        self.add_messages(&key, vec![message.with_saved(saved)])?;
        Ok(appended)
    }

    /// Gives a mailbox the numbers it had elsewhere.
    pub(super) fn adopt(
        &mut self,
        user: &User,
        name: &mailwright_mail_model::MailboxName,
        uid_validity: UidValidity,
        uid_next: Option<Uid>,
    ) -> Result<()> {
        let (key, staged) = self.named(user, name)?;
        let header = staged.header()?;
        if header.uid_validity != uid_validity && header.messages > 0 {
            return Err(StoreError::Exists);
        }
        let (meta, value) = self.core.database.adopt_validity(uid_validity.get());
        self.put(&self.core.database.meta, meta.as_bytes().to_vec(), value);
        let header = self.find(&key)?.ok_or(StoreError::NotFound)?.header()?;
        let renumbered = header.uid_validity != uid_validity;
        // UIDs of another validity mean nothing any more.
        let next = if renumbered { Some(Uid::MIN) } else { header.uid_next };
        header.uid_next = next.and_then(|next| uid_next.map(|given| given.max(next)));
        header.uid_validity = uid_validity;
        if renumbered {
            header.recent_from = Some(Uid::MIN);
            header.history_since = header.next_modseq()?;
        }
        self.find(&key)?.ok_or(StoreError::NotFound)?.touch();
        self.renew(&key)
    }
}
