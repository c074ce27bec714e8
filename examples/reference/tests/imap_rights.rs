//! What each right to a mailbox allows, what stays the same of messages and mailboxes that move, and extensions that meet each other: on the
//! running server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;
#[path = "common/two.rs"]
mod two;

use std::collections::BTreeSet;

use common::{Talk, USER, deliver, inbox, login};
use two::{BOB, done, server};

fn is_done(talk: &mut Talk, command: &str) -> bool {
    talk.imap("x", command).last().unwrap().starts_with("x OK")
}

/// RFC 4314 §4: each right alone, and beside the one to open the mailbox.
#[test]
fn each_right_allows_its_own() {
    let server = server("");
    let (mut bob, mut talk) = (login(&server, BOB), login(&server, USER));
    done(&mut talk, "APPEND INBOX {1+}\r\nx");
    for (right, allowed) in [
        ("l", "list myrights"),
        ("r", "status select myrights"),
        ("s", ""),
        ("w", ""),
        ("i", "append copy myrights"),
        ("p", ""),
        ("k", "create myrights"),
        ("x", "delete myrights"),
        ("t", ""),
        ("e", ""),
        ("a", "getacl listrights setacl myrights"),
    ] {
        let name = format!("only-{right}");
        done(&mut bob, &format!("CREATE {name}"));
        done(&mut bob, &format!("SETACL {name} {USER} {right}"));
        let there = format!("\"Other Users/{BOB}/{name}\"");
        done(&mut talk, "SELECT INBOX");
        let found: BTreeSet<&str> = [
            ("list", format!("LIST \"\" {there}")),
            ("status", format!("STATUS {there} (MESSAGES)")),
            ("append", format!("APPEND {there} {{1+}}\r\nx")),
            ("copy", format!("COPY 1 {there}")),
            ("create", format!("CREATE \"Other Users/{BOB}/{name}/below\"")),
            ("getacl", format!("GETACL {there}")),
            ("listrights", format!("LISTRIGHTS {there} {BOB}")),
            ("setacl", format!("SETACL {there} nobody@example.org l")),
            ("select", format!("SELECT {there}")),
            ("myrights", format!("MYRIGHTS {there}")),
            ("delete", format!("DELETE {there}")),
        ]
        .into_iter()
        .filter(|(what, command)| {
            let lines = talk.imap("x", command);
            let last = lines.last().unwrap();
            if *what == "list" {
                return lines.len() == 2;
            }
            // RFC 4314 §8: who may not see a mailbox learns nothing of it.
            let code = match (right, *what) {
                ("l", _) => "x NO [NOPERM]",
                (_, "append" | "copy") => "x NO [TRYCREATE]",
                _ => "x NO [NONEXISTENT]",
            };
            assert!(last.starts_with("x OK") || last.starts_with(code), "{right} {command}: {lines:?}");
            last.starts_with("x OK")
        })
        .map(|(what, _)| what)
        .collect();
        let allowed: BTreeSet<&str> = allowed.split_whitespace().collect();
        assert_eq!(found, allowed, "{right}");
    }
}

#[test]
fn each_right_changes_its_own() {
    let server = server("");
    let (mut bob, mut talk) = (login(&server, BOB), login(&server, USER));
    for (right, allowed) in [
        ("", [false; 4]),
        ("l", [false; 4]),
        ("s", [true, false, false, false]),
        ("w", [false, true, false, false]),
        ("t", [false, false, true, false]),
        ("e", [false, false, false, true]),
        ("i", [false; 4]),
        ("p", [false; 4]),
        ("k", [false; 4]),
        ("x", [false; 4]),
        ("a", [false; 4]),
    ] {
        let name = format!("with-{right}-");
        done(&mut bob, &format!("CREATE {name}"));
        done(&mut bob, &format!("APPEND {name} (\\Deleted) {{1+}}\r\nx"));
        done(&mut bob, &format!("APPEND {name} {{1+}}\r\nx"));
        done(&mut bob, &format!("SETACL {name} {USER} r{right}"));
        let lines = done(&mut talk, &format!("SELECT \"Other Users/{BOB}/{name}\""));
        let changes = ["s", "w", "t", "e", "i"].contains(&right);
        let code = if changes { "[READ-WRITE]" } else { "[READ-ONLY]" };
        assert!(lines.last().unwrap().contains(code), "{right}: {lines:?}");
        let commands = [
            "STORE 2 +FLAGS (\\Seen)",
            "STORE 2 +FLAGS (\\Flagged)",
            "STORE 2 +FLAGS (\\Deleted)",
            "EXPUNGE",
        ];
        let found = commands.map(|command| is_done(&mut talk, command));
        assert_eq!(found, allowed, "{right}");
        let left = done(&mut bob, &format!("STATUS {name} (MESSAGES)"));
        assert_eq!(left[0].contains("(MESSAGES 1)"), allowed[3], "{right}: {left:?}");
        assert!(is_done(&mut talk, "FETCH 1 FLAGS") && is_done(&mut talk, "UNSELECT"));
    }
}

/// RFC 8474 §4, §5: what is the same message, thread and mailbox has the same identity wherever it is brought.
#[test]
fn identities_stay() {
    let server = server("");
    deliver(&server, USER, "Message-ID: <1@x>\r\nSubject: tea\r\n\r\nx\r\n");
    deliver(&server, USER, "Message-ID: <2@x>\r\nReferences: <1@x>\r\nSubject: Re: tea\r\n\r\nx\r\n");
    let mut talk = inbox(&server);
    let ids = |talk: &mut Talk| -> Vec<String> {
        let lines = done(talk, "FETCH 1:* (EMAILID THREADID)");
        let ids = lines.iter().filter_map(|line| line.split_once("EMAILID ")).map(|(_, ids)| ids.to_owned());
        ids.collect()
    };
    let mailbox = |talk: &mut Talk, name: &str| {
        let lines = done(talk, &format!("STATUS {name} (MAILBOXID)"));
        lines[0].split_once("MAILBOXID ").unwrap().1.to_owned()
    };
    let first = ids(&mut talk);
    assert_eq!(first.len(), 2);
    assert_ne!(first[0], first[1]);
    let thread = |ids: &str| ids.split_once("THREADID ").unwrap().1.to_owned();
    assert_eq!(thread(&first[0]), thread(&first[1]));
    // Whichever way it comes, and whatever others it has between.
    done(&mut talk, "CREATE sent");
    done(&mut talk, "APPEND sent {35+}\r\nIn-Reply-To: <2@x>\r\nSubject: x\r\n\r\n1");
    done(&mut talk, "APPEND sent {36+}\r\nReferences: <3@x>\r\nSubject: yy\r\n\r\n12");
    done(&mut talk, "SELECT sent");
    let sent = ids(&mut talk);
    assert_eq!(thread(&sent[0]), thread(&first[0]));
    assert_ne!(thread(&sent[1]), thread(&first[0]));
    done(&mut talk, "SELECT INBOX");
    done(&mut talk, "CREATE copies");
    let id = mailbox(&mut talk, "copies");
    done(&mut talk, "COPY 1:2 copies");
    done(&mut talk, "SELECT copies");
    assert_eq!(ids(&mut talk), first);
    done(&mut talk, "CREATE moved");
    done(&mut talk, "MOVE 1:2 moved");
    done(&mut talk, "SELECT moved");
    assert_eq!(ids(&mut talk), first);
    let moved = mailbox(&mut talk, "moved");
    done(&mut talk, "RENAME copies others");
    assert_eq!(mailbox(&mut talk, "others"), id);
    done(&mut talk, "CREATE copies");
    assert_ne!(mailbox(&mut talk, "copies"), id);
    done(&mut talk, "UNSELECT");
    done(&mut talk, "RENAME moved others/moved");
    assert_eq!(mailbox(&mut talk, "others/moved"), moved);
    done(&mut talk, "SELECT others/moved");
    assert_eq!(ids(&mut talk), first);
}

/// RFC 9586, RFC 9394 and RFC 9738 at once: each counts what the one before has left.
#[test]
fn without_numbers_in_part_and_few_at_a_time() {
    let server = server("[imap]\nmessage_limit = 3\n");
    for number in 1..=8 {
        deliver(&server, USER, &format!("Subject: {number}\r\n\r\nx\r\n"));
    }
    let mut talk = inbox(&server);
    assert_eq!(done(&mut talk, "ENABLE UIDONLY")[0], "* ENABLED UIDONLY");
    assert!(talk.imap("a", "FETCH 1 FLAGS")[0].starts_with("a BAD [UIDREQUIRED]"));
    let uids = |lines: &[String]| -> Vec<u32> {
        let told = lines.iter().filter(|line| line.contains(" UIDFETCH "));
        told.map(|line| line.split(' ').nth(1).unwrap().parse().unwrap()).collect()
    };
    let lines = done(&mut talk, "UID FETCH 1:* (FLAGS) (PARTIAL -1:-2)");
    assert_eq!(uids(&lines), [7, 8]);
    assert_eq!(lines.last().unwrap(), "x OK UID FETCH completed");
    let lines = done(&mut talk, "UID FETCH 1:* (FLAGS) (PARTIAL 1:5)");
    assert_eq!(uids(&lines), [3, 4, 5]);
    assert!(lines.last().unwrap().starts_with("x OK [MESSAGELIMIT 3 3]"), "{lines:?}");
    let lines = done(&mut talk, "UID SEARCH RETURN (PARTIAL 1:2) ALL");
    assert_eq!(lines[0], "* ESEARCH (TAG \"x\") UID PARTIAL (1:2 1:2)");
    let lines = done(&mut talk, "UID STORE 1:* +FLAGS (\\Deleted)");
    assert_eq!(uids(&lines), [6, 7, 8]);
    assert!(lines.last().unwrap().starts_with("x OK [MESSAGELIMIT 3 6]"), "{lines:?}");
    let lines = done(&mut talk, "UID EXPUNGE 1:7");
    assert!(lines.contains(&"* VANISHED 6:7".to_owned()), "{lines:?}");
    assert!(lines.last().unwrap().starts_with("x OK [MESSAGELIMIT 3 5]"), "{lines:?}");
}

/// RFC 5465 §5.9: who may not read a mailbox any more is told nothing more of it, in a session that has it open neither.
#[test]
fn who_may_not_read_any_more_is_told_nothing_more() {
    for store in ["", "[store]\nkind = \"maildir\"\npath = \"mail/%u\""] {
        let server = server(store);
        let mut bob = login(&server, BOB);
        done(&mut bob, "CREATE tea");
        done(&mut bob, &format!("SETACL tea {USER} lrswite"));
        done(&mut bob, "APPEND tea {1+}\r\nx");
        let open = format!("SELECT \"Other Users/{BOB}/tea\"");
        let [mut plain, mut idle, mut notified, mut kept] = [(); 4].map(|()| login(&server, USER));
        done(&mut notified, "NOTIFY SET (SELECTED (MessageNew (UID ENVELOPE) MessageExpunge FlagChange))");
        for talk in [&mut plain, &mut idle, &mut notified, &mut kept] {
            done(talk, &open);
        }
        idle.send("i IDLE\r\n");
        assert!(idle.line().starts_with("+ "));
        // Another right that goes is no reason.
        done(&mut bob, &format!("SETACL tea {USER} lrs"));
        done(&mut kept, "NOOP");
        done(&mut kept, "UNSELECT");
        done(&mut bob, &format!("DELETEACL tea {USER}"));
        let text = "Subject: after\r\n\r\ntop secret\r\n";
        done(&mut bob, &format!("APPEND tea {{{}+}}\r\n{text}", text.len()));
        for (mut talk, command) in [(idle, ""), (notified, ""), (plain, "a FETCH 1:* BODY.PEEK[]\r\n")] {
            talk.send(command);
            let mut said = talk.line();
            while !said.starts_with("* BYE") {
                assert!(said.starts_with("a NO "), "{command}: {said}");
                said = talk.line();
            }
            assert_eq!(said, "* BYE [NOPERM] you may no longer read this mailbox", "{command}");
            assert!(talk.at_end(), "{command}");
        }
        // What the user has of the user's own goes on.
        done(&mut kept, "SELECT INBOX");
        assert!(!is_done(&mut kept, &open));
    }
}

/// RFC 5465 §5.4, §5.9: a right that is given makes a mailbox, also where its owner has given none before; and others' mailboxes are none of
/// the user's own (§6.2).
#[test]
fn who_is_given_a_right_is_told_of_the_mailbox() {
    let server = server("");
    let (mut bob, mut other) = (login(&server, BOB), login(&server, USER));
    let there = |name: &str| format!("\"Other Users/{BOB}/{name}\"");
    done(&mut bob, "CREATE shared");
    done(&mut bob, "CREATE shared/a/b");
    let mut subtree = login(&server, USER);
    done(&mut subtree, "NOTIFY SET (subtree \"Other Users\" (MailboxName MessageNew MessageExpunge))");
    done(&mut bob, &format!("SETACL shared {USER} lr"));
    assert_eq!(subtree.line(), format!("* LIST (\\HasNoChildren) \"/\" {}", there("shared")));
    done(&mut bob, "APPEND shared {1+}\r\nx");
    assert!(subtree.line().starts_with(&format!("* STATUS {} (MESSAGES 1", there("shared"))));
    // What is below goes with it, whatever is between.
    done(&mut bob, &format!("SETACL shared/a/b {USER} lr"));
    assert!(subtree.line().ends_with(&there("shared/a/b")));
    done(&mut bob, "RENAME shared new");
    assert_eq!(
        subtree.line(),
        format!("* LIST (\\HasChildren) \"/\" {} (\"OLDNAME\" ({}))", there("new"), there("shared"))
    );
    assert_eq!(subtree.imap("n", "NOOP"), ["n OK NOOP completed"]);
    let mut personal = login(&server, USER);
    done(&mut personal, "NOTIFY SET (personal (SubscriptionChange))");
    let mut subscribed = login(&server, USER);
    done(
        &mut subscribed,
        "NOTIFY SET (subscribed (MailboxName SubscriptionChange MessageNew MessageExpunge))",
    );
    for (command, is) in [("SUBSCRIBE", " \\Subscribed"), ("UNSUBSCRIBE", "")] {
        done(&mut other, &format!("{command} {}", there("new")));
        let told = format!("* LIST (\\HasChildren{is}) \"/\" {}", there("new"));
        assert_eq!(subscribed.line(), told, "{command}");
    }
    for told in [&mut personal, &mut subscribed] {
        assert_eq!(told.imap("n", "NOOP"), ["n OK NOOP completed"]);
    }
    // A refusal leaves what was set before.
    let many: String = (0..257).map(|number| format!(" \"Other Users/u{number}@example.org/X\"")).collect();
    done(&mut subtree, "NOTIFY SET (personal (MailboxName))");
    let refused = subtree.imap("r", &format!("NOTIFY SET (mailboxes ({}) (MailboxName))", many.trim_start()));
    assert!(refused[0].starts_with("r NO [NOTIFICATIONOVERFLOW] "), "{refused:?}");
    done(&mut other, "CREATE mine");
    assert_eq!(subtree.line(), "* LIST (\\HasNoChildren) \"/\" mine");
}
