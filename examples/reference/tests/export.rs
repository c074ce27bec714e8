//! An account's mail is written as other programs read it, and read back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use common::{PASSWORD, Server, Talk, USER, imap, run, succeed};

const CONFIG: &str = "allow_plaintext_auth = true";

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

fn append(talk: &mut Talk, mailbox: &str, flags: &str, text: &str) {
    let date = "\"17-Jul-1996 02:44:25 +0000\"";
    talk.send(format!("z APPEND {mailbox} {flags} {date} {{{}}}\r\n", text.len()));
    assert!(talk.line().starts_with('+'));
    talk.send(format!("{text}\r\n"));
    let answer = talk.until("z");
    assert!(answer.last().unwrap().starts_with("z OK"), "{answer:?}");
}

fn ok(talk: &mut Talk, command: &str) -> Vec<String> {
    let answer = talk.imap("a", command);
    assert!(answer.last().unwrap().starts_with("a OK"), "{command}: {answer:?}");
    answer
}

const MAILBOXES: [&str; 5] = ["INBOX", "Lists", "Lists/Rust", "Empty", "Trash"];

/// Everything that there is of the messages of a mailbox, and its numbers.
fn contents(talk: &mut Talk, mailbox: &str) -> Vec<String> {
    let mut all = ok(talk, &format!("EXAMINE {mailbox}"));
    all.retain(|line| line.contains("UIDVALIDITY") || line.contains("UIDNEXT"));
    let command = "UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])";
    all.extend(ok(talk, command).into_iter().filter(|line| !line.starts_with("a OK")));
    all
}

fn fill(server: &Server) {
    let mut talk = imap(server);
    for mailbox in &MAILBOXES[1..] {
        let used = if *mailbox == "Trash" { " (USE (\\Trash))" } else { "" };
        ok(&mut talk, &format!("CREATE {mailbox}{used}"));
    }
    ok(&mut talk, "SUBSCRIBE Lists/Rust");
    for number in 0..5 {
        let flags =
            ["()", "(\\Seen)", "(\\Answered \\Flagged $Forwarded)", "(\\Draft)", "(\\Deleted \\Seen a b)"]
                [number];
        let message = format!(
            "Subject: {number}\r\n\r\nFrom here on\r\n>From there\r\n.\r\n\r\n{}end\r\n",
            "x".repeat(number * 30_000)
        );
        append(&mut talk, "INBOX", flags, &message);
    }
    // UIDs with gaps.
    ok(&mut talk, "SELECT INBOX");
    ok(&mut talk, "UID STORE 1 +FLAGS (\\Deleted)");
    ok(&mut talk, "UID EXPUNGE 1");
    for mailbox in ["Lists", "Lists/Rust", "Trash"] {
        append(&mut talk, mailbox, "(rust)", &format!("Subject: in {mailbox}\r\n\r\ntext\r\n"));
    }
    // Nothing is recent any more.
    for mailbox in MAILBOXES {
        ok(&mut talk, &format!("SELECT {mailbox}"));
    }
}

fn modes(directory: &Path, found: &mut Vec<(u32, bool)>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let data = entry.metadata().unwrap();
        // As Dovecot has it: its name is all it holds, and nobody may change it.
        if entry.file_name().to_string_lossy().starts_with("dovecot-uidvalidity.") {
            continue;
        }
        found.push((data.permissions().mode() & 0o777, data.is_dir()));
        if data.is_dir() {
            modes(&entry.path(), found);
        }
    }
}

#[test]
fn what_is_exported_comes_back_the_same() {
    let server = Server::start(CONFIG);
    fill(&server);
    let before = MAILBOXES.map(|mailbox| contents(&mut imap(&server), mailbox));
    let fetched = before.iter().flatten().filter(|line| line.contains(" FETCH (UID ")).count();
    assert_eq!(fetched, 7);
    for format in ["maildir", "mbox"] {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("export");
        let path = directory.to_str().unwrap();
        let said = text(&succeed(&mut server.command(&["export", USER, path, "--format", format])));
        assert!(said.starts_with("5 mailboxes, 7 messages, "), "{said}");
        let mut found = vec![(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, true)];
        modes(&directory, &mut found);
        assert!(
            found.iter().all(|(mode, directory)| *mode == if *directory { 0o700 } else { 0o600 }),
            "{found:?}"
        );
        if format == "maildir" {
            let flagged = |name: &str| name.ends_with(":2,FRa");
            let mut names =
                fs::read_dir(directory.join("cur")).unwrap().map(|entry| entry.unwrap().file_name());
            assert!(names.any(|name| flagged(name.to_str().unwrap())));
            assert!(directory.join(".Lists.Rust/dovecot-uidlist").is_file());
        } else {
            assert!(directory.join("Lists").is_file() && directory.join("Lists.sbd/Rust").is_file());
        }
        let again = run(&mut server.command(&["export", USER, path]));
        assert!(text(&again.stderr).contains("is not empty"), "{again:?}");

        let mut other = Server::prepare(CONFIG);
        other.add_user(USER, PASSWORD);
        let from = format!("{format}:{path}");
        let said = text(&succeed(&mut other.command(&["migrate", "--from", &from, "--to", USER])));
        assert_eq!(said.matches("the same on both sides").count(), 5, "{said}");
        other.serve();
        let mut talk = imap(&other);
        for mailbox in MAILBOXES {
            ok(&mut talk, &format!("SELECT {mailbox}"));
        }
        for (mailbox, before) in MAILBOXES.iter().zip(&before) {
            // A file without messages has no place for numbers.
            if format == "maildir" || *mailbox != "Empty" {
                assert!(contents(&mut talk, mailbox) == *before, "{format}: {mailbox}");
            }
        }
        if format == "maildir" {
            let listed = ok(&mut talk, "LIST \"\" Trash").concat();
            assert!(listed.contains("\\Trash"), "{listed}");
            assert!(ok(&mut talk, "LSUB \"\" *").concat().contains("Lists/Rust"));
        }
    }
}

#[test]
fn it_works_without_a_server_and_for_those_alone_who_are_there() {
    let mut server = Server::start(CONFIG);
    fill(&server);
    server.stop();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let said = text(&succeed(&mut server.command(&["export", USER, &path("one"), "--json"])));
    let last: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!((last["event"].as_str(), last["messages"].as_u64()), (Some("exported"), Some(7)), "{last}");
    let refused = run(&mut server.command(&["export", "nobody@example.org", &path("two")]));
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("neither an account nor mail"), "{refused:?}");
    assert!(!folder.path().join("two").exists());
}

#[test]
fn mail_that_is_encrypted_is_named() {
    let server = Server::start(CONFIG);
    let mut talk = imap(&server);
    append(&mut talk, "INBOX", "()", "Subject: a\r\n\r\nin the clear\r\n");
    let mut child = server
        .command(&["user", "encrypt", USER, "--password-stdin"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), format!("{PASSWORD}\n").as_bytes()).unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    append(&mut imap(&server), "INBOX", "()", "Subject: b\r\n\r\nsealed\r\n");
    let folder = tempfile::tempdir().unwrap();
    for format in ["maildir", "mbox"] {
        let path = folder.path().join(format);
        let output = run(&mut server.command(&["export", USER, path.to_str().unwrap(), "--format", format]));
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = text(&output.stdout);
        assert!(said.starts_with("not exported: UID 2 in INBOX: "), "{said}");
        assert!(said.ends_with("1 mailboxes, 1 messages, 28 octets\n"), "{said}");
    }
    let file = fs::read_to_string(folder.path().join("mbox/INBOX")).unwrap();
    assert!(file.contains("in the clear") && file.matches("From ").count() == 1, "{file}");
}
