//! Logging in: accounts behind every protocol's login commands and SASL mechanisms.

mod certificate;
mod dovecot;
mod exchange;
mod generations;
mod gssapi;
mod introspection;
mod master;
mod program;
mod reserve;
mod sessions;
mod throttle;

use std::{fmt, io, sync::Arc, time::Instant};

use mailwright_line_proto::{
    AuthRefusal, AuthStep, Login, Peer, Secret,
    sasl::{self, GssContext, GssError, Mechanism},
};
use mailwright_mail_model::Address;
use mailwright_mailstore::{
    User,
    accounts::{
        Accounts, Credentials, LoginError, LoginRequest, ScramHash, ScramKeys as _, Service,
        SharedPasswords as _,
    },
};
use mailwright_pop3_proto::{Apop, Timestamp};
use tokio::time;

pub(crate) use self::sessions::Seat;
pub use self::{
    certificate::{CertificateError, CertificateNames},
    dovecot::{DovecotAccounts, DovecotAddress, DovecotAuth},
    exchange::Exchange,
    introspection::TokenIntrospection,
    master::MasterUsers,
    program::PasswordProgram,
    sessions::Sessions,
    throttle::{Ban, Throttle, ThrottleLimits},
};
use self::{gssapi::Acceptors, reserve::Reserved};
use crate::service::{entropy, shown};

/// Decides about logins of all services over one set of accounts.
#[derive(Debug)]
pub struct Authenticator<A> {
    accounts: A,
    /// What made-up keys of unknown users are made from: the same user always gets the same ones.
    secret: Secret,
    throttle: Arc<Throttle>,
    sessions: Arc<Sessions>,
    masters: MasterUsers,
    legacy: bool,
    spellings: Spellings,
    gssapi: Option<Acceptors>,
}

/// Finds the account that a name is one spelling of.
struct Spellings(Box<Spelling>);

/// The account that a spelling of its name means, if any.
type Spelling = dyn Fn(&str) -> Option<String> + Send + Sync;

impl fmt::Debug for Spellings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Spellings")
    }
}

impl<A: Accounts> Authenticator<A> {
    /// Over these accounts. `secret` is random and stays the same for as long as the accounts do: unknown users are
    /// told SCRAM salts made from it, which must not change from one day to the next.
    ///
    /// Guessing is slowed down as [`ThrottleLimits`] has it by default, nobody is a master user, and obsolete mechanisms
    /// are not offered.
    pub fn new(accounts: A, secret: Secret) -> Self {
        let (throttle, sessions, masters) = (Arc::default(), Arc::default(), MasterUsers::default());
        let spellings = Spellings(Box::new(|_| None));
        Self { accounts, secret, throttle, sessions, masters, legacy: false, spellings, gssapi: None }
    }

    /// As [`new`](Self::new), with a secret for as long as this process runs: right for accounts that do not keep keys for SCRAM.
    ///
    /// # Errors
    /// If the system has no random octets to give.
    pub fn with_random_secret(accounts: A) -> io::Result<Self> {
        Ok(Self::new(accounts, Secret::from(&entropy()?[..])))
    }

    /// Sets how guessing is slowed down. What is shared is one memory for all authenticators that have it.
    #[must_use]
    pub fn with_throttle(self, throttle: Arc<Throttle>) -> Self {
        Self { throttle, ..self }
    }

    /// Has sessions ended by who holds this: whoever removes accounts and changes passwords. What is shared is one table for all
    /// authenticators that have it.
    #[must_use]
    pub fn with_sessions(self, sessions: Arc<Sessions>) -> Self {
        Self { sessions, ..self }
    }

    /// Sets who may log in as somebody else.
    #[must_use]
    pub fn with_masters(self, masters: MasterUsers) -> Self {
        Self { masters, ..self }
    }

    /// Counts failed logins of all names for which this gives the same account as those of one user: where an account can be named in
    /// more ways than by its address in either case, with or without quotes, guesses would be counted apart for each of them. Names
    /// that nobody has are to be given as if they were an account's: by what SCRAM says to their spellings one could tell them apart.
    #[must_use]
    pub fn with_spellings(self, account: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { spellings: Spellings(Box::new(account)), ..self }
    }

    /// Offers SCRAM-SHA-1 and CRAM-MD5 too, where the accounts have what they need.
    #[must_use]
    pub fn with_legacy(self, legacy: bool) -> Self {
        Self { legacy, ..self }
    }

    /// Offers GSSAPI (RFC 4752): each exchange is given an acceptor's context of its own, made over the host's Kerberos library
    /// for the service that is logged in to. Its principals are `imap`, `pop`, `smtp` and `sieve` at the server's name.
    ///
    /// [`GssContext::peer`] names the account; whether the login may be, and as whom, the accounts say as they do to other
    /// proofs ([`Credentials::Proven`]). The context's calls are made on a thread where they may take their time.
    ///
    /// ```
    /// use mailwright::{Authenticator, line_proto::{Secret, sasl::{GssContext, GssError}}};
    /// use mailwright::mailstore::accounts::{Accounts, Service};
    ///
    /// /// Over `libgssapi` or whatever the host has: a context with the key of this principal.
    /// fn accept(principal: &str) -> Result<Box<dyn GssContext>, GssError> {
    ///     Err(GssError::Unavailable(format!("there is no key of {principal}")))
    /// }
    ///
    /// fn with_kerberos<A: Accounts>(accounts: A, secret: Secret) -> Authenticator<A> {
    ///     Authenticator::new(accounts, secret).with_gssapi(|service| match service {
    ///         Service::Imap => accept("imap@mail.example.org"),
    ///         Service::Pop3 => accept("pop@mail.example.org"),
    ///         Service::ManageSieve => accept("sieve@mail.example.org"),
    ///         _ => accept("smtp@mail.example.org"),
    ///     })
    /// }
    /// ```
    #[must_use]
    pub fn with_gssapi(
        self,
        acceptor: impl Fn(Service) -> Result<Box<dyn GssContext>, GssError> + Send + Sync + 'static,
    ) -> Self {
        Self { gssapi: Some(Acceptors::new(acceptor)), ..self }
    }

    /// Whether anybody may log in as somebody else.
    pub fn has_masters(&self) -> bool {
        !self.masters.is_empty()
    }

    /// Whether this account may log in as others, which makes its owner an administrator of all accounts.
    pub fn is_master(&self, user: &User) -> bool {
        !user.is_guest() && self.masters.contains(user.as_str())
    }

    /// Who is logged in.
    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    /// Whether an account is there, and may log in.
    pub(crate) async fn is_account(&self, user: &User) -> bool {
        let mut request = LoginRequest::new(user.as_str(), Credentials::Proven, Service::Imap);
        // It is not a login over the wire, which might have to be within TLS.
        request.tls = true;
        self.accounts.login(&request).await.is_ok_and(|found| found == *user)
    }

    /// The account of whoever has logged in elsewhere with this name, to somebody who is believed.
    ///
    /// # Errors
    /// If there is no such account, or it may not log in to that.
    pub(crate) async fn proxied(
        &self,
        typed: &str,
        peer: &Peer,
        service: Service,
    ) -> Result<User, AuthRefusal> {
        // Whether there was TLS is the other's to see to, as were wrong passwords.
        let attempt = Attempt { mechanism: "XCLIENT", ..Attempt::new(peer, true, service) };
        let opened = self.open(typed, None, Credentials::Proven, true, &attempt).await;
        opened.map_err(refusal)
    }

    /// What failed lately.
    pub fn throttle(&self) -> &Arc<Throttle> {
        &self.throttle
    }

    /// The SASL mechanisms that can be offered, the best first: those that the accounts have what it takes for.
    pub fn mechanisms(&self) -> Vec<String> {
        let scram = |hash| self.accounts.scram().is_some_and(|keys| keys.has(hash));
        Mechanism::all()
            .filter(|mechanism| self.legacy || !mechanism.is_legacy())
            .map(Mechanism::name)
            .filter(|name| match *name {
                "PLAIN" | "LOGIN" => self.accounts.takes_passwords(),
                "CRAM-MD5" => self.accounts.shared().is_some(),
                "GSSAPI" => self.gssapi.is_some(),
                "EXTERNAL" => self.accounts.certificates().is_some(),
                "OAUTHBEARER" | "XOAUTH2" => self.accounts.bearer().is_some(),
                "ANONYMOUS" => self.accounts.guest().is_some(),
                name if name.starts_with("SCRAM-SHA-512") => scram(ScramHash::Sha512),
                name if name.starts_with("SCRAM-SHA-256") => scram(ScramHash::Sha256),
                name if name.starts_with("SCRAM-SHA-1") => scram(ScramHash::Sha1),
                _ => false,
            })
            .map(str::to_owned)
            .collect()
    }

    /// The same for a service: guests read, so where nothing is read there are none.
    pub fn mechanisms_for(&self, service: Service) -> Vec<String> {
        let mut all = self.mechanisms();
        if !matches!(service, Service::Imap | Service::Pop3) {
            all.retain(|name| name != "ANONYMOUS");
        }
        all
    }

    /// A login with name and password.
    ///
    /// # Errors
    /// Why it is refused.
    pub async fn password(
        &self,
        login: &Login,
        peer: &Peer,
        tls: bool,
        service: Service,
    ) -> Result<User, AuthRefusal> {
        self.password_after(&mut None, login, peer, tls, service).await
    }

    /// The same, behind the SASL exchange that was [played](Self::step) before it on the connection. If that has ended with a wrong proof, the
    /// password that the proof was made of is the same guess.
    ///
    /// # Errors
    /// Why it is refused.
    pub async fn password_after(
        &self,
        exchange: &mut Option<Exchange>,
        login: &Login,
        peer: &Peer,
        tls: bool,
        service: Service,
    ) -> Result<User, AuthRefusal> {
        if !self.accounts.takes_passwords() {
            return Err(AuthRefusal::Mechanism);
        }
        let (user, password, shown) = prepared(login, service).ok_or(AuthRefusal::Credentials)?;
        let repeats = exchange::is_repeated(exchange::refused(exchange), &user, &password).await;
        let shown = shown.as_ref();
        let attempt = Attempt { mechanism: "password", repeats, shown, ..Attempt::new(peer, tls, service) };
        self.decide(user, None, Credentials::password(password.expose()), &attempt).await
    }

    /// A login with the digest of a timestamp and a password that the accounts must keep in clear (RFC 1939 §7).
    ///
    /// # Errors
    /// Why it is refused.
    pub async fn apop(
        &self,
        login: &Apop,
        timestamp: &Timestamp,
        peer: &Peer,
        tls: bool,
        service: Service,
    ) -> Result<User, AuthRefusal> {
        let attempt = Attempt { mechanism: "APOP", ..Attempt::new(peer, tls, service) };
        let user = sasl::prepare_name(&login.user).ok_or(AuthRefusal::Credentials)?;
        let reserved = self.reserve(&user, &attempt).await?;
        let shared = self.accounts.shared().ok_or(AuthRefusal::Mechanism)?;
        let password = shared.password(self.prover(&user, None)).await.map_err(refusal)?;
        let known = password.is_some();
        // Made for unknown users too, and compared in constant time.
        let password = Secret::from(password.unwrap_or_default().as_slice());
        let expected = sasl::apop_digest(timestamp.as_str(), &password);
        if Secret::from(&expected[..]) != Secret::from(&login.digest[..]) || !known {
            attempt.tell_refused(&user, &AuthRefusal::Credentials);
            self.penalize(&user, &attempt, Some(reserved)).await;
            return Err(AuthRefusal::Credentials);
        }
        drop(reserved);
        self.decide(user, None, Credentials::Proven, &attempt).await
    }

    /// Whether the accounts keep passwords in clear: APOP needs them.
    pub fn has_shared_passwords(&self) -> bool {
        self.accounts.shared().is_some()
    }

    /// By which name the logins of a user are counted, however that is spelled: those of a master user, whose password it is that
    /// is guessed, by the master.
    fn counted(&self, user: &str) -> String {
        let name = self.masters.split(user).map_or(user, |(master, _)| master);
        if let Some(account) = (self.spellings.0)(name) {
            return account;
        }
        match name.parse::<Address>() {
            Ok(address) => format!("{}@{}", address.local().unquoted(), address.domain().key()),
            Err(_) => name.to_owned(),
        }
    }

    /// Whose secret it is that somebody of this name proves to have: for `john*admin` the master user's.
    fn prover<'n>(&self, user: &'n str, authorization: Option<&str>) -> &'n str {
        let split = if authorization.is_none() { self.masters.split(user) } else { None };
        split.map_or(user, |(master, _)| master)
    }

    /// Whether a login may be tried now; if so whether the user is familiar there. Nothing is decided by it.
    fn admit(&self, user: &str, attempt: &Attempt<'_>) -> Result<bool, AuthRefusal> {
        let admitted = self.throttle.admit(Instant::now(), attempt.address(), &self.counted(user));
        admitted.map_err(|why| throttled(user, attempt, why))
    }

    /// The same, and room for its failure: what is to be held while it is decided whether it is one.
    async fn reserve(&self, user: &str, attempt: &Attempt<'_>) -> Result<Reserved, AuthRefusal> {
        let reserved = self.throttle.reserve(attempt.address(), &self.counted(user)).await;
        reserved.map_err(|why| throttled(user, attempt, why))
    }

    /// A login with these credentials: the one place where accounts are asked.
    async fn decide(
        &self,
        user: String,
        authorization: Option<String>,
        credentials: Credentials,
        attempt: &Attempt<'_>,
    ) -> Result<User, AuthRefusal> {
        // Guests have shown nothing: they make nobody familiar with the account, and guesses at its password do not keep them out.
        let counted = if attempt.mechanism == "ANONYMOUS" { "" } else { &*user };
        let reserved = self.reserve(counted, attempt).await?;
        let familiar = reserved.is_familiar();
        let outcome = self.open(&user, authorization, credentials, familiar, attempt).await;
        match outcome {
            Ok(account) => {
                if attempt.repeats {
                    // The proof failed for want of keys, not for a wrong password.
                    self.throttle.forgive(Instant::now(), attempt.address(), &self.counted(counted));
                }
                self.throttle.succeeded(Instant::now(), attempt.address(), &self.counted(counted));
                let (peer, mechanism, tls) = (shown(attempt.peer), attempt.mechanism, attempt.tls);
                tracing::info!(protocol = %attempt.service, peer, user = %account, mechanism, tls, "login");
                Ok(account)
            }
            Err(why) => {
                attempt.tell_refused(&user, &why);
                let refusal = refusal(why);
                if refusal == AuthRefusal::Credentials {
                    self.penalize(counted, attempt, Some(reserved)).await;
                }
                Err(refusal)
            }
        }
    }

    /// Counts a failure, for which there may be room, and waits as long as it costs.
    async fn penalize(&self, user: &str, attempt: &Attempt<'_>, reserved: Option<Reserved>) {
        if attempt.repeats {
            return;
        }
        let delay = self.throttle.failed(Instant::now(), attempt.address(), &self.counted(user));
        // It is counted now: the delay keeps nobody else waiting.
        drop(reserved);
        if !delay.is_zero() {
            time::sleep(delay).await;
        }
    }

    /// Opens an account, its own or, for a master user, another.
    async fn open(
        &self,
        user: &str,
        authorization: Option<String>,
        credentials: Credentials,
        familiar: bool,
        attempt: &Attempt<'_>,
    ) -> Result<User, LoginError> {
        let make = |name: &str, credentials| {
            let mut request = LoginRequest::new(name, credentials, attempt.service);
            request.peer = attempt.address();
            request.tls = attempt.tls;
            request.familiar = familiar;
            request
        };
        let (name, target) = match (self.masters.split(user), authorization) {
            (Some((master, target)), None) => (master, Some(target.to_owned())),
            (_, authorization) => (user, authorization),
        };
        let mut own = self.accounts.login(&make(name, credentials)).await;
        if let (Err(LoginError::Credentials), Some(shown)) = (&own, attempt.shown) {
            // What was hashed elsewhere need not have been prepared. It is one guess, of one password.
            own = self.accounts.login(&make(name, Credentials::password(shown.expose()))).await;
        }
        let own = own?;
        let Some(target) = target else { return Ok(own) };
        if self.masters.contains(own.as_str()) {
            let opened = self.accounts.login(&make(&target, Credentials::Proven)).await;
            // Everybody can be seen to have been opened, and nobody to be there or not.
            let shown = shown(attempt.peer);
            match &opened {
                Ok(account) => {
                    tracing::warn!(protocol = %attempt.service, peer = shown, master = %own, user = %account, "master login");
                }
                Err(why) => {
                    tracing::warn!(protocol = %attempt.service, peer = shown, master = %own, user = ?target, %why, "master login refused");
                }
            }
            return opened.map(|account| account.opened_by(&own));
        }
        // RFC 4616 §2: oneself under another spelling is no other identity.
        let mut request = make(name, Credentials::Proven);
        request.authorization = Some(target);
        self.accounts.login(&request).await
    }
}

/// Where and how somebody logs in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt<'a> {
    peer: &'a Peer,
    tls: bool,
    service: Service,
    mechanism: &'a str,
    /// What separates an account's name from a folder's.
    separator: Option<char>,
    /// The same password has failed just before, and was counted.
    repeats: bool,
    /// The password as it was shown, if preparing has changed it.
    shown: Option<&'a Secret>,
}

impl<'a> Attempt<'a> {
    fn new(peer: &'a Peer, tls: bool, service: Service) -> Self {
        Self { peer, tls, service, mechanism: "", separator: None, repeats: false, shown: None }
    }
}

impl Attempt<'_> {
    fn address(&self) -> Option<std::net::IpAddr> {
        self.peer.remote.map(|remote| remote.ip())
    }

    fn tell_refused(&self, user: &str, why: &dyn fmt::Display) {
        let peer = shown(self.peer);
        tracing::warn!(protocol = %self.service, peer, user, mechanism = self.mechanism, %why, "login refused");
    }
}

/// A login's outcome where nothing is read, so that guests have nothing to do there.
pub(crate) fn without_guests(step: AuthStep, user: Option<User>) -> (AuthStep, Option<User>) {
    match user {
        Some(user) if user.is_guest() => (AuthStep::Refuse(AuthRefusal::NotAuthorized), None),
        user => (step, user),
    }
}

/// Takes a detail out of a name: `alice+Lists@a.example` is `alice@a.example` and `Lists`.
pub(crate) fn without_detail(name: String, separator: Option<char>) -> (String, Option<String>) {
    let split = |name: &str| {
        let (account, rest) = name.split_once(separator?)?;
        let (detail, domain) = rest.split_at_checked(rest.find('@').unwrap_or(rest.len()))?;
        let fits = !account.is_empty() && !account.contains('@') && !detail.is_empty();
        fits.then(|| (format!("{account}{domain}"), detail.to_owned()))
    };
    match split(&name) {
        Some((account, detail)) => (account, Some(detail)),
        None => (name, None),
    }
}

/// The name and password of a login as those of PLAIN are prepared, and the password as it was shown if that is another. What cannot be
/// prepared is nobody's where the protocol says that it is UTF-8, for POP3 RFC 6856 §2.2; to IMAP's LOGIN it is what it is.
fn prepared(login: &Login, service: Service) -> Option<(String, Secret, Option<Secret>)> {
    let (user, shown) = (&login.user, &login.password);
    if user.is_ascii() && shown.expose().is_ascii() {
        return Some((user.clone(), shown.clone(), None));
    }
    let as_it_is = service != Service::Pop3;
    let user = sasl::prepare_name(user).or_else(|| as_it_is.then(|| user.clone()))?;
    let password = sasl::prepare_password(shown.expose()).or_else(|| as_it_is.then(|| shown.clone()))?;
    let other = (password != *shown).then(|| shown.clone());
    Some((user, password, other))
}

/// What is told of a login that is not tried, and noted.
fn throttled(user: &str, attempt: &Attempt<'_>, why: throttle::Throttled) -> AuthRefusal {
    attempt.tell_refused(user, &why);
    // Not that it is wrong: whoever it is must not be asked for another password.
    AuthRefusal::Unavailable
}

fn refusal(error: LoginError) -> AuthRefusal {
    match error {
        LoginError::Credentials => AuthRefusal::Credentials,
        LoginError::NotAuthorized => AuthRefusal::NotAuthorized,
        LoginError::Expired => AuthRefusal::Expired,
        LoginError::NeedsTls => AuthRefusal::NeedsTls,
        _ => AuthRefusal::Unavailable,
    }
}

/// The hash as the accounts know it.
fn stored_hash(hash: sasl::ScramHash) -> Option<ScramHash> {
    match hash {
        sasl::ScramHash::Sha1 => Some(ScramHash::Sha1),
        sasl::ScramHash::Sha256 => Some(ScramHash::Sha256),
        sasl::ScramHash::Sha512 => Some(ScramHash::Sha512),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
