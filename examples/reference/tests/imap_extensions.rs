//! Extensions of IMAP on the running server, as clients see them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::{fs, io::Read, path::Path, process::Command};

use flate2::{Compress, Compression, FlushCompress, bufread::DeflateDecoder};

use common::{PASSWORD, Server, USER, deliver, have, imap, inbox, run, wait_for};

fn server(more: &str) -> Server {
    let mut server = Server::prepare("allow_plaintext_auth = true");
    let path = server.folder.path().join("mailwright.toml");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(&path, config.replace("[limits]\n", &format!("[limits]\n{more}\n"))).unwrap();
    server.add_user(USER, PASSWORD);
    server.serve();
    server
}

/// RFC 9051 §9: NUL is in no literal but a literal8.
#[test]
fn nul_is_sent_where_it_may_be() {
    let server = server("");
    let mut talk = imap(&server);
    // One that is sent at once, and one that goes piece by piece.
    let messages =
        [0, 300_000].map(|lines| format!("Subject: x\r\n\r\n{}a\0b\r\n", "line\r\n".repeat(lines)));
    for message in &messages {
        talk.send(format!("a APPEND INBOX ~{{{}+}}\r\n{message}\r\n", message.len()));
        assert!(talk.until("a").last().unwrap().starts_with("a OK"));
    }
    talk.imap("b", "SELECT INBOX");
    for (number, message) in messages.iter().enumerate() {
        for (item, nul) in
            [("BODY.PEEK[]", 0x80), ("RFC822", 0x80), ("BODY.PEEK[TEXT]", 0x80), ("BINARY.PEEK[1]", 0)]
        {
            talk.send(format!("c FETCH {} {item}\r\n", number + 1));
            let line = talk.line();
            let length = line.rsplit_once('{').unwrap().1.trim_end_matches('}').parse().unwrap();
            let mut octets = vec![0; length];
            talk.stream.read_exact(&mut octets).unwrap();
            assert!(message.len() - length == 0 || message.len() - length == 14, "{line}");
            assert_eq!(octets[length - 5..], [b'a', nul, b'b', b'\r', b'\n'], "{line}");
            assert!(talk.until("c").last().unwrap().starts_with("c OK"));
        }
    }
}

/// RFC 8437 §4.1
#[test]
fn whoever_leaves_is_not_compressed_any_more() {
    let server = server("");
    let mut talk = imap(&server);
    for _ in 0..2 {
        assert!(talk.imap("a", "COMPRESS DEFLATE")[0].starts_with("a OK"));
        let (mut stream, mut octets) =
            (Compress::new(Compression::default(), false), Vec::with_capacity(1_000));
        let commands = b"b NOOP\r\nc UNAUTHENTICATE\r\n";
        stream.compress_vec(commands, &mut octets, FlushCompress::Finish).unwrap();
        // What comes behind the stream is read as it is.
        octets.extend_from_slice(b"d NOOP\r\n");
        talk.send(&octets);
        let mut said = String::new();
        DeflateDecoder::new(&mut talk.stream).read_to_string(&mut said).unwrap();
        assert!(said.starts_with("b OK NOOP completed\r\nc OK [CAPABILITY "), "{said}");
        assert!(said.ends_with("UNAUTHENTICATE completed\r\n"), "{said}");
        assert_eq!(talk.line(), "d OK NOOP completed");
        let said = talk.imap("e", &format!("LOGIN {USER} {PASSWORD}"));
        assert!(said[0].starts_with("e OK ") && said[0].contains(" COMPRESS=DEFLATE "), "{said:?}");
    }
}

/// From here on the peak is counted anew.
fn forget_peak(server: &Server) {
    fs::write(format!("/proc/{}/clear_refs", server.pid()), "5").unwrap();
}

/// RFC 3516: 96 MB of base64 come out decoded, and the server never holds more than a little of them.
#[test]
fn a_large_part_is_decoded_while_it_is_sent() {
    let mut server = server("message_size = 0");
    server.hold_nothing_free();
    let mut talk = inbox(&server);
    let head = "Subject: large\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n\
                Content-Transfer-Encoding: base64\r\n\r\n";
    // 57 octets a line, as RFC 2045 has them: "AAAA" is three NULs, and the number of the line follows.
    const LINES: usize = 96_000_000 / 78;
    let line = |number: usize| format!("{number:08}{}\r\n", "AAAA".repeat(17));
    let size = head.len() + LINES * line(0).len();
    talk.send(format!("a APPEND INBOX {{{size}+}}\r\n{head}"));
    for start in (0..LINES).step_by(10_000) {
        talk.send((start..LINES.min(start + 10_000)).map(line).collect::<String>());
    }
    talk.send("\r\n");
    assert!(talk.until("a").last().unwrap().starts_with("a OK"));
    // What came is still being written to its place, and that takes memory too.
    let mut earlier = server.memory().0;
    wait_for("a store at rest", || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        let now = server.memory().0;
        (now == std::mem::replace(&mut earlier, now)).then_some(())
    });
    forget_peak(&server);
    let before = server.memory().0;
    let decoded = LINES * 57;
    let told = talk.imap("b", "FETCH 1 BINARY.SIZE[1]");
    assert_eq!(told[0], format!("* 1 FETCH (BINARY.SIZE[1] {decoded})"));
    talk.send("c FETCH 1 (BINARY.PEEK[1] RFC822.SIZE)\r\n");
    assert_eq!(talk.line(), format!("* 1 FETCH (BINARY[1] ~{{{decoded}}}"));
    let mut octets = vec![0; decoded];
    talk.stream.read_exact(&mut octets).unwrap();
    for number in [0, 1, 2, LINES / 2, LINES - 1] {
        let digits: Vec<u8> = format!("{number:08}").into_bytes();
        // Six bits a digit: '0' to '9' are 52 to 61.
        let bits = digits.iter().fold(0_u64, |bits, digit| bits << 6 | u64::from(digit - b'0' + 52));
        let line = &octets[number * 57..][..57];
        assert_eq!(line[..6], bits.to_be_bytes()[2..], "{number}");
        assert!(line[6..].iter().all(|octet| *octet == 0));
    }
    assert_eq!(talk.line(), format!(" RFC822.SIZE {size})"));
    assert!(talk.line().starts_with("c OK"));
    // A part of it, from the middle.
    let offset = LINES / 2 * 57;
    talk.send(format!("d FETCH 1 BINARY.PEEK[1]<{offset}.100000>\r\n"));
    assert_eq!(talk.line(), format!("* 1 FETCH (BINARY[1]<{offset}> ~{{100000}}"));
    let mut part = vec![0; 100_000];
    talk.stream.read_exact(&mut part).unwrap();
    assert_eq!(part, octets[offset..offset + 100_000]);
    assert!(talk.until("d").last().unwrap().starts_with("d OK"));
    let peak = server.memory().1;
    // What the store keeps of what was read, and what it does with it behind that, counts too: up to 45 MiB were seen. Neither
    // form of the part fits in here.
    assert!(peak.saturating_sub(before) < 60 << 10, "{before} KiB before, {peak} KiB at the peak");
}

#[test]
fn compressed_sessions() {
    if !have("python3") {
        return;
    }
    let server = server("");
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/imap_compress.py");
    let port = server.port("imap", "implicit").to_string();
    let output = run(Command::new("python3").arg(program).args([USER, PASSWORD, &port]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (_, peak) = server.memory();
    assert!(peak < 200 << 10, "{peak} KiB");
    assert!(!server.log().contains("panicked"));
}

/// The lines of an answer that begin with this.
fn told(lines: &[String], start: &str) -> Vec<String> {
    lines.iter().filter(|line| line.starts_with(start)).cloned().collect()
}

/// RFC 5256, RFC 5957, RFC 5267: what is sorted and gathered, and what is kept up to date in another session.
#[test]
fn messages_are_sorted_and_threaded_and_searches_kept_up_to_date() {
    let server = server("");
    for (number, header) in [
        (1, "Subject: Re: tea\r\nFrom: Zoe <b@x.example>\r\nReferences: <2@x>"),
        (2, "Subject: tea\r\nFrom: ann <c@x.example>"),
        (3, "Subject: =?utf-8?q?caf=C3=A9?=\r\nFrom: a@x.example\r\nDate: Wed, 17 Jul 1996 02:23:25 -0700"),
        (4, "Subject: Fwd: CAFE\u{301}\r\nFrom: =?utf-8?q?=C3=89mile?= <d@x.example>"),
    ] {
        deliver(&server, USER, &format!("Message-ID: <{number}@x>\r\n{header}\r\n\r\nbody {number}\r\n"));
    }
    let mut talk = inbox(&server);
    let capability = talk.imap("a", "CAPABILITY").remove(0);
    for name in [
        "SORT",
        "SORT=DISPLAY",
        "ESORT",
        "THREAD=ORDEREDSUBJECT",
        "THREAD=REFERENCES",
        "THREAD=REFS",
        "CONTEXT=SEARCH",
        "CONTEXT=SORT",
        "I18NLEVEL=2",
        "COMPRESS=DEFLATE",
    ] {
        assert!(capability.split(' ').any(|word| word == name), "{name}: {capability}");
    }
    for (command, answer) in [
        ("SORT (SUBJECT) UTF-8 ALL", "* SORT 3 4 1 2"),
        ("UID SORT (REVERSE FROM) UTF-8 ALL", "* SORT 4 2 1 3"),
        ("SORT (DISPLAYFROM) UTF-8 ALL", "* SORT 3 2 4 1"),
        ("SORT (DATE) UTF-8 TEXT tea", "* SORT 1 2"),
        (
            "SORT RETURN (COUNT PARTIAL 1:2) (REVERSE FROM) UTF-8 ALL",
            "* ESEARCH (TAG \"b\") COUNT 4 PARTIAL (1:2 4,2)",
        ),
        ("THREAD REFERENCES UTF-8 ALL", "* THREAD (3 4)(2 1)"),
        ("UID THREAD ORDEREDSUBJECT UTF-8 ALL", "* THREAD (3 4)(1 2)"),
        ("THREAD REFS UTF-8 SUBJECT tea", "* THREAD (2 1)"),
        ("SEARCH CHARSET UTF-8 SUBJECT {5+}\r\nCAF\u{c9}", "* SEARCH 3 4"),
        ("SEARCH HEADER Received example FROM zoe", "* SEARCH 1"),
        ("SEARCH NOT SUBJECT tea BODY \"body 4\"", "* SEARCH 4"),
    ] {
        assert_eq!(talk.imap("b", command)[0], answer, "{command}");
    }
    let header = talk.imap("c", "FETCH 1 BODY.PEEK[HEADER.FIELDS (from Subject X-None)]");
    assert_eq!(header[1..4], ["Subject: Re: tea", "From: Zoe <b@x.example>", ""]);

    // One session looks on while another changes things.
    assert_eq!(
        talk.imap("d", "UID SEARCH RETURN (UPDATE COUNT) UNFLAGGED")[0],
        "* ESEARCH (TAG \"d\") UID COUNT 4"
    );
    assert_eq!(
        talk.imap("e", "UID SORT RETURN (UPDATE ALL) (SUBJECT) UTF-8 UNFLAGGED")[0],
        "* ESEARCH (TAG \"e\") UID ALL 3:4,1:2"
    );
    let mut other = inbox(&server);
    other.imap("a", "STORE 1 +FLAGS.SILENT (\\Flagged)");
    let lines = talk.imap("f", "NOOP");
    assert_eq!(
        told(&lines, "* ESEARCH"),
        ["* ESEARCH (TAG \"d\") UID REMOVEFROM (0 1)", "* ESEARCH (TAG \"e\") UID REMOVEFROM (3 1)"]
    );
    talk.send("g IDLE\r\n");
    assert!(talk.line().starts_with('+'));
    deliver(&server, USER, "Subject: beer\r\n\r\nx\r\n");
    let mut lines = Vec::new();
    while told(&lines, "* ESEARCH").len() < 2 {
        lines.push(talk.line());
    }
    assert_eq!(lines[0], "* 5 EXISTS");
    assert_eq!(
        told(&lines, "* ESEARCH"),
        ["* ESEARCH (TAG \"d\") UID ADDTO (0 5)", "* ESEARCH (TAG \"e\") UID ADDTO (1 5)"]
    );
    talk.send("DONE\r\n");
    assert!(talk.until("g").last().unwrap().starts_with("g OK"));
    assert!(talk.imap("h", "CANCELUPDATE \"d\" \"e\"").last().unwrap().starts_with("h OK"));
    other.imap("b", "STORE 2 +FLAGS.SILENT (\\Flagged)");
    assert_eq!(told(&talk.imap("i", "NOOP"), "* ESEARCH"), [""; 0]);
}

/// RFC 7377: one question to several mailboxes, without leaving the one that is open.
#[test]
fn several_mailboxes_are_searched() {
    let server = server("");
    let mut talk = inbox(&server);
    for mailbox in ["folder1", "folder2", "folder2/banana", "folder2/banana/green"] {
        assert!(talk.imap("a", &format!("CREATE {mailbox}")).last().unwrap().starts_with("a OK"));
        for subject in ["chad", "tea"] {
            talk.send(format!(
                "b APPEND {mailbox} (\\Seen) {{{}+}}\r\nSubject: {subject}\r\n\r\nx\r\n",
                14 + subject.len()
            ));
            assert!(talk.until("b").last().unwrap().starts_with("b OK"));
        }
    }
    assert!(talk.imap("c", "CAPABILITY")[0].contains(" MULTISEARCH"));
    let mut found = |command: &str| {
        let lines = talk.imap("d", command);
        assert!(lines.last().unwrap().starts_with("d OK"), "{lines:?}");
        let tell = |line: &String| {
            let (mailbox, rest) =
                line.strip_prefix("* ESEARCH (TAG \"d\" MAILBOX ").unwrap().split_once(' ').unwrap();
            format!("{mailbox} {}", rest.split_once(") ").unwrap().1)
        };
        told(&lines, "* ESEARCH").iter().map(tell).collect::<Vec<_>>()
    };
    assert_eq!(
        found("ESEARCH IN (mailboxes folder1 subtree folder2) SUBJECT chad"),
        [
            "folder1 UID ALL 1",
            "folder2 UID ALL 1",
            "folder2/banana UID ALL 1",
            "folder2/banana/green UID ALL 1"
        ]
    );
    assert_eq!(
        found(
            "ESEARCH IN (mailboxes (folder1 folder1 nowhere) subtree-one folder2) RETURN (COUNT) SUBJECT tea UID 2:*"
        ),
        ["folder1 UID COUNT 1", "folder2 UID COUNT 1", "folder2/banana UID COUNT 1"]
    );
    assert_eq!(found("ESEARCH IN (personal) SUBJECT nothing"), [""; 0]);
    assert_eq!(found("ESEARCH ALL"), [""; 0]);
}

/// RFC 5465: what happens in all mailboxes is told without being asked, whether one is open or not.
#[test]
fn clients_are_notified() {
    let server = server("");
    let mut other = inbox(&server);
    for command in ["CREATE lists", "CREATE lists/rust", "CREATE quiet"] {
        assert!(other.imap("a", command).last().unwrap().starts_with("a OK"));
    }
    let mut talk = imap(&server);
    let answer = talk.imap(
        "a",
        "NOTIFY SET STATUS (selected (MessageNew (uid body.peek[header.fields (subject)]) MessageExpunge FlagChange)) \
         (subtree lists (MessageNew MessageExpunge FlagChange)) (personal (MailboxName SubscriptionChange))",
    );
    assert_eq!(answer.len(), 3, "{answer:?}");
    assert!(answer[1].starts_with("* STATUS lists/rust (MESSAGES 0 UIDNEXT 1 UIDVALIDITY "), "{answer:?}");
    let append = |talk: &mut common::Talk, mailbox: &str| {
        talk.send(format!("b APPEND {mailbox} {{20+}}\r\nSubject: new\r\n\r\nhi\r\n\r\n"));
        assert!(talk.until("b").last().unwrap().starts_with("b OK"));
    };
    // Nothing is open: another mailbox, one that nobody asked for, and names.
    append(&mut other, "quiet");
    append(&mut other, "lists/rust");
    let line = talk.line();
    assert!(line.starts_with("* STATUS lists/rust (MESSAGES 1 UIDNEXT 2 UNSEEN 1 HIGHESTMODSEQ "), "{line}");
    other.imap("c", "CREATE more");
    assert_eq!(talk.line(), "* LIST (\\HasNoChildren) \"/\" more");
    other.imap("c", "RENAME more less");
    assert_eq!(talk.line(), "* LIST (\\HasNoChildren) \"/\" less (\"OLDNAME\" (more))");
    other.imap("c", "SUBSCRIBE less");
    assert_eq!(talk.line(), "* LIST (\\HasNoChildren \\Subscribed) \"/\" less");
    other.imap("c", "UNSUBSCRIBE less");
    assert_eq!(talk.line(), "* LIST (\\HasNoChildren) \"/\" less");
    other.imap("c", "DELETE less");
    assert_eq!(talk.line(), "* LIST (\\NonExistent) \"/\" less");
    // What the client does itself it is not told of.
    assert_eq!(talk.imap("d", "CREATE own").len(), 1);
    // In the open mailbox, without a command.
    talk.imap("e", "SELECT INBOX");
    append(&mut other, "INBOX");
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line: &String| line != ")") {
        lines.push(talk.line());
    }
    assert_eq!(lines[0], "* 1 EXISTS");
    let rest: Vec<&str> =
        lines.iter().map(String::as_str).filter(|line| !line.ends_with("RECENT")).skip(1).collect();
    assert_eq!(rest, ["* 1 FETCH (UID 1 BODY[HEADER.FIELDS (subject)] {16}", "Subject: new", "", ")"]);
    other.imap("f", "NOOP");
    other.imap("f", "STORE 1 +FLAGS.SILENT (\\Deleted)");
    let line = talk.line();
    assert!(line.starts_with("* 1 FETCH (FLAGS (\\Deleted") && line.contains("UID 1"), "{line}");
    other.imap("g", "EXPUNGE");
    assert_eq!(talk.line(), "* 1 EXPUNGE");
    // And after NONE nothing at all.
    assert!(talk.imap("h", "NOTIFY NONE").last().unwrap().starts_with("h OK"));
    append(&mut other, "lists/rust");
    append(&mut other, "INBOX");
    assert_eq!(talk.imap("i", "NOOP"), ["i OK NOOP completed"]);
    let bad = talk.imap("j", "NOTIFY SET (selected (MessageNew MessageExpunge MessageBurnt))");
    assert!(bad[0].starts_with("j NO [BADEVENT (") && bad[0].contains("AnnotationChange"), "{bad:?}");
}

/// RFC 5465 §5: only what the client does itself may go untold. What comes while its commands run is told.
#[test]
fn nothing_is_lost_while_commands_run() {
    let server = server("");
    let mut other = inbox(&server);
    assert!(other.imap("a", "CREATE lists").last().unwrap().starts_with("a OK"));
    let mut talk = imap(&server);
    let answer =
        talk.imap("a", "NOTIFY SET (personal (MessageNew MessageExpunge MailboxName SubscriptionChange))");
    assert!(answer.last().unwrap().starts_with("a OK"));
    for round in 1..=20 {
        // Always in the middle of something.
        let mut work: String =
            (0..50).map(|_| "x ID NIL\r\nx STATUS INBOX (MESSAGES)\r\nx LIST \"\" *\r\n").collect();
        work += &format!("x CREATE own{round}\r\nx SUBSCRIBE own{round}\r\nx DELETE own{round}\r\n");
        talk.send(work);
        other.send(format!(
            "b APPEND lists {{20+}}\r\nSubject: new\r\n\r\nhi\r\n\r\nc CREATE more{round}\r\n"
        ));
        assert!(other.until("c").last().unwrap().starts_with("c OK"));
        let (mut counted, mut listed) = (false, false);
        while !(counted && listed) {
            let line = talk.line();
            assert!(!line.contains("NonExistent"), "{line}");
            counted |= line.starts_with(&format!("* STATUS lists (MESSAGES {round} "));
            listed |= line.ends_with(&format!("\"/\" more{round}"));
        }
        talk.send("d NOOP\r\n");
        talk.until("d");
    }
}

/// RFC 5465 §5.4: the parent of what is made or deleted is affected too; children of what is renamed are not told of.
#[test]
fn parents_are_told_of() {
    let server = server("");
    let mut other = inbox(&server);
    let mut talk = imap(&server);
    let set = "NOTIFY SET (personal (MailboxName)) (subtree s (MailboxName))";
    assert!(talk.imap("a", set).last().unwrap().starts_with("a OK"));
    for (command, told) in [
        ("CREATE y", &["(\\HasNoChildren) \"/\" y"][..]),
        ("CREATE y/sub", &["(\\HasNoChildren) \"/\" y/sub", "(\\HasChildren) \"/\" y"]),
        ("CREATE y/sub/below", &["(\\HasNoChildren) \"/\" y/sub/below", "(\\HasChildren) \"/\" y/sub"]),
        ("RENAME y z", &["(\\HasChildren) \"/\" z (\"OLDNAME\" (y))"]),
        ("DELETE z/sub/below", &["(\\NonExistent) \"/\" z/sub/below", "(\\HasNoChildren) \"/\" z/sub"]),
        ("DELETE z/sub", &["(\\NonExistent) \"/\" z/sub", "(\\HasNoChildren) \"/\" z"]),
        ("DELETE z", &["(\\NonExistent) \"/\" z"]),
    ] {
        assert!(other.imap("b", command).last().unwrap().starts_with("b OK"), "{command}");
        for line in told {
            assert_eq!(talk.line(), format!("* LIST {line}"), "{command}");
        }
    }
    assert_eq!(talk.imap("c", "NOOP"), ["c OK NOOP completed"]);
}

/// RFC 3501 §2.3.2: no session is told of a message as recent that another was told of so, whatever happens meanwhile.
#[test]
fn recent_messages_are_so_once() {
    let mut server = server("");
    let told = |talk: &mut common::Talk, command: &str| {
        let lines = talk.imap("r", command);
        assert!(lines.last().unwrap().starts_with("r OK"), "{lines:?}");
        lines.into_iter().find(|line| line.contains("RECENT")).unwrap()
    };
    for number in 1..=2 {
        deliver(&server, USER, &format!("Subject: {number}\r\n\r\nx\r\n"));
    }
    let mut talk = imap(&server);
    assert_eq!(told(&mut talk, "EXAMINE INBOX"), "* 2 RECENT");
    assert_eq!(told(&mut talk, "STATUS INBOX (RECENT)"), "* STATUS INBOX (RECENT 2)");
    assert_eq!(told(&mut talk, "SELECT INBOX"), "* 2 RECENT");
    // While it is open: told once more, and known to the store when it is closed.
    deliver(&server, USER, "Subject: 3\r\n\r\nx\r\n");
    assert_eq!(told(&mut talk, "NOOP"), "* 3 RECENT");
    talk.send("z LOGOUT\r\n");
    talk.rest();
    server.stop();
    server.serve();
    let mut talk = imap(&server);
    assert_eq!(told(&mut talk, "STATUS INBOX (RECENT)"), "* STATUS INBOX (RECENT 0)");
    deliver(&server, USER, "Subject: 4\r\n\r\nx\r\n");
    assert_eq!(told(&mut talk, "EXAMINE INBOX"), "* 1 RECENT");
    assert_eq!(told(&mut talk, "SELECT INBOX"), "* 1 RECENT");
    assert_eq!(told(&mut talk, "SELECT INBOX"), "* 0 RECENT");
    // With another name it is the same mailbox.
    for command in ["CREATE old", "APPEND old {1+}\r\nx", "SELECT old", "RENAME old new"] {
        assert!(talk.imap("a", command).last().unwrap().starts_with("a OK"), "{command}");
    }
    assert_eq!(told(&mut talk, "SELECT new"), "* 0 RECENT");
}

/// Clients that wait for news and do not take them: what happens is told when there is room, as it is then.
#[test]
fn idlers_that_do_not_read_cost_little() {
    const MESSAGES: usize = 2_000;
    let server = server("");
    let mut busy = inbox(&server);
    let more = " {14+}\r\nSubject: x\r\n\r\n".repeat(MESSAGES);
    busy.send(format!("a APPEND INBOX{more}\r\n"));
    assert!(busy.until("a").last().unwrap().starts_with("a OK"));
    busy.imap("a", "NOOP");
    let mut slow: Vec<common::Talk> = (0..20)
        .map(|index| {
            let mut talk = inbox(&server);
            if index % 2 == 0 {
                talk.send("i IDLE\r\n");
                while !talk.line().starts_with('+') {}
            } else {
                let set = "NOTIFY SET (selected (MessageNew MessageExpunge FlagChange))";
                assert!(talk.imap("i", set).last().unwrap().starts_with("i OK"));
            }
            talk
        })
        .collect();
    let before = server.memory().0;
    for round in 0..100 {
        let sign = if round % 2 == 0 { '+' } else { '-' };
        let lines = busy.imap("b", &format!("STORE 1:* {sign}FLAGS.SILENT (\\Flagged \\Answered)"));
        assert!(lines.last().unwrap().starts_with("b OK"), "{lines:?}");
        // So that each change is seen by itself.
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // Each would be told of 200,000 flags: 8 MB or more.
    let grown = server.memory().0.saturating_sub(before);
    assert!(grown < 60 << 10, "{grown} KiB for 20 sessions that do not read");
    assert!(busy.imap("c", "STORE 1:* FLAGS.SILENT (\\Seen)").last().unwrap().starts_with("c OK"));
    // Those that read again hear how it is now, of every message.
    for talk in &mut slow[..2] {
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < MESSAGES {
            let line = talk.line();
            let number = line.split(' ').nth(1).unwrap().to_owned();
            if line.contains("\\Seen") {
                seen.insert(number)
            } else {
                seen.remove(&number)
            };
        }
    }
    common::assert_well(&server, 250);
    drop(slow);
}
