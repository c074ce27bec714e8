//! A message, put together of octets of the script's and ranges of what the host holds.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;

/// A message as it is to be stored or sent. Cheap to clone; the octets it came with are not held.
///
/// ```
/// use mailwright_sieve::{Message, Segment};
///
/// let message = Message::original(1000);
/// assert!(message.is_original());
/// assert_eq!(message.segments(), [Segment::Source { source: 0, range: 0..1000 }]);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    segments: Arc<[Segment]>,
}

/// Some octets of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Segment {
    /// These.
    Octets(Bytes),
    /// Those at the host.
    Source {
        /// 0 is the message that came; others are what the host answered [`Request::Filter`](crate::Request::Filter) with.
        source: u32,
        /// Which of them.
        range: Range<u64>,
    },
}

impl Segment {
    fn len(&self) -> u64 {
        match self {
            Self::Octets(octets) => octets.len() as u64,
            Self::Source { range, .. } => range.end.saturating_sub(range.start),
        }
    }

    /// The octets of this segment in a range counted from its start.
    fn slice(&self, part: Range<u64>) -> Self {
        match self {
            Self::Octets(octets) => {
                let at = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).min(octets.len());
                Self::Octets(octets.slice(at(part.start)..at(part.end).max(at(part.start))))
            }
            Self::Source { source, range } => {
                Self::Source { source: *source, range: range.start + part.start..range.start + part.end }
            }
        }
    }
}

/// For hosts: a message put together of these, in order.
impl FromIterator<Segment> for Message {
    fn from_iter<I: IntoIterator<Item = Segment>>(segments: I) -> Self {
        Self::of(segments.into_iter().collect())
    }
}

impl Message {
    /// The message that came, of so many octets, as it came.
    pub fn original(octets: u64) -> Self {
        Self::source(0, octets)
    }

    pub(crate) fn source(source: u32, octets: u64) -> Self {
        Self { segments: Arc::from([Segment::Source { source, range: 0..octets }]) }
    }

    pub(crate) fn of(segments: Vec<Segment>) -> Self {
        Self { segments: segments.into_iter().filter(|segment| segment.len() > 0).collect() }
    }

    /// Its segments, in order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// How many octets it has.
    pub fn octets(&self) -> u64 {
        self.segments.iter().map(Segment::len).sum()
    }

    /// Whether it is the message that came, unchanged.
    pub fn is_original(&self) -> bool {
        matches!(&*self.segments, [] | [Segment::Source { source: 0, range: Range { start: 0, .. } }])
    }

    /// The segments that hold a range of its octets.
    pub(crate) fn slice(&self, wanted: Range<u64>) -> Vec<Segment> {
        let mut start = 0;
        let mut found = Vec::new();
        for segment in &*self.segments {
            let end = start + segment.len();
            let (from, to) = (wanted.start.max(start), wanted.end.min(end));
            if from < to {
                found.push(segment.slice(from - start..to - start));
            }
            start = end;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices() {
        let octets = |text: &'static str| Segment::Octets(Bytes::from_static(text.as_bytes()));
        let tail = Segment::Source { source: 0, range: 10..20 };
        let message = Message::of(vec![octets("header"), octets(""), tail]);
        assert_eq!(message.octets(), 16);
        assert!(!message.is_original());
        assert_eq!(message.slice(4..8), [octets("er"), Segment::Source { source: 0, range: 10..12 }]);
        assert_eq!(message.slice(15..99), [Segment::Source { source: 0, range: 19..20 }]);
        assert_eq!(message.slice(16..17), []);
    }
}
