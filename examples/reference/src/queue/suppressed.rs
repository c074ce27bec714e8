//! Addresses that nothing is sent to, since they refused for good: in memory, and in the store's database.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use mailwright::{
    mail_model::Address,
    mailstore::{StoreError, block_on, embedded::Table},
    queue::Suppressions,
    relay_policy::delivery::{Bounces, Suppression},
};
use serde::{Deserialize, Serialize};

use super::unix_time;
use crate::config::Config;

/// How many addresses are remembered: what comes on top is not, until others are old enough.
const MOST: usize = 100_000;

/// The list. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Suppressed(Arc<Inner>);

struct Inner {
    table: Table,
    rule: Suppression,
    rows: RwLock<HashMap<String, Bounces>>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    count: u32,
    last: u64,
}

/// An address that is on the list, or on its way there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SuppressedEntry {
    pub(crate) address: String,
    pub(crate) bounces: u32,
    /// In seconds since 1970.
    pub(crate) last: u64,
    /// Whether nothing is sent to it.
    pub(crate) suppressed: bool,
}

impl Suppressed {
    /// Reads the list.
    pub(crate) fn open(table: Table, config: &Config) -> Result<Self, StoreError> {
        let mut rule = Suppression::default();
        rule.bounces = config.queue.suppress_after;
        rule.period = config.queue.suppress_days.saturating_mul(86_400);
        let (now, mut rows) = (unix_time(), HashMap::new());
        for (key, value) in table.scan(b"")? {
            let row: Option<Row> = serde_json::from_slice(&value).ok();
            let Some(row) = row.filter(|row| rule.remembers(&Bounces::new(row.count, row.last), now)) else {
                block_on(table.delete(&key))?;
                continue;
            };
            rows.insert(String::from_utf8_lossy(&key).into_owned(), Bounces::new(row.count, row.last));
        }
        Ok(Self(Arc::new(Inner { table, rule, rows: RwLock::new(rows) })))
    }

    /// Everything that is remembered, sorted.
    pub(crate) fn list(&self) -> Vec<SuppressedEntry> {
        let (rows, now) = (self.0.rows.read().unwrap_or_else(PoisonError::into_inner), unix_time());
        let mut entries: Vec<_> = rows
            .iter()
            .map(|(address, bounces)| SuppressedEntry {
                address: address.clone(),
                bounces: bounces.count,
                last: bounces.last,
                suppressed: self.0.suppresses(bounces, now),
            })
            .collect();
        entries.sort_by(|one, other| one.address.cmp(&other.address));
        entries
    }

    /// Forgets an address; says whether it was there.
    pub(crate) fn remove(&self, address: &str) -> Result<bool, StoreError> {
        let key = address.to_lowercase();
        let was = self.0.rows.write().unwrap_or_else(PoisonError::into_inner).remove(&key).is_some();
        block_on(self.0.table.delete(key.as_bytes())).map(|_| was)
    }
}

impl Inner {
    fn suppresses(&self, bounces: &Bounces, now: u64) -> bool {
        self.rule.bounces > 0 && self.rule.suppresses(bounces, now)
    }
}

impl Suppressions for Suppressed {
    fn suppressed(&self, address: &Address) -> Option<String> {
        let rows = self.0.rows.read().unwrap_or_else(PoisonError::into_inner);
        let bounces = rows.get(&address.as_str().to_lowercase())?;
        self.0.suppresses(bounces, unix_time()).then(|| {
            let count = bounces.count;
            format!("Nothing was sent: the address refused for good {count} times (queue suppress list)")
        })
    }

    fn refused(&self, address: &Address) {
        let (key, now) = (address.as_str().to_lowercase(), unix_time());
        // RFC 5321 §4.5.3.1: an address fits into a key, unless somebody made it longer.
        if self.0.rule.bounces == 0 || key.len() > Table::MAX_OCTETS {
            return;
        }
        let bounces = {
            let mut rows = self.0.rows.write().unwrap_or_else(PoisonError::into_inner);
            if rows.len() >= MOST && !rows.contains_key(&key) {
                rows.retain(|_, bounces| self.0.rule.remembers(bounces, now));
                if rows.len() >= MOST {
                    return;
                }
            }
            let bounces = rows.get(&key).copied().unwrap_or_default().and_one_more(now);
            rows.insert(key.clone(), bounces);
            bounces
        };
        let table = self.0.table.clone();
        tokio::task::spawn_blocking(move || {
            let row =
                serde_json::to_vec(&Row { count: bounces.count, last: bounces.last }).unwrap_or_default();
            if let Err(error) = block_on(table.put(key.as_bytes(), &row)) {
                tracing::error!(%error, "a bounce cannot be written down");
            }
        });
    }

    fn taken(&self, address: &Address) {
        let key = address.as_str().to_lowercase();
        let known = self.0.rows.read().unwrap_or_else(PoisonError::into_inner).contains_key(&key);
        if known {
            let list = self.clone();
            tokio::task::spawn_blocking(move || {
                if let Err(error) = list.remove(&key) {
                    tracing::error!(%error, "what took mail again cannot be written down");
                }
            });
        }
    }
}
