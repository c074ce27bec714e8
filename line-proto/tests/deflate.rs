//! Compression as a layer: both sides back to back, alone and inside TLS, and everything that can go wrong.
#![cfg(all(feature = "deflate", feature = "tls", feature = "testing"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

#[allow(dead_code, reason = "other tests use the rest")]
mod support;

#[allow(dead_code, reason = "other tests use the rest")]
mod secure_setup;

mod deflate_setup;

use std::{
    io::{self, Read, Write},
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use deflate_setup::{Peer, compressing, play, react};
use flate2::{Decompress, FlushCompress, FlushDecompress};
use mailwright_line_proto::{
    Blocking, Closed, Deflate, Limits, Machine, Misuse, Output, PeerMisbehaved, Secure, TlsInfo, Transmit,
    Wait,
    testing::{Pair, Seen, Side, Subject, Transcript, check_laws},
};
use secure_setup::{body, client_side, find, sent, server_side};
use support::{Caller, Toy, ToyEvent};

#[test]
fn both_sides_agree_whatever_the_split() {
    for split in (1..70).chain([1000, usize::MAX]) {
        let mut caller = Caller::default();
        caller.compress = true;
        caller.say("COMPRESS\r\n");
        let mut pair = Pair::new(Deflate::new(Toy::new()), Deflate::new(caller), split);
        let (heard, server, client) = play(&mut pair, Deflate::inner_mut, |client| {
            client.inner_mut().say("ECHO hi\r\nGIVE 3000\r\nQUIT\r\n");
        });
        assert_eq!(heard, [b"250 hi\r\n", &body(3000)[..], b"221 bye\r\n"].concat());
        assert_eq!((server, client), (Some(Closed::Farewell), Some(Closed::Eof)));
        let clear = b"220 toy\r\n220 deflating\r\n";
        let rest = pair.server.sent.strip_prefix(clear).unwrap();
        assert!(!find(rest, b"221 bye") && rest.len() < 3000);
    }
}

#[test]
fn it_works_inside_tls() {
    for (starttls, split) in [(false, 1), (true, 77), (false, usize::MAX)] {
        let mut caller = Caller::default();
        (caller.compress, caller.starttls) = (true, starttls);
        if starttls {
            caller.say("STARTTLS\r\n");
        } else {
            caller.say("COMPRESS\r\n");
        }
        let (server, client) = if starttls {
            (
                Secure::starttls(Deflate::new(Toy::new()), server_side()),
                Secure::starttls(Deflate::new(caller), client_side()),
            )
        } else {
            (
                Secure::implicit(Deflate::new(Toy::new()), server_side()),
                Secure::implicit(Deflate::new(caller), client_side()),
            )
        };
        let mut pair = Pair::new(server, client, split);
        fn toy(machine: &mut Secure<Deflate<Toy>>) -> &mut Toy {
            machine.inner_mut().inner_mut()
        }
        if starttls {
            play(&mut pair, toy, |client| client.inner_mut().inner_mut().say("COMPRESS\r\n"));
        }
        let (heard, server, client) = play(&mut pair, toy, |client| {
            client.inner_mut().inner_mut().say("GIVE 70000\r\nECHO over\r\nQUIT\r\n");
        });
        assert_eq!(heard, [&body(70000)[..], b"250 over\r\n221 bye\r\n"].concat(), "{starttls} {split}");
        assert_eq!((server, client), (Some(Closed::Farewell), Some(Closed::Eof)));
        assert!(pair.server.machine.is_secure() && pair.server.machine.inner().is_compressing());
        assert!(pair.server.sent.len() < 30_000, "{} octets for 70,000", pair.server.sent.len());
    }
}

#[test]
fn tls_may_begin_after_compression() {
    let (now, mut peer) = (Instant::now(), Peer::new());
    let mut server = Secure::starttls(Deflate::new(Toy::new()), server_side());
    let mut rx = BytesMut::from("COMPRESS\r\n");
    let _ = server.poll(now, &mut rx);
    assert_eq!(sent(&mut server), b"220 toy\r\n220 deflating\r\n");
    rx.extend_from_slice(&peer.say(b"STARTTLS\r\n"));
    assert!(matches!(server.poll(now, &mut rx), Output::Wait(Wait { read: true, .. })));
    assert_eq!(peer.hear(&sent(&mut server)), b"220 go ahead\r\n");
}

#[test]
fn every_answer_is_flushed() {
    let (mut server, mut peer, now) = compressing();
    for length in [1, 10, 1000, 16_383, 16_384, 16_385, 40_000, 65_536, 99_999] {
        let mut rx = BytesMut::from(&peer.say(format!("GIVE {length}\r\n").as_bytes())[..]);
        let Output::Event(ToyEvent::Give(_)) = server.poll(now, &mut rx) else { panic!() };
        server.inner_mut().give(body(length));
        let found = sent(&mut server);
        // A sync flush ends with an empty stored block (RFC 1951 §3.2.4).
        assert!(found.ends_with(&[0, 0, 0xFF, 0xFF]));
        assert_eq!(peer.hear(&found), body(length));
        // What does not compress is flushed too.
        let mut state = 9_u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(length)
        .collect();
        let mut rx = BytesMut::from(&peer.say(format!("GIVE {length}\r\n").as_bytes())[..]);
        let Output::Event(ToyEvent::Give(_)) = server.poll(now, &mut rx) else { panic!() };
        server.inner_mut().give(noise.clone().into());
        assert_eq!(peer.hear(&sent(&mut server)), noise);
        assert!(server.transmit().is_empty(), "nothing is sent twice");
    }
}

#[test]
fn a_bomb_is_inflated_only_as_far_as_it_is_asked_for() {
    // 64 MiB of one line without an end, in 64 KiB.
    let (mut server, mut peer, now) = compressing();
    let mut bomb = Vec::new();
    for _ in 0..64 {
        bomb.extend_from_slice(&peer.say(&vec![b'x'; 1 << 20]));
    }
    assert!(bomb.len() < 100_000, "{}", bomb.len());
    let mut rx = BytesMut::from(&bomb[..]);
    let mut polls = 0;
    let why = loop {
        polls += 1;
        match server.poll(now, &mut rx) {
            Output::Event(ToyEvent::Closed(why)) => break why,
            Output::Event(event) => panic!("{event:?}"),
            _ => assert!(polls < 100),
        }
    };
    assert_eq!(why, Closed::Misbehaved(PeerMisbehaved::Endless { limit: 65536 }));

    // The same as a body that nobody is in a hurry to take: what is not asked for stays compressed.
    let (mut server, mut peer, now) = compressing();
    let mut rx = BytesMut::from(&peer.say(b"GIVE 1\r\n")[..]);
    rx.extend_from_slice(&bomb_of(&mut peer, 8 << 20));
    let Output::Event(ToyEvent::Give(_)) = server.poll(now, &mut rx) else { panic!() };
    let before = rx.len();
    for _ in 0..10 {
        assert!(matches!(server.poll(now, &mut rx), Output::Wait(Wait { read: false, .. })));
    }
    assert!(rx.len() == before && before > 0);
}

fn bomb_of(peer: &mut Peer, length: usize) -> Vec<u8> {
    (0..length >> 20).flat_map(|_| peer.say(&vec![b'x'; 1 << 20])).collect()
}

#[test]
fn what_waits_is_bounded_and_the_length_of_transmit_says_so() {
    let mut limits = Limits::imap();
    limits.transmit = 1000;
    let mut server = Deflate::new(Toy::new()).with_limits(&limits);
    let (now, mut rx, mut peer) = (Instant::now(), BytesMut::from("COMPRESS\r\n"), Peer::new());
    let _ = server.poll(now, &mut rx);
    let _ = sent(&mut server);
    rx.extend_from_slice(&peer.say(b"GIVE 1\r\n"));
    let _ = server.poll(now, &mut rx);
    let numbers = (0..2_000_000_u32).flat_map(|index| index.wrapping_mul(2_654_435_761).to_be_bytes());
    let long: Vec<u8> = numbers.collect();
    for part in long.chunks(100_000) {
        server.inner_mut().give_part(part.to_vec().into());
    }
    let ahead = server.transmit().len();
    assert!((1000..200_000).contains(&ahead), "{ahead}");
    let mut heard = Vec::new();
    while !server.transmit().is_empty() {
        let chunk = server.transmit().chunk().to_vec();
        server.transmit().advance(chunk.len());
        heard.extend(peer.hear(&chunk));
    }
    assert!(heard == long);
}

#[test]
fn what_cannot_be_inflated_closes_the_connection_with_a_farewell() {
    let (mut server, mut peer, now) = compressing();
    let mut rx = BytesMut::from(&peer.say(b"ECHO good\r\n")[..]);
    // Plaintext behind COMPRESS is nothing else.
    rx.extend_from_slice(b"\xFFa2 NOOP\r\n");
    let Output::Event(ToyEvent::Closed(why)) = server.poll(now, &mut rx) else { panic!() };
    assert!(matches!(why, Closed::Misbehaved(PeerMisbehaved::Deflate(_))), "{why:?}");
    assert_eq!(server.failure(), Some(&why));
    assert_eq!(server.poll(now, &mut rx), Output::Close);
    assert_eq!(peer.hear(&sent(&mut server)), b"250 good\r\n");
}

#[test]
fn a_final_block_and_the_end_of_the_connection_end_the_input() {
    let (mut server, mut peer, now) = compressing();
    let mut rx = BytesMut::from(&peer.compress(b"ECHO last\r\n", FlushCompress::Finish)[..]);
    rx.extend_from_slice(b"anything");
    assert_eq!(server.poll(now, &mut rx), Output::Event(ToyEvent::Closed(Closed::Eof)));
    assert_eq!(peer.hear(&sent(&mut server)), b"250 last\r\n");

    let (mut server, mut peer, now) = compressing();
    let mut rx = BytesMut::from(&peer.say(b"ECHO last\r\nECHO cut")[..]);
    server.handle_eof();
    assert_eq!(server.poll(now, &mut rx), Output::Event(ToyEvent::Closed(Closed::Eof)));
    assert_eq!(peer.hear(&sent(&mut server)), b"250 last\r\n");
}

/// Says `PLAIN` and what `behind` makes of the peer's stream, in pieces of so many octets; what the server said, and why it closed.
fn ended(behind: impl Fn(&mut Peer) -> Vec<u8>, split: usize) -> (Vec<u8>, Option<Closed>) {
    let (mut server, mut peer, now) = compressing();
    let (mut rx, mut said, mut why) = (BytesMut::new(), Vec::new(), None);
    for piece in behind(&mut peer).chunks(split) {
        rx.extend_from_slice(piece);
        loop {
            match server.poll(now, &mut rx) {
                Output::Event(ToyEvent::Closed(closed)) => why = Some(closed),
                Output::Event(event) => panic!("{event:?}"),
                Output::Close | Output::Wait(_) => break,
                Output::Start(layer) => panic!("{layer:?}"),
            }
        }
        said.extend(sent(&mut server));
    }
    assert!(why.is_some() || !server.is_compressing());
    (said, why)
}

/// RFC 8437 §4.1
#[test]
fn compression_ends_where_the_peer_ends_it() {
    const REST: &[u8] = b"ECHO plain\r\nQUIT\r\n";
    let finish = |peer: &mut Peer| [&peer.compress(b"PLAIN\r\n", FlushCompress::Finish), REST].concat();
    let flush = |peer: &mut Peer| [&peer.say(b"PLAIN\r\n"), REST].concat();
    let both = |peer: &mut Peer| {
        let said = peer.say(b"PLAIN\r\n");
        [&said, &peer.compress(b"", FlushCompress::Finish), REST].concat()
    };
    for split in (1..40).chain([usize::MAX]) {
        for (which, behind) in
            [&finish as &dyn Fn(&mut Peer) -> Vec<u8>, &flush, &both].into_iter().enumerate()
        {
            let (said, why) = ended(behind, split);
            let mut decompress = Decompress::new(false);
            let mut heard = Vec::with_capacity(1000);
            decompress.decompress_vec(&said, &mut heard, FlushDecompress::Sync).unwrap();
            assert_eq!(heard, b"220 inflated\r\n", "{which} {split}");
            // Our stream ends, and what follows is as it is.
            let rest = &said[decompress.total_in() as usize..];
            assert_eq!(rest, b"250 plain\r\n221 bye\r\n", "{which} {split}");
            assert_eq!(why, Some(Closed::Farewell));
        }
    }
}

#[test]
fn nothing_is_compressed_behind_the_end_and_it_may_begin_anew() {
    for split in (1..60).chain([usize::MAX]) {
        let (_, why) = ended(|peer| peer.say(b"PLAIN\r\nECHO compressed\r\n"), split);
        let Some(Closed::Misbehaved(PeerMisbehaved::Deflate(_))) = why else { panic!("{why:?} {split}") };
    }
    // The end of the connection is told behind the end of compression too.
    let (mut server, mut peer, now) = compressing();
    let mut rx = BytesMut::from(&peer.compress(b"PLAIN\r\n", FlushCompress::Finish)[..]);
    rx.extend_from_slice(b"ECHO last\r\n");
    server.handle_eof();
    assert_eq!(server.poll(now, &mut rx), Output::Event(ToyEvent::Closed(Closed::Eof)));
    assert!(sent(&mut server).ends_with(b"250 last\r\n"));

    let (mut server, mut peer, now) = compressing();
    for round in 0..3 {
        let mut rx = BytesMut::from(&peer.compress(b"PLAIN\r\n", FlushCompress::Finish)[..]);
        assert!(matches!(server.poll(now, &mut rx), Output::Wait(Wait { read: true, .. })));
        assert_eq!(peer.hear(&sent(&mut server)), b"220 inflated\r\n", "{round}");
        rx.extend_from_slice(b"COMPRESS\r\n");
        let _ = server.poll(now, &mut rx);
        assert_eq!(sent(&mut server), b"220 deflating\r\n");
        peer = Peer::new();
    }
}

#[test]
fn asking_twice_is_a_misuse() {
    let (mut server, mut peer, now) = compressing();
    let mut rx = BytesMut::from(&peer.say(b"COMPRESS\r\n")[..]);
    let Output::Event(ToyEvent::Closed(why)) = server.poll(now, &mut rx) else { panic!() };
    assert!(matches!(why, Closed::Misuse(Misuse::Argument(_))), "{why:?}");
}

#[test]
fn an_idle_connection_gives_its_compressor_back() {
    let (mut server, mut peer, mut now) = compressing();
    for round in 0..3 {
        let mut rx = BytesMut::from(&peer.say(b"ECHO the same again\r\n")[..]);
        let Output::Wait(wait) = server.poll(now, &mut rx) else { panic!() };
        let first = sent(&mut server);
        assert_eq!(peer.hear(&first), b"250 the same again\r\n");
        // The window of what was sent before is there for as long as the compressor.
        rx.extend_from_slice(&peer.say(b"ECHO the same again\r\n"));
        let _ = server.poll(now, &mut rx);
        let second = sent(&mut server);
        assert!(second.len() < first.len(), "round {round}: {} and {}", first.len(), second.len());
        assert_eq!(peer.hear(&second), b"250 the same again\r\n");
        assert_eq!(wait.until, Some(now + Duration::from_secs(30)));
        now += Duration::from_secs(30);
        let Output::Wait(wait) = server.poll(now, &mut rx) else { panic!() };
        assert!(wait.until > Some(now), "round {round}");
        assert!(format!("{server:?}").contains("deflater: None"));
    }
}

#[test]
fn the_blocking_driver_drives_it() {
    struct Script(Vec<Vec<u8>>, Vec<u8>);
    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some(next) = (!self.0.is_empty()).then(|| self.0.remove(0)) else { return Ok(0) };
            buffer[..next.len()].copy_from_slice(&next);
            Ok(next.len())
        }
    }
    impl Write for Script {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.1.extend_from_slice(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut peer = Peer::new();
    let script = vec![b"COMPRESS\r\n".to_vec(), peer.say(b"ECHO hi\r\n"), peer.say(b"QUIT\r\n")];
    let mut connection = Blocking::new(Deflate::new(Toy::new()), Script(script, Vec::new()));
    assert_eq!(connection.next().unwrap(), Some(ToyEvent::Closed(Closed::Farewell)));
    assert_eq!(connection.next().unwrap(), None);
    let rest = connection.stream().1.strip_prefix(b"220 toy\r\n220 deflating\r\n").unwrap().to_vec();
    assert_eq!(peer.hear(&rest), b"250 hi\r\n221 bye\r\n");
}

/// A compressing machine as its peer sees it behind the compression: plain octets go in and come out, compressed on the
/// way, so that the laws can be asked for.
struct Behind {
    machine: Deflate<Toy>,
    peer: Peer,
    rx: BytesMut,
    transmit: Transmit,
}

impl Machine for Behind {
    type Event = ToyEvent;

    fn poll(&mut self, now: Instant, rx: &mut BytesMut) -> Output<ToyEvent> {
        loop {
            match self.machine.poll(now, &mut self.rx) {
                Output::Wait(Wait { read: true, .. }) if !rx.is_empty() => {
                    let said = self.peer.say(rx);
                    rx.clear();
                    self.rx.extend_from_slice(&said);
                }
                output => return output,
            }
        }
    }

    fn transmit(&mut self) -> &mut Transmit {
        // What the peer did not take stays where it is.
        if self.transmit.is_empty() {
            let heard = self.peer.hear(&sent(&mut self.machine));
            self.transmit.put(&heard);
        }
        &mut self.transmit
    }

    fn handle_eof(&mut self) {
        self.machine.handle_eof();
    }

    fn handle_tls(&mut self, tls: TlsInfo) {
        self.machine.handle_tls(tls);
    }
}

struct Transparent;

impl Subject for Transparent {
    type Machine = Deflate<Toy>;

    fn build(&self) -> Deflate<Toy> {
        Deflate::new(Toy::new())
    }

    fn side(&self) -> Side {
        Side::Server
    }

    fn react(&mut self, machine: &mut Deflate<Toy>, event: ToyEvent) -> Seen {
        react(machine.inner_mut(), event)
    }
}

struct Compressing;

impl Subject for Compressing {
    type Machine = Behind;

    fn build(&self) -> Behind {
        let (machine, peer, _) = compressing();
        Behind { machine, peer, rx: BytesMut::new(), transmit: Transmit::default() }
    }

    fn side(&self) -> Side {
        Side::Server
    }

    fn react(&mut self, machine: &mut Behind, event: ToyEvent) -> Seen {
        react(machine.machine.inner_mut(), event)
    }
}

#[test]
fn the_laws_hold_for_the_layer() {
    let session = "C: ECHO a\nS: 250 a\nC: TAKE 5\nC| 12345\nS: 250 taken\nC: what?\nS: 500 what?\n";
    let parse = |text: &str| Transcript::parse(text).unwrap();
    let endings = ["C: QUIT\nS: 221 bye", "T: 300"];
    let plain = endings.map(|end| parse(&format!("S: 220 toy\n{session}{end}")));
    check_laws(|| Transparent, &plain, Some(&parse("S: 220 toy\nC: STARTTLS\nS: 220 go ahead")));
    check_laws(|| Compressing, &endings.map(|end| parse(&format!("{session}{end}"))), None);
}
