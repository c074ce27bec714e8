//! Programs that scripts start: `pipe`, `filter` and `execute` of Pigeonhole (spec-bosch-sieve-extprograms).

use std::{
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use bytes::Bytes;
use mailwright_mail_model::mime::Structure;
use mailwright_mailstore::Upload;
use mailwright_sieve::{Message, ProgramOutput};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::Child,
    time::timeout,
};

use super::octets::{Octets, Sources};
use crate::{
    imap::Describer,
    program::{ProcessGroup, program},
};

/// How much is read from a program at once, in octets.
const PIECE: usize = 64 << 10;
/// So much of what a program says on its standard error is told in the log, in octets.
const COMPLAINT: u64 = 1 << 10;
/// So much of what a program says is taken into a variable, in octets; variables themselves hold no more.
pub(super) const TEXT: u64 = 64 << 10;

/// The programs that scripts may start. None is started but those in the folder, none by a shell, and each without the
/// environment of the server.
///
/// A program gets the script's arguments as its own, and in its environment `PATH`, `USER` (the account), `HOST`, and as far as
/// they are known `SENDER` and `RECIPIENT`. It runs as the server does, in a process group of its own, which is killed
/// when its time is over.
///
/// ```
/// use mailwright::filter::{FilterOptions, Programs};
///
/// let mut options = FilterOptions::default();
/// assert!(options.language().compile(b"require \"vnd.dovecot.pipe\"; pipe \"printer\";").is_err());
/// options.programs = Some(Programs::new("/usr/local/lib/sieve"));
/// assert!(options.language().compile(b"require \"vnd.dovecot.pipe\"; pipe \"printer\";").is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Programs {
    /// The folder they are in, not below it: files that may be executed, whose names do not begin with a dot.
    pub folder: PathBuf,
    /// How long one may take; 10 seconds.
    pub time: Duration,
    /// The longest message that `filter` takes from one, in octets; 50 MiB.
    pub message: u64,
    /// Whether only the server's scripts may start them: those before and after the users', the default one, and those that
    /// users' scripts include as `:global`.
    pub server_only: bool,
}

impl Programs {
    /// Those in a folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), time: Duration::from_secs(10), message: 50 << 20, server_only: false }
    }

    /// The file of a program, if there is one.
    fn find(&self, name: &str) -> Option<PathBuf> {
        // The language has looked at the name too; this must hold whatever asks.
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
            return None;
        }
        let path = self.folder.join(name);
        let file = path.metadata().ok().filter(|file| file.is_file())?;
        (file.permissions().mode() & 0o111 != 0).then_some(path)
    }

    /// Runs a program to its end, or until its time is over.
    pub(super) async fn run(
        &self,
        call: Call<'_>,
        input: Input<'_>,
        sources: &mut Sources<'_>,
        output: &mut Output,
    ) -> Ran {
        let Some(path) = self.find(call.program) else { return Ran::Unknown };
        let mut child = match start(&path, &call, matches!(output, Output::Nothing)) {
            Ok(child) => child,
            Err(error) => {
                tracing::error!(id = call.id, program = call.program, %error, "a program of a sieve script cannot be started");
                return Ran::Aborted;
            }
        };
        let group = ProcessGroup::of(&child);
        let mut complaint = Vec::new();
        let talk = async {
            let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
            let fed = async {
                let Some(mut stdin) = stdin else { return Ok(group) };
                // Dropped before the input, which is open still: the program must not take a part for the whole.
                let group = group;
                match feed(&mut stdin, input, sources).await {
                    // It need not read what it does not want.
                    Err(Fault::Program(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(group),
                    other => other.map(|()| group),
                }
            };
            let taken = async {
                match stdout {
                    Some(stdout) => output.take(stdout).await,
                    None => Ok(()),
                }
            };
            let told = async {
                let Some(mut stderr) = stderr else { return Ok(()) };
                (&mut stderr).take(COMPLAINT).read_to_end(&mut complaint).await?;
                // The rest is thrown away, so that nobody waits for it to be read.
                tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await?;
                Ok(())
            };
            let (group, (), ()) = tokio::try_join!(fed, taken, told)?;
            let status = child.wait().await.map_err(Fault::Program)?;
            Ok::<_, Fault>((status, group))
        };
        let status = timeout(self.time, talk).await;
        let complaint = String::from_utf8_lossy(&complaint).trim().to_owned();
        let (id, program) = (call.id, call.program);
        match status {
            Ok(Ok((status, group))) if status.success() => {
                group.has_ended();
                return Ran::Succeeded;
            }
            Ok(Ok((status, group))) if status.code().is_some() => {
                tracing::info!(id, program, %status, complaint, "a program of a sieve script said no");
                group.has_ended();
                return Ran::Failed;
            }
            Ok(Ok((status, _))) => {
                tracing::warn!(id, program, %status, complaint, "a program of a sieve script died")
            }
            Ok(Err(error)) => {
                tracing::warn!(id, program, %error, complaint, "a program of a sieve script failed")
            }
            Err(_) => tracing::warn!(id, program, complaint, "a program of a sieve script took too long"),
        }
        let _ = child.wait().await;
        Ran::Aborted
    }
}

/// A program that converts parts of messages (RFC 6558). It gets the media type that a part has, the one that it is to have and the
/// script's parameters (`name=value`) as arguments, and the part's body, decoded, on its standard input. What it writes is the
/// new body if its exit code is 0; with any other the part stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Converter {
    /// Where it is, and how long it may take.
    pub programs: Programs,
    /// Its name there.
    pub program: String,
    /// The largest body that it makes, in octets; 16 MiB.
    pub largest: u64,
}

impl Converter {
    /// A program of a folder.
    pub fn new(programs: Programs, program: impl Into<String>) -> Self {
        Self { programs, program: program.into(), largest: 16 << 20 }
    }

    /// Whether it is there and may be started.
    pub fn is_there(&self) -> bool {
        self.programs.find(&self.program).is_some()
    }
}

/// What is started, and for whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) program: &'a str,
    pub(super) arguments: &'a [String],
    /// The names and values of the environment.
    pub(super) environment: &'a [(&'static str, String)],
    /// What the message is called in the log.
    pub(super) id: &'a str,
}

/// What a program reads.
pub(super) enum Input<'a> {
    Nothing,
    Text(&'a str),
    Octets(&'a [u8]),
    Message(&'a Message),
}

/// Where what a program writes goes.
pub(super) enum Output {
    Nothing,
    /// So many of them at most, in octets; what is too much is thrown away.
    Octets {
        octets: Vec<u8>,
        most: u64,
        whole: bool,
    },
    /// Into an upload that is never committed.
    Message(Box<NewMessage>),
}

/// A message that a program writes.
pub(super) struct NewMessage {
    upload: Upload,
    describer: Describer,
    octets: u64,
    longest: u64,
    /// Whether the last octet was a CR.
    after_cr: bool,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ran {
    Succeeded,
    Failed,
    Aborted,
    Unknown,
}

impl Ran {
    /// What is wrong, for whose script it was, if something is.
    pub(super) fn problem(self, program: &str) -> String {
        let what = match self {
            Self::Succeeded => "did what it was asked",
            Self::Failed => "said no: its exit code is not 0",
            Self::Aborted => "did not come to its end: it died, took too long or could not be started",
            Self::Unknown => "is not there",
        };
        format!("the program \"{program}\" {what}")
    }

    /// The same, for a script that has no use for what was written.
    pub(super) fn output(self, octets: Bytes) -> ProgramOutput {
        match self {
            Self::Succeeded => ProgramOutput::Success(octets),
            Self::Failed => ProgramOutput::Failure,
            Self::Aborted => ProgramOutput::Aborted,
            Self::Unknown => ProgramOutput::Unknown,
        }
    }
}

/// Whose fault it is.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Program(#[from] io::Error),
    #[error("the message cannot be read or written: {0}")]
    Store(#[from] mailwright_mailstore::StoreError),
    #[error("expected at most {0} octets of a message")]
    TooLong(u64),
}

fn start(path: &Path, call: &Call<'_>, silent: bool) -> io::Result<Child> {
    program(path, call.arguments)
        .envs(call.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(if silent { Stdio::null() } else { Stdio::piped() })
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}

async fn feed(
    stdin: &mut (impl AsyncWriteExt + Unpin),
    input: Input<'_>,
    sources: &mut Sources<'_>,
) -> Result<(), Fault> {
    match input {
        Input::Nothing => {}
        Input::Text(text) => stdin.write_all(text.as_bytes()).await?,
        Input::Octets(octets) => stdin.write_all(octets).await?,
        Input::Message(message) => {
            let mut octets = Octets::of(message);
            while let Some(some) = octets.next(sources).await? {
                stdin.write_all(&some).await?;
            }
        }
    }
    stdin.shutdown().await?;
    Ok(())
}

impl Output {
    pub(super) const fn octets(most: u64) -> Self {
        Self::Octets { octets: Vec::new(), most, whole: true }
    }

    /// What was written.
    pub(super) fn into_octets(self) -> Option<(Bytes, bool)> {
        let Self::Octets { octets, whole, .. } = self else { return None };
        Some((octets.into(), whole))
    }

    pub(super) fn message(upload: Upload, longest: u64) -> Self {
        let describer = Describer::default();
        Self::Message(Box::new(NewMessage { upload, describer, octets: 0, longest, after_cr: false }))
    }

    async fn take(&mut self, mut stdout: impl AsyncRead + Unpin) -> Result<(), Fault> {
        match self {
            Self::Nothing => {}
            Self::Octets { octets, most, whole } => {
                (&mut stdout).take(*most).read_to_end(octets).await?;
                *whole = tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await? == 0;
            }
            Self::Message(message) => {
                let mut piece = vec![0; PIECE];
                loop {
                    let count = stdout.read(&mut piece).await?;
                    let Some(some) = piece.get(..count).filter(|some| !some.is_empty()) else { break };
                    message.push(some).await?;
                }
            }
        }
        Ok(())
    }
}

impl NewMessage {
    /// Takes octets; lines of mail end in CR LF, however the program ends them.
    async fn push(&mut self, octets: &[u8]) -> Result<(), Fault> {
        let mut lines = Vec::with_capacity(octets.len() + octets.len() / 32);
        for octet in octets {
            if *octet == b'\n' && !self.after_cr {
                lines.push(b'\r');
            }
            lines.push(*octet);
            self.after_cr = *octet == b'\r';
        }
        self.octets += lines.len() as u64;
        if self.octets > self.longest {
            return Err(Fault::TooLong(self.longest));
        }
        self.describer.push(&lines);
        self.upload.write(Bytes::from(lines)).await?;
        Ok(())
    }

    /// The message, and what parts it has; `None` if nothing was written.
    pub(super) fn finish(self) -> Option<(Upload, Structure)> {
        (self.octets > 0).then(|| (self.upload, self.describer.finish().0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_in_the_folder_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, mode| {
            let path = folder.path().join(name);
            std::fs::write(&path, "#!/bin/sh\n").unwrap();
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        };
        write("good", 0o755);
        write("plain", 0o644);
        write(".hidden", 0o755);
        std::fs::create_dir(folder.path().join("inner")).unwrap();
        let programs = Programs::new(folder.path());
        assert!(programs.find("good").is_some());
        for name in
            ["plain", ".hidden", "inner", "", ".", "..", "../bin/sh", "/bin/sh", "inner/../good", "goo"]
        {
            assert_eq!(programs.find(name), None, "{name}");
        }
    }
}
