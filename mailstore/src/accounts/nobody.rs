//! No accounts at all.

use super::{Accounts, LoginError, LoginRequest, Recipients};
use crate::{Result, User};

/// Where nobody has an account: every login is refused, and no address is anybody's. For receivers of mail that ask nobody to log in, and
/// for queues that only send.
///
/// ```
/// use mailwright_mailstore::accounts::{Accounts, Nobody, Recipients};
/// use mailwright_mailstore::block_on;
///
/// assert!(!Nobody.takes_passwords());
/// assert_eq!(block_on(Nobody.lookup("ann@example.org"))?, None);
/// # Ok::<(), mailwright_mailstore::StoreError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nobody;

impl Accounts for Nobody {
    async fn login(&self, _: &LoginRequest) -> Result<User, LoginError> {
        Err(LoginError::Credentials)
    }

    fn takes_passwords(&self) -> bool {
        false
    }
}

impl Recipients for Nobody {
    async fn lookup(&self, _: &str) -> Result<Option<User>> {
        Ok(None)
    }
}
