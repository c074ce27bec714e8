//! Where the messages of a mailbox are here, and which are still to come.
//!
//! A message has here the UID that it has there, unless another came in between: mail that was delivered after a run was cut short, or
//! before the first. UIDs only rise (RFC 9051 §2.3.1.1), so one that another has is gone for good, and the message gets the next.

use std::collections::{HashMap, HashSet};

use mailwright::{
    mail_model::{DateTime, Uid},
    mailstore::Snapshot,
};

use super::{brought::Brought, source::Entry};

/// Where they are.
pub(super) struct Places {
    /// UIDs here by those there.
    here: HashMap<Uid, Uid>,
    /// Those that were removed here, and those that are not there any more.
    removed: HashSet<Uid>,
    gone: HashSet<Uid>,
    /// Those that get the UIDs they have there, and those that cannot.
    pub(super) ahead: Vec<usize>,
    pub(super) behind: Vec<usize>,
    others: Others,
}

/// The messages here that are none of the source's as far as is known: UIDs by when they came, in seconds, and sizes. One of them may be,
/// if an earlier run was killed before it could write that down.
pub(super) type Others = HashMap<(i64, u64), Vec<Uid>>;

impl Places {
    /// Looks where messages of the source are that earlier runs are known to have brought; whether those that were removed here since are
    /// wanted nevertheless.
    pub(super) fn find(entries: &[Entry], snapshot: &Snapshot, brought: &Brought, missing: bool) -> Self {
        let is_free = |uid: Uid| snapshot.uid_next().is_some_and(|next| uid >= next);
        let (mut here, mut removed) = (HashMap::new(), HashSet::new());
        let mut taken = HashSet::new();
        for entry in entries {
            let Some(record) = brought.record(entry, snapshot) else { continue };
            if snapshot.message(record.here).is_none() {
                removed.insert(entry.uid);
            } else if taken.insert(record.here) {
                here.insert(entry.uid, record.here);
            }
        }
        let is_missing =
            |entry: &Entry| !here.contains_key(&entry.uid) && (missing || !removed.contains(&entry.uid));
        let wanted = entries.iter().enumerate().filter(|(_, entry)| is_missing(entry));
        let (ahead, behind): (Vec<_>, Vec<_>) =
            wanted.map(|(place, entry)| (place, entry.uid)).partition(|(_, uid)| is_free(*uid));
        let [ahead, behind] =
            [ahead, behind].map(|some| some.into_iter().map(|(place, _)| place).collect::<Vec<usize>>());
        let mut others = Others::new();
        let some_come = !ahead.is_empty() || !behind.is_empty();
        for message in snapshot.messages().filter(|message| some_come && !taken.contains(&message.uid)) {
            let key = (message.internal_date.seconds(), message.size);
            others.entry(key).or_default().push(message.uid);
        }
        Self { here, removed, gone: HashSet::new(), ahead, behind, others }
    }

    /// The UID here of the one that has this UID there.
    pub(super) fn here(&self, there: Uid) -> Option<Uid> {
        self.here.get(&there).copied()
    }

    /// Whether it was here, and was removed.
    pub(super) fn is_removed(&self, there: Uid) -> bool {
        self.removed.contains(&there)
    }

    /// One was removed at the source.
    pub(super) fn gone(&mut self, there: Uid) {
        self.gone.insert(there);
    }

    /// Whether it was removed at the source while that was read.
    pub(super) fn is_gone(&self, there: Uid) -> bool {
        self.gone.contains(&there)
    }

    /// The UIDs here of all that are.
    pub(super) fn all(&self) -> impl Iterator<Item = Uid> + '_ {
        self.here.values().copied()
    }

    /// Those of which one may be a message that is of this date and size.
    pub(super) fn candidates(&self, date: DateTime, size: u64) -> &[Uid] {
        self.others.get(&(date.seconds(), size)).map_or(&[], Vec::as_slice)
    }

    /// One came.
    pub(super) fn put(&mut self, there: Uid, here: Uid) {
        self.removed.remove(&there);
        self.here.insert(there, here);
    }

    /// One of the [candidates](Self::candidates) is it.
    pub(super) fn found(&mut self, there: Uid, here: Uid, (date, size): (DateTime, u64)) {
        self.put(there, here);
        if let Some(others) = self.others.get_mut(&(date.seconds(), size)) {
            others.retain(|other| *other != here);
        }
    }
}

#[cfg(test)]
mod tests {
    use mailwright::{
        mail_model::UidValidity,
        mailstore::{
            Message, User, block_on,
            embedded::{Embedded, Options},
        },
    };

    use super::{
        super::brought::{
            MIGRATED,
            tests::{entry, folder},
        },
        *,
    };

    type Told = (u32, u64, i64);

    /// Where those are that were brought, of which each has a UID there and one here, and which are still to come.
    fn found(
        there: &[Told],
        brought: &[(Told, u32)],
        here: &[Told],
        next: u32,
        missing: bool,
    ) -> (Vec<u32>, Vec<usize>, Vec<usize>) {
        let data = tempfile::tempdir().unwrap();
        let table = Embedded::open(data.path(), Options::default()).unwrap().table(MIGRATED).unwrap();
        let (user, folder) = (User::new("alice").unwrap(), folder("A", 1));
        let known = Brought::read(table, (&user, &folder), UidValidity::MIN, false);
        let mut known = block_on(known).unwrap();
        for (told, here) in brought {
            block_on(known.came(&entry(*told), Uid::new(*here).unwrap())).unwrap();
        }
        let mut builder = Snapshot::builder(UidValidity::MIN).uid_next(Uid::new(next));
        for told in here {
            let told = entry(*told);
            builder = builder.message(Message::new(told.uid, told.size, told.date));
        }
        let entries: Vec<_> = there.iter().copied().map(entry).collect();
        let places = Places::find(&entries, &builder.build(), &known, missing);
        let here = |entry: &Entry| places.here(entry.uid).map_or(0, Uid::get);
        (entries.iter().map(here).collect(), places.ahead, places.behind)
    }

    const ONE: Told = (1, 10, 100);
    const TWO: Told = (2, 20, 200);
    const THREE: Told = (3, 30, 300);
    const FOUR: Told = (4, 40, 400);

    #[test]
    fn what_has_a_uid_already_keeps_it_from_others() {
        let there = [ONE, TWO, THREE, FOUR];
        let run = [(ONE, 1), (TWO, 2)];
        // Mail came, of another moment, of the same one, or of the same size: it is none of the source's.
        for other in [(3, 99, 900), (3, 99, 300), (3, 30, 900), (3, 30, 300)] {
            let cut = [ONE, TWO, other];
            assert_eq!(found(&there, &run, &cut, 4, false), (vec![1, 2, 0, 0], vec![3], vec![2]));
            let whole = [(ONE, 1), (TWO, 2), (FOUR, 4), (THREE, 5)];
            let done = [ONE, TWO, other, FOUR, (5, 30, 300)];
            assert_eq!(found(&there, &whole, &done, 6, false), (vec![1, 2, 5, 4], vec![], vec![]));
        }
    }

    #[test]
    fn what_was_removed_here_does_not_come_back_and_what_never_came_does() {
        let there = [ONE, TWO, THREE];
        let run = [(ONE, 1), (TWO, 2), (THREE, 3)];
        assert_eq!(found(&there, &run, &[ONE, THREE], 4, false), (vec![1, 0, 3], vec![], vec![]));
        assert_eq!(found(&there, &run, &[ONE, THREE], 4, true), (vec![1, 0, 3], vec![], vec![1]));
        assert_eq!(found(&there, &run, &[], 4, false), (vec![0, 0, 0], vec![], vec![]));
        // Another message of the same moment and size is here.
        let here = [ONE, THREE, (4, 20, 200)];
        assert_eq!(found(&there, &run, &here, 5, false), (vec![1, 0, 3], vec![], vec![]));
        assert_eq!(found(&there, &[(ONE, 1)], &[ONE], 4, false), (vec![1, 0, 0], vec![], vec![1, 2]));
        assert_eq!(found(&there, &[], &[], 1, false), (vec![0, 0, 0], vec![0, 1, 2], vec![]));
    }
}
