//! The MIME structure of messages, with the envelope in it: from the store's cache, or found out.

use bytes::Bytes;
use mailwright_imap_proto::{command::FetchItem, response::written};
use mailwright_mail_model::{
    header::Fields,
    message_id,
    mime::{Scanner, Structure},
};
use mailwright_mailstore::{Cache, Column, MessageRef, Result, Store, StoreError, Summary, Upload};

use super::headers::{HeaderKeeper, kept_fields};

/// How much of a message is read from the store at a time, in octets.
pub(super) const CHUNK: u64 = 256 * 1024;

/// Finds out about a message while it passes, in pieces of any size.
#[derive(Debug, Default)]
pub(crate) struct Describer {
    scanner: Scanner,
    header: HeaderKeeper,
}

impl Describer {
    /// The next octets.
    pub(crate) fn push(&mut self, octets: &[u8]) {
        self.scanner.push_to(octets, &mut self.header);
    }

    /// The structure; the store is told what it is to keep of the message, and what others it belongs to.
    pub(crate) fn finish_into(self, upload: &mut Upload) -> Structure {
        let (structure, summary) = self.finish();
        upload.relate(related(kept_fields(&summary.header)));
        upload.summarize(summary);
        structure
    }

    /// The structure, and what a store is to keep of the message.
    pub(crate) fn finish(mut self) -> (Structure, Summary) {
        let structure = self.scanner.finish_to(&mut self.header);
        // The structure has all of it; beside it stand the forms in which clients ask for it most.
        let written = |item| Bytes::from(written(&item, &structure));
        let summary = Summary::new(written(FetchItem::Envelope), structure.to_bytes().into())
            .with_body_structure(written(FetchItem::BodyStructure))
            .with_header(self.header.finish());
        (structure, summary)
    }
}

/// The identifier of a message, then those of the messages that it answers (RFC 8474 §5.2), oldest first.
fn related(header: &[u8]) -> Vec<Bytes> {
    let (mut own, mut answered, mut related) = (None, Vec::new(), Vec::new());
    for field in Fields::new(header) {
        let mut ids = message_id::extract(field.value()).map(|id| Bytes::from(id.into_owned()));
        if field.is("Message-ID") {
            own = own.or_else(|| ids.next());
        } else if field.is("In-Reply-To") {
            answered.extend(ids);
        } else if field.is("References") {
            related.extend(ids);
        }
    }
    own.into_iter().chain(answered).chain(related).collect()
}

/// What is kept of messages as it stands in a response, where it is kept so.
pub(super) async fn written_before(
    store: &impl Store,
    messages: &[MessageRef],
    column: Column,
) -> Result<Vec<Option<Bytes>>> {
    let Some(cache) = store.cache() else { return Ok(Vec::new()) };
    let kept = cache.column(messages, column).await?;
    // A store that was filled by an earlier version has none.
    Ok(kept.into_iter().map(|octets| octets.filter(|octets| !octets.is_empty())).collect())
}

/// The structures of messages, in their order; nothing for one that cannot be read any more.
pub(super) async fn structures(
    store: &impl Store,
    messages: &[MessageRef],
) -> Result<Vec<Option<Structure>>> {
    let kept = match store.cache() {
        Some(cache) => cache.column(messages, Column::Structure).await?,
        None => Vec::new(),
    };
    let mut kept = kept.into_iter();
    let mut structures = Vec::with_capacity(messages.len());
    for message in messages {
        let known = kept.next().flatten().and_then(|octets| Structure::from_bytes(&octets).ok());
        structures.push(match known {
            Some(structure) => Some(structure),
            None => describe(store, message).await,
        });
    }
    Ok(structures)
}

/// Why a message could not be read: what the store says to whoever tries again.
pub(super) async fn unreadable(store: &impl Store, message: &MessageRef) -> StoreError {
    let mut offset = 0;
    while offset < message.size {
        match store.read(message, offset..message.size.min(offset + CHUNK)).await {
            Ok(chunk) if chunk.is_empty() => return short(),
            Ok(chunk) => offset += chunk.len() as u64,
            Err(error) => return error,
        }
    }
    StoreError::Unavailable("a message could not be read".into())
}

/// A message ends before its size says so.
pub(super) fn short() -> StoreError {
    StoreError::Corrupt("expected more octets of a message, found its end".into())
}

/// Reads a message to find out about it; nothing of one that cannot be read any more.
pub(super) async fn describe(store: &impl Store, message: &MessageRef) -> Option<Structure> {
    let (mut describer, mut offset) = (Describer::default(), 0);
    while offset < message.size {
        let chunk = store.read(message, offset..message.size.min(offset + CHUNK)).await.ok()?;
        if chunk.is_empty() {
            return None;
        }
        offset += chunk.len() as u64;
        describer.push(&chunk);
    }
    let (structure, summary) = describer.finish();
    if let Some(cache) = store.cache() {
        // Only the next look is slower if it is not kept.
        let _ = cache.save(message, &summary).await;
    }
    Some(structure)
}
