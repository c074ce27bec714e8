//! The database's journal, looked at before the database is opened.
//!
//! After a power cut the end of the journal may lack any part of what was not flushed. The database drops an incomplete group of
//! changes at the end, but takes a hole in one for damage, and damage for the end. Here the two are told apart: each group says
//! which group before it was flushed, so what is unreadable although it was flushed is damage, and anything else was never
//! acknowledged. What was never acknowledged goes; damage is set aside, and what follows it is kept.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::damage::ASIDE;
use super::row::{self, Fields};
use crate::{Result, StoreError};

pub(super) mod ahead;
mod batch;

use batch::{END, Scanner};

/// The key of the row that every group of changes has: its own number, and that of the last one before it that was flushed.
/// It is no UTF-8, so no key of anything else.
pub(super) const GROUP: &[u8] = b"\xffgroup";

/// The value of that row.
pub(super) fn group_row(number: u64, flushed: u64) -> Vec<u8> {
    row::sealed(GROUP, &[&number.to_be_bytes(), &flushed.to_be_bytes()])
}

/// The numbers in that row.
pub(super) fn group_numbers(sealed: &[u8]) -> Option<(u64, u64)> {
    let mut fields = Fields(row::open(GROUP, sealed)?);
    fields.u64().zip(fields.u64())
}

/// Makes every journal in `directory` one that the database reads to its end; what was damaged, in words. Nobody may have the
/// database open.
pub(super) fn mend(directory: &Path) -> Result<Vec<String>> {
    let mut damage = Vec::new();
    let journals = journals(directory)?;
    let mut known = 0;
    for (index, path) in journals.iter().enumerate() {
        let sealed = index + 1 < journals.len();
        known = mend_one(path, sealed, known, &mut damage).map_err(|error| io_failed(path, &error))?;
    }
    Ok(damage)
}

/// Removes what there is of a database whose making was cut short, before which nothing was ever written.
pub(super) fn clear_if_unfinished(directory: &Path) -> Result<()> {
    let clear = || {
        let version = directory.join("version");
        let finished = fs::metadata(&version).is_ok_and(|version| version.len() >= VERSION);
        let keyspaces = fs::read_dir(directory.join("keyspaces")).is_ok_and(|mut all| all.next().is_some());
        let journals = journals(directory).unwrap_or_default();
        if finished || keyspaces {
            return Ok(());
        }
        for journal in &journals {
            if used(journal, 0)? > 0 {
                return Ok(());
            }
        }
        for path in journals.iter().chain([&version]).filter(|path| path.exists()) {
            fs::remove_file(path)?;
        }
        Ok(())
    };
    clear().map_err(|error| io_failed(directory, &error))
}

/// How long the file is that is there once a database has been made, in octets.
pub(super) const VERSION: u64 = 4;

/// Whether anything is in the journals; `None` if there are none.
pub(super) fn is_used(directory: &Path) -> Result<Option<bool>> {
    let journals = journals(directory)?;
    for path in &journals {
        let mut octets = File::open(path).map(|file| BufReader::new(file).bytes());
        let octets = octets.as_mut().map_err(|error| io_failed(path, error))?;
        if octets.any(|octet| octet.is_ok_and(|octet| octet != 0)) {
            return Ok(Some(true));
        }
    }
    Ok((!journals.is_empty()).then_some(false))
}

/// Takes a group of changes, which is the last one if it is there at all, from the end of the journal.
pub(super) fn withdraw(directory: &Path, number: u64) -> Result<()> {
    let Some(path) = journals(directory)?.pop() else { return Ok(()) };
    let cut = || {
        let mut scanner = Scanner::new(BufReader::new(File::open(&path)?));
        while let Some(batch) = scanner.next()? {
            if batch.group.is_some_and(|(found, _)| found == number) {
                return truncate(&path, batch.start);
            }
        }
        Ok(())
    };
    cut().map_err(|error| io_failed(&path, &error))
}

/// The journals, oldest first.
fn journals(directory: &Path) -> Result<Vec<PathBuf>> {
    Ok(numbered(directory)?.into_iter().map(|(_, path)| path).collect())
}

/// The journals with their numbers, which rise.
fn numbered(directory: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_failed(directory, &error)),
    };
    let mut journals: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            Some((name.strip_suffix(".jnl")?.parse().ok()?, directory.join(name)))
        })
        .collect();
    journals.sort();
    Ok(journals)
}

/// Mends one journal. `known` is the last group of the journals before it; gives that of this one.
fn mend_one(path: &Path, sealed: bool, mut known: u64, damage: &mut Vec<String>) -> std::io::Result<u64> {
    let mut scanner = Scanner::new(BufReader::new(File::open(path)?));
    while let Some(batch) = scanner.next()? {
        known = batch.group.map_or(known, |(number, _)| number.max(known));
    }
    let end = scanner.end();
    let used = used(path, end)?;
    if used <= end {
        return Ok(known);
    }
    // Rare enough to take the whole of it into memory.
    let mut octets = Vec::new();
    File::open(path)?.take(used).read_to_end(&mut octets)?;
    let later = batches_behind(&octets, usize::try_from(end).unwrap_or(usize::MAX));
    let first = later.iter().filter_map(|(_, group)| *group).map(|(number, _)| number).min();
    // A group behind the place was flushed, or one that nobody sees any more, though the one before it is known.
    let tells = |flushed| first.is_some_and(|first| flushed >= first) || (known > 0 && flushed > known);
    let flushed = later.iter().any(|(_, group)| group.is_some_and(|(_, flushed)| tells(flushed)));
    if !(flushed || sealed) {
        truncate(path, end)?;
        return Ok(known);
    }
    let kept = set_aside(path, &octets, end, later.iter().map(|(range, _)| range.clone()))?;
    damage.push(format!(
        "changes in the journal {} from octet {end} on cannot be read; it is kept as it was as {}",
        path.display(),
        kept.display()
    ));
    let last = later.iter().filter_map(|(_, group)| *group).map(|(number, _)| number).max();
    Ok(last.unwrap_or(known).max(known))
}

/// Where the last block ends that is not all zeros, which is how a journal begins; at the earliest `start`.
fn used(path: &Path, start: u64) -> std::io::Result<u64> {
    let mut file = File::open(path)?;
    let (mut place, mut used) = (file.seek(SeekFrom::Start(start))?, start);
    let (mut block, zeros) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let count = file.read(&mut block)?;
        if count == 0 {
            return Ok(used);
        }
        place += count as u64;
        if block.get(..count) != zeros.get(..count) {
            used = place;
        }
    }
}

type Found = (std::ops::Range<usize>, Option<(u64, u64)>);

/// The whole batches behind a place that is none: each begins right behind the end of another one, readable or not.
fn batches_behind(octets: &[u8], start: usize) -> Vec<Found> {
    let mut found = Vec::new();
    let mut place = start;
    while let Some(rest) = octets.get(place..) {
        let mut scanner = Scanner::new(rest);
        let mut behind = place;
        while let Ok(Some(batch)) = scanner.next() {
            let end = place + usize::try_from(scanner.end()).unwrap_or(usize::MAX);
            found.push((behind..end, batch.group));
            behind = end;
        }
        let Some(next) = octets.get(behind..).and_then(|rest| find(rest, END)) else { break };
        place = behind + next + END.len();
    }
    found
}

fn find(octets: &[u8], wanted: &[u8]) -> Option<usize> {
    octets.windows(wanted.len()).position(|window| window == wanted)
}

/// Makes a journal of what can be read of a damaged one, which is kept under another name.
fn set_aside(
    path: &Path,
    octets: &[u8],
    end: u64,
    later: impl Iterator<Item = std::ops::Range<usize>>,
) -> std::io::Result<PathBuf> {
    let new = path.with_extension("mended");
    let mut file = File::create(&new)?;
    let end = usize::try_from(end).unwrap_or(usize::MAX);
    for range in std::iter::once(0..end).chain(later) {
        file.write_all(octets.get(range).unwrap_or_default())?;
    }
    file.sync_all()?;
    let mut number = 0_u32;
    let kept = loop {
        let name = path.with_extension(format!("{ASIDE}{number}"));
        if !name.try_exists()? {
            break name;
        }
        number += 1;
    };
    // Two names for one file, so that at no moment there is none.
    fs::hard_link(path, &kept)?;
    fs::rename(new, path)?;
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())?;
    Ok(kept)
}

fn truncate(path: &Path, length: u64) -> std::io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(length)?;
    file.sync_all()
}

fn io_failed(path: &Path, error: &std::io::Error) -> StoreError {
    let text = format!("{}: {error}", path.display());
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => StoreError::Full(text),
        _ => StoreError::Unavailable(text),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use mailwright_mail_model::{DateTime, MailboxName};

    use super::*;
    use crate::embedded::{Embedded, Options};
    use crate::{Store, Target, User, Write as _, block_on};

    fn alice() -> User {
        User::new("alice").unwrap()
    }

    /// A store with messages as the disk would hold it, were its process killed.
    fn killed(messages: usize) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let (living, killed) = (directory.path().join("living"), directory.path().join("killed"));
        let store = Embedded::open(&living, Options::default()).unwrap();
        for number in 0..messages {
            block_on(async {
                let mut upload = store.begin(None).await.unwrap();
                upload.write(Bytes::from(format!("{number} {}", "x".repeat(5_000)))).await.unwrap();
                let target = Target::new(alice(), MailboxName::inbox(), DateTime::new(0, 0).unwrap());
                upload.commit(&[target]).await.unwrap();
            });
        }
        crate::embedded::tests::copy_directory(&living, &killed);
        directory
    }

    /// Overwrites octets in the middle of the last or an earlier message; what is there then, and what is told.
    fn overwritten(messages: usize, wanted: usize) -> (u32, Vec<String>, tempfile::TempDir) {
        let directory = killed(messages);
        let path = directory.path().join("killed/0.jnl");
        let mut octets = fs::read(&path).unwrap();
        let place = find(&octets, format!("{wanted} xxxx").as_bytes()).unwrap() + 3_000;
        octets[place..place + 100].fill(0);
        fs::write(&path, octets).unwrap();
        let store = Embedded::open(directory.path().join("killed"), Options::default()).unwrap();
        let found = block_on(store.open(&alice(), &MailboxName::inbox())).unwrap().len();
        (found, store.damage(), directory)
    }

    #[test]
    fn a_hole_in_what_was_not_flushed_is_the_end() {
        let (found, damage, _directory) = overwritten(5, 4);
        assert_eq!((found, damage), (4, Vec::new()));
    }

    #[test]
    fn a_hole_in_what_was_flushed_is_told_and_spares_the_rest() {
        let (found, damage, directory) = overwritten(5, 1);
        assert_eq!(found, 4);
        assert!(damage.len() == 1 && damage[0].contains("0.jnl from octet"), "{damage:?}");
        assert!(directory.path().join("killed/0.damaged-0").exists());
        let store = Embedded::open(directory.path().join("killed"), Options::default()).unwrap();
        let snapshot = block_on(store.open(&alice(), &MailboxName::inbox())).unwrap();
        // What was lost may have had any of these.
        assert!(snapshot.uid_next().unwrap().get() > 1 << 20);
    }

    #[test]
    fn a_group_is_withdrawn() {
        let directory = killed(3);
        let path = directory.path().join("killed");
        let octets = fs::read(path.join("0.jnl")).unwrap();
        let mut scanner = Scanner::new(&octets[..]);
        let mut groups = Vec::new();
        while let Some(batch) = scanner.next().unwrap() {
            groups.extend(batch.group.map(|(number, _)| number));
        }
        assert!(groups.len() >= 3 && groups.is_sorted());
        withdraw(&path, *groups.last().unwrap()).unwrap();
        withdraw(&path, groups.last().unwrap() + 1).unwrap();
        let store = Embedded::open(&path, Options::default()).unwrap();
        assert_eq!(block_on(store.open(&alice(), &MailboxName::inbox())).unwrap().len(), 2);
    }

    #[test]
    fn a_store_whose_making_was_cut_short_is_made() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("keyspaces")).unwrap();
        File::create(directory.path().join("lock")).unwrap();
        File::create(directory.path().join("0.jnl")).unwrap().set_len(1 << 20).unwrap();
        File::create(directory.path().join("version")).unwrap();
        drop(Embedded::open(directory.path(), Options::default()).unwrap());
    }
}
