//! Logging in to the accounts, and finding recipients among them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use mailwright::{
    mail_model::{Address, ForwardPath},
    mailstore::{
        User,
        accounts::{Accounts, Credentials, LoginError, LoginRequest, ScramHash, ScramKeys, StoredKeys},
    },
    relay_policy::{
        Session,
        directory::{BlindCopy, Expansion},
    },
    smtp::Addressing,
    smtp_proto::Reply,
};
use ring::hmac;
use tokio::sync::Semaphore;

use super::{Account, Directory};
use crate::password::StoredPassword;

/// How many passwords are hashed at once: hashing must not take every core from those who are logged in.
const HASHING: usize = 2;
/// How many logins may wait for that. More are told to try again.
const WAITING: usize = 64;
/// How many passwords are remembered as right.
const REMEMBERED: usize = 10_000;

/// The accounts as the services see them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Logins(Arc<Inner>);

struct Inner {
    directory: Arc<Directory>,
    hashing: Semaphore,
    waiting: Semaphore,
    /// What an unknown user's password is compared with, so that it takes as long as a known one's.
    nobody: Arc<StoredPassword>,
    /// For each account the HMAC of a password that was right, with the stored password it was right for: clients
    /// log in again and again, and a slow hash each time would buy nothing.
    remembered: Mutex<HashMap<String, (StoredPassword, hmac::Tag)>>,
    key: hmac::Key,
}

impl Logins {
    /// Over these accounts. Slow, for it hashes a password.
    pub(crate) fn new(directory: Arc<Directory>) -> Result<Self, super::DirectoryError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| super::DirectoryError::Randomness(error.to_string()))?;
        Ok(Self(Arc::new(Inner {
            directory,
            hashing: Semaphore::new(HASHING),
            waiting: Semaphore::new(WAITING),
            nobody: Arc::new(StoredPassword::new(&secret)?),
            remembered: Mutex::default(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
        })))
    }

    async fn verify(&self, account: Option<&Account>, password: &[u8]) -> Result<bool, LoginError> {
        let inner = &self.0;
        if let Some(account) = account
            && self.remembers(account, password)
        {
            return Ok(true);
        }
        let _waiting = inner.waiting.try_acquire().map_err(|_| LoginError::Unavailable)?;
        let _hashing = inner.hashing.acquire().await.map_err(|_| LoginError::Unavailable)?;
        let stored =
            account.map_or_else(|| Arc::clone(&inner.nobody), |account| Arc::new(account.password.clone()));
        let copy = password.to_vec();
        let right = tokio::task::spawn_blocking(move || stored.verify(&copy))
            .await
            .map_err(|_| LoginError::Unavailable)?;
        match account {
            Some(account) if right => {
                self.remember(account, password);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn remembers(&self, account: &Account, password: &[u8]) -> bool {
        let remembered = self.0.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.get(account.user.as_str()).is_some_and(|(stored, tag)| {
            *stored == account.password && hmac::verify(&self.0.key, password, tag.as_ref()).is_ok()
        })
    }

    fn remember(&self, account: &Account, password: &[u8]) {
        let tag = hmac::sign(&self.0.key, password);
        let mut remembered = self.0.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(account.user.as_str().to_owned(), (account.password.clone(), tag));
    }

    /// The account that logs in under exactly this name: never an alias, never a bare user name.
    fn account(&self, name: &str) -> Option<Arc<Account>> {
        self.0.directory.account(name).ok()
    }
}

impl Accounts for Logins {
    async fn login(&self, request: &LoginRequest) -> Result<User, LoginError> {
        let account = self.account(&request.user);
        let proved = match &request.credentials {
            Credentials::Password(password) => self.verify(account.as_deref(), password).await?,
            Credentials::Proven => account.is_some(),
            _ => false,
        };
        let Some(account) = account.filter(|_| proved) else { return Err(LoginError::Credentials) };
        match &request.authorization {
            // RFC 4616 §2: to act as somebody else needs a permission that nobody has here.
            Some(other) if self.account(other).is_none_or(|other| other.user != account.user) => {
                Err(LoginError::NotAuthorized)
            }
            _ => Ok(account.user.clone()),
        }
    }

    /// Offered once every account has keys: a client that chooses SCRAM for an account without them could not log in
    /// though its password is right.
    fn scram(&self) -> Option<&impl ScramKeys> {
        self.0.directory.all_have_scram().then_some(self)
    }
}

impl ScramKeys for Logins {
    async fn keys(&self, user: &str, hash: ScramHash) -> Result<Option<StoredKeys>, LoginError> {
        if hash != ScramHash::Sha256 {
            return Ok(None);
        }
        let row = self.account(user).and_then(|account| account.scram.clone());
        Ok(row.map(|row| StoredKeys::new(row.salt, row.iterations, row.stored_key, row.server_key)))
    }
}

impl Addressing for Logins {
    async fn expand(&self, session: &Session, recipient: &ForwardPath) -> Result<Expansion, Reply> {
        let directory = &self.0.directory;
        let address = recipient.address().map_or("postmaster", Address::as_str);
        directory.expand(recipient, directory.trusts(session)).map_err(|refusal| refusal.reply(address))
    }

    fn copies(&self, sender: Option<&Address>, recipients: &[Address]) -> Vec<BlindCopy> {
        self.0.directory.current().copies(sender, recipients)
    }
}
