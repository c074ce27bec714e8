//! ANNOTATE (RFC 5257) on the running server: what is noted about messages, by whom, and who is told of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;
#[path = "common/two.rs"]
mod two;

use std::{io::Write, process::Stdio};

use common::{PASSWORD, Server, Talk, USER, login};
use two::{BOB, done, server};

fn refused(talk: &mut Talk, command: &str, with: &str) {
    let lines = talk.imap("x", command);
    assert!(lines.last().unwrap().starts_with(with), "{command}: {lines:?}");
}

const LETTER: &str = "{30+}\r\nSubject: tea\r\n\r\nat five\r\n\r\n...";

#[test]
fn what_is_noted_is_read_searched_and_sorted() {
    let server = server("");
    let mut talk = login(&server, USER);
    let said = done(&mut talk, "CAPABILITY").join(" ");
    for name in ["ANNOTATE-EXPERIMENT-1", "RIGHTS=KXTEN", "QUOTA=RES-ANNOTATION-STORAGE"] {
        assert!(said.contains(name), "{name}: {said}");
    }
    for _ in 0..3 {
        done(&mut talk, &format!("APPEND INBOX {LETTER}"));
    }
    let said = done(&mut talk, "SELECT INBOX (CONDSTORE ANNOTATE)").join("\n");
    assert!(said.contains("* OK [ANNOTATIONS 16384]"), "{said}");
    let said = done(&mut talk, "STORE 1 ANNOTATION (/comment (value.priv \"Zebra\" value.shared \"all\"))");
    assert!(said[0].starts_with("* 1 FETCH (UID 1 MODSEQ ("), "{said:?}");
    done(
        &mut talk,
        "UID STORE 2 ANNOTATION (/comment (value.priv \"apple\") /1/flags/seen (value.shared \"1\"))",
    );
    let said = done(&mut talk, "FETCH 1:3 (ANNOTATION (* (value size.priv)))");
    assert_eq!(
        said[..said.len() - 1],
        [
            "* 1 FETCH (ANNOTATION (/comment (value.priv \"Zebra\" value.shared \"all\" size.priv \"5\")))",
            "* 2 FETCH (ANNOTATION (/1/flags/seen (value.priv NIL value.shared \"1\" size.priv \"0\") /comment (value.priv \"apple\" value.shared NIL size.priv \"5\")))",
        ]
    );
    assert_eq!(done(&mut talk, "SEARCH ANNOTATION /comment value \"APPLE\"")[0], "* SEARCH 2");
    assert_eq!(done(&mut talk, "SEARCH NOT ANNOTATION * value.priv \"e\"")[0], "* SEARCH 3");
    assert_eq!(done(&mut talk, "SEARCH OR ANNOTATION /% value.shared \"all\" UID 3")[0], "* SEARCH 1 3");
    assert_eq!(done(&mut talk, "SORT (ANNOTATION /comment value.priv) UTF-8 ALL")[0], "* SORT 3 2 1");
    // What is not, not there, or too much.
    for (command, with) in [
        ("STORE 1 ANNOTATION (/2/comment (value.priv \"x\"))", "x BAD"),
        ("FETCH 1 ANNOTATION (/1.1/comment value)", "x BAD"),
        ("STORE 1 ANNOTATION (/unknown (value.priv \"x\"))", "x NO [CANNOT]"),
        ("STORE 1 ANNOTATION (/flags/seen (value.priv \"1\"))", "x NO [CANNOT]"),
        ("STORE 1 ANNOTATION (/1/flags/seen (value.priv \"yes\"))", "x NO [CANNOT]"),
    ] {
        refused(&mut talk, command, with);
    }
    let large = "x".repeat(16_385);
    let command = format!("STORE 1 ANNOTATION (/comment (value.priv {{16385+}}\r\n{large}))");
    refused(&mut talk, &command, "x NO [ANNOTATE TOOBIG]");
    for start in [0, 32] {
        let values: Vec<_> =
            (start..start + 32).map(|number| format!("/vendor/{number} (value.priv \"x\")")).collect();
        done(&mut talk, &format!("STORE 3 ANNOTATION ({})", values.join(" ")));
    }
    refused(&mut talk, "STORE 3 ANNOTATION (/comment (value.priv \"x\"))", "x NO [ANNOTATE TOOMANY]");
    done(&mut talk, "STORE 3 ANNOTATION (/vendor/0 (value.priv NIL) /comment (value.priv \"x\"))");
    // RFC 7162 §3.1.3
    let said = done(&mut talk, "STORE 1:2 (UNCHANGEDSINCE 1) ANNOTATION (/comment (value.shared \"late\"))");
    assert_eq!(said, ["x OK [MODIFIED 1:2] STORE completed"]);
    // COPY and MOVE, also into the same mailbox.
    done(&mut talk, "COPY 1 INBOX");
    done(&mut talk, "MOVE 1 INBOX");
    let said = done(&mut talk, "UID FETCH 4:5 (ANNOTATION (/comment value))").join("\n");
    assert_eq!(said.matches("(/comment (value.priv \"Zebra\" value.shared \"all\"))").count(), 2, "{said}");
    done(&mut talk, "EXAMINE INBOX");
    refused(&mut talk, "STORE 1 ANNOTATION (/comment (value.priv \"x\"))", "x NO [CANNOT]");
}

#[test]
fn messages_come_with_annotations_and_end_with_them() {
    let server = server("[quota]\nannotations = 2048");
    let mut talk = login(&server, USER);
    done(
        &mut talk,
        &format!(
            "APPEND INBOX (\\Seen) ANNOTATION (/comment (value.priv {{4+}}\r\nlate value.shared \"x\")) {LETTER}"
        ),
    );
    done(&mut talk, "SELECT INBOX");
    let said = done(&mut talk, "FETCH 1 (FLAGS ANNOTATION (/comment value))");
    assert_eq!(
        said[0],
        "* 1 FETCH (FLAGS (\\Seen \\Recent) ANNOTATION (/comment (value.priv \"late\" value.shared \"x\")))"
    );
    refused(&mut talk, &format!("APPEND INBOX ANNOTATION (/2/comment (value.priv \"x\")) {LETTER}"), "x BAD");
    assert_eq!(done(&mut talk, "SEARCH ALL")[0], "* SEARCH 1");
    // RFC 9208 §5.4: 8 and 4 octets of names and values, and then too many.
    let large = "x".repeat(2_000);
    done(&mut talk, &format!("STORE 1 ANNOTATION (/comment (value.priv {{2000+}}\r\n{large}))"));
    let said = done(&mut talk, "GETQUOTAROOT INBOX").join(" ");
    assert!(said.contains("ANNOTATION-STORAGE 2 2"), "{said}");
    let command = format!("STORE 1 ANNOTATION (/altsubject (value.priv {{100+}}\r\n{}))", &large[..100]);
    refused(&mut talk, &command, "x NO [OVERQUOTA]");
    refused(&mut talk, "COPY 1 INBOX", "x NO [OVERQUOTA]");
    done(&mut talk, "STORE 1 +FLAGS (\\Deleted)");
    done(&mut talk, "EXPUNGE");
    let said = done(&mut talk, "GETQUOTAROOT INBOX").join(" ");
    assert!(said.contains("ANNOTATION-STORAGE 0 2"), "{said}");
}

#[test]
fn rights_and_others_decide() {
    let server = server("");
    let (mut talk, mut bob) = (login(&server, USER), login(&server, BOB));
    done(&mut talk, "CREATE plans");
    for _ in 0..2 {
        done(&mut talk, &format!("APPEND plans {LETTER}"));
    }
    done(&mut talk, &format!("SETACL plans {BOB} lr"));
    let there = format!("\"Other Users/{USER}/plans\"");
    done(&mut talk, "SELECT plans (ANNOTATE)");
    done(&mut talk, "STORE 1:2 ANNOTATION (/comment (value.priv \"mine\"))");
    // RFC 5257 §3.4: with the right to read, what is private can be written, and what is shared cannot.
    let said = done(&mut bob, &format!("SELECT {there} (ANNOTATE)")).join("\n");
    assert!(said.contains("[ANNOTATIONS 16384]") && said.contains("x OK [READ-ONLY]"), "{said}");
    done(&mut bob, "STORE 1 ANNOTATION (/comment (value.priv \"bob's\"))");
    refused(&mut bob, "STORE 1 ANNOTATION (/comment (value.shared \"x\"))", "x NO [NOPERM]");
    refused(&mut bob, "STORE 1 +FLAGS (\\Seen)", "x NO");
    assert_eq!(done(&mut bob, "SEARCH ANNOTATION * value \"mine\"")[0], "* SEARCH");
    assert_eq!(done(&mut bob, "SEARCH ANNOTATION * value \"bob\"")[0], "* SEARCH 1");
    let said = done(&mut talk, "FETCH 1 (ANNOTATION (/comment value))");
    assert!(said.iter().any(|line| line.contains("(value.priv \"mine\" value.shared NIL)")), "{said:?}");
    done(&mut talk, &format!("SETACL plans {BOB} +n"));
    assert_eq!(done(&mut bob, &format!("MYRIGHTS {there}"))[0], format!("* MYRIGHTS {there} lrn"));
    // §4.4: others are told which entry it was, and no value; who has set it is not.
    done(&mut talk, "NOOP");
    let said = done(&mut bob, "STORE 2 ANNOTATION (/altsubject (value.shared \"new\"))");
    assert_eq!(said, ["x OK STORE completed"]);
    assert_eq!(done(&mut talk, "NOOP")[0], "* 2 FETCH (ANNOTATION (/altsubject))");
    done(&mut bob, "STORE 2 ANNOTATION (/altsubject (value.shared NIL))");
    assert_eq!(done(&mut talk, "NOOP")[0], "* 2 FETCH (ANNOTATION (/altsubject))");
    // During IDLE at once; without the parameter not by name.
    let mut deaf = login(&server, USER);
    done(&mut deaf, "SELECT plans");
    talk.send("i IDLE\r\n");
    assert_eq!(talk.line(), "+ idling");
    done(&mut bob, "STORE 1 ANNOTATION (/comment (value.shared \"for all\"))");
    assert_eq!(talk.line(), "* 1 FETCH (ANNOTATION (/comment))");
    talk.send("DONE\r\n");
    talk.until("i");
    assert!(done(&mut deaf, "NOOP").iter().all(|line| !line.contains("ANNOTATION")));
    // §4.6: who copies takes what is shared, and of what is private their own.
    done(&mut bob, "COPY 1 INBOX");
    done(&mut bob, "SELECT INBOX");
    let said = done(&mut bob, "FETCH 1 (ANNOTATION (/comment value))");
    assert_eq!(said[0], "* 1 FETCH (ANNOTATION (/comment (value.priv \"bob's\" value.shared \"for all\")))");
    // Without the right n in the target, what is shared stays behind.
    done(&mut talk, "CREATE closed");
    done(&mut talk, &format!("SETACL closed {BOB} lri"));
    done(&mut bob, &format!("COPY 1 \"Other Users/{USER}/closed\""));
    done(&mut bob, &format!("SELECT \"Other Users/{USER}/closed\""));
    let said = done(&mut bob, "FETCH 1 (ANNOTATION (/comment value))");
    assert_eq!(said[0], "* 1 FETCH (ANNOTATION (/comment (value.priv \"bob's\" value.shared NIL)))");
    let append =
        format!("APPEND \"Other Users/{USER}/closed\" ANNOTATION (/comment (value.shared \"x\")) {LETTER}");
    refused(&mut bob, &append, "x NO [NOPERM]");
}

/// RFC 5465 §5.1
#[test]
fn notify_tells_of_annotations() {
    let server = server("");
    let (mut talk, mut other) = (login(&server, USER), login(&server, USER));
    done(&mut talk, "CREATE plans");
    for mailbox in ["INBOX", "plans"] {
        done(&mut talk, &format!("APPEND {mailbox} {LETTER}"));
    }
    done(&mut talk, "SELECT INBOX");
    done(
        &mut talk,
        "NOTIFY SET (SELECTED (MessageNew MessageExpunge AnnotationChange)) (PERSONAL (MessageNew MessageExpunge AnnotationChange))",
    );
    done(&mut other, "SELECT INBOX");
    done(&mut other, "STORE 1 ANNOTATION (/comment (value.shared \"x\"))");
    assert_eq!(talk.line(), "* 1 FETCH (ANNOTATION (/comment) UID 1)");
    done(&mut other, "SELECT plans");
    done(&mut other, "STORE 1 ANNOTATION (/comment (value.shared \"x\"))");
    let line = talk.line();
    assert!(line.starts_with("* STATUS plans (") && line.contains("HIGHESTMODSEQ"), "{line}");
}

#[test]
fn a_store_without_them_announces_none() {
    let server = server("[store]\nkind = \"maildir\"\npath = \"mail/%u\"");
    let mut talk = login(&server, USER);
    let said = done(&mut talk, "CAPABILITY").join(" ");
    assert!(!said.contains("ANNOTATE") && said.contains("RIGHTS=KXTE "), "{said}");
    done(&mut talk, &format!("APPEND INBOX {LETTER}"));
    assert!(!done(&mut talk, "SELECT INBOX").join(" ").contains("ANNOTATIONS"));
    for command in [
        "SELECT INBOX (ANNOTATE)",
        "FETCH 1 ANNOTATION (/comment value)",
        "STORE 1 ANNOTATION (/comment (value.priv \"x\"))",
        "SEARCH ANNOTATION * value \"x\"",
        "SORT (ANNOTATION /comment value.priv) UTF-8 ALL",
    ] {
        done(&mut talk, "SELECT INBOX");
        refused(&mut talk, command, "x NO [CANNOT]");
    }
    assert_eq!(done(&mut talk, "MYRIGHTS INBOX")[0], "* MYRIGHTS INBOX lrswipkxteacd");
    refused(&mut talk, &format!("SETACL INBOX {BOB} lrn"), "x NO");
}

/// Another server's annotations come along when mail is taken over.
#[test]
fn annotations_are_migrated() {
    let mut there = server("");
    let mut talk = login(&there, USER);
    done(
        &mut talk,
        &format!("APPEND INBOX ANNOTATION (/comment (value.priv \"mine\" value.shared \"all\")) {LETTER}"),
    );
    let mut here = Server::prepare("allow_plaintext_auth = true");
    here.add_user(USER, PASSWORD);
    let from = format!("imap:127.0.0.1:{}", there.port("imap", "starttls"));
    let mut command = here.command(&["migrate", "--from", &from, "--to", USER, "--plaintext"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{PASSWORD}").unwrap();
    let out = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(out.contains("1 copied"), "{out}");
    here.serve();
    let mut talk = login(&here, USER);
    done(&mut talk, "SELECT INBOX");
    let said = done(&mut talk, "FETCH 1 (ANNOTATION (/comment value))");
    assert_eq!(said[0], "* 1 FETCH (ANNOTATION (/comment (value.priv \"mine\" value.shared \"all\")))");
    there.stop();
}
