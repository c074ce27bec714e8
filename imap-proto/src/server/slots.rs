//! The commands that wait for their answer.

use std::time::{Duration, Instant};

use mailwright_line_proto::Gone;
use mailwright_mail_model::{Uid, UidSet};

use super::List;
use crate::{
    command::{FetchItem, SearchReturn},
    response::ResponseCode,
};

/// A command that the application was asked about.
#[derive(Debug)]
#[expect(unnameable_types, reason = "known to the sealed trait of answers only")]
pub struct Slot {
    id: u32,
    /// When the machine refuses in the application's place; set by the first poll after the question or after a
    /// sign of life.
    deadline: Option<Instant>,
    pub(super) tag: Box<str>,
    /// Its name, for the text of the answer.
    pub(super) name: &'static str,
    /// Whether FETCH responses to it say the UID.
    pub(super) says_uid: bool,
    /// Whether the command named messages by UID.
    pub(super) by_uid: bool,
    /// Whether no message may be announced as expunged while it runs.
    pub(super) uses_seqs: bool,
    /// Whether others may run beside it.
    pub(super) reads: bool,
    /// What must be known to answer it.
    pub(super) kind: Kind,
    /// The lowest of the messages it was carried out for, if these are not all it named (RFC 9738).
    pub(super) limited: Option<Uid>,
}

/// What must be known of a command to answer it.
#[derive(Debug)]
pub(super) enum Kind {
    /// Nothing.
    Plain,
    /// Which names are wanted, and by which command.
    List { list: Box<List>, form: ListForm },
    /// How to tell what is found, and what is sent of messages that come to it.
    Search { returns: Option<SearchReturn>, sent: Vec<FetchItem> },
    /// A SELECT whose changed messages are sent; how it ends.
    Resync { code: ResponseCode },
    /// Whether the mailbox was asked for without the right to change it.
    Open { read_only: bool },
    /// A language was chosen: the names of namespaces in it.
    Language,
    /// A login.
    Login,
    /// A search with a name, which this command waits for, and whether what that finds is to be saved.
    Filter { octets: bytes::Bytes, saves: bool },
    /// A message may come.
    Message,
    /// A part of another message goes into it.
    Include,
    /// The messages have come, in the place of these.
    Commit { replaced: UidSet },
    /// The mailbox is left.
    Close,
    /// Nothing was asked: what is sent of new messages by itself (RFC 5465 §5.2).
    News,
    /// The user is (RFC 8437).
    Leaving,
}

/// The commands that list mailboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListForm {
    List,
    Lsub,
    Xlist,
    Rlist,
    Rlsub,
}

/// The commands in flight.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    next: u32,
}

impl Slots {
    pub(super) fn open(&mut self, slot: Slot) -> u32 {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        self.slots.push(Slot { id, ..slot });
        id
    }

    pub(super) fn take(&mut self, id: u32) -> Result<Slot, Gone> {
        let at = self.slots.iter().position(|slot| slot.id == id).ok_or(Gone)?;
        Ok(self.slots.remove(at))
    }

    pub(super) fn find(&self, id: u32) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.id == id)
    }

    /// The application works on it: its time begins anew.
    pub(super) fn touch(&mut self, id: u32) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.id == id) {
            slot.deadline = None;
        }
    }

    /// The first that is not answered.
    pub(super) fn first(&self) -> Option<u32> {
        self.slots.iter().map(|slot| slot.id).next()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.slots.clear();
    }

    /// Whether messages may be announced as expunged (RFC 9051 §7.5.1).
    pub(super) fn may_expunge(&self) -> bool {
        !self.slots.iter().any(|slot| slot.uses_seqs)
    }

    /// Whether everything in flight only reads.
    pub(super) fn all_read(&self) -> bool {
        self.slots.iter().all(|slot| slot.reads)
    }

    /// Whether a command may start beside what runs (RFC 3501 §5.5): only what reads beside what reads, and
    /// nothing that uses sequence numbers beside what may change them at its end.
    pub(super) fn admit(&self, reads: bool, uses_seqs: bool) -> bool {
        self.slots.iter().all(|slot| reads && slot.reads && (slot.uses_seqs || !uses_seqs))
    }

    /// Sets the deadlines that are missing; says when the first one ends.
    pub(super) fn deadline(&mut self, now: Instant, answer: Duration) -> Option<Instant> {
        self.slots.iter_mut().map(|slot| *slot.deadline.get_or_insert(now + answer)).min()
    }

    /// The first command whose time is over.
    pub(super) fn expired(&self, now: Instant) -> Option<u32> {
        let over = |slot: &&Slot| slot.deadline.is_some_and(|deadline| deadline <= now);
        self.slots.iter().find(over).map(|slot| slot.id)
    }
}

impl Slot {
    /// A command that is about to be asked about.
    pub(super) fn new(tag: Box<str>, name: &'static str, kind: Kind) -> Self {
        Self {
            id: 0,
            deadline: None,
            tag,
            name,
            says_uid: false,
            by_uid: false,
            uses_seqs: false,
            reads: false,
            kind,
            limited: None,
        }
    }
}
