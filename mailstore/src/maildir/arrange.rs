//! Mailboxes are made, renamed, deleted and subscribed.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

use mailwright_mail_model::{MailboxName, SpecialUse, Uid, UidSet};

use super::dot_lock::DotLock;
use super::expunged::Keep;
use super::folder::{self, Folder, Locked, sync_directory};
use super::uid_list::UidList;
use super::{Maildir, Shared, copy, failed, place, uid_validity};
use crate::folders::{check_rename, parents, renamed};
use crate::signal::lock;
use crate::{Expunge, Folders, Mailbox, ObjectId, Offload, QuotaUsage, Result, StoreError, User};

pub(super) const SUBSCRIPTIONS: &str = "subscriptions";
/// What a list of subscriptions begins with whose names have tabs between their levels.
const SECOND_VERSION: &str = "V\t2";
/// What the directory of a user who is being erased is called behind its name.
pub(super) const ERASED: &str = ".mailwright-erased";
/// Dovecot removes mailboxes by way of this name too.
const TRASH: &str = "..DOVECOT-TRASHED";

impl<O: Offload + Clone> Folders for Maildir<O> {
    async fn create(
        &self,
        user: &User,
        name: &MailboxName,
        special_use: Option<SpecialUse>,
    ) -> Result<Mailbox> {
        let (user, name) = (user.clone(), name.clone());
        self.run(move |shared| shared.create(&user, &name, special_use)).await
    }

    async fn delete(&self, user: &User, name: &MailboxName) -> Result<()> {
        let (user, name) = (user.clone(), name.clone());
        self.run(move |shared| shared.delete(&user, &name)).await
    }

    async fn rename(&self, user: &User, from: &MailboxName, to: &MailboxName) -> Result<()> {
        let (user, from, to) = (user.clone(), from.clone(), to.clone());
        self.run(move |shared| shared.rename(&user, &from, &to)).await
    }

    async fn subscribe(&self, user: &User, name: &MailboxName) -> Result<()> {
        let (user, name) = (user.clone(), name.clone());
        self.run(move |shared| shared.subscribe(&user, &name, true)).await
    }

    async fn unsubscribe(&self, user: &User, name: &MailboxName) -> Result<()> {
        let (user, name) = (user.clone(), name.clone());
        self.run(move |shared| shared.subscribe(&user, &name, false)).await
    }

    async fn subscriptions(&self, user: &User) -> Result<Vec<MailboxName>> {
        let user = user.clone();
        self.run(move |shared| shared.subscriptions(&user)).await
    }

    async fn erase(&self, user: &User) -> Result<()> {
        let user = user.clone();
        self.run(move |shared| shared.erase(&user)).await
    }
}

impl Shared {
    /// The mailboxes there are.
    pub(super) fn mailboxes(&self, user: &User) -> Result<Vec<Mailbox>> {
        let inbox = self.existing(user, &MailboxName::inbox())?;
        let mut mailboxes = vec![describe(MailboxName::inbox(), &inbox.path)?];
        for name in self.names(&inbox.path)? {
            let path = place::folder(&inbox.path, &name)?;
            mailboxes.push(describe(name, &path)?);
        }
        Ok(mailboxes)
    }

    /// The names of the mailboxes beside `INBOX`.
    pub(super) fn names(&self, root: &Path) -> Result<Vec<MailboxName>> {
        let error = |error| failed(root, &error);
        let mut names = Vec::new();
        for entry in fs::read_dir(root).map_err(error)? {
            let entry = entry.map_err(error)?;
            let name = entry.file_name().to_str().and_then(place::mailbox);
            names.extend(name.filter(|_| folder::exists(&entry.path())));
        }
        Ok(names)
    }

    /// The directories that look like mailboxes and have no name.
    pub(super) fn unnamed(&self, user: &User) -> Result<Vec<String>> {
        let root = self.existing(user, &MailboxName::inbox())?.path.clone();
        let error = |error| failed(&root, &error);
        let mut unnamed = Vec::new();
        for entry in fs::read_dir(&root).map_err(error)? {
            let entry = entry.map_err(error)?;
            let name = entry.file_name();
            let has_name = name.to_str().and_then(place::mailbox).is_some();
            // What begins with two is about to be removed.
            let looks =
                name.as_encoded_bytes().starts_with(b".") && !name.as_encoded_bytes().starts_with(b"..");
            if looks && !has_name && folder::exists(&entry.path()) {
                unnamed.push(name.to_string_lossy().into_owned());
            }
        }
        unnamed.sort_unstable();
        Ok(unnamed)
    }

    pub(super) fn create(
        &self,
        user: &User,
        name: &MailboxName,
        special_use: Option<SpecialUse>,
    ) -> Result<Mailbox> {
        let root = &self.existing(user, &MailboxName::inbox())?.path;
        if name.is_inbox() || folder::exists(&place::folder(root, name)?) {
            return Err(StoreError::Exists);
        }
        let mut missing = 1;
        for parent in parents(name).into_iter().filter(|parent| !parent.is_inbox()) {
            missing += u64::from(!folder::exists(&place::folder(root, &parent)?));
        }
        self.admit(user, &QuotaUsage { mailboxes: missing, ..QuotaUsage::NOTHING })?;
        self.make_parents(root, name)?;
        self.make(root, name, special_use)?;
        self.tell(user);
        describe(name.clone(), &place::folder(root, name)?)
    }

    /// A mailbox that is there, as it is listed.
    pub(super) fn describe(&self, user: &User, name: &MailboxName) -> Result<Mailbox> {
        describe(name.clone(), &self.existing(user, name)?.path)
    }

    fn make_parents(&self, root: &Path, name: &MailboxName) -> Result<()> {
        for parent in parents(name).into_iter().filter(|parent| !parent.is_inbox()) {
            match self.make(root, &parent, None) {
                Ok(()) | Err(StoreError::Exists) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn make(&self, root: &Path, name: &MailboxName, special_use: Option<SpecialUse>) -> Result<()> {
        let path = place::folder(root, name)?;
        if folder::exists(&path) {
            return Err(StoreError::Exists);
        }
        let validity = uid_validity::next(root)?;
        let above = parents(name).pop().map(|above| place::folder(root, &above)).transpose()?;
        folder::make(root, &path, above.as_deref(), validity, special_use, &self.setting.host)?;
        self.lists.forget();
        Ok(())
    }

    pub(super) fn delete(&self, user: &User, name: &MailboxName) -> Result<()> {
        if name.is_inbox() {
            return Err(StoreError::Invalid("expected a mailbox other than INBOX to delete".into()));
        }
        let folder = self.existing(user, name)?;
        let trash = folder.root.join(TRASH);
        let keep = self.keeping(user, name)?;
        {
            // What comes meanwhile waits, and finds no mailbox: it must not go with this one, without a trace.
            let locked = keep.is_some().then(|| folder.lock(&self.setting)).transpose()?;
            throw_away(&folder, &trash, locked.as_ref().zip(keep.as_ref()))?;
        }
        sync_directory(&folder.root)?;
        self.miscount(user);
        folder.forget();
        folder.changed.raise();
        self.lists.forget();
        self.tell(user);
        // The mailbox is gone; what is left of it will be when the next one goes.
        let _removed = fs::remove_dir_all(&trash);
        Ok(())
    }

    pub(super) fn erase(&self, user: &User) -> Result<()> {
        self.erase_scripts(user)?;
        self.forget_private(user)?;
        let root = self.template.path(user)?;
        // Beside it, so that it is gone at once; what is left of an earlier attempt goes too.
        let mut trash = root.clone().into_os_string();
        trash.push(ERASED);
        let trash = Path::new(&trash);
        let remove = || match fs::remove_dir_all(trash) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(trash, &error)),
            _ => Ok(()),
        };
        let next = match (root.is_dir(), trash.is_dir()) {
            (true, _) => uid_validity::next(&root)?,
            (false, true) => uid_validity::next(trash)?,
            (false, false) => return Ok(()),
        };
        if root.is_dir() {
            remove()?;
            fs::rename(&root, trash).map_err(|error| failed(&root, &error))?;
        }
        if let Some(above) = root.parent() {
            sync_directory(above)?;
        }
        let known: Vec<_> = {
            let mut folders = lock(&self.folders);
            let gone: Vec<_> = folders.keys().filter(|path| path.starts_with(&root)).cloned().collect();
            gone.iter().filter_map(|path| folders.remove(path)).collect()
        };
        for folder in known {
            folder.forget();
            folder.changed.raise();
        }
        self.lists.forget();
        remove()?;
        if next.get() > uid_validity::of_the_time() {
            // Nothing but the number, so that mailboxes to come do not get those of the ones that are gone.
            fs::DirBuilder::new().mode(0o700).create(&root).map_err(|error| failed(&root, &error))?;
            uid_validity::at_least(&root, next)?;
        }
        Ok(())
    }

    pub(super) fn rename(&self, user: &User, from: &MailboxName, to: &MailboxName) -> Result<()> {
        let inbox = self.existing(user, &MailboxName::inbox())?;
        let root = &inbox.path;
        let mut existing = self.names(root)?;
        existing.push(MailboxName::inbox());
        let moves = check_rename(&existing, from, to)?;
        for name in &moves {
            // Before anything is moved: a name may become too long.
            place::folder(root, &if from.is_inbox() { to.clone() } else { renamed(name, from, to)? })?;
        }
        let mut made = u64::from(from.is_inbox());
        for parent in parents(to).into_iter().filter(|parent| !parent.is_inbox()) {
            made += u64::from(!folder::exists(&place::folder(root, &parent)?));
        }
        if made > 0 {
            self.admit(user, &QuotaUsage { mailboxes: made, ..QuotaUsage::NOTHING })?;
        }
        self.make_parents(root, to)?;
        if from.is_inbox() {
            // RFC 9051 §6.3.6: renaming INBOX moves its messages and leaves it empty.
            self.make(root, to, None)?;
            let target = self.existing(user, to)?;
            let snapshot = inbox.snapshot(&self.setting)?;
            let (validity, uids): (_, UidSet) = (snapshot.uid_validity(), snapshot.uids());
            copy::move_messages(&inbox, &target, &self.setting, validity, &uids)?;
            self.tell(user);
            return Ok(());
        }
        for name in moves {
            let new = renamed(&name, from, to)?;
            let (old, new) = (self.folder(user, &name)?, self.folder(user, &new)?);
            {
                let _locked = old.lock(&self.setting)?;
                fs::rename(&old.path, &new.path).map_err(|error| failed(&old.path, &error))?;
                // The lock has gone with the directory.
                let _removed = fs::remove_file(new.path.join("dovecot-uidlist.lock"));
            }
            for folder in [&old, &new] {
                folder.forget();
                folder.changed.raise();
            }
        }
        self.lists.forget();
        self.tell(user);
        sync_directory(root)
    }

    pub(super) fn subscriptions(&self, user: &User) -> Result<Vec<MailboxName>> {
        let root = &self.existing(user, &MailboxName::inbox())?.path;
        Ok(read(root)?
            .into_iter()
            .filter_map(|name| parse(&name))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect())
    }

    /// Adds or takes away a subscription.
    pub(super) fn subscribe(&self, user: &User, name: &MailboxName, wanted: bool) -> Result<()> {
        let root = &self.existing(user, &MailboxName::inbox())?.path;
        let path = root.join(SUBSCRIPTIONS);
        let lock =
            DotLock::acquire(root.join("subscriptions.lock"), &self.setting.host, Duration::from_secs(30))?;
        let mut names = read(root)?;
        let there = names.iter().any(|other| parse(other).as_ref() == Some(name));
        if there == wanted {
            return Ok(());
        }
        names.retain(|other| parse(other).as_ref() != Some(name));
        if wanted {
            names.push(name.levels().map(escape).collect::<Vec<_>>().join("\t"));
        }
        let mut text = format!("{SECOND_VERSION}\n\n");
        names.iter().for_each(|name| text.extend([name, "\n"]));
        lock.replace(&path, text.as_bytes(), None)?;
        self.tell(user);
        sync_directory(root)
    }
}

/// The names in the list of subscriptions, with tabs between their levels.
fn read(root: &Path) -> Result<Vec<String>> {
    let path = root.join(SUBSCRIPTIONS);
    let text = match fs::read(&path) {
        Ok(octets) => String::from_utf8_lossy(&octets).into_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(&path, &error)),
    };
    let mut lines = text.lines();
    let second = text.lines().next() == Some(SECOND_VERSION);
    if second {
        lines.by_ref().take_while(|line| !line.is_empty()).for_each(drop);
    }
    let names = lines.filter(|line| !line.is_empty());
    // The first version has names as directories have them.
    Ok(names.map(|name| if second { name.to_owned() } else { name.replace('.', "\t") }).collect())
}

fn parse(name: &str) -> Option<MailboxName> {
    let levels: Option<Vec<_>> = name.split('\t').map(unescape).collect();
    MailboxName::lookup(&levels?.join("/")).ok()
}

fn escape(level: &str) -> String {
    place::encode(level)
}

fn unescape(level: &str) -> Option<String> {
    place::decode(level)
}

/// A mailbox as it is listed.
fn describe(name: MailboxName, path: &Path) -> Result<Mailbox> {
    let guid = UidList::read_end(path)?.and_then(|list| list.header.guid);
    let special_use = folder::special_use(path);
    Ok(Mailbox { special_use, id: guid.map(ObjectId::from), ..Mailbox::new(name) })
}

/// Renames a mailbox's directory to one that is to be removed. Where messages can be had back, those in it are put there before, each by
/// itself, with the lock held for as long as all that takes.
fn throw_away(folder: &Folder, trash: &Path, keeping: Option<(&Locked<'_>, &Keep)>) -> Result<()> {
    for tried in 0..10 {
        if let Some((locked, keep)) = keeping {
            let validity = locked.with(|state| Ok(state.list.header.validity))?;
            let all = Expunge::Exactly(UidSet::from(Uid::MIN..=Uid::MAX));
            locked.expunge(validity, &all, Some(keep))?;
        }
        // Left over, or being removed by somebody else.
        let _removed = fs::remove_dir_all(trash);
        match fs::rename(&folder.path, trash) {
            // A program that knows no locks has delivered just now. What is there time and again is no message.
            Ok(()) if keeping.is_some() && tried < 3 && has_mail(trash) => {
                fs::rename(trash, &folder.path).map_err(|error| failed(&folder.path, &error))?;
            }
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(StoreError::NotFound),
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
            Err(error) => return Err(failed(&folder.path, &error)),
        }
    }
    Err(StoreError::Unavailable("another program is deleting mailboxes".into()))
}

/// Whether there is anything where messages are.
fn has_mail(directory: &Path) -> bool {
    let entries =
        ["new", "cur"].into_iter().flat_map(|part| fs::read_dir(directory.join(part)).into_iter().flatten());
    entries.flatten().any(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
}
