//! What is written to the log.

use serde::{Deserialize, Serialize};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// What is written to the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    pub(crate) level: String,
    pub(crate) format: LogFormat,
}

impl Log {
    /// What is written, or why nobody can tell.
    pub(crate) fn filter(&self) -> Result<EnvFilter, String> {
        let wrong = |problem: &str| {
            let level = &self.level;
            format!(
                "[log] level = {level:?}: {problem}; write off, error, warn, info, debug or trace, or a filter such as \"info,mailwright=debug\""
            )
        };
        // A word that is no level, or has a blank in front, would be the name of a part of the program, and silence all others.
        let words: Vec<&str> = self.level.split(',').map(str::trim).collect();
        for word in words.iter().filter(|word| !word.contains(['=', '['])) {
            if word.parse::<LevelFilter>().is_err() {
                return Err(wrong(&format!("{word} is not a level")));
            }
        }
        // The database tells of its housekeeping; whoever wants to hear it says so.
        let directives = format!("fjall=warn,lsm_tree=warn,{}", words.join(","));
        EnvFilter::try_new(directives).map_err(|error| wrong(&error.to_string()))
    }
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_is_none_is_told() {
        let filter = |level: &str| Log { level: level.into(), ..Log::default() }.filter();
        for right in [
            "off",
            "warn",
            "INFO",
            "info,mailwright=debug",
            "warn, mailwright::smtp=trace",
            "info,[span{a=1}]=debug",
        ] {
            assert!(filter(right).is_ok(), "{right}: {:?}", filter(right).err());
        }
        for wrong in ["warning", "verbose", "info,mailwright", "info,mailwright=loud", "info mailwright"] {
            let problem = filter(wrong).unwrap_err();
            assert!(problem.contains(&format!("{wrong:?}")) && problem.contains("off, error"), "{problem}");
        }
    }
}
