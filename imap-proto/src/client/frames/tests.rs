//! The work that framing costs, and the bounds it keeps.

use super::*;

const BOUNDS: Bounds = Bounds { response: 1000, literal: 100, skip: 5000 };
const WIDE: Bounds = Bounds { response: 16 << 20, literal: 64 << 10, skip: 1 << 20 };

/// All frames, bodies taken out of the input and joined to `|`.
fn frames(input: &[u8], split: usize, bounds: Bounds) -> (Vec<Frame>, u64) {
    let (mut frames, mut rx, mut found, mut body) = (Frames::default(), BytesMut::new(), Vec::new(), 0_u64);
    for piece in input.chunks(split) {
        rx.extend_from_slice(piece);
        loop {
            let take = rx.len().min(body as usize);
            drop(rx.split_to(take));
            body -= take as u64;
            if body > 0 {
                break;
            }
            match frames.next(&mut rx, bounds) {
                Frame::Partial => break,
                Frame::Endless => {
                    found.push(Frame::Endless);
                    return (found, frames.examined());
                }
                Frame::Body(start, length) => {
                    found.push(Frame::Body(start, length));
                    body = length;
                }
                frame => found.push(frame),
            }
            assert!(rx.len() <= split);
        }
    }
    (found, frames.examined())
}

fn whole(text: &str) -> Frame {
    Frame::Whole(Bytes::copy_from_slice(text.as_bytes()))
}

#[test]
fn literals_are_joined_and_bodies_are_not() {
    let input = "* OK not a literal {5}\r\n+ {3}\r\na1 OK {2}\r\n* LIST () \"/\" {3}\r\na\nb\r\n\
        * 1 FETCH (ENVELOPE (\"a]\" {2}\r\n]) {1}\r\nx) BODY[HEADER.FIELDS ({1}\r\nA \"(\")]<5> {6}\r\n\r\n)\r\n\r UID 1)\r\n\
        * 2 FETCH (X-LABELS (a] {2}\r\nbc) rfc822.text {0}\r\n)\r\n* lone\nLF\r\n";
    let expected = [
        whole("* OK not a literal {5}"),
        whole("+ {3}"),
        whole("a1 OK {2}"),
        whole("* LIST () \"/\" {3}\r\na\nb"),
        Frame::Body(
            "* 1 FETCH (ENVELOPE (\"a]\" {2}\r\n]) {1}\r\nx) BODY[HEADER.FIELDS ({1}\r\nA \"(\")]<5> ".into(),
            6,
        ),
        whole(" UID 1)"),
        Frame::Body("* 2 FETCH (X-LABELS (a] {2}\r\nbc) rfc822.text ".into(), 0),
        whole(")"),
        whole("* lone\nLF"),
    ];
    for split in 1..=input.len() {
        assert_eq!(frames(input.as_bytes(), split, BOUNDS).0, expected, "by {split}");
    }
}

#[test]
fn what_is_over_the_limits_is_skipped_to_its_end() {
    let long = "9 ".repeat(700);
    let literal = "x".repeat(101);
    for response in [
        format!("* SEARCH {long}\r\n"),
        format!("* LIST () \"/\" {{101}}\r\n{literal}\r\n"),
        format!("* LIST () {{101}}\r\n{literal} {{3}}\r\n\r\n\r x {{101}}\r\n{literal}\r\n"),
        format!("* LIST {}\r\n", "{90}\r\n".to_owned() + &"y".repeat(90) + &" z".repeat(500)),
    ] {
        let input = format!("{response}* NEXT\r\n");
        for split in (1..200).chain([999, 1000, 1001, 5000]) {
            let found = frames(input.as_bytes(), split, BOUNDS).0;
            assert_eq!(found.len(), 2, "{response:?} by {split}: {found:?}");
            assert!(matches!(&found[0], Frame::Skipped(shown) if shown.len() <= SHOWN), "{found:?}");
            assert_eq!(found[1], whole("* NEXT"), "by {split}");
        }
    }
}

#[test]
fn what_cannot_be_skipped_is_given_up() {
    for response in [
        "* LIST () \"/\" {99999999999999}\r\n".to_owned(),
        "* LIST () \"/\" {99999999999999999999999999}\r\n".to_owned(),
        "* 1 FETCH (ENVELOPE ({99999999999999}\r\n".to_owned(),
        "* X ".to_owned() + &"y".repeat(7000),
        "* X ".to_owned() + &("{101}\r\n".to_owned() + &"z".repeat(101)).repeat(100),
        "* X ".to_owned() + &"{1}\r\nx".repeat(7000),
    ] {
        for split in [1, 7, 100, 100_000] {
            let found = frames(response.as_bytes(), split, BOUNDS).0;
            assert_eq!(found, [Frame::Endless], "{:?} by {split}", response.get(..40));
        }
    }
}

#[test]
fn limits_are_to_the_octet() {
    for (length, fits) in [(999, true), (1000, true), (1001, false)] {
        let response = format!("* X {}\r\n", "y".repeat(length - 6));
        for split in [1, 13, 5000] {
            let found = frames(response.as_bytes(), split, BOUNDS).0;
            assert_eq!(matches!(found[..], [Frame::Whole(_)]), fits, "{length} by {split}");
            assert_eq!(found.len(), 1);
        }
    }
    for (length, fits) in [(99, true), (100, true), (101, false)] {
        let response = format!("* X {{{length}}}\r\n{}\r\n", "y".repeat(length));
        for split in [1, 13, 5000] {
            let found = frames(response.as_bytes(), split, BOUNDS).0;
            assert_eq!(matches!(found[..], [Frame::Whole(_)]), fits, "{length} by {split}");
        }
    }
}

#[test]
fn work_is_linear_in_the_response_whatever_the_split() {
    for megabytes in [1, 2, 4] {
        let numbers = "1234567 ".repeat(megabytes << 17);
        let search = format!("* SEARCH {numbers}\r\n");
        let strings = "\"some text of an envelope\" {5}\r\nhello ".repeat((megabytes << 20) / 37);
        let fetch = format!("* 1 FETCH (X ({strings}))\r\n");
        for response in [search, fetch] {
            for split in [1, 1400, 65_536, usize::MAX] {
                let (found, work) = frames(response.as_bytes(), split, WIDE);
                assert!(matches!(found[..], [Frame::Whole(_)]));
                assert!(work <= 2 * response.len() as u64, "{work} for {} by {split}", response.len());
            }
        }
    }
}
