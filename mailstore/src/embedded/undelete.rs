//! Expunged messages that can be had back. Each has two rows: one by user, and one by time, by which it ends.
//!
//! The time is that of the [clock](crate::clock), since windows are of days. A clock that is in doubt makes them longer.

use bytes::Bytes;
use mailwright_mail_model::{DateTime, Flag, FlagSet, MailboxName, Uid};

use super::committer::Group;
use super::database::{date, failed};
use super::row::{self, Fields, number_of};
use super::{Core, arrange, body, detail};
use crate::{Appended, ExpungedMessage, Message, ObjectId, QuotaUsage, Result, StoreError, User, clock};

impl Core {
    pub(super) fn expunged_messages(&self, user: &User) -> Result<Vec<ExpungedMessage>> {
        let prefix = key(user.as_str().as_bytes(), None);
        let mut messages = Vec::new();
        for entry in self.database.details.prefix(&prefix) {
            let (row_key, sealed) = entry.into_inner().map_err(failed)?;
            let id = row_key.last_chunk::<8>().map(|id| u64::from_be_bytes(*id));
            // One that cannot be read cannot be had back.
            let kept = row::open(&row_key, &sealed).and_then(decode);
            let Some((id, (seconds, name, message))) = id.zip(kept) else { continue };
            let Some(expunged) = DateTime::new(seconds, 0) else { continue };
            messages.push(ExpungedMessage::new(ObjectId::from(u128::from(id)), name, &message, expunged));
        }
        Ok(messages)
    }
}

impl Group<'_> {
    /// Lets go of messages that are removed from a mailbox, at once or after the window.
    pub(super) fn let_go(&mut self, mailbox: &[u8], messages: &[Message]) -> Result<()> {
        let core = self.core;
        if core.options.undelete.is_zero() {
            return messages.iter().try_for_each(|message| self.release(message));
        }
        let user = row::user_of(mailbox);
        let name = mailbox.get(user.len() + 1..).unwrap_or_default();
        let seconds = date();
        for message in messages {
            let id = core.database.identity()?;
            let row_key = key(user, Some(id));
            let mut value = Vec::new();
            value.extend_from_slice(&seconds.to_be_bytes());
            value.extend_from_slice(&u16::try_from(name.len()).unwrap_or(0).to_be_bytes());
            value.extend_from_slice(name);
            value.extend_from_slice(&message.uid.get().to_be_bytes());
            value.extend_from_slice(&row::encode_message(message));
            let time_key = time_key(seconds, &row_key);
            self.put(&core.database.details, time_key, Bytes::new());
            let sealed = row::seal(&row_key, value);
            self.put(&core.database.details, row_key, sealed);
            self.set_notes_aside(mailbox, message, id)?;
        }
        Ok(())
    }

    pub(super) fn undelete(&mut self, user: &User, id: ObjectId, target: &MailboxName) -> Result<Appended> {
        let core = self.core;
        let identity = number_of(id).ok_or(StoreError::NotFound)?;
        let row_key = key(user.as_str().as_bytes(), Some(identity));
        if self.details.get(&row_key).is_some_and(Option::is_none) {
            return Err(StoreError::NotFound);
        }
        let value = core.detail(&row_key)?.ok_or(StoreError::NotFound)?;
        let corrupt = || StoreError::Corrupt("an expunged message".into());
        let (seconds, _, message) = decode(&value).ok_or_else(corrupt)?;
        let (mailbox, staged) = self.named(user, target)?;
        staged.header()?.room(1)?;
        let annotations = self.octets_aside(identity)?;
        let more = QuotaUsage { annotations, ..QuotaUsage::of_messages(1, message.size) };
        self.admit(user.as_str().as_bytes(), &more, &QuotaUsage::NOTHING)?;
        let header = self.find(&mailbox)?.ok_or(StoreError::NotFound)?.header()?;
        let uid = header.uid_next.ok_or(StoreError::NotFound)?;
        header.uid_next = uid.next();
        let (modseq, validity, rows) = (header.next_modseq()?, header.uid_validity, header.rows);
        self.bring_notes_back(identity, &mailbox, (rows, uid))?;
        let flags = message.flags.difference(&FlagSet::from_iter([Flag::Deleted]));
        let message = Message { uid, modseq, flags, ..message }.with_saved(DateTime::new(date(), 0));
        self.add_messages(&mailbox, vec![message])?;
        self.delete(&core.database.details, time_key(seconds, &row_key));
        self.set_detail(row_key, None);
        Ok(Appended::new(validity, uid))
    }

    /// Takes away some of the messages whose time is over; how many rows went.
    pub(super) fn collect_expunged(&mut self, limit: usize) -> Result<usize> {
        let core = self.core;
        let window = i64::try_from(core.options.undelete.as_secs()).unwrap_or(i64::MAX);
        let now = i64::try_from(clock::read().to_judge_age()).unwrap_or(i64::MAX);
        let due = now.saturating_sub(window);
        let mut count = 0;
        for entry in core.database.details.prefix([detail::EXPUNGED_AT]) {
            let by_time = Bytes::from(entry.key().map_err(failed)?);
            let Some((head, row_key)) = by_time.split_at_checked(9) else { continue };
            let seconds = head.last_chunk::<8>().map_or(0, |seconds| i64::from_be_bytes(*seconds));
            if count >= limit || seconds > due {
                break;
            }
            count += 1;
            // A row that cannot be read keeps its body for good, until a check of the store finds it.
            if let Ok(Some(value)) = core.detail(row_key)
                && let Some((_, _, message)) = decode(&value)
            {
                let body = body::of(&message)?;
                let references = self.references(body)?.saturating_sub(1);
                self.set_references(body, references);
            }
            if let Some(identity) = row_key.last_chunk::<8>() {
                self.forget_notes_aside(u64::from_be_bytes(*identity))?;
            }
            let user = row::user_of(row_key.get(1..).unwrap_or_default());
            self.account(user)?.left_for_good(1);
            self.set_detail(row_key.to_vec(), None);
            self.delete(&core.database.details, by_time);
        }
        Ok(count)
    }
}

pub(super) fn key(user: &[u8], id: Option<u64>) -> Vec<u8> {
    let mut key = vec![detail::EXPUNGED];
    key.extend_from_slice(user);
    key.push(0);
    key.extend(id.iter().flat_map(|id| id.to_be_bytes()));
    key
}

pub(super) fn time_key(seconds: i64, row_key: &[u8]) -> Vec<u8> {
    [&[detail::EXPUNGED_AT][..], &seconds.to_be_bytes(), row_key].concat()
}

/// When it was expunged, from where, and the message.
pub(super) fn decode(value: &[u8]) -> Option<(i64, MailboxName, Message)> {
    let mut fields = Fields(value);
    let seconds = i64::from_be_bytes(fields.take()?);
    let length = u16::from_be_bytes(fields.take()?);
    let name = arrange::name_of(b"", fields.octets(usize::from(length))?).ok()?;
    let uid = Uid::new(fields.u32()?)?;
    Some((seconds, name, row::decode_message(uid, fields.0)?))
}
