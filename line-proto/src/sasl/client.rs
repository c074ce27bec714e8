//! The client's side of an exchange.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use thiserror::Error;

use super::{
    Context, MAX_ITERATIONS, MIN_ITERATIONS, Mechanism,
    gssapi::{GssContext, GssError, Initiators},
};
use crate::Secret;

/// One exchange, as the client sees it.
///
/// Send [`initial`](Self::initial) with the command if the protocol can, then [`respond`](Self::respond) to each
/// challenge. When the server says that all is well, [`finish`](Self::finish): only that tells whether the server has
/// proved what it had to.
pub struct Client {
    mechanism: Mechanism,
    side: Box<dyn ClientSide>,
    initial: Option<Bytes>,
    failed: bool,
}

/// What one mechanism does.
pub(super) trait ClientSide: Send + Sync {
    /// Does what must be done before anything can be said. Called once, before all else.
    fn begin(&mut self) -> Result<(), ClientError> {
        Ok(())
    }

    /// The response that comes before any challenge, if the mechanism has one. Asked for once.
    fn initial(&mut self) -> Option<Bytes>;

    fn respond(&mut self, challenge: &[u8]) -> Result<Bytes, ClientError>;

    /// Whether the server's success may be believed.
    fn is_finished(&self) -> bool;

    /// Whether more has been sent than a name. Most send all they have at once.
    fn is_proof_sent(&self) -> bool {
        true
    }
}

/// What a client logs in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    pub(super) authcid: String,
    pub(super) authzid: Option<String>,
    pub(super) proof: Proof,
}

/// What proves it: each mechanism wants one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proof {
    Password(Secret),
    Token(Secret),
    /// The client's TLS certificate, which was shown in the handshake.
    Certificate,
    /// What makes the contexts that have the ticket.
    Ticket(Initiators),
    None,
}

impl Credentials {
    /// A user's name and password: for PLAIN, LOGIN, CRAM-MD5 and SCRAM.
    pub fn new(user: impl Into<String>, password: Secret) -> Self {
        Self { authcid: user.into(), authzid: None, proof: Proof::Password(password) }
    }

    /// A user's name and an OAuth 2.0 access token: for OAUTHBEARER and XOAUTH2.
    pub fn bearer(user: impl Into<String>, token: Secret) -> Self {
        Self { authcid: user.into(), authzid: None, proof: Proof::Token(token) }
    }

    /// The certificate that the TLS handshake has shown: for EXTERNAL.
    pub fn certificate() -> Self {
        Self { authcid: String::new(), authzid: None, proof: Proof::Certificate }
    }

    /// A Kerberos ticket: for GSSAPI. Each exchange is given an initiator's context of its own, for the service that the
    /// server is (`imap@host`, `smtp@host`, `pop@host`, `sieve@host`: RFC 4752 §3.1).
    pub fn gssapi(
        initiator: impl Fn() -> Result<Box<dyn GssContext>, GssError> + Send + Sync + 'static,
    ) -> Self {
        Self { authcid: String::new(), authzid: None, proof: Proof::Ticket(Initiators(Arc::new(initiator))) }
    }

    /// Nobody in particular: for ANONYMOUS. `trace` is a mail address or a word for the server's log, at most 255
    /// characters, or empty.
    pub fn anonymous(trace: impl Into<String>) -> Self {
        Self { authcid: trace.into(), authzid: None, proof: Proof::None }
    }

    /// The same, to act as somebody else.
    #[must_use]
    pub fn acting_as(self, authzid: impl Into<String>) -> Self {
        Self { authzid: Some(authzid.into()), ..self }
    }

    /// The password, for a mechanism that needs one.
    pub(super) fn password(&self, mechanism: &'static str) -> Result<&Secret, ClientError> {
        match &self.proof {
            Proof::Password(password) => Ok(password),
            _ => Err(ClientError::OtherCredentials(mechanism)),
        }
    }
}

/// Why a client gives an exchange up.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The mechanism shows the password, and there is no TLS.
    #[error("{0} shows the password and is not used without TLS")]
    NeedsTls(&'static str),
    /// The mechanism binds a channel, and there is none that can be bound.
    #[error("{0} needs a TLS connection with an exporter")]
    NoChannel(&'static str),
    /// The name or password holds what RFC 4013 forbids, or nothing.
    #[error("the name or password is empty or holds characters that cannot be used")]
    Unusable,
    /// The mechanism proves something else than these credentials hold.
    #[error("{0} needs other credentials")]
    OtherCredentials(&'static str),
    /// The mechanism is obsolete, and its use was not allowed.
    #[error("{0} is obsolete and not allowed here")]
    Legacy(&'static str),
    /// The mechanism cannot carry an authorization identity.
    #[error("{0} cannot act as somebody else")]
    NoActing(&'static str),
    /// The server sent something else than the mechanism says.
    #[error("expected {0} from the server")]
    BadChallenge(&'static str),
    /// The server's nonce does not begin with ours: an old exchange is being replayed.
    #[error("expected a nonce that begins with ours from the server")]
    Nonce,
    /// The server wants too little work to be safe or too much to be honest.
    #[error("expected an iteration count within {MIN_ITERATIONS}..={MAX_ITERATIONS}, received {0}")]
    Iterations(u64),
    /// The server does not know the password.
    #[error("the server did not prove that it knows the password")]
    Unproven,
    /// The Kerberos library has no ticket, or does not take what the server sent.
    #[error("GSS-API: {0}")]
    Gssapi(#[from] GssError),
    /// The server says why it refuses.
    #[error("the server refused: {0}")]
    Refused(String),
    /// The server goes on when the exchange is over.
    #[error("the server goes on after the end of the exchange")]
    Over,
}

impl Client {
    /// The strongest of the mechanisms that the server offers and that may be used here.
    pub fn choose<'a>(
        offered: impl IntoIterator<Item = &'a str>,
        credentials: &Credentials,
        context: &Context,
    ) -> Option<Mechanism> {
        Self::usable(offered, credentials, context).next()
    }

    /// Those of the mechanisms that may be used here, the strongest first.
    pub(super) fn usable<'a>(
        offered: impl IntoIterator<Item = &'a str>,
        credentials: &Credentials,
        context: &Context,
    ) -> impl Iterator<Item = Mechanism> {
        let offered: Vec<_> = offered.into_iter().filter_map(Mechanism::find).collect();
        Mechanism::all().filter(move |mechanism| {
            offered.contains(mechanism)
                && mechanism.is_usable(context)
                // Whether the credentials do for it is known to the mechanism alone.
                && (mechanism.0.client)(credentials, context, [0; 32]).is_ok()
        })
    }

    /// Begins an exchange. `entropy` are 32 fresh random octets, for this exchange alone.
    ///
    /// # Errors
    /// [`ClientError`] if the mechanism may not be used on this connection or not with these credentials.
    pub fn new(
        mechanism: Mechanism,
        credentials: &Credentials,
        context: &Context,
        entropy: [u8; 32],
    ) -> Result<Self, ClientError> {
        if !mechanism.is_usable(context) {
            let name = mechanism.name();
            return Err(if mechanism.is_legacy() && !context.legacy {
                ClientError::Legacy(name)
            } else if mechanism.shows_secret() {
                ClientError::NeedsTls(name)
            } else {
                ClientError::NoChannel(name)
            });
        }
        let mut side = (mechanism.0.client)(credentials, context, entropy)?;
        side.begin()?;
        let initial = side.initial();
        Ok(Self { mechanism, side, initial, failed: false })
    }

    /// Which mechanism it is.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// The initial response, if the mechanism has one. If it is not taken, it is the response to the first challenge.
    pub fn initial(&mut self) -> Option<Bytes> {
        self.initial.take()
    }

    /// The response to a challenge.
    ///
    /// # Errors
    /// [`ClientError`] if the exchange must be given up: cancel it (`*`) and do not believe a success.
    pub fn respond(&mut self, challenge: &[u8]) -> Result<Bytes, ClientError> {
        if self.failed {
            return Err(ClientError::Over);
        }
        // RFC 4422 §3: the challenge in front of an initial response is empty. Some are not; nothing hangs on it.
        if let Some(initial) = self.initial.take() {
            return Ok(initial);
        }
        let response = self.side.respond(challenge);
        self.failed = response.is_err();
        response
    }

    /// Whether anything was sent that comes of the password, a token or a certificate. A refusal before that is not about
    /// them.
    pub fn is_proof_sent(&self) -> bool {
        self.side.is_proof_sent()
    }

    /// Takes the server's success, with the data that came with it if the protocol has a place for it.
    ///
    /// # Errors
    /// [`ClientError::Unproven`] if the server has not proved what it had to: it may be somebody else.
    pub fn finish(&mut self, data: Option<&[u8]>) -> Result<(), ClientError> {
        if let Some(data) = data {
            self.respond(data)?;
        }
        if self.failed || self.initial.is_some() || !self.side.is_finished() {
            return Err(ClientError::Unproven);
        }
        Ok(())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Client({})", self.mechanism.name())
    }
}
