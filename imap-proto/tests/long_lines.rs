//! Command lines over the limit, however they are split.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::{sync::Arc, time::Instant};

use bytes::{Buf, BytesMut};
use mailwright_imap_proto::server::{Config, Event, Server};
use mailwright_line_proto::{Machine, Output, Peer};

/// A session with somebody who has logged in.
struct Desk {
    server: Server,
    rx: BytesMut,
}

fn logged_in(change: impl FnOnce(&mut Config)) -> Desk {
    let mut config = Config::default();
    config.allow_plaintext_auth = true;
    change(&mut config);
    let mut desk = Desk { server: Server::new(Arc::new(config), Peer::unknown()), rx: BytesMut::new() };
    desk.feed("a LOGIN x y\r\n");
    assert!(desk.sent().contains("\r\na OK"));
    desk
}

impl Desk {
    fn feed(&mut self, octets: &str) {
        self.rx.extend_from_slice(octets.as_bytes());
        loop {
            match self.server.poll(Instant::now(), &mut self.rx) {
                Output::Event(Event::Login(ask)) => self.server.answer(ask, Ok(())).unwrap(),
                Output::Event(Event::Closed(_)) => {}
                Output::Event(other) => panic!("{other:?}"),
                _ => return,
            }
        }
    }

    fn sent(&mut self) -> String {
        let transmit = self.server.transmit();
        String::from_utf8(transmit.copy_to_bytes(transmit.remaining()).to_vec()).unwrap()
    }
}

/// The session stays in step: what a line that is thrown away announces at its end is thrown away too.
#[test]
fn a_line_over_the_limit_is_refused_by_its_tag() {
    let long = "x".repeat(500);
    for (commands, expected) in [
        (
            format!("c SEARCH TEXT {long}\r\nd NOOP\r\n"),
            "c BAD command line too long\r\nd OK NOOP completed\r\n",
        ),
        (
            format!("c SEARCH TEXT {long} {{8+}}\r\ne NOOP\r\n\r\nd NOOP\r\n"),
            "c BAD command line too long\r\nd OK NOOP completed\r\n",
        ),
        (
            format!("c SEARCH TEXT {{1+}}\r\nx TEXT {long} ~{{8+}}\r\ne NOOP\r\n TEXT {long}\r\nd NOOP\r\n"),
            "c BAD command line too long\r\nd OK NOOP completed\r\n",
        ),
        // Nobody agrees to the literal, so the client sends none.
        (
            format!("c SEARCH TEXT {long} {{8}}\r\nd NOOP\r\n"),
            "c BAD command line too long\r\nd OK NOOP completed\r\n",
        ),
        (format!("{long}\r\nd NOOP\r\n"), "* BAD command line too long\r\nd OK NOOP completed\r\n"),
        (
            format!("c X {long}\n\r{long}\r\r\nd NOOP\r\n"),
            "c BAD command line too long\r\nd OK NOOP completed\r\n",
        ),
        (format!("c X {long}{{{}5+}}\r\n", "0".repeat(60)), "* BYE line or literal too long\r\n"),
    ] {
        for size in [1, 2, 3, 7, 31, 32, 33, 99, 100, 101, commands.len()] {
            let mut desk = logged_in(|config| config.limits.line = 100);
            for piece in commands.as_bytes().chunks(size) {
                desk.feed(std::str::from_utf8(piece).unwrap());
            }
            assert_eq!(desk.sent(), expected, "{size}: {commands}");
        }
    }
}

#[test]
fn lines_have_the_room_that_they_are_promised() {
    for (length, fits) in [(99, true), (100, true), (101, false)] {
        let mut desk = logged_in(|config| config.limits.line = 100);
        desk.feed(&format!("c SEARCH TEXT {}\r\n", "x".repeat(length - 16)));
        assert_eq!(desk.sent() == "c BAD command line too long\r\n", !fits, "{length}");
    }
}

#[test]
fn a_line_without_an_end_ends_the_connection() {
    let mut desk = logged_in(|config| (config.limits.line, config.limits.skip) = (100, 10_000));
    for _ in 0..20 {
        desk.feed(&"x".repeat(1_000));
    }
    assert_eq!(desk.sent(), "* BYE line or literal too long\r\n");
}
