//! Where accounts come from, and who may not log in to them though the password is right.

use std::{collections::BTreeSet, net::IpAddr, sync::PoisonError};

use mailwright::{mailstore::accounts::PasswdEntry, relay_policy::networks::AddressRange};
use serde::{Deserialize, Serialize};

use super::{Directory, DirectoryError, accounts::NewRow};

/// Where an account comes from. It is kept with the account, so that a backup has both or neither.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Origin {
    /// Somebody has added it.
    #[default]
    Hand,
    /// A line of `auth.passwd_files`, with which it goes.
    PasswdFile,
    /// An entry of LDAP, with which it goes.
    Ldap,
}

/// What Dovecot calls logins that come from no address: those over a socket of this machine.
const LOCAL: &str = "local";

/// Who may not log in, whatever the password.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Access {
    /// Nobody may.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) nologin: bool,
    /// Who comes from these networks may, and nobody else: addresses, networks, `local`. Empty: from anywhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) allow_nets: Vec<String>,
}

impl Access {
    /// What a line of a passwd-file says of it; `None` if it says nothing.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn of(entry: &PasswdEntry) -> Result<Option<Self>, String> {
        // Whose logins go on to another host has no mail here.
        let nologin = entry.field("nologin").is_some() || entry.field("proxy").is_some();
        let allow_nets = match entry.field("allow_nets") {
            None => Vec::new(),
            Some(text) => {
                let networks: Vec<String> = text.split(',').map(str::to_owned).collect();
                if let Some(wrong) = networks.iter().find(|text| *text != LOCAL && range(text).is_none()) {
                    return Err(format!("allow_nets: {wrong:?} is no address and no network"));
                }
                networks
            }
        };
        let access = Self { nologin, allow_nets };
        Ok(Some(access).filter(|access| *access != Self::default()))
    }

    /// Whether somebody may log in from there.
    pub(super) fn lets_in(&self, from: Option<IpAddr>) -> bool {
        let fits = |network: &String| match from {
            Some(address) => range(network).is_some_and(|range| range.contains(address.to_canonical())),
            None => network == LOCAL,
        };
        !self.nologin && (self.allow_nets.is_empty() || self.allow_nets.iter().any(fits))
    }
}

/// Dovecot takes networks that are written by any of their addresses.
fn range(text: &str) -> Option<AddressRange> {
    let Some((address, prefix)) = text.split_once('/') else {
        return text.parse::<IpAddr>().ok().map(|address| address.to_canonical().into());
    };
    let (address, prefix) = (address.parse::<IpAddr>().ok()?, prefix.parse().ok()?);
    let longest = if address.is_ipv4() { 32 } else { 128 };
    (prefix <= longest).then(|| AddressRange::network(address, prefix))
}

impl Directory {
    /// The accounts that come from there, by their canonical names.
    pub(crate) fn accounts_from(&self, origin: Origin) -> BTreeSet<String> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        let ours = accounts.iter().filter(|(_, account)| account.origin == origin);
        ours.map(|(name, _)| name.clone()).collect()
    }

    /// Notes that these accounts come from there; those that are not there any more do not matter.
    pub(crate) fn claim<'a>(
        &self,
        names: impl IntoIterator<Item = &'a String>,
        origin: Origin,
    ) -> Result<(), DirectoryError> {
        let _changing = self.lock_changes();
        let rows: Vec<NewRow> = names
            .into_iter()
            .filter_map(|name| self.find(name))
            .map(|account| account.with_mail(account.mail.clone()))
            .collect();
        self.write_from(rows, Some(origin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(fields: &str) -> Result<Option<Access>, String> {
        let entries = PasswdEntry::read(&format!("a@a.test:{{PLAIN}}x::::::{fields}")).unwrap();
        Access::of(&entries[0])
    }

    #[test]
    fn networks_are_those_of_dovecot() {
        for (fields, in_net, elsewhere, v6, local) in [
            ("", true, true, true, true),
            ("reason=x userdb_nologin", true, true, true, true),
            ("nologin", false, false, false, false),
            ("nologin=y allow_nets=192.0.2.0/24", false, false, false, false),
            ("proxy host=10.0.0.1", false, false, false, false),
            ("allow_nets=192.0.2.7/24", true, false, false, false),
            ("allow_nets=192.0.2.9,local", true, false, false, true),
            ("allow_nets=2001:db8::/32", false, false, true, false),
            ("allow_nets=0.0.0.0/0", true, true, false, false),
        ] {
            let access = access(fields).unwrap().unwrap_or_default();
            let from = |text: &str| access.lets_in(Some(text.parse().unwrap()));
            let found = (from("192.0.2.9"), from("198.51.100.1"), from("2001:db8::1"), access.lets_in(None));
            assert_eq!(found, (in_net, elsewhere, v6, local), "{fields}");
            assert_eq!(from("::ffff:192.0.2.9"), in_net, "{fields}");
        }
        for wrong in
            ["allow_nets=", "allow_nets=10.0.0.0/33", "allow_nets=10.0.0.1,", "allow_nets=example.org"]
        {
            assert!(access(wrong).is_err(), "{wrong}");
        }
    }
}
