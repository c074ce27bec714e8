mod security;

use std::{
    io::{BufRead, BufReader, ErrorKind, Write},
    net::{TcpListener, TcpStream},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use mailwright_mail_model::Address;
use mailwright_mailstore::{RecipientState, Spool, StoreError, memory::Memory};
use mailwright_relay_policy::{dns::CannedAnswers, route::RouteTable};
use mailwright_smtp_proto::{Mail, Message, Rcpt};
use tokio::{task::JoinHandle, time};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{queue::QueueConfig, smtp::Elsewhere};

/// Where a host is when it is asked what to do.
struct At<'a> {
    connection: usize,
    /// The verb; `.` behind a message, `part` within one, `idle` where nothing comes for a while.
    verb: &'a str,
    line: &'a str,
    /// How many recipients it has accepted, or replies it has given behind the message.
    count: usize,
}

/// What a host does out of the ordinary: another reply, or the end of the connection if that is empty.
type Script = fn(&At<'_>) -> Option<&'static str>;

/// A host that does as its script says, and well where that says nothing.
struct Host {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Host {
    fn start(capabilities: &'static [&'static str], script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, seen) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let seen = Arc::clone(&shared);
                thread::spawn(move || Visit { connection, stream, script, seen }.serve(capabilities));
            }
        });
        Self { port, seen }
    }

    /// What was said to it, without EHLO: the number of the connection, then the line.
    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    fn count(&self, what: &str) -> usize {
        self.seen().iter().filter(|line| line.contains(what)).count()
    }
}

struct Visit {
    connection: usize,
    stream: TcpStream,
    script: Script,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Visit {
    fn asked(&self, verb: &str, line: &str, count: usize) -> Option<&'static str> {
        (self.script)(&At { connection: self.connection, verb, line, count })
    }

    /// Whether it was a good reply; none if that was all.
    fn say(&mut self, verb: &str, line: &str, count: usize, good: &'static str) -> Option<bool> {
        let text = self.asked(verb, line, count).unwrap_or(good);
        if text.is_empty() {
            return None;
        }
        self.stream.write_all(format!("{text}\r\n").as_bytes()).ok()?;
        Some(text.starts_with(['2', '3']))
    }

    fn serve(mut self, capabilities: &[&str]) -> Option<()> {
        let mut reader = BufReader::new(self.stream.try_clone().ok()?);
        if self.asked("idle", "", 0).is_some() {
            self.stream.set_read_timeout(Some(Duration::from_millis(300))).ok()?;
        }
        self.stream.write_all(b"220 host.example\r\n").ok()?;
        let (mut accepted, mut lmtp) = (0, false);
        loop {
            let mut line = String::new();
            match reader.read_line(&mut line) {
                Ok(0) => return None,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    self.say("idle", "", 0, "")?;
                    return None;
                }
                Err(_) => return None,
                Ok(_) => {}
            }
            let line = line.trim_end();
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_owned();
            if !verb.ends_with("HLO") {
                self.seen.lock().unwrap().push(format!("{} {line}", self.connection));
            }
            match &*verb {
                "EHLO" | "LHLO" => {
                    lmtp = verb == "LHLO";
                    let lines: String = capabilities.iter().map(|line| format!("250-{line}\r\n")).collect();
                    self.stream
                        .write_all(format!("250-host.example\r\n{lines}250 8BITMIME\r\n").as_bytes())
                        .ok()?;
                }
                "MAIL" => {
                    accepted = 0;
                    self.say("MAIL", line, 0, "250 2.1.0 fine")?;
                }
                "RCPT" => accepted += usize::from(self.say("RCPT", line, accepted, "250 2.1.5 fine")?),
                "DATA" => {
                    let good = if accepted > 0 { "354 go on" } else { "503 5.5.1 for whom?" };
                    if !self.say("DATA", line, accepted, good)? {
                        continue;
                    }
                    let (mut octets, mut refused) = (0, false);
                    loop {
                        let mut line = String::new();
                        octets += reader.read_line(&mut line).ok().filter(|octets| *octets > 0)?;
                        if line == ".\r\n" {
                            break;
                        }
                        if octets > 100_000 && !refused && self.asked("part", "", accepted).is_some() {
                            self.say("part", "", accepted, "")?;
                            // Until the client can send no more without listening.
                            thread::sleep(Duration::from_millis(300));
                            refused = true;
                        }
                    }
                    let all = if lmtp { accepted } else { 1 };
                    for number in 0..if refused { 0 } else { all } {
                        // Before whoever waits for the reply looks here.
                        if self.asked(".", "", number).is_none() {
                            self.seen.lock().unwrap().push(format!("{} taken", self.connection));
                        }
                        self.say(".", "", number, "250 2.0.0 taken")?;
                    }
                }
                "QUIT" => {
                    self.say("QUIT", line, 0, "221 bye")?;
                    return None;
                }
                _ => drop(self.say(&verb, line, 0, "250 fine")?),
            }
        }
    }
}

/// A queue that sends all to one host.
struct World {
    store: Memory,
    queue: Arc<Queue<Memory, CannedAnswers, Elsewhere>>,
    stop: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl World {
    fn new(host: &Host) -> Self {
        Self::by(&format!("smtp:[127.0.0.1]:{}", host.port))
    }

    fn by(hop: &str) -> Self {
        Self::ending(hop, Duration::from_secs(10)).0
    }

    /// One that gives so much time at the end; and what runs it.
    fn ending(hop: &str, farewell: Duration) -> (Self, JoinHandle<Result<(), StoreError>>) {
        let mut config = QueueConfig::new("mail.a.example").unwrap();
        config.farewell = farewell;
        config.routes = Arc::new(RouteTable::default().with_smarthost(hop.parse().unwrap()));
        Self::of(config, CannedAnswers::default())
    }

    /// One that is configured like this, where names are known.
    fn of(config: QueueConfig, names: CannedAnswers) -> (Self, JoinHandle<Result<(), StoreError>>) {
        let store = Memory::new();
        let (spool, resolver) = (Arc::new(store.clone()), Arc::new(names));
        let queue = Arc::new(Queue::new(spool, resolver, Arc::new(Elsewhere), config));
        let stop = CancellationToken::new();
        let running = tokio::spawn(Arc::clone(&queue).run(stop.clone()));
        (Self { store, queue, stop }, running)
    }

    async fn send(&self, to: &[&str], octets: usize) {
        let address = |name: &str| format!("{name}@b.example").parse::<Address>().unwrap();
        let rcpt = |name: &&str| Rcpt::new(address(name).into());
        // Nobody is told of what comes back: all that waits is what was sent.
        let mail = Mail::new(mailwright_mail_model::ReversePath::Null);
        let message = Message::new(mail, to.iter().map(rcpt).collect());
        let text = format!("Subject: x\r\n\r\n{}", format!("{}\r\n", "x".repeat(70)).repeat(octets / 72 + 1));
        self.queue.enqueue(message, &mut text.as_bytes()).await.unwrap();
    }

    /// What waits when everything was tried.
    async fn tried(&self) -> Vec<QueueEntry> {
        let all = async {
            loop {
                let waiting = self.store.spool().unwrap().entries(None, 100).await.unwrap();
                if waiting.iter().all(|entry| entry.attempts > 0) && self.queue.active() == 0 {
                    return waiting;
                }
                time::sleep(Duration::from_millis(10)).await;
            }
        };
        time::timeout(Duration::from_secs(30), all).await.unwrap()
    }

    /// Sends to one, and gives whether it was taken at once.
    async fn takes(&self, name: &str) -> bool {
        self.send(&[name], 10).await;
        let address = format!("{name}@b.example");
        let waits = |entry: &QueueEntry| entry.waiting().any(|other| other.address.as_str() == address);
        let before = self.queue.delivered();
        let waiting = self.tried().await;
        !waiting.iter().any(waits) && self.queue.delivered() > before
    }
}

/// What is under way at the end has the time that is given, and nothing else is begun.
#[tokio::test]
async fn the_end_waits_for_one_transaction_as_long_as_it_may() {
    for (farewell, taken) in [(20_000, 2), (100, 1)] {
        let host = Host::start(&["LIMITS RCPTMAX=1"], |at| {
            if at.verb == "." && at.connection == 0 {
                thread::sleep(Duration::from_secs(2));
            }
            None
        });
        let hop = format!("smtp:[127.0.0.1]:{}", host.port);
        let (world, running) = World::ending(&hop, Duration::from_millis(farewell));
        world.send(&["one", "two", "three"], 10).await;
        while host.count("DATA") < 2 {
            time::sleep(Duration::from_millis(10)).await;
        }
        world.stop.cancel();
        let begun = Instant::now();
        time::timeout(Duration::from_secs(10), running).await.unwrap().unwrap().unwrap();
        assert_eq!(begun.elapsed() < Duration::from_millis(1_000), farewell == 100, "{:?}", begun.elapsed());
        let left = world.store.spool().unwrap().entries(None, 10).await.unwrap().remove(0);
        let has = |state| left.recipients.iter().filter(|recipient| recipient.state == state).count();
        assert_eq!((has(RecipientState::Delivered), has(RecipientState::Waiting)), (taken, 3 - taken));
        assert!(left.due <= seconds(), "the others go as soon as it runs again");
        assert_eq!(host.count("DATA"), 2, "{:?}", host.seen());
        // It runs again, and they are sent.
        let stop = CancellationToken::new();
        let running = tokio::spawn(Arc::clone(&world.queue).run(stop.clone()));
        assert_eq!(world.tried().await, []);
        stop.cancel();
        running.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn the_end_waits_for_no_host_that_has_not_begun() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let hop = format!("smtp:[127.0.0.1]:{}", silent.local_addr().unwrap().port());
    let (world, running) = World::ending(&hop, Duration::from_secs(60));
    world.send(&["one"], 10).await;
    let called = tokio::task::spawn_blocking(move || silent.accept().unwrap());
    let (_call, _) = time::timeout(Duration::from_secs(10), called).await.unwrap().unwrap();
    world.stop.cancel();
    time::timeout(Duration::from_secs(10), running).await.unwrap().unwrap().unwrap();
    let left = world.store.spool().unwrap().entries(None, 10).await.unwrap().remove(0);
    assert!(left.attempts == 0 && left.due <= seconds() && left.waiting().count() == 1, "{left:?}");
}

#[tokio::test]
async fn a_refusal_in_the_middle_costs_no_other_message() {
    let host =
        Host::start(&["PIPELINING"], |at| (at.verb == "part").then_some("451 4.3.1 no room for so much"));
    let world = World::new(&host);
    world.send(&["big"], 16_000_000).await;
    let waiting = world.tried().await;
    assert!(waiting[0].last_error.as_ref().unwrap().contains("451 4.3.1"), "{waiting:?}");
    assert!(world.takes("innocent").await, "{:?}", world.tried().await);
    assert_eq!(host.count("1 taken"), 1, "over another connection: {:?}", host.seen());
}

#[tokio::test]
async fn a_store_that_dies_between_its_replies_costs_no_other_message() {
    let host = Host::start(&["PIPELINING"], |at| {
        (at.verb == "." && at.connection == 0 && at.count == 1).then_some("")
    });
    let world = World::by(&format!("lmtp:127.0.0.1:{}", host.port));
    world.send(&["one", "two"], 10).await;
    let waiting = world.tried().await;
    let states: Vec<_> = waiting[0].recipients.iter().map(|recipient| recipient.state).collect();
    assert_eq!(states, [RecipientState::Delivered, RecipientState::Waiting]);
    assert!(world.takes("three").await, "{:?}", world.tried().await);
    assert_eq!((host.count("0 taken"), host.count("1 taken")), (1, 1));
}

#[tokio::test]
async fn a_host_that_takes_one_message_over_a_connection_gets_more_over_others() {
    let host = Host::start(&["PIPELINING", "LIMITS MAILMAX=1"], |_| None);
    let world = World::new(&host);
    for name in ["one", "two", "three"] {
        assert!(world.takes(name).await, "{name}: {:?}", world.tried().await);
    }
    let taken: Vec<_> = host.seen().into_iter().filter(|line| line.ends_with("taken")).collect();
    assert_eq!(taken, ["0 taken", "1 taken", "2 taken"]);
    time::sleep(Duration::from_millis(200)).await;
    assert_eq!(host.count("QUIT"), 3, "leave was taken");
}

#[tokio::test]
async fn what_may_have_been_taken_is_not_sent_again_at_once() {
    for place in ["RCPT", "DATA", "."] {
        let script: Script = match place {
            "RCPT" => |at| (at.verb == "RCPT" && at.line.contains("second")).then_some(""),
            "DATA" => |at| (at.verb == "DATA" && at.count == 2).then_some(""),
            _ => |at| (at.verb == "part").then_some(""),
        };
        let host = Host::start(&[], script);
        let world = World::new(&host);
        assert!(world.takes("first").await);
        let octets = if place == "." { 300_000 } else { 10 };
        world.send(&["second", "third"], octets).await;
        let waiting = world.tried().await;
        assert_eq!((waiting.len(), waiting[0].attempts), (1, 1), "{place}");
        assert_eq!(host.count("MAIL"), 2, "{place}: {:?}", host.seen());
        assert!(host.seen().iter().all(|line| line.starts_with("0 ")), "{place}: {:?}", host.seen());
    }
}

#[tokio::test]
async fn a_reply_too_many_answers_nothing_of_the_next_message() {
    let script: Script = |at| {
        let surplus = "250 2.0.0 taken\r\n250 2.0.0 taken";
        (at.verb == "." && at.connection == 0).then_some(surplus)
    };
    let host = Host::start(&["PIPELINING"], script);
    let world = World::new(&host);
    world.send(&["first"], 10).await;
    assert!(world.tried().await.is_empty());
    world.send(&["second"], 10).await;
    let waiting = world.tried().await;
    assert!(waiting.is_empty(), "{waiting:?}");
    assert_eq!((host.count("0 MAIL"), host.count("1 MAIL"), host.count("1 taken")), (1, 1, 1));
}

#[tokio::test]
async fn a_connection_that_ended_while_it_was_idle_puts_nothing_off() {
    for script in [
        (|at| (at.verb == "idle").then_some("421 4.4.2 idle for too long")) as Script,
        |at| (at.verb == "idle").then_some(""),
        |at| (at.verb == "MAIL" && at.line.len() > 22 && at.connection == 0).then_some(""),
        |at| (at.verb == "MAIL" && at.line.len() > 22 && at.connection == 0).then_some("421 4.3.2 closing"),
    ] {
        // The second message is told from the first by the SIZE that MAIL says.
        let host = Host::start(&["PIPELINING", "SIZE"], script);
        let world = World::new(&host);
        assert!(world.takes("first").await);
        time::sleep(Duration::from_millis(600)).await;
        world.send(&["second"], 1_000_000).await;
        let waiting = world.tried().await;
        assert!(waiting.is_empty(), "{waiting:?}");
        assert_eq!((host.count("0 taken"), host.count("1 taken")), (1, 1), "{:?}", host.seen());
    }
}

#[tokio::test]
async fn what_is_over_the_limit_of_a_transaction_goes_in_another_at_once() {
    let host = Host::start(&["PIPELINING", "LIMITS RCPTMAX=2 MAILMAX=2"], |_| None);
    let world = World::new(&host);
    world.send(&["r0", "r1", "r2", "r3", "r4"], 10).await;
    assert!(world.tried().await.is_empty());
    let rcpts: Vec<_> = host.seen().into_iter().filter(|line| line.contains("RCPT")).collect();
    let expected: Vec<_> = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 4)]
        .iter()
        .map(|(connection, number)| format!("{connection} RCPT TO:<r{number}@b.example>"))
        .collect();
    assert_eq!(rcpts, expected);
    assert_eq!((host.count("taken"), world.queue.delivered()), (3, 5));
    // Of those who were not named the host has said nothing; and what it wants later comes later.
    let host = Host::start(&["LIMITS RCPTMAX=1"], |at| (at.verb == ".").then_some("451 4.3.0 later"));
    let world = World::new(&host);
    world.send(&["one", "two"], 10).await;
    let waiting = world.tried().await;
    let said = |at: usize| waiting[0].recipients[at].last_error.clone().unwrap();
    assert!(said(0).contains("said: 451 4.3.0"), "{}", said(0));
    assert!(said(1).contains("not sent") && !said(1).contains("said"), "{}", said(1));
    assert_eq!(host.count("DATA"), 1);
}

#[tokio::test]
async fn who_is_refused_does_not_keep_those_behind_from_their_turn() {
    let host = Host::start(&["LIMITS RCPTMAX=1"], |at| {
        (at.verb == "RCPT" && at.line.contains("full")).then_some("450 4.2.2 full for now")
    });
    let world = World::new(&host);
    world.send(&["full", "two", "three"], 10).await;
    let waiting = world.tried().await;
    let states: Vec<_> = waiting[0].recipients.iter().map(|recipient| recipient.state).collect();
    assert_eq!(states, [RecipientState::Waiting, RecipientState::Delivered, RecipientState::Delivered]);
}

#[tokio::test]
async fn too_many_recipients_by_their_number_or_by_the_reply() {
    // Two in a transaction, which the host says when they are there.
    let world_of = |script: Script| {
        let host = Host::start(&["PIPELINING"], script);
        let world = World::new(&host);
        (host, world)
    };
    for script in [
        (|at| (at.verb == "RCPT" && at.count == 2).then_some("552 Too many recipients")) as Script,
        |at| (at.verb == "RCPT" && at.count == 2).then_some("452 Too many recipients"),
        |at| (at.verb == "RCPT" && at.count == 2).then_some("452 4.5.3 Too many recipients"),
    ] {
        let (host, world) = world_of(script);
        world.send(&["r0", "r1", "r2", "r3", "r4"], 10).await;
        let waiting = world.tried().await;
        assert!(waiting.is_empty(), "{waiting:?}");
        assert_eq!((host.count("taken"), world.queue.delivered()), (3, 5), "{:?}", host.seen());
    }
    // What says something of the mailbox is about the mailbox, and so is what is said to one who is alone.
    for (script, data) in [
        ((|at| at.line.contains("full").then_some("552 5.2.2 Mailbox full")) as Script, 1),
        ((|at| at.line.contains("full").then_some("552 Exceeded storage allocation")) as Script, 1),
        ((|at| at.line.contains("full").then_some("550 5.1.1 nobody")) as Script, 1),
    ] {
        let (host, world) = world_of(script);
        world.send(&["one", "full"], 10).await;
        assert!(world.tried().await.is_empty(), "it is given up, and the other has it");
        assert_eq!((host.count("taken"), world.queue.delivered()), (data, 1), "{:?}", host.seen());
    }
    // While the message itself is put off, so is who was one too many.
    let (_host, world) = world_of(|at| match at.verb {
        "RCPT" if at.count == 1 => Some("552 Too many recipients"),
        "." => Some("451 4.3.0 later"),
        _ => None,
    });
    world.send(&["one", "two"], 10).await;
    let waiting = world.tried().await;
    assert_eq!(waiting[0].waiting().count(), 2, "{waiting:?}");
}
