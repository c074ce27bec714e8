//! Logging in, as the machines of all protocols see it. The mechanisms themselves are in `sasl`.

use bytes::Bytes;
use thiserror::Error;

use crate::{Request, Secret};

/// A peer wants to log in with a SASL mechanism, or goes on doing so.
///
/// Every answer of [`AuthStep::Challenge`] brings the next `Authenticate` with the peer's response, until one is
/// accepted or refused. The machine does the Base64, the `*` that cancels, and the count of failures.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Authenticate {
    /// The mechanism's name in upper case: `PLAIN`, `SCRAM-SHA-256`.
    pub mechanism: String,
    /// The initial response or the response to the last challenge, decoded; `None` if the exchange begins without.
    pub response: Option<Secret>,
    /// Whether it answers a challenge. Without that an exchange begins, and one that was under way is over: the peer
    /// has cancelled it, or sent what could not be read, which the machine has answered by itself.
    pub continues: bool,
}

impl Authenticate {
    /// The beginning of an exchange.
    pub fn new(mechanism: String, response: Option<Secret>) -> Self {
        Self { mechanism, response, continues: false }
    }

    /// The peer's response to the last challenge: for writers of machines.
    pub fn response(mechanism: String, response: Secret) -> Self {
        Self { mechanism, response: Some(response), continues: true }
    }
}

impl Request for Authenticate {
    type Answer = AuthStep;
}

/// Whether this can be the name of a SASL mechanism, in either case: 1 to 20 letters, digits, hyphens and underscores
/// (RFC 4422 §3.1).
///
/// ```
/// use mailwright_line_proto::is_mechanism_name;
///
/// assert!(is_mechanism_name(b"SCRAM-SHA-256") && !is_mechanism_name(b"") && !is_mechanism_name(b"PLAIN AGE="));
/// ```
pub fn is_mechanism_name(name: &[u8]) -> bool {
    (1..=20).contains(&name.len())
        && name.iter().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
}

/// A peer wants to log in with a name and a password (IMAP LOGIN, POP3 USER and PASS).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Login {
    /// The user's name as it was sent.
    pub user: String,
    /// The password.
    pub password: Secret,
}

impl Login {
    /// A login with this name and password.
    pub fn new(user: impl Into<String>, password: Secret) -> Self {
        Self { user: user.into(), password }
    }
}

impl Request for Login {
    type Answer = Result<(), AuthRefusal>;
}

/// The server's next step in a SASL exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthStep {
    /// Send this challenge (possibly empty) and wait for the response.
    Challenge(Bytes),
    /// The peer is who it says.
    Accept,
    /// It is not, or it may not.
    Refuse(AuthRefusal),
}

/// Why a login is refused. Each protocol has its own code for each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum AuthRefusal {
    /// Unknown user or wrong password: never said which.
    #[error("authentication failed")]
    Credentials,
    /// The response cannot be understood.
    #[error("malformed authentication response")]
    Malformed,
    /// The mechanism is not offered.
    #[error("authentication mechanism not supported")]
    Mechanism,
    /// The mechanism must not be used without TLS.
    #[error("TLS is required before authentication")]
    NeedsTls,
    /// The credentials are right, but may not be used for that identity or service.
    #[error("not authorized")]
    NotAuthorized,
    /// The password has expired.
    #[error("credentials expired")]
    Expired,
    /// The account is in use by another session or over its session limit.
    #[error("too many sessions; try again later")]
    Busy,
    /// The user database cannot be asked now.
    #[error("temporary authentication failure; try again later")]
    Unavailable,
}
