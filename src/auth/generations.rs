//! A table that forgets.

use std::{collections::HashMap, hash::Hash, mem};

/// A table of at most so many entries: those that were used least recently are forgotten first, roughly. It is two tables,
/// a young one and an old one: what is used moves into the young one, and when that is full the old one is dropped.
#[derive(Debug)]
pub(super) struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    /// How many entries each of the two may have.
    most: usize,
}

impl<K: Eq + Hash + Clone, V> Generations<K, V> {
    /// A table of at most `most` entries.
    pub(super) fn new(most: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), most: (most / 2).max(1) }
    }

    /// The entry, if it is there. Does not count as use.
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// The entry, made if it is not there.
    pub(super) fn entry(&mut self, key: &K, make: impl FnOnce() -> V) -> &mut V {
        if !self.young.contains_key(key) && self.young.len() >= self.most {
            self.old = mem::take(&mut self.young);
        }
        let old = &mut self.old;
        self.young.entry(key.clone()).or_insert_with(|| old.remove(key).unwrap_or_else(make))
    }

    /// Forgets it.
    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let old = self.old.remove(key);
        self.young.remove(key).or(old)
    }

    /// All there are.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.young.iter().chain(&self.old)
    }

    /// The same, to be changed. Does not count as use.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.young.iter_mut().chain(&mut self.old)
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_number_is_bounded() {
        let mut table = Generations::new(100);
        for number in 0..10_000_u32 {
            *table.entry(&number, || 0) += 1;
            *table.entry(&7, || 0) += 1;
            assert!(table.len() <= 101, "{}", table.len());
        }
        // Seven counted itself once more when it was its turn.
        assert_eq!(table.get(&7), Some(&10_001));
        assert_eq!(table.get(&8), None);
        assert_eq!(table.remove(&7), Some(10_001));
        assert_eq!(table.get(&7), None);
        assert!(table.iter().all(|(number, _)| *number > 9_000));
    }
}
