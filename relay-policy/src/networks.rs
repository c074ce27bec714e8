//! Named groups of addresses of clients, and what they may do.

use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr};

/// Some addresses in a row: one, a network, or from one to another.
///
/// ```
/// use mailwright_relay_policy::networks::AddressRange;
///
/// let office: AddressRange = "192.0.2.0/24".parse()?;
/// assert!(office.contains("192.0.2.77".parse()?));
/// // A client of a socket for both families counts as what it is.
/// assert!(office.contains("::ffff:192.0.2.77".parse()?));
/// let printers: AddressRange = "192.0.2.10-192.0.2.19".parse()?;
/// assert!(!printers.contains("192.0.2.20".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

/// What is no range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressRangeError {
    /// An address that is none.
    #[error(
        "expected an address, a network like 192.0.2.0/24 or a range like 192.0.2.1-192.0.2.9, got {0:?}"
    )]
    Address(String),
    /// A prefix longer than the address.
    #[error("expected a prefix of at most {longest} bits in {text:?}")]
    Prefix {
        /// What was there.
        text: String,
        /// The bits of an address of this family.
        longest: u32,
    },
    /// Bits behind the prefix: somebody may have meant another network.
    #[error("{text:?} has bits set behind its prefix; did you mean {network}?")]
    HostBits {
        /// What was there.
        text: String,
        /// The network it is in.
        network: String,
    },
    /// A range that ends before it begins, or in another family.
    #[error("expected the end of {0:?} to follow its beginning")]
    Order(String),
}

impl AddressRange {
    /// Whether it holds an address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && self.first <= address && address <= self.last
    }

    /// All addresses with the first `prefix` bits of this one.
    pub fn network(address: IpAddr, prefix: u32) -> Self {
        let address = address.to_canonical();
        match address {
            IpAddr::V4(v4) => {
                let host = u32::MAX.checked_shr(prefix).unwrap_or(0);
                let bits = v4.to_bits();
                Self { first: IpAddr::V4((bits & !host).into()), last: IpAddr::V4((bits | host).into()) }
            }
            IpAddr::V6(v6) => {
                let host = u128::MAX.checked_shr(prefix).unwrap_or(0);
                let bits = v6.to_bits();
                Self { first: IpAddr::V6((bits & !host).into()), last: IpAddr::V6((bits | host).into()) }
            }
        }
    }

    /// How many addresses it holds.
    fn count(&self) -> u128 {
        bits(self.last).saturating_sub(bits(self.first)).saturating_add(1)
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl From<IpAddr> for AddressRange {
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { first: address, last: address }
    }
}

impl FromStr for AddressRange {
    type Err = AddressRangeError;

    fn from_str(text: &str) -> Result<Self, AddressRangeError> {
        let address = |part: &str| {
            let bare = part.trim().trim_start_matches('[').trim_end_matches(']');
            bare.parse::<IpAddr>()
                .map(|address| address.to_canonical())
                .map_err(|_| AddressRangeError::Address(text.to_owned()))
        };
        if let Some((start, prefix)) = text.split_once('/') {
            let start = address(start)?;
            let longest = if start.is_ipv4() { 32 } else { 128 };
            let prefix: u32 =
                prefix.trim().parse().map_err(|_| AddressRangeError::Address(text.to_owned()))?;
            if prefix > longest {
                return Err(AddressRangeError::Prefix { text: text.to_owned(), longest });
            }
            let network = Self::network(start, prefix);
            if network.first != start {
                let network = format!("{}/{prefix}", network.first);
                return Err(AddressRangeError::HostBits { text: text.to_owned(), network });
            }
            return Ok(network);
        }
        if let Some((first, last)) = text.split_once('-') {
            let (first, last) = (address(first)?, address(last)?);
            if first.is_ipv4() != last.is_ipv4() || last < first {
                return Err(AddressRangeError::Order(text.to_owned()));
            }
            return Ok(Self { first, last });
        }
        address(text).map(Self::from)
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            return write!(f, "{}", self.first);
        }
        let width = if self.first.is_ipv4() { 32 } else { 128 };
        let network = (0..=width).find(|prefix| Self::network(self.first, *prefix) == *self);
        match network {
            Some(prefix) => write!(f, "{}/{prefix}", self.first),
            None => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

/// One group of clients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NetworkObject {
    /// Who is in it.
    pub members: Vec<AddressRange>,
    /// Whether they may send anywhere without logging in.
    pub relay: bool,
}

impl NetworkObject {
    /// These addresses.
    ///
    /// # Errors
    /// [`TooWide`] if they may relay and are an eighth or more of all addresses of a family: that is an open relay.
    pub fn new(members: Vec<AddressRange>, relay: bool) -> Result<Self, TooWide> {
        if relay {
            check_width(&members)?;
        }
        Ok(Self { members, relay })
    }

    /// Whether an address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.members.iter().any(|range| range.contains(address))
    }
}

/// Whether so many could be let send anywhere. 2000::/3, an eighth of all, is what is in use of IPv6 (RFC 4291 §2.4).
fn check_width(members: &[AddressRange]) -> Result<(), TooWide> {
    for (v4, bits_of_all) in [(true, 32), (false, 128)] {
        let mut ranges: Vec<_> = members.iter().filter(|range| range.first.is_ipv4() == v4).collect();
        ranges.sort();
        // Each address once, however many ranges it is in.
        let (mut all, mut end) = (0_u128, None);
        for range in ranges {
            let new = match end {
                Some(end) if range.last <= end => continue,
                Some(end) if range.first <= end => bits(range.last) - bits(end),
                _ => range.count(),
            };
            (all, end) = (all.saturating_add(new), Some(range.last));
        }
        if all >= 1_u128 << (bits_of_all - 3) {
            let text = members.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Err(TooWide(text));
        }
    }
    Ok(())
}

/// A group that would make an open relay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is a large part of the Internet: to let all of it send anywhere makes an open relay; name your own networks"
)]
pub struct TooWide(String);

/// All groups, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(BTreeMap<String, NetworkObject>);

impl Networks {
    /// Adds a group, or changes it.
    pub fn set(&mut self, name: &str, object: NetworkObject) {
        self.0.insert(name.to_owned(), object);
    }

    /// Takes a group away; what it was.
    pub fn remove(&mut self, name: &str) -> Option<NetworkObject> {
        self.0.remove(name)
    }

    /// A group.
    pub fn find(&self, name: &str) -> Option<&NetworkObject> {
        self.0.get(name)
    }

    /// All groups, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &NetworkObject)> {
        self.0.iter().map(|(name, object)| (name.as_str(), object))
    }

    /// Looks at all groups whose members may send anywhere as one, with `others` that may too.
    ///
    /// # Errors
    /// [`TooWide`] as for [`NetworkObject::new`]: several groups together make an open relay as one does.
    pub fn check(&self, others: &[AddressRange]) -> Result<(), TooWide> {
        let relaying = self.iter().filter(|(_, object)| object.relay);
        let members = relaying.flat_map(|(_, object)| object.members.iter()).chain(others);
        check_width(&members.copied().collect::<Vec<_>>())
    }

    /// The name of a group whose members may send anywhere, with this address in it.
    pub fn relay(&self, address: IpAddr) -> Option<&str> {
        let mut relaying = self.iter().filter(|(_, object)| object.relay);
        relaying.find(|(_, object)| object.contains(address)).map(|(name, _)| name)
    }
}

/// Whom a server trusts by where it stands itself: what other servers call `mynetworks_style`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Style {
    /// Itself only.
    #[default]
    Host,
    /// The networks its interfaces are in.
    Subnet,
    /// The old class A, B or C networks its IPv4 interfaces are in. Wide, and kept for old configurations.
    Class,
}

impl Style {
    /// The addresses trusted, from those of the interfaces with the lengths of their prefixes.
    pub fn ranges(self, interfaces: impl IntoIterator<Item = (IpAddr, u32)>) -> Vec<AddressRange> {
        let mut ranges: Vec<AddressRange> = interfaces
            .into_iter()
            .map(|(address, prefix)| match (self, address.to_canonical()) {
                (Self::Host, address) => AddressRange::from(address),
                (Self::Class, IpAddr::V4(v4)) if !v4.is_loopback() => {
                    // RFC 791 §3.2
                    let prefix = match v4.octets() {
                        [0..128, ..] => 8,
                        [128..192, ..] => 16,
                        _ => 24,
                    };
                    AddressRange::network(v4.into(), prefix)
                }
                (_, address) => AddressRange::network(address, prefix),
            })
            .collect();
        ranges.sort();
        ranges.dedup();
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn ranges(texts: &[&str]) -> Vec<AddressRange> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn ranges_hold_what_they_say_and_no_more() {
        for (range, inside, outside) in [
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.128/25", "192.0.2.128", "192.0.2.127"),
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("192.0.2.5-192.0.2.9", "192.0.2.9", "192.0.2.4"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("[2001:db8::1]", "2001:db8::1", "2001:db8::2"),
            ("[2001:db8::]/64", "2001:db8::ffff", "2001:db8:0:1::"),
            ("::ffff:192.0.2.1", "192.0.2.1", "::1"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            ("0.0.0.0/0", "192.0.2.1", "::1"),
        ] {
            let parsed: AddressRange = range.parse().unwrap();
            assert!(parsed.contains(ip(inside)), "{range} {inside}");
            assert!(!parsed.contains(ip(outside)), "{range} {outside}");
            assert_eq!(parsed.to_string().parse(), Ok(parsed), "{range}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        for (text, word) in [
            ("", "expected an address"),
            ("192.0.2", "expected an address"),
            ("192.0.2.0/33", "at most 32 bits"),
            ("::/129", "at most 128 bits"),
            ("192.0.2.1/24", "did you mean 192.0.2.0/24"),
            ("192.0.2.9-192.0.2.1", "follow its beginning"),
            ("192.0.2.1-::1", "follow its beginning"),
            ("example.org", "expected an address"),
            ("192.0.2.0/-1", "expected an address"),
        ] {
            let error = text.parse::<AddressRange>().unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn an_open_relay_is_refused() {
        for members in [
            &["0.0.0.0/0"][..],
            &["::/0"],
            &["0.0.0.0/1", "128.0.0.0/1"],
            &["192.0.2.1", "0.0.0.0-255.255.255.255"],
            &["0.0.0.0/2", "64.0.0.0/2"],
            &["0.0.0.0/3"],
            &["2000::/3"],
            &["0.0.0.0/4", "192.0.2.1", "8.0.0.0/5", "16.0.0.0/4"],
        ] {
            assert!(NetworkObject::new(ranges(members), true).is_err(), "{members:?}");
            assert!(NetworkObject::new(ranges(members), false).is_ok(), "{members:?}");
        }
        for members in [
            &["10.0.0.0/8", "2001:db8::/32"][..],
            &["0.0.0.0/4", "16.0.0.0-31.255.255.254"],
            // The same addresses twice are no more of them.
            &["0.0.0.0/4", "0.0.0.0/4", "0.0.0.0/5", "8.0.0.0/5"],
        ] {
            assert!(NetworkObject::new(ranges(members), true).is_ok(), "{members:?}");
        }
        let mut networks = Networks::default();
        for (name, member, relay) in
            [("one", "0.0.0.0/4", true), ("two", "16.0.0.0/5", true), ("three", "32.0.0.0/3", false)]
        {
            networks.set(name, NetworkObject::new(ranges(&[member]), relay).unwrap());
        }
        assert!(networks.check(&[]).is_ok() && networks.check(&ranges(&["10.0.0.0/8"])).is_ok());
        assert!(networks.check(&ranges(&["24.0.0.0/5"])).is_err());
        networks.set("four", NetworkObject::new(ranges(&["24.0.0.0/5"]), true).unwrap());
        assert!(networks.check(&[]).is_err());
    }

    #[test]
    fn only_objects_that_may_relay_count() {
        let mut networks = Networks::default();
        networks.set("office", NetworkObject::new(ranges(&["192.0.2.0/24"]), true).unwrap());
        networks.set("guests", NetworkObject::new(ranges(&["198.51.100.0/24"]), false).unwrap());
        assert_eq!(networks.relay(ip("192.0.2.7")), Some("office"));
        assert_eq!(networks.relay(ip("198.51.100.7")), None);
        networks.remove("office");
        assert_eq!(networks.relay(ip("192.0.2.7")), None);
    }

    #[test]
    fn styles_as_elsewhere() {
        let interfaces =
            || [(ip("127.0.0.1"), 8), (ip("172.16.5.9"), 20), (ip("10.1.2.3"), 24), (ip("2001:db8::9"), 64)];
        let shown = |style: Style| {
            style.ranges(interfaces()).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(shown(Style::Host), "10.1.2.3 127.0.0.1 172.16.5.9 2001:db8::9");
        assert_eq!(shown(Style::Subnet), "10.1.2.0/24 127.0.0.0/8 172.16.0.0/20 2001:db8::/64");
        assert_eq!(shown(Style::Class), "10.0.0.0/8 127.0.0.0/8 172.16.0.0/16 2001:db8::/64");
    }
}
