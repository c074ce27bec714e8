//! SASL exchanges over the accounts.

use std::time::Instant;

use mailwright_line_proto::{
    AuthRefusal, AuthStep, Authenticate, Peer, Secret, TlsInfo,
    sasl::{self, Context, Identity, ServerStep, Verdict, Verify},
};
use mailwright_mailstore::{
    User,
    accounts::{
        Accounts, BearerTokens as _, Certificates as _, Credentials, ScramKeys as _, Service,
        SharedPasswords as _,
    },
};

use tokio::time;

use super::{Attempt, Authenticator, gssapi, refusal, stored_hash, without_detail};
use crate::service::{entropy, shown};

/// The iterations that an unknown user's made-up keys claim: those of accounts made by the reference server.
const FAKE_ITERATIONS: u32 = 10_000;

/// The mechanism whose steps take their time.
const GSSAPI: &str = "GSSAPI";

/// A SASL exchange under way. In a box: a session that only waits holds no room for it.
#[derive(Debug)]
pub struct Exchange(Box<Running>);

#[derive(Debug)]
struct Running {
    server: sasl::Server,
    names: Names,
    /// It has ended with a wrong proof; it is kept to know the password that it was made of.
    refused: bool,
    /// Such a one, of which this is the next on the connection.
    before: Option<Exchange>,
}

/// Who the peer says it is, as soon as it has said so.
#[derive(Debug, Default)]
struct Names {
    user: String,
    /// The folder that was named with it.
    folder: Option<String>,
    /// Keys were shown, for a proof to come; whether that was counted as a failure.
    shown: Option<bool>,
    /// A token was refused, which is counted and told: what the client says to that changes nothing.
    told: bool,
}

impl Names {
    /// The account's part of a name.
    fn account(&mut self, name: String, attempt: &Attempt<'_>) -> String {
        let (account, folder) = without_detail(name, attempt.separator);
        self.folder = folder;
        account
    }
}

/// Whether this password is the one that a proof was made of that was refused just before, which has been counted then. A client whose
/// proof was refused cannot know whether the account has keys at all, and shows the password. Whoever guesses has no more guesses by
/// this: it is the same one.
pub(super) async fn is_repeated(refused: Option<Exchange>, user: &str, password: &Secret) -> bool {
    let Some(refused) = refused.filter(|refused| refused.0.names.user == user) else { return false };
    let password = password.clone();
    // As long as a hash takes: nobody else must wait for it.
    let compared = tokio::task::spawn_blocking(move || refused.0.server.was_refused_for(&password));
    compared.await.unwrap_or(false)
}

/// The exchange, if it has ended with a wrong proof.
pub(super) fn refused(exchange: &mut Option<Exchange>) -> Option<Exchange> {
    exchange.take_if(|before| before.0.refused)
}

impl<A: Accounts> Authenticator<A> {
    /// The next step of a SASL exchange, and the account once it is over and accepted. `tls` is what the connection
    /// is inside of; without it, the configuration has allowed passwords in the clear, or the protocol's machine
    /// would not have let the exchange begin.
    pub async fn step(
        &self,
        exchange: &mut Option<Exchange>,
        ask: &Authenticate,
        peer: &Peer,
        tls: Option<&TlsInfo>,
        service: Service,
    ) -> (AuthStep, Option<User>) {
        let (step, user, _) = self.step_into(exchange, ask, peer, tls, service, None).await;
        (step, user)
    }

    /// The same, where a name may be an account's, `separator` and a folder's: that comes with the account.
    pub(crate) async fn step_into(
        &self,
        exchange: &mut Option<Exchange>,
        ask: &Authenticate,
        peer: &Peer,
        tls: Option<&TlsInfo>,
        service: Service,
        separator: Option<char>,
    ) -> (AuthStep, Option<User>, Option<String>) {
        let mechanism = &ask.mechanism;
        let attempt = Attempt { mechanism, separator, ..Attempt::new(peer, tls.is_some(), service) };
        match self.advance(exchange.take(), ask, tls, &attempt).await {
            Ok((challenge @ AuthStep::Challenge(_), running, _)) => {
                *exchange = Some(running);
                (challenge, None, None)
            }
            Ok((done, ended, user)) => {
                let folder = ended.0.names.folder.clone();
                *exchange = Some(ended).filter(|ended| ended.0.refused);
                (done, user, folder)
            }
            Err(refusal) => (AuthStep::Refuse(refusal), None, None),
        }
    }

    async fn advance(
        &self,
        mut exchange: Option<Exchange>,
        ask: &Authenticate,
        tls: Option<&TlsInfo>,
        attempt: &Attempt<'_>,
    ) -> Result<(AuthStep, Exchange, Option<User>), AuthRefusal> {
        let before = if ask.continues { None } else { refused(&mut exchange) };
        let running = exchange.filter(|running| running.0.server.mechanism().name() == ask.mechanism);
        let mut exchange = match running {
            Some(running) if ask.continues => *running.0,
            _ if ask.continues => return Err(AuthRefusal::Malformed),
            // One that was cancelled leaves its machine behind, which would take the beginning of the next for its answer.
            _ => {
                let context = tls.map_or_else(|| Context::plaintext().allow_secrets_in_clear(), Context::tls);
                let context = if self.legacy { context.allow_legacy() } else { context };
                let entropy = entropy().map_err(|_| AuthRefusal::Unavailable)?;
                // What is not announced is not done either: the accounts have nothing to do it with.
                if !self.mechanisms_for(attempt.service).contains(&ask.mechanism) {
                    return Err(AuthRefusal::Mechanism);
                }
                let server = match &self.gssapi {
                    Some(acceptors) if ask.mechanism == GSSAPI => {
                        self.admit("", attempt)?;
                        acceptors.begin(attempt.service).await?
                    }
                    _ => sasl::Server::start(&ask.mechanism, &context, entropy)?,
                };
                Running { server, names: Names::default(), refused: false, before }
            }
        };
        // Between two messages of the client nothing is reserved: it may take its time. One that counts as a failure until its proof is
        // there has its place already.
        let mut reserved = None;
        let counted = exchange.names.told || exchange.names.shown == Some(true);
        if ask.continues && !exchange.names.user.is_empty() && !counted {
            reserved = Some(self.reserve(&exchange.names.user, attempt).await?);
        }
        let mut step;
        if ask.mechanism == GSSAPI {
            (exchange.server, step) = gssapi::step(exchange.server, ask.response.clone()).await?;
        } else {
            step = exchange.server.step(ask.response.as_ref().map(Secret::expose));
        }
        let mut user = None;
        let ends = |step: &ServerStep| {
            matches!(step, ServerStep::Done(_) | ServerStep::Refuse(AuthRefusal::Credentials))
        };
        if let Some(counted) = exchange.names.shown.take_if(|_| ends(&step)) {
            self.throttle.proved(Instant::now(), attempt.address(), counted);
        }
        if let ServerStep::Verify(verify) = step {
            let refused = exchange.before.take();
            let verdict = self.verify(verify, refused, &mut exchange.names, &mut user, tls, attempt).await?;
            step = exchange.server.resume(verdict);
        }
        if let (ServerStep::Done(identity), None) = (&step, &user) {
            let Identity { authcid, authzid, .. } = identity.clone();
            let authcid = exchange.names.account(authcid, attempt);
            drop(reserved.take());
            let account = self.decide(authcid, authzid, Credentials::Proven, attempt).await?;
            // RFC 4505 §3: not somebody of whom more is known than that they may come in.
            user = Some(if ask.mechanism == "ANONYMOUS" { account.as_guest() } else { account });
        }
        if let ServerStep::Refuse(why) = &step {
            if !exchange.names.told {
                attempt.tell_refused(&exchange.names.user, why);
            }
            if *why == AuthRefusal::Credentials {
                if !exchange.names.told {
                    self.penalize(&exchange.names.user, attempt, reserved).await;
                }
                exchange.refused = true;
            }
        }
        let answer = step.answer().unwrap_or(AuthStep::Refuse(AuthRefusal::Unavailable));
        Ok((answer, Exchange(Box::new(exchange)), user))
    }

    async fn verify(
        &self,
        verify: Verify,
        refused: Option<Exchange>,
        names: &mut Names,
        user: &mut Option<User>,
        tls: Option<&TlsInfo>,
        attempt: &Attempt<'_>,
    ) -> Result<Verdict, AuthRefusal> {
        match verify {
            Verify::Password { authzid, authcid, password, shown } => {
                let authcid = names.account(authcid, attempt);
                let repeats = is_repeated(refused, &authcid, &password).await;
                let credentials = Credentials::password(password.expose());
                let attempt = Attempt { repeats, shown: shown.as_ref(), ..*attempt };
                *user = Some(self.decide(authcid, authzid, credentials, &attempt).await?);
                Ok(Verdict::Accept)
            }
            Verify::Scram { authzid, username, hash } => {
                let username = names.account(username, attempt);
                let familiar = self.admit(&username, attempt)?;
                let keys = self.keys(self.prover(&username, authzid.as_deref()), hash).await?;
                if !familiar {
                    // Whoever leaves it at that asks which keys a name has, and guesses nothing.
                    let delay = self.throttle.asked(Instant::now(), attempt.address());
                    names.shown = Some(delay.is_some());
                    time::sleep(delay.unwrap_or_default()).await;
                }
                names.user = username;
                Ok(Verdict::Keys(keys))
            }
            Verify::Shared { username } => {
                let username = names.account(username, attempt);
                self.admit(&username, attempt)?;
                let shared = self.accounts.shared().ok_or(AuthRefusal::Mechanism)?;
                let password = shared.password(self.prover(&username, None)).await.map_err(refusal)?;
                names.user = username;
                Ok(Verdict::Shared(password.map(|password| Secret::from(&password[..]))))
            }
            Verify::Bearer { authzid, token } => {
                let claimed = authzid.unwrap_or_default();
                let reserved = self.reserve(&claimed, attempt).await?;
                let bearer = self.accounts.bearer().ok_or(AuthRefusal::Mechanism)?;
                let wanted = Some(claimed.as_str()).filter(|claimed| !claimed.is_empty());
                let holder = bearer.holder_from(token.expose(), wanted, attempt.address()).await;
                let verdict = match holder {
                    Ok(holder) => Verdict::Identity(holder),
                    Err(why) => {
                        // Now: RFC 7628 §3.2.3 has the client say something more before it is refused, and whoever guesses hangs up instead.
                        attempt.tell_refused(&claimed, &why);
                        names.told = true;
                        let refusal = refusal(why);
                        if refusal == AuthRefusal::Credentials {
                            self.penalize(&claimed, attempt, Some(reserved)).await;
                        }
                        Verdict::Refuse(refusal)
                    }
                };
                names.user = claimed;
                Ok(verdict)
            }
            Verify::External { .. } => {
                let certificates = self.accounts.certificates().ok_or(AuthRefusal::Mechanism)?;
                let chain = tls.map(|tls| tls.peer_certificates.as_slice()).unwrap_or_default();
                let holder = certificates.holder(chain).await;
                Ok(holder.map_or_else(|why| Verdict::Refuse(refusal(why)), Verdict::Identity))
            }
            Verify::Anonymous { trace } => {
                let guest = self.accounts.guest().ok_or(AuthRefusal::Mechanism)?;
                tracing::info!(protocol = %attempt.service, peer = shown(attempt.peer), trace, "anonymous login");
                Ok(Verdict::Identity(guest))
            }
            _ => Err(AuthRefusal::Mechanism),
        }
    }

    /// The keys of a user, or made-up ones.
    async fn keys(&self, username: &str, hash: sasl::ScramHash) -> Result<sasl::ScramKeys, AuthRefusal> {
        let stored_hash = stored_hash(hash).ok_or(AuthRefusal::Mechanism)?;
        let scram = self.accounts.scram().ok_or(AuthRefusal::Mechanism)?;
        let stored = scram.keys(username, stored_hash).await.map_err(refusal)?;
        // Made in any case, so that an unknown user is not answered later or sooner than a known one.
        // The same for every spelling of the name, as those of an account are.
        let name = self.counted(username).to_lowercase();
        let made_up = sasl::ScramKeys::fake(hash, &self.secret, &name, FAKE_ITERATIONS);
        let keys = stored.and_then(|keys| {
            let (stored_key, server_key) = (&keys.stored_key[..], &keys.server_key[..]);
            sasl::ScramKeys::new(hash, &keys.salt, keys.iterations, stored_key.into(), server_key.into()).ok()
        });
        Ok(keys.unwrap_or(made_up))
    }
}
