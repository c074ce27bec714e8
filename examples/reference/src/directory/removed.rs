//! Accounts that were removed, and can be had back until their mail is erased.

use std::{
    sync::PoisonError,
    time::{SystemTime, UNIX_EPOCH},
};

use mailwright::mailstore::{Row as StoreRow, User, block_on};
use serde::{Deserialize, Serialize};

use super::{Account, Directory, DirectoryError, Origin, Row, rows::address};
use crate::password::StoredPassword;

/// A removed account in the database.
#[derive(Serialize, Deserialize)]
struct RemovedRow {
    removed: u64,
    /// Whether its mail is being erased: there is no way back.
    #[serde(default)]
    erasing: bool,
    account: Row,
}

/// A removed account, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RemovedEntry {
    pub(crate) name: String,
    /// Seconds since 1970.
    pub(crate) removed: u64,
    pub(crate) erasing: bool,
}

impl Directory {
    /// Removes an account. Its mail stays in the store for a while, and so does what is needed to bring it back.
    pub(crate) fn remove(&self, name: &str) -> Result<(), DirectoryError> {
        let _changing = self.lock_changes();
        let account = self.account(name)?;
        let name = account.user.as_str();
        let removed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let row = RemovedRow { removed, erasing: false, account: Row::from(&*account) };
        let rows = vec![self.removed_row(name, &row)?, self.table.row(name.as_bytes(), None)];
        block_on(self.table.change(rows))?;
        self.accounts.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        let mut model = self.model();
        model.take(name);
        self.replace_model(model);
        self.sessions.end(name);
        Ok(())
    }

    /// All removed accounts whose mail is kept still.
    pub(crate) fn removed(&self) -> Vec<RemovedEntry> {
        let rows = self.removed.scan(b"").unwrap_or_default();
        let entry = |(key, value): (bytes::Bytes, bytes::Bytes)| {
            let name = String::from_utf8_lossy(&key).into_owned();
            let row: RemovedRow = serde_json::from_slice(&value).ok()?;
            Some(RemovedEntry { name, removed: row.removed, erasing: row.erasing })
        };
        // A crash between the two writes of a removal leaves both: then it did not happen.
        rows.into_iter().filter_map(entry).filter(|entry| !self.has(&entry.name)).collect()
    }

    /// Brings a removed account back, as it was.
    pub(crate) fn restore(&self, name: &str) -> Result<(), DirectoryError> {
        let _changing = self.lock_changes();
        let (name, row) = self.find_removed(name)?.ok_or_else(|| DirectoryError::NotRemoved(name.into()))?;
        if row.erasing {
            return Err(DirectoryError::Erasing(name));
        }
        let corrupt = |error: &dyn std::fmt::Display| DirectoryError::Corrupt {
            name: name.clone(),
            problem: error.to_string(),
        };
        let password = StoredPassword::parse(&row.account.password).map_err(|error| corrupt(&error))?;
        let mut model = self.model();
        let back = vec![(name.clone(), password, row.account.scram, row.account.mail)];
        // Whoever brings it back wants it, whether or not there is a line or an entry for it any more.
        let accounts = self.new_accounts(back, &mut model, Some(Origin::Hand))?;
        self.commit(vec![self.removed.row(name.as_bytes(), None)], accounts)?;
        self.replace_model(model);
        Ok(())
    }

    /// From here on there is no way back for a removed account; gives its canonical name.
    pub(crate) fn begin_erasing(&self, name: &str) -> Result<String, DirectoryError> {
        let _changing = self.lock_changes();
        let (name, mut row) =
            self.find_removed(name)?.ok_or_else(|| DirectoryError::NotRemoved(name.into()))?;
        row.erasing = true;
        self.write_removed(&name, &row)?;
        Ok(name)
    }

    /// Nothing is left of a removed account: its name is free.
    pub(crate) fn erased(&self, name: &str) -> Result<(), DirectoryError> {
        block_on(self.removed.delete(name.as_bytes()))?;
        Ok(())
    }

    /// Whether a new account may have this name. Mail of another one would be its own.
    pub(super) fn check_free(&self, name: &str) -> Result<(), DirectoryError> {
        self.check_place(name)?;
        match self.find_removed(name)? {
            Some((name, row)) if row.erasing => Err(DirectoryError::Erasing(name)),
            Some((name, _)) => Err(DirectoryError::Removed(name)),
            None => Ok(()),
        }
    }

    /// Whether there can be mail of an account of this name.
    fn check_place(&self, name: &str) -> Result<(), DirectoryError> {
        self.settings()
            .store
            .place_problem(name)
            .map_or(Ok(()), |problem| Err(DirectoryError::Target(problem)))
    }

    /// An account of this name is there again by way of a file, and with it its mail.
    pub(super) fn take_back(&self, name: &str) -> Result<(), DirectoryError> {
        self.check_place(name)?;
        match self.find_removed(name)? {
            Some((name, row)) if row.erasing => Err(DirectoryError::Erasing(name)),
            Some((name, _)) => self.erased(&name),
            None => Ok(()),
        }
    }

    /// Whether there is an account of this canonical name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Every account.
    pub(crate) fn users(&self) -> Vec<User> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        accounts.values().map(|account| account.user.clone()).collect()
    }

    fn find_removed(&self, name: &str) -> Result<Option<(String, RemovedRow)>, DirectoryError> {
        let name = self.current().canonical(&address(name)?);
        if self.has(&name) {
            return Ok(None);
        }
        let Some(value) = self.removed.get(name.as_bytes())? else { return Ok(None) };
        let row = serde_json::from_slice(&value)
            .map_err(|error| DirectoryError::Corrupt { name: name.clone(), problem: error.to_string() })?;
        Ok(Some((name, row)))
    }

    fn write_removed(&self, name: &str, row: &RemovedRow) -> Result<(), DirectoryError> {
        Ok(block_on(self.removed.change(vec![self.removed_row(name, row)?]))?)
    }

    fn removed_row(&self, name: &str, row: &RemovedRow) -> Result<StoreRow, DirectoryError> {
        let value = serde_json::to_vec(row)
            .map_err(|error| DirectoryError::Corrupt { name: name.into(), problem: error.to_string() })?;
        Ok(self.removed.row(name.as_bytes(), Some(&value)))
    }
}

impl From<&Account> for Row {
    fn from(account: &Account) -> Self {
        Self {
            password: account.password.to_string(),
            scram: account.scram.clone(),
            mail: account.mail.clone(),
            origin: account.origin,
            number: account.number,
        }
    }
}
