//! The facet of a store that takes mail and changes.

use mailwright_mail_model::{Flag, FlagSet, MailboxName, ModSeq, Uid, UidSet, UidValidity};

use crate::store::Never;
use crate::{MailboxRef, Message, Result, Rights, Snapshot, StoreError, Upload};

/// Delivery, APPEND, STORE, EXPUNGE, COPY and MOVE.
///
/// Whatever a method reports as done is durable when it returns, and seen whole or not at all by everybody else. That holds for changes at the
/// same moment, which come one after the other and all count, and where nobody waits for the end: a future that is dropped leaves its
/// change made or not made, and perhaps still under way.
/// Every change gives the messages it touches a mod-sequence higher than any before in that mailbox.
pub trait Write: Send + Sync {
    /// Begins to take a message. `size` is how many octets are expected, if that is known; a store
    /// may refuse by it but must not believe it.
    ///
    /// # Errors
    /// [`TooLarge`](crate::StoreError::TooLarge), or the store takes nothing now.
    fn begin(&self, size: Option<u64>) -> impl Future<Output = Result<Upload>> + Send;

    /// Changes flags of those of `uids` that exist; the others are passed over in silence.
    ///
    /// # Errors
    /// [`NotFound`](crate::StoreError::NotFound) if the mailbox is gone.
    fn store_flags(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        change: &FlagChange,
    ) -> impl Future<Output = Result<FlagsStored>> + Send;

    /// Removes messages; those that do not exist are passed over in silence.
    ///
    /// # Errors
    /// [`NotFound`](crate::StoreError::NotFound) if the mailbox is gone.
    fn expunge(&self, mailbox: &MailboxRef, which: &Expunge)
    -> impl Future<Output = Result<Expunged>> + Send;

    /// Copies those of `uids` that exist, with flags, internal dates and the identities of content and thread, into another mailbox of the
    /// same user or into the same one: all or none. The save date of a copy is its own (RFC 8514 §2).
    ///
    /// # Errors
    /// [`NotFound`](crate::StoreError::NotFound) if either mailbox does not exist.
    fn copy(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        target: &MailboxName,
    ) -> impl Future<Output = Result<Copied>> + Send;

    /// Copies and then expunges the originals, as one change (RFC 6851 §3.3).
    ///
    /// # Errors
    /// As [`copy`](Self::copy).
    fn move_to(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        target: &MailboxName,
    ) -> impl Future<Output = Result<Copied>> + Send;

    /// Whether an [`Upload`] takes several messages and replaces others, all at one moment: MULTIAPPEND (RFC 3502) and
    /// REPLACE (RFC 8508); and whether several uploads are [committed together](Upload::commit_joined).
    fn takes_several(&self) -> bool {
        false
    }

    /// Whether a [`Batch`](crate::Batch) may change rows of tables at the moment of its commit.
    fn takes_rows(&self) -> bool {
        false
    }

    /// Makes the messages that are `\Recent` nobody's, and tells from which UID on they were (RFC 3501 §2.3.2); all below were
    /// claimed before. `None` from a store that keeps no count: the server remembers what it can. What is
    /// claimed may be claimed again after a crash.
    ///
    /// # Errors
    /// [`NotFound`](crate::StoreError::NotFound) if the mailbox is gone.
    fn claim_recent(&self, mailbox: &MailboxRef) -> impl Future<Output = Result<Option<Uid>>> + Send {
        let _ = mailbox;
        std::future::ready(Ok(None))
    }
}

/// What [`Write::store_flags`] does to flags.
///
/// ```
/// use mailwright_mail_model::{FlagSet, ModSeq};
/// use mailwright_mailstore::{FlagChange, FlagOperation};
///
/// let seen: FlagSet = "(\\Seen)".parse()?;
/// let change = FlagChange::new(FlagOperation::Add, seen).unchanged_since(ModSeq::MIN);
/// assert_eq!(change.apply(&"(\\Draft)".parse()?).to_string(), "(\\Seen \\Draft)");
/// # Ok::<(), mailwright_mail_model::FlagError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlagChange {
    /// What to do with the flags.
    pub operation: FlagOperation,
    /// The flags.
    pub flags: FlagSet,
    /// Leave alone every message whose mod-sequence is higher (RFC 7162 §3.1.3 UNCHANGEDSINCE).
    pub unchanged_since: Option<ModSeq>,
    /// Whose change it is: flags that these rights do not cover stay as each message has them.
    pub rights: Rights,
}

/// A message whose flags change: the flags that it has then, and the mod-sequence of the change.
pub type FlagsChanged = (Uid, FlagSet, ModSeq);

impl FlagChange {
    /// An unconditional change.
    pub const fn new(operation: FlagOperation, flags: FlagSet) -> Self {
        Self { operation, flags, unchanged_since: None, rights: Rights::ALL }
    }

    /// The same change by somebody who has these rights: [what they do not cover](Rights::flags) of the flags of a message is as it was
    /// (RFC 4314 §4).
    #[must_use]
    pub fn within(mut self, rights: Rights) -> Self {
        self.rights = rights;
        self
    }

    /// The same change, for messages with at most this mod-sequence.
    #[must_use]
    pub fn unchanged_since(mut self, modseq: ModSeq) -> Self {
        self.unchanged_since = Some(modseq);
        self
    }

    /// For stores: what [`Write::store_flags`] returns for a mailbox as it is now, where each message that changes gets the mod-sequence
    /// after the mailbox's highest; and these messages alone, which are to be written. Without any the mailbox stays as it is.
    ///
    /// # Errors
    /// [`Unavailable`](StoreError::Unavailable) once the highest possible mod-sequence was given.
    pub fn plan(&self, snapshot: &Snapshot, uids: &UidSet) -> Result<(FlagsStored, Vec<FlagsChanged>)> {
        let next = snapshot.highest_modseq().next();
        let next = next.ok_or_else(|| StoreError::Unavailable("no mod-sequence is left".into()))?;
        Ok(self.planned(snapshot, uids, Some(next)))
    }

    /// The same for a store without mod-sequences, where each message keeps the one that it has.
    ///
    /// ```
    /// use mailwright_mail_model::{DateTime, ModSeq, Uid, UidValidity};
    /// use mailwright_mailstore::{FlagChange, FlagOperation, Message, Snapshot};
    ///
    /// let message = Message::new(Uid::MIN, 900, DateTime::EPOCH);
    /// let mailbox = Snapshot::builder(UidValidity::new(1).ok_or("0")?).message(message).build();
    /// let seen = FlagChange::new(FlagOperation::Add, "(\\Seen)".parse()?);
    /// let (stored, changed) = seen.plan_without_modseqs(&mailbox, &Uid::MIN.into());
    /// assert_eq!(changed, [(Uid::MIN, "(\\Seen)".parse()?, ModSeq::MIN)]);
    /// assert_eq!(stored.messages, changed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn plan_without_modseqs(
        &self,
        snapshot: &Snapshot,
        uids: &UidSet,
    ) -> (FlagsStored, Vec<FlagsChanged>) {
        self.planned(snapshot, uids, None)
    }

    fn planned(
        &self,
        snapshot: &Snapshot,
        uids: &UidSet,
        next: Option<ModSeq>,
    ) -> (FlagsStored, Vec<FlagsChanged>) {
        let (mut stored, mut changed) = (FlagsStored::default(), Vec::new());
        for message in snapshot.among(uids) {
            if self.unchanged_since.is_some_and(|limit| message.modseq > limit) {
                stored.modified.insert(message.uid);
                continue;
            }
            let flags = self.apply(&message.flags);
            let same = flags == message.flags;
            let modseq = next.filter(|_| !same).unwrap_or(message.modseq);
            let after = (message.uid, flags, modseq);
            changed.extend((!same).then(|| after.clone()));
            stored.messages.push(after);
        }
        (stored, changed)
    }

    /// What becomes of a message's flags.
    pub fn apply(&self, flags: &FlagSet) -> FlagSet {
        match self.operation {
            FlagOperation::Add => flags.union(&self.rights.flags(&self.flags)),
            FlagOperation::Remove => flags.difference(&self.rights.flags(&self.flags)),
            FlagOperation::Replace => {
                let kept = flags.difference(&self.rights.flags(flags));
                kept.union(&self.rights.flags(&self.flags))
            }
        }
    }
}

/// `+FLAGS`, `-FLAGS` or `FLAGS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "RFC 9051 §6.4.6 has three, and a store must do each")]
pub enum FlagOperation {
    /// Set these flags too.
    Add,
    /// Clear these flags.
    Remove,
    /// Set these flags and no others.
    Replace,
}

/// What [`Write::store_flags`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlagsStored {
    /// The UID, flags and mod-sequence after the change of every message that met the condition, ascending. A message
    /// whose flags were so already keeps its mod-sequence.
    pub messages: Vec<(Uid, FlagSet, ModSeq)>,
    /// The messages left alone because they had changed (RFC 7162 §3.1.3 MODIFIED).
    pub modified: UidSet,
}

/// Which messages [`Write::expunge`] removes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expunge {
    /// Every one with `\Deleted`: EXPUNGE, CLOSE.
    Deleted,
    /// Those of the set with `\Deleted`: UID EXPUNGE (RFC 4315 §2.1).
    DeletedAmong(UidSet),
    /// The set, whatever the flags: POP3's QUIT.
    Exactly(UidSet),
}

impl Expunge {
    /// For stores: which messages of a mailbox it removes.
    pub fn select(&self, snapshot: &Snapshot) -> UidSet {
        let deleted = |message: &&Message| message.flags.contains(&Flag::Deleted);
        match self {
            Self::Deleted if snapshot.deleted() == 0 => UidSet::new(),
            Self::Deleted => snapshot.messages().filter(deleted).map(|message| message.uid).collect(),
            Self::DeletedAmong(uids) => {
                snapshot.among(uids).filter(deleted).map(|message| message.uid).collect()
            }
            Self::Exactly(uids) => snapshot.among(uids).map(|message| message.uid).collect(),
        }
    }
}

/// What [`Write::expunge`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expunged {
    /// The messages that existed and do no more.
    pub uids: UidSet,
    /// The mailbox's highest mod-sequence after that.
    pub highest_modseq: ModSeq,
}

/// What [`Write::copy`] and [`Write::move_to`] did: the COPYUID of RFC 4315 §3.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// What the new UIDs are valid with.
    pub uid_validity: UidValidity,
    /// The messages that existed.
    pub source: UidSet,
    /// Their copies: the lowest of `source` became the lowest of these, and so on.
    pub target: UidSet,
    /// The source mailbox's highest mod-sequence after that.
    pub highest_modseq: ModSeq,
}

impl FlagsStored {
    /// For stores.
    pub const fn new(messages: Vec<(Uid, FlagSet, ModSeq)>, modified: UidSet) -> Self {
        Self { messages, modified }
    }
}

impl Expunged {
    /// For stores.
    pub const fn new(uids: UidSet, highest_modseq: ModSeq) -> Self {
        Self { uids, highest_modseq }
    }
}

impl Copied {
    /// For stores.
    pub const fn new(
        uid_validity: UidValidity,
        source: UidSet,
        target: UidSet,
        highest_modseq: ModSeq,
    ) -> Self {
        Self { uid_validity, source, target, highest_modseq }
    }
}

impl Write for Never {
    async fn begin(&self, _: Option<u64>) -> Result<Upload> {
        match *self {}
    }

    async fn store_flags(&self, _: &MailboxRef, _: &UidSet, _: &FlagChange) -> Result<FlagsStored> {
        match *self {}
    }

    async fn expunge(&self, _: &MailboxRef, _: &Expunge) -> Result<Expunged> {
        match *self {}
    }

    async fn copy(&self, _: &MailboxRef, _: &UidSet, _: &MailboxName) -> Result<Copied> {
        match *self {}
    }

    async fn move_to(&self, _: &MailboxRef, _: &UidSet, _: &MailboxName) -> Result<Copied> {
        match *self {}
    }
}
