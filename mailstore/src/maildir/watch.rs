//! Notices of changes by others: the system tells of them (inotify), and one thread looks now and then, more often where it cannot.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::Shared;
use super::folder::Folder;
use crate::signal::lock;
use crate::{Result, StoreError};

#[cfg_attr(not(target_os = "linux"), path = "watch/none.rs")]
mod system;

use system::{System, Told};

/// How many looks are left out where the system tells.
const SELDOM: u32 = 30;

/// What of a directory is of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Files and directories come, go, and get other names.
    Files,
    /// It goes, or gets another name.
    Itself,
    /// Either.
    Both,
}

/// Somebody who waits for changes of a mailbox.
pub(super) struct Waiting {
    folder: Arc<Folder>,
    _watches: Vec<Watching>,
}

impl Waiting {
    pub(super) fn new(shared: &Shared, folder: &Arc<Folder>) -> Self {
        folder.waiting.fetch_add(1, Ordering::Relaxed);
        let parts = [(folder.path.join("cur"), What::Files), (folder.path.join("new"), What::Files)];
        let paths = parts.into_iter().chain([(folder.path.clone(), What::Itself)]);
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
    system: System,
    watches: Mutex<Watches>,
}

#[derive(Default)]
struct Watches {
    by_path: HashMap<PathBuf, (i32, usize)>,
    by_number: HashMap<i32, PathBuf>,
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
                self.notices.system.remove(number);
            }
        }
    }
}

impl Lookout {
    /// Has the system tell of a directory, if it can.
    pub(super) fn watch(&self, path: PathBuf, what: What) -> Option<Watching> {
        let notices = lock(&self.notices).clone()?;
        {
            let mut watches = lock(&notices.watches);
            let number = notices.system.add(&path, what)?;
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
            && let Some(system) = System::new()
        {
            let told = system.reader();
            let shared = self.me.clone();
            spawn("maildir-notices", Box::new(move || read(&shared, told)))?;
            *lock(&self.lookout.notices) = Some(Arc::new(Notices { system, watches: Mutex::default() }));
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

/// Reads what the system tells, until the store is gone.
fn read(shared: &Weak<Shared>, told: Told) {
    told.read(matters, |numbers, lost| {
        let Some(shared) = shared.upgrade() else { return false };
        if lost {
            shared.noticed(&HashSet::new());
            return true;
        }
        let Some(notices) = lock(&shared.lookout.notices).clone() else { return true };
        let paths: HashSet<_> = {
            let watches = lock(&notices.watches);
            numbers.iter().filter_map(|number| watches.by_number.get(number).cloned()).collect()
        };
        if !paths.is_empty() {
            shared.noticed(&paths);
        }
        true
    });
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
