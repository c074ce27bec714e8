//! Changes of domains, aliases and groups.

use mailwright::{
    mail_model::Domain,
    mailstore::{Row, block_on},
    relay_policy::directory::{Directory as Model, Entry},
};
use serde::{Deserialize, Serialize};

use super::{
    Directory, DirectoryError,
    accounts::NewAccount,
    restore::read,
    rows::{AliasRow, DomainRow, GroupRow, NetworkRow, Recipients, Reports, address},
};

/// One change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "edit", rename_all = "kebab-case")]
pub(crate) enum Edit {
    /// Adds a domain, or changes what is given of it.
    Domain {
        name: String,
        change: DomainChange,
        new: bool,
    },
    /// Changes what is given of a domain that is there.
    DomainChange {
        name: String,
        change: DomainChange,
    },
    /// Removes a domain, or a second name of one.
    DomainRemove {
        name: String,
    },
    /// Removes a second name of a domain, and never a domain itself.
    DomainAliasRemove {
        alias: String,
    },
    DomainAlias {
        alias: String,
        domain: String,
    },
    Alias {
        address: String,
        row: AliasRow,
        new: bool,
    },
    AliasRemove {
        address: String,
    },
    Pseudonym {
        local: String,
        row: AliasRow,
    },
    PseudonymRemove {
        local: String,
    },
    Group {
        address: String,
        row: GroupRow,
        new: bool,
    },
    GroupMembers {
        address: String,
        add: Vec<String>,
        remove: Vec<String>,
    },
    GroupRemove {
        address: String,
    },
    Network {
        name: String,
        row: NetworkRow,
        new: bool,
    },
    NetworkMembers {
        name: String,
        add: Vec<String>,
        remove: Vec<String>,
    },
    NetworkRemove {
        name: String,
    },
    Account {
        name: String,
        change: AccountChange,
    },
}

/// What is to be changed of a domain. `none` takes a setting away.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DomainChange {
    pub(crate) relay: Option<bool>,
    pub(crate) recipients: Option<Recipients>,
    pub(crate) unknown: Option<String>,
    pub(crate) postmaster: Option<String>,
    pub(crate) journal: Option<String>,
    pub(crate) journal_reports: Option<Reports>,
    pub(crate) bcc: Option<String>,
}

/// What is to be changed of an account.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AccountChange {
    pub(crate) mailbox: Option<bool>,
    pub(crate) forward: Option<Vec<String>>,
    pub(crate) keep: Option<bool>,
    pub(crate) local_only: Option<bool>,
}

impl DomainChange {
    fn apply(self, row: &mut DomainRow) {
        row.relay = self.relay.unwrap_or(row.relay);
        row.recipients = self.recipients.unwrap_or(row.recipients);
        row.journal_reports = self.journal_reports.unwrap_or(row.journal_reports);
        for (given, setting) in [
            (self.unknown, &mut row.unknown),
            (self.postmaster, &mut row.postmaster),
            (self.journal, &mut row.journal),
            (self.bcc, &mut row.bcc),
        ] {
            if let Some(given) = given {
                *setting = (given != "none").then_some(given);
            }
        }
    }
}

/// A row of the table: its key, and its value unless it is to go.
type Change = (String, Option<Vec<u8>>);

impl Directory {
    /// Does it: for good, and for the next command of every session.
    pub(crate) fn edit(&self, edit: Edit) -> Result<(), DirectoryError> {
        self.edit_with(edit, Vec::new())
    }

    /// The same of an edit that is none of an account; these rows of other tables are written with it, or neither.
    pub(crate) fn edit_with(&self, edit: Edit, also: Vec<Row>) -> Result<(), DirectoryError> {
        let _changing = self.lock_changes();
        let mut model = self.model();
        match edit {
            Edit::Account { name, change } => {
                let name = model.canonical(&address(&name)?);
                drop(model);
                self.change_account(&name, |row| {
                    row.mailbox = change.mailbox.unwrap_or(row.mailbox);
                    row.keep = change.keep.unwrap_or(row.keep);
                    row.local_only = change.local_only.unwrap_or(row.local_only);
                    if let Some(forward) = change.forward {
                        row.forward = forward;
                    }
                })
            }
            Edit::DomainRemove { name } | Edit::DomainAliasRemove { alias: name }
                if let Some(key) = self.idle_alias(&model, &name)? =>
            {
                self.commit(self.rows(&[(key, None)]), Vec::new())
            }
            edit => {
                let added = matches!(edit, Edit::Domain { .. });
                let changes = apply(&mut model, edit, &self.settings().domains)?;
                self.check_networks(&model)?;
                let mut rows = self.rows(&changes);
                rows.extend(also);
                self.commit(rows, Vec::new())?;
                if added {
                    self.wake_aliases(&mut model)?;
                }
                self.replace_model(model);
                Ok(())
            }
        }
    }

    /// Writes rows and accounts, all of them or none, and makes the accounts known. The caller holds the lock of changes.
    pub(super) fn commit(&self, mut rows: Vec<Row>, accounts: Vec<NewAccount>) -> Result<(), DirectoryError> {
        for (account, row) in &accounts {
            rows.push(self.table.row(account.user.as_str().as_bytes(), Some(row)));
        }
        block_on(self.entries.change(rows))?;
        self.adopt(accounts);
        Ok(())
    }

    pub(super) fn rows(&self, changes: &[Change]) -> Vec<Row> {
        changes.iter().map(|(key, value)| self.entries.row(key.as_bytes(), value.as_deref())).collect()
    }

    /// The row of a domain alias that is in the database and does not count: its domain is gone, or it is a domain by the
    /// configuration. The server started without it.
    fn idle_alias(&self, model: &Model, name: &str) -> Result<Option<String>, DirectoryError> {
        let domain = domain(name)?;
        let own = model.domains().any(|(name, _)| name == domain.key())
            && !self.settings().domains.contains(&domain);
        if own || model.domain_aliases().any(|(alias, _)| alias == domain.key()) {
            return Ok(None);
        }
        let key = format!("domain-alias/{}", domain.key());
        Ok(self.entries.get(key.as_bytes())?.map(|_| key))
    }

    /// Second names that did not count while their domain was gone do again.
    fn wake_aliases(&self, model: &mut Model) -> Result<(), DirectoryError> {
        for (key, value) in self.entries.scan(b"domain-alias/")? {
            // One that still does not count was told of at the start.
            let _ = read(model, &String::from_utf8_lossy(&key), &value);
        }
        Ok(())
    }
}

/// Changes the model; gives what is to be written.
pub(super) fn apply(
    model: &mut Model,
    edit: Edit,
    configured: &[Domain],
) -> Result<Vec<Change>, DirectoryError> {
    match edit {
        Edit::DomainChange { name, change } => {
            let known = domain(&name)?;
            if !model.domains().any(|(name, _)| name == known.key()) {
                return Err(DirectoryError::Missing(format!("there is no domain {name}; add it first")));
            }
            apply(model, Edit::Domain { name, change, new: false }, configured)
        }
        Edit::Domain { name, change, new } => {
            let domain = domain(&name)?;
            let found =
                model.domains().find(|(name, _)| *name == domain.key()).map(|(_, entry)| entry.into());
            if new && found.is_some() {
                return Err(DirectoryError::Taken(format!("the domain {name} is there already")));
            }
            // Else its addresses, which are those of the other domain, would be nobody's from one moment to the next.
            if let Some((_, main)) = model.domain_aliases().find(|(alias, _)| *alias == domain.key()) {
                return Err(DirectoryError::Taken(format!(
                    "{name} is an alias of the domain {main}; for a domain of its own, first `mailwrightd domain remove {name}`"
                )));
            }
            let mut row: DomainRow = found.unwrap_or_default();
            change.apply(&mut row);
            model.set_domain(&domain, row.entry()?);
            Ok(vec![
                (format!("domain/{}", domain.key()), Some(json(&row)?)),
                (format!("domain-alias/{}", domain.key()), None),
            ])
        }
        Edit::DomainRemove { name } => {
            let domain = domain(&name)?;
            if configured.contains(&domain) {
                return Err(DirectoryError::Taken(format!(
                    "the domain {name} is in the configuration; take it out of `domains` there"
                )));
            }
            let gone: Vec<String> = model
                .domain_aliases()
                .filter(|(alias, main)| *alias == domain.key() || *main == domain.key())
                .map(|(alias, _)| format!("domain-alias/{alias}"))
                .collect();
            if !model.remove_domain_alias(&domain) && !model.remove_domain(&domain) {
                return Err(DirectoryError::Missing(format!("there is no domain {name}")));
            }
            let mut changes: Vec<Change> = gone.into_iter().map(|key| (key, None)).collect();
            changes.push((format!("domain/{}", domain.key()), None));
            Ok(changes)
        }
        Edit::DomainAliasRemove { alias } => {
            let domain = domain(&alias)?;
            if !model.remove_domain_alias(&domain) {
                return Err(DirectoryError::Missing(format!("there is no domain alias {alias}")));
            }
            Ok(vec![(format!("domain-alias/{}", domain.key()), None)])
        }
        Edit::DomainAlias { alias, domain: main } => {
            let (alias, main) = (domain(&alias)?, domain(&main)?);
            model.set_domain_alias(&alias, &main)?;
            Ok(vec![(format!("domain-alias/{}", alias.key()), Some(json(&main.key())?))])
        }
        Edit::Alias { address: name, row, new } => {
            set(model, &name, Entry::Alias(row.entry()?), json(&row)?, new)
        }
        Edit::Group { address: name, row, new } => {
            set(model, &name, Entry::Group(row.entry()?), json(&row)?, new)
        }
        Edit::GroupMembers { address: name, add, remove } => {
            let found = model.find(&address(&name)?);
            let Some(Entry::Group(group)) = found else {
                return Err(DirectoryError::Missing(format!("there is no group {name}")));
            };
            let mut row = GroupRow::from(group);
            for member in remove {
                let gone = address(&member)?;
                let before = row.members.len();
                row.members.retain(|member| address(member).is_ok_and(|member| member != gone));
                if row.members.len() == before {
                    return Err(DirectoryError::Missing(format!("{member} is no member of {name}")));
                }
            }
            for member in add {
                let member = address(&member)?.to_string();
                if !row.members.contains(&member) {
                    row.members.push(member);
                }
            }
            set(model, &name, Entry::Group(row.entry()?), json(&row)?, false)
        }
        Edit::AliasRemove { address } => remove(model, &address, "alias"),
        Edit::GroupRemove { address } => remove(model, &address, "group"),
        Edit::Pseudonym { local, row } => {
            // In whatever domain: what is no local part there would never be asked for.
            if address(&format!("{local}@domain.example")).is_err() {
                return Err(DirectoryError::Target(format!(
                    "{local} is no local part, what stands before the @ of an address"
                )));
            }
            model.set_pseudonym(&local, row.entry()?);
            Ok(vec![(format!("pseudonym/{}", local.to_lowercase()), Some(json(&row)?))])
        }
        Edit::PseudonymRemove { local } => {
            if !model.remove_pseudonym(&local) {
                return Err(DirectoryError::Missing(format!("there is no alias {local} in all domains")));
            }
            Ok(vec![(format!("pseudonym/{}", local.to_lowercase()), None)])
        }
        Edit::Network { name, row, new } => {
            if new && model.networks().find(&name).is_some() {
                return Err(DirectoryError::Taken(format!("there is a network {name} already")));
            }
            set_network(model, &name, &row)
        }
        Edit::NetworkMembers { name, add, remove } => {
            let Some(object) = model.networks().find(&name) else {
                return Err(DirectoryError::Missing(format!("there is no network {name}")));
            };
            let mut row = NetworkRow::from(object);
            // Compared as they are shown, so that `192.0.2.1/32` is `192.0.2.1`.
            let shown = |members: Vec<String>| {
                NetworkRow { members, relay: false }.entry().map(|object| NetworkRow::from(&object).members)
            };
            for member in shown(remove)? {
                let before = row.members.len();
                row.members.retain(|found| *found != member);
                if row.members.len() == before {
                    return Err(DirectoryError::Missing(format!("{member} is no member of {name}")));
                }
            }
            row.members.extend(shown(add)?);
            set_network(model, &name, &row)
        }
        Edit::NetworkRemove { name } => match model.networks_mut().remove(&name) {
            Some(_) => Ok(vec![(format!("network/{name}"), None)]),
            None => Err(DirectoryError::Missing(format!("there is no network {name}"))),
        },
        Edit::Account { name, .. } => Err(DirectoryError::Unknown(name)),
    }
}

fn set_network(model: &mut Model, name: &str, row: &NetworkRow) -> Result<Vec<Change>, DirectoryError> {
    if name.is_empty() || name.len() > 100 || name.contains(char::is_control) {
        return Err(DirectoryError::Target(format!("{name:?} is no name for a network: use a short word")));
    }
    model.networks_mut().set(name, row.entry()?);
    Ok(vec![(format!("network/{name}"), Some(json(row)?))])
}

fn set(
    model: &mut Model,
    name: &str,
    entry: Entry,
    value: Vec<u8>,
    new: bool,
) -> Result<Vec<Change>, DirectoryError> {
    let address = address(name)?;
    if new && let Some(found) = model.find(&address) {
        return Err(DirectoryError::Taken(format!("{address} is {} already", found.kind())));
    }
    let kind = if matches!(entry, Entry::Group(_)) { "group" } else { "alias" };
    model.set(&address, entry)?;
    Ok(vec![(format!("{kind}/{}", model.canonical(&address)), Some(value))])
}

fn remove(model: &mut Model, name: &str, kind: &str) -> Result<Vec<Change>, DirectoryError> {
    // A name from the database may need quotes that it does not have any more.
    let canonical =
        address(name).map(|address| model.canonical(&address)).unwrap_or_else(|_| name.to_owned());
    let found = model.entry(&canonical).map(|entry| match entry {
        Entry::Alias(_) => "alias",
        Entry::Group(_) => "group",
        _ => "account",
    });
    // What cannot be read can be removed.
    let unreadable = found.is_none() && model.is_unreadable(&canonical);
    if found != Some(kind) && !unreadable {
        return Err(DirectoryError::Missing(format!("there is no {kind} {name}")));
    }
    model.take(&canonical);
    Ok(vec![(format!("{kind}/{canonical}"), None)])
}

pub(super) fn domain(name: &str) -> Result<Domain, DirectoryError> {
    name.parse().map_err(|_| DirectoryError::Target(format!("{name:?} is not a domain name")))
}

fn json(row: &impl Serialize) -> Result<Vec<u8>, DirectoryError> {
    serde_json::to_vec(row).map_err(|error| DirectoryError::Target(error.to_string()))
}
