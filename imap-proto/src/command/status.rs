//! STATUS (RFC 3501 §6.3.10).

use mailwright_line_proto::Request;
use mailwright_mail_model::MailboxName;

use super::key;
use crate::{
    grammar::{GrammarError, Input, Wire},
    refusal::Answered,
    response::MailboxStatus,
};

/// How is it with a mailbox that is not selected?
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Which.
    pub mailbox: MailboxName,
    /// What to say of it; each item once.
    pub items: Vec<StatusItem>,
}

/// What STATUS can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StatusItem {
    /// The number of messages.
    Messages,
    /// The number of messages that no session has seen yet.
    Recent,
    /// The UID the next message will have.
    UidNext,
    /// The validity of the UIDs.
    UidValidity,
    /// The number of messages without `\Seen`.
    Unseen,
    /// The number of messages with `\Deleted` (RFC 9051 §6.3.11, RFC 9208 §4.1.4).
    Deleted,
    /// The octets of all messages (RFC 8438).
    Size,
    /// The octets that deleted messages would give back (RFC 9208 §4.1.4).
    DeletedStorage,
    /// The highest mod-sequence (RFC 7162 §3.1.7).
    HighestModSeq,
    /// The identity of the mailbox (RFC 8474 §4.3).
    MailboxId,
    /// The largest message that it takes (RFC 7889 §3.2).
    AppendLimit,
}

impl StatusItem {
    /// Every item.
    pub const ALL: [Self; 11] = [
        Self::Messages,
        Self::Recent,
        Self::UidNext,
        Self::UidValidity,
        Self::Unseen,
        Self::Deleted,
        Self::Size,
        Self::DeletedStorage,
        Self::HighestModSeq,
        Self::MailboxId,
        Self::AppendLimit,
    ];

    /// The item as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Messages => "MESSAGES",
            Self::Recent => "RECENT",
            Self::UidNext => "UIDNEXT",
            Self::UidValidity => "UIDVALIDITY",
            Self::Unseen => "UNSEEN",
            Self::Deleted => "DELETED",
            Self::Size => "SIZE",
            Self::DeletedStorage => "DELETED-STORAGE",
            Self::HighestModSeq => "HIGHESTMODSEQ",
            Self::MailboxId => "MAILBOXID",
            Self::AppendLimit => "APPENDLIMIT",
        }
    }
}

/// Every item with its name as a number.
static KEYS: [(u128, StatusItem); StatusItem::ALL.len()] = {
    let mut keys = [(0, StatusItem::Messages); StatusItem::ALL.len()];
    let (mut rest, mut items): (&mut [_], &[_]) = (&mut keys, &StatusItem::ALL);
    while let ([key_and_item, after @ ..], [item, others @ ..]) = (rest, items) {
        *key_and_item = (key(item.as_str().as_bytes(), false), *item);
        (rest, items) = (after, others);
    }
    keys
};

impl StatusItem {
    /// The item that is written so, in any case.
    pub(crate) fn named(word: &[u8]) -> Option<Self> {
        let key = key(word, false);
        let (_, item) = KEYS.iter().find(|(known, _)| *known == key)?;
        Some(*item)
    }

    /// Items in parentheses, at least one.
    pub(crate) fn parse_list(input: &mut Input<'_>) -> Result<Vec<Self>, GrammarError> {
        let here = input.clone();
        let items = input.list("status items", 256, |input| {
            let here = input.clone();
            let item = input.word().ok().and_then(Self::named);
            item.ok_or_else(|| here.expected("a known status item"))
        })?;
        if items.is_empty() { Err(here.expected("at least one status item")) } else { Ok(items) }
    }
}

impl Status {
    /// Asks for these items.
    pub fn new(mailbox: MailboxName, items: impl IntoIterator<Item = StatusItem>) -> Self {
        let mut items: Vec<_> = items.into_iter().collect();
        let mut seen = 0_u32;
        items.retain(|item| {
            let before = seen;
            seen |= 1 << *item as u32;
            seen != before
        });
        Self { mailbox, items }
    }

    /// The status without what was not asked for.
    pub(crate) fn only_asked_for(&self, mut status: MailboxStatus) -> MailboxStatus {
        let asked = |item| self.items.contains(&item);
        status.name = self.mailbox.clone().into();
        status.messages.take_if(|_| !asked(StatusItem::Messages));
        status.recent.take_if(|_| !asked(StatusItem::Recent));
        status.uid_next.take_if(|_| !asked(StatusItem::UidNext));
        status.uid_validity.take_if(|_| !asked(StatusItem::UidValidity));
        status.unseen.take_if(|_| !asked(StatusItem::Unseen));
        status.deleted.take_if(|_| !asked(StatusItem::Deleted));
        status.size.take_if(|_| !asked(StatusItem::Size));
        status.deleted_storage.take_if(|_| !asked(StatusItem::DeletedStorage));
        status.highest_mod_seq.take_if(|_| !asked(StatusItem::HighestModSeq));
        status.mailbox_id.take_if(|_| !asked(StatusItem::MailboxId));
        status.append_limit.take_if(|_| !asked(StatusItem::AppendLimit));
        status
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        input.space()?;
        let mailbox = input.mailbox()?;
        input.space()?;
        Ok(Self::new(mailbox, StatusItem::parse_list(input)?))
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"STATUS ");
        wire.put_mailbox(&self.mailbox);
        wire.put(b" ");
        wire.put_list(&self.items, |wire, item| wire.put(item.as_str().as_bytes()));
    }
}

impl Request for Status {
    /// What was asked for; the rest may be there or not.
    type Answer = Answered<MailboxStatus>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_counts_once() {
        let parse = |text: &[u8]| Status::parse(&mut Input::new(text));
        let status = parse(b" blurdybloop (UIDNEXT MESSAGES uidnext)").unwrap();
        assert_eq!(status.items, [StatusItem::UidNext, StatusItem::Messages]);
        assert!(parse(b" x ()").is_err());
        assert!(parse(b" x (UIDNEXTS)").is_err());
        for item in StatusItem::ALL {
            let text = format!(" x ({})", item.as_str().to_lowercase());
            assert_eq!(parse(text.as_bytes()).unwrap().items, [item]);
        }
        assert!(parse(b" x MESSAGES").is_err());
    }
}
