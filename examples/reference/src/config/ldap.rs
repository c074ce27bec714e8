//! The configuration of accounts in LDAP.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where accounts are, and how they are found there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Ldap {
    /// `ldaps:`, `ldap:` or `ldapi:`.
    pub(crate) url: String,
    /// Whether TLS is begun on an `ldap:` connection.
    pub(crate) starttls: bool,
    /// The authorities that are trusted to say who the server is: PEM.
    pub(crate) trust: PathBuf,
    /// The name of a user's entry, with variables; if empty it is searched for.
    pub(crate) user_dn: String,
    /// Who searches, and the file of its password; nobody in particular if empty.
    pub(crate) bind_dn: String,
    pub(crate) password_file: PathBuf,
    /// Below which entry, and what for.
    pub(crate) base: String,
    pub(crate) filter: String,
    /// Which entries are accounts here; if empty, accounts are added by hand.
    pub(crate) accounts: String,
    /// The attributes with the account's name, further addresses, and the octets it may have.
    pub(crate) name: String,
    pub(crate) aliases: String,
    pub(crate) quota: String,
    /// How often the accounts are looked at.
    pub(crate) every_seconds: u64,
    /// How long an answer may take.
    pub(crate) timeout_seconds: u64,
}

impl Default for Ldap {
    fn default() -> Self {
        Self {
            url: String::new(),
            starttls: true,
            trust: "/etc/ssl/certs/ca-certificates.crt".into(),
            user_dn: String::new(),
            bind_dn: String::new(),
            password_file: PathBuf::new(),
            base: String::new(),
            filter: "(mail=%u)".into(),
            accounts: String::new(),
            name: "mail".into(),
            aliases: String::new(),
            quota: String::new(),
            every_seconds: 60,
            timeout_seconds: 10,
        }
    }
}

impl Ldap {
    /// Everything that is wrong.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !cfg!(feature = "ldap") {
            problems.push(
                "[auth.ldap] is set, but this program was built without it: build it with --features ldap"
                    .into(),
            );
        }
        if !["ldaps://", "ldap://", "ldapi://"].iter().any(|scheme| self.url.starts_with(scheme)) {
            problems.push(format!(
                "auth.ldap.url = {:?} is no LDAP URL: write ldaps://ldap.example.org, or ldapi:///path with / as %2f",
                self.url
            ));
        }
        let near = ["ldap://localhost", "ldap://127.", "ldap://[::1]"];
        if self.url.starts_with("ldap://")
            && !self.starttls
            && !near.iter().any(|near| self.url.starts_with(near))
        {
            problems.push(
                "auth.ldap.starttls = false would send passwords through the network in the clear: use ldaps:// or starttls".into(),
            );
        }
        if self.user_dn.is_empty() && self.base.is_empty() {
            problems.push(
                "[auth.ldap] needs user_dn, like \"uid=%n,ou=people,dc=example,dc=org\", or base, to search below".into(),
            );
        }
        if !self.user_dn.is_empty() && !self.user_dn.contains('%') {
            problems.push("auth.ldap.user_dn is the same for everybody: use %u, or %n and %d".into());
        }
        if self.user_dn.is_empty() && !self.filter.contains('%') {
            problems.push("auth.ldap.filter finds the same for everybody: use %u, or %n and %d".into());
        }
        if !self.accounts.is_empty() && (self.base.is_empty() || self.name.is_empty()) {
            problems.push("auth.ldap.accounts needs base, to search below, and name, the attribute with the mail address".into());
        }
        if self.bind_dn.is_empty() != self.password_file.as_os_str().is_empty() {
            problems.push("[auth.ldap] needs both bind_dn and password_file, or neither".into());
        }
        if self.every_seconds == 0 || self.timeout_seconds == 0 {
            problems.push("auth.ldap: every_seconds and timeout_seconds must be more than 0".into());
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = Ldap {
            url: "ldap://ldap.example".into(),
            starttls: false,
            bind_dn: "cn=reader".into(),
            filter: "(mail=x)".into(),
            accounts: "(objectClass=*)".into(),
            every_seconds: 0,
            ..Ldap::default()
        };
        let problems = wrong.problems().join("\n");
        for word in
            ["in the clear", "user_dn", "password_file", "filter", "accounts needs base", "every_seconds"]
        {
            assert!(problems.contains(word), "{word}: {problems}");
        }
        assert!(Ldap::default().problems().join("\n").contains("no LDAP URL"));
        let right = Ldap {
            url: "ldap://127.0.0.1:389".into(),
            starttls: false,
            user_dn: "uid=%n,dc=example".into(),
            ..Ldap::default()
        };
        assert_eq!(right.problems().is_empty(), cfg!(feature = "ldap"));
    }
}
