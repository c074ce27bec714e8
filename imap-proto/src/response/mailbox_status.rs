//! `* STATUS`: the numbers of a mailbox that is not selected.

use mailwright_mail_model::{ModSeq, Uid, UidValidity};

use super::{
    ListedName, is_object_id,
    reader::{Reader, Result},
};
use crate::{command::StatusItem, grammar::Wire};

/// The numbers of a mailbox (RFC 9051 §7.3.4): those that were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct MailboxStatus {
    /// The mailbox.
    pub name: ListedName,
    /// How many messages.
    pub messages: Option<u32>,
    /// How many of them with `\Recent` (RFC 3501 §6.3.10).
    pub recent: Option<u32>,
    /// The next UID.
    pub uid_next: Option<Uid>,
    /// The UIDVALIDITY.
    pub uid_validity: Option<UidValidity>,
    /// How many messages without `\Seen`.
    pub unseen: Option<u32>,
    /// How many messages with `\Deleted` (RFC 9051).
    pub deleted: Option<u32>,
    /// How many octets (RFC 8438).
    pub size: Option<u64>,
    /// The highest mod-sequence (RFC 7162).
    pub highest_mod_seq: Option<ModSeq>,
    /// The octets of the messages with `\Deleted` (RFC 9208 §4.1.4).
    pub deleted_storage: Option<u64>,
    /// The identity of the mailbox (RFC 8474 §4.3).
    pub mailbox_id: Option<String>,
    /// The most octets of a message it takes (RFC 7889 §3.2); the inner `None` is no limit.
    pub append_limit: Option<Option<u64>>,
}

impl MailboxStatus {
    /// Nothing known but the name.
    pub fn new(name: impl Into<ListedName>) -> Self {
        Self {
            name: name.into(),
            messages: None,
            recent: None,
            uid_next: None,
            uid_validity: None,
            unseen: None,
            deleted: None,
            size: None,
            highest_mod_seq: None,
            deleted_storage: None,
            mailbox_id: None,
            append_limit: None,
        }
    }

    /// Writes the response.
    pub fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"* STATUS ");
        self.name.encode(wire);
        wire.put(b" ");
        let numbers = [
            ("MESSAGES", self.messages.map(u64::from)),
            ("RECENT", self.recent.map(u64::from)),
            ("UIDNEXT", self.uid_next.map(|uid| uid.get().into())),
            ("UIDVALIDITY", self.uid_validity.map(|validity| validity.get().into())),
            ("UNSEEN", self.unseen.map(u64::from)),
            ("DELETED", self.deleted.map(u64::from)),
            ("SIZE", self.size),
            ("HIGHESTMODSEQ", self.highest_mod_seq.map(ModSeq::get)),
            ("DELETED-STORAGE", self.deleted_storage),
            ("APPENDLIMIT", self.append_limit.flatten()),
        ];
        let mut before: &[u8] = b"(";
        let mut name = |wire: &mut dyn Wire, name: &str| {
            wire.put(before);
            before = b" ";
            wire.put(name.as_bytes());
            wire.put(b" ");
        };
        for (word, number) in numbers {
            if let Some(number) = number {
                name(wire, word);
                wire.put_number(number);
            }
        }
        if self.append_limit == Some(None) {
            name(wire, "APPENDLIMIT");
            wire.put(b"NIL");
        }
        if let Some(id) = self.mailbox_id.as_deref().filter(|id| is_object_id(id)) {
            name(wire, "MAILBOXID");
            wire.put(b"(");
            wire.put(id.as_bytes());
            wire.put(b")");
        }
        if before == b"(" {
            wire.put(b"(");
        }
        wire.put(b")\r\n");
    }

    /// What follows the word.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        reader.space()?;
        let mut status = Self::new(ListedName::read(reader)?);
        reader.space()?;
        reader.list(|reader| {
            let item = StatusItem::named(reader.input.word()?);
            reader.space()?;
            match item {
                Some(StatusItem::Messages) => status.messages = Some(reader.number()?),
                Some(StatusItem::Recent) => status.recent = Some(reader.number()?),
                // A UIDNEXT or UIDVALIDITY of zero is as good as none.
                Some(StatusItem::UidNext) => status.uid_next = Uid::new(reader.number()?),
                Some(StatusItem::UidValidity) => status.uid_validity = UidValidity::new(reader.number()?),
                Some(StatusItem::Unseen) => status.unseen = Some(reader.number()?),
                Some(StatusItem::Deleted) => status.deleted = Some(reader.number()?),
                Some(StatusItem::Size) => status.size = Some(reader.number64()?),
                Some(StatusItem::DeletedStorage) => status.deleted_storage = Some(reader.number64()?),
                Some(StatusItem::AppendLimit) if reader.keyword("NIL") => status.append_limit = Some(None),
                Some(StatusItem::AppendLimit) => status.append_limit = Some(Some(reader.number64()?)),
                Some(StatusItem::MailboxId) => {
                    status.mailbox_id = reader.list(|reader| reader.atom().map(str::to_owned))?.pop();
                }
                Some(StatusItem::HighestModSeq) => status.highest_mod_seq = ModSeq::new(reader.number64()?),
                None => reader.skip_value()?,
            }
            Ok(())
        })?;
        Ok(status)
    }
}

#[cfg(test)]
mod tests {
    use mailwright_mail_model::MailboxName;
    use proptest::prelude::*;

    use super::*;
    use crate::response::{Leniency, Response};

    proptest! {
        #[test]
        fn what_is_written_is_read(
            counts in any::<[Option<u32>; 4]>(),
            uid in 0..9_u32,
            size in prop::option::of(0..=i64::MAX as u64),
        ) {
            let [messages, recent, unseen, deleted] = counts;
            let status = MailboxStatus {
                messages,
                recent,
                unseen,
                deleted,
                uid_next: Uid::new(uid),
                uid_validity: UidValidity::new(uid),
                size,
                highest_mod_seq: size.and_then(ModSeq::new),
                ..MailboxStatus::new(MailboxName::new("blurdy bloop").unwrap())
            };
            let mut octets = Vec::new();
            status.encode(&mut octets);
            prop_assert_eq!(Response::parse(&octets, Leniency::strict()), Ok(Response::MailboxStatus(status)));
        }
    }

    #[test]
    fn items_that_nobody_knows_are_passed_over() {
        let found =
            Response::parse(b"* STATUS x (MESSAGES 3 X-ODD (1 2) UNSEEN 1 )\r\n", Leniency::tolerant());
        let Ok(Response::MailboxStatus(status)) = found else { panic!("{found:?}") };
        assert_eq!((status.messages, status.unseen), (Some(3), Some(1)));
    }
}
