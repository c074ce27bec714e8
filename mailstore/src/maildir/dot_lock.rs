//! Locks that are files: `dovecot-uidlist.lock` is there while somebody changes what it guards.
//!
//! Dovecot takes the same locks in the same way, so a mailbox can be changed by both at a time.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, test_kill_process};

use super::failed;
use crate::{Result, StoreError};

/// A lock that is held; dropped, it is free.
#[derive(Debug)]
pub(crate) struct DotLock {
    path: PathBuf,
    inode: u64,
}

/// How long a lock may rest whose holder cannot be asked: Dovecot's time too.
const STALE: Duration = Duration::from_secs(120);
/// How long a lock may be empty: its holder writes into it at once.
const EMPTY: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

impl DotLock {
    /// Takes the lock, and waits for it if need be.
    pub(crate) fn acquire(path: PathBuf, host: &str, patience: Duration) -> Result<Self> {
        let (began, mut pause) = (Instant::now(), Duration::from_micros(500));
        loop {
            let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            match created {
                Ok(file) => return Self::sign(file, path, host),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(&path, &error)),
            }
            if remove_stale(&path, host) {
                continue;
            }
            if began.elapsed() > patience {
                let path = path.display();
                return Err(StoreError::Unavailable(format!("another program holds the lock {path}")));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Says whose it is, so that others can tell when we are gone.
    fn sign(mut file: File, path: PathBuf, host: &str) -> Result<Self> {
        let inode = file.metadata().map(|data| data.ino());
        let written = file.write_all(format!("{}:{host}", std::process::id()).as_bytes());
        match (inode, written) {
            (Ok(inode), Ok(())) => Ok(Self { path, inode }),
            // A lock needs no content to be one, and it may be taken to make room.
            (Ok(inode), Err(error)) if error.kind() == ErrorKind::StorageFull => Ok(Self { path, inode }),
            (Err(error), _) | (_, Err(error)) => {
                // Nobody could tell whose it is.
                let _removed = fs::remove_file(&path);
                Err(failed(&path, &error))
            }
        }
    }

    /// Makes of the lock the file it guards: writes `content` into it, as if at this time, and gives it that name.
    pub(crate) fn replace(self, target: &Path, content: &[u8], time: Option<SystemTime>) -> Result<()> {
        let error = |error| failed(&self.path, &error);
        let mut file = OpenOptions::new().write(true).truncate(true).open(&self.path).map_err(error)?;
        file.write_all(content).map_err(error)?;
        if let Some(time) = time {
            file.set_modified(time).map_err(error)?;
        }
        file.sync_all().map_err(error)?;
        fs::rename(&self.path, target).map_err(error)
    }
}

impl Drop for DotLock {
    fn drop(&mut self) {
        // Whoever held us for dead has a lock of their own under this name now.
        if fs::symlink_metadata(&self.path).is_ok_and(|data| data.ino() == self.inode) {
            let _removed = fs::remove_file(&self.path);
        }
    }
}

/// Removes a lock whose holder is gone. Says whether to try again at once.
fn remove_stale(path: &Path, host: &str) -> bool {
    let Ok(before) = fs::symlink_metadata(path) else { return true };
    let mut content = String::new();
    if before.is_file() {
        let read = File::open(path).and_then(|file| file.take(1000).read_to_string(&mut content));
        if read.is_err() {
            content.clear();
        }
    }
    if !is_stale(&before, &content, host) {
        return false;
    }
    // Two may come to this at a time. A lock that another one has just made must not be removed, so it is first moved
    // out of the way, looked at, and put back if it was not the one that is stale.
    let aside = path.with_extension(format!("lock.{}", super::file_name::unique(host)));
    if fs::rename(path, &aside).is_err() {
        return true;
    }
    let same = fs::symlink_metadata(&aside)
        .is_ok_and(|now| (now.ino(), now.mtime_nsec()) == (before.ino(), before.mtime_nsec()));
    if !same {
        let _put_back = fs::hard_link(&aside, path);
    }
    let _removed = fs::remove_file(&aside);
    same
}

fn is_stale(lock: &Metadata, content: &str, host: &str) -> bool {
    let now = SystemTime::now();
    let age = lock.modified().ok().and_then(|made| now.duration_since(made).ok());
    let age = age.unwrap_or_default();
    // No holder survives a restart of the machine.
    if boot_time(now).is_some_and(|boot| lock.mtime() < boot) {
        return true;
    }
    match content.split_once(':') {
        Some((process, holder)) if holder.trim_end() == host => {
            let process = process.parse().ok().and_then(Pid::from_raw);
            process.is_some_and(|process| test_kill_process(process) == Err(rustix::io::Errno::SRCH))
        }
        Some(_) => age > STALE,
        None => age > if content.is_empty() { EMPTY } else { STALE },
    }
}

/// When the machine was started, in seconds after 1970 by a clock that shows this. It is worked out at each look: a clock
/// that was ahead and has been set right would else have all that is made from then on be older than the start.
fn boot_time(now: SystemTime) -> Option<i64> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let up: f64 = uptime.split(' ').next()?.parse().ok()?;
    let now = now.duration_since(UNIX_EPOCH).ok()?;
    // A few seconds less, for clocks that are set while the machine starts.
    Some((now.as_secs_f64() - up) as i64 - 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(30);

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.lock");
        let lock = DotLock::acquire(path.clone(), "host", SHORT).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}:host", std::process::id()));
        assert!(DotLock::acquire(path.clone(), "host", SHORT).is_err());
        drop(lock);
        DotLock::acquire(path.clone(), "host", SHORT).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn the_dead_hold_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.lock");
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        fs::write(&path, format!("{}:host", child.id())).unwrap();
        // Who is alive on another machine cannot be known.
        assert!(DotLock::acquire(path.clone(), "elsewhere", SHORT).is_err());
        DotLock::acquire(path.clone(), "host", SHORT).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        for (content, minutes, stale) in
            [("", 0, false), ("", 1, true), ("1:other", 1, false), ("1:other", 3, true), ("?", 3, true)]
        {
            fs::write(&path, content).unwrap();
            let made = SystemTime::now() - Duration::from_secs(60 * minutes);
            File::options().write(true).open(&path).unwrap().set_modified(made).unwrap();
            let data = fs::metadata(&path).unwrap();
            assert_eq!(is_stale(&data, content, "host"), stale, "{content:?} after {minutes} minutes");
        }
        let long_ago = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        fs::write(&path, "1:other").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
        DotLock::acquire(path, "host", SHORT).unwrap();
    }

    #[test]
    fn the_machine_was_started_when_the_clock_says_now() {
        let (now, hour) = (SystemTime::now(), Duration::from_secs(3_600));
        let (ahead, right) = (boot_time(now + hour).unwrap(), boot_time(now).unwrap());
        assert!((3_590..=3_610).contains(&(ahead - right)), "{ahead} {right}");
    }

    #[test]
    fn a_lock_that_was_taken_away_is_not_removed_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.lock");
        let lost = DotLock::acquire(path.clone(), "host", SHORT).unwrap();
        // The new holder's file is there before the old one is gone, so that it has another inode.
        fs::write(folder.path().join("theirs"), "1:other").unwrap();
        fs::rename(folder.path().join("theirs"), &path).unwrap();
        drop(lost);
        assert!(path.exists());
    }
}
