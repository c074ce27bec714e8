//! The row of a mailbox: its numbers and counts, so that a delivery need not look at its messages.

use mailwright_mail_model::{Flag, ModSeq, SpecialUse, Uid, UidValidity};

use super::packed::Packed;
use super::row::{self, Fields};
use crate::{Message, ObjectId, Result, Snapshot, Status, StoreError};

/// What is stored of a mailbox beside its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Which message rows are its own.
    pub(super) rows: u64,
    pub(super) id: u64,
    pub(super) uid_validity: UidValidity,
    pub(super) uid_next: Option<Uid>,
    pub(super) highest_modseq: ModSeq,
    pub(super) messages: u32,
    pub(super) unseen: u32,
    pub(super) deleted: u32,
    pub(super) size: u64,
    pub(super) special_use: Option<SpecialUse>,
    /// How many messages no session has claimed as recent, and from which UID on they are.
    pub(super) recent: u32,
    pub(super) recent_from: Option<Uid>,
    /// Whether messages may have unique ids of their own.
    pub(super) unique_ids: bool,
    /// How many rows tell what was expunged, and since which mod-sequence they tell all.
    pub(super) history: u32,
    pub(super) history_since: ModSeq,
    /// Whether messages are packed, and which.
    pub(super) packed: Option<Packed>,
    /// The octets of what is noted about messages; `None` if nothing ever was.
    pub(super) annotated: Option<u64>,
}

/// What a row says by one bit each.
const UNIQUE_IDS: u8 = 1;
const PACKED: u8 = 2;
const ANNOTATED: u8 = 4;

/// How many octets a row has at least.
const FIXED: usize = 73;

impl Header {
    pub(super) const fn new(
        identity: u64,
        uid_validity: UidValidity,
        special_use: Option<SpecialUse>,
    ) -> Self {
        Self {
            rows: identity,
            id: identity,
            uid_validity,
            uid_next: Some(Uid::MIN),
            highest_modseq: ModSeq::MIN,
            messages: 0,
            unseen: 0,
            deleted: 0,
            size: 0,
            special_use,
            recent: 0,
            recent_from: Some(Uid::MIN),
            unique_ids: false,
            history: 0,
            history_since: ModSeq::ZERO,
            packed: None,
            annotated: None,
        }
    }

    pub(super) fn object_id(&self) -> ObjectId {
        ObjectId::from(u128::from(self.id))
    }

    pub(super) fn status(&self) -> Status {
        Status {
            uid_validity: self.uid_validity,
            uid_next: self.uid_next,
            highest_modseq: self.highest_modseq,
            messages: self.messages,
            unseen: self.unseen,
            deleted: self.deleted,
            size: self.size,
            id: Some(self.object_id()),
            recent: Some(self.recent),
        }
    }

    /// A snapshot of it without messages.
    pub(super) fn empty_snapshot(&self) -> Snapshot {
        let builder = Snapshot::builder(self.uid_validity).id(self.object_id());
        builder.highest_modseq(self.highest_modseq).build()
    }

    /// Takes the mod-sequence of the next change.
    pub(super) fn next_modseq(&mut self) -> Result<ModSeq> {
        let next = self.highest_modseq.next();
        self.highest_modseq =
            next.ok_or_else(|| StoreError::Unavailable("no mod-sequence is left".into()))?;
        Ok(self.highest_modseq)
    }

    /// Whether so many messages more can have UIDs.
    pub(super) fn room(&self, messages: u64) -> Result<()> {
        let free = self.uid_next.map_or(0, |next| u64::from(u32::MAX - next.get()) + 1);
        if messages <= free {
            Ok(())
        } else {
            Err(StoreError::Unavailable("no UID is left in the mailbox".into()))
        }
    }

    pub(super) fn count(&mut self, message: &Message) {
        self.messages = self.messages.saturating_add(1);
        self.unseen = self.unseen.saturating_add(u32::from(!message.flags.contains(&Flag::Seen)));
        self.deleted = self.deleted.saturating_add(u32::from(message.flags.contains(&Flag::Deleted)));
        self.size = self.size.saturating_add(message.size);
        self.recent = self.recent.saturating_add(u32::from(self.is_recent(message.uid)));
    }

    pub(super) fn discount(&mut self, message: &Message) {
        self.messages = self.messages.saturating_sub(1);
        self.unseen = self.unseen.saturating_sub(u32::from(!message.flags.contains(&Flag::Seen)));
        self.deleted = self.deleted.saturating_sub(u32::from(message.flags.contains(&Flag::Deleted)));
        self.size = self.size.saturating_sub(message.size);
        self.recent = self.recent.saturating_sub(u32::from(self.is_recent(message.uid)));
    }

    fn is_recent(&self, uid: Uid) -> bool {
        self.recent_from.is_some_and(|from| uid >= from)
    }

    pub(super) fn encode(&self, key: &[u8]) -> Vec<u8> {
        let usage = self.special_use.map_or("", SpecialUse::as_str);
        let packed = if self.packed.is_some() { 12 } else { 0 };
        let annotated = if self.annotated.is_some() { 8 } else { 0 };
        let mut value = Vec::with_capacity(FIXED + packed + annotated + usage.len() + row::SUM);
        value.extend_from_slice(&self.rows.to_be_bytes());
        value.extend_from_slice(&self.id.to_be_bytes());
        value.extend_from_slice(&self.uid_validity.get().to_be_bytes());
        value.extend_from_slice(&self.uid_next.map_or(0, Uid::get).to_be_bytes());
        value.extend_from_slice(&self.highest_modseq.get().to_be_bytes());
        value.extend_from_slice(&self.messages.to_be_bytes());
        value.extend_from_slice(&self.unseen.to_be_bytes());
        value.extend_from_slice(&self.deleted.to_be_bytes());
        value.extend_from_slice(&self.size.to_be_bytes());
        value.extend_from_slice(&self.history.to_be_bytes());
        value.extend_from_slice(&self.history_since.get().to_be_bytes());
        value.extend_from_slice(&self.recent.to_be_bytes());
        value.extend_from_slice(&self.recent_from.map_or(0, Uid::get).to_be_bytes());
        let switches = [
            (self.unique_ids, UNIQUE_IDS),
            (self.packed.is_some(), PACKED),
            (self.annotated.is_some(), ANNOTATED),
        ];
        value.push(switches.iter().filter(|(on, _)| *on).fold(0, |all, (_, switch)| all | switch));
        if let Some(packed) = self.packed {
            value.extend_from_slice(&packed.modseq.get().to_be_bytes());
            value.extend_from_slice(&packed.messages.to_be_bytes());
        }
        if let Some(octets) = self.annotated {
            value.extend_from_slice(&octets.to_be_bytes());
        }
        value.extend_from_slice(usage.as_bytes());
        row::seal(key, value)
    }

    pub(super) fn decode(key: &[u8], sealed: &[u8]) -> Result<Self> {
        let corrupt = || StoreError::Corrupt(format!("the mailbox {:?}", String::from_utf8_lossy(key)));
        row::open(key, sealed).and_then(Self::fields).ok_or_else(corrupt)
    }

    fn fields(value: &[u8]) -> Option<Self> {
        let mut fields = Fields(value);
        let mut header = Self {
            rows: fields.u64()?,
            id: fields.u64()?,
            uid_validity: UidValidity::new(fields.u32()?)?,
            uid_next: Uid::new(fields.u32()?),
            highest_modseq: ModSeq::new(fields.u64()?)?,
            messages: fields.u32()?,
            unseen: fields.u32()?,
            deleted: fields.u32()?,
            size: fields.u64()?,
            history: fields.u32()?,
            history_since: ModSeq::new(fields.u64()?)?,
            recent: fields.u32()?,
            recent_from: Uid::new(fields.u32()?),
            unique_ids: false,
            packed: None,
            annotated: None,
            special_use: None,
        };
        let switches = fields.u8()?;
        header.unique_ids = switches & UNIQUE_IDS != 0;
        if switches & PACKED != 0 {
            header.packed = Some(Packed { modseq: ModSeq::new(fields.u64()?)?, messages: fields.u32()? });
        }
        if switches & ANNOTATED != 0 {
            header.annotated = Some(fields.u64()?);
        }
        header.special_use = match str::from_utf8(fields.0).ok()? {
            "" => None,
            usage => Some(usage.parse().ok()?),
        };
        Some(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back() {
        let mut header = Header::new(9, UidValidity::new(3).unwrap(), Some(SpecialUse::Sent));
        header.uid_next = None;
        header.count(&Message::new(Uid::MIN, 500, mailwright_mail_model::DateTime::new(0, 0).unwrap()));
        header.packed = Some(Packed { modseq: ModSeq::MAX, messages: 7 });
        header.annotated = Some(99);
        let sealed = header.encode(b"a\0b");
        assert_eq!(Header::decode(b"a\0b", &sealed), Ok(header));
        assert!(matches!(Header::decode(b"a\0c", &sealed), Err(StoreError::Corrupt(_))));
    }
}
