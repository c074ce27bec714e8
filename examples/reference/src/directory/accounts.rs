//! Accounts and their secrets.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Deref,
    sync::{Arc, PoisonError},
    time::SystemTime,
};

use mailwright::{
    line_proto::sasl,
    mailstore::{User, accounts::ScramHash as Hash, embedded::Table},
    relay_policy::directory::{Directory as Model, Entry},
};

use super::{
    Access, Account, AccountRow, Directory, DirectoryError, Origin, Row, ScramRow, UserEntry,
    keys::{scram, scram_of_all},
    rows::address,
};
use crate::{
    admin::{ImportEntry, Response},
    config::auth::ScramOffer,
    password::StoredPassword,
};

/// The hashes that accounts may have SCRAM keys for.
const HASHES: [Hash; 3] = [Hash::Sha1, Hash::Sha256, Hash::Sha512];

/// A row to be written: the account's canonical name, and what there is to know of it.
pub(super) type NewRow = (String, StoredPassword, Option<ScramRow>, AccountRow);
/// An account that is to be there, and its row.
pub(super) type NewAccount = (Account, Vec<u8>);

impl Account {
    /// Whether this says who may log in to it.
    pub(crate) fn goes_by(&self, login: Option<&Access>) -> bool {
        self.mail.login.as_ref() == login
    }

    /// The account with something else becoming of its mail.
    pub(super) fn with_mail(&self, mail: AccountRow) -> NewRow {
        (self.user.as_str().to_owned(), self.password.clone(), self.scram.clone(), mail)
    }
}

impl Directory {
    /// All accounts by name.
    pub(crate) fn list(&self) -> Vec<UserEntry> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        let mut users: Vec<UserEntry> = accounts
            .iter()
            .map(|(name, account)| UserEntry {
                name: name.clone(),
                scheme: account.password.scheme().to_owned(),
                mail: account.mail.clone(),
                origin: account.origin,
            })
            .collect();
        users.sort_by(|one, other| one.name.cmp(&other.name));
        users
    }

    /// Adds an account.
    pub(crate) fn add(&self, name: &str, password: &str, mailbox: bool) -> Result<(), DirectoryError> {
        let name = self.local_name(name)?;
        let (password, scram) = secrets(&prepared(password)?)?;
        let _changing = self.lock_changes();
        if self.find(&name).is_some() {
            return Err(DirectoryError::Exists(name));
        }
        self.check_free(&name)?;
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let since = i64::try_from(since.as_secs()).ok();
        self.write(vec![(
            name,
            password,
            Some(scram),
            AccountRow { mailbox, since, ..AccountRow::default() },
        )])
    }

    /// Changes a password. `old` is what opens the mail of the account now, if that is encrypted.
    pub(crate) fn set_password(
        &self,
        name: &str,
        password: &str,
        old: Option<&str>,
    ) -> Result<(), DirectoryError> {
        let password = &prepared(password)?;
        let (stored, scram) = secrets(password)?;
        let _changing = self.lock_changes();
        let account = self.account(name)?;
        let row = |scram| (account.user.as_str().to_owned(), stored, scram, account.mail.clone());
        if !self.has_keys(&account.user)? {
            return self.write(vec![row(Some(scram))]);
        }
        // At no moment is there a password that opens the account and not its mail.
        self.add_mail_password(&account.user, old, password)?;
        self.write(vec![row(None)])?;
        self.forget_old_mail_passwords(&account.user)
    }

    /// Takes from an account what lets it log in without its password being seen here.
    pub(super) fn forget_scram(&self, account: &Account) -> Result<(), DirectoryError> {
        let name = account.user.as_str().to_owned();
        self.write(vec![(name, account.password.clone(), None, account.mail.clone())])
    }

    /// Changes what becomes of an account's mail.
    pub(super) fn change_account(
        &self,
        name: &str,
        change: impl FnOnce(&mut AccountRow),
    ) -> Result<(), DirectoryError> {
        let account = self.account(name)?;
        let mut mail = account.mail.clone();
        change(&mut mail);
        self.write(vec![account.with_mail(mail)])
    }

    /// Adds many accounts with hashed passwords, and notes that they come from `origin` if that is given. Every line is checked before
    /// the first account is written; of two lines for one account the first counts, as with Dovecot.
    pub(crate) fn import(
        &self,
        entries: &[ImportEntry],
        replace: bool,
        origin: Option<Origin>,
    ) -> Result<Response, DirectoryError> {
        let _changing = self.lock_changes();
        let (mut rows, mut back, mut added, mut replaced, mut skipped) = (Vec::new(), Vec::new(), 0, 0, 0);
        let mut seen = HashSet::new();
        for entry in entries {
            let bad = |problem: String| DirectoryError::Import { name: entry.name.clone(), problem };
            let name = self.local_name(&entry.name).map_err(|error| bad(error.to_string()))?;
            let password = StoredPassword::parse(&entry.password).map_err(|error| bad(error.to_string()))?;
            if !seen.insert(name.clone()) {
                skipped += 1;
                continue;
            }
            let (mut mail, mut scram) = (AccountRow::default(), None);
            match (self.find(&name), replace) {
                (Some(_), false) => {
                    skipped += 1;
                    continue;
                }
                (Some(account), true) if password != account.password && self.has_keys(&account.user)? => {
                    return Err(bad(
                        "its mail is encrypted by its password; change that by `mailwrightd user password`"
                            .into(),
                    ));
                }
                (Some(account), true) => {
                    mail.clone_from(&account.mail);
                    // The keys of the same password are still right.
                    scram = account.scram.clone().filter(|_| password == account.password);
                    replaced += 1;
                }
                (None, _) => {
                    // It comes back as it was, and is forgotten as a removed one when it is there: not before all is checked.
                    if let Some((forget, before)) = self.take_back(&name)? {
                        back.push(forget);
                        mail = before;
                    }
                    added += 1;
                }
            }
            mail.login.clone_from(&entry.login);
            rows.push((name, password, scram, mail));
        }
        // What is kept in clear can do all that others can.
        let plain: Vec<&str> = rows.iter().filter_map(|(_, password, ..)| password.plain()).collect();
        let mut keys = scram_of_all(&plain).into_iter();
        for (_, password, scram, _) in &mut rows {
            if password.plain().is_some() {
                *scram = keys.next().flatten();
            }
        }
        let mut model = self.model();
        let accounts = self.new_accounts(rows, &mut model, origin)?;
        self.commit(back, accounts)?;
        self.replace_model(model);
        Ok(Response::Imported { added, replaced, skipped })
    }

    /// The account of this canonical name.
    pub(super) fn find(&self, name: &str) -> Option<Arc<Account>> {
        self.accounts.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The account of this name, however it is written: an alias of the account is not its name, an alias of its domain is.
    pub(crate) fn account(&self, name: &str) -> Result<Arc<Account>, DirectoryError> {
        let canonical = self.current().canonical(&address(name)?);
        self.find(&canonical).ok_or(DirectoryError::Unknown(canonical))
    }

    /// The canonical name of the account that this name is one spelling of, whether there is such an account or not.
    pub(crate) fn canonical_name(&self, name: &str) -> Option<String> {
        Some(self.current().canonical(&address(name).ok()?))
    }

    /// Whether accounts can log in by SCRAM with a hash: every one, or any.
    pub(super) fn have_scram(&self, wanted: ScramOffer, hash: Hash) -> bool {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        let place = HASHES.iter().position(|known| *known == hash);
        let count = place.and_then(|place| accounts.with_scram.get(place)).copied().unwrap_or(0);
        match wanted {
            // Without accounts there are keys for all of them, by the hash that everybody knows.
            ScramOffer::All => count == accounts.len() && (count > 0 || hash == Hash::Sha256),
            ScramOffer::Some => count > 0,
            ScramOffer::Off => false,
        }
    }

    /// Whether there are accounts, and every one has its password in clear.
    pub(super) fn all_in_clear(&self) -> bool {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        !accounts.is_empty() && accounts.in_clear == accounts.len()
    }

    /// The password of some account, the same one for the same number, if there is an account.
    pub(super) fn some_password(&self, number: u64) -> Option<StoredPassword> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        accounts.some_password(number).cloned()
    }

    /// Writes accounts, for good, and makes them known. The caller holds the lock of changes.
    pub(super) fn write(&self, rows: Vec<NewRow>) -> Result<(), DirectoryError> {
        self.write_from(rows, None)
    }

    /// The same of accounts that come from there.
    pub(super) fn write_from(&self, rows: Vec<NewRow>, origin: Option<Origin>) -> Result<(), DirectoryError> {
        let mut model = self.model();
        let accounts = self.new_accounts(rows, &mut model, origin)?;
        self.commit(Vec::new(), accounts)?;
        self.replace_model(model);
        Ok(())
    }

    /// Enters accounts into a model; gives what is to be written. Without `origin` they come from where they came from before.
    pub(super) fn new_accounts(
        &self,
        rows: Vec<NewRow>,
        model: &mut Model,
        origin: Option<Origin>,
    ) -> Result<Vec<NewAccount>, DirectoryError> {
        // Looked for when there is a new one: the numbers of removed accounts are theirs until they are erased.
        let mut next = None;
        let mut accounts = Vec::new();
        for (name, password, scram, mail) in rows {
            let entry = mail.entry()?;
            match model.entry(&name) {
                Some(found) if !matches!(found, Entry::Account(_)) => {
                    return Err(DirectoryError::Taken(format!("{name} is {} already", found.kind())));
                }
                _ => model.restore(&name, Entry::Account(entry)),
            }
            let before = self.find(&name);
            let known = match &before {
                Some(account) => Some(account.number),
                None => self.removed_number(&name)?,
            };
            let number = match (known, next) {
                (Some(number), _) => number,
                (None, Some(number)) => number,
                (None, None) => self.next_number()?,
            };
            if known.is_none() {
                next = Some(number + 1);
            }
            let origin = origin.or_else(|| Some(before?.origin)).unwrap_or_default();
            let (keys, mail_row) = (scram.clone(), mail.clone());
            let row = Row { password: password.to_string(), scram: keys, mail: mail_row, origin, number };
            let value = serde_json::to_vec(&row).map_err(|error| DirectoryError::Corrupt {
                name: name.clone(),
                problem: error.to_string(),
            })?;
            let user = User::new(&name).map_err(|_| DirectoryError::Name(name.clone()))?;
            accounts.push((Account { user, password, scram, mail, origin, number }, value));
        }
        Ok(accounts)
    }

    /// A number above those of all accounts, the removed ones included.
    fn next_number(&self) -> Result<u64, DirectoryError> {
        let highest = {
            let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
            accounts.values().map(|account| account.number).max()
        };
        Ok(highest.max(self.highest_removed()?).map_or(0, |number| number + 1))
    }

    /// Makes accounts known that were written. Sessions of those with another password end, and of those that not everybody may log in to
    /// any more who might before.
    pub(super) fn adopt(&self, written: Vec<NewAccount>) {
        let mut changed = Vec::new();
        let mut accounts = self.accounts.write().unwrap_or_else(PoisonError::into_inner);
        for (account, _) in written {
            let name = account.user.as_str().to_owned();
            let differs = |before: &Arc<Account>| {
                before.password != account.password || before.mail.login != account.mail.login
            };
            if accounts.get(&name).is_some_and(differs) {
                changed.push(name.clone());
            }
            accounts.insert(name, Arc::new(account));
        }
        drop(accounts);
        // After it: whoever logs in from here on does so with the new one.
        changed.iter().for_each(|name| self.sessions.end(name));
    }

    /// The canonical name, in one of our domains.
    pub(crate) fn local_name(&self, name: &str) -> Result<String, DirectoryError> {
        let (address, model) = (address(name)?, self.current());
        if model.domain(address.domain()).is_some() {
            return Ok(model.canonical(&address));
        }
        let known: Vec<&str> = model.domains().map(|(name, _)| name).collect();
        Err(DirectoryError::Domain { domain: address.domain().as_str().to_owned(), known: known.join(", ") })
    }
}

/// The accounts by their names, counted by what they can log in with: each connection asks.
#[derive(Default)]
pub(super) struct AccountTable {
    by_name: HashMap<String, Arc<Account>>,
    with_scram: [usize; HASHES.len()],
    in_clear: usize,
    /// What verifying a password costs, for how many, and one such password.
    costs: BTreeMap<String, (usize, StoredPassword)>,
}

impl AccountTable {
    /// The password of some account, the same one for the same number as long as there is no change: what is found so for many numbers
    /// costs what those of the accounts cost.
    pub(super) fn some_password(&self, number: u64) -> Option<&StoredPassword> {
        let place = (u128::from(number) * self.by_name.len() as u128) >> 64;
        let mut before = 0;
        let mut costs = self.costs.values();
        let found = costs.find(|(count, _)| {
            before += *count as u128;
            place < before
        });
        found.map(|(_, password)| password)
    }

    pub(super) fn insert(&mut self, name: String, account: Arc<Account>) {
        self.remove(&name);
        let password = || (0, account.password.clone());
        self.costs.entry(account.password.cost()).or_insert_with(password).0 += 1;
        for (count, has) in self.with_scram.iter_mut().zip(has_keys(&account)) {
            *count += usize::from(has);
        }
        self.in_clear += usize::from(account.password.plain().is_some());
        self.by_name.insert(name, account);
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Some(account) = self.by_name.remove(name) {
            for (count, has) in self.with_scram.iter_mut().zip(has_keys(&account)) {
                *count -= usize::from(has);
            }
            self.in_clear -= usize::from(account.password.plain().is_some());
            let cost = account.password.cost();
            if let Some((count, _)) = self.costs.get_mut(&cost) {
                *count -= 1;
                if *count == 0 {
                    self.costs.remove(&cost);
                }
            }
        }
    }
}

/// For which of the hashes an account has keys.
fn has_keys(account: &Account) -> [bool; HASHES.len()] {
    HASHES.map(|hash| account.scram.as_ref().is_some_and(|row| row.pair(hash).is_some()))
}

impl Deref for AccountTable {
    type Target = HashMap<String, Arc<Account>>;

    fn deref(&self) -> &Self::Target {
        &self.by_name
    }
}

/// All accounts of a table, and the names of those that cannot be understood.
pub(super) fn read(table: &Table) -> Result<(AccountTable, Vec<String>), DirectoryError> {
    let (mut accounts, mut unreadable) = (AccountTable::default(), Vec::new());
    for (key, value) in table.scan(b"")? {
        let name = String::from_utf8_lossy(&key).into_owned();
        match account(&name, &value) {
            Ok(account) => accounts.insert(name, Arc::new(account)),
            // The others have their mail all the same.
            Err(error) => {
                tracing::error!(%error, "nobody can log in there, and mail for it is to be tried again");
                unreadable.push(name);
            }
        }
    }
    Ok((accounts, unreadable))
}

/// The account of a row.
fn account(name: &str, value: &[u8]) -> Result<Account, DirectoryError> {
    let corrupt = |problem: String| DirectoryError::Corrupt { name: name.to_owned(), problem };
    let row: Row = serde_json::from_slice(value).map_err(|error| corrupt(error.to_string()))?;
    Ok(Account {
        user: User::new(name).map_err(|error| corrupt(error.to_string()))?,
        password: StoredPassword::parse(&row.password).map_err(|error| corrupt(error.to_string()))?,
        scram: row.scram,
        mail: row.mail,
        origin: row.origin,
        number: row.number,
    })
}

/// A password as it is hashed: PLAIN compares what is prepared (RFC 4616 §2), and so do all others here.
pub(super) fn prepared(password: &str) -> Result<String, DirectoryError> {
    if password.is_empty() {
        return Err(DirectoryError::Empty);
    }
    // What cannot be prepared has no keys either, which says why.
    let prepared = sasl::prepare_password(password.as_bytes());
    let text = prepared.as_ref().and_then(|prepared| str::from_utf8(prepared.expose()).ok());
    Ok(text.unwrap_or(password).to_owned())
}

/// The hash and the SCRAM keys of a new password, which is prepared.
fn secrets(password: &str) -> Result<(StoredPassword, ScramRow), DirectoryError> {
    let scram = scram(password, false)?;
    Ok((StoredPassword::new(password.as_bytes())?, scram))
}
