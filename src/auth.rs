//! Logging in: accounts behind every protocol's login commands and SASL mechanisms.

use mailwright_line_proto::{
    AuthRefusal, AuthStep, Authenticate, Login, Peer, Secret, TlsInfo,
    sasl::{self, Context, Identity, Mechanism, ServerStep, Verdict, Verify},
};
use mailwright_mailstore::{
    User,
    accounts::{Accounts, Credentials, LoginError, LoginRequest, ScramHash, ScramKeys as _, Service},
};

use crate::service::{entropy, shown};

/// The iterations that an unknown user's made-up keys claim: those of accounts made by the reference server.
const FAKE_ITERATIONS: u32 = 10_000;

/// Decides about logins of all services over one set of accounts.
#[derive(Debug)]
pub struct Authenticator<A> {
    accounts: A,
    /// What made-up keys of unknown users are made from: the same user always gets the same ones.
    secret: Secret,
}

/// A SASL exchange under way.
#[derive(Debug)]
pub struct Exchange(sasl::Server);

impl<A: Accounts> Authenticator<A> {
    /// Over these accounts. `secret` is random and stays the same for as long as the accounts do: unknown users are
    /// told SCRAM salts made from it, which must not change from one day to the next.
    pub fn new(accounts: A, secret: Secret) -> Self {
        Self { accounts, secret }
    }

    /// The SASL mechanisms that can be offered, the best first.
    pub fn mechanisms(&self) -> Vec<String> {
        let scram = self.accounts.scram().is_some();
        Mechanism::all()
            .filter(|mechanism| mechanism.shows_secret() || scram)
            .map(|mechanism| mechanism.name().to_owned())
            .collect()
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
        let credentials = Credentials::password(login.password.expose());
        let request = request(login.user.clone(), None, credentials, peer, tls, service);
        self.decide(&request, peer, "password").await
    }

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
        let outcome = self.advance(exchange, ask, peer, tls, service).await;
        match outcome {
            Ok((AuthStep::Challenge(challenge), _)) => (AuthStep::Challenge(challenge), None),
            Ok(done) => {
                *exchange = None;
                done
            }
            Err(refusal) => {
                *exchange = None;
                (AuthStep::Refuse(refusal), None)
            }
        }
    }

    async fn advance(
        &self,
        exchange: &mut Option<Exchange>,
        ask: &Authenticate,
        peer: &Peer,
        tls: Option<&TlsInfo>,
        service: Service,
    ) -> Result<(AuthStep, Option<User>), AuthRefusal> {
        // An exchange that was cancelled leaves its machine behind; its name tells.
        let running = exchange.take().filter(|running| running.0.mechanism().name() == ask.mechanism);
        let mut server = match running {
            Some(Exchange(server)) => server,
            None => {
                let context = tls.map_or_else(|| Context::plaintext().allow_secrets_in_clear(), Context::tls);
                let entropy = entropy().map_err(|_| AuthRefusal::Unavailable)?;
                sasl::Server::start(&ask.mechanism, &context, entropy)?
            }
        };
        let mut step = server.step(ask.response.as_ref().map(Secret::expose));
        let mut user = None;
        if let ServerStep::Verify(verify) = step {
            let verdict =
                self.verify(verify, &mut user, peer, tls.is_some(), service, &ask.mechanism).await?;
            step = server.resume(verdict);
        }
        if let (ServerStep::Done(identity), None) = (&step, &user) {
            let Identity { authcid, authzid, .. } = identity.clone();
            let request = request(authcid, authzid, Credentials::Proven, peer, tls.is_some(), service);
            user = Some(self.decide(&request, peer, &ask.mechanism).await?);
        }
        if let ServerStep::Refuse(why) = &step {
            tracing::warn!(protocol = %service, peer = shown(peer), mechanism = ask.mechanism, %why, "login refused");
        }
        let answer = step.answer().unwrap_or(AuthStep::Refuse(AuthRefusal::Unavailable));
        *exchange = Some(Exchange(server));
        Ok((answer, user))
    }

    async fn verify(
        &self,
        verify: Verify,
        user: &mut Option<User>,
        peer: &Peer,
        tls: bool,
        service: Service,
        mechanism: &str,
    ) -> Result<Verdict, AuthRefusal> {
        match verify {
            Verify::Password { authzid, authcid, password } => {
                let credentials = Credentials::password(password.expose());
                let request = request(authcid, authzid, credentials, peer, tls, service);
                *user = Some(self.decide(&request, peer, mechanism).await?);
                Ok(Verdict::Accept)
            }
            Verify::Scram { username, hash, .. } => {
                let stored_hash = match hash {
                    sasl::ScramHash::Sha256 => ScramHash::Sha256,
                    _ => return Err(AuthRefusal::Mechanism),
                };
                let scram = self.accounts.scram().ok_or(AuthRefusal::Mechanism)?;
                let stored = scram.keys(&username, stored_hash).await.map_err(refusal)?;
                let keys = stored.and_then(|keys| {
                    let (stored_key, server_key) = (&keys.stored_key[..], &keys.server_key[..]);
                    sasl::ScramKeys::new(
                        hash,
                        &keys.salt,
                        keys.iterations,
                        stored_key.into(),
                        server_key.into(),
                    )
                    .ok()
                });
                let fake = || sasl::ScramKeys::fake(hash, &self.secret, &username, FAKE_ITERATIONS);
                Ok(Verdict::Keys(keys.unwrap_or_else(fake)))
            }
            _ => Err(AuthRefusal::Mechanism),
        }
    }

    async fn decide(
        &self,
        request: &LoginRequest,
        peer: &Peer,
        mechanism: &str,
    ) -> Result<User, AuthRefusal> {
        let (peer, service) = (shown(peer), request.service);
        match self.accounts.login(request).await {
            Ok(user) => {
                tracing::info!(protocol = %service, peer, %user, mechanism, tls = request.tls, "login");
                Ok(user)
            }
            Err(why) => {
                tracing::warn!(protocol = %service, peer, user = ?request.user, mechanism, %why, "login refused");
                Err(refusal(why))
            }
        }
    }
}

fn request(
    user: String,
    authorization: Option<String>,
    credentials: Credentials,
    peer: &Peer,
    tls: bool,
    service: Service,
) -> LoginRequest {
    let mut request = LoginRequest::new(user, credentials, service);
    request.authorization = authorization;
    request.peer = peer.remote.map(|remote| remote.ip());
    request.tls = tls;
    request
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
