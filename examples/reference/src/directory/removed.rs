//! Accounts that were removed, and can be had back until their mail is erased.

use std::sync::PoisonError;

use mailwright::mailstore::{Row as StoreRow, User, block_on, clock};
use serde::{Deserialize, Serialize};

use super::{
    Account, Directory, DirectoryError, Origin, Row,
    rows::{AccountRow, address},
};
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
        let removed = clock::read().to_date_with();
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

    /// An account of this name is to be there again by way of a file, and with it its mail: the change by which it is no removed one any
    /// more, to be written with the account, and what became of its mail before.
    pub(super) fn take_back(&self, name: &str) -> Result<Option<(StoreRow, AccountRow)>, DirectoryError> {
        self.check_place(name)?;
        match self.find_removed(name)? {
            Some((name, row)) if row.erasing => Err(DirectoryError::Erasing(name)),
            Some((name, row)) => Ok(Some((self.removed.row(name.as_bytes(), None), row.account.mail))),
            None => Ok(None),
        }
    }

    /// The number of the removed account of this canonical name: it comes back as old as it was.
    pub(super) fn removed_number(&self, name: &str) -> Result<Option<u64>, DirectoryError> {
        Ok(self.find_removed(name)?.map(|(_, row)| row.account.number))
    }

    /// The highest number of a removed account.
    pub(super) fn highest_removed(&self) -> Result<Option<u64>, DirectoryError> {
        let number = |(_, value): (bytes::Bytes, bytes::Bytes)| {
            let row: RemovedRow = serde_json::from_slice(&value).ok()?;
            Some(row.account.number)
        };
        Ok(self.removed.scan(b"")?.into_iter().filter_map(number).max())
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mailwright::{
        mail_model::ForwardPath,
        mailstore::embedded::{Embedded, Options},
    };

    use super::*;
    use crate::{admin::ImportEntry, config::Config, directory::AccountChange, directory::Edit};

    fn open(folder: &Path) -> Directory {
        let config = Config { domains: vec!["a.test".into()], ..Config::default() };
        let store = Embedded::open(folder.join("store"), Options::default()).unwrap();
        let table = |name| store.table(name).unwrap();
        let keys = crate::dkim::Keys::open(table("k")).unwrap();
        Directory::open(table("a"), table("e"), table("s"), table("r"), keys, &config).unwrap()
    }

    fn postmaster(directory: &Directory) -> String {
        let to = ForwardPath::Address("postmaster@a.test".parse().unwrap());
        directory.expand(&to, false).unwrap().deliveries[0].account.clone()
    }

    fn import(directory: &Directory, lines: &[(&str, &str)]) -> Result<(), DirectoryError> {
        let entry = |(name, password): &(&str, &str)| ImportEntry {
            name: (*name).to_owned(),
            password: (*password).to_owned(),
            login: None,
        };
        let entries: Vec<_> = lines.iter().map(entry).collect();
        directory.import(&entries, false, None).map(drop)
    }

    #[test]
    fn an_import_that_fails_leaves_removed_accounts_removed() {
        let folder = tempfile::tempdir().unwrap();
        let directory = open(folder.path());
        directory.add("ann@a.test", "first", true).unwrap();
        directory.remove("ann@a.test").unwrap();
        let lines = [("ann@a.test", "{PLAIN}x"), ("bob@a.test", "{NOSUCH}x")];
        assert!(import(&directory, &lines).is_err());
        assert_eq!(directory.removed().len(), 1);
        assert!(matches!(directory.add("ann@a.test", "second", true), Err(DirectoryError::Removed(_))));
        directory.restore("ann@a.test").unwrap();
        assert!(directory.account("ann@a.test").unwrap().password.verify(b"first"));
    }

    #[test]
    fn an_import_brings_an_account_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let directory = open(folder.path());
        directory.add("ann@a.test", "first", true).unwrap();
        let change = AccountChange {
            mailbox: Some(true),
            forward: Some(vec!["ann@b.test".into()]),
            keep: Some(true),
            local_only: None,
        };
        directory.edit(Edit::Account { name: "ann@a.test".into(), change }).unwrap();
        let before = directory.account("ann@a.test").unwrap().mail.clone();
        assert_eq!(before.forward, ["ann@b.test"]);
        directory.remove("ann@a.test").unwrap();
        import(&directory, &[("ann@a.test", "{PLAIN}new")]).unwrap();
        let account = directory.account("ann@a.test").unwrap();
        assert!(account.password.verify(b"new"));
        assert_eq!(account.mail, before);
        assert!(directory.removed().is_empty());
        directory.remove("ann@a.test").unwrap();
        assert_eq!(directory.removed().len(), 1, "it can be removed again");
    }

    #[test]
    fn the_oldest_account_is_so_when_it_is_back() {
        let folder = tempfile::tempdir().unwrap();
        let directory = open(folder.path());
        directory.add("zoe@a.test", "x", true).unwrap();
        directory.add("amy@a.test", "x", true).unwrap();
        assert_eq!(postmaster(&directory), "zoe@a.test");
        directory.remove("zoe@a.test").unwrap();
        directory.remove("amy@a.test").unwrap();
        // Who comes meanwhile is younger than both.
        directory.add("bea@a.test", "x", true).unwrap();
        directory.restore("amy@a.test").unwrap();
        assert_eq!(postmaster(&directory), "amy@a.test");
        import(&directory, &[("zoe@a.test", "{PLAIN}x"), ("cid@a.test", "{PLAIN}x")]).unwrap();
        assert_eq!(postmaster(&directory), "zoe@a.test");
        directory.remove("zoe@a.test").unwrap();
        assert_eq!(postmaster(&directory), "amy@a.test");
        directory.remove("amy@a.test").unwrap();
        assert_eq!(postmaster(&directory), "bea@a.test");
    }

    #[test]
    fn the_oldest_account_of_a_file_is_the_oldest() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let directory = open(folder.path());
        for name in ["zoe@a.test", "amy@a.test", "bob@a.test"] {
            directory.add(name, "x", true).unwrap();
        }
        import(&directory, &[("abe@a.test", "{PLAIN}x")]).unwrap();
        let mut file = directory.export(true).unwrap();
        for (name, since) in [("zoe@a.test", 100), ("amy@a.test", 200), ("bob@a.test", 300)] {
            file.account.get_mut(name).unwrap().since = Some(since);
        }
        let target = open(other.path());
        target.import_file(&file, false).unwrap();
        assert_eq!(postmaster(&target), "zoe@a.test");
        target.remove("zoe@a.test").unwrap();
        assert_eq!(postmaster(&target), "amy@a.test");
    }
}
