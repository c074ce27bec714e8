//! Mailboxes: their names, the patterns that match them, the use a mailbox is put to, and modified UTF-7.

mod name;
mod pattern;
mod special_use;
pub mod utf7;

pub use name::{MailboxName, MailboxNameError};
pub use pattern::MailboxPattern;
pub use special_use::{SpecialUse, SpecialUseError};
