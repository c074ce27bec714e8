//! The messages of a large mailbox in few rows beside their own, so that it opens faster.
//!
//! They are written when the mailbox leaves memory or the store ends, and of one that is not in memory when no message has come for a while.
//! The [`Header`] says that they tell the truth of every message up to the last of them, and whatever changes or removes a message takes
//! that back in the same batch. Messages that came later have rows of their own only. If anything about packed messages is wrong, they are read from their own rows, and packed again at
//! the next occasion. A check of the store takes those from here whose own rows are damaged.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mailwright_mail_model::{ModSeq, Uid};

use super::Core;
use super::committer::Group;
use super::database::failed;
use super::header::Header;
use super::live::decode_row;
use super::row::{self, Fields};
use crate::signal::lock;
use crate::snapshot::{BLOCK, run};
use crate::{Message, Result, Snapshot};

/// What [`Options`](super::Options) say by default: smaller mailboxes are read fast enough from the rows of their messages. Tests pack
/// whatever they can, in many rows and groups.
pub(super) const PACK_FROM: u32 = if cfg!(test) { 3 } else { 1_024 };

/// Where a row is full, and when a group has enough of them, in octets. A row is some 5,000 messages, which is what whoever writes waits for
/// while they are read.
const ROW: usize = if cfg!(test) { 100 } else { 64 * 1024 };
const GROUP: usize = if cfg!(test) { 250 } else { 4 << 20 };

/// How many messages a [run] has: a block of a snapshot.
const RUN: usize = if cfg!(test) { 4 } else { BLOCK };

/// What a row has in front beside the mod-sequence, which has 63 bits: that runs are behind it. There were rows of another form.
const RUNS: u64 = 1 << 63;

/// What a mailbox's header says of its packed messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packed {
    /// What the mailbox had come to when they were packed; each row has it too.
    pub(super) modseq: ModSeq,
    pub(super) messages: u32,
}

impl Header {
    /// Whether it is time to pack the messages: there are as many as `least`, and few of them are in rows already.
    pub(super) fn wants_packing(&self, least: u32) -> bool {
        let packed = self.packed.map_or(0, |packed| packed.messages);
        self.messages >= least && self.messages.saturating_sub(packed) > least.max(self.messages / 8)
    }
}

/// Mailboxes that are not in memory and want to be packed, and when they were last seen to change.
#[derive(Default)]
pub(super) struct Ripening(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    mailboxes: HashMap<Box<[u8]>, Instant>,
    /// Whether one has come since somebody asked when the next is due.
    news: bool,
}

/// For how long nothing must have changed in a mailbox: most that are filled go on to be.
const QUIET: Duration = Duration::from_secs(2);
/// How many mailboxes may wait. One that finds no place is packed after its next change.
const WAITING: usize = 1_024;

impl Ripening {
    /// Notes that a mailbox has changed.
    pub(super) fn note(&self, key: &[u8], header: &Header, least: u32) {
        if !header.wants_packing(least) {
            return;
        }
        let mut waiting = lock(&self.0);
        if let Some(changed) = waiting.mailboxes.get_mut(key) {
            *changed = Instant::now();
        } else if waiting.mailboxes.len() < WAITING {
            waiting.mailboxes.insert(key.into(), Instant::now());
            waiting.news = true;
        }
    }

    /// Whether one has come since somebody asked when the next is [due](Self::due).
    pub(super) fn has_news(&self) -> bool {
        lock(&self.0).news
    }

    /// When the next one may be packed.
    pub(super) fn due(&self) -> Option<Instant> {
        let mut waiting = lock(&self.0);
        waiting.news = false;
        waiting.mailboxes.values().min().map(|changed| *changed + QUIET)
    }

    /// Takes one in which nothing has changed for long enough by this moment.
    pub(super) fn take(&self, now: Instant) -> Option<Box<[u8]>> {
        let mut waiting = lock(&self.0);
        let (key, changed) = waiting.mailboxes.iter().min_by_key(|(_, changed)| **changed)?;
        let key = (*changed + QUIET <= now).then(|| key.clone())?;
        waiting.mailboxes.remove(&key);
        Some(key)
    }
}

/// A mailbox whose messages are being packed. If anybody changes it meanwhile, it was for nothing.
pub(super) struct Packing {
    key: Box<[u8]>,
    /// The mailbox's number for rows.
    rows: u64,
    packed: Packed,
    /// The messages, if they are in memory; otherwise their rows are read.
    snapshot: Option<Arc<Snapshot>>,
    /// The next row, which messages go there, and how many went before.
    number: u32,
    next: Option<Uid>,
    messages: u32,
}

/// How a mailbox is begun with, if it wants that.
pub(super) type Begin = fn(&Core, &[u8]) -> Option<Packing>;

/// For how long mailboxes that are not in memory are read for it when the store ends, together.
const CLOSING: Duration = Duration::from_secs(2);

/// How the next mailbox is begun with when the store ends, which began at this moment.
pub(super) fn when_closing(since: Instant) -> Begin {
    if since.elapsed() < CLOSING { Packing::begin } else { Packing::begin_in_memory }
}

impl Packing {
    /// Begins, if the mailbox wants it.
    pub(super) fn begin(core: &Core, key: &[u8]) -> Option<Self> {
        let live = core.live(key).ok()??;
        let snapshot = live.current();
        let header = lock(&live.state).header.clone();
        header.wants_packing(core.options.pack_from).then(|| Self {
            key: key.into(),
            rows: header.rows,
            packed: Packed { modseq: header.highest_modseq, messages: header.messages },
            snapshot,
            number: 0,
            next: Some(Uid::MIN),
            messages: 0,
        })
    }

    /// The same for a mailbox whose messages are in memory.
    pub(super) fn begin_in_memory(core: &Core, key: &[u8]) -> Option<Self> {
        Self::begin(core, key).filter(|packing| packing.snapshot.is_some())
    }

    /// About how many octets the next rows of one group take.
    pub(super) const OCTETS: u64 = GROUP as u64;

    /// Stages the next rows, and with the last of them the header; whether there are more.
    pub(super) fn stage(&mut self, group: &mut Group<'_>) -> Result<bool> {
        self.stage_up_to(GROUP, group)
    }

    /// The same with one row. The last one takes care that it was not for nothing if the process is killed.
    pub(super) fn step(&mut self, group: &mut Group<'_>) -> Result<bool> {
        let more = self.stage_up_to(1, group)?;
        if !more {
            group.must_last();
        }
        Ok(more)
    }

    fn stage_up_to(&mut self, octets: usize, group: &mut Group<'_>) -> Result<bool> {
        if !self.is_unchanged(group)? {
            return Ok(false);
        }
        let mut staged = 0;
        while let Some(next) = self.next {
            if staged >= octets {
                return Ok(true);
            }
            let key = row::key(self.rows, &self.number.to_be_bytes());
            let Some(value) = self.row(next, group.core) else { return Ok(false) };
            let value = row::seal(&key, value);
            staged += value.len();
            let packs = &group.core.database.packs;
            group.put_lazily(packs, key, value);
            self.number = self.number.saturating_add(1);
        }
        if self.messages != self.packed.messages {
            return Ok(false);
        }
        // There may be more, of a time when the mailbox had more messages.
        let packs = &group.core.database.packs;
        let bound = |number: u32| row::key(self.rows, &number.to_be_bytes());
        for entry in packs.range(bound(self.number)..=bound(u32::MAX)) {
            group.delete_lazily(packs, Bytes::from(entry.key().map_err(failed)?));
        }
        if let Some(staged) = group.find(&self.key)? {
            staged.header()?.packed = Some(self.packed);
            staged.touch_lazily();
        }
        Ok(false)
    }

    /// Whether the mailbox is what it was. What was packed before is taken back with the first row, which takes its place.
    fn is_unchanged(&self, group: &mut Group<'_>) -> Result<bool> {
        let Some(staged) = group.find(&self.key)? else { return Ok(false) };
        let header = staged.header()?;
        let unchanged = header.rows == self.rows && header.highest_modseq == self.packed.modseq;
        if unchanged && header.packed.is_some() {
            header.packed = None;
            staged.touch_lazily();
        }
        Ok(unchanged)
    }

    /// The row that begins with the message of this UID: the mod-sequence, and runs of messages. `None` if there is one that would not come
    /// back as it is, or cannot be read; then none is packed.
    fn row(&mut self, first: Uid, core: &Core) -> Option<Vec<u8>> {
        let mut value = Vec::with_capacity(ROW + 8 * 1024);
        value.extend_from_slice(&(RUNS | self.packed.modseq.get()).to_be_bytes());
        self.next = None;
        if let Some(snapshot) = self.snapshot.clone() {
            let messages = snapshot.range(first..=Uid::MAX).map(|message| Some(message.clone()));
            return self.fill(value, messages);
        }
        let bound = |uid: u32| row::key(self.rows, &uid.to_be_bytes());
        let rows = core.database.rows.range(bound(first.get())..=bound(u32::MAX));
        let key = self.key.clone();
        let messages = rows.map(move |entry| {
            let (row_key, value) = entry.into_inner().ok()?;
            decode_row(&key, &row_key, &value).ok()
        });
        self.fill(value, messages)
    }

    fn fill(
        &mut self,
        mut value: Vec<u8>,
        messages: impl Iterator<Item = Option<Message>>,
    ) -> Option<Vec<u8>> {
        let mut messages = messages.peekable();
        while let Some(next) = messages.peek() {
            if value.len() >= ROW {
                self.next = Some(next.as_ref()?.uid);
                break;
            }
            let run: Vec<Message> = messages.by_ref().take(RUN).collect::<Option<_>>()?;
            self.messages = self.messages.checked_add(u32::try_from(run.len()).ok()?)?;
            run::encode(&run.iter().collect::<Vec<_>>(), &mut value)?;
        }
        Some(value)
    }
}

impl Group<'_> {
    /// Stages messages of a mailbox, if it wants that: the first ones, or what comes after those of earlier groups.
    /// `None` once there are no more.
    pub(super) fn pack(
        &mut self,
        key: &[u8],
        begun: Option<Packing>,
        begin: Begin,
    ) -> Result<Option<Packing>> {
        let Some(mut packing) = begun.or_else(|| begin(self.core, key)) else { return Ok(None) };
        self.core.room(Packing::OCTETS)?;
        // The process may end at once, with what the database has not given to the system yet.
        self.must_last();
        Ok(packing.stage(self)?.then_some(packing))
    }
}

impl Core {
    /// The packed messages of a mailbox. `None` if there are none, or something about them is wrong.
    pub(super) fn unpack(&self, header: &Header, moment: &fjall::Snapshot) -> Option<Snapshot> {
        let packed = header.packed?;
        let mut snapshot = header.empty_snapshot();
        let mut number = 0_u32;
        while snapshot.len() < packed.messages {
            let key = row::key(header.rows, &number.to_be_bytes());
            self.unpack_row(&packed, &key, moment, &mut snapshot)?;
            number = number.checked_add(1)?;
        }
        (snapshot.len() == packed.messages).then_some(snapshot)
    }

    /// What can be read of packed messages of which some cannot.
    pub(super) fn unpack_parts(&self, header: &Header, moment: &fjall::Snapshot) -> Option<Snapshot> {
        use fjall::Readable as _;

        let packed = header.packed?;
        let mut all = header.empty_snapshot();
        for entry in moment.prefix(&self.database.packs, header.rows.to_be_bytes()) {
            let Ok(key) = entry.key() else { break };
            let mut part = header.empty_snapshot();
            if self.unpack_row(&packed, &key, moment, &mut part).is_some() && part.is_consistent() {
                part.messages().for_each(|message| all.add(message.clone()));
            }
        }
        Some(all)
    }

    fn unpack_row(
        &self,
        packed: &Packed,
        key: &[u8],
        moment: &fjall::Snapshot,
        snapshot: &mut Snapshot,
    ) -> Option<()> {
        use fjall::Readable as _;

        let before = snapshot.len();
        let sealed = moment.get(&self.database.packs, key).ok()??;
        let mut fields = Fields(row::open(key, &sealed)?);
        if fields.u64()? != RUNS | packed.modseq.get() {
            return None;
        }
        while !fields.0.is_empty() {
            snapshot.add_run(&mut fields.0)?;
        }
        (snapshot.len() > before).then_some(())
    }
}
