//! The facet of a store that keeps annotations of mailboxes and of the server (RFC 5464).

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use mailwright_mail_model::MailboxName;

use crate::store::Never;
use crate::{Result, User};

/// GETMETADATA and SETMETADATA.
///
/// What is shared is the same to everybody; what is private belongs to who wrote it. Annotations of a mailbox go with it: they keep
/// to it under a new name and end with it. Who may do what is for the server to decide.
pub trait Metadata: Send + Sync {
    /// Every annotation that `reader` sees, sorted by name.
    ///
    /// # Errors
    /// [`NotFound`](crate::StoreError::NotFound) if there is no such mailbox.
    fn annotations(
        &self,
        place: &Annotated,
        reader: &User,
    ) -> impl Future<Output = Result<Vec<Annotation>>> + Send;

    /// Sets annotations, and removes those without a value: all or none.
    ///
    /// # Errors
    /// [`NotFound`](crate::StoreError::NotFound) if there is no such mailbox, [`TooLarge`](crate::StoreError::TooLarge) for a value,
    /// [`TooMany`](crate::StoreError::TooMany) entries in one place, [`OverQuota`](crate::StoreError::OverQuota).
    fn annotate(
        &self,
        place: &Annotated,
        writer: &User,
        changes: &[(EntryName, Option<Bytes>)],
    ) -> impl Future<Output = Result<()>> + Send;
}

/// What an annotation is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "RFC 5464 §1 has these two")]
pub enum Annotated {
    /// The server.
    Server,
    /// A mailbox.
    Mailbox {
        /// Whose.
        owner: User,
        /// Which.
        name: MailboxName,
    },
}

/// An annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Annotation {
    /// Its name.
    pub entry: EntryName,
    /// Its value, any octets.
    pub value: Bytes,
}

impl Annotation {
    /// For stores.
    pub const fn new(entry: EntryName, value: Bytes) -> Self {
        Self { entry, value }
    }
}

/// The name of an annotation (RFC 5464 §3.2): `/private/` or `/shared/` and more, in lower case.
///
/// ```
/// use mailwright_mailstore::EntryName;
///
/// let entry: EntryName = "/Private/Comment".parse()?;
/// assert_eq!(entry.as_str(), "/private/comment");
/// assert!(entry.is_private());
/// assert!("/comment".parse::<EntryName>().is_err());
/// # Ok::<(), mailwright_mailstore::EntryNameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryName(String);

impl EntryName {
    /// The longest name, in octets.
    pub const MAX_OCTETS: usize = 512;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is seen by one user only.
    pub fn is_private(&self) -> bool {
        self.0.starts_with("/private/")
    }

    /// How many levels `self` lies below `ancestor`, 0 if it is the same, for DEPTH (RFC 5464 §4.2.2); `None` if it does not.
    pub fn below(&self, ancestor: &str) -> Option<usize> {
        let rest = self.0.get(..ancestor.len()).filter(|start| start.eq_ignore_ascii_case(ancestor));
        let rest = rest.and_then(|_| self.0.get(ancestor.len()..))?;
        (rest.is_empty() || rest.starts_with('/')).then(|| rest.matches('/').count())
    }
}

impl FromStr for EntryName {
    type Err = EntryNameError;

    fn from_str(name: &str) -> Result<Self, EntryNameError> {
        if name.len() > Self::MAX_OCTETS {
            return Err(EntryNameError::TooLong(name.len()));
        }
        // RFC 5464 §3.2: no wildcard, no octet beyond ASCII, no control; no component is empty.
        if let Some(wrong) = name
            .chars()
            .find(|letter| !letter.is_ascii() || letter.is_control() || matches!(letter, '*' | '%'))
        {
            return Err(EntryNameError::Character(wrong));
        }
        let lower = name.to_ascii_lowercase();
        let rest = lower.strip_prefix("/private/").or_else(|| lower.strip_prefix("/shared/"));
        let whole = rest.is_some_and(|rest| rest.split('/').all(|level| !level.is_empty()));
        if whole { Ok(Self(lower)) } else { Err(EntryNameError::Shape) }
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not an [`EntryName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryNameError {
    /// More than [`EntryName::MAX_OCTETS`].
    #[error("expected an entry name of at most 512 octets, got {0}")]
    TooLong(usize),
    /// A wildcard, a control, or nothing of ASCII.
    #[error("expected an entry name of ASCII without controls and wildcards, got {0:?}")]
    Character(char),
    /// Not below `/private` or `/shared`, or with an empty component.
    #[error("expected an entry name below /private/ or /shared/ without empty components")]
    Shape,
}

impl Metadata for Never {
    async fn annotations(&self, _: &Annotated, _: &User) -> Result<Vec<Annotation>> {
        match *self {}
    }

    async fn annotate(&self, _: &Annotated, _: &User, _: &[(EntryName, Option<Bytes>)]) -> Result<()> {
        match *self {}
    }
}

/// The limits of this crate's back ends: octets of a value, and entries of one place that one user sees.
pub(crate) const MOST_VALUE: usize = 64 * 1024;
pub(crate) const MOST_ENTRIES: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_compared() {
        for wrong in [
            "",
            "/",
            "/private",
            "/private/",
            "/private//a",
            "/shared/a/",
            "private/a",
            "/shared/a*",
            "/shared/\u{e9}",
        ] {
            assert!(wrong.parse::<EntryName>().is_err(), "{wrong:?}");
        }
        let entry: EntryName = "/shared/vendor/x/y".parse().unwrap();
        assert_eq!(entry.below("/shared/vendor"), Some(2));
        assert_eq!(entry.below("/SHARED/vendor/x/y"), Some(0));
        assert_eq!(entry.below("/shared/ven"), None);
    }
}
