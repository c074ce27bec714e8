//! Files of many messages, such as `/var/mail/alice`: one that is safe to append to while others read and deliver, and a
//! reader for those that are to be taken over.
//!
//! The format is mboxrd: a line `From sender date`, the message with LF at the end of each line, an empty line. A line of the
//! message that begins with `From `, after any number of `>`, gets one `>` more, and loses it when it is read.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use mailwright_mail_model::DateTime;
use rustix::fs::{FlockOperation, OFlags, fchown, fcntl_lock};
use rustix::process::{Gid, Uid, geteuid};

use crate::maildir::dot_lock::DotLock;
use crate::maildir::{failed, file_name};
use crate::signal::lock;
use crate::{Result, StoreError};

mod deliver;
mod from_line;
mod read;
#[cfg(test)]
mod tests;

pub use deliver::MboxStore;
pub use read::{FromLine, Piece, Reader};

/// One file of messages, to be appended to.
///
/// A delivery is locked as Debian's policy (§11.6) has it: by `fcntl`, then by `FILE.lock`. It is there whole and durable when
/// [`append`](Self::append) returns, and not at all if that fails. Symbolic and hard links are refused, and so is
/// a file of another owner, so that a directory all may write to is safe.
///
/// ```
/// use mailwright_mail_model::DateTime;
/// use mailwright_mailstore::mbox::Mbox;
///
/// # let directory = tempfile::tempdir()?;
/// let mbox = Mbox::new(directory.path().join("alice"));
/// let message = b"Subject: hi\r\n\r\nFrom here on\r\n";
/// mbox.append("bob@example.net", DateTime::EPOCH, &message[..])?;
/// assert_eq!(
///     std::fs::read_to_string(directory.path().join("alice"))?,
///     "From bob@example.net Thu Jan  1 00:00:00 1970\nSubject: hi\n\n>From here on\n\n"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Mbox {
    path: PathBuf,
    owner: Option<(u32, u32)>,
    patience: Duration,
}

/// The line that begins a message.
const FROM: &[u8] = b"From ";
/// Deliveries of this process to one file take turns here: `fcntl` knows processes only, and forgets the lock as
/// soon as any of them closes the file.
static TURNS: [Mutex<()>; 64] = [const { Mutex::new(()) }; 64];

impl Mbox {
    /// The file at this path, which is made with mode 0600 if it does not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), owner: None, patience: Duration::from_secs(60) }
    }

    /// The same file, which belongs to this user and group, by their numbers. Only root can make a file for somebody else.
    #[must_use]
    pub const fn owned_by(mut self, user: u32, group: u32) -> Self {
        self.owner = Some((user, group));
        self
    }

    /// The same file, whose locks are waited for so long: one minute if nothing is said.
    #[must_use]
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Appends a message, whose lines end with CRLF or LF. `sender` is the reverse-path, empty if it is null. Blocks.
    ///
    /// # Errors
    /// [`Denied`](StoreError::Denied) if the file is not one that may be written to, [`Full`](StoreError::Full) and
    /// [`OverQuota`](StoreError::OverQuota) if there is no room,
    /// [`Unavailable`](StoreError::Unavailable) if it is locked for too long or the system fails.
    pub fn append(&self, sender: &str, date: DateTime, message: impl Read) -> Result<()> {
        let _turn = TURNS.get(self.turn()).map(lock);
        let appending = self.begin()?;
        let done = appending.write(sender, date, message).and_then(|()| appending.sync());
        if done.is_err() {
            appending.undo();
        }
        done
    }

    /// Locks the file.
    fn begin(&self) -> Result<Appending<'_>> {
        let file = self.open()?;
        let lock = self.lock(&file)?;
        let before = self.check(&file)?.len();
        Ok(Appending { path: &self.path, file, before, _lock: lock })
    }

    fn turn(&self) -> usize {
        let octets = self.path.as_os_str().as_encoded_bytes();
        octets.iter().fold(7_usize, |hash, octet| hash.wrapping_mul(31).wrapping_add(usize::from(*octet)))
            % 64
    }

    fn open(&self) -> Result<File> {
        let mut options = OpenOptions::new();
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        options.read(true).append(true).mode(0o600).custom_flags(flags.bits().cast_signed());
        match options.create_new(true).open(&self.path) {
            Ok(file) => {
                if let Some((user, group)) = self.owner.filter(|(user, _)| *user != geteuid().as_raw()) {
                    let given = fchown(&file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
                    if let Err(error) = given {
                        let _removed = fs::remove_file(&self.path);
                        return Err(failed(&self.path, &error.into()));
                    }
                }
                Ok(file)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                options.create_new(false).open(&self.path).map_err(|error| match error.raw_os_error() {
                    // What O_NOFOLLOW says of a symbolic link.
                    Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => StoreError::Denied,
                    _ => failed(&self.path, &error),
                })
            }
            Err(error) => Err(failed(&self.path, &error)),
        }
    }

    /// Whether the file is what it should be, and still has its name.
    fn check(&self, file: &File) -> Result<fs::Metadata> {
        let error = |error| failed(&self.path, &error);
        let (open, named) =
            (file.metadata().map_err(error)?, fs::symlink_metadata(&self.path).map_err(error)?);
        let owner = self.owner.map_or_else(|| geteuid().as_raw(), |(user, _)| user);
        if !open.is_file() || open.nlink() != 1 || open.uid() != owner {
            return Err(StoreError::Denied);
        }
        if (open.dev(), open.ino()) != (named.dev(), named.ino()) {
            return Err(StoreError::Unavailable(format!("{} was replaced", self.path.display())));
        }
        Ok(open)
    }

    fn lock(&self, file: &File) -> Result<DotLock> {
        let (began, mut pause) = (Instant::now(), Duration::from_millis(1));
        loop {
            match fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => {
                    if began.elapsed() > self.patience {
                        let path = self.path.display();
                        return Err(StoreError::Unavailable(format!("another program has {path} locked")));
                    }
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(50));
                }
                Err(error) => return Err(failed(&self.path, &error.into())),
            }
        }
        let mut name = self.path.clone().into_os_string();
        name.push(".lock");
        DotLock::acquire(name.into(), &file_name::host(), self.patience)
    }
}

/// A file that is locked.
#[derive(Debug)]
struct Appending<'a> {
    path: &'a Path,
    file: File,
    /// Its size before.
    before: u64,
    _lock: DotLock,
}

impl Appending<'_> {
    fn write(&self, sender: &str, date: DateTime, message: impl Read) -> Result<()> {
        let size = self.file.metadata().map(|data| data.len());
        let written = size.and_then(|size| write(&self.file, size, sender, date, message));
        written.map_err(|error| failed(self.path, &error))
    }

    /// Makes what was written last.
    fn sync(&self) -> Result<()> {
        let error = |error| failed(self.path, &error);
        self.file.sync_all().map_err(error)?;
        if self.before == 0
            && let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty())
        {
            // The name may be new too.
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(error)?;
        }
        Ok(())
    }

    /// Takes back what was written: what there is of it must not be taken for a message.
    fn undo(&self) {
        let _as_far_as_can_be = self.file.set_len(self.before).and_then(|()| self.file.sync_all());
    }
}

fn write(file: &File, before: u64, sender: &str, date: DateTime, message: impl Read) -> std::io::Result<()> {
    let mut out = BufWriter::with_capacity(64 << 10, file);
    // An empty line is before each message, also if the one before was cut off.
    let mut end = [b'\n'; 2];
    let known = before.min(2);
    let tail = end.get_mut(2 - usize::try_from(known).unwrap_or_default()..).unwrap_or_default();
    file.read_exact_at(tail, before - known)?;
    match end {
        _ if before == 0 => {}
        [b'\n', b'\n'] => {}
        [_, b'\n'] => out.write_all(b"\n")?,
        _ => out.write_all(b"\n\n")?,
    }
    write_message(&mut out, sender, date, message)?;
    out.flush()
}

/// Writes a message, whose lines end with CRLF or LF, as it stands in a file of many: behind nothing, or behind another one. `sender` is
/// the reverse-path, empty if it is null.
///
/// # Errors
/// If the message cannot be read, or `out` cannot be written to.
pub fn write_message(
    mut out: impl Write,
    sender: &str,
    date: DateTime,
    message: impl Read,
) -> std::io::Result<()> {
    writeln!(out, "From {} {}", plain(sender), moment(date))?;
    let mut message = BufReader::with_capacity(64 << 10, message);
    let mut quote = Quote::default();
    loop {
        let octets = message.fill_buf()?;
        if octets.is_empty() {
            break;
        }
        let length = octets.len();
        quote.write(octets, &mut out)?;
        message.consume(length);
    }
    quote.finish(&mut out)
}

/// Takes the CR from CRLF, and puts a `>` before lines that would begin a message.
#[derive(Debug, Default)]
struct Quote {
    /// What the line began with, as long as it can become `>From `. `None` once it is known.
    beginning: Option<Vec<u8>>,
    started: bool,
    after_cr: bool,
}

/// More `>` than this before `From ` are not looked through.
const DEEPEST: usize = 1_000;

impl Quote {
    fn write(&mut self, octets: &[u8], out: &mut impl Write) -> std::io::Result<()> {
        if !self.started {
            (self.started, self.beginning) = (true, Some(Vec::new()));
        }
        for octet in octets {
            if self.after_cr && *octet != b'\n' {
                self.put(b'\r', out)?;
            }
            self.after_cr = *octet == b'\r';
            if !self.after_cr {
                self.put(*octet, out)?;
            }
        }
        Ok(())
    }

    fn put(&mut self, octet: u8, out: &mut impl Write) -> std::io::Result<()> {
        if let Some(beginning) = &mut self.beginning {
            beginning.push(octet);
            let word = beginning.iter().position(|octet| *octet != b'>').unwrap_or(beginning.len());
            let word = beginning.get(word..).unwrap_or_default();
            if word == FROM {
                out.write_all(b">")?;
            } else if FROM.starts_with(word) && beginning.len() < DEEPEST {
                return Ok(());
            }
            out.write_all(beginning)?;
            self.beginning = None;
        } else {
            out.write_all(&[octet])?;
        }
        if octet == b'\n' {
            self.beginning = Some(Vec::new());
        }
        Ok(())
    }

    /// Ends the last line, and puts an empty one behind it.
    fn finish(&mut self, out: &mut impl Write) -> std::io::Result<()> {
        if self.after_cr {
            self.after_cr = false;
            self.put(b'\r', out)?;
        }
        let at_start =
            self.beginning.as_ref().is_none_or(Vec::is_empty) && (!self.started || self.beginning.is_some());
        if let Some(beginning) = self.beginning.take() {
            out.write_all(&beginning)?;
        }
        out.write_all(if at_start { b"\n" } else { b"\n\n" })
    }
}

/// An address as it can be in a `From ` line.
fn plain(sender: &str) -> String {
    if sender.is_empty() {
        return "MAILER-DAEMON".into();
    }
    sender
        .chars()
        .map(|letter| if letter.is_whitespace() || letter.is_control() { '-' } else { letter })
        .collect()
}

/// A time as C's `asctime` writes it, in UTC: `Thu Jan  1 00:00:00 1970`.
fn moment(date: DateTime) -> String {
    let utc = DateTime::new(date.seconds(), 0).unwrap_or(DateTime::EPOCH);
    // `Thu, 01 Jan 1970 00:00:00 +0000`
    let text = utc.to_rfc5322();
    let mut words = text.split([' ', ',']).filter(|word| !word.is_empty());
    let mut next = || words.next().unwrap_or_default();
    let (weekday, day, month, year, time) = (next(), next(), next(), next(), next());
    format!("{weekday} {month} {:>2} {time} {year}", day.trim_start_matches('0'))
}
