//! Whether all is there that the database consists of, looked at before it is opened.
//!
//! The database takes a part that is missing for one that never was: a journal for an empty one, and the folder of a keyspace for one
//! whose making was cut short, which it removes. So a store that lacks any part is not opened.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use fjall::Keyspace;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

use super::database::{Database, failed, is_free};
use super::row::{self, Fields};
use super::{damage, journal};
use crate::{Result, StoreError};

/// Names the keyspaces that the database had at least, by how many of [`NAMES`] those are.
pub(super) const KEYSPACES: &str = "keyspaces";

/// The keyspaces, in the order in which they came to be; new ones come last.
pub(super) const NAMES: [&str; 19] = [
    "meta",
    "names",
    "rows",
    "bodies",
    "packs",
    "references",
    "uploads",
    "summaries",
    "origins",
    "threads",
    "users",
    "details",
    "expunged",
    "trash",
    "subscriptions",
    "tables",
    "lost",
    "queue",
    "queue_due",
];

/// Says which keyspace a folder has lies in, and which version of the list of its files counts.
const CURRENT: &str = "current";

/// The file that says that all parts were there once, and are on disk.
const MADE: &str = "made";

/// Notes that all parts are there.
pub(super) fn note_made(directory: &Path) -> Result<()> {
    let note = || {
        let made = directory.join(MADE);
        if made.try_exists()? {
            return Ok(());
        }
        File::create(made)?.sync_all()?;
        if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
    };
    note().map_err(|error| failed(fjall::Error::Io(error)))
}

/// What was damaged.
pub(super) struct Mended {
    /// Now or before, in words.
    pub(super) damage: Vec<String>,
    /// Whether any of it was now.
    pub(super) lost_now: bool,
}

/// Mends the journals of a database that nobody has open, and tells what was damaged.
pub(super) fn mend(directory: &Path) -> Result<Mended> {
    let lock = is_free(directory)?;
    // Either nothing is there, or hardly more.
    journal::clear_if_unfinished(directory)?;
    let unreadable = |error| failed(fjall::Error::Io(error));
    let before = damage::set_aside(directory).map_err(unreadable)?;
    let missing = missing(directory, !before.is_empty()).map_err(unreadable)?;
    if let Some(what) = missing {
        return Err(StoreError::Corrupt(what));
    }
    if !before.is_empty() {
        make_journal(directory).map_err(unreadable)?;
    }
    let mut damage = if lock.is_some() { journal::mend(directory)? } else { Vec::new() };
    let lost_now = !damage.is_empty();
    damage.extend(before.iter().map(|file| damage::kept(file)));
    Ok(Mended { damage, lost_now })
}

/// Makes an empty journal where it is known to be gone. Were there none, the database would begin to count its changes anew, and take what
/// is in tables for newer than whatever comes.
fn make_journal(directory: &Path) -> std::io::Result<()> {
    let journals = journal::is_used(directory).map_err(std::io::Error::other)?;
    if journals.is_none() && directory.join("version").try_exists()? {
        File::create_new(directory.join("0.jnl"))?.sync_all()?;
    }
    Ok(())
}

/// What is missing, in words. `warned` is whether somebody was told that changes were lost.
fn missing(directory: &Path, warned: bool) -> std::io::Result<Option<String>> {
    let gone = |path: &Path| {
        let path = path.display();
        Some(format!(
            "{path} is missing, and the store cannot be read without it: put it back, or restore a backup"
        ))
    };
    if !directory.join(MADE).try_exists()? {
        // Its making may have been cut short, at any moment: nothing was ever acknowledged then.
        return Ok(None);
    }
    let folders = entries(&directory.join("keyspaces"))?;
    let version = directory.join("version");
    if fs::metadata(&version).map_or(0, |version| version.len()) < journal::VERSION {
        return Ok(gone(&version).filter(|_| !folders.is_empty()));
    }
    let is_used = journal::is_used(directory).map_err(std::io::Error::other)?;
    if is_used.is_none() && !warned {
        let directory = directory.display();
        return Ok(Some(format!(
            "{directory} has no journal (NUMBER.jnl), which holds what was written last: put it back, or restore a backup. To go on with \
             what is left, make an empty file {directory}/journal.{}0",
            damage::ASIDE
        )));
    }
    if folders.is_empty() {
        return Ok(gone(&directory.join("keyspaces")).filter(|_| is_used == Some(true)));
    }
    for folder in &folders {
        let number =
            folder.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u64>().ok());
        let Some(number) = number.or_else(|| folder.is_file().then_some(0)) else {
            return Ok(Some(format!("{} is nothing of the store's: move it away", folder.display())));
        };
        let current = folder.join(CURRENT);
        if number > 0 && !current.try_exists()? && is_filled(folder)? {
            return Ok(gone(&current));
        }
    }
    let names = directory.join("keyspaces/0").join(CURRENT);
    let others = folders.len() > 1 || is_used == Some(true);
    Ok(gone(&names).filter(|_| others && !names.exists()))
}

/// Whether anything was ever in the folder of a keyspace.
fn is_filled(folder: &Path) -> std::io::Result<bool> {
    let lists = entries(folder)?.iter().any(|path| path.is_file());
    Ok(lists || !entries(&folder.join("tables"))?.is_empty() || !entries(&folder.join("blobs"))?.is_empty())
}

/// What is in a folder; nothing if it is not there.
fn entries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut all: Vec<PathBuf> = match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    all.sort();
    Ok(all)
}

/// Refuses a database of which a keyspace is gone, before it is made anew.
pub(super) fn look_for_keyspaces(handle: &fjall::Database, known: Option<u64>) -> Result<()> {
    let known = usize::try_from(known.unwrap_or(0)).unwrap_or(usize::MAX);
    let gone = NAMES.iter().take(known).find(|name| !handle.keyspace_exists(name));
    gone.map_or(Ok(()), |name| {
        Err(StoreError::Corrupt(format!(
            "the folder of {name} is missing in the folder keyspaces: put it back, or restore a backup"
        )))
    })
}

/// One of the store's own numbers.
pub(super) fn number_in(meta: &Keyspace, name: &str) -> Result<Option<u64>> {
    let Some(value) = meta.get(name).map_err(failed)? else { return Ok(None) };
    row::open(name.as_bytes(), &value)
        .and_then(|value| value.try_into().ok())
        .map(|octets| Some(u64::from_be_bytes(octets)))
        .ok_or_else(|| StoreError::Corrupt(format!("the number {name:?}")))
}

impl Database {
    /// The highest number that a body, or the rows of a mailbox, are seen to have. What was lost may have held the row of numbers that says
    /// which were given out.
    pub(super) fn highest_identity(&self) -> u64 {
        let last = |keyspace: &Keyspace| {
            keyspace.last_key_value().and_then(|entry| Fields(&entry.key().ok()?).u64())
        };
        let keyspaces = [&self.bodies, &self.rows, &self.references, &self.expunged, &self.packs];
        keyspaces.into_iter().filter_map(last).max().unwrap_or(0)
    }

    /// Whether there is mail.
    pub(super) fn is_filled(&self) -> bool {
        [&self.bodies, &self.rows, &self.names]
            .into_iter()
            .any(|keyspace| keyspace.first_key_value().is_some())
    }
}

/// How many octets are read at most to find a damaged file.
const MOST: u64 = 4 << 30;

/// What to say of a database that cannot be opened: which file is damaged, if one is, and what helps.
pub(super) fn told(directory: &Path, error: StoreError) -> StoreError {
    let text = match &error {
        StoreError::Unavailable(text) | StoreError::Corrupt(text) => {
            format!("cannot open {}: {text}", directory.display())
        }
        _ => return error,
    };
    match (damaged_file(directory), error) {
        (Some(file), _) => StoreError::Corrupt(format!(
            "{text}; {} is damaged or missing: put it back as it was, or restore a backup",
            file.display()
        )),
        (None, StoreError::Corrupt(_)) => {
            StoreError::Corrupt(format!("{text}; a file of it is damaged or missing: restore a backup"))
        }
        (None, _) => StoreError::Unavailable(text),
    }
}

/// The file for which a database cannot be opened, as far as it can be found: each keyspace has a list of its files, with their checksums.
fn damaged_file(directory: &Path) -> Option<PathBuf> {
    let mut left = MOST;
    let folders = entries(&directory.join("keyspaces")).ok()?;
    folders.iter().filter(|folder| folder.is_dir()).find_map(|folder| damaged_in(folder, &mut left))
}

fn damaged_in(folder: &Path, left: &mut u64) -> Option<PathBuf> {
    let current = folder.join(CURRENT);
    let octets = fs::read(&current).ok()?;
    let number = octets.first_chunk::<8>().map(|number| u64::from_le_bytes(*number));
    let sum = octets.get(8..24).and_then(|sum| <[u8; 16]>::try_from(sum).ok()).map(u128::from_le_bytes);
    let Some((number, sum)) = number.zip(sum) else { return Some(current) };
    let path = folder.join(format!("v{number}"));
    let list = match fs::read(&path) {
        Ok(list) => list,
        // There are never as many versions.
        Err(_) if number > u64::from(u32::MAX) => return Some(current),
        Err(error) => return Some(path).filter(|_| error.kind() == std::io::ErrorKind::NotFound),
    };
    if xxh3_128(&list) != sum {
        return Some(path);
    }
    let files = ["tables", "blobs"].map(|name| entries(&folder.join(name)).unwrap_or_default());
    files.into_iter().flatten().find(|file| is_damaged(file, &list, left))
}

/// Whether a file is another than a list of files has it: there is its number, a zero and its checksum.
fn is_damaged(path: &Path, list: &[u8], left: &mut u64) -> bool {
    let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u64>().ok());
    let Some(number) = number else { return false };
    let entry = [&number.to_le_bytes()[..], &[0]].concat();
    let mut sums = list.windows(entry.len() + 16).filter(|part| part.starts_with(&entry)).peekable();
    if sums.peek().is_none() {
        return false;
    }
    let Some(sum) = checksum(path, left) else { return false };
    !sums.any(|part| part.ends_with(&sum.to_le_bytes()))
}

/// The checksum of a file, unless it is too long to be read.
fn checksum(path: &Path, left: &mut u64) -> Option<u128> {
    let mut file = File::open(path).ok()?;
    *left = left.checked_sub(file.metadata().ok()?.len())?;
    let (mut hasher, mut block) = (Xxh3Default::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut block).ok()? {
            0 => return Some(hasher.digest128()),
            count => hasher.update(block.get(..count)?),
        }
    }
}
