//! Lines, found without looking at an octet twice.

use bytes::BytesMut;

/// What ends a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LineEnds {
    /// CRLF and nothing else (RFC 5321 §2.3.8). A lone CR or LF is an octet of the line, for the grammar to refuse.
    #[default]
    Strict,
    /// CRLF or LF, for people who type at a server. Never used for the end of a message.
    Lenient,
}

/// What [`Lines::next`] found.
#[derive(Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is nothing else a stream can hold")]
pub enum Line {
    /// A whole line, without its end.
    Whole(BytesMut),
    /// A line over the limit, now skipped to its end; nothing of it was kept.
    TooLong,
    /// A line over the limit whose end did not come within what may be skipped: the stream is beyond saving.
    Endless,
    /// The end of the line has not come yet.
    Partial,
}

/// Takes lines from the front of a buffer.
///
/// ```
/// use bytes::BytesMut;
/// use mailwright_line_proto::frame::{Line, LineEnds, Lines};
///
/// let mut lines = Lines::new(LineEnds::Strict);
/// let mut rx = BytesMut::from("NOOP\r\nQU");
/// assert_eq!(lines.next(&mut rx, 512, 4096), Line::Whole("NOOP".as_bytes().into()));
/// assert_eq!(lines.next(&mut rx, 512, 4096), Line::Partial);
/// rx.extend_from_slice(b"IT\r\n");
/// assert_eq!(lines.next(&mut rx, 512, 4096), Line::Whole("QUIT".as_bytes().into()));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Lines {
    ends: LineEnds,
    /// How much of the front of the buffer is known to hold no line end.
    scanned: usize,
    /// How much of an over-long line was thrown away, and whether one is being skipped at all.
    skipped: Option<u64>,
    /// Whether the last octet thrown away was a CR.
    skipped_cr: bool,
    examined: u64,
}

impl Lines {
    /// A framer at the start of a line.
    pub fn new(ends: LineEnds) -> Self {
        Self { ends, ..Self::default() }
    }

    /// Takes the next line from the front of `rx`. Its end included, it may have `limit` octets; of one that has
    /// more, up to `skip` octets are thrown away.
    pub fn next(&mut self, rx: &mut BytesMut, limit: usize, skip: u64) -> Line {
        loop {
            let unseen = rx.get(self.scanned..).unwrap_or_default();
            let Some(offset) = memchr::memchr(b'\n', unseen) else {
                self.examined += unseen.len() as u64;
                self.scanned = rx.len();
                return self.partial(rx, limit, skip);
            };
            self.examined += offset as u64 + 1;
            let end = self.scanned + offset;
            self.scanned = end + 1;
            let cr = match end.checked_sub(1) {
                Some(before) => rx.get(before) == Some(&b'\r'),
                None => self.skipped.is_some() && self.skipped_cr,
            };
            if !cr && self.ends == LineEnds::Strict {
                continue;
            }
            let mut line = rx.split_to(end + 1);
            self.scanned = 0;
            if self.skipped.take().is_some() || line.len() > limit {
                return Line::TooLong;
            }
            line.truncate(end - usize::from(cr));
            return Line::Whole(line);
        }
    }

    /// Whether the start of an over-long line was thrown away already.
    pub fn is_skipping(&self) -> bool {
        self.skipped.is_some()
    }

    /// Forgets the line begun, for when the buffer was emptied or handed to another framer.
    pub fn reset(&mut self) {
        *self = Self { ends: self.ends, examined: self.examined, ..Self::default() };
    }

    /// How many octets were looked at in all: the measure of work that tests compare.
    pub fn examined(&self) -> u64 {
        self.examined
    }

    fn partial(&mut self, rx: &mut BytesMut, limit: usize, skip: u64) -> Line {
        if self.skipped.is_none() && rx.len() < limit {
            return Line::Partial;
        }
        // Over the limit whatever follows: keep nothing, look only for the end.
        let skipped = self.skipped.unwrap_or(0) + rx.len() as u64;
        if let Some(last) = rx.last() {
            self.skipped_cr = *last == b'\r';
        }
        rx.clear();
        self.scanned = 0;
        self.skipped = Some(skipped);
        if skipped > skip.max(limit as u64) { Line::Endless } else { Line::Partial }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8], split: usize, ends: LineEnds, limit: usize) -> (Vec<Line>, u64) {
        let (mut lines, mut rx, mut found) = (Lines::new(ends), BytesMut::new(), Vec::new());
        for piece in input.chunks(split) {
            rx.extend_from_slice(piece);
            loop {
                match lines.next(&mut rx, limit, 1 << 40) {
                    Line::Partial => break,
                    line => found.push(line),
                }
            }
        }
        (found, lines.examined())
    }

    fn whole(text: &str) -> Line {
        Line::Whole(text.as_bytes().into())
    }

    #[test]
    fn any_split_gives_the_same_lines() {
        let input = b"a\r\n\r\nb\nc\r\nd\re\r\n0123456789\r\n01234567\r\n\n\r\nz\r\r\n";
        let strict = vec![
            whole("a"),
            whole(""),
            whole("b\nc"),
            whole("d\re"),
            Line::TooLong,
            whole("01234567"),
            whole("\n"),
            whole("z\r"),
        ];
        for split in 1..=input.len() {
            assert_eq!(all(input, split, LineEnds::Strict, 10).0, strict, "pieces of {split}");
            let lenient = all(input, split, LineEnds::Lenient, 10).0;
            assert_eq!(lenient.len(), 10, "pieces of {split}");
            assert_eq!(lenient[2..4], [whole("b"), whole("c")]);
        }
    }

    #[test]
    fn the_limit_counts_the_line_end() {
        for (length, fits) in [(97, true), (98, true), (99, false)] {
            let mut input = vec![b'x'; length];
            input.extend_from_slice(b"\r\n");
            for split in [1, 7, 1000] {
                let found = all(&input, split, LineEnds::Strict, 100).0;
                assert_eq!(matches!(found[..], [Line::Whole(_)]), fits, "{length} octets by {split}");
                assert_eq!(found.len(), 1);
            }
        }
    }

    #[test]
    fn a_line_without_an_end_is_given_up_and_nothing_of_it_is_kept() {
        let (mut lines, mut rx) = (Lines::new(LineEnds::Strict), BytesMut::new());
        for count in 1..=21 {
            rx.extend_from_slice(&[b'x'; 100]);
            let found = lines.next(&mut rx, 512, 2048);
            assert_eq!(found, if count == 21 { Line::Endless } else { Line::Partial }, "{count}");
            assert!(rx.len() < 512, "{count}");
        }
    }

    #[test]
    fn eight_megabytes_cost_the_same_work_whatever_the_split() {
        let mut input = Vec::new();
        while input.len() < 8 << 20 {
            input.extend_from_slice(&[b'x'; 1000]);
            input.extend_from_slice(b"\r\n");
        }
        let (piecewise, work_piecewise) = all(&input, 1, LineEnds::Strict, 2000);
        let (at_once, work_at_once) = all(&input, input.len(), LineEnds::Strict, 2000);
        assert_eq!(piecewise, at_once);
        assert_eq!(work_piecewise, work_at_once);
        assert_eq!(work_at_once, input.len() as u64);
    }
}
