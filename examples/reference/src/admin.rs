//! What can be asked of the server while it runs, or of its data while it does not.

mod execute;
mod meaning;
mod reason;

use serde::{Deserialize, Serialize};

use crate::{
    directory::{Access, AccountRow, DirectoryFile, Edit, Origin, is_default},
    dkim::{DkimRequest, KeyEntry},
    fetch::{FetchRequest, FetchResponse},
    health::Health,
    http::{TokenEntry, TokenRequest},
    life::{LifeRequest, LifeResponse},
    live::{BanEntry, LiveRequest},
    queue::{QueueRequest, QueueResponse},
    rules::Question,
    sieve::{SieveRequest, SieveResponse},
    trace::Record,
};

pub(crate) use execute::Administration;
pub(crate) use meaning::AddressMeaning;

/// A request to change or show something. One JSON object a line on the control socket.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub(crate) enum Request {
    UserAdd {
        name: String,
        password: Hidden,
        /// As the configuration says, if nothing is said.
        mailbox: Option<bool>,
    },
    UserList,
    UserPassword {
        name: String,
        password: Hidden,
        /// What opens the account's mail now, if that is encrypted.
        #[serde(default)]
        old: Option<Hidden>,
    },
    /// Encrypt an account's mail by this password, or none that comes from now on.
    UserEncrypt {
        name: String,
        password: Option<Hidden>,
    },
    UserRemove {
        name: String,
    },
    UserImport {
        entries: Vec<ImportEntry>,
        replace: bool,
    },
    /// Domains, aliases, groups, and what becomes of accounts' mail.
    Edit(Edit),
    DirectoryExport {
        /// With what accounts log in with.
        #[serde(default)]
        secrets: bool,
    },
    DirectoryImport {
        file: DirectoryFile,
        only: bool,
    },
    /// What an address stands for.
    Address {
        address: String,
    },
    /// What would become of a message.
    Explain(Question),
    /// What only a running server can answer.
    Live(LiveRequest),
    /// The address of this local part in every domain.
    Proposed {
        local: String,
    },
    /// Mail that waits to be sent on.
    Queue(QueueRequest),
    /// What mailboxes hold, and for how long.
    Life(LifeRequest),
    /// Accounts elsewhere.
    Fetch(FetchRequest),
    /// What scripts do.
    Sieve(SieveRequest),
    /// Keys that sign.
    Dkim(DkimRequest),
    /// The alias file is to be read again.
    ReadAliases,
    /// The life of a message, or of those of an address.
    Trace {
        message: String,
    },
    /// Who may ask by HTTP.
    Token(TokenRequest),
}

/// A password on its way, which `Debug` does not show.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Hidden(pub(crate) String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("..")
    }
}

/// One line of a passwd-file.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct ImportEntry {
    pub(crate) name: String,
    /// `{SCHEME}hash`.
    pub(crate) password: String,
    /// Who may not log in, whatever the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) login: Option<Access>,
}

impl std::fmt::Debug for ImportEntry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "ImportEntry({:?}, ..)", self.name)
    }
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "kebab-case")]
pub(crate) enum Response {
    Done,
    Users {
        users: Vec<UserEntry>,
    },
    Imported {
        added: usize,
        replaced: usize,
        skipped: usize,
    },
    Directory {
        file: DirectoryFile,
    },
    Written {
        entries: usize,
    },
    /// The alias file is in use, though not everything in it may be.
    AliasesRead {
        entries: usize,
        problems: Vec<String>,
    },
    Address(AddressMeaning),
    /// Stage, rule and outcome.
    Explained {
        stages: Vec<(String, String, String)>,
    },
    Proposed {
        addresses: Vec<String>,
    },
    Health {
        health: Health,
    },
    /// What opens encrypted mail beside the password; told once.
    RecoveryKey {
        key: Hidden,
        /// Whether there was one before, which opens nothing any more.
        #[serde(default)]
        again: bool,
    },
    Bans {
        bans: Vec<BanEntry>,
    },
    Queue(QueueResponse),
    Life(LifeResponse),
    Fetch(FetchResponse),
    Sieve(SieveResponse),
    Keys {
        keys: Vec<KeyEntry>,
    },
    Trace {
        records: Vec<Record>,
        /// How many older messages are not shown.
        left_out: usize,
    },
    /// What lets somebody ask by HTTP; told once.
    Token {
        token: Hidden,
    },
    Tokens {
        tokens: Vec<TokenEntry>,
    },
    /// The configuration was read again; these keys of it need a restart.
    Reloaded {
        restart: Vec<String>,
    },
    /// It was not done.
    Failed {
        message: String,
        #[serde(default)]
        reason: Reason,
    },
}

/// Why something was not done, for whom words are not enough.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reason {
    /// It cannot be done so.
    #[default]
    Refused,
    /// What it is about is not there.
    Missing,
    /// Something is there already.
    Exists,
    /// The store cannot do it now.
    Unavailable,
}

impl Response {
    /// It cannot be done so.
    pub(crate) fn refused(message: impl ToString) -> Self {
        Self::Failed { message: message.to_string(), reason: Reason::Refused }
    }
}

/// An account, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserEntry {
    pub(crate) name: String,
    /// The scheme of its password.
    pub(crate) scheme: String,
    /// What becomes of its mail.
    #[serde(flatten)]
    pub(crate) mail: AccountRow,
    /// Where it comes from, if nobody has added it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) origin: Origin,
}
