//! The message as it is now: its header, its parts, its octets.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use bytes::{Bytes, BytesMut};
use mailwright_mail_model::mime::{Part, Scanner, Structure};

use super::{Context, Stop, fields::Header};
use crate::{Answer, Message, Request, Segment};

/// The message with all that the script has changed so far.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) structure: Arc<Structure>,
    /// The octets that the structure is about.
    octets: Message,
    /// The header as the script has changed it since.
    header: Option<Bytes>,
    /// The headers that were read: that of the message, and those of parts.
    top: Option<Header>,
    headers: BTreeMap<usize, Header>,
    cached: usize,
}

impl Current {
    pub(super) fn new(structure: &Arc<Structure>) -> Self {
        Self::of(Arc::clone(structure), Message::original(structure.octets()))
    }

    pub(crate) const fn of(structure: Arc<Structure>, octets: Message) -> Self {
        Self { structure, octets, header: None, top: None, headers: BTreeMap::new(), cached: 0 }
    }

    /// The message, to store or send.
    pub(crate) fn message(&self) -> Message {
        let Some(header) = &self.header else { return self.octets.clone() };
        let body = self.structure.part(0).map_or(0, |part| part.header().end);
        let mut segments = vec![Segment::Octets(header.clone())];
        segments.extend(self.octets.slice(body..self.octets.octets()));
        Message::of(segments)
    }

    pub(crate) fn octets(&self) -> u64 {
        let Some(header) = &self.header else { return self.octets.octets() };
        let old = self.structure.part(0).map_or(0, |part| part.header().end);
        self.octets.octets() - old + header.len() as u64
    }

    /// The message with other octets in the place of those in a range, which is counted as the structure does.
    pub(crate) fn replaced(&self, range: Range<u64>, new: Bytes) -> Message {
        let whole = self.message();
        let header = self.structure.part(0).map_or(0, |part| part.header().end);
        // What stands behind the header has moved with what the script has done to it, but its distance to the end is the same.
        let now = |at: u64| match at < header {
            true => at,
            false => whole.octets().saturating_sub(self.octets.octets().saturating_sub(at)),
        };
        let mut segments = whole.slice(0..now(range.start));
        segments.push(Segment::Octets(new));
        segments.extend(whole.slice(now(range.end)..whole.octets()));
        Message::of(segments)
    }

    pub(crate) fn part(&self, index: usize) -> Option<&Part> {
        self.structure.part(index)
    }

    pub(crate) fn set_header(&mut self, header: Vec<u8>) {
        self.top = None;
        self.header = Some(header.into());
    }
}

/// Headers kept for the next test, in octets together.
const CACHE: usize = 4 << 20;

/// The most octets asked of the host at once.
const CHUNK: u64 = 1 << 20;

/// How much of a message is scanned or searched between two questions to the host.
pub(crate) const PIECE: u64 = 256 << 10;

impl Context {
    /// The header of the part at an index, 0 for that of the message, cut off at [`Limits::header`](crate::Limits::header).
    ///
    /// # Errors
    /// If the host has to be asked first, or a limit is reached.
    pub fn header(&mut self, part: usize) -> Result<Bytes, Stop> {
        self.known_header(part).map(|header| header.octets().clone())
    }

    /// The same, with what was found out about it.
    #[inline]
    pub(crate) fn known_header(&mut self, part: usize) -> Result<&mut Header, Stop> {
        if part == 0 && self.current.top.is_some() {
            return Ok(self.current.top.get_or_insert_default());
        }
        self.find_header(part)
    }

    fn find_header(&mut self, part: usize) -> Result<&mut Header, Stop> {
        if part == 0 {
            let header = self.read_header(part)?;
            return Ok(self.current.top.insert(Header::new(header)));
        }
        if !self.current.headers.contains_key(&part) {
            let header = self.read_header(part)?;
            if self.current.cached + header.len() > CACHE {
                self.current.headers.clear();
                self.current.cached = 0;
            }
            self.current.cached += header.len();
            self.current.headers.insert(part, Header::new(header));
        }
        Ok(self.current.headers.entry(part).or_default())
    }

    fn read_header(&mut self, part: usize) -> Result<Bytes, Stop> {
        if part == 0
            && let Some(header) = &self.current.header
        {
            return Ok(header.clone());
        }
        let Some(range) = self.current.part(part).map(Part::header) else { return Ok(Bytes::new()) };
        let most = self.limits().header as u64;
        let header = self.octets(range.start..range.end.min(range.start + most))?;
        self.charge(header.len())?;
        Ok(header)
    }

    /// Octets of the message as it is now, but for changes to its header, counted as its structure does.
    ///
    /// # Errors
    /// If the host has to be asked first.
    pub fn octets(&mut self, range: Range<u64>) -> Result<Bytes, Stop> {
        let segments = self.current.octets.slice(range);
        if let [segment] = segments.as_slice() {
            return self.segment(segment);
        }
        let mut octets = BytesMut::new();
        for segment in &segments {
            octets.extend_from_slice(&self.segment(segment)?);
        }
        Ok(octets.freeze())
    }

    fn segment(&mut self, segment: &Segment) -> Result<Bytes, Stop> {
        let (source, range) = match segment {
            Segment::Octets(octets) => return Ok(octets.clone()),
            Segment::Source { source, range } => (*source, range.clone()),
        };
        let mut start = range.start;
        let mut octets = BytesMut::new();
        while start < range.end {
            let wanted = start..range.end.min(start + CHUNK);
            let piece = match self.ask(Request::Octets { source, range: wanted.clone() })? {
                Answer::Octets(piece) => piece,
                other => {
                    return Err(Stop::error(format!("the host answered {other:?} where octets were asked")));
                }
            };
            let most = usize::try_from(wanted.end - wanted.start).unwrap_or(usize::MAX);
            let piece = piece.slice(..piece.len().min(most));
            if piece.is_empty() {
                break;
            }
            start += piece.len() as u64;
            if start >= range.end && octets.is_empty() {
                return Ok(piece);
            }
            octets.extend_from_slice(&piece);
        }
        Ok(octets.freeze())
    }

    /// The message becomes this one; its structure is found by reading all of it.
    pub(crate) fn replace_message(&mut self, message: Message) -> Result<(), Stop> {
        let (mut scanner, mut at) = self.progress::<(Scanner, u64)>().unwrap_or_else(|| (Scanner::new(), 0));
        let old = std::mem::replace(&mut self.current.octets, message.clone());
        let end = message.octets();
        while at < end {
            let piece = match self.octets(at..end.min(at + PIECE)) {
                Ok(piece) => piece,
                Err(stop) => {
                    self.current.octets = old;
                    self.save((scanner, at));
                    return Err(stop);
                }
            };
            if piece.is_empty() {
                break;
            }
            at += piece.len() as u64;
            scanner.push(&piece);
            self.forget();
            if let Err(stop) = self.charge(piece.len()) {
                self.current.octets = old;
                return Err(stop);
            }
        }
        self.current = Current::of(Arc::new(scanner.finish()), message);
        Ok(())
    }

    /// The decoded body of a part; `None` if it is larger than [`Limits::body`](crate::Limits::body) or cannot be decoded.
    ///
    /// # Errors
    /// If the host has to be asked first.
    pub(crate) fn body(&mut self, part: usize) -> Result<Option<Bytes>, Stop> {
        let most = self.limits().body as u64;
        let Some(details) = self.current.part(part) else { return Ok(None) };
        let (range, encoding) = (details.body(), details.content().encoding());
        // What is encoded is at most this much longer.
        if range.end - range.start > most.saturating_mul(3) {
            return Ok(None);
        }
        let raw = self.octets(range)?;
        self.charge(raw.len())?;
        let body = match encoding.decoder() {
            _ if encoding.is_identity() => raw,
            Some(mut decoder) => {
                let mut body = Vec::new();
                decoder.push(&raw, &mut body);
                decoder.finish(&mut body);
                body.into()
            }
            None => return Ok(None),
        };
        Ok(Some(body).filter(|body| body.len() as u64 <= most))
    }

    /// The part that the innermost `foreverypart` is at; 0, the message, outside of any.
    pub(crate) fn part_here(&self) -> usize {
        self.loops.last().map_or(0, |here| here.part)
    }
}
