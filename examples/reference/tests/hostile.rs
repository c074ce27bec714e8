//! Attacks on the running server through SMTP, submission, LMTP, POP3 and TLS. After each, a clean session works.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use common::{PASSWORD, Server, Talk, USER, assert_well, count, imap, wait_for};

const PLAINTEXT: &str = "allow_plaintext_auth = true";

/// A transaction that waits for DATA.
fn transaction(server: &Server, protocol: &str) -> Talk {
    let lmtp = protocol == "lmtp";
    let mut talk = server.talk(server.port(protocol, if lmtp { "none" } else { "starttls" }));
    talk.reply();
    talk.smtp(if lmtp { "LHLO client.example" } else { "EHLO client.example" });
    assert_eq!(talk.smtp("MAIL FROM:<mallory@example.net>"), "250 2.1.0 Ok");
    assert_eq!(talk.smtp(&format!("RCPT TO:<{USER}>")), "250 2.1.5 Ok");
    talk
}

/// The codes of the replies in what a server said.
fn codes(said: &str) -> Vec<&str> {
    said.lines()
        .filter(|line| line.as_bytes().get(3) == Some(&b' '))
        .filter_map(|line| line.get(..3))
        .collect()
}

/// RFC 5321 §4.1.1.4: only CRLF `.` CRLF ends a message.
#[test]
fn the_end_of_a_message_cannot_be_forged() {
    let server = Server::start(PLAINTEXT);
    for forged in [
        "\n.\n",
        "\n.\r\n",
        "\r\n.\n",
        "\r.\r",
        "\r\n.\r",
        "\r.\r\n",
        "\n.\r",
        "\r.\n",
        "\r\n\0.\r\n",
        "\r\n.\0\r\n",
        "\r\r\n.\r\r\n",
        "\r\n.\r\r\n",
        "\n\n.\n\n",
        "\r\n .\r\n",
        "\r\n. \r\n",
        "\r\n..\r\n",
        "\u{85}.\u{85}",
        "\u{2028}.\u{2028}",
        "\u{b}.\u{b}\u{c}.\u{c}",
    ] {
        for protocol in ["smtp", "lmtp"] {
            let before = count(&server);
            let mut talk = transaction(&server, protocol);
            assert!(talk.smtp("DATA").starts_with("354"));
            talk.send(format!(
                "Subject: one\r\n\r\nbody{forged}MAIL FROM:<evil@example.net>\r\nRCPT TO:<{USER}>\r\nDATA\r\n\
                 Subject: two\r\n\r\nevil\r\n.\r\nQUIT\r\n"
            ));
            let said = talk.rest();
            assert_eq!(codes(&said).len(), 2, "{protocol} {forged:?}: {said}");
            assert!(said.contains("221 2.0.0 Bye"), "{protocol} {forged:?}: {said}");
            let stored = count(&server) - before;
            assert_eq!(stored, usize::from(said.starts_with("250")), "{protocol} {forged:?}: {said}");
        }
    }
    // And octet by octet the right end ends it.
    let mut talk = transaction(&server, "smtp");
    talk.smtp("DATA");
    for octet in b"Subject: slow\r\n\r\nslow\r\n.\r\n" {
        talk.send([*octet]);
    }
    assert!(talk.reply().starts_with("250 "));
    assert_well(&server, 100);
}

#[test]
fn bad_smtp_gets_the_right_reply_and_no_more() {
    let server = Server::start(PLAINTEXT);
    let rcpt = format!("RCPT TO:<{USER}>\r\n");
    // What is sent behind EHLO, and the codes of all replies.
    for (sent, expected) in [
        ("NOOP\rNOOP\r\n".to_owned(), "500"),
        ("NOOP\nNOOP\r\n".into(), "500"),
        ("NOOP\nQUIT\n".into(), ""),
        ("NO\0OP\r\nNOOP\r\n".into(), "500 250"),
        ("POST / HTTP/1.1\r\nHost: x\r\n\r\nMAIL FROM:<a@example.net>\r\n".into(), "421"),
        ("GET / HTTP/1.0\r\n\r\n".into(), "421"),
        ("\u{16}\u{3}\u{1}\0\r\nNOOP\r\n".into(), "421"),
        (rcpt.clone() + "DATA\r\n", "503 503"),
        ("MAIL FROM:<a@example.net>\r\nMAIL FROM:<b@example.net>\r\nDATA\r\n".into(), "250 503 554"),
        (format!("MAIL FROM:<>\r\n{rcpt}RSET\r\nDATA\r\n"), "250 250 250 503"),
        (format!("MAIL FROM:<>\r\nEHLO again.example\r\n{rcpt}"), "250 250 503"),
        // Content behind a DATA that is refused is never run as commands that deliver.
        (
            format!(
                "MAIL FROM:<>\r\nRCPT TO:<no@example.org>\r\nDATA\r\nSubject: x\r\nMAIL FROM:<>\r\n{rcpt}DATA\r\nx\r\n.\r\n"
            ),
            "250 550 554 421",
        ),
        // Nobody knows how many octets of a message follow: what comes is not run as commands (RFC 3030 §2).
        ("BDAT 99999999999999999999999\r\nNOOP\r\n".into(), "501"),
        ("BDAT 0x10\r\nNOOP\r\n".into(), "501"),
        ("BDAT -1\r\nNOOP\r\n".into(), "501"),
        ("MAIL FROM:<a@example.net> SIZE=-1\r\n".into(), "501"),
        ("MAIL FROM:<a@example.net> SIZE=18446744073709551617\r\n".into(), "552"),
        ("MAIL FROM:<a@example.net> SIZE=1 SIZE=2\r\n".into(), "501"),
        ("MAIL FROM:<a@example.net> BODY=BOGUS\r\n".into(), "501"),
        ("MAIL FROM:<a@example.net> HOLDFOR=100\r\nMAIL FROM:<> FOO\r\n".into(), "555 555"),
        ("MAIL FROM:<a@example.net> BY=100;X\r\nMAIL FROM:<a@example.net> BY=0;R\r\n".into(), "501 501"),
        ("MAIL FROM:<a@example.net> AUTH=+0D+0A\r\n".into(), "501"),
        ("MAIL FROM:<\"\"@example.net>\r\nMAIL FROM:<@a.example:b\r\n".into(), "501 501"),
        (format!("MAIL FROM:<{}a@example.net>\r\n", "a.".repeat(200)), "501"),
        ("MAIL FROM:<\u{e9}@example.net>\r\n".into(), "553"),
        (format!("EHLO {}\r\n", "a".repeat(480)), "501"),
        ("EHLO a\0b\r\nEHLO [1.2.3\r\nEHLO \u{e9}\r\nEHLO\r\n".into(), "500 501 501 501"),
        (
            "EXPN x\r\nTURN\r\nDEBUG\r\nXCLIENT NAME=x\r\nPROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n".into(),
            "502 502 500 502 500",
        ),
        ("RSET\r\nQUIT\r\nNOOP\r\n".into(), "250 221"),
    ] {
        let mut talk = server.talk(server.port("smtp", "starttls"));
        talk.reply();
        talk.smtp("EHLO client.example");
        talk.send(&sent);
        let said = talk.rest();
        assert_eq!(codes(&said).join(" "), expected, "{sent:?}: {said}");
        // RFC 5321 §4.5.3.1.5
        assert!(said.split_inclusive("\r\n").all(|line| line.len() <= 512), "{said}");
    }
    assert_eq!(count(&server), 0);
    assert_well(&server, 100);
}

/// Addresses that have made some server somewhere relay, deliver twice or run a program.
#[test]
fn strangers_cannot_relay() {
    let server = Server::start(PLAINTEXT);
    let long = [format!("{}@example.org", "a".repeat(65)), format!("alice@{}example.org", "a.".repeat(130))];
    let tricks = [
        "victim@external.example",
        "victim%external.example@example.org",
        "external.example!victim@example.org",
        "victim@external.example@example.org",
        "\"victim@external.example\"",
        "\"victim@external.example\"@example.org",
        "\"victim%external.example\"@example.org",
        "victim",
        "victim%external.example",
        "external.example!victim",
        "@example.org:victim@external.example",
        "@a.example,@b.example:victim@external.example",
        "victim@[127.0.0.1]",
        "victim@[IPv6:::1]",
        "victim@127.0.0.1",
        "victim@localhost",
        "alice@mail.example.org",
        "alice@example.org.external.example",
        "alice@example.org.",
        "alice@sub.example.org",
        "alice@example.org\0@external.example",
        "alice@example.org\0",
        "alice@example.org,victim@external.example",
        "alice@example.org> <victim@external.example",
        "alice(@external.example)@example.org",
        "alice@ex\u{430}mple.org",
        "alice@example.org;external.example",
        "alice@external.example:25",
        "postmaster@external.example",
        "\"\"@example.org",
        "",
        "@",
        "@example.org",
        "alice@",
        ".alice@example.org",
        "al..ice@example.org",
        "../../etc/passwd@example.org",
        "|/bin/sh@example.org",
        "\"|/bin/sh\"@example.org",
        "-oQ/tmp@example.org",
        "\"a' OR 1=1--\"@example.org",
        "alice@@example.org",
        "al\rice@example.org",
        "\u{e9}@example.org",
        "*@example.org",
        "nobody@example.org",
        &long[0],
        &long[1],
    ];
    for protocol in ["smtp", "lmtp"] {
        for some in tricks.chunks(10) {
            let mut talk = transaction(&server, protocol);
            for trick in some {
                let reply = talk.smtp(&format!("RCPT TO:<{trick}>"));
                assert!(reply.starts_with('5'), "{protocol} {trick:?}: {reply}");
            }
            // The session goes on.
            assert_eq!(talk.smtp(&format!("RCPT TO:<{USER}>")), "250 2.1.5 Ok");
        }
    }
    let mut talk = server.talk(server.port("submission", "starttls"));
    talk.reply();
    talk.smtp("EHLO client.example");
    for command in ["MAIL FROM:<alice@example.org>", "RCPT TO:<victim@external.example>", "DATA"] {
        assert!(talk.smtp(command).starts_with("530"), "{command}");
    }
    assert_well(&server, 100);
}

#[test]
fn a_flood_is_bounded() {
    let server = Server::start(PLAINTEXT);
    // Lines without an end.
    for (protocol, tls) in
        [("smtp", "starttls"), ("lmtp", "none"), ("imap", "starttls"), ("pop3", "starttls")]
    {
        let mut talk = server.talk(server.port(protocol, tls));
        talk.line();
        for _ in 0..16 {
            talk.send_anyway(vec![b'A'; 1 << 20]);
        }
        let said = talk.rest();
        assert!(said.len() < 200 && said.lines().count() <= 1, "{protocol}: {said}");
    }
    // Recipients, commands, and replies that nobody reads.
    let mut talk = transaction(&server, "smtp");
    talk.send(format!("RCPT TO:<{USER}>\r\n").repeat(5000));
    let said = talk.rest();
    assert!(codes(&said).iter().filter(|code| **code == "250").count() < 1000);
    assert!(codes(&said)[1000..].iter().all(|code| *code == "452"));
    for (protocol, tls, command) in [
        ("smtp", "starttls", "FOO\r\n"),
        ("smtp", "starttls", "NOOP\r\n"),
        ("lmtp", "none", "FOO\r\n"),
        ("pop3", "starttls", "FOO\r\n"),
    ] {
        let mut talk = server.talk(server.port(protocol, tls));
        talk.send_anyway(command.repeat(500));
        let said = talk.rest();
        assert!(said.lines().count() <= 130, "{protocol} {command}: {said}");
    }
    for (protocol, tls, command) in [
        ("smtp", "starttls", "EHLO client.example\r\n"),
        ("lmtp", "none", "LHLO client.example\r\n"),
        ("imap", "starttls", "a CAPABILITY\r\n"),
        ("pop3", "starttls", "CAPA\r\n"),
    ] {
        let talk = server.talk(server.port(protocol, tls));
        talk.stream.get_ref().set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let mut socket = talk.stream.get_ref();
        let commands = command.repeat(1000);
        // Until the server does not take any more.
        let refused = (0..2000).any(|_| socket.write_all(commands.as_bytes()).is_err());
        assert!(refused, "{protocol} reads on though its replies are not read");
    }
    // Content longer than is announced.
    let mut talk = transaction(&server, "smtp");
    talk.smtp("DATA");
    let lines = [&[b'x'; 1022][..], b"\r\n"].concat().repeat(1024);
    for _ in 0..51 {
        talk.send(&lines);
    }
    assert!(talk.smtp(".").starts_with("552"));
    assert_eq!(count(&server), 0);
    assert_well(&server, 150);
}

#[test]
fn a_message_cut_short_is_not_delivered() {
    let server = Server::start(PLAINTEXT);
    for index in 0..100 {
        let mut talk = transaction(&server, if index % 2 == 0 { "smtp" } else { "lmtp" });
        talk.send(b"DATA\r\nSubject: cut\r\n\r\n".repeat(index + 1));
        // With the 354 unread, closing resets the connection.
        drop(talk);
    }
    for protocol in ["smtp", "lmtp"] {
        let mut talk = transaction(&server, protocol);
        talk.smtp("DATA");
        talk.send("Subject: cut\r\n\r\nno end\r\n");
        assert_eq!(talk.rest(), "");
    }
    let mut talk = imap(&server);
    talk.send("a APPEND INBOX {1000}\r\n");
    assert!(talk.line().starts_with('+'));
    talk.send("Subject: cut\r\n\r\n");
    talk.rest();
    assert_eq!(count(&server), 0);
    assert_well(&server, 100);
    let open = format!("/proc/{}/fd", server.pid());
    wait_for("the sockets to be closed", || (std::fs::read_dir(&open).unwrap().count() < 40).then_some(()));
}

#[test]
fn logins_that_are_not_right_are_refused_alike() {
    let server = Server::start(PLAINTEXT);
    server.add_user("bob@example.org", "bobs-password-1");
    let plain = |fields: &str| format!("AUTH PLAIN {}", base64(fields.as_bytes()));
    let wrong = "535 5.7.8 Authentication credentials invalid";
    for (command, expected) in [
        ("AUTH PLAIN !!!".to_owned(), "501"),
        ("AUTH PLAIN AGEAYg=====".into(), "501"),
        (plain("a\0b\0c\0d"), "501"),
        (format!("AUTH PLAIN {}", base64(b"\0\xff\xfe\0\xff")), "501"),
        (plain("\0' OR 1=1--\0x"), wrong),
        (plain("\0*)(uid=*\0x"), wrong),
        (plain("\0../../x\0x"), wrong),
        ("AUTH PLAIN =".into(), "501"),
        (plain("\0a\r\nb\0c"), "501"),
        (plain(&format!("\0{USER}\0wrong")), wrong),
        (plain("\0nobody@example.org\0wrong"), wrong),
        (plain(&format!("bob@example.org\0{USER}\0{PASSWORD}")), "535"),
        (plain(&format!("\0{}\0x", "a".repeat(20_000))), "500"),
        ("AUTH NOPE".into(), "504"),
        ("AUTH EXTERNAL =".into(), "504"),
        ("AUTH SCRAM-SHA-256 =".into(), "501"),
        (format!("AUTH SCRAM-SHA-256 {}", base64(b"n,,m=1,n=u,r=x")), "501"),
        (format!("AUTH SCRAM-SHA-256 {}", base64(b"p=tls-unique,,n=u,r=x")), "5"),
        (format!("AUTH SCRAM-SHA-256 {}", base64(b"n,,n=a=b,r=x")), "501"),
    ] {
        let mut talk = server.talk(server.port("submission", "starttls"));
        talk.reply();
        talk.smtp("EHLO client.example");
        let reply = talk.smtp(&command);
        assert!(reply.starts_with(expected), "{command}: {reply}");
        assert_eq!(talk.smtp("NOOP"), "250 2.0.0 Ok", "{command}");
    }
    let mut talk = server.talk(server.port("submission", "starttls"));
    talk.reply();
    talk.smtp("EHLO client.example");
    let right = plain(&format!("\0{USER}\0{PASSWORD}"));
    for (command, expected) in [
        ("AUTH PLAIN", "334"),
        ("*", "501"),
        (&right, "235"),
        (&right, "503"),
        ("MAIL FROM:<alice@example.org>", "250"),
        ("RCPT TO:<victim%external.example@example.org>", "550"),
        ("RCPT TO:<friend@external.example>", "250"),
    ] {
        assert!(talk.smtp(command).starts_with(expected), "{command}");
    }
    // Guessing costs the guesser a connection, and us neither memory nor the time of others.
    let port = server.port("imap", "starttls");
    let guessers: Vec<_> = (0..100)
        .map(|_| {
            thread::spawn(move || {
                let mut talk = Talk::connect(port);
                talk.line();
                let answer = talk.imap("a", &format!("LOGIN {USER} wrong"));
                assert!(answer[0].starts_with("a NO"), "{answer:?}");
            })
        })
        .collect();
    guessers.into_iter().for_each(|guesser| guesser.join().unwrap());
    assert_well(&server, 100);
}

fn base64(octets: &[u8]) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    BASE64_STANDARD.encode(octets)
}

#[test]
fn bad_pop3_gets_an_error() {
    let server = Server::start(PLAINTEXT);
    common::deliver(&server, USER, "Subject: dots\r\n\r\n.\r\n..\r\nFrom here\r\n");
    // Sent before login; every answer is an error.
    for sent in [
        "RETR 1\r\n".to_owned(),
        "DELE 1\r\n".into(),
        "\r\n".into(),
        "AUTH NOPE\r\n".into(),
        "AUTH PLAIN !!!\r\n".into(),
        "GET / HTTP/1.0\r\n\r\n".into(),
        format!("USER {}\r\n", "a".repeat(10_000)),
        "USER a\0b\r\n".into(),
        "USER a\rb\r\n".into(),
        "USER \r\nPASS \r\n".into(),
    ] {
        let mut talk = server.talk(server.port("pop3", "starttls"));
        talk.line();
        talk.send(&sent);
        let said = talk.rest();
        assert!(!said.is_empty() && said.lines().all(|line| line.starts_with("-ERR")), "{sent:?}: {said}");
    }
    let login = || {
        let mut talk = server.talk(server.port("pop3", "starttls"));
        talk.line();
        talk.smtp(&format!("USER {USER}"));
        let answer = talk.smtp(&format!("PASS {PASSWORD}"));
        (talk, answer)
    };
    let (mut talk, answer) = login();
    assert!(answer.starts_with("+OK maildrop has 1 message "), "{answer}");
    assert!(login().1.starts_with("-ERR [IN-USE]"));
    for command in [
        "RETR 0",
        "RETR -1",
        "RETR 4294967297",
        "RETR",
        "RETR 1 2",
        "TOP 0 0",
        "TOP 1",
        "LIST 0",
        "UIDL 0",
        "DELE 2",
        "USER x",
        "STLS",
        "AUTH PLAIN",
    ] {
        assert!(talk.smtp(command).starts_with("-ERR"), "{command}");
    }
    assert!(talk.smtp("DELE 1").starts_with("+OK"));
    assert!(talk.smtp("RETR 1").starts_with("-ERR"));
    drop(talk);
    // Without QUIT nothing is deleted. The maildrop is free once the server has seen the end of the other session.
    let mut talk = wait_for("the maildrop", || {
        let (talk, answer) = login();
        answer.starts_with("+OK maildrop has 1 message ").then_some(talk)
    });
    talk.send("RETR 1\r\nQUIT\r\n");
    let said = talk.rest();
    assert!(said.contains("\r\n\r\n..\r\n...\r\nFrom here\r\n.\r\n+OK"), "{said}");
    assert_well(&server, 100);
}

#[test]
fn tls_ports_take_nothing_else_and_nobody_waits_for_a_handshake() {
    let server = Server::start(PLAINTEXT);
    let answer = |protocol, tls, sent: &[u8]| {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port(protocol, tls))).unwrap();
        stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
        let _ = stream.write_all(sent);
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        said
    };
    for protocol in ["submission", "imap", "pop3"] {
        let garbage = vec![0xa5; 100_000];
        for sent in [&b"EHLO client.example\r\n"[..], b"GET / HTTP/1.0\r\n\r\n", b"a LOGOUT\r\n", &garbage] {
            let said = answer(protocol, "implicit", sent);
            // At most an alert.
            assert!(said.is_empty() || said.starts_with(&[0x15, 3]), "{protocol}: {said:?}");
        }
    }
    for (protocol, sent, refused) in [
        ("smtp", "EHLO a\r\nSTARTTLS\r\nMAIL FROM:<a@example.net>\r\n", "554 5.7.0"),
        ("submission", "EHLO a\r\nSTARTTLS\r\nMAIL FROM:<a@example.net>\r\n", "554 5.7.0"),
        ("imap", "a STARTTLS\r\nb NOOP\r\n", "a BAD"),
        ("pop3", "STLS\r\nCAPA\r\n", "-ERR"),
    ] {
        let said = String::from_utf8_lossy(&answer(protocol, "starttls", sent.as_bytes())).into_owned();
        assert!(said.lines().any(|line| line.starts_with(refused)), "{protocol}: {said}");
        let ran = ["250 2.1.0", "b OK", "b BAD", "+OK cap"];
        assert!(ran.iter().all(|answer| !said.contains(answer)), "{protocol}: {said}");
    }
    // The beginning of a handshake, and then nothing.
    let stalled: Vec<TcpStream> = (0..60)
        .map(|index| {
            let protocol = ["submission", "imap", "pop3"][index % 3];
            let mut stream = TcpStream::connect(("127.0.0.1", server.port(protocol, "implicit"))).unwrap();
            stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").unwrap();
            stream
        })
        .collect();
    let begun = Instant::now();
    assert_well(&server, 100);
    assert!(begun.elapsed() < Duration::from_secs(5));
    drop(stalled);
}
