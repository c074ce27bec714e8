//! How long the lives of messages are kept.

use serde::{Deserialize, Serialize};

use super::Period;

/// What `mailwrightd trace` can tell of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Trace {
    /// For how long; not at all if never.
    pub(crate) keep: Period,
    /// How much at most, in octets, but today's always; zero is no limit.
    pub(crate) largest: u64,
}

impl Default for Trace {
    fn default() -> Self {
        Self { keep: Period::days(14), largest: 1 << 30 }
    }
}
