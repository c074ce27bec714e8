//! Searches that are refused, and those that are kept up to date: what a client is told then, and what `$` stands for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::{sync::Arc, time::Instant};

use bytes::{Buf, BytesMut};
use mailwright_imap_proto::server::{Abilities, Change, Config, Event, Found, Opened, Ordered, Server};
use mailwright_line_proto::{Closed, Machine, Output, Peer, PeerMisbehaved};
use mailwright_mail_model::{Uid, UidSet, UidValidity};

struct Session {
    server: Server,
    rx: BytesMut,
    now: Instant,
}

fn set(text: &str) -> UidSet {
    text.parse().unwrap()
}

fn uids(numbers: &[u32]) -> Vec<Uid> {
    numbers.iter().map(|number| Uid::new(*number).unwrap()).collect()
}

impl Session {
    /// With a mailbox of these messages open.
    fn selected(uids: &str) -> Self {
        let mut config = Config::default();
        config.allow_plaintext_auth = true;
        config.abilities = Abilities::everything();
        config.limits.errors = 3;
        let server = Server::new(Arc::new(config), Peer::unknown());
        let mut session = Self { server, rx: BytesMut::new(), now: Instant::now() };
        let Event::Login(ask) = session.event("a LOGIN x y\r\n") else { panic!() };
        session.server.answer(ask, Ok(())).unwrap();
        let Event::Open(ask) = session.event("b SELECT INBOX\r\n") else { panic!() };
        let opened = Opened::new(set(uids), UidValidity::new(1).unwrap());
        session.server.answer(ask, Ok(opened)).unwrap();
        assert!(session.sent().ends_with("b OK [READ-WRITE] SELECT completed\r\n"));
        session
    }

    fn feed(&mut self, input: &str) -> Output<Event> {
        self.rx.extend_from_slice(input.as_bytes());
        self.server.poll(self.now, &mut self.rx)
    }

    fn event(&mut self, input: &str) -> Event {
        match self.feed(input) {
            Output::Event(event) => event,
            other => panic!("{other:?}"),
        }
    }

    /// What the server says to a command that needs no answer.
    fn says(&mut self, input: &str) -> String {
        let Output::Wait(_) = self.feed(input) else { panic!("{input}") };
        self.sent()
    }

    fn refreshed(&mut self) -> String {
        let Event::Refresh(ask) = self.event("n NOOP\r\n") else { panic!() };
        self.server.answer(ask, ()).unwrap();
        self.sent()
    }

    /// A search that saves what it finds.
    fn saves(&mut self, found: &str) {
        let Event::Find(ask) = self.event("s SEARCH RETURN (SAVE) ALL\r\n") else { panic!() };
        self.server.answer(ask, Ok(Found::new(set(found)))).unwrap();
        assert_eq!(self.sent(), "s OK SEARCH completed\r\n");
    }

    fn sent(&mut self) -> String {
        let mut all = Vec::new();
        while self.server.transmit().has_remaining() {
            let chunk = self.server.transmit().chunk().to_vec();
            self.server.transmit().advance(chunk.len());
            all.extend(chunk);
        }
        String::from_utf8(all).unwrap()
    }
}

/// RFC 9051 §7.5.1
#[test]
fn no_expunge_is_told_in_answer_to_a_search_by_number() {
    for (command, told) in [
        ("SEARCH FILTER none", false),
        ("SORT (ARRIVAL) UTF-8 FILTER none", false),
        ("THREAD REFERENCES UTF-8 FILTER none", false),
        ("UID SEARCH FILTER none", true),
    ] {
        let mut session = Session::selected("1:5");
        let Event::Filter(ask) = session.event(&format!("c {command}\r\n")) else { panic!("{command}") };
        session.server.notify(Change::Removed(set("1")));
        session.server.answer(ask, Ok(None)).unwrap();
        let said = session.sent();
        assert!(said.contains("c NO [UNDEFINED-FILTER none]"), "{said}");
        assert_eq!(said.contains("EXPUNGE"), told, "{command}: {said}");
        assert_eq!(session.refreshed().contains("* 1 EXPUNGE"), !told, "{command}");
    }
}

/// RFC 5182 §2.1
#[test]
fn after_a_no_nothing_is_saved() {
    for command in [
        "SEARCH RETURN (SAVE) FILTER none",
        "SORT RETURN (SAVE) (ARRIVAL) UTF-8 FILTER none",
        "ESEARCH IN (selected) RETURN (SAVE) FILTER none",
        "SEARCH RETURN (SAVE) CHARSET x-none ALL",
        "SORT RETURN (SAVE) (ARRIVAL) x-none ALL",
        "ESEARCH IN (selected mailboxes a) RETURN (SAVE) CHARSET x-none ALL",
        "ESEARCH RETURN (SAVE) CHARSET x-none ALL",
    ] {
        let mut session = Session::selected("1:5");
        session.saves("2:3");
        let output = session.feed(&format!("c {command}\r\n"));
        if let Output::Event(Event::Filter(ask)) = output {
            session.server.answer(ask, Ok(None)).unwrap();
        }
        assert!(session.sent().starts_with("c NO "), "{command}");
        assert_eq!(session.says("d UID FETCH $ FLAGS\r\n"), "d OK UID FETCH completed\r\n", "{command}");
    }
    // One that is not to be saved leaves it as it was, and so does BAD.
    for command in ["SEARCH FILTER none", "SEARCH CHARSET x-none ALL", "SEARCH RETURN (SAVE) NONSENSE"] {
        let mut session = Session::selected("1:5");
        session.saves("2:3");
        let output = session.feed(&format!("c {command}\r\n"));
        if let Output::Event(Event::Filter(ask)) = output {
            session.server.answer(ask, Ok(None)).unwrap();
        }
        let Event::Fetch(ask) = session.event("d UID FETCH $ FLAGS\r\n") else { panic!("{command}") };
        assert_eq!(ask.messages, set("2:3"), "{command}");
    }
}

/// RFC 5267 §4.3: following what is told, a client has the order that there is.
#[test]
fn an_order_that_changes_is_told() {
    let mut session = Session::selected("1,3,5,7");
    let command = "c SORT RETURN (UPDATE ALL) (REVERSE ANNOTATION /comment value.priv) UTF-8 ALL\r\n";
    let Event::Order(ask) = session.event(command) else { panic!() };
    session.server.answer(ask, Ok(Ordered::new(uids(&[1, 3, 5, 7])))).unwrap();
    assert!(session.sent().starts_with("* ESEARCH (TAG \"c\") ALL 1:4\r\n"));
    for (found, told) in [
        (&[1, 3, 5, 7][..], ""),
        (&[1, 3, 7, 5], "REMOVEFROM (3 3:4)|ADDTO (3 4,3)"),
        (&[5, 1, 3, 7], "REMOVEFROM (1 1:2,4,3)|ADDTO (1 3,1:2,4)"),
        // One goes, and another is at its place.
        (&[5, 3, 1], "REMOVEFROM (2 1:2,4)|ADDTO (2 2,1)"),
        (&[5, 7, 3, 1], "ADDTO (2 4)"),
    ] {
        session.server.found("c", uids(found));
        let said = session.refreshed();
        let lines: Vec<&str> =
            said.lines().filter_map(|line| line.strip_prefix("* ESEARCH (TAG \"c\") ")).collect();
        assert_eq!(lines.join("|"), told, "{found:?}");
    }
}

/// RFC 9586 §3
#[test]
fn without_sequence_numbers_all_is_told_by_uid() {
    let mut session = Session::selected("1,3,5");
    let Event::Find(ask) = session.event("c SEARCH RETURN (UPDATE ALL) ALL\r\n") else { panic!() };
    session.server.answer(ask, Ok(Found::new(set("1,3,5")))).unwrap();
    assert!(session.sent().starts_with("* ESEARCH (TAG \"c\") ALL 1:3\r\n"));
    assert!(session.says("d ENABLE UIDONLY\r\n").ends_with("d OK ENABLE completed\r\n"));
    session.server.notify(Change::Removed(set("3")));
    session.server.found("c", uids(&[1, 5]));
    assert!(
        session.refreshed().starts_with("* ESEARCH (TAG \"c\") UID REMOVEFROM (0 3)\r\n* VANISHED 3\r\n")
    );
}

#[test]
fn what_went_wrong_once_is_forgotten() {
    let mut session = Session::selected("1");
    for _ in 0..9 {
        assert!(session.says("c NONSENSE\r\nd NONSENSE\r\n").contains("d BAD "));
        assert!(session.says("e CAPABILITY\r\n").ends_with("e OK CAPABILITY completed\r\n"));
    }
    assert!(session.says("c NONSENSE\r\nd NONSENSE\r\n").contains("d BAD "));
    let Event::Close(ask) = session.event("e UNAUTHENTICATE\r\n") else { panic!() };
    session.server.answer(ask, Ok(())).unwrap();
    session.sent();
    assert!(session.says("c NONSENSE\r\nd NONSENSE\r\n").contains("d BAD "));
    // Nobody has logged in: what goes well counts for nothing.
    assert!(session.says("e CAPABILITY\r\n").ends_with("e OK CAPABILITY completed\r\n"));
    let Output::Event(Event::Closed(why)) = session.feed("f NONSENSE\r\n") else { panic!() };
    assert_eq!(why, Closed::Misbehaved(PeerMisbehaved::TooManyErrors { limit: 3 }));
}
