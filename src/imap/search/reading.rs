//! What a search reads of several messages at a time.

use bytes::Bytes;
use mailwright_mail_model::mime::Structure;
use mailwright_mailstore::{MessageRef, Result, Store};

use crate::imap::{
    described::{CHUNK, structures},
    remembered::Wanted,
};
use crate::service::octets_of;

/// The header fields of messages and their structures, in the order of the messages; none where they were not wanted.
pub(super) type Beside = (Vec<Option<Bytes>>, Vec<Option<Structure>>);

/// As much of the octets of messages as was read, in their order: all of small ones, the beginning of a large one.
pub(super) type Texts = Vec<Option<Bytes>>;

/// Reads what the store keeps beside messages, of their headers these fields.
pub(super) async fn beside(
    store: &impl Store,
    messages: &[MessageRef],
    fields: Option<&Wanted>,
    with_structures: bool,
) -> Result<Beside> {
    let mut beside = (Vec::new(), Vec::new());
    if let Some(fields) = fields {
        beside.0 = fields.of(store, messages).await?;
    }
    if with_structures {
        beside.1 = structures(store, messages).await?;
    }
    Ok(beside)
}

/// Reads messages. What could not be read has to be read again by itself, to know why.
pub(super) async fn texts(store: &impl Store, messages: &[MessageRef]) -> Texts {
    match messages {
        [one] => vec![octets_of(store, one, 0..one.size.min(CHUNK)).await.ok()],
        several => store.read_together(several).await.unwrap_or_default(),
    }
}
