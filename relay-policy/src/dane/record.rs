//! One TLSA record (RFC 6698 §2).

use std::fmt;

use ring::digest;

/// A certificate, as records tell of it: all its octets, and those of its public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certificate<'a> {
    whole: &'a [u8],
    key: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// `whole` is the certificate in DER, `key` its SubjectPublicKeyInfo in DER; empty if that cannot be told.
    pub const fn new(whole: &'a [u8], key: &'a [u8]) -> Self {
        Self { whole, key }
    }
}

/// A TLSA record. Any numbers are one, since they are what the name system has; [`is_usable`](Self::is_usable) tells.
///
/// ```
/// use mailwright_relay_policy::dane::{Certificate, Tlsa};
///
/// let certificate = Certificate::new(b"certificate", b"its key");
/// let record = Tlsa::of(3, 1, 1, &certificate).unwrap();
/// assert!(record.matches(&certificate));
/// assert!(record.to_string().starts_with("3 1 1 "));
/// assert!(!Tlsa::new(0, 0, 1, vec![0; 32]).is_usable());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tlsa {
    pub(super) usage: u8,
    pub(super) selector: u8,
    pub(super) matching: u8,
    pub(super) data: Vec<u8>,
}

impl Tlsa {
    /// With these numbers and octets.
    pub const fn new(usage: u8, selector: u8, matching: u8, data: Vec<u8>) -> Self {
        Self { usage, selector, matching, data }
    }

    /// The record that a certificate should have; `None` if selector or matching are unknown.
    pub fn of(usage: u8, selector: u8, matching: u8, certificate: &Certificate<'_>) -> Option<Self> {
        let data = digested(matching, selected(selector, certificate)?)?;
        Some(Self { usage, selector, matching, data })
    }

    /// Whether mail servers go by it: usage 2 or 3 (RFC 7672 §3.1), with a known selector and digest, and octets as many as that has.
    pub fn is_usable(&self) -> bool {
        let length = match self.matching {
            0 => !self.data.is_empty(),
            1 => self.data.len() == digest::SHA256_OUTPUT_LEN,
            2 => self.data.len() == digest::SHA512_OUTPUT_LEN,
            _ => false,
        };
        matches!(self.usage, 2 | 3) && matches!(self.selector, 0 | 1) && length
    }

    /// Whether it is of this certificate.
    pub fn matches(&self, certificate: &Certificate<'_>) -> bool {
        let digest = selected(self.selector, certificate).and_then(|octets| digested(self.matching, octets));
        digest.is_some_and(|digest| !digest.is_empty() && digest == self.data)
    }
}

fn selected<'a>(selector: u8, certificate: &Certificate<'a>) -> Option<&'a [u8]> {
    match selector {
        0 => Some(certificate.whole),
        1 if !certificate.key.is_empty() => Some(certificate.key),
        _ => None,
    }
}

fn digested(matching: u8, octets: &[u8]) -> Option<Vec<u8>> {
    match matching {
        0 => Some(octets.to_vec()),
        1 => Some(digest::digest(&digest::SHA256, octets).as_ref().to_vec()),
        2 => Some(digest::digest(&digest::SHA512, octets).as_ref().to_vec()),
        _ => None,
    }
}

impl fmt::Display for Tlsa {
    /// As in a zone file: `3 1 1 0123..`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} ", self.usage, self.selector, self.matching)?;
        self.data.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}
