//! Addresses of the envelope: local parts, domains, mailboxes and paths (RFC 5321 §4.1.2, RFC 6531 §3.3).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::str::FromStr;

use smol_str::SmolStr;

mod domain;
mod error;
mod grammar;
mod local_part;
mod part;
mod path;

pub use domain::Domain;
pub use error::AddressError;
pub use local_part::{LocalPart, LocalPartRef};
pub use path::{ForwardPath, ReversePath};

use grammar::{LOCAL, NAME};
use part::{Part, Span};

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
pub struct Address {
    /// Its text is that of the whole address.
    domain: Domain,
    local: Span,
    unquoted: Span,
}

impl Address {
    /// The longest address, in octets. RFC 5321 §4.5.3.1.3: a path has 256 with its `<` and `>`.
    pub const MAX_OCTETS: usize = 254;

    /// Puts an address together.
    ///
    /// # Errors
    /// If the whole is too long.
    pub fn new(local: LocalPart, domain: Domain) -> Result<Self, AddressError> {
        format!("{local}@{domain}").parse()
    }

    /// The address written in these octets, all of them.
    ///
    /// # Errors
    /// If the octets are not exactly one address: among other faults, if they are not UTF-8, hold a
    /// control character, have text after the domain, or an empty local part, quoted or not.
    pub fn parse(octets: &[u8]) -> Result<Self, AddressError> {
        str::from_utf8(octets).map_err(|_| AddressError::NotUtf8)?.parse()
    }

    /// Where the `@` and the end of the address are that a text begins with, if it is what nearly all are: atoms, and a
    /// short name in lower case. Neither part then means anything else than it says.
    fn plain(octets: &[u8]) -> Option<(usize, usize)> {
        let at = LOCAL.run(octets).length().filter(|at| *at <= LocalPart::MAX_OCTETS)?;
        let name = NAME.run(octets.get(at..)?.strip_prefix(b"@")?);
        let length = name.length().filter(|length| *length <= Domain::MAX_LABEL && !name.has_upper())?;
        Some((at, at + 1 + length))
    }

    /// Such an address.
    #[inline]
    fn of_plain(text: &str, at: usize) -> Self {
        let domain = at + 1..text.len();
        Self::of(short(text), [0..at, 0..at], [domain.clone(), domain])
    }

    /// An address whose parts are written, and what they mean stands, at these places of the text.
    #[inline]
    fn of(text: SmolStr, [local, unquoted]: [Range<usize>; 2], [domain, key]: [Range<usize>; 2]) -> Self {
        let domain = Domain(Part::of(text, domain, key));
        Self { domain, local: local.into(), unquoted: unquoted.into() }
    }

    /// The part before the `@`.
    pub fn local(&self) -> LocalPartRef<'_> {
        LocalPartRef::of(self.domain.0.slice(self.local), self.domain.0.slice(self.unquoted))
    }

    /// The part after the `@`.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The address exactly as it was written.
    pub fn as_str(&self) -> &str {
        self.domain.0.up_to_end()
    }

    /// Whether the address can be sent to a host without SMTPUTF8 as it is (RFC 6531 §3.4).
    pub fn is_ascii(&self) -> bool {
        self.as_str().is_ascii()
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
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.as_str())
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some((at, end)) = Self::plain(text.as_bytes())
            && end == text.len()
        {
            return Ok(Self::of_plain(text, at));
        }
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        let (local, rest) = local_part::split(text)?;
        let domain = rest.strip_prefix('@').ok_or(AddressError::NoDomain)?;
        let (unquoted, key) = (local_part::unquoted(local)?, domain::key(domain)?);
        if text.len() > Self::MAX_OCTETS {
            return Err(AddressError::TooLong(text.len()));
        }
        let (at, mut all) = (local.len(), text.to_owned());
        let mut place = |written: Range<usize>, meant: Option<String>| match meant {
            None => [written.clone(), written],
            Some(meant) => {
                let start = all.len();
                all.push_str(&meant);
                [written, start..all.len()]
            }
        };
        let (local, domain) = (place(0..at, unquoted), place(at + 1..text.len(), key));
        Ok(Self::of(all.into(), local, domain))
    }
}

/// The text, which is copied where it becomes part of a value if it is short: moved there it would have to be read again before it is
/// written.
#[inline]
fn short(text: &str) -> SmolStr {
    if text.len() <= SmolStr::INLINE_CAP { SmolStr::new_inline(text) } else { text.into() }
}

#[cfg(test)]
mod tests;
