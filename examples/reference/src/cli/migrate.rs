//! What `migrate` is told.

use std::path::PathBuf;

use clap::Args;

/// Where mail is taken over from, and for whom.
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// maildir:PATH, mbox:PATH (a file, or a directory of files), imap:HOST or imaps:HOST, with :PORT if need be; the password for
    /// IMAP is the first line of standard input
    #[arg(long, value_name = "SOURCE")]
    pub(crate) from: String,
    /// The account here, which has to be there
    #[arg(long, value_name = "ACCOUNT")]
    pub(crate) to: String,
    /// IMAP: the account there, if it has another name
    #[arg(long, value_name = "NAME")]
    pub(crate) login: Option<String>,
    /// IMAP: a master user, who logs in with a password of their own to act as the account
    #[arg(long, value_name = "NAME")]
    pub(crate) master: Option<String>,
    /// IMAP: the certificate, or that of its authority, if it is none that this system trusts; one that a server shows must not say that it
    /// is an authority's (CA:TRUE), as `openssl req -x509` makes them unless told otherwise
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: Option<PathBuf>,
    /// IMAP: do without TLS
    #[arg(long)]
    pub(crate) plaintext: bool,
    /// What POP3 clients knew messages by there: as Dovecot makes it (the default for maildir), or not to be kept
    #[arg(long, value_name = "HOW")]
    pub(crate) pop3_ids: Option<Pop3Ids>,
    /// Also bring messages again that an earlier run brought and that were removed here since
    #[arg(long)]
    pub(crate) missing: bool,
    /// Only say what there is; the server here may run
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
