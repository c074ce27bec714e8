//! How much room is left on disk. What is refused in time costs nothing; after a write that failed the database has to be opened
//! anew.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::Lasting;
use crate::{Result, StoreError};

/// The disk a store is on.
pub(super) struct Space {
    directory: PathBuf,
    reserve: u64,
}

/// With less room than this a failure of unknown kind is one for lack of room, whatever the reserve is.
const LITTLE: u64 = 8 << 20;
/// How much must be writable before the database is opened again.
const TRIAL: usize = 1 << 20;

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

    /// Whether so little is left that a write may have failed for it.
    pub(super) fn is_used_up(&self) -> bool {
        available(&self.directory) < (self.reserve / 4).max(LITTLE)
    }

    /// Whether there is room again. What the file system says is not all there is to it: there are quotas too.
    pub(super) fn is_back(&self) -> bool {
        let path = self.directory.join("room");
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(&vec![0; TRIAL])?;
            file.sync_all()
        });
        let removed = fs::remove_file(&path);
        written.is_ok() && removed.is_ok() && self.check(0, 4).is_ok()
    }
}

impl Lasting {
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
