//! The account whose mail is meant.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use crate::vault::MailKey;

/// The canonical name of an account, such as `alice@example.org`. Cheap to clone.
///
/// Made by whoever decides about accounts ([`Accounts`](crate::accounts::Accounts) and
/// [`Recipients`](crate::accounts::Recipients)), who also decides that `Alice@Example.ORG` is the same account;
/// a store compares the octets and takes every name.
///
/// ```
/// use mailwright_mailstore::User;
///
/// let alice = User::new("alice@example.org")?;
/// assert_eq!(alice.as_str(), "alice@example.org");
/// assert!(User::new("").is_err());
/// # Ok::<(), mailwright_mailstore::UserError>(())
/// ```
///
/// One that comes from `embedded::Embedded::unlock` has with it the key to mail that is encrypted. It is the
/// same account: the key takes no part in comparisons, and goes wherever clones go. So does it that somebody is there [as a
/// guest](Self::as_guest), or [in the owner's place](Self::opened_by).
#[derive(Clone)]
pub struct User {
    name: Arc<str>,
    key: Option<MailKey>,
    guest: bool,
    opener: Option<Arc<str>>,
}

impl User {
    /// The longest name, in octets: the longest local part and domain of RFC 5321 §4.5.3.1 with their `@`.
    pub const MAX_OCTETS: usize = 320;

    /// The account of this name.
    ///
    /// # Errors
    /// If the name is empty, longer than [`MAX_OCTETS`](Self::MAX_OCTETS) or holds a control character.
    pub fn new(name: &str) -> Result<Self, UserError> {
        if name.is_empty() || name.len() > Self::MAX_OCTETS {
            return Err(UserError::Length(name.len()));
        }
        match name.chars().find(|character| character.is_control()) {
            Some(control) => Err(UserError::Control(control)),
            None => Ok(Self { name: name.into(), key: None, guest: false, opener: None }),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The same account, opened by somebody who is nobody in particular: the services of `mailwright` let guests read and
    /// change nothing. Without the key to mail that is encrypted.
    #[must_use]
    pub fn as_guest(self) -> Self {
        Self { key: None, guest: true, ..self }
    }

    /// Whether it is a guest who has opened the account.
    pub const fn is_guest(&self) -> bool {
        self.guest
    }

    /// The same account, opened by an administrator in its owner's place.
    #[must_use]
    pub fn opened_by(self, master: &Self) -> Self {
        Self { opener: Some(Arc::clone(&master.name)), ..self }
    }

    /// Who has opened the account, if it was not its owner.
    pub fn opener(&self) -> Option<&str> {
        self.opener.as_deref()
    }

    /// The same account, with the key to its mail.
    #[cfg(feature = "encryption")]
    pub(crate) fn with_key(mut self, key: MailKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Whether the key to mail that is encrypted is with it. What is read with it should be kept by nobody beyond that session.
    pub const fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// The key to the account's mail, if a login has opened it.
    #[cfg_attr(not(feature = "embedded"), expect(dead_code, reason = "no other back end encrypts"))]
    pub(crate) const fn key(&self) -> Option<&MailKey> {
        self.key.as_ref()
    }
}

impl PartialEq for User {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for User {}

impl PartialOrd for User {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for User {
    fn cmp(&self, other: &Self) -> Ordering {
        self.name.cmp(&other.name)
    }
}

impl Hash for User {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "User({:?})", &*self.name)
    }
}

impl AsRef<str> for User {
    fn as_ref(&self) -> &str {
        &self.name
    }
}

impl FromStr for User {
    type Err = UserError;

    /// As [`User::new`].
    fn from_str(name: &str) -> Result<Self, UserError> {
        Self::new(name)
    }
}

/// Why a text is not a [`User`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UserError {
    /// Nothing at all, or more than [`User::MAX_OCTETS`].
    #[error("expected an account name of 1 to 320 octets, got {0}")]
    Length(usize),
    /// A control character, NUL among them.
    #[error("expected an account name without control characters, got {0:?}")]
    Control(char),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stop_at_the_limit_and_at_control_characters() {
        assert!(User::new(&"a".repeat(320)).is_ok());
        assert_eq!(User::new(&"a".repeat(321)), Err(UserError::Length(321)));
        assert_eq!(User::new(""), Err(UserError::Length(0)));
        assert_eq!(User::new("a\0b"), Err(UserError::Control('\0')));
        assert!("zoë@example.org".parse::<User>().is_ok());
    }

    #[test]
    fn a_guest_is_the_same_account() {
        let user = User::new("library@example.org").unwrap();
        let guest = user.clone().as_guest();
        assert_eq!(user, guest);
        assert!(guest.is_guest() && !user.is_guest());
    }
}
