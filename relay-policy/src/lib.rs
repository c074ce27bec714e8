#![doc = include_str!("../README.md")]

pub mod alias_file;
pub mod directory;
pub mod networks;

mod chain;
mod domains;
mod policy;

pub use chain::Chain;
pub use domains::{LocalDomains, OnlyLocalRecipients};
pub use policy::{Decision, Policy, Session, Verdict};
