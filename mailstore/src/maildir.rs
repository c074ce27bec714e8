//! Maildir++: one directory a mailbox, one file a message, as Dovecot keeps them.
//!
//! The tree can be used by this store, by Dovecot 2.3 and by programs that only deliver into `new`, all at the same time:
//! UIDs are in `dovecot-uidlist`, keywords in `dovecot-keywords`, UIDVALIDITY in `dovecot-uidvalidity`, subscriptions
//! in `subscriptions`, and each is changed under the lock that Dovecot takes too. A mailbox `a/b` is the directory
//! `.a.b`, in modified UTF-7; a dot within a level is written in base64.
//!
//! Sieve scripts are where Pigeonhole has them: in `sieve` beside the Maildir, where that directory is the user's alone, with a link
//! `.dovecot.sieve` to the active one.
//!
//! What Dovecot keeps in its indexes is kept in files of our own beside: `mailwright-changes` has mod-sequences and what was
//! expunged, `mailwright-cache` what was found out about messages, `mailwright-special-use` what a mailbox is for. Annotations are in
//! `mailwright-annotations`: Dovecot has them where its configuration says.
//!
//! Access control lists are in `dovecot-acl`, as Dovecot's plugin keeps them. What is shared with whom is found out by looking at all
//! of them, at most every fifteen seconds.
//!
//! If there is an undelete window, what is expunged through this store, and what is in a mailbox that is deleted, goes into
//! `mailwright-expunged` until it ends. What other programs expunge and delete is gone.
//!
//! What users have is counted in `maildirsize`, as other programs of the family count. What comes and goes by programs that do
//! not count is noticed within fifteen minutes. A user's own limits are in `mailwright-quota`; a warning may be lost when the process is killed.
//!
//! # Limits
//!
//! * The messages of a mailbox have at most 26 different keywords at a time: there are no more letters. Messages that come with others
//!   come without them.
//! * A message for several users is delivered to each or to none unless the machine stops in the midst of it; then it may
//!   have come to some, and the sender tries again.
//! * Files that are compressed or encrypted are shown as they are.
//! * The process needs the rights of the mail's owner: directories are made with mode 0700, files with 0600, and nothing is
//!   given to somebody else.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use mailwright_mail_model::MailboxName;

use crate::signal::lock;
use crate::{Describer, Inline, Offload, QuotaLimits, Result, Snapshot, StoreError, User};

mod access;
mod annotations;
mod arrange;
mod cache;
mod change;
mod copy;
pub(crate) mod dot_lock;
mod escape;
mod expunged;
mod feed;
pub(crate) mod file_name;
mod folder;
mod journal;
mod keywords;
mod origins;
mod place;
mod quota;
mod read;
mod scan;
mod scripts;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod uid_list;
mod uid_validity;
mod upload;
mod users;
mod watch;

pub use place::Template;

use folder::{Folder, Setting};

/// A [`Store`](crate::Store) over Maildir++ trees. Cheap to clone; clones share what is in memory.
///
/// ```
/// use bytes::Bytes;
/// use mailwright_mail_model::{DateTime, MailboxName};
/// use mailwright_mailstore::maildir::{Maildir, Options, Template};
/// use mailwright_mailstore::{Store, Target, User, Write, block_on};
///
/// # let directory = tempfile::tempdir()?;
/// # let base = directory.path().display();
/// let store = Maildir::new(Template::new(&format!("{base}/%d/%n/Maildir"))?, Options::default());
/// let alice = User::new("alice@example.org")?;
/// block_on(async {
///     let arrived = DateTime::from_imap("17-Jul-1996 02:44:25 -0700")?;
///     let mut upload = store.begin(None).await?;
///     upload.write(Bytes::from_static(b"Subject: hi\r\n\r\n")).await?;
///     upload.commit(&[Target::new(alice.clone(), MailboxName::inbox(), arrived)]).await?;
///     assert_eq!(store.open(&alice, &MailboxName::inbox()).await?.len(), 1);
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })?;
/// assert!(directory.path().join("example.org/alice/Maildir/dovecot-uidlist").exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Maildir<O = Inline> {
    shared: Arc<Shared>,
    offload: O,
}

/// How a [`Maildir`] store behaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Where large messages are kept while they come in.
    pub spool: PathBuf,
    /// How many messages of mailboxes nobody has open stay known in memory, at some 250 octets each.
    pub messages: u64,
    /// Where to keep what is nobody's mail: the server's annotations. The directory that all users have in common if there is none.
    pub own: Option<PathBuf>,
    /// Whether to have the system tell what other programs change (inotify). It tells nothing of what other machines change on a
    /// file system that is shared with them.
    pub inotify: bool,
    /// How often to look whether another program has changed a mailbox that somebody waits for; where the system tells, every thirtieth
    /// time.
    pub look: Duration,
    /// How long expunged messages can be had back; not at all if it is nothing.
    pub undelete: Duration,
    /// How long to wait for another program that changes a mailbox.
    pub patience: Duration,
    /// What a user may have who has no limits of their own. Annotations are none.
    pub quota: QuotaLimits,
    /// At which parts of a limit, in percent, to warn.
    pub quota_warnings: Vec<u8>,
    /// Who finds out what is kept of messages: what another version of it found is found out anew. `None` if that never changes.
    pub describer: Option<Describer>,
}

impl Default for Options {
    /// The system's directory for temporary files, 500,000 messages, inotify, a look each second, thirty seconds of patience; no undelete
    /// window, no quota, warnings at 80 and 95 percent.
    fn default() -> Self {
        Self {
            spool: std::env::temp_dir().join("mailwright-spool"),
            messages: 500_000,
            own: None,
            inotify: true,
            look: Duration::from_secs(1),
            undelete: Duration::ZERO,
            patience: Duration::from_secs(30),
            quota: QuotaLimits::NONE,
            quota_warnings: vec![80, 95],
            describer: None,
        }
    }
}

/// What clones and uploads share.
struct Shared {
    template: Template,
    options: Options,
    setting: Setting,
    folders: Mutex<HashMap<PathBuf, Arc<Folder>>>,
    marks: read::Marks,
    warnings: quota::Warnings,
    lists: access::Lists,
    following: feed::Following,
    /// When it was looked last whether a user has expunged messages that nobody can have back any more.
    looked_for_old: Mutex<HashMap<PathBuf, Instant>>,
    lookout: watch::Lookout,
    clock: AtomicU64,
    me: Weak<Self>,
}

impl Maildir {
    /// The mail of the users whose directories the template names.
    pub fn new(template: Template, options: Options) -> Self {
        Self::with_offload(template, options, Inline)
    }
}

impl<O: Offload + Clone> Maildir<O> {
    /// As [`new`](Maildir::new), with another place to block in.
    pub fn with_offload(template: Template, options: Options, offload: O) -> Self {
        let setting = Setting { host: file_name::host(), patience: options.patience };
        let shared = Arc::new_cyclic(|me| Shared {
            template,
            options,
            setting,
            folders: Mutex::default(),
            marks: read::Marks::default(),
            warnings: quota::Warnings::default(),
            lists: access::Lists::default(),
            following: feed::Following::default(),
            looked_for_old: Mutex::default(),
            lookout: watch::Lookout::default(),
            clock: AtomicU64::new(0),
            me: Weak::clone(me),
        });
        Self { shared, offload }
    }

    /// The directories of a user that look like mailboxes and are none, for what they are called is no name of one: a Dovecot that writes
    /// names in UTF-8 has such.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub async fn unnamed(&self, user: &User) -> Result<Vec<String>> {
        let user = user.clone();
        self.run(move |shared| shared.unnamed(&user)).await
    }

    /// Runs something that may block.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&Arc<Shared>) -> T + Send + 'static) -> T {
        let shared = Arc::clone(&self.shared);
        self.offload.run(move || work(&shared)).await
    }
}

impl<O> std::fmt::Debug for Maildir<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Maildir").field("template", &self.shared.template).finish_non_exhaustive()
    }
}

impl Shared {
    /// A mailbox, there or not.
    fn folder(&self, user: &User, name: &MailboxName) -> Result<Arc<Folder>> {
        let root = self.template.path(user)?;
        let path = place::folder(&root, name)?;
        let described = self.options.describer.map_or(0, |describer| describer.version());
        let mut folders = lock(&self.folders);
        let folder =
            folders.entry(path.clone()).or_insert_with(|| Arc::new(Folder::new(root, path, described)));
        folder.used.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Ok(Arc::clone(folder))
    }

    /// A mailbox that is there; `INBOX` is made if need be.
    fn existing(&self, user: &User, name: &MailboxName) -> Result<Arc<Folder>> {
        let folder = self.folder(user, name)?;
        if !name.is_inbox() && !folder.exists() {
            lock(&self.folders).remove(&folder.path);
            return Err(StoreError::NotFound);
        }
        folder.complete()?;
        Ok(folder)
    }

    fn open(&self, user: &User, name: &MailboxName) -> Result<Arc<Snapshot>> {
        let folder = self.existing(user, name)?;
        let known = folder.peek(|_| ()).is_some();
        let snapshot = folder.snapshot(&self.setting)?;
        if !known {
            self.make_room();
        }
        Ok(snapshot)
    }

    /// Forgets the mailboxes used longest ago if there are too many messages in memory.
    fn make_room(&self) {
        let folders: Vec<_> = lock(&self.folders).values().cloned().collect();
        let mut loaded: Vec<_> = folders
            .into_iter()
            .filter_map(|folder| {
                let messages = folder.peek(|state| u64::from(state.snapshot.len()))?;
                Some((folder.used.load(Ordering::Relaxed), messages + 100, folder))
            })
            .collect();
        let mut total: u64 = loaded.iter().map(|(_, messages, _)| messages).sum();
        loaded.sort_by_key(|(used, ..)| *used);
        // The one just opened stays.
        loaded.pop();
        for (_, messages, folder) in loaded {
            if total <= self.options.messages {
                return;
            }
            if folder.waiting.load(Ordering::Relaxed) == 0 {
                folder.forget();
                total -= messages;
                lock(&self.folders)
                    .retain(|_, other| !Arc::ptr_eq(other, &folder) || Arc::strong_count(other) > 2);
            }
        }
    }
}

/// What the system said about a path.
pub(crate) fn failed(path: &Path, error: &std::io::Error) -> StoreError {
    let text = format!("{}: {error}", path.display());
    match error.kind() {
        ErrorKind::QuotaExceeded => StoreError::OverQuota,
        ErrorKind::StorageFull => StoreError::Full(text),
        ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly(text),
        _ => StoreError::Unavailable(text),
    }
}
