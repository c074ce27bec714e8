//! The work: groups of operations, and what has to be done between two of them now and then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Group, Operation, Outcome};
use crate::Result;
use crate::embedded::opening::Opening;
use crate::embedded::packed::{Begin, Packing, when_closing};
use crate::embedded::{Core, Lasting};

/// How many octets, and how many operations, a group takes in at most.
const GROUP_OCTETS: usize = 16 << 20;
const GROUP_OPERATIONS: usize = 4_096;

/// What whoever commits has in hand.
pub(super) struct Writer {
    opening: Arc<Opening>,
    lasting: Arc<Lasting>,
    /// The numbers of the last group, of the last one that was flushed, and of the one that failed.
    last: u64,
    flushed: u64,
    failed: Option<u64>,
    /// When to look for bodies that nobody needs, and for room.
    collect_at: Instant,
    retry_at: Instant,
    /// A mailbox that is being packed, and when the next step of it is due.
    packing: Option<Packing>,
    pack_at: Instant,
}

impl Writer {
    pub(super) fn new(opening: Arc<Opening>, lasting: Arc<Lasting>) -> Result<Self> {
        let last = opening.core()?.database.group()?;
        let now = Instant::now();
        Ok(Self {
            opening,
            lasting,
            last,
            flushed: last,
            failed: None,
            collect_at: now,
            retry_at: now,
            packing: None,
            pack_at: now,
        })
    }

    /// Does what is to be done now and then between two groups; how long until the next time.
    pub(super) fn housekeep(&mut self) -> Duration {
        self.evict();
        self.pack_a_step();
        if Instant::now() >= self.collect_at {
            let more = self.lasting.writable().is_ok() && self.collect();
            self.collect_at = Instant::now() + if more { COLLECT_MORE } else { COLLECT };
        }
        if self.lasting.failure.is_passing() && Instant::now() >= self.retry_at {
            self.recover();
            self.retry_at = Instant::now() + RETRY;
        }
        let due = self.pack_due().map_or(self.collect_at, |due| due.min(self.collect_at));
        let wait = due.saturating_duration_since(Instant::now());
        if self.lasting.failure.is_passing() { wait.min(RETRY) } else { wait }
    }

    /// Whether something of that is to be done soon.
    pub(super) fn has_chores(&self) -> bool {
        self.is_full() || self.lasting.failure.is_passing() || self.lasting.ripening.has_news()
    }

    /// Whether mailboxes take so much memory that some have to leave it.
    fn is_full(&self) -> bool {
        self.lasting.live.is_full(self.lasting.options.snapshots)
    }

    /// Does what many want, as one group: this, and what is `next` until there is no more. Gives how many.
    pub(super) fn group(&mut self, first: Operation, mut next: impl FnMut() -> Option<Operation>) -> usize {
        let core = match self.opening.core() {
            Ok(core) => core,
            Err(error) => {
                let error = self.lasting.writable().err().unwrap_or(error);
                first(Err(error));
                return 1;
            }
        };
        let mut group = Group::new(&core, self.flushed);
        first(Ok(&mut group));
        let mut operations = 1;
        while operations <= GROUP_OPERATIONS
            && group.octets <= GROUP_OCTETS
            && let Some(operation) = next()
        {
            operation(Ok(&mut group));
            operations += 1;
        }
        // A failure has been told to everybody in the group.
        let outcome = group.commit(self.last + 1);
        self.note(outcome);
        operations
    }

    /// Forgets mailboxes that nobody holds if all of them take too much memory.
    fn evict(&mut self) {
        let (lasting, budget) = (Arc::clone(&self.lasting), self.lasting.options.snapshots);
        if self.is_full() {
            for key in lasting.live.idle(budget) {
                self.pack(&key, Packing::begin_in_memory);
                lasting.live.forget(&key);
            }
        }
    }

    /// Packs the messages of a mailbox that leaves memory, unless there is anything against it.
    fn pack(&mut self, key: &[u8], begin: Begin) {
        let Some(core) = self.core_to_pack() else { return };
        let mut packing = begin(&core, key);
        while packing.is_some() {
            packing = self.stage(&core, packing, Packing::stage);
        }
    }

    /// Packs a little of a mailbox in which nothing has changed for a while.
    fn pack_a_step(&mut self) {
        let now = Instant::now();
        if self.pack_due().is_none_or(|due| due > now) {
            return;
        }
        self.pack_at = now + PACK_MORE;
        let begun = self.packing.take();
        let key = if begun.is_none() { self.lasting.ripening.take(now) } else { None };
        if let Some(core) = self.core_to_pack() {
            let packing = begun.or_else(|| Packing::begin(&core, &key?));
            self.packing = self.stage(&core, packing, Packing::step);
        }
    }

    /// When something is to be packed, if anything is.
    fn pack_due(&self) -> Option<Instant> {
        let due = if self.packing.is_some() { Some(self.pack_at) } else { self.lasting.ripening.due() };
        due.map(|due| due.max(self.pack_at))
    }

    /// The open database, unless it takes nothing that need not be.
    fn core_to_pack(&self) -> Option<Arc<Core>> {
        let fits = |core: &Arc<Core>| core.writable().is_ok() && core.room(Packing::OCTETS).is_ok();
        self.opening.core().ok().filter(fits)
    }

    /// A group of what `how` stages of a mailbox; what is left of it.
    fn stage(
        &mut self,
        core: &Core,
        packing: Option<Packing>,
        how: impl Fn(&mut Packing, &mut Group<'_>) -> Result<bool>,
    ) -> Option<Packing> {
        let mut packing = packing?;
        let mut group = Group::new(core, self.flushed);
        let more = how(&mut packing, &mut group).is_ok_and(|more| more);
        let outcome = group.commit(self.last + 1);
        self.note(outcome);
        (more && outcome != Outcome::Failed && core.room(Packing::OCTETS).is_ok()).then_some(packing)
    }

    /// Takes away some of what nobody needs; whether there may be more.
    fn collect(&mut self) -> bool {
        let Ok(core) = self.opening.core() else { return false };
        let mut group = Group::new(&core, self.flushed);
        let Ok(more) = group.collect() else { return false };
        let outcome = group.commit(self.last + 1);
        self.note(outcome);
        more && outcome != Outcome::Failed
    }

    const fn note(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Nothing => {}
            Outcome::Written => self.last += 1,
            Outcome::Flushed => {
                self.last += 1;
                self.flushed = self.last;
            }
            // What fails later fails because of this one, and is not written.
            Outcome::Failed => {
                if self.failed.is_none() {
                    self.failed = Some(self.last + 1);
                }
            }
        }
    }

    /// Opens the database, which failed for lack of room, anew if there is room again.
    fn recover(&mut self) {
        // Whatever keeps it from being opened, a later attempt may find gone.
        if self.lasting.space.is_back() && self.opening.renew(&self.lasting, self.failed).is_ok() {
            self.failed = None;
            self.lasting.failure.is_over();
        }
    }

    /// Leaves a last row that is flushed, so that damage to what is before it can be told from an incomplete end.
    pub(super) fn close(mut self) {
        let (live, since) = (self.lasting.live.all(), Instant::now());
        live.iter().for_each(|key| self.pack(key, when_closing(since)));
        if self.lasting.writable().is_ok()
            && let Ok(core) = self.opening.core()
        {
            let mut group = Group::new(&core, self.flushed);
            group.durable = true;
            let outcome = group.commit(self.last + 1);
            self.note(outcome);
        }
        self.opening.close(&self.lasting, self.failed);
    }
}

/// How often to look whether there is room again.
const RETRY: Duration = Duration::from_millis(500);

/// How long to pause between two steps of packing: who wants something gets it at once.
const PACK_MORE: Duration = Duration::from_millis(20);

/// How often to look for bodies nobody needs, and how soon again if there were many.
const COLLECT: Duration = Duration::from_secs(15);
const COLLECT_MORE: Duration = Duration::from_millis(20);
