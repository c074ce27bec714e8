//! Tokens: who may ask by HTTP, and whether that is for reading alone.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError, RwLock},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use mailwright::mailstore::{StoreError, block_on, embedded::Table};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::{
    admin::{Hidden, Reason, Response},
    queue::unix_time,
};

/// What tokens begin with, so that they are known for what they are where they should not be.
const PREFIX: &str = "mailwright_";
/// The longest name, in octets.
const LONGEST_NAME: usize = 100;

/// What can be asked about tokens.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "token", rename_all = "kebab-case")]
pub(crate) enum TokenRequest {
    Add { name: String, read_only: bool },
    List,
    Remove { name: String },
}

/// A token, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenEntry {
    pub(crate) name: String,
    /// Whether nothing can be changed with it.
    pub(crate) read_only: bool,
    /// In seconds since 1970.
    pub(crate) since: u64,
}

/// What is kept of a token. A hash that is slow on purpose would win nothing: tokens are not guessed, being random.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Row {
    /// SHA-256.
    hash: Vec<u8>,
    read_only: bool,
    since: u64,
}

/// All tokens, in memory and in the store's database.
pub(crate) struct Tokens {
    table: Table,
    rows: RwLock<BTreeMap<String, Row>>,
    changing: Mutex<()>,
}

impl Tokens {
    /// Reads all of them.
    pub(crate) fn open(table: Table) -> Result<Self, StoreError> {
        let mut rows = BTreeMap::new();
        for (name, value) in table.scan(b"")? {
            let name = String::from_utf8_lossy(&name).into_owned();
            match serde_json::from_slice(&value) {
                Ok(row) => drop(rows.insert(name, row)),
                Err(error) => tracing::error!(name, %error, "the token in the database cannot be understood"),
            }
        }
        Ok(Self { table, rows: RwLock::new(rows), changing: Mutex::default() })
    }

    /// Does what is asked. Blocks.
    pub(crate) fn execute(&self, request: TokenRequest) -> Response {
        let outcome = match request {
            TokenRequest::List => return Response::Tokens { tokens: self.list() },
            TokenRequest::Add { name, read_only } => self.add(&name, read_only),
            TokenRequest::Remove { name } => self.remove(&name),
        };
        outcome.unwrap_or_else(|error: StoreError| Response::Failed {
            message: format!("the tokens cannot be read or written: {error}"),
            reason: Reason::Unavailable,
        })
    }

    /// The name of a token, and whether it is for reading alone. How long that takes tells nothing of those that there are.
    pub(super) fn whose(&self, token: &str) -> Option<TokenEntry> {
        let presented = hash(token);
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        rows.iter()
            .fold(None, |found, row| if bool::from(row.1.hash.ct_eq(&presented)) { Some(row) } else { found })
            .map(|(name, row)| entry(name, row))
    }

    fn list(&self) -> Vec<TokenEntry> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        rows.iter().map(|(name, row)| entry(name, row)).collect()
    }

    fn add(&self, name: &str, read_only: bool) -> Result<Response, StoreError> {
        if name.is_empty() || name.len() > LONGEST_NAME || name.contains(char::is_control) {
            return Ok(Response::refused(format!("{name:?} is no name for a token: use a short word")));
        }
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.rows.read().unwrap_or_else(PoisonError::into_inner).contains_key(name) {
            let message = format!("there is a token {name} already; remove it first");
            return Ok(Response::Failed { message, reason: Reason::Exists });
        }
        let mut random = [0; 32];
        if let Err(error) = getrandom::fill(&mut random) {
            return Ok(Response::refused(format!("no randomness can be had: {error}")));
        }
        let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
        let row = Row { hash: hash(&token), read_only, since: unix_time() };
        let value = serde_json::to_vec(&row).map_err(|error| StoreError::Invalid(error.to_string()))?;
        block_on(self.table.put(name.as_bytes(), &value))?;
        self.rows.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), row);
        Ok(Response::Token { token: Hidden(token) })
    }

    fn remove(&self, name: &str) -> Result<Response, StoreError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        // What cannot be read can be removed.
        if self.table.get(name.as_bytes())?.is_none() {
            let message = format!("there is no token {name}; `mailwrightd http token list` shows all");
            return Ok(Response::Failed { message, reason: Reason::Missing });
        }
        block_on(self.table.delete(name.as_bytes()))?;
        self.rows.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        Ok(Response::Done)
    }
}

fn hash(token: &str) -> Vec<u8> {
    digest(&SHA256, token.as_bytes()).as_ref().to_vec()
}

fn entry(name: &str, row: &Row) -> TokenEntry {
    TokenEntry { name: name.to_owned(), read_only: row.read_only, since: row.since }
}
