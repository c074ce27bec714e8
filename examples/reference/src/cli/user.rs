//! `user`.

use std::path::PathBuf;

use clap::Subcommand;

use super::{ExpiryOptions, QuotaOptions};

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Add an account; without --password-stdin a password is made and printed
    #[command(after_help = "\
Examples:
  mailwrightd user add alice@example.org
  echo 'correct horse' | mailwrightd user add bob@example.org --password-stdin
Its domain must be one of ours: mailwrightd domain add.")]
    Add {
        /// The account's name, a mail address: alice@example.org
        name: String,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
        /// With a mailbox, whatever users.mailbox of the configuration says
        #[arg(long, conflicts_with = "no_mailbox")]
        mailbox: bool,
        /// No mailbox: the account can send, and what it is sent is forwarded or refused
        #[arg(long)]
        no_mailbox: bool,
    },
    /// Change what becomes of an account's mail
    #[command(after_help = "\
Examples:
  mailwrightd user set alice@example.org --forward alice@elsewhere.example --keep true
  mailwrightd user set alice@example.org --forward none")]
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
    /// Show or change what an account may have
    Quota(QuotaOptions),
    /// Show or change how long Trash and Junk of an account are kept
    Expiry(ExpiryOptions),
    /// List the accounts
    List {
        /// With what each has and may have
        #[arg(long)]
        usage: bool,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Set an account's password; without one on standard input one is made and printed
    ///
    /// If the account's mail is encrypted, the old password or the recovery key is needed too: without either, the mail that is there
    /// is lost.
    Password {
        /// The account's name
        name: String,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
        /// Read the old password, or the recovery key, from the next line of standard input; for accounts whose mail is encrypted
        #[arg(long)]
        old_stdin: bool,
    },
    /// Encrypt the mail that comes for an account from now on, with a key that only a login opens
    ///
    /// Prints a recovery key, once; encrypted again after --off, another one, which takes the place of the first for all mail. Whoever has neither the password nor the recovery key cannot read the mail, and nobody can help
    /// them. The account logs in with its password itself (PLAIN, LOGIN; no SCRAM). What is there already stays as it is.
    Encrypt {
        /// The account's name
        name: String,
        /// Read the account's password from the first line of standard input
        #[arg(long, required_unless_present = "off")]
        password_stdin: bool,
        /// Encrypt nothing that comes from now on; what is encrypted stays so
        #[arg(long, conflicts_with = "password_stdin")]
        off: bool,
    },
    /// Remove an account; it cannot log in any more and gets no mail. Its mail is kept as long as expiry.removed_users says
    Remove {
        /// The account's name
        name: String,
    },
    /// List the removed accounts whose mail is kept still
    Removed {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Bring a removed account back, with its password and its mail
    Restore {
        /// The account's name
        name: String,
    },
    /// Erase the mail of a removed account at once
    Erase {
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
