//! The host part of an address: a name or an address literal.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

use super::{AddressError, NAME, Part};

/// A domain name or an address literal in brackets (RFC 5321 §4.1.2, §4.1.3).
///
/// Names may hold U-labels (RFC 5890), as SMTPUTF8 allows. Equal to another if their
/// [keys](Self::key) are.
///
/// ```
/// use mailwright_mail_model::Domain;
///
/// let domain: Domain = "Mail.EXAMPLE.org".parse()?;
/// assert_eq!(domain.as_str(), "Mail.EXAMPLE.org");
/// assert_eq!(domain.key(), "mail.example.org");
/// let literal: Domain = "[IPv6:2001:DB8::1]".parse()?;
/// assert_eq!(literal.ip(), Some("2001:db8::1".parse().unwrap()));
/// # Ok::<(), mailwright_mail_model::AddressError>(())
/// ```
#[derive(Clone)]
pub struct Domain(pub(super) Part);

impl Domain {
    /// The longest domain, in octets (RFC 5321 §4.5.3.1.2).
    pub const MAX_OCTETS: usize = 255;

    /// The longest label of a name, in octets (RFC 1035 §2.3.4).
    pub(super) const MAX_LABEL: usize = 63;

    /// Exactly as it was written.
    pub fn as_str(&self) -> &str {
        self.0.written()
    }

    /// The form to compare, look up and store by: a name in A-labels and lower case, or a literal in
    /// its shortest form.
    pub fn key(&self) -> &str {
        self.0.meant()
    }

    /// The address of a literal such as `[192.0.2.1]`; `None` for names and literals of other kinds.
    pub fn ip(&self) -> Option<IpAddr> {
        literal_ip(self.as_str().strip_prefix('[')?.strip_suffix(']')?)
    }

    /// Whether this is an address literal rather than a name.
    pub fn is_literal(&self) -> bool {
        self.as_str().starts_with('[')
    }

    /// Whether the domain is written in ASCII.
    pub fn is_ascii(&self) -> bool {
        self.as_str().is_ascii()
    }
}

impl FromStr for Domain {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Ok(Self(Part::alone(text, key(text)?.as_deref())))
    }
}

impl From<IpAddr> for Domain {
    /// The address literal of `ip`.
    fn from(ip: IpAddr) -> Self {
        Self(Part::alone(&literal_key(ip), None))
    }
}

/// The key of a domain, unless it is the text itself.
pub(super) fn key(text: &str) -> Result<Option<String>, AddressError> {
    if text.len() > Domain::MAX_OCTETS {
        return Err(AddressError::DomainTooLong(text.len()));
    }
    match text.strip_prefix('[') {
        Some(rest) => {
            let key = of_literal(rest.strip_suffix(']').ok_or(AddressError::Literal)?)?;
            Ok((key != text).then_some(key))
        }
        None => of_name(text),
    }
}

/// The name in lower case and A-labels, unless it is so already.
fn of_name(name: &str) -> Result<Option<String>, AddressError> {
    if let Some(has_upper) = ascii_name(name) {
        return Ok(has_upper.then(|| name.to_ascii_lowercase()));
    }
    if name.is_ascii() {
        return Err(AddressError::Domain);
    }
    // RFC 6531 §3.3: U-labels, which have exactly one ASCII form.
    let ascii =
        Uts46::new().to_ascii(name.as_bytes(), AsciiDenyList::STD3, Hyphens::Check, DnsLength::Verify);
    let key = ascii.map_err(|_| AddressError::Domain)?;
    ascii_name(&key).map(|_| Some(key.into_owned())).ok_or(AddressError::Domain)
}

/// Whether there are upper-case letters in a name of RFC 5321 §4.1.2 `sub-domain`s with dots between them, none of them
/// too long. `None` if it is no such name.
fn ascii_name(name: &str) -> Option<bool> {
    let run = NAME.run(name.as_bytes());
    let fits = || name.split('.').all(|label| label.len() <= Domain::MAX_LABEL);
    (run.length() == Some(name.len()) && fits()).then(|| run.has_upper())
}

/// The key of a RFC 5321 §4.1.3 `address-literal`, of which `content` stands between the brackets.
fn of_literal(content: &str) -> Result<String, AddressError> {
    if let Some(ip) = literal_ip(content) {
        return Ok(literal_key(ip));
    }
    let (tag, value) = content.split_once(':').ok_or(AddressError::Literal)?;
    if tag.eq_ignore_ascii_case("IPv6") {
        return Err(AddressError::Literal);
    }
    let tag_fits = !tag.is_empty()
        && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !tag.ends_with('-');
    let value_fits = !value.is_empty() && value.bytes().all(|byte| matches!(byte, 33..=90 | 94..=126));
    if !tag_fits || !value_fits {
        return Err(AddressError::Literal);
    }
    Ok(format!("[{}:{value}]", tag.to_ascii_lowercase()))
}

fn literal_ip(content: &str) -> Option<IpAddr> {
    if let Ok(ip) = content.parse::<Ipv4Addr>() {
        return Some(ip.into());
    }
    let (tag, value) = content.split_once(':')?;
    value.parse::<Ipv6Addr>().ok().filter(|_| tag.eq_ignore_ascii_case("IPv6")).map(IpAddr::V6)
}

fn literal_key(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("[{ip}]"),
        IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
    }
}

impl PartialEq for Domain {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Domain {}

impl Hash for Domain {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Domain({})", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_parses_is_kept_and_its_key_is_its_own_key(text in "([a-zA-Z0-9é-]{1,5}\\.){0,3}[a-z]{1,3}") {
            if let Ok(domain) = text.parse::<Domain>() {
                prop_assert_eq!(domain.as_str(), &text);
                prop_assert!(domain.key().is_ascii());
                let key: Domain = domain.key().parse().unwrap();
                prop_assert_eq!(key.key(), domain.key());
                prop_assert_eq!(key, domain);
            }
        }

        #[test]
        fn never_panics(text in any::<String>(), inner in "[0-9a-f:.IPv\\-]{0,20}") {
            let _ = text.parse::<Domain>();
            let _ = format!("[{inner}]").parse::<Domain>();
        }

        #[test]
        fn literals_round_trip(ip in any::<IpAddr>()) {
            let domain = Domain::from(ip);
            prop_assert_eq!(domain.as_str().parse::<Domain>().unwrap().ip(), Some(ip));
        }
    }

    #[test]
    fn names() {
        for (text, key) in [
            ("localhost", "localhost"),
            ("EXAMPLE.Org", "example.org"),
            ("1.2.3.4", "1.2.3.4"),
            ("Bücher.example", "xn--bcher-kva.example"),
            ("XN--bcher-KVA.example", "xn--bcher-kva.example"),
            ("r3---sn.example", "r3---sn.example"),
        ] {
            assert_eq!(text.parse::<Domain>().unwrap().key(), key);
        }
        for text in [
            "", ".", "a.", ".a", "a..b", "-a", "a-", "a_b", "a b", "a@b", "a\0", "a\r", "a>", "a/b",
            "a\u{0}é", "é..a", "\u{200B}",
        ] {
            assert_eq!(text.parse::<Domain>(), Err(AddressError::Domain), "{text:?}");
        }
    }

    #[test]
    fn limits() {
        assert!("a".repeat(63).parse::<Domain>().is_ok());
        assert!("a".repeat(64).parse::<Domain>().is_err());
        let name = |octets: usize| format!("{}{}", "a.".repeat(octets / 2), "a".repeat(octets % 2));
        assert!(name(253).parse::<Domain>().is_ok());
        assert!(name(255).parse::<Domain>().is_ok());
        assert_eq!(name(257).parse::<Domain>(), Err(AddressError::DomainTooLong(257)));
    }

    #[test]
    fn literals() {
        for (text, key) in [
            ("[192.0.2.1]", "[192.0.2.1]"),
            ("[ipv6:2001:DB8:0:0::1]", "[IPv6:2001:db8::1]"),
            ("[IPv6:::1]", "[IPv6:::1]"),
            ("[IPv6:::ffff:192.0.2.1]", "[IPv6:::ffff:192.0.2.1]"),
            ("[X-Net:a!b]", "[x-net:a!b]"),
        ] {
            let domain: Domain = text.parse().unwrap();
            assert_eq!(domain.key(), key);
            assert!(domain.is_literal());
        }
        for text in [
            "[",
            "[]",
            "[1.2.3]",
            "[1.2.3.256]",
            "[::1]",
            "[IPv6:]",
            "[IPv6:::1%eth0]",
            "[1.2.3.4",
            "[a:]",
            "[a:b]c]",
            "[a-:b]",
            "[:b]",
        ] {
            assert_eq!(text.parse::<Domain>(), Err(AddressError::Literal), "{text}");
        }
    }
}
