//! The queue under load: a host that does not answer beside hosts that do, and a server that is killed again and again.
//!
//! `MAILWRIGHT_QUEUE_MESSAGES=10000` and `MAILWRIGHT_QUEUE_KILLS=100` make the runs longer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;
#[path = "queue/slow.rs"]
mod slow;
#[path = "relay/world.rs"]
#[allow(dead_code, reason = "this uses a part of it")]
mod world;

use std::{
    collections::{HashMap, HashSet},
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use common::{Talk, free_port, wait_for};
use world::{Names, Site};

const LIVE: usize = 99;

fn number(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).ok().map_or(otherwise, |value| value.parse().expect(variable))
}

/// A host on every loopback address that takes all mail and remembers what it was called.
struct Sink {
    port: u16,
    taken: Arc<Mutex<HashMap<String, usize>>>,
}

impl Sink {
    /// On 127.0.2.1 it takes the call and says nothing.
    fn start() -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken = Arc::new(Mutex::new(HashMap::new()));
        let shared = Arc::clone(&taken);
        thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                if stream.local_addr().is_ok_and(|address| address.ip().to_string() == "127.0.2.1") {
                    kept.push(stream);
                    continue;
                }
                let taken = Arc::clone(&shared);
                thread::spawn(move || take(stream, &taken));
            }
        });
        Self { port, taken }
    }

    fn count(&self) -> usize {
        self.taken.lock().unwrap().len()
    }
}

fn take(stream: TcpStream, taken: &Mutex<HashMap<String, usize>>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    let mut answer = |text: &str| writer.write_all(text.as_bytes()).ok();
    let line = |reader: &mut BufReader<TcpStream>| {
        let mut line = String::new();
        (reader.read_line(&mut line).ok()? > 0).then_some(line)
    };
    answer("220 sink.example ESMTP\r\n")?;
    loop {
        let command = line(&mut reader)?.to_ascii_uppercase();
        match command.get(..4)? {
            "EHLO" => answer("250-sink.example\r\n250 PIPELINING\r\n")?,
            "QUIT" => return answer("221 Bye\r\n"),
            "DATA" => {
                answer("354 Go on\r\n")?;
                let mut called = String::new();
                loop {
                    let line = line(&mut reader)?;
                    if line == ".\r\n" {
                        break;
                    }
                    if let Some(subject) = line.strip_prefix("Subject: ") {
                        called = subject.trim_end().to_owned();
                    }
                }
                *taken.lock().unwrap().entry(called).or_default() += 1;
                answer("250 Ok\r\n")?;
            }
            _ => answer("250 Ok\r\n")?,
        }
    }
}

/// A session at the submission port, or none if the server is not there.
fn session(site: &Site) -> Talk {
    let mut talk = site.talk("submission");
    assert!(talk.reply().starts_with("220"));
    talk.smtp("EHLO client.example");
    assert!(talk.smtp(&site.auth("ann@a.example")).starts_with("235"));
    talk
}

/// Whether the message was acknowledged; the server may be killed at any time.
fn submit(talk: &mut Talk, to: &str, subject: &str) -> bool {
    talk.send_anyway(format!("MAIL FROM:<ann@a.example>\r\nRCPT TO:<{to}>\r\nDATA\r\n"));
    let replies = 2 + to.split(">\r\n").count();
    let begun = (0..replies).all(|_| talk.reply().starts_with(['2', '3']));
    talk.send_anyway(format!(
        "From: <ann@a.example>\r\nSubject: {subject}\r\n\r\n{}\r\n.\r\n",
        "x".repeat(2_000)
    ));
    begun && talk.reply().starts_with("250")
}

/// How long the hosts that answer took to get theirs.
fn run(messages: usize, dead: bool) -> Duration {
    let sink = Sink::start();
    let mut extra = "[relay.transport]\n".to_owned();
    for host in 1..=LIVE {
        extra += &format!("\"live{host}.example\" = \"smtp:[127.0.1.{host}]:{}\"\n", sink.port);
    }
    extra += &format!("\"dead.example\" = \"smtp:[127.0.2.1]:{}\"\n", sink.port);
    let site = Site::start("a.example", "127.0.0.1", free_port(), &Names::none(), &extra, &["ann"]);
    let begun = Instant::now();
    let mut expected = 0;
    let mut talk = session(&site);
    for message in 0..messages {
        let host = message % (LIVE + 1);
        // Most are for the host that is dead: a tenth of them all, in place of one of a hundred.
        let to_dead = dead && (host == 0 || message % 10 == 5);
        let to = if to_dead { "bob@dead.example".into() } else { format!("bob@live{}.example", host.max(1)) };
        expected += usize::from(!to_dead);
        assert!(submit(&mut talk, &to, &format!("{message}")));
    }
    wait_for("the hosts that answer to have all", || (sink.count() >= expected).then_some(()));
    let took = begun.elapsed();
    assert_eq!(sink.count(), expected);
    let left = site.queue(&["list", "--json"]).lines().count();
    assert_eq!(left, messages - expected, "what waits is for the dead host");
    assert!(sink.taken.lock().unwrap().values().all(|times| *times == 1), "nothing is sent twice");
    took
}

#[test]
fn a_dead_host_holds_nobody_up() {
    let messages = number("MAILWRIGHT_QUEUE_MESSAGES", 2_000);
    let (without, with) = (run(messages, false), run(messages, true));
    println!("{messages} messages: {without:?} without a dead host, {with:?} with one");
    // Generous: other tests run beside it. A queue that waited for the dead host would take a timeout, which is minutes.
    assert!(with < without * 3 + Duration::from_secs(5), "{with:?} in place of {without:?}");
}

#[test]
fn a_killed_server_loses_nothing_that_it_acknowledged() {
    Kills::run("").of_the_queue();
}

/// Each message is for a Maildir here too: what concerns both is there in both.
#[test]
fn a_killed_server_with_maildirs_loses_nothing_that_it_acknowledged() {
    let mail = tempfile::tempdir().unwrap();
    let folder = mail.path().display();
    let kills = Kills::run(&format!("[store]\nkind = \"maildir\"\npath = \"{folder}/%d/%n/Maildir\"\n"));
    let here = mail.path().join("a.example/ben/Maildir");
    let mut found = HashMap::<String, usize>::new();
    for part in ["new", "cur"] {
        for file in fs::read_dir(here.join(part)).unwrap() {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap();
            assert!(text.ends_with("x\r\n") || text.ends_with("x\n"), "{line} is torn");
            *found.entry(line.to_owned()).or_default() += 1;
        }
    }
    let lost: Vec<_> = kills.acknowledged.iter().filter(|subject| !found.contains_key(*subject)).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert!(found.values().all(|times| *times == 1), "nobody has sent any of them again");
    // Nothing is sent that the mailbox has not got.
    let strange: Vec<_> = kills.taken.keys().filter(|subject| !found.contains_key(*subject)).collect();
    assert!(strange.is_empty(), "sent before it was in the mailbox: {strange:?}");
    println!("{} in the mailbox", found.len());
    kills.of_the_queue();
}

/// What came of many kills, while messages were taken in.
struct Kills {
    kills: usize,
    acknowledged: HashSet<String>,
    taken: HashMap<String, usize>,
}

impl Kills {
    /// With this configuration: if it has a store, every message is for somebody here as well.
    fn run(extra: &str) -> Self {
        let kills = number("MAILWRIGHT_QUEUE_KILLS", 6);
        let sink = Sink::start();
        let both =
            if extra.is_empty() { "bob@b.example" } else { "bob@b.example>\r\nRCPT TO:<ben@a.example" };
        let extra = format!("{extra}[relay.transport]\n\"*\" = \"smtp:[127.0.0.1]:{}\"\n", sink.port);
        let users = ["ann", "ben"];
        let mut site = Site::start("a.example", "127.0.0.1", free_port(), &Names::none(), &extra, &users);
        let (acknowledged, sent) = (Mutex::new(HashSet::new()), AtomicUsize::new(0));
        for kill in 0..kills {
            let stop = AtomicBool::new(false);
            let mut sessions: Vec<Talk> = (0..3).map(|_| session(&site)).collect();
            thread::scope(|scope| {
                for talk in &mut sessions {
                    scope.spawn(|| {
                        while !stop.load(Ordering::Relaxed) {
                            let subject = format!("{}", sent.fetch_add(1, Ordering::Relaxed));
                            if !submit(talk, both, &subject) {
                                return;
                            }
                            acknowledged.lock().unwrap().insert(subject);
                        }
                    });
                }
                // A different moment each time, on a disk that stands still for a while a later one.
                let (count, begun) = (|| acknowledged.lock().unwrap().len(), Instant::now());
                let before = count();
                thread::sleep(Duration::from_millis(60 + (kill as u64 * 137) % 500));
                while count() <= before + 10 && begun.elapsed() < Duration::from_secs(20) {
                    thread::sleep(Duration::from_millis(7));
                }
                site.kill();
                stop.store(true, Ordering::Relaxed);
            });
            site.serve();
        }
        // What was under way when the server ended waits for the next try: not here.
        wait_for("the queue to be sent", || {
            site.queue(&["retry", "--all"]);
            site.queue(&["list"]).is_empty().then_some(())
        });
        let taken = sink.taken.lock().unwrap().clone();
        Self { kills, acknowledged: acknowledged.into_inner().unwrap(), taken }
    }

    fn of_the_queue(self) {
        let Self { kills, acknowledged, taken } = self;
        let lost: Vec<_> = acknowledged.iter().filter(|subject| !taken.contains_key(*subject)).collect();
        let twice = taken.values().filter(|times| **times > 1).count();
        println!(
            "{kills} kills, {} acknowledged, {} taken, {twice} of them twice",
            acknowledged.len(),
            taken.len()
        );
        assert!(lost.is_empty(), "lost: {lost:?}");
        assert!(acknowledged.len() > kills * 10, "too little was done to say anything");
        // RFC 5321 §4.5.4.1: what was being sent when the server ended is sent again, no more: one a connection.
        assert!(twice <= kills * 20, "{twice} were sent twice");
        assert!(taken.values().all(|times| *times <= 1 + kills));
    }
}
