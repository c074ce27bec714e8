//! A store in memory: for tests, demonstrations, and as the example of a complete back end.
//!
//! Nothing survives the process, so "durable" here means "seen by everybody". One lock guards everything; each mailbox
//! is the snapshot that sessions share, and a change makes the next one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use mailwright_mail_model::{
    DateTime, MailboxName, ModSeq, ScriptName, SpecialUse, Uid, UidSet, UidValidity,
};

use crate::feeds::Feeds;
use crate::signal::{Signal, lock};
use crate::spool::Written;
use crate::{
    Acl, AclEntry, Annotate, AnnotationLimits, Cache, Changes, Delivery, Due, EntryName, Feed, FeedEvent,
    Folders, Import, Mailbox, MailboxRef, Message, MessageRef, Metadata, ObjectId, Origins, QueueEntry,
    QueueNumber, Quota, QuotaLimits, Result, Scripts, Snapshot, Spool, Status, Store, StoreError, Summary,
    Undelete, User, Watch, Write,
};

mod annotate;
mod extended;
mod folders;
mod scripts;
mod spool;
mod write;

/// A [`Store`] in memory. Cheap to clone; clones share their mail.
///
/// ```
/// use bytes::Bytes;
/// use mailwright_mail_model::{DateTime, MailboxName};
/// use mailwright_mailstore::memory::Memory;
/// use mailwright_mailstore::{MailboxRef, Store, Target, User, Write, block_on};
///
/// block_on(async {
///     let (store, alice, inbox) = (Memory::new(), User::new("alice")?, MailboxName::inbox());
///     let arrived = DateTime::from_imap("17-Jul-1996 02:44:25 -0700")?;
///     let mut upload = store.begin(None).await?;
///     upload.write(Bytes::from_static(b"Subject: hi\r\n\r\nhello\r\n")).await?;
///     upload.commit(&[Target::new(alice.clone(), inbox.clone(), arrived)]).await?;
///
///     let snapshot = store.open(&alice, &inbox).await?;
///     let mailbox = MailboxRef::new(alice, inbox, &snapshot);
///     let message = snapshot.messages().next().map(|message| mailbox.message(message)).ok_or("no message")?;
///     assert_eq!(store.read(&message, 0..7).await?, "Subject");
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Memory(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Raised after every change to any mailbox.
    changed: Signal,
    feeds: Feeds,
    /// Raised after entries of the queue were added or made due.
    added: Signal,
    /// Where the queue was written, noted while the state is locked.
    written: Written,
}

#[derive(Default)]
struct State {
    users: HashMap<User, Account>,
    bodies: HashMap<ObjectId, Body>,
    queue: BTreeMap<QueueNumber, QueueEntry>,
    last_queued: u64,
    /// The first place of the queue that the change under way has written.
    first_written: Option<Due>,
    /// By user and identifier.
    threads: HashMap<(User, Bytes), ObjectId>,
    annotations: Annotations,
    annotation_limits: AnnotationLimits,
    quota: QuotaLimits,
    /// The last identity and the last UIDVALIDITY given out.
    last_id: u128,
    last_validity: u32,
}

struct Account {
    mailboxes: BTreeMap<MailboxName, Folder>,
    subscriptions: BTreeSet<MailboxName>,
    scripts: BTreeMap<ScriptName, Bytes>,
    active_script: Option<ScriptName>,
    limits: Option<QuotaLimits>,
    /// What was expunged and can be had back.
    expunged: BTreeMap<ObjectId, Gone>,
}

/// A message that was expunged: from where and when, and what was noted about it.
#[derive(Clone)]
struct Gone {
    name: MailboxName,
    when: DateTime,
    message: Message,
    notes: annotate::Notes,
}

/// By the reader, if private, and the name.
type Annotations = BTreeMap<(Option<User>, EntryName), Bytes>;

struct Folder {
    snapshot: Arc<Snapshot>,
    special_use: Option<SpecialUse>,
    /// What each expunge removed, in order.
    expunged: Vec<(ModSeq, UidSet)>,
    recent_from: Option<Uid>,
    access: Vec<AclEntry>,
    annotations: Annotations,
    origins: BTreeMap<Uid, Origin>,
    /// What is noted about messages; nothing about most.
    notes: BTreeMap<Uid, annotate::Notes>,
}

#[derive(Clone)]
struct Origin {
    unique_id: Option<String>,
    delivery: Option<Arc<Delivery>>,
}

struct Body {
    octets: Bytes,
    summary: Option<Summary>,
    /// In how many mailboxes and entries of the queue it is.
    references: usize,
}

impl Memory {
    /// A store without mail.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same store, in which this is what a user may have who has no limits of their own.
    #[must_use]
    pub fn with_quota(self, limits: QuotaLimits) -> Self {
        self.state().quota = limits;
        self
    }

    /// The same store, in which so much may be noted about a message.
    #[must_use]
    pub fn with_annotation_limits(self, limits: AnnotationLimits) -> Self {
        self.state().annotation_limits = limits;
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }

    /// Changes something, and tells everybody who waits; `events` are for whoever follows the user's feed.
    fn change<T, E>(
        &self,
        events: &[(&User, FeedEvent)],
        change: impl FnOnce(&mut State) -> Result<T, E>,
    ) -> Result<T, E> {
        let result = change(&mut self.state())?;
        for (user, event) in events {
            self.0.feeds.tell(user.as_str().as_bytes(), event.clone());
        }
        self.0.changed.raise();
        Ok(result)
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

impl State {
    fn id(&mut self) -> ObjectId {
        self.last_id += 1;
        ObjectId::from(self.last_id)
    }

    /// A new, empty mailbox, with a UIDVALIDITY no other ever had.
    fn folder(&mut self, special_use: Option<SpecialUse>) -> Result<Folder> {
        self.last_validity = self.last_validity.saturating_add(1);
        let uid_validity = UidValidity::new(self.last_validity)
            .ok_or_else(|| StoreError::Unavailable("no UIDVALIDITY is left".into()))?;
        let snapshot = Arc::new(Snapshot::builder(uid_validity).id(self.id()).build());
        Ok(Folder {
            snapshot,
            special_use,
            expunged: Vec::new(),
            recent_from: Some(Uid::MIN),
            access: Vec::new(),
            annotations: Annotations::new(),
            origins: BTreeMap::new(),
            notes: BTreeMap::new(),
        })
    }

    /// A user, who has an `INBOX` as soon as somebody asks.
    fn account(&mut self, user: &User) -> Result<&mut Account> {
        if !self.users.contains_key(user) {
            let mailboxes = BTreeMap::from([(MailboxName::inbox(), self.folder(None)?)]);
            let account = Account {
                mailboxes,
                subscriptions: BTreeSet::new(),
                scripts: BTreeMap::new(),
                active_script: None,
                limits: None,
                expunged: BTreeMap::new(),
            };
            self.users.insert(user.clone(), account);
        }
        self.users.get_mut(user).ok_or(StoreError::NotFound)
    }

    fn find(&mut self, user: &User, name: &MailboxName) -> Result<&mut Folder> {
        self.account(user)?.mailboxes.get_mut(name).ok_or(StoreError::NotFound)
    }

    /// The mailbox a session selected, if it is still the same.
    fn selected(&mut self, mailbox: &MailboxRef) -> Result<&mut Folder> {
        let folder = self.find(mailbox.user(), mailbox.name())?;
        let same = folder.snapshot.uid_validity() == mailbox.uid_validity();
        if same { Ok(folder) } else { Err(StoreError::NotFound) }
    }

    /// The body of a message that still exists.
    fn body(&mut self, message: &MessageRef) -> Result<&mut Body> {
        let row = self.selected(&message.mailbox)?.snapshot.message(message.uid).cloned();
        let object = row.and_then(|row| row.object).ok_or(StoreError::NotFound)?;
        self.bodies.get_mut(&object).ok_or(StoreError::NotFound)
    }
}

impl State {
    fn release_body(&mut self, object: ObjectId) {
        if let Some(body) = self.bodies.get_mut(&object) {
            body.references -= 1;
            if body.references == 0 {
                self.bodies.remove(&object);
            }
        }
    }
}

impl Store for Memory {
    async fn mailboxes(&self, user: &User) -> Result<Vec<Mailbox>> {
        let mut state = self.state();
        let mailboxes = state.account(user)?.mailboxes.iter();
        Ok(mailboxes.map(|(name, folder)| folder.describe(name)).collect())
    }

    async fn open(&self, user: &User, name: &MailboxName) -> Result<Arc<Snapshot>> {
        self.state().find(user, name).map(|folder| Arc::clone(&folder.snapshot))
    }

    async fn read(&self, message: &MessageRef, range: Range<u64>) -> Result<Bytes> {
        let mut state = self.state();
        let octets = &state.body(message)?.octets;
        let end = usize::try_from(range.end).unwrap_or(usize::MAX).min(octets.len());
        let start = usize::try_from(range.start).unwrap_or(usize::MAX).min(end);
        Ok(octets.slice(start..end))
    }

    async fn status(&self, user: &User, name: &MailboxName) -> Result<Status> {
        self.state().find(user, name).map(|folder| folder.status())
    }

    fn keeps_object_ids(&self) -> bool {
        true
    }

    fn writer(&self) -> Option<&impl Write> {
        Some(self)
    }

    fn folders(&self) -> Option<&impl Folders> {
        Some(self)
    }

    fn watch(&self) -> Option<&impl Watch> {
        Some(self)
    }

    fn changes(&self) -> Option<&impl Changes> {
        Some(self)
    }

    fn cache(&self) -> Option<&impl Cache> {
        Some(self)
    }

    fn spool(&self) -> Option<&impl Spool> {
        Some(self)
    }

    fn quota(&self) -> Option<&impl Quota> {
        Some(self)
    }

    fn acl(&self) -> Option<&impl Acl> {
        Some(self)
    }

    fn scripts(&self) -> Option<&impl Scripts> {
        Some(self)
    }

    fn metadata(&self) -> Option<&impl Metadata> {
        Some(self)
    }

    fn annotator(&self) -> Option<&impl Annotate> {
        Some(self)
    }

    fn origins(&self) -> Option<&impl Origins> {
        Some(self)
    }

    fn import(&self) -> Option<&impl Import> {
        Some(self)
    }

    fn feed(&self) -> Option<&impl Feed> {
        Some(self)
    }

    fn undelete(&self) -> Option<&impl Undelete> {
        Some(self)
    }
}

impl Watch for Memory {
    async fn changed(&self, user: &User, name: &MailboxName, seen: &Snapshot) -> Result<Arc<Snapshot>> {
        self.0.changed.changed(self, user, name, seen).await
    }
}

impl Changes for Memory {
    async fn expunged(&self, mailbox: &MailboxRef, since: ModSeq) -> Result<Option<UidSet>> {
        let mut state = self.state();
        let history = &state.selected(mailbox)?.expunged;
        let later = history.iter().filter(|(modseq, _)| *modseq > since);
        Ok(Some(later.flat_map(|(_, uids)| uids.ranges()).collect()))
    }
}

impl Cache for Memory {
    async fn load(&self, messages: &[MessageRef]) -> Result<Vec<Option<Summary>>> {
        let mut state = self.state();
        Ok(messages.iter().map(|message| state.body(message).ok()?.summary.clone()).collect())
    }

    async fn save(&self, message: &MessageRef, summary: &Summary) -> Result<()> {
        if let Ok(body) = self.state().body(message) {
            body.summary = Some(summary.clone());
        }
        Ok(())
    }
}

impl Folder {
    fn describe(&self, name: &MailboxName) -> Mailbox {
        Mailbox { special_use: self.special_use, id: self.snapshot.id(), ..Mailbox::new(name.clone()) }
    }

    fn status(&self) -> Status {
        let recent =
            self.snapshot.messages().rev().take_while(|message| Some(message.uid) >= self.recent_from);
        let recent = if self.recent_from.is_none() { 0 } else { recent.count() };
        Status { recent: u32::try_from(recent).ok(), ..Status::from(&*self.snapshot) }
    }

    /// The mod-sequence of the next change.
    fn next_modseq(&self) -> Result<ModSeq> {
        let next = self.snapshot.highest_modseq().next();
        next.ok_or_else(|| StoreError::Unavailable("no mod-sequence is left".into()))
    }
}
