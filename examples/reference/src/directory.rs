//! The accounts: kept in the store's database, held in memory, changed while the server runs.

mod login;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use mailwright::{
    line_proto::{
        Secret,
        sasl::{ScramHash, ScramKeys},
    },
    mail_model::Address,
    mailstore::{StoreError, User, block_on, embedded::Table},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    admin::{ImportEntry, Response, UserEntry},
    password::{BadPassword, StoredPassword},
};

pub(crate) use login::Logins;

/// The key of the secret that made-up SCRAM keys are made from.
const SECRET: &[u8] = b"scram";
/// Iterations of the SCRAM keys of new passwords. RFC 7677 §4: at least 4,096.
const SCRAM_ITERATIONS: u32 = 10_000;

/// All accounts.
pub(crate) struct Directory {
    table: Table,
    secrets: Table,
    accounts: RwLock<HashMap<String, Arc<Account>>>,
    /// Held while accounts are changed. The accounts themselves can be looked up all the while.
    changing: Mutex<()>,
    domains: Vec<String>,
    postmaster: Option<String>,
}

/// One account.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) user: User,
    pub(crate) password: StoredPassword,
    pub(crate) scram: Option<ScramRow>,
    /// Accounts are numbered in the order in which they were added.
    number: u64,
}

/// An account in the database.
#[derive(Serialize, Deserialize)]
struct Row {
    password: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scram: Option<ScramRow>,
    number: u64,
}

/// The keys for SCRAM-SHA-256 of an account whose password was known in clear once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ScramRow {
    pub(crate) salt: Vec<u8>,
    pub(crate) iterations: u32,
    pub(crate) stored_key: Vec<u8>,
    pub(crate) server_key: Vec<u8>,
}

/// Why accounts cannot be changed so.
#[derive(Debug, Error)]
pub(crate) enum DirectoryError {
    #[error("{0:?} is not the name of an account: it is a mail address, like alice@example.org")]
    Name(String),
    #[error(
        "{domain} is not one of the domains of this server ({known}); add it to domains in the configuration first"
    )]
    Domain { domain: String, known: String },
    #[error("there is an account {0} already; `mailwrightd user password` changes its password")]
    Exists(String),
    #[error("there is no account {0}; `mailwrightd user list` shows all")]
    Unknown(String),
    #[error("the password is empty")]
    Empty,
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

impl Directory {
    /// Reads all accounts.
    pub(crate) fn open(
        table: Table,
        secrets: Table,
        domains: &[String],
        postmaster: &str,
    ) -> Result<Self, DirectoryError> {
        let mut accounts = HashMap::new();
        for (key, value) in table.scan(b"")? {
            let name = String::from_utf8_lossy(&key).into_owned();
            let corrupt = |problem: String| DirectoryError::Corrupt { name: name.clone(), problem };
            let row: Row = serde_json::from_slice(&value).map_err(|error| corrupt(error.to_string()))?;
            let account = Account {
                user: User::new(&name).map_err(|error| corrupt(error.to_string()))?,
                password: StoredPassword::parse(&row.password).map_err(|error| corrupt(error.to_string()))?,
                scram: row.scram,
                number: row.number,
            };
            accounts.insert(name, Arc::new(account));
        }
        let postmaster = if postmaster.is_empty() { None } else { Some(canonical(postmaster)?) };
        Ok(Self {
            table,
            secrets,
            accounts: RwLock::new(accounts),
            changing: Mutex::default(),
            domains: domains.to_vec(),
            postmaster,
        })
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.accounts.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// A random secret that stays the same for as long as the accounts do.
    pub(crate) fn secret(&self) -> Result<Secret, DirectoryError> {
        if let Some(secret) = self.secrets.get(SECRET)? {
            return Ok(Secret::from(&secret[..]));
        }
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| DirectoryError::Randomness(error.to_string()))?;
        block_on(self.secrets.put(SECRET, &secret))?;
        Ok(Secret::from(&secret[..]))
    }

    /// All accounts by name.
    pub(crate) fn list(&self) -> Vec<UserEntry> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        let mut users: Vec<UserEntry> = accounts
            .iter()
            .map(|(name, account)| UserEntry {
                name: name.clone(),
                scheme: account.password.scheme().to_owned(),
            })
            .collect();
        users.sort_by(|one, other| one.name.cmp(&other.name));
        users
    }

    /// Adds an account.
    pub(crate) fn add(&self, name: &str, password: &str) -> Result<(), DirectoryError> {
        let name = self.local_name(name)?;
        if self.find(&name).is_some() {
            return Err(DirectoryError::Exists(name));
        }
        let (password, scram) = secrets(password)?;
        self.write(vec![(name, password, Some(scram))])
    }

    /// Changes a password.
    pub(crate) fn set_password(&self, name: &str, password: &str) -> Result<(), DirectoryError> {
        let name = canonical(name)?;
        if self.find(&name).is_none() {
            return Err(DirectoryError::Unknown(name));
        }
        let (password, scram) = secrets(password)?;
        self.write(vec![(name, password, Some(scram))])
    }

    /// Removes an account. Its mail stays in the store.
    pub(crate) fn remove(&self, name: &str) -> Result<(), DirectoryError> {
        let name = canonical(name)?;
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.find(&name).is_none() {
            return Err(DirectoryError::Unknown(name));
        }
        block_on(self.table.delete(name.as_bytes()))?;
        self.accounts.write().unwrap_or_else(PoisonError::into_inner).remove(&name);
        Ok(())
    }

    /// Adds many accounts with hashed passwords. Every line is checked before the first account is written.
    pub(crate) fn import(&self, entries: &[ImportEntry], replace: bool) -> Result<Response, DirectoryError> {
        let (mut rows, mut added, mut replaced, mut skipped) = (Vec::new(), 0, 0, 0);
        for entry in entries {
            let bad = |problem: String| DirectoryError::Import { name: entry.name.clone(), problem };
            let name = self.local_name(&entry.name).map_err(|error| bad(error.to_string()))?;
            let password = StoredPassword::parse(&entry.password).map_err(|error| bad(error.to_string()))?;
            match (self.find(&name).is_some(), replace) {
                (true, false) => {
                    skipped += 1;
                    continue;
                }
                (true, true) => replaced += 1,
                (false, _) => added += 1,
            }
            rows.push((name, password, None));
        }
        self.write(rows)?;
        Ok(Response::Imported { added, replaced, skipped })
    }

    /// The account of this canonical name.
    fn find(&self, name: &str) -> Option<Arc<Account>> {
        self.accounts.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Whether every account can log in by SCRAM.
    fn all_have_scram(&self) -> bool {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        accounts.values().all(|account| account.scram.is_some())
    }

    /// The account that mail for an address goes to.
    fn recipient(&self, address: &str) -> Option<Arc<Account>> {
        // RFC 5321 §4.5.1: postmaster is there in every domain, and without one.
        let (local, _) = address.rsplit_once('@').unwrap_or((address, ""));
        let account = canonical(address).ok().and_then(|name| self.find(&name));
        if account.is_some() || !local.eq_ignore_ascii_case("postmaster") {
            return account;
        }
        match &self.postmaster {
            Some(name) => self.find(name),
            None => {
                let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
                accounts.values().min_by_key(|account| account.number).cloned()
            }
        }
    }

    fn write(&self, rows: Vec<(String, StoredPassword, Option<ScramRow>)>) -> Result<(), DirectoryError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = {
            let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
            accounts.values().map(|account| account.number + 1).max().unwrap_or(0)
        };
        for (name, password, scram) in rows {
            let number = self.find(&name).map_or(next, |account| account.number);
            next = next.max(number + 1);
            let row = Row { password: password.to_string(), scram: scram.clone(), number };
            let value = serde_json::to_vec(&row).map_err(|error| DirectoryError::Corrupt {
                name: name.clone(),
                problem: error.to_string(),
            })?;
            let user = User::new(&name).map_err(|_| DirectoryError::Name(name.clone()))?;
            block_on(self.table.put(name.as_bytes(), &value))?;
            let account = Arc::new(Account { user, password, scram, number });
            self.accounts.write().unwrap_or_else(PoisonError::into_inner).insert(name, account);
        }
        Ok(())
    }

    /// The canonical name, in one of our domains.
    fn local_name(&self, name: &str) -> Result<String, DirectoryError> {
        let address: Address = name.parse().map_err(|_| DirectoryError::Name(name.into()))?;
        let ours = self.domains.iter().any(|domain| {
            domain.parse::<mailwright::mail_model::Domain>().is_ok_and(|domain| domain == *address.domain())
        });
        if ours {
            canonical(name)
        } else {
            let domain = address.domain().as_str().to_owned();
            Err(DirectoryError::Domain { domain, known: self.domains.join(", ") })
        }
    }
}

/// The one way to write an account's name: lower case, the domain as it is compared.
fn canonical(name: &str) -> Result<String, DirectoryError> {
    let address: Address = name.parse().map_err(|_| DirectoryError::Name(name.into()))?;
    Ok(format!("{}@{}", address.local().as_str().to_lowercase(), address.domain().key()))
}

/// The hash and the SCRAM keys of a new password.
fn secrets(password: &str) -> Result<(StoredPassword, ScramRow), DirectoryError> {
    if password.is_empty() {
        return Err(DirectoryError::Empty);
    }
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|error| DirectoryError::Randomness(error.to_string()))?;
    let keys = ScramKeys::derive(ScramHash::Sha256, &Secret::from(password), &salt, SCRAM_ITERATIONS)
        .map_err(|error| DirectoryError::Scram(error.to_string()))?;
    let scram = ScramRow {
        salt: salt.to_vec(),
        iterations: SCRAM_ITERATIONS,
        stored_key: keys.stored_key().expose().to_vec(),
        server_key: keys.server_key().expose().to_vec(),
    };
    Ok((StoredPassword::new(password.as_bytes())?, scram))
}
