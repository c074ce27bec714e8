//! The two streams of a connection: every call of the compression library is here.

use std::fmt;

use bytes::{Buf, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::Transmit;

/// How much comes out of the compressor at a time, in octets.
const BLOCK: usize = 16 * 1024;
/// How much goes into it before it is looked at how much came out, in octets.
const INPUT: usize = 64 * 1024;
/// How much of what came in is inflated at a time, in octets.
const GLANCE: usize = 4 * 1024;
/// What can be referred to (RFC 1951 §2).
const WINDOW: u64 = 32 * 1024;

/// What we send. One that is made in the middle of a stream goes on where another was flushed: blocks need not refer to
/// what was before them.
pub(super) struct Deflater(Compress);

impl Default for Deflater {
    fn default() -> Self {
        // RFC 4978 §4: the blocks of RFC 1951, without the header of RFC 1950.
        Self(Compress::new(Compression::default(), false))
    }
}

impl Deflater {
    /// Compresses what waits in `from` until `to` holds `ahead` octets, and flushes.
    pub(super) fn deflate(&mut self, from: &mut Transmit, to: &mut Transmit, ahead: usize) {
        let mut taken = false;
        while from.has_remaining() && to.len() < ahead {
            let chunk = from.chunk();
            let length = chunk.len().min(INPUT);
            self.run(chunk.get(..length).unwrap_or_default(), FlushCompress::None, to);
            from.advance(length);
            taken = true;
        }
        if taken {
            // So that the peer can read all of it now (RFC 4978 §4).
            self.run(&[], FlushCompress::Sync, to);
        }
    }

    /// Compresses what waits in `from`, and ends the stream.
    pub(super) fn finish(&mut self, from: &mut Transmit, to: &mut Transmit) {
        self.deflate(from, to, usize::MAX);
        self.run(&[], FlushCompress::Finish, to);
    }

    /// Compresses all of `input`; what comes out of a flush is complete only when there was room left behind it.
    fn run(&mut self, mut input: &[u8], flush: FlushCompress, to: &mut Transmit) {
        loop {
            let mut block = Vec::with_capacity(BLOCK);
            let before = self.0.total_in();
            // It fails on wrong use only, which cannot be here; what it would not take is not sent.
            if self.0.compress_vec(input, &mut block, flush).is_err() {
                return;
            }
            let taken = usize::try_from(self.0.total_in() - before).unwrap_or(usize::MAX);
            input = input.get(taken..).unwrap_or_default();
            let full = block.len() == block.capacity();
            to.put_bytes(block.into());
            if input.is_empty() && !full {
                return;
            }
        }
    }
}

/// What we are sent.
pub(super) struct Inflater {
    stream: Decompress,
    /// The last call filled all the room it was given, or the window to its end, where the library stops too: there may be more without
    /// more input, of the last octet that went in.
    more: bool,
    /// What is wrong with the stream behind what came out of it.
    damage: Option<String>,
    /// The last four octets that went in.
    tail: u32,
    /// The stream ended with a final block.
    finished: bool,
}

/// What a flush ends with: an empty block that is stored as it is (RFC 1951 §3.2.4, RFC 4978 §4).
const FLUSHED: u32 = 0x0000_ffff;

impl Default for Inflater {
    fn default() -> Self {
        Self { stream: Decompress::new(false), more: false, damage: None, tail: u32::MAX, finished: false }
    }
}

impl Inflater {
    /// Whether there may be something to be had without more input.
    pub(super) fn holds_more(&self) -> bool {
        self.more || self.damage.is_some()
    }

    /// Whether the stream ended. What is behind it is no part of it.
    pub(super) const fn is_finished(&self) -> bool {
        self.finished
    }

    /// Takes what remains of the stream from the front of `rx`: up to its final block, or to the end of a flush if text follows. Says
    /// whether that was reached.
    pub(super) fn drain(&mut self, rx: &mut BytesMut) -> Result<bool, String> {
        let mut nothing = BytesMut::new();
        if self.holds_more() {
            self.inflate(&mut BytesMut::new(), &mut nothing, 1)?;
        }
        while !self.finished {
            let Some(next) = rx.first() else { return Ok(false) };
            // Whoever flushes and then ends the stream has octets behind the flush that begin no line.
            if self.tail == FLUSHED && (*next >= b' ' || matches!(next, b'\r' | b'\n')) {
                return Ok(true);
            }
            let mut one = rx.split_to(1);
            self.inflate(&mut one, &mut nothing, 1)?;
            if self.holds_more() || !nothing.is_empty() {
                return Err("octets behind the end of compression".to_owned());
            }
        }
        Ok(true)
    }

    /// Inflates from the front of `rx` until all up to the end of a flush is taken or `most` octets came out: what is behind a flush may be
    /// no part of the stream. Says whether the stream ended.
    pub(super) fn inflate(
        &mut self,
        rx: &mut BytesMut,
        plain: &mut BytesMut,
        most: usize,
    ) -> Result<bool, String> {
        if let Some(damage) = self.damage.take() {
            return Err(damage);
        }
        let end = plain.len() + most;
        loop {
            let room = end.saturating_sub(plain.len()).min(BLOCK);
            if room == 0 {
                return Ok(false);
            }
            let mut block = Vec::with_capacity(room);
            let before = self.stream.total_in();
            let input = rx.get(..self.next_flush(rx)).unwrap_or_default();
            let status = self.stream.decompress_vec(input, &mut block, FlushDecompress::Sync);
            let taken = usize::try_from(self.stream.total_in() - before).unwrap_or(usize::MAX);
            let taken = taken.min(input.len());
            self.remember(taken, rx);
            rx.advance(taken);
            let window_ends = !block.is_empty() && self.stream.total_out().is_multiple_of(WINDOW);
            self.more = window_ends || block.len() == block.capacity();
            plain.extend_from_slice(&block);
            match status {
                // What stands before the damage was said.
                Err(damage) => {
                    rx.clear();
                    self.damage = Some(damage.to_string());
                    return Ok(false);
                }
                Ok(Status::StreamEnd) => {
                    (self.more, self.finished) = (false, true);
                    return Ok(true);
                }
                // Nothing went in and nothing came out: it would go on like that for ever.
                _ if taken == 0 && block.is_empty() => {
                    return if rx.is_empty() { Ok(false) } else { Err("no progress".to_owned()) };
                }
                _ if (rx.is_empty() || self.tail == FLUSHED) && !self.more => return Ok(false),
                _ => {}
            }
        }
    }
}

impl Inflater {
    /// How many of the first of these octets come before the end of a flush, or all of them.
    fn next_flush(&self, rx: &[u8]) -> usize {
        let mut tail = self.tail;
        // Looked at anew with each block that comes out, so not all of it.
        for (place, octet) in rx.iter().take(GLANCE).enumerate() {
            tail = tail << 8 | u32::from(*octet);
            if tail == FLUSHED {
                return place + 1;
            }
        }
        rx.len().min(GLANCE)
    }

    /// So many of these octets went in.
    fn remember(&mut self, taken: usize, rx: &[u8]) {
        for octet in rx.get(taken.saturating_sub(4)..taken).unwrap_or_default() {
            self.tail = self.tail << 8 | u32::from(*octet);
        }
    }
}

impl fmt::Debug for Deflater {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Deflater({} -> {})", self.0.total_in(), self.0.total_out())
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Inflater({} -> {})", self.stream.total_in(), self.stream.total_out())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    fn inflated(input: &[u8], split: usize) -> usize {
        let (mut inflater, mut rx, mut plain) = (Inflater::default(), BytesMut::new(), BytesMut::new());
        for piece in input.chunks(split) {
            rx.extend_from_slice(piece);
            while !rx.is_empty() || inflater.holds_more() {
                assert!(!inflater.inflate(&mut rx, &mut plain, usize::MAX / 2).unwrap());
            }
        }
        plain.len()
    }

    #[test]
    fn nothing_stays_inside_at_the_end_of_the_window() {
        let mut stream = Vec::with_capacity(1 << 10);
        let mut compress = Compress::new(Compression::best(), false);
        compress.compress_vec(&[0; 100_000], &mut stream, FlushCompress::Sync).unwrap();
        for end in 1..=stream.len() {
            let input = stream.get(..end).unwrap();
            assert_eq!(inflated(input, 1), inflated(input, usize::MAX), "{end} octets");
        }
        assert_eq!(inflated(&stream, 1), 100_000);
    }
}
