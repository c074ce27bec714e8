//! The queue as it is configured.

use std::{fs, net::SocketAddr, sync::Arc, time::Duration};

use mailwright::{
    https::Https,
    line_proto::{Secret, tls},
    mailstore::AnyStore,
    queue::{OwnAddress, OwnListings, OwnLists, Queue, QueueConfig, Relay, StsCache, StsPolicies, TlsLevel},
    relay_policy::{dns::AnyResolver, route::RouteTable},
    resolve::{Resolver, ResolverError, ResolverOptions},
    smtp::Authentication,
};

use crate::{
    config::{self, Config},
    directory::Logins,
    local::Local,
    tlsrpt::Collected,
};

use super::{
    Suppressed,
    sts::{KeptPolicies, WebPolicies},
};

/// What sends mail on.
pub(crate) type Outbound = Queue<AnyStore, Resolver, Logins>;

/// What the queue asks, whatever the configuration says. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Parts {
    suppressed: Suppressed,
    /// What counts how TLS goes, if that is to be reported.
    collected: Option<Collected>,
    /// What knows MTA-STS policies, if they are obeyed.
    sts: Option<Arc<dyn StsPolicies>>,
    /// What knows whether our address is on a list, if somebody wants to know.
    pub(crate) own_listings: Option<Arc<dyn OwnListings>>,
}

impl Parts {
    /// Policies are kept by `policies`, and fetched from the `web`.
    pub(crate) fn new(
        config: &Config,
        resolver: &Resolver,
        suppressed: Suppressed,
        collected: Option<Collected>,
        policies: KeptPolicies,
        web: Option<Https>,
    ) -> Self {
        let sts = web.filter(|_| config.relay.mta_sts).map(|https| {
            let fetch = WebPolicies { https, port: config.relay.mta_sts_port };
            let cache = StsCache::new(AnyResolver::new(resolver.clone()), fetch);
            Arc::new(cache.kept_by(Arc::new(policies))) as Arc<dyn StsPolicies>
        });
        let own_listings = own_lists(config, resolver).map(|lists| Arc::new(lists) as Arc<dyn OwnListings>);
        Self { suppressed, collected, sts, own_listings }
    }

    /// How the queue is to behave by this configuration.
    pub(crate) fn configure(
        self,
        config: &Config,
        routes: Arc<RouteTable>,
        signing: Arc<Authentication>,
    ) -> Result<QueueConfig, String> {
        let mut queue = queue_config(config, routes)?;
        queue.suppressions = Some(Arc::new(self.suppressed));
        queue.tls.observer = self.collected.map(|collected| Arc::new(collected) as _);
        queue.tls.sts = self.sts;
        queue.own_listings = self.own_listings;
        queue.signing = Some(signing);
        queue.pipes = Some(Arc::new(Local::new(config)?));
        Ok(queue)
    }
}

/// Makes the queue.
pub(crate) fn start(
    store: &AnyStore,
    resolver: Resolver,
    logins: Logins,
    config: QueueConfig,
) -> Arc<Outbound> {
    Arc::new(Queue::new(Arc::new(store.clone()), Arc::new(resolver), Arc::new(logins), config))
}

/// What asks web servers, if there are authorities to trust.
pub(crate) fn web(config: &Config, resolver: &Resolver) -> Option<Https> {
    let pem = fs::read(&config.relay.trust).ok()?;
    let tls = tls::roots(&pem).and_then(tls::client_config).ok()?;
    Some(Https::new(tls).with_resolver(AnyResolver::new(resolver.clone())))
}

/// What looks names up.
pub(crate) fn resolver(config: &Config) -> Result<Resolver, String> {
    let mut options = ResolverOptions::default();
    options.servers.clone_from(&config.dns.servers);
    options.dnssec = config.dns.dnssec;
    options.trust_anchors =
        Some(config.dns.trust_anchors.clone()).filter(|file| !file.as_os_str().is_empty());
    Resolver::new(&options).or_else(|error| {
        if matches!(error, ResolverError::TrustAnchors(..)) {
            return Err(format!("dns.trust_anchors: {error}"));
        }
        tracing::warn!(%error, "the system names no name server; asking the one of this machine");
        options.servers = vec![SocketAddr::from(([127, 0, 0, 1], 53))];
        Resolver::new(&options).map_err(|error| error.to_string())
    })
}

/// What knows whether lists have our address, if there are any to ask.
pub(crate) fn own_lists(config: &Config, resolver: &Resolver) -> Option<OwnLists<AnyResolver>> {
    let (relay, lists) = (&config.relay, config.relay.own_address_lists());
    let host = if relay.helo.is_empty() { &config.hostname } else { &relay.helo };
    let own = relay.own_address.parse().map_or_else(|_| OwnAddress::Of(host.clone()), OwnAddress::Is);
    (!lists.is_empty()).then(|| OwnLists::new(AnyResolver::new(resolver.clone()), lists, own))
}

fn queue_config(config: &Config, routes: Arc<RouteTable>) -> Result<QueueConfig, String> {
    let (relay, limits) = (&config.relay, &config.queue);
    let helo = if relay.helo.is_empty() { &config.hostname } else { &relay.helo };
    let mut queue = QueueConfig::new(helo).map_err(|error| format!("relay.helo: {error}"))?;
    queue.routes = routes;
    queue.lookup.own.push(config.hostname.clone());
    queue.lookup.own.extend(relay.own.iter().cloned());
    let takes_mail = config.listeners.iter().filter(|listener| listener.protocol == config::Protocol::Smtp);
    queue.lookup.listening = takes_mail.filter_map(|listener| listener.address.network()).collect();
    queue.lookup.is_local = mailwright::queue::is_local;
    queue.lookup.families = match config.families() {
        config::Families::Both => mailwright::relay_policy::route::Families::Both,
        config::Families::PreferIpv4 => mailwright::relay_policy::route::Families::BothV4First,
        config::Families::Ipv4 => mailwright::relay_policy::route::Families::V4,
        config::Families::Ipv6 => mailwright::relay_policy::route::Families::V6,
    };
    let hours = |hours: u64| Duration::from_secs(hours.saturating_mul(3_600));
    queue.retry.lifetime = hours(limits.lifetime_hours);
    queue.retry.lifetime_of_reports = match limits.report_lifetime_hours {
        0 => queue.retry.lifetime,
        given => hours(given),
    };
    queue.retry.warn_after = hours(limits.warn_after_hours);
    queue.retry.first = Duration::from_secs(limits.first_retry_seconds);
    queue.retry.longest = Duration::from_secs(limits.longest_retry_seconds);
    queue.concurrency.total = limits.connections;
    queue.concurrency.per_destination = limits.connections_per_destination;
    let pace = |(key, time): (&String, &u64)| {
        Ok::<_, String>((config::destination("queue.pace", key)?, Duration::from_millis(*time)))
    };
    queue.concurrency.pace = limits.pace.iter().map(pace).collect::<Result<_, _>>()?;
    queue.concurrency.dead_for = queue.retry.first;
    queue.farewell = Duration::from_secs(config.limits.stop_seconds);
    queue.connect_timeout = Duration::from_secs(limits.connect_seconds);
    queue.fallback = config::hop("relay.fallback", &relay.fallback)?;
    let smarthost = config::hop("relay.smarthost", &relay.smarthost)?;
    let smarthost = smarthost.map(|hop| {
        let login = ("relay.password_file", &relay.user, &relay.password_file, relay.password_in_clear);
        (hop, login, relay.implicit_tls)
    });
    let fallback = queue.fallback.clone().map(|hop| {
        let (user, file) = (&relay.fallback_user, &relay.fallback_password_file);
        let login = ("relay.fallback_password_file", user, file, relay.fallback_password_in_clear);
        (hop, login, relay.fallback_implicit_tls)
    });
    for (hop, (key, user, file, in_clear), implicit_tls) in smarthost.into_iter().chain(fallback) {
        let destination = hop.destination();
        if !user.is_empty() {
            let text =
                fs::read_to_string(file).map_err(|error| format!("{key} {}: {error}", file.display()))?;
            let password = text.lines().next().unwrap_or_default();
            let mut login = Relay::new(user.clone(), Secret::from(password));
            login.in_clear = in_clear;
            queue.relays.insert(destination.clone(), login);
        }
        if implicit_tls {
            queue.tls.implicit.insert(destination);
        }
    }
    queue.encode_signed = relay.encode_signed;
    queue.tls.default = level(relay.tls);
    let levels = relay
        .tls_for
        .iter()
        .map(|(key, tls)| Ok::<_, String>((config::destination("relay.tls_for", key)?, level(*tls))));
    queue.tls.levels = levels.collect::<Result<_, _>>()?;
    queue.tls.verified = trust(relay);
    Ok(queue)
}

fn level(level: config::TlsLevel) -> TlsLevel {
    match level {
        config::TlsLevel::None => TlsLevel::None,
        config::TlsLevel::May => TlsLevel::May,
        config::TlsLevel::Encrypt => TlsLevel::Encrypt,
        config::TlsLevel::Verify => TlsLevel::Verify,
        config::TlsLevel::Dane => TlsLevel::Dane,
        config::TlsLevel::Sts => TlsLevel::Sts,
    }
}

/// Whom to trust, if the file can be read. Without it, mail that needs it waits and says so.
fn trust(relay: &config::Relay) -> Option<Arc<tls::rustls::ClientConfig>> {
    let pem = fs::read(&relay.trust).ok()?;
    let made = tls::roots(&pem).and_then(tls::client_config);
    match made {
        Ok(client) => Some(Arc::new(client)),
        Err(error) => {
            tracing::warn!(file = %relay.trust.display(), %error, "the trusted authorities cannot be used");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_configured_is_what_the_queue_does() {
        let mut config = Config::default();
        config.queue.lifetime_hours = 10;
        let made = |config: &Config| queue_config(config, Arc::default()).unwrap();
        let hours = |time: Duration| time.as_secs() / 3_600;
        for (given, expected) in [(0, 10), (3, 3)] {
            config.queue.report_lifetime_hours = given;
            let retry = made(&config).retry;
            assert_eq!((hours(retry.lifetime), hours(retry.lifetime_of_reports)), (10, expected));
        }
        let smtp = config.listeners.iter().filter(|listener| listener.protocol == config::Protocol::Smtp);
        let expected: Vec<SocketAddr> = smtp.filter_map(|listener| listener.address.network()).collect();
        assert!(!expected.is_empty(), "{:?}", config.listeners);
        assert_eq!(made(&config).lookup.listening, expected);
    }
}
