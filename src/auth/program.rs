//! Passwords checked by a program: the checkpassword interface.

use std::{
    ffi::OsString,
    io::{self, Write},
    os::fd::OwnedFd,
    path::PathBuf,
    process::Stdio,
    time::{Duration, SystemTime},
};

use command_fds::{CommandFdExt, FdMapping};
use mailwright_mailstore::accounts::{Credentials, LoginError, LoginRequest, Service};
use tokio::{process::Command, sync::Semaphore, time};

use crate::program::ProcessGroup;

/// How many octets the interface allows: more is not read by some programs.
const LONGEST: usize = 512;
/// The file descriptor that the program reads.
const DESCRIPTOR: i32 = 3;
/// The exit status that says that nobody can tell now.
const TEMPORARY: i32 = 111;

/// A program that says whether passwords are right: the interface of `checkpassword`, for which there are programs that ask
/// PAM and much else.
///
/// The program reads the user's name, NUL, the password, NUL, the seconds since 1970, NUL from file descriptor 3 until the
/// end, and exits with 0 if the password is right, with 1 if it is wrong, and with anything else if nobody can tell now.
/// Its last arguments are the program that it becomes if the password is right, by custom: `/bin/true` will do. It gets the
/// protocol as `PROTO` and the client's address as `TCPREMOTEIP`, `PATH`, and nothing else of our environment. No shell is
/// involved.
///
/// ```no_run
/// use mailwright::PasswordProgram;
///
/// let program = PasswordProgram::new("/usr/local/bin/checkpassword-pam", ["-s", "mailwright", "--", "/bin/true"]);
/// ```
#[derive(Debug)]
pub struct PasswordProgram {
    program: PathBuf,
    arguments: Vec<OsString>,
    timeout: Duration,
    running: Semaphore,
}

impl PasswordProgram {
    /// This program with these arguments: at most eight at a time, each for at most ten seconds.
    pub fn new(
        program: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            timeout: Duration::from_secs(10),
            running: Semaphore::new(8),
        }
    }

    /// Sets how long the program may take; then it is killed, and nobody can tell.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sets how many run at a time; the other logins wait.
    #[must_use]
    pub fn with_at_once(self, at_once: usize) -> Self {
        Self { running: Semaphore::new(at_once.max(1)), ..self }
    }

    /// Whether the password of a login is right.
    ///
    /// # Errors
    /// [`LoginError::Unavailable`] if the program cannot tell, [`LoginError::NotAuthorized`] for a login that has no
    /// password.
    pub async fn is_right(&self, request: &LoginRequest) -> Result<bool, LoginError> {
        let Credentials::Password(password) = &request.credentials else {
            return Err(LoginError::NotAuthorized);
        };
        // A NUL would begin another field.
        if request.user.contains('\0') || password.contains(&0) {
            return Ok(false);
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let message = [request.user.as_bytes(), password, now.to_string().as_bytes(), b""].join(&0);
        if message.len() > LONGEST {
            return Ok(false);
        }
        let _running = self.running.acquire().await.map_err(|_| LoginError::Unavailable)?;
        let ended = time::timeout(self.timeout, self.run(&message, request)).await;
        let problem = match ended {
            Ok(Ok(Some(0))) => return Ok(true),
            Ok(Ok(Some(1))) => return Ok(false),
            Ok(Ok(Some(TEMPORARY))) => "it says that it cannot tell now".to_owned(),
            Ok(Ok(Some(status))) => format!("it ended with the status {status}"),
            Ok(Ok(None)) => "it was killed".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it did not end within {:?}", self.timeout),
        };
        tracing::error!(program = %self.program.display(), problem, "the program that checks passwords failed");
        Err(LoginError::Unavailable)
    }

    /// Runs it to its end: the exit status, if it had one.
    async fn run(&self, message: &[u8], request: &LoginRequest) -> io::Result<Option<i32>> {
        // What fits into a pipe is written before anybody reads.
        let (reader, mut writer) = io::pipe()?;
        writer.write_all(message)?;
        drop(writer);
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear().kill_on_drop(true).process_group(0);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        let protocol = match request.service {
            Service::Imap => "IMAP",
            Service::Pop3 => "POP3",
            Service::ManageSieve => "SIEVE",
            _ => "SMTP",
        };
        command.env("PROTO", protocol);
        if let Some(peer) = request.peer {
            command.env("TCPREMOTEIP", peer.to_string());
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mapping = FdMapping { parent_fd: OwnedFd::from(reader), child_fd: DESCRIPTOR };
        command.as_std_mut().fd_mappings(vec![mapping]).map_err(io::Error::other)?;
        let mut child = command.spawn()?;
        // Whoever logs in decides how often and how long this runs: nothing of it stays behind if it takes too long or they go.
        let group = ProcessGroup::of(&child);
        // Our end of the pipe stays in the command.
        drop(command);
        let status = child.wait().await?;
        group.has_ended();
        Ok(status.code())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    const SCRIPT: &str = r#"#!/bin/sh
# NUL cannot be in a variable of the shell.
said=$(tr '\0' '|' <&3)
case "$said" in
    "alice@a.test|it's right|"1[0-9]*"|") [ "$PROTO $TCPREMOTEIP" = "IMAP 192.0.2.1" ] && [ -z "$HOME" ] && exec "$@";;
    "slow|"*) sleep 600;;
    "child|"*) sleep 600 & said=${said#*|}; echo $! > "${said%%|*}"; wait;;
    "later|"*) exit 111;;
    "broken|"*) exit 7;;
esac
exit 1
"#;

    fn request(user: &str, password: &str) -> LoginRequest {
        let mut request = LoginRequest::new(user, Credentials::password(password.as_bytes()), Service::Imap);
        request.peer = Some("192.0.2.1".parse().unwrap());
        request
    }

    #[tokio::test]
    async fn the_exit_status_decides() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("check");
        fs::write(&script, SCRIPT).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let program = PasswordProgram::new("/bin/sh", [script.as_os_str(), "/bin/true".as_ref()]);
        for (user, password, expected) in [
            ("alice@a.test", "it's right", Ok(true)),
            ("alice@a.test", "wrong", Ok(false)),
            ("alice@a.test", "", Ok(false)),
            ("alice@a.test|it's right", "", Ok(false)),
            ("alice@a.test\0it's right", "", Ok(false)),
            ("alice@a.test", "it's right\x001\0", Ok(false)),
            (&*"a".repeat(600), "x", Ok(false)),
            ("later", "x", Err(LoginError::Unavailable)),
            ("broken", "x", Err(LoginError::Unavailable)),
        ] {
            assert_eq!(program.is_right(&request(user, password)).await, expected, "{user:?} {password:?}");
        }
        let proven = LoginRequest::new("alice@a.test", Credentials::Proven, Service::Imap);
        assert_eq!(program.is_right(&proven).await, Err(LoginError::NotAuthorized));
        let program = program.with_timeout(Duration::from_millis(300)).with_at_once(1);
        assert_eq!(program.is_right(&request("slow", "x")).await, Err(LoginError::Unavailable));
        // Nothing that it has started goes on either, be it that it takes too long or that nobody waits any more.
        let program = program.with_timeout(Duration::from_secs(2));
        for gone in [false, true] {
            let pid = folder.path().join(format!("pid-{gone}"));
            let asked = request("child", pid.to_str().unwrap());
            let started = async {
                while !fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n')) {
                    time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::select! {
                told = program.is_right(&asked) => assert_eq!(told, Err(LoginError::Unavailable)),
                () = started, if gone => {}
            }
            let process = format!("/proc/{}/stat", fs::read_to_string(&pid).unwrap().trim());
            // A process that is killed is a zombie until somebody notes.
            let lives = || fs::read_to_string(&process).is_ok_and(|stat| !stat.contains(") Z "));
            let since = std::time::Instant::now();
            while lives() {
                assert!(since.elapsed() < Duration::from_secs(10), "it still runs (gone: {gone})");
                time::sleep(Duration::from_millis(10)).await;
            }
        }
        let missing = PasswordProgram::new(folder.path().join("none"), ["x"]);
        assert_eq!(missing.is_right(&request("alice@a.test", "x")).await, Err(LoginError::Unavailable));
    }
}
