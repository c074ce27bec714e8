//! What stands after `MAIL FROM:` and `RCPT TO:`.

use std::fmt;

use memchr::memchr2;

use super::{Address, AddressError, Domain};

/// Where a message comes from and where failure is reported: an address, or nobody (RFC 5321 §4.1.1.2).
///
/// ```
/// use mailwright_mail_model::ReversePath;
///
/// let (path, rest) = ReversePath::parse_prefix("<@a.example:ann@b.example> SIZE=100")?;
/// assert_eq!(path.to_string(), "<ann@b.example>");
/// assert_eq!(rest, " SIZE=100");
/// assert_eq!(ReversePath::parse(b"<>")?, ReversePath::Null);
/// # Ok::<(), mailwright_mail_model::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReversePath {
    /// `<>`: a message about a message, which must not be answered by another (RFC 5321 §4.5.5).
    Null,
    /// The address of the sender.
    Address(Address),
}

/// Where a message goes: an address, or the postmaster of whoever receives it (RFC 5321 §4.1.1.3).
///
/// ```
/// use mailwright_mail_model::ForwardPath;
///
/// assert_eq!(ForwardPath::parse(b"<PostMaster>")?, ForwardPath::Postmaster);
/// assert!(ForwardPath::parse(b"<>").is_err());
/// # Ok::<(), mailwright_mail_model::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ForwardPath {
    /// `<postmaster>` in any case, without a domain.
    Postmaster,
    /// The address of the recipient.
    Address(Address),
}

impl ReversePath {
    /// The path written in these octets, all of them.
    ///
    /// # Errors
    /// As [`parse_prefix`](Self::parse_prefix), and if there is text after the path.
    pub fn parse(octets: &[u8]) -> Result<Self, AddressError> {
        whole(Self::parse_prefix(text(octets)?)?)
    }

    /// The path at the start of this text, and what follows it. A source route is checked and dropped.
    ///
    /// # Errors
    /// If the text does not begin with `<`, an address or nothing, and `>`.
    pub fn parse_prefix(text: &str) -> Result<(Self, &str), AddressError> {
        Self::parse_plain_prefix(text).map_or_else(|| Self::parse_any_prefix(text), Ok)
    }

    /// As [`parse_prefix`](Self::parse_prefix) where the path is what nearly all are: an address without quotes, route or capital
    /// letters in its domain. `None` says nothing of other paths.
    #[inline]
    pub fn parse_plain_prefix(text: &str) -> Option<(Self, &str)> {
        plain(text).map(|(content, at, rest)| (Self::Address(Address::of_plain(content, at)), rest))
    }

    /// As [`parse_prefix`](Self::parse_prefix), but also takes an address without brackets, up to a space.
    ///
    /// # Errors
    /// If there is neither a path nor an address. Nothing at all is not the null path.
    pub fn parse_prefix_lenient(text: &str) -> Result<(Self, &str), AddressError> {
        if text.starts_with('<') {
            return Self::parse_prefix(text);
        }
        let (content, rest) = bare(text)?;
        Ok((Self::from_content(content)?, rest))
    }

    /// The address; `None` for the null path.
    pub const fn address(&self) -> Option<&Address> {
        match self {
            Self::Null => None,
            Self::Address(address) => Some(address),
        }
    }

    /// Whether the path can be sent to a host without SMTPUTF8 as it is (RFC 6531 §3.4).
    pub fn is_ascii(&self) -> bool {
        self.address().is_none_or(Address::is_ascii)
    }

    fn parse_any_prefix(text: &str) -> Result<(Self, &str), AddressError> {
        let (content, rest) = bracketed(text)?;
        Ok((Self::from_content(content)?, rest))
    }

    fn from_content(content: &str) -> Result<Self, AddressError> {
        if content.is_empty() { Ok(Self::Null) } else { routed(content).map(Self::Address) }
    }
}

impl ForwardPath {
    /// The path written in these octets, all of them.
    ///
    /// # Errors
    /// As [`parse_prefix`](Self::parse_prefix), and if there is text after the path.
    pub fn parse(octets: &[u8]) -> Result<Self, AddressError> {
        whole(Self::parse_prefix(text(octets)?)?)
    }

    /// The path at the start of this text, and what follows it. A source route is checked and dropped.
    ///
    /// # Errors
    /// If the text does not begin with `<`, an address or `postmaster`, and `>`.
    pub fn parse_prefix(text: &str) -> Result<(Self, &str), AddressError> {
        Self::parse_plain_prefix(text).map_or_else(|| Self::parse_any_prefix(text), Ok)
    }

    /// As [`parse_prefix`](Self::parse_prefix) where the path is what nearly all are: an address without quotes, route or capital
    /// letters in its domain. `None` says nothing of other paths.
    #[inline]
    pub fn parse_plain_prefix(text: &str) -> Option<(Self, &str)> {
        plain(text).map(|(content, at, rest)| (Self::Address(Address::of_plain(content, at)), rest))
    }

    /// As [`parse_prefix`](Self::parse_prefix), but also takes an address without brackets, up to a space.
    ///
    /// # Errors
    /// If there is neither a path nor an address.
    pub fn parse_prefix_lenient(text: &str) -> Result<(Self, &str), AddressError> {
        if text.starts_with('<') {
            return Self::parse_prefix(text);
        }
        let (content, rest) = bare(text)?;
        Ok((Self::from_content(content)?, rest))
    }

    /// The address; `None` for the postmaster.
    pub const fn address(&self) -> Option<&Address> {
        match self {
            Self::Postmaster => None,
            Self::Address(address) => Some(address),
        }
    }

    /// Whether the path can be sent to a host without SMTPUTF8 as it is (RFC 6531 §3.4).
    pub fn is_ascii(&self) -> bool {
        self.address().is_none_or(Address::is_ascii)
    }

    fn parse_any_prefix(text: &str) -> Result<(Self, &str), AddressError> {
        let (content, rest) = bracketed(text)?;
        Ok((Self::from_content(content)?, rest))
    }

    fn from_content(content: &str) -> Result<Self, AddressError> {
        // RFC 5321 §4.1.1.3: the one local part that needs no domain.
        if content.eq_ignore_ascii_case("postmaster") {
            return Ok(Self::Postmaster);
        }
        routed(content).map(Self::Address)
    }
}

impl From<Address> for ReversePath {
    fn from(address: Address) -> Self {
        Self::Address(address)
    }
}

impl From<Address> for ForwardPath {
    fn from(address: Address) -> Self {
        Self::Address(address)
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.address().map_or("", Address::as_str))
    }
}

impl fmt::Display for ForwardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.address().map_or("postmaster", Address::as_str))
    }
}

fn text(octets: &[u8]) -> Result<&str, AddressError> {
    str::from_utf8(octets).map_err(|_| AddressError::NotUtf8)
}

fn whole<T>((path, rest): (T, &str)) -> Result<T, AddressError> {
    if rest.is_empty() { Ok(path) } else { Err(AddressError::AfterPath) }
}

/// The address in the path that a text begins with, where its `@` is, and what follows the path, if the address is what
/// nearly all are.
fn plain(text: &str) -> Option<(&str, usize, &str)> {
    let inner = text.strip_prefix('<')?;
    let (at, end) = Address::plain(inner.as_bytes())?;
    let (content, rest) = inner.split_at_checked(end)?;
    Some((content, at, rest.strip_prefix('>')?))
}

/// What stands between the brackets, and what follows them.
fn bracketed(text: &str) -> Result<(&str, &str), AddressError> {
    let inner = text.strip_prefix('<').ok_or(AddressError::Brackets)?;
    let (content, rest) = split_unquoted(inner, b'>')?;
    Ok((content, rest.strip_prefix('>').ok_or(AddressError::Brackets)?))
}

/// What stands before a space, and the rest from the space on.
fn bare(text: &str) -> Result<(&str, &str), AddressError> {
    let (content, rest) = split_unquoted(text, b' ')?;
    if content.is_empty() { Err(AddressError::Empty) } else { Ok((content, rest)) }
}

/// Splits before the first `end`, which is ASCII, that is not in quotes, or at the end.
fn split_unquoted(text: &str, end: u8) -> Result<(&str, &str), AddressError> {
    let octets = text.as_bytes();
    // Nearly no address has quotes.
    if let Some(at) = memchr2(end, b'"', octets)
        && octets.get(at) == Some(&end)
    {
        return Ok(text.split_at_checked(at).unwrap_or((text, "")));
    }
    let (mut quoted, mut escaped) = (false, false);
    let at = octets.iter().position(|&byte| {
        if escaped {
            escaped = false;
            return false;
        }
        escaped = quoted && byte == b'\\';
        quoted ^= byte == b'"';
        byte == end && !quoted
    });
    if at.is_none() && quoted {
        return Err(AddressError::OpenQuote);
    }
    Ok(text.split_at_checked(at.unwrap_or(text.len())).unwrap_or((text, "")))
}

/// An address, perhaps after a source route. RFC 5321 §4.1.1.3 and appendix C: routes are obsolete;
/// their domains must be right and are then ignored.
fn routed(content: &str) -> Result<Address, AddressError> {
    // RFC 5321 §4.5.3.1.3, the route being part of the path.
    if content.len() > Address::MAX_OCTETS {
        return Err(AddressError::TooLong(content.len()));
    }
    if !content.starts_with('@') {
        return content.parse();
    }
    let mut rest = content;
    loop {
        let hop = rest.strip_prefix('@').ok_or(AddressError::SourceRoute)?;
        let end = route_domain_end(hop).ok_or(AddressError::SourceRoute)?;
        let (domain, after) = hop.split_at_checked(end).ok_or(AddressError::SourceRoute)?;
        domain.parse::<Domain>().map_err(|_| AddressError::SourceRoute)?;
        if let Some(address) = after.strip_prefix(':') {
            return address.parse();
        }
        rest = after.strip_prefix(',').ok_or(AddressError::SourceRoute)?;
    }
}

/// Where the domain at the start of `hop` ends; the colons of a literal do not end it.
fn route_domain_end(hop: &str) -> Option<usize> {
    if hop.starts_with('[') { hop.find(']').map(|index| index + 1) } else { hop.find([',', ':']) }
}
