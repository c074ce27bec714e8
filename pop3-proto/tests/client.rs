//! The client against servers that are slow, wrong or hostile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use common::{client_config, number};
use mailwright_line_proto::{
    Authenticate, Closed, Deadline, Layer, Login, Machine, Misuse, Output, PeerMisbehaved, Secret, Shutdown,
    TlsInfo, Trace, Traced, Wait,
};
use mailwright_pop3_proto::{
    Capa, Capability, Client, Dele, List, Noop, Quit, Retr, Rset, Stat, Stls, Top, Uidl,
    client::{Config, Event},
};

/// A client and what the server sent to it.
struct Desk {
    client: Client,
    rx: BytesMut,
    now: Instant,
}

impl Desk {
    fn new(config: Config) -> Self {
        Self { client: Client::new(Arc::new(config)), rx: BytesMut::new(), now: Instant::now() }
    }

    fn greeted(config: Config) -> Self {
        let mut desk = Self::new(config);
        assert!(matches!(desk.hear("+OK ready\r\n")[..], [Event::Greeting(_)]));
        desk
    }

    fn logged_in() -> Self {
        Self::logged_in_with(client_config())
    }

    fn logged_in_with(config: Config) -> Self {
        let mut desk = Self::greeted(config);
        desk.client.call(Login::new("a", Secret::from("b"))).unwrap();
        assert!(matches!(desk.hear("+OK\r\n+OK\r\n")[..], [Event::Login(_, Ok(()))]));
        desk.sent();
        desk
    }

    fn sent(&mut self) -> String {
        let transmit = self.client.transmit();
        let length = transmit.remaining();
        String::from_utf8(transmit.copy_to_bytes(length).to_vec()).unwrap()
    }

    /// What the server says, and the events of it.
    fn hear(&mut self, input: &str) -> Vec<Event> {
        self.rx.extend_from_slice(input.as_bytes());
        let mut events = Vec::new();
        loop {
            match self.client.poll(self.now, &mut self.rx) {
                Output::Event(event) => events.push(event),
                _ => return events,
            }
        }
    }

    fn wait(&mut self) -> Wait {
        match self.client.poll(self.now, &mut self.rx) {
            Output::Wait(wait) => wait,
            other => panic!("no wait but {other:?}"),
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    #[track_caller]
    fn closes(&mut self, input: &str) -> Closed {
        let mut events = self.hear(input);
        let Some(Event::Closed(why)) = events.pop() else { panic!("not closed: {events:?}") };
        assert_eq!(self.client.poll(self.now, &mut self.rx), Output::Close);
        assert_eq!(self.client.call(Noop), Err(Misuse::Closed));
        why
    }
}

fn misbehaved(why: &Closed) -> &PeerMisbehaved {
    match why {
        Closed::Misbehaved(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_greeting_that_is_none_closes() {
    for garbage in
        ["220 mail ESMTP\r\n", "* OK IMAP\r\n", "\r\n", "+ \r\n", "\0\u{1}\r\n", "HTTP/1.1 400\r\n"]
    {
        let why = Desk::new(client_config()).closes(garbage);
        assert!(matches!(misbehaved(&why), PeerMisbehaved::BadReply { .. }), "{garbage:?}");
    }
    let why = Desk::new(client_config()).closes("-ERR [SYS/TEMP] too busy\r\n");
    assert_eq!(why, Closed::Refused("[SYS/TEMP] too busy".to_owned()));
    let PeerMisbehaved::BadReply { received, .. } =
        misbehaved(&Desk::new(client_config()).closes(&format!("{}\r\n", "\u{7}".repeat(500)))).clone()
    else {
        panic!()
    };
    assert_eq!(received.len(), 128);
}

#[test]
fn reply_lines_are_bounded() {
    for (length, fits) in [(8191, true), (8192, true), (8193, false)] {
        let mut desk = Desk::logged_in();
        desk.client.call(Noop).unwrap();
        let line = format!("+OK {}\r\n", "x".repeat(length - 6));
        let events = desk.hear(&line);
        assert_eq!(matches!(events[..], [Event::Noop(_, Ok(()))]), fits, "{length}: {events:?}");
        assert_eq!(matches!(events[..], [Event::Closed(_)]), !fits, "{length}: {events:?}");
    }
    let mut desk = Desk::new(client_config());
    let why = loop {
        if let Some(Event::Closed(why)) = desk.hear(&"x".repeat(4096)).pop() {
            break why;
        }
        assert!(desk.rx.len() <= 8192);
    };
    assert_eq!(why, Closed::Misbehaved(PeerMisbehaved::Endless { limit: 64 * 1024 }));
}

#[test]
fn an_over_long_capability_is_skipped() {
    let mut desk = Desk::greeted(client_config());
    desk.client.call(Capa).unwrap();
    let events = desk.hear(&format!("+OK\r\nUIDL\r\nX-LONG {}\r\nTOP\r\n.\r\n", "x".repeat(9000)));
    let [Event::Capa(_, Ok(offered))] = &events[..] else { panic!("{events:?}") };
    assert_eq!(offered.iter().cloned().collect::<Vec<_>>(), [Capability::Uidl, Capability::Top]);
    assert_eq!(desk.client.capabilities(), Some(offered));
}

#[test]
fn capabilities_are_bounded() {
    for (count, kept) in [(127, 127), (128, 128), (129, 128), (5000, 128)] {
        let mut desk = Desk::greeted(client_config());
        desk.client.call(Capa).unwrap();
        let events = desk.hear(&format!("+OK\r\n{}.\r\n", "X-MORE\r\n".repeat(count)));
        let [Event::Capa(_, Ok(offered))] = &events[..] else { panic!("{events:?}") };
        assert_eq!(offered.iter().count(), kept);
    }
}

#[test]
fn listings_are_bounded() {
    for (count, fits) in [(9, true), (10, true), (11, false)] {
        let mut config = client_config();
        config.listing = 10;
        let mut desk = Desk::logged_in_with(config);
        desk.client.call(List(None)).unwrap();
        let lines = (1..=count).map(|number| format!("{number} 5\r\n")).collect::<String>();
        let events = desk.hear(&format!("+OK\r\n{lines}.\r\n"));
        match events.last() {
            Some(Event::List(_, Ok(found))) => assert_eq!((*found, fits), (count, true)),
            Some(Event::Closed(why)) => {
                assert!(!fits);
                assert_eq!(misbehaved(why), &PeerMisbehaved::Endless { limit: 10 });
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn entries_that_are_none_close() {
    for (uidl, lines) in
        [(false, "+OK\r\nx y\r\n"), (false, "+OK\r\n0 1\r\n"), (true, "+OK\r\n1\r\n"), (true, "+OK\r\n\r\n")]
    {
        let mut desk = Desk::logged_in();
        if uidl {
            desk.client.call(Uidl(None)).unwrap();
        } else {
            desk.client.call(List(None)).unwrap();
        }
        let why = desk.closes(lines);
        assert!(matches!(misbehaved(&why), PeerMisbehaved::BadReply { .. }), "{lines:?}");
    }
    let mut desk = Desk::logged_in();
    desk.client.call(List(Some(number(1)))).unwrap();
    assert!(matches!(misbehaved(&desk.closes("+OK\r\n")), PeerMisbehaved::BadReply { .. }));
    let mut desk = Desk::logged_in();
    desk.client.call(Stat).unwrap();
    assert!(matches!(misbehaved(&desk.closes("+OK lots\r\n")), PeerMisbehaved::BadReply { .. }));
}

#[test]
fn a_message_longer_than_allowed_closes() {
    // What LIST said does not matter: 1 octet was promised.
    for (length, fits) in [(999, true), (1000, true), (1001, false)] {
        let mut config = client_config();
        config.body = 1000;
        let mut desk = Desk::logged_in_with(config);
        desk.client.call(Retr(number(1))).unwrap();
        let events = desk.hear(&format!("+OK 1 octets\r\n{}\r\n.\r\n", "x".repeat(length - 2)));
        match events.last() {
            Some(Event::BodyEnd) => assert!(fits, "{length}"),
            Some(Event::Closed(why)) => {
                assert!(!fits, "{length}");
                assert_eq!(misbehaved(why), &PeerMisbehaved::Endless { limit: 1000 });
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_endless_message_can_be_given_up() {
    let mut desk = Desk::logged_in();
    let ticket = desk.client.call(Retr(number(1))).unwrap();
    desk.hear("+OK 1 octets\r\n");
    for round in 0..100 {
        let events = desk.hear(&"x".repeat(64 * 1024));
        assert!(desk.rx.len() < 3, "nothing is held");
        if round == 50 {
            desk.client.cancel(ticket);
        }
        assert_eq!(events.is_empty(), round > 50, "{round}");
    }
    desk.client.shutdown(Shutdown::Kicked);
    assert_eq!(desk.closes(""), Closed::Shutdown(Shutdown::Kicked));
}

#[test]
fn a_cancelled_call_is_read_to_its_end() {
    let mut desk = Desk::logged_in();
    let list = desk.client.call(List(None)).unwrap();
    desk.client.cancel(list);
    assert_eq!(desk.client.call(Noop), Err(Misuse::Busy));
    assert!(desk.hear("+OK\r\n1 5\r\n2 6\r\n.\r\n").is_empty());
    let one = desk.client.call(Uidl(Some(number(1)))).unwrap();
    desk.client.cancel(one);
    assert!(desk.hear("+OK 1 abc\r\n").is_empty());
    let noop = desk.client.call(Noop).unwrap();
    assert_eq!(desk.hear("+OK\r\n"), [Event::Noop(noop, Ok(()))]);
}

#[test]
fn octets_behind_the_consent_to_tls_close() {
    let mut desk = Desk::greeted(client_config());
    desk.client.call(Stls).unwrap();
    let why = desk.closes("+OK begin\r\n+OK injected\r\n");
    assert_eq!(misbehaved(&why), &PeerMisbehaved::PlaintextBehindTls);
}

#[test]
fn tls_forgets_what_was_offered() {
    let mut desk = Desk::greeted(Config::default());
    desk.client.call(Capa).unwrap();
    desk.hear("+OK\r\nPIPELINING\r\nSTLS\r\nSASL PLAIN\r\n.\r\n");
    let ticket = desk.client.call(Stls).unwrap();
    assert_eq!(desk.client.call(Capa), Err(Misuse::Busy));
    assert!(desk.hear("+OK\r\n").is_empty());
    assert_eq!(desk.client.poll(desk.now, &mut desk.rx), Output::Start(Layer::Tls));
    assert!(matches!(desk.client.call(Capa), Err(Misuse::WrongState { .. })));
    desk.client.handle_tls(TlsInfo::default());
    assert_eq!(desk.client.capabilities(), None);
    assert_eq!(desk.hear(""), [Event::Stls(ticket, Ok(()))]);
    assert!(matches!(desk.client.call(Stls), Err(Misuse::WrongState { .. })));
    desk.client.call(Login::new("a", Secret::from("b"))).unwrap();
}

#[test]
fn a_failure_of_tls_is_the_reason_of_closing() {
    let why = Closed::Misbehaved(PeerMisbehaved::Tls("unknown issuer".to_owned()));
    for implicit in [true, false] {
        let mut desk = Desk::new(client_config());
        if !implicit {
            desk.hear("+OK ready\r\n");
            desk.client.call(Stls).unwrap();
            desk.hear("+OK\r\n");
        }
        desk.client.handle_failure(why.clone());
        assert_eq!(desk.closes(""), why);
    }
}

#[test]
fn stls_is_not_called_where_it_is_not_offered() {
    let mut desk = Desk::greeted(client_config());
    desk.client.call(Capa).unwrap();
    assert_eq!(desk.client.call(Stls), Err(Misuse::Busy));
    desk.hear("+OK\r\nTOP\r\n.\r\n");
    assert_eq!(desk.client.call(Stls), Err(Misuse::NotOffered("STLS")));
}

#[test]
fn no_login_leaves_without_tls() {
    let mut desk = Desk::greeted(Config::default());
    desk.client.call(Capa).unwrap();
    desk.hear("+OK\r\nSASL PLAIN\r\nUSER\r\n.\r\n");
    desk.sent();
    let login = Login::new("a", Secret::from("b"));
    assert!(matches!(desk.client.call(login), Err(Misuse::WrongState { state: "without TLS", .. })));
    let plain = Authenticate::new("PLAIN".to_owned(), None);
    assert!(matches!(desk.client.call(plain), Err(Misuse::WrongState { state: "without TLS", .. })));
    assert_eq!(desk.sent(), "");
}

#[test]
fn what_would_break_the_line_is_not_sent() {
    let mut desk = Desk::greeted(client_config());
    for login in [
        Login::new("a\r\nQUIT", Secret::from("b")),
        Login::new("a", Secret::from("b\r\nQUIT")),
        Login::new("", Secret::from("b")),
        Login::new("a".repeat(20_000), Secret::from("b")),
    ] {
        assert!(matches!(desk.client.call(login), Err(Misuse::Argument(_))));
    }
    let odd = Authenticate::new("PLAIN\r\nQUIT".to_owned(), None);
    assert!(matches!(desk.client.call(odd), Err(Misuse::Argument(_))));
    assert_eq!(desk.sent(), "");
    assert_eq!(desk.wait(), Wait { read: true, until: None });
}

#[test]
fn calls_are_made_in_their_state() {
    let mut desk = Desk::new(client_config());
    assert!(matches!(desk.client.call(Capa), Err(Misuse::WrongState { state: "before the greeting", .. })));
    let mut desk = Desk::greeted(client_config());
    assert!(matches!(desk.client.call(Stat), Err(Misuse::WrongState { state: "before login", .. })));
    assert!(matches!(desk.client.call(Rset), Err(Misuse::WrongState { .. })));
    let mut desk = Desk::logged_in();
    let login = Login::new("a", Secret::from("b"));
    assert!(matches!(desk.client.call(login), Err(Misuse::WrongState { state: "after login", .. })));
    desk.client.call(Dele(number(1))).unwrap();
    assert_eq!(desk.client.call(Quit), Err(Misuse::Busy));
}

#[test]
fn pipelining_is_bounded_and_in_order() {
    let mut desk = Desk::greeted(client_config());
    desk.client.call(Capa).unwrap();
    desk.hear("+OK\r\nPIPELINING\r\n.\r\n");
    desk.client.call(Login::new("a", Secret::from("b"))).unwrap();
    assert_eq!(desk.client.call(Capa), Err(Misuse::Busy));
    desk.sent();
    desk.hear("+OK\r\n+OK\r\n");
    let retr = desk.client.call(Retr(number(1))).unwrap();
    let top = desk.client.call(Top { number: number(2), lines: 3 }).unwrap();
    for _ in 0..29 {
        desk.client.call(Noop).unwrap();
    }
    let quit = desk.client.call(Quit).unwrap();
    assert_eq!(desk.client.call(Noop), Err(Misuse::Busy));
    assert!(desk.sent().starts_with("RETR 1\r\nTOP 2 3\r\nNOOP\r\n"));
    let replies = format!("+OK\r\nA\r\n.\r\n-ERR\r\n{}+OK\r\n", "+OK\r\n".repeat(29));
    let events = desk.hear(&replies);
    assert_eq!(events[0], Event::Retr(retr, Ok(())));
    assert_eq!(events[1..3], [Event::Body("A\r\n".into()), Event::BodyEnd]);
    assert!(matches!(&events[3], Event::Top(found, Err(_)) if *found == top));
    assert_eq!(events[33..], [Event::Quit(quit, Ok(())), Event::Closed(Closed::Farewell)]);
}

#[test]
fn without_pipelining_the_password_waits_for_the_user() {
    let mut desk = Desk::greeted(client_config());
    let ticket = desk.client.call(Login::new("a", Secret::from("b"))).unwrap();
    assert_eq!(desk.sent(), "USER a\r\n");
    let events = desk.hear("-ERR [AUTH] no\r\n");
    assert!(matches!(&events[..], [Event::Login(found, Err(_))] if *found == ticket));
    assert_eq!(desk.sent(), "");
    desk.client.call(Login::new("a", Secret::from("b"))).unwrap();
    desk.hear("+OK\r\n");
    assert_eq!(desk.sent(), "USER a\r\nPASS b\r\n");
}

#[test]
fn replies_to_nothing_close() {
    let mut desk = Desk::logged_in();
    assert!(matches!(misbehaved(&desk.closes("+OK surprise\r\n")), PeerMisbehaved::Unsolicited { .. }));
    let mut desk = Desk::greeted(client_config());
    desk.client.call(Authenticate::new("X".to_owned(), None)).unwrap();
    assert!(matches!(desk.hear("+ \r\n")[..], [Event::Challenge(..)]));
    // No response was sent yet, so this is no answer to it.
    assert!(matches!(misbehaved(&desk.closes("+OK in you are\r\n")), PeerMisbehaved::Unsolicited { .. }));
    let mut desk = Desk::logged_in();
    desk.client.call(Noop).unwrap();
    assert!(matches!(misbehaved(&desk.closes("+ challenge\r\n")), PeerMisbehaved::BadReply { .. }));
    let mut desk = Desk::greeted(client_config());
    desk.client.call(Authenticate::new("X".to_owned(), None)).unwrap();
    assert!(matches!(misbehaved(&desk.closes("+ !!!\r\n")), PeerMisbehaved::BadReply { .. }));
}

#[test]
fn a_login_granted_behind_a_refused_user_is_not_believed() {
    let mut desk = Desk::greeted(client_config());
    desk.client.call(Capa).unwrap();
    desk.hear("+OK\r\nPIPELINING\r\n.\r\n");
    desk.client.call(Login::new("a", Secret::from("b"))).unwrap();
    assert!(matches!(misbehaved(&desk.closes("-ERR\r\n+OK\r\n")), PeerMisbehaved::BadReply { .. }));
}

#[test]
fn a_challenge_wants_a_response_or_a_cancel() {
    let mut desk = Desk::greeted(client_config());
    let ticket = desk.client.call(Authenticate::new("X".to_owned(), None)).unwrap();
    desk.hear("+ b25l\r\n");
    assert!(matches!(desk.client.call(Authenticate::new("X".to_owned(), None)), Err(Misuse::Argument(_))));
    assert_eq!(desk.client.call(Capa), Err(Misuse::Busy));
    let next = desk.client.call(Authenticate::new("X".to_owned(), Some(Secret::from("1")))).unwrap();
    assert_eq!(next, ticket);
    desk.hear("+ dHdv\r\n");
    desk.client.cancel(ticket);
    assert_eq!(desk.sent(), "AUTH X\r\nMQ==\r\n*\r\n");
    let events = desk.hear("-ERR cancelled\r\n");
    assert!(matches!(&events[..], [Event::Authenticate(found, Err(_))] if *found == ticket));
}

#[test]
fn every_wait_has_its_deadline() {
    let mut desk = Desk::new(client_config());
    assert_eq!(desk.wait().until, Some(desk.now + Duration::from_secs(300)));
    desk.pass(300);
    assert_eq!(desk.closes(""), Closed::TimedOut(Deadline::Greeting));

    let mut desk = Desk::logged_in();
    desk.pass(10_000);
    assert_eq!(desk.wait(), Wait { read: true, until: None });
    desk.client.call(Stat).unwrap();
    assert_eq!(desk.wait().until, Some(desk.now + Duration::from_secs(600)));
    desk.pass(599);
    desk.hear("+O");
    desk.pass(1);
    assert_eq!(desk.closes(""), Closed::TimedOut(Deadline::Reply));

    let mut desk = Desk::logged_in();
    desk.client.call(Retr(number(1))).unwrap();
    desk.hear("+OK\r\n");
    for _ in 0..10 {
        desk.pass(179);
        assert!(matches!(desk.hear("x")[..], [Event::Body(_)]));
    }
    desk.pass(180);
    assert_eq!(desk.closes(""), Closed::TimedOut(Deadline::Body));
}

#[test]
fn an_end_of_input_is_told_in_every_state() {
    for input in ["", "+OK", "+OK ready\r\n"] {
        let mut desk = Desk::new(client_config());
        desk.hear(input);
        desk.client.handle_eof();
        assert_eq!(desk.closes(""), Closed::Eof, "{input:?}");
    }
    let mut desk = Desk::logged_in();
    desk.client.call(Quit).unwrap();
    desk.client.handle_eof();
    // Whether the server deleted anything is not known.
    assert_eq!(desk.closes(""), Closed::Eof);
    let mut desk = Desk::greeted(client_config());
    desk.client.call(Stls).unwrap();
    desk.hear("+OK\r\n");
    desk.client.handle_eof();
    assert_eq!(desk.closes(""), Closed::Eof);
}

#[test]
fn the_trace_shows_no_secret() {
    let seen = Arc::new(Mutex::new(String::new()));
    let sink = Arc::clone(&seen);
    let mut desk = Desk::greeted(client_config());
    desk.client.set_trace(Trace::new(move |traced| {
        let line = match traced {
            Traced::Received(line) | Traced::Sent(line) => String::from_utf8_lossy(line).into_owned(),
            other => format!("{other:?}"),
        };
        sink.lock().unwrap().push_str(&(line + "\n"));
    }));
    desk.client.call(Login::new("mrose", Secret::from("hunter2"))).unwrap();
    desk.hear("+OK\r\n-ERR no\r\n");
    desk.client.call(Authenticate::new("PLAIN".to_owned(), Some(Secret::from("hunter2")))).unwrap();
    desk.hear("+ aHVudGVyMg==\r\n");
    desk.client.call(Authenticate::new("PLAIN".to_owned(), Some(Secret::from("hunter2")))).unwrap();
    let seen = seen.lock().unwrap();
    assert!(seen.contains("USER mrose\n") && seen.contains("-ERR no\n"), "{seen}");
    assert!(!seen.contains("hunter2") && !seen.contains("aHVudGVy"), "{seen}");
}
