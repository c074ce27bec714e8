//! Which chunks of bodies there are.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::embedded::body::CHUNK;
use crate::embedded::row::Fields;

/// Keys of chunks: body and number.
#[derive(Debug, Default)]
pub(super) struct Keys(HashSet<(u64, u32)>);

impl Keys {
    pub(super) fn insert(&mut self, key: &[u8]) {
        self.0.extend(decode(key));
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(super) fn has(&self, key: &[u8]) -> bool {
        decode(key).is_some_and(|key| self.0.contains(&key))
    }

    pub(super) fn has_chunk(&self, chunk: (u64, u32)) -> bool {
        self.0.contains(&chunk)
    }
}

/// Which generations have which chunks: one mostly, as none repeats what another has that it builds upon.
#[derive(Debug, Default)]
pub(super) struct Holders {
    first: HashMap<(u64, u32), u32>,
    more: HashSet<(u64, u32, u32)>,
}

impl Holders {
    pub(super) fn insert(&mut self, key: &[u8], generation: u32) {
        let Some((body, number)) = decode(key) else { return };
        if *self.first.entry((body, number)).or_insert(generation) != generation {
            self.more.insert((body, number, generation));
        }
    }

    /// Whether one of these generations has a chunk.
    pub(super) fn has(&self, chunk: (u64, u32), generations: &BTreeSet<u32>) -> bool {
        let Some(first) = self.first.get(&chunk) else { return false };
        let (body, number) = chunk;
        generations.contains(first)
            || !self.more.is_empty()
                && generations.iter().any(|other| self.more.contains(&(body, number, *other)))
    }
}

/// From where on a body of so many octets is not there, if it is not.
pub(super) fn first_missing(body: u64, size: u64, has: &dyn Fn((u64, u32)) -> bool) -> Option<u64> {
    let chunks = u32::try_from(size.div_ceil(CHUNK as u64)).unwrap_or(u32::MAX);
    let number = (0..chunks).find(|number| !has((body, *number)))?;
    Some(u64::from(number) * CHUNK as u64)
}

fn decode(key: &[u8]) -> Option<(u64, u32)> {
    let mut fields = Fields(key);
    fields.u64().zip(fields.u32()).filter(|_| fields.0.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::body;

    #[test]
    fn what_is_missing_is_found() {
        let mut keys = Keys::default();
        for number in [0, 1, 3] {
            keys.insert(&body::key(7, number));
        }
        let missing = |body, size| first_missing(body, size, &|chunk| keys.has_chunk(chunk));
        let chunk = CHUNK as u64;
        assert_eq!([missing(8, 0), missing(7, 1), missing(7, 2 * chunk)], [None; 3]);
        assert_eq!([missing(7, 2 * chunk + 1), missing(7, 4 * chunk)], [Some(2 * chunk); 2]);
        assert_eq!(missing(8, 1), Some(0));
        assert!(keys.has(&body::key(7, 3)) && !keys.has(&body::key(7, 2)) && !keys.has(b"x"));
    }

    #[test]
    fn generations_have_chunks_of_their_own() {
        let mut holders = Holders::default();
        for (body, generation) in [(7, 1), (7, 3), (8, 2), (8, 2)] {
            holders.insert(&body::key(body, 0), generation);
        }
        let has = |body, generations: &[u32]| holders.has((body, 0), &generations.iter().copied().collect());
        assert!(has(7, &[1]) && has(7, &[2, 3]) && has(8, &[1, 2, 3]));
        assert!(!has(7, &[2]) && !has(8, &[1, 3]) && !has(9, &[1, 2, 3]) && !has(7, &[]));
    }
}
