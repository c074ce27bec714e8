//! The server and Dovecot on the same Maildir trees, at the same time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;
#[path = "common/dovecot.rs"]
mod daemon;

use std::{fs, os::unix::fs::chown, path::Path, process::Command, thread, time::Duration};

use common::{PASSWORD, Server, USER, free_port, have, run};
use daemon::OWNER;

/// Dovecot with a configuration of its own.
struct Dovecot {
    _daemon: daemon::Dovecot,
    imap: u16,
    lmtp: u16,
}

impl Dovecot {
    fn start(folder: &Path, mail: &Path) -> Self {
        let (imap, lmtp) = (free_port(), free_port());
        let base = folder.display();
        let lines = format!(
            "protocols = imap lmtp\n\
             passdb {{\n  driver = static\n  args = password={PASSWORD}\n}}\n\
             userdb {{\n  driver = static\n  args = uid={OWNER} gid={OWNER} home={base}/home/%u allow_all_users=yes\n}}\n\
             mail_location = maildir:{}/%d/%n/Maildir\n\
             namespace inbox {{\n  inbox = yes\n  separator = /\n}}\n\
             mail_plugins = acl\nprotocol imap {{\n  mail_plugins = acl imap_acl\n}}\nplugin {{\n  acl = vfile\n}}\n\
             service imap-login {{\n  inet_listener imap {{\n    port = {imap}\n  }}\n  inet_listener imaps {{\n    port = 0\n  }}\n}}\n\
             service lmtp {{\n  inet_listener lmtp {{\n    port = {lmtp}\n  }}\n}}\n",
            mail.display()
        );
        let daemon = daemon::Dovecot::start(folder, &lines, &[imap, lmtp]);
        Self { _daemon: daemon, imap, lmtp }
    }
}

/// Both over one tree, and the program that compares them; `None` if that cannot be.
fn both() -> Option<(Server, Dovecot)> {
    if !have("dovecot") || !have("python3") {
        return None;
    }
    let mut server = Server::prepare("store = { kind = \"maildir\", path = \"mail/%d/%n/Maildir\" }");
    let folder = server.folder.path().to_owned();
    let mail = folder.join("mail");
    fs::create_dir(&mail).unwrap();
    fs::create_dir(folder.join("home")).unwrap();
    for path in [&folder, &mail, &folder.join("home"), &folder.join("mailwright.toml")] {
        if chown(path, Some(OWNER), Some(OWNER)).is_err() {
            println!("skipped: only root can run Dovecot for another user");
            return None;
        }
    }
    server.identity = Some(OWNER);
    server.add_user(USER, PASSWORD);
    server.serve();
    let dovecot = Dovecot::start(&folder, &mail);
    Some((server, dovecot))
}

/// Each with mail of its own: what a client is told of the same messages is the same, but for what
/// docs/imap-and-dovecot.md explains. `DIFFERENTIAL="SEED MESSAGES QUERIES"` asks otherwise.
#[test]
fn the_same_answers_to_the_same_questions() {
    if !have("dovecot") || !have("python3") {
        return;
    }
    let server = Server::start("allow_plaintext_auth = true");
    let folder = tempfile::tempdir().unwrap();
    let (home, mail) = (folder.path().join("home"), folder.path().join("mail"));
    fs::create_dir(&home).unwrap();
    fs::create_dir(&mail).unwrap();
    for path in [folder.path(), &home, &mail] {
        if chown(path, Some(OWNER), Some(OWNER)).is_err() {
            println!("skipped: only root can run Dovecot for another user");
            return;
        }
    }
    let dovecot = Dovecot::start(folder.path(), &mail);
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/imap_differential.py");
    let ports = [server.port("imap", "starttls"), dovecot.imap].map(|port| port.to_string());
    let output = run(Command::new("python3")
        .arg(program)
        .args([USER, PASSWORD])
        .args(ports)
        .args(std::env::var("DIFFERENTIAL").as_deref().unwrap_or("7 300 3000").split(' ')));
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn script(server: &Server, dovecot: &Dovecot, test: &str) {
    let ports = [server.port("imap", "implicit"), server.port("lmtp", "none"), dovecot.imap, dovecot.lmtp];
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dovecot.py");
    let output = run(Command::new("python3")
        .arg(program)
        .arg(test)
        .args([USER, PASSWORD])
        .args(ports.map(|port| port.to_string())));
    assert!(
        output.status.success(),
        "{}\n{}\ndovecot: {:?}\nserver: {:?}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        complaints(server),
        server
            .log()
            .lines()
            .filter(|line| line.contains("WARN") || line.contains("ERROR"))
            .collect::<Vec<_>>()
    );
}

/// What Dovecot complains about is what would frighten its administrator.
fn complaints(server: &Server) -> Vec<String> {
    thread::sleep(Duration::from_millis(100));
    let log = fs::read_to_string(server.folder.path().join("dovecot.log")).unwrap();
    let complains =
        |line: &&str| line.contains("Error:") || line.contains("Panic:") || line.contains("Warning:");
    log.lines().filter(complains).map(str::to_owned).collect()
}

#[test]
fn each_opens_what_the_other_wrote() {
    let Some((server, dovecot)) = both() else { return };
    script(&server, &dovecot, "turns");
    assert_eq!(complaints(&server), [""; 0]);
}

#[test]
fn each_reads_the_access_lists_of_the_other() {
    let Some((server, dovecot)) = both() else { return };
    script(&server, &dovecot, "lists");
    assert_eq!(complaints(&server), [""; 0]);
}

#[test]
fn both_change_one_mailbox_at_the_same_time() {
    let Some((server, dovecot)) = both() else { return };
    script(&server, &dovecot, "crowd");
    assert_eq!(complaints(&server), [""; 0]);
}
