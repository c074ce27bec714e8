//! How a server behaves: everything that is a choice.

use mailwright_line_proto::{Limits, Timeouts};

use super::Abilities;
use crate::{HelloName, Syntax, SyntaxError};

/// The configuration of a server, shared by its connections.
///
/// ```
/// use mailwright_smtp_proto::server::Config;
///
/// let mut config = Config::smtp("mail.example.org")?;
/// config.max_message_size = Some(10 << 20);
/// config.starttls = true;
/// # Ok::<(), mailwright_smtp_proto::SyntaxError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The name the server gives itself, in the greeting and in its reply to EHLO.
    pub hostname: HelloName,
    /// Text behind `220 hostname ESMTP`. None by default: strangers need not know what runs here.
    pub greeting: String,
    /// SMTP or LMTP.
    pub protocol: Protocol,
    /// How closely commands must follow the RFC.
    pub syntax: Syntax,
    /// Whether the application decides on each connection before it is greeted
    /// ([`Event::Connect`](super::Event::Connect)).
    pub ask_connect: bool,
    /// Whether STARTTLS is offered. The machine must be wrapped in a layer that can start TLS.
    pub starttls: bool,
    /// Whether TLS is needed for anything that matters (RFC 3207 §4: not for a public MX).
    pub require_tls: bool,
    /// Whether MAIL needs a login: submission (RFC 6409 §4.3).
    pub require_auth: bool,
    /// Whether AUTH is offered without TLS.
    pub allow_plaintext_auth: bool,
    /// The SASL mechanisms the application can do, in upper case and in the order in which they are announced.
    /// Empty: no AUTH.
    pub auth_mechanisms: Vec<String>,
    /// Whether the mechanisms are announced also in the form `AUTH=PLAIN`, for programs older than RFC 2554.
    pub legacy_auth: bool,
    /// What the application can do with a message beyond taking it.
    pub abilities: Abilities,
    /// The largest message, in octets (RFC 1870). None: no limit.
    pub max_message_size: Option<u64>,
    /// The most recipients of a message; announced by LIMITS (RFC 9422), as the next one is.
    pub max_recipients: usize,
    /// The most messages on one connection. None: no limit.
    pub max_messages: Option<u32>,
    /// What is done with a message that has a CR without LF or an LF without CR in it.
    pub bare_line_ends: BareLineEnds,
    /// Whether SMTPUTF8 is offered.
    pub smtputf8: bool,
    /// What VRFY does.
    pub vrfy: VrfyPolicy,
    /// What EXPN does: as for VRFY.
    pub expn: VrfyPolicy,
    /// Whether this client may say XCLIENT: it is a proxy that is believed. Never for strangers.
    pub xclient: bool,
    /// Whether this client may say XFORWARD.
    pub xforward: bool,
    /// Whether this client may say XVERP: its senders are rewritten for each recipient.
    pub verp: bool,
    /// How many of NOOP, RSET, VRFY, HELP and EHLO may come between two messages before each more counts as a bad
    /// command.
    pub junk_commands: u32,
    /// What one connection may cost.
    pub limits: Limits,
    /// How long each thing may take.
    pub timeouts: Timeouts,
}

/// SMTP or LMTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// SMTP (RFC 5321), submission too.
    Smtp,
    /// LMTP (RFC 2033): LHLO in place of EHLO, and a reply for every recipient behind a message.
    Lmtp,
}

/// What is done with a message that has a CR without LF or an LF without CR in it.
///
/// Neither ever ends a line or a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[non_exhaustive]
pub enum BareLineEnds {
    /// It is taken to its true end and refused with 550 5.6.11: what another server would read in it is not known.
    #[default]
    Reject,
    /// It is passed on as it is; [`Commit::bare_line_ends`](crate::Commit::bare_line_ends) tells. Whoever passes it
    /// on must change them first.
    Accept,
}

/// What VRFY and EXPN do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[non_exhaustive]
pub enum VrfyPolicy {
    /// The machine answers 252: neither yes nor no (RFC 5321 §7.3).
    #[default]
    Decline,
    /// The application is asked, and the command announced.
    Ask,
    /// 502.
    Off,
}

impl Config {
    /// The most recipients of a message, unless configured otherwise. RFC 5321 §4.5.3.1.8: at least 100.
    pub const MAX_RECIPIENTS: usize = 1000;
    /// The largest message in octets, unless configured otherwise: 50 MiB.
    pub const MAX_MESSAGE_SIZE: u64 = 50 << 20;
    /// The junk commands between two messages, unless configured otherwise.
    pub const JUNK_COMMANDS: u32 = 100;

    /// A server that takes mail from anybody: plain SMTP, until TLS and AUTH are set.
    ///
    /// # Errors
    /// If the name is not one a host can have.
    pub fn smtp(hostname: &str) -> Result<Self, SyntaxError> {
        Ok(Self {
            hostname: hostname.parse()?,
            greeting: String::new(),
            protocol: Protocol::Smtp,
            syntax: Syntax::Strict,
            ask_connect: false,
            starttls: false,
            require_tls: false,
            require_auth: false,
            allow_plaintext_auth: false,
            auth_mechanisms: Vec::new(),
            legacy_auth: false,
            abilities: Abilities::default(),
            max_message_size: Some(Self::MAX_MESSAGE_SIZE),
            max_recipients: Self::MAX_RECIPIENTS,
            max_messages: None,
            bare_line_ends: BareLineEnds::Reject,
            smtputf8: true,
            vrfy: VrfyPolicy::Decline,
            expn: VrfyPolicy::Off,
            verp: false,
            xclient: false,
            xforward: false,
            junk_commands: Self::JUNK_COMMANDS,
            limits: Limits::smtp(),
            timeouts: Timeouts::smtp(),
        })
    }

    /// A server for the users of its own domains: MAIL needs a login, and a login needs TLS.
    ///
    /// # Errors
    /// As for [`smtp`](Self::smtp).
    pub fn submission(hostname: &str) -> Result<Self, SyntaxError> {
        Ok(Self { require_auth: true, ..Self::smtp(hostname)? })
    }

    /// An LMTP server.
    ///
    /// # Errors
    /// As for [`smtp`](Self::smtp).
    pub fn lmtp(hostname: &str) -> Result<Self, SyntaxError> {
        Ok(Self { protocol: Protocol::Lmtp, ..Self::smtp(hostname)? })
    }
}
