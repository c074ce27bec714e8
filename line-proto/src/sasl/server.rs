//! The server's side of an exchange.

use std::fmt;

use bytes::Bytes;

use super::{
    Context, Mechanism, ScramHash, ScramKeys,
    gssapi::{self, GssContext, GssServer},
};
use crate::{AuthRefusal, AuthStep, Secret};

/// One exchange, as the server sees it.
///
/// [`step`](Self::step) with each response of the peer, [`resume`](Self::resume) after each
/// [`ServerStep::Verify`]. Anything out of that order, and anything after the end, is refused.
pub struct Server {
    mechanism: Mechanism,
    side: Box<dyn ServerSide>,
    expects: Expects,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expects {
    Response,
    Verdict,
    Nothing,
}

/// What one mechanism does.
pub(super) trait ServerSide: Send + Sync {
    /// The peer's initial response, its absence, or its response to the last challenge.
    fn step(&mut self, response: Option<&[u8]>) -> ServerStep;

    /// The application's answer to [`ServerStep::Verify`].
    fn resume(&mut self, verdict: Verdict) -> ServerStep;

    /// As [`Server::was_refused_for`].
    fn was_refused_for(&self, _password: &Secret) -> bool {
        false
    }
}

/// What comes next in an exchange.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerStep {
    /// Send this and wait for the response.
    Challenge(Bytes),
    /// Ask the application, then [`Server::resume`].
    Verify(Verify),
    /// The peer is who it says. Whether it may act as [`Identity::authzid`] is for the application to say: a `Verify`
    /// that accepted has said it for [`Verify::Password`]; after the others it is still open.
    Done(Identity),
    /// It is not.
    Refuse(AuthRefusal),
}

impl ServerStep {
    /// What the protocol machine is answered; nothing yet if the application must be asked first.
    pub fn answer(&self) -> Option<AuthStep> {
        match self {
            Self::Challenge(challenge) => Some(AuthStep::Challenge(challenge.clone())),
            Self::Verify(_) => None,
            Self::Done(_) => Some(AuthStep::Accept),
            Self::Refuse(refusal) => Some(AuthStep::Refuse(*refusal)),
        }
    }
}

/// What the application is asked.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verify {
    /// Is this the password? Answer with [`Verdict::Accept`] or [`Verdict::Refuse`].
    Password {
        /// Whom the peer wants to act as, if not as itself (RFC 4616 §2).
        authzid: Option<String>,
        /// Who it says it is, prepared (RFC 4013).
        authcid: String,
        /// Its password, prepared.
        password: Secret,
        /// The password as it was shown, if preparing it has changed it. RFC 4616 §2 compares what is prepared; what was hashed
        /// elsewhere may have been hashed as it was.
        shown: Option<Secret>,
    },
    /// What are the keys? Answer with [`Verdict::Keys`]: for a user that is unknown, with [`ScramKeys::fake`].
    Scram {
        /// Whom the peer wants to act as, if not as itself.
        authzid: Option<String>,
        /// Who it says it is, prepared.
        username: String,
        /// For which hash keys are needed.
        hash: ScramHash,
    },
    /// What is the password, as it is kept in clear? Answer with [`Verdict::Shared`].
    Shared {
        /// Who the peer says it is, prepared.
        username: String,
    },
    /// Whose is this token? Answer with [`Verdict::Identity`] or [`Verdict::Refuse`].
    Bearer {
        /// Whom the peer wants to act as; absent where the token alone is to tell. That it is the token's own user, or
        /// may act as another, is for the application to say.
        authzid: Option<String>,
        /// The token (RFC 6750 §2.1).
        token: Secret,
    },
    /// Whose is the certificate that the peer has shown in the TLS handshake? Answer with [`Verdict::Identity`] or
    /// [`Verdict::Refuse`].
    External {
        /// Whom the peer wants to act as, if not as whom the certificate names.
        authzid: Option<String>,
    },
    /// May nobody in particular come in? Answer with [`Verdict::Identity`], the account of such guests, or
    /// [`Verdict::Refuse`].
    Anonymous {
        /// What the peer says about itself, for the log: at most 255 characters, none of them a control character.
        trace: String,
    },
}

/// What the application answers.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The password is right, and the peer may act as it wishes.
    Accept,
    /// No.
    Refuse(AuthRefusal),
    /// The keys of that user.
    Keys(ScramKeys),
    /// The password of that user, prepared; `None` if there is no such user, which the peer learns only at the end.
    Shared(Option<Secret>),
    /// It is this user.
    Identity(String),
}

/// Who logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// Whose credentials were shown, prepared.
    pub authcid: String,
    /// Whom it wants to act as, if not as itself.
    pub authzid: Option<String>,
}

impl Server {
    /// Begins an exchange. `entropy` are 32 fresh random octets, for this exchange alone.
    ///
    /// # Errors
    /// [`AuthRefusal::Mechanism`] if there is no such mechanism or no channel to bind it to, and for GSSAPI, which begins with
    /// [`gssapi`](Self::gssapi);
    /// [`AuthRefusal::NeedsTls`] if it must not be used without TLS.
    pub fn start(mechanism: &str, context: &Context, entropy: [u8; 32]) -> Result<Self, AuthRefusal> {
        let mechanism = Mechanism::find(mechanism).ok_or(AuthRefusal::Mechanism)?;
        if !mechanism.is_usable(context) {
            let hidden = mechanism.shows_secret() && (!mechanism.is_legacy() || context.legacy);
            return Err(if hidden { AuthRefusal::NeedsTls } else { AuthRefusal::Mechanism });
        }
        let start = mechanism.0.server.ok_or(AuthRefusal::Mechanism)?;
        Ok(Self { mechanism, side: start(context, entropy), expects: Expects::Response })
    }

    /// Begins an exchange of GSSAPI (RFC 4752) with an acceptor's context that nobody has used yet.
    ///
    /// It asks the application nothing and ends with [`ServerStep::Done`]; what the context refuses is
    /// [`AuthRefusal::Credentials`], what it cannot tell now [`AuthRefusal::Unavailable`].
    pub fn gssapi(acceptor: Box<dyn GssContext>) -> Self {
        let (mechanism, side) = (Mechanism(&gssapi::ROW), Box::new(GssServer::new(acceptor)));
        Self { mechanism, side, expects: Expects::Response }
    }

    /// Which mechanism it is.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Takes the peer's response: the initial one, `None` if the exchange began without, or that to a challenge.
    pub fn step(&mut self, response: Option<&[u8]>) -> ServerStep {
        if self.expects != Expects::Response {
            return self.after(ServerStep::Refuse(AuthRefusal::Malformed));
        }
        let step = self.side.step(response);
        self.after(step)
    }

    /// Takes the application's answer to [`ServerStep::Verify`].
    pub fn resume(&mut self, verdict: Verdict) -> ServerStep {
        if self.expects != Expects::Verdict {
            return self.after(ServerStep::Refuse(AuthRefusal::Unavailable));
        }
        let step = self.side.resume(verdict);
        self.after(step)
    }

    /// Whether the proof that was refused here was made of this password: clients whose proof is refused show the password next
    /// (see [`Attempts`](super::Attempts)), and one guess is not to count twice. Only SCRAM can tell. Takes as long as
    /// [`ScramKeys::derive`] with the iterations that the client was told.
    pub fn was_refused_for(&self, password: &Secret) -> bool {
        self.expects == Expects::Nothing && self.side.was_refused_for(password)
    }

    fn after(&mut self, step: ServerStep) -> ServerStep {
        self.expects = match step {
            ServerStep::Challenge(_) => Expects::Response,
            ServerStep::Verify(_) => Expects::Verdict,
            ServerStep::Done(_) | ServerStep::Refuse(_) => Expects::Nothing,
        };
        step
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Server({}, expects {:?})", self.mechanism.name(), self.expects)
    }
}

/// A proof that waits for the application to say whose it is: what EXTERNAL, ANONYMOUS and the tokens have in common.
#[derive(Debug, Default)]
pub(super) struct Identified {
    authzid: Option<Option<String>>,
}

impl Identified {
    pub(super) fn ask(&mut self, authzid: Option<String>, verify: Verify) -> ServerStep {
        self.authzid = Some(authzid);
        ServerStep::Verify(verify)
    }

    pub(super) fn resume(&mut self, verdict: Verdict) -> ServerStep {
        match (verdict, self.authzid.take()) {
            (Verdict::Identity(authcid), Some(authzid)) => ServerStep::Done(Identity { authcid, authzid }),
            (Verdict::Refuse(refusal), _) => ServerStep::Refuse(refusal),
            // That it is right does not say whose it is.
            _ => ServerStep::Refuse(AuthRefusal::Unavailable),
        }
    }
}

/// A password that waits for its verdict: what the mechanisms that show it have in common.
#[derive(Debug, Default)]
pub(super) struct Shown(Option<Identity>);

impl Shown {
    /// Prepares what was shown and asks about it.
    pub(super) fn ask(&mut self, authzid: Option<&str>, authcid: &str, password: &[u8]) -> ServerStep {
        // RFC 4616 §2: what cannot be prepared, or is empty then, fails.
        let authcid = super::prepare::name(authcid);
        let prepared = super::prepare::password(password);
        let (Some(authcid), Some(prepared)) = (authcid, prepared) else {
            return ServerStep::Refuse(AuthRefusal::Malformed);
        };
        let shown = (prepared.expose() != password).then(|| Secret::from(password));
        let authzid = authzid.map(str::to_owned);
        self.0 = Some(Identity { authcid: authcid.clone(), authzid: authzid.clone() });
        ServerStep::Verify(Verify::Password { authzid, authcid, password: prepared, shown })
    }

    pub(super) fn resume(&mut self, verdict: Verdict) -> ServerStep {
        match (verdict, self.0.take()) {
            (Verdict::Accept, Some(identity)) => ServerStep::Done(identity),
            (Verdict::Refuse(refusal), _) => ServerStep::Refuse(refusal),
            // Keys are no answer to a password.
            _ => ServerStep::Refuse(AuthRefusal::Unavailable),
        }
    }
}
