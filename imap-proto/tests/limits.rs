//! Every limit of both machines one below, at and one above it, every deadline the moment before and when it passes.
//!
//! | limit | where |
//! |---|---|
//! | `line_before_login`, `line`, `literal` of the server | `server_calls.rs`: lines and literals have bounds; `long_lines.rs` |
//! | `line_before_login` with a literal, `sasl_line`, `skip`, `command`, `errors`, `logins`, `transmit`, `in_flight`, `max_message_size` | here |
//! | `login`, `command`, `tls`, `body`, `answer` of the server | here |
//! | `line_before_login`, `response`, `literal`, `skip`, `in_flight`, `answer`, `messages` of the client | here |
//! | `challenges` of the client | `client.rs`: challenges are bounded |
//! | `greeting`, `command`, `idle` of the client | here |
//! | `tls` of the client | the TLS layer's, which holds the handshake's clock |
//! | `write` of either | the driver's: no machine reads it |
//! | names, fields, ranges, keys and items of one command | beside the parser of each command |
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use mailwright_imap_proto::{
    client::{self, Client, Noop},
    command::{Append, List, Search, Select},
    server::{Config, Event, FetchData, Opened, Server},
};
use mailwright_line_proto::{
    AuthRefusal, AuthStep, Closed, Deadline, Layer, Limits, Machine, Misuse, Output, Peer, PeerMisbehaved,
    Timeouts, Wait,
};
use mailwright_mail_model::{FlagSet, MailboxName, Uid, UidValidity, query::Query};

const TICK: Duration = Duration::from_nanos(1);

/// A machine, what was sent to it, and its clock.
struct Desk<M> {
    machine: M,
    rx: BytesMut,
    now: Instant,
}

impl<M: Machine> Desk<M> {
    fn of(machine: M) -> Self {
        Self { machine, rx: BytesMut::new(), now: Instant::now() }
    }

    fn poll(&mut self) -> Output<M::Event> {
        self.machine.poll(self.now, &mut self.rx)
    }

    fn feed(&mut self, input: &str) -> Output<M::Event> {
        self.rx.extend_from_slice(input.as_bytes());
        self.poll()
    }

    #[track_caller]
    fn event(&mut self, input: &str) -> M::Event {
        match self.feed(input) {
            Output::Event(event) => event,
            _ => panic!("no event"),
        }
    }

    #[track_caller]
    fn wait(&mut self) -> Wait {
        match self.poll() {
            Output::Wait(wait) => wait,
            _ => panic!("no wait"),
        }
    }

    fn sent(&mut self) -> String {
        let transmit = self.machine.transmit();
        String::from_utf8(transmit.copy_to_bytes(transmit.remaining()).to_vec()).unwrap()
    }

    /// Waits `time` from now on, and not a moment less; leaves the clock at its end.
    #[track_caller]
    fn waits_for(&mut self, time: Duration) {
        let until = self.now + time;
        assert_eq!(self.wait().until, Some(until));
        self.now = until - TICK;
        assert_eq!(self.wait().until, Some(until));
        self.now = until;
    }
}

fn misbehaved(why: PeerMisbehaved) -> Closed {
    Closed::Misbehaved(why)
}

// The server.

type Server1 = Desk<Server>;

fn server(change: impl FnOnce(&mut Config)) -> Server1 {
    let mut config = Config::default();
    config.allow_plaintext_auth = true;
    config.auth_mechanisms = vec!["PLAIN".into()];
    change(&mut config);
    Desk::of(Server::new(Arc::new(config), Peer::unknown()))
}

fn logged_in(change: impl FnOnce(&mut Config)) -> Server1 {
    let mut desk = server(change);
    let _ = desk.poll();
    desk.sent();
    let Event::Login(ask) = desk.event("a LOGIN x y\r\n") else { panic!() };
    desk.machine.answer(ask, Ok(())).unwrap();
    let _ = desk.poll();
    desk.sent();
    desk
}

fn selected(change: impl FnOnce(&mut Config)) -> Server1 {
    let mut desk = logged_in(change);
    let Event::Open(ask) = desk.event("b SELECT INBOX\r\n") else { panic!() };
    let opened = Opened::new("1:9".parse().unwrap(), UidValidity::new(1).unwrap());
    desk.machine.answer(ask, Ok(opened)).unwrap();
    desk.sent();
    desk
}

#[track_caller]
fn server_closes(desk: &mut Server1, expected: &Closed) {
    let Event::Closed(why) = desk.event("") else { panic!("not closed") };
    assert_eq!(&why, expected);
    assert_eq!(desk.poll(), Output::Close);
}

#[test]
fn the_defaults_are_those_of_imap() {
    let (server, client) = (Config::default(), client::Config::default());
    assert_eq!((&server.limits, &server.timeouts), (&Limits::imap(), &Timeouts::imap()));
    assert_eq!(client.limits, {
        let mut limits = Limits::imap();
        limits.in_flight = 32;
        limits
    });
    assert_eq!(server.max_message_size, 50 << 20);
    assert_eq!(client.timeouts, {
        let mut timeouts = Timeouts::imap();
        timeouts.command = Duration::from_secs(10 * 60);
        timeouts
    });
}

#[test]
fn literals_before_login_are_as_short_as_lines() {
    for (length, fits) in [(8191, true), (8192, true), (8193, false)] {
        let mut desk = server(|_| {});
        let _ = desk.feed(&format!("a LOGIN {{{length}}}\r\n"));
        let expected = if fits { "+ OK\r\n" } else { "a NO [TOOBIG] literal too large\r\n" };
        assert!(desk.sent().ends_with(expected), "{length}");
        // One that comes unasked cannot be refused in time.
        let mut desk = server(|_| {});
        let closes = matches!(desk.feed(&format!("a LOGIN {{{length}+}}\r\n")), Output::Event(_));
        assert_eq!(closes, !fits, "{length}");
    }
}

#[test]
fn sasl_responses_have_the_room_of_access_tokens() {
    for (length, fits) in [(12_287, true), (12_288, true), (12_289, false)] {
        let mut desk = server(|_| {});
        let Event::Authenticate(ask) = desk.event("a AUTHENTICATE PLAIN\r\n") else { panic!() };
        desk.machine.answer(ask, AuthStep::Challenge(Default::default())).unwrap();
        // The lengths at hand are no multiples of four, so what fits is refused for what it says.
        let _ = desk.feed(&format!("{}\r\n", "!".repeat(length - 2)));
        let sent = desk.sent();
        assert_eq!(sent.contains("a BAD expected base64"), fits, "{length}: {sent}");
        assert_eq!(sent.contains("* BYE"), !fits, "{length}: {sent}");
    }
}

#[test]
fn literals_of_one_command_have_a_limit_together() {
    // The largest that may come is 64 KiB, so two tell.
    for (second, fits) in [(9_999, true), (10_000, true), (10_001, false)] {
        let mut desk = selected(|config| config.limits.command = 20_000);
        let literal = "x".repeat(10_000);
        let _ = desk.feed(&format!("c SEARCH TEXT {{10000+}}\r\n{literal} TEXT {{{second}}}\r\n"));
        assert_eq!(
            desk.sent(),
            if fits { "+ OK\r\n" } else { "c NO [TOOBIG] literal too large\r\n" },
            "{second}"
        );
    }
}

#[test]
fn a_literal_that_nobody_can_count_ends_the_connection() {
    let mut desk = logged_in(|_| {});
    let _ = desk.feed("c CREATE {99999999999999999999}\r\n");
    assert_eq!(desk.sent(), "* BYE line or literal too long\r\n");
}

#[test]
fn bad_commands_have_a_limit() {
    let mut desk = server(|_| {});
    for count in 1..20 {
        let _ = desk.feed("x y z\r\n");
        assert!(desk.sent().ends_with("x BAD expected a command at octet 2\r\n"), "{count}");
    }
    let why = desk.event("x y z\r\nz NOOP\r\n");
    assert_eq!(why, Event::Closed(misbehaved(PeerMisbehaved::TooManyErrors { limit: 20 })));
    assert_eq!(desk.sent(), "x BAD expected a command at octet 2\r\n* BYE too many bad commands\r\n");
}

#[test]
fn failed_logins_have_a_limit() {
    let mut desk = server(|_| {});
    for count in 1..=5 {
        let Event::Login(ask) = desk.event("a LOGIN x y\r\n") else { panic!("{count}") };
        desk.machine.answer(ask, Err(AuthRefusal::Credentials)).unwrap();
    }
    server_closes(&mut desk, &misbehaved(PeerMisbehaved::TooManyLogins { limit: 5 }));
}

#[test]
fn commands_wait_once_so_much_waits_to_be_sent() {
    let answer = "a OK NOOP completed\r\n";
    for (limit, answered) in [(answer.len(), 1), (answer.len() + 1, 2), (2 * answer.len(), 2)] {
        let mut desk = logged_in(|config| config.limits.transmit = limit);
        let output = desk.feed(&"a NOOP\r\n".repeat(9));
        assert_eq!(output, Output::Wait(Wait { read: false, until: None }));
        assert_eq!(desk.sent(), answer.repeat(answered), "{limit}");
    }
}

#[test]
fn so_many_questions_are_open_at_once() {
    for limit in [1, 4] {
        let mut desk = selected(|config| config.limits.in_flight = limit);
        desk.rx.extend_from_slice("c FETCH 1 FLAGS\r\n".repeat(9).as_bytes());
        let asked: Vec<_> = std::iter::from_fn(|| match desk.poll() {
            Output::Event(Event::Fetch(ask)) => Some(ask),
            _ => None,
        })
        .collect();
        assert_eq!(asked.len(), limit);
        let ask = asked.into_iter().next().unwrap();
        desk.machine.fetch(&ask, Uid::MIN, &[FetchData::Flags(&FlagSet::new())]).unwrap();
        desk.machine.answer(ask, Ok(())).unwrap();
        assert!(matches!(desk.poll(), Output::Event(Event::Fetch(_))));
    }
}

#[test]
fn messages_have_a_limit() {
    for (size, fits) in [(999, true), (1000, true), (1001, false)] {
        let mut desk = logged_in(|config| config.max_message_size = 1000);
        let output = desk.feed(&format!("c APPEND INBOX {{{size}}}\r\n"));
        assert_eq!(matches!(output, Output::Event(Event::Message(_))), fits, "{size}");
        assert_eq!(desk.sent().is_empty(), fits, "{size}");
        // One that comes unasked is taken to its end, and nobody is told of it.
        let mut desk = logged_in(|config| config.max_message_size = 1000);
        let output = desk.feed(&format!("c APPEND INBOX {{{size}+}}\r\n{}\r\n", "x".repeat(size)));
        assert_eq!(matches!(output, Output::Event(Event::Message(_))), fits, "{size}");
        let refused = "c NO [TOOBIG] message too large\r\n";
        assert_eq!(desk.sent(), if fits { "" } else { refused }, "{size}");
    }
}

#[test]
fn the_login_has_a_deadline_that_nothing_moves() {
    let mut desk = server(|_| {});
    desk.waits_for(Duration::from_secs(60));
    desk.now -= Duration::from_secs(30);
    let _ = desk.feed("a NOOP\r\n");
    desk.waits_for(Duration::from_secs(30));
    server_closes(&mut desk, &Closed::TimedOut(Deadline::Login));
    assert!(desk.sent().ends_with("* BYE timed out; logging out\r\n"));
}

#[test]
fn commands_and_handshakes_have_deadlines() {
    let mut desk = logged_in(|_| {});
    let _ = desk.feed("c NOOP\r\n");
    desk.waits_for(Duration::from_secs(30 * 60));
    server_closes(&mut desk, &Closed::TimedOut(Deadline::Command));

    let mut desk = server(|config| config.starttls = true);
    assert_eq!(desk.feed("c STARTTLS\r\n"), Output::Start(Layer::Tls));
    desk.waits_for(Duration::from_secs(30));
    server_closes(&mut desk, &Closed::TimedOut(Deadline::Tls));
}

#[test]
fn octets_of_a_message_and_answers_have_deadlines() {
    let mut desk = logged_in(|_| {});
    let Event::Message(ask) = desk.event("c APPEND INBOX {10}\r\n") else { panic!() };
    desk.waits_for(Duration::from_secs(4 * 60));
    let _ = desk.poll();
    assert_eq!(desk.sent(), "c NO [UNAVAILABLE] temporarily unavailable; try again later\r\n");
    assert!(desk.machine.answer(ask, Ok(())).is_err());

    let Event::Message(ask) = desk.event("d APPEND INBOX {10}\r\n") else { panic!() };
    desk.machine.answer(ask, Ok(())).unwrap();
    desk.waits_for(Duration::from_secs(3 * 60));
    server_closes(&mut desk, &Closed::TimedOut(Deadline::Body));
}

#[test]
fn a_layer_that_fails_ends_the_server_with_its_reason() {
    let why = Closed::Refused("bad record".into());
    let mut greeted = server(|_| {});
    let _ = greeted.poll();
    let mut asked = selected(|_| {});
    let Event::Fetch(ask) = asked.event("c FETCH 1 FLAGS\r\n") else { panic!() };
    for mut desk in [server(|_| {}), greeted, asked] {
        desk.machine.handle_failure(why.clone());
        desk.machine.handle_failure(Closed::Eof);
        server_closes(&mut desk, &why);
        desk.machine.handle_failure(Closed::Eof);
        assert_eq!(desk.poll(), Output::Close);
    }
    drop(ask);
}

// The client.

type Client1 = Desk<Client>;

fn client_config() -> client::Config {
    let mut config = client::Config::default();
    config.allow_plaintext_auth = true;
    config
}

fn client(change: impl FnOnce(&mut client::Config)) -> Client1 {
    let mut config = client_config();
    change(&mut config);
    Desk::of(Client::new(Arc::new(config), [0; 32]))
}

fn client_in(change: impl FnOnce(&mut client::Config)) -> Client1 {
    let mut desk = client(change);
    let _ = desk.event("* PREAUTH ready\r\n");
    desk
}

fn inbox() -> MailboxName {
    MailboxName::inbox()
}

fn closed(output: &Output<client::Event>) -> Option<&Closed> {
    match output {
        Output::Event(client::Event::Closed(why)) => Some(why),
        _ => None,
    }
}

#[test]
fn greetings_have_a_limit() {
    for (length, fits) in [(8191, true), (8192, true), (8193, false)] {
        let mut desk = client(|_| {});
        let event = desk.event(&format!("* OK {}\r\n", "x".repeat(length - 7)));
        assert_eq!(matches!(event, client::Event::Greeting { .. }), fits, "{length}");
    }
}

#[test]
fn responses_and_their_literals_have_limits() {
    for (length, fits) in [(999, true), (1000, true), (1001, false)] {
        let mut desk = client_in(|config| config.response = 1000);
        let event = desk.event(&format!("* OK {}\r\n", "x".repeat(length - 7)));
        assert_eq!(matches!(event, client::Event::Notice(_)), fits, "{length}");
        assert_eq!(matches!(event, client::Event::Skipped(_)), !fits, "{length}");

        let mut desk = client_in(|config| config.limits.literal = 1000);
        let event = desk.event(&format!("* LIST () \"/\" {{{length}}}\r\n{}\r\n", "x".repeat(length)));
        assert_eq!(matches!(event, client::Event::Unasked(_)), fits, "{length}");
    }
}

#[test]
fn a_response_may_be_skipped_for_so_long() {
    for (length, ends) in [(2999, false), (3000, false), (3001, true)] {
        let mut desk = client_in(|config| {
            config.response = 1000;
            config.limits.skip = 2000;
        });
        let start = "* OK ";
        let output = desk.feed(&format!("{start}{}", "x".repeat(length - start.len())));
        let limit = misbehaved(PeerMisbehaved::Endless { limit: 2000 });
        assert_eq!(closed(&output), ends.then_some(&limit), "{length}");
    }
}

#[test]
fn so_many_calls_wait_at_once() {
    let mut desk = client_in(|_| {});
    for _ in 0..32 {
        desk.machine.call(Noop).unwrap();
    }
    assert_eq!(desk.machine.call(Noop).err(), Some(Misuse::Busy));
    let _ = desk.event("aaaa1 OK done\r\n");
    assert!(desk.machine.call(Noop).is_ok());
}

#[test]
fn answers_have_a_limit() {
    let line = "* LIST () \"/\" x\r\n";
    for (limit, fits) in
        [(line.len() * 9 - 1 - 18, false), (line.len() * 9 - 18, true), (line.len() * 9 - 17, true)]
    {
        let mut desk = client_in(|config| config.answer = limit as u64);
        desk.machine.call(List::new("", "*")).unwrap();
        let output = desk.feed(&line.repeat(9));
        assert_eq!(closed(&output).is_none(), fits, "{limit}");
    }
}

/// A range counts as the numbers that are made of it: this one would be 16 GiB.
#[test]
fn ranges_of_numbers_have_the_limit_of_the_numbers() {
    let response = |last: u64| format!("* ESEARCH (TAG \"aaaa2\") UID ALL 1:{last}\r\n");
    let limit = 4 * 1000 + response(1000).len() as u64;
    for (last, fits) in [(999, true), (1000, true), (1001, false), (u32::MAX.into(), false)] {
        let mut desk = client_in(|config| config.answer = limit);
        desk.machine.call(Select::new(inbox(), false)).unwrap();
        let _ = desk.event("* 9 EXISTS\r\naaaa1 OK done\r\n");
        desk.machine.call(Search::new(Query::all())).unwrap();
        let output = desk.feed(&format!("{}aaaa2 OK done\r\n", response(last)));
        match output {
            Output::Event(client::Event::Search(_, Ok(found))) if fits => {
                assert_eq!(found.len() as u64, last)
            }
            output => {
                let what = "octets of responses and numbers";
                let expected = misbehaved(PeerMisbehaved::TooLongAnswer { what, limit });
                assert_eq!(closed(&output), Some(&expected), "{last}");
                assert!(!fits);
            }
        }
    }
}

#[test]
fn numbers_are_remembered_of_so_many_messages() {
    for (messages, known) in [(9, true), (10, true), (11, false)] {
        let mut desk = client_in(|config| config.messages = 10);
        desk.machine.call(Select::new(inbox(), false)).unwrap();
        let _ = desk.event(&format!("* {messages} EXISTS\r\naaaa1 OK done\r\n"));
        let _ = desk.event("* 1 FETCH (UID 7 FLAGS ())\r\n* 1 EXPUNGE\r\n");
        let told = format!("{:?}", desk.poll());
        assert_eq!(told.contains("Uid(7)"), known, "{messages}: {told}");
    }
}

#[test]
fn the_client_waits_so_long() {
    let timed_out = |desk: &mut Client1, deadline| {
        let output = desk.poll();
        assert_eq!(closed(&output), Some(&Closed::TimedOut(deadline)));
    };
    let mut desk = client(|_| {});
    desk.waits_for(Duration::from_secs(5 * 60));
    timed_out(&mut desk, Deadline::Greeting);

    let mut desk = client_in(|_| {});
    desk.machine.call(Noop).unwrap();
    desk.waits_for(Duration::from_secs(10 * 60));
    timed_out(&mut desk, Deadline::Reply);

    let mut desk = client_in(|_| {});
    desk.machine.call(Append::new(inbox(), 3)).unwrap();
    let _ = desk.feed("+ go on\r\n");
    while let Output::Event(_) = desk.poll() {}
    desk.machine.send_body("abc".into()).unwrap();
    desk.machine.end_body().unwrap();
    while let Output::Event(_) = desk.poll() {}
    // The reply to a message takes no other clock than that to any command.
    desk.waits_for(Duration::from_secs(10 * 60));
    timed_out(&mut desk, Deadline::Reply);

    let mut desk = client_in(|_| {});
    desk.machine.call(client::Idle).unwrap();
    let _ = desk.event("+ idling\r\n");
    desk.sent();
    desk.waits_for(Duration::from_secs(29 * 60));
    let _ = desk.poll();
    assert_eq!(desk.sent(), "DONE\r\n");
}

#[test]
fn a_layer_that_fails_ends_the_client_with_its_reason() {
    let why = Closed::Refused("bad record".into());
    for mut desk in [client(|_| {}), client_in(|_| {})] {
        desk.machine.handle_failure(why.clone());
        desk.machine.handle_failure(Closed::Eof);
        let output = desk.poll();
        assert_eq!(closed(&output), Some(&why));
        assert_eq!(desk.poll(), Output::Close);
    }
}
