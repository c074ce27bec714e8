//! The defaults that are shipped, each with the place it comes from. Who changes one changes it here too.
#![cfg(all(feature = "deflate", feature = "tls", feature = "testing"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

#[allow(dead_code, reason = "other tests use the rest")]
mod support;

#[allow(dead_code, reason = "other tests use the rest")]
mod secure_setup;

use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use mailwright_line_proto::{
    Closed, Deadline, Deflate, Limits, Machine, Output, Pipeline, Secure, Timeouts,
    frame::{Line, LineEnds, Lines},
};
use secure_setup::{connected, sent, server_side};
use support::{Toy, ToyEvent};

const KIB: u64 = 1024;

#[test]
fn sizes_and_counts() {
    let (smtp, imap, pop3, sieve) = (Limits::smtp(), Limits::imap(), Limits::pop3(), Limits::managesieve());
    for (what, found, expected, anchor) in [
        ("SMTP line", smtp.line as u64, 2048, "Postfix line_length_limit; RFC 5321 §4.5.3.1.4: 512 and more"),
        ("SMTP line before login", smtp.line_before_login as u64, 2048, "the same: most peers never log in"),
        ("SMTP AUTH line", smtp.sasl_line as u64, 12_288, "RFC 4954 §4"),
        ("SMTP literal", smtp.literal, 0, "there are none"),
        ("SMTP in flight", smtp.in_flight as u64, 32, "recipients looked up side by side"),
        ("SMTP errors", smtp.errors.into(), 20, "Postfix smtpd_hard_error_limit"),
        ("IMAP line before login", imap.line_before_login as u64, 8 * KIB, "RFC 7162 §4; Dovecot"),
        ("IMAP line", imap.line as u64, 64 * KIB, "Dovecot imap_max_line_length"),
        ("IMAP literal", imap.literal, 64 * KIB, "Cyrus maxword is 128 KiB"),
        ("IMAP command", imap.command, 1024 * KIB, "CVE-2024-34055"),
        ("IMAP in flight", imap.in_flight as u64, 4, "Dovecot CLIENT_COMMAND_QUEUE_MAX_SIZE"),
        ("POP3 line", pop3.line as u64, KIB, "RFC 2449 §4: 255 and longer user names"),
        ("POP3 in flight", pop3.in_flight as u64, 1, "answers depend on those before"),
        ("ManageSieve line", sieve.line_before_login as u64, 8 * KIB, "as IMAP"),
        ("ManageSieve literal", sieve.literal, 12 * KIB, "CVE-2026-27858"),
    ] {
        assert_eq!(found, expected, "{what} ({anchor})");
    }
    for limits in [smtp, imap, pop3, sieve] {
        assert_eq!(limits.transmit as u64, 256 * KIB, "the outgoing buffer of a slow reader");
        assert_eq!(limits.logins, 5, "failed logins of a connection");
        assert_eq!(limits.errors, 20);
        assert_eq!(limits.sasl_line, 12_288, "as RFC 4954 §4");
        assert!(limits.skip >= limits.line as u64, "what is skipped is longer than what is taken");
        assert!(limits.line_before_login <= limits.line && limits.literal <= limits.command);
    }
}

#[test]
fn times() {
    let (smtp, imap, pop3, sieve) =
        (Timeouts::smtp(), Timeouts::imap(), Timeouts::pop3(), Timeouts::managesieve());
    for (what, found, minutes, anchor) in [
        ("SMTP greeting", smtp.greeting, 5, "RFC 5321 §4.5.3.2.1"),
        ("SMTP command", smtp.command, 5, "RFC 5321 §4.5.3.2.7"),
        ("SMTP data block", smtp.body, 3, "RFC 5321 §4.5.3.2.5"),
        ("SMTP data end", smtp.body_end, 10, "RFC 5321 §4.5.3.2.6"),
        ("SMTP answer", smtp.answer, 4, "below the client's five, RFC 5321 §4.5.3.2.2"),
        ("IMAP command", imap.command, 30, "RFC 9051 §5.4"),
        ("IMAP login", imap.login, 1, "Dovecot's is three; an idle stranger costs memory"),
        ("POP3 command", pop3.command, 10, "RFC 1939 §3"),
        ("POP3 login", pop3.login, 1, "as IMAP"),
        ("ManageSieve command", sieve.command, 30, "RFC 5804 §1.4"),
    ] {
        assert_eq!(found, Duration::from_secs(60 * minutes), "{what} ({anchor})");
    }
    for timeouts in [smtp, imap, pop3, sieve] {
        assert_eq!(timeouts.tls, Duration::from_secs(30), "a handshake");
        assert_eq!(timeouts.write, Duration::from_secs(60), "a peer that takes nothing");
        assert!(timeouts.answer < timeouts.command, "we refuse before the peer gives up");
    }
}

// Where each of them is met at the limit, one below and one above it. What only a protocol knows how to count, its machines
// count and its tests tell; what this crate enforces is tested below.
//
// | field                             | enforced by                          | tested by
// |-----------------------------------|--------------------------------------|-----------------------------------------
// | `line_before_login`, `line`, `sasl_line` | `frame::Lines`                 | `lines_at_the_limit_and_beside_it`
// | `skip`                            | `frame::Lines`                       | `what_is_skipped_at_the_limit_and_beside_it`
// | `transmit` (inside TLS)           | `Secure`                             | `what_is_encrypted_ahead…`
// | `transmit` (inside compression)   | `Deflate`                            | `what_is_compressed_ahead…`
// | `transmit` (of a machine)         | each server machine                  | law 5 of `testing::check_laws`
// | `literal`, `command`              | imap-proto, ManageSieve              | their `tests/limits.rs`
// | `in_flight`, `errors`, `logins`   | each server machine                  | their `tests/limits.rs`
// | `greeting`, `command`, `login`, `body`, `body_end` | the machines         | their transcripts (`T:` steps), law 3
// | `answer`                          | `Pipeline`                           | `an_answer_at_its_deadline_and_beside_it`
// | `tls`                             | `Secure`                             | `a_handshake_at_its_deadline_and_beside_it`
// | `write`                           | the driver (package `mailwright`)    | its `connection.rs`

#[test]
fn what_is_skipped_at_the_limit_and_beside_it() {
    for limits in [Limits::smtp(), Limits::imap(), Limits::pop3(), Limits::managesieve()] {
        let skip = usize::try_from(limits.skip).unwrap();
        for (length, endless) in [(skip - 1, false), (skip, false), (skip + 1, true)] {
            for split in [1000, usize::MAX] {
                let (mut lines, mut rx) = (Lines::new(LineEnds::Strict), BytesMut::new());
                let mut found = Line::Partial;
                for piece in vec![b'x'; length].chunks(split.min(length)) {
                    assert_eq!(found, Line::Partial);
                    rx.extend_from_slice(piece);
                    found = lines.next(&mut rx, limits.line, limits.skip);
                }
                assert_eq!(found, if endless { Line::Endless } else { Line::Partial }, "{length}");
                assert!(rx.is_empty() && (endless || lines.is_skipping()));
            }
        }
    }
}

#[test]
fn an_answer_at_its_deadline_and_beside_it() {
    let (now, tick) = (Instant::now(), Duration::from_millis(1));
    for timeouts in [Timeouts::smtp(), Timeouts::imap(), Timeouts::pop3(), Timeouts::managesieve()] {
        let deadline = now + timeouts.answer;
        let mut pipeline = Pipeline::default();
        let id = pipeline.open(deadline);
        assert_eq!(pipeline.deadline(), Some(deadline));
        for (at, expired) in [(deadline - tick, None), (deadline, Some(id)), (deadline + tick, Some(id))] {
            assert_eq!(pipeline.expired(at), expired);
        }
    }
}

#[test]
fn a_handshake_at_its_deadline_and_beside_it() {
    let tick = Duration::from_millis(1);
    for timeouts in [Timeouts::smtp(), Timeouts::imap(), Timeouts::pop3(), Timeouts::managesieve()] {
        for (late, over) in [(timeouts.tls - tick, false), (timeouts.tls, true), (timeouts.tls + tick, true)]
        {
            let (now, mut rx) = (Instant::now(), BytesMut::new());
            let mut server =
                Secure::implicit(Toy::new(), server_side()).with_limits(&Limits::smtp(), &timeouts);
            let Output::Wait(wait) = server.poll(now, &mut rx) else { panic!() };
            assert_eq!(wait.until, Some(now + timeouts.tls));
            match server.poll(now + late, &mut rx) {
                Output::Wait(_) => assert!(!over),
                Output::Event(ToyEvent::Closed(why)) => {
                    assert!(over);
                    assert_eq!(why, Closed::TimedOut(Deadline::Tls));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn what_is_encrypted_ahead_of_the_peer_at_the_limit_and_beside_it() {
    // A record has its own length, so the limit is asked for as the layer promises it: nothing more is encrypted once so
    // much waits, and one write more may come with what reaches it.
    let (mut server, mut client) = connected();
    client.inner_mut().say("GIVE 1\r\n");
    let mut rx = BytesMut::from(&sent(&mut client)[..]);
    let Output::Event(ToyEvent::Give(_)) = server.poll(Instant::now(), &mut rx) else { panic!() };
    let limit = Limits::smtp().transmit;
    for waits in [limit - 1, limit, limit + 1] {
        let (mut transmit, before) = (0, server.transmit().len());
        assert_eq!(before, 0);
        while transmit < waits {
            let part = (waits - transmit).min(1000);
            server.inner_mut().give_part(vec![b'x'; part].into());
            transmit += part;
        }
        let ahead = server.transmit().len();
        // Each record adds 22 octets.
        assert!(ahead >= waits.min(limit) && ahead <= limit + 64 * 1024, "{waits}: {ahead}");
        let _ = sent(&mut server);
    }
    server.inner_mut().give_part(vec![b'x'; 4 * limit].into());
    assert!((limit..limit + 128 * 1024).contains(&server.transmit().len()), "{}", server.transmit().len());
}

#[test]
fn what_is_compressed_ahead_of_the_peer_at_the_limit_and_beside_it() {
    let noise = |length: u32| -> Vec<u8> {
        (0..length / 4).flat_map(|index| index.wrapping_mul(2_654_435_761).to_be_bytes()).collect()
    };
    for limit in [999, 1000, 1001] {
        let mut limits = Limits::imap();
        limits.transmit = limit;
        let mut server = Deflate::new(Toy::new()).with_limits(&limits);
        let mut rx = BytesMut::from("COMPRESS\r\n");
        let _ = server.poll(Instant::now(), &mut rx);
        let _ = sent(&mut server);
        let mut peer = flate2::Compress::new(flate2::Compression::default(), false);
        let mut said = Vec::with_capacity(100);
        peer.compress_vec(b"GIVE 1\r\n", &mut said, flate2::FlushCompress::Sync).unwrap();
        let mut rx = BytesMut::from(&said[..]);
        let Output::Event(ToyEvent::Give(_)) = server.poll(Instant::now(), &mut rx) else { panic!() };
        server.inner_mut().give_part(noise(2000).into());
        let first = server.transmit().len();
        assert!(first >= limit, "{first}");
        // It is reached: nothing more is compressed until the peer takes something.
        server.inner_mut().give_part(noise(2000).into());
        assert_eq!(server.transmit().len(), first);
        server.transmit().advance(first - limit + 1);
        assert!(server.transmit().len() > limit - 1);
    }
}

#[test]
fn lines_at_the_limit_and_beside_it() {
    for limits in [Limits::smtp(), Limits::imap(), Limits::pop3(), Limits::managesieve()] {
        for limit in [limits.line_before_login, limits.line, limits.sasl_line] {
            for (length, fits) in [(limit - 1, true), (limit, true), (limit + 1, false)] {
                let mut rx = BytesMut::from(&vec![b'x'; length - 2][..]);
                rx.extend_from_slice(b"\r\n");
                let found = Lines::new(LineEnds::Strict).next(&mut rx, limit, limits.skip);
                assert_eq!(matches!(found, Line::Whole(line) if line.len() == length - 2), fits, "{length}");
            }
        }
    }
}
