//! OAuth 2.0 access tokens, had anew for each login: somebody else sees to it that they are fresh.

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use mailwright_line_proto::Secret;
use tokio::{fs::File, io::AsyncReadExt, time::timeout};

use super::FetchError;
use crate::program::{ProcessGroup, program};

/// The longest token, in octets: larger than any that is a header field of HTTP.
const LONGEST: u64 = 64 << 10;
/// How long a program may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the access token of an account is (RFC 6750).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchToken {
    /// In the first line of a file, which is read for each login.
    File(PathBuf),
    /// In the first line of what a program writes, which is run for each login: without a shell, with nothing but `PATH` in its
    /// environment, for 30 seconds at most.
    Program {
        /// Which.
        path: PathBuf,
        /// What it is given.
        arguments: Vec<String>,
    },
}

impl FetchToken {
    /// The token as it is now.
    pub(super) async fn have(&self) -> Result<Secret, FetchError> {
        let (place, octets) = match self {
            Self::File(path) => (path, read(path).await),
            Self::Program { path, arguments } => (path, run(path, arguments).await),
        };
        let failed = |problem: String| FetchError::Token(format!("{}: {problem}", place.display()));
        let octets = octets.map_err(|error| failed(error.to_string()))?;
        let line = octets.split(|octet| *octet == b'\n').next().unwrap_or_default().trim_ascii();
        // RFC 6750 §2.1: what a token may be made of, as far as it concerns SASL.
        match line.is_empty() || !line.iter().all(u8::is_ascii_graphic) {
            true => Err(failed("expected a token in the first line".into())),
            false => Ok(Secret::from(line)),
        }
    }
}

async fn read(path: &PathBuf) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    File::open(path).await?.take(LONGEST).read_to_end(&mut octets).await?;
    Ok(octets)
}

async fn run(path: &Path, arguments: &[String]) -> io::Result<Vec<u8>> {
    let mut command = program(path, arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn()?;
    let group = ProcessGroup::of(&child);
    let mut octets = Vec::new();
    let work = async {
        if let Some(stdout) = child.stdout.take() {
            stdout.take(LONGEST).read_to_end(&mut octets).await?;
        }
        child.wait().await
    };
    let status =
        timeout(PATIENCE, work).await.map_err(|_| io::Error::other("the program takes too long"))??;
    group.has_ended();
    match status.success() {
        true => Ok(octets),
        false => Err(io::Error::other(format!("the program ended with {status}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tokens_are_read_anew_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let token = FetchToken::File(path.clone());
        assert!(token.have().await.unwrap_err().to_string().contains("token"));
        for (content, expected) in
            [("one\nrest\n", Some("one")), ("two", Some("two")), ("\n", None), ("a b\n", None)]
        {
            std::fs::write(&path, content).unwrap();
            assert_eq!(token.have().await.ok(), expected.map(Secret::from), "{content:?}");
        }
        let program = |text: &str| FetchToken::Program {
            path: "/bin/sh".into(),
            arguments: vec!["-c".into(), text.into()],
        };
        assert_eq!(program("echo three; echo HOME=$HOME").have().await.unwrap(), Secret::from("three"));
        assert!(program("echo four; exit 1").have().await.is_err());
        assert!(program("true").have().await.is_err());
    }
}
