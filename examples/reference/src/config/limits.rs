//! What peers may cost.

use std::time::Duration;

use mailwright::{Stress, mailstore::ScriptLimits};
use serde::{Deserialize, Serialize};

/// What a peer may cost. Zero is no limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) connections: u32,
    pub(crate) connections_per_address: u32,
    pub(crate) new_connections_per_minute: u32,
    pub(crate) stress_percent: u32,
    pub(crate) stress_seconds: u64,
    pub(crate) stress_errors: u32,
    pub(crate) message_size: u64,
    pub(crate) recipients: u32,
    pub(crate) scripts: u64,
    pub(crate) script_size: u32,
    pub(crate) answer_seconds: u64,
    pub(crate) stop_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            connections_per_address: 100,
            new_connections_per_minute: 300,
            stress_percent: 80,
            stress_seconds: 10,
            stress_errors: 3,
            message_size: 50 << 20,
            recipients: 1000,
            scripts: 100,
            script_size: 1 << 20,
            answer_seconds: 540,
            stop_seconds: 30,
        }
    }
}

impl Limits {
    /// What is wrong.
    pub(super) fn problems(&self) -> Vec<String> {
        match self.stress_percent {
            0..=100 => Vec::new(),
            percent => vec![format!(
                "[limits] stress_percent = {percent} is more than all connections: write 0 to 100"
            )],
        }
    }

    /// How long a session waits for what is done here.
    pub(crate) fn work(&self) -> Duration {
        match self.answer_seconds {
            0 => Duration::MAX,
            seconds => Duration::from_secs(seconds),
        }
    }

    /// How many and how large a user's Sieve scripts may be.
    pub(crate) fn of_scripts(&self) -> ScriptLimits {
        let limit = |limit: u64| if limit == 0 { u64::MAX } else { limit };
        // The language itself takes no larger ones.
        let size = limit(self.script_size.into()).min(mailwright::sieve::Limits::default().script as u64);
        ScriptLimits::new(limit(self.scripts), size)
    }

    /// What holds while connections run out.
    pub(crate) fn stress(&self) -> Stress {
        Stress {
            percent: self.stress_percent,
            patience: match self.stress_seconds {
                0 => Duration::MAX,
                seconds => Duration::from_secs(seconds),
            },
            errors: match self.stress_errors {
                0 => u32::MAX,
                errors => errors,
            },
        }
    }
}
