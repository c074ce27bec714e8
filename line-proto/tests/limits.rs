//! The defaults that are shipped, each with the place it comes from. Who changes one changes it here too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::time::Duration;

use bytes::BytesMut;
use mailwright_line_proto::{
    Limits, Timeouts,
    frame::{Line, LineEnds, Lines},
};

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
