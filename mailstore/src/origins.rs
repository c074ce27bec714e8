//! The facet of a store that remembers where messages came from.

use std::sync::Arc;

use mailwright_mail_model::Uid;

use crate::store::Never;
use crate::{MailboxRef, MessageRef, Result};

/// What is known of messages that is in no header: their envelopes, and the names POP3 clients knew them by elsewhere.
///
/// Both were given with [`Target`](crate::Target) and go along with copies.
pub trait Origins: Send + Sync {
    /// The envelope each message was delivered with, in the order asked.
    fn deliveries(
        &self,
        messages: &[MessageRef],
    ) -> impl Future<Output = Result<Vec<Option<Arc<Delivery>>>>> + Send;

    /// The messages that came with a unique id of their own (RFC 1939 §7), ascending; the others have what the server makes.
    ///
    /// # Errors
    /// [`NotFound`](crate::StoreError::NotFound) if the mailbox is gone.
    fn unique_ids(&self, mailbox: &MailboxRef) -> impl Future<Output = Result<Vec<(Uid, String)>>> + Send;
}

/// The envelope of a delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Delivery {
    /// The reverse-path without brackets; empty if it was null.
    pub sender: String,
    /// The recipient's address as it was when it came here.
    pub recipient: String,
    /// The recipient's address as it was at first (RFC 3461 §4.2 ORCPT), with its type, if the client said.
    pub original_recipient: Option<String>,
}

impl Delivery {
    /// From `sender` to `recipient`.
    pub fn new(sender: impl Into<String>, recipient: impl Into<String>) -> Self {
        Self { sender: sender.into(), recipient: recipient.into(), original_recipient: None }
    }

    /// The same delivery, with its original recipient.
    #[must_use]
    pub fn original_recipient(mut self, address: impl Into<String>) -> Self {
        self.original_recipient = Some(address.into());
        self
    }
}

impl Origins for Never {
    async fn deliveries(&self, _: &[MessageRef]) -> Result<Vec<Option<Arc<Delivery>>>> {
        match *self {}
    }

    async fn unique_ids(&self, _: &MailboxRef) -> Result<Vec<(Uid, String)>> {
        match *self {}
    }
}
