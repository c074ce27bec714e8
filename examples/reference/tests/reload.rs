//! A configuration that is read again while the server runs and sessions are open.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::mpsc,
    thread,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use common::{PASSWORD, Server, Talk, USER, free_port, run, succeed, wait_for};

const OTHER: &str = "bob@example.org";

/// The lines of the file that are changed, and what they begin as.
const SETTINGS: &[(&str, &str)] = &[
    ("always_bcc", "\"\""),
    ("separators", "\"+\""),
    ("message_size", "0"),
    ("messages_per_user", "0"),
    ("stop_seconds", "30"),
    ("level", "\"info\""),
];

fn file(server: &Server) -> std::path::PathBuf {
    server.folder.path().join("mailwright.toml")
}

/// A server, and a configuration that says where mail for `next.example` goes.
fn start(next: u16) -> Server {
    let mut server = Server::prepare("allow_plaintext_auth = true\nalways_bcc = \"\"\nseparators = \"+\"");
    let mut text = fs::read_to_string(file(&server)).unwrap();
    text = text.replace("[limits]\n", "[limits]\nmessage_size = 0\nstop_seconds = 30\n");
    text += "[rules]\nmessages_per_user = 0\n";
    text +=
        &format!("[log]\nlevel = \"info\"\n[relay.transport]\n\"next.example\" = \"[127.0.0.1]:{next}\"\n");
    fs::write(file(&server), text).unwrap();
    for (key, value) in SETTINGS {
        let text = fs::read_to_string(file(&server)).unwrap();
        assert!(text.contains(&format!("{key} = {value}\n")), "{key} is to be changed: {text}");
    }
    server.add_user(USER, PASSWORD);
    server.add_user(OTHER, PASSWORD);
    server.serve();
    server
}

/// Changes a line of the file.
fn set(server: &Server, key: &str, value: &str) {
    let text = fs::read_to_string(file(server)).unwrap();
    let lines = text.lines().map(|line| match line.strip_prefix(key) {
        Some(rest) if rest.starts_with(" = ") => format!("{key} = {value}\n"),
        _ => format!("{line}\n"),
    });
    let changed: String = lines.collect();
    assert_ne!(changed, text, "{key}");
    fs::write(file(server), changed).unwrap();
}

fn reload(server: &Server) -> String {
    String::from_utf8(succeed(&mut server.command(&["reload"]))).unwrap()
}

/// A host that takes every message, and tells of each who it was for.
fn host() -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let sender = sender.clone();
            thread::spawn(move || take(&stream, &sender));
        }
    });
    (port, receiver)
}

fn take(stream: &TcpStream, sender: &mpsc::Sender<String>) -> Option<()> {
    let (mut writer, mut lines) = (stream, BufReader::new(stream).lines().map_while(Result::ok));
    writer.write_all(b"220 next.example ESMTP\r\n").ok()?;
    let mut to = String::new();
    while let Some(line) = lines.next() {
        let answer = match line.get(..4).unwrap_or_default() {
            "RCPT" => {
                to = line;
                "250 Ok\r\n"
            }
            "DATA" => {
                writer.write_all(b"354 Go on\r\n").ok()?;
                lines.by_ref().find(|line| line == ".")?;
                sender.send(to.clone()).ok()?;
                "250 Ok\r\n"
            }
            "QUIT" => return writer.write_all(b"221 Bye\r\n").ok(),
            _ => "250 Ok\r\n",
        };
        writer.write_all(answer.as_bytes()).ok()?;
    }
    None
}

fn submission(server: &Server) -> Talk {
    let mut talk = server.talk(server.port("submission", "starttls"));
    talk.reply();
    talk.smtp("EHLO laptop.example");
    let login = BASE64_STANDARD.encode(format!("\0{USER}\0{PASSWORD}"));
    assert!(talk.smtp(&format!("AUTH PLAIN {login}")).starts_with("235"));
    talk
}

fn send(talk: &mut Talk, to: &str) {
    assert!(talk.smtp(&format!("MAIL FROM:<{USER}>")).starts_with("250"));
    assert!(talk.smtp(&format!("RCPT TO:<{to}>")).starts_with("250"), "{to}");
    talk.smtp("DATA");
    talk.send("Subject: x\r\n\r\nx\r\n");
    assert!(talk.smtp(".").starts_with("250 "));
}

fn count(server: &Server, user: &str) -> usize {
    let mut talk = server.talk(server.port("imap", "starttls"));
    talk.line();
    talk.imap("login", &format!("LOGIN {user} {PASSWORD}"));
    let answer = talk.imap("count", "STATUS INBOX (MESSAGES)");
    answer[0].split_once("MESSAGES ").unwrap().1.trim_end_matches(')').parse().unwrap()
}

#[test]
fn what_begins_behind_a_reload_goes_by_it() {
    let ((first, at_first), (second, at_second)) = (host(), host());
    let server = start(first);
    let patience = Duration::from_secs(20);
    // Sessions that are open all the while: one in the middle of a message.
    let mut sending = submission(&server);
    send(&mut sending, "x@next.example");
    assert!(at_first.recv_timeout(patience).unwrap().contains("x@next.example"));
    assert!(sending.smtp(&format!("MAIL FROM:<{USER}>")).starts_with("250"));
    assert!(sending.smtp(&format!("RCPT TO:<{OTHER}>")).starts_with("250"));
    assert!(sending.smtp("DATA").starts_with("354"));
    sending.send("Subject: begun before\r\n\r\n");
    let mut reading = common::inbox(&server);
    let mut stranger = server.talk(server.port("smtp", "starttls"));
    stranger.reply();
    stranger.smtp("EHLO client.example");
    assert!(stranger.smtp("MAIL FROM:<a@nowhere.example>").starts_with("250"));
    assert!(stranger.smtp("RCPT TO:<alice-lists@example.org>").starts_with("550"));
    assert!(stranger.smtp("RCPT TO:<alice+lists@example.org>").starts_with("250"));
    stranger.smtp("RSET");

    set(&server, "\"next.example\"", &format!("\"[127.0.0.1]:{second}\""));
    set(&server, "separators", "\"-\"");
    set(&server, "message_size", "100000");
    set(&server, "messages_per_user", "1");
    assert_eq!(reload(&server), "the configuration and the certificates were read again\n");

    // They go on, and the message arrives.
    sending.send("still going\r\n");
    assert!(sending.smtp(".").starts_with("250 "));
    assert!(reading.imap("n", "NOOP").iter().any(|line| line.starts_with("n OK")));
    assert_eq!(count(&server, OTHER), 1);
    // The next mail goes another way, in the same session too.
    send(&mut sending, "y@next.example");
    assert!(at_second.recv_timeout(patience).unwrap().contains("y@next.example"));
    let mut fresh = submission(&server);
    send(&mut fresh, "z@next.example");
    assert!(at_second.recv_timeout(patience).unwrap().contains("z@next.example"));
    assert!(at_first.try_recv().is_err());
    // Another separator, another size, another rule.
    assert!(stranger.smtp("MAIL FROM:<>").starts_with("250"));
    assert!(stranger.smtp("RCPT TO:<alice-lists@example.org>").starts_with("250"));
    assert!(stranger.smtp("RCPT TO:<alice+lists@example.org>").starts_with("550"));
    let mut stranger = server.talk(server.port("smtp", "starttls"));
    stranger.reply();
    assert!(stranger.smtp("EHLO client.example").contains("SIZE 100000"));
    assert!(stranger.smtp("MAIL FROM:<a@example.net> SIZE=100001").starts_with("552"));
    let refused = fresh.smtp(&format!("MAIL FROM:<{USER}>"));
    let refused = if refused.starts_with("250") { fresh.smtp(&format!("RCPT TO:<{USER}>")) } else { refused };
    assert!(refused.starts_with("45"), "a second message: {refused}");

    // A blind copy, and no more of it by SIGHUP.
    let before = count(&server, OTHER);
    set(&server, "always_bcc", &format!("\"{OTHER}\""));
    reload(&server);
    send(&mut sending, USER);
    assert_eq!(count(&server, OTHER), before + 1);
    set(&server, "always_bcc", "\"\"");
    let told = || server.log().matches("the configuration was read again").count();
    let reloads = told();
    succeed(Command::new("kill").args(["-HUP", &server.pid().to_string()]));
    wait_for("the configuration to be read again", || (told() > reloads).then_some(()));
    send(&mut sending, USER);
    assert_eq!(count(&server, OTHER), before + 1);
}

#[test]
fn what_is_wrong_changes_nothing_and_what_is_not_live_is_named() {
    let (port, _taken) = host();
    let server = start(port);
    let mut talk = submission(&server);
    let right = fs::read_to_string(file(&server)).unwrap();
    for (key, value, word) in [
        ("separators", "\"a\"", "a character of ordinary names"),
        ("message_size", "7", "at least 65536"),
        ("level", "1", "level"),
        ("\"next.example\"", "\"[\"", "next.example"),
    ] {
        set(&server, "always_bcc", &format!("\"{OTHER}\""));
        set(&server, key, value);
        let output = run(&mut server.command(&["reload"]));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(word), "{key}: {said}");
        let stays = || server.log().matches("the configuration in use stays").count();
        let before = stays();
        succeed(Command::new("kill").args(["-HUP", &server.pid().to_string()]));
        wait_for("the server to say that it changes nothing", || (stays() > before).then_some(()));
        assert!(server.log().contains(word), "{key}: {}", server.log());
        fs::write(file(&server), &right).unwrap();
    }
    // Neither does one that is right, where something else in the way is not.
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = socket.local_addr().unwrap();
    let text = format!("{right}[[listener]]\nprotocol = \"imap\"\naddress = \"{taken}\"\n");
    fs::write(file(&server), text.replace("always_bcc = \"\"", &format!("always_bcc = \"{OTHER}\"")))
        .unwrap();
    succeed(&mut server.command(&["config", "check"]));
    let output = run(&mut server.command(&["reload"]));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("nothing was changed: cannot listen on"), "{said}");
    fs::write(file(&server), &right).unwrap();
    send(&mut talk, USER);
    assert_eq!(count(&server, OTHER), 0);
    // The command reads the same file, so it has to know where the data are: that key is asked for by the signal alone.
    set(&server, "stop_seconds", "7");
    set(&server, "level", "\"debug\"");
    let said = reload(&server);
    assert!(said.ends_with("needs a restart: limits.stop_seconds\nneeds a restart: log\n"), "{said}");
    set(&server, "data", "\"elsewhere\"");
    succeed(Command::new("kill").args(["-HUP", &server.pid().to_string()]));
    wait_for("the restart to be asked for", || {
        server.log().contains("needs a restart: data, limits.stop_seconds, log").then_some(())
    });
    send(&mut talk, USER);
    assert!(!server.folder.path().join("elsewhere").exists());
}

#[test]
fn listeners_come_and_go() {
    let (port, _taken) = host();
    let server = start(port);
    let right = fs::read_to_string(file(&server)).unwrap();
    let (fresh, lmtp) = (free_port(), server.folder.path().join("lmtp"));
    let more = format!(
        "[[listener]]\nprotocol = \"imap\"\naddress = \"127.0.0.1:{fresh}\"\n\
         [[listener]]\nprotocol = \"lmtp\"\naddress = \"unix:{}\"\ntls = \"none\"\n",
        lmtp.display()
    );
    let mut old = common::inbox(&server);
    assert!(TcpStream::connect(("127.0.0.1", fresh)).is_err());
    fs::write(file(&server), format!("{right}{more}")).unwrap();
    reload(&server);
    let mut talk = server.talk(fresh);
    assert!(talk.line().starts_with("* OK"));
    let local = || {
        let stream = std::os::unix::net::UnixStream::connect(&lmtp).unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).map(|_| (reader, line))
    };
    let (mut session, greeting) = local().unwrap();
    assert!(greeting.starts_with("220 "), "{greeting}");
    // Sessions at sockets of the file system go on too, and so do those of listeners that are gone.
    reload(&server);
    session.get_mut().write_all(b"NOOP\r\n").unwrap();
    let mut line = String::new();
    session.read_line(&mut line).unwrap();
    assert!(line.starts_with("250"), "{line}");
    assert!(local().unwrap().1.starts_with("220 "));
    fs::write(file(&server), &right).unwrap();
    reload(&server);
    assert!(talk.imap("a", "NOOP").last().unwrap().starts_with("a OK"));
    wait_for("nobody to listen there", || TcpStream::connect(("127.0.0.1", fresh)).err());
    assert!(std::os::unix::net::UnixStream::connect(&lmtp).is_err());
    // Connections that come while it happens are served, every one.
    let port = server.port("imap", "starttls");
    let calls = thread::spawn(move || {
        for _ in 0..300 {
            assert!(Talk::connect(port).line().starts_with("* OK"));
        }
    });
    for _ in 0..5 {
        reload(&server);
    }
    calls.join().unwrap();
    assert!(old.imap("b", "NOOP").last().unwrap().starts_with("b OK"));
}
