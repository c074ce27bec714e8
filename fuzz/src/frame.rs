//! line-proto: whatever is framed is framed the same in any pieces.

use bytes::{Buf, Bytes, BytesMut};
use mailwright_line_proto::{
    Transmit,
    frame::{BodyPart, DotReader, DotWriter, Line, LineEnds, Lines, LiteralMark},
};

/// A dot-terminated body, read and written.
pub fn frame_dot(data: &[u8]) {
    let Some((split, input)) = data.split_first() else { return };
    let split = 1 + usize::from(*split);
    let whole = read_body(input, usize::MAX);
    assert_eq!(whole, read_body(input, split), "the split of the input matters");

    let (mut writer, mut transmit) = (DotWriter::default(), Transmit::default());
    for piece in input.chunks(split) {
        writer.put(Bytes::copy_from_slice(piece), &mut transmit);
    }
    writer.end(&mut transmit);
    let length = transmit.remaining();
    let wire = transmit.copy_to_bytes(length);
    let (body, _, end) = read_body(&wire, split);
    assert_eq!(end, Some(length), "the body ends at its end and nowhere before");
    let expected = stuffed_behind_lone_lf(input);
    let added = body.strip_prefix(&expected[..]).expect("what was written is read again");
    assert!(matches!(added, b"" | b"\n" | b"\r\n"), "only the end of the last line is added");
}

/// What a strict reader sees of a body: dots behind a lone LF are stuffed for lenient readers, and stay so for it.
fn stuffed_behind_lone_lf(body: &[u8]) -> Vec<u8> {
    let (mut seen, mut before) = (Vec::new(), *b"\r\n");
    for octet in body {
        if *octet == b'.' && before[1] == b'\n' && before[0] != b'\r' {
            seen.push(b'.');
        }
        seen.push(*octet);
        before = [before[1], *octet];
    }
    seen
}

/// The body, whether it has bare line ends, and how many octets were read to its end.
fn read_body(input: &[u8], split: usize) -> (Vec<u8>, bool, Option<usize>) {
    let (mut reader, mut rx, mut body, mut fed) = (DotReader::default(), BytesMut::new(), Vec::new(), 0);
    for piece in input.chunks(split) {
        rx.extend_from_slice(piece);
        fed += piece.len();
        loop {
            match reader.next(&mut rx) {
                BodyPart::Chunk(chunk) => body.extend_from_slice(&chunk),
                BodyPart::End => return (body, reader.has_bare_line_end(), Some(fed - rx.len())),
                BodyPart::Partial => break,
            }
        }
    }
    assert!(rx.len() < 3, "a body is held back");
    (body, reader.has_bare_line_end(), None)
}

/// Lines, strict and lenient.
pub fn frame_lines(data: &[u8]) {
    let Some((split, input)) = data.split_first() else { return };
    for ends in [LineEnds::Strict, LineEnds::Lenient] {
        let whole = read_lines(input, usize::MAX, ends);
        let pieces = read_lines(input, 1 + usize::from(*split), ends);
        assert_eq!(whole, pieces, "the split of the input matters");
    }
}

fn read_lines(input: &[u8], split: usize, ends: LineEnds) -> (Vec<Line>, u64) {
    let (mut lines, mut rx, mut found) = (Lines::new(ends), BytesMut::new(), Vec::new());
    for piece in input.chunks(split) {
        rx.extend_from_slice(piece);
        loop {
            match lines.next(&mut rx, 64, u64::MAX) {
                Line::Partial => break,
                line => found.push(line),
            }
        }
        assert!(rx.len() < 64, "a line over the limit is held");
    }
    assert_eq!(lines.examined(), input.len() as u64, "an octet was looked at twice, or never");
    (found, lines.examined())
}

/// The mark of a literal at the end of a line.
pub fn frame_literal(data: &[u8]) {
    if let Ok(Some(mark)) = LiteralMark::find(data) {
        let (before, found) = data.split_at(mark.start);
        assert_eq!(found.last(), Some(&b'}'));
        // The mark is a mark wherever the line begins.
        let alone = LiteralMark::find(found).unwrap().unwrap();
        assert_eq!((alone.length, alone.synchronizing, alone.start), (mark.length, mark.synchronizing, 0));
        assert_eq!(before.len() + found.len(), data.len());
    }
}
