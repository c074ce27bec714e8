//! The indexes of texts: for each user a directory, made of the mail and made anew whenever it cannot be trusted.
//!
//! A search asks them which messages it need not look at; what they do not know, they call a candidate. So they may lag behind the
//! mail, and be lost, at any time. They must not keep what is gone from the mail, nor what is encrypted there.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::{fs, io};

use xxhash_rust::xxh3::xxh3_128;

use crate::User;
use crate::signal::{Signal, lock};

mod user_index;

pub(super) use user_index::{Entry, Identity, UserIndex, identity};

/// Of how many users the index stays open, and how many messages all of these may know: 16 octets each.
const OPEN: usize = 256;
const KNOWN: usize = 4 << 20;

/// The indexes of all users.
pub(super) struct FullText {
    directory: PathBuf,
    users: Mutex<Users>,
    queue: Mutex<Queue>,
    /// Raised when there is more in the queue.
    raised: Signal,
    /// Held while anything is written: one writer's memory is enough.
    writing: Mutex<()>,
    /// How often an index was removed.
    forgotten: AtomicU64,
}

/// The indexes that are open.
#[derive(Default)]
struct Users {
    places: HashMap<Box<str>, (u64, Arc<Place>)>,
    clock: u64,
}

type Place = Mutex<Option<Arc<UserIndex>>>;

/// Whose mail is to be looked at.
struct Queue {
    told: BTreeSet<Box<[u8]>>,
    /// Behind whom those come who have not been looked at since the start, as long as there are any.
    after: Option<Box<[u8]>>,
}

impl FullText {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            users: Mutex::default(),
            queue: Mutex::new(Queue { told: BTreeSet::new(), after: Some(Box::default()) }),
            raised: Signal::default(),
            writing: Mutex::default(),
            forgotten: AtomicU64::new(0),
        }
    }

    /// The mail of this user has changed.
    pub(super) fn tell(&self, user: &[u8]) {
        if lock(&self.queue).told.insert(user.into()) {
            self.raised.raise();
        }
    }

    /// A user whose mail has changed.
    pub(super) fn next(&self) -> Option<User> {
        let mut queue = lock(&self.queue);
        loop {
            let name = queue.told.pop_first()?;
            // Nobody else has mail.
            if let Some(user) = str::from_utf8(&name).ok().and_then(|name| User::new(name).ok()) {
                return Some(user);
            }
        }
    }

    pub(super) const fn raised(&self) -> &Signal {
        &self.raised
    }

    /// Behind whom those come who have not been looked at since the start; `None` once all have.
    pub(super) fn unvisited(&self) -> Option<Box<[u8]>> {
        lock(&self.queue).after.clone()
    }

    /// These users come behind `after`; if there are none, all have been looked at.
    pub(super) fn visit(&self, after: &[u8], users: Vec<Box<[u8]>>) {
        let mut queue = lock(&self.queue);
        if queue.after.as_deref() == Some(after) {
            queue.after = users.last().cloned();
        }
        queue.told.extend(users);
    }

    /// The index of a user; if there is none it is made, or not.
    pub(super) fn of(&self, user: &User, make: bool) -> tantivy::Result<Option<Arc<UserIndex>>> {
        let place = self.place(user);
        let mut open = lock(&place);
        if let Some(index) = &*open {
            return Ok(Some(Arc::clone(index)));
        }
        let directory = self.path(user);
        if !make && !UserIndex::exists(&directory) {
            return Ok(None);
        }
        let index = match UserIndex::open(&directory) {
            Ok(index) => index,
            // Damaged in any way, or of another time.
            Err(_) => {
                remove(&directory)?;
                self.tell(user.as_str().as_bytes());
                UserIndex::open(&directory)?
            }
        };
        Ok(Some(Arc::clone(open.insert(Arc::new(index)))))
    }

    fn place(&self, user: &User) -> Arc<Place> {
        let mut users = lock(&self.users);
        users.clock += 1;
        let now = users.clock;
        if !users.places.contains_key(user.as_str()) {
            users.make_room();
        }
        let (used, place) = users.places.entry(user.as_str().into()).or_default();
        *used = now;
        Arc::clone(place)
    }

    fn path(&self, user: &User) -> PathBuf {
        self.directory.join(folder_of(user.as_str().as_bytes()))
    }

    /// The moment from which on a writer has to notice that an index was removed.
    pub(super) fn moment(&self) -> u64 {
        self.forgotten.load(Ordering::Acquire)
    }

    /// Changes the index of a user, unless one was removed after that moment; whether it did.
    pub(super) fn change(
        &self,
        user: &User,
        moment: u64,
        change: impl FnOnce(&UserIndex) -> tantivy::Result<()>,
    ) -> tantivy::Result<bool> {
        let _writing = lock(&self.writing);
        if self.moment() != moment {
            return Ok(false);
        }
        match self.of(user, true)? {
            Some(index) => change(&index).map(|()| true),
            None => Ok(false),
        }
    }

    /// Removes the index of a user: whatever was found out before this to be put into it, is not.
    pub(super) fn forget(&self, user: &User) -> io::Result<()> {
        self.forgotten.fetch_add(1, Ordering::AcqRel);
        // Whoever writes to it now is waited for, or the directory would be there again.
        let _writing = lock(&self.writing);
        let place = self.place(user);
        let mut open = lock(&place);
        *open = None;
        remove(&self.path(user))
    }

    /// The folders that there are.
    pub(super) fn folders(&self) -> HashSet<OsString> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten();
        entries.filter_map(|entry| entry.ok().map(|entry| entry.file_name())).collect()
    }

    /// Removes folders that belong to nobody.
    pub(super) fn sweep(&self, folders: HashSet<OsString>) -> io::Result<()> {
        folders.into_iter().try_for_each(|folder| remove(&self.directory.join(folder)))
    }
}

impl Users {
    /// Closes indexes that nobody uses, longest unused first, if there are too many or too large ones.
    fn make_room(&mut self) {
        let known = |place: &Arc<Place>| {
            place.try_lock().map_or(0, |open| open.as_ref().map_or(0, |index| index.known()))
        };
        let mut total: usize = self.places.values().map(|(_, place)| known(place)).sum();
        if self.places.len() < OPEN && total < KNOWN {
            return;
        }
        let idle = self.places.iter().filter(|(_, (_, place))| Arc::strong_count(place) == 1);
        let mut idle: Vec<(u64, usize, Box<str>)> =
            idle.map(|(name, (used, place))| (*used, known(place), name.clone())).collect();
        idle.sort_unstable();
        for (_, known, name) in idle {
            if self.places.len() < OPEN / 4 * 3 && total < KNOWN / 4 * 3 {
                return;
            }
            self.places.remove(&name);
            total = total.saturating_sub(known);
        }
    }
}

/// The name of the folder of a user: their own may be too long for one.
pub(super) fn folder_of(user: &[u8]) -> OsString {
    format!("{:032x}", xxh3_128(user)).into()
}

/// Removes a directory, if it is there.
pub(super) fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // Something else has its name.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => fs::remove_file(directory),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_stay_open() {
        let directory = tempfile::tempdir().unwrap();
        let texts = FullText::new(directory.path().join("fulltext"));
        let user = |number: usize| User::new(&format!("user{number}")).unwrap();
        // Nobody has an index: places are had for the asking.
        for number in 0..OPEN + 50 {
            assert!(texts.of(&user(number), false).unwrap().is_none());
        }
        let names: Vec<Box<str>> = lock(&texts.users).places.keys().cloned().collect();
        assert!(names.len() <= OPEN, "{}", names.len());
        // The last ones are those that stay.
        assert!((OPEN..OPEN + 50).all(|number| names.iter().any(|name| **name == *user(number).as_str())));
    }

    #[test]
    fn nobody_is_forgotten() {
        let texts = FullText::new("nowhere".into());
        assert_eq!(texts.next(), None);
        let start = texts.unvisited().unwrap();
        texts.visit(&start, vec![(*b"a").into(), (*b"b").into()]);
        // A second visitor of the same.
        texts.visit(&start, vec![(*b"a").into(), (*b"b").into()]);
        texts.tell(b"c");
        texts.tell(b"a");
        texts.tell(b"\xff");
        let all: Vec<String> = std::iter::from_fn(|| texts.next()).map(|user| user.to_string()).collect();
        assert_eq!(all, ["a", "b", "c"]);
        assert_eq!(texts.unvisited().as_deref(), Some(&b"b"[..]));
        texts.visit(b"b", Vec::new());
        assert_eq!(texts.unvisited(), None);
    }
}
