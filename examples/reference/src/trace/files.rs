//! The files of the journal: one a day, in parts where there is a limit to all of them, and none longer than it is wanted.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Instant,
};

use mailwright::mail_model::DateTime;

/// In seconds.
const DAY: u64 = 86_400;
/// Of a journal that has a limit a file takes so much of it, so that as much of the day remains when one goes.
const SHARE: u64 = 8;
/// How many octets of a name are the date.
const DATE: usize = 10;
/// A clock that has jumped is believed when it has gone on for so many seconds.
const DOUBT: u64 = 3_600;

/// The files of a folder, of which one is written.
pub(super) struct Files {
    folder: PathBuf,
    /// In seconds.
    keep: u64,
    /// In octets; 0 for no limit.
    largest: u64,
    file: Option<File>,
    /// Which day is written, and how many octets its file has.
    day: u64,
    size: u64,
    /// What the clock showed when it was not believed, and when that was.
    doubt: Option<(u64, Instant)>,
}

impl Files {
    /// In `folder`, kept for so many seconds, of so many octets at most (0 for no limit).
    pub(super) fn new(folder: PathBuf, keep: u64, largest: u64) -> Self {
        Self { folder, keep, largest, file: None, day: 0, size: 0, doubt: None }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Forgets the file that could not be written.
    pub(super) fn close(&mut self) {
        self.file = None;
    }

    /// Writes the lines of a day to the system, so that the end of the process loses nothing; to the disk they go from time to time.
    /// Whether there were any.
    pub(super) fn write(&mut self, day: u64, lines: &[u8]) -> io::Result<bool> {
        if lines.is_empty() {
            return Ok(false);
        }
        if self.file.is_none() || day != self.day {
            self.begin(day)?;
        }
        let mut rest = lines;
        while !rest.is_empty() {
            let share = self.share();
            let room = share.saturating_sub(self.size);
            let (mut now, mut later) = whole_lines(rest, room);
            if now.is_empty() && self.size > 0 {
                self.end_part()?;
                continue;
            }
            if now.is_empty() {
                // One line that is larger than a file should be.
                (now, later) = whole_lines(rest, first_line(rest));
            }
            let Some(file) = &mut self.file else { return Ok(true) };
            file.write_all(now)?;
            self.size += now.len() as u64;
            rest = later;
        }
        Ok(true)
    }

    /// Has it all on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }

    /// Throws away what is too old by a clock that was not believed, if it has gone on since.
    pub(super) fn look_again(&mut self, now: u64) -> io::Result<()> {
        let Some((shown, at)) = self.doubt else { return Ok(()) };
        let elapsed = at.elapsed().as_secs();
        if now.abs_diff(shown.saturating_add(elapsed)) > DOUBT {
            self.doubt = Some((now, Instant::now()));
        } else if elapsed >= DOUBT {
            self.doubt = None;
            return self.tidy(now / DAY);
        }
        Ok(())
    }

    /// Opens the file of a day. What is too old goes, unless this day is later than the one that should come next: an event under a clock
    /// that is wrong must not end the journal.
    fn begin(&mut self, day: u64) -> io::Result<()> {
        let newest = files(&self.folder)?.pop();
        let next = newest.is_none_or(|newest| date(&newest) >= date(Path::new(&name(day.saturating_sub(1)))));
        self.open(day)?;
        if !next {
            self.doubt = Some((day * DAY, Instant::now()));
        } else if self.doubt.is_some_and(|(shown, _)| day < shown / DAY) {
            // It was set right.
            self.doubt = None;
        }
        self.tidy(day)
    }

    fn open(&mut self, day: u64) -> io::Result<()> {
        let path = self.folder.join(name(day));
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let mut size = file.seek(SeekFrom::End(0))?;
        // The last line of a process that was killed may have no end.
        if size > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != [b'\n'] {
                file.write_all(b"\n")?;
                size += 1;
            }
        }
        (self.file, self.day, self.size) = (Some(file), day, size);
        Ok(())
    }

    /// Puts the file aside under a name that stands in front of the day's, and begins another.
    fn end_part(&mut self) -> io::Result<()> {
        self.sync()?;
        let current = name(self.day);
        let number = |path: &PathBuf| {
            let name = path.file_name()?.to_str()?;
            name.get(DATE + 1..)?.strip_suffix(".jsonl")?.parse::<u64>().ok()
        };
        let parts = files(&self.folder)?;
        let parts = parts.iter().filter(|path| date(path) == date(Path::new(&current)));
        let next = parts.filter_map(number).max().map_or(1, |number| number + 1);
        let part = format!("{}.{next:010}.jsonl", date(Path::new(&current)));
        fs::rename(self.folder.join(&current), self.folder.join(part))?;
        self.open(self.day)?;
        self.tidy(self.day)
    }

    /// Throws away what is too old, unless the clock is not believed, and the oldest of what is too much; never what is being written.
    fn tidy(&self, today: u64) -> io::Result<()> {
        let oldest = name((today * DAY).saturating_sub(self.keep) / DAY);
        let oldest = date(Path::new(&oldest)).to_owned();
        // What is written may grow to its share.
        let mut room = self.largest.saturating_sub(self.share().max(self.size));
        for path in files(&self.folder)?.into_iter().rev() {
            if path.ends_with(name(self.day)) {
                continue;
            }
            let size = fs::metadata(&path)?.len();
            let old = self.doubt.is_none() && date(&path) < &*oldest;
            let fits = self.largest == 0 || size <= room;
            if fits && !old {
                room = room.saturating_sub(size);
            } else {
                room = 0;
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// How large a file becomes.
    fn share(&self) -> u64 {
        if self.largest == 0 { u64::MAX } else { (self.largest / SHARE).max(1) }
    }
}

/// As many whole lines as there is room for, and the rest.
fn whole_lines(lines: &[u8], room: u64) -> (&[u8], &[u8]) {
    let room = usize::try_from(room).unwrap_or(usize::MAX).min(lines.len());
    if room == lines.len() {
        return (lines, &[]);
    }
    let within = lines.get(..room).unwrap_or_default();
    let end = within.iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
    lines.split_at_checked(end).unwrap_or((lines, &[]))
}

fn first_line(lines: &[u8]) -> u64 {
    lines.iter().position(|octet| *octet == b'\n').map_or(lines.len(), |at| at + 1) as u64
}

/// The files of a journal, the oldest first: the parts of a day stand in front of what is written.
pub(super) fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The name of a day's file.
pub(super) fn name(day: u64) -> String {
    let moment = i64::try_from(day * DAY).ok().and_then(|seconds| DateTime::new(seconds, 0));
    let date = moment.unwrap_or(DateTime::EPOCH).date();
    format!("{:04}-{:02}-{:02}.jsonl", date.year(), date.month(), date.day())
}

/// The date in the name of a file.
fn date(path: &Path) -> &str {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.get(..DATE).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LINE: &[u8] = b"{\"at\":1,\"what\":\"x\",\"id\":\"1D\"}\n";

    fn names(folder: &Path) -> Vec<String> {
        let shown = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        files(folder).unwrap().into_iter().map(shown).collect()
    }

    fn of(folder: &Path, days: u64, largest: u64) -> Files {
        Files::new(folder.to_owned(), days * DAY, largest)
    }

    #[test]
    fn a_day_has_a_file_and_old_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = of(folder.path(), 3, 0);
        for day in 20_000..20_010 {
            journal.write(day, LINE).unwrap();
        }
        let expected = ["2024-10-10.jsonl", "2024-10-11.jsonl", "2024-10-12.jsonl", "2024-10-13.jsonl"];
        assert_eq!(names(folder.path()), expected);
        journal.close();
        // No more than there is room for, but always today's.
        journal.largest = 1;
        journal.write(20_009, LINE).unwrap();
        assert_eq!(names(folder.path()), ["2024-10-13.jsonl"]);
        assert_eq!(fs::read(folder.path().join("2024-10-13.jsonl")).unwrap(), LINE);
    }

    #[test]
    fn a_day_has_no_more_than_all_may_have() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = of(folder.path(), 3, 2_000);
        journal.write(20_000, LINE).unwrap();
        let line = |number: u64| format!("{{\"at\":{number:06}}}\n");
        let size = |folder: &Path| -> u64 {
            files(folder).unwrap().iter().map(|path| fs::metadata(path).unwrap().len()).sum()
        };
        for number in 0..500 {
            // Alone, and many at a time.
            let lines: String = (0..=number % 7).map(|part| line(number * 10 + part)).collect();
            journal.write(20_001, lines.as_bytes()).unwrap();
            assert!(size(folder.path()) <= 2_000, "{}", size(folder.path()));
        }
        assert!(size(folder.path()) > 1_500, "{}", size(folder.path()));
        // What is there are the last lines, in their order, and whole.
        let mut text = Vec::new();
        files(folder.path()).unwrap().iter().for_each(|path| text.extend(fs::read(path).unwrap()));
        let all: String =
            (0..500).flat_map(|number| (0..=number % 7).map(move |part| line(number * 10 + part))).collect();
        let text = String::from_utf8(text).unwrap();
        assert!(all.ends_with(&text) && text.starts_with('{'), "{text}");
        // One line is written whole, and one process goes on where another has ended.
        journal.write(20_001, &[&[b'x'; 5_000][..], b"\n"].concat()).unwrap();
        let mut journal = of(folder.path(), 3, 2_000);
        journal.write(20_001, LINE).unwrap();
        assert_eq!(fs::read(folder.path().join(name(20_001))).unwrap(), LINE);
        assert!(size(folder.path()) <= 2_000);
        // The parts of a day go with it.
        for _ in 0..40 {
            journal.write(20_001, LINE).unwrap();
        }
        assert!(names(folder.path()).len() > 3);
        for day in 20_002..20_006 {
            journal.write(day, LINE).unwrap();
        }
        assert!(
            names(folder.path()).iter().all(|name| **name >= *"2024-10-06"),
            "{:?}",
            names(folder.path())
        );
    }

    #[test]
    fn one_event_under_a_clock_that_is_ahead_ends_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = of(folder.path(), 14, 0);
        journal.write(20_000, LINE).unwrap();
        journal.write(20_040, LINE).unwrap();
        let both = [name(20_000), name(20_040)];
        assert_eq!(names(folder.path()), both);
        // It is set right again.
        journal.write(20_000, LINE).unwrap();
        journal.look_again(20_000 * DAY).unwrap();
        assert_eq!(names(folder.path()), both);
        drop(journal);
        // It goes on: then it was right, and the server did nothing for a while.
        let mut journal = of(folder.path(), 14, 0);
        journal.write(20_090, LINE).unwrap();
        assert_eq!(names(folder.path()).len(), 3);
        journal.look_again(20_090 * DAY + 5).unwrap();
        assert_eq!(names(folder.path()).len(), 3, "it was looked at a moment ago");
        let past = Instant::now().checked_sub(Duration::from_secs(DOUBT)).unwrap();
        journal.doubt = Some((20_090 * DAY, past));
        journal.look_again(20_050 * DAY).unwrap();
        assert_eq!(names(folder.path()).len(), 3, "it was set right meanwhile");
        journal.doubt = Some((20_090 * DAY, past));
        journal.look_again(20_090 * DAY + DOUBT).unwrap();
        assert_eq!(names(folder.path()), [name(20_090)]);
    }

    #[test]
    fn a_line_without_end_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(name(20_000)), "{\"at\":1,\"wh").unwrap();
        let mut journal = of(folder.path(), 1, 0);
        journal.write(20_000, LINE).unwrap();
        drop(journal);
        let text = fs::read_to_string(folder.path().join(name(20_000))).unwrap();
        let (torn, whole) = text.split_once('\n').unwrap();
        assert_eq!(torn, "{\"at\":1,\"wh");
        assert_eq!(whole.as_bytes(), LINE);
    }
}
