//! TLS as a layer: both sides back to back, and everything that can go wrong on the way.
#![cfg(all(feature = "tls", feature = "testing"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

#[allow(dead_code, reason = "other tests use the rest")]
mod support;

mod secure_setup;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use mailwright_line_proto::{
    Closed, Deadline, Limits, Machine, Misuse, Output, PeerMisbehaved, Secure, Timeouts, TlsSide, Wait,
    testing::{self, Pace, Seen, Side, Subject, Transcript, check_laws},
    tls::{
        self, ClientCertificates,
        rustls::{ClientConfig, server::ResolvesServerCertUsingSni, version},
    },
};
use secure_setup::*;
use support::{Caller, CallerEvent, IDLE, Toy, ToyEvent};

#[test]
fn both_sides_agree_whatever_the_split() {
    for starttls in [false, true] {
        for split in (1..70).chain([1000, usize::MAX]) {
            let mut pair = pair(server_side(), client_side(), starttls, split);
            let mut log = Log::default();
            run(&mut pair, b"ECHO hi\r\nQUIT\r\n", &mut log);
            let greeting = if starttls { "" } else { "220 toy\r\n" };
            assert_eq!(String::from_utf8_lossy(&log.heard), format!("{greeting}250 hi\r\n221 bye\r\n"));
            assert_eq!((log.server, log.client), (Some(Closed::Farewell), Some(Closed::Eof)));
            assert!(pair.server.closed && pair.client.closed && log.secured == 1);

            let server = pair.server.machine.inner().tls.clone().unwrap();
            let client = pair.client.machine.inner().tls.clone().unwrap();
            assert_eq!(server.version, "TLSv1.3");
            assert!(server.cipher.starts_with("TLS_AES_"), "{}", server.cipher);
            assert_eq!(server.server_name.as_deref(), Some("mail.test"));
            assert_eq!(server.server_name, client.server_name);
            assert!(server.exporter.is_some_and(|exporter| exporter != [0; 32]));
            assert_eq!(server.exporter, client.exporter);
            assert_eq!((server.peer_certificates.len(), client.peer_certificates.len()), (0, 1));

            // The go-ahead leaves in the clear, before the first octet of the handshake; nothing else does.
            let clear = if starttls { &b"220 toy\r\n220 go ahead\r\n"[..] } else { b"" };
            let records = pair.server.sent.strip_prefix(clear).unwrap();
            assert_eq!(records[..2], [0x16, 3]);
            assert!(!find(records, b"220 toy") && !find(records, b"250 hi"));
            let clear = if starttls { &b"STARTTLS\r\n"[..] } else { b"" };
            assert_eq!(pair.client.sent.strip_prefix(clear).unwrap()[..2], [0x16, 3]);
        }
    }
}

#[test]
fn the_go_ahead_is_in_front_of_the_handshake_even_if_nothing_was_written_between() {
    let now = Instant::now();
    let mut server = Secure::starttls(Toy::new(), server_side());
    let mut rx = BytesMut::from("STARTTLS\r\n");
    assert!(matches!(server.poll(now, &mut rx), Output::Wait(Wait { read: true, .. })));
    let mut client = Secure::implicit(Caller::default(), client_side());
    let _ = client.poll(now, &mut BytesMut::new());
    rx.extend_from_slice(&sent(&mut client));
    assert!(matches!(server.poll(now, &mut rx), Output::Wait(_)));
    let all = sent(&mut server);
    assert!(all.starts_with(b"220 toy\r\n220 go ahead\r\n\x16\x03"), "{all:?}");
}

#[test]
fn large_bodies_cross_both_ways() {
    let length = 1 << 20;
    let mut script = format!("GIVE {length}\r\nTAKE {length}\r\n").into_bytes();
    script.extend_from_slice(&body(length));
    script.extend_from_slice(b"QUIT\r\n");
    for split in [1009, 16384, usize::MAX] {
        let mut pair = pair(server_side(), client_side(), true, split);
        let mut log = Log::default();
        run(&mut pair, &script, &mut log);
        assert!(log.heard.starts_with(&body(length)));
        assert_eq!(&log.heard[length..], b"250 taken\r\n221 bye\r\n");
        assert!(log.taken == body(length));
        assert_eq!(log.server, Some(Closed::Farewell));
    }
}

#[test]
fn encrypts_no_further_ahead_than_allowed_and_shows_it() {
    let (mut server, mut client) = connected();
    let limits = Limits::smtp();
    let (now, mut rx) = (Instant::now(), BytesMut::new());
    client.inner_mut().say("GIVE 8000000\r\n");
    rx.extend_from_slice(&sent(&mut client));
    assert!(matches!(server.poll(now, &mut rx), Output::Event(ToyEvent::Give(_))));
    // A sender that heeds law 5.
    let (mut parts, mut most) = (0, 0);
    while server.transmit().len() < limits.transmit {
        server.inner_mut().give_part(body(10_000));
        parts += 1;
        most = most.max(server.transmit().len());
    }
    assert!(parts <= 27 && most < limits.transmit + 12_000, "{parts} parts, {most} octets");
    // One that does not: what is too much stays as it is.
    server.inner_mut().give_part(body(8_000_000));
    let ahead = server.transmit().len();
    assert!((limits.transmit..limits.transmit + 70_000).contains(&ahead), "{ahead}");
    assert!(server.inner_mut().transmit().len() > 7_900_000);
    server.transmit().advance(ahead);
    assert!(server.transmit().len() >= limits.transmit, "it fills up again");
    server.inner_mut().give_end();

    // Before Close nothing is held back: the driver may flush in one go.
    client.inner_mut().say("QUIT\r\n");
    sent(&mut server);
    server.inner_mut().transmit().put_bytes(body(300_000));
    assert!(server.transmit().len() >= limits.transmit);
    server.inner_mut().transmit().put_bytes(body(200_000));
    rx.extend_from_slice(&sent(&mut client));
    assert_eq!(closes(&mut server, now, &mut rx), Closed::Farewell);
    assert!(server.inner_mut().transmit().is_empty());
    assert!(server.transmit().len() > 500_000);
}

#[test]
fn a_peer_that_reads_nothing_costs_a_bounded_amount() {
    let (mut server, mut client) = connected();
    let (now, mut rx) = (Instant::now(), BytesMut::new());
    client = client.with_limits(&Limits::imap(), &Timeouts::imap());
    for _ in 0..200 {
        client.inner_mut().say("ECHO 0123456789012345678901234567890123456789\r\n".repeat(200));
        rx.extend_from_slice(&sent(&mut client));
        let Output::Wait(wait) = server.poll(now, &mut rx) else { panic!("an event") };
        let held = server.transmit().len() + server.inner_mut().transmit().len();
        assert!(held < 700_000, "{held} octets are held");
        if !wait.read {
            // It does not decrypt what it cannot use.
            client.inner_mut().say(body(100_000));
            rx.extend_from_slice(&sent(&mut client));
            let before = rx.len();
            assert_eq!(server.poll(now, &mut rx), Output::Wait(wait));
            assert_eq!(rx.len(), before);
            return;
        }
    }
    panic!("the server never paused");
}

#[test]
fn an_owed_answer_leaves_the_records_alone() {
    let (mut server, mut client) = connected();
    let (now, mut rx) = (Instant::now(), BytesMut::new());
    client.inner_mut().say("GIVE 5\r\n");
    rx.extend_from_slice(&sent(&mut client));
    assert!(matches!(server.poll(now, &mut rx), Output::Event(ToyEvent::Give(_))));
    client.inner_mut().say("ECHO late\r\nECHO later\r\n");
    rx.extend_from_slice(&sent(&mut client));
    let before = rx.clone();
    assert!(matches!(server.poll(now, &mut rx), Output::Wait(Wait { read: false, .. })));
    assert_eq!(rx, before);
    server.inner_mut().give("12345".into());
    assert!(matches!(server.poll(now, &mut rx), Output::Wait(Wait { read: true, .. })));
    let mut answers = BytesMut::from(&sent(&mut server)[..]);
    let Output::Event(CallerEvent::Heard(heard)) = client.poll(now, &mut answers) else { panic!() };
    assert_eq!(heard, "12345250 late\r\n250 later\r\n");
}

#[test]
fn garbage_and_plaintext_instead_of_a_handshake() {
    for garbage in
        [&b"NOOP\r\nECHO in the clear\r\n"[..], &[0; 100], &[0xff; 70_000], b"\x16\x03\x01\xff\xff"]
    {
        let now = Instant::now();
        let mut server = Secure::starttls(Toy::new(), server_side());
        let mut rx = BytesMut::from("STARTTLS\r\n");
        assert!(matches!(server.poll(now, &mut rx), Output::Wait(_)));
        assert_eq!(sent(&mut server), b"220 toy\r\n220 go ahead\r\n");
        rx.extend_from_slice(garbage);
        let why = closes(&mut server, now, &mut rx);
        assert!(matches!(&why, Closed::Misbehaved(PeerMisbehaved::Tls(_))), "{why:?}");
        assert_eq!(server.failure(), Some(&why));
        // An alert and no answer of the protocol.
        let alert = sent(&mut server);
        assert!(alert.is_empty() || (alert.len() == 7 && alert[0] == 0x15), "{alert:?}");
        assert!(rx.is_empty());
    }
}

#[test]
fn commands_behind_starttls_are_refused_before_tls_begins() {
    let (now, mut rx) = (Instant::now(), BytesMut::from("STARTTLS\r\nECHO injected\r\n"));
    let mut server = Secure::starttls(Toy::new(), server_side());
    assert_eq!(closes(&mut server, now, &mut rx), Closed::Misbehaved(PeerMisbehaved::PlaintextBehindTls));
    assert_eq!(sent(&mut server), b"220 toy\r\n");
}

#[test]
fn the_handshake_has_a_deadline() {
    let start = Instant::now();
    let mut timeouts = Timeouts::smtp();
    for expected in [Duration::from_secs(30), Duration::from_secs(5)] {
        timeouts.tls = expected;
        let mut server = Secure::implicit(Toy::new(), server_side()).with_limits(&Limits::smtp(), &timeouts);
        let mut rx = BytesMut::from(&b"\x16\x03\x01\x00"[..]);
        let wait = Wait { read: true, until: Some(start + expected) };
        assert_eq!(server.poll(start, &mut rx), Output::Wait(wait));
        // A trickle does not move it.
        let late = start + expected - Duration::from_nanos(1);
        rx.extend_from_slice(b"\xf0");
        assert_eq!(server.poll(late, &mut rx), Output::Wait(wait));
        assert_eq!(closes(&mut server, start + expected, &mut rx), Closed::TimedOut(Deadline::Tls));
        assert!(sent(&mut server).is_empty(), "the greeting must not leave in the clear");
    }
}

#[test]
fn the_deadlines_inside_go_on() {
    let mut pair = pair(server_side(), client_side(), true, 100);
    let mut log = Log::default();
    run(&mut pair, b"ECHO hi\r\n", &mut log);
    let mut why = None;
    pair.pass(
        IDLE,
        |_, event| match event {
            ToyEvent::Closed(closed) => why = Some(closed),
            other => panic!("{other:?}"),
        },
        |_, _| {},
    );
    assert_eq!(why, Some(Closed::TimedOut(Deadline::Command)));
}

#[test]
fn a_stream_may_end_anywhere() {
    // At any octet of the handshake and of the session, with and without close_notify.
    let mut pair = pair(server_side(), client_side(), false, usize::MAX);
    run(&mut pair, b"ECHO hi\r\n", &mut Log::default());
    let recorded = pair.client.sent.len();
    for cut in (0..recorded).step_by(7) {
        let now = Instant::now();
        let mut server = Secure::implicit(Toy::new(), server_side());
        let mut client = Secure::implicit(Caller::default(), client_side());
        let (mut to_server, mut to_client, mut passed) = (BytesMut::new(), BytesMut::new(), 0);
        loop {
            match client.poll(now, &mut to_client) {
                Output::Event(CallerEvent::Secured) => client.inner_mut().say("ECHO hi\r\n"),
                Output::Event(_) => {}
                Output::Wait(_) => {
                    let octets = sent(&mut client);
                    let take = octets.len().min(cut - passed);
                    to_server.extend_from_slice(&octets[..take]);
                    passed += take;
                    assert!(matches!(server.poll(now, &mut to_server), Output::Wait(_)));
                    let answer = sent(&mut server);
                    to_client.extend_from_slice(&answer);
                    if answer.is_empty() || passed == cut {
                        break;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        server.handle_eof();
        assert_eq!(closes(&mut server, now, &mut to_server), Closed::Eof, "after {cut} octets");
    }
    let (mut server, mut client) = connected();
    client.inner_mut().hang_up = true;
    client.inner_mut().say("ECHO last\r\n");
    let (now, mut rx) = (Instant::now(), BytesMut::new());
    while client.poll(now, &mut BytesMut::new()) != Output::Close {}
    rx.extend_from_slice(&sent(&mut client));
    rx.extend_from_slice(b"behind close_notify");
    assert_eq!(closes(&mut server, now, &mut rx), Closed::Eof);
    assert!(rx.is_empty() && !sent(&mut server).is_empty());
}

#[test]
fn records_in_front_of_the_end_are_read_first() {
    let (mut server, mut client) = connected();
    let (now, mut rx) = (Instant::now(), BytesMut::new());
    client.inner_mut().say("ECHO last\r\nTAKE 100000\r\n");
    client.inner_mut().say(body(100_000));
    rx.extend_from_slice(&sent(&mut client));
    server.handle_eof();
    let mut taken = Vec::new();
    loop {
        match server.poll(now, &mut rx) {
            Output::Event(ToyEvent::Body(chunk)) => taken.extend_from_slice(&chunk),
            Output::Event(ToyEvent::Taken) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(taken == body(100_000));
    assert_eq!(closes(&mut server, now, &mut rx), Closed::Eof);
}

#[test]
fn a_damaged_record_closes_with_an_alert_and_no_answer() {
    let (mut server, mut client) = connected();
    let (now, mut rx) = (Instant::now(), BytesMut::new());
    client.inner_mut().say("ECHO good\r\n");
    rx.extend_from_slice(&sent(&mut client));
    client.inner_mut().say("ECHO bad\r\n");
    let mut bad = sent(&mut client);
    *bad.last_mut().unwrap() ^= 1;
    rx.extend_from_slice(&bad);
    let why = closes(&mut server, now, &mut rx);
    assert!(matches!(why, Closed::Misbehaved(PeerMisbehaved::Tls(_))), "{why:?}");
    let mut answer = BytesMut::from(&sent(&mut server)[..]);
    let Output::Event(CallerEvent::Closed(why)) = client.poll(now, &mut answer) else { panic!() };
    assert!(format!("{why:?}").contains("BadRecordMac"), "{why:?}");
}

#[test]
fn tls_that_was_not_configured_or_runs_already_closes() {
    let (now, mut rx) = (Instant::now(), BytesMut::from("ECHO hi\r\nSTARTTLS\r\n"));
    let mut server = Secure::plain(Toy::new());
    assert!(matches!(closes(&mut server, now, &mut rx), Closed::Misuse(Misuse::Argument(_))));
    assert_eq!(sent(&mut server), b"220 toy\r\n250 hi\r\n220 go ahead\r\n");

    let mut server = Secure::plain(Toy::new());
    let mut rx = BytesMut::from("ECHO hi\r\nQUIT\r\n");
    assert_eq!(closes(&mut server, now, &mut rx), Closed::Farewell);
    assert_eq!(sent(&mut server), b"220 toy\r\n250 hi\r\n221 bye\r\n");
}

#[test]
fn certificates_are_checked_and_the_reason_is_told() {
    for (side, text) in [
        (named("other.test", client_config()), "not valid for name"),
        (
            named("mail.test", tls::client_config(tls::roots(CLIENT.chain.as_bytes()).unwrap()).unwrap()),
            "BadSignature",
        ),
    ] {
        let mut pair = pair(server_side(), side, true, 500);
        let mut log = Log::default();
        run(&mut pair, b"ECHO secret\r\n", &mut log);
        assert_eq!((log.secured, &*log.heard), (0, &b""[..]));
        let Some(Closed::Misbehaved(PeerMisbehaved::Tls(why))) = log.client else { panic!() };
        assert!(why.contains(text), "{why}");
        assert!(matches!(log.server, Some(Closed::Misbehaved(PeerMisbehaved::Tls(_)))), "{:?}", log.server);
    }
}

#[test]
fn client_certificates_are_seen_or_demanded() {
    let roots = |keys: &Keys| tls::roots(keys.chain.as_bytes()).unwrap();
    let asking = |clients| {
        let config =
            tls::server_config_asking(SERVER.chain.as_bytes(), SERVER.key.as_bytes(), clients).unwrap();
        TlsSide::Server(Arc::new(config))
    };
    let showing = |keys: &Keys| {
        let config =
            tls::client_config_showing(roots(&SERVER), keys.chain.as_bytes(), keys.key.as_bytes()).unwrap();
        named("mail.test", config)
    };
    for (server, client, shown) in [
        (asking(ClientCertificates::Required(roots(&CLIENT))), showing(&CLIENT), Some(1)),
        (asking(ClientCertificates::Optional(roots(&CLIENT))), showing(&CLIENT), Some(1)),
        (asking(ClientCertificates::Optional(roots(&CLIENT))), client_side(), Some(0)),
        (asking(ClientCertificates::Required(roots(&CLIENT))), client_side(), None),
        (asking(ClientCertificates::Optional(roots(&CLIENT))), showing(&SERVER), None),
        (server_side(), showing(&CLIENT), Some(0)),
    ] {
        let mut pair = pair(server, client, false, usize::MAX);
        run(&mut pair, b"", &mut Log::default());
        let seen = pair.server.machine.inner().tls.as_ref().map(|tls| tls.peer_certificates.len());
        assert_eq!(seen, shown);
    }
}

#[test]
fn application_protocols_are_agreed_on_or_refused() {
    let offering = |protocol: &[u8]| {
        let mut config = client_config();
        config.alpn_protocols = vec![protocol.to_vec()];
        named("mail.test", config)
    };
    let server = || {
        let mut config = server_config();
        config.alpn_protocols = vec![b"imap".to_vec()];
        TlsSide::Server(Arc::new(config))
    };
    // RFC 7301 §3.2; ALPACA.
    for (client, agreed) in [
        (offering(b"imap"), Some(Some(&b"imap"[..]))),
        (client_side(), Some(None)),
        (offering(b"http/1.1"), None),
    ] {
        let mut pair = pair(server(), client, false, usize::MAX);
        run(&mut pair, b"", &mut Log::default());
        let tls = pair.server.machine.inner().tls.as_ref();
        assert_eq!(tls.map(|tls| tls.application_protocol.as_deref()), agreed);
    }
}

#[test]
fn the_certificate_is_chosen_by_name() {
    let mut resolver = ResolvesServerCertUsingSni::new();
    for (name, keys) in [("mail.test", &*SERVER), ("client.test", &*CLIENT)] {
        let key = tls::certified_key(keys.chain.as_bytes(), keys.key.as_bytes()).unwrap();
        resolver.add(name, key).unwrap();
    }
    let config = tls::server_config_resolving(Arc::new(resolver), ClientCertificates::Ignored).unwrap();
    let side = TlsSide::Server(Arc::new(config));
    for (name, keys) in [("mail.test", &*SERVER), ("client.test", &*CLIENT)] {
        let client = tls::client_config(tls::roots(keys.chain.as_bytes()).unwrap()).unwrap();
        let mut pair = pair(side.clone(), named(name, client), false, usize::MAX);
        run(&mut pair, b"", &mut Log::default());
        assert_eq!(pair.server.machine.inner().tls.as_ref().unwrap().server_name.as_deref(), Some(name));
    }
}

#[test]
fn tls_1_2_binds_a_channel_only_where_that_is_certain() {
    let old = |require_ems| {
        let provider = client_config().crypto_provider().clone();
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS12])
            .unwrap()
            .with_root_certificates(tls::roots(SERVER.chain.as_bytes()).unwrap())
            .with_no_client_auth();
        config.require_ems = require_ems;
        named("mail.test", config)
    };
    for extended in [false, true] {
        let mut config = server_config();
        config.require_ems = extended;
        let mut pair = pair(TlsSide::Server(Arc::new(config)), old(extended), true, 300);
        let mut log = Log::default();
        run(&mut pair, b"ECHO hi\r\nQUIT\r\n", &mut log);
        assert_eq!(log.heard, b"250 hi\r\n221 bye\r\n");
        let server = pair.server.machine.inner().tls.clone().unwrap();
        assert_eq!(server.version, "TLSv1.2");
        assert!(server.cipher.starts_with("TLS_ECDHE_ECDSA_WITH_"), "{}", server.cipher);
        assert_eq!(server.exporter.is_some(), extended);
        assert_eq!(server.exporter, pair.client.machine.inner().tls.clone().unwrap().exporter);
    }
}

/// The laws, on what can be seen without keys.
struct Layered(fn() -> Secure<Toy>);

impl Subject for Layered {
    type Machine = Secure<Toy>;

    fn build(&self) -> Secure<Toy> {
        self.0()
    }

    fn side(&self) -> Side {
        Side::Server
    }

    fn react(&mut self, machine: &mut Secure<Toy>, event: ToyEvent) -> Seen {
        match event {
            ToyEvent::Give(ask) => {
                machine.inner_mut().give(body(*ask % 10_000));
                Seen::Event(format!("{ask:?}"))
            }
            ToyEvent::Body(chunk) => Seen::Body(chunk),
            ToyEvent::Taken => Seen::Event("taken".into()),
            ToyEvent::Closed(why) => Seen::Closed(format!("{why:?}")),
        }
    }
}

#[test]
fn the_laws_hold_for_the_layer() {
    let plain = "S: 220 toy\nC: ECHO a\nS: 250 a\nC: TAKE 5\nC| 12345\nS: 250 taken\nC: QUIT\nS: 221 bye";
    let parse = |text: &str| Transcript::parse(text).unwrap();
    check_laws(|| Layered(|| Secure::plain(Toy::new())), &[parse(plain)], None);
    check_laws(|| Layered(|| Secure::starttls(Toy::new(), server_side())), &[parse(plain)], None);
    // The alert is decode_error.
    let garbage = "C: EHLO here I am\nS| \\x15\\x03\\x03\\0\\x02\\x02\\x32";
    let silent = "C| \\x16\\x03\\x01\nT: 30";
    let implicit = || Layered(|| Secure::implicit(Toy::new(), server_side()));
    check_laws(implicit, &[parse(garbage), parse(silent)], None);
    // With STARTTLS in it the split matters by law 8, so not all of the laws can be asked for.
    for split in 1..40 {
        for after in [garbage, silent] {
            let transcript = parse(&format!("S: 220 toy\nC: STARTTLS\nS: 220 go ahead\n{after}"));
            let mut subject = Layered(|| Secure::starttls(Toy::new(), server_side()));
            let pace = Pace { split, ..Pace::default() };
            assert!(testing::run(&mut subject, &transcript, pace).closed);
        }
    }
}
