//! The rope of octets that wait to be sent.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Chunks below this size are copied behind the last one; larger ones are kept as they are.
const COPY_BELOW: usize = 512;

/// How much room is made for small chunks at first: a reply and more. It doubles up to this many, and then there is another piece
/// of as many: one that grew on would be copied each time it did.
const FIRST: usize = 256;
const PIECE: usize = 16 * 1024;

/// A rope of octets for the peer: large chunks are held by reference, small ones are gathered.
///
/// It is a [`Buf`] with vectored chunks, so a driver writes it with `writev` and no copy. Empty, it holds no
/// heap memory.
///
/// ```
/// use bytes::{Buf, Bytes};
/// use mailwright_line_proto::Transmit;
///
/// let mut transmit = Transmit::default();
/// transmit.put(b"+OK message follows\r\n");
/// transmit.put_bytes(Bytes::from(vec![b'x'; 4096]));
/// assert_eq!(transmit.len(), 21 + 4096);
/// transmit.advance(21);
/// assert!(transmit.chunk().starts_with(b"xx"));
/// ```
#[derive(Debug, Default)]
pub struct Transmit {
    chunks: VecDeque<Bytes>,
    tail: BytesMut,
    len: usize,
}

impl Transmit {
    /// How many octets wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a copy of `octets`.
    #[inline]
    pub fn put(&mut self, octets: &[u8]) {
        if self.tail.capacity() - self.tail.len() < octets.len() {
            self.make_room(octets.len());
        }
        self.tail.put_slice(octets);
        self.len += octets.len();
    }

    /// Room for `more` octets behind the last one.
    #[cold]
    fn make_room(&mut self, more: usize) {
        // What is behind chunks, or was cut off by one, is the beginning of many.
        let used = self.tail.len();
        let size = match used {
            0 if self.chunks.is_empty() => FIRST,
            0 => PIECE / 4,
            _ => (used * 2).min(PIECE),
        };
        if used + more > PIECE && used >= PIECE / 2 {
            self.chunks.push_back(std::mem::take(&mut self.tail).freeze());
            self.tail.reserve(more.max(PIECE));
        } else {
            self.tail.reserve(more.max(size.saturating_sub(used)));
        }
    }

    /// Appends `chunk`, without a copy if it is large.
    pub fn put_bytes(&mut self, chunk: Bytes) {
        if chunk.len() < COPY_BELOW {
            return self.put(&chunk);
        }
        self.len += chunk.len();
        if !self.tail.is_empty() {
            self.chunks.push_back(self.tail.split().freeze());
        }
        self.chunks.push_back(chunk);
    }

    /// Moves all of `other` behind what waits here.
    pub fn append(&mut self, other: &mut Self) {
        if self.is_empty() {
            std::mem::swap(self, other);
            return;
        }
        for chunk in other.chunks.drain(..) {
            self.put_bytes(chunk);
        }
        let tail = other.tail.split().freeze();
        self.put_bytes(tail);
        *other = Self::default();
    }

    /// Forgets all that waits.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Buf for Transmit {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        self.chunks.front().map_or(&self.tail, |chunk| chunk)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let chunks = self.chunks.iter().map(|chunk| &chunk[..]).chain([&self.tail[..]]);
        for (slice, chunk) in slices.iter_mut().zip(chunks.filter(|chunk| !chunk.is_empty())) {
            *slice = IoSlice::new(chunk);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, mut count: usize) {
        self.len = self.len.saturating_sub(count);
        while count > 0 {
            match self.chunks.front_mut() {
                Some(chunk) if chunk.len() <= count => {
                    count -= chunk.len();
                    self.chunks.pop_front();
                }
                Some(chunk) => {
                    chunk.advance(count);
                    count = 0;
                }
                None => {
                    self.tail.advance(count.min(self.tail.len()));
                    count = 0;
                }
            }
        }
        if self.len == 0 {
            // An idle connection holds no buffer.
            self.tail = BytesMut::new();
            self.chunks = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_order_of_small_and_large_chunks() {
        let mut transmit = Transmit::default();
        let mut expected = Vec::new();
        for (index, size) in [3, 600, 1, 1, 511, 512, 0, 9000, 7].into_iter().enumerate() {
            let chunk = vec![b'a' + index as u8; size];
            expected.extend_from_slice(&chunk);
            transmit.put_bytes(chunk.into());
        }
        assert_eq!(transmit.len(), expected.len());
        let mut slices = [IoSlice::new(&[]); 16];
        let filled = transmit.chunks_vectored(&mut slices);
        assert_eq!(slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect::<Vec<_>>(), expected);
        assert_eq!(transmit.copy_to_bytes(expected.len()), expected);
        assert!(transmit.is_empty());
    }

    #[test]
    fn small_chunks_are_gathered_in_pieces_that_are_not_copied_again() {
        let mut transmit = Transmit::default();
        let mut expected = Vec::new();
        for number in 0..20_000_u32 {
            let octets = [number as u8; 7];
            transmit.put(&octets);
            expected.extend_from_slice(&octets);
        }
        transmit.put(&[b'x'; PIECE + 1]);
        expected.extend_from_slice(&[b'x'; PIECE + 1]);
        assert!(transmit.chunks.len() >= 20_000 * 7 / PIECE);
        assert!(transmit.chunks.iter().all(|chunk| (PIECE / 2..=PIECE).contains(&chunk.len())));
        assert_eq!(transmit.len(), expected.len());
        assert_eq!(transmit.copy_to_bytes(expected.len()), expected);
        // One reply takes no more than it needs, about.
        transmit.put(b"* OK\r\n");
        assert!(transmit.tail.capacity() <= FIRST);
    }

    #[test]
    fn append_moves_everything() {
        let (mut first, mut second) = (Transmit::default(), Transmit::default());
        first.put(b"a");
        second.put_bytes(Bytes::from(vec![b'b'; 1000]));
        second.put(b"c");
        first.append(&mut second);
        assert!(second.is_empty());
        assert_eq!(first.len(), 1002);
        assert_eq!(first.copy_to_bytes(1002)[1001], b'c');
    }
}
