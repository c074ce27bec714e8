//! The bodies of parts as text.

use crate::{
    charset,
    encoding::{self, TransferEncoding},
    mime::{Part, Shape},
};

/// How many octets of a body are decoded at a time.
pub(super) const PIECE: usize = 16 * 1024;
/// How much is kept of what may be the text of a multipart without parts.
const UNSPLIT: usize = 64 * 1024;

/// Turns the body of the part at hand into text.
#[derive(Debug)]
pub(super) struct TextDecoder {
    part: usize,
    pub(super) transfer: encoding::Decoder,
    pub(super) charset: charset::Decoder,
}

impl TextDecoder {
    /// Of a part whose header has ended; `None` if it holds no text.
    pub(super) fn of(part: usize, details: &Part) -> Option<Self> {
        let media_type = details.content().media_type();
        if !(media_type.is("text", "*") || media_type.is("message", "*") || media_type.is("multipart", "*")) {
            return None;
        }
        let label = media_type.charset();
        let charset =
            label.as_deref().and_then(charset::Decoder::new).or_else(|| charset::Decoder::new("utf-8"));
        let encoding = details.content().encoding();
        let transfer = encoding.decoder().or_else(|| TransferEncoding::Binary.decoder());
        Some(Self { part, transfer: transfer?, charset: charset? })
    }

    pub(super) const fn is_of(&self, part: usize) -> bool {
        self.part == part
    }

    /// Turns the next octets into text.
    pub(super) fn push(&mut self, octets: &[u8], mut text: impl FnMut(&str)) {
        let (mut decoded, mut piece_text) = (Vec::new(), String::new());
        for piece in octets.chunks(PIECE) {
            self.transfer.push(piece, &mut decoded);
            self.charset.push(&decoded, &mut piece_text);
            text(&piece_text);
            decoded.clear();
            piece_text.clear();
        }
    }

    /// The text at the end.
    pub(super) fn finish(mut self) -> String {
        let (mut decoded, mut text) = (Vec::new(), String::new());
        self.transfer.finish(&mut decoded);
        self.charset.push(&decoded, &mut text);
        self.charset.finish(&mut text);
        text
    }
}

/// A multipart of which no part has begun yet. If none does, what comes until its end is its text (RFC 9051 §7.5.2 shows it as one); if one
/// does, it was for programs without MIME, and nobody looks there (RFC 2046 §5.1.1).
#[derive(Debug)]
pub(super) struct Unsplit {
    decoder: TextDecoder,
    octets: Vec<u8>,
}

impl Unsplit {
    pub(super) fn of(part: usize, details: &Part) -> Option<Self> {
        let decoder = (details.shape() == Shape::Multipart).then(|| TextDecoder::of(part, details)).flatten();
        decoder.map(|decoder| Self { decoder, octets: Vec::new() })
    }

    pub(super) const fn is_of(&self, part: usize) -> bool {
        self.decoder.is_of(part)
    }

    pub(super) fn push(&mut self, octets: &[u8]) {
        let room = UNSPLIT.saturating_sub(self.octets.len()).min(octets.len());
        self.octets.extend_from_slice(octets.get(..room).unwrap_or_default());
    }

    /// The text at the end.
    pub(super) fn finish(mut self, mut text: impl FnMut(&str)) {
        self.decoder.push(&self.octets, &mut text);
        text(&self.decoder.finish());
    }
}
