//! Accounts elsewhere whose mail is fetched: kept in the store's database, changed while the server runs.

mod print;
mod vault;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use mailwright::{
    fetch::{
        FetchAccount, FetchConfig, FetchPolicy, FetchProtocol, FetchToken, Fetcher, Ledger, TableLedger,
    },
    line_proto::Secret,
    mail_model::MailboxName,
    mailstore::{
        StoreError, User, block_on,
        embedded::{Embedded, Table},
    },
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::watch;

use crate::{
    admin::Hidden,
    directory::{Directory, DirectoryError},
    serve::Inbox,
};

pub(crate) use print::run;
use vault::{Vault, VaultError};

/// The table of the accounts, and that of the messages that are here.
const ACCOUNTS: &str = "fetch-accounts";
const LEDGER: &str = "fetch-ledger";
/// How many messages that stay elsewhere are listed for one account.
const SHOWN: usize = 20;

/// The accounts. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Fetch(Arc<Inner>);

struct Inner {
    table: Table,
    ledger: TableLedger,
    vault: Vault,
    directory: Arc<Directory>,
    /// Held by whoever adds an account or takes one away.
    changing: Mutex<()>,
    /// What fetches, if this is the server.
    fetcher: OnceLock<Fetcher<Inbox, TableLedger>>,
    /// Wakes those who ask providers for mail that waits there (ATRN), each time it changes.
    providers: watch::Sender<()>,
}

/// What can be asked about them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "fetch", rename_all = "kebab-case")]
pub(crate) enum FetchRequest {
    /// One that fetches the same for the same user is replaced.
    Add {
        account: Box<Row>,
        password: Hidden,
    },
    List {
        user: Option<String>,
    },
    Remove {
        id: u64,
    },
    Now {
        id: Option<u64>,
    },
}

/// What comes of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "fetch-response", rename_all = "kebab-case")]
pub(crate) enum FetchResponse {
    Added { id: u64, replaced: bool },
    Accounts { accounts: Vec<FetchEntry> },
    Removed { account: Box<Row> },
    Woken { count: usize },
}

/// An account as it is kept, without its password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) user: String,
    pub(crate) protocol: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) login: String,
    pub(crate) policy: Policy,
    pub(crate) folder: String,
    /// Whether all folders are fetched from.
    #[serde(default)]
    pub(crate) all_folders: bool,
    /// Seconds.
    pub(crate) every: u64,
    pub(crate) push: bool,
    pub(crate) in_clear: bool,
    /// Where the access token is that is shown in place of a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<Token>,
}

/// Where an access token is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Token {
    File(PathBuf),
    /// A program and its arguments.
    Program(Vec<String>),
}

/// What becomes of messages there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Policy {
    Keep,
    Delete,
    /// After so many seconds.
    DeleteAfter(u64),
}

/// A row with the password as it is kept.
#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    #[serde(flatten)]
    row: Row,
    sealed: String,
}

/// An account and how it does. Times are in seconds since 1970.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FetchEntry {
    pub(crate) id: u64,
    #[serde(flatten)]
    pub(crate) row: Row,
    /// waiting, fetching, listening or stopped
    pub(crate) phase: String,
    pub(crate) tried: Option<u64>,
    pub(crate) succeeded: Option<u64>,
    pub(crate) next: Option<u64>,
    /// Messages that came since the server started.
    pub(crate) delivered: u64,
    pub(crate) failures: u32,
    pub(crate) error: Option<String>,
    /// What the last look passed over, and why.
    #[serde(default)]
    pub(crate) notes: Vec<String>,
    /// Mailboxes there that show all messages of the others.
    #[serde(default)]
    pub(crate) views: Vec<String>,
    /// Messages that are known to be here, and those that stay there: how many, and why.
    pub(crate) here: u64,
    pub(crate) refused: u64,
    pub(crate) reasons: Vec<String>,
}

/// Why it was not done.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    #[error("the accounts elsewhere cannot be read or written: {0}")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error("no account elsewhere has the number {0}: `mailwrightd fetch list` shows them")]
    Unknown(u64),
    #[error("no server runs on this data directory")]
    NotRunning,
    #[error("{0}")]
    Invalid(String),
}

impl Fetch {
    /// Those of this database; the key of their passwords is in the data directory.
    pub(crate) fn open(
        data: &Path,
        database: &Embedded,
        directory: Arc<Directory>,
    ) -> Result<Self, StoreError> {
        let (table, ledger) = (database.table(ACCOUNTS)?, TableLedger::new(database.table(LEDGER)?));
        let (vault, fetcher) = (Vault::new(data), OnceLock::new());
        let providers = watch::Sender::new(());
        let changing = Mutex::default();
        Ok(Self(Arc::new(Inner { table, ledger, vault, directory, changing, fetcher, providers })))
    }

    /// Changes when providers are to be asked at once (ATRN).
    pub(crate) fn calls(&self) -> watch::Receiver<()> {
        self.0.providers.subscribe()
    }

    /// Begins to fetch from all of them.
    pub(crate) fn start(&self, fetcher: Fetcher<Inbox, TableLedger>) -> Result<(), StoreError> {
        for (id, stored) in self.stored()? {
            match self.account(id, &stored) {
                Ok(account) => fetcher.start(account),
                Err(error) => {
                    tracing::error!(id, user = stored.row.user, %error, "nothing is fetched for an account");
                }
            }
        }
        let _ = self.0.fetcher.set(fetcher);
        Ok(())
    }

    /// From the next look on mail is delivered by this, and fetched as this says.
    pub(crate) fn reconfigure(&self, inbox: Arc<Inbox>, options: FetchConfig) {
        if let Some(fetcher) = self.0.fetcher.get() {
            fetcher.reconfigure(inbox, options);
        }
    }

    pub(crate) fn ledger(&self) -> TableLedger {
        self.0.ledger.clone()
    }

    /// Does what is asked. Blocks.
    pub(crate) fn execute(&self, request: FetchRequest) -> Result<FetchResponse, FetchError> {
        match request {
            FetchRequest::Add { account, password } => self.add(*account, &password.0),
            FetchRequest::List { user } => self.list(user.as_deref()),
            FetchRequest::Remove { id } => self.remove(id),
            FetchRequest::Now { id } => self.now(id),
        }
    }

    fn add(&self, mut row: Row, password: &str) -> Result<FetchResponse, FetchError> {
        row.user = self.0.directory.account(&row.user)?.user.as_str().to_owned();
        if password.is_empty() && row.token.is_none() {
            return Err(FetchError::Invalid("expected the password there on standard input".into()));
        }
        let _changing = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let all = self.stored()?;
        let same = |other: &Row| {
            (&other.user, &other.protocol, &other.host, other.port, &other.login, &other.folder)
                == (&row.user, &row.protocol, &row.host, row.port, &row.login, &row.folder)
        };
        let found = all.iter().find(|(_, stored)| same(&stored.row)).map(|(id, _)| *id);
        // Numbers are not given twice, for the ledger knows messages by them.
        let id = match found {
            Some(id) => id,
            None => self.next_id()?,
        };
        let sealed = self.0.vault.seal(password, &about(&row))?;
        let stored = Stored { row, sealed };
        let account = self.account(id, &stored)?;
        let octets = serde_json::to_vec(&stored).map_err(|error| FetchError::Invalid(error.to_string()))?;
        block_on(self.0.table.put(&id.to_be_bytes(), &octets))?;
        if let Some(fetcher) = self.0.fetcher.get() {
            fetcher.start(account);
        }
        Ok(FetchResponse::Added { id, replaced: found.is_some() })
    }

    fn next_id(&self) -> Result<u64, FetchError> {
        let last = self.0.table.get(b"last")?;
        let last = last.and_then(|last| last.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes);
        let next = last + 1;
        block_on(self.0.table.put(b"last", &next.to_be_bytes()))?;
        Ok(next)
    }

    fn remove(&self, id: u64) -> Result<FetchResponse, FetchError> {
        let _changing = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let all = self.stored()?;
        let (_, stored) = all.into_iter().find(|(found, _)| *found == id).ok_or(FetchError::Unknown(id))?;
        block_on(self.drop_account(id))?;
        Ok(FetchResponse::Removed { account: Box::new(stored.row) })
    }

    /// Looks at once for a user who is gone, or is back: what fetches asks the directory first.
    pub(crate) fn ask_again(&self, user: &str) -> Result<(), StoreError> {
        let Some(fetcher) = self.0.fetcher.get() else { return Ok(()) };
        for (id, _) in self.stored()?.into_iter().filter(|(_, stored)| stored.row.user == user) {
            fetcher.now(id);
        }
        Ok(())
    }

    /// Forgets the accounts of a user whose mail is erased, and all that is known of their messages.
    pub(crate) async fn forget(&self, user: &str) -> Result<(), StoreError> {
        for (id, _) in self.stored()?.into_iter().filter(|(_, stored)| stored.row.user == user) {
            self.drop_account(id).await?;
        }
        Ok(())
    }

    async fn drop_account(&self, id: u64) -> Result<(), StoreError> {
        self.0.table.delete(&id.to_be_bytes()).await?;
        if let Some(fetcher) = self.0.fetcher.get() {
            fetcher.stop(id).await;
        }
        self.0.ledger.forget(id).await
    }

    fn now(&self, id: Option<u64>) -> Result<FetchResponse, FetchError> {
        let fetcher = self.0.fetcher.get().ok_or(FetchError::NotRunning)?;
        let ids = match id {
            Some(id) => vec![id],
            None => self.stored()?.into_iter().map(|(id, _)| id).collect(),
        };
        let mut count = ids.iter().filter(|id| fetcher.now(**id)).count();
        if id.is_none() {
            self.0.providers.send_replace(());
            count += self.0.providers.receiver_count();
        }
        match id {
            Some(id) if count == 0 => Err(FetchError::Unknown(id)),
            _ => Ok(FetchResponse::Woken { count }),
        }
    }

    fn list(&self, user: Option<&str>) -> Result<FetchResponse, FetchError> {
        let user = user.map(|user| self.0.directory.account(user)).transpose()?;
        let user = user.map(|account| account.user.as_str().to_owned());
        let mut accounts = Vec::new();
        for (id, stored) in self.stored()? {
            if user.as_ref().is_some_and(|user| *user != stored.row.user) {
                continue;
            }
            let unreadable = self.account(id, &stored).err().map(|error| error.to_string());
            let status = self.0.fetcher.get().and_then(|fetcher| fetcher.status(id));
            let phase = status.as_ref().map_or("stopped", |status| status.phase.name()).to_owned();
            let status = status.unwrap_or_default();
            let (mut here, mut refused, mut reasons) = (0, 0, Vec::new());
            for entry in self.0.ledger.entries(id)?.into_iter().filter(|entry| entry.gone == 0) {
                match entry.state.reason() {
                    Some(reason) => {
                        refused += 1;
                        if reasons.len() < SHOWN {
                            reasons.push(reason);
                        }
                    }
                    None => here += 1,
                }
            }
            accounts.push(FetchEntry {
                id,
                row: stored.row,
                phase,
                tried: status.tried,
                succeeded: status.succeeded,
                next: status.next,
                delivered: status.delivered,
                failures: status.failures,
                error: status.error.or(unreadable),
                notes: status.notes,
                views: status.views,
                here,
                refused,
                reasons,
            });
        }
        Ok(FetchResponse::Accounts { accounts })
    }

    fn stored(&self) -> Result<Vec<(u64, Stored)>, StoreError> {
        let mut all = Vec::new();
        for (key, value) in self.0.table.scan(b"")? {
            let Ok(id) = key.as_ref().try_into().map(u64::from_be_bytes) else { continue };
            let damaged = |_| StoreError::Corrupt(format!("the account elsewhere of the number {id}"));
            all.push((id, serde_json::from_slice(&value).map_err(damaged)?));
        }
        Ok(all)
    }

    fn account(&self, id: u64, stored: &Stored) -> Result<FetchAccount, FetchError> {
        let row = &stored.row;
        let invalid = FetchError::Invalid;
        let protocol: FetchProtocol = row.protocol.parse().map_err(|error| invalid(format!("{error}")))?;
        let user = User::new(&row.user).map_err(|error| invalid(error.to_string()))?;
        let password = self.0.vault.open(&stored.sealed, &about(row))?;
        let mut account =
            FetchAccount::new(id, user, protocol, &row.host, &row.login, Secret::from(&*password));
        account.port = row.port;
        account.folder = MailboxName::lookup(&row.folder).map_err(|error| invalid(error.to_string()))?;
        account.all_folders = row.all_folders;
        account.policy = match row.policy {
            Policy::Keep => FetchPolicy::Keep,
            Policy::Delete => FetchPolicy::Delete,
            Policy::DeleteAfter(seconds) => FetchPolicy::DeleteAfter(Duration::from_secs(seconds)),
        };
        account.poll = Duration::from_secs(row.every.max(1));
        (account.push, account.in_clear) = (row.push, row.in_clear);
        account.token = row.token.as_ref().map(Token::source);
        Ok(account)
    }
}

impl Token {
    fn source(&self) -> FetchToken {
        match self {
            Self::File(path) => FetchToken::File(path.clone()),
            Self::Program(words) => {
                let (path, arguments) = words
                    .split_first()
                    .map_or_else(Default::default, |(path, rest)| (path.clone(), rest.to_vec()));
                FetchToken::Program { path: path.into(), arguments }
            }
        }
    }
}

/// What a password is sealed for: it cannot be sent to another server by changing a row.
fn about(row: &Row) -> String {
    let mut about = format!("{}\n{}\n{}\n{}", row.user, row.host, row.login, row.in_clear);
    if let Some(token) = &row.token {
        about += &format!("\n{token:?}");
    }
    about
}
