#![doc = include_str!("../README.md")]

pub mod address_list;
pub mod charset;
pub mod collation;
pub mod encoding;
pub mod header;
pub mod mailbox;
pub mod markup;
pub mod message_id;
pub mod mime;
pub mod parameter;
pub mod query;
pub mod sort;
pub mod thread;
pub mod word;

mod address;
mod annotation;
mod body_structure;
mod date;
mod envelope;
mod flag;
mod keyword;
mod script_name;
mod uid;
mod uid_set;

pub use address::{Address, AddressError, Domain, ForwardPath, LocalPart, LocalPartRef, ReversePath};
pub use annotation::{
    AnnotationEntry, AnnotationEntryError, AnnotationPattern, AnnotationScope, annotation_contains,
};
pub use body_structure::{BodyKind, BodyStructure};
pub use date::{Date, DateError, DateTime};
pub use envelope::Envelope;
pub use flag::{Flag, FlagError, FlagSet};
pub use keyword::Keyword;
pub use mailbox::{MailboxName, MailboxNameError, MailboxPattern, SpecialUse, SpecialUseError};
pub use script_name::{ScriptName, ScriptNameError};
pub use uid::{ModSeq, NumberError, Uid, UidValidity};
pub use uid_set::{UidSet, UidSetError};
