//! The facet of a store that tells of changes to any of a user's mailboxes.

use mailwright_mail_model::MailboxName;

use crate::store::Never;
use crate::{Result, User};

/// Change notices across mailboxes, for NOTIFY (RFC 5465) and push.
///
/// A notice says where to look, not what is there: compare snapshots ([`Snapshot::difference`](crate::Snapshot::difference)), counts
/// or lists before and after.
pub trait Feed: Send + Sync {
    /// Where the feed of a user is now.
    fn position(&self, user: &User) -> impl Future<Output = Result<FeedPosition>> + Send;

    /// Waits until something happened to the user's mailboxes after `since`, and tells all of it, each thing once. Dropping the
    /// future ends the wait and loses nothing.
    fn after(&self, user: &User, since: FeedPosition) -> impl Future<Output = Result<News>> + Send;
}

/// A place in the feed of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedPosition(u64);

impl FeedPosition {
    /// For stores: the position of this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// For stores: its number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct News {
    /// Ask for what comes after this next.
    pub position: FeedPosition,
    /// What happened, each thing once.
    pub events: Vec<FeedEvent>,
}

impl News {
    /// For stores.
    pub const fn new(position: FeedPosition, events: Vec<FeedEvent>) -> Self {
        Self { position, events }
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FeedEvent {
    /// Messages of this mailbox came, changed or went.
    Messages(MailboxName),
    /// Mailboxes were made, deleted, renamed, or their access control lists changed; or the list of another user's mailbox that names
    /// this one.
    Mailboxes,
    /// Subscriptions changed.
    Subscriptions,
    /// Annotations of this mailbox changed; of the server, if it is none.
    Annotations(Option<MailboxName>),
    /// More happened than the store remembers: look at everything.
    Anything,
}

impl Feed for Never {
    async fn position(&self, _: &User) -> Result<FeedPosition> {
        match *self {}
    }

    async fn after(&self, _: &User, _: FeedPosition) -> Result<News> {
        match *self {}
    }
}
