//! The record of a key in the domain name system (RFC 6376 §3.6.1), and what it verifies.

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::{digest, signature as crypto};

use super::{super::tags::Tags, Algorithm};

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: Algorithm,
    octets: Vec<u8>,
    /// Whether the domain only tries it out.
    testing: bool,
    /// Whether it is for the domain itself alone, not for those below.
    strict: bool,
}

/// Why a record is no key that could be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It is no record of a key.
    #[error("the record is no key")]
    Syntax,
    /// There is nothing in it.
    #[error("the key was revoked")]
    Revoked,
    /// It is for something else.
    #[error("the key is not for this")]
    Unsuitable,
    /// RFC 8301 §3.2: fewer than 1,024 bits.
    #[error("the key is too short")]
    Short,
}

impl PublicKey {
    /// Reads a record.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn parse(record: &str) -> Result<Self, KeyError> {
        let tags = Tags::parse(record).ok_or(KeyError::Syntax)?;
        // RFC 6376 §3.6.1: v= is the first tag, if it is there.
        match (tags.value("v"), tags.first()) {
            (None, _) | (Some("DKIM1"), Some(("v", _))) => {}
            _ => return Err(KeyError::Syntax),
        }
        let has = |tag: &str, word: &str| {
            tags.list(tag).is_none_or(|words| words.iter().any(|found| found.eq_ignore_ascii_case(word)))
        };
        let flags = tags.list("t").unwrap_or_default();
        let flag = |word: &str| flags.iter().any(|flag| flag.eq_ignore_ascii_case(word));
        let text = tags.dense("p").ok_or(KeyError::Syntax)?;
        if text.is_empty() {
            return Err(KeyError::Revoked);
        }
        if !has("h", "sha256") || !(has("s", "*") || has("s", "email")) {
            return Err(KeyError::Unsuitable);
        }
        let octets = STANDARD.decode(text).map_err(|_| KeyError::Syntax)?;
        let (algorithm, octets) = match &*tags.value("k").unwrap_or("rsa").to_ascii_lowercase() {
            "rsa" => (Algorithm::RsaSha256, rsa_key(&octets)?),
            "ed25519" if octets.len() == 32 => (Algorithm::Ed25519Sha256, octets),
            "ed25519" => return Err(KeyError::Syntax),
            _ => return Err(KeyError::Unsuitable),
        };
        Ok(Self { algorithm, octets, testing: flag("y"), strict: flag("s") })
    }

    /// What signatures it is for.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether the domain says that it only tries things out.
    pub fn is_testing(&self) -> bool {
        self.testing
    }

    /// Whether signatures must be on behalf of the domain itself.
    pub(super) fn is_strict(&self) -> bool {
        self.strict
    }

    /// Whether this is its signature of the octets.
    pub fn verifies(&self, algorithm: Algorithm, octets: &[u8], signature: &[u8]) -> bool {
        match (algorithm, self.algorithm) {
            (Algorithm::RsaSha256, Algorithm::RsaSha256) => {
                let way = &crypto::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY;
                crypto::UnparsedPublicKey::new(way, &self.octets).verify(octets, signature).is_ok()
            }
            // RFC 8463 §3: the hash is what is signed.
            (Algorithm::Ed25519Sha256, Algorithm::Ed25519Sha256) => {
                let hash = digest::digest(&digest::SHA256, octets);
                let key = crypto::UnparsedPublicKey::new(&crypto::ED25519, &self.octets);
                key.verify(hash.as_ref(), signature).is_ok()
            }
            _ => false,
        }
    }
}

/// The RSAPublicKey of RFC 8017: it stands in a SubjectPublicKeyInfo by custom, and alone at times.
fn rsa_key(octets: &[u8]) -> Result<Vec<u8>, KeyError> {
    let (mut inner, rest) = der(octets, 0x30).ok_or(KeyError::Syntax)?;
    if !rest.is_empty() {
        return Err(KeyError::Syntax);
    }
    let mut key = octets;
    if let Some((_algorithm, behind)) = der(inner, 0x30) {
        let (bits, _) = der(behind, 0x03).ok_or(KeyError::Syntax)?;
        key = bits.strip_prefix(&[0]).ok_or(KeyError::Syntax)?;
        inner = der(key, 0x30).ok_or(KeyError::Syntax)?.0;
    }
    let (modulus, _) = der(inner, 0x02).ok_or(KeyError::Syntax)?;
    let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    if modulus.len() < 1024 / 8 { Err(KeyError::Short) } else { Ok(key.to_vec()) }
}

/// The content of an element with this tag, and what is behind it.
fn der(octets: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (length, rest) = octets.strip_prefix(&[tag])?.split_first()?;
    match length {
        0..=0x7f => rest.split_at_checked((*length).into()),
        0x81 | 0x82 => {
            let (length, rest) = rest.split_at_checked((*length & 0x7f).into())?;
            let length = length.iter().fold(0_usize, |sum, octet| sum << 8 | usize::from(*octet));
            rest.split_at_checked(length)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8463 §A.2
    const RSA: &str = "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3id\
        Y6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqM\
        KrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB";

    #[test]
    fn records_are_read() {
        assert_eq!(PublicKey::parse(RSA).unwrap().algorithm(), Algorithm::RsaSha256);
        let edwards = "v=DKIM1; k=ed25519; t=y:s; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
        let key = PublicKey::parse(edwards).unwrap();
        assert!(key.is_testing() && key.is_strict() && key.algorithm() == Algorithm::Ed25519Sha256);
        // RFC 6376 §3.6.1 keeps the key of RFC 4870: no version, and the bare form is read as well.
        let bare = STANDARD.decode(RSA.split_once("p=").unwrap().1).unwrap();
        let bare = format!("p={}", STANDARD.encode(rsa_key(&bare).unwrap()));
        assert_eq!(PublicKey::parse(&bare).unwrap().octets, PublicKey::parse(RSA).unwrap().octets);
        for (record, expected) in [
            ("v=DKIM1; p=", KeyError::Revoked),
            ("v=DKIM2; p=AA==", KeyError::Syntax),
            ("k=rsa; v=DKIM1; p=AA==", KeyError::Syntax),
            ("v=DKIM1", KeyError::Syntax),
            ("v=spf1 -all", KeyError::Syntax),
            ("v=DKIM1; h=sha1; p=AA==", KeyError::Unsuitable),
            ("v=DKIM1; s=tlsrpt; p=AA==", KeyError::Unsuitable),
            ("v=DKIM1; k=dsa; p=AA==", KeyError::Unsuitable),
            ("v=DKIM1; k=ed25519; p=AA==", KeyError::Syntax),
            ("v=DKIM1; p=AA==", KeyError::Syntax),
            // 512 bits
            (
                "p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBALOq0lVW5Z2BzC1M6x9AJy1d7VCE3cEKi1kfqq5oQZSwDBqUsQ7Q9ZlC3cR5h2Y1Uo7m+1S4c7cQjQ1f8nJmJ0ECAwEAAQ==",
                KeyError::Short,
            ),
        ] {
            assert_eq!(PublicKey::parse(record), Err(expected), "{record}");
        }
    }
}
