//! Logging in: accounts behind every protocol's login commands and SASL mechanisms.

mod certificate;
mod dovecot;
mod exchange;
mod generations;
mod gssapi;
mod introspection;
mod login;
mod master;
mod program;
mod reserve;
mod sessions;
mod throttle;

use std::{fmt, io, sync::Arc};

use mailwright_line_proto::{
    AuthRefusal, AuthStep, Peer, Secret,
    sasl::{self, GssContext, GssError, Mechanism},
};
use mailwright_mailstore::{
    User,
    accounts::{Accounts, Credentials, LoginError, LoginRequest, ScramHash, ScramKeys as _, Service},
};

use self::gssapi::Acceptors;
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

    /// Whether the accounts keep passwords in clear: APOP needs them.
    pub fn has_shared_passwords(&self) -> bool {
        self.accounts.shared().is_some()
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
