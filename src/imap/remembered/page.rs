//! One field of the messages whose UIDs have all but the last octet in common.

use bytes::Bytes;
use mailwright_mail_model::{Uid, header::Fields};

/// The number of the page that a message is on.
pub(super) const fn number(uid: Uid) -> u32 {
    uid.get() >> 8
}

const fn low(uid: Uid) -> u8 {
    (uid.get() & 0xff) as u8
}

/// One field of some messages.
#[derive(Debug, Clone)]
pub(super) struct Page {
    /// The last octets of their UIDs, in order.
    uids: Box<[u8]>,
    /// Where the text of each ends; it begins where that of the one before does.
    ends: Box<[u32]>,
    text: Bytes,
}

impl Page {
    /// The field of this name of messages whose headers, or more of them, are given: all that there are in it, as they stand, each with
    /// the end of a line.
    pub(super) fn of<'a>(name: &str, messages: impl Iterator<Item = (Uid, &'a [u8])>) -> Self {
        let mut building = Building::default();
        for (uid, header) in messages {
            for field in Fields::new(header).filter(|field| field.is(name)) {
                building.text.extend_from_slice(field.raw());
                if !field.raw().ends_with(b"\n") {
                    building.text.extend_from_slice(b"\r\n");
                }
            }
            building.end(low(uid));
        }
        building.done()
    }

    /// The same with what another one has, which is right where both have something.
    pub(super) fn with(&self, other: &Self) -> Self {
        let mut building = Building::default();
        let (mut ours, mut theirs) = (self.iter().peekable(), other.iter().peekable());
        loop {
            let next = match (ours.peek(), theirs.peek()) {
                (Some((one, _)), Some((another, _))) if one == another => {
                    ours.next();
                    theirs.next()
                }
                (Some((one, _)), Some((another, _))) if one < another => ours.next(),
                (Some(_), None) => ours.next(),
                _ => theirs.next(),
            };
            let Some((uid, text)) = next else { return building.done() };
            building.text.extend_from_slice(text);
            building.end(uid);
        }
    }

    /// What there is of a message; `None` if it is not known.
    pub(super) fn field(&self, uid: Uid) -> Option<Bytes> {
        let index = self.uids.binary_search(&low(uid)).ok()?;
        Some(self.text.slice(self.range(index)?))
    }

    /// How much memory it takes, about.
    pub(super) fn octets(&self) -> usize {
        128 + 5 * self.uids.len() + self.text.len()
    }

    fn range(&self, index: usize) -> Option<std::ops::Range<usize>> {
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        Some(start as usize..*self.ends.get(index)? as usize)
    }

    fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let text = |index| self.range(index).and_then(|range| self.text.get(range)).unwrap_or_default();
        self.uids.iter().enumerate().map(move |(index, uid)| (*uid, text(index)))
    }
}

/// A page that is being written.
#[derive(Default)]
struct Building {
    uids: Vec<u8>,
    ends: Vec<u32>,
    text: Vec<u8>,
}

impl Building {
    /// The text of this message is written.
    fn end(&mut self, uid: u8) {
        self.uids.push(uid);
        // A page of headers that are small enough has some megabytes at most.
        self.ends.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
    }

    fn done(mut self) -> Page {
        self.text.shrink_to_fit();
        Page { uids: self.uids.into(), ends: self.ends.into(), text: self.text.into() }
    }
}
