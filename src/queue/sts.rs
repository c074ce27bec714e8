//! MTA-STS policies of the domains that mail goes to: looked up, fetched, kept (RFC 8461 §5).

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use mailwright_relay_policy::{
    dns::{AnyResolver, LookupError, RecordType, Resolve, name},
    sts::{KeptPolicy, PolicyId, Step, StsMode, StsPolicy},
};
use tokio::sync::Mutex as Turn;

use super::{TlsFailure, report::seconds};

/// Knows the policies of domains.
pub trait StsPolicies: Send + Sync {
    /// The policy of a domain, given in A-labels.
    fn policy<'a>(&'a self, domain: &'a str) -> Pin<Box<dyn Future<Output = StsFound> + Send + 'a>>;
}

impl fmt::Debug for dyn StsPolicies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StsPolicies")
    }
}

/// What is known of a domain's policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StsFound {
    /// The policy that holds, if there is one that says something.
    pub policy: Option<Arc<StsPolicy>>,
    /// Why the one that the domain announces could not be had, if so.
    pub failure: Option<(TlsFailure, String)>,
}

/// Fetches `https://mta-sts.DOMAIN/.well-known/mta-sts.txt`: with a certificate that holds for the name, without following
/// redirections, no more than 64 KiB, and in a minute at most (RFC 8461 §3.3).
pub trait FetchPolicy: Send + Sync {
    /// The octets of the policy.
    fn fetch(&self, domain: &str) -> impl Future<Output = Result<Vec<u8>, FetchError>> + Send;
}

/// Why a policy was not fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The host cannot be reached, or says no.
    #[error("{0}")]
    Unreachable(String),
    /// Its certificate does not hold.
    #[error("{0}")]
    Certificate(String),
}

/// Keeps policies while the server is down. It is asked and told rarely: when a policy is fetched, and for a domain that is not in
/// memory.
pub trait KeepPolicies: Send + Sync {
    /// What is kept for a domain.
    fn load(&self, domain: &str) -> Option<KeptPolicy>;
    /// Keeps a policy.
    fn keep(&self, domain: &str, policy: &KeptPolicy);
    /// Forgets one.
    fn forget(&self, domain: &str);
}

/// The policies of all domains, fetched when they are needed, kept as long as they hold.
pub struct StsCache<F> {
    resolver: AnyResolver,
    fetch: F,
    keep: Option<Arc<dyn KeepPolicies>>,
    domains: Mutex<HashMap<String, Arc<Turn<Known>>>>,
}

/// What is in memory of a domain.
#[derive(Debug, Default)]
struct Known {
    loaded: bool,
    kept: Option<KeptPolicy>,
    /// When fetching failed last, and why.
    failed: Option<(u64, TlsFailure, String)>,
}

/// How many domains are in memory.
const MOST: usize = 10_000;
/// After a failure a domain's policy is left alone so long, in seconds (RFC 8461 §3.3).
const PAUSE: u64 = 300;

impl<F: FetchPolicy> StsCache<F> {
    /// With what looks up and what fetches.
    pub fn new(resolver: AnyResolver, fetch: F) -> Self {
        Self { resolver, fetch, keep: None, domains: Mutex::default() }
    }

    /// With what keeps policies while the server is down.
    #[must_use]
    pub fn kept_by(self, keep: Arc<dyn KeepPolicies>) -> Self {
        Self { keep: Some(keep), ..self }
    }

    /// The policy of a domain as it is now, in seconds since 1970.
    pub async fn policy_at(&self, domain: &str, now: u64) -> StsFound {
        let said = self.announced(domain).await;
        let known = self.known(domain);
        // One fetches, the others wait for it.
        let mut known = known.lock().await;
        if !known.loaded {
            known.loaded = true;
            known.kept = self.keep.as_ref().and_then(|keep| keep.load(domain));
        }
        let mut failure = None;
        if let (Step::Fetch, Some(id)) = (Step::of(known.kept.as_ref(), said.as_ref(), now), said) {
            failure = self.renew(domain, id, &mut known, now).await;
        }
        let holds = known.kept.as_ref().filter(|kept| kept.is_fresh(now));
        let policy = holds.filter(|kept| kept.policy.mode != StsMode::None);
        StsFound { policy: policy.map(|kept| Arc::new(kept.policy.clone())), failure }
    }

    /// What the record says.
    async fn announced(&self, domain: &str) -> Option<PolicyId> {
        let at = name(&format!("_mta-sts.{domain}")).ok()?;
        match self.resolver.lookup(&at, RecordType::TXT).await {
            Ok(answer) => PolicyId::of(answer.texts()),
            Err(LookupError::NoName) => None,
            Err(error) => {
                tracing::debug!(domain, %error, "the MTA-STS record cannot be looked up");
                None
            }
        }
    }

    fn known(&self, domain: &str) -> Arc<Turn<Known>> {
        let mut domains = self.domains.lock().unwrap_or_else(PoisonError::into_inner);
        if domains.len() >= MOST && !domains.contains_key(domain) {
            // Whoever is being looked at stays; what is kept is loaded again when it is needed.
            domains.retain(|_, known| Arc::strong_count(known) > 1);
        }
        Arc::clone(domains.entry(domain.to_owned()).or_default())
    }

    /// Fetches the policy; says why that failed, if so.
    async fn renew(
        &self,
        domain: &str,
        id: PolicyId,
        known: &mut Known,
        now: u64,
    ) -> Option<(TlsFailure, String)> {
        if let Some((at, failure, why)) = &known.failed
            // Unless a clock that was ahead has written it down.
            && *at <= now
            && now < at.saturating_add(PAUSE)
        {
            return Some((*failure, why.clone()));
        }
        let fetched = match self.fetch.fetch(domain).await {
            Ok(octets) => {
                StsPolicy::parse(&octets).map_err(|error| (TlsFailure::StsPolicyInvalid, error.to_string()))
            }
            Err(error @ FetchError::Unreachable(_)) => Err((TlsFailure::StsPolicyFetch, error.to_string())),
            Err(error @ FetchError::Certificate(_)) => Err((TlsFailure::StsWebpkiInvalid, error.to_string())),
        };
        match fetched {
            Ok(policy) => {
                tracing::info!(
                    domain,
                    mode = policy.mode.as_str(),
                    max_age = policy.max_age,
                    "MTA-STS policy fetched"
                );
                let kept = KeptPolicy::new(id, policy, now);
                if let Some(keep) = &self.keep {
                    keep.keep(domain, &kept);
                }
                (known.kept, known.failed) = (Some(kept), None);
                None
            }
            Err((failure, why)) => {
                tracing::warn!(domain, reason = why, "the MTA-STS policy cannot be had");
                known.failed = Some((now, failure, why.clone()));
                if let Some(keep) =
                    self.keep.as_ref().filter(|_| !known.kept.as_ref().is_some_and(|kept| kept.is_fresh(now)))
                {
                    keep.forget(domain);
                }
                Some((failure, why))
            }
        }
    }
}

impl<F: FetchPolicy> StsPolicies for StsCache<F> {
    fn policy<'a>(&'a self, domain: &'a str) -> Pin<Box<dyn Future<Output = StsFound> + Send + 'a>> {
        Box::pin(self.policy_at(domain, seconds()))
    }
}

impl<F> fmt::Debug for StsCache<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StsCache").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use mailwright_relay_policy::dns::CannedAnswers;

    use super::*;

    /// What the domain publishes, to be changed while it is asked; and how often it was asked.
    #[derive(Clone, Default)]
    struct World(Arc<Mutex<Published>>);

    #[derive(Default)]
    struct Published {
        id: Option<&'static str>,
        policy: Option<Result<String, FetchError>>,
        fetched: u32,
        kept: HashMap<String, KeptPolicy>,
    }

    impl World {
        fn publish(&self, id: Option<&'static str>, policy: Result<&str, FetchError>) {
            let mut world = self.0.lock().unwrap();
            (world.id, world.policy) = (id, Some(policy.map(str::to_owned)));
        }
    }

    impl Resolve for World {
        async fn lookup(
            &self,
            at: &mailwright_relay_policy::dns::Name,
            kind: RecordType,
        ) -> Result<mailwright_relay_policy::dns::Answer, LookupError> {
            let id = self.0.lock().unwrap().id;
            let zone = CannedAnswers::default();
            let zone = match id {
                Some("servfail") => zone.failure(
                    "_mta-sts.b.example",
                    RecordType::TXT,
                    LookupError::Temporary("SERVFAIL".into()),
                ),
                Some(id) => zone.txt("_mta-sts.b.example", &format!("v=STSv1; id={id};")),
                None => zone,
            };
            zone.lookup(at, kind).await
        }
    }

    impl FetchPolicy for World {
        async fn fetch(&self, domain: &str) -> Result<Vec<u8>, FetchError> {
            assert_eq!(domain, "b.example");
            let mut world = self.0.lock().unwrap();
            world.fetched += 1;
            world.policy.clone().unwrap().map(String::into_bytes)
        }
    }

    impl KeepPolicies for World {
        fn load(&self, domain: &str) -> Option<KeptPolicy> {
            self.0.lock().unwrap().kept.get(domain).cloned()
        }

        fn keep(&self, domain: &str, policy: &KeptPolicy) {
            self.0.lock().unwrap().kept.insert(domain.to_owned(), policy.clone());
        }

        fn forget(&self, domain: &str) {
            self.0.lock().unwrap().kept.remove(domain);
        }
    }

    fn text(mode: &str) -> String {
        format!("version: STSv1\nmode: {mode}\nmx: mx.b.example\nmax_age: 604800\n")
    }

    fn cache(world: &World) -> StsCache<World> {
        StsCache::new(AnyResolver::new(world.clone()), world.clone()).kept_by(Arc::new(world.clone()))
    }

    fn shown(found: &StsFound) -> String {
        let mode = found.policy.as_ref().map_or("-", |policy| policy.mode.as_str());
        let failure = found.failure.as_ref().map_or("-", |(failure, _)| failure.as_str());
        format!("{mode} {failure}")
    }

    #[tokio::test]
    async fn good_expired_mismatching_missing_and_unreachable() {
        let world = World::default();
        let unreachable = || Err(FetchError::Unreachable("refused".into()));
        let certificate = || Err(FetchError::Certificate("expired".into()));
        let (enforce, testing, none) = (text("enforce"), text("testing"), text("none"));
        let day = 86_400;
        let cached = cache(&world);
        for (now, id, published, expected, fetched) in [
            (0, None, unreachable(), "- -", 0),
            // Announced, and not to be had: as if there were none, and not asked again at once.
            (10, Some("1"), unreachable(), "- sts-policy-fetch-error", 1),
            // The clock goes back.
            (5, Some("1"), unreachable(), "- sts-policy-fetch-error", 2),
            (20, Some("1"), Ok(&*enforce), "- sts-policy-fetch-error", 2),
            (400, Some("1"), certificate(), "- sts-webpki-invalid", 3),
            (800, Some("1"), Ok("<html>"), "- sts-policy-invalid", 4),
            (1_200, Some("1"), Ok(&*enforce), "enforce -", 5),
            (1_300, Some("1"), Ok(&*testing), "enforce -", 5),
            // Neither a missing record nor a server that fails ends it.
            (1_400, None, unreachable(), "enforce -", 5),
            (1_500, Some("servfail"), unreachable(), "enforce -", 5),
            // Another id, but the host of the policy cannot be reached: the old one holds.
            (1_600, Some("2"), unreachable(), "enforce sts-policy-fetch-error", 6),
            (2_000, Some("2"), Ok(&*testing), "testing -", 7),
            // Renewed after a day.
            (2_000 + day, Some("2"), Ok(&*enforce), "enforce -", 8),
            (2_000 + 7 * day, Some("servfail"), unreachable(), "enforce -", 8),
            // It has expired.
            (2_001 + 8 * day, None, unreachable(), "- -", 8),
            (2_002 + 8 * day, Some("3"), Ok(&*none), "- -", 9),
        ] {
            world.publish(id, published);
            let found = cached.policy_at("b.example", now).await;
            assert_eq!(
                (shown(&found), world.0.lock().unwrap().fetched),
                (expected.to_owned(), fetched),
                "{now}"
            );
        }
    }

    #[tokio::test]
    async fn a_policy_outlives_the_server() {
        let world = World::default();
        world.publish(Some("1"), Ok(&text("enforce")));
        assert_eq!(shown(&cache(&world).policy_at("b.example", 5).await), "enforce -");
        world.publish(None, Err(FetchError::Unreachable("refused".into())));
        assert_eq!(shown(&cache(&world).policy_at("b.example", 50).await), "enforce -");
        assert_eq!(shown(&cache(&world).policy_at("b.example", 604_806).await), "- -");
        world.publish(Some("1"), Err(FetchError::Unreachable("refused".into())));
        assert_eq!(shown(&cache(&world).policy_at("b.example", 604_806).await), "- sts-policy-fetch-error");
        assert!(world.0.lock().unwrap().kept.is_empty());
    }
}
