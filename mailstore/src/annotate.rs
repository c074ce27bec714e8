//! The facet of a store that keeps annotations of messages (RFC 5257).

use bytes::Bytes;
use mailwright_mail_model::{AnnotationEntry, AnnotationScope, MailboxName, ModSeq, Uid, UidSet};

use crate::store::Never;
use crate::{Copied, MailboxRef, Result, User};

mod kept;

pub(crate) use kept::{Kept, told};

/// ANNOTATE: comments and the like that users note about messages and their parts.
///
/// What is shared is the same to everybody; what is private belongs to who wrote it. Annotations end with their message, and a change
/// of any of them gives the message a mod-sequence higher than any before in that mailbox. They count for the owner of the mailbox.
/// Who may do what is for the server to decide.
///
/// [`Write::copy`](crate::Write::copy) and [`Write::move_to`](crate::Write::move_to) take along what is shared and what is private to the owner
/// of the mailbox; new messages have the annotations of their [`Target`](crate::Target). A message that is had back has those it had.
pub trait Annotate: Send + Sync {
    /// How much may be noted about one message. RFC 5257 §4.1: values of 1,024 octets at least, and 10 entries.
    fn annotation_limits(&self) -> AnnotationLimits;

    /// What `reader` sees of those of `uids` that exist and have annotations, in the order of the UIDs; of each sorted by entry, what is
    /// private first.
    ///
    /// # Errors
    /// [`NotFound`](crate::StoreError::NotFound) if the mailbox is gone, [`Locked`](crate::StoreError::Locked) if they are encrypted.
    fn message_annotations(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        reader: &User,
    ) -> impl Future<Output = Result<Vec<(Uid, Vec<MessageAnnotation>)>>> + Send;

    /// Sets annotations of those of `uids` that exist, and removes those without a value: all or none.
    ///
    /// # Errors
    /// [`NotFound`](crate::StoreError::NotFound) if the mailbox is gone, [`TooLarge`](crate::StoreError::TooLarge) for a value,
    /// [`TooMany`](crate::StoreError::TooMany) entries of one message, [`OverQuota`](crate::StoreError::OverQuota),
    /// [`Locked`](crate::StoreError::Locked) if the mail is encrypted.
    fn annotate_messages(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        writer: &User,
        change: &AnnotationChange,
    ) -> impl Future<Output = Result<AnnotationsStored>> + Send;

    /// As [`Write::copy`](crate::Write::copy), taking these annotations along and no others.
    ///
    /// # Errors
    /// As [`Write::copy`](crate::Write::copy).
    fn copy_annotated(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        target: &MailboxName,
        carried: &Carried,
    ) -> impl Future<Output = Result<Copied>> + Send;

    /// As [`Write::move_to`](crate::Write::move_to), taking these annotations along and no others.
    ///
    /// # Errors
    /// As [`Write::move_to`](crate::Write::move_to).
    fn move_annotated(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        target: &MailboxName,
        carried: &Carried,
    ) -> impl Future<Output = Result<Copied>> + Send;
}

/// How much may be noted about one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AnnotationLimits {
    /// The most octets of a value, at least 1,024.
    pub octets: u32,
    /// The most entries of one message that are shared, and the most that are private to one user; at least 10.
    pub entries: u16,
}

impl AnnotationLimits {
    /// RFC 5257 §4.1: every client may rely on these.
    pub const LEAST: Self = Self { octets: 1_024, entries: 10 };

    /// These limits, but no less than [`LEAST`](Self::LEAST).
    pub const fn new(octets: u32, entries: u16) -> Self {
        Self {
            octets: if octets < Self::LEAST.octets { Self::LEAST.octets } else { octets },
            entries: if entries < Self::LEAST.entries { Self::LEAST.entries } else { entries },
        }
    }
}

impl Default for AnnotationLimits {
    /// 16 KiB, 64 entries.
    fn default() -> Self {
        Self::new(16 * 1024, 64)
    }
}

/// An annotation of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageAnnotation {
    /// Its name.
    pub entry: AnnotationEntry,
    /// Whose it is.
    pub scope: AnnotationScope,
    /// Its value, any octets; `None` if it was removed, as far as that is remembered.
    pub value: Option<Bytes>,
    /// The mod-sequence that the message had when this was changed last.
    pub modseq: ModSeq,
}

impl MessageAnnotation {
    /// For stores.
    pub const fn new(
        entry: AnnotationEntry,
        scope: AnnotationScope,
        value: Option<Bytes>,
        modseq: ModSeq,
    ) -> Self {
        Self { entry, scope, value, modseq }
    }
}

/// One value to set, or without a value to remove.
pub type Noted = (AnnotationEntry, AnnotationScope, Option<Bytes>);

/// What [`Annotate::annotate_messages`] sets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AnnotationChange {
    /// The values. Of several for the same entry, the last one counts.
    pub values: Vec<Noted>,
    /// Leave alone every message whose mod-sequence is higher (RFC 7162 §3.1.3 UNCHANGEDSINCE).
    pub unchanged_since: Option<ModSeq>,
}

impl AnnotationChange {
    /// An unconditional change.
    pub const fn new(values: Vec<Noted>) -> Self {
        Self { values, unchanged_since: None }
    }

    /// The same change, for messages with at most this mod-sequence.
    #[must_use]
    pub fn unchanged_since(mut self, modseq: ModSeq) -> Self {
        self.unchanged_since = Some(modseq);
        self
    }
}

/// What [`Annotate::annotate_messages`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AnnotationsStored {
    /// The UID and the mod-sequence after the change of every message that met the condition, ascending. A message whose annotations
    /// were so already keeps its mod-sequence.
    pub messages: Vec<(Uid, ModSeq)>,
    /// The messages left alone because they had changed.
    pub modified: UidSet,
}

impl AnnotationsStored {
    /// For stores.
    pub const fn new(messages: Vec<(Uid, ModSeq)>, modified: UidSet) -> Self {
        Self { messages, modified }
    }
}

/// Which annotations go along with a copy (RFC 5257 §4.6): never those that are private to anybody but who makes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Carried {
    /// Those that are private to this user.
    pub reader: Option<User>,
    /// Those that are shared.
    pub shared: bool,
}

impl Carried {
    /// Those that are private to this user, and those that are shared.
    pub const fn new(reader: Option<User>, shared: bool) -> Self {
        Self { reader, shared }
    }

    /// Whose annotations a copy by the owner of a mailbox takes along.
    pub(crate) fn by_owner(mailbox: &MailboxRef) -> Self {
        Self::new(Some(mailbox.user().clone()), true)
    }

    /// Whether those of this reader go along; of everybody if it is none.
    pub(crate) fn takes(&self, reader: Option<&User>) -> bool {
        match reader {
            Some(reader) => self.reader.as_ref() == Some(reader),
            None => self.shared,
        }
    }
}

impl Annotate for Never {
    fn annotation_limits(&self) -> AnnotationLimits {
        match *self {}
    }

    async fn message_annotations(
        &self,
        _: &MailboxRef,
        _: &UidSet,
        _: &User,
    ) -> Result<Vec<(Uid, Vec<MessageAnnotation>)>> {
        match *self {}
    }

    async fn annotate_messages(
        &self,
        _: &MailboxRef,
        _: &UidSet,
        _: &User,
        _: &AnnotationChange,
    ) -> Result<AnnotationsStored> {
        match *self {}
    }

    async fn copy_annotated(
        &self,
        _: &MailboxRef,
        _: &UidSet,
        _: &MailboxName,
        _: &Carried,
    ) -> Result<Copied> {
        match *self {}
    }

    async fn move_annotated(
        &self,
        _: &MailboxRef,
        _: &UidSet,
        _: &MailboxName,
        _: &Carried,
    ) -> Result<Copied> {
        match *self {}
    }
}
