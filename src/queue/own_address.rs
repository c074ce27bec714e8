//! What lists of unwanted senders say of the address that this server sends from.

use std::{
    fmt,
    future::Future,
    net::{IpAddr, Ipv6Addr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use mailwright_relay_policy::{
    dns::{RecordType, Resolve, name},
    rules::{List, Reputation},
};

/// For how long an answer counts at least, and at most.
const LEAST: Duration = Duration::from_secs(300);
const MOST: Duration = Duration::from_secs(3_600);
/// How long the lists may take, all together: mail waits for them.
const PATIENCE: Duration = Duration::from_secs(10);

/// Knows whether lists of unwanted senders have our address.
pub trait OwnListings: Send + Sync {
    /// Of which lists that can be told they have it, asked now or lately. What cannot be asked has nobody.
    fn listing(&self) -> Pin<Box<dyn Future<Output = Option<Arc<OwnListing>>> + Send + '_>>;

    /// What was found last, without asking.
    fn known(&self) -> Option<Arc<OwnListing>>;
}

impl fmt::Debug for dyn OwnListings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnListings")
    }
}

/// An address of ours that is on lists. Reads `192.0.2.1 is on bl.example.org`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnListing {
    /// The address.
    pub address: IpAddr,
    /// The zones of the lists.
    pub zones: Vec<String>,
}

impl fmt::Display for OwnListing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is on {}", self.address, self.zones.join(", "))
    }
}

/// What our address is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OwnAddress {
    /// This one.
    Is(IpAddr),
    /// Those of a host, which is us: what others see if its name leads to what they see.
    Of(String),
}

/// Asks lists (RFC 5782) about our address: once for all messages until the answer is over, which is after the shortest lifetime of its
/// records but after five minutes at the earliest and an hour at the latest.
pub struct OwnLists<R> {
    resolver: R,
    lists: Reputation<R>,
    own: OwnAddress,
    /// Held while somebody asks: the others wait for the answer.
    asking: tokio::sync::Mutex<()>,
    known: Mutex<Option<Known>>,
}

#[derive(Clone)]
struct Known {
    until: Instant,
    listing: Option<Arc<OwnListing>>,
}

impl<R: Resolve + Clone> OwnLists<R> {
    /// These lists: one that counts 1 or more is enough, and white lists can outweigh it.
    pub fn new(resolver: R, lists: Vec<List>, own: OwnAddress) -> Self {
        let clock = Arc::new(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        let lists = Reputation::new(resolver.clone(), lists, 1, clock);
        Self { resolver, lists, own, asking: tokio::sync::Mutex::default(), known: Mutex::default() }
    }

    /// The addresses that are asked about. Those of a host that only its own network can see are not.
    pub async fn addresses(&self) -> Vec<IpAddr> {
        let host = match &self.own {
            OwnAddress::Is(address) => return vec![*address],
            OwnAddress::Of(host) => host,
        };
        let Ok(host) = name(host) else { return Vec::new() };
        let mut addresses = Vec::new();
        for kind in [RecordType::A, RecordType::AAAA] {
            if let Ok(answer) = self.resolver.lookup(&host, kind).await {
                addresses.extend(answer.addresses().filter(|address| is_seen(*address)));
            }
        }
        addresses
    }

    /// Asks now.
    async fn ask(&self) -> (Option<OwnListing>, Duration) {
        let mut found: Option<OwnListing> = None;
        let mut holds = LEAST;
        for address in self.addresses().await {
            if let Some((zones, lifetime)) = self.lists.listing(address).await {
                holds = lifetime.clamp(LEAST, MOST);
                let zones = zones.into_iter().map(str::to_owned).collect();
                found = Some(OwnListing { address, zones });
                break;
            }
        }
        (found, holds)
    }

    async fn find(&self) -> Option<Arc<OwnListing>> {
        if let Some(known) = self.lately(Instant::now()) {
            return known.listing;
        }
        let _asking = self.asking.lock().await;
        // Somebody else has asked meanwhile.
        if let Some(known) = self.lately(Instant::now()) {
            return known.listing;
        }
        let (found, holds) = tokio::time::timeout(PATIENCE, self.ask()).await.unwrap_or((None, LEAST));
        let (before, listing) = (self.known(), found.map(Arc::new));
        match (&before, &listing) {
            (before, Some(listing)) if before.as_ref() != Some(listing) => {
                tracing::warn!(%listing, "our address is on a list of unwanted senders");
            }
            (Some(before), None) => tracing::info!(listing = %before, "our address is on no list any more"),
            _ => {}
        }
        let known = Known { until: Instant::now() + holds, listing: listing.clone() };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
        listing
    }

    fn lately(&self, now: Instant) -> Option<Known> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.clone().filter(|known| now < known.until)
    }
}

impl<R: Resolve + Clone> OwnListings for OwnLists<R> {
    fn listing(&self) -> Pin<Box<dyn Future<Output = Option<Arc<OwnListing>>> + Send + '_>> {
        Box::pin(self.find())
    }

    fn known(&self) -> Option<Arc<OwnListing>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().and_then(|known| known.listing.clone())
    }
}

impl<R> fmt::Debug for OwnLists<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("OwnLists").field("own", &self.own).finish_non_exhaustive()
    }
}

/// Whether hosts elsewhere can see an address as a client's.
fn is_seen(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            !(address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_unspecified())
        }
        IpAddr::V6(address) => {
            let local = address.is_unique_local() || address.is_unicast_link_local();
            !(local || address.is_loopback() || address == Ipv6Addr::UNSPECIFIED)
        }
    }
}

#[cfg(test)]
mod tests;
