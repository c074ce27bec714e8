//! `dkim` and `dmarc`.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum DkimCommand {
    /// Make and remove keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// List all keys as the records that must be published
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Look up whether the records are published
    Check {
        /// The domain; all without it
        domain: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DmarcCommand {
    /// Sum up reports that others sent: XML, plain, in gzip or in zip
    Report {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// One JSON object a record
        #[arg(long)]
        json: bool,
    },
    /// Send the owners of domains what was found out about their mail, without waiting for the time to do so
    Send {
        /// Of this day too, which is not over yet; what comes later is in another report
        #[arg(long)]
        today: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key; mail from the domain is signed with it at once, beside those it has
    Add {
        /// The domain
        domain: String,
        /// The name of the key; one with the month in it without
        #[arg(long, value_name = "NAME")]
        selector: Option<String>,
        /// Ed25519 (RFC 8463) in place of RSA with 2048 bits; not everybody verifies it, so have both
        #[arg(long)]
        ed25519: bool,
    },
    /// Remove a key
    Remove {
        /// The domain
        domain: String,
        /// The name of the key
        selector: String,
    },
}
