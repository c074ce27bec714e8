//! What is noted about messages: for each message a row of what is shared, and one for each user of what is private to them.
//!
//! The key is the mailbox's number for rows, the UID, and the user. The number is that of an expunged message that can be had back,
//! with a UID of 0, as long as it is one. The value begins with the octets that count, so that a row can go without anybody reading
//! the rest, which is sealed as the body of the message is. The [`Header`] of a mailbox says how many octets there are in it, and
//! whether there was ever any: of most mailboxes nobody has to look for rows.

use bytes::Bytes;
use mailwright_mail_model::{AnnotationScope, ModSeq, Uid, UidSet};

use super::committer::Group;
use super::database::failed;
use super::detail::{self, NOTES};
use super::row::Fields;
use super::{Core, body, row};
use crate::annotate::{Kept, told};
use crate::vault::BodyKey;
use crate::{
    AnnotationChange, AnnotationLimits, AnnotationsStored, Carried, MailboxRef, Message, MessageAnnotation,
    QuotaUsage, Result, StoreError, Target, User,
};

/// What an encoded row is bound to, beside the body whose key seals it. Copies share that, so it is no message.
const PURPOSE: &[u8] = b"annotations";

const PLAIN: u8 = 0;
const SEALED: u8 = 1;

/// Where rows of annotations are: the number of the rows of a mailbox and a UID, or what keeps an expunged message.
#[derive(Clone, Copy)]
pub(super) struct Place(u64, u32);

impl Place {
    pub(super) const fn of(rows: u64, uid: Uid) -> Self {
        Self(rows, uid.get())
    }

    /// Of an expunged message that can be had back.
    pub(super) const fn expunged(identity: u64) -> Self {
        Self(identity, 0)
    }

    pub(super) fn key(self, reader: &str) -> Vec<u8> {
        [&[NOTES][..], &self.0.to_be_bytes(), &self.1.to_be_bytes(), reader.as_bytes()].concat()
    }
}

/// The keys of all rows of a mailbox.
pub(super) fn prefix(rows: u64) -> Vec<u8> {
    [&[NOTES][..], &rows.to_be_bytes()].concat()
}

/// The number of the rows, the UID and the user in a key.
pub(super) fn parts(key: &[u8]) -> Option<(u64, u32, &str)> {
    let mut fields = Fields(key.strip_prefix(&[NOTES])?);
    Some((fields.u64()?, fields.u32()?, str::from_utf8(fields.0).ok()?))
}

/// How many octets a row counts for.
pub(super) fn octets(value: &[u8]) -> u64 {
    Fields(value).u64().unwrap_or(0)
}

/// The octets of what is noted about a message as it comes, if that is not too much.
pub(super) fn noted_octets(target: &Target, limits: &AnnotationLimits) -> Result<u64> {
    let Some((_, values)) = target.annotations.as_deref() else { return Ok(0) };
    let mut octets = 0;
    for scope in AnnotationScope::ALL {
        let mut kept = Kept::default();
        kept.change(values, scope, ModSeq::MIN, limits)?;
        octets += kept.octets();
    }
    Ok(octets)
}

fn encode(kept: &Kept, seal: Option<&BodyKey>) -> Result<Bytes> {
    let mut value = kept.octets().to_be_bytes().to_vec();
    let plain = kept.encode();
    match seal {
        Some(seal) => {
            value.push(SEALED);
            value.extend_from_slice(&seal.seal(PURPOSE, &plain)?);
        }
        None => {
            value.push(PLAIN);
            value.extend_from_slice(&plain);
        }
    }
    Ok(value.into())
}

fn decode(value: &[u8], seal: impl FnOnce() -> Result<Option<BodyKey>>) -> Result<Kept> {
    let corrupt = || StoreError::Corrupt("the annotations of a message".into());
    let mut fields = Fields(value);
    fields.u64().ok_or_else(corrupt)?;
    match fields.u8() {
        Some(PLAIN) => Kept::decode(fields.0).ok_or_else(corrupt),
        Some(SEALED) => {
            let opened = seal()?.and_then(|seal| seal.open(PURPOSE, fields.0));
            Kept::decode(&opened.ok_or_else(corrupt)?).ok_or_else(corrupt)
        }
        _ => Err(corrupt()),
    }
}

impl Core {
    pub(super) fn message_annotations(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        reader: &User,
    ) -> Result<Vec<(Uid, Vec<MessageAnnotation>)>> {
        let header = self.header_of(mailbox)?;
        let mut all = Vec::new();
        if header.annotated.is_none() {
            return Ok(all);
        }
        for range in uids.ranges() {
            let first = Place::of(header.rows, *range.start()).key("");
            let end = Place(header.rows, range.end().get().saturating_add(1)).key("");
            // Of the last UID there may be, nothing is above but the rows of another mailbox.
            let rows = match range.end().next() {
                Some(_) => self.database.details.range(first..end),
                None => self.database.details.range(first..prefix(header.rows.saturating_add(1))),
            };
            let mut found: Vec<(Uid, bool, Bytes)> = Vec::new();
            for entry in rows {
                let (key, sealed) = entry.into_inner().map_err(failed)?;
                let Some((_, uid, whose)) = parts(&key) else { continue };
                let Some(uid) = Uid::new(uid).filter(|_| whose.is_empty() || whose == reader.as_str()) else {
                    continue;
                };
                found.push((uid, whose.is_empty(), detail::unseal(&key, sealed.into())?));
            }
            self.tell(mailbox, &found, &mut all)?;
        }
        Ok(all)
    }

    /// Opens rows, in the order of the UIDs.
    fn tell(
        &self,
        mailbox: &MailboxRef,
        found: &[(Uid, bool, Bytes)],
        all: &mut Vec<(Uid, Vec<MessageAnnotation>)>,
    ) -> Result<()> {
        if found.is_empty() {
            return Ok(());
        }
        let name = row::name_key(mailbox.user().as_str(), mailbox.name().as_str());
        let live = self.live(&name)?.ok_or(StoreError::NotFound)?;
        let snapshot = self.snapshot(&name, &live)?;
        for rows in found.chunk_by(|(one, ..), (other, ..)| one == other) {
            let Some((uid, ..)) = rows.first() else { continue };
            let Some(message) = snapshot.message(*uid) else { continue };
            let (mut private, mut shared) = (None, None);
            for (_, is_shared, value) in rows {
                let kept =
                    decode(value, || self.summary_key(body::of(message)?, message.size, mailbox.user()))?;
                *(if *is_shared { &mut shared } else { &mut private }) = Some(kept);
            }
            let seen = told(private.as_ref(), shared.as_ref());
            if !seen.is_empty() {
                all.push((*uid, seen));
            }
        }
        Ok(())
    }

    /// The keys of the rows of one message, as committed.
    fn note_keys(&self, place: Place) -> Result<Vec<Vec<u8>>> {
        let entries = self.database.details.prefix(place.key(""));
        entries.map(|entry| Ok(entry.key().map_err(failed)?.to_vec())).collect()
    }
}

/// One row as it is to be: its key, the octets that count of it before and after, and what is in it.
struct NewRow {
    key: Vec<u8>,
    before: u64,
    after: u64,
    value: Bytes,
}

impl Group<'_> {
    pub(super) fn annotate_messages(
        &mut self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        writer: &User,
        change: &AnnotationChange,
    ) -> Result<AnnotationsStored> {
        let (key, staged) = self.selected(mailbox)?;
        let header = staged.header()?;
        let (rows, user) = (header.rows, mailbox.user());
        // What the next change will have; nothing is staged before all is known to be possible.
        let next = header.highest_modseq.next();
        let modseq = next.ok_or_else(|| StoreError::Unavailable("no mod-sequence is left".into()))?;
        let snapshot = self.snapshot(&key)?;
        let (mut stored, mut modified) = (AnnotationsStored::default(), Vec::new());
        let (mut changed, mut staged) = (Vec::new(), Vec::new());
        for message in snapshot.among(uids) {
            if change.unchanged_since.is_some_and(|limit| message.modseq > limit) {
                modified.push(message.uid);
                continue;
            }
            let new = self.noted(Place::of(rows, message.uid), message, user, writer, change, modseq)?;
            stored.messages.push((message.uid, if new.is_empty() { message.modseq } else { modseq }));
            if !new.is_empty() {
                changed.push((message.clone(), Message { modseq, ..message.clone() }));
                staged.extend(new);
            }
        }
        stored.modified = modified.into_iter().collect();
        if changed.is_empty() {
            return Ok(stored);
        }
        let sum = |of: fn(&NewRow) -> u64| staged.iter().map(of).sum::<u64>();
        let (before, after) = (sum(|row| row.before), sum(|row| row.after));
        let usage = |annotations| QuotaUsage { annotations, ..QuotaUsage::NOTHING };
        self.admit(user.as_str().as_bytes(), &usage(after), &usage(before))?;
        self.selected(mailbox)?.1.header()?.next_modseq()?;
        self.count_notes(&key, before, after)?;
        for NewRow { key, value, .. } in staged {
            self.set_detail(key, Some(value));
        }
        self.change_flags(&key, changed)?;
        Ok(stored)
    }

    /// The rows of a message that become others by a change.
    fn noted(
        &self,
        place: Place,
        message: &Message,
        owner: &User,
        writer: &User,
        change: &AnnotationChange,
        modseq: ModSeq,
    ) -> Result<Vec<NewRow>> {
        let core = self.core;
        let seal = || core.summary_key(body::of(message)?, message.size, owner);
        let mut new = Vec::new();
        for scope in AnnotationScope::ALL {
            if !change.values.iter().any(|(_, of, _)| *of == scope) {
                continue;
            }
            let reader = if scope == AnnotationScope::Private { writer.as_str() } else { "" };
            let key = place.key(reader);
            let old = self.detail(&key)?;
            let mut kept = old.as_ref().map_or(Ok(Kept::default()), |old| decode(old, seal))?;
            if kept.change(&change.values, scope, modseq, &core.options.annotations)? {
                let value = encode(&kept, seal()?.as_ref())?;
                let before = old.as_deref().map_or(0, octets);
                new.push(NewRow { key, before, after: kept.octets(), value });
            }
        }
        Ok(new)
    }

    /// Counts what is noted in a mailbox, there and for its owner.
    pub(super) fn count_notes(&mut self, key: &[u8], before: u64, after: u64) -> Result<()> {
        let staged = self.find(key)?.ok_or(StoreError::NotFound)?;
        let header = staged.header()?;
        let sum = header.annotated.unwrap_or(0).saturating_add(after).saturating_sub(before);
        header.annotated = Some(sum);
        staged.touch();
        self.account(row::user_of(key))?.change_annotations(before, after);
        Ok(())
    }

    /// What is noted about a new message whose mailbox has these rows: the rows and the octets that count, to be staged with it.
    pub(super) fn note_new(
        &mut self,
        key: &[u8],
        place: (u64, Uid),
        target: &Target,
        modseq: ModSeq,
        seal: Option<&BodyKey>,
    ) -> Result<()> {
        let Some((writer, values)) = target.annotations.as_deref() else { return Ok(()) };
        let (mut rows, mut sum) = (Vec::new(), 0);
        for scope in AnnotationScope::ALL {
            let mut kept = Kept::default();
            if kept.change(values, scope, modseq, &self.core.options.annotations)? {
                let reader = if scope == AnnotationScope::Private { writer.as_str() } else { "" };
                rows.push((Place::of(place.0, place.1).key(reader), encode(&kept, seal)?));
                sum += kept.octets();
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        self.count_notes(key, 0, sum)?;
        rows.into_iter().for_each(|(key, value)| self.set_detail(key, Some(value)));
        Ok(())
    }

    /// The rows of one message as this group leaves them so far.
    fn notes(&self, place: Place) -> Result<Vec<(Vec<u8>, Bytes)>> {
        let prefix = place.key("");
        let mut keys = self.core.note_keys(place)?;
        let staged = self.details.range(prefix.clone()..).map(|(key, _)| key);
        keys.extend(staged.take_while(|key| key.starts_with(&prefix)).cloned());
        keys.sort_unstable();
        keys.dedup();
        let mut rows = Vec::with_capacity(keys.len());
        for key in keys {
            // One that cannot be read is worth no refusal, and a check of the store tells of it.
            if let Ok(Some(value)) = self.detail(&key) {
                rows.push((key, value));
            }
        }
        Ok(rows)
    }

    /// The octets of what goes along with copies of these messages.
    pub(super) fn carried_octets(
        &mut self,
        mailbox: &MailboxRef,
        messages: &[Message],
        carried: &Carried,
    ) -> Result<u64> {
        let header = self.selected(mailbox)?.1.header()?;
        let (rows, annotated) = (header.rows, header.annotated);
        let mut sum = 0;
        for message in messages.iter().filter(|_| annotated.is_some()) {
            for (_, value) in self.carried(Place::of(rows, message.uid), carried)? {
                sum += octets(&value);
            }
        }
        Ok(sum)
    }

    /// The users of the rows that go along, and the rows.
    fn carried(&self, place: Place, carried: &Carried) -> Result<Vec<(String, Bytes)>> {
        let mut rows = Vec::new();
        let reader = carried.reader.as_ref().map(User::as_str);
        for whose in reader.into_iter().chain(carried.shared.then_some("")) {
            if let Ok(Some(value)) = self.detail(&place.key(whose)) {
                rows.push((whose.to_owned(), value));
            }
        }
        Ok(rows)
    }

    /// Gives copies what is noted about their originals.
    pub(super) fn copy_notes(
        &mut self,
        from: u64,
        messages: &[Message],
        (key, to): (&[u8], u64),
        copies: &[Message],
        carried: &Carried,
    ) -> Result<()> {
        let mut sum = 0;
        let mut any = false;
        for (message, copy) in messages.iter().zip(copies) {
            for (whose, value) in self.carried(Place::of(from, message.uid), carried)? {
                sum += octets(&value);
                any = true;
                self.set_detail(Place::of(to, copy.uid).key(&whose), Some(value));
            }
        }
        if any { self.count_notes(key, 0, sum) } else { Ok(()) }
    }

    /// Takes away what is noted about messages of a mailbox that are removed.
    pub(super) fn forget_notes(&mut self, key: &[u8], messages: &[Message]) -> Result<()> {
        self.take_notes(key, messages, |_| None)
    }

    /// The same, but each goes to where the message can be had back from.
    pub(super) fn set_notes_aside(&mut self, key: &[u8], message: &Message, identity: u64) -> Result<()> {
        self.take_notes(key, std::slice::from_ref(message), |_| Some(Place::expunged(identity)))
    }

    fn take_notes(
        &mut self,
        key: &[u8],
        messages: &[Message],
        to: impl Fn(&Message) -> Option<Place>,
    ) -> Result<()> {
        let Some(staged) = self.find(key)? else { return Ok(()) };
        let header = staged.header()?;
        let (rows, annotated) = (header.rows, header.annotated);
        if annotated.is_none() {
            return Ok(());
        }
        let mut sum = 0;
        for message in messages {
            let aside = to(message);
            for (key, value) in self.notes(Place::of(rows, message.uid))? {
                sum += octets(&value);
                if let (Some(aside), Some((_, _, whose))) = (aside, parts(&key)) {
                    self.set_detail(aside.key(whose), Some(value));
                }
                self.set_detail(key, None);
            }
        }
        if sum > 0 { self.count_notes(key, sum, 0) } else { Ok(()) }
    }

    /// The octets of what is noted about an expunged message.
    pub(super) fn octets_aside(&self, identity: u64) -> Result<u64> {
        Ok(self.notes(Place::expunged(identity))?.iter().map(|(_, value)| octets(value)).sum())
    }

    /// Gives a message that is had back what was noted about it.
    pub(super) fn bring_notes_back(&mut self, identity: u64, key: &[u8], to: (u64, Uid)) -> Result<()> {
        let (mut sum, mut any) = (0, false);
        for (old, value) in self.notes(Place::expunged(identity))? {
            let Some((_, _, whose)) = parts(&old) else { continue };
            (sum, any) = (sum + octets(&value), true);
            self.set_detail(Place::of(to.0, to.1).key(whose), Some(value));
            self.set_detail(old, None);
        }
        if any { self.count_notes(key, 0, sum) } else { Ok(()) }
    }

    /// Takes away what was noted about an expunged message that cannot be had back any more.
    pub(super) fn forget_notes_aside(&mut self, identity: u64) -> Result<()> {
        for (key, _) in self.notes(Place::expunged(identity))? {
            self.set_detail(key, None);
        }
        Ok(())
    }

    /// Takes away rows of a mailbox that is gone; how many, and whether all.
    pub(super) fn collect_notes(&mut self, rows: u64, limit: usize) -> Result<(usize, bool)> {
        let mut count = 0;
        for entry in self.core.database.details.prefix(prefix(rows)) {
            if count >= limit {
                return Ok((count, false));
            }
            self.delete_lazily(&self.core.database.details, Bytes::from(entry.key().map_err(failed)?));
            count += 1;
        }
        Ok((count, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_it_counts_and_where_it_is() {
        let key = Place::of(7, Uid::MIN).key("alice");
        assert_eq!(parts(&key), Some((7, 1, "alice")));
        assert!(key.starts_with(&prefix(7)));
        let mut kept = Kept::default();
        let noted = ("/comment".parse().unwrap(), AnnotationScope::Shared, Some(Bytes::from_static(b"tea")));
        let limits = AnnotationLimits::default();
        kept.change(&[noted], AnnotationScope::Shared, ModSeq::MIN, &limits).unwrap();
        let value = encode(&kept, None).unwrap();
        assert_eq!(octets(&value), 11);
        assert_eq!(decode(&value, || Ok(None)), Ok(kept));
        assert!(decode(&value[..9], || Ok(None)).is_ok(), "an empty row is one");
        assert!(decode(&value[..12], || Ok(None)).is_err());
    }
}
