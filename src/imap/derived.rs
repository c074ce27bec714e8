//! What is worked out of the octets of a message: parts without their transfer encoding.

use std::ops::Range;

use bytes::Bytes;
use mailwright_imap_proto::command::BinarySection;
use mailwright_mail_model::{
    encoding::{self, TransferEncoding},
    mime::{Shape, Structure},
};
use mailwright_mailstore::{MessageRef, Store, StoreError};

use super::described::{CHUNK, short};
use crate::service::octets_of;

/// A part that is to be sent without its transfer encoding (RFC 3516): where it stands, and what of it is wanted.
#[derive(Debug, Clone)]
pub(super) struct Decoding {
    encoding: TransferEncoding,
    /// Where the part stands in the message, encoded.
    body: Range<u64>,
    /// Of the octets without encoding.
    wanted: Range<u64>,
}

impl Decoding {
    /// What is asked for; `None` if there is no such part.
    ///
    /// # Errors
    /// [`Invalid`](StoreError::Invalid) if nobody knows the encoding.
    pub(super) fn new(
        message: &MessageRef,
        structure: &Structure,
        section: &BinarySection,
    ) -> Result<Option<Self>, StoreError> {
        let wanted = section
            .partial
            .map_or(0..u64::MAX, |partial| partial.offset..partial.offset.saturating_add(partial.length));
        let Some(part) = structure.part_at(&section.part) else { return Ok(None) };
        // The message itself has no encoding, nor have parts that hold others (RFC 2045 §6.4).
        let (encoding, body) = if section.part.is_empty() {
            (TransferEncoding::Binary, 0..message.size)
        } else if part.shape() != Shape::Leaf {
            (TransferEncoding::Binary, part.body())
        } else {
            (part.content().encoding(), part.body())
        };
        if encoding == TransferEncoding::Unknown {
            return Err(StoreError::Invalid("expected a known transfer encoding".into()));
        }
        Ok(Some(Self { encoding, body, wanted }))
    }

    /// How many octets are wanted, unless they have to be decoded to know.
    fn known_length(&self) -> Option<u64> {
        let length = self.body.end - self.body.start;
        let end = self.wanted.end.min(length);
        self.encoding.is_identity().then(|| end.saturating_sub(self.wanted.start))
    }

    /// Whether what is wanted is at most so many octets, as far as can be told without reading.
    pub(super) fn is_at_most(&self, octets: u64) -> bool {
        // No encoding makes octets fewer than they are.
        self.known_length().unwrap_or(self.body.end - self.body.start) <= octets
    }

    /// How many octets are wanted. Decodes, but keeps nothing.
    pub(super) async fn length(&self, store: &impl Store, message: &MessageRef) -> Result<u64, StoreError> {
        if let Some(length) = self.known_length() {
            return Ok(length);
        }
        let (mut decoder, mut length) = (self.start(), 0);
        while let Some(octets) = decoder.next(store, message).await? {
            length += octets.len() as u64;
        }
        Ok(length)
    }

    /// Finds out whether it can be read, where that is not known from its [length](Self::length).
    pub(super) async fn check(&self, store: &impl Store, message: &MessageRef) -> Result<(), StoreError> {
        match self.known_length() {
            Some(_) => self.start().next(store, message).await.map(drop),
            None => Ok(()),
        }
    }

    /// All that is wanted at once; for parts that are small.
    pub(super) async fn whole(&self, store: &impl Store, message: &MessageRef) -> Result<Bytes, StoreError> {
        let (mut decoder, mut whole) = (self.start(), Vec::new());
        while let Some(octets) = decoder.next(store, message).await? {
            whole.extend_from_slice(&octets);
        }
        Ok(whole.into())
    }

    /// Begins to decode.
    pub(super) fn start(&self) -> Decoder {
        let decoder = self.encoding.decoder().filter(|_| !self.encoding.is_identity());
        // Where nothing is decoded, what is wanted can be gone to.
        let start = match decoder {
            Some(_) => self.body.start,
            None => self.body.start.saturating_add(self.wanted.start).min(self.body.end),
        };
        let end = match decoder {
            Some(_) => self.body.end,
            None => self.body.start.saturating_add(self.wanted.end).min(self.body.end),
        };
        Decoder { decoder, rest: start..end, wanted: self.wanted.clone(), before: 0 }
    }
}

/// A [`Decoding`] under way: holds a piece of the part at a time.
#[derive(Debug)]
pub(super) struct Decoder {
    /// `None` if there is nothing to decode.
    decoder: Option<encoding::Decoder>,
    rest: Range<u64>,
    wanted: Range<u64>,
    /// How many octets came out already, wanted or not.
    before: u64,
}

impl Decoder {
    /// The next octets; `None` after the last.
    pub(super) async fn next(
        &mut self,
        store: &impl Store,
        message: &MessageRef,
    ) -> Result<Option<Bytes>, StoreError> {
        while self.rest.start < self.rest.end {
            let chunk =
                octets_of(store, message, self.rest.start..self.rest.end.min(self.rest.start + CHUNK))
                    .await?;
            if chunk.is_empty() {
                return Err(short());
            }
            self.rest.start += chunk.len() as u64;
            let Some(decoder) = &mut self.decoder else { return Ok(Some(chunk)) };
            let mut decoded = Vec::with_capacity(chunk.len());
            decoder.push(&chunk, &mut decoded);
            if self.rest.start >= self.rest.end {
                decoder.finish(&mut decoded);
            }
            let (before, length) = (self.before, decoded.len() as u64);
            self.before += length;
            let from = self.wanted.start.saturating_sub(before).min(length);
            let to = self.wanted.end.saturating_sub(before).min(length);
            if self.before >= self.wanted.end {
                self.rest.start = self.rest.end;
            }
            tokio::task::yield_now().await;
            if from < to {
                return Ok(Some(Bytes::from(decoded).slice(from as usize..to as usize)));
            }
        }
        Ok(None)
    }
}
