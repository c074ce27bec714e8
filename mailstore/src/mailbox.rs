//! Mailboxes as a store lists them, and the references with which a session points into one.

use std::sync::Arc;

use mailwright_mail_model::{MailboxName, ModSeq, SpecialUse, Uid, UidValidity};

use crate::{Message, ObjectId, Snapshot, User};

/// A mailbox in the list of a user's mailboxes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mailbox {
    /// Its name.
    pub name: MailboxName,
    /// What it is used for (RFC 6154 §2).
    pub special_use: Option<SpecialUse>,
    /// Its identity, which a new name does not change (RFC 8474 §4), from a store that keeps one.
    pub id: Option<ObjectId>,
}

impl Mailbox {
    /// An ordinary mailbox.
    pub const fn new(name: MailboxName) -> Self {
        Self { name, special_use: None, id: None }
    }

    /// `INBOX`, which every user has.
    pub fn inbox() -> Self {
        Self::new(MailboxName::inbox())
    }
}

/// What STATUS tells of a mailbox (RFC 9051 §6.3.11).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// What the UIDs are valid with.
    pub uid_validity: UidValidity,
    /// Higher than any UID given out so far; `None` once the highest possible one is.
    pub uid_next: Option<Uid>,
    /// The highest mod-sequence of anything that happened here; zero from a store that keeps none.
    pub highest_modseq: ModSeq,
    /// How many messages there are.
    pub messages: u32,
    /// How many have no `\Seen`.
    pub unseen: u32,
    /// How many have `\Deleted`.
    pub deleted: u32,
    /// The octets of all messages together.
    pub size: u64,
    /// The mailbox's identity, from a store that keeps one.
    pub id: Option<ObjectId>,
    /// How many messages no session has claimed as `\Recent` yet, from a store that keeps count; see
    /// [`Write::claim_recent`](crate::Write::claim_recent).
    pub recent: Option<u32>,
}

impl From<&Snapshot> for Status {
    fn from(snapshot: &Snapshot) -> Self {
        Self {
            uid_validity: snapshot.uid_validity(),
            uid_next: snapshot.uid_next(),
            highest_modseq: snapshot.highest_modseq(),
            messages: snapshot.len(),
            unseen: snapshot.unseen(),
            deleted: snapshot.deleted(),
            size: snapshot.size(),
            id: snapshot.id(),
            recent: None,
        }
    }
}

/// A mailbox as a session selected it. Cheap to clone.
///
/// Carries the UIDVALIDITY, so that UIDs of a mailbox that was deleted and made again never reach the messages of
/// the new one: a store answers [`NotFound`](crate::StoreError::NotFound) then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxRef(Arc<Place>);

#[derive(Debug, PartialEq, Eq)]
struct Place {
    user: User,
    name: MailboxName,
    uid_validity: UidValidity,
}

impl MailboxRef {
    /// The mailbox `name` of `user`, as `snapshot` shows it.
    pub fn new(user: User, name: MailboxName, snapshot: &Snapshot) -> Self {
        Self::with_validity(user, name, snapshot.uid_validity())
    }

    /// The mailbox `name` of `user`, as long as its UIDVALIDITY is this one.
    pub fn with_validity(user: User, name: MailboxName, uid_validity: UidValidity) -> Self {
        Self(Arc::new(Place { user, name, uid_validity }))
    }

    /// Whose it is.
    pub fn user(&self) -> &User {
        &self.0.user
    }

    /// Its name when it was selected.
    pub fn name(&self) -> &MailboxName {
        &self.0.name
    }

    /// What its UIDs are valid with.
    pub fn uid_validity(&self) -> UidValidity {
        self.0.uid_validity
    }

    /// A reference to one of its messages.
    pub fn message(&self, message: &Message) -> MessageRef {
        MessageRef { mailbox: self.clone(), uid: message.uid, size: message.size, object: message.object }
    }
}

/// One message of one mailbox, with what a store needs to find its octets without a look at the mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageRef {
    /// The mailbox.
    pub mailbox: MailboxRef,
    /// The message's UID.
    pub uid: Uid,
    /// Its size in octets, as the snapshot told it.
    pub size: u64,
    /// The identity of its content, as the snapshot told it.
    pub object: Option<ObjectId>,
}
