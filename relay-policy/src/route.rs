//! Where mail for an address goes: the transport map, the smarthost, or the mail exchangers of its domain.

mod exchangers;
mod next_hop;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use mailwright_mail_model::Address;

pub use exchangers::{Exchanger, Families, Lookup, RouteError};
pub use next_hop::{HopError, NextHop};

/// Decides on the next hop of an address, without asking anybody.
///
/// ```
/// use mailwright_relay_policy::route::{NextHop, RouteTable};
///
/// let table = RouteTable::default()
///     .with_transport("lists.example", "lmtp:127.0.0.1:24".parse()?)?
///     .with_transport(".example.net", "smtp:[relay.example.net]".parse()?)?
///     .with_smarthost("smart.example:[587]".parse()?);
/// let hop = |address: &str| table.next_hop(&address.parse().unwrap()).destination();
/// assert_eq!(hop("ann@lists.example"), "lmtp:127.0.0.1:24");
/// assert_eq!(hop("bob@a.example.net"), "[relay.example.net]:25");
/// assert_eq!(hop("eve@elsewhere.example"), "smart.example:587");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct RouteTable {
    map: HashMap<String, NextHop>,
    smarthost: Option<NextHop>,
    port: Option<u16>,
}

impl RouteTable {
    /// With a row of the transport map. A key is an address, a domain, a dot and a domain for all domains below it, or
    /// `*` for all others. The nearest row counts.
    ///
    /// # Errors
    /// If the key is none of these.
    pub fn with_transport(mut self, key: &str, hop: NextHop) -> Result<Self, HopError> {
        let wrong = || HopError::Key(key.to_owned());
        let canonical = match key.strip_prefix('.') {
            _ if key == "*" => key.to_owned(),
            Some(domain) => {
                format!(".{}", domain.parse::<mailwright_mail_model::Domain>().map_err(|_| wrong())?.key())
            }
            None if key.contains('@') => canonical(&key.parse().map_err(|_| wrong())?),
            None => key.parse::<mailwright_mail_model::Domain>().map_err(|_| wrong())?.key().to_owned(),
        };
        self.map.insert(canonical, hop);
        Ok(self)
    }

    /// With a host that gets everything the map has no row for.
    #[must_use]
    pub fn with_smarthost(mut self, hop: NextHop) -> Self {
        self.smarthost = Some(hop);
        self
    }

    /// With another port than 25 for the mail exchangers of strangers: for networks of one's own.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// The host that gets everything the map has no row for.
    pub const fn smarthost(&self) -> Option<&NextHop> {
        self.smarthost.as_ref()
    }

    /// The next hop of an address.
    pub fn next_hop(&self, address: &Address) -> NextHop {
        let domain = address.domain();
        let configured = self.row(address).or(self.smarthost.as_ref());
        if matches!(configured, Some(NextHop::OnDemand(waits_for)) if waits_for.is_empty()) {
            // Each domain is another's to come for.
            return NextHop::OnDemand(domain.key().to_owned());
        }
        configured.cloned().unwrap_or_else(|| NextHop::Exchangers {
            domain: domain.key().to_owned(),
            port: self.port.unwrap_or(25),
        })
    }

    fn row(&self, address: &Address) -> Option<&NextHop> {
        if self.map.is_empty() {
            return None;
        }
        let domain = address.domain().key();
        let exact = self.map.get(&canonical(address)).or_else(|| self.map.get(domain));
        let above = || {
            let dots = domain.match_indices('.').filter_map(|(at, _)| domain.get(at..));
            dots.into_iter().find_map(|parent| self.map.get(parent))
        };
        exact.or_else(above).or_else(|| self.map.get("*"))
    }
}

fn canonical(address: &Address) -> String {
    format!("{}@{}", address.local().unquoted().to_lowercase(), address.domain().key())
}
