//! An account's mail is written as other programs read it, and read back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};
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
        let (left, said) = said.split_once('\n').unwrap();
        assert_eq!(left, "stays here: object ids and thread ids of 7 messages, which get others");
        assert!(said.starts_with("5 mailboxes, 7 messages, ") && !said.contains("with"), "{said}");
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
            assert!(contents(&mut talk, mailbox) == *before, "{format}: {mailbox}");
        }
        let listed = ok(&mut talk, "LIST \"\" Trash").concat();
        assert!(listed.contains("\\Trash"), "{format}: {listed}");
        let subscribed = ok(&mut talk, "LSUB \"\" *");
        assert!(subscribed.len() == 2 && subscribed[0].contains("Lists/Rust"), "{format}: {subscribed:?}");
    }
}

#[test]
fn messages_and_names_that_files_have_no_form_for_come_back_too() {
    let server = Server::start(CONFIG);
    let long = |count: usize| "l".repeat(count);
    let names = [".a", "_.a", ".a/b", "_.a/b", "x.lock", "x.lock_"].map(str::to_owned);
    let names = [&names[..], &[long(255), format!("{}/c", long(255)), long(300), format!("{}m", long(299))]];
    let names = [&["INBOX".to_owned()], &*names.concat()].concat();
    let theirs =
        "X-IMAPbase: 9 4294967294\r\nX-UID: 4294967294\r\nStatus: R\r\nX-Status: FD\r\nX-Keywords: sent\r\n";
    let messages = [
        "Subject: alone\r\n".to_owned(),
        "Subject: alone\r\n\r\n".to_owned(),
        format!("{theirs}Subject: fields\r\n\r\nx\r\n"),
        format!("Subject: fields\r\n{theirs}\r\nx\r\n"),
        " a fold of nothing\r\nSubject: blank\r\n\r\nx\r\n".to_owned(),
    ];
    let mut talk = imap(&server);
    for name in &names[1..] {
        ok(&mut talk, &format!("CREATE {name}"));
        append(&mut talk, name, "()", &format!("Subject: in {name}\r\n\r\nx\r\n"));
    }
    for (place, message) in messages.iter().enumerate() {
        append(&mut talk, "INBOX", ["()", "(\\Seen own)"][place % 2], message);
    }
    // Nothing is recent any more.
    for name in &names {
        ok(&mut talk, &format!("SELECT {name}"));
    }
    let before: Vec<_> = names.iter().map(|name| contents(&mut imap(&server), name)).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export");
    let path = path.to_str().unwrap();
    let said = text(&succeed(&mut server.command(&["export", USER, path, "--format", "mbox"])));
    assert!(said.contains("11 mailboxes, 15 messages"), "{said}");
    let mut other = Server::prepare(CONFIG);
    other.add_user(USER, PASSWORD);
    for copied in ["5 messages, 5 copied", "5 messages, 0 copied"] {
        let from = format!("mbox:{path}");
        let said = text(&succeed(&mut other.command(&["migrate", "--from", &from, "--to", USER])));
        assert_eq!(said.matches("the same on both sides").count(), 11, "{said}");
        assert!(said.contains(copied), "{said}");
    }
    other.serve();
    let mut talk = imap(&other);
    for (name, before) in names.iter().zip(&before) {
        ok(&mut talk, &format!("SELECT {name}"));
        let after = contents(&mut talk, name);
        assert!(after == *before, "{name}: {before:?} {after:?}");
    }
}

const SIEVE: &str = "require \"fileinto\";\r\n# größer\r\nfileinto \"Lists\";\r\n";

/// Somebody at their scripts.
fn scripts(server: &Server) -> Talk {
    let mut talk = server.talk(server.port("managesieve", "starttls"));
    talk.until("OK");
    let plain = BASE64_STANDARD.encode(format!("\0{USER}\0{PASSWORD}"));
    talk.send(format!("AUTHENTICATE \"PLAIN\" \"{plain}\"\r\n"));
    talk.until("OK");
    talk
}

/// Everything that goes along with the messages of [`fill`].
fn annotate(server: &Server) {
    let mut talk = imap(server);
    for command in [
        "SUBSCRIBE Gone",
        "CREATE .hidden",
        "CREATE Lists/own",
        "SETACL Lists $staff lr",
        "SETACL Lists -eve@example.org i",
        "CREATE Lists/Below",
        "DELETEACL Lists/Below $staff",
        "SETACL Lists/Below bob@example.org lrswn",
        "SETMETADATA Lists (/private/comment \"mine\" /shared/comment {3+}\r\nq\r\n)",
        "SETMETADATA \"\" (/private/vendor/x/y ~{4+}\r\n\u{0}\u{1}ab)",
        "SELECT INBOX",
        "UID STORE 2,4 ANNOTATION (/comment (value.priv \"own\" value.shared \"all\"))",
        "UID STORE 4 ANNOTATION (/1/comment (value.shared ~{3+}\r\n\u{0}bc))",
        "SELECT Trash",
        "UID STORE 1 ANNOTATION (/altsubject (value.priv \"other\"))",
    ] {
        ok(&mut talk, command);
    }
    let mut talk = scripts(server);
    for command in [
        format!("PUTSCRIPT \"main\" {{{}+}}\r\n{SIEVE}", SIEVE.len()),
        "PUTSCRIPT \"a/b\" \"keep;\"".into(),
        "SETACTIVE \"main\"".into(),
    ] {
        talk.send(command + "\r\n");
        talk.until("OK");
    }
}

/// What is seen of that.
fn along(server: &Server) -> Vec<String> {
    let mut talk = imap(server);
    let mut all = Vec::new();
    for command in [
        "LSUB \"\" *",
        "LIST \"\" *",
        "GETACL Lists",
        "GETACL Lists/Below",
        "GETACL Lists/own",
        "GETMETADATA (DEPTH infinity) Lists (/private /shared)",
        "GETMETADATA (DEPTH infinity) \"\" (/private)",
        "SELECT INBOX",
        "UID FETCH 1:* (ANNOTATION (* (value)))",
        "SELECT Trash",
        "UID FETCH 1:* (ANNOTATION (* (value)))",
    ] {
        let mut said = ok(&mut talk, command);
        said.retain(|line| {
            !line.starts_with("* OK") && !line.starts_with("a OK") && !line.contains("RECENT")
        });
        said.sort();
        all.extend(said);
    }
    all
}

/// The scripts, of which there are two or none.
fn kept_scripts(server: &Server) -> Vec<String> {
    let mut talk = scripts(server);
    talk.send("LISTSCRIPTS\r\n");
    let mut all = talk.until("OK");
    if all.len() > 1 {
        for command in ["GETSCRIPT \"main\"", "GETSCRIPT \"a/b\""] {
            talk.send(format!("{command}\r\n"));
            all.extend(talk.until("OK"));
        }
    }
    all
}

#[test]
fn what_goes_along_with_mail_comes_back_too() {
    let server = Server::start(CONFIG);
    fill(&server);
    annotate(&server);
    let before = along(&server);
    for part in ["Gone", "$staff lr", "-eve@example.org i", "bob@example.org lrswn", "Lists/own", "\"all\""] {
        assert!(before.iter().any(|line| line.contains(part)), "{part}: {before:#?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for format in ["maildir", "mbox"] {
        let said = text(&succeed(&mut server.command(&["export", USER, &path(format), "--format", format])));
        let with = "with 6 annotations of messages, 3 annotations of mailboxes and of the server, \
                    4 entries of access control lists, 2 Sieve scripts\n";
        assert!(said.ends_with(with), "{format}: {said}");
    }
    // Other programs find theirs where they look for it.
    let tree = folder.path().join("maildir");
    let list = fs::read_to_string(tree.join(".Lists/dovecot-acl")).unwrap();
    assert!(list.contains("group=staff lr\n"), "{list}");
    assert_eq!(fs::read_to_string(tree.join(".dovecot.sieve")).unwrap(), SIEVE);

    let password = folder.path().join("password");
    fs::write(&password, PASSWORD).unwrap();
    let imap = format!("imap:127.0.0.1:{}", server.port("imap", "starttls"));
    for from in [format!("maildir:{}", path("maildir")), format!("mbox:{}", path("mbox")), imap] {
        let mut other = Server::prepare(CONFIG);
        other.add_user(USER, PASSWORD);
        // The second time everything is there.
        for _ in 0..2 {
            let mut command = other.command(&["migrate", "--from", &from, "--to", USER, "--plaintext"]);
            let output = command.stdin(fs::File::open(&password).unwrap()).output().unwrap();
            let said = text(&output.stdout);
            assert!(output.status.success() && !said.contains("NOT THE SAME"), "{from}: {output:?}");
            let inbox = said.lines().find(|line| line.starts_with("INBOX")).unwrap();
            assert!(inbox.contains("5 annotations of messages"), "{from}: {said}");
        }
        other.serve();
        assert_eq!(along(&other), before, "{from}");
        // IMAP does not tell of scripts.
        let wanted = if from.starts_with("imap") { Vec::new() } else { kept_scripts(&server) };
        let found = kept_scripts(&other);
        assert!(found == wanted || wanted.is_empty() && found.len() == 1, "{from}: {found:?}");
    }
}

#[test]
fn what_others_keep_to_themselves_stays_and_is_counted() {
    let server = Server::start(CONFIG);
    fill(&server);
    let bob = "bob@example.org";
    server.add_user(bob, PASSWORD);
    let mut talk = imap(&server);
    ok(&mut talk, &format!("SETACL Lists {bob} lrs"));
    ok(&mut talk, "SELECT Lists");
    ok(&mut talk, "UID STORE 1 ANNOTATION (/comment (value.priv \"own\" value.shared \"all\"))");
    let mut talk = common::login(&server, bob);
    let there = format!("\"Other Users/{USER}/Lists\"");
    ok(&mut talk, &format!("SETMETADATA {there} (/private/comment \"bob's\")"));
    ok(&mut talk, &format!("SELECT {there} (ANNOTATE)"));
    ok(&mut talk, "UID STORE 1 ANNOTATION (/comment (value.priv \"bob's\"))");
    let folder = tempfile::tempdir().unwrap();
    for format in ["maildir", "mbox"] {
        let path = folder.path().join(format);
        let said = text(&succeed(&mut server.command(&[
            "export",
            USER,
            path.to_str().unwrap(),
            "--format",
            format,
        ])));
        assert!(said.contains("\nstays here: 2 private annotations of others"), "{format}: {said}");
        let companion =
            [".mailwright-export", "mailwright-export"].map(|name| fs::read_to_string(path.join(name)));
        let companion = companion.into_iter().find_map(Result::ok).unwrap();
        assert!(companion.contains("\"own\"") && !companion.contains("bob's"), "{companion}");
    }
}

#[test]
fn what_has_no_room_is_named() {
    let server = Server::start(CONFIG);
    fill(&server);
    annotate(&server);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mbox").to_str().unwrap().to_owned();
    succeed(&mut server.command(&["export", USER, &path, "--format", "mbox"]));
    let other =
        Server::prepare("allow_plaintext_auth = true\nstore = { kind = \"maildir\", path = \"mail/%u\" }");
    other.add_user(USER, PASSWORD);
    let from = format!("mbox:{path}");
    let output = run(&mut other.command(&["migrate", "--from", &from, "--to", USER]));
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("5 annotations of messages: this store keeps none"), "{said}");
    assert_eq!(said.matches("the same on both sides").count(), 6, "{said}");
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
