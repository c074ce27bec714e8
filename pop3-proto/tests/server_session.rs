//! How the server's sessions begin and end: TLS, logins, refusals, farewells.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::sync::{Arc, Mutex};

use common::{desk::Desk, server_config};
use mailwright_line_proto::{
    Ask, AuthStep, Closed, Gone, Layer, Login, Machine, Output, PeerMisbehaved, Secret, Shutdown, Trace,
    Traced, testing::simulated_tls,
};
use mailwright_pop3_proto::{
    Refusal, ResponseCode, Text,
    server::{Config, Event},
};

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
    desk.server.handle_tls(simulated_tls());
    assert!(desk.server.tls().is_some());
    let offered = desk.say("CAPA\r\n");
    assert!(!offered.contains("STLS") && offered.contains("SASL PLAIN X-TWO X-TWO-PLUS\r\n"), "{offered}");
    desk.log_in();
}

#[test]
fn a_name_given_before_tls_or_an_exchange_is_forgotten() {
    let first = "-ERR USER comes first\r\n";
    let mut desk = Desk::new(server_config());
    desk.say("USER mrose\r\n");
    desk.input("STLS\r\n");
    assert_eq!(desk.poll(), Output::Start(Layer::Tls));
    desk.sent();
    desk.server.handle_tls(simulated_tls());
    assert_eq!(desk.say("PASS tanstaaf\r\n"), first);
    assert!(desk.say("USER mrose\r\nAUTH PLAIN\r\n*\r\nPASS tanstaaf\r\n").ends_with(first));
}

#[test]
fn implicit_tls_comes_before_the_greeting() {
    let mut desk = Desk::silent(server_config());
    assert!(desk.server.transmit().is_empty());
    desk.server.handle_tls(simulated_tls());
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
fn a_failure_of_tls_is_the_reason_of_closing() {
    let why = Closed::Misbehaved(PeerMisbehaved::Tls("bad record".to_owned()));
    let mut desk = Desk::new(server_config());
    desk.input("STLS\r\n");
    assert_eq!(desk.poll(), Output::Start(Layer::Tls));
    desk.server.handle_failure(why.clone());
    desk.closes(&why, "+OK begin TLS\r\n");

    // Whatever is under way: nothing can reach the peer any more, so nothing is deleted.
    let mut desk = Desk::logged_in();
    desk.say("DELE 1\r\n");
    desk.input("QUIT\r\n");
    let Event::Commit(ask) = desk.event() else { panic!() };
    desk.server.handle_failure(why.clone());
    assert_eq!(desk.server.answer(ask, Ok(())), Err(Gone));
    desk.closes(&why, "");
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
    let mut desk = Desk::silent(server_config());
    desk.server.shutdown(Shutdown::TooBusy);
    let why = Closed::Shutdown(Shutdown::TooBusy);
    desk.closes(&why, "-ERR [SYS/TEMP] too many connections\r\n");
    let mut desk = Desk::logged_in();
    desk.server.shutdown(Shutdown::Revoked);
    let why = Closed::Shutdown(Shutdown::Revoked);
    desk.closes(&why, "-ERR the account has changed; log in again\r\n");
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
    let mut desk = Desk::silent(config);
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
