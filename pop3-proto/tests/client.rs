//! The client against servers that are slow, wrong or hostile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use common::{caller::Caller, client_config, number};
use mailwright_line_proto::{
    Authenticate, Closed, Deadline, Layer, Login, Machine, Misuse, Output, PeerMisbehaved, Secret, Shutdown,
    TlsInfo, Trace, Traced, Wait,
};
use mailwright_pop3_proto::{
    Capa, Capability, Dele, List, Noop, Quit, Retr, Rset, Stat, Stls, Top, Uidl,
    client::{Config, Event},
};

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
        let why = Caller::new(client_config()).closes(garbage);
        assert!(matches!(misbehaved(&why), PeerMisbehaved::BadReply { .. }), "{garbage:?}");
    }
    let why = Caller::new(client_config()).closes("-ERR [SYS/TEMP] too busy\r\n");
    assert_eq!(why, Closed::Refused("[SYS/TEMP] too busy".to_owned()));
    let PeerMisbehaved::BadReply { received, .. } =
        misbehaved(&Caller::new(client_config()).closes(&format!("{}\r\n", "\u{7}".repeat(500)))).clone()
    else {
        panic!()
    };
    assert_eq!(received.len(), 128);
}

#[test]
fn an_over_long_capability_is_skipped() {
    let mut desk = Caller::greeted(client_config());
    desk.client.call(Capa).unwrap();
    let events = desk.hear(&format!("+OK\r\nUIDL\r\nX-LONG {}\r\nTOP\r\n.\r\n", "x".repeat(9000)));
    let [Event::Capa(_, Ok(offered))] = &events[..] else { panic!("{events:?}") };
    assert_eq!(offered.iter().cloned().collect::<Vec<_>>(), [Capability::Uidl, Capability::Top]);
    assert_eq!(desk.client.capabilities(), Some(offered));
}

#[test]
fn entries_that_are_none_close() {
    for (uidl, lines) in
        [(false, "+OK\r\nx y\r\n"), (false, "+OK\r\n0 1\r\n"), (true, "+OK\r\n1\r\n"), (true, "+OK\r\n\r\n")]
    {
        let mut desk = Caller::logged_in();
        if uidl {
            desk.client.call(Uidl(None)).unwrap();
        } else {
            desk.client.call(List(None)).unwrap();
        }
        let why = desk.closes(lines);
        assert!(matches!(misbehaved(&why), PeerMisbehaved::BadReply { .. }), "{lines:?}");
    }
    let mut desk = Caller::logged_in();
    desk.client.call(List(Some(number(1)))).unwrap();
    assert!(matches!(misbehaved(&desk.closes("+OK\r\n")), PeerMisbehaved::BadReply { .. }));
    let mut desk = Caller::logged_in();
    desk.client.call(Stat).unwrap();
    assert!(matches!(misbehaved(&desk.closes("+OK lots\r\n")), PeerMisbehaved::BadReply { .. }));
}

#[test]
fn an_endless_message_can_be_given_up() {
    let mut desk = Caller::logged_in();
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
    let mut desk = Caller::logged_in();
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
    let mut desk = Caller::greeted(client_config());
    desk.client.call(Stls).unwrap();
    let why = desk.closes("+OK begin\r\n+OK injected\r\n");
    assert_eq!(misbehaved(&why), &PeerMisbehaved::PlaintextBehindTls);
}

#[test]
fn tls_forgets_what_was_offered() {
    let mut desk = Caller::greeted(Config::default());
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
        let mut desk = Caller::new(client_config());
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
    let mut desk = Caller::greeted(client_config());
    desk.client.call(Capa).unwrap();
    assert_eq!(desk.client.call(Stls), Err(Misuse::Busy));
    desk.hear("+OK\r\nTOP\r\n.\r\n");
    assert_eq!(desk.client.call(Stls), Err(Misuse::NotOffered("STLS")));
}

#[test]
fn no_login_leaves_without_tls() {
    let mut desk = Caller::greeted(Config::default());
    desk.client.call(Capa).unwrap();
    desk.hear("+OK\r\nSASL PLAIN\r\nUSER\r\n.\r\n");
    desk.sent();
    let login = Login::new("a", Secret::from("b"));
    assert!(matches!(
        desk.client.call(login),
        Err(Misuse::WrongState { state: "without TLS, unless `allow_plaintext_auth` is set", .. })
    ));
    let plain = Authenticate::new("PLAIN".to_owned(), None);
    assert!(matches!(
        desk.client.call(plain),
        Err(Misuse::WrongState { state: "without TLS, unless `allow_plaintext_auth` is set", .. })
    ));
    assert_eq!(desk.sent(), "");
}

#[test]
fn what_would_break_the_line_is_not_sent() {
    let mut desk = Caller::greeted(client_config());
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
    let mut desk = Caller::new(client_config());
    assert!(matches!(desk.client.call(Capa), Err(Misuse::WrongState { state: "before the greeting", .. })));
    let mut desk = Caller::greeted(client_config());
    assert!(matches!(desk.client.call(Stat), Err(Misuse::WrongState { state: "before login", .. })));
    assert!(matches!(desk.client.call(Rset), Err(Misuse::WrongState { .. })));
    let mut desk = Caller::logged_in();
    let login = Login::new("a", Secret::from("b"));
    assert!(matches!(desk.client.call(login), Err(Misuse::WrongState { state: "after login", .. })));
    desk.client.call(Dele(number(1))).unwrap();
    assert_eq!(desk.client.call(Quit), Err(Misuse::Busy));
}

#[test]
fn pipelining_is_bounded_and_in_order() {
    let mut desk = Caller::greeted(client_config());
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
    let mut desk = Caller::greeted(client_config());
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
    let mut desk = Caller::logged_in();
    assert!(matches!(misbehaved(&desk.closes("+OK surprise\r\n")), PeerMisbehaved::Unsolicited { .. }));
    let mut desk = Caller::greeted(client_config());
    desk.client.call(Authenticate::new("X".to_owned(), None)).unwrap();
    assert!(matches!(desk.hear("+ \r\n")[..], [Event::Challenge(..)]));
    // No response was sent yet, so this is no answer to it.
    assert!(matches!(misbehaved(&desk.closes("+OK in you are\r\n")), PeerMisbehaved::Unsolicited { .. }));
    let mut desk = Caller::logged_in();
    desk.client.call(Noop).unwrap();
    assert!(matches!(misbehaved(&desk.closes("+ challenge\r\n")), PeerMisbehaved::BadReply { .. }));
    let mut desk = Caller::greeted(client_config());
    desk.client.call(Authenticate::new("X".to_owned(), None)).unwrap();
    assert!(matches!(misbehaved(&desk.closes("+ !!!\r\n")), PeerMisbehaved::BadReply { .. }));
}

#[test]
fn a_login_granted_behind_a_refused_user_is_not_believed() {
    let mut desk = Caller::greeted(client_config());
    desk.client.call(Capa).unwrap();
    desk.hear("+OK\r\nPIPELINING\r\n.\r\n");
    desk.client.call(Login::new("a", Secret::from("b"))).unwrap();
    assert!(matches!(misbehaved(&desk.closes("-ERR\r\n+OK\r\n")), PeerMisbehaved::BadReply { .. }));
}

#[test]
fn a_challenge_wants_a_response_or_a_cancel() {
    let mut desk = Caller::greeted(client_config());
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
    let mut desk = Caller::new(client_config());
    assert_eq!(desk.wait().until, Some(desk.now + Duration::from_secs(300)));
    desk.pass(300);
    assert_eq!(desk.closes(""), Closed::TimedOut(Deadline::Greeting));

    let mut desk = Caller::logged_in();
    desk.pass(10_000);
    assert_eq!(desk.wait(), Wait { read: true, until: None });
    desk.client.call(Stat).unwrap();
    assert_eq!(desk.wait().until, Some(desk.now + Duration::from_secs(600)));
    desk.pass(599);
    desk.hear("+O");
    desk.pass(1);
    assert_eq!(desk.closes(""), Closed::TimedOut(Deadline::Reply));

    let mut desk = Caller::logged_in();
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
        let mut desk = Caller::new(client_config());
        desk.hear(input);
        desk.client.handle_eof();
        assert_eq!(desk.closes(""), Closed::Eof, "{input:?}");
    }
    let mut desk = Caller::logged_in();
    desk.client.call(Quit).unwrap();
    desk.client.handle_eof();
    // Whether the server deleted anything is not known.
    assert_eq!(desk.closes(""), Closed::Eof);
    let mut desk = Caller::greeted(client_config());
    desk.client.call(Stls).unwrap();
    desk.hear("+OK\r\n");
    desk.client.handle_eof();
    assert_eq!(desk.closes(""), Closed::Eof);
}

#[test]
fn the_trace_shows_no_secret() {
    let seen = Arc::new(Mutex::new(String::new()));
    let sink = Arc::clone(&seen);
    let mut desk = Caller::greeted(client_config());
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
