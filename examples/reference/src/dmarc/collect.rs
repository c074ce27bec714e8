//! What was found out about mail from domains that want reports: counted in memory, and written down every few seconds.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use mailwright::{
    mailstore::{Result, StoreError, embedded::Table},
    relay_policy::authentication::{
        Findings,
        dmarc::{DmarcResult, Record, Wish},
    },
    smtp::Observation,
};
use ring::digest;
use serde::{Deserialize, Serialize};

/// RFC 7489 §7.2: reports are of days, which begin at midnight UTC.
pub(super) const DAY: u64 = 86_400;
/// So many kinds of messages are told apart in a report.
const MOST_KINDS: usize = 10_000;
/// So many kinds wait to be written down; what comes beyond that in a few seconds is not counted.
const MOST_WAITING: usize = 50_000;
/// So many signatures of a message are told of.
const MOST_SIGNATURES: usize = 8;

/// What a domain wishes, as it was when mail came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Published {
    pub(super) policy: String,
    pub(super) below: String,
    pub(super) missing: String,
    pub(super) strict_dkim: bool,
    pub(super) strict_spf: bool,
    pub(super) testing: bool,
    /// The addresses that it names for reports.
    pub(super) reports: Vec<String>,
}

/// A kind of messages: all of which the same is to be told.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Kind {
    pub(super) source: String,
    pub(super) done: String,
    /// Whether each proved the author.
    pub(super) by_dkim: bool,
    pub(super) by_spf: bool,
    /// Why something else was done than the domain wishes.
    pub(super) reason: Option<String>,
    pub(super) author: String,
    /// Empty for the null sender.
    pub(super) envelope: String,
    /// Domain, selector and result of each signature.
    pub(super) dkim: Vec<(String, String, String)>,
    /// Domain, scope and result.
    pub(super) spf: (String, String, String),
}

/// A kind, and how many there were.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Counted {
    pub(super) kind: Kind,
    pub(super) count: u64,
}

/// All of a day about a domain.
#[derive(Debug, Clone)]
pub(super) struct Collected {
    /// In days since 1970.
    pub(super) day: u64,
    pub(super) domain: String,
    pub(super) published: Published,
    pub(super) kinds: Vec<Counted>,
    keys: Vec<Vec<u8>>,
}

/// Everything that is not reported yet.
pub(crate) struct Collector {
    table: Table,
    waiting: Mutex<Waiting>,
    /// How many kinds are written down of each day and domain.
    known: Mutex<HashMap<String, usize>>,
}

#[derive(Default)]
struct Waiting {
    counts: HashMap<(String, Kind), u64>,
    published: BTreeMap<String, Published>,
    lost: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The place of what belongs to a day and a domain, in the order of time.
fn place(day: u64, domain: &str) -> String {
    format!("{day:08}/{domain}")
}

/// Where what a domain wishes is kept.
fn wishes(place: &str) -> String {
    format!("d/{place}")
}

/// Where the kinds of messages are kept.
fn kinds(place: &str) -> String {
    format!("k/{place}/")
}

impl Collector {
    /// Goes on with what is in the table.
    pub(crate) fn new(table: Table) -> Self {
        Self { table, waiting: Mutex::default(), known: Mutex::default() }
    }

    /// Counts a message, if its author's domain wants to hear of it.
    pub(crate) fn observe(&self, observation: &Observation<'_>, now: u64) {
        let findings = observation.findings;
        let Some((domain, record)) = &findings.dmarc.author.record else { return };
        if record.reports.is_empty() || findings.dmarc.result == DmarcResult::TempError {
            return;
        }
        let place = place(now / DAY, domain);
        let envelope = observation.sender.map_or(String::new(), |sender| sender.domain().key().to_owned());
        let source = observation.client.to_string();
        let kind = Kind::new(source, envelope, findings, observation.done, observation.vouched);
        let mut waiting = lock(&self.waiting);
        let full = waiting.counts.len() >= MOST_WAITING;
        let key = (place, kind);
        if let Some(count) = waiting.counts.get_mut(&key) {
            *count += 1;
        } else if full {
            waiting.lost += 1;
        } else {
            waiting.published.entry(key.0.clone()).or_insert_with(|| Published::of(record));
            waiting.counts.insert(key, 1);
        }
    }

    /// Writes down what was counted since it was last done.
    pub(crate) async fn write(&self) -> Result<()> {
        let Waiting { counts, published, lost } = std::mem::take(&mut *lock(&self.waiting));
        if lost > 0 {
            tracing::warn!(messages = lost, "too many kinds of messages for reports of DMARC: not counted");
        }
        let mut rows = Vec::new();
        for (place, published) in &published {
            rows.push(self.table.row(wishes(place).as_bytes(), Some(&json(published)?)));
        }
        for ((place, kind), more) in counts {
            let hash = digest::digest(&digest::SHA256, &json(&kind)?);
            let name: String = hash.as_ref().iter().take(16).map(|octet| format!("{octet:02x}")).collect();
            let key = format!("{}{name}", kinds(&place));
            let before = self.table.get(key.as_bytes())?;
            let before: Option<Counted> = before.and_then(|value| serde_json::from_slice(&value).ok());
            if before.is_none() && !self.is_room(&place)? {
                continue;
            }
            let count = before.map_or(0, |before| before.count).saturating_add(more);
            rows.push(self.table.row(key.as_bytes(), Some(&json(&Counted { kind, count })?)));
        }
        if rows.is_empty() { Ok(()) } else { self.table.change(rows).await }
    }

    /// Whether a report has room for one more kind, which is taken.
    fn is_room(&self, place: &str) -> Result<bool> {
        let mut known = lock(&self.known);
        let count = match known.get_mut(place) {
            Some(count) => count,
            None => {
                let there = self.table.scan(kinds(place).as_bytes())?.len();
                known.entry(place.to_owned()).or_insert(there)
            }
        };
        *count += 1;
        Ok(*count <= MOST_KINDS)
    }

    /// What there is of days before this one, a day and a domain at a time.
    pub(super) fn before(&self, day: u64) -> Result<Vec<(u64, String)>> {
        let read = |key: &[u8]| {
            let (of, domain) = std::str::from_utf8(key).ok()?.strip_prefix("d/")?.split_once('/')?;
            Some((of.parse().ok()?, domain.to_owned()))
        };
        let found = self.table.scan(b"d/")?;
        Ok(found.iter().filter_map(|(key, _)| read(key)).filter(|(of, _)| *of < day).collect())
    }

    /// All of a day about a domain; `None` if there is nothing to tell.
    pub(super) fn collected(&self, day: u64, domain: &str) -> Result<Option<Collected>> {
        let place = place(day, domain);
        let Some(published) = self.table.get(wishes(&place).as_bytes())? else { return Ok(None) };
        let Ok(published) = serde_json::from_slice(&published) else { return Ok(None) };
        let (mut all, mut keys) = (Vec::new(), vec![wishes(&place).into_bytes()]);
        for (key, value) in self.table.scan(kinds(&place).as_bytes())? {
            all.extend(serde_json::from_slice::<Counted>(&value).ok());
            keys.push(key.to_vec());
        }
        Ok(Some(Collected { day, domain: domain.to_owned(), published, kinds: all, keys }))
    }

    /// Forgets what was reported.
    pub(super) async fn forget(&self, collected: &Collected) -> Result<()> {
        lock(&self.known).remove(&place(collected.day, &collected.domain));
        let rows = collected.keys.iter().map(|key| self.table.row(key, None)).collect();
        self.table.change(rows).await
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| StoreError::Invalid(error.to_string()))
}

impl Published {
    fn of(record: &Record) -> Self {
        Self {
            policy: record.policy.as_str().to_owned(),
            below: record.below.as_str().to_owned(),
            missing: record.missing.as_str().to_owned(),
            strict_dkim: record.strict_dkim,
            strict_spf: record.strict_spf,
            testing: record.testing,
            reports: record.reports.clone(),
        }
    }
}

impl Kind {
    fn new(source: String, envelope: String, findings: &Findings, done: Wish, vouched: bool) -> Self {
        let (dmarc, spf) = (&findings.dmarc, &findings.spf);
        let overruled = dmarc.result == DmarcResult::Fail && done != dmarc.wish;
        let reason = overruled.then(|| if vouched { "trusted_forwarder" } else { "local_policy" }.to_owned());
        let signatures = findings.dkim.iter().filter_map(|verified| {
            let signature = verified.signature.as_ref()?;
            let word = verified.outcome.words().0.to_owned();
            Some((signature.domain.clone(), signature.selector.clone(), word))
        });
        let scope = if spf.of_sender { "mfrom" } else { "helo" };
        Self {
            source,
            done: done.as_str().to_owned(),
            by_dkim: dmarc.author.by_dkim,
            by_spf: dmarc.author.by_spf,
            reason,
            author: dmarc.author.domain.clone(),
            envelope,
            dkim: signatures.take(MOST_SIGNATURES).collect(),
            spf: (spf.domain.clone(), scope.to_owned(), spf.result.as_str().to_owned()),
        }
    }
}
