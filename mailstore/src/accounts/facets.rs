//! What accounts can do beyond checking passwords. Each is one method of its own, and opened by one of
//! [`Accounts`](super::Accounts); what is open decides what every protocol announces.

use std::{fmt, net::IpAddr};

use super::LoginError;
use crate::Never;

/// Stored keys for SCRAM mechanisms (RFC 5802).
pub trait ScramKeys: Send + Sync {
    /// The keys of a user, as named by the client. For an unknown user `None`; the mechanism then makes up keys and
    /// fails at its end.
    ///
    /// # Errors
    /// [`Unavailable`](LoginError::Unavailable) if nobody can tell now.
    fn keys(
        &self,
        user: &str,
        hash: ScramHash,
    ) -> impl Future<Output = Result<Option<StoredKeys>, LoginError>> + Send;

    /// Whether users have keys of this hash, so that its mechanisms are offered: SHA-256 and no other, unless said
    /// otherwise.
    fn has(&self, hash: ScramHash) -> bool {
        hash == ScramHash::Sha256
    }
}

/// Passwords that are kept in clear, for CRAM-MD5 (RFC 2195).
pub trait SharedPasswords: Send + Sync {
    /// The password of a user, as named by the client; `None` for an unknown one.
    ///
    /// # Errors
    /// [`Unavailable`](LoginError::Unavailable) if nobody can tell now.
    fn password(&self, user: &str) -> impl Future<Output = Result<Option<Vec<u8>>, LoginError>> + Send;
}

/// OAuth 2.0 access tokens (RFC 6750, RFC 7628).
pub trait BearerTokens: Send + Sync {
    /// Whose token this is: the name that [`Accounts::login`](super::Accounts::login) is then asked about, as proven.
    /// `user` is whom the client says it is, which some issuers want to know; it proves nothing.
    ///
    /// # Errors
    /// [`Credentials`](LoginError::Credentials) for a token that is unknown, revoked or for something else,
    /// [`Expired`](LoginError::Expired) for one whose time is over, [`Unavailable`](LoginError::Unavailable) if nobody
    /// can tell now.
    fn holder(
        &self,
        token: &[u8],
        user: Option<&str>,
    ) -> impl Future<Output = Result<String, LoginError>> + Send;

    /// The same for a client at this address, where it has one: who can be asked about so many tokens at a time only may have networks take
    /// turns.
    ///
    /// # Errors
    /// As [`holder`](Self::holder), which is what this is unless it is said otherwise.
    fn holder_from(
        &self,
        token: &[u8],
        user: Option<&str>,
        from: Option<IpAddr>,
    ) -> impl Future<Output = Result<String, LoginError>> + Send {
        let _ = from;
        self.holder(token, user)
    }
}

/// TLS client certificates (RFC 4422 appendix A).
pub trait Certificates: Send + Sync {
    /// Whose certificate this is: the name that [`Accounts::login`](super::Accounts::login) is then asked about, as
    /// proven. `chain` is what the client has shown and TLS has verified, its own certificate first, in DER.
    ///
    /// # Errors
    /// [`Credentials`](LoginError::Credentials) if it is nobody's, [`Unavailable`](LoginError::Unavailable) if nobody
    /// can tell now.
    fn holder(&self, chain: &[Vec<u8>]) -> impl Future<Output = Result<String, LoginError>> + Send;
}

/// The hash function of a SCRAM mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ScramHash {
    /// SCRAM-SHA-1 (RFC 5802).
    Sha1,
    /// SCRAM-SHA-256 (RFC 7677).
    Sha256,
    /// SCRAM-SHA-512.
    Sha512,
}

/// What a server keeps of a user's password for SCRAM (RFC 5802 §3). Never shown whole by `Debug`.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredKeys {
    /// The salt.
    pub salt: Vec<u8>,
    /// How many iterations.
    pub iterations: u32,
    /// `StoredKey`.
    pub stored_key: Vec<u8>,
    /// `ServerKey`.
    pub server_key: Vec<u8>,
}

impl StoredKeys {
    /// All four together.
    pub const fn new(salt: Vec<u8>, iterations: u32, stored_key: Vec<u8>, server_key: Vec<u8>) -> Self {
        Self { salt, iterations, stored_key, server_key }
    }
}

impl fmt::Debug for StoredKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredKeys").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl ScramKeys for Never {
    async fn keys(&self, _: &str, _: ScramHash) -> Result<Option<StoredKeys>, LoginError> {
        match *self {}
    }
}

impl SharedPasswords for Never {
    async fn password(&self, _: &str) -> Result<Option<Vec<u8>>, LoginError> {
        match *self {}
    }
}

impl BearerTokens for Never {
    async fn holder(&self, _: &[u8], _: Option<&str>) -> Result<String, LoginError> {
        match *self {}
    }
}

impl Certificates for Never {
    async fn holder(&self, _: &[Vec<u8>]) -> Result<String, LoginError> {
        match *self {}
    }
}
