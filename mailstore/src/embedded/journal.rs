//! The database's journal, looked at before the database is opened.
//!
//! After a power cut the end of the journal may lack any part of what was not flushed. The database drops an incomplete group of
//! changes at the end, but takes a hole in one for damage, and damage for the end. Here the two are told apart: each group says
//! which group before it was flushed, so what is unreadable although it was flushed is damage, and anything else was never
//! acknowledged. What was never acknowledged goes; damage is set aside, and what follows it is kept.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::row::{self, Fields};
use crate::{Result, StoreError};

mod batch;

use batch::{END, Scanner};

/// The key of the row that every group of changes has: its own number, and that of the last one before it that was flushed.
/// It is no UTF-8, so no key of anything else.
pub(super) const GROUP: &[u8] = b"\xffgroup";

/// The value of that row.
pub(super) fn group_row(number: u64, flushed: u64) -> Vec<u8> {
    row::seal(GROUP, [number.to_be_bytes(), flushed.to_be_bytes()].concat())
}

/// The numbers in that row.
pub(super) fn group_numbers(sealed: &[u8]) -> Option<(u64, u64)> {
    let mut fields = Fields(row::open(GROUP, sealed)?);
    fields.u64().zip(fields.u64())
}

/// What the journals of a store turned out to be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mended {
    /// What was damaged, in words.
    pub(super) damage: Vec<String>,
}

/// Makes every journal in `directory` one that the database reads to its end. Nobody may have the database open.
pub(super) fn mend(directory: &Path) -> Result<Mended> {
    let mut mended = Mended::default();
    let journals = journals(directory)?;
    let mut known = 0;
    for (index, path) in journals.iter().enumerate() {
        let sealed = index + 1 < journals.len();
        known = mend_one(path, sealed, known, &mut mended).map_err(|error| io_failed(path, &error))?;
    }
    Ok(mended)
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
    Ok(journals.into_iter().map(|(_, path)| path).collect())
}

/// Mends one journal. `known` is the last group of the journals before it; gives that of this one.
fn mend_one(path: &Path, sealed: bool, mut known: u64, mended: &mut Mended) -> std::io::Result<u64> {
    let mut scanner = Scanner::new(BufReader::new(File::open(path)?));
    while let Some(batch) = scanner.next()? {
        known = batch.group.map_or(known, |(number, _)| number.max(known));
    }
    let end = scanner.end();
    if rest_is_empty(path, end)? {
        return Ok(known);
    }
    // Rare enough to take the whole file into memory.
    let octets = fs::read(path)?;
    let later = batches_behind(&octets, usize::try_from(end).unwrap_or(usize::MAX));
    let first = later.iter().filter_map(|(_, group)| *group).map(|(number, _)| number).min();
    // A group behind the place was flushed, or one that nobody sees any more, though the one before it is known.
    let tells = |flushed| first.is_some_and(|first| flushed >= first) || (known > 0 && flushed > known);
    let flushed = later.iter().any(|(_, group)| group.is_some_and(|(_, flushed)| tells(flushed)));
    if !(flushed || sealed) {
        truncate(path, end)?;
        return Ok(known);
    }
    set_aside(path, &octets, end, later.iter().map(|(range, _)| range.clone()))?;
    mended.damage.push(format!(
        "changes in the journal {} from octet {end} on cannot be read; it is kept as it was beside it",
        path.display()
    ));
    let last = later.iter().filter_map(|(_, group)| *group).map(|(number, _)| number).max();
    Ok(last.unwrap_or(known).max(known))
}

/// Whether nothing but zeros follows, which is how a journal begins.
fn rest_is_empty(path: &Path, end: u64) -> std::io::Result<bool> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(end))?;
    let mut block = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut block)?;
        if count == 0 {
            return Ok(true);
        }
        if block.iter().take(count).any(|octet| *octet != 0) {
            return Ok(false);
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
) -> std::io::Result<()> {
    let new = path.with_extension("mended");
    let mut file = File::create(&new)?;
    let end = usize::try_from(end).unwrap_or(usize::MAX);
    for range in std::iter::once(0..end).chain(later) {
        file.write_all(octets.get(range).unwrap_or_default())?;
    }
    file.sync_all()?;
    let mut number = 0_u32;
    let kept = loop {
        let name = path.with_extension(format!("damaged-{number}"));
        if !name.try_exists()? {
            break name;
        }
        number += 1;
    };
    // Two names for one file, so that at no moment there is none.
    fs::hard_link(path, kept)?;
    fs::rename(new, path)?;
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
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
