//! The state of a mailbox at one moment, shared by everybody who looks at it.

use std::ops::RangeInclusive;
use std::sync::Arc;

use mailwright_mail_model::{DateTime, Flag, FlagSet, ModSeq, Uid, UidSet, UidValidity};

use crate::ObjectId;

mod block;
mod difference;
#[cfg_attr(not(feature = "embedded"), expect(dead_code, reason = "no other back end keeps runs"))]
pub(crate) mod run;
#[cfg(test)]
mod tests;

use block::Block;
pub use difference::Difference;

/// One message in a [`Snapshot`]: 96 octets, and keywords.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Its UID.
    pub uid: Uid,
    /// Its size in octets.
    pub size: u64,
    /// Its flags.
    pub flags: FlagSet,
    /// When it arrived (RFC 9051 §2.3.3).
    pub internal_date: DateTime,
    /// Its mod-sequence; [`ModSeq::MIN`] from a store that keeps none.
    pub modseq: ModSeq,
    /// The identity of its content, which copies share (RFC 8474 §5.1), from a store that keeps one.
    pub object: Option<ObjectId>,
    /// The identity of its thread (RFC 8474 §5.2), from a store that keeps one.
    pub thread: Option<ObjectId>,
    /// Seconds since 1970; 0 if nobody knows. Not a date with zone, which would take four times the room.
    pub(crate) saved: u32,
}

impl Message {
    /// A message without flags.
    pub const fn new(uid: Uid, size: u64, internal_date: DateTime) -> Self {
        Self {
            uid,
            size,
            flags: FlagSet::new(),
            internal_date,
            modseq: ModSeq::MIN,
            object: None,
            thread: None,
            saved: 0,
        }
    }

    /// When it came into this mailbox, in UTC (RFC 8514), from a store that keeps it. Copies and moves have a time of their own.
    pub fn saved(&self) -> Option<DateTime> {
        DateTime::new(i64::from(self.saved), 0).filter(|_| self.saved != 0)
    }

    /// The same message, saved then; the nearest second from 1970 to 2106 is kept.
    #[must_use]
    pub fn with_saved(mut self, saved: Option<DateTime>) -> Self {
        self.saved = saved.map_or(0, |saved| u32::try_from(saved.seconds().max(1)).unwrap_or(u32::MAX));
        self
    }
}

/// The messages of a mailbox at one moment, sorted by UID. Immutable in an [`Arc`], shared by all sessions.
///
/// Messages lie in blocks of their own `Arc`s. A clone shares them all, and a change to it copies only the blocks it
/// touches: this is how a store makes the next snapshot out of the last one. Messages of a block that a store keeps in few octets are made of
/// them when somebody looks at the first of them.
///
/// ```
/// use mailwright_mail_model::{DateTime, Uid, UidValidity};
/// use mailwright_mailstore::{Message, Snapshot};
///
/// # fn example() -> Option<()> {
/// let arrived = DateTime::new(1_700_000_000, 60)?;
/// let snapshot = Snapshot::builder(UidValidity::new(1)?)
///     .message(Message::new(Uid::new(7)?, 1_000, arrived))
///     .message(Message::new(Uid::new(9)?, 500, arrived))
///     .build();
/// assert_eq!(snapshot.len(), 2);
/// assert_eq!(snapshot.size(), 1_500);
/// assert_eq!(snapshot.uid_next(), Uid::new(10));
/// assert_eq!(snapshot.message(Uid::new(9)?)?.size, 500);
/// # Some(())
/// # }
/// # example().unwrap()
/// ```
#[derive(Clone, Debug)]
pub struct Snapshot {
    uid_validity: UidValidity,
    uid_next: Option<Uid>,
    highest_modseq: ModSeq,
    id: Option<ObjectId>,
    /// None of them empty, each sorted, all of one below all of the next.
    blocks: Vec<Arc<Block>>,
    counts: Counts,
}

/// What is counted over all messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    messages: u32,
    unseen: u32,
    deleted: u32,
    size: u64,
}

/// How many messages a block is filled up to: a change copies some 24 KiB, a million messages take 4,000 blocks.
pub(crate) const BLOCK: usize = 256;

/// Whether both show the same, however it came about.
impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        let numbers = |snapshot: &Self| {
            (snapshot.uid_validity, snapshot.uid_next, snapshot.highest_modseq, snapshot.id, snapshot.counts)
        };
        numbers(self) == numbers(other) && self.messages().eq(other.messages())
    }
}

impl Eq for Snapshot {}

impl Snapshot {
    /// Collects the messages of a mailbox with this UIDVALIDITY.
    pub const fn builder(uid_validity: UidValidity) -> SnapshotBuilder {
        SnapshotBuilder {
            uid_validity,
            uid_next: None,
            highest_modseq: ModSeq::MIN,
            id: None,
            messages: Vec::new(),
        }
    }

    /// What the UIDs are valid with.
    pub const fn uid_validity(&self) -> UidValidity {
        self.uid_validity
    }

    /// Higher than any UID given out so far; `None` once the highest possible one is.
    pub const fn uid_next(&self) -> Option<Uid> {
        self.uid_next
    }

    /// The highest mod-sequence of anything that happened in the mailbox.
    pub const fn highest_modseq(&self) -> ModSeq {
        self.highest_modseq
    }

    /// The mailbox's identity, from a store that keeps one.
    pub const fn id(&self) -> Option<ObjectId> {
        self.id
    }

    /// How many messages there are.
    pub const fn len(&self) -> u32 {
        self.counts.messages
    }

    /// Whether there is no message.
    pub const fn is_empty(&self) -> bool {
        self.counts.messages == 0
    }

    /// How many messages have no `\Seen`.
    pub const fn unseen(&self) -> u32 {
        self.counts.unseen
    }

    /// How many messages have `\Deleted`.
    pub const fn deleted(&self) -> u32 {
        self.counts.deleted
    }

    /// The octets of all messages together.
    pub const fn size(&self) -> u64 {
        self.counts.size
    }

    /// The message of this UID, in time logarithmic in the mailbox.
    pub fn message(&self, uid: Uid) -> Option<&Message> {
        let block = self.blocks.get(self.reaching(uid))?;
        block.binary_search_by_key(&uid, |message| message.uid).ok().and_then(|index| block.get(index))
    }

    /// Every message, ascending by UID; `.rev()` gives them descending.
    pub fn messages(&self) -> impl DoubleEndedIterator<Item = &Message> + Clone {
        self.blocks.iter().flat_map(|block| block.iter())
    }

    /// The messages of a range of UIDs, ascending.
    pub fn range(&self, uids: RangeInclusive<Uid>) -> impl Iterator<Item = &Message> + Clone {
        let (first, last) = uids.into_inner();
        let blocks = self.blocks.get(self.reaching(first)..).unwrap_or_default();
        let skip = blocks.first().map_or(0, |block| block.partition_point(|message| message.uid < first));
        blocks.iter().flat_map(|block| block.iter()).skip(skip).take_while(move |message| message.uid <= last)
    }

    /// Those messages of a set of UIDs that exist, ascending.
    pub fn among(&self, uids: &UidSet) -> impl Iterator<Item = &Message> {
        uids.ranges().flat_map(|range| self.range(range))
    }

    /// The messages whose mod-sequence is higher than this, ascending by UID.
    pub fn changed_since(&self, modseq: ModSeq) -> impl Iterator<Item = &Message> {
        self.messages().filter(move |message| message.modseq > modseq)
    }

    /// The UIDs of all messages.
    pub fn uids(&self) -> UidSet {
        let mut uids: Vec<RangeInclusive<Uid>> = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            match block.dense() {
                // Where none is missing, no message is looked at.
                Some((first, last)) => uids.push(first..=last),
                None => uids.extend(block.iter().map(|message| message.uid..=message.uid)),
            }
        }
        uids.into_iter().collect()
    }

    /// The keywords of all messages.
    pub fn keywords(&self) -> FlagSet {
        let mut keywords = FlagSet::new();
        for block in &self.blocks {
            let own = &block.about().keywords;
            if !own.is_empty() && *own != keywords {
                keywords = keywords.union(own);
            }
        }
        keywords
    }

    /// The first message that has no `\Seen`.
    pub fn first_unseen(&self) -> Option<&Message> {
        if self.counts.unseen == 0 {
            return None;
        }
        self.blocks.iter().find_map(|block| block.get(block.about().first_unseen?))
    }

    /// Roughly how many octets of memory it takes, shared blocks counted in full.
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.blocks.len() * 64 + self.counts.messages as usize * size_of::<Message>()
    }

    /// The first block that ends at `uid` or later.
    fn reaching(&self, uid: Uid) -> usize {
        self.blocks.partition_point(|block| block.ends().is_some_and(|(_, last)| last < uid))
    }
}

/// Changes, for stores: each makes this snapshot the next one. `highest_modseq` never goes back.
impl Snapshot {
    /// Adds a message whose UID is higher than all before; one that is not is ignored.
    pub fn add(&mut self, message: Message) {
        if self.uid_next.is_none_or(|next| message.uid < next) {
            return;
        }
        self.uid_next = message.uid.next();
        self.highest_modseq = self.highest_modseq.max(message.modseq);
        self.counts.count(&message);
        match self.blocks.last_mut().filter(|block| block.len() < BLOCK) {
            Some(block) => Arc::make_mut(block).change(|messages| messages.push(message)),
            None => self.blocks.push(Arc::new(Block::of(message))),
        }
    }

    /// Adds the messages of a [run](run) in front of `octets`, which goes from there; `None`, and nothing is added, unless all of them have
    /// higher UIDs than those before.
    #[cfg_attr(not(feature = "embedded"), expect(dead_code, reason = "no other back end keeps runs"))]
    pub(crate) fn add_run(&mut self, octets: &mut &[u8]) -> Option<()> {
        let (outline, run) = run::split(octets)?;
        if self.uid_next.is_none_or(|next| outline.first < next) {
            return None;
        }
        let sum = Counts {
            messages: self.counts.messages.checked_add(outline.messages)?,
            unseen: self.counts.unseen.checked_add(outline.unseen)?,
            deleted: self.counts.deleted.checked_add(outline.deleted)?,
            size: self.counts.size.checked_add(outline.size)?,
        };
        self.counts = sum;
        self.uid_next = outline.last.next();
        self.blocks.push(Arc::new(Block::encoded(&outline, run)));
        Some(())
    }

    /// Whether what [runs](run) say of all their messages is what these are.
    #[cfg(feature = "embedded")]
    pub(crate) fn is_consistent(&self) -> bool {
        let mut counts = Counts::default();
        self.messages().for_each(|message| counts.count(message));
        counts == self.counts
    }

    /// Gives a message these flags and this mod-sequence; one that does not exist is ignored.
    pub fn set_flags(&mut self, uid: Uid, flags: FlagSet, modseq: ModSeq) {
        let index = self.reaching(uid);
        let Some(block) = self.blocks.get_mut(index) else { return };
        let Ok(index) = block.binary_search_by_key(&uid, |message| message.uid) else { return };
        Arc::make_mut(block).change(|messages| {
            let Some(message) = messages.get_mut(index) else { return };
            self.counts.discount(message);
            message.flags = flags;
            message.modseq = modseq;
            self.counts.count(message);
        });
        self.highest_modseq = self.highest_modseq.max(modseq);
    }

    /// Removes messages, as the change of this mod-sequence; those that do not exist are ignored.
    pub fn remove(&mut self, uids: &UidSet, modseq: ModSeq) {
        self.highest_modseq = self.highest_modseq.max(modseq);
        let (Some(first), Some(last)) = (uids.first(), uids.last()) else { return };
        let (start, end) =
            (self.reaching(first), self.reaching(last).saturating_add(1).min(self.blocks.len()));
        for block in self.blocks.iter_mut().take(end).skip(start) {
            let Some((low, high)) = block.ends() else { continue };
            if uids.within(low..=high).is_empty() {
                continue;
            }
            Arc::make_mut(block).change(|messages| {
                messages.retain(|message| {
                    let stays = !uids.contains(message.uid);
                    if !stays {
                        self.counts.discount(message);
                    }
                    stays
                });
            });
        }
        self.compact(start, end);
    }

    /// Notes that the mailbox got this far, without a change to its messages.
    pub fn advance(&mut self, uid_next: Option<Uid>, modseq: ModSeq) {
        self.highest_modseq = self.highest_modseq.max(modseq);
        if let Some(next) = self.uid_next {
            self.uid_next = uid_next.map(|uid| uid.max(next));
        }
    }

    /// Joins what removals left of the blocks from `start` to `end` into full ones.
    fn compact(&mut self, start: usize, end: usize) {
        let mut joined: Vec<Arc<Block>> = Vec::new();
        for block in self.blocks.drain(start..end).filter(|block| !block.is_empty()) {
            match joined.last_mut().filter(|last| last.len() + block.len() <= BLOCK) {
                Some(last) => Arc::make_mut(last).change(|messages| messages.extend(block.iter().cloned())),
                None => joined.push(block),
            }
        }
        self.blocks.splice(start..start, joined);
    }
}

impl Counts {
    fn count(&mut self, message: &Message) {
        self.messages += 1;
        self.unseen += u32::from(!message.flags.contains(&Flag::Seen));
        self.deleted += u32::from(message.flags.contains(&Flag::Deleted));
        // Sizes are what a name of a file or a row says.
        self.size = self.size.saturating_add(message.size);
    }

    fn discount(&mut self, message: &Message) {
        self.messages -= 1;
        self.unseen -= u32::from(!message.flags.contains(&Flag::Seen));
        self.deleted -= u32::from(message.flags.contains(&Flag::Deleted));
        self.size = self.size.saturating_sub(message.size);
    }
}

/// Collects what a [`Snapshot`] shows.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct SnapshotBuilder {
    uid_validity: UidValidity,
    /// The outer `None` if nobody said.
    uid_next: Option<Option<Uid>>,
    highest_modseq: ModSeq,
    id: Option<ObjectId>,
    messages: Vec<Message>,
}

impl SnapshotBuilder {
    /// Adds a message. Of several with the same UID the last one counts; the order does not matter but for speed.
    pub fn message(mut self, message: Message) -> Self {
        self.messages.push(message);
        self
    }

    /// Adds messages.
    pub fn messages(mut self, messages: impl IntoIterator<Item = Message>) -> Self {
        self.messages.extend(messages);
        self
    }

    /// No UID from this one on has been given out; `None` if all have. Without, the one after the highest message.
    pub const fn uid_next(mut self, uid_next: Option<Uid>) -> Self {
        self.uid_next = Some(uid_next);
        self
    }

    /// At least this mod-sequence was reached.
    pub const fn highest_modseq(mut self, modseq: ModSeq) -> Self {
        self.highest_modseq = modseq;
        self
    }

    /// The mailbox's identity.
    pub const fn id(mut self, id: ObjectId) -> Self {
        self.id = Some(id);
        self
    }

    /// The snapshot.
    pub fn build(self) -> Snapshot {
        let mut snapshot = Snapshot {
            uid_validity: self.uid_validity,
            uid_next: Some(Uid::MIN),
            highest_modseq: self.highest_modseq,
            id: self.id,
            blocks: Vec::with_capacity(self.messages.len().div_ceil(BLOCK)),
            counts: Counts::default(),
        };
        let mut messages = self.messages;
        messages.sort_by_key(|message| message.uid);
        let mut messages = messages.into_iter().peekable();
        while let Some(message) = messages.next() {
            if messages.peek().is_none_or(|next| next.uid > message.uid) {
                snapshot.add(message);
            }
        }
        if let Some(next) = self.uid_next {
            snapshot.advance(next, ModSeq::ZERO);
        }
        snapshot
    }
}
