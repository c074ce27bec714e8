//! line-proto: compression, against a peer that sends anything.

use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use mailwright_line_proto::{Closed, Deflate, Layer, Machine, Output, TlsInfo, Transmit, Wait};

/// No more than this is inflated at a time, whatever a few octets stand for.
const MOST_AT_ONCE: usize = 64 * 1024;
/// Where a bomb is not looked at any further.
const MOST: usize = 4 << 20;

/// What a peer sends is inflated the same in any pieces, and never much at a time; what we send, it can inflate.
pub fn deflate_layer(data: &[u8]) {
    let Some((split, input)) = data.split_first() else { return };
    let split = 1 + usize::from(*split);
    let (whole, pieces) = (inflate(input, usize::MAX), inflate(input, split));
    if whole.is_cut_off() && pieces.is_cut_off() {
        // How much of what stands shortly before the damage comes out is the library's matter.
        let least = whole.start.len().min(pieces.start.len());
        assert_eq!(whole.start.get(..least), pieces.start.get(..least), "the split of the input matters");
    } else {
        assert_eq!(whole, pieces, "the split of the input matters");
    }

    let mut sent = Vec::new();
    let mut speaker = begun();
    for piece in input.chunks(split.saturating_mul(16)) {
        speaker.inner_mut().transmit.put_bytes(Bytes::copy_from_slice(piece));
        let transmit = speaker.transmit();
        let length = transmit.remaining();
        sent.extend_from_slice(&transmit.copy_to_bytes(length));
    }
    for split in [usize::MAX, split] {
        let heard = inflate(&sent, split);
        assert_eq!((heard.length, heard.end), (input.len(), Some(Closed::Eof)), "what we send can be read");
        assert!(heard.start == input.get(..heard.start.len()).unwrap_or_default());
        assert_eq!(heard.sum, sum(0, input));
    }
}

/// What a machine was given.
#[derive(Debug, PartialEq)]
struct Heard {
    start: Vec<u8>,
    length: usize,
    sum: u64,
    end: Option<Closed>,
}

impl Heard {
    /// By damage, or because it was enough.
    fn is_cut_off(&self) -> bool {
        !matches!(self.end, Some(Closed::Eof))
    }
}

fn sum(before: u64, octets: &[u8]) -> u64 {
    octets.iter().fold(before, |sum, octet| sum.wrapping_mul(0x100_0000_01B3) ^ u64::from(*octet))
}

/// Everything that comes out of the input, in pieces of so many octets.
fn inflate(input: &[u8], split: usize) -> Heard {
    let mut machine = begun();
    let mut heard = Heard { start: Vec::new(), length: 0, sum: 0, end: None };
    let mut rx = BytesMut::new();
    let mut pieces = input.chunks(split);
    let now = Instant::now();
    loop {
        match machine.poll(now, &mut rx) {
            Output::Event(chunk) => {
                assert!(chunk.len() <= MOST_AT_ONCE, "{} octets at once", chunk.len());
                let room = MOST - heard.length;
                let chunk = &chunk[..chunk.len().min(room)];
                heard.start.extend_from_slice(&chunk[..chunk.len().min(64 - heard.start.len().min(64))]);
                heard.length += chunk.len();
                heard.sum = sum(heard.sum, chunk);
                if heard.length == MOST {
                    return heard;
                }
            }
            Output::Wait(wait) => {
                assert!(wait.read && rx.is_empty(), "what is there is inflated before more is wanted");
                match pieces.next() {
                    Some(piece) => rx.extend_from_slice(piece),
                    None => machine.handle_eof(),
                }
            }
            Output::Close => {
                heard.end.clone_from(&machine.inner().end);
                return heard;
            }
            Output::Start(layer) => panic!("{layer:?} was begun twice"),
        }
    }
}

fn begun() -> Deflate<Listener> {
    let mut machine = Deflate::new(Listener::default());
    let waits = machine.poll(Instant::now(), &mut BytesMut::new());
    assert!(matches!(waits, Output::Wait(_)) && machine.is_compressing());
    machine
}

/// Asks for compression, then takes what comes.
#[derive(Debug, Default)]
struct Listener {
    begun: bool,
    end: Option<Closed>,
    transmit: Transmit,
}

impl Machine for Listener {
    type Event = Bytes;

    fn poll(&mut self, _: Instant, rx: &mut BytesMut) -> Output<Bytes> {
        if !std::mem::replace(&mut self.begun, true) {
            Output::Start(Layer::Deflate)
        } else if !rx.is_empty() {
            Output::Event(rx.split().freeze())
        } else if self.end.is_some() {
            Output::Close
        } else {
            Output::Wait(Wait { read: true, until: None })
        }
    }

    fn transmit(&mut self) -> &mut Transmit {
        &mut self.transmit
    }

    fn handle_eof(&mut self) {
        self.end.get_or_insert(Closed::Eof);
    }

    fn handle_tls(&mut self, _: TlsInfo) {}

    fn handle_failure(&mut self, reason: Closed) {
        self.end.get_or_insert(reason);
    }
}
