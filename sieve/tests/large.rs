//! Large messages, and hosts that answer in small pieces.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::sync::Arc;

use mailwright_mail_model::{DateTime, mime::Scanner};
use mailwright_sieve::{Action, Answer, Input, Language, Outcome, Request, Run, Segment, Step};

/// A message of any size that is never held: a header, lines of digits, and a last line.
struct Large {
    head: &'static [u8],
    lines: u64,
    tail: &'static [u8],
}

const LINE: &[u8] = b"0123456789012345678901234567890123456789012345678901234567890123456789012345\r\n";

impl Large {
    fn len(&self) -> u64 {
        self.head.len() as u64 + self.lines * LINE.len() as u64 + self.tail.len() as u64
    }

    fn read(&self, start: u64, end: u64) -> Vec<u8> {
        let body = self.head.len() as u64;
        let tail = body + self.lines * LINE.len() as u64;
        (start..end.min(self.len()))
            .map(|at| match at {
                _ if at < body => self.head[at as usize],
                _ if at < tail => LINE[((at - body) % LINE.len() as u64) as usize],
                _ => self.tail[(at - tail) as usize],
            })
            .collect()
    }

    fn run(&self, script: &str, piece: u64) -> (Outcome, u64) {
        let mut scanner = Scanner::new();
        let mut at = 0;
        while at < self.len() {
            scanner.push(&self.read(at, at + (1 << 20)));
            at += 1 << 20;
        }
        let program = Language::standard().compile(script.as_bytes()).unwrap();
        let input = Input::new(Arc::new(scanner.finish()), DateTime::EPOCH);
        let mut run = Run::new(Arc::new(program), input);
        let mut most = 0;
        loop {
            match run.poll() {
                Step::Need(Request::Octets { range, .. }) => {
                    most = most.max(range.end - range.start);
                    run.answer(Answer::Octets(
                        self.read(range.start, range.end.min(range.start + piece)).into(),
                    ));
                }
                Step::Need(other) => panic!("{other:?}"),
                Step::Done(outcome) => return (*outcome, most),
            }
        }
    }
}

#[test]
fn a_body_is_searched_without_being_held() {
    let large = Large { head: b"Subject: x\r\n\r\n", lines: 20_000, tail: b"the needle is here\r\n" };
    let (outcome, most) =
        large.run("require \"body\"; if body :contains \"NEEDLE is\" { discard; }", 1 << 20);
    assert!(outcome.actions.is_empty(), "{outcome:?}");
    assert!(most <= 1 << 20);
}

#[test]
fn pieces_of_any_size_give_the_same() {
    let large = Large { head: b"Subject: x\r\nTo: a@b\r\n\r\n", lines: 3, tail: b"n\xc3\xa9edle\r\n" };
    let script = "require [\"body\", \"fileinto\", \"replace\", \"editheader\"];
        if body :contains \"5\r\nnéed\" { fileinto \"found\"; }
        if body :matches \"*9*néedle*\" { fileinto \"matched\"; }
        addheader \"X-A\" \"b\"; replace :subject \"y\" \"gone\";
        if allof (header \"subject\" \"y\", header \"x-a\" \"b\", body :is \"gone\r\n\") { keep; }";
    for piece in [1, 2, 3, 100, 1 << 20] {
        let (outcome, _) = large.run(script, piece);
        assert_eq!(outcome.error, None);
        let [Action::FileInto(_), Action::FileInto(_), Action::Keep(keep)] = &outcome.actions[..] else {
            panic!("{piece}: {outcome:?}")
        };
        assert!(keep.message.segments().iter().all(|segment| matches!(segment, Segment::Octets(_))));
    }
}

/// The changed message of a large one is made of ranges of it.
#[test]
fn a_change_of_the_header_leaves_the_body_where_it_is() {
    let large = Large { head: b"Subject: x\r\n\r\n", lines: 1000, tail: b"" };
    let (outcome, _) = large.run("require \"editheader\"; addheader \"X-A\" \"b\";", 1 << 20);
    let [Action::Keep(keep)] = &outcome.actions[..] else { panic!("{outcome:?}") };
    let [Segment::Octets(header), Segment::Source { source: 0, range }] = keep.message.segments() else {
        panic!("{keep:?}")
    };
    assert_eq!(&header[..], b"X-A: b\r\nSubject: x\r\n\r\n");
    assert_eq!(*range, 14..large.len());
}
