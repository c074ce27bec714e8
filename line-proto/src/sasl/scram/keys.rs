//! What a server keeps of a password, and the arithmetic of both sides.

use std::{fmt, num::NonZeroU32};

use ring::{digest, hmac, pbkdf2};
use subtle::ConstantTimeEq;
use thiserror::Error;

use super::super::prepare;
use crate::Secret;

/// RFC 7677 §4: at least so many.
pub const MIN_ITERATIONS: u32 = 4096;
/// More than this is not protection but an attack on the client: it takes a good part of a second.
pub const MAX_ITERATIONS: u32 = 1_000_000;

/// The hash of a SCRAM mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ScramHash {
    /// SHA-1 (RFC 5802): obsolete.
    Sha1,
    /// SHA-256 (RFC 7677).
    Sha256,
    /// SHA-512.
    Sha512,
}

impl ScramHash {
    /// How long its keys are, in octets.
    pub fn length(self) -> usize {
        self.digest().output_len()
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        }
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }

    /// HMAC(key, text).
    pub(super) fn sign(self, key: &[u8], text: &[u8]) -> Secret {
        Secret::from(hmac::sign(&hmac::Key::new(self.hmac(), key), text).as_ref())
    }

    /// H(text).
    fn hash(self, text: &[u8]) -> Secret {
        Secret::from(digest::digest(self.digest(), text).as_ref())
    }

    /// SaltedPassword (RFC 5802 §3) of a prepared password.
    pub(super) fn salted(self, password: &Secret, salt: &[u8], iterations: NonZeroU32) -> Secret {
        let mut salted = zeroize::Zeroizing::new(vec![0; self.length()]);
        pbkdf2::derive(self.pbkdf2(), iterations, salt, password.expose(), &mut salted);
        Secret::from(&salted[..])
    }
}

/// What a server keeps instead of a password (RFC 5802 §3). Who steals it can play the server, but not the client.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    hash: ScramHash,
    salt: Vec<u8>,
    iterations: NonZeroU32,
    stored_key: Secret,
    server_key: Secret,
}

/// Why there are no keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The password holds what RFC 4013 forbids, or nothing.
    #[error("the password is empty or holds characters that cannot be used")]
    Password,
    /// There is no salt, the iteration count is zero, or a key is not as long as the hash.
    #[error("a salt, a positive iteration count and keys as long as the hash were expected")]
    Form,
}

impl ScramKeys {
    /// Keys that were kept somewhere.
    ///
    /// # Errors
    /// [`KeysError::Form`].
    pub fn new(
        hash: ScramHash,
        salt: &[u8],
        iterations: u32,
        stored_key: Secret,
        server_key: Secret,
    ) -> Result<Self, KeysError> {
        let iterations = NonZeroU32::new(iterations).ok_or(KeysError::Form)?;
        let fits = [&stored_key, &server_key].iter().all(|key| key.expose().len() == hash.length());
        if salt.is_empty() || !fits {
            return Err(KeysError::Form);
        }
        Ok(Self { hash, salt: salt.to_vec(), iterations, stored_key, server_key })
    }

    /// The keys of a password. `salt` should be 16 random octets, `iterations` no less than [`MIN_ITERATIONS`]. Takes
    /// about a millisecond for 4,096 of them.
    ///
    /// # Errors
    /// [`KeysError`] if the password cannot be used, there is no salt or no iteration.
    pub fn derive(
        hash: ScramHash,
        password: &Secret,
        salt: &[u8],
        iterations: u32,
    ) -> Result<Self, KeysError> {
        let count = NonZeroU32::new(iterations).ok_or(KeysError::Form)?;
        let password = prepare::password(password.expose()).ok_or(KeysError::Password)?;
        let salted = hash.salted(&password, salt, count);
        let stored_key = hash.hash(client_key(hash, &salted).expose());
        Self::new(hash, salt, iterations, stored_key, server_key(hash, &salted))
    }

    /// Keys for a user that does not exist: always the same for the same name, and like those of any other user, so
    /// that nobody learns which names there are (RFC 5802 §9). No password fits them. `secret` is the server's own
    /// and never changes; `iterations` is what its users have.
    pub fn fake(hash: ScramHash, secret: &Secret, username: &str, iterations: u32) -> Self {
        let part = |what: &[u8]| hash.sign(secret.expose(), &[what, username.as_bytes()].join(&0));
        Self {
            hash,
            salt: part(b"salt").expose().iter().copied().take(16).collect(),
            iterations: NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN),
            stored_key: part(b"stored"),
            server_key: part(b"server"),
        }
    }

    /// The hash they are made with.
    pub fn hash(&self) -> ScramHash {
        self.hash
    }

    /// The salt.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// The iteration count.
    pub fn iterations(&self) -> u32 {
        self.iterations.get()
    }

    /// The key that the client's proof is checked with.
    pub fn stored_key(&self) -> &Secret {
        &self.stored_key
    }

    /// The key that the server proves itself with.
    pub fn server_key(&self) -> &Secret {
        &self.server_key
    }

    /// Whether `proof` was made by somebody who knows the password, compared in constant time.
    pub(super) fn verify(&self, proof: &[u8], auth_message: &[u8]) -> bool {
        let signature = self.hash.sign(self.stored_key.expose(), auth_message);
        if proof.len() != signature.expose().len() {
            return false;
        }
        let client_key = xor(proof, &signature);
        self.hash.hash(client_key.expose()).expose().ct_eq(self.stored_key.expose()).into()
    }
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ScramKeys({:?}, {} iterations, ..)", self.hash, self.iterations)
    }
}

pub(super) fn client_key(hash: ScramHash, salted: &Secret) -> Secret {
    hash.sign(salted.expose(), b"Client Key")
}

pub(super) fn server_key(hash: ScramHash, salted: &Secret) -> Secret {
    hash.sign(salted.expose(), b"Server Key")
}

/// ClientProof (RFC 5802 §3).
pub(super) fn proof(hash: ScramHash, salted: &Secret, auth_message: &[u8]) -> Secret {
    let client_key = client_key(hash, salted);
    let stored_key = hash.hash(client_key.expose());
    xor(client_key.expose(), &hash.sign(stored_key.expose(), auth_message))
}

fn xor(left: &[u8], right: &Secret) -> Secret {
    let octets: zeroize::Zeroizing<Vec<u8>> =
        left.iter().zip(right.expose()).map(|(left, right)| left ^ right).collect::<Vec<_>>().into();
    Secret::from(&octets[..])
}
