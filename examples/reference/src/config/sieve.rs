//! Sieve scripts of the server's own, and what scripts can ask of other programs.

use std::path::PathBuf;

use mailwright::filter::{FilterOptions, SpamField, VirusField};
use serde::{Deserialize, Serialize};

/// The server's own Sieve scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Sieve {
    /// Run before each user's own, in order.
    pub(crate) before: Vec<PathBuf>,
    /// Run after, as long as the message is still to be kept.
    pub(crate) after: Vec<PathBuf>,
    /// Run for users without an active script.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) default: Option<PathBuf>,
    /// The scripts of this directory can be included by their names, without `.sieve`, as `:global`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) included: Option<PathBuf>,
    /// The field with the score of a spam filter, and the score from which on a message is certainly spam.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) spam_field: Option<String>,
    pub(crate) spam_worst: u32,
    /// The field with the result of a virus scanner, and what it begins with if nothing was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) virus_field: Option<String>,
    pub(crate) virus_clean: String,
}

impl Default for Sieve {
    fn default() -> Self {
        Self {
            before: Vec::new(),
            after: Vec::new(),
            default: None,
            included: None,
            spam_field: None,
            spam_worst: 10,
            virus_field: None,
            virus_clean: "clean".into(),
        }
    }
}

impl Sieve {
    /// What the filter has.
    pub(crate) fn options(&self) -> FilterOptions {
        let mut options = FilterOptions::default();
        let worst = f64::from(self.spam_worst.max(1));
        options.spam = self.spam_field.as_ref().map(|name| SpamField::new(name, worst));
        options.virus = self.virus_field.as_ref().map(|name| VirusField::new(name, &self.virus_clean));
        options
    }
}
