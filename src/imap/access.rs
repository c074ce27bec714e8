//! Whose mailbox a name means, and what the user may do with it (RFC 2342, RFC 4314).

use std::fmt;

use mailwright_imap_proto::{
    Refusal,
    response::{Namespace, Namespaces},
};
use mailwright_mail_model::{Flag, FlagSet, MailboxName};
use mailwright_mailstore::{
    Acl, Identity, Right, Rights, SharedMailbox, Store, StoreError, User, accounts::Accounts,
};

use super::{Visit, refusal};

/// Under this name stand the mailboxes of other users.
const OTHER_USERS: &str = "Other Users";
/// Under this name stand the mailboxes of groups.
const SHARED: &str = "Shared Folders";

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

/// What guests may do with whatever the account that they have opened may see: nothing of it is changed for others, and what is
/// noted of a message is noted for all.
const GUEST: Rights = Rights::of(Right::Lookup).union(Rights::of(Right::Read));

/// A mailbox as the store knows it.
pub(super) struct Located {
    pub(super) owner: User,
    pub(super) name: MailboxName,
    pub(super) rights: Rights,
}

impl Located {
    /// The mailbox, if that may be done with it. RFC 4314 §8: who may not even see it is not told that it is there.
    pub(super) fn allowing(self, right: Right) -> Result<Self, StoreError> {
        if self.rights.contains(right) {
            return Ok(self);
        }
        Err(if self.rights.contains(Right::Lookup) { StoreError::Denied } else { StoreError::NotFound })
    }
}

impl<S: Store, A: Accounts> Visit<'_, S, A> {
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
        let shared = self.shared().await?.into_iter();
        let found = shared.map(|(known, shared)| (known == *name, shared)).find(|(same, _)| *same);
        let (_, SharedMailbox { owner, mailbox, rights, .. }) = found.ok_or(StoreError::NotFound)?;
        Ok(Located { owner, name: mailbox.name, rights })
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
        match self.locate(name).await {
            Err(StoreError::NotFound) => {}
            found => return found.and(Err(StoreError::Exists)),
        }
        for above in std::iter::successors(name.parent(), MailboxName::parent) {
            let Ok(located) = self.locate(&above).await else { continue };
            let located = located.allowing(Right::CreateBelow)?;
            let below = name.as_str().get(above.as_str().len() + 1..).unwrap_or_default();
            let inner = match located.name.is_inbox() {
                true => below.to_owned(),
                false => format!("{}/{below}", located.name),
            };
            let name = MailboxName::new(&inner).map_err(|error| StoreError::Invalid(error.to_string()))?;
            return Ok(Located { name, ..located });
        }
        Err(StoreError::Denied)
    }

    /// Every mailbox of others that the user may do something with, and its name here.
    pub(super) async fn shared(&self) -> Result<Vec<(MailboxName, SharedMailbox)>, StoreError> {
        let Some(user) = &self.user else { return Ok(Vec::new()) };
        let mut shared = match self.store.acl() {
            Some(acl) => acl.shared_with(&self.identity(user)).await?,
            None => Vec::new(),
        };
        for owner in self.shared_accounts(user) {
            for mailbox in self.store.mailboxes(&owner).await? {
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
        shared.iter_mut().for_each(|shared| shared.rights = self.at_most(shared.rights));
        Ok(shared.into_iter().filter_map(|shared| Some((self.outer_name(&shared)?, shared))).collect())
    }

    /// What the user may do with the open mailbox now.
    pub(super) async fn rights(&self) -> Result<Rights, Refusal> {
        let Some(selected) = &self.selected else { return Ok(Rights::NONE) };
        let (user, owner) = (self.user()?, selected.mailbox.user());
        if user == owner {
            return Ok(self.at_most(Rights::ALL));
        }
        let given = match self.store.acl() {
            Some(acl) => {
                let rights = acl.rights_of(&self.identity(user), owner, selected.mailbox.name()).await;
                rights.map_err(|error| refusal(&error))?
            }
            None => Rights::NONE,
        };
        let member = self.shared_accounts(user).contains(owner);
        Ok(self.at_most(if member { given.union(Rights::from_iter(MEMBER)) } else { given }))
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
        let mut namespaces = Namespaces::personal('/');
        if self.store.acl().is_some() {
            namespaces.other_users.push(Namespace::new(format!("{OTHER_USERS}/"), Some('/')));
        }
        if self.service.groups.is_some() {
            namespaces.shared.push(Namespace::new(format!("{SHARED}/"), Some('/')));
        }
        namespaces
    }

    /// The user and the groups that access control lists may name.
    pub(super) fn identity(&self, user: &User) -> Identity {
        let identity = Identity::new(user.clone());
        let groups = self.service.groups.as_ref().map(|groups| groups.groups_of(user)).unwrap_or_default();
        // A group whose name nobody can write into a list is in none.
        groups.iter().fold(identity, |identity, group| identity.clone().group(group).unwrap_or(identity))
    }

    fn shared_accounts(&self, user: &User) -> Vec<User> {
        self.service.groups.as_ref().map(|groups| groups.shared_accounts(user)).unwrap_or_default()
    }

    /// Whether a name stands in a namespace of others.
    pub(super) fn is_foreign(&self, name: &MailboxName) -> bool {
        let first = name.as_str().split('/').next().unwrap_or_default();
        match first {
            OTHER_USERS => self.store.acl().is_some(),
            SHARED => self.service.groups.is_some(),
            _ => false,
        }
    }

    /// The account that the name of a mailbox in a namespace of others begins with.
    pub(super) fn owner_named(&self, name: &MailboxName) -> Option<User> {
        let level = name.as_str().split('/').nth(1).filter(|_| self.is_foreign(name))?;
        User::new(&unescaped(level)?).ok()
    }

    fn outer_name(&self, shared: &SharedMailbox) -> Option<MailboxName> {
        let is_group = self.service.groups.as_ref().is_some_and(|groups| groups.is_group(&shared.owner));
        let space = if is_group { SHARED } else { OTHER_USERS };
        let owner = escaped(shared.owner.as_str());
        let inner = &shared.mailbox.name;
        // The INBOX of somebody is where everything else of theirs is.
        let name =
            if inner.is_inbox() { format!("{space}/{owner}") } else { format!("{space}/{owner}/{inner}") };
        MailboxName::lookup(&name).ok()
    }
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

/// Those flags that may be changed (RFC 4314 §4).
pub(super) fn permitted(rights: Rights, flags: &FlagSet) -> FlagSet {
    let seen = FlagSet::from_iter([Flag::Seen]);
    let deleted = FlagSet::from_iter([Flag::Deleted]);
    let mut all = flags.clone();
    if !rights.contains(Right::Seen) {
        all = all.difference(&seen);
    }
    if !rights.contains(Right::DeleteMessages) {
        all = all.difference(&deleted);
    }
    if !rights.contains(Right::Write) {
        let others = all.difference(&seen).difference(&deleted);
        all = all.difference(&others);
    }
    all
}

/// Whether anything may be changed, so that a mailbox is not open for reading only (RFC 4314 §4).
pub(super) fn may_change(rights: Rights) -> bool {
    // RFC 5257 §3.4: that to annotate is one of flags that are shared.
    [Right::Insert, Right::Expunge, Right::Seen, Right::DeleteMessages, Right::Write, Right::Annotate]
        .into_iter()
        .any(|right| rights.contains(right))
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
