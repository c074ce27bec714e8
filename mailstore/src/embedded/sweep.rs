//! Rows of threads of which no message is left go, user by user.
//!
//! Nothing leads from a message to the rows of its thread: to keep that would cost each delivery more than all rows are worth. So when
//! many of a user's messages have gone, those that are left are looked at, in steps between two groups of changes, for the threads that they
//! are in; then the rows of others go. Only so many threads are kept in mind at a time: those of the lowest numbers first, then the next.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Mutex;

use bytes::Bytes;

use super::committer::Group;
use super::database::failed;
use super::header::Header;
use super::row::{self, number_of};
use super::{Core, threads, undelete};
use crate::signal::lock;
use crate::{Message, Result};

/// After how many messages that went it is worth it, at least.
pub(super) const LEAST: u64 = if cfg!(test) { 8 } else { 1_024 };
/// How many threads are kept in mind.
const MOST: usize = if cfg!(test) { 4 } else { 1 << 18 };
/// How many rows a step looks at.
const STEP: usize = if cfg!(test) { 5 } else { 4_096 };
/// How many users may wait. One who finds no place comes back with the next message that goes.
const WAITING: usize = 1_024;

/// What is to be swept, and what is being.
#[derive(Default)]
pub(super) struct Sweeping(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: VecDeque<Box<[u8]>>,
    current: Option<Sweep>,
}

/// A user whose threads are being swept.
struct Sweep {
    user: Box<[u8]>,
    /// How many messages had gone when it began.
    gone: u64,
    /// Threads from this number on may have begun since.
    end: u64,
    /// Which threads are looked for now, lowest first: from `low` to `high`, which is not one of them.
    low: u64,
    high: u64,
    /// Those that messages are in.
    alive: BTreeSet<u64>,
    place: Place,
}

/// What is looked at next.
#[derive(Clone)]
enum Place {
    /// Rows of messages from this key on, and the mailboxes after them.
    Messages(Vec<u8>, Vec<u64>),
    /// Expunged messages that can be had back.
    Expunged(Vec<u8>),
    /// Rows of threads, of which some go.
    Threads(Vec<u8>),
}

impl Sweeping {
    /// Notes that a user has rows to go.
    pub(super) fn want(&self, user: &[u8]) {
        let mut state = lock(&self.0);
        let known = state.waiting.iter().chain(state.current.as_ref().map(|sweep| &sweep.user));
        if state.waiting.len() < WAITING && !known.into_iter().any(|known| **known == *user) {
            state.waiting.push_back(user.into());
        }
    }

    /// Notes that messages come to a user, perhaps into a mailbox that was looked at already.
    pub(super) fn note(&self, user: &[u8], messages: &[Message]) {
        if let Some(sweep) = lock(&self.0).current.as_mut().filter(|sweep| *sweep.user == *user) {
            let threads = messages.iter().filter_map(|message| message.thread.and_then(number_of));
            threads.for_each(|thread| sweep.keep(thread));
        }
    }
}

impl Sweep {
    fn begin(core: &Core, user: Box<[u8]>, gone: u64) -> Result<Self> {
        let end = core.database.identity()?;
        let place = Self::start(core, &user)?;
        Ok(Self { user, gone, end, low: 0, high: end, alive: BTreeSet::new(), place })
    }

    /// The place where the messages begin.
    fn start(core: &Core, user: &[u8]) -> Result<Place> {
        let mut mailboxes = Vec::new();
        for entry in core.database.names.prefix([user, b"\0"].concat()) {
            let (key, value) = entry.into_inner().map_err(failed)?;
            mailboxes.push(Header::decode(&key, &value)?.rows);
        }
        Ok(match mailboxes.pop() {
            Some(first) => Place::Messages(row::key(first, b""), mailboxes),
            None => Place::Expunged(undelete::key(user, None)),
        })
    }

    /// Keeps a thread in mind; if they are too many, the highest are for the next time.
    fn keep(&mut self, thread: u64) {
        if !(self.low..self.high).contains(&thread) {
            return;
        }
        self.alive.insert(thread);
        if self.alive.len() > MOST {
            self.high = self.alive.pop_last().unwrap_or(self.high);
        }
    }

    /// Looks at the next rows. Whether there are more; what cannot be read ends it with an error, for nobody knows what is in it.
    fn step(&mut self, group: &mut Group<'_>) -> Result<bool> {
        let core = group.core;
        let database = &core.database;
        self.place = match self.place.clone() {
            Place::Messages(from, mut mailboxes) => {
                let corrupt = || crate::StoreError::Corrupt("the row of a message".into());
                let prefix = from.first_chunk::<8>().copied().unwrap_or_default();
                let keyspace = &database.rows;
                let next = rows(keyspace.range(from..=end(&prefix)), |key, value| {
                    let thread = row::open(key, value).and_then(row::thread_of).ok_or_else(corrupt)?;
                    self.keep(thread);
                    Ok(())
                })?;
                match (next, mailboxes.pop()) {
                    (Some(next), mailbox) => {
                        mailboxes.extend(mailbox);
                        Place::Messages(next, mailboxes)
                    }
                    (None, Some(mailbox)) => Place::Messages(row::key(mailbox, b""), mailboxes),
                    (None, None) => Place::Expunged(undelete::key(&self.user, None)),
                }
            }
            Place::Expunged(from) => {
                let corrupt = || crate::StoreError::Corrupt("an expunged message".into());
                let bound = end(&undelete::key(&self.user, None));
                let next = rows(database.details.range(from..=bound), |key, value| {
                    let kept = row::open(key, value).and_then(undelete::decode);
                    let (_, _, message) = kept.ok_or_else(corrupt)?;
                    message.thread.and_then(number_of).into_iter().for_each(|thread| self.keep(thread));
                    Ok(())
                })?;
                let owner = threads::owner(&self.user).to_be_bytes();
                next.map_or_else(|| Place::Threads(owner.to_vec()), Place::Expunged)
            }
            Place::Threads(from) => {
                let bound = end(&threads::owner(&self.user).to_be_bytes());
                let keyspace = &database.threads;
                let next = rows(keyspace.range(from..=bound), |key, value| {
                    let thread = threads::decode(key, value);
                    let dead = |thread: u64| {
                        (self.low..self.high).contains(&thread) && !self.alive.contains(&thread)
                    };
                    // A corrupt row is as good as none.
                    if thread.is_none_or(dead) {
                        group.delete_lazily(keyspace, Bytes::copy_from_slice(key));
                    }
                    Ok(())
                })?;
                match next {
                    Some(next) => Place::Threads(next),
                    None if self.high >= self.end => return Ok(false),
                    None => {
                        (self.low, self.high) = (self.high, self.end);
                        self.alive.clear();
                        Self::start(core, &self.user)?
                    }
                }
            }
        };
        Ok(true)
    }
}

/// Looks at some rows; where the next ones begin.
fn rows(
    entries: impl Iterator<Item = fjall::Guard>,
    mut look: impl FnMut(&[u8], &[u8]) -> Result<()>,
) -> Result<Option<Vec<u8>>> {
    for (count, entry) in entries.enumerate() {
        let (key, value) = entry.into_inner().map_err(failed)?;
        if count >= STEP {
            return Ok(Some(key.to_vec()));
        }
        look(&key, &value)?;
    }
    Ok(None)
}

/// Beyond all keys with this prefix, whose rest is shorter than this or has lower octets.
fn end(prefix: &[u8]) -> Vec<u8> {
    [prefix, &[u8::MAX; 17]].concat()
}

impl Group<'_> {
    /// Sweeps threads, a step; whether there may be more to do.
    pub(super) fn sweep(&mut self) -> Result<bool> {
        let (current, next) = {
            let mut state = lock(&self.core.sweeping.0);
            let current = state.current.take();
            let next = if current.is_none() { state.waiting.pop_front() } else { None };
            (current, next)
        };
        let mut sweep = match (current, next) {
            (Some(sweep), _) => sweep,
            (None, Some(user)) => match self.account(&user)?.wants_sweep() {
                Some(gone) => Sweep::begin(self.core, user, gone)?,
                None => return Ok(true),
            },
            (None, None) => return Ok(false),
        };
        // With an error it is over, and begins anew when another message goes. Nobody adds messages meanwhile: that is done by this thread.
        if sweep.step(self)? {
            lock(&self.core.sweeping.0).current = Some(sweep);
        } else {
            self.account(&sweep.user)?.swept(sweep.gone);
        }
        Ok(true)
    }
}
