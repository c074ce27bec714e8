//! The facet of a store whose users arrange their mailboxes.

use mailwright_mail_model::{MailboxName, SpecialUse};

use crate::store::Never;
use crate::{Mailbox, Result, StoreError, User};

/// CREATE, DELETE, RENAME, SUBSCRIBE.
pub trait Folders: Send + Sync {
    /// Makes a mailbox, and those above it that are missing (RFC 9051 §6.3.4). If one of this name existed before,
    /// the new one has another UIDVALIDITY, higher. No other mailbox of the user has or had it: a mailbox can get the name that another
    /// had, and a client must see that it is not the same (RFC 9051 §2.3.1.1).
    ///
    /// # Errors
    /// [`Exists`](crate::StoreError::Exists), for `INBOX` always.
    fn create(
        &self,
        user: &User,
        name: &MailboxName,
        special_use: Option<SpecialUse>,
    ) -> impl Future<Output = Result<Mailbox>> + Send;

    /// Removes a mailbox and its messages, not those below it (RFC 9051 §6.3.5). Subscriptions stay.
    ///
    /// # Errors
    /// [`NotFound`](crate::StoreError::NotFound), also for a name that only has others below it;
    /// [`Invalid`](crate::StoreError::Invalid) for `INBOX`.
    fn delete(&self, user: &User, name: &MailboxName) -> impl Future<Output = Result<()>> + Send;

    /// Gives a mailbox and all below it another name; they keep UIDs and UIDVALIDITY, identity (RFC 8474 §4), special use, what was
    /// expunged and all else that is theirs. `INBOX` instead moves its messages into a new mailbox, as
    /// [`Write::move_to`](crate::Write::move_to) does, stays, and keeps what is below it (RFC 9051 §6.3.6).
    /// Makes the mailboxes above the new name that are missing. Subscriptions stay with the old names.
    ///
    /// # Errors
    /// [`NotFound`](crate::StoreError::NotFound) if neither `from` nor anything below it exists,
    /// [`Exists`](crate::StoreError::Exists) if any of the new names does,
    /// [`Invalid`](crate::StoreError::Invalid) if `to` lies below `from` or a name would become too long or too deep.
    fn rename(
        &self,
        user: &User,
        from: &MailboxName,
        to: &MailboxName,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Notes that the user wants to see this name; it need not exist (RFC 9051 §6.3.7).
    fn subscribe(&self, user: &User, name: &MailboxName) -> impl Future<Output = Result<()>> + Send;

    /// Takes back a subscription, if there is one.
    fn unsubscribe(&self, user: &User, name: &MailboxName) -> impl Future<Output = Result<()>> + Send;

    /// The names the user subscribed, sorted, some of which may not exist.
    fn subscriptions(&self, user: &User) -> impl Future<Output = Result<Vec<MailboxName>>> + Send;

    /// Removes all that is kept of a user: mailboxes, `INBOX` too, expunged messages that could be had back, subscriptions, scripts,
    /// annotations, access lists and limits; and what the user noted privately about mailboxes of others, messages in them and the
    /// server. Entries for the user in lists of others are [`Acl::withdraw`](crate::Acl::withdraw)'s. To whoever looks at one of the
    /// mailboxes it is deleted. A user who comes back begins anew, with an `INBOX` that has another UIDVALIDITY; somebody who has nothing
    /// has nothing removed.
    fn erase(&self, user: &User) -> impl Future<Output = Result<()>> + Send;
}

impl Folders for Never {
    async fn create(&self, _: &User, _: &MailboxName, _: Option<SpecialUse>) -> Result<Mailbox> {
        match *self {}
    }

    async fn delete(&self, _: &User, _: &MailboxName) -> Result<()> {
        match *self {}
    }

    async fn rename(&self, _: &User, _: &MailboxName, _: &MailboxName) -> Result<()> {
        match *self {}
    }

    async fn subscribe(&self, _: &User, _: &MailboxName) -> Result<()> {
        match *self {}
    }

    async fn unsubscribe(&self, _: &User, _: &MailboxName) -> Result<()> {
        match *self {}
    }

    async fn subscriptions(&self, _: &User) -> Result<Vec<MailboxName>> {
        match *self {}
    }

    async fn erase(&self, _: &User) -> Result<()> {
        match *self {}
    }
}

/// The rules of [`Folders::rename`]: the existing names that get new ones, or why they cannot. For `INBOX` that is itself alone, whose
/// messages move.
///
/// ```
/// use mailwright_mail_model::MailboxName;
/// use mailwright_mailstore::backend::{check_rename, renamed};
///
/// let [old, child, new] = ["old", "old/child", "new"].map(|name| MailboxName::new(name).unwrap());
/// let moves = check_rename(&[MailboxName::inbox(), old.clone(), child.clone()], &old, &new)?;
/// assert_eq!(moves, [old.clone(), child.clone()]);
/// assert_eq!(renamed(&child, &old, &new)?.as_str(), "new/child");
/// # Ok::<(), mailwright_mailstore::StoreError>(())
/// ```
///
/// # Errors
/// As [`Folders::rename`] has them.
pub fn check_rename(
    existing: &[MailboxName],
    from: &MailboxName,
    to: &MailboxName,
) -> Result<Vec<MailboxName>> {
    if from.is_inbox() {
        return if existing.contains(to) { Err(StoreError::Exists) } else { Ok(vec![from.clone()]) };
    }
    if to.is_inbox() || existing.contains(to) {
        return Err(StoreError::Exists);
    }
    if to.starts_with_level(from) {
        return Err(StoreError::Invalid("expected a new name outside of the mailbox it is for".into()));
    }
    let moves: Vec<_> = existing.iter().filter(|name| name.starts_with_level(from)).cloned().collect();
    if moves.is_empty() {
        return Err(StoreError::NotFound);
    }
    for name in &moves {
        if existing.contains(&renamed(name, from, to)?) {
            return Err(StoreError::Exists);
        }
    }
    Ok(moves)
}

/// What `name`, which is `from` or below it, is called once `from` is called `to`.
///
/// # Errors
/// [`Invalid`](StoreError::Invalid) if that becomes too long or too deep.
pub fn renamed(name: &MailboxName, from: &MailboxName, to: &MailboxName) -> Result<MailboxName> {
    let rest = name.as_str().strip_prefix(from.as_str()).unwrap_or_default();
    // A name made elsewhere may hold wildcards, and keeps them.
    MailboxName::lookup(&format!("{to}{rest}")).map_err(|error| StoreError::Invalid(error.to_string()))
}

/// The names above `name`, from the top: what [`Folders::create`] and [`Folders::rename`] make if it is missing.
pub fn parents(name: &MailboxName) -> Vec<MailboxName> {
    let mut parents: Vec<_> = std::iter::successors(name.parent(), MailboxName::parent).collect();
    parents.reverse();
    parents
}
