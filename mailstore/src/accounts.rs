//! Who may log in, and whose an address is.

mod facets;
mod function;
mod nobody;
mod passwd_file;

use std::fmt;
use std::net::IpAddr;

use crate::{Never, Result, User};

pub use facets::{BearerTokens, Certificates, ScramHash, ScramKeys, SharedPasswords, StoredKeys};
pub use function::{FromFn, from_fn};
pub use nobody::Nobody;
pub use passwd_file::{PasswdEntry, PasswdError};

/// Who may log in. One method is enough; stored secrets for challenge mechanisms are a facet.
///
/// ```
/// use mailwright_mailstore::accounts::{Accounts, Credentials, LoginError, LoginRequest, Service};
/// use mailwright_mailstore::{User, block_on};
///
/// struct JustAlice;
///
/// impl Accounts for JustAlice {
///     async fn login(&self, request: &LoginRequest) -> Result<User, LoginError> {
///         let known = request.user == "alice" && request.credentials.is_password(b"swordfish");
///         if known { User::new("alice").map_err(|_| LoginError::Credentials) } else { Err(LoginError::Credentials) }
///     }
/// }
///
/// let request = LoginRequest::new("alice", Credentials::password(b"swordfish"), Service::Imap);
/// assert_eq!(block_on(JustAlice.login(&request))?.as_str(), "alice");
/// # Ok::<(), LoginError>(())
/// ```
pub trait Accounts: Send + Sync {
    /// Decides about a login, and names the account it opens: the one place for aliases, master users, expired
    /// passwords, services an account may not use, and TLS it must use.
    ///
    /// # Errors
    /// As [`LoginError`] says; [`Credentials`](LoginError::Credentials) for an unknown user, after as much work as a
    /// wrong password takes.
    fn login(&self, request: &LoginRequest) -> impl Future<Output = Result<User, LoginError>> + Send;

    /// Whether [`login`](Self::login) can check passwords: PLAIN, LOGIN and the login commands of IMAP and POP3. Opt
    /// out where everybody has a token or a certificate.
    fn takes_passwords(&self) -> bool {
        true
    }

    /// Opt in: SCRAM mechanisms.
    fn scram(&self) -> Option<&impl ScramKeys> {
        None::<&Never>
    }

    /// Opt in: passwords kept in clear, for CRAM-MD5, where somebody has switched that on.
    fn shared(&self) -> Option<&impl SharedPasswords> {
        None::<&Never>
    }

    /// Opt in: OAuth 2.0 access tokens, for OAUTHBEARER and XOAUTH2.
    fn bearer(&self) -> Option<&impl BearerTokens> {
        None::<&Never>
    }

    /// Opt in: TLS client certificates, for EXTERNAL.
    fn certificates(&self) -> Option<&impl Certificates> {
        None::<&Never>
    }

    /// Opt in: ANONYMOUS, by IMAP and POP3. The account of guests, asked for by [`login`](Self::login) as
    /// [`Credentials::Proven`]; they read its mail and change nothing ([`User::as_guest`]).
    fn guest(&self) -> Option<String> {
        None
    }
}

/// Whose mail an address takes in: for delivery.
pub trait Recipients: Send + Sync {
    /// The account that `address` (local part, `@`, domain) belongs to; `None` if it is nobody's here.
    ///
    /// # Errors
    /// If nobody can tell now: the sender is to try again.
    fn lookup(&self, address: &str) -> impl Future<Output = Result<Option<User>>> + Send;
}

/// Somebody wants to log in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LoginRequest {
    /// The user's name as the client gave it (the authentication identity of RFC 4422 §3.4.1).
    pub user: String,
    /// How the client proves to be that user.
    pub credentials: Credentials,
    /// Whom the client wants to act as (the authorization identity of RFC 4422 §3.4.1), where that is neither the name that it gave nor the
    /// account that this opens: a second request for the same user, with [`Credentials::Proven`]. Who knows but one spelling of each name and
    /// lets nobody act as others answers [`NotAuthorized`](LoginError::NotAuthorized).
    pub authorization: Option<String>,
    /// Where the client is.
    pub peer: Option<IpAddr>,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// What for.
    pub service: Service,
    /// Whether this user has logged in from about there before, as far as whoever asks remembers: somebody whom a
    /// flood of strangers should not keep out.
    pub familiar: bool,
}

impl LoginRequest {
    /// A login over an unencrypted connection from an unknown place; set the other fields as known.
    pub fn new(user: impl Into<String>, credentials: Credentials, service: Service) -> Self {
        Self {
            user: user.into(),
            credentials,
            authorization: None,
            peer: None,
            tls: false,
            service,
            familiar: false,
        }
    }
}

/// How a client proves who it is. Never shown by `Debug`.
#[derive(Clone)]
#[non_exhaustive]
pub enum Credentials {
    /// A password as it was sent, to be compared.
    Password(Vec<u8>),
    /// It is proved already: by a mechanism such as SCRAM or EXTERNAL, by an earlier request, or by a master user who opens the account. Only the
    /// rest is to be decided: whether there is such an account, and may be used so. Comes only from whoever is trusted with that, never
    /// from a client, so there is nothing to compare.
    Proven,
}

impl Credentials {
    /// A password.
    pub fn password(password: &[u8]) -> Self {
        Self::Password(password.to_vec())
    }

    /// Compares with a password known in clear, in time that depends on the lengths alone.
    pub fn is_password(&self, expected: &[u8]) -> bool {
        match self {
            Self::Password(password) => {
                let different = password.iter().zip(expected).fold(0, |sum, (a, b)| sum | (a ^ b));
                password.len() == expected.len() && std::hint::black_box(different) == 0
            }
            Self::Proven => false,
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password(redacted)",
            Self::Proven => "Proven",
        })
    }
}

/// What a login is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Service {
    /// Reading mail by IMAP.
    Imap,
    /// Reading mail by POP3.
    Pop3,
    /// Sending mail.
    Submission,
    /// Managing Sieve scripts.
    ManageSieve,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::Submission => "submission",
            Self::ManageSieve => "managesieve",
        })
    }
}

/// Why a login is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// Unknown user or wrong password: never said which.
    #[error("authentication failed")]
    Credentials,
    /// Nobody can tell now.
    #[error("temporary authentication failure; try again later")]
    Unavailable,
    /// The credentials are right, but not for that identity or service.
    #[error("not authorized")]
    NotAuthorized,
    /// The password has expired.
    #[error("credentials expired")]
    Expired,
    /// This account logs in over TLS only.
    #[error("TLS is required before authentication")]
    NeedsTls,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let request = LoginRequest::new("alice", Credentials::password(b"swordfish"), Service::Imap);
        assert!(!format!("{request:?}").contains("swordfish"));
        let keys = StoredKeys::new(vec![77; 16], 4_096, vec![77; 32], vec![77; 32]);
        assert!(!format!("{keys:?}").contains("77"));
    }

    #[test]
    fn passwords_are_compared_whole() {
        let password = Credentials::password(b"swordfish");
        assert!(password.is_password(b"swordfish"));
        for wrong in [&b"swordfis"[..], b"swordfisH", b"swordfish ", b""] {
            assert!(!password.is_password(wrong));
        }
        assert!(!Credentials::Proven.is_password(b""));
    }
}
