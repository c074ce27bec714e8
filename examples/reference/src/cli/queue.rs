//! `queue` and the entries it is about.

use clap::{Args, Subcommand};

/// Which entries of the queue are meant: all conditions hold together.
#[derive(Debug, Clone, Args)]
pub(crate) struct Which {
    /// Their ids, as they are listed
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// All of them
    #[arg(long, conflicts_with = "ids")]
    pub(crate) all: bool,
    /// Those of this sender: an address, @domain, or <> for reports
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) from: Option<String>,
    /// Those that wait for this recipient: an address or @domain
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) to: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// List what waits, with the last error and the next try
    List {
        #[command(flatten)]
        which: Which,
        /// One JSON object an entry
        #[arg(long)]
        json: bool,
    },
    /// Show an entry and its message
    Show {
        /// Its id
        id: String,
    },
    /// Try again now
    Retry {
        #[command(flatten)]
        which: Which,
    },
    /// Delete without a report to the sender
    Delete {
        #[command(flatten)]
        which: Which,
    },
    /// Keep until it is released
    Hold {
        #[command(flatten)]
        which: Which,
    },
    /// Send on what was held
    Release {
        #[command(flatten)]
        which: Which,
    },
    /// Addresses that nothing is sent to, since they refused for good too often
    #[command(subcommand)]
    Suppress(SuppressCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum SuppressCommand {
    /// List those that refused for good, and whether they are still sent to
    List {
        /// One JSON object an address
        #[arg(long)]
        json: bool,
    },
    /// Send to them again
    Remove {
        /// The addresses
        #[arg(required = true, value_name = "ADDRESS")]
        addresses: Vec<String>,
    },
}
