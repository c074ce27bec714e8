#![doc = include_str!("../README.md")]

pub mod client;
pub mod server;

mod command;
mod grammar;
mod language;
mod maildrop;
mod reply;
mod text;

pub use client::Client;
pub use command::{
    Apop, Capa, Capabilities, Capability, Dele, Expire, Identified, Lang, Language, Last, List, Listed, Noop,
    Quit, Retr, Rset, Stat, Stls, Timestamp, TimestampError, Top, Totals, Uidl, Utf8,
};
pub use maildrop::{Maildrop, MaildropFull, Message, UniqueId, UniqueIdError};
pub use reply::{Refusal, ResponseCode};
pub use server::Server;
pub use text::{Text, TextError};
