//! Bodies that end with a line of one dot: SMTP DATA and POP3 multi-line responses.

use std::sync::LazyLock;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem::Finder;

use super::has_bare_line_end;
use crate::Transmit;

/// The end of a line end, and a dot behind it. Made once: a body may have one in every few octets.
///
/// Without the CR, which is in every line end: what is rarer is found sooner.
static LF_DOT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\n."));

/// A part of at most so many octets is followed by the next in the same chunk, which is moved up to it. A body may have a dot to drop in
/// every few octets; a chunk for each would cost more than all the rest.
const SHORT: usize = 1024;

/// So many octets are looked at together for all that can be wrong with them or end in them, without a way out before their end.
const WINDOW: usize = 256;

/// So many octets are looked at closely where there is something among them. They are looked at twice, and are at hand for it the second
/// time.
const BLOCK: usize = 1024;

/// So many octets are moved at most to drop a dot before them.
const MOVED: usize = 16 * 1024;

/// What [`DotReader::next`] took.
#[derive(Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is nothing else a stream can hold")]
pub enum BodyPart {
    /// Octets of the body, its dots unstuffed: a slice of the buffer.
    Chunk(Bytes),
    /// The end: CRLF, dot, CRLF (RFC 5321 §4.1.1.4). The CRLF before the dot is part of the body.
    End,
    /// More input is needed.
    Partial,
}

/// Takes a dot-terminated body from the front of a buffer.
///
/// Only CRLF `.` CRLF ends it, and only a dot behind CRLF is unstuffed: a lone CR or LF is an octet like any other
/// and never a line end, so no other server's reading of the line ends can make a second message of it
/// (CVE-2023-51764). Whether one was seen is remembered, so that the body can be refused.
///
/// ```
/// use bytes::BytesMut;
/// use mailwright_line_proto::frame::{BodyPart, DotReader};
///
/// let mut reader = DotReader::default();
/// let mut rx = BytesMut::from("one\r\n..two\r\n.\r\nQUIT\r\n");
/// assert_eq!(reader.next(&mut rx), BodyPart::Chunk("one\r\n.two\r\n".into()));
/// assert_eq!(reader.next(&mut rx), BodyPart::End);
/// assert_eq!(&rx[..], b"QUIT\r\n");
/// ```
#[derive(Debug, Clone)]
pub struct DotReader {
    state: State,
    /// A dot was dropped at the front of the buffer: what is there now is content even if it is a dot.
    bare: bool,
    length: u64,
}

/// What stands directly before the front of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// CRLF, or nothing at all: the CRLF of the DATA line serves (RFC 5321 §4.1.1.4).
    LineStart,
    /// A dot that was dropped at the start of a line.
    Unstuffed,
    /// A CR that was passed on.
    Cr,
    /// Anything else.
    Inside,
}

impl Default for DotReader {
    fn default() -> Self {
        Self { state: State::LineStart, bare: false, length: 0 }
    }
}

impl DotReader {
    /// The next part of the body.
    pub fn next(&mut self, rx: &mut BytesMut) -> BodyPart {
        if self.state == State::LineStart {
            match rx.as_ref() {
                [b'.', b'\r', b'\n', ..] => {
                    rx.advance(3);
                    return BodyPart::End;
                }
                [] | [b'.'] | [b'.', b'\r'] => return BodyPart::Partial,
                [b'.', ..] => {
                    // RFC 5321 §4.5.2: the first character is deleted if there are others on the line.
                    rx.advance(1);
                    self.state = State::Unstuffed;
                }
                _ => {}
            }
        }
        if rx.is_empty() {
            return BodyPart::Partial;
        }
        let mut taken = self.scan_on(rx);
        // Without the dots that were dropped.
        let (mut kept, mut part) = (taken, taken);
        while part <= SHORT && self.state == State::LineStart {
            let content = match rx.get(taken..) {
                // The end may be here, or cannot be told yet.
                Some([b'.'] | [b'.', b'\r'] | [b'.', b'\r', b'\n', ..]) => break,
                Some([b'.', content @ ..]) => content,
                _ => break,
            };
            self.state = State::Unstuffed;
            part = self.scan_on(content.get(..MOVED).unwrap_or(content));
            rx.copy_within(taken + 1..taken + 1 + part, kept);
            kept += part;
            taken += 1 + part;
        }
        self.length += kept as u64;
        let mut chunk = rx.split_to(taken);
        chunk.truncate(kept);
        BodyPart::Chunk(chunk.freeze())
    }

    /// Whether a CR without LF or an LF without CR was in the body so far (RFC 5321 §2.3.8 forbids both).
    pub fn has_bare_line_end(&self) -> bool {
        self.bare || self.state == State::Cr
    }

    /// How many octets of body there were so far, unstuffed.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// How many octets at the front can be handed over at once: up to and with the CRLF before a dot, or all.
    fn scan_on(&mut self, rx: &[u8]) -> usize {
        let mut taken = self.scan(rx);
        while let Some(rest @ [first, ..]) = rx.get(taken..)
            && (self.state != State::LineStart || *first != b'.')
        {
            taken += self.scan(rest);
        }
        taken
    }

    /// So many of them as are found together.
    fn scan(&mut self, rx: &[u8]) -> usize {
        let behind_cr = self.state == State::Cr;
        let is_lf = rx.first() == Some(&b'\n');
        if behind_cr && is_lf {
            self.state = State::LineStart;
            return 1;
        }
        self.bare |= behind_cr || is_lf;
        // Behind a dot that was dropped there may be another soon.
        let length = if self.bare || self.state == State::Unstuffed { 0 } else { plain(rx) };
        let (part, state) = match length {
            0 => {
                let block = rx.get(..BLOCK).unwrap_or(rx);
                let (part, state) = crlf_before_dot(block).unwrap_or_else(|| end_of(block));
                self.bare = self.bare || has_bare_line_end(part);
                (part, state)
            }
            length => end_of(rx.get(..length).unwrap_or(rx)),
        };
        self.state = state;
        part.len()
    }
}

/// These octets, and what the last of them are.
fn end_of(octets: &[u8]) -> (&[u8], State) {
    let state = match octets {
        [.., b'\r', b'\n'] => State::LineStart,
        [.., b'\r'] => State::Cr,
        _ => State::Inside,
    };
    (octets, state)
}

/// How many octets are in windows in which there is no CR or LF without the other, and no CRLF with a dot behind it. What is behind the
/// last window is looked at with it.
fn plain(octets: &[u8]) -> usize {
    let mut length = 0;
    while let Some(window) = octets.get(length..).and_then(<[u8]>::first_chunk)
        && is_plain(window)
    {
        length += WINDOW;
    }
    length
}

fn is_plain(octets: &[u8; WINDOW + 2]) -> bool {
    let threes = octets.iter().zip(octets.iter().skip(1)).zip(octets.iter().skip(2));
    !threes.fold(false, |found, ((one, two), three)| {
        let cr = *one == b'\r';
        found | (cr != (*two == b'\n')) | (cr & (*three == b'.'))
    })
}

/// What there is up to and with the first CRLF before a dot.
fn crlf_before_dot(octets: &[u8]) -> Option<(&[u8], State)> {
    let mut parts = LF_DOT.find_iter(octets).filter_map(|at| octets.get(..=at));
    parts.find(|part| part.ends_with(b"\r\n")).map(|part| (part, State::LineStart))
}

/// Sends a body with its dots stuffed and the final dot behind it.
///
/// ```
/// use bytes::Buf;
/// use mailwright_line_proto::{Transmit, frame::DotWriter};
///
/// let (mut writer, mut transmit) = (DotWriter::default(), Transmit::default());
/// writer.put("one\r\n.two".into(), &mut transmit);
/// writer.end(&mut transmit);
/// assert_eq!(&transmit.copy_to_bytes(transmit.len())[..], b"one\r\n..two\r\n.\r\n");
/// ```
#[derive(Debug, Clone, Default)]
pub struct DotWriter {
    last: Last,
}

/// The end of what was sent so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Last {
    #[default]
    LineStart,
    /// A line end to some readers, but not to one that is strict.
    BareLf,
    Cr,
    Inside,
}

impl DotWriter {
    /// Sends the next part of the body, any split of it. The chunk is not copied, but cut before every dot that
    /// begins a line.
    ///
    /// A dot behind a lone LF is stuffed too: a receiver that takes LF for a line end then still reads one message.
    pub fn put(&mut self, chunk: Bytes, transmit: &mut Transmit) {
        let (Some(first), Some(last)) = (chunk.first(), chunk.last()) else { return };
        if *first == b'.' && matches!(self.last, Last::LineStart | Last::BareLf) {
            transmit.put(b".");
        }
        let mut from = 0;
        for at in LF_DOT.find_iter(&chunk) {
            transmit.put_bytes(chunk.slice(from..=at));
            transmit.put(b".");
            from = at + 1;
        }
        let behind_cr = chunk.ends_with(b"\r\n") || (chunk.len() == 1 && self.last == Last::Cr);
        self.last = match last {
            b'\n' if behind_cr => Last::LineStart,
            b'\n' => Last::BareLf,
            b'\r' => Last::Cr,
            _ => Last::Inside,
        };
        transmit.put_bytes(chunk.slice(from..));
    }

    /// Ends the body: CRLF if the last line has none, then the dot.
    pub fn end(self, transmit: &mut Transmit) {
        transmit.put(match self.last {
            Last::LineStart => b".\r\n",
            Last::Cr => b"\n.\r\n",
            Last::BareLf | Last::Inside => b"\r\n.\r\n",
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(input: &[u8], split: usize) -> (Vec<u8>, bool, Vec<u8>, bool) {
        let (mut reader, mut rx, mut body) = (DotReader::default(), BytesMut::new(), Vec::new());
        let mut pieces = input.chunks(split);
        loop {
            match reader.next(&mut rx) {
                BodyPart::Chunk(chunk) => body.extend_from_slice(&chunk),
                BodyPart::End => {
                    let mut rest = rx.to_vec();
                    pieces.for_each(|piece| rest.extend_from_slice(piece));
                    assert_eq!(reader.length(), body.len() as u64);
                    return (body, reader.has_bare_line_end(), rest, true);
                }
                BodyPart::Partial => match pieces.next() {
                    Some(piece) => rx.extend_from_slice(piece),
                    None => return (body, reader.has_bare_line_end(), rx.to_vec(), false),
                },
            }
        }
    }

    #[test]
    fn only_crlf_dot_crlf_ends_a_body() {
        for (input, body, bare) in [
            (".\r\n", "", false),
            ("\r\n.\r\n", "\r\n", false),
            ("a\r\n.\r\n", "a\r\n", false),
            ("a\n.\r\nb\r\n.\r\n", "a\n.\r\nb\r\n", true),
            ("a\r\n.\nb\r\n.\r\n", "a\r\n\nb\r\n", true),
            ("a\r\n.\rb\r\n.\r\n", "a\r\n\rb\r\n", true),
            ("a\r.\r\nb\r\n.\r\n", "a\r.\r\nb\r\n", true),
            ("a\r\r\n.\r\n", "a\r\r\n", true),
            ("a\r\n.\0\r\n.\r\n", "a\r\n\0\r\n", false),
            ("a\r\n . \r\n.\r\n", "a\r\n . \r\n", false),
            ("a\r\n.\r\r\n\r\n.\r\n", "a\r\n\r\r\n\r\n", true),
            ("..\r\n.x\r\n...\r\n.\r\n", ".\r\nx\r\n..\r\n", false),
        ] {
            let input = format!("{input}NEXT\r\n");
            for split in 1..=input.len() {
                let (found, found_bare, rest, ended) = read(input.as_bytes(), split);
                assert!(ended, "{input:?} by {split}");
                assert_eq!(found, body.as_bytes(), "{input:?} by {split}");
                assert_eq!(found_bare, bare, "{input:?} by {split}");
                assert_eq!(rest, b"NEXT\r\n", "{input:?} by {split}");
            }
        }
    }

    #[test]
    fn what_lies_across_two_blocks_is_seen() {
        for length in (WINDOW - 6..=WINDOW + 3).chain(BLOCK - 6..=BLOCK + 3) {
            for (end, bare) in [
                ("\r\n.\r\n", false),
                ("\r\n..a\r\n.\r\n", false),
                ("\n.\r\n\r\n.\r\n", true),
                ("\r.\r\n\r\n.\r\n", true),
            ] {
                let wire = format!("{}{end}NEXT", "x".repeat(length));
                let whole = read(wire.as_bytes(), wire.len());
                assert_eq!((whole.1, &*whole.2, whole.3), (bare, &b"NEXT"[..], true), "{length} {end:?}");
                assert_eq!(whole, read(wire.as_bytes(), 1), "{length} {end:?}");
            }
        }
    }

    #[test]
    fn dots_are_dropped_within_a_chunk() {
        let long = "x".repeat(SHORT);
        let wire = format!("a\r\n..b\r\n.c\r\n..{long}\r\n..d\r\n...e\r\n.\r\nNEXT");
        let (mut reader, mut rx) = (DotReader::default(), BytesMut::from(wire.as_str()));
        let mut chunks = Vec::new();
        while let BodyPart::Chunk(chunk) = reader.next(&mut rx) {
            chunks.push(String::from_utf8(chunk.to_vec()).unwrap());
        }
        assert_eq!(chunks, [format!("a\r\n.b\r\nc\r\n.{long}\r\n"), ".d\r\n..e\r\n".to_owned()]);
        assert_eq!(reader.length(), chunks.concat().len() as u64);
        assert_eq!(&rx[..], b"NEXT");
    }

    #[test]
    fn every_body_is_ended_for_a_strict_reader() {
        for (pieces, wire) in [
            (&["a\n"][..], "a\n\r\n.\r\n"),
            (&["a\r", "\n"], "a\r\n.\r\n"),
            (&["a\r\n"], "a\r\n.\r\n"),
            (&["a\r"], "a\r\n.\r\n"),
            (&["a\n", ".b"], "a\n..b\r\n.\r\n"),
            (&["\n"], "\n\r\n.\r\n"),
            (&[], ".\r\n"),
        ] {
            let (mut writer, mut transmit) = (DotWriter::default(), Transmit::default());
            for piece in pieces {
                writer.put(Bytes::from_static(piece.as_bytes()), &mut transmit);
            }
            writer.end(&mut transmit);
            assert_eq!(transmit.copy_to_bytes(transmit.len()), wire, "{pieces:?}");
        }
    }

    proptest! {
        #[test]
        fn many_octets_at_once_are_what_they_are_one_by_one(
            pieces in prop::collection::vec("[a-z]{0,99}|\r\n|\r\n|\r\n\\.|\r|\n|\\.|\n\\.", 0..60),
            clean: bool,
            split in 200_usize..700,
        ) {
            let mut wire = pieces.concat();
            if clean {
                wire = wire.replace("\r\n", "N").replace(['\r', '\n'], "").replace('N', "\r\n");
            }
            wire.push_str("\r\n.\r\nNEXT");
            let found = read(wire.as_bytes(), 1);
            prop_assert_eq!(&found, &read(wire.as_bytes(), wire.len()));
            prop_assert_eq!(found, read(wire.as_bytes(), split));
        }

        #[test]
        fn what_is_written_is_read_again(lines in prop::collection::vec("[.a\r\n]{0,6}", 0..8), split in 1_usize..20) {
            let body = lines.iter().map(|line| format!("{line}\r\n")).collect::<String>();
            let (mut writer, mut transmit) = (DotWriter::default(), Transmit::default());
            for piece in body.as_bytes().chunks(split) {
                writer.put(Bytes::copy_from_slice(piece), &mut transmit);
            }
            writer.end(&mut transmit);
            let wire = transmit.copy_to_bytes(transmit.len());
            let (found, _, rest, ended) = read(&wire, split);
            // A dot behind a lone LF is stuffed on purpose and stays so for a strict reader.
            let stuffed = {
                let bytes = body.as_bytes();
                let mut out = Vec::new();
                for (index, octet) in bytes.iter().enumerate() {
                    let lone = index >= 1 && bytes[index - 1] == b'\n' && (index < 2 || bytes[index - 2] != b'\r');
                    if *octet == b'.' && lone { out.push(b'.'); }
                    out.push(*octet);
                }
                out
            };
            prop_assert!(ended);
            prop_assert_eq!(found, stuffed);
            prop_assert!(rest.is_empty());
        }
    }
}
