//! TLS with a certificate that DANE names (RFC 7672 §3).

use std::sync::Arc;

use mailwright_relay_policy::dane::{Certificate, TlsaSet};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

/// A client that believes the certificates that these records name, and no other.
pub(super) fn client(set: &TlsaSet) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let verifier = Arc::new(ByRecords { set: set.clone(), provider });
    Ok(Arc::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
}

#[derive(Debug)]
struct ByRecords {
    set: TlsaSet,
    provider: Arc<CryptoProvider>,
}

impl ByRecords {
    /// Whether the host's certificate is below an authority that the records name.
    fn below_authority(
        &self,
        own: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let mut roots = RootCertStore::empty();
        for certificate in chain {
            let key = key(certificate);
            if self.set.matches_authority(&Certificate::new(certificate, &key)) {
                // One that cannot be read vouches for nobody.
                let _ = roots.add(certificate.clone().into_owned());
            }
        }
        for authority in self.set.authorities() {
            let _ = roots.add(CertificateDer::from(authority.to_vec()));
        }
        if roots.is_empty() {
            return Err(Error::General(
                "no certificate of the host is one that its TLSA records name".into(),
            ));
        }
        let parsed = ParsedCertificate::try_from(own)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, chain, now, algorithms)?;
        // RFC 7672 §3.2.2
        let bears = |name: &str| {
            ServerName::try_from(name).is_ok_and(|name| verify_server_name(&parsed, &name).is_ok())
        };
        if self.set.names().any(bears) { Ok(()) } else { Err(CertificateError::NotValidForName.into()) }
    }
}

impl ServerCertVerifier for ByRecords {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // RFC 7672 §3.1.1: neither names nor dates count, the record itself says which certificate it is.
        if self.set.matches_host(&Certificate::new(own, &key(own))) {
            return Ok(ServerCertVerified::assertion());
        }
        self.below_authority(own, chain, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The public key of a certificate; nothing if it cannot be read.
fn key(certificate: &CertificateDer<'_>) -> Vec<u8> {
    let parsed = ParsedCertificate::try_from(certificate);
    parsed.map(|parsed| parsed.subject_public_key_info().to_vec()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use mailwright_relay_policy::dane::Tlsa;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    use super::*;

    /// A certificate below an authority.
    struct Chain {
        own: CertificateDer<'static>,
        authority: CertificateDer<'static>,
    }

    fn chain(name: &str, expired: bool) -> Chain {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::new(params, key);
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if expired {
            params.not_before = SystemTime::UNIX_EPOCH.into();
            params.not_after = (SystemTime::UNIX_EPOCH + Duration::from_secs(86_400)).into();
        }
        let own = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().der().clone();
        Chain { own, authority }
    }

    fn record(usage: u8, selector: u8, matching: u8, certificate: &CertificateDer<'_>) -> Tlsa {
        let key = key(certificate);
        assert!(!key.is_empty());
        Tlsa::of(usage, selector, matching, &Certificate::new(certificate, &key)).unwrap()
    }

    fn verified(records: Vec<Tlsa>, own: &CertificateDer<'_>, rest: &[CertificateDer<'_>]) -> String {
        let set = TlsaSet::new("mx.b.example", ["b.example"], records).unwrap();
        assert!(client(&set).is_ok());
        let verifier = ByRecords { set, provider: Arc::new(ring::default_provider()) };
        let name = ServerName::try_from("mx.b.example").unwrap();
        match verifier.verify_server_cert(own, rest, &name, &[], UnixTime::now()) {
            Ok(_) => "good".into(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_host_itself() {
        let (good, other) = (chain("mx.b.example", false), chain("mx.b.example", false));
        let (expired, foreign) = (chain("mx.b.example", true), chain("elsewhere.example", false));
        for selector in 0..2 {
            for matching in 0..3 {
                for host in [&good, &expired, &foreign] {
                    let own = record(3, selector, matching, &host.own);
                    assert_eq!(verified(vec![own.clone()], &host.own, &[]), "good");
                    let both = vec![own, record(3, selector, matching, &other.own)];
                    assert_eq!(verified(both, &host.own, &[]), "good");
                }
                let wrong = verified(vec![record(3, selector, matching, &other.own)], &good.own, &[]);
                assert!(wrong.contains("TLSA records"), "{wrong}");
            }
        }
    }

    #[test]
    fn an_authority() {
        let (good, other) = (chain("mx.b.example", false), chain("mx.b.example", false));
        let (expired, foreign) = (chain("mx.b.example", true), chain("elsewhere.example", false));
        let domain = chain("b.example", false);
        for (selector, matching) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] {
            let ask = |host: &Chain, authority: &Chain, send: bool| {
                let rest: &[_] = if send { std::slice::from_ref(&host.authority) } else { &[] };
                verified(vec![record(2, selector, matching, &authority.authority)], &host.own, rest)
            };
            assert_eq!(ask(&good, &good, true), "good");
            assert_eq!(ask(&domain, &domain, true), "good");
            let stranger = ask(&good, &other, true);
            assert!(stranger.contains("peer certificate") || stranger.contains("TLSA"), "{stranger}");
            assert!(ask(&expired, &expired, true).to_lowercase().contains("expired"));
            assert!(ask(&foreign, &foreign, true).to_lowercase().contains("name"));
            // Only a record that has all of it makes up for an authority that is not sent.
            let absent = ask(&good, &good, false);
            assert_eq!(absent == "good", (selector, matching) == (0, 0), "{absent}");
        }
        // A record of an authority says nothing of the host's own certificate.
        let wrong =
            verified(vec![record(2, 1, 1, &good.own)], &good.own, std::slice::from_ref(&good.authority));
        assert!(wrong.contains("TLSA records"), "{wrong}");
    }
}
