//! Configurations for [`Secure`](crate::Secure), from PEM: rustls with *ring*, TLS 1.2 and 1.3, nothing unsafe.
//!
//! They are rustls's own types, so what is not offered here can be set on them before they are shared:
//! `alpn_protocols`, `cert_resolver`, `session_storage`, `require_ems` and more. With `require_ems` clients of TLS 1.2
//! can bind a channel too, and those that are older than RFC 7627 are refused.

use std::sync::Arc;

use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore, ServerConfig,
    client::WebPkiServerVerifier,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{ResolvesServerCert, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
};
use thiserror::Error;

mod unverified;

pub use rustls;
pub use unverified::client_config_unverified;

/// Why a configuration cannot be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// The text is no PEM.
    #[error("{what}: PEM was expected: {error}")]
    Pem {
        /// What was being read.
        what: &'static str,
        /// What is wrong with it.
        error: pem::Error,
    },
    /// There is none in the PEM.
    #[error("{0} was expected in the PEM, and there is none")]
    Missing(&'static str),
    /// The certificate or key cannot be used, or they do not belong together.
    #[error("{0}")]
    Rejected(#[from] rustls::Error),
    /// No verifier can be made of these roots.
    #[error("{0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// Whether a server asks its clients for certificates.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ClientCertificates {
    /// It does not.
    Ignored,
    /// It asks; a client without one is let in, a client with a wrong one is not.
    Optional(RootCertStore),
    /// A client without one is not let in.
    Required(RootCertStore),
}

/// A server with one certificate: its chain, the server's own first, and its private key.
///
/// # Errors
/// [`TlsConfigError`] if the PEM cannot be read or the key is not the certificate's.
pub fn server_config(chain_pem: &[u8], key_pem: &[u8]) -> Result<ServerConfig, TlsConfigError> {
    server_config_asking(chain_pem, key_pem, ClientCertificates::Ignored)
}

/// As [`server_config`], with a wish for the clients' certificates.
///
/// # Errors
/// As for [`server_config`], and if there are no usable roots.
pub fn server_config_asking(
    chain_pem: &[u8],
    key_pem: &[u8],
    clients: ClientCertificates,
) -> Result<ServerConfig, TlsConfigError> {
    let builder = builder(ServerConfig::builder_with_provider(provider()))?
        .with_client_cert_verifier(verifier(clients)?);
    Ok(builder.with_single_cert(certificates(chain_pem)?, key(key_pem)?)?)
}

/// A server that chooses its certificate by the name that the client asks for: `resolver` may be
/// [`rustls::server::ResolvesServerCertUsingSni`] filled with [`certified_key`]s, or reload them when files change.
///
/// # Errors
/// [`TlsConfigError`] if there are no usable roots.
pub fn server_config_resolving(
    resolver: Arc<dyn ResolvesServerCert>,
    clients: ClientCertificates,
) -> Result<ServerConfig, TlsConfigError> {
    let builder = builder(ServerConfig::builder_with_provider(provider()))?
        .with_client_cert_verifier(verifier(clients)?);
    Ok(builder.with_cert_resolver(resolver))
}

/// A client that believes certificates of these [`roots`].
///
/// # Errors
/// [`TlsConfigError`] if there are none.
pub fn client_config(roots: RootCertStore) -> Result<ClientConfig, TlsConfigError> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build()?;
    let builder = builder(ClientConfig::builder_with_provider(provider()))?.with_webpki_verifier(verifier);
    Ok(builder.with_no_client_auth())
}

/// As [`client_config`], for a client that shows a certificate of its own when it is asked.
///
/// # Errors
/// As for [`client_config`] and [`server_config`].
pub fn client_config_showing(
    roots: RootCertStore,
    chain_pem: &[u8],
    key_pem: &[u8],
) -> Result<ClientConfig, TlsConfigError> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build()?;
    let builder = builder(ClientConfig::builder_with_provider(provider()))?.with_webpki_verifier(verifier);
    Ok(builder.with_client_auth_cert(certificates(chain_pem)?, key(key_pem)?)?)
}

/// Roots of trust: certificates of authorities, or a server's own self-signed certificate, which is then believed
/// like any other: for the names in it, until it expires. (One that calls itself an authority, `CA:TRUE`, cannot be
/// a server's certificate as well.)
///
/// # Errors
/// [`TlsConfigError`] if the PEM cannot be read or holds none.
pub fn roots(pem: &[u8]) -> Result<RootCertStore, TlsConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate)?;
    }
    Ok(roots)
}

/// A certificate with its key, for a resolver.
///
/// # Errors
/// As for [`server_config`].
pub fn certified_key(chain_pem: &[u8], key_pem: &[u8]) -> Result<CertifiedKey, TlsConfigError> {
    Ok(CertifiedKey::from_der(certificates(chain_pem)?, key(key_pem)?, &provider())?)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn builder<S: rustls::ConfigSide>(
    builder: ConfigBuilder<S, rustls::WantsVersions>,
) -> Result<ConfigBuilder<S, rustls::WantsVerifier>, TlsConfigError> {
    // RFC 8996: nothing before TLS 1.2.
    Ok(builder.with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?)
}

fn verifier(clients: ClientCertificates) -> Result<Arc<dyn ClientCertVerifier>, TlsConfigError> {
    let verifier = |roots| WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    Ok(match clients {
        ClientCertificates::Ignored => WebPkiClientVerifier::no_client_auth(),
        ClientCertificates::Optional(roots) => verifier(roots).allow_unauthenticated().build()?,
        ClientCertificates::Required(roots) => verifier(roots).build()?,
    })
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let what = "certificate";
    let chain = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsConfigError::Pem { what, error })?;
    if chain.is_empty() { Err(TlsConfigError::Missing("a certificate")) } else { Ok(chain) }
}

fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsConfigError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsConfigError::Missing("a private key"),
        error => TlsConfigError::Pem { what: "private key", error },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_wrong_with_the_files() {
        let made = rcgen::generate_simple_self_signed(["mail.test".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["mail.test".to_owned()]).unwrap();
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        assert!(server_config(chain.as_bytes(), key.as_bytes()).is_ok());
        assert!(certified_key(chain.as_bytes(), key.as_bytes()).is_ok());
        for (chain, key, text) in [
            ("", &*key, "a certificate was expected in the PEM, and there is none"),
            (&*chain, "", "a private key was expected in the PEM, and there is none"),
            ("-----BEGIN CERTIFICATE-----\n*\n", &key, "certificate: PEM was expected"),
            (&chain, &other.signing_key.serialize_pem(), "keys may not be consistent"),
        ] {
            let error = server_config(chain.as_bytes(), key.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
        assert!(matches!(client_config(RootCertStore::empty()), Err(TlsConfigError::Verifier(_))));
        assert!(roots(chain.as_bytes()).is_ok_and(|roots| roots.len() == 1));
    }
}
