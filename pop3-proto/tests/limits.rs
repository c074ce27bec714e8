//! Every limit of both machines one below, at and one above it, every deadline the moment before and when it passes,
//! all with their defaults unless those are too large to reach.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::time::Duration;

use bytes::{Buf, Bytes};
use common::{caller::Caller, client_config, desk::Desk, number, server_config};
use mailwright_line_proto::{
    AuthStep, Authenticate, Closed, Deadline, Limits, Login, Machine, Misuse, PeerMisbehaved, Secret,
    Timeouts, Wait,
};
use mailwright_pop3_proto::{
    Capa, List, Noop, Retr, Stat, Uidl,
    client::{self, Event},
    server::{self, Event as Asked},
};

const TICK: Duration = Duration::from_nanos(1);

fn misbehaved(why: PeerMisbehaved) -> Closed {
    Closed::Misbehaved(why)
}

#[test]
fn the_defaults_are_those_of_pop3() {
    let (server, client) = (server::Config::default(), client::Config::default());
    assert_eq!((&server.limits, &server.timeouts), (&Limits::pop3(), &Timeouts::pop3()));
    assert_eq!((client.limits.line, client.limits.in_flight), (8192, 32));
    assert_eq!((client.body, client.listing, client.capabilities), (256 << 20, 1_000_000, 128));
    assert_eq!(client.timeouts, Timeouts::pop3());
}

// The server.

#[test]
fn command_lines_have_a_limit() {
    for (length, fits) in [(1023, true), (1024, true), (1025, false)] {
        let reply =
            |fine: &str| if fits { format!("{fine}\r\n") } else { "-ERR the line is too long\r\n".into() };
        let mut desk = Desk::new(server_config());
        assert_eq!(
            desk.say(&format!("USER {}\r\n", "u".repeat(length - 7))),
            reply("+OK password?"),
            "{length}"
        );
        desk.log_in();
        assert_eq!(
            desk.say(&format!("{}\r\n", "u".repeat(length - 2))),
            reply("-ERR unknown command"),
            "{length}"
        );
        assert_eq!(desk.say("NOOP\r\n"), "+OK\r\n", "the session is in step");
    }
}

#[test]
fn the_limits_before_and_after_login_are_two() {
    let mut config = server_config();
    (config.limits.line_before_login, config.limits.line) = (100, 50);
    let mut desk = Desk::new(config);
    assert_eq!(desk.say(&format!("USER {}\r\n", "u".repeat(60))), "+OK password?\r\n");
    desk.log_in();
    assert_eq!(desk.say(&format!("USER {}\r\n", "u".repeat(60))), "-ERR the line is too long\r\n");
}

#[test]
fn lines_of_an_exchange_have_the_room_of_access_tokens() {
    for (length, fits) in [(12_287, true), (12_288, true), (12_289, false)] {
        let mut desk = Desk::new(server_config());
        let reply = desk.say(&format!("auth PLAIN {}\r\n", "A".repeat(length - 13)));
        assert_eq!(reply == "-ERR the line is too long\r\n", !fits, "{length}: {reply}");
        assert_eq!(desk.say("AUTH PLAIN\r\n"), "+ \r\n");
        let reply = desk.say(&format!("{}\r\n", "A".repeat(length - 2)));
        assert_eq!(reply == "-ERR the response is too long\r\n", !fits, "{length}: {reply}");
    }
}

#[test]
fn a_line_may_be_skipped_for_so_long() {
    for (length, ends) in [(65_535, false), (65_536, false), (65_537, true)] {
        let mut desk = Desk::new(server_config());
        // In pieces: one that comes whole has its end already.
        for piece in "x".repeat(length).as_bytes().chunks(1000) {
            desk.input(str::from_utf8(piece).unwrap());
            let polled = desk.poll();
            assert!(desk.rx.len() <= 1024, "{} octets are held", desk.rx.len());
            assert_eq!(matches!(polled, mailwright_line_proto::Output::Event(_)), ends && piece.len() < 1000);
        }
        if ends {
            assert_eq!(desk.sent(), "-ERR the line is too long\r\n");
        } else {
            assert_eq!(
                desk.say("\r\nNOOP\r\n"),
                "-ERR the line is too long\r\n-ERR NOOP is not allowed before login\r\n"
            );
        }
    }
}

#[test]
fn bad_commands_have_a_limit() {
    let mut desk = Desk::new(server_config());
    for _ in 0..20 {
        assert_eq!(desk.say("XYZZY\r\n"), "-ERR unknown command\r\n");
    }
    assert_eq!(desk.say("CAPA\r\n").lines().last(), Some("."));
    desk.input("XYZZY\r\nNOOP\r\n");
    desk.closes(&misbehaved(PeerMisbehaved::TooManyErrors { limit: 20 }), "-ERR unknown command\r\n");
}

#[test]
fn bad_commands_are_forgotten_behind_what_goes_well() {
    let mut desk = Desk::logged_in();
    for _ in 0..100 {
        assert_eq!(desk.say("XYZZY\r\nNOOP\r\n"), "-ERR unknown command\r\n+OK\r\n");
    }
    // What is refused does not go well.
    for _ in 0..20 {
        assert!(desk.say("XYZZY\r\nDELE 99\r\n").starts_with("-ERR unknown command\r\n-ERR "));
    }
    desk.input("XYZZY\r\nNOOP\r\n");
    desk.closes(&misbehaved(PeerMisbehaved::TooManyErrors { limit: 20 }), "-ERR unknown command\r\n");
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
    let why = misbehaved(PeerMisbehaved::TooManyLogins { limit: 5 });
    desk.closes(&why, "+OK password?\r\n-ERR [AUTH] authentication failed\r\n");
}

#[test]
fn commands_wait_once_so_much_waits_to_be_sent() {
    for (limit, replies) in [(9, 2), (10, 2), (11, 3)] {
        let mut config = server_config();
        config.limits.transmit = limit;
        let mut desk = Desk::new(config);
        for line in ["USER a\r\n", "PASS tanstaaf\r\n"] {
            desk.say(line);
        }
        desk.say("");
        desk.input(&"NOOP\r\n".repeat(10));
        assert!(!desk.wait().read);
        assert_eq!(desk.sent(), "+OK\r\n".repeat(replies), "{limit}");
    }
}

#[test]
fn an_exchange_waits_too_once_so_much_waits_to_be_sent() {
    let mut config = server_config();
    config.limits.transmit = 4;
    let mut desk = Desk::new(config);
    desk.say("");
    desk.input("AUTH PLAIN\r\n*\r\nNOOP\r\n");
    let Asked::Authenticate(ask) = desk.event() else { panic!() };
    desk.server.answer(ask, AuthStep::Challenge(Bytes::new())).unwrap();
    assert!(!desk.wait().read);
    assert_eq!(desk.sent(), "+ \r\n");
    assert!(!desk.wait().read);
    assert!(desk.sent().starts_with("-ERR "));
}

#[test]
fn the_login_has_a_deadline_that_nothing_moves() {
    let mut desk = Desk::new(server_config());
    let until = desk.now + Duration::from_secs(60);
    desk.pass(30);
    // Neither commands nor half of an exchange win time.
    desk.say("CAPA\r\nAUTH PLAIN\r\n");
    assert_eq!(desk.wait(), Wait { read: true, until: Some(until) });
    desk.now = until - TICK;
    assert_eq!(desk.wait(), Wait { read: true, until: Some(until) });
    desk.now = until;
    desk.closes(&Closed::TimedOut(Deadline::Login), "");
}

#[test]
fn an_idle_session_has_a_deadline_and_deletes_nothing() {
    let mut desk = Desk::logged_in();
    desk.say("DELE 1\r\n");
    let until = desk.now + Duration::from_secs(600);
    desk.now = until - TICK;
    desk.input("NO");
    assert_eq!(desk.wait().until, Some(until));
    desk.now = until;
    desk.closes(&Closed::TimedOut(Deadline::Command), "");
}

#[test]
fn answers_and_bodies_of_ours_have_a_deadline() {
    let mut desk = Desk::logged_in();
    desk.input("RETR 1\r\n");
    let Asked::Read(ask) = desk.event() else { panic!() };
    let until = desk.now + Duration::from_secs(240);
    desk.now = until - TICK;
    assert_eq!(desk.wait(), Wait { read: false, until: Some(until) });
    desk.server.answer(ask, Ok(())).unwrap();
    let until = desk.now + Duration::from_secs(240);
    assert_eq!(desk.wait(), Wait { read: false, until: Some(until) });
    desk.now = until - TICK;
    assert_eq!(desk.wait(), Wait { read: false, until: Some(until) });
    desk.now = until;
    desk.closes(&Closed::TimedOut(Deadline::Body), "+OK 120 octets\r\n");
    let mut desk = Desk::logged_in();
    desk.input("RETR 1\r\n");
    drop(desk.event());
    desk.pass(240);
    assert_eq!(desk.say(""), "-ERR [SYS/TEMP] temporary failure, try again later\r\n");
}

#[test]
fn a_reader_that_takes_nothing_has_a_deadline() {
    let mut config = server_config();
    config.limits.transmit = 100;
    let mut desk = Desk::new(config);
    desk.log_in();
    desk.input(&"NOOP\r\n".repeat(100));
    let until = desk.now + Duration::from_secs(60);
    assert_eq!(desk.wait(), Wait { read: false, until: Some(until) });
    desk.now = until - TICK;
    // One octet is life enough.
    desk.server.transmit().advance(1);
    let _ = desk.wait();
    let until = desk.now + Duration::from_secs(60);
    desk.now = until - TICK;
    assert_eq!(desk.wait().until, Some(until));
    desk.now = until;
    desk.closes(&Closed::TimedOut(Deadline::Write), "");
}

// The client.

#[test]
fn reply_lines_are_bounded() {
    for (length, fits) in [(8191, true), (8192, true), (8193, false)] {
        let mut desk = Caller::logged_in();
        desk.client.call(Noop).unwrap();
        let line = format!("+OK {}\r\n", "x".repeat(length - 6));
        let events = desk.hear(&line);
        assert_eq!(matches!(events[..], [Event::Noop(_, Ok(()))]), fits, "{length}: {events:?}");
        assert_eq!(matches!(events[..], [Event::Closed(_)]), !fits, "{length}: {events:?}");
    }
    for (length, ends) in [(65_535, false), (65_536, false), (65_537, true)] {
        let mut desk = Caller::new(client_config());
        let mut closed = None;
        for piece in "x".repeat(length).as_bytes().chunks(1000) {
            closed = desk.hear(str::from_utf8(piece).unwrap()).pop();
            assert!(desk.rx.len() <= 8192);
        }
        let why = Event::Closed(misbehaved(PeerMisbehaved::Endless { limit: 64 * 1024 }));
        assert_eq!(closed, ends.then_some(why), "{length}");
    }
}

#[test]
fn capabilities_are_bounded() {
    for (count, kept) in [(127, 127), (128, 128), (129, 128), (5000, 128)] {
        let mut desk = Caller::greeted(client_config());
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
        let mut desk = Caller::logged_in_with(config);
        desk.client.call(List(None)).unwrap();
        let lines = (1..=count).map(|number| format!("{number} 5\r\n")).collect::<String>();
        let events = desk.hear(&format!("+OK\r\n{lines}.\r\n"));
        match events.last() {
            Some(Event::List(_, Ok(found))) => assert_eq!((*found, fits), (count, true)),
            Some(Event::Closed(why)) => {
                assert!(!fits);
                assert_eq!(*why, misbehaved(PeerMisbehaved::Endless { limit: 10 }));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_message_longer_than_allowed_closes() {
    // What LIST said does not matter: 1 octet was promised.
    for (length, fits) in [(999, true), (1000, true), (1001, false)] {
        let mut config = client_config();
        config.body = 1000;
        let mut desk = Caller::logged_in_with(config);
        desk.client.call(Retr(number(1))).unwrap();
        let events = desk.hear(&format!("+OK 1 octets\r\n{}\r\n.\r\n", "x".repeat(length - 2)));
        match events.last() {
            Some(Event::BodyEnd) => assert!(fits, "{length}"),
            Some(Event::Closed(why)) => {
                assert!(!fits, "{length}");
                assert_eq!(*why, misbehaved(PeerMisbehaved::Endless { limit: 1000 }));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn challenges_have_the_room_of_an_exchange() {
    for (length, fits) in [(12_287, true), (12_288, true), (12_289, false)] {
        let mut desk = Caller::greeted(client_config());
        desk.client.call(Authenticate::new("X".to_owned(), None)).unwrap();
        // Base64 of a wrong length is found wrong, if it is read at all.
        let events = desk.hear(&format!("+ {}\r\n", "A".repeat(length - 4)));
        let [Event::Closed(Closed::Misbehaved(PeerMisbehaved::BadReply { expected, .. }))] = &events[..]
        else {
            assert!(
                fits && length % 4 == 0 && matches!(events[..], [Event::Challenge(..)]),
                "{length}: {events:?}"
            );
            continue;
        };
        assert_eq!(
            *expected,
            if fits { "a challenge in Base64" } else { "a line within the limit" },
            "{length}"
        );
    }
}

#[test]
fn commands_of_ours_have_the_limit_of_an_exchange() {
    for (length, fits) in [(12_287, true), (12_288, true), (12_289, false)] {
        let mut desk = Caller::greeted(client_config());
        let called = desk.client.call(Login::new("u".repeat(length - 5), Secret::from("p")));
        assert_eq!(called.is_ok(), fits, "{length}: {called:?}");
    }
}

#[test]
fn calls_in_flight_have_a_limit() {
    for limit in 1..=3 {
        let mut config = client_config();
        config.limits.in_flight = limit;
        let mut desk = Caller::greeted(config);
        desk.client.call(Capa).unwrap();
        desk.hear("+OK\r\nPIPELINING\r\n.\r\n");
        desk.client.call(Login::new("a", Secret::from("b"))).unwrap();
        desk.hear("+OK\r\n+OK\r\n");
        for _ in 0..limit {
            desk.client.call(Noop).unwrap();
        }
        assert_eq!(desk.client.call(Stat), Err(Misuse::Busy), "{limit}");
        desk.hear("+OK\r\n");
        assert!(desk.client.call(Stat).is_ok());
    }
}

#[test]
fn every_wait_of_a_client_has_its_deadline() {
    let minutes = |count: u64| Duration::from_secs(60 * count);
    for (case, patience, deadline) in [
        ("STAT", minutes(10), Deadline::Reply),
        ("UIDL 1", minutes(10), Deadline::Reply),
        ("RETR 1", minutes(3), Deadline::Body),
        ("LIST", minutes(3), Deadline::Body),
    ] {
        let mut desk = Caller::logged_in();
        match case {
            "STAT" => desk.client.call(Stat).map(|_| ()).unwrap(),
            "UIDL 1" => desk.client.call(Uidl(Some(number(1)))).map(|_| ()).unwrap(),
            "RETR 1" => desk.client.call(Retr(number(1))).map(|_| ()).unwrap(),
            _ => desk.client.call(List(None)).map(|_| ()).unwrap(),
        }
        match deadline {
            Deadline::Body => drop(desk.hear("+OK\r\n1 2\r\n")),
            _ => drop(desk.hear("+O")),
        }
        let until = desk.now + patience;
        assert_eq!(desk.wait(), Wait { read: true, until: Some(until) });
        desk.now = until - TICK;
        assert_eq!(desk.wait(), Wait { read: true, until: Some(until) });
        desk.now = until;
        assert_eq!(desk.closes(""), Closed::TimedOut(deadline));
    }
    let mut desk = Caller::new(client_config());
    let until = desk.now + minutes(5);
    desk.now = until - TICK;
    assert_eq!(desk.wait(), Wait { read: true, until: Some(desk.now + minutes(5)) }, "since the first poll");
    desk.now += minutes(5);
    assert_eq!(desk.closes(""), Closed::TimedOut(Deadline::Greeting));
}
