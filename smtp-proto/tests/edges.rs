//! Every limit, count and time at its edge: one below, at it, one above.
//!
//! | field | server | client |
//! |---|---|---|
//! | `limits.line_before_login` | `limits::lines_have_a_limit` | - |
//! | `limits.line` | [`lines_after_login_have_a_limit`] | `limits::reply_lines_have_a_limit` |
//! | `limits.sasl_line` | `limits::login_lines_have_a_limit_of_their_own` | [`an_initial_response_fits_in_its_line`] |
//! | `limits.skip` | [`so_much_of_a_line_is_skipped`] | none is skipped |
//! | `limits.in_flight` | `limits::questions_in_flight_have_a_limit` | [`calls_in_flight_have_a_limit`] |
//! | `limits.transmit` | [`replies_that_wait_have_a_limit`] | its driver's |
//! | `limits.errors` | [`bad_commands_have_a_limit`] | - |
//! | `limits.logins` | [`failed_logins_have_a_limit`] | - |
//! | `limits.literal`, `limits.command` | none in SMTP | none in SMTP |
//! | `timeouts.greeting` | - | [`a_client_waits_so_long`] |
//! | `timeouts.command` | [`a_server_waits_so_long`] | [`a_client_waits_so_long`] |
//! | `timeouts.login` | [`a_server_waits_so_long`] | - |
//! | `timeouts.body` | [`a_server_waits_so_long`] | - |
//! | `timeouts.body_end` | - | [`a_client_waits_so_long`] |
//! | `timeouts.answer` | [`an_application_has_so_long`] | - |
//! | `timeouts.tls` | [`a_server_waits_so_long`] | [`a_client_waits_so_long`] |
//! | `timeouts.write` | [`replies_that_wait_have_a_limit`] | its driver's |
//! | `max_message_size` | [`a_message_has_so_many_octets`] and beside the receiver | - |
//! | `max_recipients` | `limits::recipients_have_a_limit` | - |
//! | `junk_commands` | [`junk_commands_have_a_limit`] | - |
//! | lines and octets of a reply | - | beside the reader |
//! | challenges of a login | - | [`challenges_have_a_limit`] |
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use mailwright_line_proto::{
    AuthStep, Authenticate, Closed, Deadline, Layer, Machine, Misuse, Output, PeerMisbehaved, Secret,
    testing::{Pace, run_input},
};
use mailwright_mail_model::ReversePath;
use mailwright_smtp_proto::{
    Hello, Mail, Outcome, Reply, Rset, StartTls,
    client::{self, Client},
    server::{Config, Event},
};
use support::{
    Receiving,
    bare::{Bare, config},
};

const TICK: Duration = Duration::from_nanos(1);

fn replies(config: Config, input: &[u8]) -> Vec<String> {
    let run = run_input(&mut Receiving(Arc::new(config)), input, Pace::default(), false);
    String::from_utf8(run.sent).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn lines_after_login_have_a_limit() {
    let mut longer = config();
    longer.limits.line = 3000;
    for (length, fits) in [(2999, true), (3000, true), (3001, false)] {
        let line = format!(
            "EHLO a.example\r\nAUTH PLAIN AHVzZXIAcGFzcw==\r\nNOOP {}\r\nNOOP\r\n",
            "x".repeat(length - 7)
        );
        let replies = replies(longer.clone(), line.as_bytes());
        let [.., long, short] = &replies[..] else { panic!("{replies:?}") };
        assert_eq!(long, if fits { "250 2.0.0 Ok" } else { "500 5.5.2 Line too long" }, "{length}");
        assert_eq!(short, "250 2.0.0 Ok");
    }
}

#[test]
fn so_much_of_a_line_is_skipped() {
    let skip = usize::try_from(config().limits.skip).unwrap();
    for (length, closes) in [(skip - 1, false), (skip, false), (skip + 1, true)] {
        let mut bare = Bare::new(config());
        bare.rx.extend_from_slice(&vec![b'x'; length]);
        match (closes, bare.poll()) {
            (true, Output::Event(Event::Closed(why))) => {
                assert_eq!(why, Closed::Misbehaved(PeerMisbehaved::Endless { limit: skip as u64 }));
            }
            (false, Output::Wait(wait)) => {
                assert!(wait.read && bare.rx.is_empty(), "thrown away");
                bare.rx.extend_from_slice(b"\r\nNOOP\r\n");
                bare.wait();
                assert!(bare.sent().ends_with("500 5.5.2 Line too long\r\n250 2.0.0 Ok\r\n"));
            }
            (_, other) => panic!("{length}: {other:?}"),
        }
    }
}

#[test]
fn replies_that_wait_have_a_limit() {
    let reply = "250 2.0.0 Ok\r\n".len();
    for (waiting, read) in [(99, true), (100, false), (101, false)] {
        let mut narrow = config();
        narrow.limits.transmit = 100 + 4 * reply;
        narrow.hostname = "m".repeat(waiting - "220  ESMTP\r\n".len()).parse().unwrap();
        let mut bare = Bare::new(narrow);
        bare.rx.extend_from_slice(&b"NOOP\r\n".repeat(4));
        let wait = bare.wait();
        assert_eq!(bare.server.transmit().len(), waiting + 4 * reply);
        assert_eq!(wait.read, read, "{waiting}");
        if !read {
            let until = wait.until.unwrap();
            assert_eq!(until - bare.now, Duration::from_secs(60));
            bare.now = until - TICK;
            bare.wait();
            bare.now = until;
            assert_eq!(bare.event(), Event::Closed(Closed::TimedOut(Deadline::Write)));
        }
    }
}

#[test]
fn bad_commands_have_a_limit() {
    for (count, closes) in [(19, false), (20, false), (21, true)] {
        let all = replies(config(), &b"FOO\r\n".repeat(count));
        assert_eq!(all.last().unwrap().starts_with("421 4.7.0"), closes, "{count}");
        assert_eq!(all.iter().filter(|reply| reply.starts_with("500")).count(), count.min(20));
    }
}

/// A connection may bring mail for days. What is refused, or costs nothing, buys no further tries.
#[test]
fn bad_commands_are_forgotten_behind_a_message() {
    for (lmtp, commit, rest, bears) in [
        (false, vec![Reply::OK], "", true),
        (false, vec![Reply::INTERNAL], "", false),
        (true, vec![Reply::INTERNAL, Reply::OK], "", true),
        (true, vec![Reply::INTERNAL, Reply::INTERNAL], "", false),
        (false, vec![], "NOOP\r\nRSET\r\n", false),
        (false, vec![], "MAIL FROM:<>\r\nRCPT TO:<a@example.com>\r\nRSET\r\n", false),
    ] {
        let config = if lmtp { Config::lmtp("mx.example").unwrap() } else { config() };
        let mut bare = Bare::new(config);
        bare.rx.extend_from_slice(if lmtp { b"LHLO a.example\r\n" } else { b"EHLO a.example\r\n" });
        let mut closed = false;
        for _ in 0..5 {
            bare.rx.extend_from_slice(&b"FOO\r\n".repeat(20));
            bare.rx.extend_from_slice(rest.as_bytes());
            if !commit.is_empty() {
                let rcpt = "RCPT TO:<a@example.com>\r\n".repeat(commit.len());
                let message = format!("MAIL FROM:<>\r\n{rcpt}DATA\r\nx\r\n.\r\n");
                bare.rx.extend_from_slice(message.as_bytes());
            }
            loop {
                match bare.poll() {
                    Output::Event(Event::Hello(ask)) => bare.server.answer(ask, Ok(())).unwrap(),
                    Output::Event(Event::Mail(ask)) => bare.server.answer(ask, Reply::SENDER_OK).unwrap(),
                    Output::Event(Event::Rcpt(ask)) => bare.server.answer(ask, Reply::RECIPIENT_OK).unwrap(),
                    Output::Event(Event::Message(ask)) => bare.server.answer(ask, Ok(())).unwrap(),
                    Output::Event(Event::BodyEnd(ask)) => {
                        let outcome = match &commit[..] {
                            [one] => one.clone().into(),
                            each => Outcome::Each(each.to_vec()),
                        };
                        bare.server.answer(ask, outcome).unwrap();
                    }
                    Output::Event(Event::Closed(why)) => {
                        let limit = 20;
                        assert_eq!(why, Closed::Misbehaved(PeerMisbehaved::TooManyErrors { limit }));
                        closed = true;
                    }
                    Output::Event(_) => {}
                    Output::Wait(_) if bare.sent().is_empty() => break,
                    Output::Wait(_) => {}
                    _ => break,
                }
            }
        }
        assert_eq!(closed, !bears, "{lmtp} {commit:?} {rest}");
    }
}

#[test]
fn failed_logins_have_a_limit() {
    for (count, closes) in [(4, false), (5, false), (6, true)] {
        let input = [&b"EHLO a.example\r\n"[..], &b"AUTH PLAIN AGEAYg==\r\n".repeat(count)].concat();
        let all = replies(config(), &input);
        assert_eq!(all.last().unwrap().starts_with("421 4.7.0"), closes, "{count}");
        assert_eq!(all.iter().filter(|reply| reply.starts_with("535")).count(), count.min(5));
    }
}

#[test]
fn junk_commands_have_a_limit() {
    for (count, refused) in [(99, 0), (100, 0), (101, 1)] {
        let all = replies(config(), &b"NOOP\r\n".repeat(count));
        assert_eq!(all.iter().filter(|reply| reply.starts_with("450")).count(), refused, "{count}");
    }
}

#[test]
fn a_message_has_so_many_octets() {
    let mut small = config();
    small.max_message_size = Some(1000);
    for (size, code) in [(999, "250 2.0.0"), (1000, "250 2.0.0"), (1001, "552 5.3.4")] {
        let head = "HELO a.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n";
        let input = format!("{head}{}\r\n.\r\n", "x".repeat(size - 2));
        let all = replies(small.clone(), input.as_bytes());
        assert!(all.last().unwrap().starts_with(code), "sent {size}: {all:?}");
        let declared = format!("HELO a.example\r\nMAIL FROM:<a@example.org> SIZE={size}\r\n");
        let all = replies(small.clone(), declared.as_bytes());
        assert_eq!(all.last().unwrap().starts_with("552 5.3.4"), size > 1000, "declared {size}: {all:?}");
    }
}

#[test]
fn a_server_waits_so_long() {
    let mut must_log_in = config();
    must_log_in.require_auth = true;
    must_log_in.timeouts.login = Duration::from_secs(60);
    let mut may_start_tls = config();
    may_start_tls.starttls = true;
    let addressed: &[u8] = b"RCPT TO:<1@example.com>\r\nDATA\r\nx";
    for (config, input, patience, deadline) in [
        (config(), &b"NOOP\r\nNOO"[..], 300, Deadline::Command),
        (must_log_in, b"NOOP\r\n", 60, Deadline::Login),
        (config(), addressed, 180, Deadline::Body),
        (may_start_tls, b"EHLO a.example\r\nSTARTTLS\r\n", 30, Deadline::Tls),
    ] {
        for (early, over) in [(TICK, false), (Duration::ZERO, true), (Duration::ZERO, true)] {
            let mut bare = if deadline == Deadline::Body {
                Bare::addressing(config.clone(), input)
            } else {
                Bare::new(config.clone())
            };
            if deadline != Deadline::Body {
                bare.rx.extend_from_slice(input);
            }
            let wait = loop {
                match bare.poll() {
                    Output::Wait(wait) => break wait,
                    Output::Event(Event::Rcpt(ask)) => bare.server.answer(ask, Reply::RECIPIENT_OK).unwrap(),
                    Output::Event(Event::Message(ask)) => bare.server.answer(ask, Ok(())).unwrap(),
                    Output::Event(event) => bare.server.decline(event),
                    Output::Start(layer) => assert_eq!(layer, Layer::Tls),
                    Output::Close => panic!(),
                }
            };
            let until = wait.until.unwrap();
            assert_eq!(until - bare.now, Duration::from_secs(patience), "{deadline:?}");
            bare.now = until - early;
            match bare.poll() {
                Output::Wait(_) => assert!(!over, "{deadline:?}"),
                Output::Event(event) => {
                    assert!(over, "{deadline:?}");
                    assert_eq!(event, Event::Closed(Closed::TimedOut(deadline)));
                    let said = bare.sent().ends_with("421 4.4.2 mx.example Timeout exceeded\r\n");
                    assert_eq!(said, deadline != Deadline::Tls, "nothing is said between the layers");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn an_application_has_so_long() {
    let mut bare = Bare::addressing(config(), b"RCPT TO:<1@example.com>\r\n");
    let ask = bare.rcpt();
    let until = bare.wait().until.unwrap();
    assert_eq!(until - bare.now, Duration::from_secs(240));
    bare.sent();
    bare.now = until - TICK;
    bare.wait();
    assert_eq!(bare.sent(), "");
    bare.now = until;
    bare.wait();
    assert!(bare.sent().starts_with("451 4.3.0"));
    assert!(bare.server.answer(ask, Reply::RECIPIENT_OK).is_err());
}

/// A client, its input and its clock.
struct Caller {
    client: Client,
    rx: BytesMut,
    now: Instant,
}

impl Caller {
    fn new(config: client::Config) -> Self {
        Self { client: Client::new(Arc::new(config)), rx: BytesMut::new(), now: Instant::now() }
    }

    /// Past a hello to which the server announces this.
    fn greeted(config: client::Config, keywords: &str) -> Self {
        let mut caller = Self::new(config);
        assert!(matches!(caller.hear("220 mx\r\n"), client::Event::Greeting(_)));
        caller.client.call(Hello::new("a.example".parse().unwrap())).unwrap();
        assert!(matches!(caller.hear(&format!("250-mx\r\n250 {keywords}\r\n")), client::Event::Hello(..)));
        caller
    }

    fn hear(&mut self, input: &str) -> client::Event {
        self.rx.extend_from_slice(input.as_bytes());
        match self.client.poll(self.now, &mut self.rx) {
            Output::Event(event) => event,
            other => panic!("{other:?}"),
        }
    }

    /// Waits as long as it does, and a little less.
    fn loses_patience(&mut self, seconds: u64, deadline: Deadline) {
        let Output::Wait(wait) = self.client.poll(self.now, &mut self.rx) else { panic!("{deadline:?}") };
        let until = wait.until.unwrap();
        assert_eq!(until - self.now, Duration::from_secs(seconds), "{deadline:?}");
        self.now = until - TICK;
        assert!(matches!(self.client.poll(self.now, &mut self.rx), Output::Wait(_)));
        self.now = until;
        assert_eq!(self.hear(""), client::Event::Closed(Closed::TimedOut(deadline)));
    }
}

#[test]
fn a_client_waits_so_long() {
    Caller::new(client::Config::default()).loses_patience(300, Deadline::Greeting);

    let mut caller = Caller::greeted(client::Config::default(), "STARTTLS");
    caller.client.call(Rset).unwrap();
    caller.loses_patience(300, Deadline::Reply);

    let mut caller = Caller::greeted(client::Config::default(), "STARTTLS");
    caller.client.call(StartTls).unwrap();
    caller.rx.extend_from_slice(b"220 Go\r\n");
    assert_eq!(caller.client.poll(caller.now, &mut caller.rx), Output::Start(Layer::Tls));
    caller.loses_patience(30, Deadline::Tls);

    let mut caller = Caller::greeted(client::Config::default(), "SIZE");
    caller.client.call(support::message("<a@example.org>", &["<b@example.com>"])).unwrap();
    for reply in ["250 Ok\r\n", "250 Ok\r\n"] {
        caller.rx.extend_from_slice(reply.as_bytes());
        assert!(matches!(caller.client.poll(caller.now, &mut caller.rx), Output::Wait(_)));
    }
    assert!(matches!(caller.hear("354 Go on\r\n"), client::Event::Message(..)));
    caller.client.end_body().unwrap();
    caller.loses_patience(600, Deadline::Reply);
}

#[test]
fn calls_in_flight_have_a_limit() {
    let limit = client::Config::IN_FLIGHT;
    let mut caller = Caller::greeted(client::Config::default(), "PIPELINING");
    for number in 1..=limit + 1 {
        let called = caller.client.call(Mail::new(ReversePath::Null));
        match number {
            _ if number <= limit => assert!(called.is_ok(), "{number}"),
            _ => assert_eq!(called, Err(Misuse::Busy), "{number}"),
        }
    }
}

#[test]
fn an_initial_response_fits_in_its_line() {
    // "AUTH PLAIN " and CRLF are 13 octets, 9,207 of Base64 12,276.
    for (limit, fits) in [(12_288, false), (12_289, true), (12_290, true)] {
        let mut own = client::Config::default();
        own.allow_plaintext_auth = true;
        own.limits.sasl_line = limit;
        let mut caller = Caller::greeted(own, "AUTH PLAIN");
        let response = Secret::from(&[b'x'; 9207][..]);
        let called = caller.client.call(Authenticate::new("PLAIN".to_owned(), Some(response)));
        assert_eq!(called.is_ok(), fits, "12,289 octets in {limit}");
    }
}

#[test]
fn challenges_have_a_limit() {
    for (count, fits) in [(31, true), (32, true), (33, false)] {
        let mut own = client::Config::default();
        own.allow_plaintext_auth = true;
        let mut caller = Caller::greeted(own, "AUTH PLAIN");
        let ticket = caller.client.call(Authenticate::new("PLAIN".to_owned(), None)).unwrap();
        let mut last = None;
        for _ in 0..count {
            last = Some(caller.hear("334 YQ==\r\n"));
            if let Some(client::Event::Challenge(..)) = last {
                caller.client.respond(ticket, Some(&Secret::from("b"))).unwrap();
            }
        }
        let closed = matches!(last, Some(client::Event::Closed(Closed::Misbehaved(_))));
        assert_eq!(closed, !fits, "{count}: {last:?}");
    }
}

#[test]
fn a_failure_of_tls_is_the_reason_of_closing() {
    let why = Closed::Misbehaved(PeerMisbehaved::Tls("bad record".to_owned()));
    // Whatever is under way: nothing can reach the client any more, so nothing is taken.
    for input in [
        &b"EHLO a.example\r\nSTARTTLS\r\n"[..],
        b"EHLO a.example\r\nAUTH PLAIN =\r\n",
        b"EHLO a.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@example.com>\r\nDATA\r\nx\r\n.\r\n",
    ] {
        let mut may_start_tls = config();
        may_start_tls.starttls = true;
        let mut bare = Bare::new(may_start_tls);
        bare.rx.extend_from_slice(input);
        let (mut authenticate, mut commit) = (None, None);
        loop {
            match bare.poll() {
                Output::Event(Event::Mail(ask)) => bare.server.answer(ask, Reply::SENDER_OK).unwrap(),
                Output::Event(Event::Rcpt(ask)) => bare.server.answer(ask, Reply::RECIPIENT_OK).unwrap(),
                Output::Event(Event::Message(ask)) => bare.server.answer(ask, Ok(())).unwrap(),
                Output::Event(Event::Authenticate(ask)) => authenticate = Some(ask),
                Output::Event(Event::BodyEnd(ask)) => commit = Some(ask),
                Output::Event(event) => bare.server.decline(event),
                Output::Start(_) | Output::Wait(_) => break,
                Output::Close => panic!(),
            }
        }
        bare.server.handle_failure(why.clone());
        assert!(authenticate.is_none_or(|ask| bare.server.answer(ask, AuthStep::Accept).is_err()));
        assert!(commit.is_none_or(|ask| bare.server.answer(ask, Reply::OK.into()).is_err()));
        assert_eq!(bare.event(), Event::Closed(why.clone()));
        assert!(matches!(bare.poll(), Output::Close));
        bare.server.handle_failure(Closed::Eof);
        assert!(matches!(bare.poll(), Output::Close), "once is enough");
    }

    let mut caller = Caller::greeted(client::Config::default(), "STARTTLS");
    caller.client.call(StartTls).unwrap();
    caller.rx.extend_from_slice(b"220 Go\r\n");
    assert_eq!(caller.client.poll(caller.now, &mut caller.rx), Output::Start(Layer::Tls));
    caller.client.handle_failure(why.clone());
    assert_eq!(caller.hear(""), client::Event::Closed(why.clone()));

    // The answer that came before the bad record counts; what comes after it cannot.
    let mut caller = Caller::greeted(client::Config::default(), "PIPELINING");
    caller.client.call(Rset).unwrap();
    caller.client.call(mailwright_smtp_proto::Quit).unwrap();
    caller.rx.extend_from_slice(b"250 Ok\r\n");
    caller.client.handle_failure(why.clone());
    assert!(matches!(caller.hear(""), client::Event::Rset(..)));
    assert_eq!(caller.hear(""), client::Event::Closed(why), "not a farewell");
    let transmit = caller.client.transmit();
    assert!(transmit.copy_to_bytes(transmit.remaining()).ends_with(b"QUIT\r\n"));
}
