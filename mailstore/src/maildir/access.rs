//! Access control lists, in the files `dovecot-acl` that Dovecot's plugin keeps.
//!
//! ```text
//! user=bob@example.org lrws
//! group=staff lr
//! -anyone t
//! "user=two words" l :read
//! owner lrwstipekxa
//! ```
//!
//! A line has whom it is for, letters of RFC 4314, and perhaps `:` and names of rights. Lines that mean nothing here are kept:
//! `owner` (the owner has every right always), and what cannot be understood. Nobody is anonymous, so `authenticated` is everybody.
//!
//! RFC 4314 §2 leaves open how entries for one user go together. Dovecot has the more specific ones replace the others, so an entry
//! for a user may take what anyone has; here all add up, which a comment in the list says where it matters.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mailwright_mail_model::MailboxName;

use super::dot_lock::DotLock;
use super::folder::sync_directory;
use super::{Maildir, Shared};
use crate::signal::lock;
use crate::{
    Acl, AclChange, AclEntry, Identifier, Identity, Offload, Result, Rights, SharedMailbox, StoreError,
    Subject, User,
};

mod list;

use list::List;

pub(super) const NAME: &str = "dovecot-acl";
/// Where Dovecot remembers which mailboxes have lists; made anew when it is missing.
const DOVECOT_INDEX: &str = "dovecot-acl-list";
/// How long lists that other programs changed may go unnoticed in the list of what is shared.
const TRUST: Duration = Duration::from_secs(15);

/// Every mailbox that has a list, as it was a moment ago.
#[derive(Debug, Default)]
pub(super) struct Lists(Mutex<Option<(Instant, Arc<Vec<Listed>>)>>);

#[derive(Debug)]
struct Listed {
    owner: User,
    name: MailboxName,
    list: List,
}

impl Lists {
    /// Has them looked at anew.
    pub(super) fn forget(&self) {
        *lock(&self.0) = None;
    }
}

impl<O: Offload + Clone> Acl for Maildir<O> {
    async fn access_list(&self, owner: &User, name: &MailboxName) -> Result<Vec<AclEntry>> {
        let (owner, name) = (owner.clone(), name.clone());
        self.run(move |shared| Ok(List::read(&shared.existing(&owner, &name)?.path)?.shown())).await
    }

    async fn rights_of(&self, who: &Identity, owner: &User, name: &MailboxName) -> Result<Rights> {
        let (who, owner, name) = (who.clone(), owner.clone(), name.clone());
        self.run(move |shared| Ok(List::read(&shared.existing(&owner, &name)?.path)?.rights(&who, &owner)))
            .await
    }

    async fn change_access(
        &self,
        owner: &User,
        name: &MailboxName,
        identifier: &Identifier,
        change: AclChange,
    ) -> Result<()> {
        let (owner, name, identifier) = (owner.clone(), name.clone(), identifier.clone());
        self.run(move |shared| shared.change_access(&owner, &name, &identifier, change)).await
    }

    async fn shared_with(&self, who: &Identity) -> Result<Vec<SharedMailbox>> {
        let who = who.clone();
        self.run(move |shared| shared.shared_with(&who)).await
    }

    async fn listing(&self, subject: &Subject) -> Result<Vec<(User, MailboxName)>> {
        let subject = subject.clone();
        let names = |listed: &Listed| {
            let named = listed.list.names(&subject);
            named.then(|| (listed.owner.clone(), listed.name.clone()))
        };
        let lists = self.run(|shared| shared.access_lists()).await?;
        Ok(lists.iter().filter_map(names).collect())
    }
}

impl Shared {
    fn change_access(
        &self,
        owner: &User,
        name: &MailboxName,
        identifier: &Identifier,
        change: AclChange,
    ) -> Result<()> {
        let folder = self.existing(owner, name)?;
        let path = folder.path.join(NAME);
        let locked =
            DotLock::acquire(path.with_extension("lock"), &self.setting.host, self.options.patience)?;
        let mut list = List::read(&folder.path)?;
        list.change(owner, identifier, change)?;
        locked.replace(&path, list.to_text().as_bytes(), None)?;
        sync_directory(&folder.path)?;
        let _removed = fs::remove_file(folder.root.join(DOVECOT_INDEX));
        self.lists.forget();
        self.tell(owner);
        if let Some(other) = identifier.subject().account() {
            self.tell_of_access(other);
        }
        Ok(())
    }

    fn shared_with(&self, who: &Identity) -> Result<Vec<SharedMailbox>> {
        let mut shared = Vec::new();
        for listed in self.access_lists()?.iter().filter(|listed| listed.owner != *who.user()) {
            let rights = listed.list.rights(who, &listed.owner);
            if rights.is_empty() {
                continue;
            }
            match self.describe(&listed.owner, &listed.name) {
                Ok(mailbox) => shared.push(SharedMailbox::new(listed.owner.clone(), mailbox, rights)),
                // Another program has just deleted it.
                Err(StoreError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(shared)
    }

    /// The lists of all mailboxes of all users, by owner and name.
    fn access_lists(&self) -> Result<Arc<Vec<Listed>>> {
        // Held while they are read, so that many sessions that ask at a time look once.
        let mut known = lock(&self.lists.0);
        if let Some((when, lists)) = &*known
            && when.elapsed() < TRUST
        {
            return Ok(Arc::clone(lists));
        }
        let began = Instant::now();
        let mut lists = Vec::new();
        for owner in self.template.users()? {
            let root = self.template.path(&owner)?;
            let mut names = vec![MailboxName::inbox()];
            names.extend(self.names(&root)?);
            for name in names {
                let list = List::read(&super::place::folder(&root, &name)?)?;
                if !list.is_empty() {
                    lists.push(Listed { owner: owner.clone(), name, list });
                }
            }
        }
        lists.sort_by(|one, other| (&one.owner, &one.name).cmp(&(&other.owner, &other.name)));
        let lists = Arc::new(lists);
        *known = Some((began, Arc::clone(&lists)));
        Ok(lists)
    }
}

/// Gives a new mailbox the list of the one above it.
pub(super) fn inherit(above: &Path, draft: &Path) -> Result<()> {
    let list = List::read(above)?;
    if list.is_empty() {
        return Ok(());
    }
    super::folder::write_private(&draft.join(NAME), list.to_text().as_bytes())
}
