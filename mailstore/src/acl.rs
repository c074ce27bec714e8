//! The facet of a store that knows who may do what with a mailbox (RFC 4314).

use mailwright_mail_model::MailboxName;

use crate::store::Never;
use crate::{Mailbox, Result, User};

mod identifier;
mod rights;

pub use identifier::{Identifier, IdentifierError, Identity, Prepared, Subject};
pub use rights::{Right, Rights, RightsError};

/// Access control lists.
///
/// Every other method of a store names the owner of the mailbox and does what it is told. Whoever serves somebody else than
/// the owner asks [`rights_of`](Self::rights_of) first.
///
/// The owner has every right always. A mailbox begins with the list of the mailbox above it, if there is one, and keeps its list
/// under a new name.
pub trait Acl: Send + Sync {
    /// The list of a mailbox, sorted, without the owner's own rights.
    ///
    /// # Errors
    /// [`NotFound`](crate::StoreError::NotFound).
    fn access_list(
        &self,
        owner: &User,
        name: &MailboxName,
    ) -> impl Future<Output = Result<Vec<AclEntry>>> + Send;

    /// Changes one entry of a list. An entry without rights is removed.
    ///
    /// # Errors
    /// [`NotFound`](crate::StoreError::NotFound); [`Invalid`](crate::StoreError::Invalid) for the owner's own entry, which cannot
    /// be changed; [`TooMany`](crate::StoreError::TooMany).
    fn change_access(
        &self,
        owner: &User,
        name: &MailboxName,
        identifier: &Identifier,
        change: AclChange,
    ) -> impl Future<Output = Result<()>> + Send;

    /// What somebody may do with a mailbox: all that the entries for them, their groups and anyone give, less what the negative
    /// ones take (RFC 4314 §2).
    ///
    /// # Errors
    /// [`NotFound`](crate::StoreError::NotFound).
    fn rights_of(
        &self,
        who: &Identity,
        owner: &User,
        name: &MailboxName,
    ) -> impl Future<Output = Result<Rights>> + Send {
        async move {
            let list = self.access_list(owner, name).await?;
            Ok(who.rights(owner, &list))
        }
    }

    /// Every mailbox of others on which somebody has some right, sorted by owner and name: the namespaces of other users' and
    /// shared mailboxes (RFC 2342).
    fn shared_with(&self, who: &Identity) -> impl Future<Output = Result<Vec<SharedMailbox>>> + Send;

    /// Every mailbox whose list has an entry for this subject, whether it gives rights or takes them, by owner and name.
    ///
    /// # Errors
    /// Those of a store that cannot be read.
    fn listing(&self, subject: &Subject) -> impl Future<Output = Result<Vec<(User, MailboxName)>>> + Send;

    /// Takes an account out of the lists of all mailboxes that others share with it: it is gone for good, and whoever has its name next is
    /// somebody else.
    ///
    /// # Errors
    /// Those of a store that cannot be read or written; then some lists may be changed already.
    fn withdraw(&self, who: &User) -> impl Future<Output = Result<()>> + Send {
        async move {
            // A name that cannot be prepared is in no list.
            let Ok(given) = Identifier::user(who) else { return Ok(()) };
            let subject = given.subject().clone();
            let entries = [given.clone(), given.negated()];
            // Not only those where something is left to it: an entry that takes rights would do so from whoever has the name next.
            for (owner, name) in &self.listing(&subject).await? {
                let gone = |found: Result<()>| match found {
                    // Deleted meanwhile, with its list.
                    Err(crate::StoreError::NotFound) => Ok(()),
                    other => other,
                };
                let list = self.access_list(owner, name).await.or_else(|error| match error {
                    crate::StoreError::NotFound => Ok(Vec::new()),
                    error => Err(error),
                })?;
                for entry in entries.iter().filter(|own| list.iter().any(|entry| entry.identifier == **own)) {
                    gone(self.change_access(owner, name, entry, AclChange::Replace(Rights::NONE)).await)?;
                }
            }
            Ok(())
        }
    }
}

/// An entry of an access control list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AclEntry {
    /// Who.
    pub identifier: Identifier,
    /// May do what; or may not, if the identifier is negative.
    pub rights: Rights,
}

impl AclEntry {
    /// An entry.
    pub const fn new(identifier: Identifier, rights: Rights) -> Self {
        Self { identifier, rights }
    }
}

/// SETACL and DELETEACL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "RFC 4314 §3.1 and §3.2 have these, and a store must do each")]
pub enum AclChange {
    /// These rights and no others.
    Replace(Rights),
    /// These rights too.
    Add(Rights),
    /// Not these rights.
    Remove(Rights),
}

impl AclChange {
    /// What becomes of rights.
    pub const fn apply(self, rights: Rights) -> Rights {
        match self {
            Self::Replace(given) => given,
            Self::Add(given) => rights.union(given),
            Self::Remove(taken) => rights.difference(taken),
        }
    }
}

/// A mailbox of somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedMailbox {
    /// Whose it is.
    pub owner: User,
    /// The mailbox.
    pub mailbox: Mailbox,
    /// What may be done with it.
    pub rights: Rights,
}

impl SharedMailbox {
    /// For stores.
    pub const fn new(owner: User, mailbox: Mailbox, rights: Rights) -> Self {
        Self { owner, mailbox, rights }
    }
}

impl Acl for Never {
    async fn access_list(&self, _: &User, _: &MailboxName) -> Result<Vec<AclEntry>> {
        match *self {}
    }

    async fn change_access(&self, _: &User, _: &MailboxName, _: &Identifier, _: AclChange) -> Result<()> {
        match *self {}
    }

    async fn shared_with(&self, _: &Identity) -> Result<Vec<SharedMailbox>> {
        match *self {}
    }

    async fn listing(&self, _: &Subject) -> Result<Vec<(User, MailboxName)>> {
        match *self {}
    }
}

/// The most entries of a list, for back ends.
pub(crate) const MOST_ENTRIES: usize = 1_000;

/// The list of a mailbox after a change, by the rules of [`Acl::change_access`].
///
/// # Errors
/// As there.
pub fn changed_list(
    owner: &User,
    mut list: Vec<AclEntry>,
    identifier: &Identifier,
    change: AclChange,
) -> Result<Vec<AclEntry>> {
    // `anyone` is the owner too, and everybody else.
    let own = Identifier::user(owner).is_ok_and(|own| own.subject() == identifier.subject());
    if !identifier.is_negative() && own {
        let text = "expected an identifier other than the owner's, who has every right".into();
        return Err(crate::StoreError::Invalid(text));
    }
    match list.binary_search_by(|entry| entry.identifier.cmp(identifier)) {
        Ok(place) => {
            if let Some(entry) = list.get_mut(place) {
                entry.rights = change.apply(entry.rights);
                if entry.rights.is_empty() {
                    list.remove(place);
                }
            }
        }
        Err(place) => {
            let rights = change.apply(Rights::NONE);
            if !rights.is_empty() {
                list.insert(place, AclEntry::new(identifier.clone(), rights));
            }
        }
    }
    if list.len() > MOST_ENTRIES {
        return Err(crate::StoreError::TooMany { limit: MOST_ENTRIES as u64 });
    }
    Ok(list)
}
