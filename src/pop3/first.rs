//! The beginning of a message: had before the client is told that it comes.

use bytes::Bytes;
use mailwright_mailstore::{MessageRef, Store, StoreError, accounts::Accounts};
use mailwright_pop3_proto::Refusal;

use super::{CHUNK, Visit, refusal};
use crate::service::octets_of;

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    /// A message that is to be sent, and its first octets; `whole` is whether that is RETR. Nothing takes back +OK, and who breaks off loses what the session was to
    /// delete: what cannot be read is refused.
    pub(super) async fn begin(&mut self, key: u64, whole: bool) -> Result<(MessageRef, Bytes), Refusal> {
        let message = self.message(key).ok_or_else(Refusal::permanent)?;
        if message.size == 0 {
            return Ok((message, Bytes::new()));
        }
        let ahead = match self.maildrop.as_mut().filter(|_| whole) {
            Some(opened) => opened.ahead.take(message.uid).await,
            None => None,
        };
        if let Some(octets) = ahead.filter(|octets| octets.len() as u64 == message.size) {
            return Ok((message, octets));
        }
        match self.read_first(&message).await {
            Ok(first) => Ok((message, first)),
            Err(StoreError::NotFound) => Err(Refusal::gone()),
            Err(error) => {
                tracing::error!(user = %message.mailbox.user(), uid = message.uid.get(), %error, "cannot read a message");
                Err(refusal(&error))
            }
        }
    }

    /// As many octets from the beginning of a message as are held at a time: all of most messages.
    async fn read_first(&self, message: &MessageRef) -> Result<Bytes, StoreError> {
        let first = self.read(message, 0).await?;
        let wanted = message.size.min(CHUNK) as usize;
        if first.len() >= wanted {
            return Ok(first);
        }
        let mut whole = first.to_vec();
        while whole.len() < wanted {
            whole.extend_from_slice(&self.read(message, whole.len() as u64).await?);
        }
        Ok(whole.into())
    }

    /// Some octets of a message, which has more.
    pub(super) async fn read(&self, message: &MessageRef, offset: u64) -> Result<Bytes, StoreError> {
        let chunk =
            octets_of(&*self.service.store, message, offset..message.size.min(offset + CHUNK)).await?;
        match chunk.is_empty() {
            true => Err(StoreError::Corrupt("expected more octets of a message, found its end".into())),
            false => Ok(chunk),
        }
    }
}
