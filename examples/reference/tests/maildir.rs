//! The running server over Maildirs: what a client is offered there, seen from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::{fs, path::PathBuf, thread, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use common::{PASSWORD, Server, Talk, USER, deliver, imap, login, refused, run, succeed};

const BOB: &str = "bob@example.org";
const MESSAGE: &str = "From: ann@example.net\r\nSubject: plans\r\nContent-Type: text/plain\r\n\r\nbody\r\n";

/// A server with two accounts, whose mail is below `mail`.
fn start(extra: &str) -> Server {
    let mut server = Server::prepare(&format!(
        "allow_plaintext_auth = true\nstore.kind = \"maildir\"\nstore.path = \"mail/%d/%n/Maildir\"\n{extra}"
    ));
    server.add_user(USER, PASSWORD);
    server.add_user(BOB, PASSWORD);
    server.serve();
    server
}

fn root(server: &Server) -> PathBuf {
    server.folder.path().join("mail/example.org/alice/Maildir")
}

fn ok(talk: &mut Talk, command: &str) -> String {
    let answer = talk.imap("x", command);
    assert!(answer.last().unwrap().starts_with("x OK"), "{command}: {answer:?}");
    answer.join("\n")
}

fn append(talk: &mut Talk, mailbox: &str) {
    ok(talk, &format!("APPEND {mailbox} {{{}+}}\r\n{MESSAGE}", MESSAGE.len()));
}

fn done(server: &Server, arguments: &[&str]) -> String {
    String::from_utf8(succeed(&mut server.command(arguments))).unwrap()
}

#[test]
fn what_was_found_out_is_not_looked_for_twice() {
    let server = start("");
    deliver(&server, USER, MESSAGE);
    let mut talk = imap(&server);
    ok(&mut talk, "SELECT INBOX");
    let described = |talk: &mut Talk| ok(talk, "FETCH 1 (ENVELOPE BODYSTRUCTURE)");
    let first = described(&mut talk);
    assert!(first.contains("\"plans\""), "{first}");
    let cache = root(&server).join("mailwright-cache");
    assert!(fs::read(&cache).unwrap().windows(5).any(|octets| octets == b"plans"));
    // The message cannot be read any more, but what it was is known.
    let file = fs::read_dir(root(&server).join("new")).unwrap().next().unwrap().unwrap().path();
    let size = fs::metadata(&file).unwrap().len();
    fs::write(&file, "x".repeat(size as usize)).unwrap();
    assert_eq!(described(&mut talk), first);
    // Without the file it is found out anew.
    fs::remove_file(&cache).unwrap();
    assert_ne!(described(&mut talk), first);
}

/// Whoever counts on it must know before the disk is lost.
#[test]
fn a_backup_says_that_it_has_no_maildirs() {
    let server = start("");
    deliver(&server, USER, MESSAGE);
    let backup = server.folder.path().join("backup").to_str().unwrap().to_owned();
    let said = done(&server, &["backup", &backup]);
    let path = format!("{}/mail/%d/%n/Maildir", server.folder.path().display());
    assert!(said.starts_with(&format!("not in it: the mail in {path}; copy that")), "{said}");
    assert!(said.lines().nth(1).unwrap().starts_with("generation 1: "), "{said}");
    let said = done(&server, &["backup", "--json", &backup]);
    assert!(said.contains(&format!("\"elsewhere\":[\"{path}\"]")), "{said}");
    let said = done(&server, &["fsck"]);
    assert!(said.starts_with(&format!("not looked at: the mail in {path}\n")), "{said}");
}

/// Who could never get mail is told before anybody sends any.
#[test]
fn accounts_that_can_have_no_maildir_are_not_made() {
    let server = start("");
    let said = refused(&server, "user add a/b@example.org");
    assert!(
        said.contains("no mail can come to a/b@example.org: expected an account name that can be"),
        "{said}"
    );
    let lines = "ann@example.org:{PLAIN}one\na/b@example.org:{PLAIN}two\n";
    let file = server.folder.path().join("users");
    fs::write(&file, lines).unwrap();
    let said = refused(&server, &format!("user import {}", file.display()));
    assert!(said.contains("no mail can come to a/b@example.org"), "{said}");
    assert!(!done(&server, &["user", "list"]).contains("ann@"));
    // Before the server is started with them.
    let path = server.folder.path().join("mailwright.toml");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{config}\n[auth]\npasswd_files = [\"users\"]\n")).unwrap();
    let output = run(&mut server.command(&["config", "check"]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("no mail can come to a/b@example.org"), "{said}");
}

/// A letter of a file's name for each keyword: there are 26 at a time, whatever was used before, and mail comes all the same.
#[test]
fn keywords_that_do_not_fit_keep_no_mail_out() {
    let server = start("");
    let mut talk = imap(&server);
    append(&mut talk, "INBOX");
    append(&mut talk, "INBOX");
    let flags = |talk: &mut Talk| {
        let lines = ok(talk, "SELECT INBOX");
        lines.lines().find(|line| line.contains("PERMANENTFLAGS")).unwrap().to_owned()
    };
    assert!(flags(&mut talk).contains("\\*"));
    let all: Vec<String> = (0..26).map(|number| format!("k{number}")).collect();
    ok(&mut talk, &format!("STORE 1 +FLAGS ({})", all.join(" ")));
    let told = talk.imap("n", "STORE 2 +FLAGS ($Forwarded)");
    let why = "n NO [LIMIT] a mailbox here has at most 26 different keywords";
    assert!(told.last().unwrap().starts_with(why), "{told:?}");
    assert!(!flags(&mut talk).contains("\\*"));
    // By APPEND, COPY and MOVE, and by a script at delivery.
    ok(&mut talk, &format!("APPEND INBOX ($Forwarded k3 \\Seen) {{{}+}}\r\n{MESSAGE}", MESSAGE.len()));
    ok(&mut talk, "CREATE Other");
    for _ in 0..2 {
        ok(&mut talk, &format!("APPEND Other ($Important k4) {{{}+}}\r\n{MESSAGE}", MESSAGE.len()));
    }
    ok(&mut talk, "SELECT Other");
    ok(&mut talk, "COPY 1 INBOX");
    ok(&mut talk, "MOVE 2 INBOX");
    let script = "require [\"imap4flags\"]; addflag [\"$Work\", \"k5\"]; keep;";
    let mut manage = server.talk(server.port("managesieve", "starttls"));
    manage.until("OK");
    let plain = BASE64_STANDARD.encode(format!("\0{USER}\0{PASSWORD}"));
    manage.send(format!("AUTHENTICATE \"PLAIN\" \"{plain}\"\r\n"));
    manage.until("OK");
    manage.send(format!("PUTSCRIPT \"f\" {{{}+}}\r\n{script}\r\nSETACTIVE \"f\"\r\n", script.len()));
    assert!(manage.line().starts_with("OK") && manage.line().starts_with("OK"));
    deliver(&server, USER, MESSAGE);
    ok(&mut talk, "SELECT INBOX");
    let found = ok(&mut talk, "FETCH 3:* FLAGS");
    for (number, flags) in [(3, "(\\Seen k3)"), (4, "(k4)"), (5, "(k4)"), (6, "(k5)")] {
        let line = found.lines().find(|line| line.starts_with(&format!("* {number} FETCH"))).unwrap();
        assert!(line.replace("\\Recent ", "").replace(" \\Recent", "").contains(flags), "{line}");
    }
    // What no message has any more makes room.
    ok(&mut talk, "STORE 1 FLAGS ()");
    assert!(flags(&mut talk).contains("\\*"));
    ok(&mut talk, "STORE 2 +FLAGS ($Forwarded)");
    assert!(ok(&mut talk, "FETCH 2 FLAGS").contains("$Forwarded"));
    assert!(ok(&mut talk, "FETCH 6 FLAGS").contains("k5"));
}

#[test]
fn mailboxes_are_shared_and_annotated() {
    let server = start("");
    let (mut alice, mut bob) = (imap(&server), login(&server, BOB));
    let offered = ok(&mut alice, "CAPABILITY");
    for word in ["ACL", "METADATA", "NOTIFY", "SAVEDATE", "QUOTA", "CONDSTORE", "IMAPSIEVE="] {
        assert!(offered.contains(&format!(" {word}")), "{word}: {offered}");
    }
    // Files are renamed one by one, so this cannot be kept.
    for word in [" MULTIAPPEND", " REPLACE"] {
        assert!(!offered.contains(word), "{word}: {offered}");
    }
    ok(&mut alice, "CREATE Team");
    append(&mut alice, "Team");
    ok(&mut alice, &format!("SETACL Team {BOB} lr"));
    assert_eq!(
        fs::read_to_string(root(&server).join(".Team/dovecot-acl")).unwrap(),
        "user=bob@example.org lr\n"
    );
    let listed = ok(&mut bob, "LIST \"\" *");
    let shared = listed.lines().find(|line| line.contains("Team")).unwrap_or_else(|| panic!("{listed}"));
    let (_, name) = shared.split_once(" \"/\" ").unwrap();
    assert!(ok(&mut bob, &format!("SELECT {name}")).contains("* 1 EXISTS"));
    assert!(ok(&mut bob, "FETCH 1 BODY.PEEK[TEXT]").contains("body"));
    assert!(bob.imap("n", "STORE 1 +FLAGS (\\Flagged)").last().unwrap().starts_with("n NO"));
    ok(&mut alice, "SETMETADATA Team (/shared/comment \"our plans\" /private/comment \"mine\")");
    let seen = ok(&mut bob, &format!("GETMETADATA {name} (/shared/comment /private/comment)"));
    assert!(seen.contains("our plans") && !seen.contains("mine"), "{seen}");
    ok(&mut alice, "RENAME Team Crew");
    assert!(ok(&mut alice, "GETMETADATA Crew /private/comment").contains("mine"));
}

#[test]
fn clients_are_told_of_other_programs_mail_anywhere() {
    let server = start("");
    let mut talk = imap(&server);
    ok(&mut talk, "CREATE Lists");
    ok(&mut talk, "SELECT INBOX");
    ok(&mut talk, "NOTIFY SET (selected (MessageNew MessageExpunge)) (personal (MessageNew MessageExpunge))");
    // Directories tell times apart by some milliseconds.
    thread::sleep(Duration::from_millis(50));
    let folder = root(&server).join(".Lists");
    fs::write(folder.join("tmp/1.M1P1.other"), "Subject: other\n\n").unwrap();
    fs::rename(folder.join("tmp/1.M1P1.other"), folder.join("new/1.M1P1.other")).unwrap();
    let line = talk.line();
    assert!(line.starts_with("* STATUS Lists (") && line.contains("MESSAGES 1"), "{line}");
    fs::write(root(&server).join("tmp/2.M1P1.other"), "Subject: other\n\n").unwrap();
    fs::rename(root(&server).join("tmp/2.M1P1.other"), root(&server).join("new/2.M1P1.other")).unwrap();
    let line = talk.line();
    assert_eq!(line, "* 1 EXISTS");
}

#[test]
fn what_is_old_goes_and_what_went_comes_back() {
    let server = start("store.undelete = \"1h\"\nexpiry.trash = \"2s\"\nexpiry.every = \"1h\"");
    let mut talk = imap(&server);
    ok(&mut talk, "CREATE Trash (USE (\\Trash))");
    append(&mut talk, "INBOX");
    append(&mut talk, "Trash");
    assert!(done(&server, &["expire", "--dry-run"]).contains(" 0 messages"), "nothing is old yet");
    thread::sleep(Duration::from_secs(3));
    ok(&mut talk, "SELECT INBOX");
    // Moved just now, however old it is; it is not gone.
    ok(&mut talk, "MOVE 1 Trash");
    done(&server, &["expire"]);
    assert!(ok(&mut talk, "STATUS Trash (MESSAGES)").contains("MESSAGES 1"));
    assert_eq!(done(&server, &["undelete", USER, "--into", "INBOX"]), "1 messages are back\n");
    ok(&mut talk, "NOOP");
    let found = ok(&mut talk, "FETCH 1:* (SAVEDATE BODY.PEEK[])");
    assert!(found.contains("plans") && !found.contains("SAVEDATE NIL"), "{found}");
    assert_eq!(done(&server, &["undelete", USER]), "0 messages are back\n");
}

#[test]
fn scripts_run_when_messages_change() {
    let server = start("");
    let mut talk = imap(&server);
    let script = "require [\"imap4flags\", \"imapsieve\"]; addflag \"$Seen-by-script\"; keep;";
    let mut manage = server.talk(server.port("managesieve", "starttls"));
    assert!(manage.until("OK").join("\n").contains("imapsieve"));
    let plain = BASE64_STANDARD.encode(format!("\0{USER}\0{PASSWORD}"));
    manage.send(format!("AUTHENTICATE \"PLAIN\" \"{plain}\"\r\n"));
    manage.until("OK");
    manage.send(format!("PUTSCRIPT \"watch\" {{{}+}}\r\n{script}\r\n", script.len()));
    let answer = manage.line();
    assert!(answer.starts_with("OK"), "{answer}");
    ok(&mut talk, "CREATE Watched");
    ok(&mut talk, "SETMETADATA Watched (/shared/imapsieve/script \"watch\")");
    append(&mut talk, "Watched");
    ok(&mut talk, "SELECT Watched");
    let found = ok(&mut talk, "FETCH 1 FLAGS");
    assert!(found.contains("$Seen-by-script"), "{found}");
}

/// RFC 9051 §6.4.7: to somebody else's mailbox too, one message after the other, and all of them or none.
#[test]
fn messages_go_to_others_mailboxes() {
    // A warning would be a message that counts, too.
    let server = start("quota.warn_percent = []");
    let (mut alice, mut bob) = (imap(&server), login(&server, BOB));
    ok(&mut bob, "CREATE In");
    ok(&mut bob, &format!("SETACL In {USER} lriw"));
    let there = format!("\"Other Users/{BOB}/In\"");
    for _ in 0..4 {
        append(&mut alice, "INBOX");
    }
    ok(&mut alice, "SELECT INBOX");
    let copied = ok(&mut alice, &format!("UID COPY 1 {there}"));
    assert!(copied.contains("[COPYUID ") && copied.contains(" 1 1]"), "{copied}");
    let copied = ok(&mut alice, &format!("UID COPY 2:3 {there}"));
    assert!(copied.contains(" 2:3 2:3]"), "{copied}");
    let moved = ok(&mut alice, &format!("UID MOVE 4 {there}"));
    assert!(moved.contains(" 4 4]") && moved.contains("* 4 EXPUNGE"), "{moved}");
    assert!(ok(&mut bob, "STATUS In (MESSAGES)").contains("MESSAGES 4"));
    ok(&mut bob, "SELECT In");
    assert!(ok(&mut bob, "FETCH 4 BODY.PEEK[TEXT]").contains("body"));
    // There is room for two more, so for none of three.
    done(&server, &["user", "quota", BOB, "--messages", "6"]);
    let lines = alice.imap("n", &format!("UID MOVE 1:3 {there}"));
    assert!(lines.last().unwrap().starts_with("n NO [OVERQUOTA]"), "{lines:?}");
    assert!(ok(&mut bob, "STATUS In (MESSAGES)").contains("MESSAGES 4"));
    assert!(ok(&mut alice, "STATUS INBOX (MESSAGES)").contains("MESSAGES 3"));
    done(&server, &["user", "quota", BOB, "--default"]);
    ok(&mut alice, &format!("UID MOVE 1:2 {there}"));
    assert!(ok(&mut bob, "STATUS In (MESSAGES)").contains("MESSAGES 6"));
}

#[test]
fn what_a_maildir_has_no_number_for_is_refused_by_name() {
    let server = start("");
    let mut talk = imap(&server);
    ok(&mut talk, "CREATE plans");
    assert!(!ok(&mut talk, "CAPABILITY").contains("OBJECTID"));
    let refusal = "x NO [CANNOT] MAILBOXID is not possible on this server";
    assert_eq!(talk.imap("x", "STATUS plans (MESSAGES MAILBOXID)"), [refusal]);
    // RFC 5819: LIST says of a mailbox what STATUS does, and no more.
    assert_eq!(talk.imap("x", "LIST \"\" * RETURN (STATUS (MESSAGES MAILBOXID))"), [refusal]);
    assert!(
        ok(&mut talk, "LIST \"\" plans RETURN (STATUS (MESSAGES))").contains("* STATUS plans (MESSAGES 0)")
    );
}
