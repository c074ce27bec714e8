//! How mail is fetched from accounts elsewhere.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use mailwright::{fetch::FetchConfig, line_proto::tls};
use serde::{Deserialize, Serialize};

/// What all accounts elsewhere have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Fetch {
    /// How many are fetched from at once.
    pub(crate) connections: usize,
    /// PEM, the authorities that are trusted.
    pub(crate) trust: PathBuf,
    /// How long to wait after a failure, the first time and at most.
    pub(crate) first_retry_seconds: u64,
    pub(crate) longest_retry_seconds: u64,
    /// How long to wait at least when the password was refused.
    pub(crate) login_retry_seconds: u64,
}

impl Default for Fetch {
    fn default() -> Self {
        Self {
            connections: 16,
            trust: "/etc/ssl/certs/ca-certificates.crt".into(),
            first_retry_seconds: 60,
            longest_retry_seconds: 3_600,
            login_retry_seconds: 900,
        }
    }
}

impl Fetch {
    /// As the service has it.
    pub(crate) fn options(&self, hostname: &str, message_size: u64) -> FetchConfig {
        let mut options = FetchConfig::new(hostname);
        options.connections = self.connections;
        options.first_retry = Duration::from_secs(self.first_retry_seconds);
        options.longest_retry = Duration::from_secs(self.longest_retry_seconds);
        options.login_retry = Duration::from_secs(self.login_retry_seconds);
        options.largest = (message_size != 0).then_some(message_size);
        let read = fs::read(&self.trust).map_err(|error| error.to_string());
        let made = read
            .and_then(|pem| tls::roots(&pem).and_then(tls::client_config).map_err(|error| error.to_string()));
        match made {
            Ok(client) => options.tls = Some(Arc::new(client)),
            // Accounts that need it say so each time.
            Err(error) => tracing::warn!(file = %self.trust.display(), error, "fetch.trust cannot be used"),
        }
        options
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.connections == 0 {
            problems.push("[fetch] connections: expected at least 1".into());
        }
        if self.first_retry_seconds == 0 || self.first_retry_seconds > self.longest_retry_seconds {
            problems.push("[fetch] expected first_retry_seconds from 1 to longest_retry_seconds".into());
        }
        problems
    }
}
