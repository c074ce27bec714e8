//! The body behind DATA, as a server takes it: counted, bounded, watched.

use bytes::{Bytes, BytesMut};
use mailwright_line_proto::frame::{BodyPart, DotReader};

use crate::{
    Commit,
    server::{Aborted, BareLineEnds},
};

/// A body on its way in.
#[derive(Debug)]
pub(crate) struct Receiver {
    reader: DotReader,
    limit: Option<u64>,
    bare_line_ends: BareLineEnds,
    recipients: usize,
    /// How much was handed on.
    passed: u64,
    /// Nothing more is handed on.
    over: bool,
    /// That is still to be told.
    tell: bool,
    eight_bit: bool,
    nul: bool,
}

/// What came next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Chunk(Bytes),
    /// The limit is passed; the rest will be thrown away.
    TooLarge,
    /// The end.
    End(Result<Commit, Aborted>),
    Partial,
}

impl Receiver {
    pub(crate) fn new(limit: Option<u64>, bare_line_ends: BareLineEnds, recipients: usize) -> Self {
        Self {
            reader: DotReader::default(),
            limit,
            bare_line_ends,
            recipients,
            passed: 0,
            over: false,
            tell: false,
            eight_bit: false,
            nul: false,
        }
    }

    /// How many recipients the message has.
    pub(crate) fn recipients(&self) -> usize {
        self.recipients
    }

    /// The next part. Octets over the limit are taken and dropped: the end must be the true one.
    pub(crate) fn next(&mut self, rx: &mut BytesMut) -> Part {
        loop {
            if std::mem::take(&mut self.tell) {
                return Part::TooLarge;
            }
            match self.reader.next(rx) {
                BodyPart::Partial => return Part::Partial,
                BodyPart::End => return Part::End(self.end()),
                BodyPart::Chunk(_) if self.over => {}
                BodyPart::Chunk(mut chunk) => {
                    self.over = self.limit.is_some_and(|limit| self.reader.length() > limit);
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
        }
    }

    fn end(&self) -> Result<Commit, Aborted> {
        let bare_line_ends = self.reader.has_bare_line_end();
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

    #[test]
    fn the_limit_is_kept_to_the_octet() {
        for (limit, fits) in [(7, false), (8, true), (9, true)] {
            for split in 1..14 {
                let mut receiver = Receiver::new(Some(limit), BareLineEnds::Reject, 1);
                let (mut rx, mut body, mut told) = (BytesMut::new(), Vec::new(), 0);
                let mut end = None;
                for piece in b"..a\r\nbc\r\n.\r\n".chunks(split) {
                    rx.extend_from_slice(piece);
                    loop {
                        match receiver.next(&mut rx) {
                            Part::Chunk(chunk) => body.extend_from_slice(&chunk),
                            Part::TooLarge => told += 1,
                            Part::End(found) => end = Some(found),
                            Part::Partial => break,
                        }
                        if end.is_some() {
                            break;
                        }
                    }
                }
                assert_eq!(body.len() as u64, limit.min(8));
                assert_eq!(told, u32::from(!fits));
                assert_eq!(end.unwrap().map(|commit| commit.size).ok(), fits.then_some(8));
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
}
