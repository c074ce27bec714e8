//! The configuration: one TOML file, every key with a default, checked before it is used.

pub(crate) mod acme;
pub(crate) mod aliases;
pub(crate) mod auth;
pub(crate) mod authentication;
mod check;
mod fetch;
mod http;
mod imap;
pub(crate) mod ldap;
mod life;
mod limits;
mod listener;
mod listening;
mod log;
pub(crate) mod oauth;
pub(crate) mod on_demand;
mod outbound;
mod pop3;
pub(crate) mod rules;
mod sendmail;
mod sieve;
mod store;
mod trace;
mod users;

use std::{
    fs,
    path::{Path, PathBuf},
};

use mailwright::{line_proto::Language, relay_policy::networks::AddressRange};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub(crate) use self::http::Http;
pub(crate) use fetch::Fetch;
pub(crate) use life::{Expiry, Period, Quota, Size};
pub(crate) use limits::Limits;
pub(crate) use listener::{
    Answers, AskForCertificate, ListenAddress, Listener, Lists, Protocol, SmtpOptions, Syntax, TlsMode,
};
pub(crate) use log::{Log, LogFormat};
pub(crate) use on_demand::{OnDemand, Provider};
pub(crate) use outbound::{Dns, Families, Queue, Relay, TlsLevel, destination, hop};
pub(crate) use sieve::{SNOOZED, Sieve};
pub(crate) use store::{Store, StoreKind};
pub(crate) use trace::Trace;

/// The commented default configuration, as `mailwrightd config default` prints it.
pub(crate) const DEFAULT: &str = include_str!("config/default.toml");

/// All of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Where everything is kept.
    pub(crate) data: PathBuf,
    /// Our name in greetings and trace fields.
    pub(crate) hostname: String,
    /// The domains whose mail is delivered here.
    pub(crate) domains: Vec<String>,
    /// The domain of names without one, in aliases and from programs here; the first of `domains` if empty.
    pub(crate) origin: String,
    /// The account that gets mail for postmaster; the oldest account if empty.
    pub(crate) postmaster: String,
    /// Who gets a blind copy of every message that comes in or goes out; nobody if empty.
    pub(crate) always_bcc: String,
    /// The characters that separate a detail from an account's name.
    pub(crate) separators: String,
    /// Whether passwords are taken without TLS.
    pub(crate) allow_plaintext_auth: bool,
    /// The families of addresses that are used.
    pub(crate) inet_protocols: rules::Protocols,
    pub(crate) users: users::Users,
    pub(crate) store: Store,
    /// Networks of proxies that say with the PROXY protocol whom they connect for.
    pub(crate) proxies: Vec<String>,
    pub(crate) tls: Tls,
    /// Who issues our certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) acme: Option<acme::Acme>,
    pub(crate) auth: auth::Auth,
    /// Certificates for other names.
    #[serde(rename = "certificate")]
    pub(crate) certificates: Vec<NamedCertificate>,
    #[serde(rename = "listener")]
    pub(crate) listeners: Vec<Listener>,
    pub(crate) aliases: aliases::Aliases,
    pub(crate) sendmail: sendmail::Sendmail,
    pub(crate) relay: Relay,
    pub(crate) queue: Queue,
    pub(crate) dns: Dns,
    pub(crate) authentication: authentication::Authentication,
    pub(crate) rules: rules::Rules,
    pub(crate) limits: Limits,
    pub(crate) quota: Quota,
    pub(crate) expiry: Expiry,
    pub(crate) sieve: Sieve,
    pub(crate) fetch: Fetch,
    pub(crate) on_demand: OnDemand,
    pub(crate) http: Http,
    pub(crate) smtp: SmtpOptions,
    pub(crate) imap: imap::Imap,
    pub(crate) pop3: pop3::Pop3,
    pub(crate) trace: Trace,
    pub(crate) log: Log,
}

/// Ranges of addresses, of texts that were checked.
pub(crate) fn ranges(texts: &[String]) -> Vec<AddressRange> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

/// The certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tls {
    /// PEM, our certificate first. Self-signed if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<PathBuf>,
    /// PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<PathBuf>,
    /// The authorities whose certificates clients may show: PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_ca: Option<PathBuf>,
    /// Whether a certificate's common name may be that of an account.
    pub(crate) client_common_name: bool,
}

/// A certificate for clients that ask for one of these names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NamedCertificate {
    pub(crate) names: Vec<String>,
    /// PEM, the server's own first.
    pub(crate) certificate: PathBuf,
    /// PEM.
    pub(crate) key: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: "mailwright-data".into(),
            hostname: "localhost".into(),
            domains: vec!["localhost".into()],
            origin: String::new(),
            postmaster: String::new(),
            always_bcc: String::new(),
            separators: "+".into(),
            allow_plaintext_auth: false,
            users: users::Users::default(),
            store: Store::default(),
            proxies: Vec::new(),
            tls: Tls::default(),
            acme: None,
            auth: auth::Auth::default(),
            certificates: Vec::new(),
            listeners: listener::default_listeners(),
            aliases: aliases::Aliases::default(),
            sendmail: sendmail::Sendmail::default(),
            relay: Relay::default(),
            queue: Queue::default(),
            dns: Dns::default(),
            authentication: authentication::Authentication::default(),
            rules: rules::Rules::default(),
            inet_protocols: rules::Protocols::default(),
            limits: Limits::default(),
            quota: Quota::default(),
            expiry: Expiry::default(),
            sieve: Sieve::default(),
            fetch: Fetch::default(),
            on_demand: OnDemand::default(),
            http: Http::default(),
            smtp: SmtpOptions::default(),
            imap: imap::Imap::default(),
            pop3: pop3::Pop3::default(),
            trace: Trace::default(),
            log: Log::default(),
        }
    }
}

/// What is wrong with a configuration, and what to do about it.
#[derive(Debug, Error)]
pub(crate) enum ConfigError {
    #[error(
        "cannot read the configuration {path}: {source}\n  give another file with --config FILE, or start from `mailwrightd config default > {path}`"
    )]
    Read { path: String, source: std::io::Error },
    #[error(
        "the configuration {path} is not right:\n{message}\n  `mailwrightd config default` prints every key with its meaning"
    )]
    Parse { path: String, message: String },
    #[error("the configuration is not right:\n{}", problems.iter().map(|problem| format!("  - {problem}")).collect::<Vec<_>>().join("\n"))]
    Check { problems: Vec<String> },
}

impl Config {
    /// Reads and checks the file, or takes the defaults if there is none. `data` overrides the key of that name.
    ///
    /// Relative paths are relative to the directory of the file.
    pub(crate) fn load(path: Option<&Path>, data: Option<&Path>) -> Result<Self, ConfigError> {
        let mut config = match path {
            Some(path) => Self::read(path)?,
            None => Self::default(),
        };
        if let Some(data) = data {
            config.data = data.to_owned();
        }
        config.checked()
    }

    /// The same, if nothing is wrong with it.
    pub(crate) fn checked(self) -> Result<Self, ConfigError> {
        let problems = self.problems();
        if problems.is_empty() { Ok(self) } else { Err(ConfigError::Check { problems }) }
    }

    /// Reads the file without looking whether a server could be run with it.
    pub(crate) fn unchecked(path: Option<&Path>) -> Result<Self, ConfigError> {
        path.map_or_else(|| Ok(Self::default()), Self::read)
    }

    fn read(path: &Path) -> Result<Self, ConfigError> {
        let shown = path.display().to_string();
        let text =
            fs::read_to_string(path).map_err(|source| ConfigError::Read { path: shown.clone(), source })?;
        let mut config: Self = toml::from_str(&text)
            .map_err(|error| ConfigError::Parse { path: shown, message: indent(&error.to_string()) })?;
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        let tls = &mut config.tls;
        let optional = [&mut tls.certificate, &mut tls.key, &mut tls.client_ca].into_iter().flatten();
        for file in optional
            .chain(
                [
                    &mut config.sieve.default,
                    &mut config.sieve.included,
                    &mut config.sieve.programs,
                    &mut config.sieve.address_books,
                ]
                .into_iter()
                .flatten(),
            )
            .chain([&mut config.aliases.file, &mut config.aliases.programs, &mut config.sendmail.socket])
            .chain([&mut config.data, &mut config.relay.trust, &mut config.relay.password_file])
            .chain(&mut config.sieve.before)
            .chain(&mut config.sieve.after)
            .chain(config.sieve.lists.iter_mut().map(|list| &mut list.file))
        {
            if !file.as_os_str().is_empty() {
                *file = folder.join(&*file);
            }
        }
        for path in [&mut config.store.path, &mut config.store.mbox, &mut config.aliases.forward] {
            if !path.is_empty() {
                *path = folder.join(&*path).display().to_string();
            }
        }
        if let Some(ldap) = &mut config.auth.ldap {
            for file in [&mut ldap.password_file, &mut ldap.trust] {
                if !file.as_os_str().is_empty() {
                    *file = folder.join(&*file);
                }
            }
        }
        if let Some(acme) = &mut config.acme {
            acme.trust = folder.join(&acme.trust);
        }
        if let Some(oauth) = &mut config.auth.oauth {
            for file in [&mut oauth.secret_file, &mut oauth.trust] {
                if !file.as_os_str().is_empty() {
                    *file = folder.join(&*file);
                }
            }
        }
        for provider in &mut config.on_demand.providers {
            provider.password_file = folder.join(&provider.password_file);
        }
        for file in &mut config.auth.passwd_files {
            *file = folder.join(&*file);
        }
        for named in &mut config.certificates {
            named.certificate = folder.join(&named.certificate);
            named.key = folder.join(&named.key);
        }
        Ok(config)
    }
}

/// What is wrong with the language that a section chooses.
fn language_problem(section: &str, tag: &str) -> Option<String> {
    let known = Language::ALL.map(Language::tag);
    let wrong = Language::from_tag(tag).is_none();
    wrong.then(|| format!("{section}.language = {tag:?} is none of {}", known.join(", ")))
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod mutations;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commented_default_is_the_default() {
        let parsed: Config = toml::from_str(DEFAULT).unwrap();
        assert_eq!(parsed, Config::default());
        // And every key is in it, so that it documents all of them.
        let all = toml::Value::try_from(Config::default()).unwrap();
        for (key, value) in all.as_table().unwrap() {
            assert!(DEFAULT.contains(key), "{key} is not documented");
            for key in value.as_table().into_iter().flat_map(|table| table.keys()) {
                assert!(DEFAULT.contains(&format!("\n{key} = ")), "{key} is not documented");
            }
        }
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mailwright.toml");
        fs::write(&path, "hostnam = \"a.example\"\n").unwrap();
        let error = Config::load(Some(&path), None).unwrap_err().to_string();
        assert!(error.contains("hostnam"), "{error}");
        assert!(error.contains("config default"), "{error}");
    }

    #[test]
    fn relative_paths_are_beside_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mailwright.toml");
        fs::write(&path, "data = \"mail\"\n").unwrap();
        assert_eq!(Config::load(Some(&path), None).unwrap().data, folder.path().join("mail"));
        assert_eq!(Config::load(Some(&path), Some(Path::new("/x"))).unwrap().data, Path::new("/x"));
    }
}
