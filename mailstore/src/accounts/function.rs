//! Accounts that are a function.

use std::fmt;

use super::{Accounts, LoginError, LoginRequest};
use crate::User;

/// Accounts whose logins a function decides about: for a program that has its users already.
///
/// ```
/// use mailwright_mailstore::accounts::{Accounts, Credentials, LoginError, LoginRequest, Service, from_fn};
/// use mailwright_mailstore::{User, block_on};
///
/// let accounts = from_fn(|request: LoginRequest| async move {
///     // Here the program would ask its database.
///     match request.user.as_str() {
///         "alice@example.org" if request.credentials.is_password(b"swordfish") => {
///             User::new("alice@example.org").map_err(|_| LoginError::Unavailable)
///         }
///         _ => Err(LoginError::Credentials),
///     }
/// });
/// let request = LoginRequest::new("alice@example.org", Credentials::password(b"swordfish"), Service::Pop3);
/// assert_eq!(block_on(accounts.login(&request))?.as_str(), "alice@example.org");
/// # Ok::<(), LoginError>(())
/// ```
pub fn from_fn<F, T>(decide: F) -> FromFn<F>
where
    F: Fn(LoginRequest) -> T + Send + Sync,
    T: Future<Output = Result<User, LoginError>> + Send,
{
    FromFn(decide)
}

/// What [`from_fn`] makes.
#[derive(Clone, Copy)]
pub struct FromFn<F>(F);

impl<F, T> Accounts for FromFn<F>
where
    F: Fn(LoginRequest) -> T + Send + Sync,
    T: Future<Output = Result<User, LoginError>> + Send,
{
    async fn login(&self, request: &LoginRequest) -> Result<User, LoginError> {
        (self.0)(request.clone()).await
    }
}

impl<F> fmt::Debug for FromFn<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("FromFn(..)")
    }
}
