//! What a server says in the middle of something else: a refusal of what is still being sent, news of a mailbox that is being left, and
//! whatever makes it look alive.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

#[path = "client_common/desk.rs"]
mod desk;

use std::time::Duration;

use desk::Desk;
use mailwright_imap_proto::{
    MessageSet, SequenceSet,
    client::{Event, Idle, Noop},
    command::{Append, Fetch, FetchItem, Search, Select},
};
use mailwright_line_proto::{Closed, Deadline, Machine, Misuse, Output, PeerMisbehaved};
use mailwright_mail_model::{MailboxName, query::Query};

const MINUTE: Duration = Duration::from_secs(60);

impl Desk {
    /// When it gives up.
    fn until(&mut self) -> Duration {
        match self.client.poll(self.now, &mut self.rx) {
            Output::Wait(wait) => wait.until.unwrap() - self.now,
            other => panic!("no wait but {other:?}"),
        }
    }
}

fn flags() -> Fetch {
    Fetch::new(MessageSet::Uid(SequenceSet::all()), [FetchItem::Flags])
}

const LARGE: u64 = 5 + 256 * 1024 + 1;

fn appending(size: u64) -> Desk {
    let mut desk = Desk::selected();
    desk.client.call(Append::new(MailboxName::inbox(), size)).unwrap();
    assert!(matches!(desk.hear("+ go on\r\n")[..], [Event::Ready(_)]));
    desk.client.send_body("hello".into()).unwrap();
    desk.sent();
    desk
}

/// RFC 7888 §4: a server refuses what is too large as soon as it knows.
#[test]
fn a_message_may_be_refused_before_its_end() {
    let mut desk = appending(LARGE);
    assert_eq!(desk.hear("* 10 EXISTS\r\n"), [Event::Exists(10)]);
    let events = desk.hear("aaaa2 NO [TOOBIG] at most 10 MB\r\n* BYE cannot skip so much\r\n");
    let [Event::Append(_, Err(refused)), Event::Closed(Closed::Refused(_))] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(refused.to_string(), "NO at most 10 MB");
    assert_eq!(desk.client.send_body("x".into()), Err(Misuse::NoBody));

    // Little is left of it, or nothing, and the session goes on behind that.
    for (size, rest) in [(5, 0), (9, 4), (LARGE - 1, 256 * 1024)] {
        let mut desk = appending(size);
        let events = desk.hear("aaaa2 NO [OVERQUOTA] no\r\n");
        assert!(matches!(events[..], [Event::Append(_, Err(_))]), "{events:?}");
        assert!(desk.client.owes_body());
        assert_eq!(desk.client.call(Noop).map(drop), Err(Misuse::BodyOpen));
        desk.client.send_body(vec![b'x'; rest].into()).unwrap();
        desk.client.end_body().unwrap();
        assert!(!desk.client.owes_body());
        desk.client.call(Noop).unwrap();
        assert_eq!(desk.sent(), format!("{}\r\naaaa3 NOOP\r\n", "x".repeat(rest)));
        assert!(matches!(desk.hear("aaaa3 OK\r\n")[..], [Event::Noop(_, Ok(()))]));
    }

    // Nobody can have it before its end.
    let events = appending(9).hear("aaaa2 OK done\r\n");
    assert!(
        matches!(events[..], [Event::Closed(Closed::Misbehaved(PeerMisbehaved::BadReply { .. }))]),
        "{events:?}"
    );
    // The connection goes, and what was said before it did is heard.
    let mut desk = appending(9);
    desk.client.handle_eof();
    let events = desk.hear("aaaa2 NO no\r\n");
    assert!(matches!(events[..], [Event::Append(_, Err(_)), Event::Closed(_)]), "{events:?}");
}

/// RFC 7162 §3.2.11, RFC 9051 §7.1
#[test]
fn what_comes_before_closed_is_of_the_mailbox_that_is_left() {
    let mut desk = Desk::selected();
    desk.client.call(Select::new(MailboxName::new("B").unwrap(), true)).unwrap();
    let events = desk.hear(
        "* 3 FETCH (UID 5 FLAGS (\\Deleted))\r\n* VANISHED 6\r\n* 9 EXISTS\r\n* OK [UIDNEXT 99] x\r\n* OK [CLOSED] x\r\n",
    );
    assert!(
        matches!(events[..], [Event::Fetched { .. }, Event::Unasked(_), Event::MailboxClosed]),
        "{events:?}"
    );
    let events = desk.hear("* 2 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\naaaa2 OK done\r\n");
    let [Event::Select(_, Ok(opened))] = &events[..] else { panic!("{events:?}") };
    assert_eq!((opened.messages, opened.uid_next, opened.read_only), (2, None, true));
    // Nobody is opening another one.
    let events = desk.hear("* OK [CLOSED] x\r\n");
    assert!(matches!(events[..], [Event::Notice(_)]), "{events:?}");
}

/// A server that says that it still works does not answer by that.
#[test]
fn only_what_is_awaited_moves_its_deadline() {
    let mut desk = Desk::selected();
    desk.client.call(Search::new(Query::all())).unwrap();
    assert_eq!(desk.until(), 10 * MINUTE);
    desk.now += 4 * MINUTE;
    desk.hear("* OK still searching\r\n* 10 EXISTS\r\n* 1 FETCH (FLAGS ())\r\n");
    assert_eq!(desk.until(), 6 * MINUTE);
    desk.hear("* SEARCH 1\r\n");
    assert_eq!(desk.until(), 10 * MINUTE);
    // Nor by the beginnings of such words.
    desk.now += 8 * MINUTE;
    desk.hear("* O");
    assert_eq!(desk.until(), 2 * MINUTE);
    desk.now += MINUTE;
    desk.hear("K s");
    assert_eq!(desk.until(), MINUTE);
    desk.now += MINUTE;
    assert_eq!(desk.hear("t"), [Event::Closed(Closed::TimedOut(Deadline::Reply))]);

    // Each message is a part of this answer, and every octet of its body is.
    let mut desk = Desk::selected();
    desk.client.call(flags()).unwrap();
    for step in ["* 1 FETCH (FLAGS ())\r\n", "* 2 FETCH (BODY[] {3}\r\na", "b", "c)\r\n", "* 3 EXPUNGE\r\n"] {
        desk.now += 9 * MINUTE;
        desk.hear(step);
        desk.until();
    }
    assert_eq!(desk.until(), 10 * MINUTE);
    desk.now += 9 * MINUTE;
    desk.hear("* OK still fetching\r\n");
    assert_eq!(desk.until(), MINUTE);
}

/// RFC 2177 §3
#[test]
fn an_idle_that_has_not_begun_does_not_end() {
    for told in ["aaaa2 OK done\r\n", "* 10 EXISTS\r\naaaa2 OK done\r\n"] {
        let mut desk = Desk::selected();
        desk.client.call(Idle).unwrap();
        let last = desk.hear(told).pop();
        let expected = Closed::Misbehaved(PeerMisbehaved::BadReply {
            expected: "+, NO or BAD",
            received: "aaaa2 OK done".into(),
        });
        assert_eq!(last, Some(Event::Closed(expected)));
    }
    let mut desk = Desk::selected();
    desk.client.call(Idle).unwrap();
    assert!(matches!(desk.hear("aaaa2 NO not now\r\n")[..], [Event::Idle(_, Err(_))]));
}

#[test]
fn responses_have_a_length() {
    let mut desk = Desk::selected();
    for (response, length) in [
        ("* 10 EXISTS", 11),
        ("* 1 FETCH (FLAGS ())", 20),
        ("* 1 FETCH (BODY[] {4}\r\nabcd UID 7)", 18 + 7),
        ("* OK [ALERT] x", 14),
    ] {
        desk.hear(&format!("{response}\r\n"));
        assert_eq!(desk.client.response_length(), length, "{response}");
    }
}
