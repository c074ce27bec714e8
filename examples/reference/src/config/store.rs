//! Where mail is kept.

use serde::{Deserialize, Serialize};

use super::Period;

/// Where mail is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Store {
    pub(crate) kind: StoreKind,
    /// Where each user's Maildir is, with variables.
    pub(crate) path: String,
    /// Where each user's file of messages is, if mail is delivered there instead.
    pub(crate) mbox: String,
    /// How many octets of the disk to keep free.
    pub(crate) reserve: u64,
    /// How long expunged messages can be had back.
    pub(crate) undelete: Period,
    /// The level of Zstandard by which bodies are compressed; 0 not at all.
    pub(crate) compression: u8,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            kind: StoreKind::default(),
            path: String::new(),
            mbox: String::new(),
            reserve: 128 << 20,
            undelete: Period::default(),
            compression: 0,
        }
    }
}

/// How mail is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoreKind {
    /// In the database of the data directory.
    #[default]
    Embedded,
    /// In Maildir++ trees.
    Maildir,
}
