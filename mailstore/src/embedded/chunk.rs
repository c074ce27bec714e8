//! How a chunk of a body is written: a checksum and the octets, or, if that is wanted and worth it, fewer octets that mean the same.
//!
//! Octets that are sealed are so after that: their row has their number in the clear, so that all but them can be checked without
//! a key.
//!
//! The checksum of octets as they are is over the key and the octets, that of others over the key, a mark and what is written: the
//! first of what is written then is how. A row whose checksum happens to be right either way is written as it is, so that
//! there is one way to read each.

use bytes::{Bytes, BytesMut};

use super::body::{CHUNK_HEAD, key};
use super::row;
use crate::Result;
use crate::vault::BodyKey;

/// What the checksum is over, behind the key, where octets are not written as they are.
const MARK: u8 = 0xc5;
/// How: not at all, within a seal.
const PLAIN: u8 = 0;
/// How: by Zstandard.
#[cfg(feature = "zstd")]
const ZSTANDARD: u8 = 1;
/// How: sealed. Behind it are how many octets there are, and the seal of how the rest is written, and that.
const SEALED: u8 = 2;

/// Fewer octets are not worth the work.
#[cfg(feature = "zstd")]
const WORTH_IT: usize = 512;

/// How chunks are written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Packing {
    #[cfg(feature = "zstd")]
    level: Option<i32>,
}

impl Packing {
    pub(super) const fn new(options: &super::Options) -> Self {
        #[cfg(feature = "zstd")]
        return Self { level: options.zstd };
        #[cfg(not(feature = "zstd"))]
        {
            let _ = options;
            Self {}
        }
    }

    /// Whether rows may be written that older programs cannot read.
    pub(super) const fn is_new(self) -> bool {
        #[cfg(feature = "zstd")]
        return self.level.is_some();
        #[cfg(not(feature = "zstd"))]
        false
    }

    /// The row of a chunk, which has room for the checksum at its front, sealed with a key.
    pub(super) fn seal(self, body: u64, number: u32, chunk: &[u8], seal: &BodyKey) -> Result<Bytes> {
        let key = key(body, number);
        let octets = chunk.get(CHUNK_HEAD..).unwrap_or_default();
        let packed = self.squeeze(&key, octets);
        let inner = match packed.as_ref().and_then(|packed| packed.get(CHUNK_HEAD..)) {
            Some(packed) => packed.to_vec(),
            None => [&[PLAIN], octets].concat(),
        };
        let length = u32::try_from(octets.len()).unwrap_or(u32::MAX).to_be_bytes();
        let sealed = seal.seal(&place(&key, length), &inner)?;
        let mut row = Vec::with_capacity(CHUNK_HEAD + 5 + sealed.len());
        row.extend_from_slice(&[0; CHUNK_HEAD]);
        row.push(SEALED);
        row.extend_from_slice(&length);
        row.extend_from_slice(&sealed);
        if let Some((head, rest)) = row.split_first_chunk_mut::<CHUNK_HEAD>() {
            let sum = marked(&key, rest);
            // The nonce is random: another one has another checksum, sooner or later.
            if row::checksum(&key, rest) == sum {
                return self.seal(body, number, chunk, seal);
            }
            *head = sum.to_be_bytes();
        }
        Ok(row.into())
    }

    /// The row of a chunk, which has room for the checksum at its front; `None` if it is the chunk itself, where the checksum is now.
    pub(super) fn pack(self, body: u64, number: u32, chunk: &mut BytesMut) -> Option<Bytes> {
        let key = key(body, number);
        let packed = self.squeeze(&key, chunk.get(CHUNK_HEAD..).unwrap_or_default());
        if packed.is_none()
            && let Some((head, octets)) = chunk.split_first_chunk_mut::<CHUNK_HEAD>()
        {
            *head = row::checksum(&key, octets).to_be_bytes();
        }
        packed
    }

    #[cfg(feature = "zstd")]
    fn squeeze(self, key: &[u8], octets: &[u8]) -> Option<Bytes> {
        let level = self.level.filter(|_| octets.len() >= WORTH_IT)?;
        let packed = zstd::bulk::compress(octets, level).ok()?;
        if packed.len() + octets.len() / 8 >= octets.len() {
            return None;
        }
        let mut row = vec![0; CHUNK_HEAD];
        row.push(ZSTANDARD);
        row.extend_from_slice(&packed);
        let rest = row.get(CHUNK_HEAD..)?;
        let sum = marked(key, rest);
        if row::checksum(key, rest) == sum {
            return None;
        }
        *row.first_chunk_mut::<CHUNK_HEAD>()? = sum.to_be_bytes();
        Some(row.into())
    }

    #[cfg(not(feature = "zstd"))]
    #[expect(clippy::unused_self, reason = "there is nothing to choose from")]
    const fn squeeze(self, _: &[u8], _: &[u8]) -> Option<Bytes> {
        None
    }
}

/// What is in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unpacked {
    Octets(Bytes),
    /// So many octets, within a seal.
    Sealed(u32, Bytes),
}

impl Unpacked {
    /// How many octets it stands for.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Octets(octets) => octets.len() as u64,
            Self::Sealed(length, _) => u64::from(*length),
        }
    }

    /// The octets, if what is sealed is sealed with this key.
    pub(super) fn open(self, key: &[u8], seal: impl FnOnce() -> Result<BodyKey>) -> Result<Option<Bytes>> {
        let (length, sealed) = match self {
            Self::Octets(octets) => return Ok(Some(octets)),
            Self::Sealed(length, sealed) => (length, sealed),
        };
        let Some(inner) = seal()?.open(&place(key, length.to_be_bytes()), &sealed) else { return Ok(None) };
        let inner = Bytes::from(inner);
        let octets = match inner.split_first() {
            Some((&PLAIN, _)) => Some(inner.slice(1..)),
            Some((how, packed)) => expand(*how, packed),
            None => None,
        };
        Ok(octets.filter(|octets| octets.len() as u64 == u64::from(length)))
    }
}

/// What sealed octets are bound to.
fn place(key: &[u8], length: [u8; 4]) -> Vec<u8> {
    [key, &length].concat()
}

/// What is in a row; `None` if it is damaged.
pub(super) fn unpack(key: &[u8], row: &Bytes) -> Option<Unpacked> {
    let (head, rest) = row.split_first_chunk::<CHUNK_HEAD>()?;
    let sum = u32::from_be_bytes(*head);
    if row::checksum(key, rest) == sum {
        return Some(Unpacked::Octets(row.slice(CHUNK_HEAD..)));
    }
    let (how, packed) = rest.split_first().filter(|_| marked(key, rest) == sum)?;
    if *how == SEALED {
        let (length, sealed) = packed.split_first_chunk()?;
        return Some(Unpacked::Sealed(u32::from_be_bytes(*length), row.slice_ref(sealed)));
    }
    expand(*how, packed).map(Unpacked::Octets)
}

fn marked(key: &[u8], rest: &[u8]) -> u32 {
    row::checksum(&[key, &[MARK]].concat(), rest)
}

/// A chunk never holds more than [`CHUNK`](super::body::CHUNK) octets, so no more than that is made of anything.
#[cfg(feature = "zstd")]
fn expand(how: u8, packed: &[u8]) -> Option<Bytes> {
    if how != ZSTANDARD {
        return None;
    }
    zstd::bulk::decompress(packed, super::body::CHUNK).ok().map(Bytes::from)
}

#[cfg(not(feature = "zstd"))]
const fn expand(_: u8, _: &[u8]) -> Option<Bytes> {
    None
}

#[cfg(all(test, feature = "zstd"))]
mod tests {
    use super::*;
    use crate::embedded::body::{CHUNK, USUAL, empty_chunk};

    fn packed(level: Option<i32>, octets: &[u8]) -> Bytes {
        let mut chunk = empty_chunk(USUAL);
        chunk.extend_from_slice(octets);
        Packing { level }.pack(7, 3, &mut chunk).unwrap_or_else(|| chunk.freeze())
    }

    #[test]
    fn what_was_packed_comes_back() {
        let text = "To be, or not to be, that is the question.\r\n".repeat(100).into_bytes();
        let noise: Vec<u8> =
            (0..CHUNK as u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let mixed = [&text[..], &vec![b'x'; CHUNK - text.len()]].concat();
        for octets in [&b""[..], b"short", &text, &noise, &mixed] {
            for level in [None, Some(1), Some(3), Some(19)] {
                let row = packed(level, octets);
                let found = unpack(&key(7, 3), &row);
                let expected = Some(Unpacked::Octets(Bytes::copy_from_slice(octets)));
                assert_eq!(found, expected, "{level:?} {}", octets.len());
                assert!(row.len() <= octets.len() + CHUNK_HEAD);
                assert!(octets.is_empty() || unpack(&key(7, 4), &row).is_none(), "in another place");
            }
        }
        assert!(packed(Some(3), &text).len() * 10 < text.len());
        assert!(packed(Some(3), &mixed).len() * 100 < mixed.len());
    }

    #[test]
    #[cfg(feature = "encryption")]
    fn what_was_sealed_comes_back_with_its_key_alone() {
        let text = "To be, or not to be, that is the question.\r\n".repeat(100).into_bytes();
        let (seal, other) = (BodyKey::random().unwrap(), BodyKey::random().unwrap());
        for octets in [&b""[..], b"short", &text] {
            for level in [None, Some(3)] {
                let mut chunk = empty_chunk(USUAL);
                chunk.extend_from_slice(octets);
                let row = Packing { level }.seal(7, 3, &chunk, &seal).unwrap();
                let found = unpack(&key(7, 3), &row).unwrap();
                assert_eq!(found.len(), octets.len() as u64);
                let opened = found.clone().open(&key(7, 3), || Ok(seal.clone())).unwrap();
                assert_eq!(opened.as_deref(), Some(octets));
                assert_eq!(found.clone().open(&key(7, 3), || Ok(other.clone())).unwrap(), None);
                assert_eq!(found.open(&key(7, 2), || Ok(seal.clone())).unwrap(), None, "in another place");
                assert!(
                    !row.windows(12).any(|part| b"that is the ".contains(&part[0])
                        && text.windows(12).any(|whole| whole == part))
                );
                let mut damaged = row.to_vec();
                let last = damaged.len() - 1;
                damaged[last] ^= 1;
                assert_eq!(unpack(&key(7, 3), &Bytes::from(damaged)), None);
            }
        }
    }

    #[test]
    fn damage_is_found() {
        let text = "To be, or not to be, that is the question.\r\n".repeat(100).into_bytes();
        let row = packed(Some(3), &text);
        for place in 0..row.len() {
            let mut damaged = row.to_vec();
            damaged[place] ^= 0x10;
            assert_eq!(unpack(&key(7, 3), &Bytes::from(damaged)), None, "{place}");
        }
        for end in 0..row.len() {
            assert_eq!(unpack(&key(7, 3), &row.slice(..end)), None, "{end}");
        }
    }

    #[test]
    fn no_more_than_a_chunk_is_made_of_anything() {
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 3).unwrap();
        let key = key(7, 3);
        let rest = [&[ZSTANDARD][..], &bomb].concat();
        let row = [&marked(&key, &rest).to_be_bytes()[..], &rest].concat();
        assert_eq!(unpack(&key, &Bytes::from(row)), None);
    }
}
