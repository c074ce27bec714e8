#![doc = include_str!("../README.md")]

pub mod client;
pub mod command;
pub mod grammar;
pub mod response;
pub mod server;

mod capability;
mod config;
mod language;
mod refusal;
mod sequence;
mod url;
mod view;

pub use refusal::{Answered, Refusal};
pub use sequence::{MAX_RANGES, MessageSet, SequenceSet};
pub use url::{AuthorizedUrl, ImapUrl, Referral, UrlAccess, UrlError, UrlToken};
