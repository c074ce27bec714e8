//! What tells which addresses there are: `domain`, `alias`, `group`, `network` and `directory`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::directory::{RelayRecipients, Reports};

#[derive(Debug, Subcommand)]
pub(crate) enum DomainCommand {
    /// Add a domain
    #[command(after_help = "\
Examples:
  mailwrightd domain add example.net                                mail for the accounts that are added at it
  mailwrightd domain add example.net --unknown alice@example.org    whatever is before the @ is Alice's
  mailwrightd domain add partner.example --relay                    pass everything on to where the transport map or MX says
  mailwrightd domain add branch.example --relay --recipients listed pass on what is for addresses that are entered:
  mailwrightd alias add bob@branch.example bob@branch.example       such as this one")]
    Add {
        /// The domain
        name: String,
        #[command(flatten)]
        settings: DomainSettings,
    },
    /// Change what is given; the word none takes a setting away
    Set {
        /// The domain
        name: String,
        #[command(flatten)]
        settings: DomainSettings,
    },
    /// Make a domain a second name of another one
    Alias {
        /// The second name
        alias: String,
        /// The domain
        domain: String,
    },
    /// Remove a domain or an alias of one; no mail is taken for it any more, mail received stays
    Remove {
        /// The domain
        name: String,
    },
    /// List the domains and their aliases
    List {
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// What can be set of a domain.
#[derive(Debug, Args)]
pub(crate) struct DomainSettings {
    /// Take mail for any address and pass it on, as a backup or a border
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) relay: Option<bool>,
    /// With --relay: for which addresses. If for any, what the next host refuses comes back to senders who may be forged
    #[arg(long, value_name = "WHICH")]
    pub(crate) recipients: Option<RelayRecipients>,
    /// Who gets what is addressed to nobody; without it that is refused
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) unknown: Option<String>,
    /// Who gets mail for postmaster
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) postmaster: Option<String>,
    /// Who gets one blind copy of each message sent or received
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) journal: Option<String>,
    /// Who hears of copies that the journal does not take
    #[arg(long, value_name = "WHO")]
    pub(crate) journal_reports: Option<Reports>,
    /// Who gets one blind copy of each message received
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) bcc: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AliasCommand {
    /// Add an alias
    #[command(after_help = "\
Examples:
  mailwrightd alias add info@example.org alice@example.org
  mailwrightd alias add staff@example.org alice@example.org bob@elsewhere.example
  mailwrightd alias add abuse alice@example.org --all-domains
Files, programs and lists belong into the alias file ([aliases] file in the configuration).")]
    Add {
        /// The address; with --all-domains the part before the @
        address: String,
        /// Whose name it is: addresses here or elsewhere
        #[arg(required = true)]
        targets: Vec<String>,
        /// In every domain, those to come among them
        #[arg(long)]
        all_domains: bool,
        /// Take mail from our own users and networks only
        #[arg(long)]
        local_only: bool,
        /// Replace the alias if it is there
        #[arg(long)]
        replace: bool,
    },
    /// Remove an alias
    Remove {
        /// The address; with --all-domains the part before the @
        address: String,
        /// The one in every domain
        #[arg(long)]
        all_domains: bool,
    },
    /// List the aliases
    List {
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Add the aliases of a file in the form of /etc/aliases
    Import {
        /// The file
        file: PathBuf,
        /// The domain of names without one
        #[arg(long)]
        domain: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// Add a group
    #[command(after_help = "\
Examples:
  mailwrightd group add team@example.org alice@example.org bob@example.org
  mailwrightd group add office@example.org alice@example.org bob@example.org --shared-folder")]
    Add {
        /// Its address
        address: String,
        /// Its members
        #[arg(required = true)]
        members: Vec<String>,
        /// Deliver one message to a folder that the members share, rather than a copy to each
        #[arg(long)]
        shared_folder: bool,
        /// Forward to this address, once for each
        #[arg(long, value_name = "ADDRESS")]
        forward: Vec<String>,
        /// Deliver to the members what is forwarded
        #[arg(long)]
        keep: bool,
        /// Take mail from our own users and networks only
        #[arg(long)]
        local_only: bool,
        /// Replace the group if it is there
        #[arg(long)]
        replace: bool,
    },
    /// Add members
    Join {
        /// The group's address
        address: String,
        /// Who joins
        #[arg(required = true)]
        members: Vec<String>,
    },
    /// Remove members
    Leave {
        /// The group's address
        address: String,
        /// Who leaves
        #[arg(required = true)]
        members: Vec<String>,
    },
    /// Remove a group
    Remove {
        /// Its address
        address: String,
    },
    /// List the groups
    List {
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Add a network
    Add {
        /// What it is called
        name: String,
        /// Addresses, networks like 192.0.2.0/24, ranges like 192.0.2.1-192.0.2.9
        #[arg(required = true)]
        members: Vec<String>,
        /// Let them send anywhere without logging in
        #[arg(long)]
        relay: bool,
        /// Replace the network if it is there
        #[arg(long)]
        replace: bool,
    },
    /// Add members
    Join {
        /// The network
        name: String,
        /// Addresses, networks, ranges
        #[arg(required = true)]
        members: Vec<String>,
    },
    /// Remove members
    Leave {
        /// The network
        name: String,
        /// Addresses, networks, ranges, as they are listed
        #[arg(required = true)]
        members: Vec<String>,
    },
    /// Remove a network
    Remove {
        /// The network
        name: String,
    },
    /// List the networks
    List {
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DirectoryCommand {
    /// Print everything, as TOML; passwords only if they are asked for
    Export {
        /// As JSON
        #[arg(long)]
        json: bool,
        /// With the hashes of passwords, so that import makes the accounts elsewhere: keep the file as secret as them
        #[arg(long)]
        secrets: bool,
    },
    /// Make the directory what a file says; everything is checked before anything is changed. Accounts are made if the file has their
    /// secrets, and never removed
    Import {
        /// The file, as export prints it
        file: PathBuf,
        /// Remove domains, aliases and groups that are not in the file
        #[arg(long)]
        only: bool,
    },
}
