//! "250" and "OK" are promises: a server killed at any moment has every message it acknowledged, once, with its UID.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use common::{PASSWORD, Server, Talk, USER, count, have, wait_for};

/// How many times the server is killed.
const KILLS: u64 = 200;
const SMTP_SESSIONS: usize = 3;
const IMAP_SESSIONS: usize = 2;

/// What was acknowledged, by the number of the message; with its UID where the server told it.
type Ledger = Arc<Mutex<HashMap<u64, Option<u32>>>>;

#[test]
fn nothing_acknowledged_is_lost_by_a_kill() {
    let mut server = Server::prepare("allow_plaintext_auth = true");
    server.add_user(USER, PASSWORD);
    let (ledger, numbers) = (Ledger::default(), Arc::new(AtomicU64::new(1)));
    let mut uids: HashMap<u64, u32> = HashMap::new();
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    for round in 0..KILLS {
        server.serve();
        check(&server, &ledger, &mut uids, round);
        let mut sessions = Vec::new();
        for _ in 0..SMTP_SESSIONS {
            let (port, ledger, numbers) = (server.port("smtp", "starttls"), ledger.clone(), numbers.clone());
            sessions.push(thread::spawn(move || send(port, &ledger, &numbers)));
        }
        for _ in 0..IMAP_SESSIONS {
            let (port, ledger, numbers) = (server.port("imap", "starttls"), ledger.clone(), numbers.clone());
            sessions.push(thread::spawn(move || append(port, &ledger, &numbers)));
        }
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        thread::sleep(Duration::from_micros(1_000 + random % 25_000));
        server.kill();
        for session in sessions {
            session.join().unwrap();
        }
    }
    server.serve();
    check(&server, &ledger, &mut uids, KILLS);
    let acknowledged = ledger.lock().unwrap().len();
    println!("{KILLS} kills, {acknowledged} messages acknowledged, {} found", uids.len());
    assert!(acknowledged as u64 > KILLS, "too few messages went in to show anything: {acknowledged}");
}

/// Every acknowledged message is there once, with the UID it had before, and whole.
fn check(server: &Server, ledger: &Ledger, uids: &mut HashMap<u64, u32>, round: u64) {
    let mut talk = server.talk(server.port("imap", "starttls"));
    talk.line();
    talk.imap("a", &format!("LOGIN {USER} {PASSWORD}"));
    talk.imap("b", "EXAMINE INBOX");
    let lines = talk.imap("c", "UID FETCH 1:* (UID RFC822.SIZE BODY.PEEK[TEXT])");
    assert!(lines.last().unwrap().starts_with("c OK"), "{:?}", lines.last());
    let mut found: HashMap<u64, u32> = HashMap::new();
    let mut uid = 0;
    for line in &lines {
        if let Some(rest) = line.strip_prefix("* ").and_then(|line| line.split_once("UID ")) {
            uid = rest.1.split([' ', ')']).next().unwrap().parse().unwrap();
        } else if let Some(number) = line.strip_prefix("number ") {
            let (number, end) = number.split_once(' ').unwrap();
            assert_eq!(end, "end", "a torn message: {line:?}");
            let number = number.parse().unwrap();
            assert_eq!(found.insert(number, uid), None, "round {round}: message {number} is there twice");
        }
    }
    for (number, uid) in &*uids {
        assert_eq!(found.get(number), Some(uid), "round {round}: message {number} had UID {uid}");
    }
    for (number, uid) in &*ledger.lock().unwrap() {
        let now = found.get(number);
        assert!(now.is_some(), "round {round}: message {number} was acknowledged and is lost");
        assert!(
            uid.is_none() || uid.as_ref() == now,
            "round {round}: message {number} was given UID {uid:?}, has {now:?}"
        );
    }
    *uids = found;
    talk.imap("d", "LOGOUT");
}

fn text(number: u64) -> String {
    let filler = "x".repeat((number % 97 * 50) as usize);
    format!("Subject: {number}\r\n\r\n{filler}\r\nnumber {number} end\r\n")
}

/// Sends until the connection breaks.
fn send(port: u16, ledger: &Ledger, numbers: &AtomicU64) -> Option<()> {
    let mut stream = connect(port)?;
    reply(&mut stream)?;
    command(&mut stream, "HELO client.example")?;
    loop {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        command(&mut stream, "MAIL FROM:<a@example.net>")?;
        command(&mut stream, &format!("RCPT TO:<{USER}>"))?;
        command(&mut stream, "DATA")?;
        let answer = command(&mut stream, &format!("{}.", text(number)))?;
        if answer.starts_with("250") {
            ledger.lock().unwrap().insert(number, None);
        }
    }
}

/// Appends until the connection breaks.
fn append(port: u16, ledger: &Ledger, numbers: &AtomicU64) -> Option<()> {
    let mut stream = connect(port)?;
    reply(&mut stream)?;
    stream.get_mut().write_all(format!("a LOGIN {USER} {PASSWORD}\r\n").as_bytes()).ok()?;
    tagged(&mut stream)?;
    loop {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let text = text(number);
        let line = format!("a APPEND INBOX {{{}+}}\r\n{text}\r\n", text.len());
        stream.get_mut().write_all(line.as_bytes()).ok()?;
        let answer = tagged(&mut stream)?;
        if let Some(rest) = answer.strip_prefix("a OK [APPENDUID ") {
            let uid = rest.split([' ', ']']).nth(1)?.parse().ok()?;
            ledger.lock().unwrap().insert(number, Some(uid));
        }
    }
}

fn connect(port: u16) -> Option<BufReader<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(common::PATIENCE)).ok()?;
    Some(BufReader::new(stream))
}

fn command(stream: &mut BufReader<TcpStream>, line: &str) -> Option<String> {
    stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).ok()?;
    reply(stream)
}

/// A reply counts only if its line end came too.
fn reply(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    line.ends_with("\r\n").then_some(line)
}

fn tagged(stream: &mut BufReader<TcpStream>) -> Option<String> {
    loop {
        let line = reply(stream)?;
        if line.starts_with("a ") {
            return Some(line);
        }
    }
}

/// Whoever opens connections takes none of the files that the store will need: it could keep nothing more, and not by itself again.
#[test]
fn connections_leave_the_store_its_files() {
    if !have("prlimit") {
        return;
    }
    let mut server = Server::prepare("allow_plaintext_auth = true");
    server.add_user(USER, PASSWORD);
    server.open_files = Some(96);
    server.serve();
    let mut talk = server.talk(server.port("lmtp", "none"));
    talk.reply();
    talk.smtp("LHLO client.example");
    let crowd: Vec<Talk> = (0..150).map(|_| server.talk(server.port("smtp", "starttls"))).collect();
    // Written often enough that the database makes new files.
    let message = format!("Subject: large\r\n\r\n{}.", format!("{}\r\n", "x".repeat(76)).repeat(13_000));
    for number in 0..40 {
        for (command, answer) in [
            ("MAIL FROM:<>", "250"),
            (&format!("RCPT TO:<{USER}>"), "250"),
            ("DATA", "354"),
            (&message, "250"),
        ] {
            let reply = talk.smtp(command);
            assert!(reply.starts_with(answer), "{number}: {reply}");
        }
    }
    let log = server.log();
    assert!(log.contains("fewer connections than limits.connections") && log.contains("allow 21"), "{log}");
    drop(crowd);
    let mut later = wait_for("a connection", || {
        let mut talk = server.talk(server.port("smtp", "starttls"));
        talk.reply().starts_with("220 ").then_some(talk)
    });
    later.smtp("QUIT");
    assert_eq!(count(&server), 40);
}
