//! The client against servers that are slow, wrong or hostile, and against its own application.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

#[path = "client_common/desk.rs"]
mod desk;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use desk::{Desk, config};
use mailwright_imap_proto::{
    MessageSet, SequenceSet,
    client::{Capability, Check, Close, Config, Event, Idle, Logout, Noop, StartTls},
    command::{
        Append, Copy, Create, Enable, Expunge, Fetch, FetchItem, List, Search, Select, SetQuota, Store,
        StoreOperation,
    },
    response::Leniency,
};
use mailwright_line_proto::{
    Authenticate, Closed, Deadline, Login, Machine, Misuse, Output, PeerMisbehaved, Secret, Shutdown,
    TlsInfo, Trace, Traced, Wait,
};
use mailwright_mail_model::{FlagSet, MailboxName, UidSet};

impl Desk {
    fn greeted(config: Config) -> Self {
        let mut desk = Self::new(config);
        assert!(matches!(desk.hear("* OK ready\r\n")[..], [Event::Greeting { .. }]));
        desk
    }

    fn wait(&mut self) -> Wait {
        match self.client.poll(self.now, &mut self.rx) {
            Output::Wait(wait) => wait,
            other => panic!("no wait but {other:?}"),
        }
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

fn name(name: &str) -> MailboxName {
    MailboxName::new(name).unwrap()
}

fn everything() -> Fetch {
    Fetch::new(MessageSet::Uid(SequenceSet::all()), [FetchItem::Envelope])
}

#[test]
fn a_greeting_that_is_none_closes() {
    for garbage in
        ["220 mail ESMTP\r\n", "+OK POP3\r\n", "\r\n", "* NO no\r\n", "* LIST () NIL x\r\n", "a1 OK\r\n"]
    {
        let why = Desk::new(config()).closes(garbage);
        assert!(matches!(why, Closed::Misbehaved(PeerMisbehaved::BadReply { .. })), "{garbage:?}: {why:?}");
    }
    assert_eq!(Desk::new(config()).closes("* BYE too busy\r\n"), Closed::Refused("too busy".to_owned()));
    let why = Desk::new(config()).closes(&"x".repeat(2 << 20));
    assert!(matches!(why, Closed::Misbehaved(PeerMisbehaved::Endless { .. })), "{why:?}");
}

#[test]
fn an_answer_to_nothing_closes() {
    for answer in
        ["aaaa2 OK done\r\n", "aaaa01 OK\r\n", "x1 OK\r\n", "aaaa OK\r\n", "+ go on\r\n", "aaaa0 NO x\r\n"]
    {
        let mut desk = Desk::selected();
        let why = desk.closes(answer);
        assert!(matches!(why, Closed::Misbehaved(PeerMisbehaved::Unsolicited { .. })), "{answer:?}: {why:?}");
    }
    // Twice.
    let mut desk = Desk::selected();
    desk.client.call(Noop).unwrap();
    assert!(matches!(desk.hear("aaaa2 OK done\r\n")[..], [Event::Noop(_, Ok(()))]));
    desk.client.call(Noop).unwrap();
    let why = desk.closes("aaaa2 OK done\r\n");
    assert!(matches!(why, Closed::Misbehaved(PeerMisbehaved::Unsolicited { .. })));
    // A SASL exchange that is over before it has begun.
    let mut desk = Desk::greeted(config());
    desk.client.call(Authenticate::new("PLAIN".into(), Some(Secret::from("x")))).unwrap();
    assert!(matches!(desk.closes("aaaa1 OK in\r\n"), Closed::Misbehaved(PeerMisbehaved::BadReply { .. })));
    // A command that is accepted before it is sent.
    let mut desk = Desk::greeted(config());
    desk.client.call(Login::new("\u{e9}", Secret::from("x"))).unwrap();
    assert!(matches!(desk.closes("aaaa1 OK in\r\n"), Closed::Misbehaved(PeerMisbehaved::BadReply { .. })));
}

#[test]
fn literals_out_of_all_measure_are_refused_but_bodies_are_streamed() {
    for response in [
        "* LIST () \"/\" {99999999999999}\r\n",
        "* 1 FETCH (ENVELOPE ({99999999999999}\r\n",
        "* 1 FETCH (BODY[] {99999999999999999999999}\r\n",
        "* LIST BODY[] {99999999999999}\r\n",
    ] {
        let why = Desk::selected().closes(response);
        assert!(matches!(why, Closed::Misbehaved(PeerMisbehaved::Endless { .. })), "{response}: {why:?}");
    }
    let mut desk = Desk::selected();
    let events = desk.hear("* 1 FETCH (BODY[] {99999999999999}\r\n");
    assert!(matches!(events[..], [Event::FetchBody { length: Some(99_999_999_999_999), .. }]), "{events:?}");
    let megabyte = "x".repeat(1 << 20);
    for _ in 0..64 {
        assert!(matches!(&desk.hear(&megabyte)[..], [Event::Body(chunk)] if chunk.len() == 1 << 20));
        assert!(desk.rx.is_empty());
    }
    assert_eq!(desk.wait().until, Some(desk.now + Duration::from_secs(180)));
    desk.now += Duration::from_secs(180);
    assert_eq!(desk.closes(""), Closed::TimedOut(Deadline::Body));
}

#[test]
fn a_million_parentheses_are_passed_over() {
    let mut desk = Desk::selected();
    desk.client.call(everything()).unwrap();
    for start in
        ["* 1 FETCH (BODYSTRUCTURE ", "* 1 FETCH (X-ODD ", "* 1 FETCH ", "* X ", "* LIST ", "* STATUS x "]
    {
        let events = desk.hear(&format!("{start}{}\r\n", "(".repeat(1_000_000)));
        assert!(matches!(&events[..], [Event::Skipped(shown)] if shown.len() == 128), "{start}: {events:?}");
    }
    assert!(matches!(desk.hear("aaaa2 OK done\r\n")[..], [Event::Fetch(_, Ok(()))]));
}

#[test]
fn a_strict_client_closes_where_a_tolerant_one_skips() {
    let mut strict = config();
    strict.leniency = Leniency::strict();
    for line in
        ["* XODD\r\n", "* 1 FETCH (UID 1 )\r\n", "* 1 FETCH (X BODY[] {1}\r\nx)\r\n", "* SEARCH 1 \r\n"]
    {
        let why = Desk::logged_in(strict.clone()).closes(line);
        assert!(matches!(why, Closed::Misbehaved(PeerMisbehaved::BadReply { .. })), "{line:?}: {why:?}");
        assert_eq!(Desk::logged_in(config()).hear(line).len(), 1, "{line:?}");
    }
}

#[test]
fn four_megabytes_of_search_are_one_answer() {
    let numbers = "1234567 ".repeat(4 << 17);
    let response = format!("* SEARCH {numbers}\r\naaaa2 OK done\r\n");
    for split in [1000, usize::MAX] {
        let mut desk = Desk::selected();
        desk.client.call(search()).unwrap();
        let mut events = Vec::new();
        for piece in response.as_bytes().chunks(split) {
            events.extend(desk.hear(str::from_utf8(piece).unwrap()));
            assert!(desk.rx.is_empty());
        }
        assert!(matches!(&events[..], [Event::Search(_, Ok(found))] if found.len() == 4 << 17));
    }
}

fn search() -> Search {
    let input = &mut mailwright_imap_proto::grammar::Input::new(b"UID SEARCH ALL");
    let command = mailwright_imap_proto::command::Command::parse(input, Default::default()).unwrap();
    let mailwright_imap_proto::command::Command::Search(search) = command else { panic!("{command:?}") };
    search
}

#[test]
fn what_is_collected_is_bounded() {
    let mut narrow = config();
    narrow.answer = 10_000;
    let mut desk = Desk::logged_in(narrow);
    desk.client.call(List::new("", "*")).unwrap();
    let why = desk.closes(&"* LIST () \"/\" x\r\n".repeat(1000));
    let what = "octets of responses and numbers";
    assert_eq!(why, Closed::Misbehaved(PeerMisbehaved::TooLongAnswer { what, limit: 10_000 }));
}

/// Some servers send an empty line behind a literal or an answer.
#[test]
fn an_empty_line_is_passed_over() {
    let mut desk = Desk::selected();
    let noop = desk.client.call(Noop).unwrap();
    let events = desk.hear("\r\naaaa2 OK done\r\n");
    assert!(matches!(&events[..], [Event::Skipped(line), Event::Noop(_, Ok(()))] if line.is_empty()));
    assert!(!desk.client.skipped().is_of(noop));
    let mut strict = config();
    strict.leniency = Leniency::strict();
    let why = Desk::logged_in(strict).closes("\r\n");
    assert!(matches!(why, Closed::Misbehaved(PeerMisbehaved::BadReply { .. })), "{why:?}");
}

#[test]
fn who_hangs_up_says_why() {
    for (line, said) in [
        ("* BYE [UNAVAILABLE] going down\r\n", "[UNAVAILABLE] going down"),
        ("* BYE [X-ODD a b] x\r\n", "[X-ODD a b] x"),
        ("* BYE [ALERT]\r\n", "[ALERT] -"),
        ("* BYE later\r\n", "later"),
    ] {
        assert_eq!(Desk::new(config()).closes(line), Closed::Refused(said.to_owned()));
        assert_eq!(Desk::selected().closes(line), Closed::Refused(said.to_owned()));
    }
}

/// RFC 8474 §4.2
#[test]
fn a_mailbox_has_an_identity() {
    let mut desk = Desk::selected();
    desk.client.call(Select::new(name("x"), false)).unwrap();
    let events = desk.hear("* OK [MAILBOXID (F2212ea87-6097)] Ok\r\naaaa2 OK done\r\n");
    let [Event::Select(_, Ok(opened))] = &events[..] else { panic!("{events:?}") };
    assert_eq!(opened.mailbox_id.as_deref(), Some("F2212ea87-6097"));
}

#[test]
fn challenges_are_bounded() {
    let mut desk = Desk::greeted(config());
    desk.client.call(Authenticate::new("X".into(), None)).unwrap();
    for _ in 0..32 {
        assert!(matches!(desk.hear("+ \r\n")[..], [Event::Challenge(..)]));
        desk.client.call(Authenticate::new("X".into(), Some(Secret::default()))).unwrap();
    }
    let why = desk.closes("+ \r\n");
    assert_eq!(why, Closed::Misbehaved(PeerMisbehaved::TooLongAnswer { what: "challenges", limit: 32 }));
}

#[test]
fn no_password_leaves_without_tls() {
    let mut desk = Desk::greeted(Config::default());
    let login = || Login::new("a", Secret::from("b"));
    let plain = || Authenticate::new("PLAIN".into(), Some(Secret::from("x")));
    let wrong = |request| {
        Err(Misuse::WrongState { request, state: "without TLS, unless `allow_plaintext_auth` is set" })
    };
    assert_eq!(desk.client.call(login()).map(drop), wrong("LOGIN"));
    assert_eq!(desk.client.call(plain()).map(drop), wrong("AUTHENTICATE"));
    assert_eq!(desk.sent(), "");
    // With TLS from the beginning, it may.
    let mut desk = Desk::new(Config::default());
    desk.client.handle_tls(TlsInfo::default());
    desk.hear("* OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=X] ready\r\n");
    assert_eq!(desk.client.call(login()).map(drop), Err(Misuse::NotOffered("LOGIN")));
    assert_eq!(desk.client.call(plain()).map(drop), Err(Misuse::NotOffered("this SASL mechanism")));
    desk.client.call(Authenticate::new("X".into(), None)).unwrap();
    assert_eq!(desk.sent(), "aaaa1 AUTHENTICATE X\r\n");
    assert_eq!(desk.client.call(StartTls).map(drop), Err(Misuse::Busy),);
}

#[test]
fn deadlines() {
    let mut desk = Desk::new(config());
    assert_eq!(desk.wait().until, Some(desk.now + Duration::from_secs(300)));
    desk.now += Duration::from_secs(300);
    assert_eq!(desk.closes(""), Closed::TimedOut(Deadline::Greeting));
    // Nothing is awaited, so nothing is late.
    let mut desk = Desk::selected();
    assert_eq!(desk.wait(), Wait { read: true, until: None });
    desk.now += Duration::from_secs(100_000);
    desk.client.call(Noop).unwrap();
    assert_eq!(desk.wait().until, Some(desk.now + Duration::from_secs(600)));
    desk.now += Duration::from_secs(599);
    assert_eq!(desk.hear("* 10 EXISTS\r\n"), [Event::Exists(10)]);
    // That is no part of the answer.
    assert_eq!(desk.wait().until, Some(desk.now + Duration::from_secs(1)));
    desk.now += Duration::from_secs(1);
    assert_eq!(desk.closes(""), Closed::TimedOut(Deadline::Reply));
    // Half a response.
    let mut desk = Desk::selected();
    desk.hear("* 10 EX");
    desk.now += Duration::from_secs(180);
    assert_eq!(desk.closes(""), Closed::TimedOut(Deadline::Reply));
    // An IDLE whose end is not answered.
    let mut desk = Desk::selected();
    desk.client.call(Idle).unwrap();
    desk.hear("+ idling\r\n");
    desk.sent();
    assert_eq!(desk.wait().until, Some(desk.now + Duration::from_secs(1740)));
    desk.now += Duration::from_secs(1740);
    assert_eq!(desk.wait().until, Some(desk.now + Duration::from_secs(600)));
    assert_eq!(desk.sent(), "DONE\r\n");
    desk.now += Duration::from_secs(600);
    assert_eq!(desk.closes(""), Closed::TimedOut(Deadline::Reply));
}

#[test]
fn calls_at_the_wrong_moment_have_no_effect() {
    let mut desk = Desk::new(config());
    let wrong = |request, state| Err(Misuse::WrongState { request, state });
    assert_eq!(desk.client.call(Noop).map(drop), wrong("NOOP", "before the greeting"));
    desk.hear("* OK ready\r\n");
    let nul = desk.client.call(Login::new("a", Secret::from("b\0c")));
    assert_eq!(nul.map(drop), Err(Misuse::Argument("NUL cannot be sent")));
    assert_eq!(desk.client.call(Create::new(name("x"))).map(drop), wrong("CREATE", "before login"));
    assert_eq!(desk.client.call(Check).map(drop), wrong("CHECK", "without a mailbox selected"));
    desk.client.call(Login::new("a", Secret::from("b"))).unwrap();
    assert_eq!(desk.client.call(Noop).map(drop), Err(Misuse::Busy));
    desk.hear("aaaa1 OK in\r\n");
    assert_eq!(desk.client.call(Login::new("a", Secret::from("b"))).map(drop), wrong("LOGIN", "after login"));
    assert_eq!(desk.client.call(StartTls).map(drop), wrong("STARTTLS", "after login"));
    assert_eq!(desk.client.call(everything()).map(drop), wrong("UID FETCH", "without a mailbox selected"));
    desk.sent();
    let mut desk = Desk::selected();
    let none = Fetch::new(MessageSet::from(UidSet::new()), [FetchItem::Flags]);
    assert!(matches!(desk.client.call(none).map(drop), Err(Misuse::Argument(_))));
    assert!(matches!(desk.client.call(Enable::new(["a b"])).map(drop), Err(Misuse::Argument(_))));
    for name in ["STORAGE 1)\r\nx DELETE y\r\n", "A B", ""] {
        let quota = SetQuota::new("", vec![("MESSAGE".to_owned(), 1), (name.to_owned(), 1)]);
        assert!(matches!(desk.client.call(quota).map(drop), Err(Misuse::Argument(_))), "{name:?}");
    }
    assert_eq!(desk.sent(), "");
    assert_eq!(desk.client.send_body(Bytes::new()), Err(Misuse::NoBody));
    assert_eq!(desk.client.end_body(), Err(Misuse::NoBody));
    for _ in 0..40 {
        let _ = desk.client.call(Noop);
    }
    assert_eq!(desk.client.call(Noop).map(drop), Err(Misuse::Busy));
}

#[test]
fn a_message_has_the_length_that_was_announced() {
    let appending = || {
        let mut desk = Desk::selected();
        desk.client.call(Append::new(name("x"), 5)).unwrap();
        assert!(matches!(desk.hear("+ go on\r\n")[..], [Event::Ready(_)]));
        // It may be refused before its end.
        assert_eq!(desk.wait(), Wait { read: true, until: None });
        assert_eq!(desk.client.call(Noop).map(drop), Err(Misuse::BodyOpen));
        assert_eq!(desk.sent(), "aaaa2 APPEND x {5}\r\n");
        desk
    };
    let misuse = Misuse::BodyLength { announced: 5 };
    let mut desk = appending();
    assert_eq!(desk.client.send_body("hello!".into()), Err(misuse));
    assert_eq!(desk.closes(""), Closed::Misuse(misuse));
    let mut desk = appending();
    desk.client.send_body("hell".into()).unwrap();
    assert_eq!(desk.client.end_body(), Err(misuse));
    assert_eq!(desk.closes(""), Closed::Misuse(misuse));
    let mut desk = appending();
    desk.client.send_body("hel".into()).unwrap();
    desk.client.send_body("lo".into()).unwrap();
    desk.client.end_body().unwrap();
    assert_eq!(desk.sent(), "hello\r\n");
    assert!(matches!(desk.hear("aaaa2 OK done\r\n")[..], [Event::Append(_, Ok(None))]));
    let mut desk = appending();
    desk.client.handle_eof();
    assert_eq!(desk.closes(""), Closed::Eof);
}

#[test]
fn what_must_wait_is_held_back() {
    let by_number = || MessageSet::Sequence(SequenceSet::all());
    let mut desk = Desk::selected();
    desk.client.call(Expunge::new(None)).unwrap();
    // Its numbers could be moved by the EXPUNGE (RFC 9051 §5.5).
    desk.client.call(Fetch::new(by_number(), [FetchItem::Flags])).unwrap();
    desk.client.call(Store::new(by_number(), StoreOperation::Add, FlagSet::new())).unwrap();
    desk.client.call(search()).unwrap();
    assert_eq!(desk.sent(), "aaaa2 EXPUNGE\r\n");
    desk.hear("aaaa2 OK done\r\n");
    assert_eq!(
        desk.sent(),
        "aaaa3 FETCH 1:* (FLAGS)\r\naaaa4 STORE 1:* +FLAGS ()\r\naaaa5 UID SEARCH ALL\r\n"
    );
    // The answers of the second could be taken for those of the first.
    desk.client.call(search()).unwrap();
    assert_eq!(desk.sent(), "");
    desk.hear("* SEARCH 1\r\naaaa5 OK done\r\n");
    assert_eq!(desk.sent(), "aaaa6 UID SEARCH ALL\r\n");
    let events = desk.hear("aaaa4 OK done\r\n* SEARCH 2\r\naaaa6 OK done\r\naaaa3 OK done\r\n");
    assert!(
        matches!(&events[..], [Event::Store(..), Event::Search(_, Ok(found)), Event::Fetch(..)] if found == &[2])
    );
    // What changes the session waits for all, and all wait for it.
    desk.client.call(Noop).unwrap();
    desk.client.call(Close).unwrap();
    assert_eq!(desk.client.call(Noop).map(drop), Err(Misuse::Busy));
    assert_eq!(desk.sent(), "aaaa7 NOOP\r\n");
    desk.hear("aaaa7 OK done\r\n");
    assert_eq!(desk.sent(), "aaaa8 CLOSE\r\n");
}

#[test]
fn calls_can_be_given_up() {
    let mut desk = Desk::selected();
    let ticket = desk.client.call(Copy::new(MessageSet::Uid(SequenceSet::all()), name("x"))).unwrap();
    desk.client.cancel(ticket);
    assert_eq!(desk.hear("aaaa2 OK [COPYUID 1 1 1] done\r\n"), []);
    // An IDLE that has not begun ends as soon as it has.
    let ticket = desk.client.call(Idle).unwrap();
    desk.client.cancel(ticket);
    desk.sent();
    assert!(matches!(desk.hear("+ idling\r\n")[..], [Event::Idling(_)]));
    assert_eq!(desk.sent(), "DONE\r\n");
    desk.client.cancel(ticket);
    assert_eq!(desk.sent(), "");
    assert!(matches!(desk.hear("aaaa3 OK done\r\n")[..], [Event::Idle(_, Ok(()))]));
}

#[test]
fn the_end_of_input() {
    let mut desk = Desk::selected();
    desk.client.call(Noop).unwrap();
    desk.client.handle_eof();
    assert_eq!(desk.closes("* 10 EXISTS\r\n"), Closed::Eof);
    let mut desk = Desk::selected();
    desk.client.call(Logout).unwrap();
    desk.client.handle_eof();
    assert_eq!(desk.closes("* BYE see you\r\n"), Closed::Farewell);
    let mut desk = Desk::selected();
    desk.client.shutdown(Shutdown::Kicked);
    assert_eq!(desk.closes("* 10 EXISTS\r\n"), Closed::Shutdown(Shutdown::Kicked));
}

#[test]
fn capabilities_are_forgotten_when_others_may_hold() {
    let mut desk = Desk::greeted(config());
    desk.client.call(Capability).unwrap();
    desk.hear("* CAPABILITY IMAP4rev1 LITERAL+\r\naaaa1 OK done\r\n");
    assert!(desk.client.capabilities().unwrap().has("literal+"));
    desk.client.call(Login::new("a", Secret::from("b"))).unwrap();
    desk.hear("aaaa2 OK in\r\n");
    assert_eq!(desk.client.capabilities(), None);
}

#[test]
fn secrets_are_not_traced() {
    let lines = Arc::new(Mutex::new(String::new()));
    let mut desk = Desk::greeted(config());
    let sink = lines.clone();
    desk.client.set_trace(Trace::new(move |traced| {
        sink.lock().unwrap().push_str(&match traced {
            Traced::Received(line) => format!("S: {}\n", line.escape_ascii()),
            Traced::Sent(line) => format!("C: {}\n", line.escape_ascii()),
            secret => format!("{secret:?}\n"),
        });
    }));
    desk.client.call(Authenticate::new("X".into(), Some(Secret::from("hunter2")))).unwrap();
    desk.hear("+ \r\n");
    desk.hear("+ aHVudGVyMg==\r\n");
    desk.client.call(Authenticate::new("X".into(), Some(Secret::from("hunter2")))).unwrap();
    desk.hear("aaaa1 NO no\r\n");
    desk.client.call(Login::new("joe", Secret::from("hunter2\u{e9}"))).unwrap();
    desk.hear("+ go on\r\n");
    desk.hear("aaaa2 OK in\r\n");
    desk.client.call(Noop).unwrap();
    let lines = lines.lock().unwrap();
    assert!(!lines.contains("hunter2") && !lines.contains("aHVudGVy"), "{lines}");
    assert!(lines.contains("C: aaaa3 NOOP"), "{lines}");
    assert!(lines.contains("S: aaaa2 OK in"), "{lines}");
}
