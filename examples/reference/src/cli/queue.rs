//! `queue` and the entries it is about.

use clap::{Args, Subcommand};

use crate::config::Period;

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

/// Which entries are to be changed, and how that is told.
#[derive(Debug, Clone, Args)]
pub(crate) struct Changed {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Change nothing, and show what would be changed
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// One JSON object for each entry
    #[arg(long)]
    pub(crate) json: bool,
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
    /// Show the entries of an id and their message
    Show {
        /// Their id
        id: String,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Try again now
    Retry {
        #[command(flatten)]
        which: Changed,
    },
    /// Delete without a report to the sender; with --to for these recipients alone
    #[command(after_help = "\
Examples:
  mailwrightd queue delete 0123456789ABCDEF                        the message with this id, for all who wait for it
  mailwrightd queue delete --to @gone.example --dry-run            what would be deleted for recipients at gone.example
  mailwrightd queue delete --from news@example.org --to bob@gone.example")]
    Delete {
        #[command(flatten)]
        which: Changed,
    },
    /// Keep until it is released
    Hold {
        #[command(flatten)]
        which: Changed,
    },
    /// Send on what was held, also what its sender wants held back
    Release {
        #[command(flatten)]
        which: Changed,
    },
    /// Give up at another time than queue.lifetime_hours says: the sender is told then
    Expire {
        #[command(flatten)]
        which: Changed,
        /// After this time from now, like 30m, 12h or 2d; 0: as the configuration says
        #[arg(long, value_name = "TIME")]
        after: Period,
    },
    /// Send by another way than the configuration says, now and until it is delivered
    #[command(after_help = "\
Examples:
  mailwrightd queue reroute --to @down.example --via 'smtp:[backup.example.net]:25'
  mailwrightd queue reroute --all --via none                       as the configuration says again")]
    Reroute {
        #[command(flatten)]
        which: Changed,
        /// The next hop, as in the transport map; none: as the configuration says
        #[arg(long, value_name = "HOP")]
        via: String,
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
