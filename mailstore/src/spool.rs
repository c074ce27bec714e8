//! The facet of a store that keeps mail which waits to be sent on.

use std::ops::Range;

use bytes::Bytes;

use crate::Result;
use crate::store::Never;

mod batch;
mod entry;
mod news;
#[cfg(feature = "embedded")]
pub(crate) mod row;

pub use batch::{Batch, Committed, Row, Settlement};
pub use entry::{
    Deadline, Notify, QueueEntry, QueueNumber, QueueRecipient, RecipientState, ReturnContent, ValidSince,
};
pub use news::QueueNews;
pub(crate) use news::Written;

/// A durable queue beside the mailboxes, in the same place: one commit ([`Upload::commit_batch`](crate::Upload::commit_batch)) puts a message into
/// mailboxes and into the queue, or into neither, and its octets are kept once.
///
/// The queue knows nothing of retries and routes: it keeps entries, and finds those that are due. All times are
/// seconds since 1970-01-01, UTC. Whatever a method reports as done is durable when it returns.
pub trait Spool: Send + Sync {
    /// Entries that are due at `until` or before and are not held, in the order in which they became so; behind `after`,
    /// if that is given. At most `limit`: an answer with fewer is the last.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn due(
        &self,
        until: u64,
        after: Option<Due>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Scheduled>>> + Send;

    /// When the next entry is due that is not due at `after` yet, if there is one.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn next_due(&self, after: u64) -> impl Future<Output = Result<Option<u64>>> + Send;

    /// All entries, held ones too, in the order in which they came; behind `after`, if that is given. At most `limit`: an
    /// answer with fewer is the last.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn entries(
        &self,
        after: Option<QueueNumber>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<QueueEntry>>> + Send;

    /// One entry; `None` if it is gone.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn entry(&self, number: QueueNumber) -> impl Future<Output = Result<Option<QueueEntry>>> + Send;

    /// Octets of the entry's message, as [`Store::read`](crate::Store::read) gives them.
    ///
    /// # Errors
    /// [`NotFound`](crate::StoreError::NotFound) if the entry is gone.
    fn octets(&self, entry: &QueueEntry, range: Range<u64>) -> impl Future<Output = Result<Bytes>> + Send;

    /// Changes entries, all at once. Those that are gone are passed over in silence.
    ///
    /// # Errors
    /// If the store cannot write.
    fn settle(&self, settlements: &[Settlement]) -> impl Future<Output = Result<()>> + Send;

    /// Waits until entries were added or made due more often than `seen`, and says how often that was. Begin with 0, and
    /// look for what is due after each return: nothing is missed between two calls.
    fn added(&self, seen: u64) -> impl Future<Output = u64> + Send;

    /// Where entries were added, or when they are due was changed, since `mark`, and the mark for the next time. Begin with 0, and ask
    /// before each look at what is due: what it does not say is in nothing that is written later.
    ///
    /// Whoever wrote it is told that it is done after it is said here. A store that does not keep account says
    /// [`Anywhere`](QueueNews::Anywhere), and much is looked at again.
    fn news(&self, mark: u64) -> (u64, QueueNews) {
        (mark, QueueNews::Anywhere)
    }
}

/// A place in the order in which entries become due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Due {
    /// When.
    pub at: u64,
    /// Which, of those that are due at the same time.
    pub number: QueueNumber,
}

impl Due {
    /// This entry at this time.
    pub const fn new(at: u64, number: QueueNumber) -> Self {
        Self { at, number }
    }
}

/// An entry that is due, as far as it must be known to decide whether it is its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scheduled {
    /// Its place in the order.
    pub due: Due,
    /// [`QueueEntry::destination`].
    pub destination: String,
    /// Who is to get a fair share: [`QueueEntry::sender`] as an address, empty for none.
    pub sender: String,
    /// [`QueueEntry::priority`].
    pub priority: i8,
    /// [`QueueEntry::release`].
    pub release: Option<u64>,
}

impl Scheduled {
    /// For stores.
    pub fn of(entry: &QueueEntry) -> Self {
        Self {
            due: Due::new(entry.due, entry.number),
            destination: entry.destination.clone(),
            sender: entry.sender.address().map_or_else(String::new, |address| address.as_str().to_owned()),
            priority: entry.priority,
            release: entry.release,
        }
    }

    /// For stores. Without a wish as to time.
    pub const fn new(due: Due, destination: String, sender: String) -> Self {
        Self { due, destination, sender, priority: 0, release: None }
    }
}

impl Spool for Never {
    async fn due(&self, _: u64, _: Option<Due>, _: usize) -> Result<Vec<Scheduled>> {
        match *self {}
    }

    async fn next_due(&self, _: u64) -> Result<Option<u64>> {
        match *self {}
    }

    async fn entries(&self, _: Option<QueueNumber>, _: usize) -> Result<Vec<QueueEntry>> {
        match *self {}
    }

    async fn entry(&self, _: QueueNumber) -> Result<Option<QueueEntry>> {
        match *self {}
    }

    async fn octets(&self, _: &QueueEntry, _: Range<u64>) -> Result<Bytes> {
        match *self {}
    }

    async fn settle(&self, _: &[Settlement]) -> Result<()> {
        match *self {}
    }

    async fn added(&self, _: u64) -> u64 {
        match *self {}
    }
}
