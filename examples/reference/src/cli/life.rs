//! What the commands about quotas, expiry and undeleting are told.

use clap::Args;

use crate::config::{Period, Size};

/// Limits of an account: shown, or changed if any is given.
#[derive(Debug, Args)]
pub(crate) struct QuotaOptions {
    /// The account's name
    pub(crate) name: String,
    /// The octets of all messages: 1500, 300K, 20M, 2G or none
    #[arg(long, value_name = "SIZE")]
    pub(crate) storage: Option<Size>,
    /// How many messages, or none for no limit
    #[arg(long, value_name = "NUMBER")]
    pub(crate) messages: Option<Size>,
    /// How many mailboxes, INBOX among them, or none for no limit
    #[arg(long, value_name = "NUMBER")]
    pub(crate) mailboxes: Option<Size>,
    /// The octets of all annotations
    #[arg(long, value_name = "SIZE")]
    pub(crate) annotations: Option<Size>,
    /// Back to the limits of the configuration
    #[arg(long, conflicts_with_all = ["storage", "messages", "mailboxes", "annotations"])]
    pub(crate) default: bool,
    /// As one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Periods of an account: shown, or changed if any is given.
#[derive(Debug, Args)]
pub(crate) struct ExpiryOptions {
    /// The account's name
    pub(crate) name: String,
    /// How long messages stay in Trash: 30d, 12h, or 0 for ever
    #[arg(long, value_name = "PERIOD")]
    pub(crate) trash: Option<Period>,
    /// How long messages stay in Junk
    #[arg(long, value_name = "PERIOD")]
    pub(crate) junk: Option<Period>,
    /// Back to the periods of the configuration
    #[arg(long, conflicts_with_all = ["trash", "junk"])]
    pub(crate) default: bool,
}

/// Which expunged messages to bring back.
#[derive(Debug, Args)]
pub(crate) struct UndeleteOptions {
    /// The account's name
    pub(crate) name: String,
    /// The messages' ids, as --list shows them; without any, all that the other options leave
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Those that were in this mailbox
    #[arg(long)]
    pub(crate) mailbox: Option<String>,
    /// Those that were expunged within this time: 2h, 3d
    #[arg(long, value_name = "PERIOD")]
    pub(crate) since: Option<Period>,
    /// Put them into this mailbox; without it they go to where they were
    #[arg(long, value_name = "MAILBOX")]
    pub(crate) into: Option<String>,
    /// Only list them
    #[arg(long)]
    pub(crate) list: bool,
    /// With --list: one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}
