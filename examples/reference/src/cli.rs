//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// A mail server: SMTP, submission and LMTP in, IMAP and POP3 out, one durable store.
///
/// Without arguments it serves on unprivileged ports of this machine, keeps everything in ./mailwright-data, makes a
/// self-signed certificate and two accounts, and prints how to send and read a first message.
#[derive(Debug, Parser)]
#[command(name = "mailwrightd", version, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// The configuration file; without it every key has its default
    #[arg(long, value_name = "FILE", global = true, env = "MAILWRIGHT_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// The data directory, in place of the one in the configuration
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve mail (what happens without a command)
    Serve,
    /// Check, show or explain the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Accounts; these commands work while the server runs
    #[command(subcommand)]
    User(UserCommand),
    /// Take over an account's mail from a Maildir, from mbox files or from an IMAP server, with UIDs, flags and dates
    Migrate(Migrate),
    /// Addresses that are banned for failed logins
    #[command(subcommand)]
    Ban(BanCommand),
    /// Read the certificates again; open sessions go on
    Reload,
    /// Back up mail, accounts and queue into a directory, while the server runs or not; only what is new is copied again
    Backup {
        /// The directory of the backup; each run adds a generation
        directory: PathBuf,
        /// One JSON object a line, progress too
        #[arg(long)]
        json: bool,
    },
    /// Bring a backup back into an empty data directory
    Restore {
        /// The directory of the backup
        directory: PathBuf,
        /// Which generation; without it the latest
        #[arg(long, value_name = "NUMBER")]
        generation: Option<u32>,
        /// One JSON object a line, progress too
        #[arg(long)]
        json: bool,
    },
    /// Check every checksum, reference and count of the store, while the server runs or not
    Fsck {
        /// Put right what can be derived; the server must not run
        #[arg(long)]
        repair: bool,
        /// One JSON object a line, progress too
        #[arg(long)]
        json: bool,
    },
    /// Domains whose mail is taken, with their postmaster, journal and catch-all
    #[command(subcommand)]
    Domain(DomainCommand),
    /// Other names of accounts, of addresses elsewhere, or of several at once
    #[command(subcommand)]
    Alias(AliasCommand),
    /// Several who get mail together
    #[command(subcommand)]
    Group(GroupCommand),
    /// Show what an address stands for, and whether strangers may write to it
    Address {
        /// The address, or postmaster
        address: String,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Groups of clients by their addresses, and what they may do without logging in
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Show what every rule says about a message that a client could send, and which one decides
    Explain {
        /// The client's address
        #[arg(long, value_name = "IP")]
        client: std::net::IpAddr,
        /// The name it says with EHLO
        #[arg(long, value_name = "NAME", default_value = "client.invalid")]
        helo: String,
        /// The sender; without it the null sender
        #[arg(long, value_name = "ADDRESS", default_value = "")]
        from: String,
        /// The recipient
        #[arg(long, value_name = "ADDRESS")]
        to: String,
        /// The account it has logged in to
        #[arg(long, value_name = "USER")]
        auth: Option<String>,
        /// One JSON object a stage
        #[arg(long)]
        json: bool,
    },
    /// Mail that waits to be sent on
    #[command(subcommand)]
    Queue(QueueCommand),
    /// List what waits as Postfix's mailq does
    Mailq {
        /// One JSON object an entry, as postqueue -j has it
        #[arg(short, long)]
        json: bool,
    },
    /// Show how old the mail in the queue is, by domain
    Qshape {
        /// By the senders' domains in place of the recipients'
        #[arg(short = 's', long)]
        senders: bool,
    },
    /// All domains, accounts, aliases, groups and networks as one file
    #[command(subcommand)]
    Directory(DirectoryCommand),
}

/// Where mail is taken over from, and for whom.
///
/// The server must not run meanwhile. A run that was stopped goes on when it is started again, and a later run brings what has
/// come since. Both sides are compared at the end.
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// maildir:PATH, mbox:PATH (a file, or a directory of files), imap:HOST or imaps:HOST, with :PORT if need be; the password for
    /// IMAP is the first line of standard input
    #[arg(long, value_name = "SOURCE")]
    pub(crate) from: String,
    /// The account here
    #[arg(long, value_name = "ACCOUNT")]
    pub(crate) to: String,
    /// IMAP: the account there, if it has another name
    #[arg(long, value_name = "NAME")]
    pub(crate) login: Option<String>,
    /// IMAP: a master user, who logs in with a password of their own to act as the account
    #[arg(long, value_name = "NAME")]
    pub(crate) master: Option<String>,
    /// IMAP: the certificate, or that of its authority, if it is none that this system trusts
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: Option<PathBuf>,
    /// IMAP: do without TLS
    #[arg(long)]
    pub(crate) plaintext: bool,
    /// What POP3 clients knew messages by there: as Dovecot makes it (the default for maildir), or not to be kept
    #[arg(long, value_name = "HOW")]
    pub(crate) pop3_ids: Option<Pop3Ids>,
    /// Only say what there is
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// What POP3 clients knew messages by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Pop3Ids {
    Dovecot,
    None,
}

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
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check the configuration and say everything that is wrong with it
    Check,
    /// Print the configuration that is in force, defaults included
    Show,
    /// Print the default configuration, every key with its meaning
    Default,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BanCommand {
    /// List the bans of the running server, those that end first in front
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Forget what failed from an address
    Lift {
        /// The address; an IPv6 address stands for its /64
        address: std::net::IpAddr,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Add an account; without a password on standard input one is made and printed
    Add {
        /// The account's name, a mail address: alice@example.org
        name: String,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
        /// No mailbox: the account can send, and what it is sent is forwarded or refused
        #[arg(long)]
        no_mailbox: bool,
    },
    /// Change what becomes of an account's mail
    Set {
        /// The account's name
        name: String,
        /// Whether there is a mailbox
        #[arg(long, value_name = "BOOL")]
        mailbox: Option<bool>,
        /// Forward to this address, once for each; none ends forwarding
        #[arg(long, value_name = "ADDRESS")]
        forward: Vec<String>,
        /// Keep a copy of what is forwarded
        #[arg(long, value_name = "BOOL")]
        keep: Option<bool>,
        /// Take mail from our own users and networks only
        #[arg(long, value_name = "BOOL")]
        local_only: Option<bool>,
    },
    /// Propose addresses for somebody: the name at every domain
    Propose {
        /// The part before the @
        local: String,
    },
    /// List the accounts
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Set an account's password; without one on standard input one is made and printed
    Password {
        /// The account's name
        name: String,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Remove an account; it cannot log in any more and gets no mail, its mail is kept
    Remove {
        /// The account's name
        name: String,
    },
    /// Add the accounts of a Dovecot passwd-file: lines of user@domain:{SCHEME}hash
    Import {
        /// The file, or - for standard input
        file: PathBuf,
        /// Replace the passwords of accounts that are there already
        #[arg(long)]
        replace: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DomainCommand {
    /// Add a domain
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
    /// Who gets what is addressed to nobody; without it that is refused
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) unknown: Option<String>,
    /// Who gets mail for postmaster
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) postmaster: Option<String>,
    /// Who gets one blind copy of each message sent or received
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) journal: Option<String>,
    /// Who gets one blind copy of each message received
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) bcc: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AliasCommand {
    /// Add an alias
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
    Add {
        /// Its address
        address: String,
        /// Its members
        #[arg(required = true)]
        members: Vec<String>,
        /// One message in a folder that all members see, in place of a copy for each
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
    /// Print everything but secrets, as TOML
    Export {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Make the directory what a file says; everything is checked before anything is changed
    Import {
        /// The file, as export prints it
        file: PathBuf,
        /// Remove domains, aliases and groups that are not in the file
        #[arg(long)]
        only: bool,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
