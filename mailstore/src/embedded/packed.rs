//! The messages of a large mailbox in few rows beside their own, so that it opens faster.
//!
//! They are written when the mailbox leaves memory or the store ends; before, nobody would read them. The [`Header`] says that they tell the truth of every
//! message up to the last of them, and whatever changes or removes a message takes that back in the same batch. Messages that came
//! later have rows of their own only. If anything about packed messages is wrong, they are read from their own rows, and packed again at
//! the next occasion. A check of the store takes those from here whose own rows are damaged.

use std::sync::Arc;

use bytes::Bytes;
use mailwright_mail_model::{ModSeq, Uid};

use super::Core;
use super::committer::Group;
use super::database::failed;
use super::header::Header;
use super::row::{self, Fields};
use crate::snapshot::{BLOCK, run};
use crate::{Result, Snapshot};

/// What [`Options`](super::Options) say by default: smaller mailboxes are read fast enough from the rows of their messages. Tests pack
/// whatever they can, in many rows and groups.
pub(super) const PACK_FROM: u32 = if cfg!(test) { 3 } else { 1_024 };

/// Where a row is full, and when a group has enough of them, in octets.
const ROW: usize = if cfg!(test) { 100 } else { 256 * 1024 };
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

/// A mailbox whose messages are being packed. If anybody changes it meanwhile, it was for nothing.
pub(super) struct Packing {
    key: Box<[u8]>,
    /// The mailbox's number for rows.
    rows: u64,
    packed: Packed,
    snapshot: Arc<Snapshot>,
    /// The next row, and which messages go there.
    number: u32,
    next: Option<Uid>,
}

impl Packing {
    /// Begins, if the mailbox wants it and is in memory.
    pub(super) fn begin(core: &Core, key: &[u8]) -> Option<Self> {
        let live = core.live.cached(key)?;
        let snapshot = live.current()?;
        let header = crate::signal::lock(&live.state).header.clone();
        let fits = snapshot.len() == header.messages && header.wants_packing(core.options.pack_from);
        fits.then(|| Self {
            key: key.into(),
            rows: header.rows,
            packed: Packed { modseq: header.highest_modseq, messages: header.messages },
            snapshot,
            number: 0,
            next: Some(Uid::MIN),
        })
    }

    /// About how many octets the next rows of one group take.
    pub(super) const OCTETS: u64 = GROUP as u64;

    /// Stages the next rows, and with the last of them the header; whether there are more.
    pub(super) fn stage(&mut self, group: &mut Group<'_>) -> Result<bool> {
        let mut staged = 0;
        while let Some(next) = self.next {
            if staged >= GROUP {
                return Ok(true);
            }
            let key = row::key(self.rows, &self.number.to_be_bytes());
            let Some(value) = self.row(next) else { return Ok(false) };
            let value = row::seal(&key, value);
            staged += value.len();
            let packs = &group.core.database.packs;
            group.put_lazily(packs, key, value);
            self.number = self.number.saturating_add(1);
        }
        // There may be more, of a time when the mailbox had more messages.
        let packs = &group.core.database.packs;
        let bound = |number: u32| row::key(self.rows, &number.to_be_bytes());
        for entry in packs.range(bound(self.number)..=bound(u32::MAX)) {
            group.delete_lazily(packs, Bytes::from(entry.key().map_err(failed)?));
        }
        let Some(staged) = group.find(&self.key)? else { return Ok(false) };
        let header = staged.header()?;
        // Unless this group has changed it before.
        if header.highest_modseq == self.packed.modseq {
            header.packed = Some(self.packed);
            staged.touch_lazily();
        }
        Ok(false)
    }

    /// The row that begins with the message of this UID: the mod-sequence, and runs of messages. `None` if there is one that would not come
    /// back as it is; then none is packed.
    fn row(&mut self, first: Uid) -> Option<Vec<u8>> {
        let mut value = Vec::with_capacity(ROW + 8 * 1024);
        value.extend_from_slice(&(RUNS | self.packed.modseq.get()).to_be_bytes());
        let mut messages = self.snapshot.range(first..=Uid::MAX).peekable();
        self.next = None;
        while let Some(next) = messages.peek() {
            if value.len() >= ROW {
                self.next = Some(next.uid);
                break;
            }
            let run: Vec<_> = messages.by_ref().take(RUN).collect();
            run::encode(&run, &mut value)?;
        }
        Some(value)
    }
}

impl Group<'_> {
    /// Stages messages of a mailbox, if it wants that and is in memory: the first ones, or what comes after those of earlier groups.
    /// `None` once there are no more.
    pub(super) fn pack(&mut self, key: &[u8], begun: Option<Packing>) -> Result<Option<Packing>> {
        let Some(mut packing) = begun.or_else(|| Packing::begin(self.core, key)) else { return Ok(None) };
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
