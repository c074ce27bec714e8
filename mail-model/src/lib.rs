#![doc = include_str!("../README.md")]

pub mod charset;
pub mod encoding;
pub mod header;
pub mod mailbox;

mod address;
mod flag;
mod keyword;
mod uid;
mod uid_set;

pub use address::{Address, AddressError, Domain, ForwardPath, LocalPart, ReversePath};
pub use flag::{Flag, FlagError, FlagSet};
pub use keyword::Keyword;
pub use mailbox::{MailboxName, MailboxNameError, MailboxPattern, SpecialUse, SpecialUseError};
pub use uid::{ModSeq, NumberError, Uid, UidValidity};
pub use uid_set::{UidSet, UidSetError};
