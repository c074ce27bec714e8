//! The accounts that an LDAP server has: one for each entry, and none for an entry that is gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ldap3::SearchEntry;
use mailwright::{
    mail_model::Address,
    mailstore::{StoreError, block_on, embedded::Table},
    relay_policy::directory::Entry,
};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::{Ldap, MOST};
use crate::{
    admin::ImportEntry,
    directory::{AliasRow, Directory, DirectoryError, Edit, Origin},
    life::{Life, LifeRequest, Limits},
};

/// A stored password that no password is right for: only the LDAP server lets anybody in.
const NO_PASSWORD: &str = "{SHA512-CRYPT}$6$none$none";

/// How long all entries may take to come.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where earlier versions noted what came from the server.
const LEDGER: &str = "ldap-accounts.json";

/// Follows the entries.
pub(crate) struct LdapAccounts {
    ldap: Arc<Ldap>,
    directory: Arc<Directory>,
    life: Life,
    /// What came from the server and is not an account: `alias/` and an address has the account that it leads to, `quota/` and an account
    /// the octets of its limit. An account says itself where it comes from.
    table: Table,
    /// What was wrong the last time, and is not told again.
    told: Mutex<BTreeSet<String>>,
}

/// What the server has, or had.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
struct Ledger {
    /// Each account's limit of storage in octets.
    accounts: BTreeMap<String, Option<u64>>,
    /// Each address, and the account it leads to.
    aliases: BTreeMap<String, String>,
    /// Which of the accounts were here before an earlier version followed the server.
    #[serde(default)]
    by_hand: BTreeSet<String>,
    /// What of the entries may not be meant so.
    #[serde(skip)]
    doubts: BTreeSet<String>,
}

/// The row of an alias, and of a limit.
fn alias_key(address: &str) -> String {
    format!("alias/{address}")
}

fn quota_key(name: &str) -> String {
    format!("quota/{name}")
}

impl LdapAccounts {
    /// Over a table of the store that nobody else writes to.
    pub(crate) fn new(ldap: Arc<Ldap>, directory: Arc<Directory>, life: Life, table: Table) -> Self {
        Self { ldap, directory, life, table, told: Mutex::default() }
    }

    /// Moves what an earlier version noted beside the store into it.
    pub(crate) fn take_over_ledger(&self, data: &Path) -> io::Result<()> {
        let path = data.join(LEDGER);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let ledger: Ledger = serde_json::from_slice(&text)?;
        let ours = ledger.accounts.keys().filter(|name| !ledger.by_hand.contains(*name));
        self.directory.claim(ours, Origin::Ldap).map_err(io::Error::other)?;
        let aliases = ledger.aliases.iter().map(|(address, account)| (alias_key(address), account.clone()));
        let quotas =
            ledger.accounts.iter().filter_map(|(name, quota)| Some((quota_key(name), (*quota)?.to_string())));
        let rows = aliases.chain(quotas);
        let rows = rows.map(|(key, value)| self.table.row(key.as_bytes(), Some(value.as_bytes()))).collect();
        block_on(self.table.change(rows)).map_err(io::Error::other)?;
        fs::remove_file(&path)
    }

    /// Follows the entries until it is stopped.
    pub(crate) async fn watch(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = Arc::new(self).keep_up() => {}
        }
    }

    async fn keep_up(self: Arc<Self>) {
        let this = self;
        let every = Duration::from_secs(this.ldap.options.every_seconds);
        loop {
            let found = match tokio::time::timeout(PATIENCE, this.ask()).await {
                Ok(found) => found,
                Err(_) => Err(format!("not all entries came within {PATIENCE:?}")),
            };
            let follower = Arc::clone(&this);
            let followed = match found {
                Ok(wanted) => tokio::task::spawn_blocking(move || follower.follow(&wanted))
                    .await
                    .unwrap_or_else(|error| Err(error.to_string())),
                Err(problem) => Err(problem),
            };
            if let Err(problem) = followed {
                tracing::error!(
                    url = this.ldap.options.url,
                    problem,
                    "the accounts of LDAP stay as they are"
                );
            }
            tokio::time::sleep(every).await;
        }
    }

    /// What the server has.
    async fn ask(&self) -> Result<Ledger, String> {
        let options = &self.ldap.options;
        let wanted = [&options.name, &options.aliases, &options.quota];
        let attributes = wanted.into_iter().filter(|name| !name.is_empty()).cloned().collect();
        let entries = self.ldap.search(&options.accounts, attributes, MOST).await;
        let entries = entries.map_err(|error| error.to_string())?;
        if entries.len() >= MOST {
            return Err(format!("it has {MOST} entries or more that fit auth.ldap.accounts"));
        }
        let mut ledger = Ledger::default();
        let known = self.directory.accounts_from(Origin::Ldap);
        let is_known = |name: &&String| {
            self.directory.local_name(name).is_ok_and(|canonical| known.contains(&canonical))
        };
        for entry in entries {
            let names: Vec<String> =
                values(&entry, &options.name).iter().map(|name| name.to_lowercase()).collect();
            // RFC 4511 §4.1.7: values have no order that would last. Whoever has an account keeps it, by the same name.
            let name = names.iter().filter(is_known).min().or_else(|| names.first());
            let Some(name) = name.cloned() else {
                continue;
            };
            let aliases: Vec<String> =
                values(&entry, &options.aliases).iter().map(|alias| alias.to_lowercase()).collect();
            let others = names.iter().filter(|other| **other != name && !aliases.contains(other));
            for other in others {
                let dn = &entry.dn;
                ledger.doubts.insert(format!(
                    "{dn} is the account {name}, and by auth.ldap.name {other} as well, which gets no mail: auth.ldap.aliases names addresses beside the account's"
                ));
            }
            let quota = values(&entry, &options.quota);
            let quota = match quota.first().map(|text| (text, text.parse::<u64>())) {
                Some((_, Ok(octets))) => Some(octets),
                Some((text, Err(_))) => {
                    tracing::warn!(entry = entry.dn, text, "a quota in LDAP is no number of octets");
                    None
                }
                None => None,
            };
            for alias in aliases {
                if alias != name {
                    ledger.aliases.insert(alias, name.clone());
                }
            }
            if ledger.accounts.insert(name.clone(), quota).is_some() {
                let dn = &entry.dn;
                ledger.doubts.insert(format!("{dn} is the account {name}, which another entry is too"));
            }
        }
        Ok(ledger)
    }

    /// Makes the accounts what the server has, whatever somebody has done to them meanwhile. What cannot be done for one of them is told
    /// once and tried again the next time, and the others go on.
    fn follow(&self, wanted: &Ledger) -> Result<(), String> {
        // A filter or a permission that is wrong must not take everybody's account away.
        if wanted.accounts.is_empty() {
            return Err("it has no entry that fits auth.ldap.accounts any more".into());
        }
        let failed = |error: StoreError| error.to_string();
        let (aliases, quotas) =
            (self.noted("alias/").map_err(failed)?, self.noted("quota/").map_err(failed)?);
        let mut problems = BTreeSet::new();
        let (mut changed, mut removed) = (0, 0);
        let mut note = |count: &mut usize, name: &str, outcome: Result<bool, String>| match outcome {
            Ok(done) => *count += usize::from(done),
            Err(problem) => drop(problems.insert(format!("{name}: {problem}"))),
        };
        for address in aliases.keys().filter(|address| !wanted.aliases.contains_key(*address)) {
            note(&mut removed, address, self.remove_alias(address));
        }
        let mut names = BTreeSet::new();
        for (name, quota) in &wanted.accounts {
            match self.directory.local_name(name) {
                Ok(canonical) => {
                    let added = self.add(&canonical);
                    let is_new = added == Ok(true);
                    note(&mut changed, name, added);
                    let known = quotas.get(&canonical).filter(|_| !is_new).and_then(|text| text.parse().ok());
                    if known != *quota && self.directory.has(&canonical) {
                        note(&mut changed, name, self.limit(&canonical, *quota));
                    }
                    names.insert(canonical);
                }
                Err(error) => note(&mut changed, name, Err(error.to_string())),
            }
        }
        for name in self.directory.accounts_from(Origin::Ldap).difference(&names) {
            note(&mut removed, name, self.remove(name));
        }
        for (address, account) in &wanted.aliases {
            note(&mut changed, address, self.alias(address, account, aliases.get(address)));
        }
        if changed + removed > 0 {
            tracing::info!(accounts = names.len(), changed, removed, "the accounts of LDAP were read");
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for doubt in wanted.doubts.difference(&told) {
            tracing::warn!(doubt, "an entry of LDAP is not clear");
        }
        for problem in problems.difference(&told) {
            tracing::error!(problem, "an entry of LDAP cannot be an account or an alias here");
        }
        problems.extend(wanted.doubts.iter().cloned());
        *told = problems;
        Ok(())
    }

    /// The rows of one kind, by what is behind that in their keys.
    fn noted(&self, kind: &str) -> Result<BTreeMap<String, String>, StoreError> {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let rows = self.table.scan(kind.as_bytes())?;
        let row = |(key, value): &(bytes::Bytes, bytes::Bytes)| {
            Some((text(key).strip_prefix(kind)?.to_owned(), text(value)))
        };
        Ok(rows.iter().filter_map(row).collect())
    }

    /// Says whether there was something to do, as all of these do.
    fn add(&self, name: &str) -> Result<bool, String> {
        if self.directory.has(name) {
            return Ok(false);
        }
        let entry = ImportEntry { name: name.to_owned(), password: NO_PASSWORD.to_owned(), login: None };
        let added = self.directory.import(&[entry], false, Some(Origin::Ldap));
        added.map(|_| true).map_err(|error| error.to_string())
    }

    fn remove(&self, name: &str) -> Result<bool, String> {
        forgiving(self.directory.remove(name))?;
        block_on(self.table.delete(quota_key(name).as_bytes())).map_err(|error| error.to_string())?;
        Ok(true)
    }

    fn remove_alias(&self, address: &str) -> Result<bool, String> {
        let edit = Edit::AliasRemove { address: address.to_owned() };
        let row = self.table.row(alias_key(address).as_bytes(), None);
        match self.directory.edit_with(edit, vec![row]) {
            Ok(()) => Ok(true),
            // Somebody has removed it, or has made something else of it that is not ours.
            outcome => {
                forgiving(outcome)?;
                let deleted = block_on(self.table.delete(alias_key(address).as_bytes()));
                deleted.map(|_| true).map_err(|error| error.to_string())
            }
        }
    }

    fn limit(&self, name: &str, storage: Option<u64>) -> Result<bool, String> {
        let change = match storage {
            Some(_) => Limits { storage, ..Limits::default() },
            None => Limits::default(),
        };
        let request = LifeRequest::Quota { user: name.to_owned(), change: Some(change) };
        self.life.execute(request).map_err(|error| error.to_string())?;
        // Behind it: what is done twice is as right as what is done once.
        let value = storage.map(|octets| octets.to_string());
        let row = self.table.row(quota_key(name).as_bytes(), value.as_deref().map(str::as_bytes));
        block_on(self.table.change(vec![row])).map(|()| true).map_err(|error| error.to_string())
    }

    /// `before` is the account that it led to by the server, if it was there.
    fn alias(&self, address: &str, account: &str, before: Option<&String>) -> Result<bool, String> {
        let parsed: Address = address.parse().map_err(|_| "it is no address".to_owned())?;
        let is_there = matches!(self.directory.current().find(&parsed), Some(Entry::Alias(_)));
        if is_there && before.is_some_and(|before| before == account) {
            return Ok(false);
        }
        let row = AliasRow { targets: vec![account.to_owned()], ..AliasRow::default() };
        let new = before.is_none() || !is_there;
        let edit = Edit::Alias { address: address.to_owned(), row, new };
        let noted = self.table.row(alias_key(address).as_bytes(), Some(account.as_bytes()));
        self.directory.edit_with(edit, vec![noted]).map(|()| true).map_err(|error| error.to_string())
    }
}

/// An attribute's values; LDAP's names are in any case.
fn values<'a>(entry: &'a SearchEntry, attribute: &str) -> &'a [String] {
    let found = entry.attrs.iter().find(|(name, _)| name.eq_ignore_ascii_case(attribute));
    found.map(|(_, values)| values.as_slice()).unwrap_or_default()
}

/// What is not there any more need not be removed.
fn forgiving(outcome: Result<(), DirectoryError>) -> Result<(), String> {
    match outcome {
        Ok(()) | Err(DirectoryError::Unknown(_) | DirectoryError::Missing(_) | DirectoryError::Taken(_)) => {
            Ok(())
        }
        Err(error) => Err(error.to_string()),
    }
}
