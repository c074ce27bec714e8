//! The server's side of SCRAM.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    super::{
        prepare,
        server::{Identity, ServerSide, ServerStep, Verdict, Verify},
    },
    BINDING, ScramHash, ScramKeys,
    message::{ClientFinal, ClientFirst, Flag},
};
use crate::{AuthRefusal, Secret};

pub(super) struct ScramServer {
    hash: ScramHash,
    /// Whether the mechanism is `-PLUS`.
    plus: bool,
    exporter: Option<[u8; 32]>,
    nonce: String,
    state: State,
}

enum State {
    /// Before the first message; whether an empty challenge was sent for it.
    Start(bool),
    /// The application looks for the keys.
    Keys(First),
    /// The challenge was sent.
    Final {
        first: First,
        keys: ScramKeys,
        challenge: String,
    },
    /// Our signature was sent.
    Proved(Identity),
    /// The proof was wrong.
    Refused(Box<Refused>),
    Over,
}

/// What a wrong proof was made of, but for the password.
struct Refused {
    keys: ScramKeys,
    message: String,
    proof: Vec<u8>,
}

/// What is kept of the first message.
struct First {
    identity: Identity,
    bare: String,
    /// Both nonces.
    nonce: String,
    /// What the last message must repeat in `c=`.
    binding: Vec<u8>,
}

impl ScramServer {
    pub(super) fn new(hash: ScramHash, plus: bool, exporter: Option<[u8; 32]>, nonce: String) -> Self {
        Self { hash, plus, exporter, nonce, state: State::Start(false) }
    }

    fn first(&mut self, message: &[u8]) -> Result<ServerStep, AuthRefusal> {
        let found = ClientFirst::parse(message).ok_or(AuthRefusal::Malformed)?;
        let mut binding = found.header.as_bytes().to_vec();
        match (found.flag, self.plus, self.exporter) {
            (Flag::Bound(BINDING), true, Some(exporter)) => binding.extend_from_slice(&exporter),
            // RFC 5802 §6: somebody has hidden our offer from the client.
            (Flag::NotOffered, false, Some(_)) => return Err(AuthRefusal::Credentials),
            (Flag::No | Flag::NotOffered, false, _) => {}
            // A type that we do not have, or a binding in a mechanism without, or none in one with.
            _ => return Err(AuthRefusal::Malformed),
        }
        let username = prepare::name(&found.username).ok_or(AuthRefusal::Malformed)?;
        let authzid = found.authzid;
        let verify = Verify::Scram { authzid: authzid.clone(), username: username.clone(), hash: self.hash };
        self.state = State::Keys(First {
            identity: Identity { authcid: username, authzid },
            bare: found.bare.to_owned(),
            nonce: format!("{}{}", found.nonce, self.nonce),
            binding,
        });
        Ok(ServerStep::Verify(verify))
    }

    fn last(
        &mut self,
        message: &[u8],
        first: First,
        keys: ScramKeys,
        challenge: &str,
    ) -> Result<ServerStep, AuthRefusal> {
        let found = ClientFinal::parse(message).ok_or(AuthRefusal::Malformed)?;
        let auth_message = format!("{},{challenge},{}", first.bare, found.without_proof);
        let proven = keys.verify(&found.proof, auth_message.as_bytes());
        // RFC 5802 §5.1, §6: the same nonce, and the same header with the same channel.
        if found.nonce != first.nonce || found.binding != first.binding {
            return Err(AuthRefusal::Credentials);
        }
        if !proven {
            let refused = Refused { keys, message: auth_message, proof: found.proof };
            self.state = State::Refused(Box::new(refused));
            return Err(AuthRefusal::Credentials);
        }
        let signature = self.hash.sign(keys.server_key().expose(), auth_message.as_bytes());
        self.state = State::Proved(first.identity);
        Ok(ServerStep::Challenge(format!("v={}", STANDARD.encode(signature.expose())).into()))
    }
}

impl ServerSide for ScramServer {
    fn step(&mut self, response: Option<&[u8]>) -> ServerStep {
        let step = match (std::mem::replace(&mut self.state, State::Over), response) {
            (State::Start(false), None) => {
                self.state = State::Start(true);
                Ok(ServerStep::Challenge(bytes::Bytes::new()))
            }
            (State::Start(_), Some(message)) => self.first(message),
            (State::Final { first, keys, challenge }, Some(message)) => {
                self.last(message, first, keys, &challenge)
            }
            // The client has nothing to say to our signature but that it saw it.
            (State::Proved(identity), None | Some([])) => Ok(ServerStep::Done(identity)),
            _ => Err(AuthRefusal::Malformed),
        };
        step.unwrap_or_else(ServerStep::Refuse)
    }

    fn resume(&mut self, verdict: Verdict) -> ServerStep {
        match (std::mem::replace(&mut self.state, State::Over), verdict) {
            (State::Keys(first), Verdict::Keys(keys)) if keys.hash() == self.hash => {
                let challenge =
                    format!("r={},s={},i={}", first.nonce, STANDARD.encode(keys.salt()), keys.iterations());
                let step = ServerStep::Challenge(challenge.clone().into());
                self.state = State::Final { first, keys, challenge };
                step
            }
            (_, Verdict::Refuse(refusal)) => ServerStep::Refuse(refusal),
            // Keys of another hash, or a verdict on a password that nobody has seen.
            _ => ServerStep::Refuse(AuthRefusal::Unavailable),
        }
    }

    fn was_refused_for(&self, password: &Secret) -> bool {
        let State::Refused(refused) = &self.state else { return false };
        let Refused { keys, message, proof } = &**refused;
        ScramKeys::derive(self.hash, password, keys.salt(), keys.iterations())
            .is_ok_and(|keys| keys.verify(proof, message.as_bytes()))
    }
}
