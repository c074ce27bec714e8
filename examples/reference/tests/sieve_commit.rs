//! A message and what a Sieve script makes of it are taken together, or not at all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::{fs, sync::Barrier, thread};

use common::{PASSWORD, Server, USER, succeed};

const BOB: &str = "bob@example.org";
const CARL: &str = "carl@example.org";
/// A user of every system: as root, the server gives files to those they are named after.
const NOBODY: &str = "nobody@example.org";

/// A server with alice, bob, carl and nobody, whose default script this is.
fn server(extra: &str, script: &str) -> Server {
    let mut server =
        Server::prepare(&format!("allow_plaintext_auth = true\nquota.warn_percent = []\n{extra}"));
    fs::write(server.folder.path().join("default.sieve"), script).unwrap();
    let file = server.folder.path().join("mailwright.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}\n[sieve]\ndefault = \"default.sieve\"\n")).unwrap();
    for user in [USER, BOB, CARL, NOBODY] {
        server.add_user(user, PASSWORD);
    }
    server.serve();
    server
}

/// How many messages a mailbox has.
fn count(server: &Server, user: &str, mailbox: &str) -> usize {
    let mut talk = server.talk(server.port("imap", "starttls"));
    talk.line();
    assert!(talk.imap("a", &format!("LOGIN {user} {PASSWORD}")).last().unwrap().starts_with("a OK"));
    let answer = talk.imap("b", &format!("STATUS {mailbox} (MESSAGES)"));
    let found = answer[0].split_once("MESSAGES ").map(|(_, number)| number.trim_end_matches(')'));
    found.map_or(0, |number| number.parse().unwrap())
}

/// Sends a message from bob to alice; gives the last reply.
fn send(server: &Server, id: &str, octets: usize) -> String {
    send_from(server, BOB, USER, id, octets)
}

fn send_from(server: &Server, from: &str, to: &str, id: &str, octets: usize) -> String {
    let mut talk = server.talk(server.port("smtp", "starttls"));
    talk.reply();
    talk.smtp("EHLO client.example");
    talk.smtp(&format!("MAIL FROM:<{from}>"));
    assert_eq!(talk.smtp(&format!("RCPT TO:<{to}>")), "250 2.1.5 Ok");
    assert!(talk.smtp("DATA").starts_with("354"));
    talk.send(format!("Message-ID: <{id}@x>\r\nFrom: {BOB}\r\nTo: {USER}\r\nSubject: s\r\n\r\n"));
    talk.send(format!("{}\r\n", "x".repeat(70)).repeat(octets / 72));
    talk.smtp(".")
}

const ANSWERS: &str = r#"require ["duplicate", "vacation", "copy", "envelope", "editheader", "mailbox", "fileinto"];
    if envelope :is "to" "alice@example.org" {
        if duplicate { discard; stop; }
        vacation :days 1 "I am at sea.";
        redirect :copy "carl@example.org";
        if header :contains "Message-ID" "changed" {
            addheader "X-Seen" "yes";
            fileinto :create "Changed";
        }
    }"#;

#[test]
fn what_cannot_be_taken_leaves_nothing_behind_and_its_next_try_is_the_first() {
    for extra in ["", "store.kind = \"maildir\"\nstore.path = \"mail/%d/%n/Maildir\""] {
        let maildir = !extra.is_empty();
        let server = server(extra, ANSWERS);
        succeed(&mut server.command(&["user", "quota", USER, "--storage", "2000"]));
        let refused = send(&server, "one", 9_000);
        assert!(refused.starts_with("552 ") || refused.starts_with("452 "), "{refused}");
        assert_eq!(count(&server, USER, "INBOX"), 0);
        if !maildir {
            // Nobody heard of it.
            assert_eq!((count(&server, BOB, "INBOX"), count(&server, CARL, "INBOX")), (0, 0));
        }
        succeed(&mut server.command(&["user", "quota", USER, "--default"]));
        let taken = send(&server, "one", 9_000);
        assert!(taken.starts_with("250 "), "{taken}");
        assert_eq!(count(&server, USER, "INBOX"), 1, "it is no duplicate of what was refused");
        if !maildir {
            assert_eq!((count(&server, BOB, "INBOX"), count(&server, CARL, "INBOX")), (1, 1));
        }
        // Now it is one, and bob has had his answer.
        assert!(send(&server, "one", 100).starts_with("250 "));
        assert_eq!((count(&server, USER, "INBOX"), count(&server, BOB, "INBOX")), (1, 1));
    }
}

/// Of messages that come at the same moment one is the first, and their sender is answered once; where what is remembered is not in the
/// commit of the message, too.
#[test]
fn of_two_at_once_one_is_the_first() {
    for (extra, rounds) in [("", 40), ("store.kind = \"maildir\"\nstore.path = \"mail/%d/%n/Maildir\"", 15)] {
        let server = server(extra, ANSWERS);
        for round in 0..rounds {
            // An answer for each round.
            three_at_once(&server, &format!("bob+{round}@example.org"), USER, round);
            let now = [USER, CARL, BOB].map(|user| count(&server, user, "INBOX"));
            assert_eq!(now, [round + 1; 3], "one message, one copy of it, and one answer: {extra}");
        }
    }
}

#[test]
fn of_two_at_once_one_is_the_first_in_an_mbox() {
    let server = server("store.mbox = \"spool-%n\"", "require \"duplicate\"; if duplicate { discard; }");
    for round in 0..15 {
        three_at_once(&server, "ann@example.net", NOBODY, round);
        let mbox = fs::read_to_string(server.folder.path().join("spool-nobody")).unwrap();
        assert_eq!(mbox.lines().filter(|line| line.starts_with("From ")).count(), round + 1, "{mbox}");
    }
}

/// Sends the same message three times.
fn three_at_once(server: &Server, from: &str, to: &str, number: usize) {
    let gate = Barrier::new(3);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut talk = server.talk(server.port("smtp", "starttls"));
                talk.reply();
                talk.smtp("EHLO client.example");
                talk.smtp(&format!("MAIL FROM:<{from}>"));
                assert_eq!(talk.smtp(&format!("RCPT TO:<{to}>")), "250 2.1.5 Ok");
                assert!(talk.smtp("DATA").starts_with("354"));
                talk.send(format!(
                    "Message-ID: <at-once-{number}@x>\r\nFrom: <{from}>\r\nTo: {to}\r\nSubject: s\r\n\r\nx"
                ));
                gate.wait();
                talk.send("\r\n.\r\n");
                let reply = talk.reply();
                assert!(reply.starts_with("250 "), "{reply}");
            });
        }
    });
}

#[test]
fn a_copy_that_cannot_be_filed_is_refused_with_the_rest() {
    let server = server("", ANSWERS);
    succeed(&mut server.command(&["user", "quota", USER, "--storage", "2000"]));
    assert!(!send(&server, "changed", 9_000).starts_with("250 "));
    assert_eq!((count(&server, BOB, "INBOX"), count(&server, CARL, "INBOX")), (0, 0));
    succeed(&mut server.command(&["user", "quota", USER, "--default"]));
    assert!(send(&server, "changed", 9_000).starts_with("250 "));
    assert_eq!((count(&server, USER, "Changed"), count(&server, USER, "INBOX")), (1, 0));
}

#[test]
fn a_message_is_kept_where_it_cannot_be_sent_on() {
    let script = r#"require "envelope";
        if envelope :is "to" "alice@example.org" { redirect "carl@example.org"; }
        elsif envelope :is "to" "carl@example.org" { redirect "bob@example.org"; }"#;
    let server = server("", script);
    // Whoever cannot be reached at the end of the way: the one before has it.
    succeed(&mut server.command(&["user", "quota", BOB, "--storage", "2000"]));
    assert!(send(&server, "one", 9_000).starts_with("250 "));
    let counts = |server: &Server| [USER, CARL, BOB].map(|user| count(server, user, "INBOX"));
    assert_eq!(counts(&server), [0, 1, 0]);
    succeed(&mut server.command(&["user", "quota", CARL, "--storage", "2000"]));
    assert!(send(&server, "two", 9_000).starts_with("250 "));
    assert_eq!(counts(&server), [1, 1, 0]);
    succeed(&mut server.command(&["user", "quota", BOB, "--default"]));
    assert!(send(&server, "three", 9_000).starts_with("250 "));
    assert_eq!(counts(&server), [1, 1, 1]);
}

/// A report of a failed delivery has the null sender, and is a loss like any other message; an answer of a script is none.
#[test]
fn what_has_no_sender_is_kept_where_it_cannot_be_sent_on() {
    let script = r#"require ["envelope", "vacation"];
        if envelope :is "to" "carl@example.org" { vacation "I am at sea."; discard; }
        elsif header :contains "Message-ID" "full" { redirect "carl@example.org"; }
        elsif envelope :is "to" "alice@example.org" { redirect "missing@example.org"; }"#;
    for extra in ["", "store.kind = \"maildir\"\nstore.path = \"mail/%d/%n/Maildir\""] {
        let server = server(extra, &script.replace("vacation \"I am at sea.\"; discard;", "keep;"));
        succeed(&mut server.command(&["user", "quota", CARL, "--storage", "2000"]));
        let counts = |server: &Server| [USER, CARL].map(|user| count(server, user, "INBOX"));
        for (sender, id, expected) in
            [(BOB, "gone", 1), ("", "gone-too", 2), (BOB, "full", 3), ("", "full-too", 4)]
        {
            let taken = send_from(&server, sender, USER, id, 9_000);
            assert!(taken.starts_with("250 "), "{taken}");
            assert_eq!(counts(&server), [expected, 0], "{extra}: {sender:?} {id}");
        }
    }
    let server = server("", script);
    succeed(&mut server.command(&["user", "quota", BOB, "--storage", "100"]));
    assert!(send_from(&server, BOB, CARL, "one", 100).starts_with("250 "));
    assert_eq!([CARL, BOB].map(|user| count(&server, user, "INBOX")), [0, 0]);
}
