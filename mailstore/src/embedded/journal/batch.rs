//! The form of the database's journal: batches of items between a start and an end with their checksum.

use std::io::{ErrorKind, Read};

use xxhash_rust::xxh3::Xxh3;

use super::{GROUP, group_numbers};

const START_TAG: u8 = 1;
const ITEM_TAG: u8 = 2;
const END_TAG: u8 = 3;
const CLEAR_TAG: u8 = 4;
/// The last octets of a batch.
pub(super) const END: &[u8] = b"FJL\x03";
/// What an item has before its key, behind the tag: type, compression, keyspace, lengths of the key, of the value, and of the value as it
/// is stored.
const ITEM_HEAD: usize = 1 + 1 + 8 + 2 + 4 + 4;

/// A batch that is whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// At which octet it begins.
    pub(super) start: u64,
    /// Its number and that of the last flushed one before it, if it is a group of changes.
    pub(super) group: Option<(u64, u64)>,
}

/// Reads batches one after another, up to the first that is not whole.
pub(super) struct Scanner<R> {
    reader: R,
    /// Where the next batch begins.
    end: u64,
    /// How far `reader` is.
    place: u64,
    octets: Vec<u8>,
}

impl<R: Read> Scanner<R> {
    pub(super) const fn new(reader: R) -> Self {
        Self { reader, end: 0, place: 0, octets: Vec::new() }
    }

    /// Where the last whole batch ends.
    pub(super) const fn end(&self) -> u64 {
        self.end
    }

    /// The next batch; `None` if there is none that is whole.
    pub(super) fn next(&mut self) -> std::io::Result<Option<Batch>> {
        match self.batch() {
            Ok(batch) => {
                if batch.is_some() {
                    self.end = self.place;
                }
                Ok(batch)
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn batch(&mut self) -> std::io::Result<Option<Batch>> {
        let start = self.place;
        if self.array::<1>()? != [START_TAG] {
            return Ok(None);
        }
        let count = u32::from_le_bytes(self.array()?);
        let _sequence: [u8; 8] = self.array()?;
        let (mut sum, mut group) = (Xxh3::default(), None);
        for _ in 0..count {
            match self.array::<1>()? {
                [ITEM_TAG] => group = self.item(&mut sum)?.or(group),
                [CLEAR_TAG] => {
                    sum.update(&[CLEAR_TAG]);
                    sum.update(&self.array::<8>()?);
                }
                _ => return Ok(None),
            }
        }
        let end = self.array::<1>()? == [END_TAG];
        let whole = u64::from_le_bytes(self.array()?) == sum.digest();
        let end = end && self.array::<4>()? == END;
        Ok((end && whole).then_some(Batch { start, group }))
    }

    /// Reads an item; the numbers of the group if it is the row that tells them.
    fn item(&mut self, sum: &mut Xxh3) -> std::io::Result<Option<(u64, u64)>> {
        let head: [u8; ITEM_HEAD] = self.array()?;
        sum.update(&[ITEM_TAG]);
        sum.update(&head);
        let [.., k1, k2, _, _, _, _, v1, v2, v3, v4] = head;
        let key = usize::from(u16::from_le_bytes([k1, k2]));
        let value = u32::from_le_bytes([v1, v2, v3, v4]);
        let mut octets = std::mem::take(&mut self.octets);
        octets.clear();
        let wanted = key as u64 + u64::from(value);
        // As much as there is: a length that is wrong takes no memory.
        let read = (&mut self.reader).take(wanted).read_to_end(&mut octets)? as u64;
        self.place += read;
        sum.update(&octets);
        let group = octets
            .split_at_checked(key)
            .filter(|(key, _)| *key == GROUP)
            .and_then(|(_, value)| group_numbers(value));
        self.octets = octets;
        if read < wanted { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(group) }
    }

    fn array<const N: usize>(&mut self) -> std::io::Result<[u8; N]> {
        let mut octets = [0; N];
        self.reader.read_exact(&mut octets)?;
        self.place += N as u64;
        Ok(octets)
    }
}
