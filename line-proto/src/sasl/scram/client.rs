//! The client's side of SCRAM.

use std::num::NonZeroU32;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use subtle::ConstantTimeEq;

use super::{
    super::{
        client::{ClientError, ClientSide, Credentials},
        prepare,
    },
    BINDING, MAX_ITERATIONS, MIN_ITERATIONS, ScramHash, keys,
    message::{ServerFinal, ServerFirst, encode_name},
};
use crate::Secret;

pub(super) struct ScramClient {
    hash: ScramHash,
    password: Secret,
    nonce: String,
    /// The header of the first message, and with it what it binds.
    header: String,
    binding: Vec<u8>,
    bare: String,
    state: State,
}

enum State {
    /// The first message was sent.
    First,
    /// The proof was sent; this is what the server must answer.
    Final(Secret),
    /// The server has proved itself.
    Proven,
    Over,
}

impl ScramClient {
    pub(super) fn new(
        hash: ScramHash,
        credentials: &Credentials,
        plus: bool,
        exporter: Option<[u8; 32]>,
        nonce: String,
    ) -> Result<Self, ClientError> {
        let username = prepare::name(&credentials.authcid).ok_or(ClientError::Unusable)?;
        let password =
            prepare::password(credentials.password("SCRAM")?.expose()).ok_or(ClientError::Unusable)?;
        let authzid = match credentials.authzid.as_deref() {
            None => String::new(),
            Some(authzid) if authzid.is_empty() || authzid.contains('\0') => {
                return Err(ClientError::Unusable);
            }
            Some(authzid) => format!("a={}", encode_name(authzid)),
        };
        // RFC 5802 §6: say that we could have, so that a server that offered it knows of the downgrade.
        let header = match (plus, exporter) {
            (true, _) => format!("p={BINDING},{authzid},"),
            (false, Some(_)) => format!("y,{authzid},"),
            (false, None) => format!("n,{authzid},"),
        };
        let mut binding = header.as_bytes().to_vec();
        if let (true, Some(exporter)) = (plus, exporter) {
            binding.extend_from_slice(&exporter);
        }
        let bare = format!("n={},r={nonce}", encode_name(&username));
        Ok(Self { hash, password, nonce, header, binding, bare, state: State::First })
    }

    fn first(&mut self, challenge: &[u8]) -> Result<Bytes, ClientError> {
        const EXPECTED: ClientError = ClientError::BadChallenge("r=…,s=…,i=…");
        let text = std::str::from_utf8(challenge).map_err(|_| EXPECTED)?;
        let found = ServerFirst::parse(text).ok_or(EXPECTED)?;
        // RFC 5802 §5.1: ours, and something of the server's own behind it.
        if found.nonce.strip_prefix(&self.nonce).is_none_or(str::is_empty) {
            return Err(ClientError::Nonce);
        }
        let iterations = u32::try_from(found.iterations)
            .ok()
            .filter(|iterations| (MIN_ITERATIONS..=MAX_ITERATIONS).contains(iterations))
            .and_then(NonZeroU32::new)
            .ok_or(ClientError::Iterations(found.iterations))?;
        let salted = self.hash.salted(&self.password, &found.salt, iterations);
        let without_proof = format!("c={},r={}", STANDARD.encode(&self.binding), found.nonce);
        let auth_message = format!("{},{text},{without_proof}", self.bare);
        let proof = keys::proof(self.hash, &salted, auth_message.as_bytes());
        let server_key = keys::server_key(self.hash, &salted);
        self.state = State::Final(self.hash.sign(server_key.expose(), auth_message.as_bytes()));
        Ok(format!("{without_proof},p={}", STANDARD.encode(proof.expose())).into())
    }

    fn last(&mut self, challenge: &[u8], expected: &Secret) -> Result<Bytes, ClientError> {
        match ServerFinal::parse(challenge).ok_or(ClientError::BadChallenge("v=…"))? {
            ServerFinal::Signature(signature) if bool::from(signature.ct_eq(expected.expose())) => {
                self.state = State::Proven;
                Ok(Bytes::new())
            }
            ServerFinal::Signature(_) => Err(ClientError::Unproven),
            ServerFinal::Error(error) => Err(ClientError::Refused(error.chars().take(64).collect())),
        }
    }
}

impl ClientSide for ScramClient {
    fn initial(&mut self) -> Option<Bytes> {
        Some(format!("{}{}", self.header, self.bare).into())
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Bytes, ClientError> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::First => self.first(challenge),
            State::Final(expected) => self.last(challenge, &expected),
            State::Proven | State::Over => Err(ClientError::Over),
        }
    }

    fn is_finished(&self) -> bool {
        matches!(self.state, State::Proven)
    }

    fn is_proof_sent(&self) -> bool {
        !matches!(self.state, State::First)
    }
}
