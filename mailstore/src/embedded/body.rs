//! Bodies: chunks of octets, shared by the messages that have the same.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

use super::committer::Group;
use super::database::failed;
use super::row::{self, Fields};
use super::sealed::Reader;
use super::{Core, chunk};
use crate::{Message, MessageRef, ObjectId, Result, StoreError};

/// How many octets of a message a chunk holds; only the last one has fewer.
pub(super) const CHUNK: usize = 256 * 1024;
/// What is in a chunk's row before the octets: their checksum.
pub(super) const CHUNK_HEAD: usize = 4;
/// Up to how many bodies of others are passed over rather than looked around, and how many are worth a scan.
const GAP: u64 = 8;
const FEW: usize = 4;

pub(super) fn key(body: u64, number: u32) -> Vec<u8> {
    row::key(body, &number.to_be_bytes())
}

/// The body of a message of this store.
pub(super) fn of(message: &Message) -> Result<u64> {
    let number = message.object.and_then(row::number_of);
    number.ok_or_else(|| StoreError::Corrupt(format!("the body of UID {}", message.uid)))
}

/// How many octets most messages do not have more of.
pub(super) const USUAL: usize = 4_096 - CHUNK_HEAD;

/// An empty chunk with room for so many octets, to be filled and sealed.
pub(super) fn empty_chunk(room: usize) -> BytesMut {
    let mut chunk = BytesMut::with_capacity(CHUNK_HEAD + room);
    chunk.put_bytes(0, CHUNK_HEAD);
    chunk
}

impl Core {
    /// Octets of a message, up to the end of the chunk that `range` begins in.
    pub(super) fn read(&self, message: &MessageRef, range: &Range<u64>) -> Result<Bytes> {
        let corrupt = || {
            let (uid, name, user) = (message.uid, message.mailbox.name(), message.mailbox.user());
            StoreError::Corrupt(format!("UID {uid} in {name} of {user}"))
        };
        let reader = Reader::User(message.mailbox.user());
        self.octets(message.object, message.size, range, reader, corrupt, || self.exists(message))
    }

    /// Messages that are whole in their first chunk; nothing for others, and for what cannot be read. Bodies that ascend and are near each
    /// other, as those of a mailbox are mostly, are found by one scan.
    pub(super) fn read_together(&self, messages: &[MessageRef]) -> Vec<Option<Bytes>> {
        let number = |message: &MessageRef| message.object.and_then(row::number_of).unwrap_or(0);
        let mut together = Vec::with_capacity(messages.len());
        let mut rest = messages;
        while !rest.is_empty() {
            let near = |pair: &[MessageRef]| {
                let [one, other] = pair else { return false };
                number(other).checked_sub(number(one)).is_some_and(|gap| (1..=GAP).contains(&gap))
            };
            let length = 1 + rest.windows(2).take_while(|pair| near(pair)).count();
            let (run, later) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            rest = later;
            if run.len() < FEW {
                together.extend(run.iter().map(|message| self.whole(message)));
            } else {
                self.scan_bodies(run, &number, &mut together);
            }
        }
        together
    }

    fn whole(&self, message: &MessageRef) -> Option<Bytes> {
        let octets = self.read(message, &(0..message.size)).ok()?;
        (octets.len() as u64 == message.size).then_some(octets)
    }

    /// Bodies of ascending numbers.
    fn scan_bodies(
        &self,
        run: &[MessageRef],
        number: &impl Fn(&MessageRef) -> u64,
        together: &mut Vec<Option<Bytes>>,
    ) {
        let bound = |message: Option<&MessageRef>| key(message.map_or(0, number), 0);
        // Of no octets there is no row.
        let without_row = |message: &MessageRef| (message.size == 0).then(Bytes::new);
        let mut wanted = run.iter().peekable();
        for entry in self.database.bodies.range(bound(run.first())..=bound(run.last())) {
            // The key is known before the octets are read, which lie elsewhere.
            let entry = entry.into_inner_if(|key| {
                let mut fields = Fields(key);
                let wanted = |body| run.binary_search_by_key(&body, number).is_ok();
                fields.u64().is_some_and(wanted) && fields.u32() == Some(0)
            });
            // What cannot be read has to be read by itself anyway, to say why.
            let Ok((chunk_key, Some(chunk))) = entry else { continue };
            let Some(body) = Fields(&chunk_key).u64() else { continue };
            while let Some(message) = wanted.next_if(|message| number(message) < body) {
                together.push(without_row(message));
            }
            if let Some(message) = wanted.next_if(|message| number(message) == body) {
                together.push(self.opened(message, body, &chunk_key, chunk.into()));
            }
        }
        together.extend(wanted.map(without_row));
    }

    fn opened(&self, message: &MessageRef, body: u64, chunk_key: &[u8], chunk: Bytes) -> Option<Bytes> {
        let reader = Reader::User(message.mailbox.user());
        let unpacked = chunk::unpack(chunk_key, &chunk)?;
        let octets = unpacked.open(chunk_key, || self.body_key(body, message.size, reader)).ok()??;
        (octets.len() as u64 == message.size).then_some(octets)
    }

    /// Octets of a body of this size. `exists` says whether it should be there, `corrupt` what else is to be said.
    pub(super) fn octets(
        &self,
        object: Option<ObjectId>,
        size: u64,
        range: &Range<u64>,
        reader: Reader<'_>,
        corrupt: impl Fn() -> StoreError + Copy,
        exists: impl Fn() -> Result<bool>,
    ) -> Result<Bytes> {
        let end = range.end.min(size);
        if range.start >= end {
            return Ok(Bytes::new());
        }
        let body = object.and_then(row::number_of).ok_or(StoreError::NotFound)?;
        let number = u32::try_from(range.start / CHUNK as u64).map_err(|_| corrupt())?;
        let chunk_key = key(body, number);
        let chunk = match self.database.bodies.get(&chunk_key).map_err(failed) {
            Ok(Some(chunk)) => Bytes::from(chunk),
            Ok(None) if exists()? => return Err(corrupt()),
            Ok(None) => return Err(StoreError::NotFound),
            // The database found out first.
            Err(StoreError::Corrupt(_)) => return Err(corrupt()),
            Err(error) => return Err(error),
        };
        let unpacked = chunk::unpack(&chunk_key, &chunk).ok_or_else(corrupt)?;
        let opened = unpacked.open(&chunk_key, || self.body_key(body, size, reader));
        let octets = opened?.ok_or_else(corrupt)?;
        let first = u64::from(number) * CHUNK as u64;
        let within = |place: u64| usize::try_from(place - first);
        let (Ok(start), Ok(stop)) = (within(range.start), within(end)) else { return Err(corrupt()) };
        if start >= octets.len() {
            return Err(corrupt());
        }
        Ok(octets.slice(start..stop.min(octets.len())))
    }

    /// Whether the message is in its mailbox still.
    fn exists(&self, message: &MessageRef) -> Result<bool> {
        let name = row::name_key(message.mailbox.user().as_str(), message.mailbox.name().as_str());
        let Some(live) = self.live(&name)? else { return Ok(false) };
        let (rows, validity) = {
            let state = crate::signal::lock(&live.state);
            (state.header.rows, state.header.uid_validity)
        };
        let row_key = row::key(rows, &message.uid.get().to_be_bytes());
        let found = self.database.rows.contains_key(row_key).map_err(failed)?;
        Ok(found && validity == message.mailbox.uid_validity())
    }
}

impl Group<'_> {
    /// How many messages share a body.
    pub(super) fn references(&self, body: u64) -> Result<u32> {
        if let Some(count) = self.references.get(&body) {
            return Ok(*count);
        }
        let body_key = body.to_be_bytes();
        let Some(sealed) = self.core.database.references.get(body_key).map_err(failed)? else { return Ok(1) };
        let count = row::open(&body_key, &sealed).and_then(|value| Fields(value).u32());
        // A body whose count is lost stays for good, until a check of the store counts again.
        Ok(count.unwrap_or(u32::MAX / 2))
    }

    /// Stages that so many messages share a body. With none it goes into the trash.
    pub(super) fn set_references(&mut self, body: u64, count: u32) {
        let core = self.core;
        let body_key = body.to_be_bytes().to_vec();
        let before = self.references.insert(body, count);
        match count {
            0 => self.discard_body(body),
            // One is what no row means, so most messages never need one. After one that this group or an earlier one
            // wrote, it must go.
            1 => {
                if before.is_some_and(|before| before > 1) || self.is_shared(&body_key) {
                    self.delete(&core.database.references, body_key);
                }
            }
            _ => {
                let value = row::seal(&body_key, count.to_be_bytes().to_vec());
                self.put(&core.database.references, body_key, value);
            }
        }
    }

    /// Lets go of the body of a message that is removed.
    pub(super) fn release(&mut self, message: &Message) -> Result<()> {
        self.release_body(of(message)?)
    }

    pub(super) fn release_body(&mut self, body: u64) -> Result<()> {
        let count = self.references(body)?.saturating_sub(1);
        self.set_references(body, count);
        Ok(())
    }

    fn is_shared(&self, body_key: &[u8]) -> bool {
        // If nobody can tell, removing a row that is not there does no harm.
        self.core.database.references.contains_key(body_key).unwrap_or(true)
    }
}
