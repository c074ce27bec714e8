//! Mail that hosts come for (ATRN): who may come here, and where this server goes itself.

use std::{collections::BTreeMap, path::PathBuf};

use mailwright::mail_model::Domain;
use serde::{Deserialize, Serialize};

use super::{Config, Protocol, TlsMode};

/// Both sides of ATRN (RFC 2645).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct OnDemand {
    /// Which accounts may come for the mail of which domains.
    pub(crate) accounts: BTreeMap<String, Vec<String>>,
    /// Whom this server asks for mail.
    #[serde(rename = "provider", skip_serializing_if = "Vec::is_empty")]
    pub(crate) providers: Vec<Provider>,
}

/// A server that keeps mail for domains of this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Provider {
    pub(crate) host: String,
    /// RFC 2645 §5: 366.
    #[serde(default = "odmr_port")]
    pub(crate) port: u16,
    #[serde(default)]
    pub(crate) tls: TlsMode,
    pub(crate) user: String,
    pub(crate) password_file: PathBuf,
    /// Whose mail; all that the account may come for if empty.
    #[serde(default)]
    pub(crate) domains: Vec<String>,
    #[serde(default = "quarter_of_an_hour")]
    pub(crate) every_seconds: u64,
}

fn odmr_port() -> u16 {
    366
}

fn quarter_of_an_hour() -> u64 {
    900
}

impl OnDemand {
    /// The domains that somebody may come for.
    pub(crate) fn domains(&self) -> impl Iterator<Item = &String> {
        self.accounts.values().flatten()
    }
}

/// Domains of texts that were checked.
pub(crate) fn domains(texts: &[String]) -> Vec<Domain> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

impl Config {
    pub(super) fn on_demand_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let listens = self.listeners.iter().any(|listener| listener.protocol == Protocol::Odmr);
        let options = &self.on_demand;
        if listens && options.accounts.is_empty() {
            problems.push(
                "an odmr listener is for accounts that come for mail: name them in [on_demand.accounts]"
                    .into(),
            );
        }
        if !listens && !options.accounts.is_empty() {
            problems.push("[on_demand.accounts] is set, but nobody can come for mail: add a [[listener]] with protocol = \"odmr\"".into());
        }
        for (account, domains) in &options.accounts {
            if !account.contains('@') {
                problems.push(format!("[on_demand.accounts]: {account:?} is not the name of an account"));
            }
            if domains.is_empty() {
                problems.push(format!("[on_demand.accounts]: {account} may come for no domain: name one"));
            }
        }
        let asked = options.providers.iter().flat_map(|provider| &provider.domains);
        for domain in options.domains().chain(asked) {
            if domain.parse::<Domain>().is_err() {
                problems.push(format!("[on_demand]: {domain:?} is not a domain name"));
            }
        }
        for provider in &options.providers {
            let host = &provider.host;
            if host.is_empty() || provider.port == 0 || provider.user.is_empty() {
                problems.push("[[on_demand.provider]] needs a host, a port from 1 and a user".into());
            }
            if provider.every_seconds == 0 {
                problems.push(format!("[[on_demand.provider]] {host}: every_seconds must be at least 1"));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_come_can_come() {
        let problems = |text: &str| toml::from_str::<Config>(text).unwrap().problems();
        let listener = "[[listener]]\nprotocol = \"odmr\"\naddress = \"127.0.0.1:366\"\n";
        let accounts = "[on_demand.accounts]\n\"b@a.example\" = [\"b.example\"]\n";
        for store in ["", "[store]\nkind = \"maildir\"\npath = \"/var/mail/%u/Maildir\"\n"] {
            assert_eq!(problems(&format!("{listener}{accounts}{store}")), Vec::<String>::new());
        }
        for (text, word) in [
            (listener.to_owned(), "name them"),
            (accounts.to_owned(), "nobody can come"),
            (format!("{listener}{}", accounts.replace("b@a.example", "b")), "not the name of an account"),
            (format!("{listener}{}", accounts.replace("\"b.example\"", "")), "no domain"),
            (format!("{listener}{}", accounts.replace("b.example", "b b")), "not a domain"),
            (
                "[[on_demand.provider]]\nhost = \"\"\nuser = \"b\"\npassword_file = \"p\"\n".into(),
                "needs a host",
            ),
            (
                "[[on_demand.provider]]\nhost = \"h\"\nuser = \"b\"\npassword_file = \"p\"\nevery_seconds = 0\n"
                    .into(),
                "every_seconds",
            ),
        ] {
            let problems = problems(&text);
            assert!(problems.len() == 1 && problems[0].contains(word), "{text}: {problems:?}");
        }
    }
}
