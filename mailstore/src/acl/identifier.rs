//! Whom an entry of an access control list is for (RFC 4314 §3).

use std::fmt;
use std::str::FromStr;

use super::{AclEntry, Rights};
use crate::User;

/// Whom an entry is for, and whether it takes rights rather than gives them.
///
/// Shown and read as `alice@example.org`, `$staff` for a group, `anyone`, each with a `-` before it if it takes. Names are prepared as RFC 4314 §3
/// asks (SASLprep) and have no upper case, so that `Alice` and `alice`, composed or not, are one.
///
/// ```
/// use mailwright_mailstore::Identifier;
///
/// let identifier: Identifier = "-Zoe\u{308}@example.org".parse()?;
/// assert!(identifier.is_negative());
/// assert_eq!(identifier.to_string(), "-zoë@example.org");
/// # Ok::<(), mailwright_mailstore::IdentifierError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier {
    subject: Subject,
    negative: bool,
}

/// Whom an entry is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Subject {
    /// Everybody.
    Anyone,
    /// A group, by its prepared name.
    Group(Prepared),
    /// An account, by its prepared name.
    User(Prepared),
}

impl Subject {
    /// The name of the account, if it is one.
    pub(crate) fn account(&self) -> Option<&str> {
        match self {
            Self::User(name) => Some(&name.0),
            Self::Anyone | Self::Group(_) => None,
        }
    }
}

/// A name in the one form in which names are compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prepared(String);

impl Prepared {
    /// Prepares a name.
    ///
    /// # Errors
    /// If it is empty, too long, or holds what SASLprep (RFC 4013) forbids.
    pub fn new(name: &str) -> Result<Self, IdentifierError> {
        if name.is_empty() || name.len() > User::MAX_OCTETS {
            return Err(IdentifierError::Length(name.len()));
        }
        let prepared = stringprep::saslprep(name).map_err(|_| IdentifierError::Prohibited)?;
        // Lowering may take a composition apart again.
        let lower = prepared.to_lowercase();
        let lower = stringprep::saslprep(&lower).map_err(|_| IdentifierError::Prohibited)?;
        Ok(Self(lower.into_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Identifier {
    /// Gives rights to whom it is for.
    pub const fn new(subject: Subject) -> Self {
        Self { subject, negative: false }
    }

    /// The entry that gives rights to an account.
    ///
    /// # Errors
    /// As [`Prepared::new`].
    pub fn user(user: &User) -> Result<Self, IdentifierError> {
        Prepared::new(user.as_str()).map(|name| Self::new(Subject::User(name)))
    }

    /// The entry for the same that takes what this one gives, or gives what it takes.
    #[must_use]
    pub fn negated(self) -> Self {
        Self { negative: !self.negative, ..self }
    }

    /// Whom it is for.
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Whether the entry takes rights.
    pub const fn is_negative(&self) -> bool {
        self.negative
    }
}

impl FromStr for Identifier {
    type Err = IdentifierError;

    fn from_str(text: &str) -> Result<Self, IdentifierError> {
        let (negative, name) = text.strip_prefix('-').map_or((false, text), |name| (true, name));
        let subject = match name.strip_prefix('$') {
            Some(group) => Subject::Group(Prepared::new(group)?),
            None => match Prepared::new(name)? {
                name if name.as_str() == "anyone" => Subject::Anyone,
                name => Subject::User(name),
            },
        };
        Ok(Self { subject, negative })
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.negative { "-" } else { "" })?;
        self.subject.fmt(f)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anyone => f.write_str("anyone"),
            Self::Group(name) => write!(f, "${}", name.0),
            Self::User(name) => f.write_str(&name.0),
        }
    }
}

/// Why a text is not an [`Identifier`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentifierError {
    /// Nothing at all, or more than [`User::MAX_OCTETS`].
    #[error("expected a name of 1 to 320 octets, got {0}")]
    Length(usize),
    /// What SASLprep does not allow.
    #[error("expected a name that SASLprep allows")]
    Prohibited,
}

/// Somebody who wants something: an account and the groups it is in.
///
/// ```
/// use mailwright_mailstore::{Identity, User};
///
/// let alice = Identity::new(User::new("alice@example.org")?).group("staff")?;
/// assert_eq!(alice.subjects().len(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    user: User,
    subjects: Vec<Subject>,
}

impl Identity {
    /// An account without groups. One whose name cannot be prepared has only what anyone has.
    pub fn new(user: User) -> Self {
        let name = Prepared::new(user.as_str()).ok();
        let subjects = std::iter::once(Subject::Anyone).chain(name.map(Subject::User)).collect();
        Self { user, subjects }
    }

    /// The same account, in this group too.
    ///
    /// # Errors
    /// As [`Prepared::new`].
    pub fn group(mut self, name: &str) -> Result<Self, IdentifierError> {
        self.subjects.push(Subject::Group(Prepared::new(name)?));
        Ok(self)
    }

    /// The account.
    pub const fn user(&self) -> &User {
        &self.user
    }

    /// Everybody that this one is: anyone, the account, its groups.
    pub fn subjects(&self) -> &[Subject] {
        &self.subjects
    }

    /// Whether this one is meant.
    pub fn is(&self, subject: &Subject) -> bool {
        self.subjects.contains(subject)
    }

    /// What a list of a mailbox of `owner` lets this one do.
    pub fn rights(&self, owner: &User, list: &[AclEntry]) -> Rights {
        if self.user == *owner {
            return Rights::ALL;
        }
        let mine = list.iter().filter(|entry| self.is(entry.identifier.subject()));
        let (mut given, mut taken) = (Rights::NONE, Rights::NONE);
        for entry in mine {
            let side = if entry.identifier.is_negative() { &mut taken } else { &mut given };
            *side = side.union(entry.rights);
        }
        given.difference(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_for_one_name() {
        let one: Identifier = "ZO\u{cb}@Example.org".parse().unwrap();
        assert_eq!(one, "zoe\u{308}@example.ORG".parse().unwrap());
        assert_eq!(one.to_string(), "zo\u{eb}@example.org");
        assert_eq!("ANYONE".parse::<Identifier>().unwrap().subject(), &Subject::Anyone);
        assert_eq!("-$Staff".parse::<Identifier>().unwrap().to_string(), "-$staff");
        assert!("".parse::<Identifier>().is_err());
        assert!("$".parse::<Identifier>().is_err());
        assert_eq!("a\u{7}b".parse::<Identifier>(), Err(IdentifierError::Prohibited));
    }

    #[test]
    fn what_is_taken_is_taken_from_all_that_is_given() {
        let (alice, bob) = (User::new("alice").unwrap(), User::new("BOB").unwrap());
        let entry = |who: &str, rights: &str| AclEntry::new(who.parse().unwrap(), rights.parse().unwrap());
        let list = [entry("anyone", "lr"), entry("$staff", "sw"), entry("-bob", "rw"), entry("carol", "a")];
        let bob = Identity::new(bob).group("Staff").unwrap();
        assert_eq!(bob.rights(&alice, &list).to_string(), "ls");
        assert_eq!(Identity::new(alice.clone()).rights(&alice, &list), Rights::ALL);
    }
}
