//! The configuration: one TOML file, every key with a default, checked before it is used.

pub(crate) mod auth;
pub(crate) mod authentication;
mod check;
mod fetch;
mod life;
mod outbound;
mod pop3;
pub(crate) mod rules;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use mailwright::filter::{FilterOptions, SpamField, VirusField};
use mailwright::relay_policy::networks::AddressRange;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub(crate) use fetch::Fetch;
pub(crate) use life::{Expiry, Period, Quota, Size};
pub(crate) use outbound::{Dns, Families, Queue, Relay, TlsLevel, hop};

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
    /// The account that gets mail for postmaster; the oldest account if empty.
    pub(crate) postmaster: String,
    /// The characters that separate a detail from an account's name.
    pub(crate) separators: String,
    /// Whether passwords are taken without TLS.
    pub(crate) allow_plaintext_auth: bool,
    /// The families of addresses that are used.
    pub(crate) inet_protocols: rules::Protocols,
    pub(crate) store: Store,
    /// Networks of proxies that say with the PROXY protocol whom they connect for.
    pub(crate) proxies: Vec<String>,
    pub(crate) tls: Tls,
    pub(crate) auth: auth::Auth,
    /// Certificates for other names.
    #[serde(rename = "certificate")]
    pub(crate) certificates: Vec<NamedCertificate>,
    #[serde(rename = "listener")]
    pub(crate) listeners: Vec<Listener>,
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
    pub(crate) smtp: SmtpOptions,
    pub(crate) pop3: pop3::Pop3,
    pub(crate) log: Log,
}

/// Where mail is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Store {
    pub(crate) kind: StoreKind,
    /// Where each user's Maildir is, with variables.
    pub(crate) path: String,
    /// Where each user's file of messages is, if mail is delivered there instead.
    pub(crate) mbox: String,
    /// How many octets of the disk to keep free.
    pub(crate) reserve: u64,
    /// How long expunged messages can be had back.
    pub(crate) undelete: Period,
    /// The level of Zstandard by which bodies are compressed; 0 not at all.
    pub(crate) compression: u8,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            kind: StoreKind::default(),
            path: String::new(),
            mbox: String::new(),
            reserve: 128 << 20,
            undelete: Period::default(),
            compression: 0,
        }
    }
}

/// How mail is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoreKind {
    /// In the database of the data directory.
    #[default]
    Embedded,
    /// In Maildir++ trees.
    Maildir,
}

/// The server's own Sieve scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Sieve {
    /// Run before each user's own, in order.
    pub(crate) before: Vec<PathBuf>,
    /// Run after, as long as the message is still to be kept.
    pub(crate) after: Vec<PathBuf>,
    /// Run for users without an active script.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) default: Option<PathBuf>,
    /// The scripts of this directory can be included by their names, without `.sieve`, as `:global`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) included: Option<PathBuf>,
    /// The field with the score of a spam filter, and the score from which on a message is certainly spam.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) spam_field: Option<String>,
    pub(crate) spam_worst: u32,
    /// The field with the result of a virus scanner, and what it begins with if nothing was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) virus_field: Option<String>,
    pub(crate) virus_clean: String,
}

impl Default for Sieve {
    fn default() -> Self {
        Self {
            before: Vec::new(),
            after: Vec::new(),
            default: None,
            included: None,
            spam_field: None,
            spam_worst: 10,
            virus_field: None,
            virus_clean: "clean".into(),
        }
    }
}

impl Sieve {
    /// What the filter has.
    pub(crate) fn options(&self) -> FilterOptions {
        let mut options = FilterOptions::default();
        let worst = f64::from(self.spam_worst.max(1));
        options.spam = self.spam_field.as_ref().map(|name| SpamField::new(name, worst));
        options.virus = self.virus_field.as_ref().map(|name| VirusField::new(name, &self.virus_clean));
        options
    }
}

/// What smtp, submission and lmtp listeners have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SmtpOptions {
    pub(crate) vrfy: Answers,
    pub(crate) expn: Lists,
    /// Whether AUTH is announced in its old form too.
    pub(crate) legacy_auth: bool,
    /// Where proxies are that are believed.
    pub(crate) xclient: Vec<String>,
    pub(crate) xforward: Vec<String>,
}

/// What VRFY does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Answers {
    /// Neither yes nor no.
    #[default]
    Decline,
    /// The truth.
    Ask,
    /// It is no command.
    Off,
}

/// What EXPN does: nobody is told who is on a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Lists {
    /// It is no command.
    #[default]
    Off,
    /// Neither yes nor no.
    Decline,
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

/// One address that is listened on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listener {
    pub(crate) protocol: Protocol,
    pub(crate) address: SocketAddr,
    #[serde(default)]
    pub(crate) tls: TlsMode,
    /// SMTP and submission: whether the syntax of RFC 5321 is insisted on.
    #[serde(default)]
    pub(crate) syntax: Syntax,
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    Smtp,
    Submission,
    Lmtp,
    Imap,
    Pop3,
    ManageSieve,
}

impl Protocol {
    /// The name, as in the configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Submission => "submission",
            Self::Lmtp => "lmtp",
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::ManageSieve => "managesieve",
        }
    }
}

/// When TLS begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TlsMode {
    /// Never.
    None,
    /// When the client asks for it.
    #[default]
    Starttls,
    /// At once.
    Implicit,
}

/// How exact a client's commands must be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Syntax {
    #[default]
    Strict,
    Lenient,
}

/// What a peer may cost. Zero is no limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) connections: u32,
    pub(crate) connections_per_address: u32,
    pub(crate) new_connections_per_minute: u32,
    pub(crate) message_size: u64,
    pub(crate) recipients: u32,
    pub(crate) scripts: u64,
    pub(crate) script_size: u32,
    pub(crate) stop_seconds: u64,
}

/// What is written to the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    pub(crate) level: String,
    pub(crate) format: LogFormat,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: "mailwright-data".into(),
            hostname: "localhost".into(),
            domains: vec!["localhost".into()],
            postmaster: String::new(),
            separators: "+".into(),
            allow_plaintext_auth: false,
            store: Store::default(),
            proxies: Vec::new(),
            tls: Tls::default(),
            auth: auth::Auth::default(),
            certificates: Vec::new(),
            listeners: default_listeners(),
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
            smtp: SmtpOptions::default(),
            pop3: pop3::Pop3::default(),
            log: Log::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            connections_per_address: 100,
            new_connections_per_minute: 300,
            message_size: 50 << 20,
            recipients: 1000,
            scripts: 100,
            script_size: 1 << 20,
            stop_seconds: 30,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text }
    }
}

/// Unprivileged ports on the loopback address: safe to try without thinking.
fn default_listeners() -> Vec<Listener> {
    [
        (Protocol::Smtp, 2525, TlsMode::Starttls),
        (Protocol::Submission, 2587, TlsMode::Starttls),
        (Protocol::Submission, 2465, TlsMode::Implicit),
        (Protocol::Imap, 2143, TlsMode::Starttls),
        (Protocol::Imap, 2993, TlsMode::Implicit),
        (Protocol::Pop3, 2110, TlsMode::Starttls),
        (Protocol::Pop3, 2995, TlsMode::Implicit),
        (Protocol::ManageSieve, 4190, TlsMode::Starttls),
    ]
    .into_iter()
    .map(|(protocol, port, tls)| Listener {
        protocol,
        address: SocketAddr::from(([127, 0, 0, 1], port)),
        tls,
        syntax: Syntax::Strict,
    })
    .collect()
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
        let problems = config.problems();
        if problems.is_empty() { Ok(config) } else { Err(ConfigError::Check { problems }) }
    }

    fn read(path: &Path) -> Result<Self, ConfigError> {
        let shown = path.display().to_string();
        let text =
            fs::read_to_string(path).map_err(|source| ConfigError::Read { path: shown.clone(), source })?;
        let mut config: Self = toml::from_str(&text)
            .map_err(|error| ConfigError::Parse { path: shown, message: indent(&error.to_string()) })?;
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        let optional = [&mut config.tls.certificate, &mut config.tls.key].into_iter().flatten();
        for file in optional
            .chain([&mut config.sieve.default, &mut config.sieve.included].into_iter().flatten())
            .chain([&mut config.data, &mut config.relay.trust, &mut config.relay.password_file])
            .chain(&mut config.sieve.before)
            .chain(&mut config.sieve.after)
        {
            if !file.as_os_str().is_empty() {
                *file = folder.join(&*file);
            }
        }
        for path in [&mut config.store.path, &mut config.store.mbox] {
            if !path.is_empty() {
                *path = folder.join(&*path).display().to_string();
            }
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

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

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
