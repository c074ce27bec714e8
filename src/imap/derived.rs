//! What is worked out of the octets of a message: parts without their transfer encoding, and how its text begins.

use std::ops::Range;

use bytes::Bytes;
use mailwright_imap_proto::command::BinarySection;
use mailwright_mail_model::{
    charset,
    encoding::TransferEncoding,
    mime::{Part, Shape, Structure},
};
use mailwright_mailstore::{MessageRef, Store, StoreError};

use super::{described::CHUNK, fetch::read};

/// How many characters of a text are shown (RFC 8970 §3.1 recommends 200).
const PREVIEW: usize = 200;
/// How many octets of a part are looked at for that.
const LOOKED_AT: u64 = 16 * 1024;

/// The octets of a part without its transfer encoding (RFC 3516); `None` if there is no such part.
///
/// # Errors
/// [`Invalid`](StoreError::Invalid) if nobody knows the encoding.
pub(super) async fn binary(
    store: &impl Store,
    message: &MessageRef,
    structure: &Structure,
    section: &BinarySection,
) -> Result<Option<Bytes>, StoreError> {
    let wanted = section
        .partial
        .map_or(0..u64::MAX, |partial| partial.offset..partial.offset.saturating_add(partial.length));
    // The message itself has no encoding, nor have parts that hold others (RFC 2045 §6.4).
    let Some(part) = structure.part_at(&section.part) else { return Ok(None) };
    if section.part.is_empty() || part.shape() != Shape::Leaf {
        let whole = if section.part.is_empty() { 0..message.size } else { part.body() };
        let range = whole.start.saturating_add(wanted.start).min(whole.end)
            ..whole.start.saturating_add(wanted.end).min(whole.end);
        return read(store, message, range).await.map(Some);
    }
    let mut decoded = Vec::new();
    let mut before = 0_u64;
    let mut keep = Vec::new();
    let decoder = part.content().encoding().decoder();
    let mut decoder =
        decoder.ok_or_else(|| StoreError::Invalid("expected a known transfer encoding".into()))?;
    let Range { start: mut offset, end } = part.body();
    while offset < end && before < wanted.end {
        let chunk = read(store, message, offset..end.min(offset + CHUNK)).await?;
        offset += chunk.len() as u64;
        decoder.push(&chunk, &mut decoded);
        if offset >= end {
            decoder.finish(&mut decoded);
        }
        let length = decoded.len() as u64;
        let from = wanted.start.saturating_sub(before).min(length);
        let to = wanted.end.saturating_sub(before).min(length);
        keep.extend_from_slice(decoded.get(from as usize..to as usize).unwrap_or_default());
        before += length;
        decoded.clear();
        tokio::task::yield_now().await;
    }
    Ok(Some(keep.into()))
}

/// How the text of a message begins; empty if it has none that can be read.
pub(super) async fn preview(
    store: &impl Store,
    message: &MessageRef,
    structure: &Structure,
) -> Result<Option<String>, StoreError> {
    let text = |kind: &str| {
        structure
            .parts()
            .find(|part| part.shape() == Shape::Leaf && part.content().media_type().is("text", kind))
    };
    let Some(part) = text("plain").or_else(|| text("html")) else { return Ok(Some(String::new())) };
    let range = part.body();
    let octets = read(store, message, range.start..range.end.min(range.start + LOOKED_AT)).await?;
    Ok(Some(beginning(part, &octets)))
}

fn beginning(part: &Part, octets: &[u8]) -> String {
    let mut decoded = Vec::new();
    match part.content().encoding().decoder().or_else(|| TransferEncoding::Binary.decoder()) {
        Some(mut decoder) => decoder.push(octets, &mut decoded),
        None => return String::new(),
    }
    let media_type = part.content().media_type();
    let label =
        media_type.parameter("charset").and_then(|label| str::from_utf8(label).ok()).unwrap_or("utf-8");
    let text = charset::decode(label, &decoded).unwrap_or_else(|| String::from_utf8_lossy(&decoded));
    let markup = media_type.is("text", "html");
    let mut shown = String::new();
    let (mut characters, mut within, mut space) = (0, false, false);
    for character in text.chars() {
        match character {
            '<' if markup => within = true,
            '>' if within => (within, space) = (false, true),
            _ if within => {}
            // A line quoted, and what is between words, tells nothing.
            character if character.is_whitespace() || character.is_control() => space = true,
            character => {
                let between = std::mem::take(&mut space) && !shown.is_empty();
                if characters + usize::from(between) >= PREVIEW {
                    break;
                }
                if between {
                    shown.push(' ');
                    characters += 1;
                }
                shown.push(character);
                characters += 1;
            }
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(message: &str) -> String {
        let structure = Structure::of(message.as_bytes());
        let part = structure.part(0).unwrap();
        let range = part.body();
        beginning(part, &message.as_bytes()[range.start as usize..range.end as usize])
    }

    #[test]
    fn texts_begin() {
        assert_eq!(shown("Subject: x\r\n\r\n  Tea\r\n at  five?\r\n"), "Tea at five?");
        assert_eq!(
            shown("Content-Type: text/html\r\n\r\n<html><p class=\"a\">Tea</p><b>now</b></html>"),
            "Tea now"
        );
        let quoted = "Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ncaf=E9";
        assert_eq!(shown(quoted), "caf\u{e9}");
        assert_eq!(shown(&format!("\r\n{}", "a ".repeat(1000))).chars().count(), 199);
    }
}
