//! How much room is left on disk. What is refused in time can be tried again; after a write that failed nobody knows what the
//! disk holds, and the store would have to be opened anew.

use std::path::{Path, PathBuf};

use super::Core;
use crate::{Result, StoreError};

/// The disk a store is on.
pub(super) struct Space {
    directory: PathBuf,
    reserve: u64,
}

impl Space {
    pub(super) fn new(directory: &Path, reserve: u64) -> Self {
        Self { directory: directory.to_owned(), reserve }
    }

    /// Whether so many octets fit, and `part` of the reserve stays free.
    fn check(&self, octets: u64, part: u64) -> Result<()> {
        if self.reserve == 0 {
            return Ok(());
        }
        let free = available(&self.directory);
        if free >= (self.reserve / part).saturating_add(octets) {
            return Ok(());
        }
        let (free, reserve) = (free >> 20, self.reserve >> 20);
        Err(StoreError::Full(format!("{free} MiB are free, of which {reserve} MiB are kept in reserve")))
    }
}

impl Core {
    /// Whether there is room for so many octets more.
    pub(super) fn room(&self, octets: u64) -> Result<()> {
        self.space.check(octets, 1)
    }

    /// Whether small changes are possible, among them those that make room: they may take of the reserve.
    pub(super) fn room_for_changes(&self) -> Result<()> {
        self.space.check(0, 4)
    }
}

#[cfg(unix)]
fn available(directory: &Path) -> u64 {
    // If nobody can tell, the write will.
    rustix::fs::statvfs(directory).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(not(unix))]
fn available(_: &Path) -> u64 {
    u64::MAX
}
