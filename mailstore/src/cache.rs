//! The facet of a store that keeps what was found out about a message.

use bytes::Bytes;

use crate::store::Never;
use crate::{MessageRef, Result};

/// Stored ENVELOPE and BODYSTRUCTURE, so that a mailbox is listed without reading its messages.
///
/// A cache may forget: whoever asks must be able to find out anew.
pub trait Cache: Send + Sync {
    /// What was kept of each message, in the order asked.
    fn load(&self, messages: &[MessageRef]) -> impl Future<Output = Result<Vec<Option<Summary>>>> + Send;

    /// Keeps this for a message, whose copies share it. Need not be durable; nothing happens if it is too large for
    /// the store or the message is gone.
    fn save(&self, message: &MessageRef, summary: &Summary) -> impl Future<Output = Result<()>> + Send;
}

/// What was found out about a message, in encodings that are its writer's affair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// The envelope.
    pub envelope: Bytes,
    /// The tree of parts.
    pub structure: Bytes,
}

impl Summary {
    /// Both together.
    pub const fn new(envelope: Bytes, structure: Bytes) -> Self {
        Self { envelope, structure }
    }

    /// How many octets it takes.
    pub const fn len(&self) -> usize {
        self.envelope.len() + self.structure.len()
    }

    /// Whether it says nothing.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Cache for Never {
    async fn load(&self, _: &[MessageRef]) -> Result<Vec<Option<Summary>>> {
        match *self {}
    }

    async fn save(&self, _: &MessageRef, _: &Summary) -> Result<()> {
        match *self {}
    }
}
