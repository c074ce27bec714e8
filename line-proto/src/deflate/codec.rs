//! The two streams of a connection: every call of the compression library is here.

use std::fmt;

use bytes::{Buf, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::Transmit;

/// How much comes out of the compressor at a time, in octets.
const BLOCK: usize = 16 * 1024;
/// How much goes into it before it is looked at how much came out, in octets.
const INPUT: usize = 64 * 1024;
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
}

impl Default for Inflater {
    fn default() -> Self {
        Self { stream: Decompress::new(false), more: false, damage: None }
    }
}

impl Inflater {
    /// Whether there may be something to be had without more input.
    pub(super) fn holds_more(&self) -> bool {
        self.more || self.damage.is_some()
    }

    /// Inflates from the front of `rx` until all is taken or `most` octets came out. Says whether the stream ended.
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
            let status = self.stream.decompress_vec(rx, &mut block, FlushDecompress::Sync);
            let taken = usize::try_from(self.stream.total_in() - before).unwrap_or(usize::MAX);
            rx.advance(taken.min(rx.len()));
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
                    self.more = false;
                    return Ok(true);
                }
                // Nothing went in and nothing came out: it would go on like that for ever.
                _ if taken == 0 && block.is_empty() => {
                    return if rx.is_empty() { Ok(false) } else { Err("no progress".to_owned()) };
                }
                _ if rx.is_empty() && !self.more => return Ok(false),
                _ => {}
            }
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
