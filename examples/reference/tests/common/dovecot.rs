//! Debian's Dovecot with a configuration of a test's own.
#![allow(unreachable_pub, dead_code, reason = "a module of test programs, of which each needs a part")]

use std::{
    fs,
    net::TcpStream,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::common::{have, run, wait_for};

/// Whom the mail belongs to: Dovecot serves no mail as root.
pub const OWNER: u32 = 5000;

/// Whether Dovecot is there with these of its programs. Where it must be (in CI) its absence fails the test.
pub fn is_installed(parts: &[&str]) -> bool {
    if !have("dovecot") {
        return false;
    }
    let missing = parts.iter().find(|part| !Path::new("/usr/lib/dovecot").join(part).exists());
    if let Some(part) = missing {
        assert!(std::env::var_os("CI").is_none(), "Dovecot's {part} must be installed");
        println!("skipped: Dovecot's {part} is not installed");
    }
    missing.is_none()
}

/// A Dovecot, as long as this is there.
pub struct Dovecot {
    child: Child,
    log: PathBuf,
}

impl Dovecot {
    /// Starts one that listens on this machine without TLS and has its own files in a folder; the rest of its configuration is these
    /// lines. It answers at all of these ports.
    pub fn start(folder: &Path, lines: &str, ports: &[u16]) -> Self {
        let base = folder.display();
        let log = folder.join("dovecot.log");
        let config = format!(
            "base_dir = {base}/dovecot\nstate_dir = {base}/dovecot\nlog_path = {}\nlisten = 127.0.0.1\nssl = no\n\
             disable_plaintext_auth = no\nfirst_valid_uid = 1\n{lines}",
            log.display()
        );
        let path = folder.join("dovecot.conf");
        fs::write(&path, config).unwrap();
        let child = Command::new("dovecot")
            .args(["-F", "-c"])
            .arg(path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let dovecot = Self { child, log };
        for port in ports {
            wait_for("dovecot", || TcpStream::connect(("127.0.0.1", *port)).ok());
        }
        dovecot
    }
}

impl Dovecot {
    /// One with a mailbox for whoever logs in with the password, by IMAP at this port. Nothing if there is none, or we may not run it.
    pub fn for_anybody(folder: &Path, imap: u16, password: &str) -> Option<Self> {
        if !is_installed(&["imap"]) {
            return None;
        }
        for path in [folder.to_owned(), folder.join("home"), folder.join("mail")] {
            fs::create_dir_all(&path).unwrap();
            if chown(&path, Some(OWNER), Some(OWNER)).is_err() {
                println!("skipped: only root can run Dovecot for another user");
                return None;
            }
        }
        let base = folder.display();
        let lines = format!(
            "protocols = imap\nmail_max_userip_connections = 200\npassdb {{\n  driver = static\n  args = password={password}\n}}\n\
             userdb {{\n  driver = static\n  args = uid={OWNER} gid={OWNER} home={base}/home/%u allow_all_users=yes\n}}\n\
             mail_location = maildir:{base}/mail/%d/%n/Maildir\nnamespace inbox {{\n  inbox = yes\n  separator = /\n}}\n\
             service imap-login {{\n  inet_listener imap {{\n    port = {imap}\n  }}\n  inet_listener imaps {{\n    port = 0\n  }}\n}}\n"
        );
        Some(Self::start(folder, &lines, &[imap]))
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        // It must end its children, which it cannot when it is killed.
        let _ = run(Command::new("kill").arg(self.child.id().to_string()));
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            eprintln!("--- Dovecot's log ---\n{log}");
        }
    }
}
