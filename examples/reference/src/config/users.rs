//! What accounts are like that are added.

use serde::{Deserialize, Serialize};

/// The template of new accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Users {
    /// Whether they have a mailbox, if nothing else is said.
    pub(crate) mailbox: bool,
}

impl Default for Users {
    fn default() -> Self {
        Self { mailbox: true }
    }
}
