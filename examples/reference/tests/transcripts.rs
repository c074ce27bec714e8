//! Whole sessions against the running server: the two everybody knows from books, and bad input.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use common::{PASSWORD, Server, USER, deliver};

/// One session with two good recipients and an unknown one.
#[test]
fn an_esmtp_session_with_an_unknown_recipient() {
    let server = Server::start("");
    server.add_user("bob@example.org", "bobs-password-1");
    let mut talk = server.talk(server.port("smtp", "starttls"));
    let greeting = talk.reply();
    assert!(greeting.starts_with("220 mail.example.org ESMTP"), "{greeting}");
    let hello = talk.smtp("EHLO client.example");
    assert!(hello.starts_with("250-mail.example.org"), "{hello}");
    for extension in
        ["PIPELINING", "SIZE 52428800", "8BITMIME", "STARTTLS", "ENHANCEDSTATUSCODES", "SMTPUTF8"]
    {
        assert!(hello.lines().any(|line| line[4..] == *extension), "{extension}: {hello}");
    }
    assert_eq!(talk.smtp("MAIL FROM:<carol@example.net> SIZE=112"), "250 2.1.0 Ok");
    assert_eq!(talk.smtp(&format!("RCPT TO:<{USER}>")), "250 2.1.5 Ok");
    assert_eq!(talk.smtp("RCPT TO:<bob@example.org>"), "250 2.1.5 Ok");
    assert_eq!(
        talk.smtp("RCPT TO:<nobody@example.org>"),
        "550 5.1.1 <nobody@example.org>: Recipient address rejected: User unknown in local recipient table"
    );
    assert_eq!(talk.smtp("DATA"), "354 End data with <CR><LF>.<CR><LF>");
    // There is a header, but no blank line behind it.
    talk.send("From: carol@example.net\r\nDate: Sun, 15 May 2009 20:23:22 +0200 (CEST)\r\nThis is a test message.\r\n");
    let accepted = talk.smtp(".");
    let id =
        accepted.strip_prefix("250 2.0.0 Ok: queued as ").unwrap_or_else(|| panic!("{accepted}")).to_owned();
    assert_eq!(talk.smtp("QUIT"), "221 2.0.0 Bye");
    assert!(talk.at_end());
    for (user, password, count) in [(USER, PASSWORD, 1), ("bob@example.org", "bobs-password-1", 1)] {
        let text = fetch(&server, user, password, count);
        assert!(text.contains("This is a test message."), "{text}");
        assert!(text.contains(&format!("id {id}")), "the queue id is in the trace field: {text}");
    }
}

/// What people type by hand: no brackets, no header, no blank line.
#[test]
fn a_lenient_session_typed_by_hand() {
    let mut server = Server::prepare("postmaster = \"root@example.org\"\nallow_plaintext_auth = true");
    server.add_user("root@example.org", "roots-password");
    server.serve();
    let mut talk = server.talk(server.lenient_port());
    for (command, expected) in [
        ("", "220 mail.example.org ESMTP"),
        ("helo localhost", "250 mail.example.org"),
        ("mail from:root@localhost", "250 2.1.0 Ok"),
        ("rcpt to:root@example.org", "250 2.1.5 Ok"),
        ("data", "354 End data with <CR><LF>.<CR><LF>"),
    ] {
        let reply = if command.is_empty() { talk.reply() } else { talk.smtp(command) };
        assert_eq!(reply, expected, "{command}");
    }
    talk.send("This is neato\r\n");
    assert!(talk.smtp(".").starts_with("250 2.0.0 Ok: queued as "));
    assert_eq!(talk.smtp("quit"), "221 2.0.0 Bye");
    assert!(fetch(&server, "root@example.org", "roots-password", 1).ends_with("This is neato\r\n"));
    // The strict listener takes no such address.
    let mut talk = server.talk(server.port("smtp", "starttls"));
    talk.reply();
    talk.smtp("EHLO localhost");
    assert!(talk.smtp("mail from:root@localhost").starts_with("501 5.5.4"));
}

/// The text of a user's only message, through POP3 with STARTTLS left out: needs `allow_plaintext_auth`, or TLS.
fn fetch(server: &Server, user: &str, password: &str, count: usize) -> String {
    let script = format!(
        "import poplib,ssl,sys\np=poplib.POP3_SSL('127.0.0.1',{},context=ssl._create_unverified_context())\n\
         p.user('{user}');p.pass_('{password}')\nassert p.stat()[0]=={count},p.stat()\n\
         sys.stdout.buffer.write(b''.join(l+b'\\r\\n' for l in p.retr(1)[1]))\np.quit()",
        server.port("pop3", "implicit")
    );
    if !common::have("python3") {
        return String::new();
    }
    String::from_utf8(common::succeed(std::process::Command::new("python3").args(["-c", &script]))).unwrap()
}

#[test]
fn bad_input_gets_an_error_and_the_next_client_is_served() {
    let server = Server::start("allow_plaintext_auth = true");
    let (smtp, imap, pop3) =
        (server.port("smtp", "starttls"), server.port("imap", "starttls"), server.port("pop3", "starttls"));
    let long = "x".repeat(100_000);
    // Port, what is sent after the greeting, and how the answer begins.
    for (port, sent, expected) in [
        (smtp, "BOGUS\r\n".to_owned(), "5"),
        (smtp, format!("EHLO {long}\r\n"), "500"),
        (smtp, "RCPT TO:<a@example.org>\r\n".into(), "503"),
        (smtp, "NO\0OP\r\n".into(), "5"),
        (smtp, "EHLO \u{e9}\r\n".into(), "5"),
        (smtp, "EHLO a\r\nSTARTTLS\r\nNOOP\r\n".into(), "250"),
        (imap, "BOGUS\r\n".into(), "BOGUS BAD"),
        (imap, "a BOGUS\r\n".into(), "a BAD"),
        (imap, format!("a LOGIN {long} x\r\n"), "* B"),
        (imap, "a SELECT INBOX\r\n".into(), "a "),
        (imap, "a LOGIN {99999999999999999999}\r\n".into(), "* BYE"),
        (imap, "a STARTTLS\r\nb NOOP\r\n".into(), "a "),
        (pop3, "BOGUS\r\n".into(), "-ERR"),
        (pop3, "RETR 1\r\n".into(), "-ERR"),
        (pop3, format!("USER {long}\r\n"), "-ERR"),
        (pop3, "STLS\r\nNOOP\r\n".into(), "-ERR"),
    ] {
        let mut talk = server.talk(port);
        talk.line();
        talk.send(&sent);
        let answer = talk.line();
        assert!(answer.starts_with(expected), "{:?} got {answer:?}", &sent[..sent.len().min(60)]);
    }
    // Half a command and then nothing, on many connections: nobody else waits.
    let idle: Vec<TcpStream> = (0..50)
        .map(|index| {
            let mut stream = TcpStream::connect(("127.0.0.1", [smtp, imap, pop3][index % 3])).unwrap();
            stream.write_all(b"EHL").unwrap();
            stream
        })
        .collect();
    deliver(&server, USER, "Subject: still here\r\n\r\nyes\r\n");
    drop(idle);
}

#[test]
fn octets_behind_starttls_are_never_run_inside_tls() {
    let server = Server::start("");
    for (protocol, command) in [
        ("smtp", "EHLO a\r\nSTARTTLS\r\nMAIL FROM:<a@b.example>\r\n"),
        ("imap", "a STARTTLS\r\nb NOOP\r\n"),
        ("pop3", "STLS\r\nNOOP\r\n"),
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port(protocol, "starttls"))).unwrap();
        stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
        stream.write_all(command.as_bytes()).unwrap();
        let mut said = Vec::new();
        // The server ends the connection by itself.
        stream.read_to_end(&mut said).unwrap();
        let said = String::from_utf8_lossy(&said);
        assert!(!said.contains("b OK NOOP") && !said.contains("2.1.0"), "{protocol}: {said}");
    }
}

#[test]
fn a_stopping_server_says_goodbye() {
    let mut server = Server::start("");
    let mut talk = server.talk(server.port("imap", "starttls"));
    talk.line();
    let mut smtp = server.talk(server.port("smtp", "starttls"));
    smtp.reply();
    server.stop();
    assert!(talk.line().starts_with("* BYE"));
    assert!(smtp.line().starts_with("421 "));
    assert!(talk.at_end() && smtp.at_end());
}
