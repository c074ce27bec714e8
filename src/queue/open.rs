//! From a host to a connection on which mail can be sent.

use std::{fmt, net::SocketAddr, sync::Arc};

use mailwright_line_proto::tls;
use mailwright_mailstore::{QueueEntry, Spool, Store};
use mailwright_relay_policy::{
    dane::{self, Dane},
    delivery::Diagnosis,
    dns::Resolve,
    route::{Exchanger, NextHop},
    sts::{StsMode, StsPolicy},
};
use mailwright_smtp_proto::{Reply, client::Config};
use rustls::ClientConfig;

use super::{
    AppliedPolicy, Queue, TlsFailure, TlsLevel, TlsSession,
    security::{Circumstances, Guard, Unfit, guard, listed},
    sessions::Open,
    unopened::{Unopened, connecting, tls_failure, without_another_form},
    verifier,
};
use crate::{
    client::{Endpoint, Security, SmtpClient},
    smtp::Addressing,
};

/// Where a header that has no end is left alone, in octets.
const LONGEST_HEADER: u64 = 64 * 1024;

/// What must hold for all hosts of a next hop.
pub(super) struct Terms<'a> {
    hop: &'a NextHop,
    destination: &'a str,
    level: TlsLevel,
    pub(super) sts: Option<Arc<StsPolicy>>,
    /// Why the policy that the domain announces could not be had, if so.
    unfetched: Option<(TlsFailure, String)>,
    /// REQUIRETLS, which the sender can be told about.
    require: bool,
    /// `TLS-Required: No`
    pub(super) relaxed: bool,
}

impl<'a> Terms<'a> {
    /// The domain that hears of it: one whose mail exchangers were looked up.
    fn domain(&self) -> Option<&'a str> {
        match self.hop {
            NextHop::Exchangers { domain, .. } if !domain.starts_with('[') => Some(domain),
            _ => None,
        }
    }

    /// By which name connections are kept: who requires TLS does not get one of those who do not, and what was opened for somebody
    /// who does not mind is for nobody else.
    pub(super) fn lane(destination: &str, require: bool) -> String {
        if require { format!("{destination} requiretls") } else { destination.to_owned() }
    }
}

/// Where a host is reached.
#[derive(Clone, Copy)]
enum At<'a> {
    Address(SocketAddr),
    /// The path of a UNIX socket.
    Path(&'a str),
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Path(path) => f.write_str(path),
        }
    }
}

/// A host and what is known of it.
struct Site<'a> {
    exchanger: &'a Exchanger,
    at: At<'a>,
    guard: &'a Guard,
    policy: AppliedPolicy,
    /// What the policy has against the host that mail goes to nevertheless.
    unlisted: Option<&'a Unfit>,
}

/// Whether a message asks for TLS in earnest. A report goes on without, if it must (RFC 8689 §5).
pub(super) fn requires(entry: &QueueEntry) -> bool {
    entry.require_tls && entry.sender.address().is_some()
}

impl<S, R, P> Queue<S, R, P>
where
    S: Store + 'static,
    R: Resolve + 'static,
    P: Addressing + 'static,
{
    /// What must hold for the hosts of this next hop.
    pub(super) async fn terms<'a>(
        &self,
        hop: &'a NextHop,
        destination: &'a str,
        entry: &QueueEntry,
        exchangers: &[Exchanger],
    ) -> Terms<'a> {
        let level = match self.config.tls.level(destination) {
            // LMTP is for hosts next door.
            TlsLevel::May if matches!(hop, NextHop::Lmtp { .. }) => TlsLevel::None,
            level => level,
        };
        let require = requires(entry);
        let mut terms =
            Terms { hop, destination, level, sts: None, unfetched: None, require, relaxed: false };
        if let (Some(domain), Some(policies)) = (terms.domain(), &self.config.tls.sts)
            && (level != TlsLevel::None || require)
        {
            let found = policies.policy(domain).await;
            terms.unfetched = found.failure;
            terms.sts = found.policy;
        }
        let published = terms.sts.is_some() || exchangers.iter().any(|exchanger| exchanger.vouched);
        let ours = matches!(level, TlsLevel::May | TlsLevel::Encrypt);
        terms.relaxed = published && ours && !require && self.does_not_mind(entry).await;
        terms
    }

    /// Whether the message says that it need not be protected as its recipients' domains wish (RFC 8689 §3).
    async fn does_not_mind(&self, entry: &QueueEntry) -> bool {
        let Ok(spool) = self.spool() else { return false };
        let end = entry.size.min(entry.skip.saturating_add(LONGEST_HEADER));
        spool.octets(entry, entry.skip..end).await.is_ok_and(|octets| says_tls_is_optional(&octets))
    }

    /// Opens a connection to a host at the first of its addresses where that can be done.
    pub(super) async fn reach(
        &self,
        terms: &Terms<'_>,
        exchanger: &Exchanger,
        id: &str,
    ) -> Result<Open, Unopened> {
        let (dane, unfit) = self.dane(terms, exchanger).await;
        let published = match (&dane, &terms.sts) {
            (Dane::Usable(set), _) => {
                AppliedPolicy::Tlsa(set.records().iter().map(ToString::to_string).collect())
            }
            (Dane::Unusable, _) => AppliedPolicy::Tlsa(Vec::new()),
            (Dane::Absent, Some(policy)) => AppliedPolicy::Sts(Some(Arc::clone(policy))),
            // That one was told already.
            _ => AppliedPolicy::Absent,
        };
        let circumstances = Circumstances {
            level: terms.level,
            dane: &dane,
            sts: terms.sts.as_deref().filter(|_| !terms.relaxed),
            host: &exchanger.name,
            vouched: exchanger.vouched,
            require: terms.require,
        };
        let decided = match unfit {
            Some(unfit) => Err(unfit),
            None => guard(&circumstances),
        };
        let guard = match decided {
            Ok(guard) => guard,
            Err(unfit) => {
                let diagnosis = Diagnosis::found_at(exchanger.name.clone(), unfit.reply);
                match unfit.failure {
                    None => self.tell_unfetched(terms),
                    failure => self.tell(terms, exchanger, None, published, failure, Some(&diagnosis)),
                }
                return Err(Unopened::untrusted(diagnosis));
            }
        };
        // RFC 8461 §5: while a policy is tested, what would fail by it is told and not done.
        let unlisted = match &published {
            AppliedPolicy::Sts(Some(policy)) if policy.mode != StsMode::None => {
                listed(policy, &exchanger.name)
            }
            _ => Ok(Guard::May),
        };
        let unlisted = unlisted.as_ref().err();
        let mut last = Unopened::default();
        let addresses = exchanger.addresses.iter();
        let addresses = addresses.map(|address| At::Address(SocketAddr::new(*address, exchanger.port)));
        for at in exchanger.socket.iter().map(|path| At::Path(path)).chain(addresses) {
            let site = Site { exchanger, at, guard: &guard, policy: published.clone(), unlisted };
            match self.open(terms, &site).await {
                Ok(mut open) => {
                    open.lane = (!terms.relaxed).then(|| Terms::lane(terms.destination, terms.require));
                    return Ok(open);
                }
                Err(unopened) => {
                    let reason = unopened.diagnosis.as_ref().map(tracing::field::display);
                    tracing::info!(id, destination = terms.destination, address = %at, reason, "no connection");
                    last = Unopened { untrusted: last.untrusted || unopened.untrusted, ..unopened };
                }
            }
        }
        Err(last)
    }

    /// What the name system says of a host's certificate, and whether the host cannot be used since nobody knows.
    pub(super) async fn dane(&self, terms: &Terms<'_>, exchanger: &Exchanger) -> (Dane, Option<Unfit>) {
        let wanted =
            matches!(terms.level, TlsLevel::May | TlsLevel::Encrypt | TlsLevel::Dane) || terms.require;
        if !wanted || terms.relaxed || matches!(terms.hop, NextHop::Lmtp { .. }) {
            return (Dane::Absent, None);
        }
        let domain = match terms.hop {
            NextHop::Exchangers { domain, .. } => domain,
            _ => &exchanger.name,
        };
        match dane::look_up(&*self.resolver, exchanger, domain).await {
            Ok(dane) => (dane, None),
            Err(error) => {
                // RFC 7672 §2.2: who cannot be asked may be somebody who was kept from answering.
                let text = format!("The TLSA records of {} cannot be looked up: {error}", exchanger.name);
                let reply = Reply::transient((7, 5), text);
                (Dane::Absent, Some(Unfit { reply, failure: Some(TlsFailure::DnssecInvalid) }))
            }
        }
    }

    /// Opens a connection, secures it, and logs in.
    async fn open(&self, terms: &Terms<'_>, site: &Site<'_>) -> Result<Open, Unopened> {
        let Site { exchanger, at, guard, .. } = *site;
        let host = match at {
            At::Address(address) => format!("{}[{}]:{}", exchanger.name, address.ip(), address.port()),
            At::Path(path) => format!("{}[{path}]", exchanger.name),
        };
        let lmtp = matches!(terms.hop, NextHop::Lmtp { .. });
        let mut config = if lmtp { Config::lmtp() } else { Config::default() };
        let relay = self.config.relays.get(terms.destination);
        config.allow_plaintext_auth = relay.is_some_and(|relay| relay.in_clear);
        let config = Arc::new(config);
        // RFC 7672 §8.1: what is asked for is what the records are kept under.
        let name = match guard {
            Guard::Dane(set) => set.base().to_owned(),
            _ => exchanger.name.clone(),
        };
        let connect = |security| {
            let endpoint = Endpoint::new(name.clone(), exchanger.port, security)
                .with_timeout(self.config.connect_timeout);
            let endpoint = match at {
                At::Address(address) => endpoint.at(address),
                At::Path(path) => endpoint.at_path(path),
            };
            let (hello, config) = (self.config.hostname.clone(), Arc::clone(&config));
            async move { SmtpClient::open(&endpoint, hello, config).await }
        };
        let security = self.security(guard, terms.destination).map_err(Unopened::untrusted)?;
        let mut opened = connect(security).await;
        let failure = opened.as_ref().err().and_then(tls_failure);
        let implicit = self.is_implicit(terms.destination);
        let tried = *guard == Guard::Trial && failure.is_some();
        if let (Guard::Trial, Some(failure), Err(failed)) = (guard, failure, &opened) {
            // RFC 8461 §5: told, and sent nevertheless.
            let diagnosis = connecting(&host, &failed.error);
            self.tell(terms, exchanger, Some(site), site.policy.clone(), Some(failure), Some(&diagnosis));
            let security = self.security(&Guard::May, terms.destination).map_err(Unopened::untrusted)?;
            opened = connect(security).await;
        }
        let weak = matches!(guard, Guard::Plain | Guard::May | Guard::Trial);
        let opened = match opened {
            // RFC 7435 §3: what would be sent in the clear anyway is, if TLS does not work.
            Err(failed) if weak && !implicit && tls_failure(&failed).is_some() => {
                let diagnosis = connecting(&host, &failed.error);
                tracing::info!(host, why = %failed.error, "TLS does not work; going on without");
                if !tried {
                    let failure = Some(TlsFailure::ValidationFailure);
                    self.tell(terms, exchanger, Some(site), site.policy.clone(), failure, Some(&diagnosis));
                }
                connect(Security::Plain).await
            }
            Err(failed) => {
                if let Some(failure) = tls_failure(&failed).filter(|_| !tried && *guard != Guard::Plain) {
                    let diagnosis = connecting(&host, &failed.error);
                    self.tell(
                        terms,
                        exchanger,
                        Some(site),
                        site.policy.clone(),
                        Some(failure),
                        Some(&diagnosis),
                    );
                }
                Err(failed)
            }
            Ok(mut client) => {
                let plain = client.tls().is_none().then_some(TlsFailure::StarttlsNotSupported);
                // RFC 7672 §2.2: none of the records can be used, and TLS goes on without them.
                let invalid = matches!(&site.policy, AppliedPolicy::Tlsa(records) if records.is_empty());
                let plain = plain.or_else(|| invalid.then_some(TlsFailure::TlsaInvalid));
                if *guard != Guard::Plain && !tried {
                    let failure = site.unlisted.map_or(plain, |unfit| unfit.failure);
                    let why = site.unlisted.map(|unfit| Diagnosis::found_at(&*host, unfit.reply.clone()));
                    self.tell(terms, exchanger, Some(site), site.policy.clone(), failure, why.as_ref());
                }
                Ok(client)
            }
        };
        let mut client = opened.map_err(|failed| match tls_failure(&failed) {
            // Nobody was to prove anything there.
            Some(_) if weak => Unopened::trusted(without_another_form(&host, &failed.error)),
            Some(_) => Unopened::untrusted(connecting(&host, &failed.error)),
            None => Unopened::trusted(connecting(&host, &failed.error)),
        })?;
        if terms.require && !client.capabilities().require_tls {
            // RFC 8689 §4.2.1, step 5
            let _ = client.quit().await;
            let text = "The sender requires TLS all the way, and the host does not offer REQUIRETLS";
            return Err(Unopened::untrusted(Diagnosis::found_at(host, Reply::permanent((7, 30), text))));
        }
        if let Some(relay) = relay {
            client.login(&relay.user, &relay.password).await.map_err(|error| {
                // A wrong password is ours to mend, and the mail waits for that.
                let text = format!("Login as {} failed: {error}", relay.user);
                Unopened::trusted(Diagnosis::found_at(&*host, Reply::transient((7, 8), text)))
            })?;
        }
        Ok(Open { client, host, exchanger: exchanger.name.clone(), messages: 0, lane: None })
    }

    /// Whether a destination speaks TLS from the first octet on, as it is configured: in whatever way it must, there is no other.
    fn is_implicit(&self, destination: &str) -> bool {
        self.config.tls.implicit.contains(destination)
    }

    /// The configuration for what a connection must have.
    fn security(&self, guard: &Guard, destination: &str) -> Result<Security, Diagnosis> {
        let without = || {
            let reply = Reply::transient((7, 5), "No authorities are configured to verify hosts by");
            Diagnosis::found(reply)
        };
        let client = match guard {
            Guard::Plain if !self.is_implicit(destination) => return Ok(Security::Plain),
            Guard::Plain | Guard::May | Guard::Encrypt => anybody().ok_or_else(without)?,
            Guard::Verify | Guard::Trial => self.config.tls.verified.clone().ok_or_else(without)?,
            Guard::Dane(set) => verifier::client(set)
                .map_err(|error| Diagnosis::found(Reply::transient((7, 5), error.to_string())))?,
        };
        Ok(match guard {
            _ if self.is_implicit(destination) => Security::Implicit(client),
            Guard::May => Security::Opportunistic(client),
            _ => Security::Starttls(client),
        })
    }

    /// Tells who reports it of what became of TLS with a host.
    fn tell(
        &self,
        terms: &Terms<'_>,
        exchanger: &Exchanger,
        site: Option<&Site<'_>>,
        applied: AppliedPolicy,
        failure: Option<TlsFailure>,
        diagnosis: Option<&Diagnosis>,
    ) {
        let Some(domain) = terms.domain() else { return };
        self.tell_unfetched(terms);
        // There is nothing more to tell then, and it is counted once.
        if terms.unfetched.is_some() && applied == AppliedPolicy::Absent {
            return;
        }
        self.observe(TlsSession {
            domain: domain.to_owned(),
            policy: applied,
            host: Some(exchanger.name.clone()),
            address: site.and_then(|site| match site.at {
                At::Address(address) => Some(address.ip()),
                At::Path(_) => None,
            }),
            failure,
            reason: diagnosis.map(|diagnosis| diagnosis.reply.lines().collect::<Vec<_>>().join(" ")),
        });
    }

    /// Tells it of a session that had to do without the policy that the domain announces, whatever else it has published (RFC 8460 §4.3.2.2).
    fn tell_unfetched(&self, terms: &Terms<'_>) {
        if let (Some(domain), Some((failure, reason))) = (terms.domain(), terms.unfetched.clone()) {
            let (domain, policy) = (domain.to_owned(), AppliedPolicy::Sts(None));
            let (failure, reason) = (Some(failure), Some(reason));
            self.observe(TlsSession { domain, policy, host: None, address: None, failure, reason });
        }
    }

    fn observe(&self, session: TlsSession) {
        if let Some(observer) = &self.config.tls.observer {
            observer.seen(session);
        }
    }
}

/// Whoever has the key of whatever certificate.
fn anybody() -> Option<Arc<ClientConfig>> {
    static ANYBODY: std::sync::OnceLock<Option<Arc<ClientConfig>>> = std::sync::OnceLock::new();
    ANYBODY.get_or_init(|| tls::client_config_unverified().ok().map(Arc::new)).clone()
}

/// Whether a header has the field `TLS-Required: No` (RFC 8689 §3).
fn says_tls_is_optional(octets: &[u8]) -> bool {
    let lines = octets.split(|octet| *octet == b'\n').map(<[u8]>::trim_ascii_end);
    lines.take_while(|line| !line.is_empty()).any(|line| {
        let colon = line.iter().position(|octet| *octet == b':');
        let field = colon.and_then(|colon| line.split_at_checked(colon));
        field.is_some_and(|(name, value)| {
            let value = value.strip_prefix(b":").unwrap_or_default();
            name.trim_ascii_end().eq_ignore_ascii_case(b"TLS-Required")
                && value.trim_ascii().eq_ignore_ascii_case(b"No")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_that_asks_for_less() {
        for (header, expected) in [
            ("Subject: x\r\nTLS-Required: No\r\n\r\n", true),
            ("tls-required:no\r\n\r\n", true),
            ("Subject: x\r\n\r\nTLS-Required: No\r\n", false),
            ("TLS-Required: Yes\r\n\r\n", false),
            ("X-TLS-Required: No\r\n\r\n", false),
            ("Subject: x\r\n TLS-Required: No\r\n\r\n", false),
            ("", false),
        ] {
            // A folded line begins with a blank, which a name does not.
            assert_eq!(says_tls_is_optional(header.as_bytes()), expected, "{header:?}");
        }
    }

    #[test]
    fn who_requires_tls_has_connections_of_its_own() {
        assert_ne!(Terms::lane("b.example", true), Terms::lane("b.example", false));
    }
}
