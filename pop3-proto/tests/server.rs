//! The server's limits, times and bodies, one by one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::time::Duration;

use bytes::{Buf, Bytes};
use common::{desk::Desk, number, server_config};
use mailwright_line_proto::{Closed, Deadline, Gone, Machine, Misuse, Wait};
use mailwright_pop3_proto::{
    Maildrop, UniqueId,
    server::{BodyWanted, Event},
};

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
fn every_command_and_every_answer_begins_the_idle_time_anew() {
    let mut desk = Desk::logged_in();
    for input in ["NOOP\r\n", "LIST\r\n", "XYZZY\r\n", "RETR 1\r\n", "RETR 9\r\n"] {
        desk.pass(599);
        desk.say(input);
        assert_eq!(desk.wait().until, Some(desk.now + Duration::from_secs(600)), "{input}");
    }
    desk.input("RETR 1\r\n");
    let event = desk.event();
    desk.pass(100);
    desk.server.decline(event);
    assert_eq!(desk.wait().until, Some(desk.now + Duration::from_secs(600)));
    desk.input("RETR 1\r\n");
    drop(desk.event());
    desk.pass(240);
    assert_eq!(desk.wait().until, Some(desk.now + Duration::from_secs(600)));
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
fn a_body_that_stops_closes_the_connection() {
    for silent in [true, false] {
        let mut desk = Desk::logged_in();
        desk.input("RETR 1\r\n");
        let Event::Read(ask) = desk.event() else { panic!() };
        desk.server.answer(ask, Ok(())).unwrap();
        assert_eq!(desk.server.send_body("half\r\n".into()), Ok(BodyWanted::More));
        assert!(!desk.wait().read);
        if silent {
            desk.pass(240)
        } else {
            desk.server.abort_body()
        }
        desk.closes(&Closed::TimedOut(Deadline::Body), "+OK 120 octets\r\nhalf\r\n");
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
