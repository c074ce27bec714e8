//! The body behind DATA or BDAT, as a server takes it: counted, bounded, watched.

use bytes::{Bytes, BytesMut};
use mailwright_line_proto::frame::{BodyPart, Counted, DotReader, LineEndWatch};

use crate::{
    Bdat, Commit,
    server::{Aborted, BareLineEnds},
};

/// A body on its way in.
#[derive(Debug)]
pub(crate) struct Receiver {
    source: Source,
    limit: Option<u64>,
    bare_line_ends: BareLineEnds,
    recipients: usize,
    /// How much came, and how much of it was handed on.
    length: u64,
    passed: u64,
    /// Nothing more is handed on.
    over: bool,
    /// That is still to be told.
    tell: bool,
    eight_bit: bool,
    nul: bool,
}

/// How the body comes.
#[derive(Debug)]
enum Source {
    /// Behind DATA.
    Dots(DotReader),
    /// Behind BDAT.
    Parts { part: Counted, last: bool, ends: Option<LineEndWatch> },
}

/// What came next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Chunk(Bytes),
    /// The limit is passed; the rest will be thrown away.
    TooLarge,
    /// The end of a part that is not the last.
    Complete,
    /// The end.
    End(Result<Commit, Aborted>),
    Partial,
}

impl Receiver {
    /// For a body that ends with a dot.
    pub(crate) fn new(limit: Option<u64>, bare_line_ends: BareLineEnds, recipients: usize) -> Self {
        Self {
            source: Source::Dots(DotReader::default()),
            limit,
            bare_line_ends,
            recipients,
            length: 0,
            passed: 0,
            over: false,
            tell: false,
            eight_bit: false,
            nul: false,
        }
    }

    /// For a body that comes in parts of known length. Of a binary one, no line end is looked at.
    pub(crate) fn parts(
        limit: Option<u64>,
        bare_line_ends: BareLineEnds,
        recipients: usize,
        binary: bool,
    ) -> Self {
        let ends = (!binary).then(LineEndWatch::default);
        let source = Source::Parts { part: Counted::new(0), last: false, ends };
        Self { source, ..Self::new(limit, bare_line_ends, recipients) }
    }

    /// The next part begins.
    pub(crate) fn begin(&mut self, bdat: Bdat) {
        if let Source::Parts { part, last, .. } = &mut self.source {
            (*part, *last) = (Counted::new(bdat.size), bdat.last);
        }
    }

    /// Octets of the message that come from elsewhere; `false`, and they do not count, if it would be larger than it may be.
    pub(crate) fn count(&mut self, octets: u64) -> bool {
        let length = self.length.saturating_add(octets);
        if self.limit.is_some_and(|limit| length > limit) {
            return false;
        }
        self.passed = self.passed.saturating_add(octets);
        self.length = length;
        true
    }

    /// How many recipients the message has.
    pub(crate) fn recipients(&self) -> usize {
        self.recipients
    }

    /// Whether it is larger than it may be.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// The next part. Octets over the limit are taken and dropped: the end must be the true one.
    pub(crate) fn next(&mut self, rx: &mut BytesMut) -> Part {
        loop {
            if std::mem::take(&mut self.tell) {
                return Part::TooLarge;
            }
            let mut chunk = match &mut self.source {
                Source::Dots(reader) => match reader.next(rx) {
                    BodyPart::Partial => return Part::Partial,
                    BodyPart::End => return Part::End(self.end()),
                    BodyPart::Chunk(chunk) => chunk,
                },
                Source::Parts { part, last, ends } => match part.next(rx) {
                    None if !part.is_done() => return Part::Partial,
                    None if *last => return Part::End(self.end()),
                    None => return Part::Complete,
                    Some(chunk) => {
                        ends.iter_mut().for_each(|ends| ends.see(&chunk));
                        chunk
                    }
                },
            };
            self.length = self.length.saturating_add(chunk.len() as u64);
            if self.over {
                continue;
            }
            self.over = self.limit.is_some_and(|limit| self.length > limit);
            if self.over {
                // To the octet, so that no split of the input shows.
                let room = self.limit.unwrap_or(u64::MAX).saturating_sub(self.passed);
                chunk.truncate(usize::try_from(room).unwrap_or(usize::MAX));
                self.tell = true;
            }
            self.passed += chunk.len() as u64;
            self.eight_bit = self.eight_bit || !chunk.is_ascii();
            self.nul = self.nul || memchr::memchr(0, &chunk).is_some();
            if !chunk.is_empty() {
                return Part::Chunk(chunk);
            }
        }
    }

    fn end(&self) -> Result<Commit, Aborted> {
        let bare_line_ends = match &self.source {
            Source::Dots(reader) => reader.has_bare_line_end(),
            Source::Parts { ends, .. } => ends.as_ref().is_some_and(LineEndWatch::has_bare_line_end),
        };
        if self.over {
            return Err(Aborted::TooLarge);
        }
        if bare_line_ends && self.bare_line_ends == BareLineEnds::Reject {
            return Err(Aborted::BareLineEnds);
        }
        Ok(Commit {
            size: self.passed,
            bare_line_ends,
            eight_bit: self.eight_bit,
            nul: self.nul,
            recipients: self.recipients,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All parts, the body joined.
    fn receive(
        mut receiver: Receiver,
        input: &[u8],
        split: usize,
    ) -> (Vec<u8>, u32, Option<Result<Commit, Aborted>>) {
        let (mut rx, mut body, mut told) = (BytesMut::new(), Vec::new(), 0);
        for piece in input.chunks(split) {
            rx.extend_from_slice(piece);
            loop {
                match receiver.next(&mut rx) {
                    Part::Chunk(chunk) => body.extend_from_slice(&chunk),
                    Part::TooLarge => told += 1,
                    Part::End(end) => return (body, told, Some(end)),
                    Part::Partial => break,
                    Part::Complete => panic!("there is but one"),
                }
            }
        }
        (body, told, None)
    }

    #[test]
    fn the_limit_is_kept_to_the_octet() {
        for (limit, fits) in [(7, false), (8, true), (9, true)] {
            for split in 1..14 {
                let dots = Receiver::new(Some(limit), BareLineEnds::Reject, 1);
                let mut parts = Receiver::parts(Some(limit), BareLineEnds::Reject, 1, false);
                parts.begin(Bdat::new(8, true));
                for (receiver, input) in [(dots, &b"..a\r\nbc\r\n.\r\n"[..]), (parts, b".a\r\nbc\r\n")] {
                    let (body, told, end) = receive(receiver, input, split);
                    assert_eq!(body.len() as u64, limit.min(8));
                    assert_eq!(told, u32::from(!fits));
                    assert_eq!(end.unwrap().map(|commit| commit.size).ok(), fits.then_some(8));
                }
            }
        }
    }

    #[test]
    fn what_was_seen_is_said() {
        let mut rx = BytesMut::from(&b"a\n\0\xff\r\n.\r\n"[..]);
        let mut receiver = Receiver::new(None, BareLineEnds::Accept, 2);
        assert!(matches!(receiver.next(&mut rx), Part::Chunk(_)));
        let Part::End(Ok(commit)) = receiver.next(&mut rx) else { panic!() };
        assert!(commit.bare_line_ends && commit.eight_bit && commit.nul);
        assert_eq!((commit.size, commit.recipients), (6, 2));
    }

    #[test]
    fn lone_line_ends_are_seen_in_parts_too() {
        for (text, clean) in [
            ("a\r\nb\r\n", true),
            ("a\nb", false),
            ("a\rb", false),
            ("a\r", false),
            ("\n", false),
            ("\r\r\n", false),
            ("", true),
            ("ab", true),
            ("a\r\n\n", false),
        ] {
            for split in 1..=text.len().max(1) {
                for binary in [false, true] {
                    let mut receiver = Receiver::parts(None, BareLineEnds::Reject, 1, binary);
                    receiver.begin(Bdat::new(text.len() as u64, true));
                    let (_, _, end) =
                        receive(receiver, if text.is_empty() { b"x" } else { text.as_bytes() }, split);
                    assert_eq!(end.unwrap().is_ok(), clean || binary, "{text:?}/{split}");
                }
            }
        }
    }
}
