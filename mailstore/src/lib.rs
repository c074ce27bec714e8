#![doc = include_str!("../README.md")]

pub mod accounts;
#[cfg(feature = "testing")]
pub mod conformance;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod memory;

mod any;
mod block_on;
mod cache;
mod changes;
mod error;
mod folders;
mod mailbox;
mod object_id;
mod offload;
mod signal;
mod snapshot;
mod spool;
mod store;
mod upload;
mod user;
mod watch;
mod write;

pub use any::AnyStore;
pub use block_on::block_on;
pub use cache::{Cache, Summary};
pub use changes::Changes;
pub use error::{Result, StoreError};
pub use folders::Folders;
pub use mailbox::{Mailbox, MailboxRef, MessageRef, Status};
pub use object_id::{ObjectId, ObjectIdError};
pub use offload::{Inline, Offload};
pub use snapshot::{Difference, Message, Snapshot, SnapshotBuilder};
pub use spool::{
    Batch, Committed, Due, Notify, QueueEntry, QueueNumber, QueueRecipient, RecipientState, ReturnContent,
    Scheduled, Settlement, Spool,
};
pub use store::{Never, Store};
pub use upload::{Appended, CommitError, Sink, Target, Upload};
pub use user::{User, UserError};
pub use watch::Watch;
pub use write::{Copied, Expunge, Expunged, FlagChange, FlagOperation, FlagsStored, Write};
