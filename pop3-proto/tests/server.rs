//! The server's limits, times and refusals, one by one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes, BytesMut};
use common::{Pop, number, server_config};
use mailwright_line_proto::{
    Ask, AuthStep, Closed, Deadline, Gone, Layer, Limits, Login, Machine, Misuse, Output, Peer,
    PeerMisbehaved, Secret, Shutdown, TlsInfo, Trace, Traced, Wait,
};
use mailwright_pop3_proto::{
    Maildrop, Refusal, ResponseCode, Server, Text, UniqueId,
    server::{BodyWanted, Config, Event},
};

/// A server, its unread input and its clock.
struct Desk {
    server: Server,
    pop: Pop,
    rx: BytesMut,
    now: Instant,
}

impl Desk {
    fn new(config: Config) -> Self {
        let pop = Pop::new(config);
        let server = Server::new(Arc::clone(&pop.config), Peer::unknown());
        let mut desk = Self { server, pop, rx: BytesMut::new(), now: Instant::now() };
        assert_eq!(desk.say(""), "+OK POP3 server ready\r\n");
        desk
    }

    fn logged_in() -> Self {
        let mut desk = Self::new(server_config());
        desk.log_in();
        desk
    }

    fn log_in(&mut self) {
        assert!(
            self.say("USER mrose\r\nPASS tanstaaf\r\n")
                .ends_with("+OK maildrop has 2 messages (320 octets)\r\n")
        );
    }

    /// The next event or wait, the application silent.
    fn poll(&mut self) -> Output<Event> {
        self.server.poll(self.now, &mut self.rx)
    }

    fn event(&mut self) -> Event {
        match self.poll() {
            Output::Event(event) => event,
            other => panic!("no event but {other:?}"),
        }
    }

    fn wait(&mut self) -> Wait {
        match self.poll() {
            Output::Wait(wait) => wait,
            other => panic!("no wait but {other:?}"),
        }
    }

    fn sent(&mut self) -> String {
        let transmit = self.server.transmit();
        let length = transmit.remaining();
        String::from_utf8(transmit.copy_to_bytes(length).to_vec()).unwrap()
    }

    /// Input, and what it brings with the application of the tests.
    fn say(&mut self, input: &str) -> String {
        self.rx.extend_from_slice(input.as_bytes());
        loop {
            match self.poll() {
                Output::Event(Event::Closed(why)) => panic!("closed: {why:?}"),
                Output::Event(event) => self.pop.serve(&mut self.server, event),
                Output::Wait(_) => return self.sent(),
                other => panic!("{other:?}"),
            }
        }
    }

    fn input(&mut self, input: &str) {
        self.rx.extend_from_slice(input.as_bytes());
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn poll_until_read(&mut self) {
        while !self.wait().read {
            self.sent();
        }
    }

    /// What is left to say, the reason, and the end.
    #[track_caller]
    fn closes(&mut self, why: &Closed, last_words: &str) {
        loop {
            match self.poll() {
                Output::Event(Event::Closed(found)) => break assert_eq!(found, *why),
                Output::Event(event) => self.pop.serve(&mut self.server, event),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(self.sent(), last_words);
        assert_eq!(self.poll(), Output::Close);
        assert!(self.pop.deleted.is_empty());
    }
}

fn with_limits(change: impl FnOnce(&mut Limits)) -> Config {
    let mut config = server_config();
    change(&mut config.limits);
    config
}

#[test]
fn line_limits_hold_before_and_after_login() {
    let config = || {
        with_limits(|limits| {
            limits.line_before_login = 100;
            limits.line = 50;
            limits.sasl_line = 200;
        })
    };
    for (length, fits) in [(99, true), (100, true), (101, false)] {
        let mut desk = Desk::new(config());
        let reply = desk.say(&format!("USER {}\r\n", "u".repeat(length - 7)));
        assert_eq!(
            reply,
            if fits { "+OK password?\r\n" } else { "-ERR the line is too long\r\n" },
            "{length}"
        );
        desk.log_in();
    }
    for (length, fits) in [(49, true), (50, true), (51, false)] {
        let mut desk = Desk::new(config());
        desk.log_in();
        let reply = desk.say(&format!("XYZ {}\r\n", "u".repeat(length - 6)));
        assert_eq!(
            reply,
            if fits { "-ERR unknown command\r\n" } else { "-ERR the line is too long\r\n" },
            "{length}"
        );
    }
    // Initial responses and responses have the room of access tokens.
    for (length, fits) in [(199, true), (200, true), (201, false)] {
        let mut desk = Desk::new(config());
        let reply = desk.say(&format!("auth PLAIN {}\r\n", "A".repeat(length - 13)));
        assert_eq!(reply == "-ERR the line is too long\r\n", !fits, "{length}: {reply}");
        assert_eq!(desk.say("AUTH PLAIN\r\n"), "+ \r\n");
        let reply = desk.say(&format!("{}\r\n", "A".repeat(length - 2)));
        assert_eq!(reply == "-ERR the response is too long\r\n", !fits, "{length}: {reply}");
    }
}

#[test]
fn an_endless_line_closes() {
    let mut desk = Desk::new(server_config());
    let mut fed = 0;
    while fed <= 64 * 1024 {
        desk.input(&"x".repeat(1000));
        fed += 1000;
        if fed <= 64 * 1024 {
            assert!(desk.wait().read);
            assert!(desk.rx.len() <= 1024);
        }
    }
    let limit = 64 * 1024;
    desk.closes(&Closed::Misbehaved(PeerMisbehaved::Endless { limit }), "-ERR the line is too long\r\n");
}

#[test]
fn bad_commands_are_counted() {
    let mut desk = Desk::new(server_config());
    for _ in 0..20 {
        assert_eq!(desk.say("XYZZY\r\n"), "-ERR unknown command\r\n");
    }
    assert_eq!(desk.say("CAPA\r\n").lines().last(), Some("."));
    desk.input("XYZZY\r\nNOOP\r\n");
    let why = Closed::Misbehaved(PeerMisbehaved::TooManyErrors { limit: 20 });
    desk.closes(&why, "-ERR unknown command\r\n");
}

#[test]
fn failed_logins_are_counted_of_every_kind() {
    let attempts = [
        "USER x\r\nPASS y\r\n",
        "AUTH PLAIN eA==\r\n",
        "AUTH PLAIN\r\n*\r\n",
        "AUTH PLAIN\r\n!\r\n",
        "AUTH PLAIN !\r\n",
    ];
    let mut desk = Desk::new(server_config());
    for attempt in attempts {
        assert!(desk.say(attempt).contains("-ERR "), "{attempt}");
    }
    desk.input(attempts[0]);
    let why = Closed::Misbehaved(PeerMisbehaved::TooManyLogins { limit: 5 });
    desk.closes(&why, "+OK password?\r\n-ERR [AUTH] authentication failed\r\n");
}

#[test]
fn a_failure_of_ours_is_no_failed_login() {
    let mut desk = Desk::new(server_config());
    for _ in 0..20 {
        desk.input("AUTH PLAIN\r\n");
        let event = desk.event();
        desk.server.decline(event);
        assert!(desk.say("").starts_with("-ERR [SYS/TEMP] "));
    }
}

#[test]
fn a_login_must_be_done_within_a_minute() {
    let mut desk = Desk::new(server_config());
    let start = desk.now;
    desk.pass(30);
    // Neither commands nor half of an exchange win time.
    desk.say("CAPA\r\nAUTH PLAIN\r\n");
    assert_eq!(desk.wait(), Wait { read: true, until: Some(start + Duration::from_secs(60)) });
    desk.pass(29);
    assert!(desk.wait().read);
    desk.pass(1);
    desk.closes(&Closed::TimedOut(Deadline::Login), "");
}

#[test]
fn ten_idle_minutes_end_a_session_and_delete_nothing() {
    let mut desk = Desk::logged_in();
    desk.say("DELE 1\r\n");
    desk.pass(599);
    desk.input("NO");
    assert!(desk.wait().read);
    desk.pass(1);
    desk.closes(&Closed::TimedOut(Deadline::Command), "");
}

#[test]
fn the_idle_time_begins_when_the_reply_is_there() {
    let mut desk = Desk::logged_in();
    desk.input("RETR 1\r\n");
    let Event::Read(ask) = desk.event() else { panic!() };
    desk.pass(200);
    desk.server.answer(ask, Ok(())).unwrap();
    assert!(!desk.wait().read);
    desk.pass(200);
    desk.server.end_body().unwrap();
    assert_eq!(desk.wait(), Wait { read: true, until: Some(desk.now + Duration::from_secs(600)) });
}

#[test]
fn late_answers_are_refused_in_step() {
    let temporary = "-ERR [SYS/TEMP] temporary failure, try again later\r\n";
    let mut desk = Desk::logged_in();
    desk.input("RETR 1\r\nSTAT\r\n");
    let Event::Read(ask) = desk.event() else { panic!() };
    let until = desk.now + Duration::from_secs(240);
    assert_eq!(desk.wait(), Wait { read: false, until: Some(until) });
    assert_eq!(&desk.rx[..], b"STAT\r\n");
    desk.pass(240);
    assert_eq!(desk.say(""), format!("{temporary}+OK 2 320\r\n"));
    assert_eq!(desk.server.answer(ask, Ok(())), Err(Gone));
    assert_eq!(desk.server.send_body(Bytes::new()), Err(Misuse::NoBody));

    desk.say("DELE 1\r\n");
    desk.input("QUIT\r\n");
    let Event::Commit(ask) = desk.event() else { panic!() };
    desk.pass(240);
    desk.closes(&Closed::Farewell, temporary);
    assert_eq!(desk.server.answer(ask, Ok(())), Err(Gone));
}

#[test]
fn an_answer_to_another_question_has_no_effect() {
    let mut desk = Desk::new(server_config());
    desk.input("USER a\r\nPASS b\r\n");
    let Event::Login(ask) = desk.event() else { panic!() };
    let other_number = Ask::new(ask.id().wrapping_add(1), Login::new("a", Secret::from("b")));
    assert_eq!(desk.server.answer(other_number, Ok(())), Err(Gone));
    desk.server.answer(ask, Ok(())).unwrap();
    let Event::Open(ask) = desk.event() else { panic!() };
    desk.server.answer(ask, Err(Refusal::permanent())).unwrap();
    assert!(desk.say("").contains("-ERR [SYS/PERM]"));
    // Still before login.
    assert!(desk.say("STAT\r\n").starts_with("-ERR STAT is not allowed"));
    desk.log_in();
}

#[test]
fn a_body_that_stops_closes_the_connection() {
    for silent in [true, false] {
        let mut desk = Desk::logged_in();
        desk.input("RETR 1\r\n");
        let Event::Read(ask) = desk.event() else { panic!() };
        desk.server.answer(ask, Ok(())).unwrap();
        assert_eq!(desk.server.send_body("half".into()), Ok(BodyWanted::More));
        assert!(!desk.wait().read);
        if silent {
            desk.pass(240)
        } else {
            desk.server.abort_body()
        }
        desk.closes(&Closed::TimedOut(Deadline::Body), "+OK 120 octets\r\nhalf");
        assert_eq!(desk.server.send_body("x".into()), Err(Misuse::Closed));
        assert_eq!(desk.server.end_body(), Err(Misuse::Closed));
    }
}

#[test]
fn top_says_when_it_has_enough() {
    let mut desk = Desk::logged_in();
    desk.input("TOP 2 1\r\n");
    let Event::Read(ask) = desk.event() else { panic!() };
    assert_eq!((ask.key, ask.number, ask.octets, ask.lines), (1, number(2), 200, Some(1)));
    desk.server.answer(ask, Ok(())).unwrap();
    assert_eq!(desk.server.send_body("A: b\r\n\r\none\r".into()), Ok(BodyWanted::More));
    assert_eq!(desk.server.send_body("\ntwo\r\n".into()), Ok(BodyWanted::Enough));
    assert_eq!(desk.server.send_body("three\r\n".into()), Ok(BodyWanted::Enough));
    desk.server.end_body().unwrap();
    assert_eq!(desk.say(""), "+OK top of message follows\r\nA: b\r\n\r\none\r\n.\r\n");
}

#[test]
fn bodies_without_a_question_are_misuse() {
    let mut desk = Desk::logged_in();
    assert_eq!(desk.server.send_body("x".into()), Err(Misuse::NoBody));
    assert_eq!(desk.server.end_body(), Err(Misuse::NoBody));
    desk.server.abort_body();
    assert_eq!(desk.say("NOOP\r\n"), "+OK\r\n");
}

/// 100,000 messages with the longest ids.
fn large() -> Maildrop {
    let mut maildrop = Maildrop::default();
    for key in 0..100_000 {
        maildrop.push(key, 1000, &UniqueId::new(format!("{key:070}")).unwrap()).unwrap();
    }
    maildrop
}

fn open_large() -> Desk {
    let mut desk = Desk::new(server_config());
    desk.input("USER a\r\nPASS b\r\n");
    let Event::Login(ask) = desk.event() else { panic!() };
    desk.server.answer(ask, Ok(())).unwrap();
    let Event::Open(ask) = desk.event() else { panic!() };
    desk.server.answer(ask, Ok(large())).unwrap();
    desk.say("");
    desk
}

#[test]
fn a_large_listing_waits_for_its_reader() {
    let mut desk = open_large();
    desk.input("UIDL\r\nNOOP\r\n");
    let (mut all, mut waits) = (String::new(), 0);
    loop {
        let wait = desk.wait();
        let length = desk.server.transmit().remaining();
        assert!(length < 256 * 1024 + 100, "{length} octets wait");
        all.push_str(&desk.sent());
        if wait.read {
            break;
        }
        waits += 1;
        desk.pass(50); // slow, but not dead
    }
    assert!(waits > 20, "{waits}");
    let lines = all.lines().collect::<Vec<_>>();
    assert_eq!(lines.len(), 1 + 100_000 + 1 + 1);
    assert_eq!(lines[0], "+OK 100000 messages (100000000 octets)");
    assert_eq!(lines[100_000], format!("100000 {:070}", 99_999));
    assert_eq!(lines[100_001..], [".", "+OK"]);
}

#[test]
fn a_reader_that_takes_nothing_for_a_minute_is_cut() {
    let mut desk = open_large();
    desk.input("LIST\r\n");
    let start = desk.now;
    assert_eq!(desk.wait(), Wait { read: false, until: Some(start + Duration::from_secs(60)) });
    desk.pass(59);
    desk.server.transmit().advance(1);
    assert_eq!(desk.wait().until, Some(desk.now + Duration::from_secs(60)));
    desk.pass(60);
    desk.closes(&Closed::TimedOut(Deadline::Write), "");
}

#[test]
fn commands_wait_while_replies_are_not_taken() {
    let mut desk = Desk::logged_in();
    desk.input(&"CAPA\r\n".repeat(5000));
    let wait = desk.wait();
    assert!(!wait.read);
    let length = desk.server.transmit().remaining();
    assert!((256 * 1024..257 * 1024).contains(&length), "{length}");
    let left = desk.rx.len();
    assert!(left > 0);
    desk.sent();
    assert!(!desk.rx.is_empty());
    desk.poll_until_read();
    assert!(desk.rx.is_empty());
}

#[test]
fn five_thousand_pipelined_commands_are_answered_in_one_go() {
    let mut desk = Desk::logged_in();
    assert_eq!(desk.say(&"NOOP\r\n".repeat(5000)), "+OK\r\n".repeat(5000));
}

#[test]
fn octets_behind_stls_close() {
    let mut desk = Desk::new(server_config());
    desk.input("STLS\r\nNOOP\r\n");
    let why = Closed::Misbehaved(PeerMisbehaved::PlaintextBehindTls);
    desk.closes(&why, "-ERR octets behind STLS\r\n");
}

#[test]
fn tls_forgets_and_is_not_offered_twice() {
    let mut config = server_config();
    config.allow_plaintext_auth = false;
    let mut desk = Desk::new(config);
    desk.input("STLS\r\n");
    assert_eq!(desk.poll(), Output::Start(Layer::Tls));
    assert_eq!(desk.sent(), "+OK begin TLS\r\n");
    desk.server.handle_tls(TlsInfo::default());
    assert!(desk.server.tls().is_some());
    let offered = desk.say("CAPA\r\n");
    assert!(!offered.contains("STLS") && offered.contains("SASL PLAIN X-TWO X-TWO-PLUS\r\n"), "{offered}");
    desk.log_in();
}

#[test]
fn implicit_tls_comes_before_the_greeting() {
    let pop = Pop::new(server_config());
    let mut server = Server::new(Arc::clone(&pop.config), Peer::unknown());
    assert!(server.transmit().is_empty());
    server.handle_tls(TlsInfo::default());
    let mut desk = Desk { server, pop, rx: BytesMut::new(), now: Instant::now() };
    assert_eq!(desk.say(""), "+OK POP3 server ready\r\n");
}

#[test]
fn a_handshake_that_never_comes_ends() {
    let mut desk = Desk::new(server_config());
    desk.input("STLS\r\n");
    assert_eq!(desk.poll(), Output::Start(Layer::Tls));
    desk.server.handle_eof();
    desk.closes(&Closed::Eof, "+OK begin TLS\r\n");
}

#[test]
fn a_dropped_line_deletes_nothing() {
    let mut desk = Desk::logged_in();
    desk.say("DELE 1\r\nDELE 2\r\n");
    desk.server.handle_eof();
    desk.closes(&Closed::Eof, "");
}

#[test]
fn input_that_ended_is_still_answered() {
    let mut desk = Desk::new(server_config());
    desk.input("USER mrose\r\nPASS tanstaaf\r\nSTAT\r\nDELE 1\r\nQUIT");
    desk.server.handle_eof();
    let sent =
        "+OK password?\r\n+OK maildrop has 2 messages (320 octets)\r\n+OK 2 320\r\n+OK message 1 deleted\r\n";
    desk.closes(&Closed::Eof, sent);
}

#[test]
fn quit_deletes_what_was_marked_and_is_asked_only_then() {
    let mut desk = Desk::logged_in();
    desk.say("DELE 2\r\nDELE 1\r\nRSET\r\nDELE 2\r\n");
    desk.input("QUIT\r\n");
    let Event::Commit(ask) = desk.event() else { panic!() };
    assert_eq!(ask.delete, [1]);
    assert_eq!(desk.sent(), "");
    desk.server.answer(ask, Ok(())).unwrap();
    desk.closes(&Closed::Farewell, "+OK bye\r\n");

    let mut desk = Desk::logged_in();
    desk.input("QUIT\r\n");
    desk.closes(&Closed::Farewell, "+OK bye\r\n");
}

#[test]
fn shutdown_waits_for_what_is_under_way() {
    let mut desk = Desk::logged_in();
    desk.input("RETR 1\r\nNOOP\r\n");
    let Event::Read(ask) = desk.event() else { panic!() };
    desk.server.shutdown(Shutdown::Stopping);
    assert!(!desk.wait().read);
    desk.server.answer(ask, Ok(())).unwrap();
    let _ = desk.server.send_body("x".into()).unwrap();
    desk.server.end_body().unwrap();
    let sent = "+OK 120 octets\r\nx\r\n.\r\n-ERR [SYS/TEMP] the server is stopping\r\n";
    desk.closes(&Closed::Shutdown(Shutdown::Stopping), sent);
}

#[test]
fn a_shutdown_at_once_takes_the_place_of_the_greeting() {
    let pop = Pop::new(server_config());
    let server = Server::new(Arc::clone(&pop.config), Peer::unknown());
    let mut desk = Desk { server, pop, rx: BytesMut::new(), now: Instant::now() };
    desk.server.shutdown(Shutdown::TooBusy);
    let why = Closed::Shutdown(Shutdown::TooBusy);
    desk.closes(&why, "-ERR [SYS/TEMP] too many connections\r\n");
}

#[test]
fn everything_can_be_declined() {
    let mut desk = Desk::logged_in();
    for (input, reply) in [("RETR 1\r\n", "-ERR [SYS/TEMP] "), ("TOP 1 1\r\n", "-ERR [SYS/TEMP] ")] {
        desk.input(input);
        let event = desk.event();
        desk.server.decline(event);
        assert!(desk.say("").starts_with(reply));
    }
    desk.server.decline(Event::Closed(Closed::Eof));
    let mut desk = Desk::new(server_config());
    desk.input("AUTH PLAIN =\r\n");
    let Event::Authenticate(ask) = desk.event() else { panic!() };
    assert_eq!(ask.response, Some(Secret::default()));
    desk.server.answer(ask, AuthStep::Accept).unwrap();
    let Event::Open(ask) = desk.event() else { panic!() };
    desk.server.decline(Event::Open(ask));
    assert!(desk.say("").starts_with("-ERR [SYS/TEMP] "));
}

#[test]
fn refusals_carry_their_code() {
    let mut desk = Desk::logged_in();
    desk.input("RETR 2\r\n");
    let Event::Read(ask) = desk.event() else { panic!() };
    let code = Some(ResponseCode::Other(Text::new("X-GONE").unwrap()));
    desk.server.answer(ask, Err(Refusal::new(code, Text::new("expunged").unwrap()))).unwrap();
    assert_eq!(desk.say(""), "-ERR [X-GONE] expunged\r\n");
}

#[test]
fn what_is_not_configured_is_not_offered() {
    let mut config = Config::default();
    config.allow_plaintext_auth = true;
    config.password_login = false;
    config.implementation = Some(Text::new("Example 1").unwrap());
    config.greet_with("hello").unwrap();
    let pop = Pop::new(config);
    let server = Server::new(Arc::clone(&pop.config), Peer::unknown());
    let mut desk = Desk { server, pop, rx: BytesMut::new(), now: Instant::now() };
    let offered = desk.say("CAPA\r\n");
    assert!(
        offered.starts_with("+OK hello\r\n") && offered.contains("IMPLEMENTATION Example 1\r\n"),
        "{offered}"
    );
    for absent in ["STLS", "USER", "SASL"] {
        assert!(!offered.contains(absent), "{absent} in {offered}");
    }
    assert_eq!(desk.say("USER a\r\nPASS b\r\n"), "-ERR USER is not offered\r\n-ERR PASS is not offered\r\n");
    assert_eq!(desk.say("AUTH PLAIN\r\n"), "-ERR authentication mechanism not supported\r\n");
    assert_eq!(desk.say("STLS\r\n"), "-ERR STLS is not offered\r\n");
}

#[test]
fn the_trace_shows_no_secret() {
    let seen = Arc::new(Mutex::new(String::new()));
    let sink = Arc::clone(&seen);
    let mut desk = Desk::new(server_config());
    desk.server.set_trace(Trace::new(move |traced| {
        let line = match traced {
            Traced::Received(line) | Traced::Sent(line) => String::from_utf8_lossy(line).into_owned(),
            other => format!("{other:?}"),
        };
        sink.lock().unwrap().push_str(&(line + "\n"));
    }));
    desk.say("pass hunter2\r\nUSER mrose\r\nPASS hunter2\r\nAUTH PLAIN aHVudGVyMg==\r\n");
    desk.say(&format!("AUTH X-TWO\r\naHVudGVyMg==\r\nPASS hunter2{}\r\n", "hunter2".repeat(200)));
    let seen = seen.lock().unwrap();
    assert!(seen.contains("USER mrose\n") && seen.contains("-ERR [AUTH] authentication failed\n"), "{seen}");
    assert!(!seen.contains("hunter2") && !seen.contains("aHVudGVy"), "{seen}");
}
