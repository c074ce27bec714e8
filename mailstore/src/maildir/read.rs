//! Octets of messages. Files whose lines end with LF alone are shown with CRLF.

use std::collections::VecDeque;
use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use bytes::Bytes;
use mailwright_mail_model::{Uid, UidValidity};

use super::failed;
use super::folder::{Folder, Setting};
use super::journal::{Change, Known};
use super::state::bare_lines;
use super::uid_list::field;
use crate::signal::lock;
use crate::{Result, StoreError};

/// The most octets that one read gives.
const MOST: u64 = 256 << 10;
/// How often others may rename a file between our look and our opening it.
const ATTEMPTS: usize = 4;

/// Where in files with bare line ends octets of the message are: of the messages read last.
#[derive(Debug, Default)]
pub(super) struct Marks(Mutex<VecDeque<(Origin, Vec<Mark>)>>);

/// Which file it is. Its name alone is not enough: files in two mailboxes may have the same. Neither is its inode alone: it is used again.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    /// The directory of the mailbox, and the name without flags, which may change while a message is read.
    place: (PathBuf, Box<str>),
    /// Device, inode, size and time of the last change, in seconds and the rest of it in nanoseconds.
    file: (u64, u64, u64, i64, i64),
}

/// A place in a message and in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark {
    shown: u64,
    stored: u64,
    /// Whether the octet before was a CR.
    after_cr: bool,
}

/// So many messages' marks are kept, and one for so many octets.
const MESSAGES: usize = 32;
const DISTANCE: u64 = 64 << 10;

/// Octets of a message of which this size was told.
///
/// # Errors
/// [`Corrupt`](StoreError::Corrupt) if it has another. What the name of its file says of it does not count any more then: the next to
/// open the mailbox is told the right one.
pub(super) fn read(
    folder: &Folder,
    setting: &Setting,
    marks: &Marks,
    (validity, uid, told): (UidValidity, Uid, u64),
    range: &Range<u64>,
) -> Result<Bytes> {
    for _ in 0..ATTEMPTS {
        let Some(Place { path, base, known, as_is }) = find(folder, setting, validity, uid)? else {
            return Err(StoreError::NotFound);
        };
        if told != known.size {
            return Err(other_size(&path));
        }
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                folder.lock(setting)?.with_memory(|state| {
                    if let Some(state) = state {
                        state.distrust();
                    }
                });
                folder.snapshot(setting)?;
                continue;
            }
            Err(error) => return Err(failed(&path, &error)),
        };
        let end = range.end.min(known.size).min(range.start.saturating_add(MOST));
        if range.start >= end {
            return Ok(Bytes::new());
        }
        let wrong;
        let wanted = end - range.start;
        let length = file.metadata().map_err(|error| failed(&path, &error))?.len();
        let octets = if known.bare {
            let origin = Origin::of(&file, &folder.path, base);
            let octets = origin.and_then(|origin| {
                let octets = marks.read(&file, origin.clone(), range.start, end)?;
                let more = end == known.size && !marks.read(&file, origin, end, end + 1)?.is_empty();
                Ok((octets, more))
            });
            let (octets, more) = octets.map_err(|error| failed(&path, &error))?;
            wrong = more;
            octets
        } else {
            let mut octets = vec![0; usize::try_from(end - range.start).unwrap_or_default()];
            let count = read_at(&file, &mut octets, range.start).map_err(|error| failed(&path, &error))?;
            octets.truncate(count);
            wrong = length != known.size || (!as_is && has_bare_line(&octets, range.start == 0));
            octets
        };
        if wrong || (octets.len() as u64) < wanted {
            correct(folder, setting, (validity, uid), &path, as_is)?;
            return Err(other_size(&path));
        }
        return Ok(octets.into());
    }
    Err(StoreError::Unavailable("a message's file is renamed too often".into()))
}

/// A message's file.
struct Place {
    path: PathBuf,
    base: Box<str>,
    known: Known,
    /// Whether it is shown as it is, whatever its lines end with.
    as_is: bool,
}

fn other_size(path: &Path) -> StoreError {
    StoreError::Corrupt(format!("{} has not the size that was told of it", path.display()))
}

/// Whether a line ends with LF alone; the first octet is not judged if others are before it.
fn has_bare_line(octets: &[u8], from_start: bool) -> bool {
    let inner = octets.windows(2).any(|pair| matches!(pair, [before, b'\n'] if *before != b'\r'));
    inner || (from_start && octets.starts_with(b"\n"))
}

/// Counts what a message has, and makes it known.
fn correct(
    folder: &Folder,
    setting: &Setting,
    (validity, uid): (UidValidity, Uid),
    path: &Path,
    as_is: bool,
) -> Result<()> {
    let stored = std::fs::metadata(path).map_err(|error| failed(path, &error))?.len();
    let bare = if as_is { 0 } else { bare_lines(path)? };
    folder.lock(setting)?.with_valid(validity, |state| {
        let known = state.journal.messages.get(&uid).copied();
        if let Some(known) = known.filter(|known| (known.size, known.bare) != (stored + bare, bare > 0)) {
            let modseq = state.journal.next_modseq()?;
            let known = Known { size: stored + bare, bare: bare > 0, modseq, ..known };
            state.commit(modseq, vec![Change::Added(uid, known)]);
        }
        Ok(())
    })?;
    folder.changed.raise();
    Ok(())
}

fn find(folder: &Folder, setting: &Setting, validity: UidValidity, uid: Uid) -> Result<Option<Place>> {
    let look = || {
        folder.peek(|state| {
            if state.list.header.validity != validity {
                return None;
            }
            let (entry, known) = (state.entries.get(&uid)?, state.journal.messages.get(&uid)?);
            let found = entry.file.as_ref()?;
            let as_is = field(&entry.fields, 'X').is_some();
            let (path, base) = (entry.path(&folder.path, found), entry.base.clone());
            Some(Place { path, base, known: *known, as_is })
        })
    };
    match look() {
        Some(place) => Ok(place),
        None => {
            folder.snapshot(setting)?;
            Ok(look().flatten())
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn read_at(file: &File, mut buffer: &mut [u8], mut at: u64) -> std::io::Result<usize> {
    let mut count = 0;
    while !buffer.is_empty() {
        match file.read_at(buffer, at) {
            Ok(0) => break,
            Ok(read) => {
                (count, at) = (count + read, at + read as u64);
                buffer = buffer.get_mut(read..).unwrap_or_default();
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

impl Origin {
    fn of(file: &File, folder: &Path, base: Box<str>) -> std::io::Result<Self> {
        let data = file.metadata()?;
        let file = (data.dev(), data.ino(), data.size(), data.mtime(), data.mtime_nsec());
        Ok(Self { place: (folder.to_owned(), base), file })
    }
}

impl Marks {
    /// The octets from `start` to `end` of what is shown of a file with bare line ends.
    fn read(&self, file: &File, origin: Origin, start: u64, end: u64) -> std::io::Result<Vec<u8>> {
        let mut marks = self.take(&origin);
        let reached = marks.partition_point(|mark| mark.shown <= start);
        let mut mark = reached.checked_sub(1).and_then(|index| marks.get(index)).copied().unwrap_or_default();
        let mut octets = Vec::with_capacity(usize::try_from(end - start).unwrap_or_default());
        let mut buffer = vec![0; 32 << 10];
        while mark.shown < end {
            let count = read_at(file, &mut buffer, mark.stored)?;
            let stored = buffer.get(..count).unwrap_or_default();
            if stored.is_empty() {
                break;
            }
            for octet in stored {
                // An octet's CRLF is never cut by a mark: both are behind it or none is.
                if mark.shown >= end {
                    break;
                }
                if *octet == b'\n' && !mark.after_cr {
                    push(&mut octets, b'\r', mark.shown, start, end);
                    mark.shown += 1;
                }
                push(&mut octets, *octet, mark.shown, start, end);
                mark = Mark { shown: mark.shown + 1, stored: mark.stored + 1, after_cr: *octet == b'\r' };
            }
            if marks.last().map_or(0, |last| last.shown) + DISTANCE <= mark.shown {
                marks.push(mark);
            }
        }
        // Whoever reads on begins here. Where somebody else began to read on is of no use then.
        if let [.., before, last] = &*marks
            && last.shown < before.shown + DISTANCE
            && last.shown < mark.shown
        {
            marks.pop();
        }
        if marks.last().is_none_or(|last| last.shown < mark.shown) {
            marks.push(mark);
        }
        let mut kept = lock(&self.0);
        kept.truncate(MESSAGES - 1);
        kept.push_front((origin, marks));
        Ok(octets)
    }

    fn take(&self, origin: &Origin) -> Vec<Mark> {
        let mut kept = lock(&self.0);
        let place = kept.iter().position(|(other, _)| other == origin);
        place.and_then(|place| kept.remove(place)).map(|(_, marks)| marks).unwrap_or_default()
    }
}

fn push(octets: &mut Vec<u8>, octet: u8, at: u64, start: u64, end: u64) {
    if (start..end).contains(&at) {
        octets.push(octet);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn bare_lines_are_shown_with_crlf_at_any_place() {
        let mut file = tempfile::tempfile().unwrap();
        let stored: Vec<u8> = (0..60_000_u32)
            .flat_map(|number| match number % 7 {
                0 => b"\r\n".to_vec(),
                1 => b"\n".to_vec(),
                2 => b"\r".to_vec(),
                3 => b"\n\n".to_vec(),
                _ => b"text".to_vec(),
            })
            .collect();
        file.write_all(&stored).unwrap();
        let mut shown = Vec::new();
        let mut last = 0;
        for octet in stored {
            if octet == b'\n' && last != b'\r' {
                shown.push(b'\r');
            }
            shown.push(octet);
            last = octet;
        }
        let marks = Marks::default();
        let origin = |base: &str| Origin::of(&file, Path::new("a"), base.into()).unwrap();
        let size = shown.len() as u64;
        for (start, end) in
            [(0, 1), (0, size), (1, 2), (2, 9), (100_000, 100_001), (size - 1, size), (70_001, 140_003)]
                .into_iter()
                .chain((0..size).step_by(5_003).map(|start| (start, size.min(start + 5_003))))
        {
            let octets = marks.read(&file, origin("a"), start, end).unwrap();
            assert!(octets == shown[start as usize..end as usize], "{start}..{end}");
        }
        for other in 0..100 {
            marks.read(&file, origin(&other.to_string()), 0, 10).unwrap();
        }
        assert_eq!(lock(&marks.0).len(), MESSAGES);
    }
}
