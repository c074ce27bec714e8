//! Backup, restore and check of a server's data, from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use common::{PASSWORD, Server, USER, deliver, imap, run, succeed, wait_for};

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

#[test]
fn what_was_backed_up_while_serving_comes_back() {
    let mut server = Server::start("");
    for number in 0..3 {
        deliver(&server, USER, &format!("Subject: {number}\r\n\r\n{}\r\n", "text ".repeat(100)));
    }
    let folder = tempfile::tempdir().unwrap();
    let (backup, data) = (folder.path().join("backup"), folder.path().join("data"));
    let (backup, data) = (backup.to_str().unwrap(), data.to_str().unwrap());
    for generation in ["generation 1: ", "generation 2: "] {
        let output = run(&mut server.command(&["backup", backup]));
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stdout).starts_with(generation), "{}", text(&output.stdout));
    }
    let output = run(&mut server.command(&["backup", "--check", backup]));
    assert!(output.status.success(), "{output:?}");
    assert!(text(&output.stdout).ends_with("; whole: 1 to 2; not whole: none\n"), "{output:?}");
    let output = run(&mut server.command(&["fsck"]));
    assert!(output.status.success() && text(&output.stdout).ends_with(": 0 findings\n"), "{output:?}");
    let output = run(&mut server.command(&["fsck", "--repair"]));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("expected no server to run"), "{output:?}");
    server.stop();

    let program = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailwrightd"));
        run(command.args(["--data", data]).args(arguments).env_remove("MAILWRIGHT_CONFIG"))
    };
    let output = program(&["restore", backup]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = program(&["restore", backup]);
    assert!(text(&output.stderr).contains("is not empty"), "{output:?}");
    let output = program(&["fsck", "--repair", "--json"]);
    let event: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((event["event"].as_str(), event["messages"].as_u64()), (Some("checked"), Some(3)), "{event}");
    assert_eq!(event["findings"].as_array().map(Vec::len), Some(0), "{event}");
    let output = program(&["user", "list"]);
    assert!(text(&output.stdout).contains(USER), "{output:?}");
    let output = program(&["restore", "--generation", "9", backup]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

/// RFC 9051 §2.3.1.1, RFC 7162 §3.2.5, RFC 1939 §7: what clients know of the time that is lost is not said of other mail.
#[test]
fn a_restored_server_gives_out_no_uid_again() {
    let mut server = Server::start("allow_plaintext_auth = true");
    deliver(&server, USER, "Subject: one\r\n\r\none\r\n");
    let backup = server.folder.path().join("backup").to_str().unwrap().to_owned();
    assert!(run(&mut server.command(&["backup", &backup])).status.success());
    deliver(&server, USER, "Subject: lost\r\n\r\nlost\r\n");
    let number = |lines: &[String], word: &str| -> u64 {
        let text = lines.join(" ");
        let rest = text.split_once(word).unwrap_or_else(|| panic!("{word} in {text}")).1;
        rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    };
    let mut talk = imap(&server);
    let seen = talk.imap("a", "SELECT INBOX (CONDSTORE)");
    assert_eq!(number(&seen, "UIDNEXT "), 3);
    let known = format!("({} {} 1:2)", number(&seen, "UIDVALIDITY "), number(&seen, "HIGHESTMODSEQ "));
    server.stop();
    fs::remove_dir_all(server.folder.path().join("data/store")).unwrap();
    assert!(run(&mut server.command(&["restore", &backup])).status.success());
    server.serve();

    deliver(&server, USER, "Subject: new\r\n\r\nnew\r\n");
    let mut talk = imap(&server);
    talk.imap("a", "ENABLE QRESYNC");
    let told = talk.imap("b", &format!("SELECT INBOX (QRESYNC {known})"));
    assert_eq!(number(&told, "UIDVALIDITY "), number(&seen, "UIDVALIDITY "));
    assert!(number(&told, "HIGHESTMODSEQ ") > number(&seen, "HIGHESTMODSEQ "), "{told:?}");
    // The one that is lost has vanished, the one from before is still known by its UID, and the new one has another.
    assert!(told.iter().any(|line| line.starts_with("* VANISHED (EARLIER) 2")), "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("* 1 FETCH (UID 1 ")), "{told:?}");
    let fetched = talk.imap("c", "FETCH 1:* UID");
    assert_eq!(number(&fetched, "* 1 FETCH (UID "), 1);
    assert!(number(&fetched, "* 2 FETCH (UID ") > 2, "{fetched:?}");
    let mut talk = server.talk(server.port("pop3", "starttls"));
    talk.line();
    for command in [format!("USER {USER}"), format!("PASS {PASSWORD}")] {
        talk.send(format!("{command}\r\n"));
        assert!(talk.line().starts_with("+OK"));
    }
    talk.send("UIDL\r\n");
    let ids = talk.until(".");
    let validity = number(&seen, "UIDVALIDITY ");
    assert_eq!((ids.len(), &*ids[1]), (4, &*format!("1 00000001{validity:08x}")), "{ids:?}");
    assert_ne!(ids[2], format!("2 00000002{validity:08x}"));
}

/// The file in which the store keeps the body with these octets, and where in it.
fn place_of(data: &str, octets: &[u8]) -> Option<(PathBuf, usize)> {
    let folders = fs::read_dir(PathBuf::from(data).join("store/keyspaces")).ok()?;
    let files = folders.filter_map(|folder| fs::read_dir(folder.ok()?.path().join("blobs")).ok()).flatten();
    files.filter_map(Result::ok).find_map(|file| {
        let content = fs::read(file.path()).ok()?;
        let place = content.windows(octets.len()).position(|part| part == octets)?;
        Some((file.path(), place))
    })
}

#[test]
fn a_rotten_octet_is_named_and_the_rest_copied() {
    let mut server = Server::start("");
    let data = server.folder.path().join("data").to_str().unwrap().to_owned();
    // Enough for the database to write bodies to files of their own.
    for number in 0..40 {
        deliver(
            &server,
            USER,
            &format!("Subject: {number}\r\n\r\n{}", format!("text {number}\r\n").repeat(40_000)),
        );
    }
    let found = wait_for("a file of bodies", || place_of(&data, b"text 3\r\ntext 3\r\n"));
    server.stop();
    let (path, place) = place_of(&data, b"text 3\r\ntext 3\r\n").unwrap_or(found);
    let mut content = fs::read(&path).unwrap();
    content[place] ^= 1;
    fs::write(&path, content).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (backup, back) = (folder.path().join("backup"), folder.path().join("data"));
    let (backup, back) = (backup.to_str().unwrap(), back.to_str().unwrap());
    for generation in 1..3 {
        let output = run(&mut server.command(&["backup", backup]));
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = text(&output.stdout);
        assert!(
            said.starts_with(&format!("found: UID 4 in {USER} INBOX: its body cannot be read")),
            "{said}"
        );
        assert!(said.contains(&format!("\ngeneration {generation}: ")), "{said}");
        assert!(text(&output.stderr).contains("not everything could be read"), "{output:?}");
    }
    let output = run(&mut server.command(&["fsck"]));
    let said = text(&output.stdout);
    assert!(said.contains(&format!("found: UID 4 in {USER} INBOX: octets from")), "{said}");
    assert!(said.contains("40 messages") && said.ends_with(": 1 findings\n"), "{said}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailwrightd"));
    let restore = command.args(["--data", back, "restore", backup]).env_remove("MAILWRIGHT_CONFIG");
    // Its exit status tells whoever does not read it, and the rest is there.
    let output = run(restore);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = text(&output.stdout);
    assert!(said.starts_with(&format!("missing: UID 4 in {USER} INBOX: its body is missing")), "{said}");
    assert!(said.contains("\ngeneration 2 is back: "), "{said}");

    // The backup is damaged as well.
    let bodies = PathBuf::from(backup).join("000001.bodies");
    let mut content = fs::read(&bodies).unwrap();
    let place = content.windows(7).position(|part| part == b"text 30").unwrap();
    content[place] ^= 1;
    fs::write(&bodies, content).unwrap();
    let again = folder.path().join("again").to_str().unwrap().to_owned();
    let program = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailwrightd"));
        run(command.args(["--data", &again]).args(arguments).env_remove("MAILWRIGHT_CONFIG"))
    };
    let output = program(&["backup", "--check", backup]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = text(&output.stdout);
    assert!(
        said.contains("000001.bodies are damaged\n") && said.contains("whole: none; not whole: 1 to 2"),
        "{said}"
    );
    assert!(
        said.contains(&format!("found: generation 1: UID 31 in {USER} INBOX: its body is missing")),
        "{said}"
    );
    let output = program(&["restore", backup]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("--damaged brings back what can be read"), "{output:?}");
    let output = program(&["restore", backup, "--damaged"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = text(&output.stdout);
    assert!(
        said.starts_with("missing: ") && said.contains("000001.bodies are damaged\ngeneration 2 is back"),
        "{said}"
    );
    let said = text(&program(&["fsck"]).stdout);
    assert!(
        said.contains(&format!("found: UID 31 in {USER} INBOX")) && said.contains("40 messages"),
        "{said}"
    );
}

#[test]
fn a_backup_that_would_be_lost_with_the_store_is_refused() {
    let server = Server::start("");
    let folder = server.folder.path();
    std::os::unix::fs::symlink(folder.join("data"), folder.join("elsewhere")).unwrap();
    for inside in ["data", "data/store", "data/backup/new", "elsewhere/backup", "data/../data/x"] {
        let refused = run(server.command(&["backup"]).arg(folder.join(inside)));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("in the data directory"), "{inside}: {said}");
    }
    assert!(!folder.join("data/backup").exists());
    succeed(server.command(&["backup"]).arg(folder.join("data-backup")));
}

#[test]
fn what_a_store_has_lost_is_told_until_somebody_says_that_it_is_not_needed() {
    let mut server = Server::start("");
    deliver(&server, USER, "Subject: one\r\n\r\none\r\n");
    server.stop();
    let store = server.folder.path().join("data/store");
    let aside = store.join("0.damaged-0");
    fs::write(&aside, b"a journal").unwrap();
    server.serve();
    let status = text(&succeed(&mut server.command(&["status"])));
    assert!(status.contains(&format!("damaged: {}: ", aside.display())), "{status}");
    assert!(
        status.ends_with(
            "mailwrightd fsck names the messages concerned, fsck --repair brings back what can be, and with --forget gives up the rest\n"
        ),
        "{status}"
    );
    server.stop();
    let said = text(&succeed(&mut server.command(&["fsck", "--repair", "--forget"])));
    assert!(said.starts_with(&format!("repaired: {} is removed\n", aside.display())), "{said}");
    assert!(!aside.exists());
    let output = run(&mut server.command(&["fsck"]));
    assert!(output.status.success(), "{output:?}");

    fs::remove_file(store.join("0.jnl")).unwrap();
    for arguments in [&["fsck"][..], &["fsck", "--repair"]] {
        let output = run(&mut server.command(arguments));
        assert!(!output.status.success() && text(&output.stderr).contains("has no journal"), "{output:?}");
    }
    assert!(!store.join("1.jnl").exists());
}
