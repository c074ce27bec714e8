//! Finding where responses end: lines joined by their literals, in time linear in their length.

use bytes::{Bytes, BytesMut};
use mailwright_line_proto::frame::LiteralMark;
use memchr::memchr;

/// What [`Frames::next`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A complete response (or the rest of a FETCH response), literals in place, without its last line end.
    Whole(Bytes),
    /// A FETCH response up to the literal of a body, which comes next in the input: so many octets, to be taken by
    /// the caller. Then the next frame goes on with the same response.
    Body(Bytes, u64),
    /// A response over the limits, now skipped to its end; this is how it began.
    Skipped(Bytes),
    /// A response over the limits whose end is too far away.
    Endless,
    /// More input is needed.
    Partial,
}

/// What a response may cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Octets of one response, bodies not counted.
    pub(super) response: usize,
    /// Octets of one literal that is no body.
    pub(super) literal: u64,
    /// Octets that are skipped to find the end of a response over the limits.
    pub(super) skip: u64,
}

/// How much of a skipped response is kept to be shown.
const SHOWN: usize = 128;

/// Takes responses from the front of a buffer. Every octet is looked at once, however the input is cut: what has no
/// end yet is moved here, so that the caller's buffer stays small.
#[derive(Debug, Default)]
pub(super) struct Frames {
    held: BytesMut,
    /// Where in `held` the current line begins: behind the last literal, or 0.
    line: usize,
    /// How many octets of a literal are still to come.
    literal: u64,
    /// What begins the response, once its first line is there.
    kind: Option<Kind>,
    /// How many parentheses of a FETCH response are open, before the current line.
    depth: u32,
    /// How many octets of the response came, those thrown away included.
    total: u64,
    /// The start of a response over the limits: the rest of it is thrown away.
    shown: Option<Bytes>,
    examined: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A line and nothing more: its text may end with what looks like the mark of a literal.
    Line,
    Fetch,
    Other,
}

impl Frames {
    /// The next response or the next part of one.
    pub(super) fn next(&mut self, rx: &mut BytesMut, bounds: Bounds) -> Frame {
        loop {
            if self.literal > 0 {
                let take = usize::try_from(self.literal).unwrap_or(usize::MAX).min(rx.len());
                self.hold(rx, take);
                self.literal -= take as u64;
                if self.literal > 0 {
                    return self.partial(bounds);
                }
                self.line = self.held.len();
            }
            let Some(at) = memchr(b'\n', rx) else {
                let length = rx.len();
                self.hold(rx, length);
                return self.partial(bounds);
            };
            self.hold(rx, at + 1);
            if !self.held.ends_with(b"\r\n") {
                continue;
            }
            if let Some(frame) = self.line_end(bounds) {
                return frame;
            }
        }
    }

    /// Whether the start of a response is here and its end is not.
    pub(super) fn is_amid(&self) -> bool {
        self.total > 0 || self.depth > 0
    }

    /// Forgets the response begun.
    pub(super) fn reset(&mut self) {
        *self = Self { examined: self.examined, ..Self::default() };
    }

    /// How many octets were looked at: the measure of work.
    #[cfg(test)]
    pub(super) fn examined(&self) -> u64 {
        self.examined
    }

    fn hold(&mut self, rx: &mut BytesMut, length: usize) {
        self.examined += length as u64;
        self.total += length as u64;
        let piece = rx.split_to(length);
        if self.held.is_empty() {
            self.held = piece;
        } else {
            self.held.extend_from_slice(&piece);
        }
    }

    /// The end of a line is the last that is held.
    fn line_end(&mut self, bounds: Bounds) -> Option<Frame> {
        let end = self.held.len().saturating_sub(2);
        let kind = *self.kind.get_or_insert_with(|| Kind::of(&self.held));
        let line = self.held.get(self.line..end).unwrap_or_default();
        // Only so much of a line is looked at as is kept of one that is skipped.
        let tail = line.len().saturating_sub(MARK - 2);
        let mark = match LiteralMark::find(line.get(tail..).unwrap_or_default()) {
            Ok(Some(mark)) if kind != Kind::Line => mark,
            Err(_) if kind != Kind::Line => return Some(Frame::Endless),
            _ => return Some(self.whole(bounds)),
        };
        let before = line.get(..tail + mark.start).unwrap_or_default();
        if kind == Kind::Fetch {
            self.examined += before.len() as u64;
            self.depth = depth(before, self.depth);
            let fits = self.shown.is_none() && self.held.len() <= bounds.response;
            if self.depth == 1 && fits && names_body(before) {
                let kept = self.line + before.len();
                let mut part = self.held.split();
                part.truncate(kept);
                self.line = 0;
                self.total = 0;
                return Some(Frame::Body(part.freeze(), mark.length));
            }
        }
        let held = (self.held.len() as u64).saturating_add(mark.length);
        if mark.length > bounds.skip {
            return Some(Frame::Endless);
        }
        if mark.length > bounds.literal || held > bounds.response as u64 {
            self.skip();
        }
        self.literal = mark.length;
        self.line = self.held.len();
        self.is_endless(bounds).then_some(Frame::Endless)
    }

    fn whole(&mut self, bounds: Bounds) -> Frame {
        if self.is_endless(bounds) {
            return Frame::Endless;
        }
        if self.held.len() > bounds.response {
            self.skip();
        }
        let mut response = self.held.split();
        let shown = self.shown.take();
        self.reset();
        if let Some(shown) = shown {
            return Frame::Skipped(shown);
        }
        response.truncate(response.len().saturating_sub(2));
        Frame::Whole(response.freeze())
    }

    fn partial(&mut self, bounds: Bounds) -> Frame {
        if self.shown.is_some() || self.held.len() > bounds.response {
            self.skip();
        }
        if self.is_endless(bounds) { Frame::Endless } else { Frame::Partial }
    }

    fn is_endless(&self, bounds: Bounds) -> bool {
        self.total > bounds.skip.saturating_add(bounds.response as u64)
    }

    /// Throws away what is held, but for what the end of the line is known by.
    fn skip(&mut self) {
        if self.shown.is_none() {
            self.shown = Some(Bytes::copy_from_slice(self.held.get(..SHOWN).unwrap_or(&self.held)));
        }
        // The line's end may be parted from it, and what is left must not begin inside of a mark and look whole.
        let line = self.held.len().saturating_sub(self.line);
        let tail = self.held.len().saturating_sub(line.min(MARK));
        self.held = BytesMut::from(self.held.get(tail..).unwrap_or_default());
        self.line = 0;
    }
}

/// More octets than the mark of a literal and its line end have.
const MARK: usize = 32;

impl Kind {
    fn of(response: &[u8]) -> Self {
        let Some(rest) = response.strip_prefix(b"*") else { return Self::Line };
        let mut words =
            rest.split(|octet| matches!(octet, b' ' | b'\r' | b'(')).filter(|word| !word.is_empty());
        let first = words.next().unwrap_or_default();
        if [&b"OK"[..], b"NO", b"BAD", b"BYE", b"PREAUTH"].iter().any(|word| word.eq_ignore_ascii_case(first))
        {
            return Self::Line;
        }
        let is_fetch = words.next().is_some_and(|word| word.eq_ignore_ascii_case(b"FETCH"));
        if is_fetch && first.iter().all(u8::is_ascii_digit) { Self::Fetch } else { Self::Other }
    }
}

/// The open parentheses after `line`, those in quoted strings not counted.
fn depth(line: &[u8], before: u32) -> u32 {
    let (mut depth, mut quoted, mut octets) = (before, false, line.iter());
    while let Some(octet) = octets.next() {
        match octet {
            b'\\' if quoted => drop(octets.next()),
            b'"' => quoted = !quoted,
            b'(' if !quoted => depth = depth.saturating_add(1),
            b')' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    depth
}

/// Whether a line ends with the name of a body: `BODY[…]`, `BODY[…]<0>`, `RFC822`, `RFC822.HEADER`, `RFC822.TEXT`.
fn names_body(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    let without_origin = line.strip_suffix(b">").map(|line| {
        let digits = line.iter().rev().take_while(|octet| octet.is_ascii_digit()).count();
        line.get(..line.len() - digits).and_then(|line| line.strip_suffix(b"<")).unwrap_or_default()
    });
    let is_last_word = |word: &[u8]| {
        line.len()
            .checked_sub(word.len())
            .and_then(|at| line.split_at_checked(at))
            .is_some_and(|(_, end)| end.eq_ignore_ascii_case(word))
    };
    without_origin.unwrap_or(line).ends_with(b"]")
        || [&b"RFC822"[..], b"RFC822.HEADER", b"RFC822.TEXT"].into_iter().any(is_last_word)
}

#[cfg(test)]
mod tests;
