#![doc = include_str!("../README.md")]

pub mod client;
pub mod server;

mod command;
mod grammar;
mod maildrop;
mod reply;
mod text;

pub use client::Client;
pub use command::{
    Capa, Capabilities, Capability, Dele, Identified, List, Listed, Noop, Quit, Retr, Rset, Stat, Stls, Top,
    Totals, Uidl,
};
pub use maildrop::{Maildrop, MaildropFull, Message, UniqueId, UniqueIdError};
pub use reply::{Refusal, ResponseCode};
pub use server::Server;
pub use text::{Text, TextError};
