//! Where the messages of a mailbox are here, and which are still to come.
//!
//! A message has here the UID that it has there, unless another came in between: mail that was delivered after a run was cut short, or
//! before the first. UIDs only rise (RFC 9051 §2.3.1.1), so one that another has is gone for good, and the message gets the next.

use std::collections::{BTreeMap, HashMap};

use mailwright::{
    mail_model::{DateTime, Uid},
    mailstore::{Message, Snapshot},
};

use super::source::Entry;

/// Where they are.
pub(super) struct Places {
    /// UIDs here by those there.
    here: HashMap<Uid, Uid>,
    /// Those that get the UIDs they have there, and those that cannot.
    pub(super) ahead: Vec<usize>,
    pub(super) behind: Vec<usize>,
}

impl Places {
    /// Looks for the messages of the source, which ascend, among those that are here; whether an earlier run is known to have brought some,
    /// and whether what it has not, or what was removed since, is wanted nevertheless.
    pub(super) fn find(entries: &[Entry], snapshot: &Snapshot, resumed: bool, missing: bool) -> Self {
        let is_free = |uid: Uid| snapshot.uid_next().is_some_and(|next| uid >= next);
        let at_home = |entry: &&Entry| {
            snapshot
                .message(entry.uid)
                .is_some_and(|message| is_dated(entry, message) || is_sized(entry, message))
        };
        let mut here: HashMap<Uid, Uid> =
            entries.iter().filter(at_home).map(|entry| (entry.uid, entry.uid)).collect();
        let mut others: BTreeMap<i64, Vec<&Message>> = BTreeMap::new();
        for message in snapshot.messages().filter(|message| !here.contains_key(&message.uid)) {
            others.entry(message.internal_date.seconds()).or_default().push(message);
        }
        // Some servers do not know the sizes of their messages: then the moment has to do, if it says anything.
        for exactly in [true, false] {
            for entry in entries.iter().filter(|entry| !is_free(entry.uid)) {
                if here.contains_key(&entry.uid) || (!exactly && entry.date == DateTime::EPOCH) {
                    continue;
                }
                let Some(others) = others.get_mut(&entry.date.seconds()) else { continue };
                let found = others.iter().position(|message| !exactly || is_sized(entry, message));
                here.extend(found.map(|found| (entry.uid, others.remove(found).uid)));
            }
        }
        // What an earlier run brought and is not here any more was removed here. Without such a run it never was.
        let brought = || {
            entries.iter().any(|entry| {
                snapshot
                    .message(entry.uid)
                    .is_some_and(|message| is_dated(entry, message) && is_sized(entry, message))
            })
        };
        let ran = !missing && (resumed || brought());
        let is_missing = |entry: &Entry| {
            !here.contains_key(&entry.uid)
                && (!ran || is_free(entry.uid) || snapshot.message(entry.uid).is_some())
        };
        let missing = entries.iter().enumerate().filter(|(_, entry)| is_missing(entry));
        let (ahead, behind): (Vec<_>, Vec<_>) =
            missing.map(|(place, entry)| (place, entry.uid)).partition(|(_, uid)| is_free(*uid));
        let [ahead, behind] = [ahead, behind].map(|some| some.into_iter().map(|(place, _)| place).collect());
        Self { here, ahead, behind }
    }

    /// The UID here of the one that has this UID there.
    pub(super) fn here(&self, there: Uid) -> Option<Uid> {
        self.here.get(&there).copied()
    }

    /// The UIDs here of all that are.
    pub(super) fn all(&self) -> impl Iterator<Item = Uid> + '_ {
        self.here.values().copied()
    }
}

fn is_dated(entry: &Entry, message: &Message) -> bool {
    entry.date.seconds() == message.internal_date.seconds()
}

fn is_sized(entry: &Entry, message: &Message) -> bool {
    entry.size == message.size
}

#[cfg(test)]
mod tests {
    use mailwright::mail_model::{FlagSet, ModSeq, UidValidity};

    use super::*;

    fn entry((uid, size, date): (u32, u64, i64)) -> Entry {
        let date = DateTime::new(date, 0).unwrap();
        let uid = Uid::new(uid).unwrap();
        Entry { uid, flags: FlagSet::new(), date, size, unique_id: None, likeness: 0 }
    }

    /// Where they are, and which are still to come.
    fn found(
        there: &[(u32, u64, i64)],
        here: &[(u32, u64, i64)],
        next: u32,
    ) -> (Vec<u32>, Vec<usize>, Vec<usize>) {
        let mut builder = Snapshot::builder(UidValidity::MIN).uid_next(Uid::new(next));
        for (uid, size, date) in here {
            let date = DateTime::new(*date, 0).unwrap();
            let mut message = Message::new(Uid::new(*uid).unwrap(), *size, date);
            message.modseq = ModSeq::new(1).unwrap();
            builder = builder.message(message);
        }
        let entries: Vec<_> = there.iter().copied().map(entry).collect();
        let places = Places::find(&entries, &builder.build(), false, false);
        let here = |entry: &Entry| places.here(entry.uid).map_or(0, Uid::get);
        (entries.iter().map(here).collect(), places.ahead, places.behind)
    }

    #[test]
    fn what_has_a_uid_already_keeps_it_from_others() {
        // A run was cut short behind 2, and a message came.
        let there = [(1, 10, 100), (2, 20, 200), (3, 30, 300), (4, 40, 400)];
        let cut = [(1, 10, 100), (2, 20, 200), (3, 99, 900)];
        assert_eq!(found(&there, &cut, 4), (vec![1, 2, 0, 0], vec![3], vec![2]));
        let done = [(1, 10, 100), (2, 20, 200), (3, 99, 900), (4, 40, 400), (5, 30, 300)];
        assert_eq!(found(&there, &done, 6), (vec![1, 2, 5, 4], vec![], vec![]));
        // The server is wrong about the size.
        let done = [(1, 10, 100), (2, 20, 200), (3, 99, 900), (4, 40, 400), (5, 31, 300)];
        assert_eq!(found(&there, &done, 6), (vec![1, 2, 5, 4], vec![], vec![]));
    }

    #[test]
    fn what_was_removed_here_does_not_come_back_and_the_first_run_brings_all() {
        let there = [(1, 10, 100), (2, 20, 200), (3, 30, 300)];
        assert_eq!(found(&there, &[(1, 10, 100), (3, 30, 300)], 4), (vec![1, 0, 3], vec![], vec![]));
        assert_eq!(found(&there, &[(1, 99, 900), (3, 98, 901)], 4), (vec![0, 0, 0], vec![], vec![0, 1, 2]));
        assert_eq!(found(&there, &[(1, 10, 100)], 4), (vec![1, 0, 0], vec![], vec![]));
        assert_eq!(found(&there, &[], 1), (vec![0, 0, 0], vec![0, 1, 2], vec![]));
    }
}
