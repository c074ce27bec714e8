//! MTA-STS policies of others: fetched by HTTPS, and kept in the store's database.

use mailwright::{
    https::{Https, HttpsError, HttpsLimits},
    mailstore::{
        StoreError, block_on,
        embedded::{Embedded, Table},
    },
    queue::{FetchError, FetchPolicy, KeepPolicies},
    relay_policy::sts::{KeptPolicy, PolicyId, StsPolicy},
};
use serde::{Deserialize, Serialize};

/// Fetches policies.
#[derive(Debug, Clone)]
pub(crate) struct WebPolicies {
    pub(crate) https: Https,
    /// 443 in the world.
    pub(crate) port: u16,
}

impl FetchPolicy for WebPolicies {
    async fn fetch(&self, domain: &str) -> Result<Vec<u8>, FetchError> {
        let port = if self.port == 443 { String::new() } else { format!(":{}", self.port) };
        let url = format!("https://mta-sts.{domain}{port}/.well-known/mta-sts.txt");
        match self.https.get(&url, &HttpsLimits::default()).await {
            // RFC 8461 §3.3: 200 and text/plain, or there is none.
            Ok(answer) if answer.status() != 200 => {
                Err(FetchError::Unreachable(format!("{url}: the server answers {}", answer.status())))
            }
            Ok(answer) if answer.content_type().as_deref() != Some("text/plain") => {
                Err(FetchError::Unreachable(format!("{url}: expected text/plain")))
            }
            Ok(answer) => Ok(answer.body().to_vec()),
            Err(error) => {
                let text = error.to_string();
                let connecting = matches!(error, HttpsError::Connect { .. });
                Err(match connecting && text.contains("certificate") {
                    true => FetchError::Certificate(text),
                    false => FetchError::Unreachable(text),
                })
            }
        }
    }
}

/// The policies that were fetched.
#[derive(Clone)]
pub(crate) struct KeptPolicies(Table);

#[derive(Serialize, Deserialize)]
struct Row {
    id: String,
    policy: String,
    fetched: u64,
}

impl KeptPolicies {
    pub(crate) fn open(database: &Embedded) -> Result<Self, StoreError> {
        database.table("mta-sts").map(Self)
    }
}

impl KeepPolicies for KeptPolicies {
    fn load(&self, domain: &str) -> Option<KeptPolicy> {
        let value = self.0.get(domain.as_bytes()).ok()??;
        let row: Row = serde_json::from_slice(&value).ok()?;
        let policy = StsPolicy::parse(row.policy.as_bytes()).ok()?;
        Some(KeptPolicy::new(PolicyId::new(&row.id)?, policy, row.fetched))
    }

    fn keep(&self, domain: &str, policy: &KeptPolicy) {
        let row =
            Row { id: policy.id.as_str().into(), policy: policy.policy.to_string(), fetched: policy.fetched };
        let (table, domain) = (self.0.clone(), domain.to_owned());
        tokio::task::spawn_blocking(move || {
            let row = serde_json::to_vec(&row).unwrap_or_default();
            if let Err(error) = block_on(table.put(domain.as_bytes(), &row)) {
                tracing::error!(%error, domain, "an MTA-STS policy cannot be kept");
            }
        });
    }

    fn forget(&self, domain: &str) {
        let (table, domain) = (self.0.clone(), domain.to_owned());
        tokio::task::spawn_blocking(move || {
            if let Err(error) = block_on(table.delete(domain.as_bytes())) {
                tracing::error!(%error, domain, "an MTA-STS policy cannot be forgotten");
            }
        });
    }
}
