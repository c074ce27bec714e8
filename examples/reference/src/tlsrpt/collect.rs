//! What was seen today, by domain: in memory, and every minute in the store's database.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use mailwright::{
    mailstore::{
        StoreError, block_on,
        embedded::{Embedded, Table},
    },
    queue::{AppliedPolicy, TlsObserver, TlsSession},
};

use super::report::{Failure, Policy, PolicyResult, Summary};
use crate::{config::Config, queue::unix_time};

/// Where it is kept.
const TABLE: &str = "tlsrpt";
/// How many domains are counted in a day, and how many kinds of failures of one policy are told apart.
const MOST_DOMAINS: usize = 20_000;
const MOST_FAILURES: usize = 100;
const MOST_POLICIES: usize = 20;
const DAY: u64 = 86_400;

/// A day, counted from 1970, and a domain.
pub(super) type Place = (u64, String);

/// The counts. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Collected(Arc<Inner>);

struct Inner {
    table: Table,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    days: BTreeMap<Place, Vec<PolicyResult>>,
    /// What the database does not have yet.
    changed: HashSet<Place>,
}

impl Collected {
    /// Reads what was counted before, if anything is to be counted.
    pub(crate) fn wanted(config: &Config, database: &Embedded) -> Result<Option<Self>, StoreError> {
        if !config.relay.tls_reports {
            return Ok(None);
        }
        Self::open(database.table(TABLE)?).map(Some)
    }

    fn open(table: Table) -> Result<Self, StoreError> {
        let mut counts = Counts::default();
        for (key, value) in table.scan(b"")? {
            let place = String::from_utf8_lossy(&key)
                .split_once('/')
                .and_then(|(day, domain)| Some((day.parse::<u64>().ok()?, domain.to_owned())));
            if let (Some(place), Ok(results)) = (place, serde_json::from_slice(&value)) {
                counts.days.insert(place, results);
            }
        }
        Ok(Self(Arc::new(Inner { table, counts: Mutex::new(counts) })))
    }

    /// What is there of days before this one.
    pub(super) fn before(&self, day: u64) -> Vec<(Place, Vec<PolicyResult>)> {
        let counts = self.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let found = counts.days.range(..(day, String::new()));
        found.map(|(place, results)| (place.clone(), results.clone())).collect()
    }

    /// Forgets what was reported. What came since stays, for the next report.
    pub(super) fn settle(&self, place: &Place, reported: &[PolicyResult]) -> Result<(), StoreError> {
        {
            let mut counts = self.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(results) = counts.days.get_mut(place) {
                if results == reported {
                    counts.days.remove(place);
                    counts.changed.remove(place);
                } else {
                    subtract(results, reported);
                    counts.changed.insert(place.clone());
                    return Ok(());
                }
            }
        }
        block_on(self.0.table.delete(key(place).as_bytes())).map(|_| ())
    }

    /// Writes down what has changed. Blocks.
    pub(super) fn save(&self) {
        let changed: Vec<(Place, Vec<PolicyResult>)> = {
            let mut counts = self.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let changed = std::mem::take(&mut counts.changed);
            changed
                .into_iter()
                .filter_map(|place| counts.days.get(&place).map(|of| (place.clone(), of.clone())))
                .collect()
        };
        for (place, results) in changed {
            let row = serde_json::to_vec(&results).unwrap_or_default();
            if let Err(error) = block_on(self.0.table.put(key(&place).as_bytes(), &row)) {
                tracing::error!(%error, domain = place.1, "what was seen of TLS cannot be written down");
            }
        }
    }

    fn count(&self, session: TlsSession, day: u64) {
        let mut counts = self.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (day, session.domain.clone());
        if counts.days.len() >= MOST_DOMAINS && !counts.days.contains_key(&place) {
            return;
        }
        let results = counts.days.entry(place.clone()).or_default();
        add(results, session);
        counts.changed.insert(place);
    }
}

impl TlsObserver for Collected {
    fn seen(&self, session: TlsSession) {
        self.count(session, today());
    }
}

/// Which day it is, counted from 1970, in UTC.
pub(super) fn today() -> u64 {
    unix_time() / DAY
}

fn key((day, domain): &Place) -> String {
    format!("{day}/{domain}")
}

fn add(results: &mut Vec<PolicyResult>, session: TlsSession) {
    let policy = published(&session);
    let known = results.iter().position(|result| result.policy == policy);
    if known.is_none() {
        if results.len() >= MOST_POLICIES {
            return;
        }
        results.push(PolicyResult {
            policy: policy.clone(),
            summary: Summary::default(),
            failures: Vec::new(),
        });
    }
    let Some(result) = results.iter_mut().find(|result| result.policy == policy) else { return };
    let Some(kind) = session.failure else {
        result.summary.successful += 1;
        return;
    };
    result.summary.failed += 1;
    let failure = Failure {
        kind: kind.as_str().into(),
        sender: None,
        host: session.host,
        address: session.address.map(|address| address.to_string()),
        count: 1,
        reason: session.reason.map(|reason| reason.chars().take(200).collect()),
    };
    let same = |other: &&mut Failure| Failure { count: 1, ..(**other).clone() } == failure;
    let room = result.failures.len() < MOST_FAILURES;
    match result.failures.iter_mut().find(same) {
        Some(known) => known.count += 1,
        None if room => result.failures.push(failure),
        None => {}
    }
}

fn published(session: &TlsSession) -> Policy {
    let domain = session.domain.clone();
    let of = |kind: &str, lines, hosts| Policy { kind: kind.into(), lines, domain: domain.clone(), hosts };
    match &session.policy {
        AppliedPolicy::Tlsa(records) => {
            of("tlsa", records.clone(), session.host.clone().into_iter().collect())
        }
        AppliedPolicy::Sts(Some(policy)) => {
            of("sts", policy.to_string().lines().map(str::to_owned).collect(), policy.hosts.clone())
        }
        AppliedPolicy::Sts(None) => of("sts", Vec::new(), Vec::new()),
        _ => of("no-policy-found", Vec::new(), Vec::new()),
    }
}

/// What was reported is told no second time.
fn subtract(results: &mut Vec<PolicyResult>, reported: &[PolicyResult]) {
    for old in reported {
        let Some(result) = results.iter_mut().find(|result| result.policy == old.policy) else { continue };
        result.summary.successful = result.summary.successful.saturating_sub(old.summary.successful);
        result.summary.failed = result.summary.failed.saturating_sub(old.summary.failed);
        for failure in &mut result.failures {
            let same = |other: &&Failure| Failure { count: failure.count, ..(**other).clone() } == *failure;
            let told = old.failures.iter().find(same).map_or(0, |told| told.count);
            failure.count = failure.count.saturating_sub(told);
        }
        result.failures.retain(|failure| failure.count > 0);
    }
    results.retain(|result| result.summary != Summary::default());
}

#[cfg(test)]
mod tests {
    use mailwright::mailstore::embedded::Options;

    use super::*;

    #[test]
    fn counts_are_kept_and_settled() {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path().join("store"), Options::default()).unwrap();
        let collected = Collected::open(store.table("tlsrpt").unwrap()).unwrap();
        let session = |failure| {
            TlsSession::new(
                "b.example",
                AppliedPolicy::Tlsa(vec!["3 1 1 00".into()]),
                "mx.b.example",
                failure,
            )
        };
        collected.count(session(None), 7);
        collected.count(session(None), 7);
        collected.count(session(Some(mailwright::queue::TlsFailure::ValidationFailure)), 7);
        collected.count(session(None), 8);
        collected.save();
        let again = Collected::open(store.table("tlsrpt").unwrap()).unwrap();
        assert_eq!(again.before(8), collected.before(8));
        let [(place, results)] = &again.before(8)[..] else { panic!() };
        assert_eq!((results[0].summary.successful, results[0].summary.failed), (2, 1));
        assert_eq!((&*results[0].failures[0].kind, results[0].failures[0].count), ("validation-failure", 1));
        // One more came while the report was made.
        again.count(session(None), 7);
        again.settle(place, results).unwrap();
        let left = again.before(8);
        assert_eq!((left[0].1[0].summary.successful, left[0].1[0].failures.len()), (1, 0));
        again.settle(place, &left[0].1).unwrap();
        assert!(again.before(8).is_empty());
        assert_eq!(Collected::open(store.table("tlsrpt").unwrap()).unwrap().before(9).len(), 1);
    }
}
