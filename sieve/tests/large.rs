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

/// What a converter is given is held: a part that is larger than what is ever held stays as it is, and nothing of it is read.
#[test]
fn a_part_is_converted_only_if_it_can_be_held() {
    const HEAD: &[u8] = b"Subject: x\r\nContent-Type: image/tiff\r\n\r\n";
    let script = "require [\"convert\", \"fileinto\"];
        if convert \"image/tiff\" \"image/png\" [\"pix-x=9\"] { fileinto \"converted\"; }";
    let language = Language::standard().with(mailwright_sieve::extension::convert());
    let program = Arc::new(language.compile(script.as_bytes()).unwrap());
    let most = mailwright_sieve::Limits::default().body as u64;
    for (lines, fits) in
        [(most / LINE.len() as u64, true), (most / LINE.len() as u64 + 1, false), (200_000, false)]
    {
        let large = Large { head: HEAD, lines, tail: b"" };
        let mut scanner = Scanner::new();
        for start in (0..large.len()).step_by(1 << 20) {
            scanner.push(&large.read(start, start + (1 << 20)));
        }
        let mut run = Run::new(Arc::clone(&program), Input::new(Arc::new(scanner.finish()), DateTime::EPOCH));
        let (mut given, mut read) = (0, 0);
        let outcome = loop {
            match run.poll() {
                Step::Need(Request::Octets { range, .. }) => {
                    let octets = large.read(range.start, range.end);
                    read += octets.len() as u64;
                    run.answer(Answer::Octets(octets.into()));
                }
                Step::Need(Request::Convert { body, .. }) => {
                    given += body.len() as u64;
                    run.answer(Answer::Converted(Some("small".into())));
                }
                Step::Need(other) => panic!("{other:?}"),
                Step::Done(outcome) => break outcome,
            }
        };
        assert_eq!(outcome.error, None);
        if fits {
            assert_eq!(given, lines * LINE.len() as u64);
            assert!(matches!(&outcome.actions[..], [Action::FileInto(_)]), "{outcome:?}");
        } else {
            assert!(given == 0 && read <= 3 * most, "{given} given, {read} read of {}", large.len());
            assert!(
                matches!(&outcome.actions[..], [Action::Keep(keep)] if keep.message.is_original()),
                "{outcome:?}"
            );
        }
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
