//! Logging in to the accounts, and finding recipients among them.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use mailwright::{
    DovecotAccounts,
    mail_model::{Address, ForwardPath},
    mailstore::{
        User,
        accounts::{
            Accounts, Credentials, LoginError, LoginRequest, ScramHash, ScramKeys, SharedPasswords,
            StoredKeys,
        },
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
/// The same for those who have logged in from where they are before: a flood of strangers does not stand in their way.
const HASHING_FAMILIAR: usize = 1;
/// How many logins may wait for that: in all, and from one network. More are told to try again. All wait some ten seconds at
/// most.
const WAITING: usize = 512;
const WAITING_FROM_ONE: u32 = 16;
/// How many passwords are remembered as right.
const REMEMBERED: usize = 10_000;

/// The accounts as the services see them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Logins(Arc<Inner>);

struct Inner {
    directory: Arc<Directory>,
    strangers: Lane,
    familiar: Lane,
    /// Who checks the passwords, if not we.
    dovecot: Option<DovecotAccounts>,
    /// What an unknown user's password is compared with, so that it takes as long as a known one's.
    nobody: Arc<StoredPassword>,
    /// For each account the HMAC of a password that was right, with the stored password it was right for: clients
    /// log in again and again, and a slow hash each time would buy nothing.
    remembered: Mutex<HashMap<String, (StoredPassword, hmac::Tag)>>,
    key: hmac::Key,
    /// How many passwords were hashed, the made-up one of unknown users included.
    hashed: AtomicU64,
}

/// Some who hash passwords and some who wait for it.
struct Lane {
    hashing: Semaphore,
    waiting: Mutex<HashMap<Option<IpAddr>, u32>>,
}

impl Lane {
    fn new(hashing: usize) -> Self {
        Self { hashing: Semaphore::new(hashing), waiting: Mutex::default() }
    }

    /// A place in the line, for as long as the guard lives.
    fn enter(&self, from: Option<IpAddr>) -> Result<Place<'_>, LoginError> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let total: u32 = waiting.values().sum();
        let count = waiting.entry(from).or_insert(0);
        if total as usize >= WAITING || *count >= WAITING_FROM_ONE {
            if *count == 0 {
                waiting.remove(&from);
            }
            return Err(LoginError::Unavailable);
        }
        *count += 1;
        Ok(Place { lane: self, from })
    }
}

struct Place<'a> {
    lane: &'a Lane,
    from: Option<IpAddr>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.lane.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = waiting.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.from);
            }
        }
    }
}

/// The unit by which addresses are counted.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Logins {
    /// Over these accounts. Slow, for it hashes a password.
    pub(crate) fn new(
        directory: Arc<Directory>,
        dovecot: Option<DovecotAccounts>,
    ) -> Result<Self, super::DirectoryError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| super::DirectoryError::Randomness(error.to_string()))?;
        Ok(Self(Arc::new(Inner {
            directory,
            strangers: Lane::new(HASHING),
            familiar: Lane::new(HASHING_FAMILIAR),
            dovecot,
            nobody: Arc::new(StoredPassword::new(&secret)?),
            remembered: Mutex::default(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            hashed: AtomicU64::new(0),
        })))
    }

    async fn verify(
        &self,
        account: Option<&Account>,
        password: &[u8],
        request: &LoginRequest,
    ) -> Result<bool, LoginError> {
        let inner = &self.0;
        if inner.dovecot.is_none()
            && let Some(account) = account
            && self.remembers(account, password)
        {
            return Ok(true);
        }
        if let Some(dovecot) = &inner.dovecot {
            let mut request = request.clone();
            request.authorization = None;
            // Whom it does not know and whom we do not know are asked about alike.
            let found = match dovecot.login(&request).await {
                Err(LoginError::Credentials) => return Ok(false),
                found => found?,
            };
            return Ok(account.is_some_and(|account| account.user == found));
        }
        let lane = if request.familiar { &inner.familiar } else { &inner.strangers };
        let _place = lane.enter(request.peer.map(network))?;
        let _hashing = lane.hashing.acquire().await.map_err(|_| LoginError::Unavailable)?;
        inner.hashed.fetch_add(1, Ordering::Relaxed);
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

    /// The user, with the key to their mail if that is encrypted and the password opens it.
    async fn opened(&self, account: &Account, credentials: &Credentials) -> User {
        let (inner, user) = (&self.0, account.user.clone());
        let Credentials::Password(password) = credentials else { return user };
        if matches!(inner.directory.has_keys(&user), Ok(false)) {
            return user;
        }
        let (directory, password, asked) = (Arc::clone(&inner.directory), password.clone(), user.clone());
        let _hashing = inner.familiar.hashing.acquire().await;
        let unlock = move || directory.unlock(&asked, &password);
        match tokio::task::spawn_blocking(unlock).await.unwrap_or_else(|_| Ok(user.clone())) {
            Ok(user) => user,
            Err(error) => {
                // The password was changed somewhere else. Mail can be sent all the same, and it is said when some is read.
                tracing::warn!(user = %account.user, %error, "the password does not open the mail of the account");
                user
            }
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
            Credentials::Password(password) => self.verify(account.as_deref(), password, request).await?,
            Credentials::Proven => account.is_some(),
            _ => false,
        };
        let Some(account) = account.filter(|_| proved) else { return Err(LoginError::Credentials) };
        match &request.authorization {
            // RFC 4616 §2: to act as somebody else needs a permission that nobody has here.
            Some(other) if self.account(other).is_none_or(|other| other.user != account.user) => {
                Err(LoginError::NotAuthorized)
            }
            _ => Ok(self.opened(&account, &request.credentials).await),
        }
    }

    /// Offered once every account has keys: a client that chooses SCRAM for an account without them could not log in
    /// though its password is right.
    fn scram(&self) -> Option<&impl ScramKeys> {
        (self.0.dovecot.is_none() && self.0.directory.all_have_scram()).then_some(self)
    }

    /// Likewise, once every account has its password in clear.
    fn shared(&self) -> Option<&impl SharedPasswords> {
        (self.0.dovecot.is_none() && self.0.directory.all_in_clear()).then_some(self)
    }
}

impl SharedPasswords for Logins {
    async fn password(&self, user: &str) -> Result<Option<Vec<u8>>, LoginError> {
        let account = self.account(user);
        Ok(account.and_then(|account| account.password.plain().map(|password| password.as_bytes().to_vec())))
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

    fn forwarded_as(&self, sender: &Address, forwarder: &str) -> Option<Address> {
        self.0.directory.forwarded_as(sender, forwarder)
    }
}

#[cfg(test)]
mod tests {
    use mailwright::mailstore::{
        accounts::Service,
        embedded::{Embedded, Options},
    };

    use super::*;
    use crate::config::Config;

    fn logins(folder: &std::path::Path) -> Logins {
        let config = Config { domains: vec!["a.test".into()], ..Config::default() };
        let store = Embedded::open(folder.join("store"), Options::default()).unwrap();
        let table = |name| store.table(name).unwrap();
        let keys = crate::dkim::Keys::open(table("k")).unwrap();
        let directory =
            Directory::open(table("a"), table("e"), table("s"), table("r"), keys, &config).unwrap();
        directory.add("alice@a.test", "pencil", true).unwrap();
        Logins::new(Arc::new(directory), None).unwrap()
    }

    fn request(user: &str, password: &str, from: &str, familiar: bool) -> LoginRequest {
        let mut request = LoginRequest::new(user, Credentials::password(password.as_bytes()), Service::Imap);
        request.peer = Some(from.parse().unwrap());
        request.familiar = familiar;
        request
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_unknown_user_costs_as_much_work_as_a_wrong_password_and_is_told_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let logins = logins(folder.path());
        let mut counts = Vec::new();
        for user in ["alice@a.test", "alice", "al@a.test", "nobody@a.test", "nobody@b.test", "no address", ""]
        {
            let before = logins.0.hashed.load(Ordering::Relaxed);
            let refused = logins.login(&request(user, "pen", "192.0.2.1", false)).await;
            assert_eq!(refused, Err(LoginError::Credentials), "{user}");
            counts.push(logins.0.hashed.load(Ordering::Relaxed) - before);
        }
        assert_eq!(counts, [1; 7]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_flood_of_strangers_keeps_out_strangers_alone() {
        let folder = tempfile::tempdir().unwrap();
        let logins = logins(folder.path());
        // As many as may wait from one network, and a little more.
        let flood: Vec<_> = (0..WAITING_FROM_ONE * 2)
            .map(|number| {
                let logins = logins.clone();
                tokio::spawn(async move {
                    logins.login(&request(&format!("{number}@a.test"), "x", "192.0.2.1", false)).await
                })
            })
            .collect();
        tokio::task::yield_now().await;
        // Not remembered, so it is hashed: in its own lane, and from another network even among strangers.
        for (from, familiar) in [("192.0.2.1", true), ("198.51.100.1", false)] {
            logins.0.remembered.lock().unwrap().clear();
            let opened = logins.login(&request("alice@a.test", "pencil", from, familiar)).await;
            assert_eq!(opened.as_ref().map(User::as_str), Ok("alice@a.test"), "{from}");
        }
        for outcome in flood {
            assert!(matches!(outcome.await.unwrap(), Err(LoginError::Credentials | LoginError::Unavailable)));
        }
        assert!(logins.0.strangers.waiting.lock().unwrap().is_empty());
    }
}
