//! Making signatures.

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::{
    digest,
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};

use super::{
    super::{Examined, canonical::Canonicalization},
    Algorithm,
};

/// A private key.
pub struct SigningKey(Kind);

enum Kind {
    Rsa(Box<RsaKeyPair>),
    Ed25519(Ed25519KeyPair),
}

/// What signs for a domain.
#[derive(Debug)]
#[non_exhaustive]
pub struct Signer {
    /// The domain that takes responsibility.
    pub domain: String,
    /// The name of the key.
    pub selector: String,
    /// The key.
    pub key: SigningKey,
}

/// Why nothing can be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The octets are no private key.
    #[error("expected a private key in PKCS #8: RSA of 2048 bits or more, or Ed25519")]
    Key,
    /// The message was not looked at in a way that it can be signed.
    #[error("the header is too long, or the message was not examined for signing")]
    Message,
    /// The library of cryptography fails.
    #[error("the signature cannot be made")]
    Crypto,
}

impl SigningKey {
    /// A key in PKCS #8, DER.
    ///
    /// # Errors
    /// If it is none of a kind that can be used.
    pub fn from_pkcs8(octets: &[u8]) -> Result<Self, SignError> {
        if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(octets) {
            return Ok(Self(Kind::Ed25519(key)));
        }
        RsaKeyPair::from_pkcs8(octets).map(|key| Self(Kind::Rsa(Box::new(key)))).map_err(|_| SignError::Key)
    }

    /// What it makes.
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            Kind::Rsa(_) => Algorithm::RsaSha256,
            Kind::Ed25519(_) => Algorithm::Ed25519Sha256,
        }
    }

    /// The record by which others find the public key (RFC 6376 §3.6.1, RFC 8463 §4.2).
    pub fn record(&self) -> String {
        match &self.0 {
            Kind::Rsa(key) => {
                format!("v=DKIM1; k=rsa; p={}", STANDARD.encode(public_key_info(key.public_key().as_ref())))
            }
            Kind::Ed25519(key) => {
                format!("v=DKIM1; k=ed25519; p={}", STANDARD.encode(key.public_key().as_ref()))
            }
        }
    }

    fn sign(&self, octets: &[u8]) -> Result<Vec<u8>, SignError> {
        match &self.0 {
            Kind::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                let made = key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), octets, &mut signature);
                made.map(|()| signature).map_err(|_| SignError::Crypto)
            }
            Kind::Ed25519(key) => {
                Ok(key.sign(digest::digest(&digest::SHA256, octets).as_ref()).as_ref().to_vec())
            }
        }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("SigningKey").field(&self.algorithm()).finish()
    }
}

impl Signer {
    /// A key with this name, for this domain.
    pub fn new(domain: &str, selector: &str, key: SigningKey) -> Self {
        Self { domain: domain.to_ascii_lowercase(), selector: selector.to_ascii_lowercase(), key }
    }
}

/// The fields that are signed if they are there. Of those that are marked, one more is signed than there are, so that none can
/// be added (RFC 6376 §8.15).
const FIELDS: &[(&str, bool)] = &[
    ("From", true),
    ("Reply-To", true),
    ("Subject", true),
    ("Date", true),
    ("To", true),
    ("Cc", true),
    ("Message-ID", true),
    ("In-Reply-To", true),
    ("References", true),
    ("MIME-Version", true),
    ("Content-Type", true),
    ("Content-Transfer-Encoding", true),
    ("Sender", false),
    ("Resent-Date", false),
    ("Resent-From", false),
    ("Resent-To", false),
    ("Resent-Cc", false),
    ("List-Id", false),
    ("List-Help", false),
    ("List-Unsubscribe", false),
    ("List-Unsubscribe-Post", false),
    ("List-Subscribe", false),
    ("List-Post", false),
    ("List-Owner", false),
    ("List-Archive", false),
    ("Autocrypt", false),
];

/// So many fields of one name are signed: nobody honest has more.
const MOST_OF_A_NAME: usize = 16;

/// The DKIM-Signature field for a message, to be put in front of it. `now` is in seconds since 1970.
///
/// # Errors
/// If the message was not examined [for signing](super::super::Examiner::for_signing), or the key fails.
pub fn sign(signer: &Signer, examined: &Examined, now: u64) -> Result<String, SignError> {
    let wanted = (Canonicalization::Relaxed, None);
    let (hash, _) = examined.hash(wanted).filter(|_| !examined.is_overlong()).ok_or(SignError::Message)?;
    let mut names: Vec<String> = Vec::new();
    for (name, sealed) in FIELDS {
        let count = examined.named(name).take(MOST_OF_A_NAME).count() + usize::from(*sealed);
        names.extend(std::iter::repeat_n((*name).to_owned(), count));
    }
    let start = format!(
        "DKIM-Signature: v=1; a={}; c=relaxed/relaxed; d={}; s={};\r\n\tt={now}; bh={};\r\n\th=",
        signer.key.algorithm().as_str(),
        signer.domain,
        signer.selector,
        STANDARD.encode(hash),
    );
    complete(signer, start, &names, examined)
}

/// The ARC-Message-Signature of the instance with this number (RFC 8617 §4.1.2). As `sign`, but what other servers signed is
/// signed too, and fields may be added: their own signatures tell of that.
pub(in super::super) fn sign_for_arc(
    signer: &Signer,
    examined: &Examined,
    instance: usize,
    now: u64,
) -> Result<String, SignError> {
    let wanted = (Canonicalization::Relaxed, None);
    let (hash, _) = examined.hash(wanted).filter(|_| !examined.is_overlong()).ok_or(SignError::Message)?;
    let mut names: Vec<String> = Vec::new();
    for (name, _) in FIELDS.iter().chain(&[("DKIM-Signature", false)]) {
        let count = examined.named(name).take(MOST_OF_A_NAME).count();
        names.extend(std::iter::repeat_n((*name).to_owned(), count));
    }
    let start = format!(
        "ARC-Message-Signature: i={instance}; a={}; c=relaxed/relaxed; d={}; s={};\r\n\tt={now}; bh={};\r\n\th=",
        signer.key.algorithm().as_str(),
        signer.domain,
        signer.selector,
        STANDARD.encode(hash),
    );
    complete(signer, start, &names, examined)
}

/// Adds the names of what is signed, and the signature.
fn complete(
    signer: &Signer,
    mut field: String,
    names: &[String],
    examined: &Examined,
) -> Result<String, SignError> {
    let form = Canonicalization::Relaxed;
    let mut width = 9;
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            field.push(':');
        }
        if width + name.len() > 72 {
            field.push_str("\r\n\t ");
            width = 9;
        }
        field.push_str(name);
        width += name.len() + 1;
    }
    field.push_str(";\r\n\tb=");
    let mut data = examined.signed(names, form);
    form.field(field.as_bytes(), &mut data);
    add_value(signer, field, &data)
}

/// The field with the signature of `data` behind it, and its line end.
pub(in super::super) fn add_value(
    signer: &Signer,
    mut field: String,
    data: &[u8],
) -> Result<String, SignError> {
    let value = STANDARD.encode(signer.key.sign(data)?);
    let mut rest = &*value;
    while let Some((line, behind)) = rest.split_at_checked(72) {
        field.push_str(line);
        field.push_str("\r\n\t ");
        rest = behind;
    }
    // A value that fills its last line leaves the white space of a fold behind, which must not be all there is in a line.
    field.push_str(rest);
    let end = field.trim_end().len();
    field.truncate(end);
    field.push_str("\r\n");
    Ok(field)
}

/// The key as a SubjectPublicKeyInfo (RFC 5280 §4.1), which is what everybody publishes.
fn public_key_info(key: &[u8]) -> Vec<u8> {
    const RSA: &[u8] = &[0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
    let element = |tag: u8, content: &[u8]| {
        let length = content.len();
        let mut octets = vec![tag];
        match u8::try_from(length) {
            Ok(short @ 0..=0x7f) => octets.push(short),
            Ok(short) => octets.extend([0x81, short]),
            Err(_) => {
                octets.push(0x82);
                octets.extend(u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
            }
        }
        octets.extend_from_slice(content);
        octets
    };
    let bits = element(3, &[&[0], key].concat());
    element(0x30, &[RSA, &bits].concat())
}
