//! Who came again: kept in the store's database, held in memory, never more than so many.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use mailwright::{
    mailstore::{Result, embedded::Table},
    relay_policy::rules::{GreylistMemory, Seen},
};

/// So many are remembered; then those are forgotten that would be first.
const MOST: usize = 200_000;

/// All of them.
pub(crate) struct Known {
    table: Table,
    most: usize,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    seen: HashMap<[u8; 16], Seen>,
    /// In the order in which they are forgotten.
    order: BTreeSet<(u64, [u8; 16])>,
}

impl Memory {
    fn put(&mut self, key: [u8; 16], seen: Seen) {
        if let Some(before) = self.seen.insert(key, seen) {
            self.order.remove(&(before.until, key));
        }
        self.order.insert((seen.until, key));
    }
}

impl Known {
    /// Reads them.
    pub(crate) fn open(table: Table) -> Result<Self> {
        Self::with_room(table, MOST)
    }

    fn with_room(table: Table, most: usize) -> Result<Self> {
        let mut memory = Memory::default();
        for (key, value) in table.scan(b"")? {
            // What cannot be understood is somebody who comes again once more.
            if let Some((key, seen)) = <[u8; 16]>::try_from(&key[..]).ok().zip(read(&value)) {
                memory.put(key, seen);
            }
        }
        Ok(Self { table, most, memory: Mutex::new(memory) })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GreylistMemory for Known {
    async fn find(&self, key: &[u8; 16]) -> Option<Seen> {
        self.memory().seen.get(key).copied()
    }

    async fn keep(&self, key: [u8; 16], seen: Seen) {
        let mut forgotten = Vec::new();
        {
            let mut memory = self.memory();
            memory.put(key, seen);
            while memory.seen.len() > self.most {
                let Some((_, oldest)) = memory.order.pop_first() else { break };
                memory.seen.remove(&oldest);
                forgotten.push(oldest);
            }
        }
        let mut kept = self.table.put(&key, &write(seen)).await;
        for oldest in forgotten {
            kept = kept.and(self.table.delete(&oldest).await.map(drop));
        }
        if let Err(error) = kept {
            tracing::warn!(%error, "who came again is not kept");
        }
    }
}

fn write(seen: Seen) -> [u8; 17] {
    let mut value = [0; 17];
    let parts =
        seen.first.to_be_bytes().into_iter().chain(seen.until.to_be_bytes()).chain([seen.passed.into()]);
    value.iter_mut().zip(parts).for_each(|(target, octet)| *target = octet);
    value
}

fn read(value: &[u8]) -> Option<Seen> {
    let (first, rest) = value.split_first_chunk::<8>()?;
    let (until, rest) = rest.split_first_chunk::<8>()?;
    let [passed] = rest else { return None };
    Some(Seen::new(u64::from_be_bytes(*first), *passed == 1, u64::from_be_bytes(*until)))
}

#[cfg(test)]
mod tests {
    use mailwright::mailstore::{
        block_on,
        embedded::{Embedded, Options},
    };

    use super::*;

    #[test]
    fn some_are_remembered_over_a_restart_and_not_too_many() {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path().join("store"), Options::default()).unwrap();
        let open = || Known::with_room(store.table("greylist").unwrap(), 3).unwrap();
        let (known, key) = (open(), |number: u8| [number; 16]);
        for number in 0..5 {
            block_on(known.keep(key(number), Seen::new(7, number % 2 == 0, 100 + u64::from(number))));
        }
        // What is renewed is not forgotten first.
        block_on(known.keep(key(2), Seen::new(7, true, 900)));
        block_on(known.keep(key(9), Seen::new(8, false, 500)));
        for known in [known, open()] {
            let found = |number| block_on(known.find(&key(number)));
            assert_eq!((found(0), found(1), found(3)), (None, None, None));
            assert_eq!(found(2), Some(Seen::new(7, true, 900)));
            assert_eq!(found(4), Some(Seen::new(7, true, 104)));
            assert_eq!(found(9), Some(Seen::new(8, false, 500)));
        }
    }
}
