//! The thread that writes the journal.

use std::{
    io,
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{self, SyncSender},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{FOLDER, files::Files};
use crate::{config::Trace, first_run::make_private};

/// How many octets may wait to be written. Who has more waits for the disk.
const WAITING: usize = 4 << 20;
/// How much of that a buffer keeps for the next time.
const KEPT: usize = 64 << 10;
/// How often what was written is made safe from a power cut.
const SYNC: Duration = Duration::from_secs(10);
/// How long lines are gathered before they are written, so that not every event wakes the thread: a delivery alone makes five.
const GATHER: Duration = Duration::from_millis(5);
const DAY: u64 = 86_400_000;

/// By which lines are handed to the thread. It ends when the last one is gone.
#[derive(Clone)]
pub(crate) struct Pen(Arc<Held>);

struct Held(Arc<Desk>);

impl Drop for Held {
    fn drop(&mut self) {
        lock(&self.0.heap).closed = true;
        self.0.news.notify_one();
    }
}

/// Where lines wait for the thread.
#[derive(Default)]
struct Desk {
    heap: Mutex<Heap>,
    /// For the thread: there is something.
    news: Condvar,
    /// For those who wait: there is room.
    room: Condvar,
}

#[derive(Default)]
struct Heap {
    /// Whole lines, and the day that they are of.
    lines: Vec<u8>,
    day: u64,
    /// Those of other days, which came before.
    earlier: Vec<(u64, Vec<u8>)>,
    /// How many octets all of them have.
    octets: usize,
    /// Who waits until all is on the disk.
    waiting: Vec<SyncSender<()>>,
    /// Whether the thread waits for news: only then it is to be woken.
    idle: bool,
    closed: bool,
}

impl Heap {
    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.earlier.is_empty()
    }
}

impl Pen {
    /// Hands on the line of an event of this moment, in milliseconds since 1970.
    pub(super) fn write(&self, at: u64, line: &[u8]) {
        let desk = &self.0.0;
        let mut heap = lock(&desk.heap);
        // A journal with holes would be worse than a moment's wait.
        while heap.octets >= WAITING {
            heap = desk.room.wait(heap).unwrap_or_else(PoisonError::into_inner);
        }
        let day = at / DAY;
        if day != heap.day && !heap.lines.is_empty() {
            let before = (heap.day, std::mem::take(&mut heap.lines));
            heap.earlier.push(before);
        }
        heap.day = day;
        heap.octets += line.len();
        heap.lines.extend_from_slice(line);
        desk.wake(heap);
    }

    /// Waits until all is written.
    pub(crate) fn finish(&self) {
        let (done, written) = mpsc::sync_channel(1);
        let mut heap = lock(&self.0.0.heap);
        heap.waiting.push(done);
        self.0.0.wake(heap);
        let _ended = written.recv_timeout(SYNC);
    }
}

impl Desk {
    fn wake(&self, mut heap: MutexGuard<'_, Heap>) {
        let idle = std::mem::take(&mut heap.idle);
        drop(heap);
        if idle {
            self.news.notify_one();
        }
    }

    /// Waits for something to do, or for a while; whether lines have come.
    fn wait(&self) -> bool {
        let waits = |heap: &mut Heap| {
            heap.idle = heap.is_empty() && heap.waiting.is_empty() && !heap.closed;
            heap.idle
        };
        let (heap, slept) = (lock(&self.heap), Instant::now());
        let (mut heap, _) =
            self.news.wait_timeout_while(heap, SYNC, waits).unwrap_or_else(PoisonError::into_inner);
        heap.idle = false;
        heap.waiting.is_empty() && !heap.is_empty() && slept.elapsed() >= GATHER
    }

    /// Takes what there is in exchange for an empty heap.
    fn take(&self, empty: &mut Heap) {
        let mut heap = lock(&self.heap);
        (empty.day, empty.closed) = (heap.day, heap.closed);
        std::mem::swap(&mut *heap, empty);
        drop(heap);
        if empty.octets >= WAITING {
            self.room.notify_all();
        }
    }
}

fn lock(heap: &Mutex<Heap>) -> MutexGuard<'_, Heap> {
    heap.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins a journal in a data directory; none if none is kept.
pub(crate) fn begin(data: &Path, options: &Trace) -> io::Result<Option<Pen>> {
    if options.keep.is_never() {
        return Ok(None);
    }
    let folder = data.join(FOLDER);
    make_private(&folder)?;
    let desk = Arc::new(Desk::default());
    let pen = Pen(Arc::new(Held(Arc::clone(&desk))));
    let files = Files::new(folder, options.keep.seconds(), options.largest);
    let journal = Journal { files, dirty: false };
    thread::Builder::new().name("trace".into()).spawn(move || journal.run(&desk))?;
    Ok(Some(pen))
}

struct Journal {
    files: Files,
    dirty: bool,
}

impl Journal {
    fn run(mut self, desk: &Desk) {
        let (mut synced, mut heap) = (Instant::now(), Heap::default());
        loop {
            if desk.wait() {
                thread::sleep(GATHER);
            }
            desk.take(&mut heap);
            let quiet = heap.is_empty();
            for (day, lines) in heap.earlier.drain(..) {
                self.tell(|files| files.write(day, &lines));
            }
            let (day, lines) = (heap.day, &heap.lines);
            self.tell(|files| files.write(day, lines));
            heap.octets = 0;
            heap.lines.clear();
            heap.lines.shrink_to(KEPT);
            if self.dirty && (synced.elapsed() >= SYNC || !heap.waiting.is_empty()) {
                self.tell(|files| files.sync().map(|()| false));
                (self.dirty, synced) = (false, Instant::now());
            }
            self.tell(|files| files.look_again(unix_time()).map(|()| false));
            for done in heap.waiting.drain(..) {
                let _gone = done.try_send(());
            }
            if std::mem::take(&mut heap.closed) && quiet {
                return;
            }
            // While there is something all the time, nobody wakes this thread.
            if !quiet {
                thread::sleep(GATHER);
            }
        }
    }

    /// What cannot be written must not stop mail.
    fn tell(&mut self, act: impl FnOnce(&mut Files) -> io::Result<bool>) {
        match act(&mut self.files) {
            Ok(written) => self.dirty |= written,
            Err(error) => {
                self.files.close();
                tracing::error!(%error, folder = %self.files.folder().display(), "the trace cannot be written");
            }
        }
    }
}

fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{super::files::name, *};

    const LINE: &[u8] = b"{\"at\":1,\"what\":\"x\",\"id\":\"1D\"}\n";

    #[test]
    fn lines_of_two_days_go_into_two_files_and_all_is_there_at_the_end() {
        const MANY: u64 = 40_000;
        let data = tempfile::tempdir().unwrap();
        let options = Trace { largest: 0, ..Trace::default() };
        let pen = begin(data.path(), &options).unwrap().unwrap();
        let now = unix_time() * 1_000;
        let today = now / DAY * DAY;
        pen.write(today - 1, LINE);
        // More than may wait at a time, from several.
        thread::scope(|scope| {
            for _ in 0..4 {
                let pen = pen.clone();
                scope.spawn(move || (0..MANY / 4).for_each(|_| pen.write(today, &[b'x'; 200])));
            }
        });
        pen.finish();
        let folder = data.path().join(FOLDER);
        assert_eq!(fs::read(folder.join(name(now / DAY - 1))).unwrap(), LINE);
        assert_eq!(fs::metadata(folder.join(name(now / DAY))).unwrap().len(), MANY * 200);
        // The thread ends with the last pen, and has written all.
        let desk = Arc::downgrade(&pen.0.0);
        pen.write(now, LINE);
        drop(pen);
        let begun = Instant::now();
        while desk.strong_count() > 0 {
            assert!(begun.elapsed() < SYNC, "the thread goes on");
            thread::sleep(GATHER);
        }
        assert!(fs::read(folder.join(name(now / DAY))).unwrap().ends_with(LINE));
    }
}
