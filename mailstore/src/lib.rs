#![doc = include_str!("../README.md")]

/// The guide to back ends of your own, whose examples are tests.
#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../../docs/backends.md")]
mod guide {}

pub mod accounts;
pub mod clock;
#[cfg(feature = "testing")]
pub mod conformance;
#[cfg(feature = "embedded")]
pub mod embedded;
#[cfg(feature = "maildir")]
pub mod maildir;
#[cfg(feature = "mbox")]
pub mod mbox;
pub mod memory;

mod acl;
mod annotate;
mod any;
pub mod backend;
mod block_on;
mod cache;
mod changes;
mod describe;
mod error;
mod feed;
mod feeds;
mod folders;
mod import;
mod mailbox;
mod metadata;
mod object_id;
mod offload;
mod origins;
mod quota;
mod scripts;
mod search;
mod signal;
mod snapshot;
mod spool;
mod store;
mod undelete;
mod upload;
mod user;
#[cfg(feature = "encryption")]
mod vault;
#[cfg(not(feature = "encryption"))]
#[cfg_attr(not(feature = "embedded"), expect(dead_code, reason = "no other back end encrypts"))]
#[path = "vault/none.rs"]
mod vault;
mod watch;
mod with_queue;
mod write;

pub use acl::{
    Acl, AclChange, AclEntry, Identifier, IdentifierError, Identity, Prepared, Right, Rights, RightsError,
    SharedMailbox, Subject,
};
pub use annotate::{
    Annotate, AnnotationChange, AnnotationLimits, AnnotationsStored, Carried, MessageAnnotation, Noted,
};
pub use any::AnyStore;
pub use block_on::block_on;
pub use cache::{Cache, Column, Summary};
pub use changes::Changes;
pub use describe::{Describe, Describer};
pub use error::{Result, StoreError};
pub use feed::{Feed, FeedEvent, FeedPosition, News};
pub use folders::Folders;
pub use import::Import;
pub use mailbox::{Mailbox, MailboxRef, MessageRef, Status};
pub use metadata::{Annotated, Annotation, EntryName, EntryNameError, Metadata};
pub use object_id::{ObjectId, ObjectIdError};
pub use offload::{Inline, Offload};
pub use origins::{Delivery, Origins};
pub use quota::{Quota, QuotaLimits, QuotaStatus, QuotaUsage, QuotaWarning, Resource};
pub use scripts::{ScriptEntry, ScriptLimits, Scripts};
pub use search::Search;
pub use snapshot::{Difference, Message, Snapshot, SnapshotBuilder};
pub use spool::{
    Batch, Committed, Deadline, Due, Notify, QueueEntry, QueueNews, QueueNumber, QueueRecipient,
    RecipientState, ReturnContent, Row, Scheduled, Settlement, Spool, ValidSince,
};
pub use store::{Never, Store};
pub use undelete::{ExpungedMessage, Undelete};
pub use upload::{Appended, CommitError, Joined, Sink, Target, Upload};
pub use user::{User, UserError};
#[cfg(feature = "encryption")]
pub use vault::RecoveryKey;
pub use watch::Watch;
pub use with_queue::{SharedQueue, WithQueue};
pub use write::{Copied, Expunge, Expunged, FlagChange, FlagOperation, FlagsChanged, FlagsStored, Write};
