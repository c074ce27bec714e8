//! Rules that every back end needs, so that none has to find them again.
//!
//! How to write one is in `docs/backends.md` of the repository; `examples/sqlite-store` was written by it.

mod chunks;
mod rows;

pub use crate::acl::changed_list;
pub use crate::folders::{check_rename, parents, renamed};
pub use crate::signal::Signal;
pub use chunks::{Chunks, in_chunks};
pub use rows::{MailboxRow, MessageRow};
