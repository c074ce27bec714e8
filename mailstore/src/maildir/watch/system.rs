//! What the system tells of directories, by inotify.

use std::collections::HashSet;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::What;

/// What the system is asked to tell.
pub(super) struct System {
    file: Arc<OwnedFd>,
    /// Never tells anything until it is taken away, which ends the thread that reads.
    end: i32,
}

impl System {
    /// `None` if it tells nothing here.
    pub(super) fn new() -> Option<Self> {
        let file = Arc::new(inotify::init(CreateFlags::CLOEXEC).ok()?);
        let end = inotify::add_watch(&*file, "/", WatchFlags::DELETE_SELF).ok()?;
        Some(Self { file, end })
    }

    /// Asks for one more thing, and gives the number that the directory has.
    pub(super) fn add(&self, path: &Path, what: What) -> Option<i32> {
        let files = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::MOVED_TO;
        let itself = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        let what = match what {
            What::Files => files,
            What::Itself => itself,
            What::Both => files | itself,
        };
        inotify::add_watch(&*self.file, path, what | WatchFlags::ONLYDIR | WatchFlags::MASK_ADD).ok()
    }

    pub(super) fn remove(&self, number: i32) {
        let _gone = inotify::remove_watch(&*self.file, number);
    }

    pub(super) fn reader(&self) -> Told {
        Told(Arc::clone(&self.file))
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.remove(self.end);
    }
}

/// What the system tells.
pub(super) struct Told(Arc<OwnedFd>);

impl Told {
    /// Gives the numbers of directories in which something happened to names that matter, and whether more happened than the system could tell.
    /// Waits for each, until it is told to end.
    pub(super) fn read(self, matters: fn(&str) -> bool, mut tell: impl FnMut(HashSet<i32>, bool) -> bool) {
        let mut buffer = [const { MaybeUninit::<u8>::uninit() }; 16 << 10];
        let mut reader = Reader::new(&*self.0, &mut buffer);
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
            if reader.is_buffer_empty() && !tell(std::mem::take(&mut numbers), std::mem::take(&mut lost)) {
                return;
            }
        }
    }
}
