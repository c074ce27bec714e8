//! `sieve`.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum SieveCommand {
    /// Show what the scripts would do with a message and why: every test and action that is reached, and what would come of it.
    /// Nothing is delivered, sent or remembered
    Explain {
        /// Whose mail it would be
        user: String,
        /// The file with the message; - for standard input
        message: PathBuf,
        /// The sender of its envelope; without it the null sender
        #[arg(long, value_name = "ADDRESS", default_value = "")]
        from: String,
        /// The recipient of its envelope; without it the account's name
        #[arg(long, value_name = "ADDRESS")]
        to: Option<String>,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show what there was to tell a user of scripts lately: run-time errors, scripts that cannot be used, and what scripts say themselves
    Log {
        /// Whose scripts
        user: String,
        /// As one JSON object a line
        #[arg(long)]
        json: bool,
    },
}
