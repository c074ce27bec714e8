//! From a next hop to hosts and their addresses (RFC 5321 §5).

use std::net::{IpAddr, SocketAddr};

use mailwright_smtp_proto::Reply;

use super::NextHop;
use crate::dns::{LookupError, RecordType, Resolve, key, name};

/// A host that may take the mail, with its addresses in the order in which they are to be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exchanger {
    /// Its name, or its IP address if that is all that is known. What its certificate should bear.
    pub name: String,
    /// Its addresses, at least one, unless it has a socket.
    pub addresses: Vec<IpAddr>,
    /// The port.
    pub port: u16,
    /// Whether DNSSEC vouches for the way from the domain to these addresses: what DANE asks for (RFC 7672 §2.2).
    pub authentic: bool,
    /// Whether DNSSEC vouches for the way from the domain to the name; a host that is configured by name needs nobody to.
    pub vouched: bool,
    /// The name that the host's name stands for, if it is an alias.
    pub canonical: Option<String>,
    /// The path of its UNIX socket, if it is on this machine and nowhere in the network.
    pub socket: Option<String>,
}

/// What is known of a host's addresses.
struct Found {
    addresses: Vec<IpAddr>,
    /// Whether all of them were signed.
    signed: bool,
    canonical: Option<String>,
}

/// Which addresses can be reached from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[non_exhaustive]
pub enum Families {
    /// Both kinds, IPv6 first.
    #[default]
    Both,
    /// Both kinds, IPv4 first.
    BothV4First,
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
}

/// Why there is no way to a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The domain says that it takes no mail (RFC 7505).
    #[error("the domain {0} takes no mail (null MX)")]
    NullMx(String),
    /// There is no such domain.
    #[error("there is no such domain as {0}")]
    NoDomain(String),
    /// There is, but no host of it has an address that can be reached.
    #[error("no mail exchanger of {0} has an address")]
    NoAddress(String),
    /// The best host that is left is this one.
    #[error("mail for {0} loops back to this server")]
    Loop(String),
    /// A host that is configured here is not there, or takes no mail: that is ours to mend, and no recipient's fault.
    #[error("the {setting} {hop} leads nowhere: {error}")]
    Configured {
        /// By which setting: `next hop`, unless [it was said](Self::of_configured).
        setting: String,
        /// Where it leads ([`NextHop::destination`]).
        hop: String,
        /// What is wrong with that.
        error: Box<Self>,
    },
    /// Nobody can tell now.
    #[error("the mail exchangers of {domain} cannot be looked up: {error}")]
    Lookup {
        /// Of which domain.
        domain: String,
        /// What happened.
        error: LookupError,
    },
}

impl RouteError {
    /// What becomes of a recipient there (RFC 3463; RFC 7505 §4.2).
    pub fn reply(&self) -> Reply {
        let text = self.to_string();
        match self {
            Self::NullMx(_) => Reply::permanent((1, 10), text),
            Self::NoDomain(_) => Reply::permanent((1, 2), text),
            Self::NoAddress(_) => Reply::permanent((4, 4), text),
            Self::Loop(_) => Reply::permanent((4, 6), text),
            // RFC 3463 §3.4, X.3.5: this system is configured wrongly. The mail waits until it is not, or until the name is there again.
            Self::Configured { .. } => Reply::transient((3, 5), text),
            Self::Lookup { error: LookupError::NotAName(_), .. } => Reply::permanent((1, 2), text),
            Self::Lookup { error: LookupError::Bogus(_), .. } => Reply::transient((7, 0), text),
            Self::Lookup { .. } => Reply::transient((4, 3), text),
        }
    }

    /// The same of a next hop that comes from a setting (`smarthost`, for example) and not from the recipient's address. What nobody can
    /// tell now stays that.
    #[must_use]
    pub fn of_configured(self, setting: &str, hop: &NextHop) -> Self {
        let error = match self {
            Self::Configured { error, .. } => error,
            Self::Lookup { error: LookupError::NotAName(_), .. } => Box::new(self),
            Self::Lookup { .. } => return self,
            error => Box::new(error),
        };
        Self::Configured { setting: setting.to_owned(), hop: hop.destination(), error }
    }
}

/// Looks up exchangers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Lookup {
    /// Which addresses can be reached.
    pub families: Families,
    /// The names and addresses of this server: mail that the name system sends to these would go round.
    pub own: Vec<String>,
    /// Where this server takes mail of other servers: a mail exchanger at one of these is this server. With an unspecified address (`0.0.0.0`,
    /// `::`), it is so at all that are [local](Self::is_local).
    pub listening: Vec<SocketAddr>,
    /// Whether an address is one of this machine's.
    pub is_local: fn(IpAddr) -> bool,
    /// How many hosts are asked for their addresses at most.
    pub most_hosts: usize,
    /// How many addresses of them are tried at most; of each host one, and one of either family, come first.
    pub most_addresses: usize,
}

impl Default for Lookup {
    /// Both kinds of addresses; eight hosts, ten addresses; no own names, and no address that is known to be local.
    fn default() -> Self {
        Self {
            families: Families::Both,
            own: Vec::new(),
            listening: Vec::new(),
            is_local: |_| false,
            most_hosts: 8,
            most_addresses: 10,
        }
    }
}

impl Lookup {
    /// The hosts of a next hop in the order in which they are to be tried: by preference, hosts of one preference in a random
    /// order, which `random` decides.
    ///
    /// # Errors
    /// [`RouteError`]; also for next hops that are no hosts.
    pub async fn exchangers(
        &self,
        resolver: &impl Resolve,
        hop: &NextHop,
        random: u64,
    ) -> Result<Vec<Exchanger>, RouteError> {
        match hop {
            NextHop::Exchangers { domain, port } => self.of_domain(resolver, domain, *port, random).await,
            NextHop::Lmtp { host, .. } if let Some(path) = host.strip_prefix("unix:") => {
                let (name, socket) = ("localhost".to_owned(), Some(path.to_owned()));
                let (addresses, port, canonical) = (Vec::new(), 0, None);
                Ok(vec![Exchanger {
                    name,
                    addresses,
                    port,
                    authentic: false,
                    vouched: true,
                    canonical,
                    socket,
                }])
            }
            // Configured by hand, so it is where it is, even if it is here.
            NextHop::Host { host, port } | NextHop::Lmtp { host, port } => {
                let failed = |error: RouteError| error.of_configured("next hop", hop);
                let Found { addresses, signed, canonical } =
                    self.addresses(resolver, host).await.map_err(|error| match error {
                        LookupError::NoName => failed(RouteError::NoDomain(host.clone())),
                        error => failed(RouteError::Lookup { domain: host.clone(), error }),
                    })?;
                if addresses.is_empty() {
                    return Err(failed(RouteError::NoAddress(host.clone())));
                }
                let (name, port, vouched) = (host.clone(), *port, true);
                let authentic = signed;
                Ok(vec![Exchanger { name, addresses, port, authentic, vouched, canonical, socket: None }])
            }
            NextHop::Pipe(name) | NextHop::OnDemand(name) | NextHop::Refuse(name) => {
                Err(RouteError::NoAddress(name.clone()))
            }
        }
    }

    async fn of_domain(
        &self,
        resolver: &impl Resolve,
        domain: &str,
        port: u16,
        random: u64,
    ) -> Result<Vec<Exchanger>, RouteError> {
        // RFC 5321 §4.1.3: a literal is its own answer.
        if let Some(literal) = domain.strip_prefix('[') {
            let inner = literal.trim_end_matches(']');
            let address = inner.strip_prefix("IPv6:").unwrap_or(inner).parse::<IpAddr>();
            let address = address.map_err(|_| RouteError::NoAddress(domain.to_owned()))?;
            if !self.reaches(address) {
                return Err(RouteError::NoAddress(domain.to_owned()));
            }
            if self.is_own_address(address, port) {
                return Err(RouteError::Loop(domain.to_owned()));
            }
            let name = address.to_string();
            return Ok(vec![Exchanger {
                name,
                addresses: vec![address],
                port,
                authentic: false,
                vouched: false,
                canonical: None,
                socket: None,
            }]);
        }
        let failed = |error| RouteError::Lookup { domain: domain.to_owned(), error };
        let asked = name(domain).map_err(failed)?;
        let answer = match resolver.lookup(&asked, RecordType::MX).await {
            Ok(answer) => answer,
            Err(LookupError::NoName) => return Err(RouteError::NoDomain(domain.to_owned())),
            Err(error) => return Err(failed(error)),
        };
        let mut exchangers: Vec<(u16, String)> =
            answer.exchangers().map(|(preference, host)| (preference, key(host))).collect();
        let implicit = exchangers.is_empty();
        if implicit {
            // RFC 5321 §5.1: without any, the domain is its own mail exchanger.
            exchangers.push((0, domain.to_owned()));
        }
        // RFC 7505 §3: the null MX stands alone; beside others it says nothing.
        exchangers.retain(|(_, host)| !host.is_empty());
        if exchangers.is_empty() {
            return Err(RouteError::NullMx(domain.to_owned()));
        }
        shuffle(&mut exchangers, random);
        self.hosts(resolver, domain, exchangers, port, answer.authentic).await
    }

    /// The hosts that have addresses, up to the one that is this server.
    async fn hosts(
        &self,
        resolver: &impl Resolve,
        domain: &str,
        exchangers: Vec<(u16, String)>,
        port: u16,
        authentic: bool,
    ) -> Result<Vec<Exchanger>, RouteError> {
        let (mut hosts, mut failure, mut own) = (Vec::<(u16, Exchanger)>::new(), None, None::<u16>);
        for (preference, host) in exchangers.into_iter().take(self.most_hosts) {
            if own.is_some_and(|own| preference >= own) {
                break;
            }
            let Found { addresses, signed, canonical } = match self.addresses(resolver, &host).await {
                Ok(found) => found,
                Err(LookupError::NoName | LookupError::NotAName(_)) => continue,
                Err(error) => {
                    // They come by preference: the first is the most preferred.
                    failure = failure.or(Some((preference, error)));
                    continue;
                }
            };
            // RFC 5321 §5.1: ourselves, and whoever is not preferred to us, are no way onward.
            if self.is_own(&host) || addresses.iter().any(|address| self.is_own_address(*address, port)) {
                own = Some(preference);
                hosts.retain(|(other, _)| *other < preference);
                continue;
            }
            if !addresses.is_empty() {
                let (vouched, authentic) = (authentic, authentic && signed);
                let host =
                    Exchanger { name: host, addresses, port, authentic, vouched, canonical, socket: None };
                hosts.push((preference, host));
            }
        }
        let mut hosts: Vec<Exchanger> = hosts.into_iter().map(|(_, host)| host).collect();
        cut(&mut hosts, self.most_addresses);
        if !hosts.is_empty() {
            return Ok(hosts);
        }
        // RFC 5321 §5.1: a host that is preferred to us and cannot be looked up now is a way onward, later.
        let failure = failure.filter(|(preference, _)| own.is_none_or(|own| *preference < own));
        Err(match (failure, own) {
            (Some((_, error)), _) => RouteError::Lookup { domain: domain.to_owned(), error },
            (None, Some(_)) => RouteError::Loop(domain.to_owned()),
            (None, None) => RouteError::NoAddress(domain.to_owned()),
        })
    }

    /// The addresses of a host that can be reached.
    async fn addresses(&self, resolver: &impl Resolve, host: &str) -> Result<Found, LookupError> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Found { addresses: vec![address], signed: false, canonical: None });
        }
        let asked = name(host)?;
        let kinds: &[RecordType] = match self.families {
            Families::Both => &[RecordType::AAAA, RecordType::A],
            Families::BothV4First => &[RecordType::A, RecordType::AAAA],
            Families::V4 => &[RecordType::A],
            Families::V6 => &[RecordType::AAAA],
        };
        let (mut addresses, mut failure, mut signed, mut canonical) = (Vec::new(), None, true, None);
        for kind in kinds {
            match resolver.lookup(&asked, *kind).await {
                Ok(answer) => {
                    // An answer without addresses leads nowhere, so nobody need vouch for it.
                    signed &= answer.authentic || answer.addresses().next().is_none();
                    canonical = canonical.or_else(|| answer.canonical(&asked).map(|name| key(&name)));
                    addresses.extend(answer.addresses().filter(|address| self.reaches(*address)));
                }
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if addresses.is_empty() => Err(error),
            _ => Ok(Found { addresses, signed, canonical }),
        }
    }

    fn reaches(&self, address: IpAddr) -> bool {
        match self.families {
            Families::Both | Families::BothV4First => true,
            Families::V4 => address.is_ipv4(),
            Families::V6 => address.is_ipv6(),
        }
    }

    fn is_own_address(&self, address: IpAddr, port: u16) -> bool {
        let here = |own: &SocketAddr| match own.ip() {
            IpAddr::V4(any) if any.is_unspecified() => address.is_ipv4() && (self.is_local)(address),
            // That of IPv6 takes calls by IPv4, too.
            IpAddr::V6(any) if any.is_unspecified() => (self.is_local)(address),
            own => own.to_canonical() == address.to_canonical(),
        };
        self.is_own(&address.to_string()) || self.listening.iter().any(|own| own.port() == port && here(own))
    }

    fn is_own(&self, host: &str) -> bool {
        self.own.iter().any(|own| own.eq_ignore_ascii_case(host))
    }
}

/// Leaves so many addresses together, in their order: the first of each host, then the first of its other family, then what there is room for.
/// So a family that leads nowhere from here hides neither the other nor the next host.
fn cut(hosts: &mut Vec<Exchanger>, most: usize) {
    let mut ranked = Vec::new();
    for (number, host) in hosts.iter().enumerate() {
        let other = |address: &IpAddr| Some(address.is_ipv6()) != host.addresses.first().map(IpAddr::is_ipv6);
        let other = host.addresses.iter().position(other);
        ranked.extend((0..host.addresses.len()).map(|at| match at {
            0 => (0, number, at),
            at if Some(at) == other => (1, number, at),
            at => (2, number, at),
        }));
    }
    ranked.sort_unstable();
    ranked.truncate(most);
    for (number, host) in hosts.iter_mut().enumerate() {
        let mut at = 0..;
        let stays = |at: usize| ranked.iter().any(|(_, host, address)| (*host, *address) == (number, at));
        host.addresses.retain(|_| at.next().is_some_and(stays));
    }
    hosts.retain(|host| !host.addresses.is_empty());
}

/// By preference; those of one preference in an order that the number decides (RFC 5321 §5.1).
fn shuffle(exchangers: &mut [(u16, String)], random: u64) {
    let mut state = random | 1;
    let mut keyed: Vec<(u16, u64, String)> = exchangers
        .iter()
        .map(|(preference, host)| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (*preference, state.wrapping_mul(0x2545_F491_4F6C_DD1D), host.clone())
        })
        .collect();
    keyed.sort_unstable();
    for (slot, (preference, _, host)) in exchangers.iter_mut().zip(keyed) {
        *slot = (preference, host);
    }
}
