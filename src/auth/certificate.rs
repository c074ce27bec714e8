//! Whom a client's certificate names.

use thiserror::Error;
use x509_cert::{
    Certificate,
    der::{Decode, Tag, Tagged, asn1::ObjectIdentifier},
    ext::pkix::{SubjectAltName, name::GeneralName},
};

/// RFC 9598 §3: a mailbox whose local part is not ASCII.
const SMTP_UTF8_MAILBOX: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.8.9");
/// RFC 4519 §2.3.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// The names in a client's certificate that may be those of accounts: what
/// [`Certificates::holder`](mailwright_mailstore::accounts::Certificates::holder) looks at.
///
/// Whether the certificate is to be believed is not asked here: TLS has verified it against the authorities that the
/// listener trusts.
///
/// ```
/// use mailwright::CertificateNames;
///
/// let mut parameters = rcgen::CertificateParams::default();
/// parameters.subject_alt_names = vec![rcgen::SanType::Rfc822Name("alice@example.org".try_into()?)];
/// let certificate = parameters.self_signed(&rcgen::KeyPair::generate()?)?;
/// let names = CertificateNames::read(certificate.der())?;
/// assert_eq!(names.mailboxes().collect::<Vec<_>>(), ["alice@example.org"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateNames {
    mailboxes: Vec<String>,
    common_name: Option<String>,
}

/// The octets are no certificate that can be read.
#[derive(Debug, Error)]
#[error("a certificate in DER was expected: {0}")]
pub struct CertificateError(x509_cert::der::Error);

impl CertificateNames {
    /// Those in a certificate in DER.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(der: &[u8]) -> Result<Self, CertificateError> {
        let certificate = Certificate::from_der(der).map_err(CertificateError)?.tbs_certificate;
        let names = certificate.get::<SubjectAltName>().map_err(CertificateError)?;
        let names = names.map(|(_, names)| names.0).unwrap_or_default();
        let mailboxes = names.iter().filter_map(mailbox).collect();
        let mut parts = certificate.subject.0.iter().flat_map(|part| part.0.iter());
        let common = parts.find(|part| part.oid == COMMON_NAME);
        let common_name = common.and_then(|part| text(part.value.tag(), part.value.value()));
        Ok(Self { mailboxes, common_name })
    }

    /// The mailboxes among the subject's alternative names (RFC 5280 §4.2.1.6, RFC 9598 §3), in their order.
    pub fn mailboxes(&self) -> impl Iterator<Item = &str> {
        self.mailboxes.iter().map(String::as_str)
    }

    /// The subject's common name. What stands there is for people: it is an account's name only where the authority
    /// says so.
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }
}

fn mailbox(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::Rfc822Name(mailbox) => Some(mailbox.as_str().to_owned()),
        GeneralName::OtherName(other) if other.type_id == SMTP_UTF8_MAILBOX => {
            text(other.value.tag(), other.value.value())
        }
        _ => None,
    }
}

/// A string of one of the types that names have nowadays.
fn text(tag: Tag, octets: &[u8]) -> Option<String> {
    let known = matches!(tag, Tag::Utf8String | Tag::PrintableString | Tag::Ia5String);
    known.then(|| String::from_utf8(octets.to_vec()).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    fn names(parameters: &CertificateParams) -> CertificateNames {
        let certificate = parameters.self_signed(&KeyPair::generate().unwrap()).unwrap();
        CertificateNames::read(certificate.der()).unwrap()
    }

    #[test]
    fn mailboxes_and_the_common_name_are_found_and_other_names_are_not() {
        let mut parameters = CertificateParams::default();
        parameters.subject_alt_names = vec![
            SanType::DnsName("mail.example".try_into().unwrap()),
            SanType::Rfc822Name("alice@a.example".try_into().unwrap()),
            SanType::Rfc822Name("al@b.example".try_into().unwrap()),
            SanType::OtherName((vec![1, 3, 6, 1, 5, 5, 7, 8, 9], "äl@c.example".into())),
            SanType::OtherName((vec![1, 3, 6, 1, 5, 5, 7, 8, 5], "xmpp@c.example".into())),
        ];
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::OrganizationName, "A");
        parameters.distinguished_name.push(DnType::CommonName, "Alice Ä");
        let found = names(&parameters);
        assert_eq!(
            found.mailboxes().collect::<Vec<_>>(),
            ["alice@a.example", "al@b.example", "äl@c.example"]
        );
        assert_eq!(found.common_name(), Some("Alice Ä"));
    }

    #[test]
    fn a_certificate_without_names_has_none_and_a_broken_one_is_told() {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        assert_eq!(names(&parameters), CertificateNames::default());
        // The extension of alternative names, with what is none inside.
        parameters.custom_extensions =
            vec![CustomExtension::from_oid_content(&[2, 5, 29, 17], vec![0x30, 0x05, 1])];
        let broken = parameters.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert!(CertificateNames::read(broken.der()).is_err());
        assert!(CertificateNames::read(b"no certificate").is_err());
    }
}
