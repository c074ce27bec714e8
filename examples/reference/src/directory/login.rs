//! Logging in to the accounts, and finding recipients among them.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use mailwright::{
    CertificateNames,
    mail_model::{Address, ForwardPath},
    mailstore::{
        User,
        accounts::{
            Accounts, BearerTokens, Certificates, Credentials, LoginError, LoginRequest, ScramHash,
            ScramKeys, SharedPasswords, StoredKeys,
        },
    },
    relay_policy::{
        Session,
        directory::{BlindCopy, DomainMode, Entry, Expansion},
    },
    smtp::Addressing,
    smtp_proto::Reply,
};
use ring::hmac;

use super::{
    Access, Account, Directory, KeyPair,
    backends::{Backends, CertificateName, Checker, Renewed},
    lane::{Lane, TooMany},
};
use crate::{config::Config, password::StoredPassword};

/// How many passwords are hashed at once: hashing must not take every core from those who are logged in.
const HASHING: usize = 2;
/// The same for those who have logged in from where they are before: a flood of strangers does not stand in their way.
const HASHING_FAMILIAR: usize = 1;
/// How many tokens are asked about at once: as many as [`mailwright::TokenIntrospection`] asks about.
const PRESENTING: usize = 32;
/// How many passwords are remembered as right.
const REMEMBERED: usize = 10_000;

/// The accounts as the services see them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Logins(Arc<Inner>);

struct Inner {
    directory: Arc<Directory>,
    strangers: Lane,
    familiar: Lane,
    /// The same for passwords and tokens that somebody else is asked about: who floods them keeps nobody else from them.
    asking: (Lane, Lane),
    presenting: Lane,
    /// Who else says who somebody is.
    backends: Backends,
    /// What an unknown user's password is compared with as long as there is no account.
    nobody: Arc<StoredPassword>,
    /// For each account the HMAC of a password that was right, with the stored password it was right for: clients
    /// log in again and again, and a slow hash each time would buy nothing.
    remembered: Mutex<HashMap<String, (StoredPassword, hmac::Tag)>>,
    key: hmac::Key,
    /// How many passwords were hashed, the made-up one of unknown users included.
    hashed: AtomicU64,
}

impl Logins {
    /// Over these accounts. Slow, for it hashes a password.
    pub(crate) fn new(directory: Arc<Directory>, backends: Backends) -> Result<Self, super::DirectoryError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| super::DirectoryError::Randomness(error.to_string()))?;
        let (strangers, familiar) = backends.checker.as_ref().map_or((1, 1), Checker::at_once);
        Ok(Self(Arc::new(Inner {
            asking: (Lane::new(strangers), Lane::new(familiar)),
            presenting: Lane::new(PRESENTING),
            directory,
            strangers: Lane::new(HASHING),
            familiar: Lane::new(HASHING_FAMILIAR),
            backends,
            nobody: Arc::new(StoredPassword::new(&secret)?),
            remembered: Mutex::default(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            hashed: AtomicU64::new(0),
        })))
    }

    /// Reads the files again by which others are asked. Nothing is changed.
    pub(crate) fn renewed(&self, config: &Config) -> Result<Renewed, String> {
        self.0.backends.renewed(config)
    }

    /// Asks by these from here on.
    pub(crate) fn renew(&self, renewed: Renewed) {
        self.0.backends.renew(renewed);
    }

    async fn verify(
        &self,
        account: Option<&Arc<Account>>,
        password: &[u8],
        request: &LoginRequest,
    ) -> Result<bool, LoginError> {
        let inner = &self.0;
        if let Some(checker) = &inner.backends.checker {
            let (strangers, familiar) = &inner.asking;
            let lane = if request.familiar { familiar } else { strangers };
            let _turn = lane.enter(request.peer).await.map_err(|TooMany| LoginError::Unavailable)?;
            return checker.is_right(account, request).await;
        }
        if let Some(account) = account
            && self.remembers(account, password)
        {
            return Ok(true);
        }
        let lane = if request.familiar { &inner.familiar } else { &inner.strangers };
        let _turn = lane.enter(request.peer).await.map_err(|TooMany| LoginError::Unavailable)?;
        inner.hashed.fetch_add(1, Ordering::Relaxed);
        let stored = self.compared_with(account, &request.user);
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

    /// What a password is compared with. That of an unknown user is compared with some account's: it takes as long as those of the
    /// accounts do, whatever they are hashed with, and for the same name always as long as before.
    fn compared_with(&self, account: Option<&Arc<Account>>, user: &str) -> Arc<StoredPassword> {
        if let Some(account) = account {
            return Arc::new(account.password.clone());
        }
        let tag = hmac::sign(&self.0.key, user.to_lowercase().as_bytes());
        let number = tag.as_ref().first_chunk().map_or(0, |octets| u64::from_be_bytes(*octets));
        self.0.directory.some_password(number).map_or_else(|| Arc::clone(&self.0.nobody), Arc::new)
    }

    /// The user, with the key to their mail if that is encrypted and the password opens it.
    async fn opened(&self, account: &Account, request: &LoginRequest) -> Result<User, LoginError> {
        let (inner, user) = (&self.0, account.user.clone());
        let Credentials::Password(password) = &request.credentials else { return Ok(user) };
        if matches!(inner.directory.has_keys(&user), Ok(false)) {
            return Ok(user);
        }
        let (directory, password, asked) = (Arc::clone(&inner.directory), password.clone(), user.clone());
        // Their password is right, so they come before those who may be guessing.
        let _turn = inner.familiar.enter(request.peer).await.map_err(|TooMany| LoginError::Unavailable)?;
        let unlock = move || directory.unlock(&asked, &password);
        let opened = tokio::task::spawn_blocking(unlock).await.unwrap_or_else(|_| Ok(user.clone()));
        Ok(match opened {
            Ok(user) => user,
            Err(error) => {
                // The password was changed somewhere else. Mail can be sent all the same, and it is said when some is read.
                tracing::warn!(user = %account.user, %error, "the password does not open the mail of the account");
                user
            }
        })
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
            Credentials::Password(password) => self.verify(account.as_ref(), password, request).await?,
            Credentials::Proven => account.is_some(),
            _ => false,
        };
        let Some(account) = account.filter(|_| proved) else { return Err(LoginError::Credentials) };
        // Who asks whether there is such an account is no client that comes from somewhere.
        let asked = request.peer.is_none() && matches!(request.credentials, Credentials::Proven);
        let lets_in = |login: &Access| if asked { !login.nologin } else { login.lets_in(request.peer) };
        if !account.mail.login.as_ref().is_none_or(lets_in) {
            // It is not told whether the password was right.
            tracing::warn!(user = %account.user, "the account may not be logged in to, or not from there");
            return Err(LoginError::Credentials);
        }
        match &request.authorization {
            // RFC 4616 §2: to act as somebody else needs a permission that nobody has here.
            Some(other) if self.account(other).is_none_or(|other| other.user != account.user) => {
                Err(LoginError::NotAuthorized)
            }
            _ => self.opened(&account, request).await,
        }
    }

    /// Offered once every account has keys, unless it was chosen otherwise: a client that chooses SCRAM for an account without them
    /// cannot log in though its password is right, and most do not try anything else then.
    fn scram(&self) -> Option<&impl ScramKeys> {
        let Backends { checker, scram, .. } = &self.0.backends;
        let any = [ScramHash::Sha256, ScramHash::Sha512, ScramHash::Sha1];
        let offered = || any.into_iter().any(|hash| self.0.directory.have_scram(*scram, hash));
        (checker.is_none() && offered()).then_some(self)
    }

    /// Likewise, once every account has its password in clear.
    fn shared(&self) -> Option<&impl SharedPasswords> {
        (self.0.backends.checker.is_none() && self.0.directory.all_in_clear()).then_some(self)
    }

    /// Whom else a token names, this table must have too.
    fn bearer(&self) -> Option<&impl BearerTokens> {
        self.0.backends.tokens().is_some().then_some(self)
    }

    fn certificates(&self) -> Option<&impl Certificates> {
        self.0.backends.certificates.is_some().then_some(self)
    }

    /// Offered as long as there is the account.
    fn guest(&self) -> Option<String> {
        let account = self.account(self.0.backends.guest.as_ref()?)?;
        Some(account.user.as_str().to_owned())
    }
}

impl BearerTokens for Logins {
    async fn holder(&self, token: &[u8], user: Option<&str>) -> Result<String, LoginError> {
        self.holder_from(token, user, None).await
    }

    async fn holder_from(
        &self,
        token: &[u8],
        user: Option<&str>,
        from: Option<IpAddr>,
    ) -> Result<String, LoginError> {
        let tokens = self.0.backends.tokens().ok_or(LoginError::Unavailable)?;
        let _turn = self.0.presenting.enter(from).await.map_err(|TooMany| LoginError::Unavailable)?;
        tokens.holder(token, user).await
    }
}

impl Certificates for Logins {
    async fn holder(&self, chain: &[Vec<u8>]) -> Result<String, LoginError> {
        let own = chain.first().ok_or(LoginError::Credentials)?;
        let names = CertificateNames::read(own).map_err(|error| {
            tracing::warn!(%error, "a client's certificate cannot be read");
            LoginError::Credentials
        })?;
        let by_common_name = self.0.backends.certificates == Some(CertificateName::CommonName);
        let common = names.common_name().filter(|_| by_common_name);
        let named: Vec<&str> = names.mailboxes().chain(common).collect();
        // Of several the first that is an account's; if none is, what is refused is told by its name.
        let found = named.iter().find(|name| self.account(name).is_some());
        found.into_iter().chain(&named).next().map(|name| (*name).to_owned()).ok_or(LoginError::Credentials)
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
        let account = self.account(user);
        let row = account.as_ref().and_then(|account| account.scram.as_ref());
        Ok(row.and_then(|row| {
            let KeyPair { stored_key, server_key } = row.pair(hash)?.clone();
            Some(StoredKeys::new(row.salt.clone(), row.iterations, stored_key, server_key))
        }))
    }

    /// Of each hash as of all: [`scram`](Accounts::scram).
    fn has(&self, hash: ScramHash) -> bool {
        self.0.directory.have_scram(self.0.backends.scram, hash)
    }
}

impl Addressing for Logins {
    async fn expand(&self, session: &Session, recipient: &ForwardPath) -> Result<Expansion, Reply> {
        let directory = &self.0.directory;
        let address = recipient.address().map_or("postmaster", Address::as_str);
        directory.expand(recipient, directory.trusts(session)).map_err(|refusal| refusal.reply(address))
    }

    /// Others do not say when they gave a name to somebody else, and of accounts from elsewhere or an earlier version nobody has noted it.
    fn knows_owners(&self) -> bool {
        let model = self.0.directory.current();
        let dated = |entry: &Entry| !matches!(entry, Entry::Account(account) if account.since.is_none());
        self.0.backends.checker.is_none() && model.entries().all(|(_, entry)| dated(entry))
    }

    fn owns(&self, account: &str, address: &Address) -> Option<bool> {
        Some(self.0.directory.current().is_own(account, address))
    }

    fn trusts(&self, session: &Session) -> bool {
        self.0.directory.trusts(session)
    }

    fn delivers(&self, address: &Address) -> bool {
        let model = self.0.directory.current();
        model.domain(address.domain()).is_some_and(|domain| domain.mode == DomainMode::Deliver)
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
    use crate::admin::ImportEntry;

    fn logins(folder: &std::path::Path) -> Logins {
        let config = Config { domains: vec!["a.test".into()], ..Config::default() };
        let store = Embedded::open(folder.join("store"), Options::default()).unwrap();
        let table = |name| store.table(name).unwrap();
        let keys = crate::dkim::Keys::open(table("k")).unwrap();
        let directory =
            Directory::open(table("a"), table("e"), table("s"), table("r"), keys, &config).unwrap();
        directory.add("alice@a.test", "pencil", true).unwrap();
        Logins::new(Arc::new(directory), Backends::default()).unwrap()
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
    async fn an_unknown_user_costs_what_the_accounts_here_cost() {
        let folder = tempfile::tempdir().unwrap();
        let logins = logins(folder.path());
        let cost = |name: &str| {
            let account = logins.account(name);
            logins.compared_with(account.as_ref(), name).cost()
        };
        let import = |names: &[&str], password: &str| {
            let entry = |name: &&str| ImportEntry {
                name: (*name).to_owned(),
                password: password.to_owned(),
                login: None,
            };
            let entries: Vec<_> = names.iter().map(entry).collect();
            logins.0.directory.import(&entries, true, None).unwrap();
        };
        assert_eq!(cost("nobody@a.test"), cost("alice@a.test"));
        // All by one scheme that is cheap, or dear.
        for password in
            ["{PLAIN}pencil".to_owned(), format!("{{BLF-CRYPT}}{}", bcrypt::hash("pencil", 4).unwrap())]
        {
            import(&["alice@a.test"], &password);
            for unknown in ["nobody@a.test", "alice", "x@b.test", ""] {
                assert_eq!(cost(unknown), cost("alice@a.test"), "{unknown}");
            }
            assert_eq!(
                logins.login(&request("nobody@a.test", "pencil", "192.0.2.1", false)).await,
                Err(LoginError::Credentials)
            );
        }
        // Of several schemes each name has one and keeps it, as often as the accounts have it.
        import(&["bob@a.test", "eve@a.test", "joe@a.test"], "{PLAIN}pencil");
        let mut cheap = 0;
        for number in 0..1000 {
            let name = format!("{number}@a.test");
            assert_eq!(cost(&name), cost(&name.to_uppercase()));
            cheap += usize::from(cost(&name).starts_with("PLAIN"));
        }
        assert!((650..850).contains(&cheap), "{cheap} of 1000, where it is 3 of 4 accounts");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_name_is_the_same_however_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let logins = logins(folder.path());
        for user in ["alice@a.test", "Alice@A.test", "\"alice\"@a.test", "\"al\\ice\"@a.test"] {
            let opened = logins.login(&request(user, "pencil", "192.0.2.1", false)).await;
            assert_eq!(opened.as_ref().map(User::as_str), Ok("alice@a.test"), "{user}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_flood_of_wrong_guesses_keeps_out_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let logins = logins(folder.path());
        // As many as connections may come from one address.
        let flood: Vec<_> = (0..100)
            .map(|number| {
                let logins = logins.clone();
                tokio::spawn(async move {
                    logins.login(&request(&format!("{number}@a.test"), "x", "192.0.2.1", false)).await
                })
            })
            .collect();
        tokio::task::yield_now().await;
        // Not remembered, so it is hashed: in its own lane, when it is its network's turn, and even behind all the others.
        for (from, familiar) in [("192.0.2.1", true), ("198.51.100.1", false), ("192.0.2.1", false)] {
            logins.0.remembered.lock().unwrap().clear();
            let opened = logins.login(&request("alice@a.test", "pencil", from, familiar)).await;
            assert_eq!(opened.as_ref().map(User::as_str), Ok("alice@a.test"), "{from}");
        }
        for outcome in flood {
            assert_eq!(outcome.await.unwrap(), Err(LoginError::Credentials));
        }
        assert_eq!(logins.0.strangers.waiting(), 0);
    }

    /// The same where a program checks the passwords, which takes its time about wrong ones.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_flood_of_wrong_guesses_keeps_out_nobody_whose_password_is_checked_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let script =
            "said=$(tr '\\0' '|' <&3); case \"$said\" in *'|pencil|'*) exit 0;; esac; sleep 0.4; exit 1";
        let program = mailwright::PasswordProgram::new("/bin/sh", ["-c", script]);
        let backends = Backends { checker: Some(Checker::Program(program)), ..Backends::default() };
        let logins = Logins::new(Arc::clone(&logins(folder.path()).0.directory), backends).unwrap();
        let flood: Vec<_> = (0..100)
            .map(|_| {
                let logins = logins.clone();
                tokio::spawn(
                    async move { logins.login(&request("alice@a.test", "x", "192.0.2.1", false)).await },
                )
            })
            .collect();
        while logins.0.asking.0.waiting() < 90 {
            tokio::task::yield_now().await;
        }
        for (from, familiar) in [("192.0.2.1", true), ("198.51.100.1", false)] {
            let opened = logins.login(&request("alice@a.test", "pencil", from, familiar)).await;
            assert_eq!(opened.as_ref().map(User::as_str), Ok("alice@a.test"), "{from}");
        }
        let before = flood.iter().filter(|guess| guess.is_finished()).count();
        assert!(before < 50, "{before} of the guesses came first");
        flood.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
