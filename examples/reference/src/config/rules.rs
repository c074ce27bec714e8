//! The configuration of rules for strangers, and of whom is none.

use std::{net::IpAddr, time::Duration};

use mailwright::relay_policy::{
    networks::{NetworkObject, Style as NetworksStyle, TooWide},
    rules::{GreylistLimits, List, Rate},
};
use serde::{Deserialize, Serialize};

use super::{Config, Families, auth::bad_networks, ranges};

/// Rules for strangers. Zero is no limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Rules {
    /// Lists of clients in the domain name system.
    pub(crate) lists: Vec<String>,
    pub(crate) lists_limit: i32,
    pub(crate) greylist: bool,
    pub(crate) greylist_delay_seconds: u64,
    pub(crate) greylist_window_hours: u64,
    pub(crate) greylist_known_days: u64,
    pub(crate) greylist_exempt: Vec<String>,
    pub(crate) hello_exists: bool,
    pub(crate) sender_exists: bool,
    pub(crate) spf_fail: bool,
    /// The time of the following.
    pub(crate) rate_seconds: u64,
    pub(crate) messages_per_client: u32,
    pub(crate) messages_per_user: u32,
    pub(crate) messages_per_sender: u32,
    pub(crate) messages_per_recipient: u32,
    pub(crate) tarpit_after: u32,
    pub(crate) tarpit_seconds: u64,
}

/// The families of addresses that are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocols {
    #[default]
    All,
    Ipv4,
    Ipv6,
}

/// Whom this machine trusts by where it stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Style {
    /// Nobody.
    #[default]
    None,
    /// Itself.
    Host,
    /// The networks its interfaces are in.
    Subnet,
    /// The old classes of networks its interfaces are in.
    Class,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            lists: Vec::new(),
            lists_limit: 1,
            greylist: false,
            greylist_delay_seconds: 300,
            greylist_window_hours: 48,
            greylist_known_days: 36,
            greylist_exempt: Vec::new(),
            hello_exists: false,
            sender_exists: false,
            spf_fail: false,
            rate_seconds: 3_600,
            messages_per_client: 0,
            messages_per_user: 0,
            messages_per_sender: 0,
            messages_per_recipient: 0,
            tarpit_after: 3,
            tarpit_seconds: 0,
        }
    }
}

impl Rules {
    /// The lists; what is wrong was told already.
    pub(crate) fn lists(&self) -> Vec<List> {
        self.lists.iter().filter_map(|text| text.parse().ok()).collect()
    }

    pub(crate) fn greylist_limits(&self) -> GreylistLimits {
        let hours = |hours: u64| Duration::from_secs(hours.saturating_mul(3_600));
        let mut limits = GreylistLimits::default();
        limits.delay = Duration::from_secs(self.greylist_delay_seconds);
        limits.window = hours(self.greylist_window_hours);
        limits.known = hours(self.greylist_known_days.saturating_mul(24));
        limits
    }

    pub(crate) fn rate(&self, count: u32) -> Option<Rate> {
        Rate::new(count, Duration::from_secs(self.rate_seconds))
    }

    /// Everything that is wrong, each with what to do.
    pub(super) fn problems(&self) -> Vec<String> {
        let lists = self.lists.iter().filter_map(|text| text.parse::<List>().err());
        let mut problems: Vec<String> = lists.map(|error| format!("[rules] lists: {error}")).collect();
        if self.lists_limit < 1 {
            problems.push("[rules] lists_limit must be at least 1, or everybody would be refused".into());
        }
        if self.greylist_limits().window <= self.greylist_limits().delay {
            problems.push(
                "[rules] greylist_window_hours must be longer than greylist_delay_seconds, or nobody could come again in time"
                    .into(),
            );
        }
        problems.extend(bad_networks("[rules] greylist_exempt", &self.greylist_exempt));
        let rates = [
            self.messages_per_client,
            self.messages_per_user,
            self.messages_per_sender,
            self.messages_per_recipient,
        ];
        if self.rate_seconds == 0 && rates.iter().any(|count| *count > 0) {
            problems.push("[rules] rate_seconds must be at least 1 where messages are counted".into());
        }
        if self.tarpit_seconds > LONGEST_TARPIT {
            problems.push(format!(
                "[rules] tarpit_seconds must be at most {LONGEST_TARPIT}: clients wait five minutes, and so would a server that stops"
            ));
        }
        problems
    }
}

const LONGEST_TARPIT: u64 = 30;

impl Config {
    /// Networks that may send anywhere without logging in.
    pub(crate) fn relay_networks(&self) -> Result<NetworkObject, TooWide> {
        let mut members = ranges(&self.relay.networks);
        let style = match self.relay.networks_style {
            Style::None => None,
            Style::Host => Some(NetworksStyle::Host),
            Style::Subnet => Some(NetworksStyle::Subnet),
            Style::Class => Some(NetworksStyle::Class),
        };
        members.extend(style.map(|style| style.ranges(interfaces())).unwrap_or_default());
        NetworkObject::new(members, true)
    }

    /// The families of addresses that mail goes out by.
    pub(crate) fn families(&self) -> Families {
        match self.inet_protocols {
            Protocols::All => self.relay.families,
            Protocols::Ipv4 => Families::Ipv4,
            Protocols::Ipv6 => Families::Ipv6,
        }
    }

    pub(super) fn network_problems(&self) -> Vec<String> {
        let mut problems = bad_networks("[relay] networks", &self.relay.networks);
        problems.extend(self.relay_networks().err().map(|error| format!("[relay] networks: {error}")));
        let unused = |address: IpAddr| match self.inet_protocols {
            Protocols::All => None,
            Protocols::Ipv4 => address.is_ipv6().then_some("ipv4"),
            Protocols::Ipv6 => address.is_ipv4().then_some("ipv6"),
        };
        for listener in &self.listeners {
            if let Some(family) = listener.address.network().and_then(|address| unused(address.ip())) {
                problems.push(format!(
                    "inet_protocols = {family:?}, but there is a listener at {}: leave it out, or allow \"all\"",
                    listener.address
                ));
            }
        }
        let other = match (self.inet_protocols, self.relay.families) {
            (Protocols::Ipv4, Families::Ipv6) => Some(("ipv4", "ipv6")),
            (Protocols::Ipv6, Families::Ipv4) => Some(("ipv6", "ipv4")),
            _ => None,
        };
        problems.extend(other.map(|(all, sent)| {
            format!("inet_protocols = {all:?} leaves no address to send from with relay.families = {sent:?}")
        }));
        problems
    }
}

/// The addresses of this machine, with the lengths of their prefixes.
fn interfaces() -> Vec<(IpAddr, u32)> {
    let found = if_addrs::get_if_addrs().unwrap_or_default();
    found
        .into_iter()
        .map(|interface| match interface.addr {
            if_addrs::IfAddr::V4(v4) => (IpAddr::V4(v4.ip), u32::from(v4.prefixlen)),
            if_addrs::IfAddr::V6(v6) => (IpAddr::V6(v6.ip), u32::from(v6.prefixlen)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        let text = r#"
            inet_protocols = "ipv6"
            [relay]
            networks = ["0.0.0.0/0", "nowhere"]
            families = "ipv4"
            [rules]
            lists = ["no list"]
            lists_limit = 0
            greylist_window_hours = 0
            greylist_exempt = ["192.0.2.1/24"]
            rate_seconds = 0
            messages_per_user = 1
            tarpit_seconds = 1000
        "#;
        let config: Config = toml::from_str(text).unwrap();
        let problems = config.network_problems().into_iter().chain(config.rules.problems());
        let problems = problems.collect::<Vec<_>>().join("\n");
        for word in [
            "open relay",
            "nowhere",
            "listener at 127.0.0.1:2525",
            "leaves no address",
            "no list",
            "lists_limit",
            "come again in time",
            "192.0.2.0/24",
            "rate_seconds",
            "tarpit_seconds",
        ] {
            assert!(problems.contains(word), "{word}: {problems}");
        }
        assert!(Config::default().network_problems().is_empty() && Rules::default().problems().is_empty());
    }

    #[test]
    fn a_machine_trusts_itself_by_where_it_stands() {
        let trusts = |style: &str, address: &str| {
            let config: Config = toml::from_str(&format!("[relay]\nnetworks_style = {style:?}\n")).unwrap();
            config.relay_networks().unwrap().contains(address.parse().unwrap())
        };
        assert!(!trusts("none", "127.0.0.1") && trusts("host", "127.0.0.1"));
        assert!(
            !trusts("host", "127.9.9.9") && trusts("subnet", "127.9.9.9") && trusts("class", "127.9.9.9")
        );
    }
}
