//! Both sides of a compressed connection, and a peer made of nothing but the library's streams.

use std::time::Instant;

use bytes::BytesMut;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use mailwright_line_proto::{
    Closed, Deflate, Machine, Output, Wait,
    testing::{Pair, Seen},
};

use super::secure_setup::{body, sent};
use super::support::{CallerEvent, Toy, ToyEvent};

/// The peer's two streams.
pub(crate) struct Peer {
    compress: Compress,
    decompress: Decompress,
}

impl Peer {
    pub(crate) fn new() -> Self {
        Self { compress: Compress::new(Compression::default(), false), decompress: Decompress::new(false) }
    }

    pub(crate) fn compress(&mut self, input: &[u8], flush: FlushCompress) -> Vec<u8> {
        let mut out = Vec::with_capacity(input.len() + 1024);
        self.compress.compress_vec(input, &mut out, flush).unwrap();
        out
    }

    pub(crate) fn say(&mut self, input: &[u8]) -> Vec<u8> {
        self.compress(input, FlushCompress::Sync)
    }

    pub(crate) fn hear(&mut self, mut input: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let mut out = Vec::with_capacity(1 << 20);
            let before = self.decompress.total_in();
            self.decompress.decompress_vec(input, &mut out, FlushDecompress::Sync).unwrap();
            input = &input[(self.decompress.total_in() - before) as usize..];
            let done = out.len() < out.capacity();
            all.extend_from_slice(&out);
            if done && input.is_empty() {
                return all;
            }
        }
    }
}

/// A server that compresses, the greeting and the consent behind it.
pub(crate) fn compressing() -> (Deflate<Toy>, Peer, Instant) {
    let (mut server, now) = (Deflate::new(Toy::new()), Instant::now());
    assert!(!server.is_compressing());
    let mut rx = BytesMut::from("COMPRESS\r\n");
    assert!(matches!(server.poll(now, &mut rx), Output::Wait(Wait { read: true, .. })));
    assert!(server.is_compressing());
    assert_eq!(sent(&mut server), b"220 toy\r\n220 deflating\r\n");
    (server, Peer::new(), now)
}

pub(crate) fn react(machine: &mut Toy, event: ToyEvent) -> Seen {
    match event {
        ToyEvent::Give(ask) => {
            machine.give(body(*ask % 100_000));
            Seen::Event(format!("{ask:?}"))
        }
        ToyEvent::Body(chunk) => Seen::Body(chunk),
        ToyEvent::Taken => Seen::Event("taken".into()),
        ToyEvent::Closed(why) => Seen::Closed(format!("{why:?}")),
    }
}

/// Both machines, the client compressing as soon as the server agrees, then saying `script`. What the client heard, and
/// why both closed.
pub(crate) fn play<S: Machine<Event = ToyEvent>, C: Machine<Event = CallerEvent>>(
    pair: &mut Pair<S, C>,
    inner: impl Fn(&mut S) -> &mut Toy + Copy,
    script: impl Fn(&mut C),
) -> (Vec<u8>, Option<Closed>, Option<Closed>) {
    let (mut heard, mut ends) = (Vec::new(), (None, None));
    for said in [false, true] {
        if said {
            script(&mut pair.client.machine);
        }
        pair.run(
            |machine, event| {
                if let ToyEvent::Closed(why) = &event {
                    ends.0 = Some(why.clone());
                }
                react(inner(machine), event);
            },
            |_, event| match event {
                CallerEvent::Heard(chunk) => heard.extend_from_slice(&chunk),
                CallerEvent::Closed(why) => ends.1 = Some(why),
                CallerEvent::Secured => {}
            },
        );
    }
    (heard, ends.0, ends.1)
}
