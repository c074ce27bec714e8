//! Several sessions at the same messages, on the running server: nothing is doubled, and what is refused leaves everything as it was.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;
#[path = "common/two.rs"]
mod two;

use common::{Talk, USER, login};
use two::{BOB, done, server};

const STORES: [&str; 2] = ["", "[store]\nkind = \"maildir\"\npath = \"mail/%u\""];

fn append(talk: &mut Talk, mailbox: &str, message: &str) {
    done(talk, &format!("APPEND {mailbox} {{{}+}}\r\n{message}", message.len()));
}

fn refused(talk: &mut Talk, command: &str, with: &str) {
    let lines = talk.imap("x", command);
    assert!(lines.last().unwrap().starts_with(&format!("x {with}")), "{command}: {lines:?}");
}

fn messages(talk: &mut Talk, mailbox: &str) -> String {
    let lines = done(talk, &format!("STATUS {mailbox} (MESSAGES)"));
    lines[0].rsplit_once("(MESSAGES ").unwrap().1.trim_end_matches(')').to_owned()
}

/// The messages that are not marked as read.
fn unseen(talk: &mut Talk) -> String {
    done(talk, "UID SEARCH UNSEEN")[0].strip_prefix("* SEARCH").unwrap().trim().to_owned()
}

/// RFC 7162 §3.1.4.1: the others are not read, and not marked.
#[test]
fn only_what_is_sent_is_marked_as_read() {
    let server = server("");
    let mut talk = login(&server, USER);
    for _ in 0..4 {
        append(&mut talk, "INBOX", "Subject: x\r\n\r\nhello\r\n");
    }
    let opened = done(&mut talk, "SELECT INBOX (CONDSTORE)").join("\n");
    let highest = opened.split_once("HIGHESTMODSEQ ").unwrap().1.split_once(']').unwrap().0.to_owned();
    done(&mut talk, "UID STORE 3 +FLAGS ($x)");
    let lines = done(&mut talk, &format!("UID FETCH 1:* (BODY[TEXT]) (CHANGEDSINCE {highest})"));
    assert_eq!(lines.iter().filter(|line| line.contains(" FETCH (")).count(), 1, "{lines:?}");
    assert!(lines[0].starts_with("* 3 FETCH (UID 3 FLAGS (\\Seen $x"), "{lines:?}");
    assert_eq!(unseen(&mut talk), "1 2 4");

    // RFC 5257 §3.2.1, RFC 3516 §4.3: what is refused has read nothing.
    refused(&mut talk, "UID FETCH 1:2 (BODY[TEXT] ANNOTATION (\"/9/comment\" value))", "BAD");
    assert_eq!(unseen(&mut talk), "1 2 4");
    append(&mut talk, "INBOX", "Content-Transfer-Encoding: x-unheard-of\r\n\r\nhello\r\n");
    refused(&mut talk, "UID FETCH 1:* (BINARY[1])", "NO [UNKNOWN-CTE]");
    refused(&mut talk, "UID FETCH 1:* (BODY[TEXT] BINARY.SIZE[1])", "NO [UNKNOWN-CTE]");
    assert_eq!(unseen(&mut talk), "1 2 4 5");
    done(&mut talk, "UID FETCH 1:* (BODY[TEXT])");
    assert_eq!(unseen(&mut talk), "");
}

/// More than are dealt with at a time: each is marked, told of once, and the flags stand beside what was read.
#[test]
fn many_are_marked_as_read() {
    let server = server("");
    let (mut talk, mut other) = (login(&server, USER), login(&server, USER));
    for _ in 0..3 {
        append(&mut talk, "INBOX", "Subject: x\r\n\r\nhello\r\n");
    }
    done(&mut talk, "SELECT INBOX");
    while messages(&mut other, "INBOX").parse::<u32>().unwrap() < 600 {
        done(&mut talk, "COPY 1:* INBOX");
        done(&mut talk, "NOOP");
    }
    let lines = done(&mut talk, "UID FETCH 1:* (RFC822.SIZE BODY[TEXT])");
    let told: Vec<&String> = lines.iter().filter(|line| line.contains(" FETCH (")).collect();
    assert_eq!(told.len().to_string(), messages(&mut other, "INBOX"));
    assert!(told.iter().all(|line| line.contains("FLAGS (\\Seen")), "{:?}", told[0]);
    assert_eq!(unseen(&mut talk), "");
}

#[test]
fn what_two_sessions_move_goes_once() {
    for store in STORES {
        let server = server(store);
        let mut bob = login(&server, BOB);
        done(&mut bob, "CREATE drop");
        done(&mut bob, &format!("SETACL drop {USER} lrswite"));
        let there = format!("\"Other Users/{BOB}/drop\"");
        let [mut one, mut two] = [(); 2].map(|()| login(&server, USER));
        done(&mut one, "CREATE kept");
        for _ in 0..3 {
            append(&mut one, "INBOX", "Subject: x\r\n\r\nhello\r\n");
        }
        done(&mut one, "SELECT INBOX");
        done(&mut two, "SELECT INBOX");
        done(&mut one, "UID MOVE 1 kept");
        refused(&mut two, &format!("UID MOVE 1 {there}"), "NO [EXPUNGEISSUED]");
        assert_eq!((messages(&mut two, &there), messages(&mut two, "kept")), ("0".into(), "1".into()));
        // Of several those that are there go, and the client is told which.
        done(&mut one, &format!("UID MOVE 2 {there}"));
        let lines = done(&mut two, &format!("UID MOVE 2:3 {there}"));
        assert!(lines.iter().any(|line| line.contains(" 3 2] moved")), "{lines:?}");
        assert_eq!((messages(&mut two, &there), messages(&mut two, "INBOX")), ("2".into(), "0".into()));

        // A copy is of what the message is now.
        append(&mut one, "INBOX", "Subject: x\r\n\r\nhello\r\n");
        append(&mut one, "INBOX", "Subject: x\r\n\r\nhello\r\n");
        done(&mut one, "NOOP");
        done(&mut two, "NOOP");
        done(&mut one, "UID STORE 5 +FLAGS (\\Flagged $late)");
        done(&mut one, "UID STORE 4 +FLAGS (\\Deleted)");
        done(&mut one, "UID EXPUNGE 4");
        let lines = done(&mut two, &format!("UID COPY 4:5 {there}"));
        assert!(lines.last().unwrap().contains(" 5 3] "), "{lines:?}");
        done(&mut bob, "SELECT drop");
        let flags = done(&mut bob, "UID FETCH 3 (FLAGS)");
        assert!(flags[0].contains("\\Flagged") && flags[0].contains("$late"), "{flags:?}");
    }
}

/// RFC 8508: of two who replace the same draft, the second is told that it is gone.
#[test]
fn a_draft_is_replaced_once() {
    let server = server("");
    let [mut one, mut two] = [(); 2].map(|()| login(&server, USER));
    append(&mut one, "INBOX", "Subject: x\r\n\r\nhello\r\n");
    done(&mut one, "SELECT INBOX");
    done(&mut two, "SELECT INBOX");
    done(&mut one, "UID REPLACE 1 INBOX {15+}\r\nSubject: a\r\n\r\na");
    refused(&mut two, "UID REPLACE 1 INBOX {15+}\r\nSubject: b\r\n\r\nb", "NO [EXPUNGEISSUED]");
    assert_eq!(messages(&mut two, "INBOX"), "1");
}

/// RFC 4314 §4: those flags that this right is about, whoever has set them and when.
#[test]
fn flags_are_replaced_by_those_who_may_not_change_all() {
    let server = server("");
    let (mut talk, mut bob) = (login(&server, USER), login(&server, BOB));
    done(&mut talk, "CREATE tea");
    append(&mut talk, "tea", "Subject: x\r\n\r\nhello\r\n");
    done(&mut talk, &format!("SETACL tea {BOB} lrw"));
    done(&mut talk, "SELECT tea");
    done(&mut bob, &format!("SELECT \"Other Users/{USER}/tea\""));
    done(&mut talk, "STORE 1 +FLAGS (\\Seen \\Draft $new)");
    done(&mut bob, "STORE 1 FLAGS (\\Flagged)");
    let lines = done(&mut talk, "FETCH 1 (FLAGS)");
    let flags = &lines[lines.len() - 2];
    assert!(flags.contains("(FLAGS (\\Seen \\Flagged") && !flags.contains("Draft"), "{flags}");
    assert!(!flags.contains("$new"), "{flags}");
}

/// RFC 5466 §3.2
#[test]
fn a_filter_is_a_search() {
    let server = server("");
    let mut talk = login(&server, USER);
    done(&mut talk, "SELECT INBOX");
    for text in ["CHARSET UTF-8 SEEN", "return (all) SEEN", "NONSENSE", ""] {
        refused(&mut talk, &format!("SETMETADATA \"\" (/private/filters/values/f \"{text}\")"), "NO");
    }
    done(&mut talk, "SETMETADATA \"\" (/private/filters/values/f \"SEEN SUBJECT charset\")");
    done(&mut talk, "SEARCH FILTER f");
}

/// RFC 9051 §6.3.5, §7.1.5: a session cannot go on in a mailbox that is gone, and is told why it ends, also if it did that itself.
#[test]
fn sessions_are_told_that_their_mailbox_is_gone() {
    for store in STORES {
        let server = server(store);
        for change in [&["RENAME"][..], &["DELETE"], &["DELETE", "CREATE"]] {
            let [mut own, mut other, mut idle] = [(); 3].map(|()| login(&server, USER));
            done(&mut own, "CREATE tea");
            for talk in [&mut own, &mut other, &mut idle] {
                done(talk, "SELECT tea");
            }
            idle.send("i IDLE\r\n");
            assert!(idle.line().starts_with("+ "));
            for command in change {
                let to = if *command == "RENAME" { " coffee" } else { "" };
                own.send(format!("a {command} tea{to}\r\n"));
                let mut said = own.line();
                while !said.starts_with("a ") {
                    said = own.line();
                }
                assert!(said.starts_with("a OK"), "{change:?}: {said}");
            }
            for (mut talk, command) in [(own, "n NOOP\r\n"), (other, "n NOOP\r\n"), (idle, "")] {
                talk.send(command);
                let mut said = talk.line();
                while !said.starts_with("* BYE") {
                    talk.send(command);
                    said = talk.line();
                }
                assert_eq!(said, "* BYE the mailbox was deleted or renamed; log in again", "{change:?}");
                assert!(talk.at_end());
            }
            let mut talk = login(&server, USER);
            for left in ["tea", "coffee"] {
                let _ = talk.imap("d", &format!("DELETE {left}"));
            }
        }
    }
}
