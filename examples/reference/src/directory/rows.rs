//! What is at domains and addresses, as it is kept in the database and written in a directory file.

use std::collections::BTreeMap;

use clap::ValueEnum;
use mailwright::{
    mail_model::Address,
    relay_policy::{
        directory::{
            Account, Alias, DomainEntry, DomainMode, Group, GroupDelivery, JournalReports, RelayRecipients,
            Target,
        },
        networks::{AddressRange, NetworkObject},
    },
};
use serde::{Deserialize, Serialize};

use super::{Access, DirectoryError};

/// A domain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DomainRow {
    /// Mail for any address goes on elsewhere.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) relay: bool,
    /// For which addresses, if it goes on elsewhere.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) recipients: Recipients,
    /// Who gets what is addressed to nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unknown: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) postmaster: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) journal: Option<String>,
    /// Who hears of copies that the journal does not take.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) journal_reports: Reports,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bcc: Option<String>,
}

/// For which addresses of a relay domain mail is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Recipients {
    /// Any
    #[default]
    Any,
    /// Those that are listed here: an alias that names itself is passed on
    Listed,
    /// Those that the next host does not refuse when it is asked
    Verified,
}

/// Who hears of copies that a journal does not take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reports {
    /// Whoever wrote the message
    #[default]
    Author,
    /// The domain's postmaster
    Postmaster,
}

/// An alias, of an address or of a local part in all domains.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AliasRow {
    pub(crate) targets: Vec<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) local_only: bool,
}

/// A group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroupRow {
    pub(crate) members: Vec<String>,
    /// One message in a folder that all members see, in place of a copy for each.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) shared_folder: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) forward: Vec<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) keep: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) local_only: bool,
}

/// What becomes of an account's mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AccountRow {
    pub(crate) mailbox: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) forward: Vec<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) keep: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) local_only: bool,
    /// Since when it is whose it is, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<i64>,
    /// Who may not log in, whatever the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) login: Option<Access>,
}

impl Default for AccountRow {
    fn default() -> Self {
        Self { mailbox: true, forward: Vec::new(), keep: false, local_only: false, since: None, login: None }
    }
}

/// A group of clients.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NetworkRow {
    pub(crate) members: Vec<String>,
    /// They may send anywhere without logging in.
    #[serde(default)]
    pub(crate) relay: bool,
}

/// What an account logs in with. A file that has it is as secret as the accounts.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretRow {
    /// `{SCHEME}hash`.
    pub(crate) password: String,
    /// The keys for SCRAM as they are kept, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scram: Option<String>,
}

impl std::fmt::Debug for SecretRow {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SecretRow(..)")
    }
}

/// The whole directory: the form of `mailwrightd directory export`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct DirectoryFile {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) domain_alias: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) domain: BTreeMap<String, DomainRow>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) account: BTreeMap<String, AccountRow>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) alias: BTreeMap<String, AliasRow>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) group: BTreeMap<String, GroupRow>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) network: BTreeMap<String, NetworkRow>,
    /// Local parts known in all domains.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) pseudonym: BTreeMap<String, AliasRow>,
    /// By account; empty unless secrets were asked for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) secret: BTreeMap<String, SecretRow>,
}

impl DomainRow {
    pub(crate) fn entry(&self) -> Result<DomainEntry, DirectoryError> {
        let mut entry = DomainEntry::default();
        entry.mode = if self.relay { DomainMode::Relay } else { DomainMode::Deliver };
        entry.recipients = match self.recipients {
            Recipients::Any => RelayRecipients::Any,
            Recipients::Listed => RelayRecipients::Listed,
            Recipients::Verified => RelayRecipients::Verified,
        };
        entry.journal_reports = match self.journal_reports {
            Reports::Author => JournalReports::Author,
            Reports::Postmaster => JournalReports::Postmaster,
        };
        entry.unknown = self.unknown.as_deref().map(target).transpose()?;
        entry.postmaster = self.postmaster.as_deref().map(address).transpose()?;
        entry.journal = self.journal.as_deref().map(address).transpose()?;
        entry.bcc = self.bcc.as_deref().map(address).transpose()?;
        Ok(entry)
    }
}

impl From<&DomainEntry> for DomainRow {
    fn from(entry: &DomainEntry) -> Self {
        let text = |address: &Option<Address>| address.as_ref().map(ToString::to_string);
        Self {
            relay: entry.mode == DomainMode::Relay,
            recipients: match entry.recipients {
                RelayRecipients::Listed => Recipients::Listed,
                RelayRecipients::Verified => Recipients::Verified,
                _ => Recipients::Any,
            },
            journal_reports: match entry.journal_reports {
                JournalReports::Postmaster => Reports::Postmaster,
                _ => Reports::Author,
            },
            unknown: entry.unknown.as_ref().map(ToString::to_string),
            postmaster: text(&entry.postmaster),
            journal: text(&entry.journal),
            bcc: text(&entry.bcc),
        }
    }
}

impl AliasRow {
    pub(crate) fn entry(&self) -> Result<Alias, DirectoryError> {
        if self.targets.is_empty() {
            return Err(DirectoryError::Target("an alias needs at least one target".into()));
        }
        let mut alias = Alias::to(targets(&self.targets)?);
        alias.local_only = self.local_only;
        Ok(alias)
    }
}

impl From<&Alias> for AliasRow {
    fn from(alias: &Alias) -> Self {
        Self { targets: texts(&alias.targets), local_only: alias.local_only }
    }
}

impl GroupRow {
    pub(crate) fn entry(&self) -> Result<Group, DirectoryError> {
        let members: Result<Vec<Address>, _> = self.members.iter().map(|member| address(member)).collect();
        let mut group = Group::of(members?);
        if self.shared_folder {
            group.delivery = GroupDelivery::SharedFolder;
        }
        group.forward = targets(&self.forward)?;
        (group.keep, group.local_only) = (self.keep, self.local_only);
        Ok(group)
    }
}

impl From<&Group> for GroupRow {
    fn from(group: &Group) -> Self {
        Self {
            members: group.members.iter().map(ToString::to_string).collect(),
            shared_folder: group.delivery == GroupDelivery::SharedFolder,
            forward: texts(&group.forward),
            keep: group.keep,
            local_only: group.local_only,
        }
    }
}

impl NetworkRow {
    pub(crate) fn entry(&self) -> Result<NetworkObject, DirectoryError> {
        let bad = |error: &dyn std::fmt::Display| DirectoryError::Target(error.to_string());
        let members: Result<Vec<AddressRange>, _> =
            self.members.iter().map(|member| member.parse()).collect();
        let members = members.map_err(|error| bad(&error))?;
        NetworkObject::new(members, self.relay).map_err(|error| bad(&error))
    }
}

impl From<&NetworkObject> for NetworkRow {
    fn from(object: &NetworkObject) -> Self {
        Self { members: object.members.iter().map(ToString::to_string).collect(), relay: object.relay }
    }
}

impl AccountRow {
    pub(crate) fn entry(&self) -> Result<Account, DirectoryError> {
        let mut account = Account::default();
        account.forward = targets(&self.forward)?;
        (account.mailbox, account.keep, account.local_only) = (self.mailbox, self.keep, self.local_only);
        account.since = self.since;
        Ok(account)
    }
}

impl From<&Account> for AccountRow {
    fn from(account: &Account) -> Self {
        Self {
            mailbox: account.mailbox,
            forward: texts(&account.forward),
            keep: account.keep,
            local_only: account.local_only,
            since: account.since,
            // The model does not know it.
            login: None,
        }
    }
}

pub(crate) fn address(text: &str) -> Result<Address, DirectoryError> {
    text.parse().map_err(|_| DirectoryError::Name(text.to_owned()))
}

fn target(text: &str) -> Result<Target, DirectoryError> {
    let target: Target = text.parse().map_err(|error| DirectoryError::Target(format!("{text}: {error}")))?;
    match target {
        Target::Address(_) | Target::Mailbox(_) => Ok(target),
        _ => Err(DirectoryError::Target(format!(
            "{text} is not an address; files, programs and lists belong into the alias file ([aliases] file)"
        ))),
    }
}

fn targets(texts: &[String]) -> Result<Vec<Target>, DirectoryError> {
    texts.iter().map(|text| target(text)).collect()
}

fn texts(targets: &[Target]) -> Vec<String> {
    targets.iter().map(ToString::to_string).collect()
}

/// Whether a row says nothing by it.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_false(value: &bool) -> bool {
    !value
}
