//! Reading responses costs time in proportion to their length, whatever they are and however they are cut.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use mailwright_imap_proto::{
    MessageSet, SequenceSet,
    client::{Client, Config, Event},
    command::{Command, Fetch, FetchItem, List, Search, SearchContext, Select},
    grammar::Input,
};
use mailwright_line_proto::{Login, Machine, Output, Secret};
use mailwright_mail_model::{MailboxName, query::Query};

/// What is called while the response comes.
#[derive(Clone, Copy)]
enum While {
    Nothing,
    Fetching,
    Listing,
    Searching,
    Threading,
}

/// A client with a mailbox open, and something that it waits for.
fn client(what: While) -> Client {
    let mut config = Config::default();
    config.allow_plaintext_auth = true;
    let mut client = Client::new(Arc::new(config), [0; 32]);
    let say = |client: &mut Client, text: &str| {
        let mut rx = BytesMut::from(text);
        while let Output::Event(_) = client.poll(Instant::now(), &mut rx) {}
        assert!(rx.is_empty());
    };
    say(&mut client, "* OK [CAPABILITY IMAP4rev1] ready\r\n");
    client.call(Login::new("ann", Secret::from("x"))).unwrap();
    say(&mut client, "aaaa1 OK in\r\n");
    client.call(Select::new(MailboxName::inbox(), false)).unwrap();
    say(&mut client, "* 40000 EXISTS\r\naaaa2 OK [READ-WRITE] open\r\n");
    match what {
        While::Nothing => {}
        While::Fetching => {
            let all = MessageSet::Uid(SequenceSet::all());
            client.call(Fetch::new(all, [FetchItem::Flags])).unwrap();
        }
        While::Listing => drop(client.call(List::new("", "*")).unwrap()),
        While::Searching => drop(client.call(Search::new(Query::all())).unwrap()),
        While::Threading => {
            let text = b"UID THREAD REFERENCES UTF-8 ALL";
            let Ok(Command::Thread(thread)) = Command::parse(&mut Input::new(text), SearchContext::default())
            else {
                panic!()
            };
            client.call(thread).unwrap();
        }
    }
    client
}

/// What it costs to read this in pieces of this size, and how many events it makes.
fn cost(what: While, octets: &[u8], piece: usize) -> (Duration, usize) {
    let mut client = client(what);
    let (mut rx, mut events, now) = (BytesMut::new(), 0, Instant::now());
    let before = Instant::now();
    for piece in octets.chunks(piece) {
        rx.extend_from_slice(piece);
        loop {
            match client.poll(now, &mut rx) {
                Output::Event(Event::Closed(_)) | Output::Close => return (before.elapsed(), events),
                Output::Event(_) => events += 1,
                _ => break,
            }
        }
    }
    (before.elapsed(), events)
}

/// One that is eight times as long may cost as much as eight of them, and not eight times that. Of several tries the best counts, so
/// that other work on the machine does not.
#[track_caller]
fn linear(name: &str, what: While, make: impl Fn(usize) -> Vec<u8>) {
    for piece in [1, 61, usize::MAX] {
        let (small, large) = (make(4 << 10), make(32 << 10));
        let (mut eight, mut one) = (Duration::MAX, Duration::MAX);
        let grows = (0..20).all(|_| {
            eight = eight.min((0..8).map(|_| cost(what, &small, piece).0).sum());
            one = one.min(cost(what, &large, piece).0);
            one > eight * 3 + Duration::from_micros(200)
        });
        assert!(!grows, "{name}, in pieces of {piece}: {eight:?} for eight, {one:?} for one of that length");
    }
}

/// The line of this number.
type Line = fn(usize) -> String;

/// So many of these, of so many octets together.
fn many(octets: usize, mut line: impl FnMut(usize) -> String) -> Vec<u8> {
    let mut text = String::new();
    for number in 1.. {
        if text.len() >= octets {
            break;
        }
        text += &line(number);
    }
    text.into_bytes()
}

#[test]
fn literals() {
    let body =
        |size: usize| format!("* 1 FETCH (BODY[] {{{size}}}\r\n{})\r\n", "x".repeat(size)).into_bytes();
    linear("a body", While::Fetching, body);
    let name = |size: usize| format!("* LIST () \"/\" {{{size}}}\r\n{}\r\n", "x".repeat(size)).into_bytes();
    linear("a name", While::Listing, name);
    let lines = |size: usize| {
        let inside = "x\r\n".repeat(size / 3);
        format!("* LIST () \"/\" {{{}}}\r\n{inside}\r\n", inside.len()).into_bytes()
    };
    linear("lines in a literal", While::Listing, lines);
    linear("many literals", While::Fetching, |size| {
        let mut text = b"* 1 FETCH (ENVELOPE (".to_vec();
        text.extend(many(size, |_| "{1}\r\nx ".into()));
        text.extend_from_slice(b"x))\r\n");
        text
    });
    linear("many bodies", While::Fetching, |size| {
        many(size, |n| format!("* {n} FETCH (BODY[] {{1}}\r\nx)\r\n"))
    });
}

#[test]
fn long_lines() {
    linear("numbers", While::Searching, |size| {
        let mut text = b"* SEARCH".to_vec();
        text.extend(many(size, |n| format!(" {n}")));
        text.extend_from_slice(b"\r\n");
        text
    });
    linear("no end", While::Nothing, |size| vec![b'x'; size]);
    linear("words", While::Nothing, |size| format!("* OK {}\r\n", "x ".repeat(size / 2)).into_bytes());
    linear("what looks like marks", While::Nothing, |size| {
        format!("* OK {}\r\n", "{1}".repeat(size / 3)).into_bytes()
    });
    linear("escapes", While::Listing, |size| {
        format!("* LIST () \"/\" \"{}\"\r\n", "\\\\".repeat(size / 2)).into_bytes()
    });
    linear("flags", While::Fetching, |size| {
        let mut text = b"* 1 FETCH (FLAGS (".to_vec();
        text.extend(many(size, |n| format!("k{n} ")));
        text.extend_from_slice(b"k))\r\n");
        text
    });
    linear("newlines alone", While::Nothing, |size| [vec![b'\n'; size], b"\r\n".to_vec()].concat());
    linear("UIDs that vanish", While::Nothing, |size| {
        let mut text = b"* VANISHED 1".to_vec();
        text.extend(many(size, |n| format!(",{}", 2 * n + 1)));
        text.extend_from_slice(b"\r\n");
        text
    });
    linear("UIDs that vanish, the last first", While::Nothing, |size| {
        let mut text = b"* VANISHED 1".to_vec();
        text.extend(many(size, |n| format!(",{}", 10_000_000 - 2 * n)));
        text.extend_from_slice(b"\r\n");
        text
    });
}

#[test]
fn deep_parentheses() {
    for (name, what, start) in [
        ("a structure", While::Fetching, "* 1 FETCH (BODYSTRUCTURE "),
        ("a thread", While::Threading, "* THREAD "),
        ("nobody knows what", While::Nothing, "* XDEEP "),
        ("in a FETCH", While::Fetching, "* 1 FETCH (X "),
    ] {
        linear(name, what, |size| {
            let half = size / 2;
            format!("{start}{}{})\r\n", "(".repeat(half), ")".repeat(half)).into_bytes()
        });
        linear(name, what, |size| format!("{start}{}\r\n", "(".repeat(size)).into_bytes());
        linear(name, what, |size| format!("{start}{}\r\n", "()".repeat(size / 2)).into_bytes());
    }
    linear("threads side by side", While::Threading, |size| {
        format!("* THREAD {}\r\n", many(size, |n| format!("({n})")).escape_ascii()).into_bytes()
    });
}

#[test]
fn thousands_of_answers() {
    let lines: [(&str, While, Line); 9] = [
        ("EXISTS", While::Nothing, |n| format!("* {} EXISTS\r\n", 40_000 + n)),
        ("EXPUNGE", While::Nothing, |_| "* 1 EXPUNGE\r\n".into()),
        ("flags", While::Nothing, |n| format!("* {n} FETCH (FLAGS (\\Seen))\r\n")),
        ("flags asked for", While::Fetching, |n| format!("* {n} FETCH (UID {n} FLAGS ())\r\n")),
        ("mailboxes", While::Listing, |n| format!("* LIST () \"/\" box{n}\r\n")),
        ("searches", While::Searching, |n| format!("* SEARCH {n}\r\n")),
        ("vanished", While::Nothing, |n| format!("* VANISHED {n}\r\n")),
        ("notices", While::Nothing, |_| "* OK still here\r\n".into()),
        ("nonsense", While::Nothing, |_| "* 1 2 3 (\r\n".into()),
    ];
    for (name, what, line) in lines {
        linear(name, what, |size| many(size, line));
    }
    let (_, events) = cost(While::Nothing, &many(64 << 10, |_| "* OK still here\r\n".into()), 7);
    assert_eq!(events, (64 << 10) / 17 + 1);
}
