//! `fetch`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::config::Period;

#[derive(Debug, Subcommand)]
pub(crate) enum FetchCommand {
    /// Fetch mail from an account elsewhere; its password is read from standard input, if there is no token. Added again, it is changed
    Add(Box<FetchAdd>),
    /// List the accounts elsewhere
    List {
        /// Only those of this user
        user: Option<String>,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// End fetching from an account elsewhere, and forget which of its messages are here
    Remove {
        /// Its number, as it is listed
        id: u64,
    },
    /// Show how fetching goes: when, how much, and what went wrong
    Status {
        /// Only for this user
        user: Option<String>,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Look now, whenever it would be its turn
    Now {
        /// Its number; without it all are looked at, and the providers that are configured under on_demand are asked for the mail that waits there (ATRN)
        id: Option<u64>,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct FetchAdd {
    /// Who gets the mail
    pub(crate) user: String,
    /// Where it is: PROTOCOL://LOGIN@HOST or PROTOCOL://LOGIN@HOST:PORT, with pop3, pop3s, imap or imaps
    pub(crate) source: String,
    /// Delete messages there once they are here; without this or --delete-after they stay
    #[arg(long, conflicts_with = "delete_after")]
    pub(crate) delete: bool,
    /// Delete messages there that have been here for so long: 14d
    #[arg(long, value_name = "TIME")]
    pub(crate) delete_after: Option<Period>,
    /// The mailbox there; imap and imaps only
    #[arg(long, default_value = "INBOX")]
    pub(crate) folder: String,
    /// All mailboxes of the account there, each into the one of its name here, with its flags and past all filters; INBOX as ever. imap and imaps only
    #[arg(long, conflicts_with = "folder")]
    pub(crate) all_folders: bool,
    /// How often to look
    #[arg(long, value_name = "TIME", default_value = "5m")]
    pub(crate) every: Period,
    /// Do not wait for the server's news in between
    #[arg(long)]
    pub(crate) no_push: bool,
    /// Log in with an OAuth 2.0 access token in place of a password: it is read from this file for each login
    #[arg(long, value_name = "FILE", conflicts_with = "token_program")]
    pub(crate) token_file: Option<PathBuf>,
    /// The same with what this program writes, which is run by the server without a shell: "/usr/local/bin/token alice"
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) token_program: Option<String>,
    /// Send the password without TLS
    #[arg(long)]
    pub(crate) in_clear: bool,
}
