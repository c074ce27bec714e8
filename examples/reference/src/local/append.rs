//! Files that messages are appended to, as they are in `/var/mail`, and Maildirs.

use std::{
    io::{self, Read},
    path::Path,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::{Buf, Bytes};
use mailwright::{mail_model::DateTime, mailstore::mbox::Mbox, relay_policy::delivery::Diagnosis};
use tokio::{
    io::AsyncReadExt,
    process::Command,
    sync::mpsc::{self, Receiver, Sender},
};

use super::{Acting, Content, Facts, later, maildir, program};

/// How long others' locks are waited for.
const LOCKED: Duration = Duration::from_secs(60);
/// How long a delivery may take in all.
const PATIENCE: Duration = Duration::from_secs(600);
/// How much of the message is read at a time.
const CHUNK: usize = 64 * 1024;
/// `sysexits.h`: to be tried again.
const TEMPORARY: u8 = 75;

/// Appends a message to a file, with the rights of a user.
pub(super) async fn deliver(
    path: &Path,
    facts: &Facts,
    user: Acting,
    body: Content<'_>,
) -> Result<(), Diagnosis> {
    // What everybody writes to whom mail is nothing.
    if path == Path::new("/dev/null") {
        return Ok(());
    }
    let failed = |error: &dyn std::fmt::Display| later((2, 0), format!("{}: {error}", path.display()));
    if user.switch.is_some() {
        // Rights are a process's, so that another one has to do it.
        let ours = std::env::current_exe().map_err(|error| failed(&error))?;
        let mut command = Command::new(&ours);
        command.arg("append").arg(path).arg(&facts.sender).env_clear().current_dir("/");
        program::switch(&mut command, &user);
        let run = program::Run { program: &ours, arguments: &[], patience: PATIENCE };
        return run.wait_for(command, facts, body).await;
    }
    let (pieces, waiting) = mpsc::channel(4);
    let (path, sender) = (path.to_owned(), facts.sender.clone());
    let writing = tokio::task::spawn_blocking(move || {
        let octets = Pieces { waiting, piece: Bytes::new(), ended: false };
        append_to(&path, &sender, octets).map_err(|error| later((2, 0), error))
    });
    send(&pieces, facts, body).await;
    drop(pieces);
    writing.await.map_err(|error| failed(&error))?
}

/// `append`: the same in a process that has taken on a user's rights. The message is the standard input.
pub(crate) fn run(path: &Path, sender: &str) -> ExitCode {
    match append_to(path, sender, io::stdin().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(TEMPORARY)
        }
    }
}

fn append_to(path: &Path, sender: &str, message: impl Read) -> Result<(), String> {
    if maildir::is_meant(path) {
        return maildir::deliver(path, message).map_err(|error| format!("{}: {error}", path.display()));
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now =
        i64::try_from(since).ok().and_then(|seconds| DateTime::new(seconds, 0)).unwrap_or(DateTime::EPOCH);
    let mbox = Mbox::new(path).patience(LOCKED);
    mbox.append(sender, now, message).map_err(|error| format!("{}: {error}", path.display()))
}

/// Passes the message on in pieces, or the error that ends it.
async fn send(pieces: &Sender<io::Result<Bytes>>, facts: &Facts, mut body: Content<'_>) {
    let mut piece = Bytes::from(facts.fields.clone());
    loop {
        // Whoever writes has stopped, and says why.
        if pieces.send(Ok(piece)).await.is_err() {
            return;
        }
        let mut buffer = vec![0; CHUNK];
        piece = match body.read(&mut buffer).await {
            Ok(0) => {
                let _ = pieces.send(Ok(Bytes::new())).await;
                return;
            }
            Ok(count) => {
                buffer.truncate(count);
                buffer.into()
            }
            Err(error) => {
                let _ = pieces.send(Err(error)).await;
                return;
            }
        };
    }
}

/// What comes through a channel, for who blocks. Only an empty piece is its end: a channel that breaks off is an error.
struct Pieces {
    waiting: Receiver<io::Result<Bytes>>,
    piece: Bytes,
    ended: bool,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() && !self.ended {
            self.piece =
                self.waiting.blocking_recv().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))?;
            self.ended = self.piece.is_empty();
        }
        let length = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(buffer.get_mut(..length).unwrap_or_default());
        Ok(length)
    }
}
