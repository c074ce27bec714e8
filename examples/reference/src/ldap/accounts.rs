//! The accounts that an LDAP server has: one for each entry, and none for an entry that is gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ldap3::SearchEntry;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{Ldap, MOST};
use crate::{
    admin::ImportEntry,
    certificate::write_new,
    directory::{AliasRow, Directory, DirectoryError, Edit},
    life::{Life, LifeRequest, Limits},
};

/// A stored password that no password is right for: only the LDAP server lets anybody in.
const NO_PASSWORD: &str = "{SHA512-CRYPT}$6$none$none";

/// How long all entries may take to come.
const PATIENCE: Duration = Duration::from_secs(300);

/// Follows the entries.
pub(crate) struct LdapAccounts {
    ldap: Arc<Ldap>,
    directory: Arc<Directory>,
    life: Life,
    ledger: PathBuf,
}

/// What came from the server: what tells it from what was added by hand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Ledger {
    /// Each account's limit of storage in octets.
    accounts: BTreeMap<String, Option<u64>>,
    /// Each address, and the account it leads to.
    aliases: BTreeMap<String, String>,
    /// Which of the accounts were here before, and so are not ours to remove.
    #[serde(default)]
    by_hand: BTreeSet<String>,
}

impl LdapAccounts {
    pub(crate) fn new(ldap: Arc<Ldap>, directory: Arc<Directory>, life: Life, data: &Path) -> Self {
        Self { ldap, directory, life, ledger: data.join("ldap-accounts.json") }
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
                Ok(wanted) => tokio::task::spawn_blocking(move || follower.follow(wanted))
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
        for entry in entries {
            let Some(name) = values(&entry, &options.name).first().map(|name| name.to_lowercase()) else {
                continue;
            };
            let quota = values(&entry, &options.quota);
            let quota = match quota.first().map(|text| (text, text.parse::<u64>())) {
                Some((_, Ok(octets))) => Some(octets),
                Some((text, Err(_))) => {
                    tracing::warn!(entry = entry.dn, text, "a quota in LDAP is no number of octets");
                    None
                }
                None => None,
            };
            for alias in values(&entry, &options.aliases) {
                let alias = alias.to_lowercase();
                if alias != name {
                    ledger.aliases.insert(alias, name.clone());
                }
            }
            ledger.accounts.insert(name, quota);
        }
        Ok(ledger)
    }

    /// Makes the accounts what the server has. What cannot be done for one of them is told, and the others go on.
    fn follow(&self, mut wanted: Ledger) -> Result<(), String> {
        let ours: Ledger = match fs::read(&self.ledger) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| error.to_string())?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ledger::default(),
            Err(error) => return Err(error.to_string()),
        };
        if (&wanted.accounts, &wanted.aliases) == (&ours.accounts, &ours.aliases) {
            return Ok(());
        }
        // A filter or a permission that is wrong must not take everybody's account away.
        if wanted.accounts.is_empty() {
            return Err("it has no entry that fits auth.ldap.accounts any more".into());
        }
        let mut problems = Vec::new();
        let mut note = |name: &str, outcome: Result<(), String>| match outcome {
            Ok(()) => true,
            Err(problem) => {
                problems.push(format!("{name}: {problem}"));
                false
            }
        };
        for address in ours.aliases.keys().filter(|address| !wanted.aliases.contains_key(*address)) {
            note(address, forgiving(self.directory.edit(Edit::AliasRemove { address: address.clone() })));
        }
        let is_gone = |name: &&String| !wanted.accounts.contains_key(*name) && !ours.by_hand.contains(*name);
        let gone: Vec<&String> = ours.accounts.keys().filter(is_gone).collect();
        for name in &gone {
            note(name, forgiving(self.directory.remove(name)));
        }
        for name in wanted.accounts.keys() {
            let is_new = !ours.accounts.contains_key(name);
            if ours.by_hand.contains(name) || (is_new && self.directory.account(name).is_ok()) {
                wanted.by_hand.insert(name.clone());
            }
        }
        let by_hand = &wanted.by_hand;
        wanted.accounts.retain(|name, quota| {
            let known = ours.accounts.get(name);
            (known.is_some() || by_hand.contains(name) || note(name, self.add(name)))
                && (known.copied().flatten() == *quota || note(name, self.limit(name, *quota)))
        });
        wanted.aliases.retain(|address, account| {
            ours.aliases.get(address) == Some(account)
                || note(address, self.alias(address, account, !ours.aliases.contains_key(address)))
        });
        let text = serde_json::to_vec(&wanted).map_err(|error| error.to_string())?;
        write_new(&self.ledger, &text, 0o600).map_err(|error| error.to_string())?;
        let accounts = wanted.accounts.len();
        tracing::info!(
            accounts,
            removed = gone.len(),
            aliases = wanted.aliases.len(),
            "the accounts of LDAP were read"
        );
        for problem in problems {
            tracing::error!(problem, "an entry of LDAP cannot be an account or an alias here");
        }
        Ok(())
    }

    fn add(&self, name: &str) -> Result<(), String> {
        let entry = ImportEntry { name: name.to_owned(), password: NO_PASSWORD.to_owned() };
        self.directory.import(&[entry], false).map(drop).map_err(|error| error.to_string())
    }

    fn limit(&self, name: &str, storage: Option<u64>) -> Result<(), String> {
        let change = match storage {
            Some(_) => Limits { storage, ..Limits::default() },
            None => Limits::default(),
        };
        let request = LifeRequest::Quota { user: name.to_owned(), change: Some(change) };
        self.life.execute(request).map(drop).map_err(|error| error.to_string())
    }

    fn alias(&self, address: &str, account: &str, new: bool) -> Result<(), String> {
        let row = AliasRow { targets: vec![account.to_owned()], ..AliasRow::default() };
        let edit = Edit::Alias { address: address.to_owned(), row, new };
        self.directory.edit(edit).map_err(|error| error.to_string())
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
