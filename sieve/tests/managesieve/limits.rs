//! Every limit of both machines one below, at and one above it, every deadline the moment before and when it passes.

use std::time::Duration;

use bytes::Buf;
use mailwright_line_proto::{Closed, Deadline, Limits, Machine, Misuse, PeerMisbehaved, Timeouts, Wait};
use mailwright_sieve::managesieve::{
    Capability, GetScript, ListScripts, Noop, PutScript, SetActive,
    client::{self, Event},
    server,
};

use crate::{
    machines::{Caller, Desk},
    subjects::{client_config, server_config},
};

const TICK: Duration = Duration::from_nanos(1);
const MINUTE: Duration = Duration::from_secs(60);

fn endless(limit: u64) -> Closed {
    Closed::Misbehaved(PeerMisbehaved::Endless { limit })
}

#[test]
fn the_defaults_are_those_of_managesieve() {
    let (server, client) = (server::Config::default(), client::Config::default());
    assert_eq!((&server.limits, &server.timeouts), (&Limits::managesieve(), &Timeouts::managesieve()));
    assert_eq!((server.script, client.script), (1 << 20, 64 << 20));
    assert_eq!((client.limits.literal, client.limits.in_flight, client.listing), (65_536, 32, 10_000));
}

#[test]
fn command_lines_have_a_limit() {
    for logged_in in [false, true] {
        for (length, fits) in [(8191, true), (8192, true), (8193, false)] {
            let mut desk = if logged_in { Desk::logged_in() } else { Desk::new(server_config()) };
            let line = format!("{}\r\n", "X".repeat(length - 2));
            if fits {
                assert_eq!(desk.say(&line), "NO \"unknown command\"\r\n", "{length}");
            } else {
                let last = "BYE \"the line is too long, or its literal is\"\r\n";
                desk.closes(&line, &endless(8192), last);
            }
        }
    }
}

#[test]
fn lines_of_an_exchange_have_a_limit_of_their_own() {
    for (length, fits) in [(12_287, true), (12_288, true), (12_289, false)] {
        let mut desk = Desk::new(server_config());
        desk.say("AUTHENTICATE \"PLAIN\"\r\n");
        let line = format!("{}\r\n", "X".repeat(length - 2));
        if fits {
            assert_eq!(desk.say(&line), "NO \"malformed authentication response\"\r\n", "{length}");
        } else {
            let last = "BYE \"the line is too long, or its literal is\"\r\n";
            desk.closes(&line, &endless(12_288), last);
        }
        let mut desk = Desk::new(server_config());
        desk.say("AUTHENTICATE \"PLAIN\"\r\n");
        let reply = desk.say(&format!("{{{length}+}}\r\n{}\r\nNOOP\r\n", "!".repeat(length)));
        let wrong = if fits { "malformed authentication response" } else { "the literal is too long" };
        assert_eq!(reply, format!("NO \"{wrong}\"\r\nOK \"done\"\r\n"), "{length}");
    }
}

#[test]
fn literals_have_a_limit_alone_and_together() {
    for (length, fits) in [(12_287, true), (12_288, true), (12_289, false)] {
        let mut desk = Desk::new(server_config());
        let reply = desk.say(&format!("NOOP {{{length}+}}\r\n{}\r\nNOOP\r\n", "x".repeat(length)));
        assert_eq!(reply.starts_with("OK (TAG"), fits, "{length}");
        assert_eq!(reply.starts_with("NO \"the literal is too long\"\r\nOK"), !fits, "{length}");
    }
    for (limit, fits) in [(33, false), (34, true), (35, true)] {
        let mut config = server_config();
        config.limits.command = limit;
        let mut desk = Desk::new(config);
        // The first line and its literal have 10 octets each, the second line 5 and its literal 9.
        let reply = desk.say("NOOP {10+}\r\n123456789a {9+}\r\n123456789 now\r\n");
        let wrong = if fits { "expected NOOP [tag]" } else { "the literal is too long" };
        assert_eq!(reply, format!("NO \"{wrong}\"\r\n"), "{limit}");
    }
}

#[test]
fn a_strangers_literal_is_skipped_for_so_long() {
    for (length, closes) in [(65_535, false), (65_536, false), (65_537, true)] {
        let mut desk = Desk::new(server_config());
        let head = format!("PUTSCRIPT \"a\" {{{length}+}}\r\n");
        if closes {
            desk.closes(&head, &endless(65_536), "BYE \"the literal is too long\"\r\n");
        } else {
            let reply = desk.say(&format!("{head}{}\r\n", "x".repeat(length)));
            assert_eq!(reply, "NO \"PUTSCRIPT is not allowed before login\"\r\n");
        }
    }
    for (length, last) in [(u64::from(u32::MAX) + 1, "BYE"), (u64::MAX, "BYE")] {
        let mut desk = Desk::logged_in();
        let limit = u32::MAX.into();
        let last = format!("{last} \"the literal is too long\"\r\n");
        desk.closes(&format!("NOOP {{{length}+}}\r\n"), &endless(limit), &last);
    }
}

#[test]
fn scripts_have_a_limit_and_are_passed_over_beyond_it() {
    for (length, fits) in [(99, true), (100, true), (101, false)] {
        let mut config = server_config();
        config.script = 100;
        let mut desk = Desk::logged_in_with(config);
        let too_large =
            format!("NO (QUOTA/MAXSIZE) \"a script has at most 100 octets, this one has {length}\"\r\n");
        let expected = if fits { "OK\r\n" } else { &too_large };
        assert_eq!(desk.say(&format!("HAVESPACE \"a\" {length}\r\n")), expected);
        let script = "#".repeat(length);
        assert_eq!(desk.say(&format!("PUTSCRIPT \"a\" {{{length}+}}\r\n{script}\r\n")), expected);
        assert_eq!(desk.say(&format!("PUTSCRIPT \"a\" \"{script}\"\r\n")), expected);
        assert_eq!(
            desk.say(&format!("CHECKSCRIPT {{{length}+}}\r\n{script}\r\nNOOP\r\n")),
            format!("{expected}OK \"done\"\r\n")
        );
    }
}

#[test]
fn bad_commands_and_failed_logins_have_a_limit() {
    let mut desk = Desk::new(server_config());
    for _ in 0..20 {
        assert_eq!(desk.say("XYZZY\r\n"), "NO \"unknown command\"\r\n");
    }
    let why = Closed::Misbehaved(PeerMisbehaved::TooManyErrors { limit: 20 });
    desk.closes("XYZZY\r\nNOOP\r\n", &why, "BYE \"too many bad commands\"\r\n");
    let mut desk = Desk::new(server_config());
    for attempt in
        ["\"PLAIN\" \"eA==\"", "\"PLAIN\" \"!\"", "\"PLAIN\"\r\n\"*\"", "\"PLAIN\"\r\n!", "\"PLAIN\" \"\""]
    {
        assert!(desk.say(&format!("AUTHENTICATE {attempt}\r\n")).contains("NO \""), "{attempt}");
    }
    let why = Closed::Misbehaved(PeerMisbehaved::TooManyLogins { limit: 5 });
    desk.closes("AUTHENTICATE \"PLAIN\" \"eA==\"\r\n", &why, "BYE \"too many failed logins\"\r\n");
}

#[test]
fn bad_commands_are_forgotten_behind_what_goes_well() {
    let mut desk = Desk::logged_in();
    for _ in 0..100 {
        assert_eq!(desk.say("XYZZY\r\nNOOP\r\n"), "NO \"unknown command\"\r\nOK \"done\"\r\n");
    }
    // What is refused does not go well.
    for _ in 0..20 {
        assert!(desk.say("XYZZY\r\nGETSCRIPT \"none\"\r\n").starts_with("NO \"unknown command\"\r\nNO "));
    }
    let why = Closed::Misbehaved(PeerMisbehaved::TooManyErrors { limit: 20 });
    desk.closes("XYZZY\r\nNOOP\r\n", &why, "BYE \"too many bad commands\"\r\n");
    // Nor does anything before the login.
    let mut desk = Desk::new(server_config());
    for _ in 0..20 {
        assert_eq!(desk.say("XYZZY\r\nNOOP\r\n"), "NO \"unknown command\"\r\nOK \"done\"\r\n");
    }
    desk.closes("XYZZY\r\nNOOP\r\n", &why, "BYE \"too many bad commands\"\r\n");
}

#[test]
fn commands_wait_once_so_much_waits_to_be_sent() {
    for (limit, replies) in [(21, 2), (22, 2), (23, 3)] {
        let mut config = server_config();
        config.limits.transmit = limit;
        let mut desk = Desk::silent(config);
        let _ = desk.wait();
        desk.sent();
        desk.rx.extend_from_slice("NOOP\r\n".repeat(10).as_bytes());
        assert!(!desk.wait().read);
        assert_eq!(desk.sent(), "OK \"done\"\r\n".repeat(replies), "{limit}");
    }
}

#[test]
fn every_wait_of_the_server_has_its_deadline() {
    let silence = "BYE (TRYLATER) \"you were silent for too long\"\r\n";
    for (begin, patience, deadline) in [
        ("", 30 * MINUTE, Deadline::Command),
        ("PUTSCRIPT \"a\" {5+}\r\nke", 3 * MINUTE, Deadline::Body),
        ("PUTSCRIPT \"a\" {5+}\r\nkeep;", 3 * MINUTE, Deadline::Body),
        ("NOOP {5+}\r\nke", 30 * MINUTE, Deadline::Command),
    ] {
        let mut desk = Desk::logged_in();
        desk.say(begin);
        let until = desk.now + patience;
        assert_eq!(desk.wait(), Wait { read: true, until: Some(until) }, "{begin}");
        desk.now = until - TICK;
        assert_eq!(desk.wait(), Wait { read: true, until: Some(until) }, "{begin}");
        desk.now = until;
        desk.closes("", &Closed::TimedOut(deadline), silence);
    }
    let mut desk = Desk::new(server_config());
    let until = desk.now + MINUTE;
    desk.now = until - TICK;
    assert_eq!(desk.say("NOOP\r\n"), "OK \"done\"\r\n");
    assert_eq!(desk.wait().until, Some(until));
    desk.now = until;
    desk.closes("", &Closed::TimedOut(Deadline::Login), silence);

    let mut desk = Desk::logged_in();
    let server::Event::GetScript(ask) = desk.event("GETSCRIPT \"a\"\r\n") else { panic!() };
    desk.now += 4 * MINUTE - TICK;
    assert!(!desk.wait().read);
    desk.server.answer(ask, Ok(5)).unwrap();
    let until = desk.now + 4 * MINUTE;
    assert_eq!(desk.wait(), Wait { read: false, until: Some(until) });
    desk.now = until;
    desk.closes("", &Closed::TimedOut(Deadline::Body), "{5}\r\n");

    let mut desk = Desk::logged_in();
    desk.rx.extend_from_slice("CAPABILITY\r\n".repeat(3000).as_bytes());
    let until = desk.now + MINUTE;
    assert_eq!(desk.wait(), Wait { read: false, until: Some(until) });
    desk.now = until - TICK;
    desk.server.transmit().advance(1);
    let _ = desk.wait();
    let until = desk.now + MINUTE;
    desk.now = until - TICK;
    assert_eq!(desk.wait().until, Some(until));
    desk.now = until;
    desk.closes("", &Closed::TimedOut(Deadline::Write), "");
}

#[test]
fn every_wait_of_the_client_has_its_deadline() {
    let mut caller = Caller::silent(client_config());
    assert_eq!(caller.wait().until, Some(caller.now + 5 * MINUTE));
    caller.now += 5 * MINUTE - TICK;
    assert!(caller.wait().read);
    caller.now += TICK;
    assert_eq!(caller.closes(""), Closed::TimedOut(Deadline::Greeting));

    for (reply, patience, deadline) in
        [("", 10 * MINUTE, Deadline::Reply), ("{5}\r\nke", 3 * MINUTE, Deadline::Body)]
    {
        let mut caller = Caller::logged_in(client_config());
        assert_eq!(caller.wait().until, None);
        caller.client.call(GetScript { name: "a".parse().unwrap() }).unwrap();
        caller.hear(reply);
        let until = caller.now + patience;
        assert_eq!(caller.wait().until, Some(until));
        caller.now = until - TICK;
        assert_eq!(caller.wait().until, Some(until));
        caller.now = until;
        assert_eq!(caller.closes(""), Closed::TimedOut(deadline));
    }
    // Whoever sends a script is waited for by nobody but the server.
    let mut caller = Caller::logged_in(client_config());
    caller.client.call(PutScript { name: "a".parse().unwrap(), size: 5 }).unwrap();
    assert_eq!(caller.wait().until, None);
}

#[test]
fn what_a_server_sends_has_limits() {
    for (length, fits) in [(8191, true), (8192, true), (8193, false)] {
        let mut caller = Caller::logged_in(client_config());
        let noop = caller.client.call(Noop(None)).unwrap();
        // 1024 octets are all that may be quoted: the rest are atoms of a code.
        let line = format!("OK (X {})\r\n", "x".repeat(length - 9));
        let events = caller.hear(&line);
        let expected = if fits { Event::Noop(noop, Ok(())) } else { Event::Closed(endless(8192)) };
        assert_eq!(events, [expected], "{length}");
    }
    for (length, fits) in [(65_535, true), (65_536, true), (65_537, false)] {
        let mut caller = Caller::logged_in(client_config());
        caller.client.call(SetActive(None)).unwrap();
        let events = caller.hear(&format!("NO {{{length}}}\r\n{}\r\n", "x".repeat(length)));
        assert_eq!(matches!(events[..], [Event::SetActive(_, Err(_))]), fits, "{length}");
        assert_eq!(matches!(&events[..], [Event::Closed(why)] if *why == endless(65_536)), !fits, "{length}");
    }
    let mut small = client_config();
    (small.listing, small.capabilities, small.script) = (10, 10, 10);
    for (count, fits) in [(9, true), (10, true), (11, false)] {
        let mut caller = Caller::logged_in(small.clone());
        caller.client.call(ListScripts).unwrap();
        let events = caller.hear(&format!("{}OK\r\n", "\"a\"\r\n".repeat(count)));
        assert_eq!(matches!(&events[..], [Event::ListScripts(_, Ok(found))] if found.len() == count), fits);
        assert_eq!(matches!(&events[..], [Event::Closed(why)] if *why == endless(10)), !fits);

        let mut caller = Caller::logged_in(small.clone());
        caller.client.call(Capability).unwrap();
        let events = caller.hear(&format!("{}OK\r\n", "\"X\"\r\n".repeat(count)));
        let [Event::Capability(_, Ok(found))] = &events[..] else { panic!("{events:?}") };
        assert_eq!(found.iter().count(), count.min(10));

        for quoted in [false, true] {
            let mut caller = Caller::logged_in(small.clone());
            caller.client.call(GetScript { name: "a".parse().unwrap() }).unwrap();
            let script = "x".repeat(count);
            let events = caller.hear(&if quoted {
                format!("\"{script}\"\r\nOK\r\n")
            } else {
                format!("{{{count}}}\r\n{script}\r\nOK\r\n")
            });
            assert_eq!(events.last(), Some(&if fits { Event::BodyEnd } else { Event::Closed(endless(10)) }));
        }
    }
    for limit in 1..=3 {
        let mut config = client_config();
        config.limits.in_flight = limit;
        let mut caller = Caller::logged_in(config);
        for _ in 0..limit {
            caller.client.call(Noop(None)).unwrap();
        }
        assert_eq!(caller.client.call(Noop(None)), Err(Misuse::Busy));
        caller.hear("OK\r\n");
        assert!(caller.client.call(Noop(None)).is_ok());
    }
    for (length, fits) in [(1023, true), (1024, true), (1025, false)] {
        let mut caller = Caller::logged_in(client_config());
        assert_eq!(caller.client.call(Noop(Some("x".repeat(length)))).is_ok(), fits);
    }
}
