//! An authority that issues certificates to clients.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, SanType,
};

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::OrganizationName, "Example authority");
        let key = KeyPair::generate().unwrap();
        let pem = parameters.self_signed(&key).unwrap().pem();
        let text = key.serialize_pem();
        Self { issuer: Issuer::new(parameters, key), pem, key: text }
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// Its own key, in PEM, for another program.
    #[allow(dead_code, reason = "each test program uses a part of this")]
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// A certificate for these mailboxes and its key, in PEM.
    #[allow(dead_code, reason = "each test program uses a part of this")]
    pub(crate) fn issue(&self, mailboxes: &[&str], common_name: &str) -> (String, String) {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, common_name);
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let names = mailboxes.iter().map(|mailbox| SanType::Rfc822Name((*mailbox).try_into().unwrap()));
        parameters.subject_alt_names = names.collect();
        let key = KeyPair::generate().unwrap();
        (parameters.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}
