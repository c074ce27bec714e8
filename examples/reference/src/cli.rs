//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

mod directory;
mod dkim;
mod dns;
mod fetch;
mod http;
mod life;
mod migrate;
mod queue;
mod sieve;
mod user;

pub(crate) use self::http::{HttpCommand, TokenCommand};
pub(crate) use directory::{
    AliasCommand, DirectoryCommand, DomainCommand, DomainSettings, GroupCommand, NetworkCommand,
};
pub(crate) use dkim::{DkimCommand, DmarcCommand, KeyCommand};
pub(crate) use dns::{DnsCommand, TlsrptCommand};
pub(crate) use fetch::{FetchAdd, FetchCommand};
pub(crate) use life::{ExpiryOptions, QuotaOptions, UndeleteOptions};
pub(crate) use migrate::{Migrate, Pop3Ids};
pub(crate) use queue::{Changed, QueueCommand, SuppressCommand, Which};
pub(crate) use sieve::SieveCommand;
pub(crate) use user::UserCommand;

/// A mail server: SMTP, submission and LMTP in, IMAP and POP3 out, one durable store.
///
/// Without arguments it serves on unprivileged ports of this machine, keeps everything in ./mailwright-data, makes a
/// self-signed certificate and two accounts, and prints how to send and read a first message.
#[derive(Debug, Parser)]
#[command(name = "mailwrightd", version, max_term_width = 110, after_help = FIRST_STEPS)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

const FIRST_STEPS: &str = "\
First steps:
  mailwrightd config default > /etc/mailwright.toml   every key with its meaning; change domains, hostname, listeners
  export MAILWRIGHT_CONFIG=/etc/mailwright.toml
  mailwrightd config check                            what is wrong with it
  mailwrightd user add alice@example.org              an account; the first one is the postmaster
  mailwrightd                                         serve

When something is wrong:
  mailwrightd trace ADDRESS                           what became of the messages from and to an address
  mailwrightd explain --client IP --to ADDRESS        why mail would be refused, or where it would go
  mailwrightd status; mailwrightd qshape              the store, and what waits for whom

docs/operating.md leads through the first day.";

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
    ///
    /// The server here must be stopped meanwhile, but for --dry-run; the source may be in use. A run that was cut short goes on when it is
    /// started again. A later run brings what has come since, and those flags that have changed at the source since the last run: flags
    /// that were changed here stay, and what was removed here does not come back. So take over early, and again when mail
    /// comes here. Both sides are compared at the end; the exit status is 1 if they are not the same. Subscriptions, access control
    /// lists, annotations and, but for IMAP, Sieve scripts come along.
    Migrate(Migrate),
    /// Addresses that are banned for failed logins
    #[command(subcommand)]
    Ban(BanCommand),
    /// Who may ask by HTTP; these commands work while the server runs
    #[command(subcommand)]
    Http(HttpCommand),
    /// Read the configuration again, with certificates, scripts and the alias file, as SIGHUP does; open sessions go on
    ///
    /// What is wrong changes nothing. What has to wait for a restart is named.
    Reload,
    /// Tell whether the store of the running server takes mail, and what was found damaged
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Back up mail, accounts and queue into a directory, while the server runs or not; only what is new is copied again
    ///
    /// One at a time goes into a directory, another is refused. One that is interrupted (Ctrl-C, kill) is broken off, by the server too, and
    /// leaves no generation; nor does one that the server did not finish. The next removes what is left of it.
    ///
    /// What cannot be read is named, everything else copied, and the exit status is 1 then; so are earlier generations that are seen to
    /// be damaged. What nobody looks at until it is needed, --check finds. Mail in Maildirs (`[store] kind = "maildir"`)
    /// and in files (`[store] mbox`) is not in it: copy it by a snapshot of the file system or with rsync.
    Backup {
        /// The directory of the backup, for this store alone; each run adds a generation
        directory: PathBuf,
        /// Copy nothing: read all that is in the backup, and name what is wrong with it and which generations can be restored whole. The exit
        /// status is 1 if anything is wrong
        #[arg(long)]
        check: bool,
        /// One JSON object a line, progress too
        #[arg(long)]
        json: bool,
    },
    /// Bring a backup back into an empty data directory; one that was cut short is begun anew
    ///
    /// Messages that lack something, because the store lacked it when the backup was made or because the backup is damaged, are named;
    /// the exit status is 1 then, and everything else is there.
    Restore {
        /// The directory of the backup
        directory: PathBuf,
        /// Which generation; without it the latest, which has to have its index
        #[arg(long, value_name = "NUMBER")]
        generation: Option<u32>,
        /// Of a backup that is damaged, bring back what can be read, and name what is missing; the exit status is 1 then
        #[arg(long)]
        damaged: bool,
        /// One JSON object a line, progress too
        #[arg(long)]
        json: bool,
    },
    /// Write all mail of an account into a directory, while the server runs or not; `migrate` reads it back
    ///
    /// Both keep UIDs, flags, keywords and dates. Subscriptions, uses of mailboxes, access control lists, annotations, POP3 ids and Sieve
    /// scripts go along: in a Maildir where Dovecot has them, otherwise in a file of JSON beside the mail. As mbox, a message that does not
    /// end with the end of a line gets one, which the format needs. What cannot be read is
    /// named, and the exit status is 1 then: so is mail that is encrypted, to which the user alone has the key.
    Export {
        /// The account
        user: String,
        /// The directory, which must not be there or be empty; made for the user of the server that runs
        directory: PathBuf,
        /// As what
        #[arg(long, value_enum, default_value_t = ExportFormat::Maildir)]
        format: ExportFormat,
        /// One JSON object a line, progress too
        #[arg(long)]
        json: bool,
    },
    /// Check every checksum, reference and count of the store, while the server runs or not; Maildirs and mbox files have none
    Fsck {
        /// Put right what can be derived, and remove bodies of nobody; the server must not run
        #[arg(long)]
        repair: bool,
        /// Give up first what was set aside because it could not be read (rows of messages, files *.damaged-* of earlier starts), and with it the
        /// bodies that only that may need: when a backup has brought back what was missing, or never will
        #[arg(long, requires = "repair")]
        forget: bool,
        /// One JSON object a line, progress too
        #[arg(long)]
        json: bool,
    },
    /// Remove now what is in Trash and Junk for too long, and the mail of accounts removed long ago; the server does it by itself
    Expire {
        /// Only show what would go
        #[arg(long)]
        dry_run: bool,
        /// One JSON object a line, progress too
        #[arg(long)]
        json: bool,
    },
    /// Bring expunged messages back, as long as store.undelete keeps them
    Undelete(UndeleteOptions),
    /// Show what every user has and may have
    Usage {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Sieve scripts and what they do
    #[command(subcommand)]
    Sieve(SieveCommand),
    /// Mail that is fetched from accounts elsewhere; these commands work while the server runs
    #[command(subcommand)]
    Fetch(FetchCommand),
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
    /// Show what every rule says about a message that a client could send, which one decides, and where it would go
    #[command(after_help = "\
Examples:
  mailwrightd explain --client 198.51.100.7 --from eve@elsewhere.example --to info@example.org
  mailwrightd explain --client 192.0.2.9 --auth alice@example.org --from alice@example.org --to bob@elsewhere.example")]
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
    /// Keys that sign mail of our domains
    #[command(subcommand)]
    Dkim(DkimCommand),
    /// What others report of mail in our name
    #[command(subcommand)]
    Dmarc(DmarcCommand),
    /// The records of our domains in the domain name system
    #[command(subcommand)]
    Dns(DnsCommand),
    /// How TLS goes between our hosts and those of others
    #[command(subcommand)]
    Tlsrpt(TlsrptCommand),
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
    /// Read the alias file (aliases.file of the configuration) again, after looking whether all of it can be used
    Newaliases,
    /// Send the message on standard input, with the options that programs give to sendmail: -t, -i, -f, -F, -N, -R, -V, -B, -bs, -bp, -bi, -q
    ///
    /// A link to this program by the name sendmail (or mailq, newaliases, postalias) does the same. The message goes to the running server; if
    /// none runs, the command ends with 75 (try again).
    #[command(disable_help_flag = true)]
    Sendmail {
        /// What sendmail is given
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION|RECIPIENT")]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Append the message on standard input to a file: what the server starts with the rights of the file's owner
    #[command(hide = true)]
    Append { file: PathBuf, sender: String },
    /// Show the whole life of a message: who sent it, by what right, what filters chose, each delivery, attempt, reply and report
    #[command(after_help = "\
Examples:
  mailwrightd trace 8D1F3C5A7B9E0246              the id in the reply to a message, and in its Received field
  mailwrightd trace '<1234@laptop.example>'       its Message-ID
  mailwrightd trace alice@example.org             all from and to an address, and what was refused to it
[trace] in the configuration says for how long this is kept.")]
    Trace {
        /// Its Message-ID, the id in the reply to it, or an address that sent or got it
        message: String,
        /// One JSON object an event
        #[arg(long)]
        json: bool,
    },
    /// All domains, accounts, aliases, groups and networks as one file
    #[command(subcommand)]
    Directory(DirectoryCommand),
    /// Tests that the server makes on itself
    #[command(subcommand)]
    Doctor(DoctorCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum DoctorCommand {
    /// Try to send mail elsewhere as a stranger, by the rules and through each listener; fails if any would go. None is sent
    Relay {
        /// One JSON object a test
        #[arg(long)]
        json: bool,
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
    /// Forget what failed from an address, or for a user
    Lift {
        /// The address, where an IPv6 address stands for its /64, or the name that the user logs in by
        who: String,
    },
}

/// What an export is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ExportFormat {
    /// A Maildir++ tree, as Dovecot has it
    Maildir,
    /// A file for each mailbox, with those below it in NAME.sbd
    Mbox,
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
