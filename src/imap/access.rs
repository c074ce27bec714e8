//! Whose mailbox a name means, and what the user may do with it (RFC 2342, RFC 4314).

use mailwright_imap_proto::{Refusal, response::Namespaces};
use mailwright_mail_model::{FlagSet, MailboxName};
use mailwright_mailstore::{Right, Rights, SharedMailbox, Store, StoreError, User, accounts::Accounts};

pub(super) use super::foreign::Located;
use super::{Visit, foreign::owner_in, refusal};

/// What guests may do with whatever the account that they have opened may see: nothing of it is changed for others, and what is
/// noted of a message is noted for all.
const GUEST: Rights = Rights::of(Right::Lookup).union(Rights::of(Right::Read));

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    /// What a name means.
    pub(super) async fn locate(&self, name: &MailboxName) -> Result<Located, StoreError> {
        let user = self.user.as_ref().ok_or(StoreError::Denied)?;
        if !self.is_foreign(name) {
            return Ok(Located {
                owner: user.clone(),
                name: name.clone(),
                rights: self.at_most(Rights::ALL),
            });
        }
        let mut located = self.service.names.locate(self.store, user, name).await?;
        located.rights = self.at_most(located.rights);
        Ok(located)
    }

    /// What a name means, if that may be done with it.
    pub(super) async fn locate_for(&self, name: &MailboxName, right: Right) -> Result<Located, StoreError> {
        self.locate(name).await?.allowing(right)
    }

    /// What a name means that is to be given to a mailbox: there is none of it yet, and the one above it decides.
    pub(super) async fn locate_new(&self, name: &MailboxName) -> Result<Located, StoreError> {
        if !self.is_foreign(name) {
            return self.locate_for(name, Right::CreateBelow).await;
        }
        let user = self.user.as_ref().ok_or(StoreError::Denied)?;
        self.service.names.locate_new(self.store, user, name, |rights| self.at_most(rights)).await
    }

    /// Every mailbox of others that the user may do something with, and its name here.
    pub(super) async fn shared(&self) -> Result<Vec<(MailboxName, SharedMailbox)>, StoreError> {
        let Some(user) = &self.user else { return Ok(Vec::new()) };
        let mut shared = self.service.names.shared(self.store, user).await?;
        shared.iter_mut().for_each(|(_, shared)| shared.rights = self.at_most(shared.rights));
        Ok(shared)
    }

    /// What the user may do with the open mailbox now.
    pub(super) async fn rights(&self) -> Result<Rights, Refusal> {
        let Some(selected) = &self.selected else { return Ok(Rights::NONE) };
        let (user, owner) = (self.user()?, selected.mailbox.user());
        if user == owner {
            return Ok(self.at_most(Rights::ALL));
        }
        let rights = self.service.names.rights(self.store, user, (owner, selected.mailbox.name())).await;
        rights.map(|rights| self.at_most(rights)).map_err(|error| refusal(&error))
    }

    /// Rights of the account, as far as whoever has opened it has them and they mean something here.
    pub(super) fn at_most(&self, rights: Rights) -> Rights {
        let rights = self.known_rights(rights);
        let all = self.user.as_ref().is_none_or(|user| !user.is_guest());
        if all { rights } else { rights.difference(Rights::ALL.difference(GUEST)) }
    }

    /// Refuses what would be kept in the account itself, unless it is its owner's doing.
    pub(super) fn require_owner(&self) -> Result<&User, Refusal> {
        let user = self.user()?;
        if user.is_guest() { Err(Refusal::no_permission()) } else { Ok(user) }
    }

    /// Refuses unless all of this may be done with the open mailbox.
    pub(super) async fn require(&self, needed: &[Right]) -> Result<(), Refusal> {
        let rights = self.rights().await?;
        let all = needed.iter().all(|right| rights.contains(*right));
        if all { Ok(()) } else { Err(Refusal::no_permission()) }
    }

    pub(super) fn namespaces(&self) -> Namespaces {
        self.service.names.namespaces(self.store)
    }

    /// Whether a name stands in a namespace of others.
    pub(super) fn is_foreign(&self, name: &MailboxName) -> bool {
        self.service.names.is_foreign(self.store, name)
    }

    /// The account that the name of a mailbox in a namespace of others begins with.
    pub(super) fn owner_named(&self, name: &MailboxName) -> Option<User> {
        owner_in(name).filter(|_| self.is_foreign(name))
    }
}

/// Those flags that may be changed (RFC 4314 §4).
pub(crate) fn permitted(rights: Rights, flags: &FlagSet) -> FlagSet {
    rights.flags(flags)
}

/// Whether anything may be changed, so that a mailbox is not open for reading only (RFC 4314 §4).
pub(super) fn may_change(rights: Rights) -> bool {
    // RFC 5257 §3.4: that to annotate is one of flags that are shared.
    [Right::Insert, Right::Expunge, Right::Seen, Right::DeleteMessages, Right::Write, Right::Annotate]
        .into_iter()
        .any(|right| rights.contains(right))
}
