//! Mailboxes and their messages, and what the headers say of them.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use mailwright_mail_model::{ModSeq, Uid};

use super::bodies::Who;
use super::{Check, Repair};
use crate::embedded::header::Header;
use crate::embedded::row::{self, Fields};
use crate::embedded::walk::{Hole, shown};
use crate::{Message, Result, Snapshot};

/// What was seen of the messages.
struct Seen {
    /// By the number of the rows: what the mailbox comes to.
    counted: HashMap<u64, Header>,
    /// Rows of messages that cannot be read, as they are.
    broken: BTreeMap<(u64, Uid), Bytes>,
    /// Mailboxes of which rows are in a hole.
    holed: HashSet<u64>,
}

impl Check<'_> {
    pub(super) fn mailboxes(&mut self) -> Result<()> {
        let holes = self.walk(&self.core.database.names, "mailboxes", |check, key, value| {
            let user = Bytes::copy_from_slice(row::user_of(key));
            match Header::decode(key, value) {
                Ok(header) => {
                    check.usage.entry(user).or_default().mailboxes += 1;
                    check.report.mailboxes += 1;
                    check.mailboxes.insert(header.rows, (Bytes::copy_from_slice(key), header));
                }
                Err(error) => {
                    check.gaps.users.insert(user);
                    check.find(format!("{error}; its messages cannot be reached"), None);
                }
            }
        })?;
        self.gaps.mailboxes = !holes.is_empty();
        Ok(())
    }

    /// Every message, and what the headers count of them.
    pub(super) fn messages(&mut self) -> Result<()> {
        let fresh = |(rows, (_, header)): (&u64, &(Bytes, Header))| {
            let fresh = Header::new(header.id, header.uid_validity, header.special_use);
            (*rows, Header { recent_from: header.recent_from, rows: *rows, ..fresh })
        };
        let counted = self.mailboxes.iter().map(fresh).collect();
        let mut seen = Seen { counted, broken: BTreeMap::new(), holed: HashSet::new() };
        let discarded = self.discarded_rows()?;
        let mut strays: HashMap<u64, u64> = HashMap::new();
        let holes = self.walk(&self.core.database.rows, "messages", |check, key, value| {
            let mut fields = Fields(key);
            let (Some(rows), Some(uid)) = (fields.u64(), fields.u32().and_then(Uid::new)) else {
                check.gaps.references = true;
                check.find("messages: a row without a UID".into(), None);
                return;
            };
            let message = row::open(key, value).and_then(|value| row::decode_message(uid, value));
            match (seen.counted.get_mut(&rows), message) {
                (Some(counted), Some(message)) => {
                    check.take(counted, &message);
                    check.refer(&message, Who::Message(rows, uid));
                }
                (Some(_), None) => {
                    seen.broken.insert((rows, uid), Bytes::copy_from_slice(value));
                }
                (None, message) => {
                    match &message {
                        Some(message) => check.refer(message, Who::Message(rows, uid)),
                        None => check.gaps.references = true,
                    }
                    if !discarded.contains(&rows) {
                        *strays.entry(rows).or_default() += 1;
                    }
                }
            }
        })?;
        for (rows, count) in strays {
            self.find(format!("{count} messages of a mailbox that cannot be found (rows {rows})"), None);
        }
        for hole in &holes {
            self.gaps.references = true;
            seen.holed.extend(self.mailboxes.keys().filter(|rows| hole.touches(**rows)));
        }
        self.compare(seen)
    }

    /// Counts a message.
    pub(super) fn take(&mut self, counted: &mut Header, message: &Message) {
        self.report.messages += 1;
        counted.count(message);
        counted.uid_next = counted.uid_next.max(message.uid.next());
        counted.highest_modseq = counted.highest_modseq.max(message.modseq);
    }

    /// Rows that wait to be taken away.
    pub(super) fn discarded_rows(&mut self) -> Result<HashSet<u64>> {
        let mut discarded = HashSet::new();
        self.walk(&self.core.database.trash, "trash", |_, key, _| {
            let mut fields = Fields(key.get(9..).unwrap_or_default());
            discarded.extend(fields.u64());
        })?;
        Ok(discarded)
    }

    /// Compares what was seen of each mailbox with its header and its packed messages.
    fn compare(&mut self, mut seen: Seen) -> Result<()> {
        let damaged = self.damaged_packs()?;
        let mut told = HashSet::new();
        let mailboxes: Vec<_> =
            self.mailboxes.iter().map(|(rows, (key, header))| (*rows, key.clone(), header.clone())).collect();
        for (rows, key, header) in mailboxes {
            let Some(mut counted) = seen.counted.remove(&rows) else { continue };
            let holed = seen.holed.contains(&rows);
            let packed = self.core.unpack(&header, &self.moment);
            let legible = packed.clone().or_else(|| self.core.unpack_parts(&header, &self.moment));
            let legible = legible.filter(Snapshot::is_consistent);
            let broken: Vec<_> = seen
                .broken
                .range((rows, Uid::MIN)..=(rows, Uid::MAX))
                .map(|((_, uid), value)| (*uid, value.clone()))
                .collect();
            let mut rescued = self.broken(&key, broken, legible.as_ref(), &mut counted, holed);
            let plain = Header { packed: None, ..header.clone() };
            let own = match header.packed {
                Some(_) => Some(self.core.load_rows(&key, &plain, &self.moment)?),
                None => None,
            };
            let user = Bytes::copy_from_slice(row::user_of(&key));
            if holed {
                // A sum of what was seen says nothing then.
                self.gaps.users.insert(user);
                if let Some((packed, own)) = legible.as_ref().zip(own.as_ref()) {
                    self.fill(&key, packed, own, &rescued, &mut counted);
                }
                continue;
            }
            if let Some((packed, own)) = legible.as_ref().zip(own.as_ref()) {
                self.revive(&key, packed, own, &mut rescued, &mut counted);
            }
            self.count(user, &header, &counted);
            let lies = match (header.packed, &packed, &own) {
                (None, ..) => None,
                (Some(_), Some(packed), Some(own)) => {
                    (!agree(packed, own, &rescued)).then_some("are not what its own rows say")
                }
                _ => {
                    told.insert(rows);
                    Some("are damaged or missing")
                }
            };
            if let Some(lies) = lies {
                let what = format!("{}: its packed messages {lies}", shown(&key));
                self.find(what, Some(Repair::Header(key.to_vec(), plain)));
            }
            self.compare_counts(&key, &header, &counted, lies.is_some());
        }
        for key in damaged {
            let remove = Repair::Remove(self.core.database.packs.clone(), key.clone());
            if Fields(&key).u64().is_some_and(|rows| told.contains(&rows)) {
                self.repairs.rows.push(remove);
            } else {
                self.find("packed messages: a row that nobody reads is damaged".into(), Some(remove));
            }
        }
        Ok(())
    }

    /// Tells the rows that cannot be read. Those that are packed too are written anew, the others are set aside; gives the former.
    fn broken(
        &mut self,
        key: &[u8],
        broken: Vec<(Uid, Bytes)>,
        packed: Option<&Snapshot>,
        counted: &mut Header,
        holed: bool,
    ) -> HashSet<Uid> {
        let mut rescued = HashSet::new();
        for (uid, value) in broken {
            let what = format!("UID {uid} in {}: its row cannot be read", shown(key));
            if let Some(message) = packed.and_then(|packed| packed.message(uid)) {
                self.rescue(what, message, counted);
                rescued.insert(uid);
                continue;
            }
            self.gaps.aside = self.gaps.aside.saturating_add(1);
            let row_key = row::key(counted.rows, &uid.get().to_be_bytes());
            // Where the counts cannot be made to fit, it stays.
            self.find(what, (!holed).then_some(Repair::SetAside(row_key, value)));
        }
        rescued
    }

    /// Finds messages in a hole that are packed too.
    fn fill(
        &mut self,
        key: &[u8],
        packed: &Snapshot,
        own: &Snapshot,
        rescued: &HashSet<Uid>,
        counted: &mut Header,
    ) {
        for message in packed.messages() {
            if own.message(message.uid).is_none() && !rescued.contains(&message.uid) {
                let what = format!("UID {} in {}: its row cannot be read", message.uid, shown(key));
                self.rescue(what, message, counted);
            }
        }
    }

    /// A message whose row is written anew.
    fn rescue(&mut self, what: String, message: &Message, counted: &mut Header) {
        self.take(counted, message);
        self.refer_rescued(message, Who::Message(counted.rows, message.uid));
        self.find(format!("{what}; it is packed"), Some(Repair::message(counted.rows, message)));
    }

    /// Counts a mailbox among what its user has.
    fn count(&mut self, user: Bytes, header: &Header, counted: &Header) {
        let Ok(annotations) = self.core.annotation_octets(header.id) else {
            // The walk over details tells why.
            self.gaps.users.insert(user);
            return;
        };
        let usage = self.usage.entry(user).or_default();
        usage.messages += u64::from(counted.messages);
        usage.storage += counted.size;
        usage.annotations += annotations + self.notes.octets_of(header.rows);
    }

    fn compare_counts(&mut self, key: &[u8], header: &Header, counted: &Header, unpacked: bool) {
        let numbers = |header: &Header| (header.messages, header.unseen, header.deleted, header.size);
        let mut right = header.clone();
        (right.messages, right.unseen, right.deleted, right.size) = numbers(counted);
        right.recent = counted.recent;
        if right.annotated.is_some() || self.notes.octets_of(header.rows) > 0 {
            right.annotated = Some(self.notes.octets_of(header.rows));
        }
        if header.uid_next.is_some_and(|next| counted.uid_next.is_none_or(|found| found > next)) {
            right.uid_next = counted.uid_next;
        }
        right.highest_modseq = header.highest_modseq.max(counted.highest_modseq).max(ModSeq::MIN);
        if right == *header {
            return;
        }
        let what = format!(
            "{}: counts {:?} and next UID {:?}, but has {:?} and needs {:?}",
            shown(key),
            numbers(header),
            header.uid_next,
            numbers(&right),
            right.uid_next
        );
        if unpacked || header.packed.is_some_and(|packed| packed.messages > right.messages) {
            right.packed = None;
        }
        self.find(what, Some(Repair::Header(key.to_vec(), right)));
    }

    /// The keys of rows of packed messages that are damaged.
    fn damaged_packs(&mut self) -> Result<Vec<Vec<u8>>> {
        let mut damaged = Vec::new();
        self.walk_values(&self.core.database.packs, "packed messages", |_, key, value| {
            if value.is_ok_and(|value| row::open(key, &value).is_some()) {
                return;
            }
            damaged.push(key.to_vec());
        })?;
        Ok(damaged)
    }
}

/// Whether messages that are packed are those of the rows, but for some whose rows are written anew.
fn agree(packed: &Snapshot, own: &Snapshot, rescued: &HashSet<Uid>) -> bool {
    if !packed.is_consistent() {
        return false;
    }
    let Some(last) = packed.messages().next_back().map(|message| message.uid) else { return true };
    let others = |message: &&Message| !rescued.contains(&message.uid);
    packed.messages().filter(others).eq(own.range(Uid::MIN..=last).filter(others))
}

impl Hole {
    /// Whether rows of messages of the mailbox with these rows may be in it.
    fn touches(&self, rows: u64) -> bool {
        let end = |key: &Option<fjall::UserKey>| key.as_ref().and_then(|key| Fields(key).u64());
        (end(&self.after).unwrap_or(0)..=end(&self.before).unwrap_or(u64::MAX)).contains(&rows)
    }
}
