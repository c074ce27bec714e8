//! Who is who: accounts with their secrets, domains, aliases and groups. Kept in the store's database, held in memory,
//! changed while the server runs.

mod access;
mod accounts;
mod alias_file;
mod backends;
mod configured;
mod edit;
mod encryption;
mod files;
mod forwarded;
mod groups;
mod keys;
mod lane;
mod login;
mod policy;
mod removed;
mod restore;
mod rows;
mod senders;
mod whole;

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock},
};

use mailwright::{
    Sessions,
    line_proto::Secret,
    mail_model::{Address, ForwardPath},
    mailstore::{
        StoreError, User,
        accounts::ScramHash,
        block_on,
        embedded::{Embedded, Table},
    },
    relay_policy::alias_file::AliasFile,
    relay_policy::delivery::LocalKind,
    relay_policy::directory::{
        Context, Directory as Model, DirectoryError as ModelError, Expansion, Refusal,
    },
    smtp_proto::Reply,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    admin::UserEntry,
    config::Config,
    dkim::Keys,
    password::{BadPassword, StoredPassword},
};

use configured::lasting;

pub(crate) use access::{Access, Origin};
pub(crate) use alias_file::{repeated as repeated_aliases, watch as watch_aliases};
pub(crate) use backends::{Backends, Checker};
pub(crate) use configured::Configured;
pub(crate) use edit::{AccountChange, DomainChange, Edit};
pub(crate) use groups::Members;
pub(crate) use login::Logins;
pub(crate) use policy::recipients;
pub(crate) use removed::RemovedEntry;
pub(crate) use rows::{
    AccountRow, AliasRow, DirectoryFile, GroupRow, NetworkRow, Recipients as RelayRecipients, Reports,
    is_default,
};
pub(crate) use senders::{Further, senders};

/// The key of the secret that made-up SCRAM keys are made from.
const SECRET: &[u8] = b"scram";
/// The key of the row that is there from the beginning of a first start until its recipe is shown.
const FIRST_START: &[u8] = b"first start";

/// Asks the next host of an address whether it would take mail for it; gives the refusal.
pub(crate) type AskHost =
    Box<dyn Fn(Address) -> Pin<Box<dyn Future<Output = Option<Reply>> + Send>> + Send + Sync>;

/// All accounts, and all that leads to them.
pub(crate) struct Directory {
    table: Table,
    entries: Table,
    secrets: Table,
    /// Accounts that were removed, as long as their mail is kept.
    removed: Table,
    /// The keys that sign.
    pub(crate) keys: Keys,
    accounts: RwLock<accounts::AccountTable>,
    /// Who is logged in.
    sessions: Arc<Sessions>,
    /// What mail needs to know: no secrets. Replaced as a whole, so that a session never sees half a change.
    model: RwLock<Arc<Model>>,
    /// What the configuration says of it, replaced as a whole too.
    settings: RwLock<Arc<Configured>>,
    /// Held while something is changed. Everything can be looked up all the while.
    changing: Mutex<()>,
    /// Where mail can be encrypted, if it can.
    vault: OnceLock<Embedded>,
    /// What asks the next host of an address whether it would take mail for it; it gives the refusal.
    asks: OnceLock<AskHost>,
}

/// One account.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) user: User,
    pub(crate) password: StoredPassword,
    pub(crate) scram: Option<ScramRow>,
    /// What becomes of its mail.
    mail: AccountRow,
    pub(crate) origin: Origin,
    /// Accounts are numbered in the order in which they were added.
    number: u64,
}

/// An account in the database.
#[derive(Serialize, Deserialize)]
struct Row {
    password: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scram: Option<ScramRow>,
    #[serde(default)]
    mail: AccountRow,
    #[serde(default, skip_serializing_if = "is_default")]
    origin: Origin,
    number: u64,
}

/// The keys for SCRAM of an account whose password was known in clear once: those for SHA-256, and others.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ScramRow {
    pub(crate) salt: Vec<u8>,
    pub(crate) iterations: u32,
    #[serde(flatten)]
    pub(crate) sha256: KeyPair,
    /// Rows of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sha512: Option<KeyPair>,
    /// For passwords that are kept in clear: they have no more to lose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sha1: Option<KeyPair>,
}

/// What a hash makes of a password (RFC 5802 §3).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct KeyPair {
    pub(crate) stored_key: Vec<u8>,
    pub(crate) server_key: Vec<u8>,
}

impl ScramRow {
    /// The keys for a hash, if there are any.
    pub(crate) fn pair(&self, hash: ScramHash) -> Option<&KeyPair> {
        match hash {
            ScramHash::Sha256 => Some(&self.sha256),
            ScramHash::Sha512 => self.sha512.as_ref(),
            ScramHash::Sha1 => self.sha1.as_ref(),
            _ => None,
        }
    }
}

/// Why accounts cannot be changed so.
#[derive(Debug, Error)]
pub(crate) enum DirectoryError {
    #[error("{0:?} is not a mail address, like alice@example.org{advice}", advice = whole_domain(.0))]
    Name(String),
    #[error(
        "{domain} is not one of the domains of this server ({known}); add it with `mailwrightd domain add` or in the configuration"
    )]
    Domain { domain: String, known: String },
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error("{0}")]
    Taken(String),
    #[error("{0}")]
    Missing(String),
    #[error("{0}")]
    Target(String),
    #[error("there is an account {0} already; `mailwrightd user password` changes its password")]
    Exists(String),
    #[error("there is no account {0}; `mailwrightd user list` shows all")]
    Unknown(String),
    #[error(
        "{0} was removed, and the mail is kept still: `mailwrightd user restore {0}` brings both back, `mailwrightd user erase {0}` erases the mail at once"
    )]
    Removed(String),
    #[error("the mail of the removed account {0} is being erased")]
    Erasing(String),
    #[error("there is no removed account {0} with mail; `mailwrightd user removed` shows all")]
    NotRemoved(String),
    #[error("the password is empty")]
    Empty,
    #[error("mail can be encrypted in the server's own store only: store.kind = \"embedded\"")]
    NoEncryption,
    #[error("the mail of {0} is encrypted already")]
    Encrypted(String),
    #[error(
        "the mail of {0} was encrypted before, and this password does not open it\n  `mailwrightd user password {0} --password-stdin --old-stdin` makes it so, with the old password or the recovery key"
    )]
    NotOpened(String),
    #[error("this is not the password of {0}")]
    WrongPassword(String),
    #[error(
        "the mail of {0} is encrypted: its password changes with the old password or the recovery key (--old-stdin)"
    )]
    OldPassword(String),
    #[error("{name}: {problem}")]
    Import { name: String, problem: String },
    #[error(transparent)]
    Password(#[from] BadPassword),
    #[error("the password cannot be prepared for SCRAM: {0}")]
    Scram(String),
    #[error("no randomness can be had: {0}")]
    Randomness(String),
    #[error("the accounts cannot be read or written: {0}")]
    Store(#[from] StoreError),
    #[error("the account {name} in the database cannot be understood: {problem}")]
    Corrupt { name: String, problem: String },
}

/// Looks whether all of the alias file can be used, and says what of it does not count; nothing else is opened for that.
pub(crate) fn check_alias_file(config: &Config) -> Result<Vec<String>, DirectoryError> {
    let file = files::Files::new(config, &[])?.aliases()?;
    Ok(alias_file::repeated(&file).map(|line| format!("{}, {line}", config.aliases.file.display())).collect())
}

/// What somebody is told who gives a domain, as Postfix has it for all of its addresses, where an address is wanted.
fn whole_domain(name: &str) -> String {
    match name.strip_prefix('@') {
        Some(domain) => format!(
            "; who gets what is for nobody at {domain} is set by `mailwrightd domain set {domain} --unknown ADDRESS`"
        ),
        None => String::new(),
    }
}

impl Directory {
    /// Reads everything.
    pub(crate) fn open(
        table: Table,
        entries: Table,
        secrets: Table,
        removed: Table,
        keys: Keys,
        config: &Config,
    ) -> Result<Self, DirectoryError> {
        let settings = Arc::new(Configured::new(config, &secrets)?);
        let (accounts, unreadable) = accounts::read(&table)?;
        let model = settings.model(&entries, &accounts, &unreadable)?;
        let directory = Self {
            table,
            entries,
            secrets,
            removed,
            keys,
            accounts: RwLock::new(accounts),
            sessions: Arc::default(),
            model: RwLock::default(),
            settings: RwLock::new(settings),
            changing: Mutex::default(),
            vault: OnceLock::new(),
            asks: OnceLock::new(),
        };
        directory.replace_model(model);
        Ok(directory)
    }

    /// What the directory would be by another configuration. Nothing is changed.
    pub(crate) fn prepare(&self, config: &Config) -> Result<Configured, DirectoryError> {
        let settings = Configured::new(config, &self.secrets)?;
        settings.files.aliases()?;
        Ok(settings)
    }

    /// Goes by another configuration from here on: for the next command of every session.
    pub(crate) fn reconfigure(&self, settings: Configured) -> Result<(), DirectoryError> {
        let _changing = self.lock_changes();
        let (_, unreadable) = accounts::read(&self.table)?;
        let model = {
            let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
            settings.model(&self.entries, &accounts, &unreadable)?
        };
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        self.replace_model(model);
        Ok(())
    }

    /// What the configuration says now.
    fn settings(&self) -> Arc<Configured> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the alias file again, and says what it was. If it cannot be used, the aliases that there are stay.
    pub(crate) fn read_aliases(&self) -> Result<AliasFile, DirectoryError> {
        let settings = self.settings();
        let file = settings.files.aliases()?;
        alias_file::warn(&file);
        let _changing = self.lock_changes();
        let mut model = self.model();
        model.set_alias_file(&file.aliases, settings.files.domains());
        self.replace_model(model);
        tracing::info!(aliases = file.aliases.len(), "the alias file was read");
        Ok(file)
    }

    /// From here on hosts can be asked.
    pub(crate) fn ask_by(&self, ask: AskHost) {
        let _ = self.asks.set(ask);
    }

    /// Whether there is no account.
    pub(crate) fn is_empty(&self) -> bool {
        self.accounts.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Who is logged in: whose account goes, or gets another password, is so no more.
    pub(crate) const fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    /// A random secret that stays the same for as long as the accounts do.
    pub(crate) fn secret(&self) -> Result<Secret, DirectoryError> {
        Ok(Secret::from(&lasting(&self.secrets, SECRET)?[..]))
    }

    /// Whether a server runs over these accounts for the first time: each needs the secret. A start that ended before it
    /// said what it made, as when another program has its ports, was none.
    pub(crate) fn begin_first_start(&self) -> Result<bool, DirectoryError> {
        let begun = self.secrets.get(FIRST_START)?.is_some();
        if !self.is_empty() || (!begun && self.secrets.get(SECRET)?.is_some()) {
            return Ok(false);
        }
        block_on(self.secrets.put(FIRST_START, b""))?;
        Ok(true)
    }

    /// Notes that whoever started the server has been told.
    pub(crate) fn end_first_start(&self) -> Result<(), DirectoryError> {
        if self.secrets.get(FIRST_START)?.is_some() {
            block_on(self.secrets.delete(FIRST_START))?;
        }
        Ok(())
    }

    /// What there is now.
    pub(crate) fn current(&self) -> Arc<Model> {
        Arc::clone(&self.model.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What a recipient stands for. Only `trusted` senders reach addresses that are for our own people.
    pub(crate) fn expand(&self, recipient: &ForwardPath, trusted: bool) -> Result<Expansion, Refusal> {
        if let Some(expansion) = self.passed_back(recipient) {
            return Ok(expansion);
        }
        let settings = self.settings();
        let expansion = self.current().expand(recipient, &Context::new(trusted), &settings.files)?;
        let mut programs = expansion.handed.iter().filter_map(|handed| match &handed.target.kind {
            LocalKind::Command(line) => Some(line),
            _ => None,
        });
        match programs.next() {
            Some(line) if !settings.files.programs => {
                tracing::error!(line, "an alias names a program, which [aliases] programs does not enable");
                Err(Refusal::Unreadable(format!("{line}: programs are not enabled ([aliases] programs)")))
            }
            _ => Ok(expansion),
        }
    }

    /// A copy to be changed.
    fn model(&self) -> Model {
        (*self.current()).clone()
    }

    fn replace_model(&self, mut model: Model) {
        // Without one in the configuration, the oldest account is the postmaster.
        let oldest = || {
            let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
            let oldest = accounts.values().min_by_key(|account| account.number)?;
            oldest.user.as_str().parse().ok()
        };
        let postmaster = self.settings().postmaster.as_ref().map_or_else(oldest, |name| name.parse().ok());
        model.set_postmaster(postmaster);
        *self.model.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(model);
    }

    fn lock_changes(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
