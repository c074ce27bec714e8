//! POP3 on the running server: policies, locks, ids, workarounds, and messages that must not get lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::fs;

use common::{PASSWORD, Server, Talk, USER, deliver, imap, wait_for};

/// A session that has greeted.
fn greeted(server: &Server) -> (Talk, String) {
    let mut talk = server.talk(server.port("pop3", "starttls"));
    let greeting = talk.line();
    (talk, greeting)
}

/// Sends a line and reads one.
fn say(talk: &mut Talk, line: &str) -> String {
    talk.send(format!("{line}\r\n"));
    talk.line()
}

/// The rest of a listing.
fn listing(talk: &mut Talk) -> Vec<String> {
    let mut lines = talk.until(".");
    assert_eq!(lines.pop().as_deref(), Some("."));
    lines
}

fn log_in(server: &Server, name: &str) -> (Talk, String) {
    let (mut talk, _) = greeted(server);
    assert!(say(&mut talk, &format!("USER {name}")).starts_with("+OK"));
    let answer = say(&mut talk, &format!("PASS {PASSWORD}"));
    (talk, answer)
}

fn capabilities(talk: &mut Talk) -> Vec<String> {
    assert!(say(talk, "CAPA").starts_with("+OK"));
    listing(talk)
}

/// Sends the whole of what there is to say, and reads it to the end of the connection.
fn sees(server: &Server, commands: &str) -> String {
    let (mut talk, _) = log_in(server, USER);
    talk.send(commands);
    talk.rest()
}

fn message(subject: &str) -> String {
    format!("From: Bob <bob@example.net>\r\nSubject: {subject}\r\n\r\n.dot\r\n")
}

fn deliver_some(server: &Server, count: usize) {
    for number in 1..=count {
        deliver(server, USER, &message(&format!("number {number}")));
    }
}

#[test]
fn capabilities_say_what_there_is() {
    let server = Server::start(
        "allow_plaintext_auth = true\npop3 = { language = \"it\", expire = \"30\", login_delay = 900, users = { \
         \"alice@example.org\" = { login_delay = 0, expire = \"never\" }, \"b@example.org\" = { expire = \"7\" } } }\n",
    );
    let (mut talk, greeting) = greeted(&server);
    assert!(!greeting.contains('<'), "{greeting}");
    let before = capabilities(&mut talk);
    for line in [
        "TOP",
        "UIDL",
        "RESP-CODES",
        "AUTH-RESP-CODE",
        "PIPELINING",
        "UTF8 USER",
        "LANG",
        "EXPIRE 7 USER",
        "LOGIN-DELAY 900 USER",
        "STLS",
        "USER",
        "IMPLEMENTATION POP3",
    ] {
        assert!(before.iter().any(|found| found == line), "{line}: {before:?}");
    }
    assert!(before.iter().any(|line| line.starts_with("SASL ") && line.contains("PLAIN")), "{before:?}");
    let (mut talk, _) = log_in(&server, USER);
    let after = capabilities(&mut talk);
    assert!(
        after.iter().any(|line| line == "EXPIRE NEVER") && after.iter().any(|line| line == "LOGIN-DELAY 0")
    );
    assert!(say(&mut talk, "LANG").starts_with("+OK"));
    assert_eq!(listing(&mut talk), ["en English", "de Deutsch", "fr français", "es español", "it italiano"]);
    assert_eq!(say(&mut talk, "LANG *"), "+OK it ora in italiano");
    assert_eq!(say(&mut talk, "LIST 7"), "-ERR questo messaggio non esiste");
    assert!(say(&mut talk, "LANG en").starts_with("+OK en "));
    assert!(say(&mut talk, "LANG mul").starts_with("-ERR"));
}

#[test]
fn the_policies_of_one_user_do_not_hold_for_others() {
    let mut server = Server::prepare(
        "allow_plaintext_auth = true\npop3 = { ascii_headers = false, workarounds = [\"outlook-no-nuls\"], users = { \
         \"b@example.org\" = { expire = \"0\", login_delay = 900, workarounds = [\"oe-ns-eoh\"] } } }\n",
    );
    for user in [USER, "b@example.org"] {
        server.add_user(user, PASSWORD);
    }
    server.serve();
    let (mut talk, _) = greeted(&server);
    let before = capabilities(&mut talk);
    for line in ["EXPIRE 0 USER", "LOGIN-DELAY 900 USER"] {
        assert!(before.iter().any(|found| found == line), "{line}: {before:?}");
    }
    for (user, retrieved, left) in
        [(USER, "\r\nA: b\u{fffd}\r\n.\r\n", 1), ("b@example.org", "\r\nA: b\0\r\n\r\n.\r\n", 0)]
    {
        let mut session = server.talk(server.port("imap", "starttls"));
        session.line();
        assert!(session.imap("login", &format!("LOGIN {user} {PASSWORD}")).last().unwrap().contains("OK"));
        session.send("append APPEND INBOX ~{7+}\r\nA: b\0\r\n\r\n");
        assert!(session.until("append").last().unwrap().starts_with("append OK"));
        let (mut talk, _) = log_in(&server, user);
        let after = capabilities(&mut talk);
        let delay: Vec<_> = after.iter().filter(|line| line.starts_with("LOGIN-DELAY")).collect();
        assert_eq!(delay.is_empty(), left == 1, "{after:?}");
        talk.send("RETR 1\r\nQUIT\r\n");
        let said = talk.rest();
        assert!(said.contains(retrieved), "{said:?}");
        // What was retrieved stays, unless it is the user's own policy that it goes.
        let status = session.imap("s", "STATUS INBOX (MESSAGES)");
        assert!(status[0].ends_with(&format!("(MESSAGES {left})")), "{status:?}");
    }
}

#[test]
fn a_second_login_waits() {
    let server = Server::start("allow_plaintext_auth = true\npop3 = { login_delay = 2 }\n");
    let (mut first, answer) = log_in(&server, USER);
    assert!(answer.starts_with("+OK"));
    assert!(say(&mut first, "QUIT").starts_with("+OK"));
    let (mut second, answer) = log_in(&server, USER);
    assert!(answer.starts_with("-ERR [LOGIN-DELAY] "), "{answer}");
    // It is not thrown out, and comes in when it is time.
    wait_for("the delay to pass", || {
        assert!(say(&mut second, &format!("USER {USER}")).starts_with("+OK"));
        say(&mut second, &format!("PASS {PASSWORD}")).starts_with("+OK").then_some(())
    });
}

#[test]
fn what_is_retrieved_goes_with_expire_0_and_nothing_on_a_dropped_line() {
    let server = Server::start("allow_plaintext_auth = true\npop3 = { expire = \"0\" }\n");
    deliver_some(&server, 3);
    // The line drops behind RETR and DELE: nothing happens.
    let (mut talk, _) = log_in(&server, USER);
    talk.send("RETR 1\r\n");
    talk.until(".");
    assert!(say(&mut talk, "DELE 2").starts_with("+OK"));
    drop(talk);
    let count = || {
        // A session that has just lost its peer may not know yet.
        let (mut talk, answer) = wait_for("the maildrop", || {
            let (talk, answer) = log_in(&server, USER);
            answer.starts_with("+OK").then_some((talk, answer))
        });
        talk.send("QUIT\r\n");
        talk.rest();
        answer.split(' ').nth(3).unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(count(), 3);
    let said = sees(&server, "RETR 3\r\nTOP 2 0\r\nLAST\r\nDELE 1\r\nQUIT\r\n");
    assert!(
        said.contains("\r\n..dot\r\n.\r\n")
            && said.contains("\r\n+OK 3\r\n")
            && said.ends_with("+OK bye\r\n"),
        "{said}"
    );
    assert_eq!(count(), 1);
}

#[test]
fn old_messages_go_at_quit() {
    let server = Server::start("allow_plaintext_auth = true\npop3 = { expire = \"7\" }\n");
    deliver_some(&server, 2);
    // Kept since today, however old the date is that it bears.
    let mut session = imap(&server);
    session.send("append APPEND INBOX \"01-Jan-2001 00:00:00 +0000\" {6}\r\n");
    assert!(session.line().starts_with('+'));
    session.send("a: b\r\n\r\n");
    assert!(session.until("append").last().unwrap().starts_with("append OK"));
    assert!(sees(&server, "STAT\r\nQUIT\r\n").starts_with("+OK 3 "));
    assert!(sees(&server, "STAT\r\nQUIT\r\n").starts_with("+OK 3 "));
}

#[test]
fn one_session_or_many() {
    let server = Server::start("allow_plaintext_auth = true\n");
    let (_first, answer) = log_in(&server, USER);
    assert!(answer.starts_with("+OK"));
    // The lock is the maildrop's, whichever port it was opened at.
    let (_, second) = log_in(&server, USER);
    assert!(second.starts_with("-ERR [IN-USE] "), "{second}");
    let shared = Server::start("allow_plaintext_auth = true\npop3 = { exclusive = false }\n");
    deliver_some(&shared, 2);
    let (mut first, _) = log_in(&shared, USER);
    let (mut second, answer) = log_in(&shared, USER);
    assert!(answer.starts_with("+OK"), "{answer}");
    for session in [&mut first, &mut second] {
        assert!(say(session, "DELE 1").starts_with("+OK"));
    }
    // Both wanted it gone, and it is.
    assert_eq!(say(&mut first, "QUIT"), "+OK bye");
    assert_eq!(say(&mut second, "STAT").split(' ').nth(1), Some("1"));
    assert_eq!(say(&mut second, "QUIT"), "+OK bye");
    assert!(sees(&shared, "STAT\r\nQUIT\r\n").starts_with("+OK 1 "));
}

#[test]
fn folders_are_opened_by_name() {
    let server = Server::start("allow_plaintext_auth = true\npop3 = { folder_separator = \"+\" }\n");
    deliver_some(&server, 1);
    let mut session = imap(&server);
    assert!(session.imap("a", "CREATE Lists/One").last().unwrap().starts_with("a OK"));
    session.send("append APPEND Lists/One {6}\r\n");
    assert!(session.line().starts_with('+'));
    session.send("a: b\r\n\r\n");
    assert!(session.until("append").last().unwrap().starts_with("append OK"));
    let (mut talk, answer) = log_in(&server, "alice+Lists/One@example.org");
    assert_eq!(answer, "+OK maildrop has 1 message (6 octets)");
    // Another folder is another maildrop.
    let (_inbox, answer) = log_in(&server, USER);
    assert!(answer.starts_with("+OK maildrop has 1 message"), "{answer}");
    assert!(say(&mut talk, "DELE 1").starts_with("+OK"));
    assert_eq!(say(&mut talk, "QUIT"), "+OK bye");
    let (_, answer) = log_in(&server, "alice+Nothing@example.org");
    assert!(answer.starts_with("-ERR [SYS/PERM]"), "{answer}");
    // By SASL too: base64 of NUL alice+Lists/One@example.org NUL and the password.
    let (mut talk, _) = greeted(&server);
    let printed = common::succeed(
        std::process::Command::new("sh")
            .args(["-c", &format!("printf '\\0alice+Lists/One@example.org\\0{PASSWORD}' | base64 -w0")]),
    );
    let answer = say(&mut talk, &format!("AUTH PLAIN {}", String::from_utf8(printed).unwrap()));
    assert_eq!(answer, "+OK maildrop has 0 messages (0 octets)");
    let closed = Server::start("allow_plaintext_auth = true\n");
    let (_, answer) = log_in(&closed, "alice+Lists/One@example.org");
    assert!(answer.starts_with("-ERR [AUTH]"), "{answer}");
}

#[test]
fn ids_follow_the_template() {
    let server = Server::start("allow_plaintext_auth = true\npop3 = { unique_ids = \"%v.%u\" }\n");
    deliver_some(&server, 2);
    let said = sees(&server, "UIDL\r\nQUIT\r\n");
    let ids: Vec<_> = said.lines().skip(1).take(2).map(|line| line.split(' ').nth(1).unwrap()).collect();
    let (validity, uid) = ids[0].split_once('.').unwrap();
    assert!(validity.parse::<u32>().is_ok() && uid == "1" && ids[1] == format!("{validity}.2"), "{said}");
}

#[test]
fn odd_messages_are_made_fit() {
    let server = Server::start(
        "allow_plaintext_auth = true\npop3 = { workarounds = [\"outlook-no-nuls\", \"oe-ns-eoh\"] }\n",
    );
    let mut session = imap(&server);
    for message in [&b"A: b\r\n"[..], "Subject: Gr\u{fc}\u{df}e\r\n\r\n".as_bytes()] {
        session.send(format!("append APPEND INBOX {{{}}}\r\n", message.len()));
        assert!(session.line().starts_with('+'));
        session.send([message, b"\r\n"].concat());
        assert!(session.until("append").last().unwrap().starts_with("append OK"));
    }
    let said = sees(&server, "RETR 1\r\nRETR 2\r\nQUIT\r\n");
    assert!(said.contains("\r\nA: b\r\n\r\n.\r\n"), "{said}");
    assert!(said.contains("\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\n.\r\n"), "{said}");
    let (mut talk, _) = greeted(&server);
    assert!(say(&mut talk, "UTF8").starts_with("+OK"));
    talk.send(format!("USER {USER}\r\nPASS {PASSWORD}\r\nRETR 2\r\nQUIT\r\n"));
    let said = talk.rest();
    assert!(said.contains("\r\nSubject: Gr\u{fc}\u{df}e\r\n\r\n.\r\n"), "{said}");
}

#[test]
fn apop_needs_passwords_in_clear() {
    let mut server = Server::prepare(
        "allow_plaintext_auth = true\nauth = { passwd_files = [\"passwd\"] }\npop3 = { apop = true }\n",
    );
    let passwd = server.folder.path().join("passwd");
    fs::write(&passwd, format!("{USER}:{{PLAIN}}{PASSWORD}\n")).unwrap();
    server.serve();
    let (mut talk, greeting) = greeted(&server);
    let timestamp = &greeting[greeting.find('<').unwrap()..];
    assert!(timestamp.ends_with("@mail.example.org>"), "{greeting}");
    let (_, other) = greeted(&server);
    assert_ne!(greeting, other);
    let digest = |password: &str| {
        let script = format!("import hashlib;print(hashlib.md5(b'{timestamp}{password}').hexdigest())");
        let printed = common::succeed(std::process::Command::new("python3").args(["-c", &script]));
        String::from_utf8(printed).unwrap().trim().to_owned()
    };
    if common::have("python3") {
        let wrong = say(&mut talk, &format!("APOP {USER} {}", digest("wrong")));
        assert!(wrong.starts_with("-ERR [AUTH]"), "{wrong}");
        let unknown = say(&mut talk, &format!("APOP nobody@example.org {}", digest("")));
        assert_eq!(unknown, wrong);
        let right = say(&mut talk, &format!("APOP {USER} {}", digest(PASSWORD)));
        assert!(right.starts_with("+OK"), "{right}");
    }
    server.stop();
    // One whose password is hashed: said at the start, and with what to do.
    server.add_user("bob@example.org", PASSWORD);
    let output = server.command(&["serve"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("pop3.apop") && said.contains("{PLAIN}"), "{said}");
}

#[test]
fn a_wrong_configuration_is_told() {
    let server =
        Server::prepare("pop3 = { unique_ids = \"%g\", expire = \"soon\", folder_separator = \"@\" }\n");
    let output = server.command(&["config", "check"]).output().unwrap();
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    for part in ["pop3.unique_ids", "pop3: expire", "pop3.folder_separator"] {
        assert!(!output.status.success() && said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_hundred_thousand_messages_are_listed_in_bounded_memory() {
    let server = Server::start("allow_plaintext_auth = true\n");
    let mut session = imap(&server);
    // One message, and its copies: twice as many each time.
    session.send("append APPEND INBOX {6}\r\n");
    assert!(session.line().starts_with('+'));
    session.send("a: b\r\n\r\n");
    assert!(session.until("append").last().unwrap().starts_with("append OK"));
    assert!(session.imap("s", "SELECT INBOX").last().unwrap().starts_with("s OK"));
    let mut count = 1;
    while count < 100_000 {
        let more = count.min(100_000 - count);
        let answer = session.imap("c", &format!("COPY 1:{more} INBOX"));
        assert!(answer.last().unwrap().starts_with("c OK"), "{more}: {:?}", answer.last());
        count += more;
        // Now the session knows of them.
        session.imap("n", "NOOP");
    }
    let (_, before) = server.memory();
    let (mut talk, answer) = log_in(&server, USER);
    assert_eq!(answer, "+OK maildrop has 100000 messages (600000 octets)");
    for (command, first) in [("LIST", "1 6"), ("UIDL", "1 00000001")] {
        assert!(say(&mut talk, command).starts_with("+OK"));
        let lines = listing(&mut talk);
        assert_eq!(lines.len(), 100_000);
        assert!(lines[0].starts_with(first) && lines[99_999].starts_with("100000 "), "{command}");
    }
    let (_, after) = server.memory();
    // In KiB: the listing is some 40 octets a message, and what waits to be sent a few hundred KiB.
    assert!(after < before + 32 * 1024, "{before} and then {after} KiB");
}

/// What cannot be read is refused, and the session goes on: what it deletes is deleted.
#[test]
fn a_message_that_cannot_be_read_stops_nobody() {
    let mut server =
        Server::prepare("allow_plaintext_auth = true\nstore = { kind = \"maildir\", path = \"mail/%u\" }");
    server.add_user(USER, PASSWORD);
    server.serve();
    deliver_some(&server, 4);
    let (mut talk, answer) = log_in(&server, USER);
    assert!(answer.starts_with("+OK"), "{answer}");
    let mut phone = imap(&server);
    phone.imap("a", "SELECT INBOX");
    phone.imap("b", "STORE 2 +FLAGS (\\Deleted)");
    assert!(phone.imap("c", "EXPUNGE").last().unwrap().starts_with("c OK"));
    for (number, there) in [(1, true), (2, false), (3, true), (4, true)] {
        let answer = say(&mut talk, &format!("RETR {number}"));
        assert_eq!(answer.starts_with("+OK"), there, "{answer}");
        if there {
            assert!(talk.until(".").iter().any(|line| line == "..dot"));
        } else {
            assert!(answer.starts_with("-ERR ") && answer.contains("expunged"), "{answer}");
            assert!(say(&mut talk, &format!("TOP {number} 0")).starts_with("-ERR "));
        }
        assert!(say(&mut talk, &format!("DELE {number}")).starts_with("+OK"));
    }
    assert!(say(&mut talk, "QUIT").starts_with("+OK"));
    assert!(phone.imap("d", "STATUS INBOX (MESSAGES)")[0].ends_with("(MESSAGES 0)"));
}

/// A file whose name says that it is longer than it is.
#[test]
fn a_file_that_is_shorter_than_its_name_says_stops_nobody() {
    let mut server =
        Server::prepare("allow_plaintext_auth = true\nstore = { kind = \"maildir\", path = \"mail/%u\" }");
    server.add_user(USER, PASSWORD);
    server.serve();
    deliver_some(&server, 1);
    let new = server.folder.path().join("mail").join(USER).join("new");
    let text = "Subject: short\n\nx\n";
    fs::write(new.join(format!("1700000003.M3P1.host,S={},W=30", text.len())), text).unwrap();
    let (mut talk, _) = log_in(&server, USER);
    let listed = {
        talk.send("LIST\r\n");
        talk.line();
        listing(&mut talk)
    };
    assert_eq!(listed.len(), 2);
    let odd = listed.iter().find(|line| line.ends_with(" 30")).unwrap_or_else(|| panic!("{listed:?}"));
    let odd: usize = odd.split(' ').next().unwrap().parse().unwrap();
    let answer = say(&mut talk, &format!("RETR {odd}"));
    assert!(answer.starts_with("-ERR [SYS/PERM] "), "{answer}");
    assert!(say(&mut talk, &format!("RETR {}", 3 - odd)).starts_with("+OK"));
    listing(&mut talk);
    assert!(say(&mut talk, &format!("DELE {}", 3 - odd)).starts_with("+OK"));
    assert!(say(&mut talk, "QUIT").starts_with("+OK"));
    // Whoever comes next is told the size that it has.
    let (mut talk, _) = log_in(&server, USER);
    assert!(say(&mut talk, "RETR 1").starts_with("+OK"));
    assert!(listing(&mut talk).iter().any(|line| line.contains("Subject: short")));
}
