//! Mail going out: where to, when, and how names are looked up.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use mailwright::relay_policy::{
    route::{NextHop, RouteTable},
    rules::List,
};
use serde::{Deserialize, Serialize};

use super::Config;

/// Where mail goes that is not for here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Relay {
    /// The host that gets everything the transport map has no row for; none if empty.
    pub(crate) smarthost: String,
    /// How to log in there.
    pub(crate) user: String,
    pub(crate) password_file: PathBuf,
    /// Whether the smarthost may see the password without TLS.
    pub(crate) password_in_clear: bool,
    /// Whether the smarthost speaks TLS from the first octet on.
    pub(crate) implicit_tls: bool,
    /// The host that stands in where a domain's own cannot be reached, or have our address on a list; none if empty.
    pub(crate) fallback: String,
    /// How to log in there, as to the smarthost.
    pub(crate) fallback_user: String,
    pub(crate) fallback_password_file: PathBuf,
    pub(crate) fallback_password_in_clear: bool,
    pub(crate) fallback_implicit_tls: bool,
    /// Lists that are asked about our own address: the fallback gets what would go to mail exchangers as long as they have it.
    pub(crate) own_address_lists: Vec<String>,
    /// That address; those of the name that we say hello by if empty.
    pub(crate) own_address: String,
    /// The name to say hello by; the host name if empty.
    pub(crate) helo: String,
    /// How much protection connections must have.
    pub(crate) tls: TlsLevel,
    /// Whom `verify` and MTA-STS trust: PEM.
    pub(crate) trust: PathBuf,
    /// Whether the MTA-STS policies of domains are obeyed, and the port they are fetched at.
    pub(crate) mta_sts: bool,
    pub(crate) mta_sts_port: u16,
    /// Whether other domains are told every day how TLS with their hosts went.
    pub(crate) tls_reports: bool,
    /// The port of mail exchangers.
    pub(crate) port: u16,
    /// Which addresses can be reached from here.
    pub(crate) families: Families,
    /// Other names and addresses of this server.
    pub(crate) own: Vec<String>,
    /// Networks that may send anywhere without logging in, besides those of `mailwrightd network`.
    pub(crate) networks: Vec<String>,
    /// Which networks of this machine's interfaces may as well.
    pub(crate) networks_style: super::rules::Style,
    /// Whether mail that others have signed is encoded for hosts of seven bits.
    pub(crate) encode_signed: bool,
    /// Whether the senders of forwarded mail are rewritten (SRS).
    pub(crate) srs: bool,
    /// The transport map.
    pub(crate) transport: BTreeMap<String, String>,
    /// The programs that are transports, by name.
    pub(crate) pipes: BTreeMap<String, super::aliases::Pipe>,
    /// Destinations that need another protection.
    pub(crate) tls_for: BTreeMap<String, TlsLevel>,
}

/// How much protection a connection must have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TlsLevel {
    None,
    #[default]
    May,
    #[serde(alias = "require")]
    Encrypt,
    Verify,
    Dane,
    Sts,
}

/// Which addresses can be reached from here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Families {
    #[default]
    Both,
    /// Both, IPv4 first.
    #[serde(rename = "prefer-ipv4")]
    PreferIpv4,
    Ipv4,
    Ipv6,
}

/// When it is tried, how often, how much at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Queue {
    pub(crate) lifetime_hours: u64,
    /// How long reports are tried; as other mail if 0.
    pub(crate) report_lifetime_hours: u64,
    pub(crate) warn_after_hours: u64,
    pub(crate) first_retry_seconds: u64,
    pub(crate) longest_retry_seconds: u64,
    pub(crate) connections: usize,
    pub(crate) connections_per_destination: usize,
    /// The least time between two messages to a destination, in milliseconds.
    pub(crate) pace: BTreeMap<String, u64>,
    pub(crate) connect_seconds: u64,
    /// After how many hard bounces an address is left alone, and for how long.
    pub(crate) suppress_after: u32,
    pub(crate) suppress_days: u64,
    /// How long users may have their messages held back.
    pub(crate) hold_days: u32,
}

/// How names are looked up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Dns {
    pub(crate) servers: Vec<SocketAddr>,
    pub(crate) dnssec: bool,
    /// A file with the keys of the root that are believed in place of the world's; none if empty.
    pub(crate) trust_anchors: PathBuf,
}

impl Default for Relay {
    fn default() -> Self {
        Self {
            smarthost: String::new(),
            user: String::new(),
            password_file: PathBuf::new(),
            password_in_clear: false,
            implicit_tls: false,
            fallback: String::new(),
            fallback_user: String::new(),
            fallback_password_file: PathBuf::new(),
            fallback_password_in_clear: false,
            fallback_implicit_tls: false,
            own_address_lists: Vec::new(),
            own_address: String::new(),
            helo: String::new(),
            tls: TlsLevel::May,
            trust: "/etc/ssl/certs/ca-certificates.crt".into(),
            mta_sts: true,
            mta_sts_port: 443,
            tls_reports: false,
            port: 25,
            families: Families::Both,
            own: Vec::new(),
            networks: Vec::new(),
            networks_style: super::rules::Style::default(),
            encode_signed: true,
            srs: true,
            transport: BTreeMap::new(),
            pipes: BTreeMap::new(),
            tls_for: BTreeMap::new(),
        }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            lifetime_hours: 96,
            report_lifetime_hours: 0,
            warn_after_hours: 4,
            first_retry_seconds: 60,
            longest_retry_seconds: 4_000,
            connections: 100,
            connections_per_destination: 20,
            pace: BTreeMap::new(),
            connect_seconds: 30,
            suppress_after: 2,
            suppress_days: 30,
            hold_days: 30,
        }
    }
}

impl Relay {
    /// The lists that are asked about our address; what is wrong was told already.
    pub(crate) fn own_address_lists(&self) -> Vec<List> {
        self.own_address_lists.iter().filter_map(|text| text.parse().ok()).collect()
    }

    fn own_address_problems(&self) -> Vec<String> {
        let wrong = self.own_address_lists.iter().filter_map(|text| text.parse::<List>().err());
        let mut problems: Vec<String> =
            wrong.map(|error| format!("relay.own_address_lists: {error}")).collect();
        if !self.own_address.is_empty() && self.own_address.parse::<IpAddr>().is_err() {
            problems.push(format!(
                "relay.own_address = {:?} is not an IP address: write the one that other servers see, or \"\" for those of the host name",
                self.own_address
            ));
        }
        if self.own_address_lists.is_empty() && !self.own_address.is_empty() {
            problems.push(
                "relay.own_address is what relay.own_address_lists are asked about, and there are none"
                    .into(),
            );
        }
        if !self.own_address_lists.is_empty() && self.fallback.is_empty() {
            problems.push("relay.own_address_lists say when relay.fallback stands in, which is empty".into());
        }
        problems
    }

    /// The transport map and the smarthost.
    pub(crate) fn routes(&self) -> Result<RouteTable, String> {
        let mut routes = RouteTable::default().with_port(self.port);
        for (key, hop) in &self.transport {
            let hop = hop.parse().map_err(|error| format!("relay.transport: {key}: {error}"))?;
            routes = routes.with_transport(key, hop).map_err(|error| format!("relay.transport: {error}"))?;
        }
        match hop("relay.smarthost", &self.smarthost)? {
            Some(smarthost) => Ok(routes.with_smarthost(smarthost)),
            None => Ok(routes),
        }
    }
}

/// A host, if one is named.
pub(crate) fn hop(key: &str, text: &str) -> Result<Option<NextHop>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error| format!("{key}: {error}"))
}

/// A destination that a setting names, as the queue names it.
pub(crate) fn destination(key: &str, text: &str) -> Result<String, String> {
    // An absolute name means the same.
    let text = text.trim();
    let text = text.strip_suffix('.').unwrap_or(text);
    let hop = text.parse::<NextHop>().map_err(|error| format!("{key}: {error}"))?;
    Ok(hop.destination())
}

impl Config {
    /// The transport map and the smarthost, and for domains without a row that a host comes for, to wait.
    pub(crate) fn routes(&self) -> Result<RouteTable, String> {
        let mut routes = self.relay.routes()?;
        for domain in self.on_demand.domains() {
            if !self.relay.transport.contains_key(domain) {
                let waits = NextHop::OnDemand(String::new());
                routes =
                    routes.with_transport(domain, waits).map_err(|error| format!("on_demand: {error}"))?;
            }
        }
        Ok(routes)
    }

    /// The domain in whose name this server reports to others, in A-labels.
    pub(crate) fn reporting_domain(&self) -> String {
        let named = self.domains.first().unwrap_or(&self.hostname);
        let parsed = named.parse::<mailwright::mail_model::Domain>();
        parsed.map_or_else(|_| named.to_lowercase(), |domain| domain.key().to_owned())
    }

    /// What is wrong with what is said of mail going out.
    pub(super) fn outbound_problems(&self, problems: &mut Vec<String>) {
        problems.extend(self.relay.routes().err());
        match hop("relay.fallback", &self.relay.fallback) {
            Ok(Some(NextHop::OnDemand(_))) => {
                problems.push(
                    "relay.fallback cannot be atrn:, for nobody comes for that mail; name a host".into(),
                );
            }
            found => problems.extend(found.err()),
        }
        let protected = self.relay.tls_for.keys().map(|key| ("relay.tls_for", key));
        let paced = self.queue.pace.keys().map(|key| ("queue.pace", key));
        problems.extend(protected.chain(paced).filter_map(|(key, text)| destination(key, text).err()));
        if !self.relay.user.is_empty() && self.relay.smarthost.is_empty() {
            problems.push("relay.user is for logging in to relay.smarthost, which is empty".into());
        }
        if self.relay.user.is_empty() != self.relay.password_file.as_os_str().is_empty() {
            problems.push("[relay] needs both user and password_file, or neither".into());
        }
        if !self.relay.fallback_user.is_empty() && self.relay.fallback.is_empty() {
            problems.push("relay.fallback_user is for logging in to relay.fallback, which is empty".into());
        }
        if self.relay.fallback_user.is_empty() != self.relay.fallback_password_file.as_os_str().is_empty() {
            problems.push("[relay] needs both fallback_user and fallback_password_file, or neither".into());
        }
        problems.extend(self.relay.own_address_problems());
        if self.relay.port == 0 {
            problems.push("relay.port must be 1 to 65535; mail exchangers listen on 25".into());
        }
        if self.relay.mta_sts_port == 0 {
            problems.push("relay.mta_sts_port must be 1 to 65535; policies are fetched at 443".into());
        }
        let levels = self.relay.tls_for.values().chain([&self.relay.tls]);
        if !self.dns.dnssec && levels.clone().any(|level| *level == TlsLevel::Dane) {
            problems.push("a destination with tls = \"dane\" gets no mail without dns.dnssec = true: TLSA records count only if they are signed".into());
        }
        if !self.relay.mta_sts && levels.clone().any(|level| *level == TlsLevel::Sts) {
            problems
                .push("a destination with tls = \"sts\" gets no mail without relay.mta_sts = true".into());
        }
        if !self.dns.dnssec && !self.dns.trust_anchors.as_os_str().is_empty() {
            problems.push("dns.trust_anchors are for dns.dnssec = true".into());
        }
        for (key, number) in [
            ("lifetime_hours", self.queue.lifetime_hours),
            ("first_retry_seconds", self.queue.first_retry_seconds),
            ("longest_retry_seconds", self.queue.longest_retry_seconds),
            ("connections", self.queue.connections as u64),
            ("connections_per_destination", self.queue.connections_per_destination as u64),
            ("connect_seconds", self.queue.connect_seconds),
        ] {
            if number == 0 {
                problems.push(format!("queue.{key} must be at least 1"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_named_in_any_way() {
        for (text, expected) in [
            ("Bücher.example", Ok("xn--bcher-kva.example")),
            ("dot.example.", Ok("dot.example")),
            ("port.example:25", Ok("port.example")),
            ("port.example:587", Ok("port.example:587")),
            ("[mx.example]", Ok("[mx.example]:25")),
            ("192.0.2.1", Ok("[192.0.2.1]:25")),
            ("lmtp:unix:/run/lmtp", Ok("lmtp:unix:/run/lmtp")),
            ("no host", Err("queue.pace: expected a host name or an IP address, got \"no host\"")),
        ] {
            assert_eq!(
                destination("queue.pace", text).as_deref().map_err(String::as_str),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn a_fallback_is_somebody_who_can_be_reached() {
        for (fallback, expected) in [
            ("relay.example", ""),
            ("atrn:", "relay.fallback cannot be atrn:"),
            ("smtp:", "relay.fallback: "),
        ] {
            let config = Config {
                relay: Relay { fallback: fallback.into(), ..Relay::default() },
                ..Config::default()
            };
            let mut problems = Vec::new();
            config.outbound_problems(&mut problems);
            let problems = problems.join("\n");
            assert!(problems.contains(expected) && expected.is_empty() == problems.is_empty(), "{problems}");
        }
    }

    #[test]
    fn what_is_wrong_with_the_lists_of_our_address_is_said() {
        let relay = |lists: &[&str], own: &str, fallback: &str| Relay {
            own_address_lists: lists.iter().map(|list| (*list).to_owned()).collect(),
            own_address: own.into(),
            fallback: fallback.into(),
            ..Relay::default()
        };
        for (relay, expected) in [
            (relay(&[], "", ""), None),
            (relay(&["bl.example", "wl.example*-1"], "2001:db8::1", "[relay.example]"), None),
            (relay(&["bl.example"], "", ""), Some("relay.fallback stands in, which is empty")),
            (relay(&["list"], "", "relay.example"), Some("relay.own_address_lists: expected a list")),
            (relay(&["bl.example"], "us", "relay.example"), Some("\"us\" is not an IP address")),
            (relay(&[], "192.0.2.1", ""), Some("there are none")),
        ] {
            let problems = relay.own_address_problems().join("\n");
            assert!(expected.map_or(problems.is_empty(), |word| problems.contains(word)), "{problems}");
        }
    }
}
