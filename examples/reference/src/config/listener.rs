//! What is listened on, and what SMTP listeners have in common.

use std::{fmt, net::SocketAddr, path::PathBuf};

use mailwright::smtp_proto::Solicitation;
use serde::{Deserialize, Serialize};

/// One address that is listened on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listener {
    pub(crate) protocol: Protocol,
    pub(crate) address: ListenAddress,
    /// Who may connect to a socket of the file system, in octal digits.
    #[serde(default = "default_mode", skip_serializing_if = "is_default_mode")]
    pub(crate) socket_mode: String,
    #[serde(default)]
    pub(crate) tls: TlsMode,
    /// Whether clients are asked for certificates.
    #[serde(default)]
    pub(crate) client_certificates: AskForCertificate,
    /// SMTP and submission: whether the syntax of RFC 5321 is insisted on.
    #[serde(default)]
    pub(crate) syntax: Syntax,
    /// SMTP: whether clients may log in.
    #[serde(default)]
    pub(crate) auth: bool,
}

impl Listener {
    /// Whether people log in there.
    pub(crate) fn logs_in(&self) -> bool {
        self.auth || !matches!(self.protocol, Protocol::Smtp | Protocol::Lmtp)
    }

    /// The permissions of a socket of the file system.
    pub(crate) fn mode(&self) -> Option<u32> {
        u32::from_str_radix(&self.socket_mode, 8).ok().filter(|mode| *mode <= 0o777)
    }
}

/// Where connections come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum ListenAddress {
    Network(SocketAddr),
    /// A socket of the file system.
    Unix(PathBuf),
}

impl ListenAddress {
    /// The address in the network, if it is one.
    pub(crate) fn network(&self) -> Option<SocketAddr> {
        match self {
            Self::Network(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl TryFrom<String> for ListenAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is neither an address with a port, like \"[::1]:25\", nor \"unix:/a/path\"");
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(_) => Err(wrong()),
            None => text.parse().map(Self::Network).map_err(|_| wrong()),
        }
    }
}

impl From<ListenAddress> for String {
    fn from(address: ListenAddress) -> Self {
        address.to_string()
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address) => write!(formatter, "{address}"),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

fn default_mode() -> String {
    "0660".into()
}

fn is_default_mode(mode: &str) -> bool {
    mode == "0660"
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    Smtp,
    Submission,
    Odmr,
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
            Self::Odmr => "odmr",
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
    /// When the client asks for it, and it must.
    Required,
    /// At once.
    Implicit,
}

impl TlsMode {
    /// The name, as in the configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Starttls => "starttls",
            Self::Required => "required",
            Self::Implicit => "implicit",
        }
    }

    /// Whether it begins when the client asks for it.
    pub(crate) fn is_starttls(self) -> bool {
        matches!(self, Self::Starttls | Self::Required)
    }
}

/// Whether clients are asked for certificates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AskForCertificate {
    #[default]
    None,
    /// Who has none comes in too.
    Ask,
    /// Who has none does not come in.
    Require,
}

/// How exact a client's commands must be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Syntax {
    #[default]
    Strict,
    Lenient,
}

/// What smtp, submission, odmr and lmtp listeners have in common.
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
    /// Who may have senders written for each recipient.
    pub(crate) xverp: Vec<String>,
    /// Who is believed that a message is urgent.
    pub(crate) urgent: Vec<String>,
    /// Classes of advertising that nobody here wants.
    pub(crate) no_soliciting: Vec<String>,
    /// Who may have the queue run.
    pub(crate) etrn: Vec<String>,
}

impl SmtpOptions {
    /// The classes of advertising that nobody here wants, or what is wrong with them.
    pub(crate) fn unwanted(&self) -> Result<Option<Solicitation>, String> {
        if self.no_soliciting.is_empty() {
            return Ok(None);
        }
        let classes = self.no_soliciting.join(",");
        let problem = |_| {
            format!(
                "[smtp] no_soliciting: {classes:?} are not classes as \"net.example:ADV\" is one, at most 1,000 letters together"
            )
        };
        classes.parse().map(Some).map_err(problem)
    }
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

/// Unprivileged ports on the loopback address: safe to try without thinking.
pub(super) fn default_listeners() -> Vec<Listener> {
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
        address: ListenAddress::Network(SocketAddr::from(([127, 0, 0, 1], port))),
        socket_mode: default_mode(),
        tls,
        client_certificates: AskForCertificate::None,
        syntax: Syntax::Strict,
        auth: false,
    })
    .collect()
}
