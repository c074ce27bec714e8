//! The MIME structure of messages, with the envelope in it: from the store's cache, or found out.

use bytes::Bytes;
use mailwright_imap_proto::{command::FetchItem, response::written};
use mailwright_mail_model::{
    header::Fields,
    message_id,
    mime::{Scanner, Structure},
};
use mailwright_mailstore::{Cache, Column, Describe, MessageRef, Result, Store, StoreError, Summary, Upload};

use super::headers::{HeaderKeeper, kept_fields};
use crate::service::octets_of;

/// How much of a message is read from the store at a time, in octets.
pub(super) const CHUNK: u64 = 256 * 1024;

/// Rises whenever something else is found of the same octets, or written otherwise. A test below sees when it has to.
const VERSION: u32 = 1;

/// Who finds out what the services keep of messages beside them: envelopes, structures and headers. A store that is given it sees what an
/// earlier version found otherwise, such as [`Embedded`](mailwright_mailstore::embedded::Options::describer) when it is checked.
///
/// ```
/// let describer = mailwright::imap::describer();
/// let mut message = describer.begin();
/// message.push(b"Subject: hi\r\n\r\nHello.\r\n");
/// let summary = message.finish();
/// assert!(summary.envelope.starts_with(b"(NIL \"hi\""), "{:?}", summary.envelope);
/// ```
pub const fn describer() -> mailwright_mailstore::Describer {
    mailwright_mailstore::Describer::new(VERSION, || Box::new(Describer::default()))
}

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

impl Describe for Describer {
    fn push(&mut self, octets: &[u8]) {
        Self::push(self, octets);
    }

    fn finish(self: Box<Self>) -> Summary {
        Self::finish(*self).1
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
        match octets_of(store, message, offset..message.size.min(offset + CHUNK)).await {
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
        let chunk = octets_of(store, message, offset..message.size.min(offset + CHUNK)).await.ok()?;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What the scanner and the forms in which it is kept have been wrong about, or could be.
    const MESSAGES: [&str; 8] = [
        "From: a@example.org\r\nTo: g: b@c, \"d \\\"e\\\"\" <f@g>;\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\nDate: Mon, 7 Feb 1994 21:52:25 -0800\r\n\r\ntext\r\n",
        "Content-Type: multipart/mixed; boundary=a\r\n\r\nbefore\r\n--a\r\n\r\none\r\n--a\r\nContent-Type: text/html; charset=\"x y\"\r\nContent-Transfer-Encoding: base64\r\nContent-ID: <i@d>\r\nContent-Description: d\r\nContent-MD5: m\r\nContent-Disposition: attachment; filename*0*=utf-8''%41; filename*1=b\r\nContent-Language: de, en\r\nContent-Location: l\r\n\r\nPGI+\r\n--a--\r\nafter\r\n",
        "Content-Type: multipart/digest; boundary=\"b\"\n\n--b\n\nSubject: in it\n\ntwo\n--b\nContent-Type: text/plain\n\nthree",
        "Content-Type: message/rfc822\r\n\r\nMessage-ID: <1@x>\r\nIn-Reply-To: <2@x>\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n\r\n--c--",
        "Content-Type: multipart/mixed\r\n\r\nno boundary",
        "Content-Type: nonsense\r\nContent-Transfer-Encoding: who knows\r\nSubject: =?x?y?z?=\r\nSender: <>\r\nReply-To: @\r\nX-Spam-Report: long\r\n\r\nx",
        "Content-Type: multipart/mixed; boundary=d\r\n\r\n--d\r\nContent-Type: multipart/mixed; boundary=d\r\n\r\n--d\r\n\r\ny\r\n--d--\r\n",
        "",
    ];

    fn sum(octets: &[u8], before: u64) -> u64 {
        let step = |sum: u64, octet: &u8| (sum ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3);
        octets.iter().fold(before, step)
    }

    #[test]
    fn the_version_rises_with_what_is_found() {
        let found = MESSAGES.iter().fold(0xcbf2_9ce4_8422_2325, |before, message| {
            let mut describer = describer().begin();
            message.as_bytes().chunks(7).for_each(|piece| describer.push(piece));
            let summary = describer.finish();
            Column::ALL
                .iter()
                .fold(before, |before, column| sum(summary.column(*column), sum(&[0xff], before)))
        });
        // Where this fails, something else is found than before: raise VERSION, and put what is found now.
        assert_eq!((VERSION, found), (1, 16_227_709_046_192_695_454));
    }
}
