//! Where messages came from: unique ids of imported ones, envelopes of delivered ones, in a row of their own.

use std::sync::Arc;

use bytes::Bytes;
use mailwright_mail_model::Uid;

use super::Core;
use super::committer::Group;
use super::database::failed;
use super::row::{self, Fields};
use super::sealed::Reader;
use crate::vault::BodyKey;
use crate::{Delivery, MailboxRef, MessageRef, Result, StoreError, Target};

/// The row of a message with some origin, in the mailbox with these rows.
///
/// The envelope is sealed as the body is, if that is; the unique id is not, for it says nothing.
pub(super) fn origin_row(
    rows: u64,
    uid: Uid,
    target: &Target,
    seal: Option<&BodyKey>,
) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
    if target.unique_id.is_none() && target.delivery.is_none() {
        return Ok(None);
    }
    let key = row::key(rows, &uid.get().to_be_bytes());
    let push = |value: &mut Vec<u8>, text: &str| {
        // An address is shorter than this by far; one that is not, is not kept.
        let text = if text.len() < usize::from(SEALED) { text } else { "" };
        value.extend_from_slice(&u16::try_from(text.len()).unwrap_or(0).to_be_bytes());
        value.extend_from_slice(text.as_bytes());
    };
    let delivery = target.delivery.as_ref();
    let original = delivery.and_then(|delivery| delivery.original_recipient.as_deref()).unwrap_or_default();
    let texts =
        delivery.map_or([""; 3], |delivery| [delivery.sender.as_str(), &delivery.recipient, original]);
    let unique_id = target.unique_id.as_deref().unwrap_or_default();
    let octets = unique_id.len() + texts.iter().map(|text| text.len()).sum::<usize>();
    let mut value = Vec::with_capacity(2 + 3 * 2 + octets + row::SUM);
    push(&mut value, unique_id);
    match (delivery, seal) {
        (None, _) => {}
        (Some(_), None) => texts.iter().for_each(|text| push(&mut value, text)),
        (Some(_), Some(seal)) => {
            let mut envelope = Vec::with_capacity(3 * 2 + octets);
            texts.iter().for_each(|text| push(&mut envelope, text));
            value.extend_from_slice(&SEALED.to_be_bytes());
            // Copies share the body and its key, so this is bound to no message.
            value.extend_from_slice(&seal.seal(PURPOSE, &envelope)?);
        }
    }
    let sealed = row::seal(&key, value);
    Ok(Some((key, sealed)))
}

/// In place of the length of the sender: the rest is sealed.
const SEALED: u16 = u16::MAX;
const PURPOSE: &[u8] = b"envelope";

struct Origin {
    unique_id: String,
    delivery: Option<Delivery>,
}

/// What a row says; nothing if it is corrupt or cannot be opened, for it is not worth a refusal.
fn decode(key: &[u8], sealed: &[u8], seal: impl FnOnce() -> Option<BodyKey>) -> Option<Origin> {
    let mut fields = Fields(row::open(key, sealed)?);
    let unique_id = text(&mut fields)?;
    let envelope = match fields.0.strip_prefix(&SEALED.to_be_bytes()) {
        Some(sealed) => seal().and_then(|seal| seal.open(PURPOSE, sealed)).unwrap_or_default(),
        None => fields.0.to_vec(),
    };
    let mut fields = Fields(&envelope);
    let delivery = text(&mut fields).and_then(|sender| {
        let delivery = Delivery::new(sender, text(&mut fields)?);
        let original = text(&mut fields)?;
        Some(if original.is_empty() { delivery } else { delivery.original_recipient(original) })
    });
    Some(Origin { unique_id, delivery })
}

fn text(fields: &mut Fields<'_>) -> Option<String> {
    let length = u16::from_be_bytes(fields.take()?);
    str::from_utf8(fields.octets(usize::from(length))?).ok().map(str::to_owned)
}

impl Core {
    pub(super) fn deliveries(&self, messages: &[MessageRef]) -> Result<Vec<Option<Arc<Delivery>>>> {
        let mut deliveries = Vec::with_capacity(messages.len());
        for message in messages {
            let rows = match self.rows_of(&message.mailbox) {
                Ok(rows) => rows,
                Err(StoreError::NotFound) => {
                    deliveries.push(None);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let key = row::key(rows, &message.uid.get().to_be_bytes());
            let sealed = self.database.origins.get(&key).map_err(failed)?;
            let seal = || {
                let body = message.object.and_then(row::number_of)?;
                self.body_key(body, message.size, Reader::User(message.mailbox.user())).ok()
            };
            let origin = sealed.and_then(|sealed| decode(&key, &sealed, seal));
            deliveries.push(origin.and_then(|origin| origin.delivery).map(Arc::new));
        }
        Ok(deliveries)
    }

    pub(super) fn unique_ids(&self, mailbox: &MailboxRef) -> Result<Vec<(Uid, String)>> {
        let header = self.header_of(mailbox)?;
        if !header.unique_ids {
            return Ok(Vec::new());
        }
        let mut ids = Vec::new();
        for entry in self.database.origins.prefix(header.rows.to_be_bytes()) {
            let (key, sealed) = entry.into_inner().map_err(failed)?;
            let uid = key.last_chunk::<4>().and_then(|uid| Uid::new(u32::from_be_bytes(*uid)));
            let id =
                decode(&key, &sealed, || None).map(|origin| origin.unique_id).filter(|id| !id.is_empty());
            ids.extend(uid.zip(id));
        }
        Ok(ids)
    }
}

impl Group<'_> {
    /// Gives a copy the origin of its original; whether that has a unique id.
    pub(super) fn copy_origin(&mut self, from: (u64, Uid), to: (u64, Uid)) -> Result<bool> {
        let core = self.core;
        let key_of = |(rows, uid): (u64, Uid)| row::key(rows, &uid.get().to_be_bytes());
        let (old_key, new_key) = (key_of(from), key_of(to));
        let sealed = match self.origins.get(&old_key) {
            Some(staged) => Some(staged.clone()),
            None => core.database.origins.get(&old_key).map_err(failed)?.map(Bytes::from),
        };
        let Some(value) = sealed.as_ref().and_then(|sealed| row::open(&old_key, sealed)) else {
            return Ok(false);
        };
        let has_id = !value.starts_with(&[0, 0]);
        let copy = row::seal(&new_key, value.to_vec());
        self.put_origin(new_key, copy);
        Ok(has_id)
    }

    pub(super) fn put_origin(&mut self, key: Vec<u8>, sealed: Vec<u8>) {
        let sealed = Bytes::from(sealed);
        self.put(&self.core.database.origins, key.clone(), sealed.clone());
        self.origins.insert(key, sealed);
    }
}
