#![doc = include_str!("../README.md")]

pub mod alias_file;
pub mod authentication;
pub mod dane;
pub mod delivery;
pub mod directory;
pub mod dns;
pub mod networks;
pub mod retry;
pub mod route;
pub mod rules;
pub mod srs;
pub mod sts;

mod chain;
mod domains;
mod policy;

pub use chain::Chain;
pub use domains::{LocalDomains, OnlyLocalRecipients};
pub use policy::{Decision, Policy, Session, Verdict};
