//! What happened between two snapshots of one mailbox.

use std::cmp::Ordering;
use std::sync::Arc;

use mailwright_mail_model::UidSet;

use super::{Block, Message, Snapshot};

/// What a later [`Snapshot`] of a mailbox has that an earlier one had not, and the other way round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// Messages only in the later one.
    pub added: UidSet,
    /// Messages only in the earlier one.
    pub removed: UidSet,
    /// Messages in both, with other flags or another mod-sequence.
    pub changed: UidSet,
}

impl Difference {
    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

impl Snapshot {
    /// What happened from this snapshot to a later one; `None` if the UIDVALIDITY is another, so that nothing
    /// known of the earlier one holds any more. Blocks that both share are passed over.
    pub fn difference(&self, later: &Self) -> Option<Difference> {
        if self.uid_validity != later.uid_validity {
            return None;
        }
        let (mut added, mut removed, mut changed) = (Vec::new(), Vec::new(), Vec::new());
        let (mut old, mut new) = (Cursor::new(self), Cursor::new(later));
        loop {
            if old.skip_shared(&mut new) {
                continue;
            }
            let order = match (old.message(), new.message()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(before), Some(after)) => {
                    if before.uid == after.uid
                        && (before.flags != after.flags || before.modseq != after.modseq)
                    {
                        changed.push(after.uid);
                    }
                    before.uid.cmp(&after.uid)
                }
            };
            if order.is_le() {
                removed.extend(old.message().filter(|_| order.is_lt()).map(|message| message.uid));
                old.advance();
            }
            if order.is_ge() {
                added.extend(new.message().filter(|_| order.is_gt()).map(|message| message.uid));
                new.advance();
            }
        }
        let set = |uids: Vec<_>| uids.into_iter().collect();
        Some(Difference { added: set(added), removed: set(removed), changed: set(changed) })
    }
}

/// A place in a snapshot.
struct Cursor<'a> {
    blocks: &'a [Arc<Block>],
    /// In the first of `blocks`.
    index: usize,
}

impl<'a> Cursor<'a> {
    fn new(snapshot: &'a Snapshot) -> Self {
        Self { blocks: &snapshot.blocks, index: 0 }
    }

    fn message(&self) -> Option<&'a Message> {
        self.blocks.first()?.get(self.index)
    }

    fn advance(&mut self) {
        self.index += 1;
        if self.blocks.first().is_some_and(|block| self.index >= block.len()) {
            self.next_block();
        }
    }

    fn next_block(&mut self) {
        self.blocks = self.blocks.get(1..).unwrap_or_default();
        self.index = 0;
    }

    /// Passes over a block that both are at the start of.
    fn skip_shared(&mut self, other: &mut Self) -> bool {
        let (Some(block), Some(others)) = (self.blocks.first(), other.blocks.first()) else { return false };
        let shared = self.index == 0 && other.index == 0 && Arc::ptr_eq(block, others);
        if shared {
            self.next_block();
            other.next_block();
        }
        shared
    }
}
