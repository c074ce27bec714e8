//! What mailboxes may hold, and what becomes of mail as time goes by: quotas and their warnings, expiry of Trash and Junk, messages
//! had back, mail of removed accounts.

mod clock;
mod expire;
mod print;
mod quota;
mod removed;
mod undelete;
mod warn;

use std::sync::Arc;

use mailwright::filter::{Remembered, SieveFilter};
use mailwright::imap::ForeignNames;
use mailwright::mailstore::{AnyStore, StoreError, block_on, embedded::Embedded, embedded::Table};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    config::{Config, Expiry, Period},
    directory::{Directory, DirectoryError, Members, RemovedEntry},
    fetch::Fetch,
    migrate::MIGRATED,
    serve::SIEVE_MEMORY,
    server_scripts, sieve,
};

pub(crate) use clock::{resume, watch as watch_clock};
pub(crate) use expire::{Expired, Gone, expire, watch};
pub(crate) use print::{expiry, show_undelete, usage, user_quota, users_with_usage};
pub(crate) use quota::{Limits, UsageEntry};
pub(crate) use removed::{erase, list_removed, restore};
pub(crate) use undelete::{ExpungedEntry, Wanted};
pub(crate) use warn::warn;

/// The table of periods that are an account's own.
const PERIODS: &str = "expiry";

/// What looks after mailboxes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Life {
    pub(crate) store: AnyStore,
    pub(crate) directory: Arc<Directory>,
    fetch: Fetch,
    periods: Table,
    /// What was taken over from elsewhere.
    migrated: Table,
    expiry: Expiry,
    names: ForeignNames,
    /// Where mail is that is not in the database.
    pub(crate) elsewhere: Vec<String>,
    /// What explains scripts, or why nothing does.
    pub(crate) filter: Result<Arc<sieve::Filter>, String>,
}

/// What can be asked of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "life", rename_all = "kebab-case")]
pub(crate) enum LifeRequest {
    Quota {
        user: String,
        change: Option<Limits>,
    },
    Usage,
    Expiry {
        user: String,
        change: Option<Periods>,
    },
    Undelete {
        user: String,
        wanted: Wanted,
        /// Where to, if not to where it was; with `list`, nowhere.
        into: Option<String>,
        list: bool,
    },
    Removed,
    Restore {
        name: String,
    },
    Erase {
        name: String,
    },
}

/// What comes of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "life-response", rename_all = "kebab-case")]
pub(crate) enum LifeResponse {
    Done,
    Usage { users: Vec<UsageEntry> },
    Periods { trash: Period, junk: Period, own: bool },
    Expunged { messages: Vec<ExpungedEntry> },
    Undeleted { count: usize, problem: Option<String> },
    Removed { accounts: Vec<RemovedEntry> },
}

/// The periods of an account that has its own; without one, that of the configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Periods {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trash: Option<Period>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) junk: Option<Period>,
}

/// Why it was not done.
#[derive(Debug, Error)]
pub(crate) enum LifeError {
    #[error("the mail cannot be read or written: {0}")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("{0}")]
    Refused(String),
}

impl Life {
    /// Over the mail of `store`, the accounts of `directory`, and those elsewhere; what it notes is in `database`.
    pub(crate) fn new(
        config: &Config,
        store: AnyStore,
        directory: Arc<Directory>,
        fetch: Fetch,
        database: &Embedded,
    ) -> Result<Self, StoreError> {
        let (periods, migrated) = (database.table(PERIODS)?, database.table(MIGRATED)?);
        let memory = Remembered::new(database.table(SIEVE_MEMORY)?);
        let members = Arc::new(Members(Arc::clone(&directory)));
        let names = ForeignNames::with_groups(members.clone());
        let scripts = server_scripts::load(config).map_err(|error| error.to_string());
        let filter = scripts.map(|scripts| {
            let filter = SieveFilter::new(store.clone(), memory, config.hostname.clone());
            let filter = filter.with_options(config.filter_options()).with_groups(members);
            Arc::new(filter.with_server_scripts(scripts))
        });
        let (expiry, elsewhere) = (config.expiry.clone(), config.store.elsewhere());
        Ok(Self { store, directory, fetch, periods, migrated, expiry, names, elsewhere, filter })
    }

    /// Does what is asked. Blocks.
    pub(crate) fn execute(&self, request: LifeRequest) -> Result<LifeResponse, LifeError> {
        match request {
            LifeRequest::Quota { user, change } => block_on(self.quota(&user, change)),
            LifeRequest::Usage => block_on(self.usage()),
            LifeRequest::Expiry { user, change } => block_on(self.change_periods(&user, change)),
            LifeRequest::Undelete { user, wanted, into, list } => {
                block_on(self.undelete(&user, &wanted, into.as_deref(), list))
            }
            LifeRequest::Removed => Ok(LifeResponse::Removed { accounts: self.directory.removed() }),
            LifeRequest::Restore { name } => {
                self.directory.restore(&name)?;
                let user = self.directory.account(&name)?.user.clone();
                self.fetch.ask_again(user.as_str())?;
                Ok(LifeResponse::Done)
            }
            LifeRequest::Erase { name } => {
                block_on(self.erase(&name))?;
                Ok(LifeResponse::Done)
            }
        }
    }

    async fn change_periods(&self, user: &str, change: Option<Periods>) -> Result<LifeResponse, LifeError> {
        let user = self.directory.account(user)?.user.clone();
        let key = user.as_str().as_bytes();
        match change {
            Some(change) if change == Periods::default() => drop(self.periods.delete(key).await?),
            Some(change) => {
                let own = self.own_periods(key);
                let merged = Periods { trash: change.trash.or(own.trash), junk: change.junk.or(own.junk) };
                let row =
                    serde_json::to_vec(&merged).map_err(|error| LifeError::Refused(error.to_string()))?;
                self.periods.put(key, &row).await?;
            }
            None => {}
        }
        let own = self.own_periods(key);
        let (trash, junk) = self.periods_of(key);
        Ok(LifeResponse::Periods { trash, junk, own: own != Periods::default() })
    }

    fn own_periods(&self, user: &[u8]) -> Periods {
        let row = self.periods.get(user).ok().flatten();
        row.and_then(|row| serde_json::from_slice(&row).ok()).unwrap_or_default()
    }

    /// How long Trash and Junk of a user are kept.
    fn periods_of(&self, user: &[u8]) -> (Period, Period) {
        let own = self.own_periods(user);
        (own.trash.unwrap_or(self.expiry.trash), own.junk.unwrap_or(self.expiry.junk))
    }
}
