//! Both machines where a transcript cannot reach: misuse, late answers, TLS, what is traced.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use mailwright_line_proto::{
    AuthStep, Authenticate, Closed, Deadline, Gone, Machine, Misuse, Output, PeerMisbehaved, Secret,
    Shutdown, TlsInfo, Trace, Traced, Wait,
};
use mailwright_sieve::managesieve::{
    CheckScript, Client, GetScript, HaveSpace, ListScripts, Logout, Noop, PutScript, Refusal, ResponseCode,
    Server, SetActive, StartTls, Unauthenticate, client, server,
};

use crate::subjects::{Vault, client_config, server_config};

/// A server, its unread input and its clock.
pub(crate) struct Desk {
    pub(crate) server: Server,
    pub(crate) vault: Vault,
    pub(crate) rx: BytesMut,
    pub(crate) now: Instant,
}

impl Desk {
    pub(crate) fn new(config: server::Config) -> Self {
        let mut desk = Self::silent(config);
        assert!(desk.say("").ends_with("OK\r\n"));
        desk
    }

    /// A server that was not polled yet.
    pub(crate) fn silent(config: server::Config) -> Self {
        let vault = Vault::new(config);
        Self { server: vault.server(), vault, rx: BytesMut::new(), now: Instant::now() }
    }

    pub(crate) fn logged_in() -> Self {
        Self::logged_in_with(server_config())
    }

    pub(crate) fn logged_in_with(config: server::Config) -> Self {
        let mut desk = Self::new(config);
        assert_eq!(desk.say("AUTHENTICATE \"PLAIN\" \"AHRlc3QAdGVzdA==\"\r\n"), "OK\r\n");
        desk
    }

    pub(crate) fn poll(&mut self) -> Output<server::Event> {
        self.server.poll(self.now, &mut self.rx)
    }

    pub(crate) fn event(&mut self, input: &str) -> server::Event {
        self.rx.extend_from_slice(input.as_bytes());
        match self.poll() {
            Output::Event(event) => event,
            other => panic!("no event but {other:?}"),
        }
    }

    pub(crate) fn wait(&mut self) -> Wait {
        match self.poll() {
            Output::Wait(wait) => wait,
            other => panic!("no wait but {other:?}"),
        }
    }

    pub(crate) fn sent(&mut self) -> String {
        let transmit = self.server.transmit();
        let length = transmit.remaining();
        String::from_utf8(transmit.copy_to_bytes(length).to_vec()).unwrap()
    }

    /// Input, and what it brings with the application of the tests.
    pub(crate) fn say(&mut self, input: &str) -> String {
        self.rx.extend_from_slice(input.as_bytes());
        loop {
            match self.poll() {
                Output::Event(server::Event::Closed(why)) => panic!("closed: {why:?}"),
                Output::Event(event) => self.vault.serve(&mut self.server, event),
                Output::Wait(_) => return self.sent(),
                other => panic!("{other:?}"),
            }
        }
    }

    /// What is left to say, the reason, and the end.
    #[track_caller]
    pub(crate) fn closes(&mut self, input: &str, why: &Closed, last_words: &str) {
        self.rx.extend_from_slice(input.as_bytes());
        loop {
            match self.poll() {
                Output::Event(server::Event::Closed(found)) => break assert_eq!(found, *why),
                Output::Event(event) => self.vault.serve(&mut self.server, event),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(self.sent(), last_words);
        assert_eq!(self.poll(), Output::Close);
    }
}

/// A client and what the server sent to it.
pub(crate) struct Caller {
    pub(crate) client: Client,
    pub(crate) rx: BytesMut,
    pub(crate) now: Instant,
}

impl Caller {
    pub(crate) fn silent(config: client::Config) -> Self {
        Self { client: Client::new(Arc::new(config)), rx: BytesMut::new(), now: Instant::now() }
    }

    pub(crate) fn greeted(config: client::Config) -> Self {
        let mut caller = Self::silent(config);
        assert_eq!(caller.hear("\"SASL\" \"PLAIN\"\r\n\"STARTTLS\"\r\nOK\r\n"), [client::Event::Greeting]);
        caller
    }

    pub(crate) fn logged_in(config: client::Config) -> Self {
        let mut caller = Self::greeted(config);
        caller.client.call(Authenticate::new("PLAIN".to_owned(), Some(Secret::from("x")))).unwrap();
        assert!(matches!(caller.hear("OK\r\n")[..], [client::Event::Authenticate(_, Ok(None))]));
        caller.sent();
        caller
    }

    pub(crate) fn hear(&mut self, input: &str) -> Vec<client::Event> {
        self.rx.extend_from_slice(input.as_bytes());
        let mut events = Vec::new();
        while let Output::Event(event) = self.client.poll(self.now, &mut self.rx) {
            events.push(event);
        }
        events
    }

    pub(crate) fn wait(&mut self) -> Wait {
        match self.client.poll(self.now, &mut self.rx) {
            Output::Wait(wait) => wait,
            other => panic!("no wait but {other:?}"),
        }
    }

    pub(crate) fn sent(&mut self) -> String {
        let transmit = self.client.transmit();
        let length = transmit.remaining();
        String::from_utf8(transmit.copy_to_bytes(length).to_vec()).unwrap()
    }

    #[track_caller]
    pub(crate) fn closes(&mut self, input: &str) -> Closed {
        let mut events = self.hear(input);
        let Some(client::Event::Closed(why)) = events.pop() else { panic!("not closed: {events:?}") };
        assert_eq!(self.client.poll(self.now, &mut self.rx), Output::Close);
        assert_eq!(self.client.call(Noop(None)), Err(Misuse::Closed));
        why
    }
}

const LATER: &str = "NO (TRYLATER) \"temporary failure, try again later\"\r\n";

#[test]
fn everything_can_be_declined() {
    let mut desk = Desk::logged_in();
    for line in [
        "HAVESPACE \"a\" 5",
        "PUTSCRIPT \"a\" \"keep;\"",
        "PUTSCRIPT \"a\" {5+}\r\nkeep;",
        "CHECKSCRIPT \"keep;\"",
        "LISTSCRIPTS",
        "SETACTIVE \"a\"",
        "GETSCRIPT \"a\"",
        "DELETESCRIPT \"a\"",
        "RENAMESCRIPT \"a\" \"b\"",
        "UNAUTHENTICATE",
    ] {
        let event = desk.event(&format!("{line}\r\n"));
        desk.server.decline(event);
        assert_eq!(desk.say(""), LATER, "{line}");
    }
    for line in ["PUTSCRIPT \"a\" \"keep;\"", "CHECKSCRIPT \"keep;\""] {
        let server::Event::Upload(ask) = desk.event(&format!("{line}\r\n")) else { panic!() };
        desk.server.answer(ask, Ok(())).unwrap();
        assert!(matches!(desk.event(""), server::Event::Body(_)));
        let event = desk.event("");
        desk.server.decline(event);
        assert_eq!(desk.say(""), LATER, "{line}");
    }
}

#[test]
fn late_answers_are_refused_in_step() {
    let mut desk = Desk::logged_in();
    let server::Event::Upload(upload) = desk.event("PUTSCRIPT \"a\" {8+}\r\nLOG") else { panic!() };
    assert!(!desk.wait().read);
    desk.now += Duration::from_secs(240);
    assert_eq!(desk.say("OUT\r\n\r\nNOOP\r\n"), format!("{LATER}OK \"done\"\r\n"));
    assert_eq!(desk.server.answer(upload, Ok(())), Err(Gone));
    let server::Event::GetScript(ask) = desk.event("GETSCRIPT \"a\"\r\n") else { panic!() };
    desk.now += Duration::from_secs(240);
    assert_eq!(desk.say(""), LATER);
    assert_eq!(desk.server.answer(ask, Ok(5)), Err(Gone));
    assert_eq!(desk.server.send_body("x".into()), Err(Misuse::NoBody));
    assert_eq!(desk.server.end_body(), Err(Misuse::NoBody));
}

#[test]
fn a_script_of_another_length_than_announced_closes() {
    for (piece, more) in [("1234", false), ("123456", true)] {
        let mut desk = Desk::logged_in();
        let server::Event::GetScript(ask) = desk.event("GETSCRIPT \"a\"\r\n") else { panic!() };
        desk.server.answer(ask, Ok(5)).unwrap();
        let wrong = Misuse::BodyLength { announced: 5 };
        let sent = desk.server.send_body(piece.into());
        assert_eq!(sent, if more { Err(wrong) } else { Ok(()) });
        if !more {
            assert_eq!(desk.server.end_body(), Err(wrong));
        }
        let sent = if more { "{5}\r\n" } else { "{5}\r\n1234" };
        desk.closes("", &Closed::Misuse(wrong), sent);
        assert_eq!(desk.server.send_body("x".into()), Err(Misuse::Closed));
    }
    let mut desk = Desk::logged_in();
    let server::Event::GetScript(ask) = desk.event("GETSCRIPT \"a\"\r\n") else { panic!() };
    desk.server.answer(ask, Ok(5)).unwrap();
    desk.server.abort_body();
    desk.closes("", &Closed::TimedOut(Deadline::Body), "{5}\r\n");
}

#[test]
fn a_failure_of_tls_is_the_reason_of_closing() {
    let why = Closed::Misbehaved(PeerMisbehaved::Tls("handshake".to_owned()));
    let mut desk = Desk::new(server_config());
    desk.rx.extend_from_slice(b"STARTTLS\r\n");
    assert!(matches!(desk.poll(), Output::Start(_)));
    desk.sent();
    desk.server.handle_failure(why.clone());
    desk.closes("", &why, "");

    let mut caller = Caller::greeted(client_config());
    caller.client.call(StartTls).unwrap();
    assert_eq!(caller.hear("OK\r\n"), []);
    caller.client.handle_failure(why.clone());
    assert_eq!(caller.closes(""), why);
}

#[test]
fn tls_forgets_what_was_before() {
    let mut desk = Desk::new(server_config());
    desk.rx.extend_from_slice(b"STARTTLS\r\n");
    assert!(matches!(desk.poll(), Output::Start(_)));
    desk.sent();
    // RFC 9266: where there is a channel to bind to.
    let mut tls = TlsInfo::default();
    tls.exporter = Some([7; 32]);
    desk.server.handle_tls(tls);
    let offered = desk.say("");
    assert!(
        offered.contains("\"SASL\" \"PLAIN X-TWO X-TWO-PLUS\"") && !offered.contains("STARTTLS"),
        "{offered}"
    );
    assert!(desk.say("STARTTLS\r\n").starts_with("NO"));

    let mut caller = Caller::greeted(client_config());
    caller.client.call(StartTls).unwrap();
    caller.hear("OK\r\n");
    caller.client.handle_tls(TlsInfo::default());
    assert!(!caller.client.capabilities().contain("SASL"));
    assert_eq!(
        caller.client.call(ListScripts),
        Err(Misuse::WrongState { request: "LISTSCRIPTS", state: "while TLS starts" })
    );
    assert!(matches!(caller.hear("\"SASL\" \"A B\"\r\nOK\r\n")[..], [client::Event::StartTls(_, Ok(()))]));
    assert_eq!(caller.client.capabilities().mechanisms().count(), 2);
    assert!(caller.client.call(StartTls).is_err());
}

#[test]
fn shutdown_waits_for_what_is_under_way() {
    let mut desk = Desk::logged_in();
    let server::Event::ListScripts(ask) = desk.event("LISTSCRIPTS\r\nNOOP\r\n") else { panic!() };
    desk.server.shutdown(Shutdown::Stopping);
    assert!(!desk.wait().read);
    desk.server.answer(ask, Ok(Vec::new())).unwrap();
    let last = "OK\r\nBYE (TRYLATER) \"the server is stopping\"\r\n";
    desk.closes("", &Closed::Shutdown(Shutdown::Stopping), last);
}

#[test]
fn calls_are_made_in_their_state() {
    let mut caller = Caller::silent(client_config());
    assert!(matches!(caller.client.call(Noop(None)), Err(Misuse::WrongState { .. })));
    let mut caller = Caller::greeted(client::Config::default());
    let plain = Authenticate::new("PLAIN".to_owned(), None);
    assert_eq!(
        caller.client.call(plain.clone()),
        Err(Misuse::WrongState {
            request: "AUTHENTICATE",
            state: "without TLS, unless `allow_plaintext_auth` is set"
        })
    );
    assert!(caller.client.call(ListScripts).is_err());
    assert_eq!(caller.sent(), "");

    let mut caller = Caller::logged_in(client_config());
    assert!(caller.client.call(plain).is_err());
    assert_eq!(caller.client.call(Unauthenticate), Err(Misuse::NotOffered("UNAUTHENTICATE")));
    assert!(matches!(caller.client.call(CheckScript { size: 0 }), Err(Misuse::Argument(_))));
    caller.client.call(PutScript { name: "a".parse().unwrap(), size: 5 }).unwrap();
    assert_eq!(caller.client.call(Noop(None)), Err(Misuse::BodyOpen));
    caller.client.send_body("keep".into()).unwrap();
    assert_eq!(caller.client.end_body(), Err(Misuse::BodyLength { announced: 5 }));
    assert_eq!(caller.closes(""), Closed::Misuse(Misuse::BodyLength { announced: 5 }));
    assert_eq!(caller.client.send_body("x".into()), Err(Misuse::Closed));

    let mut caller = Caller::logged_in(client_config());
    caller.client.call(HaveSpace { name: "a".parse().unwrap(), size: 5 }).unwrap();
    // RFC 5804 §2: it must be the last of a group.
    assert_eq!(caller.client.call(Noop(None)), Err(Misuse::Busy));
    caller.hear("OK\r\n");
    caller.client.call(Logout).unwrap();
    assert_eq!(caller.client.call(Noop(None)), Err(Misuse::Busy));
    assert_eq!(caller.client.end_body(), Err(Misuse::NoBody));
}

#[test]
fn a_script_refused_before_its_end_closes() {
    let mut caller = Caller::logged_in(client_config());
    let ticket = caller.client.call(PutScript { name: "a".parse().unwrap(), size: 500 }).unwrap();
    let events = caller.hear("NO (QUOTA) \"full\"\r\n");
    let refusal = Refusal::new(Some(ResponseCode::Quota), "full");
    let [client::Event::PutScript(found, Err(why)), client::Event::Closed(Closed::Refused(_))] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((*found, why), (ticket, &refusal));
}

#[test]
fn a_cancelled_call_is_read_to_its_end() {
    let mut caller = Caller::logged_in(client_config());
    let get = caller.client.call(GetScript { name: "a".parse().unwrap() }).unwrap();
    let list = caller.client.call(ListScripts).unwrap();
    let noop = caller.client.call(Noop(None)).unwrap();
    caller.client.cancel(get);
    caller.client.cancel(list);
    assert_eq!(
        caller.hear("{5}\r\nkeep;\r\nOK\r\n\"a\"\r\nOK\r\nOK\r\n"),
        [client::Event::Noop(noop, Ok(()))]
    );
}

#[test]
fn what_is_no_reply_closes() {
    for (call, reply) in [
        (false, "OK\r\n"),
        (false, "\"x\"\r\n"),
        (true, "* OK\r\n"),
        (true, "OK )\r\n"),
        (true, "\"x\r\n"),
        (true, "\"a\" INACTIVE\r\n"),
        (true, "\"\"\r\n"),
    ] {
        let mut caller = Caller::logged_in(client_config());
        if call {
            caller.client.call(ListScripts).unwrap();
        }
        let why = caller.closes(reply);
        assert!(matches!(why, Closed::Misbehaved(_)), "{reply:?}: {why:?}");
    }
    let mut caller = Caller::greeted(client_config());
    caller.client.call(StartTls).unwrap();
    assert_eq!(caller.closes("OK\r\n\"SASL\"\r\n"), Closed::Misbehaved(PeerMisbehaved::PlaintextBehindTls));
    let mut caller = Caller::logged_in(client_config());
    caller.client.call(SetActive(None)).unwrap();
    assert!(matches!(caller.closes("BYE \"enough\"\r\n"), Closed::Refused(_)));
}

#[test]
fn the_trace_shows_no_secret() {
    let seen = Arc::new(Mutex::new(String::new()));
    let watch = |seen: &Arc<Mutex<String>>| {
        let seen = Arc::clone(seen);
        Trace::new(move |traced| {
            let text = match traced {
                Traced::Received(line) | Traced::Sent(line) => String::from_utf8_lossy(line).into_owned(),
                _ => "(secret)".to_owned(),
            };
            seen.lock().unwrap().push_str(&format!("{text}\n"));
        })
    };
    let mut desk = Desk::new(server_config());
    desk.server.set_trace(watch(&seen));
    desk.say(
        "AUTHENTICATE \"X-TWO\" \"c2VjcmV0\"\r\nAUTHENTICATE \"X-TWO\"\r\n\"c2VjcmV0\"\r\nc2VjcmV0 x\r\n",
    );
    let mut caller = Caller::greeted(client_config());
    caller.client.set_trace(watch(&seen));
    caller.client.call(Authenticate::new("X".to_owned(), Some(Secret::from("secret")))).unwrap();
    caller.hear("\"c2VjcmV0\"\r\n");
    caller.client.call(Authenticate::new("X".to_owned(), Some(Secret::from("secret")))).unwrap();
    let seen = seen.lock().unwrap();
    assert!(seen.contains("(secret)") && !seen.contains("c2VjcmV0"), "{seen}");
}

#[test]
fn a_login_can_be_accepted_only_once_asked() {
    let mut desk = Desk::new(server_config());
    let server::Event::Authenticate(ask) = desk.event("AUTHENTICATE \"PLAIN\"\r\n") else { panic!() };
    desk.server.answer(ask, AuthStep::Accept).unwrap();
    assert_eq!(desk.say("LISTSCRIPTS\r\n"), "OK\r\nOK\r\n");
}
