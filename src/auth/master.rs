//! Administrators who open other people's mailboxes.

use std::collections::HashSet;

/// Who may log in as somebody else with their own password: as `john*admin` for the account `john` (Dovecot's
/// `auth_master_user_separator`), or with an authorization identity (RFC 4616 §2). Nobody unless configured, and every
/// such login is told in the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MasterUsers {
    separator: Option<char>,
    names: HashSet<String>,
}

impl MasterUsers {
    /// The accounts of these names, canonical as [`Accounts`](mailwright_mailstore::accounts::Accounts) name them.
    /// Without a separator there is only the authorization identity.
    pub fn new(names: impl IntoIterator<Item = impl Into<String>>, separator: Option<char>) -> Self {
        Self { separator, names: names.into_iter().map(Into::into).collect() }
    }

    /// Takes `john*admin` apart: who logs in, and as whom.
    pub(super) fn split<'a>(&self, name: &'a str) -> Option<(&'a str, &'a str)> {
        let separator = self.separator.filter(|_| !self.names.is_empty())?;
        let (target, master) = name.rsplit_once(separator)?;
        (!target.is_empty() && !master.is_empty()).then_some((master, target))
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether this account is one of them.
    pub(super) fn contains(&self, account: &str) -> bool {
        self.names.contains(account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_only_where_there_are_masters() {
        let masters = MasterUsers::new(["admin@a.test"], Some('*'));
        for (name, expected) in [
            ("john*admin", Some(("admin", "john"))),
            ("john@a.test*admin@a.test", Some(("admin@a.test", "john@a.test"))),
            ("jo*hn*admin", Some(("admin", "jo*hn"))),
            ("*admin", None),
            ("john*", None),
            ("john", None),
        ] {
            assert_eq!(masters.split(name), expected, "{name}");
        }
        assert!(masters.contains("admin@a.test") && !masters.contains("john"));
        assert_eq!(MasterUsers::default().split("john*admin"), None);
        assert_eq!(MasterUsers::new(["admin"], None).split("john*admin"), None);
    }
}
