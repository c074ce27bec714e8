//! Every limit at its edge, every deadline, and what the machine does when the application does not answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use mailwright_line_proto::{
    Closed, Deadline, Gone, Machine, Output, Shutdown,
    testing::{Pace, Seen, run_input},
};
use mailwright_smtp_proto::{
    Outcome, Reply,
    client::{self, Client},
    server::{Config, Event},
};
use support::{
    Receiving, Sending,
    bare::{Bare, config},
};

fn replies(config: Config, input: &[u8]) -> Vec<String> {
    let run = run_input(&mut Receiving(Arc::new(config)), input, Pace::default(), false);
    String::from_utf8(run.sent).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn lines_have_a_limit() {
    for (length, fits) in [(2047, true), (2048, true), (2049, false)] {
        let line = format!("NOOP {}\r\nNOOP\r\n", "x".repeat(length - 7));
        let replies = replies(config(), line.as_bytes());
        assert_eq!(replies[1], if fits { "250 2.0.0 Ok" } else { "500 5.5.2 Line too long" }, "{length}");
        assert_eq!(replies[2], "250 2.0.0 Ok", "the session is in step");
    }
}

#[test]
fn login_lines_have_a_limit_of_their_own() {
    for (length, code) in [(12_287, "501 5.5.2"), (12_288, "501 5.5.2"), (12_289, "500 5.5.")] {
        // Base64 of a wrong length, so that it is refused for that if it is read at all.
        let line = format!("HELO a.example\r\nAUTH PLAIN {}\r\nNOOP\r\n", "A".repeat(length - 13));
        let first = replies(config(), line.as_bytes());
        assert!(
            first[2].starts_with(code) || (length % 4 == 1 && first[2].starts_with("501")),
            "{length}: {}",
            first[2]
        );
        assert_eq!(first[3], "250 2.0.0 Ok");
        let line = format!("HELO a.example\r\nAUTH PLAIN\r\n{}\r\nNOOP\r\n", "!".repeat(length - 2));
        let second = replies(config(), line.as_bytes());
        let code = if length > 12_288 { "500 5.5.6 Line too long" } else { "501 5.5.2 Cannot decode Base64" };
        assert_eq!(second[3], code, "{length}");
        assert_eq!(second[4], "250 2.0.0 Ok");
    }
}

#[test]
fn a_line_without_an_end_closes() {
    let run = run_input(
        &mut Receiving(Arc::new(config())),
        &vec![b'x'; 1 << 20],
        Pace { split: 4096, lazy: false },
        false,
    );
    assert!(run.closed);
    assert_eq!(run.seen, [Seen::Closed("Misbehaved(Endless { limit: 65536 })".to_owned())]);
}

#[test]
fn thousands_of_pipelined_commands_are_answered_in_order_or_refused() {
    let mut patient = config();
    patient.junk_commands = u32::MAX;
    let all = replies(patient, &b"NOOP\r\n".repeat(10_000));
    assert_eq!(all.len(), 10_001);
    assert!(all[1..].iter().all(|reply| reply == "250 2.0.0 Ok"));
    let most = replies(config(), &b"NOOP\r\n".repeat(10_000));
    assert_eq!(most.iter().filter(|reply| reply.starts_with("250")).count(), 100);
    assert_eq!(most.iter().filter(|reply| reply.starts_with("450")).count(), 20);
    assert_eq!(most.last().unwrap(), "421 4.7.0 mx.example Too many errors");
}

#[test]
fn recipients_have_a_limit() {
    let mut input = String::from("HELO a.example\r\nMAIL FROM:<a@example.org>\r\n");
    for number in 0..1001 {
        input.push_str(&format!("RCPT TO:<{number}@example.com>\r\n"));
    }
    let replies = replies(config(), input.as_bytes());
    assert_eq!(replies[1002], "250 2.1.5 Ok");
    assert_eq!(replies[1003], "452 4.5.3 Too many recipients");
}

const THREE: &[u8] =
    b"RCPT TO:<1@example.com>\r\nRCPT TO:<2@example.com>\r\nRCPT TO:<3@example.com>\r\nDATA\r\n";

#[test]
fn recipients_are_asked_side_by_side_and_answered_in_order() {
    let mut bare = Bare::addressing(config(), THREE);
    let (one, two, three) = (bare.rcpt(), bare.rcpt(), bare.rcpt());
    assert!(!bare.wait().read, "DATA waits for them");
    bare.sent();
    bare.server.answer(three, Reply::RECIPIENT_OK).unwrap();
    bare.server.answer(two, Reply::NO_SUCH_USER).unwrap();
    assert_eq!(bare.sent(), "");
    assert!(!bare.wait().read);
    bare.server.answer(one, Reply::RECIPIENT_OK).unwrap();
    assert_eq!(bare.sent(), "250 2.1.5 Ok\r\n550 5.1.1 No such user here\r\n250 2.1.5 Ok\r\n");
    let Event::Message(ask) = bare.event() else { panic!() };
    let named: Vec<_> = ask.recipients.iter().map(|rcpt| rcpt.to.to_string()).collect();
    assert_eq!(named, ["<1@example.com>", "<3@example.com>"]);
}

#[test]
fn questions_in_flight_have_a_limit() {
    for limit in 1..=3 {
        let mut narrow = config();
        narrow.limits.in_flight = limit;
        let mut bare = Bare::addressing(narrow, THREE);
        let asks: Vec<_> = (0..limit).map(|_| bare.rcpt()).collect();
        assert!(!bare.wait().read);
        assert_eq!(asks.len(), limit);
    }
}

#[test]
fn the_machine_answers_for_an_application_that_does_not() {
    let mut bare = Bare::addressing(config(), THREE);
    let (one, _two) = (bare.rcpt(), bare.rcpt());
    let three = bare.rcpt();
    bare.server.answer(three, Reply::RECIPIENT_OK).unwrap();
    bare.sent();
    let until = bare.wait().until.unwrap();
    assert_eq!(until - bare.now, Duration::from_secs(240));
    bare.now = until;
    let Event::Message(ask) = bare.event() else { panic!() };
    assert_eq!(ask.recipients.len(), 1);
    let late = "451 4.3.0 Internal error; try again later\r\n";
    assert_eq!(bare.sent(), format!("{late}{late}250 2.1.5 Ok\r\n"));
    assert_eq!(bare.server.answer(one, Reply::RECIPIENT_OK), Err(Gone));
    bare.server.answer(ask, Ok(())).unwrap();
    bare.rx.extend_from_slice(b".\r\nQUIT\r\n");
    let Event::BodyEnd(ask) = bare.event() else { panic!() };
    bare.sent();
    bare.now += Duration::from_secs(240);
    assert_eq!(bare.event(), Event::Closed(Closed::Farewell));
    assert_eq!(bare.sent(), format!("{late}221 2.0.0 Bye\r\n"));
    assert_eq!(
        bare.server.answer(ask, Outcome::All(Reply::OK)),
        Err(Gone),
        "250 was not sent, so it was not taken"
    );
}

#[test]
fn every_question_has_a_refusal_of_its_own() {
    let mut asking = config();
    asking.ask_connect = true;
    asking.vrfy = mailwright_smtp_proto::server::VrfyPolicy::Ask;
    for (input, answered, late) in [
        (&b""[..], 0, "421 4.3.0 "),
        (b"HELO a.example\r\n", 1, "451 4.3.0 "),
        (b"HELO a.example\r\nAUTH PLAIN =\r\n", 2, "454 4.7.0 "),
        (b"HELO a.example\r\nVRFY x\r\n", 2, "451 4.3.0 "),
        (b"HELO a.example\r\nMAIL FROM:<>\r\n", 2, "451 4.3.0 "),
        (b"HELO a.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n", 4, "451 4.3.0 "),
    ] {
        let mut bare = Bare::new(asking.clone());
        bare.rx.extend_from_slice(input);
        for _ in 0..answered {
            match bare.event() {
                Event::Connect(ask) => bare.server.answer(ask, Ok(())).unwrap(),
                Event::Mail(ask) => bare.server.answer(ask, Reply::SENDER_OK).unwrap(),
                Event::Rcpt(ask) => bare.server.answer(ask, Reply::RECIPIENT_OK).unwrap(),
                other => bare.server.decline(other),
            }
        }
        let _unanswered = bare.event();
        bare.sent();
        bare.now += Duration::from_secs(240);
        let _ = bare.poll();
        assert!(bare.sent().starts_with(late), "{}", String::from_utf8_lossy(input));
    }
}

#[test]
fn no_reading_while_the_replies_are_not_taken() {
    let mut small = config();
    small.limits.transmit = 1000;
    small.junk_commands = u32::MAX;
    let mut bare = Bare::new(small);
    bare.rx.extend_from_slice(&b"NOOP\r\n".repeat(20_000));
    let wait = bare.wait();
    assert!(!wait.read);
    assert!((1000..1100).contains(&bare.server.transmit().len()));
    let left = bare.rx.len();
    bare.sent();
    assert!(!bare.wait().read);
    assert!(bare.rx.len() < left, "and on it goes");
    bare.now += Duration::from_secs(60);
    assert_eq!(bare.event(), Event::Closed(Closed::TimedOut(Deadline::Write)));
}

#[test]
fn shutdown_waits_for_what_is_under_way() {
    let mut bare = Bare::addressing(config(), b"RCPT TO:<1@example.com>\r\nDATA\r\n");
    let ask = bare.rcpt();
    bare.server.shutdown(Shutdown::Stopping);
    assert!(!bare.wait().read);
    bare.server.answer(ask, Reply::RECIPIENT_OK).unwrap();
    assert_eq!(bare.event(), Event::Closed(Closed::Shutdown(Shutdown::Stopping)));
    assert!(
        bare.sent().ends_with(
            "250 2.1.5 Ok\r\n421 4.3.2 mx.example Service not available; closing the connection\r\n"
        )
    );
    assert!(matches!(bare.poll(), Output::Close));

    let mut bare = Bare::new(config());
    bare.server.shutdown(Shutdown::TooBusy);
    assert_eq!(bare.event(), Event::Closed(Closed::Shutdown(Shutdown::TooBusy)));
    assert!(bare.sent().starts_with("421 4.3.2 mx.example Too many connections"));

    let mut bare = Bare::new(config());
    bare.server.shutdown(Shutdown::Revoked);
    assert_eq!(bare.event(), Event::Closed(Closed::Shutdown(Shutdown::Revoked)));
    assert_eq!(bare.sent(), "421 4.7.0 mx.example The account has changed; log in again\r\n");
}

#[test]
fn a_message_begun_is_taken_before_a_shutdown() {
    let mut bare = Bare::addressing(config(), b"RCPT TO:<1@example.com>\r\nDATA\r\n");
    let ask = bare.rcpt();
    bare.server.answer(ask, Reply::RECIPIENT_OK).unwrap();
    let Event::Message(ask) = bare.event() else { panic!() };
    bare.server.answer(ask, Ok(())).unwrap();
    bare.server.shutdown(Shutdown::Stopping);
    bare.rx.extend_from_slice(b".\r\nNOOP\r\n");
    let Event::BodyEnd(ask) = bare.event() else { panic!() };
    bare.server.answer(ask, Reply::OK.into()).unwrap();
    assert_eq!(bare.event(), Event::Closed(Closed::Shutdown(Shutdown::Stopping)));
    assert!(bare.sent().contains("250 2.0.0 Ok\r\n421 4.3.2 "));
}

#[test]
fn an_abandoned_transaction_is_told() {
    for (command, event) in [("RSET", "Reset"), ("HELO a.example", "Hello")] {
        let mut bare = Bare::addressing(config(), format!("{command}\r\n").as_bytes());
        let first = bare.event();
        assert!(format!("{first:?}").starts_with(event));
        if let Event::Hello(ask) = first {
            bare.server.answer(ask, Ok(())).unwrap();
            assert_eq!(bare.event(), Event::Reset);
        }
    }
}

#[test]
fn reply_lines_have_a_limit() {
    for (length, fits) in [(8191, true), (8192, true), (8193, false)] {
        for end in [true, false] {
            for split in [1, usize::MAX] {
                let mut input = format!("220 {}", "x".repeat(length - 6));
                input.push_str(if end { "\r\n" } else { "xxxx" });
                let run = run_input(
                    &mut Sending::new("# call: quit"),
                    input.as_bytes(),
                    Pace { split, lazy: false },
                    false,
                );
                let too_long = "Misbehaved(Endless { limit: 8192 })".to_owned();
                match (fits, end) {
                    (true, true) => assert_eq!(run.sent, b"QUIT\r\n", "{length}"),
                    (false, true) => assert_eq!(run.seen, [Seen::Closed(too_long)], "{length}"),
                    _ => assert!(run.sent.is_empty()),
                }
            }
        }
    }
}

#[test]
fn a_client_in_a_body_reads_nothing() {
    let mut client = Client::new(Arc::new(client::Config::default()));
    assert_eq!(client.send_body("x".into()), Err(mailwright_line_proto::Misuse::NoBody));
    assert!(client.call(mailwright_smtp_proto::Noop).is_err(), "before the greeting");
    client.shutdown(Shutdown::Kicked);
    let mut rx = BytesMut::new();
    let now = Instant::now();
    assert_eq!(
        client.poll(now, &mut rx),
        Output::Event(client::Event::Closed(Closed::Shutdown(Shutdown::Kicked)))
    );
    assert_eq!(client.poll(now, &mut rx), Output::Close);
    assert_eq!(client.call(mailwright_smtp_proto::Noop), Err(mailwright_line_proto::Misuse::Closed));
}
