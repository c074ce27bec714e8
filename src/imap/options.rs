//! What can be chosen about IMAP.

use std::time::Duration;

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
    /// Whether what is expunged is moved to the user's mailbox with the special use `\Trash`, or to `Trash`, which is made if it is
    /// missing; what is expunged there is gone. Only in the user's own mailboxes.
    pub deleted_to_trash: bool,
    /// What is done for which clients: a part of the name that they give with ID, in any case, or `*` for all.
    pub workarounds: Vec<(String, Workarounds)>,
    /// The names of this server in the URLs that it gives rights to (GENURLAUTH, RFC 4467 §7), case apart; a port behind them is passed
    /// over. None: any.
    pub url_hosts: Vec<String>,
    /// How often a client is told how far a search has come; RFC 9585 §3.1 asks for no more than once in ten seconds.
    pub progress_interval: Duration,
}

impl Default for Options {
    /// Nothing is done for clients that are wrong, and what is expunged is gone.
    fn default() -> Self {
        Self {
            deleted_to_trash: false,
            workarounds: Vec::new(),
            url_hosts: Vec::new(),
            progress_interval: Duration::from_secs(10),
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

    /// What is done for a client that calls itself so, or has not said how it is called.
    pub fn workarounds_for(&self, name: Option<&str>) -> Workarounds {
        let name = name.map(str::to_lowercase);
        let means = |pattern: &str| {
            pattern == "*" || name.as_ref().is_some_and(|name| name.contains(&pattern.to_lowercase()))
        };
        let mut all = Workarounds::default();
        for (_, workarounds) in self.workarounds.iter().filter(|(pattern, _)| means(pattern)) {
            all.delay_new_mail |= workarounds.delay_new_mail;
            all.extra_separator |= workarounds.extra_separator;
        }
        all
    }
}
