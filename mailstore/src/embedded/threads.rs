//! Which messages of a user belong together (RFC 8474 §5.2): by the identifiers they carry.
//!
//! The key of a row is a hash of the user and one of user and identifier, its value a thread. A message continues the thread of whatever it
//! refers to, of which the newest counts, or of its own identifier if an answer came earlier; otherwise it begins one. Rows of threads of
//! which no message is left are [swept](super::sweep).

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
        let keys: Vec<_> = newest.chain([own]).map(|id| key(user, id)).collect();
        let mut known = Vec::with_capacity(keys.len());
        for key in &keys {
            known.push(self.known_thread(key)?);
        }
        if known.iter().any(Option::is_some) {
            // Those of somebody of the same name who was erased may be there still.
            let erased = self.erased_threads(owner(user))?;
            known.iter_mut().for_each(|known| *known = known.filter(|thread| *thread >= erased));
        }
        let thread = match known.iter().flatten().next() {
            Some(thread) => *thread,
            None => self.core.database.identity()?,
        };
        for (key, known) in keys.into_iter().zip(known) {
            if known.is_none() && self.threads.get(&key) != Some(&thread) {
                let value = row::sealed(&key, &[&thread.to_be_bytes()]);
                self.put(&self.core.database.threads, key.clone(), value);
                self.threads.insert(key, thread);
            }
        }
        Ok(identity(thread))
    }

    fn known_thread(&self, key: &[u8]) -> Result<Option<u64>> {
        if let Some(thread) = self.threads.get(key) {
            return Ok(Some(*thread));
        }
        let row = self.core.database.threads.get(key).map_err(failed)?;
        // A corrupt row is as good as none: the thread goes on as another one.
        Ok(row.and_then(|sealed| decode(key, &sealed)))
    }
}

/// The thread of a row; `None` if it is corrupt.
pub(super) fn decode(key: &[u8], sealed: &[u8]) -> Option<u64> {
    row::open(key, sealed).and_then(|value| Fields(value).u64())
}

/// How long keys are. There were others, without the user.
pub(super) const KEY: usize = 8 + 16;

fn key(user: &[u8], id: &[u8]) -> Vec<u8> {
    [&owner(user).to_be_bytes()[..], &hash(user, id)].concat()
}

/// What the keys of a user's rows begin with: FNV-1a of 64 bits.
pub(super) fn owner(user: &[u8]) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    user.iter().fold(BASIS, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(PRIME))
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
        assert_eq!((owner(b""), owner(b"a")), (0xcbf2_9ce4_8422_2325, 0xaf63_dc4c_8601_ec8c));
        assert_eq!(key(b"a", b"b").len(), KEY);
    }
}
