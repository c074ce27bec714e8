//! Logins as they are decided: who is asked, what is counted, and as whom somebody comes in.

use std::time::Instant;

use mailwright_line_proto::{AuthRefusal, Login, Peer, Secret, sasl};
use mailwright_mail_model::Address;
use mailwright_mailstore::{
    User,
    accounts::{Accounts, Credentials, LoginError, LoginRequest, Service, SharedPasswords as _},
};
use mailwright_pop3_proto::{Apop, Timestamp};
use tokio::time;

use super::{Attempt, Authenticator, Exchange, exchange, refusal, reserve::Reserved, throttle};
use crate::service::shown;

impl<A: Accounts> Authenticator<A> {
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

    /// By which name the logins of a user are counted, however that is spelled: those of a master user, whose password it is that
    /// is guessed, by the master.
    pub(super) fn counted(&self, user: &str) -> String {
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
    pub(super) fn prover<'n>(&self, user: &'n str, authorization: Option<&str>) -> &'n str {
        let split = if authorization.is_none() { self.masters.split(user) } else { None };
        split.map_or(user, |(master, _)| master)
    }

    /// Whether a login may be tried now; if so whether the user is familiar there. Nothing is decided by it.
    pub(super) fn admit(&self, user: &str, attempt: &Attempt<'_>) -> Result<bool, AuthRefusal> {
        let admitted = self.throttle.admit(Instant::now(), attempt.address(), &self.counted(user));
        admitted.map_err(|why| throttled(user, attempt, why))
    }

    /// The same, and room for its failure: what is to be held while it is decided whether it is one.
    pub(super) async fn reserve(&self, user: &str, attempt: &Attempt<'_>) -> Result<Reserved, AuthRefusal> {
        let reserved = self.throttle.reserve(attempt.address(), &self.counted(user)).await;
        reserved.map_err(|why| throttled(user, attempt, why))
    }

    /// A login with these credentials: the one place where accounts are asked.
    pub(super) async fn decide(
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
    pub(super) async fn penalize(&self, user: &str, attempt: &Attempt<'_>, reserved: Option<Reserved>) {
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
        // RFC 4616 §2: to act as oneself is to log in, and clients say so without need.
        let Some(target) = target.filter(|target| target != name && target != own.as_str()) else {
            return Ok(own);
        };
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
        // Oneself under another spelling is no other identity, and only the accounts know spellings.
        let mut request = make(name, Credentials::Proven);
        request.authorization = Some(target);
        self.accounts.login(&request).await
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
