//! What can be chosen about IMAP.

use std::{collections::BTreeMap, time::Duration};

use mailwright_imap_proto::server::Workarounds;

/// What can be chosen about a service.
///
/// ```
/// use mailwright::imap::Options;
/// use mailwright::imap_proto::server::Workarounds;
///
/// let mut delays = Workarounds::default();
/// delays.delay_new_mail = true;
/// let mut options = Options::default();
/// options.workarounds.push(("Outlook".into(), delays));
/// assert!(options.workarounds_for(Some("Microsoft Outlook 2003")).delay_new_mail);
/// assert!(!options.workarounds_for(Some("Thunderbird")).delay_new_mail);
/// assert!(!options.workarounds_for(None).delay_new_mail);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Which messages are moved to the user's mailbox with the special use `\Trash`, or to `Trash`, which is made if it is missing;
    /// what is expunged there is gone. Only in the user's own mailboxes.
    pub deleted_to_trash: ToTrash,
    /// The same for some users, by the names of their accounts; this goes before what is said of clients.
    pub users_to_trash: BTreeMap<String, ToTrash>,
    /// The same for some clients: a part of the name that they give with ID, in any case, or `*` for all that give one or none.
    pub clients_to_trash: Vec<(String, ToTrash)>,
    /// What is done for which clients: a part of the name that they give with ID, in any case, or `*` for all.
    pub workarounds: Vec<(String, Workarounds)>,
    /// The names of this server in the URLs that it gives rights to (GENURLAUTH, RFC 4467 §7), case apart; a port behind them is passed
    /// over. None: any.
    pub url_hosts: Vec<String>,
    /// How often a client is told how far a search has come; RFC 9585 §3.1 asks for no more than once in ten seconds.
    pub progress_interval: Duration,
    /// How many octets of header fields are remembered that searches and sorts looked at lately, of all mailboxes together: the next that
    /// looks at the same ones reads nothing. They are forgotten two minutes after the last look, and of what a user's key opens
    /// ([`User::has_key`](mailwright_mailstore::User::has_key)) none is. 0: none.
    pub remembered_octets: usize,
}

/// Which messages are moved to the trash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ToTrash {
    /// None: what is expunged is gone.
    #[default]
    Nothing,
    /// Those that are expunged.
    Expunged,
    /// Those that are given `\Deleted` (STORE) as soon as they are, for clients that mark and never expunge; and those that are expunged.
    Deleted,
}

impl Default for Options {
    /// Nothing is done for clients that are wrong, and what is expunged is gone.
    fn default() -> Self {
        Self {
            deleted_to_trash: ToTrash::Nothing,
            users_to_trash: BTreeMap::new(),
            clients_to_trash: Vec::new(),
            workarounds: Vec::new(),
            url_hosts: Vec::new(),
            progress_interval: Duration::from_secs(10),
            remembered_octets: 32 << 20,
        }
    }
}

impl Options {
    /// Whether a URL with this host is one of this server's.
    pub(super) fn names_us(&self, host: &str) -> bool {
        let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|octet| octet.is_ascii_digit()));
        let name = name.map_or(host, |(name, _)| name);
        self.url_hosts.is_empty() || self.url_hosts.iter().any(|ours| ours.eq_ignore_ascii_case(name))
    }

    /// Which messages of this user are moved to the trash, where a client that calls itself so, or has not said how it is called, deletes
    /// them.
    pub fn to_trash(&self, user: &str, client: Option<&str>) -> ToTrash {
        let of_client = || self.clients_to_trash.iter().find(|(pattern, _)| means(pattern, client));
        let of_user = self.users_to_trash.get(user).copied();
        of_user.or_else(|| of_client().map(|(_, chosen)| *chosen)).unwrap_or(self.deleted_to_trash)
    }

    /// What is done for a client that calls itself so, or has not said how it is called.
    pub fn workarounds_for(&self, name: Option<&str>) -> Workarounds {
        let mut all = Workarounds::default();
        for (_, workarounds) in self.workarounds.iter().filter(|(pattern, _)| means(pattern, name)) {
            all.delay_new_mail |= workarounds.delay_new_mail;
            all.extra_separator |= workarounds.extra_separator;
        }
        all
    }
}

/// Whether a client is meant.
fn means(pattern: &str, name: Option<&str>) -> bool {
    let is_part = |name: &str| name.to_lowercase().contains(&pattern.to_lowercase());
    pattern == "*" || name.is_some_and(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_go_before_clients_and_these_before_all() {
        let mut options = Options { deleted_to_trash: ToTrash::Expunged, ..Options::default() };
        options.users_to_trash.insert("ann@a.example".into(), ToTrash::Nothing);
        options.clients_to_trash.push(("outlook".into(), ToTrash::Deleted));
        assert_eq!(options.to_trash("ann@a.example", Some("Outlook")), ToTrash::Nothing);
        assert_eq!(options.to_trash("bob@a.example", Some("Microsoft Outlook")), ToTrash::Deleted);
        assert_eq!(options.to_trash("bob@a.example", Some("mutt")), ToTrash::Expunged);
        assert_eq!(options.to_trash("bob@a.example", None), ToTrash::Expunged);
    }
}
