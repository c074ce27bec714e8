//! The directory of a backup: whose turn it is, and which generations are there.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::file::{io_failed, make_directory, private};
use crate::{Result, StoreError};

/// The file that is locked as long as a generation is being added.
const LOCK: &str = "lock";
/// What the names of files end with that are not whole yet.
pub(super) const PART: &str = ".part";
const INDEX: &str = "index";
const BODIES: &str = "bodies";

/// The sole right to add a generation.
pub(super) struct Turn {
    directory: PathBuf,
    lock: File,
}

impl Turn {
    /// Makes the directory if it is not there, and takes out of it what a backup that was cut short has left.
    pub(super) fn take(directory: &Path) -> Result<Self> {
        make_directory(directory)?;
        let path = directory.join(LOCK);
        let wrong = |error| io_failed(&path, &error);
        let lock =
            private().read(true).write(true).create(true).truncate(false).open(&path).map_err(wrong)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let directory = directory.display();
                return Err(StoreError::Unavailable(format!("a backup into {directory} is running already")));
            }
            Err(TryLockError::Error(error)) => return Err(wrong(error)),
        }
        let turn = Self { directory: directory.to_owned(), lock };
        turn.clear()?;
        Ok(turn)
    }

    /// Removes the parts of files that nobody writes any more.
    pub(super) fn clear(&self) -> Result<()> {
        for name in names(&self.directory)? {
            if is_part(&name) {
                let path = self.directory.join(name);
                fs::remove_file(&path).map_err(|error| io_failed(&path, &error))?;
            }
        }
        Ok(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // To close it is not enough: a program that is just being started has it too, until it runs.
        let _unlocked = self.lock.unlock();
    }
}

/// What is there, by number, ascending.
#[derive(Debug)]
pub(super) struct Generations {
    /// Those with an index, which comes last.
    pub(super) indexes: Vec<u32>,
    /// Those with bodies.
    pub(super) bodies: Vec<u32>,
}

impl Generations {
    pub(super) fn find(directory: &Path) -> Result<Self> {
        // In this order, so that one that is just coming to its end is not one that lacks its index.
        let bodies = numbers(directory, BODIES)?;
        Ok(Self { bodies, indexes: numbers(directory, INDEX)? })
    }

    /// The number of the next one.
    pub(super) fn next(&self) -> u32 {
        self.indexes.last().max(self.bodies.last()).map_or(1, |last| last.saturating_add(1))
    }

    /// The last one with bodies and without an index, if there is none behind it with one.
    pub(super) fn headless(&self) -> Option<u32> {
        self.bodies.last().copied().filter(|last| self.indexes.last() < Some(last))
    }
}

/// Why a generation with bodies and without an index is no generation.
pub(super) fn without_index(directory: &Path, generation: u32) -> String {
    format!(
        "{} is missing: it is lost, or the backup of that time did not come to its end",
        index(directory, generation).display()
    )
}

pub(super) fn index(directory: &Path, generation: u32) -> PathBuf {
    directory.join(format!("{generation:06}.{INDEX}"))
}

pub(super) fn bodies(directory: &Path, generation: u32) -> PathBuf {
    directory.join(format!("{generation:06}.{BODIES}"))
}

fn numbers(directory: &Path, kind: &str) -> Result<Vec<u32>> {
    let number = |name: &str| digits(name.strip_suffix(kind)?.strip_suffix('.')?)?.parse().ok();
    let mut numbers: Vec<u32> = names(directory)?.iter().filter_map(|name| number(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Whether it is called as a file that is not whole. Those of earlier programs have no kind in their names.
fn is_part(name: &str) -> bool {
    let Some(name) = name.strip_suffix(PART) else { return false };
    let kinds = [INDEX, BODIES].iter();
    let stem = kinds.filter_map(|kind| name.strip_suffix(kind)?.strip_suffix('.')).next();
    digits(stem.unwrap_or(name)).is_some()
}

fn digits(name: &str) -> Option<&str> {
    Some(name).filter(|name| !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_digit()))
}

fn names(directory: &Path) -> Result<Vec<String>> {
    let wrong = |error| io_failed(directory, &error);
    let entries = fs::read_dir(directory).map_err(wrong)?;
    let names = entries.map(|entry| entry.map_err(wrong).map(|entry| entry.file_name().into_string().ok()));
    names.filter_map(Result::transpose).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_from_all_else() {
        for name in ["000001.part", "000001.bodies.part", "1234567.index.part"] {
            assert!(is_part(name), "{name}");
        }
        for name in ["000001.bodies", "000001.index", "lock", ".part", "mine.part", "x.index.part", "+1.part"]
        {
            assert!(!is_part(name), "{name}");
        }
        let folder = tempfile::tempdir().unwrap();
        let all =
            ["000002.index", "000002.bodies", "000003.bodies", "000004.index.part", "+00009.index", "lock"];
        for name in all {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = Generations::find(folder.path()).unwrap();
        assert_eq!((&found.indexes[..], &found.bodies[..]), (&[2][..], &[2, 3][..]));
        assert_eq!((found.next(), found.headless()), (4, Some(3)));
    }
}
