//! Signatures of what this server makes itself, or has to change on the way.

use std::sync::Arc;

use bytes::Bytes;
use mailwright_mailstore::{QueueEntry, Spool, Store, StoreError};
use mailwright_relay_policy::{authentication::Examiner, delivery::Report, dns::Resolve};
use mailwright_smtp_proto::SevenBit;
use tokio::io::AsyncReadExt;

use super::{Queue, source::Source};
use crate::smtp::Addressing;

/// The signatures at the top of a message are within so many octets.
const TOP: u64 = 64 * 1024;
/// How much is read at a time.
const CHUNK: usize = 64 * 1024;

impl<S, R, P> Queue<S, R, P>
where
    S: Store + 'static,
    R: Resolve + 'static,
    P: Addressing + 'static,
{
    /// The domain of this host, or the nearest above it, that has keys.
    pub(super) fn signing_domain(&self) -> Option<String> {
        let signing = self.config.signing.as_ref()?;
        let host = self.config.hostname.as_str();
        let ends = host.match_indices('.').map(|(at, _)| at + 1);
        let above = std::iter::once(0).chain(ends).filter_map(|start| host.get(start..));
        above.map(str::to_lowercase).find(|domain| signing.signs(domain))
    }

    /// Signatures of a report by that domain.
    pub(super) async fn signatures(&self, entry: &QueueEntry, report: &Report) -> Result<String, StoreError> {
        let Some((signing, domain)) = self.config.signing.as_ref().zip(self.signing_domain()) else {
            return Ok(String::new());
        };
        let mut examiner = Examiner::new().without_verifying().for_signing();
        examiner.push(report.head().as_bytes());
        let mut place = entry.skip;
        while let Some(chunk) = self.returned(entry, report.returned, &mut place).await? {
            examiner.push(&chunk);
        }
        examiner.push(report.tail().as_bytes());
        Ok(signing.signatures(std::iter::once(domain), &examiner.finish()))
    }

    /// Whether a domain that is not ours has signed the message.
    pub(super) async fn is_signed_by_others(&self, entry: &QueueEntry) -> bool {
        let Some(spool) = self.store.spool() else { return false };
        let end = entry.size.min(entry.skip.saturating_add(TOP));
        let Ok(top) = spool.octets(entry, entry.skip..end).await else { return false };
        let mut examiner = Examiner::new().without_verifying();
        examiner.push(&top);
        let signing = self.config.signing.as_ref();
        let ours = |domain: &str| signing.is_some_and(|signing| signing.signs(domain));
        examiner.finish().signing_domains().iter().any(|domain| !ours(domain))
    }

    /// RFC 6376 §5.3: what was signed with octets beyond ASCII is signed again as it is without them. Gives the fields, and how many
    /// octets of the message they take the place of; `None` if it has no signature of ours, or cannot be encoded.
    pub(super) async fn signed_anew(&self, entry: &Arc<QueueEntry>) -> Option<(Bytes, u64)> {
        let signing = self.config.signing.as_ref()?;
        let end = entry.size.min(entry.skip.saturating_add(TOP));
        let top = self.store.spool()?.octets(entry, entry.skip..end).await.ok()?;
        let mut examiner = Examiner::new().without_verifying();
        examiner.push(&top);
        let (domains, octets) = examiner.finish().topmost_signatures(|domain| signing.signs(domain));
        let in_place_of = u64::try_from(octets).ok().filter(|octets| *octets > 0)?;
        let mut source =
            Source::new(Arc::clone(&self.store), Arc::clone(entry)).with_beginning(Bytes::new(), in_place_of);
        let mut examiner = Examiner::new().without_verifying().for_signing();
        let (mut encoder, mut encoded, mut chunk) = (SevenBit::new(), Vec::new(), Vec::with_capacity(CHUNK));
        loop {
            chunk.clear();
            if source.read_buf(&mut chunk).await.ok()? == 0 {
                break;
            }
            encoder.push(&chunk, &mut encoded).ok()?;
            examiner.push(&encoded);
            encoded.clear();
        }
        encoder.finish(&mut encoded).ok()?;
        examiner.push(&encoded);
        let examined = examiner.finish();
        let fields: String = domains
            .into_iter()
            .map(|domain| signing.signatures(std::iter::once(domain), &examined))
            .collect();
        (!fields.is_empty()).then(|| (Bytes::from(fields), in_place_of))
    }
}
