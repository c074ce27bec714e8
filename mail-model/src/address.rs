//! Addresses of the envelope: local parts, domains, mailboxes and paths (RFC 5321 §4.1.2, RFC 6531 §3.3).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use smol_str::{SmolStr, format_smolstr};

mod domain;
mod error;
mod local_part;
mod path;

pub use domain::Domain;
pub use error::AddressError;
pub use local_part::LocalPart;
pub use path::{ForwardPath, ReversePath};

/// A mailbox at a domain, `local@domain`, as the envelope of SMTP names it.
///
/// Keeps the exact octets it was written in. Two addresses are equal if their local parts are once
/// unquoted (case counts: only the receiving host may say otherwise, RFC 5321 §2.4) and their domains
/// are in ASCII form without regard to case. Cheap to clone.
///
/// Header fields have a freer grammar: see [`address_list`](crate::address_list).
///
/// ```
/// use mailwright_mail_model::Address;
///
/// let address: Address = "\"john doe\"@BÜCHER.example".parse()?;
/// assert_eq!(address.local().unquoted(), "john doe");
/// assert_eq!(address.domain().key(), "xn--bcher-kva.example");
/// assert_eq!(address.as_str(), "\"john doe\"@BÜCHER.example");
/// assert!(!address.is_ascii());
/// # Ok::<(), mailwright_mail_model::AddressError>(())
/// ```
#[derive(Clone)]
pub struct Address(Arc<Parts>);

struct Parts {
    text: SmolStr,
    local: LocalPart,
    domain: Domain,
}

impl Address {
    /// The longest address, in octets. RFC 5321 §4.5.3.1.3: a path has 256 with its `<` and `>`.
    pub const MAX_OCTETS: usize = 254;

    /// Puts an address together.
    ///
    /// # Errors
    /// If the whole is too long.
    pub fn new(local: LocalPart, domain: Domain) -> Result<Self, AddressError> {
        Self::of(format_smolstr!("{local}@{domain}"), local, domain)
    }

    /// The address written in these octets, all of them.
    ///
    /// # Errors
    /// If the octets are not exactly one address: among other faults, if they are not UTF-8, hold a
    /// control character, have text after the domain, or an empty local part, quoted or not.
    pub fn parse(octets: &[u8]) -> Result<Self, AddressError> {
        str::from_utf8(octets).map_err(|_| AddressError::NotUtf8)?.parse()
    }

    fn of(text: SmolStr, local: LocalPart, domain: Domain) -> Result<Self, AddressError> {
        if text.len() > Self::MAX_OCTETS {
            return Err(AddressError::TooLong(text.len()));
        }
        Ok(Self(Arc::new(Parts { text, local, domain })))
    }

    /// The part before the `@`.
    pub fn local(&self) -> &LocalPart {
        &self.0.local
    }

    /// The part after the `@`.
    pub fn domain(&self) -> &Domain {
        &self.0.domain
    }

    /// The address exactly as it was written.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// Whether the address can be sent to a host without SMTPUTF8 as it is (RFC 6531 §3.4).
    pub fn is_ascii(&self) -> bool {
        self.0.text.is_ascii()
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.local() == other.local() && self.domain() == other.domain()
    }
}

impl Eq for Address {}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.local().hash(state);
        self.domain().hash(state);
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.0.text)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        let (local, rest) = local_part::split(text)?;
        let domain = rest.strip_prefix('@').ok_or(AddressError::NoDomain)?;
        Self::of(text.into(), local.parse()?, domain.parse()?)
    }
}

#[cfg(test)]
mod tests;
