//! The octets of a message that a filter made, wherever they are.

use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use mailwright_mail_model::mime::Structure;
use mailwright_mailstore::{Result, StoreError, Upload};
use mailwright_sieve::{Message, Segment};

/// How much of a message is read at once, in octets.
const PIECE: u64 = 256 << 10;

/// How much of a header is looked at, in octets.
const LONGEST_HEADER: u64 = 256 << 10;

/// The header of a message that is nobody's yet, as far as it is looked at. What cannot be read cannot be stored either, of which others
/// tell.
pub(crate) async fn header_of(upload: &mut Upload, structure: &Structure) -> Vec<u8> {
    let part = structure.part(0).map_or(0..0, |root| root.header());
    let end = part.end.min(part.start + LONGEST_HEADER);
    let mut header = Vec::new();
    let mut at = part.start;
    while at < end {
        match upload.read(at..end).await {
            Ok(octets) if !octets.is_empty() => {
                at += octets.len() as u64;
                header.extend_from_slice(&octets);
            }
            _ => break,
        }
    }
    header
}

/// Where the octets are that a [`Message`] only names.
#[derive(Debug)]
pub(crate) struct Sources<'a> {
    /// The message that came: source 0.
    pub(crate) own: &'a mut Upload,
    /// What programs made of it: sources 1 and on.
    pub(crate) others: &'a mut [Mutex<Upload>],
}

impl Sources<'_> {
    /// Octets of one of them; fewer than wanted, but at least one if there are any.
    pub(crate) async fn read(&mut self, source: u32, range: Range<u64>) -> Result<Bytes> {
        let upload = match usize::try_from(source).unwrap_or(usize::MAX).checked_sub(1) {
            None => Some(&mut *self.own),
            Some(place) => self
                .others
                .get_mut(place)
                .map(|other| other.get_mut().unwrap_or_else(PoisonError::into_inner)),
        };
        let Some(upload) = upload else {
            return Err(StoreError::Invalid("expected octets of a message that is here".into()));
        };
        upload.read(range).await
    }
}

/// The octets of a message, piece by piece.
#[derive(Debug)]
pub(crate) struct Octets<'a> {
    segments: std::slice::Iter<'a, Segment>,
    /// What is left of a part of another message.
    rest: (u32, Range<u64>),
}

impl<'a> Octets<'a> {
    pub(crate) fn of(message: &'a Message) -> Self {
        Self { segments: message.segments().iter(), rest: (0, 0..0) }
    }

    /// The next ones; `None` at the end.
    pub(crate) async fn next(&mut self, sources: &mut Sources<'_>) -> Result<Option<Bytes>> {
        loop {
            let (source, rest) = &mut self.rest;
            if !rest.is_empty() {
                let octets = sources.read(*source, rest.start..rest.end.min(rest.start + PIECE)).await?;
                rest.start = if octets.is_empty() { rest.end } else { rest.start + octets.len() as u64 };
                return Ok(Some(octets));
            }
            match self.segments.next() {
                None => return Ok(None),
                Some(Segment::Octets(octets)) => return Ok(Some(octets.clone())),
                Some(Segment::Source { source, range }) => self.rest = (*source, range.clone()),
                Some(_) => {
                    return Err(StoreError::Invalid("expected octets of the message itself".into()));
                }
            }
        }
    }
}
