//! Which messages of a user belong together (RFC 8474 §5.2): by the identifiers they carry.
//!
//! The key of a row is a hash of user and identifier, its value a thread. A message continues the thread of whatever it refers
//! to, of which the newest counts, or of its own identifier if an answer came earlier; otherwise it begins one.

use bytes::Bytes;

use super::committer::Group;
use super::database::failed;
use super::row::{self, Fields};
use crate::{ObjectId, Result};

/// How many identifiers of a message are looked at: its own, and the newest it refers to.
const MOST: usize = 8;

impl Group<'_> {
    /// The thread of a message with these identifiers, its own first.
    pub(super) fn thread(&mut self, user: &[u8], ids: &[Bytes]) -> Result<ObjectId> {
        let Some((own, others)) = ids.split_first() else {
            return self.core.database.identity().map(identity);
        };
        let newest = others.iter().rev().take(MOST - 1);
        let keys: Vec<_> = newest.chain([own]).map(|id| hash(user, id)).collect();
        let mut known = Vec::with_capacity(keys.len());
        for key in &keys {
            known.push(self.known_thread(key)?);
        }
        let thread = match known.iter().flatten().next() {
            Some(thread) => *thread,
            None => self.core.database.identity()?,
        };
        for (key, known) in keys.into_iter().zip(known) {
            if known.is_none() && self.threads.insert(key, thread) != Some(thread) {
                let value = row::seal(&key, thread.to_be_bytes().to_vec());
                self.put(&self.core.database.threads, key.to_vec(), value);
            }
        }
        Ok(identity(thread))
    }

    fn known_thread(&self, key: &[u8; 16]) -> Result<Option<u64>> {
        if let Some(thread) = self.threads.get(key) {
            return Ok(Some(*thread));
        }
        let row = self.core.database.threads.get(key).map_err(failed)?;
        // A corrupt row is as good as none: the thread goes on as another one.
        Ok(row.and_then(|sealed| row::open(key, &sealed).and_then(|value| Fields(value).u64())))
    }
}

fn identity(thread: u64) -> ObjectId {
    ObjectId::from(u128::from(thread))
}

/// FNV-1a of 128 bits: whoever makes two identifiers collide joins two threads of their own.
fn hash(user: &[u8], id: &[u8]) -> [u8; 16] {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0100_0000_0000_0000_0000_013b;
    let octets = user.iter().chain(&[0]).chain(id);
    octets.fold(BASIS, |hash, octet| (hash ^ u128::from(*octet)).wrapping_mul(PRIME)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        // Of user "" and identifier "" the octet 0 alone is hashed.
        assert_eq!(u128::from_be_bytes(hash(b"", b"")), 0xd228_cb69_101a_8caf_7891_2b70_4e4a_147f);
        assert_ne!(hash(b"a", b"bc"), hash(b"ab", b"c"));
    }
}
