//! GSSAPI (RFC 4752): a Kerberos ticket says who it is.
//!
//! The tickets are the host's: it gives a [`GssContext`] over the library that it has, and the exchange around it is here.
//! No security layer is offered or chosen, for that is what TLS is for.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use thiserror::Error;

use super::{
    client::{ClientError, ClientSide, Credentials, Proof},
    mechanism::Row,
    prepare,
    server::{Identity, ServerSide, ServerStep, Verdict},
};
use crate::AuthRefusal;

pub(super) static ROW: Row = Row {
    name: "GSSAPI",
    shows_secret: false,
    binds_channel: false,
    needs_certificate: false,
    legacy: false,
    // What accepts tickets comes with the exchange: `Server::gssapi`.
    server: None,
    client: |credentials, _, _| GssClient::new(credentials).map(|side| Box::new(side) as _),
};

/// The longest token, in octets, in and out: what Windows allows a ticket with its groups to be (`MaxTokenSize`).
const LONGEST: usize = 65_535;

/// The most tokens of one side. Kerberos needs one or two, negotiation around it a few more.
const LEGS: u8 = 10;

/// RFC 4752 §3.3: the security layer that is none, and no octets that could be sent inside of it.
const NO_LAYER: [u8; 4] = [1, 0, 0, 0];

/// A security context of GSS-API (RFC 2743), of either side: what a host gives over its Kerberos library.
///
/// The calls are those of the C binding with the same names. An acceptor's begin with the initiator's first token, an
/// initiator's with an empty one. They may take their time: the services of `mailwright` make an acceptor's calls where
/// nothing else waits for them, an initiator should have its ticket before.
pub trait GssContext: Send + Sync {
    /// Takes a token (`gss_accept_sec_context`, `gss_init_sec_context`).
    ///
    /// # Errors
    /// [`GssError`], after which the context is not asked again.
    fn step(&mut self, token: &[u8]) -> Result<GssStep, GssError>;

    /// Protects a message for the other side, without encrypting it (`gss_wrap` with `conf_req_flag` 0).
    ///
    /// # Errors
    /// [`GssError`] if the context cannot.
    fn wrap(&mut self, message: &[u8]) -> Result<Bytes, GssError>;

    /// Takes the protection off a message of the other side, having checked it (`gss_unwrap`).
    ///
    /// # Errors
    /// [`GssError`] if it is not the other side's, or not for now.
    fn unwrap(&mut self, message: &[u8]) -> Result<Bytes, GssError>;

    /// Whose account the other side is, asked of an acceptor whose context is complete: the host makes the name of an
    /// account of the principal's (`alice@EXAMPLE.ORG`, from `gss_display_name` or `gss_localname`). `None` if it is
    /// nobody's here.
    fn peer(&self) -> Option<String>;
}

/// What a [`GssContext`] says to a token.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GssStep {
    /// Send this and wait for the other side's token (`GSS_S_CONTINUE_NEEDED`).
    Continue(Bytes),
    /// The context is established (`GSS_S_COMPLETE`); if there is a token the other side needs it.
    Complete(Option<Bytes>),
}

/// Why a [`GssContext`] gives up. The text is for the client's owner; a server's peer is never told it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GssError {
    /// The other side's token or message is not good: forged, too old, for somebody else.
    #[error("{0}")]
    Refused(String),
    /// It cannot be told now: there is no ticket, the key table cannot be read.
    #[error("{0}")]
    Unavailable(String),
}

impl From<GssError> for AuthRefusal {
    fn from(error: GssError) -> Self {
        match error {
            GssError::Refused(_) => Self::Credentials,
            GssError::Unavailable(_) => Self::Unavailable,
        }
    }
}

/// Makes the context of an exchange.
type MakeContext = dyn Fn() -> Result<Box<dyn GssContext>, GssError> + Send + Sync;

/// What makes initiators, one for each exchange: in [`Credentials::gssapi`].
#[derive(Clone)]
pub(super) struct Initiators(pub(super) Arc<MakeContext>);

impl PartialEq for Initiators {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Initiators {}

impl fmt::Debug for Initiators {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Initiators")
    }
}

pub(super) struct GssServer {
    context: Box<dyn GssContext>,
    state: Accepting,
    legs: u8,
}

enum Accepting {
    /// Nothing was said yet; whether it was asked for.
    Start(bool),
    /// Tokens go back and forth.
    Context,
    /// The last token was ours, and the client answers it with nothing.
    Established,
    /// The security layers were offered.
    Offered,
    Over,
}

impl GssServer {
    pub(super) fn new(context: Box<dyn GssContext>) -> Self {
        Self { context, state: Accepting::Start(false), legs: 0 }
    }

    fn token(&mut self, token: &[u8]) -> Result<ServerStep, AuthRefusal> {
        self.legs += 1;
        if self.legs > LEGS || token.len() > LONGEST {
            return Err(AuthRefusal::Malformed);
        }
        match self.context.step(token)? {
            GssStep::Continue(token) if token.len() <= LONGEST => {
                self.state = Accepting::Context;
                Ok(ServerStep::Challenge(token))
            }
            GssStep::Complete(Some(token)) if !token.is_empty() && token.len() <= LONGEST => {
                self.state = Accepting::Established;
                Ok(ServerStep::Challenge(token))
            }
            GssStep::Complete(token) if token.as_ref().is_none_or(Bytes::is_empty) => self.offer(),
            _ => Err(AuthRefusal::Unavailable),
        }
    }

    /// RFC 4752 §3.2: which layers there are, none, and how much fits into them, nothing.
    fn offer(&mut self) -> Result<ServerStep, AuthRefusal> {
        let offer = self.context.wrap(&NO_LAYER)?;
        self.state = Accepting::Offered;
        Ok(ServerStep::Challenge(offer))
    }

    /// RFC 4752 §3.2: the layer that was chosen, what fits into it, and whom to act as.
    fn choice(&mut self, message: &[u8]) -> Result<ServerStep, AuthRefusal> {
        if message.len() > LONGEST {
            return Err(AuthRefusal::Malformed);
        }
        let choice = self.context.unwrap(message)?;
        // Only what was offered can be chosen, and without a layer nothing fits into it.
        let authzid = choice.strip_prefix(&NO_LAYER).ok_or(AuthRefusal::Malformed)?;
        let authzid = std::str::from_utf8(authzid).map_err(|_| AuthRefusal::Malformed)?;
        if authzid.chars().any(char::is_control) {
            return Err(AuthRefusal::Malformed);
        }
        // A principal without an account is a user that is unknown.
        let peer = self.context.peer().and_then(|peer| prepare::name(&peer));
        let authcid = peer.ok_or(AuthRefusal::Credentials)?;
        let authzid = Some(authzid.to_owned()).filter(|authzid| !authzid.is_empty());
        Ok(ServerStep::Done(Identity { authcid, authzid }))
    }
}

impl ServerSide for GssServer {
    fn step(&mut self, response: Option<&[u8]>) -> ServerStep {
        let step = match (std::mem::replace(&mut self.state, Accepting::Over), response) {
            // RFC 4752 §3: the client speaks first.
            (Accepting::Start(false), None) => {
                self.state = Accepting::Start(true);
                Ok(ServerStep::Challenge(Bytes::new()))
            }
            (Accepting::Start(_) | Accepting::Context, Some(token)) => self.token(token),
            (Accepting::Established, None | Some([])) => self.offer(),
            (Accepting::Offered, Some(message)) => self.choice(message),
            _ => Err(AuthRefusal::Malformed),
        };
        step.unwrap_or_else(ServerStep::Refuse)
    }

    fn resume(&mut self, verdict: Verdict) -> ServerStep {
        // Nothing was asked that would have another answer.
        match verdict {
            Verdict::Refuse(refusal) => ServerStep::Refuse(refusal),
            _ => ServerStep::Refuse(AuthRefusal::Unavailable),
        }
    }
}

struct GssClient {
    initiators: Initiators,
    authzid: String,
    state: Initiating,
    first: Option<Bytes>,
    legs: u8,
}

enum Initiating {
    Start,
    Context(Box<dyn GssContext>),
    /// The context is established, and the server's offer of layers is next.
    Established(Box<dyn GssContext>),
    Done,
    Over,
}

impl GssClient {
    fn new(credentials: &Credentials) -> Result<Self, ClientError> {
        let Proof::Ticket(initiators) = &credentials.proof else {
            return Err(ClientError::OtherCredentials("GSSAPI"));
        };
        let authzid = credentials.authzid.clone().unwrap_or_default();
        if authzid.chars().any(char::is_control) {
            return Err(ClientError::Unusable);
        }
        let initiators = initiators.clone();
        Ok(Self { initiators, authzid, state: Initiating::Start, first: None, legs: 0 })
    }

    fn token(&mut self, mut context: Box<dyn GssContext>, token: &[u8]) -> Result<Bytes, ClientError> {
        self.legs += 1;
        if self.legs > LEGS || token.len() > LONGEST {
            return Err(ClientError::BadChallenge("fewer and shorter tokens"));
        }
        match context.step(token)? {
            GssStep::Continue(token) => {
                self.state = Initiating::Context(context);
                Ok(token)
            }
            // RFC 4752 §3.1: with no data if there is no token.
            GssStep::Complete(token) => {
                self.state = Initiating::Established(context);
                Ok(token.unwrap_or_default())
            }
        }
    }

    /// RFC 4752 §3.1: the layers that the server has, of which we take none, and whom to act as.
    fn choose(&mut self, mut context: Box<dyn GssContext>, offer: &[u8]) -> Result<Bytes, ClientError> {
        if offer.len() > LONGEST {
            return Err(ClientError::BadChallenge("a shorter offer"));
        }
        let offer = context.unwrap(offer)?;
        let &[layers, ref size @ ..] = offer.as_ref() else {
            return Err(ClientError::BadChallenge("an offer of four octets"));
        };
        if size.len() != 3 {
            return Err(ClientError::BadChallenge("an offer of four octets"));
        }
        if layers & 1 == 0 {
            return Err(ClientError::BadChallenge("an offer to go on without security layer"));
        }
        if layers == 1 && size != [0; 3] {
            return Err(ClientError::BadChallenge("a size of 0 where there is no security layer"));
        }
        let choice = [&NO_LAYER[..], self.authzid.as_bytes()].concat();
        let answer = context.wrap(&choice)?;
        self.state = Initiating::Done;
        Ok(answer)
    }
}

impl ClientSide for GssClient {
    fn begin(&mut self) -> Result<(), ClientError> {
        let context = (self.initiators.0)()?;
        self.first = Some(self.token(context, b"")?);
        Ok(())
    }

    fn initial(&mut self) -> Option<Bytes> {
        self.first.take()
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Bytes, ClientError> {
        match std::mem::replace(&mut self.state, Initiating::Over) {
            Initiating::Context(context) => self.token(context, challenge),
            Initiating::Established(context) => self.choose(context, challenge),
            Initiating::Start | Initiating::Done | Initiating::Over => Err(ClientError::Over),
        }
    }

    fn is_finished(&self) -> bool {
        matches!(self.state, Initiating::Done)
    }
}

#[cfg(test)]
mod tests;
