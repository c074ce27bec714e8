//! Notices of changes by others: the system tells of them (inotify), and one thread looks now and then, more often where it cannot.

use std::collections::{HashMap, HashSet};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::Shared;
use super::folder::Folder;
use crate::signal::lock;
use crate::{Result, StoreError};

/// How many looks are left out where the system tells.
const SELDOM: u32 = 30;

/// What happens to files in a directory of messages.
const MESSAGES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::ONLYDIR);
/// What happens to the directory of a mailbox itself.
const MAILBOX: WatchFlags = WatchFlags::DELETE_SELF.union(WatchFlags::MOVE_SELF).union(WatchFlags::ONLYDIR);
/// What happens to mailboxes in a directory, and to the small files of one.
pub(super) const SURROUNDINGS: WatchFlags = MAILBOX.union(MESSAGES);

/// Somebody who waits for changes of a mailbox.
pub(super) struct Waiting {
    folder: Arc<Folder>,
    _watches: Vec<Watching>,
}

impl Waiting {
    pub(super) fn new(shared: &Shared, folder: &Arc<Folder>) -> Self {
        folder.waiting.fetch_add(1, Ordering::Relaxed);
        let parts = [(folder.path.join("cur"), MESSAGES), (folder.path.join("new"), MESSAGES)];
        let paths = parts.into_iter().chain([(folder.path.clone(), MAILBOX)]);
        let watches: Vec<_> = paths.filter_map(|(path, what)| shared.lookout.watch(path, what)).collect();
        // All three or none: then it is looked at often.
        folder.watched.store(watches.len() == 3, Ordering::Relaxed);
        Self { folder: Arc::clone(folder), _watches: watches }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.folder.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The threads that look, and what the system is asked to tell.
#[derive(Default)]
pub(super) struct Lookout {
    /// Whether the thread that looks runs.
    running: Mutex<bool>,
    notices: Mutex<Option<Arc<Notices>>>,
}

/// What the system is asked to tell.
struct Notices {
    file: Arc<OwnedFd>,
    /// Never tells anything until it is taken away, which ends the thread that reads.
    end: i32,
    watches: Mutex<Watches>,
}

#[derive(Default)]
struct Watches {
    by_path: HashMap<PathBuf, (i32, usize)>,
    by_number: HashMap<i32, PathBuf>,
}

impl Drop for Notices {
    fn drop(&mut self) {
        let _ended = inotify::remove_watch(&*self.file, self.end);
    }
}

/// A directory that the system tells of; dropped, it does not any more.
pub(super) struct Watching {
    notices: Arc<Notices>,
    path: PathBuf,
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut watches = lock(&self.notices.watches);
        let Some((number, count)) = watches.by_path.get_mut(&self.path) else { return };
        *count -= 1;
        if *count == 0 {
            let number = *number;
            watches.by_path.remove(&self.path);
            // Another path may lead to the same directory, under the same number.
            if watches.by_number.get(&number) == Some(&self.path) {
                watches.by_number.remove(&number);
                let _gone = inotify::remove_watch(&*self.notices.file, number);
            }
        }
    }
}

impl Lookout {
    /// Has the system tell of a directory, if it can.
    pub(super) fn watch(&self, path: PathBuf, what: WatchFlags) -> Option<Watching> {
        let notices = lock(&self.notices).clone()?;
        {
            let mut watches = lock(&notices.watches);
            let number = inotify::add_watch(&*notices.file, &path, what | WatchFlags::MASK_ADD).ok()?;
            let known = watches.by_path.entry(path.clone()).or_insert((number, 0));
            // Made again under its name, it has another number.
            known.0 = number;
            known.1 += 1;
            watches.by_number.insert(number, path.clone());
        }
        Some(Watching { notices, path })
    }
}

impl Shared {
    /// Starts the threads if they do not run.
    pub(super) fn look_out(&self) -> Result<()> {
        let mut running = lock(&self.lookout.running);
        if *running {
            return Ok(());
        }
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let started = std::thread::Builder::new().name(name.into()).spawn(work);
            started.map_err(|error| StoreError::Unavailable(format!("cannot start a thread: {error}")))
        };
        let (shared, pause) = (self.me.clone(), self.options.look);
        spawn("maildir", Box::new(move || look(&shared, pause)))?;
        *running = true;
        // Where the system tells nothing, looking must do.
        if self.options.inotify
            && let Some(notices) = Notices::new()
        {
            let (shared, file) = (self.me.clone(), Arc::clone(&notices.file));
            spawn("maildir-inotify", Box::new(move || read(&shared, &file)))?;
            *lock(&self.lookout.notices) = Some(Arc::new(notices));
        }
        Ok(())
    }

    /// Looks at mailboxes of these directories; at all of them if there are none.
    fn noticed(&self, paths: &HashSet<PathBuf>) {
        for folder in self.waited_for() {
            let of_it = |path: &PathBuf| {
                *path == folder.path || (path.parent() == Some(&*folder.path) && is_part(path))
            };
            if (paths.is_empty() || paths.iter().any(of_it)) && !folder.is_fresh() {
                folder.changed.raise();
            }
        }
        self.look_at_followed(|root, folder| {
            let of_it = |path: &PathBuf| path == root || path == folder || path.parent() == Some(folder);
            paths.is_empty() || paths.iter().any(of_it)
        });
    }

    fn waited_for(&self) -> Vec<Arc<Folder>> {
        let folders = lock(&self.folders);
        let waited_for = folders.values().filter(|folder| folder.waiting.load(Ordering::Relaxed) > 0);
        waited_for.cloned().collect()
    }
}

fn is_part(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "cur" || name == "new")
}

impl Notices {
    fn new() -> Option<Self> {
        let file = Arc::new(inotify::init(CreateFlags::CLOEXEC).ok()?);
        let end = inotify::add_watch(&*file, "/", WatchFlags::DELETE_SELF).ok()?;
        Some(Self { file, end, watches: Mutex::default() })
    }
}

/// Reads what the system tells, until the store is gone.
fn read(shared: &Weak<Shared>, file: &OwnedFd) {
    let mut buffer = [const { MaybeUninit::<u8>::uninit() }; 16 << 10];
    let mut reader = Reader::new(file, &mut buffer);
    let (mut numbers, mut lost) = (HashSet::new(), false);
    loop {
        match reader.next() {
            Ok(event) => {
                lost |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
                let name = event.file_name().map(|name| name.to_string_lossy());
                if name.is_none_or(|name| matters(&name)) {
                    numbers.insert(event.wd());
                }
            }
            Err(Errno::INTR) => continue,
            Err(_) => return,
        }
        if !reader.is_buffer_empty() {
            continue;
        }
        let Some(shared) = shared.upgrade() else { return };
        let told = std::mem::take(&mut numbers);
        if std::mem::take(&mut lost) {
            shared.noticed(&HashSet::new());
            continue;
        }
        let Some(notices) = lock(&shared.lookout.notices).clone() else { return };
        let paths: HashSet<_> = {
            let watches = lock(&notices.watches);
            told.iter().filter_map(|number| watches.by_number.get(number).cloned()).collect()
        };
        if !paths.is_empty() {
            shared.noticed(&paths);
        }
    }
}

/// Whether something by this name is more than a lock, a draft or an index: those come and go with every change.
fn matters(name: &str) -> bool {
    let own = name.starts_with("mailwright-") && name != super::annotations::NAME;
    let of_dovecot = name.starts_with("dovecot") && name != super::access::NAME;
    !own && !of_dovecot && !name.ends_with(".lock") && !name.starts_with("maildirsize")
}

fn look(shared: &Weak<Shared>, pause: Duration) {
    let mut round = 0_u32;
    loop {
        std::thread::sleep(pause);
        let Some(shared) = shared.upgrade() else { return };
        round = round.wrapping_add(1);
        let all = round.is_multiple_of(SELDOM);
        let due = |folder: &Folder| all || !folder.watched.load(Ordering::Relaxed) || folder.is_in_doubt();
        for folder in shared.waited_for() {
            if due(&folder) && !folder.is_fresh() {
                folder.changed.raise();
            }
        }
        shared.forget_unfollowed();
        let folders: HashMap<_, _> =
            shared.waited_for().into_iter().map(|folder| (folder.path.clone(), folder)).collect();
        shared.look_at_followed(|_, path| folders.get(path).is_none_or(|folder| due(folder)));
    }
}
