//! What became of TLS with the hosts of a domain, for whoever reports it to the domain (RFC 8460).

use std::{fmt, net::IpAddr, sync::Arc};

use mailwright_relay_policy::sts::StsPolicy;

/// Hears of every connection to a mail exchanger on which TLS was tried. Told within the delivery, so it answers from memory.
pub trait TlsObserver: Send + Sync {
    /// A connection was secured, or was not.
    fn seen(&self, session: TlsSession);
}

impl fmt::Debug for dyn TlsObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsObserver")
    }
}

/// One connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsSession {
    /// The domain whose mail it was for, in A-labels.
    pub domain: String,
    /// What it had published.
    pub policy: AppliedPolicy,
    /// The host's name; none if it did not come to one.
    pub host: Option<String>,
    /// The host's address; none if it did not come to that.
    pub address: Option<IpAddr>,
    /// What was wrong; none if nothing was.
    pub failure: Option<TlsFailure>,
    /// The same in words.
    pub reason: Option<String>,
}

impl TlsSession {
    /// With a host of a domain that had published this, at no address in particular.
    pub fn new(
        domain: impl Into<String>,
        policy: AppliedPolicy,
        host: impl Into<String>,
        failure: Option<TlsFailure>,
    ) -> Self {
        let (domain, host) = (domain.into(), Some(host.into()));
        Self { domain, policy, host, address: None, failure, reason: None }
    }
}

/// What a domain had published about TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AppliedPolicy {
    /// Nothing.
    #[default]
    Absent,
    /// These TLSA records, as in a zone file.
    Tlsa(Vec<String>),
    /// This policy; none if it could not be had.
    Sts(Option<Arc<StsPolicy>>),
}

/// What can be wrong (RFC 8460 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TlsFailure {
    /// The host does not offer STARTTLS.
    StarttlsNotSupported,
    /// The certificate is for other names.
    CertificateHostMismatch,
    /// The certificate has expired, or is not valid yet.
    CertificateExpired,
    /// Nobody who is trusted vouches for the certificate.
    CertificateNotTrusted,
    /// Something else.
    ValidationFailure,
    /// None of the signed TLSA records can be used.
    TlsaInvalid,
    /// The signatures of the records cannot be checked or are wrong.
    DnssecInvalid,
    /// DANE is configured here, and the domain has none.
    DaneRequired,
    /// The MTA-STS policy cannot be fetched.
    StsPolicyFetch,
    /// The MTA-STS policy is none.
    StsPolicyInvalid,
    /// The host of the MTA-STS policy has no certificate that holds.
    StsWebpkiInvalid,
}

impl TlsFailure {
    /// As reports have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StarttlsNotSupported => "starttls-not-supported",
            Self::CertificateHostMismatch => "certificate-host-mismatch",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateNotTrusted => "certificate-not-trusted",
            Self::ValidationFailure => "validation-failure",
            Self::TlsaInvalid => "tlsa-invalid",
            Self::DnssecInvalid => "dnssec-invalid",
            Self::DaneRequired => "dane-required",
            Self::StsPolicyFetch => "sts-policy-fetch-error",
            Self::StsPolicyInvalid => "sts-policy-invalid",
            Self::StsWebpkiInvalid => "sts-webpki-invalid",
        }
    }

    /// By what the TLS library says.
    pub(super) fn of_tls(why: &str) -> Self {
        let why = why.to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| why.contains(word));
        if has(&["expired", "not valid yet", "notvalidyet"]) {
            Self::CertificateExpired
        } else if has(&["not valid for name", "notvalidforname"]) {
            Self::CertificateHostMismatch
        } else if has(&["unknownissuer", "unknown issuer", "causedasendentity"]) {
            Self::CertificateNotTrusted
        } else {
            Self::ValidationFailure
        }
    }
}

#[cfg(test)]
mod tests {
    use rustls::{CertificateError, Error};

    use super::*;

    #[test]
    fn what_the_library_says_is_understood() {
        for (error, expected) in [
            (CertificateError::Expired, TlsFailure::CertificateExpired),
            (CertificateError::NotValidYet, TlsFailure::CertificateExpired),
            (CertificateError::NotValidForName, TlsFailure::CertificateHostMismatch),
            (CertificateError::UnknownIssuer, TlsFailure::CertificateNotTrusted),
            (CertificateError::BadSignature, TlsFailure::ValidationFailure),
        ] {
            let text = Error::InvalidCertificate(error).to_string();
            assert_eq!(TlsFailure::of_tls(&text), expected, "{text}");
        }
        assert_eq!(TlsFailure::of_tls("received fatal alert"), TlsFailure::ValidationFailure);
    }
}
