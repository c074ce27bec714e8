//! The table of mechanisms, and when each may be used.

use std::fmt;

use super::{
    client::{ClientError, ClientSide, Credentials},
    login, plain, scram,
    server::ServerSide,
};
use crate::TlsInfo;

/// The strongest first.
static TABLE: &[&Row] = &[&scram::SHA_256_PLUS, &scram::SHA_256, &plain::ROW, &login::ROW];

/// What the table knows of a mechanism.
pub(super) struct Row {
    pub(super) name: &'static str,
    /// The peer learns the secret itself: TLS is needed.
    pub(super) shows_secret: bool,
    /// It cannot be used without channel binding.
    pub(super) binds_channel: bool,
    pub(super) server: fn(&Context, [u8; 32]) -> Box<dyn ServerSide>,
    pub(super) client: ClientStart,
}

/// Makes the client's side, together with its initial response if there is one.
type ClientStart = fn(&Credentials, &Context, [u8; 32]) -> Result<Box<dyn ClientSide>, ClientError>;

/// A SASL mechanism.
#[derive(Clone, Copy)]
pub struct Mechanism(pub(super) &'static Row);

impl Mechanism {
    /// The mechanism of this name, in any case.
    pub fn find(name: &str) -> Option<Self> {
        Self::all().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    /// All there are, the strongest first.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| Self(row))
    }

    /// Its registered name, in upper case.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// Whether the peer learns the password itself.
    pub fn shows_secret(self) -> bool {
        self.0.shows_secret
    }

    /// Whether it proves that both ends see the same TLS connection.
    pub fn binds_channel(self) -> bool {
        self.0.binds_channel
    }

    /// Whether it may be used on this connection; a server offers those for which this is true and whose secrets it
    /// has.
    pub fn is_usable(self, context: &Context) -> bool {
        (!self.shows_secret() || context.may_show_secrets())
            && (!self.binds_channel() || context.exporter.is_some())
    }
}

impl PartialEq for Mechanism {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Mechanism {}

impl fmt::Debug for Mechanism {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Mechanism({})", self.name())
    }
}

/// What a connection is worth: the same on both sides.
#[derive(Clone, PartialEq, Eq)]
pub struct Context {
    secure: bool,
    secrets_in_clear: bool,
    pub(super) exporter: Option<[u8; 32]>,
}

impl Context {
    /// Without TLS: no mechanism that shows the password (RFC 8314 §3, RFC 4954 §4).
    pub fn plaintext() -> Self {
        Self { secure: false, secrets_in_clear: false, exporter: None }
    }

    /// Inside TLS. Where it has an exporter, `-PLUS` mechanisms work, and a client that says it would have bound the
    /// channel had it been offered is refused as the victim of a downgrade (RFC 5802 §6): offer them, or take the
    /// context [`without_channel_binding`](Self::without_channel_binding).
    pub fn tls(tls: &TlsInfo) -> Self {
        Self { secure: true, secrets_in_clear: false, exporter: tls.exporter }
    }

    /// Inside something else that nobody can listen to: a Unix socket, a proxy that did the TLS.
    pub fn trusted() -> Self {
        Self { secure: true, secrets_in_clear: false, exporter: None }
    }

    /// The same, without channel binding.
    #[must_use]
    pub fn without_channel_binding(self) -> Self {
        Self { exporter: None, ..self }
    }

    /// The same, but passwords may be shown to whoever listens, because the owner of the network said so.
    #[must_use]
    pub fn allow_secrets_in_clear(self) -> Self {
        Self { secrets_in_clear: true, ..self }
    }

    fn may_show_secrets(&self) -> bool {
        self.secure || self.secrets_in_clear
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Context")
            .field("secure", &self.secure)
            .field("secrets_in_clear", &self.secrets_in_clear)
            .field("channel_binding", &self.exporter.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_may_be_used_where() {
        let tls = TlsInfo { exporter: Some([1; 32]), ..TlsInfo::default() };
        let usable = |context: &Context| {
            Mechanism::all()
                .filter(|mechanism| mechanism.is_usable(context))
                .map(Mechanism::name)
                .collect::<Vec<_>>()
        };
        assert_eq!(usable(&Context::plaintext()), ["SCRAM-SHA-256"]);
        assert_eq!(usable(&Context::trusted()), ["SCRAM-SHA-256", "PLAIN", "LOGIN"]);
        assert_eq!(usable(&Context::tls(&tls)), ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"]);
        assert_eq!(usable(&Context::tls(&tls).without_channel_binding()), usable(&Context::trusted()));
        assert_eq!(usable(&Context::plaintext().allow_secrets_in_clear()), usable(&Context::trusted()));
        assert_eq!(Mechanism::find("plain").map(Mechanism::name), Some("PLAIN"));
        assert_eq!(Mechanism::find("GSSAPI"), None);
        assert!(!format!("{:?}", Context::tls(&tls)).contains("1, 1"));
    }
}
