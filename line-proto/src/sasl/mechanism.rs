//! The table of mechanisms, and when each may be used.

use std::fmt;

use super::{
    anonymous, bearer,
    client::{ClientError, ClientSide, Credentials},
    cram_md5, external, gssapi, login, plain, scram,
    server::ServerSide,
};
use crate::TlsInfo;

/// The strongest first.
static TABLE: &[&Row] = &[
    &external::ROW,
    &gssapi::ROW,
    &scram::SHA_512_PLUS,
    &scram::SHA_256_PLUS,
    &scram::SHA_512,
    &scram::SHA_256,
    &bearer::OAUTHBEARER,
    &bearer::XOAUTH2,
    &scram::SHA_1_PLUS,
    &scram::SHA_1,
    &plain::ROW,
    &login::ROW,
    &cram_md5::ROW,
    &anonymous::ROW,
];

/// What the table knows of a mechanism.
pub(super) struct Row {
    pub(super) name: &'static str,
    /// The peer learns the secret itself: TLS is needed.
    pub(super) shows_secret: bool,
    /// It cannot be used without channel binding.
    pub(super) binds_channel: bool,
    /// The peer's TLS certificate is what it is about.
    pub(super) needs_certificate: bool,
    /// Obsolete: only where somebody has switched it on.
    pub(super) legacy: bool,
    /// Makes the server's side; absent where that needs more than a connection.
    pub(super) server: Option<ServerStart>,
    pub(super) client: ClientStart,
}

type ServerStart = fn(&Context, [u8; 32]) -> Box<dyn ServerSide>;

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

    /// Whether it is obsolete, and used only where [`Context::allow_legacy`] says so.
    pub fn is_legacy(self) -> bool {
        self.0.legacy
    }

    /// Whether the peer's TLS certificate is what it is about.
    pub fn needs_certificate(self) -> bool {
        self.0.needs_certificate
    }

    /// Whether it may be used on this connection; a server offers those for which this is true and whose secrets it
    /// has.
    pub fn is_usable(self, context: &Context) -> bool {
        (!self.shows_secret() || context.may_show_secrets())
            && (!self.binds_channel() || context.exporter.is_some())
            && (!self.needs_certificate() || context.certificate)
            && (!self.is_legacy() || context.legacy)
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
    certificate: bool,
    pub(super) legacy: bool,
    pub(super) exporter: Option<[u8; 32]>,
}

impl Context {
    /// Without TLS: no mechanism that shows the password (RFC 8314 §3, RFC 4954 §4).
    pub fn plaintext() -> Self {
        Self { secure: false, secrets_in_clear: false, certificate: false, legacy: false, exporter: None }
    }

    /// Inside TLS. Where it has an exporter, `-PLUS` mechanisms work, and a client that says it would have bound the
    /// channel had it been offered is refused as the victim of a downgrade (RFC 5802 §6): offer them, or take the
    /// context [`without_channel_binding`](Self::without_channel_binding).
    pub fn tls(tls: &TlsInfo) -> Self {
        let certificate = !tls.peer_certificates.is_empty();
        Self { secure: true, certificate, exporter: tls.exporter, ..Self::plaintext() }
    }

    /// Inside something else that nobody can listen to: a Unix socket, a proxy that did the TLS.
    pub fn trusted() -> Self {
        Self { secure: true, ..Self::plaintext() }
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

    /// The same, with the obsolete mechanisms: SCRAM-SHA-1 and CRAM-MD5.
    #[must_use]
    pub fn allow_legacy(self) -> Self {
        Self { legacy: true, ..self }
    }

    /// Whether nobody but the peer can listen.
    pub(super) fn is_secure(&self) -> bool {
        self.secure
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
            .field("certificate", &self.certificate)
            .field("legacy", &self.legacy)
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
        assert_eq!(usable(&Context::plaintext()), ["GSSAPI", "SCRAM-SHA-512", "SCRAM-SHA-256", "ANONYMOUS"]);
        assert_eq!(
            usable(&Context::plaintext().allow_legacy()),
            ["GSSAPI", "SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "ANONYMOUS"]
        );
        let hidden =
            ["SCRAM-SHA-512", "SCRAM-SHA-256", "OAUTHBEARER", "XOAUTH2", "PLAIN", "LOGIN", "ANONYMOUS"];
        let trusted = [&["GSSAPI"][..], &hidden].concat();
        assert_eq!(usable(&Context::trusted()), trusted);
        let bound = [&["GSSAPI", "SCRAM-SHA-512-PLUS", "SCRAM-SHA-256-PLUS"][..], &hidden].concat();
        assert_eq!(usable(&Context::tls(&tls)), bound);
        let shown = TlsInfo { peer_certificates: vec![vec![1]], ..tls.clone() };
        assert_eq!(usable(&Context::tls(&shown)), [&["EXTERNAL"][..], &bound].concat());
        assert_eq!(usable(&Context::tls(&shown).allow_legacy()).len(), TABLE.len());
        assert_eq!(usable(&Context::tls(&tls).without_channel_binding()), usable(&Context::trusted()));
        assert_eq!(usable(&Context::plaintext().allow_secrets_in_clear()), usable(&Context::trusted()));
        assert_eq!(Mechanism::find("plain").map(Mechanism::name), Some("PLAIN"));
        assert_eq!(Mechanism::find("NTLM"), None);
        assert!(!format!("{:?}", Context::tls(&tls)).contains("1, 1"));
    }
}
