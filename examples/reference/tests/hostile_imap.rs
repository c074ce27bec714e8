//! Attacks on the running server through IMAP, and messages made to hurt whoever reads them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

use common::{Server, Talk, USER, assert_well, count, deliver, imap, inbox};

const PLAINTEXT: &str = "allow_plaintext_auth = true";

#[test]
fn bad_imap_before_login_is_refused() {
    let server = Server::start(PLAINTEXT);
    let open = "(".repeat(4000);
    // What is sent, how the answer begins, and whether the next command is answered.
    for (sent, expected, goes_on) in [
        ("a LOGIN {4294967296}\r\n".to_owned(), "a NO [TOOBIG]", true),
        ("a LOGIN {99999999999999999999999}\r\n".into(), "* BYE", false),
        ("a LOGIN {-1}\r\n".into(), "a BAD", true),
        ("a LOGIN {}\r\n".into(), "a BAD", true),
        ("a LOGIN {10000000}\r\n".into(), "a NO [TOOBIG]", true),
        ("a LOGIN {1073741824+}\r\n".into(), "* BYE", false),
        (format!("a LOGIN {open}\r\n"), "a BAD", true),
        (format!("a {}\r\n", open.repeat(50)), "* BYE", false),
        ("a NO\0OP\r\n".into(), "a BAD", true),
        ("a LOGIN \"a\0b\" c\r\n".into(), "a BAD", true),
        ("a LOGIN \"abc\r\n".into(), "a BAD", true),
        ("a LOGIN {0+}\r\n {0+}\r\n\r\n".into(), "a NO", true),
        ("+ NOOP\r\n".into(), "* BAD", true),
        ("* NOOP\r\n".into(), "* BAD", true),
        (" NOOP\r\n".into(), "* BAD", true),
        ("\r\n".into(), "* BAD", true),
        ("{3+}\r\nabc NOOP\r\n".into(), "* BAD", true),
        ("a\rb NOOP\r\n".into(), "a BAD", true),
        ("a NOOP\ra NOOP\r\n".into(), "a BAD", true),
        ("a NOOP\na NOOP\r\n".into(), "a BAD", true),
        ("a SELECT INBOX\r\n".into(), "a BAD", true),
        ("a APPEND INBOX {5+}\r\nhello\r\n".into(), "a BAD", true),
        ("a AUTHENTICATE NOPE\r\n".into(), "a NO", true),
        ("a AUTHENTICATE PLAIN !!!\r\n".into(), "a BAD", true),
        ("a AUTHENTICATE PLAIN =\r\n".into(), "a NO", true),
        ("GET / HTTP/1.0\r\n".into(), "GET BAD", true),
    ] {
        let mut talk = server.talk(server.port("imap", "starttls"));
        talk.line();
        talk.send(format!("{sent}last NOOP\r\n"));
        let said = talk.rest();
        let shown = &sent[..sent.len().min(60)];
        assert!(said.starts_with(expected), "{shown:?}: {said}");
        assert_eq!(said.ends_with("last OK NOOP completed\r\n"), goes_on, "{shown:?}: {said}");
        assert_eq!(said.lines().count(), 1 + usize::from(goes_on), "{shown:?}: {said}");
    }
    let mut talk = server.talk(server.port("imap", "starttls"));
    talk.line();
    talk.send("!!garbage\r\n".repeat(300));
    assert!(talk.rest().lines().count() < 30);
    let mut talk = imap(&server);
    talk.send("a LOGOUT\r\nb CREATE late\r\n");
    assert!(!talk.rest().contains("b OK"));
    assert_well(&server, 100);
}

#[test]
fn bad_imap_after_login_is_refused() {
    let server = Server::start(PLAINTEXT);
    deliver(&server, USER, "Subject: t\r\n\r\nbody\r\n");
    let many = |count: usize, what: &str| vec![what; count].join(" ");
    // The command, and which of OK, NO, BAD and BYE may be the answer.
    for (command, expected) in [
        ("APPEND INBOX {4000000000}".to_owned(), "NO"),
        ("APPEND INBOX {99999999999999999999}".into(), "BYE"),
        ("APPEND nowhere {10}".into(), "NO [TRYCREATE]"),
        ("CREATE {100000000}".into(), "NO"),
        ("SEARCH SUBJECT {100000000}".into(), "NO"),
        (format!("SEARCH {}", "(".repeat(50_000)), "BAD"),
        (format!("SEARCH {}ALL", "NOT ".repeat(100)), "BAD"),
        (format!("SEARCH {}ALL", "OR ALL ".repeat(5000)), "BAD"),
        (format!("SEARCH {}ALL", "NOT ".repeat(30_000)), "BAD command line too long"),
        ("SEARCH CHARSET BOGUS-8 SUBJECT x".into(), "NO [BADCHARSET"),
        (format!("SEARCH UID {}", vec!["1"; 5000].join(",")), "OK"),
        (format!("UID FETCH {} UID", vec!["1:*"; 5000].join(",")), "OK"),
        ("FETCH 0 FLAGS".into(), "BAD"),
        ("FETCH 2 FLAGS".into(), "BAD"),
        ("FETCH 4294967296 FLAGS".into(), "BAD"),
        ("FETCH 1:4294967295 FLAGS".into(), "BAD"),
        ("FETCH 1 BODY.PEEK[]<4294967295.4294967295>".into(), "OK"),
        ("FETCH 1 BODY.PEEK[]<0.0>".into(), "BAD"),
        ("FETCH 1 BODY.PEEK[]<99999999999999999999.1>".into(), "BAD"),
        (format!("FETCH 1 ({})", many(5000, "FLAGS")), "BAD"),
        (format!("FETCH 1 BODY.PEEK[HEADER.FIELDS ({})]", many(5000, "X")), "BAD"),
        (format!("FETCH 1 BODY.PEEK[{}1]", "1.".repeat(200)), "BAD"),
        ("FETCH 1 BODY.PEEK[0]".into(), "BAD"),
        ("UID FETCH 1 (".into(), "BAD"),
        (format!("LIST \"\" \"{}\"", "%*".repeat(5000)), "OK"),
        (format!("LIST \"\" \"{}\"", "*%a".repeat(300)), "OK"),
        ("STORE 1 FLAGS (\\Recent)".into(), "BAD"),
        ("STORE 1 FLAGS (a{b)".into(), "BAD"),
        (format!("STORE 1 +FLAGS ({})", many(3000, "k")), "BAD"),
        ("DELETE INBOX".into(), "NO"),
        ("RENAME INBOX INBOX".into(), "NO"),
        (format!("CREATE \"{}\"", "a".repeat(60_000)), "NO"),
        (format!("CREATE \"{}\"", "a/".repeat(500)), "NO"),
        (format!("ENABLE {}", many(5000, "X")), "BAD"),
        ("COPY 1 nowhere".into(), "NO [TRYCREATE]"),
        ("SEARCH BEFORE 32-Foo-99999".into(), "BAD"),
        ("SETQUOTA \"\" (STORAGE 99)".into(), "NO [CANNOT]"),
        ("LOCALDELETE INBOX".into(), "BAD"),
        ("SELECT user/bob".into(), "NO"),
        ("SELECT \"../bob/INBOX\"".into(), "NO"),
        ("STARTTLS".into(), "BAD"),
        ("LOGIN a b".into(), "BAD"),
    ] {
        let mut talk = inbox(&server);
        let begun = Instant::now();
        talk.send(format!("a {command}\r\nlast NOOP\r\n"));
        let said = talk.rest();
        let shown = &command[..command.len().min(60)];
        let wanted = if expected == "BYE" { "* BYE".to_owned() } else { format!("a {expected}") };
        assert!(said.lines().any(|line| line.starts_with(&wanted)), "{shown:?}: {said}");
        assert_eq!(said.ends_with("last OK NOOP completed\r\n"), expected != "BYE", "{shown:?}: {said}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{shown:?} took {:?}", begun.elapsed());
    }
    // Many literals in one command.
    let mut talk = inbox(&server);
    talk.send("a SEARCH ");
    let literal = format!("{} ", "x".repeat(65_536));
    let taken = (0..1000)
        .take_while(|_| {
            talk.send("SUBJECT {65536}\r\n");
            let goes_on = talk.line().starts_with('+');
            if goes_on {
                talk.send(&literal);
            }
            goes_on
        })
        .count();
    assert!(taken < 64, "{taken} literals of 64 KiB in one command");
    assert_well(&server, 100);
}

#[test]
fn names_of_mailboxes_stay_names() {
    let server = Server::start(PLAINTEXT);
    let mut talk = imap(&server);
    for (name, made) in [
        ("a/../../../escape", false),
        ("..", false),
        (".", false),
        ("/absolute", false),
        ("a//b", false),
        ("INBOX/../../x", false),
        ("&AC4ALg-/x", false),
        ("&AC8-etc", false),
        ("&AAA-x", false),
        ("a*b", false),
        ("a%b", false),
        ("&", false),
        ("x\ty", false),
        ("inbox", false),
        ("", false),
        ("~root/escape", true),
        ("x/cur", true),
        ("#shared/x", true),
        ("CON", true),
        (" lead", true),
        ("-rf", true),
        ("mailwright.toml", true),
    ] {
        let answer = talk.imap("a", &format!("CREATE \"{name}\""));
        let wanted = if made { "a OK" } else { "a NO" };
        assert!(answer[0].starts_with(wanted), "{name:?}: {answer:?}");
    }
    // RFC 3501 §6.3.6, §6.3.8: what is only subscribed to is no mailbox.
    assert!(talk.imap("a", "SUBSCRIBE ghost")[0].starts_with("a OK"));
    assert_eq!(talk.imap("a", "LIST \"\" ghost"), ["a OK LIST completed"]);
    assert_eq!(talk.imap("a", "LSUB \"\" ghost")[0], "* LSUB (\\Noselect \\HasNoChildren) \"/\" ghost");
    // A name made anew is another mailbox.
    let mut validities = Vec::new();
    for _ in 0..3 {
        talk.imap("a", "CREATE again");
        validities.push(talk.imap("a", "STATUS again (UIDVALIDITY)")[0].clone());
        talk.imap("a", "DELETE again");
    }
    validities.dedup();
    assert_eq!(validities.len(), 3, "{validities:?}");
    // Nothing was written beside the data.
    let files: Vec<_> =
        std::fs::read_dir(server.folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files.len(), 3, "{files:?}");
    assert_well(&server, 100);
}

#[test]
fn a_mailbox_changes_under_its_sessions() {
    let server = Server::start(PLAINTEXT);
    for index in 0..6 {
        deliver(&server, USER, &format!("Subject: m{index}\r\n\r\nx\r\n"));
    }
    // RFC 3501 §7.4.1: no message changes its number during FETCH by number.
    let (mut reader, mut remover) = (inbox(&server), inbox(&server));
    remover.imap("a", "STORE 1:2 +FLAGS.SILENT (\\Deleted)");
    assert_eq!(remover.imap("a", "EXPUNGE")[..2], ["* 2 EXPUNGE", "* 1 EXPUNGE"]);
    let fetched = reader.imap("a", "FETCH 1:6 (UID)");
    assert!(fetched.iter().all(|line| !line.ends_with(" EXPUNGE")), "{fetched:?}");
    // RFC 5530 §3: some of what was asked for is not there any more.
    assert!(fetched.last().unwrap().starts_with("a NO [EXPUNGEISSUED]"), "{fetched:?}");
    let numbers = fetched.iter().filter(|line| line.starts_with('*'));
    for line in numbers {
        let (number, uid) = line[2..].split_once(" FETCH (UID ").unwrap();
        assert_eq!(number, uid.trim_end_matches(')'), "{fetched:?}");
    }
    reader.imap("a", "NOOP");
    assert_eq!(reader.imap("a", "FETCH 1 (UID)")[0], "* 1 FETCH (UID 3)");
    // Fifty sessions of one user hear of one message.
    let mut idle: Vec<Talk> = (0..50).map(|_| inbox(&server)).collect();
    for talk in &mut idle {
        talk.send("i IDLE\r\n");
        assert!(talk.line().starts_with('+'));
    }
    deliver(&server, USER, "Subject: all\r\n\r\nx\r\n");
    for talk in &mut idle {
        assert_eq!(talk.line(), "* 5 EXISTS");
        talk.line();
        talk.send("DONE\r\n");
        assert!(talk.line().starts_with("i OK"));
    }
    drop(idle);
    // Another command in place of DONE.
    reader.send("i IDLE\r\n");
    while !reader.line().starts_with('+') {}
    reader.send("j NOOP\r\n");
    assert!(reader.until("i").last().unwrap().starts_with("i BAD"));
    assert!(reader.imap("k", "NOOP").last().unwrap().starts_with("k OK"));
    // The mailbox goes, with a session in it and one idle.
    let mut owner = imap(&server);
    owner.imap("a", "CREATE doomed");
    let mut sessions: Vec<Talk> = (0..2).map(|_| imap(&server)).collect();
    for talk in &mut sessions {
        assert!(talk.imap("s", "SELECT doomed").last().unwrap().starts_with("s OK"));
    }
    sessions[0].send("i IDLE\r\n");
    assert!(sessions[0].line().starts_with('+'));
    assert!(owner.imap("a", "DELETE doomed")[0].starts_with("a OK"));
    assert!(sessions[0].line().starts_with("* BYE"));
    sessions[1].send("a NOOP\r\nb NOOP\r\n");
    let said = sessions[1].rest();
    assert!(said.contains("* BYE"), "{said}");
    assert_well(&server, 100);
}

#[test]
fn slow_readers_cost_little() {
    let server = Server::start(PLAINTEXT);
    let line = format!("{}\r\n", "y".repeat(998));
    deliver(&server, USER, &format!("Subject: big\r\n\r\n{}", line.repeat(1048)));
    let before = server.memory().0;
    let slow: Vec<Talk> = (0..50)
        .map(|_| {
            let mut talk = inbox(&server);
            talk.send("f FETCH 1 BODY.PEEK[]\r\n".repeat(40));
            talk
        })
        .collect();
    std::thread::sleep(Duration::from_secs(1));
    // 50 sessions asked for 2 GB.
    let grown = server.memory().0.saturating_sub(before);
    assert!(grown < 50 << 10, "{grown} KiB for 50 sessions that do not read");
    assert_well(&server, 150);
    drop(slow);
}

#[test]
fn long_searches_keep_nobody_waiting() {
    let server = Server::start(PLAINTEXT);
    let line = format!("{}\r\n", "a".repeat(998));
    let large = format!("Subject: large\r\n\r\n{}", line.repeat(10_000));
    for _ in 0..3 {
        deliver(&server, USER, &large);
    }
    let keys: String = (0..500).map(|index| format!(" NOT BODY {}b{index}", "a".repeat(60))).collect();
    let searching: Vec<Talk> = (0..10)
        .map(|_| {
            let mut talk = inbox(&server);
            talk.send(format!("z SEARCH{keys}\r\n"));
            talk
        })
        .collect();
    assert_well(&server, 200);
    drop(searching);
}

/// A message with its name.
fn bombs() -> Vec<(&'static str, String)> {
    let header = "From: a@example.net\r\nTo: b@example.net\r\nMIME-Version: 1.0\r\n";
    let multipart = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    let nested: String = (0..5000)
        .map(|level| format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n"))
        .collect();
    let siblings = "--b\r\n\r\nx\r\n".repeat(50_000);
    let embedded = "Content-Type: message/rfc822\r\n\r\n".repeat(5000);
    let digest = format!("--b\r\nContent-Type: message/rfc822\r\n\r\n{multipart}").repeat(2000);
    let addresses: String = (0..50_000).map(|index| format!("a{index}@example.net,\r\n ")).collect();
    let parameters: String = (0..20_000).map(|index| format!(";\r\n name*{index}*=x%41")).collect();
    let words = "=?utf-8?q?a?= ".repeat(30_000);
    vec![
        ("nested multiparts", format!("{header}{nested}\r\nx\r\n")),
        (
            "nested multiparts of one boundary",
            format!("{header}{}", format!("{multipart}--b\r\n").repeat(5000)),
        ),
        ("sibling parts", format!("{header}{multipart}{siblings}--b--\r\n")),
        ("nested messages", format!("{header}{embedded}Subject: x\r\n\r\nx\r\n")),
        ("nested digests", format!("{header}{multipart}{digest}")),
        ("addresses", format!("{header}Cc: {addresses}z@example.net\r\n\r\nx\r\n")),
        ("address fields", format!("{}\r\nx\r\n", header.repeat(20_000))),
        ("a field folded", format!("{header}Subject: a{}\r\n\r\nx\r\n", "\r\n b".repeat(200_000))),
        ("parameters", format!("{header}Content-Type: text/plain{parameters}\r\n\r\nx\r\n")),
        ("groups", format!("{header}Cc: {}\r\n\r\nx\r\n", "g: ".repeat(20_000))),
        ("empty addresses", "To: \r\nCc: ,,,\r\nBcc: <>\r\nSender: \"\r\nFrom: @\r\n\r\nx\r\n".into()),
        ("comment without an end", format!("{header}Cc: a@b (comment \\")),
        ("open comments", format!("{header}Cc: {}\r\n\r\nx\r\n", "(".repeat(100_000))),
        ("open quotes", format!("{header}Cc: {}\r\n\r\nx\r\n", "\"".repeat(100_001))),
        ("routes", format!("{header}Cc: <{}:a@b.c>\r\n\r\nx\r\n", "@a,".repeat(50_000))),
        (
            "dates",
            format!(
                "Date: Mon, 99 Jan 99999999999999 99:99:99 +9999\r\nDate: {}\r\n\r\nx\r\n",
                "9".repeat(10_000)
            ),
        ),
        ("encoded words", format!("{header}Subject: {words}=?utf-8?b?\r\n\r\nx\r\n")),
        (
            "boundary of 100,000",
            format!(
                "{header}Content-Type: multipart/mixed; boundary={0}\r\n\r\n--{0}\r\n\r\nx\r\n",
                "b".repeat(100_000)
            ),
        ),
        (
            "boundary that is the beginning of another",
            format!(
                "{header}{multipart}--b\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\n\r\nx\r\n--bb--\r\n--b--\r\n"
            ),
        ),
        (
            "two boundaries",
            format!(
                "{header}Content-Type: multipart/mixed; boundary=a; boundary=b\r\n\r\n--a\r\n\r\nx\r\n--b\r\n\r\ny\r\n"
            ),
        ),
        ("no header", "\r\nbody\r\n".into()),
        ("one octet", "x".into()),
        ("no end of the header", "Subject: x\r\n".into()),
        (
            "malformed fields",
            "From a@b Mon\r\n>From x\r\n: empty\r\nSub ject: x\r\n Continued\r\nSubject : y\r\n\r\nx\r\n"
                .into(),
        ),
        ("references", format!("Message-ID: <a@b>\r\nReferences: {}\r\n\r\nx\r\n", "<a@b> ".repeat(50_000))),
        ("message id", format!("Message-ID: <{}@b>\r\n\r\nx\r\n", "a".repeat(1 << 20))),
        ("fields", "X: y\r\n".repeat(100_000) + "\r\nx\r\n"),
        (
            "nul",
            "Subject: a\0b\r\nTo: a\0@b.c\r\nContent-Type: text/plain; name=\"a\0b\"\r\n\r\na\0b\r\n".into(),
        ),
        ("tags", format!("{header}Content-Type: text/html\r\n\r\n{}\r\n", "<b>".repeat(100_000))),
        (
            "escapes",
            format!(
                "{header}Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n{}\r\n",
                "\u{1b}$B\u{1b}(B".repeat(100_000)
            ),
        ),
        ("dots", ".\r\n..\r\nFrom x\r\n.\r\n".into()),
    ]
}

#[test]
fn messages_made_to_hurt_are_read_in_every_way() {
    let server = Server::start(PLAINTEXT);
    for (name, message) in bombs() {
        let before = count(&server);
        let mut talk = server.talk(server.port("lmtp", "none"));
        talk.line();
        talk.send(format!("LHLO client.example\r\nMAIL FROM:<>\r\nRCPT TO:<{USER}>\r\nDATA\r\n"));
        while !talk.line().starts_with("354") {}
        let stuffed = message.replace("\r\n.", "\r\n..");
        talk.send(if stuffed.starts_with('.') { format!(".{stuffed}") } else { stuffed });
        let answer = talk.smtp(if message.ends_with("\r\n") { "." } else { "\r\n." });
        assert!(answer.starts_with("250"), "{name}: {answer}");
        assert_eq!(count(&server), before + 1, "{name}");
        let mut talk = inbox(&server);
        let size = talk.imap("a", "FETCH * RFC822.SIZE")[0].clone();
        let size: usize = size.split_once("SIZE ").unwrap().1.trim_end_matches(')').parse().unwrap();
        for command in [
            "FETCH * ENVELOPE",
            "FETCH * BODYSTRUCTURE",
            "FETCH * BODY.PEEK[]",
            "FETCH * (BODY.PEEK[1] BODY.PEEK[1.MIME] BODY.PEEK[2.HEADER] BODY.PEEK[99999])",
            "FETCH * (FLAGS RFC822.SIZE RFC822 RFC822.HEADER RFC822.TEXT)",
            "FETCH * BODY.PEEK[HEADER.FIELDS (To Subject)]",
            "SEARCH * TEXT zzzqq",
            "SEARCH * SUBJECT zzzqq FROM zzzqq",
            "SEARCH * SENTBEFORE 1-Jan-2020",
        ] {
            let begun = Instant::now();
            let said = answer_of(&mut talk, command);
            let took = begun.elapsed();
            assert!(took < Duration::from_secs(10), "{name}: {command} took {took:?}");
            assert!(well_formed(&said), "{name}: {command}");
            if command == "FETCH * BODY.PEEK[]" {
                assert!(String::from_utf8_lossy(&said).contains(&format!("BODY[] {{{size}}}")), "{name}");
            }
        }
        let mut talk = server.talk(server.port("pop3", "starttls"));
        talk.line();
        let number = before + 1;
        talk.send(format!("USER {USER}\r\nPASS {}\r\nRETR {number}\r\nQUIT\r\n", common::PASSWORD));
        let said = talk.rest();
        assert_eq!(said.matches("\r\n.\r\n").count(), 1, "{name}");
        assert!(said.ends_with("\r\n.\r\n+OK bye\r\n"), "{name}");
    }
    assert_well(&server, 200);
}

/// The whole answer to a command, literals read by their length.
fn answer_of(talk: &mut Talk, command: &str) -> Vec<u8> {
    use std::io::BufRead;
    write!(talk.stream.get_mut(), "v {command}\r\n").unwrap();
    let mut said = Vec::new();
    loop {
        let begin = said.len();
        assert!(talk.stream.read_until(b'\n', &mut said).unwrap() > 0, "{command}: closed");
        let line = &said[begin..];
        if let Some(length) = literal(line) {
            let read = talk.stream.by_ref().take(length as u64).read_to_end(&mut said).unwrap();
            assert_eq!(read, length);
        } else if line.starts_with(b"v ") {
            assert!(line.starts_with(b"v OK"), "{command}: {}", String::from_utf8_lossy(line));
            return said;
        }
    }
}

/// The length of the literal that a line ends with.
fn literal(line: &[u8]) -> Option<usize> {
    let inner = line.strip_suffix(b"}\r\n")?;
    let digits = &inner[inner.iter().rposition(|octet| *octet == b'{')? + 1..];
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Whether lines, quoted strings, literals and parentheses are as RFC 3501 §4 has them.
fn well_formed(said: &[u8]) -> bool {
    let (mut index, mut depth, mut quoted) = (0, 0_usize, false);
    while let Some(&octet) = said.get(index) {
        match (octet, quoted) {
            (b'\\', true) => index += 1,
            (b'"', _) => quoted = !quoted,
            (b'\r' | b'\n' | 0 | 0x80.., true) => return false,
            (b'(', false) => depth += 1,
            (b')', false) if depth == 0 => return false,
            (b')', false) => depth -= 1,
            (b'{', false) => {
                let Some(end) = said[index..].iter().position(|octet| *octet == b'\n') else { return false };
                let Some(length) = literal(&said[index..=index + end]) else { return false };
                index += end + length;
            }
            (b'\n', false) if depth != 0 => return false,
            _ => {}
        }
        index += 1;
    }
    depth == 0 && !quoted
}
