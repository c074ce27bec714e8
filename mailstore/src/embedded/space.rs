//! How much room is left on disk. What is refused in time costs nothing; after a write that failed the database has to be opened
//! anew.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::Lasting;
use crate::signal::lock;
use crate::{Result, StoreError};

/// How much is free on a disk, for those who ask several times a message.
#[derive(Debug)]
pub struct FreeSpace {
    directory: PathBuf,
    /// The last look, and what was free.
    last: Mutex<Option<(Instant, u64)>>,
}

/// The disk a store is on.
pub(super) struct Space {
    free: FreeSpace,
    reserve: u64,
}

/// With so much room to spare, a look holds for so long: nothing fills a disk that fast.
const PLENTY: u64 = 1 << 30;
const FRESH: Duration = Duration::from_millis(50);

/// With less room than this a failure of unknown kind is one for lack of room, whatever the reserve is.
const LITTLE: u64 = 8 << 20;
/// How much must be writable before the database is opened again.
const TRIAL: usize = 1 << 20;

impl FreeSpace {
    /// On the disk that this directory is on.
    pub fn of(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), last: Mutex::default() }
    }

    /// How many octets are free, to be compared with how many are `wanted`: as it was a moment ago if that was a gibibyte more than
    /// these. If nobody can tell, without end: the write will.
    pub fn octets(&self, wanted: u64) -> u64 {
        let plenty = wanted.saturating_add(PLENTY);
        let mut last = lock(&self.last);
        if let Some((at, free)) = *last
            && free > plenty
            && at.elapsed() < FRESH
        {
            return free;
        }
        let free = available(&self.directory);
        *last = Some((Instant::now(), free));
        free
    }
}

impl Space {
    pub(super) fn new(directory: &Path, reserve: u64) -> Self {
        Self { free: FreeSpace::of(directory), reserve }
    }

    /// Whether so many octets fit, and `part` of the reserve stays free.
    fn check(&self, octets: u64, part: u64) -> Result<()> {
        if self.reserve == 0 {
            return Ok(());
        }
        let wanted = (self.reserve / part).saturating_add(octets);
        let free = self.free.octets(wanted);
        if free >= wanted {
            return Ok(());
        }
        let (free, reserve) = (free >> 20, self.reserve >> 20);
        Err(StoreError::Full(format!("{free} MiB are free, of which {reserve} MiB are kept in reserve")))
    }

    /// Whether so little is left that a write may have failed for it.
    pub(super) fn is_used_up(&self) -> bool {
        available(&self.free.directory) < (self.reserve / 4).max(LITTLE)
    }

    /// Whether there is room again. What the file system says is not all there is to it: there are quotas too.
    pub(super) fn is_back(&self) -> bool {
        let path = self.free.directory.join("room");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_holds_for_a_moment_and_only_where_there_is_plenty() {
        let space = Space::new(Path::new("/"), 1 << 20);
        let believe = |free| *lock(&space.free.last) = Some((Instant::now() + FRESH, free));
        believe(u64::MAX - 1);
        assert!(space.check(1 << 62, 1).is_ok());
        // So much is not there.
        believe((1 << 62) + (1 << 20) + 1);
        assert!(matches!(space.check(1 << 62, 1), Err(StoreError::Full(_))));
        let old = Instant::now().checked_sub(FRESH).unwrap();
        *lock(&space.free.last) = Some((old, u64::MAX - 1));
        assert!(matches!(space.check(1 << 62, 1), Err(StoreError::Full(_))));
    }
}
