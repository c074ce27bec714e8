//! A disk without room under the running server: it refuses for the time being, goes on reading, takes mail again by itself when
//! there is room, and keeps to all that it acknowledged. Only root can mount the small file system that this needs.
//!
//! `MAILWRIGHT_FULL=20` makes the run longer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;
#[path = "relay/world.rs"]
#[allow(dead_code, reason = "this uses a part of it")]
mod world;

use std::{
    collections::{HashMap, HashSet},
    fs::{self, OpenOptions},
    io::{BufRead, Read, Write},
    net::Shutdown,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use common::{PASSWORD, PATIENCE, Server, Talk, USER, count, free_port, imap, succeed, wait_for};
use world::{Behaviour, Host, base64};

/// How big the file system is, in MiB.
const SIZE: u64 = 320;
/// How often each way must have been refused in each round.
const REFUSALS: u64 = 4;

/// How mail comes in, and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Way {
    Smtp,
    Lmtp,
    Append,
    /// Submitted for a host that takes mail.
    Relayed,
    /// Submitted for a host that refuses all mail for good.
    Bounced,
    /// Submitted for a host that is not there.
    Waiting,
}

const WAYS: [Way; 6] = [Way::Smtp, Way::Lmtp, Way::Append, Way::Relayed, Way::Bounced, Way::Waiting];

#[derive(Default)]
struct Ledger {
    /// What was acknowledged, by the number of the message.
    acknowledged: Mutex<HashMap<u64, Way>>,
    numbers: AtomicU64,
    refused: [AtomicU64; WAYS.len()],
    accepted: [AtomicU64; WAYS.len()],
    /// Refusals in other words, which are right for the moment in which the database is opened anew.
    unavailable: AtomicU64,
    /// What each way was answered last.
    last: Mutex<HashMap<Way, String>>,
    stop: AtomicBool,
}

/// A small file system that goes when it is dropped.
struct Small(PathBuf);

impl Small {
    fn mount(place: &Path) -> Option<Self> {
        fs::create_dir_all(place).unwrap();
        let size = format!("size={SIZE}m,mode=0700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "none"]).arg(place).stderr(Stdio::null());
        if mount.status().is_ok_and(|status| status.success()) {
            return Some(Self(place.to_owned()));
        }
        println!("skipped: only root can mount a small file system");
        None
    }

    fn grow(&self, mebibytes: u64) {
        let size = format!("remount,size={mebibytes}m");
        succeed(Command::new("mount").args(["-o", &size]).arg(&self.0));
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Takes all room but this much, or what the server has left of it meanwhile.
    fn fill(&self, left: u64) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.ballast()).unwrap();
        loop {
            let disk = rustix::fs::statvfs(&self.0).unwrap();
            let rest = (disk.f_bavail * disk.f_frsize).saturating_sub(left);
            // The server may be faster.
            if rest == 0 || file.write_all(&vec![1; rest.min(1 << 20) as usize]).is_err() {
                return;
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn with_a_reserve_nothing_fails_before_it_is_refused() {
    fill_again_and_again(96 << 20);
}

#[test]
fn without_a_reserve_failed_writes_are_survived() {
    fill_again_and_again(0);
}

fn fill_again_and_again(reserve: u64) {
    let rounds = std::env::var("MAILWRIGHT_FULL").ok().map_or(3, |value| value.parse().unwrap());
    let mut server = Server::prepare("allow_plaintext_auth = true");
    let Some(disk) = Small::mount(&server.folder.path().join("data")) else { return };
    let sink = Host::start(Behaviour::DropAt("nothing"));
    let wall = Host::start(Behaviour::Answer("RCPT", "550 5.1.1 no"));
    let more = format!(
        "[store]\nreserve = {reserve}\n[queue]\nfirst_retry_seconds = 1\n[relay.transport]\n\
         \"live.example\" = \"smtp:[127.0.0.1]:{}\"\n\"wall.example\" = \"smtp:[127.0.0.1]:{}\"\n\
         \"dead.example\" = \"smtp:[127.0.0.1]:{}\"\n",
        sink.port,
        wall.port,
        free_port()
    );
    let path = server.folder.path().join("mailwright.toml");
    let config = fs::read_to_string(&path).unwrap() + &more;
    fs::write(path, config).unwrap();
    server.add_user(USER, PASSWORD);
    server.serve();
    let mut old = imap(&server);
    assert!(old.imap("a", "CREATE Old").last().unwrap().starts_with("a OK"));
    for _ in 0..rounds {
        let done = old.imap("b", "APPEND Old {14+}\r\nSubject: old\r\n");
        assert!(done.last().unwrap().starts_with("b OK"), "{done:?}");
    }
    let (pid, ledger) = (server.pid(), Ledger::default());
    thread::scope(|scope| {
        let _stop = Stop(&ledger.stop);
        for way in WAYS {
            let (server, ledger) = (&server, &ledger);
            scope.spawn(move || work(way, server, ledger));
        }
        for round in 0..rounds {
            let before = numbers(&ledger.refused);
            // Each time another amount of room is left, so that it ends at another stage.
            disk.fill(reserve + (round * 677 % 3_000) * 1_024);
            let refused =
                || numbers(&ledger.refused).iter().zip(before).all(|(now, before)| *now >= before + REFUSALS);
            let begun = Instant::now();
            while !refused() {
                let answers = || ledger.last.lock().unwrap().clone();
                assert!(
                    begun.elapsed() < PATIENCE * 2,
                    "not all are refused: {:?} {:?}",
                    numbers(&ledger.refused),
                    answers()
                );
                thread::sleep(Duration::from_millis(20));
            }
            while_it_is_full(&server, reserve, &mut old, rounds - round);
            let before = numbers(&ledger.accepted);
            match round % 2 {
                0 => fs::remove_file(disk.ballast()).unwrap(),
                _ => disk.grow(SIZE * (round + 2)),
            }
            wait_for("mail of every kind to be taken again", || {
                let now = numbers(&ledger.accepted);
                now.iter().zip(before).all(|(now, before)| *now > before).then_some(())
            });
        }
        let _ = fs::remove_file(disk.ballast());
        disk.grow(SIZE * 20);
    });
    assert_eq!(server.pid(), pid, "it was never started anew");
    wait_for("the store to be well", || status(&server).contains("takes mail").then_some(()));
    settle(&server, &ledger, &sink);
    // And it is all on disk.
    server.kill();
    server.serve();
    settle(&server, &ledger, &sink);
    drop(server);
}

/// Ends the others also when a check fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn numbers(counts: &[AtomicU64; WAYS.len()]) -> [u64; WAYS.len()] {
    std::array::from_fn(|place| counts[place].load(Ordering::Relaxed))
}

fn status(server: &Server) -> String {
    String::from_utf8(succeed(&mut server.command(&["status"]))).unwrap()
}

/// What is refused for the reserve is refused before anything fails, and whoever watches hears of it.
#[test]
fn less_room_than_the_reserve_is_told() {
    let (port, path) = (free_port(), "reserve = 100000000000000");
    let mut server = Server::prepare("allow_plaintext_auth = true");
    let file = server.folder.path().join("mailwright.toml");
    let text = fs::read_to_string(&file).unwrap();
    let with = |reserve: &str| {
        fs::write(&file, format!("{text}[store]\n{reserve}\n[http]\nlisten = [\"127.0.0.1:{port}\"]\n"))
            .unwrap();
    };
    with("reserve = 0");
    server.add_user(USER, PASSWORD);
    let said = succeed(&mut server.command(&["http", "token", "add", "watch"]));
    let token = String::from_utf8(said).unwrap().trim().to_owned();
    let health = |server: &Server| {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let ask = format!("GET /v1/health HTTP/1.0\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
        stream.write_all(ask.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("\"failure\""), "{answer} {}", server.log());
        answer
    };
    server.serve();
    assert!(status(&server).starts_with("the store takes mail"));
    let answer = health(&server);
    assert!(answer.contains(" 200 ") && !answer.contains("shortage"), "{answer}");
    server.stop();
    with(path);
    server.serve();
    let mut talk = begin(Way::Lmtp, &server);
    let refused = send(Way::Lmtp, &mut talk, 1);
    assert!(refused.starts_with("452 4.3.1"), "{refused}");
    let said = status(&server);
    assert!(said.starts_with("the store refuses mail") && said.contains("in reserve"), "{said}");
    let answer = health(&server);
    assert!(answer.contains(" 503 ") && answer.contains("\"shortage\":\""), "{answer}");
    wait_for("the log", || server.log().contains("mail is refused until there is room").then_some(()));
    thread::sleep(Duration::from_secs(3));
    assert_eq!(server.log().matches("mail is refused until").count(), 1);
}

/// What must go on: reading in old sessions and new ones, and with a reserve whatever makes room.
fn while_it_is_full(server: &Server, reserve: u64, old: &mut Talk, left: u64) {
    let messages = count(server);
    assert!(messages > 0);
    let mut talk = imap(server);
    let selected = talk.imap("s", "SELECT INBOX");
    assert!(selected.last().unwrap().starts_with("s OK"), "{selected:?}");
    let fetched = talk.imap("f", "FETCH 1:* (ENVELOPE BODY.PEEK[TEXT]<0.10>)");
    assert!(fetched.last().unwrap().starts_with("f OK"), "{:?}", fetched.last());
    let mut pop3 = server.talk(server.port("pop3", "starttls"));
    pop3.line();
    for command in [&format!("USER {USER}"), &format!("PASS {PASSWORD}"), "RETR 1"] {
        pop3.send(format!("{command}\r\n"));
        let line = pop3.line();
        assert!(line.starts_with("+OK"), "{command}: {line}");
    }
    pop3.until(".");
    // The reserve is for those who make room. Without one nobody can promise that they can.
    if reserve > 0 {
        old.imap("s", "SELECT Old");
        let stored = old.imap("d", "STORE 1 +FLAGS.SILENT (\\Deleted)");
        assert!(stored.last().unwrap().starts_with("d OK"), "{stored:?}");
        let expunged = old.imap("e", "EXPUNGE");
        assert!(expunged.last().unwrap().starts_with("e OK"), "{expunged:?}");
        assert!(expunged.contains(&"* 1 EXPUNGE".to_owned()), "{expunged:?}: {left} were left");
    }
}

/// Sends mail one way until it is told to stop.
fn work(way: Way, server: &Server, ledger: &Ledger) {
    let place = WAYS.iter().position(|other| *other == way).unwrap();
    let mut talk = begin(way, server);
    while !ledger.stop.load(Ordering::Relaxed) {
        let number = ledger.numbers.fetch_add(1, Ordering::Relaxed);
        let answer = send(way, &mut talk, number);
        ledger.last.lock().unwrap().insert(way, answer.clone());
        if answer.starts_with("250") || answer.starts_with("a OK") {
            ledger.acknowledged.lock().unwrap().insert(number, way);
            ledger.accepted[place].fetch_add(1, Ordering::Relaxed);
            // The disk shall be filled by all of them.
            thread::sleep(Duration::from_millis(5));
            continue;
        }
        if answer.starts_with("452 4.3.1") || answer.starts_with("a NO [OVERQUOTA]") {
            ledger.refused[place].fetch_add(1, Ordering::Relaxed);
        } else if answer.starts_with("451 4.3.0") || answer.starts_with("a NO [UNAVAILABLE]") {
            ledger.unavailable.fetch_add(1, Ordering::Relaxed);
        } else if answer.starts_with("421") || answer.is_empty() {
            // A client that is refused again and again is sent away.
            talk = begin(way, server);
            continue;
        } else {
            ledger.stop.store(true, Ordering::Relaxed);
            panic!("{way:?}: {answer}");
        }
        if way != Way::Append {
            talk.smtp("RSET");
        }
        thread::sleep(Duration::from_millis(20));
    }
    let _ = talk.stream.get_ref().shutdown(Shutdown::Both);
}

fn begin(way: Way, server: &Server) -> Talk {
    match way {
        Way::Append => imap(server),
        Way::Smtp => {
            let mut talk = server.talk(server.port("smtp", "starttls"));
            assert!(talk.reply().starts_with("220"));
            talk.smtp("EHLO client.example");
            talk
        }
        Way::Lmtp => {
            let mut talk = server.talk(server.port("lmtp", "none"));
            assert!(talk.reply().starts_with("220"));
            talk.smtp("LHLO client.example");
            talk
        }
        Way::Relayed | Way::Bounced | Way::Waiting => {
            let mut talk = server.talk(server.port("submission", "starttls"));
            assert!(talk.reply().starts_with("220"));
            talk.smtp("EHLO client.example");
            let login = base64(format!("\0{USER}\0{PASSWORD}").as_bytes());
            let answer = talk.smtp(&format!("AUTH PLAIN {login}"));
            assert!(answer.starts_with("235"), "{answer}");
            talk
        }
    }
}

/// One message; gives the answer that counts.
fn send(way: Way, talk: &mut Talk, number: u64) -> String {
    // Most are small; some take more than one chunk.
    let filler = match number % 40 {
        7 => 700_000,
        other => other * 500,
    };
    let filler = format!("{}\r\n", "x".repeat(998)).repeat(filler as usize / 1_000);
    let text = format!("From: <{USER}>\r\nSubject: {number}\r\n\r\n{filler}number {number} end\r\n");
    if way == Way::Append {
        talk.send_anyway(format!("a APPEND INBOX {{{}+}}\r\n{text}\r\n", text.len()));
        let mut line = String::new();
        while !line.starts_with("a ") {
            line.clear();
            if talk.stream.read_line(&mut line).unwrap_or(0) == 0 {
                return String::new();
            }
        }
        return line;
    }
    let to = match way {
        Way::Relayed => format!("n{number}@live.example"),
        Way::Bounced => format!("n{number}@wall.example"),
        Way::Waiting => format!("n{number}@dead.example"),
        _ => USER.to_owned(),
    };
    let from = if matches!(way, Way::Smtp | Way::Lmtp) { "bob@example.net" } else { USER };
    for (command, good) in [
        (format!("MAIL FROM:<{from}> SIZE={}", text.len()), "250"),
        (format!("RCPT TO:<{to}>"), "250"),
        ("DATA".into(), "354"),
    ] {
        talk.send_anyway(format!("{command}\r\n"));
        let answer = talk.reply();
        if !answer.starts_with(good) {
            return answer;
        }
    }
    talk.send_anyway(format!("{text}.\r\n"));
    talk.reply()
}

/// Everything that was acknowledged is delivered, told of, or in the queue still: once.
fn settle(server: &Server, ledger: &Ledger, sink: &Host) {
    let acknowledged = ledger.acknowledged.lock().unwrap();
    let of = |way: Way| -> HashSet<u64> {
        acknowledged.iter().filter(|(_, other)| **other == way).map(|(number, _)| *number).collect()
    };
    let recipient = |text: &str, domain: &str| -> Option<u64> {
        text.split_once(&format!("@{domain}")).and_then(|(before, _)| before.rsplit('n').next()?.parse().ok())
    };
    // What is for those who answer leaves the queue.
    let queued = wait_for("the queue to hold nothing but what waits for the dead host", || {
        succeed(&mut server.command(&["queue", "retry", "--all"]));
        let list = succeed(&mut server.command(&["queue", "list", "--json"]));
        let list = String::from_utf8(list).unwrap();
        let waits_elsewhere = list.lines().any(|line| !line.contains("@dead.example"));
        (!waits_elsewhere).then_some(list)
    });
    let mut waiting = HashSet::new();
    for line in queued.lines() {
        let number = recipient(line, "dead.example").unwrap_or_else(|| panic!("{line}"));
        assert!(waiting.insert(number), "{number} is in the queue twice");
    }
    let missing: Vec<_> = of(Way::Waiting).difference(&waiting).copied().collect();
    assert!(missing.is_empty(), "not in the queue: {missing:?}");
    let mut relayed = HashSet::new();
    for text in sink.received() {
        let number = text.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap().parse().unwrap();
        assert!(text.ends_with(&format!("number {number} end\r\n")), "torn: {number}");
        assert!(relayed.insert(number), "{number} was sent twice");
    }
    let missing: Vec<_> = of(Way::Relayed).difference(&relayed).copied().collect();
    assert!(missing.is_empty(), "not sent on: {missing:?}");
    let (here, told) = mailbox(server);
    for way in [Way::Smtp, Way::Lmtp, Way::Append] {
        let missing: Vec<_> = of(way).difference(&here).copied().collect();
        assert!(missing.is_empty(), "{way:?}: not there: {missing:?}");
    }
    let missing: Vec<_> = of(Way::Bounced).difference(&told).copied().collect();
    assert!(missing.is_empty(), "nobody was told of {missing:?}");
    println!(
        "acknowledged {:?}, refused {:?} and {} in other words, of {:?}",
        numbers(&ledger.accepted),
        numbers(&ledger.refused),
        ledger.unavailable.load(Ordering::Relaxed),
        WAYS
    );
}

/// The messages in INBOX, each whole and once, and those that reports of failure are about, each once.
fn mailbox(server: &Server) -> (HashSet<u64>, HashSet<u64>) {
    let mut talk = imap(server);
    talk.imap("s", "EXAMINE INBOX");
    let lines = talk.imap("f", "UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[TEXT])");
    assert!(lines.last().unwrap().starts_with("f OK"), "{:?}", lines.last());
    let (mut here, mut told, mut report) = (HashSet::new(), HashSet::new(), false);
    for line in lines {
        if let Some(subject) = line.strip_prefix("Subject: ") {
            report = report && subject.parse::<u64>().is_ok();
        } else if line.starts_with("* ") {
            report = false;
        } else if let Some(rest) = line.strip_prefix("Final-Recipient: rfc822;") {
            let number = rest.trim().trim_start_matches('n').split('@').next().unwrap().parse().unwrap();
            assert!(told.insert(number), "{number} is told of twice");
            report = true;
        } else if let Some(number) = line.strip_prefix("number ") {
            let number = number.strip_suffix(" end").expect("a whole message").parse().unwrap();
            // A report has the message that it is about with it.
            assert!(report || here.insert(number), "{number} is there twice");
        }
    }
    (here, told)
}
