#![doc = include_str!("../README.md")]

pub mod charset;
pub mod mailbox;

mod flag;
mod keyword;
mod uid;
mod uid_set;

pub use flag::{Flag, FlagError, FlagSet};
pub use keyword::Keyword;
pub use mailbox::{MailboxName, MailboxNameError, MailboxPattern, SpecialUse, SpecialUseError};
pub use uid::{ModSeq, NumberError, Uid, UidValidity};
pub use uid_set::{UidSet, UidSetError};
