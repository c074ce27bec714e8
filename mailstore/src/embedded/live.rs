//! Mailboxes in memory: the snapshot all sessions share, kept up to date by the committer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use fjall::Readable;
use mailwright_mail_model::{FlagSet, ModSeq, Uid, UidSet};

use super::Core;
use super::database::failed;
use super::header::Header;
use super::row;
use crate::signal::{Signal, lock};
use crate::{Message, Result, Snapshot, StoreError};

/// One mailbox in memory. Only the committer changes its header.
pub(super) struct Live {
    pub(super) state: Mutex<State>,
    /// Raised after each change.
    pub(super) changed: Signal,
    /// Held while the rows are read, so that only one thread reads them.
    loading: Mutex<()>,
    used: AtomicU64,
}

pub(super) struct State {
    pub(super) header: Header,
    snapshot: Option<Arc<Snapshot>>,
    /// What was committed since; applied when somebody asks for the snapshot.
    pending: Vec<Change>,
    /// Whether changes are to be kept for a snapshot that is being read.
    loading: bool,
    /// Whether the mailbox is deleted or has another name.
    gone: bool,
}

/// A committed change to the messages of a mailbox. No two of a mailbox have the same mod-sequence.
#[derive(Clone)]
pub(super) struct Change {
    pub(super) modseq: ModSeq,
    pub(super) kind: ChangeKind,
}

#[derive(Clone)]
pub(super) enum ChangeKind {
    Add(Vec<Message>),
    Flags(Vec<(Uid, FlagSet)>),
    Remove(UidSet),
}

impl Change {
    pub(super) fn apply(self, snapshot: &mut Snapshot) {
        match self.kind {
            ChangeKind::Add(messages) => messages.into_iter().for_each(|message| snapshot.add(message)),
            ChangeKind::Flags(messages) => {
                messages.into_iter().for_each(|(uid, flags)| snapshot.set_flags(uid, flags, self.modseq));
            }
            ChangeKind::Remove(uids) => snapshot.remove(&uids, self.modseq),
        }
    }
}

/// How many changes wait before they are applied although nobody asks.
const PENDING: usize = 4_096;

impl State {
    /// The snapshot with all that was committed, if it is in memory.
    fn current(&mut self) -> Option<Arc<Snapshot>> {
        let snapshot = self.snapshot.as_mut()?;
        for change in self.pending.drain(..) {
            if change.modseq > snapshot.highest_modseq() {
                change.apply(Arc::make_mut(snapshot));
            }
        }
        Some(Arc::clone(snapshot))
    }
}

impl Live {
    pub(super) fn new(header: Header) -> Self {
        let state = State { header, snapshot: None, pending: Vec::new(), loading: false, gone: false };
        Self {
            state: Mutex::new(state),
            changed: Signal::default(),
            loading: Mutex::default(),
            used: AtomicU64::new(0),
        }
    }

    /// The snapshot if no row need be read for it.
    pub(super) fn current(&self) -> Option<Arc<Snapshot>> {
        lock(&self.state).current()
    }

    /// Whether the messages are in memory.
    pub(super) fn is_open(&self) -> bool {
        lock(&self.state).snapshot.is_some()
    }

    pub(super) fn is_gone(&self) -> bool {
        lock(&self.state).gone
    }

    /// Makes known what was committed. `snapshot` has all of `changes`, if there is one.
    pub(super) fn publish(
        &self,
        header: Option<Header>,
        snapshot: Option<Arc<Snapshot>>,
        changes: Vec<Change>,
    ) {
        let mut state = lock(&self.state);
        match header {
            Some(header) => state.header = header,
            None => state.gone = true,
        }
        if snapshot.is_some() {
            state.snapshot = snapshot;
            state.pending.clear();
        } else if state.snapshot.is_some() || state.loading {
            state.pending.extend(changes);
            if state.pending.len() > PENDING {
                state.current();
            }
        }
        drop(state);
        self.changed.raise();
    }

    /// Whether nobody but the list of all holds it, or what it shows.
    fn is_idle(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) == 1
            && lock(&self.state).snapshot.as_ref().is_none_or(|snapshot| Arc::strong_count(snapshot) == 1)
    }

    fn memory(&self) -> usize {
        let state = lock(&self.state);
        let snapshot = state.snapshot.as_ref().map_or(0, |snapshot| snapshot.memory());
        size_of::<Self>() + 200 + snapshot + state.pending.len() * size_of::<Change>()
    }
}

/// The mailboxes in memory, by their keys in the keyspace of names.
#[derive(Default)]
pub(super) struct LiveMailboxes {
    mailboxes: Mutex<HashMap<Box<[u8]>, Arc<Live>>>,
    clock: AtomicU64,
    /// Roughly how much memory was taken since the last eviction.
    taken: AtomicUsize,
}

impl LiveMailboxes {
    pub(super) fn remove(&self, key: &[u8]) {
        lock(&self.mailboxes).remove(key);
    }

    /// Adds a mailbox that was just committed, unless somebody has read it from the database already: then that one
    /// counts.
    pub(super) fn add(&self, key: Box<[u8]>, live: Arc<Live>) -> Arc<Live> {
        self.taken.fetch_add(live.memory(), Ordering::Relaxed);
        Arc::clone(lock(&self.mailboxes).entry(key).or_insert(live))
    }

    /// A mailbox if it is in memory.
    pub(super) fn cached(&self, key: &[u8]) -> Option<Arc<Live>> {
        let live = lock(&self.mailboxes).get(key).cloned()?;
        live.used.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Some(live)
    }

    /// Whether it is time to look for mailboxes that nobody needs.
    pub(super) fn is_full(&self, budget: usize) -> bool {
        self.taken.load(Ordering::Relaxed) > budget / 8
    }

    /// Mailboxes that nobody holds, longest unused first, as many as have to go until all take three quarters of `budget`.
    pub(super) fn idle(&self, budget: usize) -> Vec<Box<[u8]>> {
        self.taken.store(0, Ordering::Relaxed);
        let mailboxes = lock(&self.mailboxes);
        let mut total: usize = mailboxes.values().map(|live| live.memory()).sum();
        if total <= budget {
            return Vec::new();
        }
        let mut idle: Vec<(u64, usize, &[u8])> = mailboxes
            .iter()
            .filter(|(_, live)| live.is_idle())
            .map(|(key, live)| (live.used.load(Ordering::Relaxed), live.memory(), &**key))
            .collect();
        idle.sort_unstable();
        let too_many = |(_, memory, key): (u64, usize, &[u8])| {
            let leaves = total > budget / 4 * 3;
            total = total.saturating_sub(memory);
            leaves.then(|| key.into())
        };
        idle.into_iter().map_while(too_many).collect()
    }

    /// Forgets a mailbox if nobody holds it. Only who writes may call this, between two groups: it is what makes a mailbox that is
    /// being changed stay.
    pub(super) fn forget(&self, key: &[u8]) {
        let mut mailboxes = lock(&self.mailboxes);
        if mailboxes.get(key).is_some_and(|live| live.is_idle()) {
            mailboxes.remove(key);
        }
    }

    /// Takes note that what a header says of packed messages is not so, so that they are packed again. It is written with the next change
    /// of the mailbox, or when it leaves memory; if that does not come to pass, the next reader finds it out again.
    pub(super) fn unpack(&self, key: &[u8], header: &Header) {
        let Some(live) = lock(&self.mailboxes).get(key).cloned() else { return };
        let mut state = lock(&live.state);
        if state.header.packed == header.packed && state.header.rows == header.rows {
            state.header.packed = None;
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Box<[u8]>> {
        lock(&self.mailboxes).keys().cloned().collect()
    }
}

impl Core {
    /// A mailbox, from the database if it is not in memory; `None` if it does not exist.
    pub(super) fn live(&self, key: &[u8]) -> Result<Option<Arc<Live>>> {
        if let Some(live) = self.live.cached(key) {
            return Ok(Some(live));
        }
        // Read under the lock: what the committer has in hand is in the map already, so this row is the newest.
        let mut mailboxes = lock(&self.live.mailboxes);
        if let Some(live) = mailboxes.get(key) {
            return Ok(Some(Arc::clone(live)));
        }
        let Some(row) = self.database.names.get(key).map_err(failed)? else { return Ok(None) };
        let live = Arc::new(Live::new(Header::decode(key, &row)?));
        live.used.store(self.live.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        mailboxes.insert(key.into(), Arc::clone(&live));
        self.live.taken.fetch_add(live.memory(), Ordering::Relaxed);
        Ok(Some(live))
    }

    /// The snapshot of a mailbox, read from its rows if it is not in memory.
    pub(super) fn snapshot(&self, key: &[u8], live: &Live) -> Result<Arc<Snapshot>> {
        let _reading = lock(&live.loading);
        {
            let mut state = lock(&live.state);
            if let Some(snapshot) = state.current() {
                return Ok(snapshot);
            }
            if state.gone {
                return Err(StoreError::NotFound);
            }
            state.loading = true;
        }
        let loaded = self.load(key);
        let mut state = lock(&live.state);
        state.loading = false;
        if state.snapshot.is_none() {
            match loaded {
                Ok(snapshot) => state.snapshot = Some(Arc::new(snapshot)),
                Err(error) => {
                    state.pending.clear();
                    return Err(error);
                }
            }
        }
        let snapshot = state.current().ok_or(StoreError::NotFound)?;
        drop(state);
        self.live.taken.fetch_add(snapshot.memory(), Ordering::Relaxed);
        Ok(snapshot)
    }

    /// Reads a mailbox at one moment.
    fn load(&self, key: &[u8]) -> Result<Snapshot> {
        let moment = self.database.moment();
        let row = moment.get(&self.database.names, key).map_err(failed)?.ok_or(StoreError::NotFound)?;
        self.load_rows(key, &Header::decode(key, &row)?, &moment)
    }

    /// The messages of a mailbox, whatever its name is now. For the committer, who knows the header.
    pub(super) fn committed(&self, key: &[u8], header: &Header) -> Result<Snapshot> {
        // Numbers from before the changes that are staged, or applying these would do nothing.
        let before =
            Header { uid_next: Some(Uid::MIN), highest_modseq: ModSeq::MIN, packed: None, ..header.clone() };
        self.load_rows(key, &before, &self.database.moment())
    }

    pub(super) fn load_rows(
        &self,
        key: &[u8],
        header: &Header,
        moment: &fjall::Snapshot,
    ) -> Result<Snapshot> {
        let packed = self.unpack(header, moment);
        if packed.is_none() && header.packed.is_some() {
            self.damage.note_text(&format!(
                "the packed messages of {:?}; they are read from their own rows",
                String::from_utf8_lossy(key)
            ));
            self.live.unpack(key, header);
        }
        let mut snapshot = packed.unwrap_or_else(|| header.empty_snapshot());
        let Some(first) = snapshot.uid_next() else { return Ok(snapshot) };
        let end = row::key(header.rows, &u32::MAX.to_be_bytes());
        let mut start = row::key(header.rows, &first.get().to_be_bytes());
        // One pass, unless a part of the disk cannot be read: then another one begins behind each row that is lost.
        loop {
            let (mut broken, mut last) = (false, None);
            for entry in moment.range(&self.database.rows, start.clone()..=end.clone()) {
                let Ok((row_key, value)) = entry.into_inner().map_err(failed) else {
                    broken = true;
                    break;
                };
                // What cannot be read is not shown, and the rest is.
                match decode_row(key, &row_key, &value) {
                    Ok(message) => snapshot.add(message),
                    Err(error) => self.damage.note(&error),
                }
                last = Some(row_key);
            }
            if !broken {
                break;
            }
            if let Some(last) = last {
                start = [&last[..], b"\0"].concat();
            }
            let Some((row_key, value)) = self.behind_the_hole(key, header, &start, moment) else { break };
            match decode_row(key, &row_key, &value) {
                Ok(message) => snapshot.add(message),
                Err(error) => self.damage.note(&error),
            }
            start = [&row_key[..], b"\0"].concat();
        }
        snapshot.advance(header.uid_next, ModSeq::ZERO);
        Ok(snapshot)
    }
}

impl Core {
    /// Looks for the next row that can be read, UID by UID, and notes those that cannot.
    fn behind_the_hole(
        &self,
        key: &[u8],
        header: &Header,
        start: &[u8],
        moment: &fjall::Snapshot,
    ) -> Option<(Vec<u8>, fjall::UserValue)> {
        let first = start.get(8..12).and_then(|uid| uid.try_into().ok()).map_or(0, u32::from_be_bytes);
        // Behind a row that was read: its key and an octet more.
        let first = if start.len() > 12 { first.checked_add(1)? } else { first };
        let last = header.uid_next.map_or(u32::MAX, Uid::get);
        for uid in first..last {
            let row_key = row::key(header.rows, &uid.to_be_bytes());
            match moment.get(&self.database.rows, &row_key) {
                Ok(None) => {}
                Ok(Some(value)) => return Some((row_key, value)),
                Err(_) => {
                    let name = String::from_utf8_lossy(key);
                    self.damage.note(&StoreError::Corrupt(format!("the row of UID {uid} in {name:?}")));
                }
            }
        }
        None
    }
}

/// The message of a row of the mailbox `key`.
pub(super) fn decode_row(key: &[u8], row_key: &[u8], value: &[u8]) -> Result<Message> {
    let uid = row_key.last_chunk::<4>().and_then(|uid| Uid::new(u32::from_be_bytes(*uid)));
    let corrupt = || {
        let (uid, name) = (uid.map_or(0, Uid::get), String::from_utf8_lossy(key));
        StoreError::Corrupt(format!("the row of UID {uid} in {name:?}"))
    };
    let row = uid.zip(row::open(row_key, value));
    row.and_then(|(uid, row)| row::decode_message(uid, row)).ok_or_else(corrupt)
}
