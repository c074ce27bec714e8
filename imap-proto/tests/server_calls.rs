//! What transcripts cannot show: calls out of order, answers that come late or never, and bounds on memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes, BytesMut};
use mailwright_imap_proto::{
    Refusal,
    command::{Fetch, FetchItem},
    response::ResponseCode,
    server::{Change, Config, Event, FetchData, Opened, Server},
};
use mailwright_line_proto::{
    Ask, AuthRefusal, AuthStep, Closed, Deadline, Gone, Machine, Misuse, Output, Peer, PeerMisbehaved,
    Shutdown, Trace, Wait,
};
use mailwright_mail_model::{FlagSet, ModSeq, Uid, UidSet, UidValidity};

struct Session {
    server: Server,
    rx: BytesMut,
    now: Instant,
}

fn uid(number: u32) -> Uid {
    Uid::new(number).unwrap()
}

fn set(text: &str) -> UidSet {
    text.parse().unwrap()
}

impl Session {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.allow_plaintext_auth = true;
        change(&mut config);
        let server = Server::new(Arc::new(config), Peer::unknown());
        Self { server, rx: BytesMut::new(), now: Instant::now() }
    }

    /// Logged in, with a mailbox of these messages open.
    fn selected(uids: &str, change: impl FnOnce(&mut Config)) -> Self {
        let mut session = Self::logged_in(change);
        let Event::Open(ask) = session.event("b SELECT INBOX\r\n") else { panic!() };
        let opened = Opened::new(set(uids), UidValidity::new(1).unwrap());
        session.server.answer(ask, Ok(opened)).unwrap();
        assert!(session.sent().ends_with("b OK [READ-WRITE] SELECT completed\r\n"));
        session
    }

    fn logged_in(change: impl FnOnce(&mut Config)) -> Self {
        let mut session = Self::new(change);
        let Event::Login(ask) = session.event("a LOGIN x y\r\n") else { panic!() };
        session.server.answer(ask, Ok(())).unwrap();
        session.sent();
        session
    }

    fn poll(&mut self) -> Output<Event> {
        self.server.poll(self.now, &mut self.rx)
    }

    fn feed(&mut self, input: &str) -> Output<Event> {
        self.rx.extend_from_slice(input.as_bytes());
        self.poll()
    }

    fn event(&mut self, input: &str) -> Event {
        match self.feed(input) {
            Output::Event(event) => event,
            other => panic!("{other:?}"),
        }
    }

    fn fetch(&mut self, input: &str) -> Ask<Fetch<UidSet>> {
        let Event::Fetch(ask) = self.event(input) else { panic!("no FETCH") };
        ask
    }

    fn waits(&mut self, input: &str) -> Wait {
        match self.feed(input) {
            Output::Wait(wait) => wait,
            other => panic!("{other:?}"),
        }
    }

    fn sent(&mut self) -> String {
        let transmit = self.server.transmit();
        String::from_utf8(transmit.copy_to_bytes(transmit.remaining()).to_vec()).unwrap()
    }

    fn closed(&mut self) -> Closed {
        let closed = self.event("");
        assert_eq!(self.poll(), Output::Close);
        match closed {
            Event::Closed(why) => why,
            other => panic!("{other:?}"),
        }
    }
}

/// A session in the middle of the answer to a SELECT that asks what changed.
fn coming_back() -> (Session, Ask<Fetch<UidSet>>) {
    let mut session = Session::logged_in(|config| config.abilities.mod_sequences = true);
    let _ = session.feed("b ENABLE QRESYNC\r\n");
    let Event::Open(ask) = session.event("c SELECT INBOX (QRESYNC (1 7))\r\n") else { panic!() };
    let mut opened = Opened::new(set("1:4"), UidValidity::new(1).unwrap());
    opened.highest_mod_seq = ModSeq::new(9);
    opened.changed = set("2");
    session.server.answer(ask, Ok(opened)).unwrap();
    let ask = session.fetch("");
    session.sent();
    (session, ask)
}

#[test]
fn what_happens_during_a_select_is_told_behind_it() {
    let gone = Refusal::new(ResponseCode::ExpungeIssued, "gone");
    for answer in [Ok(()), Err(gone)] {
        let (mut session, ask) = coming_back();
        session.server.notify(Change::Removed(set("2")));
        session.server.notify(Change::Added { uids: set("9"), recent: UidSet::new() });
        session.server.answer(ask, answer).unwrap();
        assert_eq!(session.sent(), "c OK [READ-WRITE] SELECT completed\r\n");
        let Event::Refresh(ask) = session.event("d NOOP\r\n") else { panic!() };
        session.server.answer(ask, ()).unwrap();
        assert_eq!(session.sent(), "* VANISHED 2\r\n* 4 EXISTS\r\n* 0 RECENT\r\nd OK NOOP completed\r\n");
    }
}

#[test]
fn a_select_that_fails_late_leaves_nothing_selected() {
    let (mut session, ask) = coming_back();
    session.server.answer(ask, Err(Refusal::unavailable())).unwrap();
    assert!(session.sent().starts_with("c NO [UNAVAILABLE]"));
    let _ = session.feed("d EXPUNGE\r\n");
    assert!(session.sent().starts_with("d BAD"));
}

#[test]
fn messages_keep_their_numbers_while_a_fetch_runs() {
    let mut session = Session::selected("1:4", |_| {});
    let ask = session.fetch("c FETCH 1:4 FLAGS\r\n");
    session.server.notify(Change::Removed(set("2")));
    session.server.notify(Change::Added { uids: set("9"), recent: set("9") });
    for number in [1, 3, 4] {
        assert_eq!(session.server.fetch(&ask, uid(number), &[FetchData::Flags(&FlagSet::new())]), Ok(true));
    }
    assert_eq!(session.server.fetch(&ask, uid(9), &[]), Ok(false));
    session.server.answer(ask, Ok(())).unwrap();
    assert_eq!(
        session.sent(),
        "* 1 FETCH (FLAGS ())\r\n* 3 FETCH (FLAGS ())\r\n* 4 FETCH (FLAGS ())\r\n\
         * 5 EXISTS\r\n* 1 RECENT\r\nc OK FETCH completed\r\n"
    );
    let Event::Refresh(ask) = session.event("d NOOP\r\n") else { panic!() };
    session.server.answer(ask, ()).unwrap();
    assert_eq!(session.sent(), "* 2 EXPUNGE\r\nd OK NOOP completed\r\n");
}

#[test]
fn reading_commands_run_side_by_side_and_may_end_in_any_order() {
    let mut session = Session::selected("1:4", |config| config.limits.in_flight = 2);
    let first = session.fetch("c FETCH 1 FLAGS\r\nd UID FETCH 2 FLAGS\r\ne FETCH 3 FLAGS\r\n");
    let second = session.fetch("");
    assert!(!session.waits("").read, "two are in flight; the third has come and waits");
    // An open section is never torn: what ends meanwhile is held back.
    let flags = FlagSet::new();
    let section = mailwright_imap_proto::command::BodySection::peek(Default::default());
    session.server.fetch(&first, uid(1), &[FetchData::Stream(&section, 4)]).unwrap();
    assert_eq!(session.server.fetch(&second, uid(2), &[FetchData::Flags(&flags)]), Err(Misuse::BodyOpen));
    session.server.answer(second, Err(Refusal::unavailable())).unwrap();
    session.server.send_body("ab".into()).unwrap();
    assert!(!session.waits("").read, "a section is being sent");
    session.server.send_body("cd".into()).unwrap();
    session.server.fetch_more(&[FetchData::Size(4)]).unwrap();
    assert_eq!(session.server.end_body(), Err(Misuse::NoBody));
    let third = session.fetch("");
    session.server.answer(third, Ok(())).unwrap();
    session.server.answer(first, Ok(())).unwrap();
    assert_eq!(
        session.sent(),
        "* 1 FETCH (BODY[] {4}\r\nabcd RFC822.SIZE 4)\r\n\
         d NO [UNAVAILABLE] temporarily unavailable; try again later\r\n\
         e OK FETCH completed\r\nc OK FETCH completed\r\n"
    );
}

#[test]
fn what_changes_something_runs_alone() {
    let mut session = Session::selected("1:4", |_| {});
    let ask = session.fetch("c FETCH 1 FLAGS\r\nd STORE 1 +FLAGS (\\Seen)\r\ne FETCH 1 FLAGS\r\n");
    assert!(!session.waits("").read);
    session.server.answer(ask, Ok(())).unwrap();
    let Event::Store(ask) = session.event("") else { panic!() };
    assert!(!session.waits("").read);
    session.server.answer(ask, Ok(UidSet::new())).unwrap();
    let _ = session.fetch("");
}

#[test]
fn a_section_of_the_wrong_length_closes_the_connection() {
    type Breaks = fn(&mut Server, Ask<Fetch<UidSet>>) -> Result<(), Misuse>;
    let long: Breaks = |server, _| server.send_body("abcde".into());
    let short: Breaks = |server, _| server.end_body();
    let answered: Breaks = |server, ask| {
        assert_eq!(server.answer(ask, Ok(())), Err(Gone));
        Err(Misuse::BodyLength { announced: 4 })
    };
    for breaks in [long, short, answered] {
        let mut session = Session::selected("1", |_| {});
        let ask = session.fetch("c FETCH 1 BODY.PEEK[]\r\n");
        let FetchItem::Section(section) = ask.items[0].clone() else { panic!() };
        session.server.fetch(&ask, uid(1), &[FetchData::Stream(&section, 4)]).unwrap();
        let misuse = Misuse::BodyLength { announced: 4 };
        assert_eq!(breaks(&mut session.server, ask), Err(misuse));
        assert_eq!(session.closed(), Closed::Misuse(misuse));
        assert_eq!(
            session.sent(),
            "* 1 FETCH (BODY[] {4}\r\n",
            "nothing may be taken for octets of the section"
        );
    }
    let mut session = Session::selected("1", |_| {});
    assert_eq!(session.server.send_body(Bytes::new()), Err(Misuse::NoBody));
    assert_eq!(session.server.fetch_more(&[]), Err(Misuse::NoBody));
}

#[test]
fn idle_tells_at_once() {
    let mut session = Session::selected("1:4", |_| {});
    session.server.notify(Change::Removed(set("4")));
    assert_eq!(session.sent(), "", "nothing may come while no command is in progress");
    let Event::Idle(ask) = session.event("c IDLE\r\n") else { panic!() };
    session.server.answer(ask, ()).unwrap();
    assert_eq!(session.sent(), "+ idling\r\n* 4 EXPUNGE\r\n");
    session.server.notify(Change::Removed(set("1")));
    session.server.notify(Change::Flags { uid: uid(3), flags: "\\Seen".parse().unwrap(), mod_seq: None });
    assert_eq!(session.sent(), "* 1 EXPUNGE\r\n* 2 FETCH (FLAGS (\\Seen))\r\n");
    assert_eq!(session.event("DONE\r\n"), Event::IdleEnd);
    assert_eq!(session.sent(), "c OK IDLE completed\r\n");
}

/// A client that does not want to hear what it did works flags out from those it knows.
#[test]
fn a_silent_store_tells_flags_that_the_client_could_not_know() {
    let mut session = Session::selected("1:2", |_| {});
    let Event::Store(ask) = session.event("c STORE 1:2 +FLAGS.SILENT (\\Seen)\r\n") else { panic!() };
    session.server.notify(Change::Flags { uid: uid(1), flags: "\\Flagged".parse().unwrap(), mod_seq: None });
    for (number, flags) in [(1, "\\Seen \\Flagged"), (2, "\\Seen")] {
        let flags: FlagSet = flags.parse().unwrap();
        session.server.fetch_flags(&ask, uid(number), &flags, None).unwrap();
    }
    session.server.answer(ask, Ok(UidSet::new())).unwrap();
    assert_eq!(session.sent(), "* 1 FETCH (FLAGS (\\Seen \\Flagged))\r\nc OK STORE completed\r\n");
}

#[test]
fn an_answer_that_never_comes_is_given_by_the_machine() {
    let mut session = Session::selected("1", |_| {});
    let timeout = session.server.config().timeouts.answer;
    let ask = session.fetch("c FETCH 1 FLAGS\r\n");
    let wait = session.waits("");
    assert_eq!(wait.until, Some(session.now + timeout));
    // A sign of life begins the time anew.
    session.now += timeout / 2;
    session.server.fetch(&ask, uid(1), &[]).unwrap();
    let wait = session.waits("");
    session.now = wait.until.unwrap();
    let _ = session.waits("");
    assert_eq!(session.sent(), "c NO [UNAVAILABLE] temporarily unavailable; try again later\r\n");
    assert_eq!(session.server.answer(ask, Ok(())), Err(Gone));
    // The same for APPEND, whose message is then skipped.
    let Event::Message(ask) = session.event("d APPEND INBOX {3+}\r\nabc\r\ne NOOP\r\n") else { panic!() };
    let wait = session.waits("");
    session.now = wait.until.unwrap();
    let Event::Refresh(noop) = session.event("") else { panic!() };
    assert_eq!(session.server.answer(ask, Ok(())), Err(Gone));
    session.server.answer(noop, ()).unwrap();
    assert_eq!(
        session.sent(),
        "d NO [UNAVAILABLE] temporarily unavailable; try again later\r\ne OK NOOP completed\r\n"
    );
}

#[test]
fn shutdown_waits_for_what_is_under_way() {
    let mut session = Session::selected("1", |_| {});
    let ask = session.fetch("c FETCH 1 FLAGS\r\n");
    session.server.shutdown(Shutdown::Stopping);
    let _ = session.waits("");
    session.server.answer(ask, Ok(())).unwrap();
    assert_eq!(session.closed(), Closed::Shutdown(Shutdown::Stopping));
    assert_eq!(session.sent(), "c OK FETCH completed\r\n* BYE [UNAVAILABLE] shutting down\r\n");

    let mut session = Session::new(|_| {});
    session.server.shutdown(Shutdown::TooBusy);
    assert_eq!(session.closed(), Closed::Shutdown(Shutdown::TooBusy));
    assert_eq!(session.sent(), "* BYE [UNAVAILABLE] too many connections\r\n");

    // RFC 5530 §3
    let mut session = Session::selected("1", |_| {});
    session.server.shutdown(Shutdown::Revoked);
    assert_eq!(session.closed(), Closed::Shutdown(Shutdown::Revoked));
    assert_eq!(session.sent(), "* BYE [EXPIRED] the account has changed; log in again\r\n");
}

#[test]
fn a_client_that_does_not_read_is_not_read_from() {
    let mut session = Session::selected("1:5000", |config| config.limits.transmit = 1000);
    let ask = session.fetch("c FETCH 1:* FLAGS\r\n");
    let mut sent = 0;
    for number in 1..=5000 {
        if session.server.transmit_room() == 0 {
            assert!(!session.waits("d NOOP\r\n").read);
            assert!(session.server.transmit().len() < 1100);
            sent += session.sent().len();
        }
        session.server.fetch(&ask, uid(number), &[FetchData::Flags(&FlagSet::new())]).unwrap();
    }
    session.server.answer(ask, Ok(())).unwrap();
    sent += session.sent().len();
    assert!(sent > 5000 * 20);
}

#[test]
fn literals_have_bounds_of_their_own_and_together() {
    for (length, fits) in [(65_535, true), (65_536, true), (65_537, false)] {
        let mut session = Session::logged_in(|_| {});
        let _ = session.feed(&format!("b CREATE {{{length}}}\r\n"));
        let answer = if fits { "+ OK\r\n" } else { "b NO [TOOBIG] literal too large\r\n" };
        assert_eq!(session.sent(), answer, "{length}");
    }
    // Each is small enough, all of them are not. What comes unasked is skipped, and nothing of it kept.
    let mut session = Session::selected("1", |_| {});
    let literal = "x".repeat(60_000);
    let _ = session.waits("c SEARCH");
    for _ in 0..1000 {
        let _ = session.waits(&format!(" TEXT {{60000+}}\r\n{literal}"));
        assert!(session.rx.len() < 200, "{}", session.rx.len());
    }
    let _ = session.waits("\r\n");
    assert_eq!(session.sent(), "c NO [TOOBIG] literal too large\r\n");
    let Event::Refresh(_) = session.event("d NOOP\r\n") else { panic!() };
}

#[test]
fn lines_have_bounds_before_and_after_login() {
    let line = |length: usize| format!("a NOOP {}\r\n", "x".repeat(length - 9));
    for (length, fits) in [(8191, true), (8192, true), (8193, false)] {
        let mut session = Session::new(|_| {});
        let closes = matches!(session.feed(&line(length)), Output::Event(Event::Closed(_)));
        assert_eq!(closes, !fits, "{length}");
    }
    let mut session = Session::logged_in(|_| {});
    let _ = session.waits(&line(65_536));
    assert!(session.sent().starts_with("a BAD expected"));
    let _ = session.waits(&line(65_537));
    assert_eq!(session.sent(), "a BAD command line too long\r\n");
}

#[test]
fn bad_commands_are_counted() {
    let mut session = Session::new(|config| config.limits.errors = 3);
    let Output::Event(Event::Closed(why)) = session.feed(&"x y z\r\n".repeat(300)) else { panic!() };
    assert_eq!(why, Closed::Misbehaved(PeerMisbehaved::TooManyErrors { limit: 3 }));
    assert_eq!(session.sent().matches("BAD").count(), 3);
}

#[test]
fn a_message_cut_short_is_never_committed() {
    let mut session = Session::logged_in(|_| {});
    let Event::Message(ask) = session.event("b APPEND INBOX {10}\r\n") else { panic!() };
    session.server.answer(ask, Ok(())).unwrap();
    assert_eq!(session.event("0123"), Event::Body("0123".into()));
    let mut other = session.waits("").until.unwrap() - session.now;
    assert_eq!(other, session.server.config().timeouts.body);
    session.server.handle_eof();
    assert_eq!(session.closed(), Closed::Eof);

    let mut session = Session::logged_in(|_| {});
    let Event::Message(ask) = session.event("b APPEND INBOX {10}\r\n") else { panic!() };
    session.server.answer(ask, Ok(())).unwrap();
    let _ = session.event("0123");
    let _ = session.waits("");
    other += Duration::from_secs(1);
    session.now += other;
    assert_eq!(session.closed(), Closed::TimedOut(Deadline::Body));
}

#[test]
fn whatever_is_asked_can_be_declined() {
    let mut session = Session::selected("1:4", |_| {});
    for command in [
        "ID NIL",
        "NAMESPACE",
        "LIST \"\" *",
        "LSUB \"\" *",
        "CREATE x",
        "DELETE x",
        "RENAME x y",
        "SUBSCRIBE x",
        "UNSUBSCRIBE x",
        "STATUS x (MESSAGES)",
        "NOOP",
        "APPEND x {1+}\r\nx",
        "SEARCH ALL",
        "FETCH 1 FLAGS",
        "STORE 1 FLAGS ()",
        "EXPUNGE",
        "COPY 1 x",
        "MOVE 1 x",
        "CLOSE",
        "SELECT x",
    ] {
        let event = session.event(&format!("t {command}\r\n"));
        session.server.decline(event);
        let _ = session.waits("");
        assert!(session.sent().lines().last().unwrap().starts_with("t "), "{command}");
    }
    let event = session.event("t IDLE\r\n");
    session.server.decline(event);
    assert_eq!(session.sent(), "+ idling\r\n");
}

#[test]
fn a_trace_never_shows_a_secret() {
    let lines = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&lines);
    let mut session = Session::new(|config| config.auth_mechanisms = vec!["PLAIN".into()]);
    session.server.set_trace(Trace::new(move |line| seen.lock().unwrap().push(format!("{line:?}"))));
    let Event::Authenticate(ask) = session.event("1 AUTHENTICATE PLAIN\r\n") else { panic!() };
    session.server.answer(ask, AuthStep::Challenge(Bytes::new())).unwrap();
    let Event::Authenticate(ask) = session.event("AHgAc2VjcmV0\r\n") else { panic!() };
    session.server.answer(ask, AuthStep::Refuse(AuthRefusal::Credentials)).unwrap();
    let Event::Login(ask) = session.event("2 LOGIN {1+}\r\nx secret\r\n") else { panic!() };
    session.server.answer(ask, Ok(())).unwrap();
    let Event::Message(_) = session.event("3 APPEND INBOX {3+}\r\nsecret") else { panic!() };
    let lines = lines.lock().unwrap().join("\n");
    assert!(!lines.contains("115, 101, 99"), "the octets of a secret are in {lines}");
    assert_eq!(lines.matches("Secret").count(), 3, "{lines}");
    assert!(lines.matches("Sent").count() >= 3, "{lines}");
}
