//! Reads a message once, line by line, in pieces of any size.
//!
//! Laws of this file: no octet is looked at more than a bounded number of times; nothing of a body is held but a
//! line break and the start of a line that may be a boundary; what stands behind a boundary in its line hides
//! nothing (RFC 2046 §5.1.1).

use memchr::{memchr, memchr_iter};

use super::boundaries::{Boundaries, Delimiter};
use super::content::{Content, ContentBuilder, MediaType};
use super::field_reader::FieldReader;
use super::{Limits, Part, Shape, Sink, Structure};
use crate::Envelope;

/// How much of a line is compared: the boundary, four hyphens, and blanks added on the way.
const BOUNDARY_LINE: usize = Limits::BOUNDARY + 4 + 998;

/// What an address or parameter costs in memory beyond its octets, roughly: a flood of short ones must not grow
/// to many times the message.
const ITEM: usize = 128;

/// Finds the structure of a message that comes in pieces. See the [module](super).
///
/// ```
/// use mailwright_mail_model::mime::Scanner;
///
/// let mut scanner = Scanner::new();
/// scanner.push(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhel");
/// scanner.push(b"lo\r\n--b--\r\n");
/// let structure = scanner.finish();
/// assert_eq!(structure.len(), 2);
/// ```
#[derive(Clone, Debug)]
pub struct Scanner {
    limits: Limits,
    /// Whether the envelopes of messages are understood.
    envelopes: bool,
    parts: Vec<Part>,
    open: Boundaries,
    /// The header being read; none in a body.
    header: Option<Header>,
    line: Line,
    /// Octets read, and line breaks among them but for the held one.
    offset: u64,
    lines: u64,
    line_start: u64,
    /// The line break, or the CR that may become one, at the end of what was read of a body. It belongs to the
    /// boundary if one follows.
    held: &'static [u8],
    /// A line that may be a boundary.
    candidate: Vec<u8>,
    /// Octets of fields read and [`ITEM`] for each value in them, in all headers together.
    kept: usize,
}

/// Where in a line the scanner stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Start,
    /// In a line that may be a boundary.
    Candidate,
    /// In a line that is a boundary, whatever follows.
    Delimiter,
    /// Behind a CR at the start of a line of a header.
    CarriageReturn,
    Within,
}

#[derive(Clone, Debug, Default)]
struct Header {
    reader: FieldReader,
    content: ContentBuilder,
    /// The fields of the envelope, if the part is a message.
    envelope: Option<Vec<u8>>,
    in_digest: bool,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// A scanner at the start of a message, with the default limits.
    pub fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    /// A scanner at the start of a message.
    pub fn with_limits(limits: Limits) -> Self {
        let mut scanner = Self {
            limits,
            envelopes: true,
            parts: Vec::new(),
            open: Boundaries::default(),
            header: None,
            line: Line::Start,
            offset: 0,
            lines: 0,
            line_start: 0,
            held: b"",
            candidate: Vec::new(),
            kept: 0,
        };
        scanner.begin_part(0, None, false, true);
        scanner
    }

    /// The same scanner at the start of a message, for those who ask for no [`Part::envelope`]: there will be none, and the time that
    /// it takes to understand addresses is saved.
    #[must_use]
    pub fn without_envelopes(mut self) -> Self {
        self.envelopes = false;
        if let Some(header) = &mut self.header {
            header.envelope = None;
        }
        self
    }

    /// The next octets of the message.
    pub fn push(&mut self, octets: &[u8]) {
        self.push_to(octets, &mut ());
    }

    /// The next octets of the message; what they hold is told to `sink`.
    pub fn push_to(&mut self, octets: &[u8], sink: &mut impl Sink) {
        let mut rest = octets;
        while let Some(&first) = rest.first() {
            let used = match self.line {
                Line::Start => self.start_line(first, sink),
                Line::Candidate => self.read_candidate(rest, sink),
                Line::Delimiter => self.read_delimiter(rest, sink),
                Line::CarriageReturn => self.after_carriage_return(first, sink),
                Line::Within if self.header.is_some() => self.read_header(rest, sink),
                Line::Within => self.read_body(rest, sink),
            };
            self.offset += used as u64;
            rest = rest.get(used..).unwrap_or_default();
        }
    }

    /// The message has ended.
    pub fn finish(self) -> Structure {
        self.finish_to(&mut ())
    }

    /// The message has ended; what was held back is told to `sink`.
    pub fn finish_to(mut self, sink: &mut impl Sink) -> Structure {
        if matches!(self.line, Line::Candidate | Line::Delimiter) {
            self.end_candidate(0, sink);
        }
        while self.header.is_some() {
            self.end_header(self.offset, sink);
        }
        self.release(sink);
        while let Some(part) = self.open.pop() {
            self.end_part(part, self.offset, sink);
        }
        let mut parts = self.parts;
        for index in (0..parts.len()).rev() {
            let Some(part) = parts.get_mut(index) else { continue };
            part.after = part.after.max(index as u32 + 1);
            if part.after == index as u32 + 1 {
                part.shape = Shape::Leaf;
            }
            let (after, parent) = (part.after, part.parent());
            if let Some(parent) = parent.and_then(|parent| parts.get_mut(parent)) {
                parent.after = parent.after.max(after);
            }
        }
        Structure { parts }
    }

    /// The octets of the message held at this moment, but for what is kept of headers.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.candidate.capacity() + self.header.as_ref().map_or(0, |header| header.reader.held())
    }

    fn start_line(&mut self, first: u8, sink: &mut impl Sink) -> usize {
        self.line_start = self.offset;
        if first == b'-' && self.open.watch() {
            self.line = Line::Candidate;
            return 0;
        }
        self.begin_content(first, sink)
    }

    /// The line is no boundary. Gives how many octets that uses up.
    fn begin_content(&mut self, first: u8, sink: &mut impl Sink) -> usize {
        if self.header.is_none() {
            self.release(sink);
        } else if first == b'\r' {
            self.line = Line::CarriageReturn;
            return 1;
        } else if first == b'\n' {
            return self.end_of_header_line(sink);
        } else {
            self.begin_header_line(first, sink);
        }
        self.line = Line::Within;
        0
    }

    fn after_carriage_return(&mut self, first: u8, sink: &mut impl Sink) -> usize {
        if first == b'\n' {
            return self.end_of_header_line(sink);
        }
        self.begin_header_line(b'\r', sink);
        self.push_header(b"\r", sink);
        self.line = Line::Within;
        0
    }

    /// The LF of the empty line that ends a header.
    fn end_of_header_line(&mut self, sink: &mut impl Sink) -> usize {
        self.lines += 1;
        self.line = Line::Start;
        self.end_header(self.offset + 1, sink);
        1
    }

    fn begin_header_line(&mut self, first: u8, sink: &mut impl Sink) {
        let Some(header) = &mut self.header else { return };
        if let Some(field) = header.reader.begin_line(first, &self.limits) {
            self.take_field(&field, sink);
            if let Some(header) = &mut self.header {
                header.reader.reuse(field);
            }
        }
    }

    fn push_header(&mut self, octets: &[u8], sink: &impl Sink) {
        let Some(header) = &mut self.header else { return };
        let message = header.envelope.is_some();
        header.reader.push(octets, &self.limits, |name| {
            sink.wants_fields() || ContentBuilder::wants(name) || (message && Envelope::wants(name))
        });
    }

    fn read_header(&mut self, rest: &[u8], sink: &impl Sink) -> usize {
        let used = memchr(b'\n', rest).map_or(rest.len(), |index| index + 1);
        let line = rest.get(..used).unwrap_or_default();
        self.push_header(line, sink);
        if line.ends_with(b"\n") {
            self.lines += 1;
            self.line = Line::Start;
        }
        used
    }

    fn take_field(&mut self, field: &[u8], sink: &mut impl Sink) {
        if sink.wants_fields() {
            sink.field(self.open.top(), field);
        }
        let Some(header) = &mut self.header else { return };
        let name =
            memchr(b':', field).and_then(|colon| field.get(..colon)).unwrap_or_default().trim_ascii_end();
        let (content, envelope) = (ContentBuilder::wants(name), Envelope::wants(name));
        let known = content || (envelope && header.envelope.is_some());
        if !known || self.kept.saturating_add(field.len()) > self.limits.header {
            return;
        }
        self.kept += field.len();
        if content {
            let before = header.content.items();
            header.content.take(field, &self.limits);
            self.kept += (header.content.items() - before) * ITEM;
        } else if let Some(fields) = &mut header.envelope {
            fields.extend_from_slice(field);
            // A field that was cut or stands at the end of the message has no line break of its own.
            if !field.ends_with(b"\n") {
                fields.extend_from_slice(b"\r\n");
            }
        }
    }

    /// The header of the innermost part ends before `offset`; opens what its body holds.
    fn end_header(&mut self, offset: u64, sink: &mut impl Sink) {
        if let Some(field) = self.header.as_mut().and_then(|header| header.reader.take()) {
            self.take_field(&field, sink);
        }
        let Some(header) = self.header.take() else { return };
        let content = header.content.finish(match header.in_digest {
            true => MediaType::message,
            false => MediaType::text,
        });
        let whole = self.parts.len() >= self.limits.parts;
        let room = !whole && self.open.depth() < self.limits.depth.min(Limits::DEPTH);
        let index = self.open.top();
        let boundary = content.media_type.boundary(&self.limits).filter(|_| room);
        let message = room && content.media_type.is_message() && content.encoding().is_identity();
        let digest = content.media_type.is("multipart", "digest");
        if let Some(boundary) = &boundary {
            self.open.set_boundary(boundary, digest);
        }
        let room = self.limits.header.saturating_sub(self.kept) / ITEM;
        let envelope = header.envelope.map(|fields| Box::new(Envelope::within(&fields, room)));
        self.kept += envelope.as_ref().map_or(0, |envelope| envelope.entries() * ITEM);
        let Some(part) = self.parts.get_mut(index) else { return };
        part.shape = match (boundary.is_some(), message) {
            (true, _) => Shape::Multipart,
            (_, true) => Shape::Message,
            _ => Shape::Leaf,
        };
        part.content = content;
        part.envelope = envelope;
        part.header_octets = offset - part.start;
        part.lines = self.lines;
        sink.header_end(index, part);
        if message {
            self.begin_part(offset, Some(index), false, true);
        }
    }

    fn begin_part(&mut self, start: u64, parent: Option<usize>, in_digest: bool, message: bool) {
        self.open.push(self.parts.len());
        self.parts.push(Part {
            parent: parent.and_then(|parent| u32::try_from(parent).ok()),
            after: 0,
            shape: Shape::Leaf,
            start,
            header_octets: 0,
            body_octets: 0,
            lines: 0,
            content: Content::unknown(),
            envelope: None,
        });
        if self.parts.len() >= self.limits.parts {
            // The last part takes all that follows.
            self.open.clear();
        }
        let envelope = (message && self.envelopes).then(Vec::new);
        self.header = Some(Header { envelope, in_digest, ..Header::default() });
    }

    /// The body of a part ends before `offset`.
    fn end_part(&mut self, index: usize, offset: u64, sink: &mut impl Sink) {
        if let Some(part) = self.parts.get_mut(index) {
            part.body_octets = offset.saturating_sub(part.start + part.header_octets);
            // Until here the lines before the body.
            part.lines = self.lines.saturating_sub(part.lines);
        }
        sink.part_end(index);
    }

    fn read_candidate(&mut self, rest: &[u8], sink: &mut impl Sink) -> usize {
        let end = memchr(b'\n', rest);
        let line = end.and_then(|end| rest.get(..end)).unwrap_or(rest);
        let room = BOUNDARY_LINE.saturating_sub(self.candidate.len());
        let taken = line.get(..room.min(line.len())).unwrap_or_default();
        self.candidate.extend_from_slice(taken);
        let hyphens = self.candidate.starts_with(b"--") || self.candidate.len() < 2;
        let whole = taken.len() == line.len();
        if !hyphens || (!whole && self.open.find(&self.candidate).is_none()) {
            self.reject_candidate(sink);
            return taken.len();
        }
        if !whole {
            self.line = Line::Delimiter;
            return taken.len();
        }
        if end.is_none() {
            return taken.len();
        }
        self.offset += taken.len() as u64;
        let matched = self.end_candidate(1, sink);
        self.offset -= taken.len() as u64;
        // The LF belongs to the boundary, or is read as that of any line.
        taken.len() + usize::from(matched)
    }

    /// The rest of a boundary's line belongs to nothing.
    fn read_delimiter(&mut self, rest: &[u8], sink: &mut impl Sink) -> usize {
        let Some(end) = memchr(b'\n', rest) else { return rest.len() };
        self.offset += end as u64;
        self.end_candidate(1, sink);
        self.offset -= end as u64;
        end + 1
    }

    /// The line has ended with so many LF: takes it as a boundary, or as any other line, short of its LF.
    fn end_candidate(&mut self, feeds: u64, sink: &mut impl Sink) -> bool {
        let Some(delimiter) = self.open.find(&self.candidate) else {
            self.reject_candidate(sink);
            return false;
        };
        self.candidate.clear();
        let level = match delimiter {
            Delimiter::Next(level) | Delimiter::Last(level) => level,
        };
        while self.header.is_some() {
            // No empty line came: the part has no body.
            self.end_header(self.line_start, sink);
        }
        let end = self.line_start - self.held.len() as u64;
        while let Some(part) = self.open.pop_below(level) {
            self.end_part(part, end, sink);
        }
        self.lines += u64::from(self.held.ends_with(b"\n")) + feeds;
        self.held = b"";
        self.line = Line::Start;
        match delimiter {
            Delimiter::Next(_) => {
                let (part, digest) = (self.open.top(), self.open.is_digest());
                self.begin_part(self.offset + feeds, Some(part), digest, false);
            }
            Delimiter::Last(level) => self.open.close(level),
        }
        true
    }

    fn reject_candidate(&mut self, sink: &mut impl Sink) {
        let candidate = std::mem::take(&mut self.candidate);
        if self.header.is_some() {
            self.begin_header_line(b'-', sink);
            self.push_header(&candidate, sink);
        } else {
            self.release(sink);
            let text = candidate.strip_suffix(b"\r").unwrap_or(&candidate);
            sink.body(self.open.top(), text);
            self.held = if text.len() < candidate.len() { b"\r" } else { b"" };
        }
        self.line = Line::Within;
        self.candidate = candidate;
        self.candidate.clear();
    }

    fn read_body(&mut self, rest: &[u8], sink: &mut impl Sink) -> usize {
        if self.held == b"\r" && rest.first() == Some(&b'\n') {
            self.held = b"\r\n";
            self.line = Line::Start;
            return 1;
        }
        self.release(sink);
        let part = self.open.top();
        if !self.open.watch() {
            // Nothing can end this part but the end of the message.
            self.lines += memchr_iter(b'\n', rest).count() as u64;
            sink.body(part, rest);
            return rest.len();
        }
        for feed in memchr_iter(b'\n', rest) {
            let line = feed + 1;
            if rest.get(line).is_none_or(|next| *next == b'-') {
                let text = rest.get(..feed).unwrap_or_default();
                let (text, held) = match text.strip_suffix(b"\r") {
                    Some(text) => (text, b"\r\n".as_slice()),
                    None => (text, b"\n".as_slice()),
                };
                self.hold(part, text, held, sink);
                self.line = Line::Start;
                return line;
            }
            self.lines += 1;
        }
        match rest.strip_suffix(b"\r") {
            Some(text) => self.hold(part, text, b"\r", sink),
            None => self.hold(part, rest, b"", sink),
        }
        rest.len()
    }

    fn hold(&mut self, part: usize, text: &[u8], held: &'static [u8], sink: &mut impl Sink) {
        if !text.is_empty() {
            sink.body(part, text);
        }
        self.held = held;
    }

    /// What was held back belongs to the body.
    fn release(&mut self, sink: &mut impl Sink) {
        let held = std::mem::take(&mut self.held);
        if !held.is_empty() {
            self.lines += u64::from(held.ends_with(b"\n"));
            sink.body(self.open.top(), held);
        }
    }
}
