//! The thread that writes the journal, and throws away what is too old or too much.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError},
    thread,
    time::{Duration, Instant},
};

use mailwright::mail_model::DateTime;

use super::{FOLDER, Record};
use crate::{config::Trace, first_run::make_private};

/// How many events may wait to be written. Who has one more waits for the disk.
const WAITING: usize = 16_384;
/// How often what was written is made safe from a power cut.
const SYNC: Duration = Duration::from_secs(10);
/// For how long to wait for more after an event, so that not every one wakes the thread: a delivery alone makes three.
const GATHER: Duration = Duration::from_millis(5);
const DAY: u64 = 86_400_000;

/// By which events are handed to the thread.
#[derive(Clone)]
pub(crate) struct Pen(SyncSender<Message>);

enum Message {
    Record(Record),
    /// All that came before is to be on the disk.
    Sync(SyncSender<()>),
}

impl Pen {
    pub(super) fn write(&self, record: Record) {
        match self.0.try_send(Message::Record(record)) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            // A journal with holes would be worse than a moment's wait.
            Err(TrySendError::Full(message)) => drop(self.0.send(message)),
        }
    }

    /// Waits until all is written.
    pub(crate) fn finish(&self) {
        let (done, written) = mpsc::sync_channel(1);
        if self.0.send(Message::Sync(done)).is_ok() {
            let _ended = written.recv_timeout(SYNC);
        }
    }
}

/// Begins a journal in a data directory; none if none is kept.
pub(crate) fn begin(data: &Path, options: &Trace) -> io::Result<Option<Pen>> {
    if options.keep.is_never() {
        return Ok(None);
    }
    let folder = data.join(FOLDER);
    make_private(&folder)?;
    let (pen, events) = mpsc::sync_channel(WAITING);
    let keep = options.keep.seconds().saturating_mul(1_000);
    let journal = Journal { folder, keep, largest: options.largest, file: None, day: 0, dirty: false };
    thread::Builder::new().name("trace".into()).spawn(move || journal.run(&events))?;
    Ok(Some(Pen(pen)))
}

struct Journal {
    folder: PathBuf,
    /// In milliseconds.
    keep: u64,
    /// In octets.
    largest: u64,
    file: Option<BufWriter<File>>,
    day: u64,
    dirty: bool,
}

impl Journal {
    fn run(mut self, events: &Receiver<Message>) {
        let mut synced = Instant::now();
        loop {
            let mut next = match events.recv_timeout(SYNC) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if matches!(next, Some(Message::Record(_))) {
                thread::sleep(GATHER);
            }
            let mut waiting = Vec::new();
            while let Some(message) = next {
                match message {
                    Message::Record(record) => self.tell(|journal| journal.write(&record)),
                    Message::Sync(done) => waiting.push(done),
                }
                next = events.try_recv().ok();
            }
            // To the system, so that the end of the process loses nothing; to the disk from time to time.
            self.tell(|journal| journal.file.as_mut().map_or(Ok(()), Write::flush));
            if self.dirty && (synced.elapsed() >= SYNC || !waiting.is_empty()) {
                self.tell(|journal| journal.file.as_ref().map_or(Ok(()), |file| file.get_ref().sync_data()));
                (self.dirty, synced) = (false, Instant::now());
            }
            for done in &waiting {
                let _gone = done.try_send(());
            }
        }
    }

    /// What cannot be written must not stop mail.
    fn tell(&mut self, act: impl FnOnce(&mut Self) -> io::Result<()>) {
        if let Err(error) = act(self) {
            self.file = None;
            tracing::error!(%error, folder = %self.folder.display(), "the trace cannot be written");
        }
    }

    fn write(&mut self, record: &Record) -> io::Result<()> {
        let day = record.at / DAY;
        if self.file.is_none() || day != self.day {
            (self.file, self.day) = (Some(BufWriter::new(self.open(day)?)), day);
            self.tidy(record.at)?;
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        serde_json::to_writer(&mut *file, record)?;
        self.dirty = true;
        file.write_all(b"\n")
    }

    fn open(&self, day: u64) -> io::Result<File> {
        let path = self.folder.join(name(day));
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        // The last line of a process that was killed may have no end.
        if file.seek(SeekFrom::End(0))? > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != [b'\n'] {
                file.write_all(b"\n")?;
            }
        }
        Ok(file)
    }

    /// Throws away what is too old, and the oldest of what is too much; never what is being written.
    fn tidy(&self, now: u64) -> io::Result<()> {
        let oldest = name(now.saturating_sub(self.keep) / DAY);
        let mut room = self.largest;
        for path in files(&self.folder)?.into_iter().rev() {
            let size = fs::metadata(&path)?.len();
            let today = path.ends_with(name(now / DAY));
            let old = path.file_name().is_some_and(|found| *found < *oldest);
            let fits = self.largest == 0 || size <= room;
            if today || (fits && !old) {
                room = room.saturating_sub(size);
            } else {
                room = 0;
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }
}

/// The files of a journal, the oldest first.
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
fn name(day: u64) -> String {
    let moment = i64::try_from(day * 86_400).ok().and_then(|seconds| DateTime::new(seconds, 0));
    let date = moment.unwrap_or(DateTime::EPOCH).date();
    format!("{:04}-{:02}-{:02}.jsonl", date.year(), date.month(), date.day())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(at: u64) -> Record {
        Record { at, what: "x".into(), fields: [("id".to_owned(), "1D".to_owned())].into() }
    }

    #[test]
    fn a_day_has_a_file_and_old_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal {
            folder: folder.path().to_owned(),
            keep: 3 * DAY,
            largest: 0,
            file: None,
            day: 0,
            dirty: false,
        };
        for day in 20_000..20_010 {
            journal.write(&record(day * DAY + 7)).unwrap();
        }
        let names = |folder: &Path| -> Vec<String> {
            let shown = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
            files(folder).unwrap().into_iter().map(shown).collect()
        };
        let expected = ["2024-10-10.jsonl", "2024-10-11.jsonl", "2024-10-12.jsonl", "2024-10-13.jsonl"];
        assert_eq!(names(folder.path()), expected);
        drop(journal.file.take());
        // No more than there is room for, but always today's.
        journal.largest = 1;
        journal.write(&record(20_009 * DAY)).unwrap();
        assert_eq!(names(folder.path()), ["2024-10-13.jsonl"]);
    }

    #[test]
    fn a_line_without_end_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(name(20_000)), "{\"at\":1,\"wh").unwrap();
        let mut journal = Journal {
            folder: folder.path().to_owned(),
            keep: DAY,
            largest: 0,
            file: None,
            day: 0,
            dirty: false,
        };
        journal.write(&record(20_000 * DAY)).unwrap();
        drop(journal);
        let text = fs::read_to_string(folder.path().join(name(20_000))).unwrap();
        let (torn, whole) = text.split_once('\n').unwrap();
        assert_eq!(torn, "{\"at\":1,\"wh");
        assert_eq!(serde_json::from_str::<Record>(whole).unwrap(), record(20_000 * DAY));
    }
}
