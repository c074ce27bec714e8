//! One mailbox: its directory, its locks, and what is in memory of it.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use mailwright_mail_model::{SpecialUse, UidValidity};

use super::cache::CacheFile;
use super::dot_lock::DotLock;
use super::state::State;
use super::uid_list::{self, Header, UidList};
use super::{access, failed, file_name, uid_validity};
use crate::signal::{Signal, lock};
use crate::{Result, Snapshot, StoreError};

/// One mailbox. There is one of these for each directory in use.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// The directory of the user, which is that of `INBOX`.
    pub(super) root: PathBuf,
    /// Held with the lock file: threads of this process wait here, which is cheaper.
    writing: Mutex<()>,
    state: Mutex<Option<State>>,
    /// Raised after each change that is known here.
    pub(super) changed: Signal,
    /// How many wait for changes.
    pub(super) waiting: AtomicUsize,
    /// Whether the system tells of changes.
    pub(super) watched: AtomicBool,
    /// What is known of the file of what was found out about messages.
    pub(super) cache: Mutex<Option<CacheFile>>,
    /// The version of who finds out what is in there.
    pub(super) described: u32,
    pub(super) used: AtomicU64,
}

/// What of the store a mailbox needs to know.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) host: String,
    pub(super) patience: Duration,
}

/// A mailbox that nobody else changes meanwhile.
pub(super) struct Locked<'a> {
    pub(super) folder: &'a Folder,
    pub(super) setting: &'a Setting,
    _writing: MutexGuard<'a, ()>,
    _file: DotLock,
}

/// Holds the special use of a mailbox, if it has one: Dovecot has that in its configuration.
const SPECIAL_USE: &str = "mailwright-special-use";

impl Folder {
    pub(super) fn new(root: PathBuf, path: PathBuf, described: u32) -> Self {
        Self {
            path,
            root,
            writing: Mutex::default(),
            state: Mutex::default(),
            changed: Signal::default(),
            waiting: AtomicUsize::new(0),
            watched: AtomicBool::new(false),
            cache: Mutex::default(),
            described,
            used: AtomicU64::new(0),
        }
    }

    pub(super) fn exists(&self) -> bool {
        exists(&self.path)
    }

    /// The present state, read anew only if somebody else has changed it.
    pub(super) fn snapshot(&self, setting: &Setting) -> Result<Arc<Snapshot>> {
        if let Some(state) = &*lock(&self.state)
            && state.is_fresh(&self.path)
        {
            return Ok(Arc::clone(&state.snapshot));
        }
        let before = lock(&self.state).as_ref().map(|state| Arc::clone(&state.snapshot));
        let snapshot = self.lock(setting)?.with(|state| Ok(Arc::clone(&state.snapshot)))?;
        if before.is_none_or(|before| !Arc::ptr_eq(&before, &snapshot)) {
            self.changed.raise();
        }
        Ok(snapshot)
    }

    /// Waits until nobody else changes the mailbox.
    ///
    /// # Errors
    /// [`NotFound`](StoreError::NotFound) if there is none.
    pub(super) fn lock<'a>(&'a self, setting: &'a Setting) -> Result<Locked<'a>> {
        let writing = lock(&self.writing);
        let path = self.path.join("dovecot-uidlist.lock");
        if !self.exists() {
            return Err(StoreError::NotFound);
        }
        let file = DotLock::acquire(path, &setting.host, setting.patience)?;
        Ok(Locked { folder: self, setting, _writing: writing, _file: file })
    }

    /// Looks at what is in memory, if anything is.
    pub(super) fn peek<T>(&self, look: impl FnOnce(&State) -> T) -> Option<T> {
        lock(&self.state).as_ref().map(look)
    }

    /// Whether what is in memory, if anything is, is as the directory was at the last look.
    pub(super) fn is_fresh(&self) -> bool {
        lock(&self.state).as_ref().is_none_or(|state| state.is_fresh(&self.path))
    }

    /// Whether something may have changed that cannot be seen yet.
    pub(super) fn is_in_doubt(&self) -> bool {
        lock(&self.state).as_ref().is_some_and(State::is_in_doubt)
    }

    /// Forgets what is in memory.
    pub(super) fn forget(&self) {
        *lock(&self.state) = None;
        *lock(&self.cache) = None;
    }

    /// Makes what is missing of the mailbox: all of it, or what another program that makes it has not come to yet.
    pub(super) fn complete(&self) -> Result<()> {
        if ["tmp", "new", "cur"].iter().all(|part| self.path.join(part).is_dir()) {
            return Ok(());
        }
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        // `cur` last: with it the mailbox is there.
        for part in ["tmp", "new", "cur"] {
            let path = self.path.join(part);
            builder.create(&path).map_err(|error| failed(&path, &error))?;
        }
        sync_directory(&self.path)
    }
}

impl Locked<'_> {
    /// Does something with the mailbox as it is on disk. What fails half-way is read from disk again.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let mut slot = lock(&self.folder.state);
        let result = self.current(&mut slot).and_then(work);
        if result.is_err() {
            *slot = None;
        }
        result
    }

    fn current<'a>(&self, slot: &'a mut Option<State>) -> Result<&'a mut State> {
        let state = match slot {
            Some(state) => state,
            None => slot.insert(State::load(self.folder)?),
        };
        if !state.is_fresh(&self.folder.path) {
            state.sync(self.folder)?;
        }
        Ok(state)
    }

    /// Takes over the numbers that the mailbox had elsewhere.
    pub(super) fn adopt(&self, validity: UidValidity, next: Option<u32>) -> Result<()> {
        let (list, lines) = list_of(self.folder)?;
        let mut header = list.header;
        if header.validity != validity {
            if !super::scan::scan(&self.folder.path)?.is_empty() {
                return Err(StoreError::Exists);
            }
            uid_validity::at_least(&self.folder.root, validity)?;
            (header.validity, header.next) = (validity, 1);
        }
        header.next = header.next.max(next.unwrap_or(1));
        UidList::create(&self.folder.path, header, &lines)?;
        sync_directory(&self.folder.path)?;
        self.folder.forget();
        self.folder.changed.raise();
        Ok(())
    }

    /// Does something with what is in memory, up to date or not.
    pub(super) fn with_memory<T>(&self, work: impl FnOnce(&mut Option<State>) -> T) -> T {
        work(&mut lock(&self.folder.state))
    }
}

/// Whether there is a mailbox.
pub(super) fn exists(path: &Path) -> bool {
    path.join("cur").is_dir()
}

/// The list of UIDs, made if there is none.
pub(super) fn list_of(folder: &Folder) -> Result<(UidList, Vec<uid_list::Line>)> {
    match UidList::read(&folder.path)? {
        Some(found) => Ok(found),
        None => make_list(folder).map(|list| (list, Vec::new())),
    }
}

/// Makes a list for a mailbox that has none, or none that can be understood.
pub(super) fn make_list(folder: &Folder) -> Result<UidList> {
    let validity = uid_validity::next(&folder.root)?;
    UidList::create(&folder.path, Header::new(validity, file_name::random()), &[])
}

/// Makes the directory of a new mailbox, whole or not at all, with the access control list of the one above.
///
/// # Errors
/// [`Exists`](StoreError::Exists) if there is one.
pub(super) fn make(
    root: &Path,
    path: &Path,
    above: Option<&Path>,
    validity: UidValidity,
    special_use: Option<SpecialUse>,
    host: &str,
) -> Result<Header> {
    if exists(path) {
        return Err(StoreError::Exists);
    }
    let draft = root.join("tmp").join(format!("mailwright.{}", file_name::unique(host)));
    let made = fill(&draft, above, validity, special_use).and_then(|header| match fs::rename(&draft, path) {
        Ok(()) => Ok(header),
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Err(StoreError::Exists),
        Err(error) => Err(failed(path, &error)),
    });
    if made.is_err() {
        let _removed = fs::remove_dir_all(&draft);
    }
    let header = made?;
    sync_directory(root)?;
    Ok(header)
}

fn fill(
    draft: &Path,
    above: Option<&Path>,
    validity: UidValidity,
    special_use: Option<SpecialUse>,
) -> Result<Header> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    for part in ["tmp", "new", "cur"] {
        let path = draft.join(part);
        builder.create(&path).map_err(|error| failed(&path, &error))?;
    }
    // So that programs that deliver find the quota of the directory above.
    write_private(&draft.join("maildirfolder"), b"")?;
    if let Some(special_use) = special_use {
        write_private(&draft.join(SPECIAL_USE), format!("{special_use}\n").as_bytes())?;
    }
    if let Some(above) = above {
        access::inherit(above, draft)?;
    }
    let header = Header::new(validity, file_name::random());
    UidList::create(draft, header.clone(), &[])?;
    sync_directory(draft)?;
    Ok(header)
}

/// The special use of a mailbox.
pub(super) fn special_use(path: &Path) -> Option<SpecialUse> {
    fs::read_to_string(path.join(SPECIAL_USE)).ok()?.trim_end().parse().ok()
}

/// Writes a small file that nobody else may read.
pub(super) fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(content).and_then(|()| file.sync_data()));
    written.map_err(|error| failed(path, &error))
}

/// Makes a directory that nobody else may look into, if it is not there.
pub(super) fn private_directory(path: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    if path.is_dir() { Ok(()) } else { builder.create(path).map_err(|error| failed(path, &error)) }
}

/// Makes what happened to the names in a directory last.
pub(super) fn sync_directory(path: &Path) -> Result<()> {
    fs::File::open(path).and_then(|directory| directory.sync_all()).map_err(|error| failed(path, &error))
}

impl std::fmt::Debug for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Folder").field("path", &self.path).finish_non_exhaustive()
    }
}
