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

    /// One column of what was kept of each message, in the order asked: cheaper than all of it, most of all for many messages in
    /// ascending order.
    fn column(
        &self,
        messages: &[MessageRef],
        column: Column,
    ) -> impl Future<Output = Result<Vec<Option<Bytes>>>> + Send {
        async move {
            let summaries = self.load(messages).await?;
            Ok(summaries.into_iter().map(|summary| Some(summary?.column(column).clone())).collect())
        }
    }

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
    /// The tree of parts as it is sent.
    pub body_structure: Bytes,
    /// The header fields that are asked for most.
    pub header: Bytes,
}

/// One of the parts of a [`Summary`]. There may be more some day: a store that does not know one finds nothing kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Column {
    /// [`Summary::envelope`].
    Envelope,
    /// [`Summary::structure`].
    Structure,
    /// [`Summary::body_structure`].
    BodyStructure,
    /// [`Summary::header`].
    Header,
}

impl Column {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Envelope, Self::Structure, Self::BodyStructure, Self::Header];
}

impl Summary {
    /// An envelope and a tree of parts.
    pub const fn new(envelope: Bytes, structure: Bytes) -> Self {
        Self { envelope, structure, body_structure: Bytes::new(), header: Bytes::new() }
    }

    /// The same summary, with the tree of parts as it is sent.
    #[must_use]
    pub fn with_body_structure(mut self, body_structure: Bytes) -> Self {
        self.body_structure = body_structure;
        self
    }

    /// The same summary, with these header fields.
    #[must_use]
    pub fn with_header(mut self, header: Bytes) -> Self {
        self.header = header;
        self
    }

    /// One part of it.
    pub const fn column(&self, column: Column) -> &Bytes {
        match column {
            Column::Envelope => &self.envelope,
            Column::Structure => &self.structure,
            Column::BodyStructure => &self.body_structure,
            Column::Header => &self.header,
        }
    }

    /// For stores: one part of it, to be filled in.
    pub const fn column_mut(&mut self, column: Column) -> &mut Bytes {
        match column {
            Column::Envelope => &mut self.envelope,
            Column::Structure => &mut self.structure,
            Column::BodyStructure => &mut self.body_structure,
            Column::Header => &mut self.header,
        }
    }

    /// How many octets it takes.
    pub const fn len(&self) -> usize {
        self.envelope.len() + self.structure.len() + self.body_structure.len() + self.header.len()
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
