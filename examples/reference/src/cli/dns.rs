//! `dns` and `tlsrpt`.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum DnsCommand {
    /// Print the records that a domain should have: MX, SPF, DKIM, DMARC, MTA-STS, TLSRPT, TLSA and SRV, and the MTA-STS policy
    Plan {
        /// The domain
        domain: String,
        /// Look up what is published instead, and fail if something is wrong or missing
        #[arg(long)]
        check: bool,
        /// One JSON object a record
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TlsrptCommand {
    /// Sum up reports that others sent: JSON, plain or in gzip
    Report {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// One JSON object a policy
        #[arg(long)]
        json: bool,
    },
    /// Have the running server send what it has collected, today's too; it does so by itself every day
    Send,
}
