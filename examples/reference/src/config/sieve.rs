//! The configuration of Sieve.

use std::{os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use mailwright::filter::{FilterOptions, Programs, SpamField, VirusField};
use serde::{Deserialize, Serialize};

use super::{Config, Protocol};

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
    /// The programs of this directory can be started by scripts, in so many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) programs: Option<PathBuf>,
    pub(crate) program_seconds: u64,
    /// By which scripts.
    pub(crate) program_scripts: ProgramScripts,
    /// The field with the score of a spam filter, and the score from which on a message is certainly spam.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) spam_field: Option<String>,
    pub(crate) spam_worst: u32,
    /// The field with the result of a virus scanner, and what it begins with if nothing was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) virus_field: Option<String>,
    pub(crate) virus_clean: String,
    /// Whether scripts run when messages in mailboxes change.
    pub(crate) imap: bool,
}

/// Whose scripts may start programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProgramScripts {
    All,
    Server,
}

impl Default for Sieve {
    fn default() -> Self {
        Self {
            before: Vec::new(),
            after: Vec::new(),
            default: None,
            included: None,
            programs: None,
            program_seconds: 10,
            program_scripts: ProgramScripts::All,
            spam_field: None,
            spam_worst: 10,
            virus_field: None,
            virus_clean: "clean".into(),
            imap: true,
        }
    }
}

impl Sieve {
    /// What the filter has.
    fn options(&self) -> FilterOptions {
        let mut options = FilterOptions::default();
        let worst = f64::from(self.spam_worst.max(1));
        options.spam = self.spam_field.as_ref().map(|name| SpamField::new(name, worst));
        options.programs = self.programs.as_ref().map(|folder| {
            let mut programs = Programs::new(folder);
            programs.time = Duration::from_secs(self.program_seconds);
            programs.server_only = self.program_scripts == ProgramScripts::Server;
            programs
        });
        options.virus = self.virus_field.as_ref().map(|name| VirusField::new(name, &self.virus_clean));
        options
    }
}

impl Sieve {
    /// What is wrong, each with what to do.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.program_seconds == 0 {
            problems.push("[sieve] program_seconds must be at least 1".into());
        }
        let Some(folder) = &self.programs else { return problems };
        let shown = folder.display();
        match folder.metadata() {
            Err(error) => problems.push(format!("[sieve] programs = \"{shown}\" cannot be read: {error}; make the directory, or take the line out")),
            Ok(found) if !found.is_dir() => {
                problems.push(format!("[sieve] programs = \"{shown}\" is no directory"));
            }
            Ok(found) if found.permissions().mode() & 0o002 != 0 => problems.push(format!(
                "[sieve] programs = \"{shown}\" can be written to by everybody, who could then do what the server can: chmod o-w it"
            )),
            Ok(_) => {}
        }
        problems
    }
}

impl Config {
    /// What filters have.
    pub(crate) fn filter_options(&self) -> FilterOptions {
        let mut options = self.sieve.options();
        options.events = self.sieve_url().is_some();
        options
    }

    /// Where scripts that run when messages change are managed; none if there are none. RFC 6785 §2.1 asks for ManageSieve.
    pub(crate) fn sieve_url(&self) -> Option<String> {
        let listeners =
            || self.listeners.iter().filter(|listener| listener.protocol == Protocol::ManageSieve);
        let usual = listeners().find(|listener| listener.address.port() == 4190);
        let listener = usual.or_else(|| listeners().next())?;
        self.sieve.imap.then(|| {
            // RFC 5804 §3
            match listener.address.port() {
                // 0 is for tests, and whatever the system gives.
                0 | 4190 => format!("sieve://{}", self.hostname),
                port => format!("sieve://{}:{port}", self.hostname),
            }
        })
    }
}
