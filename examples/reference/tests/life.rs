//! Quotas, their warnings, expiry, undeleting and the mail of removed accounts, from outside; with periods of seconds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::{fs, os::unix::fs::PermissionsExt, thread, time::Duration};

use common::{PASSWORD, Server, Talk, USER, deliver, imap, run, succeed, wait_for};
use serde_json::Value;

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

fn done(server: &Server, arguments: &[&str]) -> String {
    text(&succeed(&mut server.command(arguments)))
}

fn lines(server: &Server, arguments: &[&str]) -> Vec<Value> {
    done(server, arguments).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What a command that is refused says.
fn refused(server: &Server, arguments: &[&str]) -> String {
    let output = run(&mut server.command(arguments));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    text(&output.stderr)
}

/// A message of so many octets.
fn message(subject: &str, octets: usize) -> String {
    let header = format!("Subject: {subject}\r\n\r\n");
    let filling = "0123456789abcde\r\n".repeat(octets / 17 + 1);
    let text = &filling[..octets - header.len() - 2];
    // No carriage return may stand alone.
    format!("{header}{}{}\r\n", text.trim_end_matches('\r'), if text.ends_with('\r') { "." } else { "" })
}

/// The replies to MAIL and RCPT with a size, or without.
fn rcpt(server: &Server, protocol: &str, to: &str, size: Option<u64>) -> String {
    let tls = if protocol == "lmtp" { "none" } else { "starttls" };
    let mut talk = server.talk(server.port(protocol, tls));
    talk.reply();
    talk.smtp(if protocol == "lmtp" { "LHLO client.test" } else { "EHLO client.test" });
    let size = size.map(|size| format!(" SIZE={size}")).unwrap_or_default();
    assert!(talk.smtp(&format!("MAIL FROM:<>{size}")).starts_with("250"));
    talk.smtp(&format!("RCPT TO:<{to}>"))
}

/// What IMAP says to a command at its end.
fn last(talk: &mut Talk, tag: &str, command: &str) -> String {
    talk.imap(tag, command).pop().unwrap()
}

fn append(talk: &mut Talk, mailbox: &str, text: &str) -> String {
    talk.send(format!("z APPEND {mailbox} {{{}}}\r\n", text.len()));
    let line = talk.line();
    if !line.starts_with('+') {
        return line;
    }
    talk.send(format!("{text}\r\n"));
    talk.until("z").pop().unwrap()
}

fn exists(talk: &mut Talk, mailbox: &str) -> usize {
    let lines = talk.imap("e", &format!("STATUS {mailbox} (MESSAGES)"));
    let line = lines.iter().find(|line| line.starts_with("* STATUS")).unwrap_or_else(|| panic!("{lines:?}"));
    line.rsplit("MESSAGES ").next().unwrap().trim_end_matches([')', '\r', '\n']).parse().unwrap()
}

#[test]
fn what_is_too_much_is_refused_before_it_comes() {
    let mut server =
        Server::start("allow_plaintext_auth = true\nquota.storage = 10000\nquota.warn_percent = []");
    let bob = "bob@example.org";
    server.add_user(bob, PASSWORD);
    for protocol in ["smtp", "lmtp"] {
        assert!(rcpt(&server, protocol, USER, Some(9_000)).starts_with("250 2.1.5"));
        let reply = rcpt(&server, protocol, USER, Some(10_001));
        assert!(reply.starts_with("552 5.2.2"), "{protocol}: {reply}");
    }
    for number in 0..3 {
        deliver(&server, USER, &message(&number.to_string(), 3_000));
    }
    // Nobody said how large it will be: refused at the end.
    let mut talk = server.talk(server.port("smtp", "starttls"));
    talk.reply();
    for (command, code) in [
        ("EHLO client.test", "250"),
        ("MAIL FROM:<>", "250"),
        (&format!("RCPT TO:<{USER}>"), "250"),
        ("DATA", "354"),
    ] {
        assert!(talk.smtp(command).starts_with(code), "{command}");
    }
    let reply = talk.smtp(&format!("{}.", message("large", 3_000)));
    assert!(reply.starts_with("552 5.2.2"), "{reply}");

    let mut session = imap(&server);
    let reply = append(&mut session, "INBOX", &message("append", 2_000));
    assert!(reply.starts_with("z NO [OVERQUOTA]"), "{reply}");
    last(&mut session, "a", "SELECT INBOX");
    let reply = last(&mut session, "b", "COPY 1 INBOX");
    assert!(reply.starts_with("b NO [OVERQUOTA]"), "{reply}");

    // Limits of one's own hold at once.
    done(&server, &["user", "quota", USER, "--storage", "1M", "--messages", "4"]);
    assert!(last(&mut session, "c", "COPY 1 INBOX").starts_with("c OK"));
    let reply = rcpt(&server, "smtp", USER, None);
    assert!(reply.starts_with("552 5.2.2"), "{reply}");
    assert!(rcpt(&server, "smtp", bob, None).starts_with("250"));
    let shown = &lines(&server, &["user", "quota", USER, "--json"])[0];
    assert_eq!(
        (shown["storage_limit"].as_u64(), shown["messages_limit"].as_u64(), shown["messages"].as_u64()),
        (Some(1 << 20), Some(4), Some(4)),
        "{shown}"
    );
    let table = done(&server, &["usage"]);
    let of_user: Vec<_> =
        table.lines().find(|line| line.starts_with(USER)).unwrap().split_whitespace().collect();
    assert_eq!((of_user[1], of_user[2]), ("4", "4"), "{table}");
    assert_eq!(of_user[of_user.len() - 2..], ["100", "%"], "{table}");
    done(&server, &["user", "quota", USER, "--messages", "none", "--mailboxes", "2"]);
    assert!(rcpt(&server, "smtp", USER, None).starts_with("250"));
    assert!(last(&mut session, "d", "CREATE one").starts_with("d OK"));
    assert!(last(&mut session, "e", "CREATE two").starts_with("e NO [OVERQUOTA]"));

    let all = lines(&server, &["usage", "--json"]);
    let names: Vec<_> = all.iter().map(|user| user["name"].as_str().unwrap()).collect();
    assert_eq!(names, [USER, bob], "{all:?}");
    assert_eq!((all[0]["own_limits"].as_bool(), all[1]["own_limits"].as_bool()), (Some(true), Some(false)));
    let table = done(&server, &["user", "list", "--usage"]);
    assert!(table.contains(bob) && table.contains("total"), "{table}");
    done(&server, &["user", "quota", USER, "--default"]);
    assert!(rcpt(&server, "smtp", USER, Some(3_000)).starts_with("552"));
    assert!(refused(&server, &["user", "quota", "nobody@example.org"]).contains("there is no account"));
    // Also without a server.
    server.stop();
    assert_eq!(lines(&server, &["usage", "--json"])[0]["messages"].as_u64(), Some(4));
}

#[test]
fn users_are_told_once_that_it_gets_tight() {
    let mut server = Server::start("allow_plaintext_auth = true\nquota.messages = 10");
    for number in 0..7 {
        deliver(&server, USER, &message(&number.to_string(), 100));
    }
    let mut session = imap(&server);
    assert_eq!(exists(&mut session, "INBOX"), 7);
    deliver(&server, USER, &message("eighth", 100));
    // The message itself is the ninth.
    wait_for("the warning", || (exists(&mut session, "INBOX") == 9).then_some(()));
    last(&mut session, "a", "SELECT INBOX");
    let fetched = session.imap("b", "FETCH 9 BODY[]").concat();
    for word in
        ["Your mailbox is 80 % full", "From: Mail server <postmaster@mail.example.org>", "Auto-Submitted"]
    {
        assert!(fetched.contains(word), "{word}: {fetched}");
    }
    // The tenth passes 95 %: that warning comes though the mailbox is full.
    deliver(&server, USER, &message("tenth", 100));
    wait_for("the second warning", || (exists(&mut session, "INBOX") == 11).then_some(()));
    assert!(rcpt(&server, "smtp", USER, None).starts_with("552"));
    // Once: not after a restart, nor for anything but a rise.
    server.stop();
    server.serve();
    let mut session = imap(&server);
    last(&mut session, "a", "SELECT INBOX");
    last(&mut session, "b", "STORE 1:2 +FLAGS (\\Deleted)");
    last(&mut session, "c", "EXPUNGE");
    thread::sleep(Duration::from_secs(1));
    assert_eq!(exists(&mut session, "INBOX"), 9);
    // Below, and up again.
    last(&mut session, "d", "STORE 1:4 +FLAGS (\\Deleted)");
    last(&mut session, "e", "EXPUNGE");
    for number in 0..3 {
        deliver(&server, USER, &message(&number.to_string(), 100));
    }
    wait_for("another warning", || (exists(&mut session, "INBOX") == 9).then_some(()));
}

#[test]
fn a_program_may_tell_in_place_of_a_message() {
    let folder = tempfile::tempdir().unwrap();
    let (program, told) = (folder.path().join("tell"), folder.path().join("told"));
    fs::write(&program, format!("#!/bin/sh\necho \"$@\" >> {}\n", told.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let server = Server::start(&format!(
        "allow_plaintext_auth = true\nquota.storage = 1000\nquota.warn_percent = [50]\n\
         quota.warn_command = [\"{}\", \"--mail\"]",
        program.display()
    ));
    deliver(&server, USER, &message("half", 600));
    let said = wait_for("the program", || fs::read_to_string(&told).ok().filter(|said| said.ends_with('\n')));
    assert_eq!(said, format!("--mail {USER} STORAGE 50\n"));
    assert_eq!(exists(&mut imap(&server), "INBOX"), 1);
}

#[test]
fn who_cannot_be_told_keeps_nobody_else_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let (program, told) = (folder.path().join("tell"), folder.path().join("told"));
    let mut server = Server::start(&format!(
        "allow_plaintext_auth = true\nquota.storage = 1000\nquota.warn_percent = [50]\n\
         quota.warn_command = [\"{}\"]",
        program.display()
    ));
    let bob = "bob@example.org";
    server.add_user(bob, PASSWORD);
    // There is no program yet, so both wait.
    deliver(&server, USER, &message("half", 600));
    deliver(&server, bob, &message("half", 600));
    wait_for("the failure", || server.log().contains("cannot be told of the quota").then_some(()));
    server.stop();
    // Alice's warning comes first and cannot be passed on.
    let script = format!("#!/bin/sh\necho \"$@\" >> {}\ntest \"$1\" != {USER}\n", told.display());
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    server.serve();
    let said = || fs::read_to_string(&told).unwrap_or_default();
    wait_for("the program", || said().ends_with(&format!("{bob} STORAGE 50\n")).then_some(()));
    assert!(said().starts_with(USER), "{}", said());
    let refused = |line: &str| line.contains("cannot be told of the quota") && line.contains(USER);
    wait_for("alice's name", || server.log().lines().any(refused).then_some(()));
}

#[test]
fn trash_and_junk_end_after_their_time() {
    let server = Server::start(
        "allow_plaintext_auth = true\nexpiry.trash = \"2s\"\nexpiry.every = \"1h\"\nstore.undelete = \"1h\"",
    );
    let bob = "bob@example.org";
    server.add_user(bob, PASSWORD);
    let mut session = imap(&server);
    last(&mut session, "a", "CREATE Bin (USE (\\Trash))");
    for mailbox in ["Trash", "Bin/old", "Junk"] {
        assert!(last(&mut session, "b", &format!("CREATE {mailbox}")).starts_with("b OK"));
    }
    for mailbox in ["INBOX", "Bin", "Bin/old", "Trash", "Junk"] {
        assert!(append(&mut session, mailbox, &message(mailbox, 100)).starts_with("z OK"));
    }
    assert_eq!(lines(&server, &["expire", "--dry-run", "--json"]).len(), 1, "nothing is old yet");
    thread::sleep(Duration::from_secs(3));
    // Moved just now, however old it is.
    last(&mut session, "c", "SELECT INBOX");
    last(&mut session, "d", "COPY 1 Bin");
    let dry = done(&server, &["expire", "--dry-run"]);
    for line in ["Bin: 1 messages, 100 octets", "Bin/old: 1 messages", "2 accounts: 2 messages, 200 octets"] {
        assert!(dry.contains(line), "{line}: {dry}");
    }
    assert_eq!(exists(&mut session, "Bin"), 2);
    let went = lines(&server, &["expire", "--json"]);
    assert_eq!(went.last().unwrap()["messages"].as_u64(), Some(2), "{went:?}");
    let counts = ["INBOX", "Bin", "Bin/old", "Trash", "Junk"].map(|mailbox| exists(&mut session, mailbox));
    assert_eq!(counts, [1, 1, 0, 1, 1]);

    // One's own periods.
    assert!(
        done(&server, &["user", "expiry", USER, "--trash", "30d", "--junk", "1s"])
            .contains("trash 30d, junk 1s")
    );
    thread::sleep(Duration::from_secs(3));
    done(&server, &["expire"]);
    let counts = ["Bin", "Junk"].map(|mailbox| exists(&mut session, mailbox));
    assert_eq!(counts, [1, 0]);
    assert!(done(&server, &["user", "expiry", USER, "--default"]).contains("trash 2s, junk 0"));

    // What went can be had back.
    let listed = lines(&server, &["undelete", USER, "--list", "--json"]);
    assert_eq!(listed.len(), 3, "{listed:?}");
    assert_eq!(
        done(&server, &["undelete", USER, "--mailbox", "Junk", "--since", "1h"]),
        "1 messages are back\n"
    );
    last(&mut session, "f", "DELETE Bin/old");
    assert_eq!(done(&server, &["undelete", USER, "--mailbox", "Bin/old"]), "1 messages are back\n");
    assert_eq!(done(&server, &["undelete", USER, "--into", "INBOX"]), "1 messages are back\n");
    let counts = ["INBOX", "Bin/old", "Junk"].map(|mailbox| exists(&mut session, mailbox));
    assert_eq!(counts, [2, 1, 1]);
    assert_eq!(done(&server, &["undelete", USER]), "0 messages are back\n");
}

#[test]
fn what_is_flagged_is_spared_unless_it_is_not_to_be() {
    for (spare, left) in [("", 1), ("expiry.spare_flagged = false", 0)] {
        let server = Server::start(&format!(
            "allow_plaintext_auth = true\nexpiry.trash = \"1s\"\nexpiry.every = \"1h\"\n{spare}"
        ));
        let mut session = imap(&server);
        last(&mut session, "a", "CREATE Trash");
        for number in 0..3 {
            append(&mut session, "Trash", &message(&number.to_string(), 100));
        }
        last(&mut session, "b", "SELECT Trash");
        assert!(last(&mut session, "c", "STORE 2 +FLAGS (\\Flagged)").starts_with("c OK"));
        thread::sleep(Duration::from_secs(2));
        let dry = done(&server, &["expire", "--dry-run"]);
        assert!(dry.contains(&format!("Trash: {} messages", 3 - left)), "{dry}");
        done(&server, &["expire"]);
        assert_eq!(exists(&mut session, "Trash"), left);
    }
}

#[test]
fn the_server_looks_by_itself() {
    let server = Server::start("allow_plaintext_auth = true\nexpiry.trash = \"1s\"\nexpiry.every = \"1s\"");
    let mut session = imap(&server);
    last(&mut session, "a", "CREATE Trash");
    append(&mut session, "Trash", &message("old", 100));
    wait_for("the trash to be empty", || (exists(&mut session, "Trash") == 0).then_some(()));
    assert!(refused(&server, &["undelete", USER, "--list"]).contains("[store] undelete"));
}

#[test]
fn mail_of_a_removed_account_is_kept_for_a_while() {
    let mut server =
        Server::start("allow_plaintext_auth = true\nexpiry.removed_users = \"3s\"\nexpiry.every = \"1h\"");
    let bob = "bob@example.org";
    server.add_user(bob, PASSWORD);
    deliver(&server, bob, &message("for bob", 200));
    deliver(&server, USER, &message("for alice", 200));
    done(&server, &["user", "remove", bob]);
    assert!(rcpt(&server, "smtp", bob, None).starts_with("550"));
    assert_eq!(lines(&server, &["user", "removed", "--json"])[0]["name"].as_str(), Some(bob));
    assert!(refused(&server, &["user", "add", bob]).contains("user restore"));
    // Cancelled: with the password that it had.
    done(&server, &["user", "restore", bob]);
    assert_eq!(lines(&server, &["user", "removed", "--json"]).len(), 0);
    let mut talk = server.talk(server.port("imap", "starttls"));
    talk.line();
    assert!(last(&mut talk, "a", &format!("LOGIN {bob} {PASSWORD}")).starts_with("a OK"));
    assert_eq!(exists(&mut talk, "INBOX"), 1);
    drop(talk);

    done(&server, &["user", "remove", bob]);
    assert!(done(&server, &["expire", "--dry-run"]).contains("0 messages, 0 octets, and 0 removed accounts"));
    // A restart changes nothing.
    server.stop();
    server.serve();
    thread::sleep(Duration::from_secs(4));
    assert!(done(&server, &["expire", "--dry-run"]).contains("all mail of the removed account: 1 messages"));
    done(&server, &["expire"]);
    assert!(refused(&server, &["user", "restore", bob]).contains("no removed account"));
    let left = lines(&server, &["usage", "--json"]);
    assert_eq!(left.len(), 1, "{left:?}");
    // The name is free, and nothing of the old mail is there.
    server.add_user(bob, PASSWORD);
    let mut talk = server.talk(server.port("imap", "starttls"));
    talk.line();
    last(&mut talk, "a", &format!("LOGIN {bob} {PASSWORD}"));
    assert_eq!(exists(&mut talk, "INBOX"), 0);
    // At once, if somebody says so.
    done(&server, &["user", "remove", bob]);
    done(&server, &["user", "erase", bob]);
    assert_eq!(done(&server, &["user", "removed"]), "");
    assert!(refused(&server, &["user", "erase", USER]).contains("no removed account"));
    let checked = done(&server, &["fsck"]);
    assert!(checked.ends_with(": 0 findings\n"), "{checked}");
}

#[test]
fn a_domain_that_goes_takes_no_mail_along() {
    let server = Server::start("allow_plaintext_auth = true");
    done(&server, &["domain", "add", "other.example"]);
    let carol = "carol@other.example";
    server.add_user(carol, PASSWORD);
    deliver(&server, carol, &message("for carol", 200));
    let output = run(&mut server.command(&["domain", "remove", "other.example"]));
    if output.status.success() {
        done(&server, &["domain", "add", "other.example"]);
    }
    let all = lines(&server, &["usage", "--json"]);
    assert!(all.iter().any(|user| user["name"] == carol && user["messages"] == 1), "{all:?}");
}

#[test]
fn compressed_mail_reads_as_it_was_sent() {
    let server = Server::start("allow_plaintext_auth = true\nstore.compression = 3");
    let text = message("large", 700_000);
    deliver(&server, USER, &text);
    let mut session = imap(&server);
    last(&mut session, "a", "SELECT INBOX");
    let fetched = session.imap("b", "FETCH 1 BODY[TEXT]").join("\r\n");
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(fetched.contains(body.trim_end()), "{} octets came", fetched.len());
    let part = session.imap("c", "FETCH 1 BODY[TEXT]<300000.17>").join("\r\n");
    assert!(part.contains(&body[300_000..300_010]), "{part}");
    let checked = done(&server, &["fsck"]);
    assert!(checked.contains("1 messages") && checked.ends_with(": 0 findings\n"), "{checked}");
}

#[test]
fn maildirs_have_quotas_and_scripts_too() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&format!(
        "allow_plaintext_auth = true\nquota.messages = 10\nquota.warn_percent = [40]\n\
         store.kind = \"maildir\"\nstore.path = \"{}/%n/Maildir\"",
        folder.path().display()
    ));
    let mut session = imap(&server);
    for number in 0..3 {
        deliver(&server, USER, &message(&number.to_string(), 100));
    }
    assert_eq!(exists(&mut session, "INBOX"), 3);
    deliver(&server, USER, &message("fourth", 100));
    wait_for("the warning", || (exists(&mut session, "INBOX") == 5).then_some(()));
    done(&server, &["user", "quota", USER, "--messages", "5"]);
    assert!(rcpt(&server, "smtp", USER, None).starts_with("552 5.2.2"));
    assert!(append(&mut session, "INBOX", &message("append", 100)).starts_with("z NO [OVERQUOTA]"));
    done(&server, &["user", "quota", USER, "--default"]);
    let all = lines(&server, &["usage", "--json"]);
    assert_eq!((all[0]["name"].as_str(), all[0]["messages"].as_u64()), (Some(USER), Some(5)), "{all:?}");
    // A script of the file system filters.
    let home = folder.path().join("alice");
    fs::create_dir_all(home.join("sieve")).unwrap();
    fs::write(home.join("sieve/main.sieve"), "require \"fileinto\";\r\nfileinto \"Lists\";\r\n").unwrap();
    std::os::unix::fs::symlink("sieve/main.sieve", home.join(".dovecot.sieve")).unwrap();
    last(&mut session, "a", "CREATE Lists");
    deliver(&server, USER, &message("to a list", 100));
    assert_eq!((exists(&mut session, "INBOX"), exists(&mut session, "Lists")), (5, 1));
}
