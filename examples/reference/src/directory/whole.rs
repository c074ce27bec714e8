//! The directory as one file: given out, and made to be what such a file says.

use std::collections::HashSet;

use base64::{Engine, prelude::BASE64_STANDARD};
use mailwright::relay_policy::directory::{Directory as Model, Entry};

use super::{
    Directory, DirectoryError, DomainChange, Edit, ScramRow,
    accounts::NewRow,
    edit::apply,
    keys::scram,
    rows::{AccountRow, DirectoryFile, SecretRow, address},
};
use crate::password::StoredPassword;

impl Directory {
    /// Everything there is; what accounts log in with only if that is wanted.
    pub(crate) fn export(&self, secrets: bool) -> Result<DirectoryFile, DirectoryError> {
        let model = self.model();
        let mut file = DirectoryFile::default();
        file.domain.extend(model.domains().map(|(name, entry)| (name.to_owned(), entry.into())));
        file.domain_alias
            .extend(model.domain_aliases().map(|(alias, domain)| (alias.to_owned(), domain.to_owned())));
        file.network.extend(model.networks().iter().map(|(name, object)| (name.to_owned(), object.into())));
        file.pseudonym.extend(model.pseudonyms().map(|(local, alias)| (local.to_owned(), alias.into())));
        for (name, entry) in model.entries() {
            let name = name.to_owned();
            match entry {
                Entry::Account(account) => drop(file.account.insert(name, account.into())),
                Entry::Alias(alias) => drop(file.alias.insert(name, alias.into())),
                Entry::Group(group) => drop(file.group.insert(name, group.into())),
                _ => {}
            }
        }
        for (name, row) in &mut file.account {
            let Some(account) = self.find(name) else { continue };
            row.login.clone_from(&account.mail.login);
            if !secrets {
                continue;
            }
            let corrupt = |error: serde_json::Error| DirectoryError::Corrupt {
                name: name.clone(),
                problem: error.to_string(),
            };
            let scram = account.scram.as_ref().map(serde_json::to_vec).transpose().map_err(corrupt)?;
            let scram = scram.map(|keys| BASE64_STANDARD.encode(keys));
            let password = account.password.to_string();
            file.secret.insert(name.clone(), SecretRow { password, scram });
        }
        Ok(file)
    }

    /// Makes the directory what a file says: what is in it is added or changed, and with `only`, domains, aliases,
    /// groups and pseudonyms that are not in it are removed. Accounts are made if the file has their secrets, and else must be there already;
    /// they are never removed, for they have mail. Everything is checked before anything is written. How many entries were written.
    pub(crate) fn import_file(&self, file: &DirectoryFile, only: bool) -> Result<usize, DirectoryError> {
        let _changing = self.lock_changes();
        let mut model = self.model();
        let mut changes = Vec::new();
        if only {
            for edit in self.removals(file, &model)? {
                changes.extend(apply(&mut model, edit, &self.settings().domains)?);
            }
        }
        let mut written = 0;
        for edit in additions(file) {
            changes.extend(apply(&mut model, edit, &self.settings().domains)?);
            written += 1;
        }
        if let Some(name) = file.secret.keys().find(|name| !file.account.contains_key(*name)) {
            return Err(DirectoryError::Missing(format!(
                "the file has a secret of {name}, and no account {name}"
            )));
        }
        let mut accounts = Vec::new();
        // In the order in which they were made, which says who the oldest one is. Whose time is not known was imported.
        let mut oldest_first: Vec<_> = file.account.iter().collect();
        oldest_first.sort_by_key(|(_, account)| account.since.unwrap_or(i64::MAX));
        for (name, wanted) in oldest_first {
            accounts.push(self.wanted(&model, name, wanted, file.secret.get(name))?);
            written += 1;
        }
        let accounts = self.new_accounts(accounts, &mut model, None)?;
        self.check_networks(&model)?;
        self.commit(self.rows(&changes), accounts)?;
        self.replace_model(model);
        Ok(written)
    }

    /// An account as the file has it.
    fn wanted(
        &self,
        model: &Model,
        name: &str,
        wanted: &AccountRow,
        secret: Option<&SecretRow>,
    ) -> Result<NewRow, DirectoryError> {
        let address = address(name)?;
        let canonical = model.canonical(&address);
        let bad = |problem: String| DirectoryError::Import { name: name.to_owned(), problem };
        let secret = secret.map(SecretRow::read).transpose().map_err(bad)?;
        let found = self.find(&canonical);
        let since = wanted.since.or_else(|| found.as_ref().and_then(|account| account.mail.since));
        let login =
            wanted.login.clone().or_else(|| found.as_ref().and_then(|account| account.mail.login.clone()));
        let mail = AccountRow { since, login, ..wanted.clone() };
        match (found, secret) {
            (Some(account), None) => Ok(account.with_mail(mail)),
            (Some(account), Some((password, scram))) => {
                if password != account.password && self.has_keys(&account.user)? {
                    return Err(bad(
                        "its mail is encrypted by its password; change that by `mailwrightd user password`"
                            .into(),
                    ));
                }
                let same = password == account.password;
                let scram = scram.or_else(|| account.scram.clone().filter(|_| same));
                Ok((canonical, password, scram, mail))
            }
            (None, Some((password, scram))) => {
                if model.domain(address.domain()).is_none() {
                    let known: Vec<&str> = model.domains().map(|(name, _)| name).collect();
                    let domain = address.domain().as_str().to_owned();
                    return Err(DirectoryError::Domain { domain, known: known.join(", ") });
                }
                self.check_free(&canonical)?;
                Ok((canonical, password, scram, mail))
            }
            (None, None) => Err(DirectoryError::Missing(format!(
                "there is no account {name}, and the file has no password of it: `directory export --secrets` gives a file with them, and `mailwrightd user add {name}` makes the account"
            ))),
        }
    }

    fn removals(&self, file: &DirectoryFile, model: &Model) -> Result<Vec<Edit>, DirectoryError> {
        let mut edits = Vec::new();
        let mut kept = HashSet::new();
        for name in file.alias.keys().chain(file.group.keys()) {
            kept.insert(model.canonical(&address(name)?));
        }
        for (name, entry) in model.entries() {
            let address = name.to_owned();
            match entry {
                Entry::Alias(_) if !kept.contains(name) => edits.push(Edit::AliasRemove { address }),
                Entry::Group(_) if !kept.contains(name) => edits.push(Edit::GroupRemove { address }),
                _ => {}
            }
        }
        let pseudonyms = model.pseudonyms().filter(|(local, _)| !file.pseudonym.contains_key(*local));
        edits.extend(pseudonyms.map(|(local, _)| Edit::PseudonymRemove { local: local.to_owned() }));
        let networks = model.networks().iter().filter(|(name, _)| !file.network.contains_key(*name));
        edits.extend(networks.map(|(name, _)| Edit::NetworkRemove { name: name.to_owned() }));
        let aliases = model.domain_aliases().filter(|(alias, _)| !file.domain_alias.contains_key(*alias));
        edits.extend(aliases.map(|(alias, _)| Edit::DomainAliasRemove { alias: alias.to_owned() }));
        let settings = self.settings();
        let configured = &settings.domains;
        let domains = model.domains().filter(|(name, _)| {
            !file.domain.contains_key(*name) && !configured.iter().any(|domain| domain.key() == *name)
        });
        edits.extend(domains.map(|(name, _)| Edit::DomainRemove { name: name.to_owned() }));
        Ok(edits)
    }
}

impl SecretRow {
    /// The password, and what SCRAM needs.
    fn read(&self) -> Result<(StoredPassword, Option<ScramRow>), String> {
        let password = StoredPassword::parse(&self.password).map_err(|error| error.to_string())?;
        let keys = |text: &String| {
            let octets = BASE64_STANDARD.decode(text).ok()?;
            serde_json::from_slice(&octets).ok()
        };
        let scram = match &self.scram {
            Some(text) => Some(keys(text).ok_or("the keys of SCRAM cannot be understood")?),
            // As for accounts that are imported one by one.
            None => password.plain().and_then(|plain| scram(plain, true).ok()),
        };
        Ok((password, scram))
    }
}

fn additions(file: &DirectoryFile) -> Vec<Edit> {
    let file = file.clone();
    let domains = file.domain.into_iter().map(|(name, row)| {
        let or_none = |setting: Option<String>| Some(setting.unwrap_or_else(|| "none".into()));
        let change = DomainChange {
            relay: Some(row.relay),
            recipients: Some(row.recipients),
            journal_reports: Some(row.journal_reports),
            unknown: or_none(row.unknown),
            postmaster: or_none(row.postmaster),
            journal: or_none(row.journal),
            bcc: or_none(row.bcc),
        };
        Edit::Domain { name, change, new: false }
    });
    let aliases = file.domain_alias.into_iter().map(|(alias, domain)| Edit::DomainAlias { alias, domain });
    let names = file.alias.into_iter().map(|(address, row)| Edit::Alias { address, row, new: false });
    let groups = file.group.into_iter().map(|(address, row)| Edit::Group { address, row, new: false });
    let pseudonyms = file.pseudonym.into_iter().map(|(local, row)| Edit::Pseudonym { local, row });
    let networks = file.network.into_iter().map(|(name, row)| Edit::Network { name, row, new: false });
    domains.chain(aliases).chain(names).chain(groups).chain(pseudonyms).chain(networks).collect()
}
