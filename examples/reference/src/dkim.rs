//! The keys that sign mail of our domains: made here, kept in the store's database, used by the running server at once.

mod command;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use mailwright::{
    mail_model::Domain,
    mailstore::{StoreError, block_on, embedded::Table},
    relay_policy::authentication::dkim::{Signer, SigningKey},
};
use rsa::{RsaPrivateKey, pkcs8::EncodePrivateKey};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub(crate) use command::run;

/// RFC 8301 §3.2: 2,048 bits; more do not fit into one string of a record.
const BITS: usize = 2048;

/// All keys.
pub(crate) struct Keys {
    table: Table,
    /// By domain.
    signers: RwLock<HashMap<String, Vec<Arc<Signer>>>>,
    changing: Mutex<()>,
}

/// A key in the database.
#[derive(Serialize, Deserialize)]
struct Row {
    /// PKCS #8, base64.
    key: String,
}

/// A key, as it is listed: nothing secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyEntry {
    pub(crate) domain: String,
    pub(crate) selector: String,
    pub(crate) algorithm: String,
    /// What must stand in the domain name system.
    pub(crate) record: String,
}

/// A request about keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "dkim", rename_all = "kebab-case")]
pub(crate) enum DkimRequest {
    Add { domain: String, selector: String, ed25519: bool },
    Remove { domain: String, selector: String },
    List,
}

/// Why a key cannot be made or found.
#[derive(Debug, Error)]
pub(crate) enum KeyError {
    #[error("{0:?} is not a domain name")]
    Domain(String),
    #[error("{0:?} is no selector: letters, digits and hyphens, with dots between them")]
    Selector(String),
    #[error("{domain} has a key {selector} already; choose another name with --selector")]
    Exists { domain: String, selector: String },
    #[error("{domain} has no key {selector}; `mailwrightd dkim list` shows all")]
    Unknown { domain: String, selector: String },
    #[error("the key cannot be made: {0}")]
    Make(String),
    #[error("the key {0} in the database cannot be used")]
    Corrupt(String),
    #[error("the keys cannot be read or written: {0}")]
    Store(#[from] StoreError),
}

impl Keys {
    /// Reads all of them.
    pub(crate) fn open(table: Table) -> Result<Self, KeyError> {
        let mut signers: HashMap<String, Vec<Arc<Signer>>> = HashMap::new();
        for (place, value) in table.scan(b"")? {
            let place = String::from_utf8_lossy(&place).into_owned();
            let signer = signer(&place, &value).ok_or(KeyError::Corrupt(place))?;
            signers.entry(signer.domain.clone()).or_default().push(Arc::new(signer));
        }
        Ok(Self { table, signers: RwLock::new(signers), changing: Mutex::default() })
    }

    /// The keys of a domain.
    pub(crate) fn of(&self, domain: &str) -> Vec<Arc<Signer>> {
        self.signers.read().unwrap_or_else(PoisonError::into_inner).get(domain).cloned().unwrap_or_default()
    }

    /// Does what a command asks.
    pub(crate) fn execute(&self, request: &DkimRequest) -> Result<Vec<KeyEntry>, KeyError> {
        match request {
            DkimRequest::Add { domain, selector, ed25519 } => {
                self.add(domain, selector, *ed25519).map(|entry| vec![entry])
            }
            DkimRequest::Remove { domain, selector } => self.remove(domain, selector).map(|()| Vec::new()),
            DkimRequest::List => {
                let signers = self.signers.read().unwrap_or_else(PoisonError::into_inner);
                let mut all: Vec<KeyEntry> = signers.values().flatten().map(|signer| entry(signer)).collect();
                all.sort_by(|one, other| (&one.domain, &one.selector).cmp(&(&other.domain, &other.selector)));
                Ok(all)
            }
        }
    }

    fn add(&self, domain: &str, selector: &str, ed25519: bool) -> Result<KeyEntry, KeyError> {
        let (domain, selector) = (domain_key(domain)?, selector_key(selector)?);
        let octets = make(ed25519)?;
        let place = format!("{domain}/{selector}");
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.of(&domain).iter().any(|signer| signer.selector == selector) {
            return Err(KeyError::Exists { domain, selector });
        }
        let row = serde_json::to_vec(&Row { key: STANDARD.encode(octets) });
        let value = row.map_err(|error| KeyError::Make(error.to_string()))?;
        let signer =
            Arc::new(signer(&place, &value).ok_or_else(|| KeyError::Make("it cannot be read back".into()))?);
        block_on(self.table.put(place.as_bytes(), &value))?;
        let entry = entry(&signer);
        self.signers.write().unwrap_or_else(PoisonError::into_inner).entry(domain).or_default().push(signer);
        Ok(entry)
    }

    fn remove(&self, domain: &str, selector: &str) -> Result<(), KeyError> {
        let (domain, selector) = (domain_key(domain)?, selector_key(selector)?);
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.of(&domain).iter().any(|signer| signer.selector == selector) {
            return Err(KeyError::Unknown { domain, selector });
        }
        block_on(self.table.delete(format!("{domain}/{selector}").as_bytes()))?;
        let mut signers = self.signers.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(of) = signers.get_mut(&domain) {
            of.retain(|signer| signer.selector != selector);
        }
        Ok(())
    }
}

fn signer(place: &str, value: &[u8]) -> Option<Signer> {
    let (domain, selector) = place.split_once('/')?;
    let row: Row = serde_json::from_slice(value).ok()?;
    let key = SigningKey::from_pkcs8(&STANDARD.decode(row.key).ok()?).ok()?;
    Some(Signer::new(domain, selector, key))
}

fn entry(signer: &Signer) -> KeyEntry {
    KeyEntry {
        domain: signer.domain.clone(),
        selector: signer.selector.clone(),
        algorithm: signer.key.algorithm().as_str().to_owned(),
        record: signer.key.record(),
    }
}

/// A new private key in PKCS #8.
fn make(ed25519: bool) -> Result<Vec<u8>, KeyError> {
    let failed = |error: &dyn std::fmt::Display| KeyError::Make(error.to_string());
    if ed25519 {
        let random = ring::rand::SystemRandom::new();
        let made =
            ring::signature::Ed25519KeyPair::generate_pkcs8(&random).map_err(|error| failed(&error))?;
        return Ok(made.as_ref().to_vec());
    }
    let made = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, BITS).map_err(|error| failed(&error))?;
    Ok(made.to_pkcs8_der().map_err(|error| failed(&error))?.as_bytes().to_vec())
}

fn domain_key(text: &str) -> Result<String, KeyError> {
    text.parse::<Domain>()
        .map(|domain| domain.key().to_owned())
        .map_err(|_| KeyError::Domain(text.to_owned()))
}

fn selector_key(text: &str) -> Result<String, KeyError> {
    let fits = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-')
    };
    if text.len() <= 128 && text.split('.').all(fits) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(KeyError::Selector(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use mailwright::mailstore::embedded::{Embedded, Options};

    use super::*;

    #[test]
    fn keys_are_kept_and_can_be_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path().join("store"), Options::default()).unwrap();
        let keys = Keys::open(store.table("dkim").unwrap()).unwrap();
        let rsa = keys.add("Example.org", "S1", false).unwrap();
        assert_eq!((&*rsa.domain, &*rsa.selector, &*rsa.algorithm), ("example.org", "s1", "rsa-sha256"));
        // RFC 6376 §3.6.2.2: what others read of it, in one string or several.
        assert!(rsa.record.starts_with("v=DKIM1; k=rsa; p=MIIBIjAN") && rsa.record.len() > 400);
        let edwards = keys.add("example.org", "s2", true).unwrap();
        assert!(edwards.record.starts_with("v=DKIM1; k=ed25519; p="));
        assert!(matches!(keys.add("example.org", "s2", true), Err(KeyError::Exists { .. })));
        assert!(matches!(keys.add("not a domain", "s2", true), Err(KeyError::Domain(_))));
        assert!(matches!(keys.add("example.org", "a_b", true), Err(KeyError::Selector(_))));
        let again = Keys::open(store.table("dkim").unwrap()).unwrap();
        assert_eq!(again.execute(&DkimRequest::List).unwrap(), [rsa, edwards]);
        again.remove("EXAMPLE.org", "s1").unwrap();
        assert!(matches!(again.remove("example.org", "s1"), Err(KeyError::Unknown { .. })));
        assert_eq!(again.of("example.org").len(), 1);
        assert!(again.of("elsewhere.example").is_empty());
    }
}
