//! The names of mailboxes of others (RFC 2342): one place that knows them, for all that files mail.

use std::{fmt, sync::Arc};

use mailwright_imap_proto::response::{Namespace, Namespaces};
use mailwright_mail_model::MailboxName;
use mailwright_mailstore::{Acl, Identity, Right, Rights, SharedMailbox, Store, StoreError, User};

/// Under this name stand the mailboxes of other users.
const OTHER_USERS: &str = "Other Users";
/// Under this name stand the mailboxes of groups.
const SHARED: &str = "Shared Folders";
/// All of these.
pub(super) const LEVELS: [&str; 2] = [OTHER_USERS, SHARED];

/// Who is in which groups: access control lists name groups, and a group may have mailboxes of its own, which stand in the
/// namespace of shared ones.
pub trait Groups: fmt::Debug + Send + Sync {
    /// The groups that an account is in, by the names that access control lists know them by, without the `$`.
    fn groups_of(&self, user: &User) -> Vec<String>;

    /// Whether this account is that of a group rather than somebody's.
    fn is_group(&self, user: &User) -> bool;

    /// The accounts of groups whose mail this one shares because it is a member: it may read it, keep flags and annotations, add and remove messages, whatever
    /// the access control lists say besides. None by default.
    fn shared_accounts(&self, user: &User) -> Vec<User> {
        let _ = user;
        Vec::new()
    }
}

/// What members may do with the mailboxes of their group.
const MEMBER: [Right; 8] = [
    Right::Lookup,
    Right::Read,
    Right::Seen,
    Right::Write,
    Right::Insert,
    Right::DeleteMessages,
    Right::Expunge,
    Right::Annotate,
];

/// A mailbox as the store knows it.
#[derive(Debug)]
pub(crate) struct Located {
    pub(crate) owner: User,
    pub(crate) name: MailboxName,
    pub(crate) rights: Rights,
}

impl Located {
    /// The mailbox, if that may be done with it. RFC 4314 §8: who may not even see it is not told that it is there.
    pub(crate) fn allowing(self, right: Right) -> Result<Self, StoreError> {
        if self.rights.contains(right) {
            return Ok(self);
        }
        Err(if self.rights.contains(Right::Lookup) { StoreError::Denied } else { StoreError::NotFound })
    }
}

/// Knows the names that users have for the mailboxes of others, and what these are. No mailbox of one's own is to have such a name:
/// nobody could open it.
#[derive(Debug, Clone, Default)]
pub struct ForeignNames {
    groups: Option<Arc<dyn Groups>>,
}

impl ForeignNames {
    /// The names of the mailboxes of other users, and those of groups. Without groups it is the default.
    pub fn with_groups(groups: Arc<dyn Groups>) -> Self {
        Self { groups: Some(groups) }
    }

    /// Whether a name stands in a namespace of others, where the store has access control lists or there are groups.
    pub fn is_foreign(&self, store: &impl Store, name: &MailboxName) -> bool {
        let first = name.as_str().split('/').next().unwrap_or_default();
        match first {
            OTHER_USERS => store.acl().is_some(),
            SHARED => self.groups.is_some(),
            _ => false,
        }
    }

    /// Refuses a name for a mailbox of one's own that stands for one of others.
    ///
    /// # Errors
    /// [`StoreError::Invalid`].
    pub fn refuse(&self, store: &impl Store, name: &MailboxName) -> Result<(), StoreError> {
        match self.is_foreign(store, name) {
            true => Err(StoreError::Invalid(format!(
                "expected the name of a mailbox of one's own, got \"{name}\", where mailboxes of others are"
            ))),
            false => Ok(()),
        }
    }

    /// What a name in a namespace of others means to a user.
    pub(crate) async fn locate(
        &self,
        store: &impl Store,
        user: &User,
        name: &MailboxName,
    ) -> Result<Located, StoreError> {
        let found = self.shared(store, user).await?.into_iter().find(|(known, _)| known == name);
        let (_, SharedMailbox { owner, mailbox, rights, .. }) = found.ok_or(StoreError::NotFound)?;
        Ok(Located { owner, name: mailbox.name, rights })
    }

    /// What a name in a namespace of others means that is to be given to a mailbox: there is none of it yet, and the one above it
    /// decides. `at_most` is what is left of the rights of the user.
    pub(crate) async fn locate_new(
        &self,
        store: &impl Store,
        user: &User,
        name: &MailboxName,
        at_most: impl Fn(Rights) -> Rights + Send,
    ) -> Result<Located, StoreError> {
        match self.locate(store, user, name).await {
            Err(StoreError::NotFound) => {}
            found => return found.and(Err(StoreError::Exists)),
        }
        for above in std::iter::successors(name.parent(), MailboxName::parent) {
            let Ok(mut located) = self.locate(store, user, &above).await else { continue };
            located.rights = at_most(located.rights);
            let located = located.allowing(Right::CreateBelow)?;
            let below = name.as_str().get(above.as_str().len() + 1..).unwrap_or_default();
            let inner = match located.name.is_inbox() {
                true => below.to_owned(),
                false => format!("{}/{below}", located.name),
            };
            let name = MailboxName::new(&inner).map_err(|error| StoreError::Invalid(error.to_string()))?;
            // Its owner could not open it either.
            self.refuse(store, &name)?;
            return Ok(Located { name, ..located });
        }
        Err(StoreError::Denied)
    }

    /// Every mailbox of others that a user may do something with, and its name for the user.
    pub(crate) async fn shared(
        &self,
        store: &impl Store,
        user: &User,
    ) -> Result<Vec<(MailboxName, SharedMailbox)>, StoreError> {
        let mut shared = match store.acl() {
            Some(acl) => acl.shared_with(&self.identity(user)).await?,
            None => Vec::new(),
        };
        for owner in self.shared_accounts(user) {
            for mailbox in store.mailboxes(&owner).await? {
                let known = |one: &&mut SharedMailbox| one.owner == owner && one.mailbox.name == mailbox.name;
                match shared.iter_mut().find(known) {
                    Some(known) => known.rights = known.rights.union(Rights::from_iter(MEMBER)),
                    None => {
                        let rights = Rights::from_iter(MEMBER);
                        shared.push(SharedMailbox::new(owner.clone(), mailbox, rights));
                    }
                }
            }
        }
        Ok(shared.into_iter().filter_map(|shared| Some((self.outer_name(&shared)?, shared))).collect())
    }

    /// What a user may do with a mailbox of somebody else.
    pub(crate) async fn rights(
        &self,
        store: &impl Store,
        user: &User,
        (owner, mailbox): (&User, &MailboxName),
    ) -> Result<Rights, StoreError> {
        let given = match store.acl() {
            Some(acl) => acl.rights_of(&self.identity(user), owner, mailbox).await?,
            None => Rights::NONE,
        };
        let member = self.shared_accounts(user).contains(owner);
        Ok(if member { given.union(Rights::from_iter(MEMBER)) } else { given })
    }

    /// The user and the groups that access control lists may name.
    fn identity(&self, user: &User) -> Identity {
        let identity = Identity::new(user.clone());
        let groups = self.groups.as_ref().map(|groups| groups.groups_of(user)).unwrap_or_default();
        // A group whose name nobody can write into a list is in none.
        groups.iter().fold(identity, |identity, group| identity.clone().group(group).unwrap_or(identity))
    }

    fn shared_accounts(&self, user: &User) -> Vec<User> {
        self.groups.as_ref().map(|groups| groups.shared_accounts(user)).unwrap_or_default()
    }

    pub(super) fn namespaces(&self, store: &impl Store) -> Namespaces {
        let mut namespaces = Namespaces::personal('/');
        if store.acl().is_some() {
            namespaces.other_users.push(Namespace::new(format!("{OTHER_USERS}/"), Some('/')));
        }
        if self.groups.is_some() {
            namespaces.shared.push(Namespace::new(format!("{SHARED}/"), Some('/')));
        }
        namespaces
    }

    fn outer_name(&self, shared: &SharedMailbox) -> Option<MailboxName> {
        let is_group = self.groups.as_ref().is_some_and(|groups| groups.is_group(&shared.owner));
        let space = if is_group { SHARED } else { OTHER_USERS };
        let owner = escaped(shared.owner.as_str());
        let inner = &shared.mailbox.name;
        // The INBOX of somebody is where everything else of theirs is.
        let name =
            if inner.is_inbox() { format!("{space}/{owner}") } else { format!("{space}/{owner}/{inner}") };
        MailboxName::lookup(&name).ok()
    }
}

/// The account that the name of a mailbox in a namespace of others begins with.
pub(super) fn owner_in(name: &MailboxName) -> Option<User> {
    let level = name.as_str().split('/').nth(1)?;
    User::new(&unescaped(level)?).ok()
}

/// The name of an account as one level of a mailbox name.
fn escaped(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            '/' | '=' | '%' | '*' => escaped += &format!("={:02X}", u32::from(letter)),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// What [`escaped`] makes such a level of.
fn unescaped(level: &str) -> Option<String> {
    let mut pieces = level.split('=');
    let mut name = pieces.next()?.to_owned();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        name.push(char::from(u8::from_str_radix(digits, 16).ok()?));
        name.push_str(rest);
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::{escaped, unescaped};

    #[test]
    fn levels_are_made_of_names_and_names_of_levels() {
        for name in ["bob@b.example", "a/b=c%d*", "zo\u{eb}=", "=2F"] {
            let level = escaped(name);
            assert!(!level.contains(['/', '%', '*']), "{level}");
            assert_eq!(unescaped(&level).as_deref(), Some(name));
        }
        assert_eq!(unescaped("a=2"), None);
        assert_eq!(unescaped("a=xy"), None);
    }
}
