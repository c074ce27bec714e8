//! STATUS (RFC 3501 §6.3.10).

use mailwright_line_proto::Request;
use mailwright_mail_model::MailboxName;

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
}

impl StatusItem {
    /// Every item.
    pub const ALL: [Self; 5] = [Self::Messages, Self::Recent, Self::UidNext, Self::UidValidity, Self::Unseen];

    /// The item as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Messages => "MESSAGES",
            Self::Recent => "RECENT",
            Self::UidNext => "UIDNEXT",
            Self::UidValidity => "UIDVALIDITY",
            Self::Unseen => "UNSEEN",
        }
    }
}

impl Status {
    /// Asks for these items.
    pub fn new(mailbox: MailboxName, items: impl IntoIterator<Item = StatusItem>) -> Self {
        let mut unique = Vec::new();
        for item in items {
            if !unique.contains(&item) {
                unique.push(item);
            }
        }
        Self { mailbox, items: unique }
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
        (status.deleted, status.size, status.highest_mod_seq) = (None, None, None);
        status
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        input.space()?;
        let mailbox = input.mailbox()?;
        input.space()?;
        let here = input.clone();
        let items = input.list("status items", 256, |input| {
            let word = StatusItem::ALL.into_iter().find(|item| input.keyword(item.as_str()));
            word.ok_or_else(|| input.expected("MESSAGES, RECENT, UIDNEXT, UIDVALIDITY or UNSEEN"))
        })?;
        if items.is_empty() {
            return Err(here.expected("at least one status item"));
        }
        Ok(Self::new(mailbox, items))
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
        assert!(parse(b" x MESSAGES").is_err());
    }
}
