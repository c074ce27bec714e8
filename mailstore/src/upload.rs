//! A message on its way into a store.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use mailwright_mail_model::{DateTime, FlagSet, MailboxName, Uid, UidSet, UidValidity};

use crate::{Batch, Committed, Delivery, MailboxRef, Noted, Result, StoreError, Summary, User};

/// A message that streams into a store: written piece by piece, then committed into mailboxes, all at once.
///
/// Dropped before it is committed, it leaves nothing behind. Made by [`Write::begin`](crate::Write::begin).
///
/// Where [`Write::takes_several`](crate::Write::takes_several), one upload carries several messages, all of which appear at one
/// moment: [`next`](Self::next) ends one and begins another.
pub struct Upload(Box<dyn erased::Sink>);

impl Upload {
    /// What a store returns from [`Write::begin`](crate::Write::begin).
    pub fn new(sink: impl Sink + 'static) -> Self {
        Self(Box::new(sink))
    }

    /// Adds octets to the message.
    ///
    /// # Errors
    /// [`TooLarge`](StoreError::TooLarge), or the store cannot take them; the upload is of no more use then.
    pub async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.0.write(chunk).await
    }

    /// Octets of what has been written so far, as [`Store::read`](crate::Store::read) gives those of a message: for filters,
    /// which look at a message before it is anybody's.
    ///
    /// # Errors
    /// [`Invalid`](StoreError::Invalid) if the store cannot give back what it has not committed.
    pub async fn read(&mut self, range: Range<u64>) -> Result<Bytes> {
        self.0.read(range).await
    }

    /// Gives what was found out about the message on its way, to be kept if the store has a
    /// [`Cache`](crate::Cache).
    pub fn summarize(&mut self, summary: Summary) {
        self.0.summarize(summary);
    }

    /// Gives the identifiers of the message's Message-ID, then those of In-Reply-To and References, without brackets, so that a store
    /// that keeps threads (RFC 8474 §5.2) finds its own. Of many, the first counts and the last ones.
    pub fn relate(&mut self, ids: Vec<Bytes>) {
        self.0.relate(ids);
    }

    /// Ends this message, whose targets these are, and begins another: MULTIAPPEND (RFC 3502). [`commit`](Self::commit) makes all
    /// of them appear.
    ///
    /// # Errors
    /// [`Invalid`](StoreError::Invalid) where not [`takes_several`](crate::Write::takes_several), [`TooMany`](StoreError::TooMany), or as
    /// [`write`](Self::write).
    pub async fn next(&mut self, targets: &[Target]) -> Result<()> {
        self.0.next(targets).await
    }

    /// What is committed takes the place of these messages, which are expunged at the same moment: REPLACE (RFC 8508).
    /// If one of them does not exist by then, the commit ends in [`Conflict`](StoreError::Conflict): somebody else was faster, and
    /// there would be two in the place of one.
    ///
    /// # Errors
    /// [`Invalid`](StoreError::Invalid) where not [`takes_several`](crate::Write::takes_several).
    pub fn replace(&mut self, mailbox: &MailboxRef, uids: &UidSet) -> Result<()> {
        self.0.replace(mailbox, uids)
    }

    /// Makes the message appear in every target, durably, at one moment, or in none. One answer a target, in order, those
    /// of earlier messages first.
    ///
    /// After an error the upload is as before: commit again without the target at fault, or drop it. After
    /// success it is spent.
    ///
    /// # Errors
    /// If any target does not take the message, or the store cannot write.
    pub async fn commit(&mut self, targets: &[Target]) -> Result<Vec<Appended>, CommitError> {
        self.0.commit(targets).await
    }

    /// As [`commit`](Self::commit), for the queue too: the message appears in every mailbox and goes into the queue, and
    /// earlier entries of the queue are settled, at one moment; or nothing of it happens.
    ///
    /// # Errors
    /// As for [`commit`](Self::commit), and if the store has no [`Spool`](crate::Spool).
    pub async fn commit_batch(&mut self, batch: &Batch) -> Result<Committed, CommitError> {
        self.0.commit_batch(batch).await
    }

    /// As [`commit_batch`](Self::commit_batch), for other uploads of the same store too: what a filter makes of a message goes along with it.
    /// All of it happens at one moment, or nothing. The answer is about this upload's own messages, which come first; after success
    /// the others are spent as well.
    ///
    /// # Errors
    /// As for [`commit_batch`](Self::commit_batch): [`CommitError::joined`] tells which of the others is at fault, and all of them are as
    /// before. [`Invalid`](StoreError::Invalid) where not [`takes_several`](crate::Write::takes_several), unless there are no others.
    pub async fn commit_joined(
        &mut self,
        batch: &Batch,
        joined: Vec<Joined<'_>>,
    ) -> Result<Committed, CommitError> {
        self.0.commit_joined(batch, joined).await
    }

    /// The message is whole, and waits beside others for its commit: what the store has of it in memory may go to disk. Nothing is written
    /// to it any more.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn set_aside(&mut self) -> Result<()> {
        self.0.set_aside().await
    }

    /// For stores: the sink that this was made of, if it is of their type, to commit it [along with](Self::commit_joined) another.
    pub fn sink_mut<S: Sink + 'static>(&mut self) -> Option<&mut S> {
        self.0.as_any_mut().downcast_mut()
    }
}

/// An upload that is committed along with another one.
#[derive(Debug)]
#[non_exhaustive]
pub struct Joined<'a> {
    /// The upload.
    pub upload: &'a mut Upload,
    /// What its commit does. Targets of rows are counted within it.
    pub batch: &'a Batch,
}

impl<'a> Joined<'a> {
    /// This upload, with what its commit does.
    pub const fn new(upload: &'a mut Upload, batch: &'a Batch) -> Self {
        Self { upload, batch }
    }
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").finish_non_exhaustive()
    }
}

/// What a store implements to take a message. Nobody else calls it: see [`Upload`], which has the same methods and the
/// same promises.
pub trait Sink: Send {
    /// As [`Upload::write`].
    fn write(&mut self, chunk: Bytes) -> impl Future<Output = Result<()>> + Send;

    /// As [`Upload::read`]; by default the store cannot.
    fn read(&mut self, _range: Range<u64>) -> impl Future<Output = Result<Bytes>> + Send {
        let text = "expected a store that gives back what it has not committed";
        std::future::ready(Err(StoreError::Invalid(text.into())))
    }

    /// As [`Upload::commit`]. Called again after success, it must fail.
    fn commit(
        &mut self,
        targets: &[Target],
    ) -> impl Future<Output = Result<Vec<Appended>, CommitError>> + Send;

    /// As [`Upload::commit_batch`]. By default there is no queue, and only mailboxes can be named.
    fn commit_batch(&mut self, batch: &Batch) -> impl Future<Output = Result<Committed, CommitError>> + Send {
        async {
            if !batch.queue.is_empty() || !batch.settle.is_empty() {
                return Err(
                    StoreError::Invalid("expected mailboxes only: this store has no queue".into()).into()
                );
            }
            if !batch.rows.is_empty() {
                return Err(StoreError::Invalid("expected no rows: this store has no tables".into()).into());
            }
            let appended = self.commit(&batch.targets).await?;
            Ok(Committed::new(appended, Vec::new()))
        }
    }

    /// As [`Upload::commit_joined`]: the others are found with [`Upload::sink_mut`]. By default the store takes one message at a time.
    fn commit_joined(
        &mut self,
        batch: &Batch,
        joined: Vec<Joined<'_>>,
    ) -> impl Future<Output = Result<Committed, CommitError>> + Send {
        async move {
            if !joined.is_empty() {
                return Err(one_at_a_time().into());
            }
            self.commit_batch(batch).await
        }
    }

    /// As [`Upload::set_aside`]; by default it stays where it is.
    fn set_aside(&mut self) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// As [`Upload::summarize`]; by default the store has no use for it.
    fn summarize(&mut self, _summary: Summary) {}

    /// As [`Upload::relate`]; by default the store has no use for it.
    fn relate(&mut self, _ids: Vec<Bytes>) {}

    /// As [`Upload::next`]; by default the store takes one message at a time.
    fn next(&mut self, _targets: &[Target]) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Err(one_at_a_time()))
    }

    /// As [`Upload::replace`]; by default the store takes one message at a time.
    fn replace(&mut self, _mailbox: &MailboxRef, _uids: &UidSet) -> Result<()> {
        Err(one_at_a_time())
    }
}

fn one_at_a_time() -> StoreError {
    StoreError::Invalid("expected a store that takes several messages at one moment".into())
}

/// Where a message goes.
///
/// ```
/// use mailwright_mail_model::{DateTime, MailboxName};
/// use mailwright_mailstore::{Target, User};
///
/// let arrived = DateTime::from_imap("17-Jul-1996 02:44:25 -0700")?;
/// let target = Target::new(User::new("alice")?, MailboxName::inbox(), arrived);
/// assert!(target.flags.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Target {
    /// Whose mailbox.
    pub user: User,
    /// Which one. `INBOX` always exists.
    pub mailbox: MailboxName,
    /// When the message arrived (RFC 9051 §2.3.3).
    pub internal_date: DateTime,
    /// The flags it begins with.
    pub flags: FlagSet,
    /// The UID it had elsewhere, at or above the mailbox's UIDNEXT. Only for a store with [`Import`](crate::Import).
    pub uid: Option<Uid>,
    /// When it came into its mailbox elsewhere (RFC 8514); otherwise that is now.
    pub saved: Option<DateTime>,
    /// What POP3 clients knew it by elsewhere: 1 to 70 octets from `!` to `~` (RFC 1939 §7). Kept by a store with
    /// [`Origins`](crate::Origins).
    pub unique_id: Option<String>,
    /// The envelope it came with. Kept by a store with [`Origins`](crate::Origins).
    pub delivery: Option<Arc<Delivery>>,
    /// Whether it is taken whatever the quota says: what the server itself has to tell, such as that the quota is used up. It counts
    /// all the same.
    pub exempt: bool,
    /// What is noted about it, and by whom what is private of that. Kept by a store with [`Annotate`](crate::Annotate).
    pub annotations: Option<Arc<(User, Vec<Noted>)>>,
}

impl Target {
    /// A mailbox, without flags.
    pub const fn new(user: User, mailbox: MailboxName, internal_date: DateTime) -> Self {
        Self {
            user,
            mailbox,
            internal_date,
            flags: FlagSet::new(),
            uid: None,
            saved: None,
            unique_id: None,
            delivery: None,
            exempt: false,
            annotations: None,
        }
    }

    /// The same target, with the UID it must have.
    #[must_use]
    pub const fn with_uid(mut self, uid: Uid) -> Self {
        self.uid = Some(uid);
        self
    }

    /// The same target, saved at this time.
    #[must_use]
    pub const fn with_saved(mut self, saved: DateTime) -> Self {
        self.saved = Some(saved);
        self
    }

    /// The same target, with a unique id.
    #[must_use]
    pub fn with_unique_id(mut self, id: impl Into<String>) -> Self {
        self.unique_id = Some(id.into());
        self
    }

    /// The same target, with the envelope of its delivery.
    #[must_use]
    pub fn with_delivery(mut self, delivery: Arc<Delivery>) -> Self {
        self.delivery = Some(delivery);
        self
    }

    /// The same target, with annotations that this user has written.
    #[must_use]
    pub fn with_annotations(mut self, writer: User, values: Vec<Noted>) -> Self {
        self.annotations = (!values.is_empty()).then(|| Arc::new((writer, values)));
        self
    }

    /// The same target, exempt from the quota.
    #[must_use]
    pub const fn exempt(mut self) -> Self {
        self.exempt = true;
        self
    }

    /// For stores: whether the unique id, if there is one, is as RFC 1939 §7 wants it.
    ///
    /// # Errors
    /// [`Invalid`](StoreError::Invalid).
    pub fn check_unique_id(&self) -> Result<()> {
        let fits =
            |id: &String| (1..=70).contains(&id.len()) && id.bytes().all(|octet| octet.is_ascii_graphic());
        match &self.unique_id {
            Some(id) if !fits(id) => Err(StoreError::Invalid(format!(
                "expected a unique id of 1 to 70 octets from ! to ~, got {id:?}"
            ))),
            _ => Ok(()),
        }
    }

    /// The same target, with flags.
    #[must_use]
    pub fn with_flags(mut self, flags: FlagSet) -> Self {
        self.flags = flags;
        self
    }
}

/// Where a message went: the APPENDUID of RFC 4315 §3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// What the UID is valid with.
    pub uid_validity: UidValidity,
    /// The message's UID.
    pub uid: Uid,
}

impl Appended {
    /// For stores.
    pub const fn new(uid_validity: UidValidity, uid: Uid) -> Self {
        Self { uid_validity, uid }
    }
}

/// Why an [`Upload`] was not committed. Nothing appeared anywhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
#[non_exhaustive]
pub struct CommitError {
    /// Which of the targets is at fault, counted from 0; `None` if it is not about one of them.
    pub target: Option<usize>,
    /// Which of the uploads that were [joined](Upload::commit_joined) is at fault, counted from 0, and whose target it is then; `None` if it is
    /// not about one of them.
    pub joined: Option<usize>,
    /// What is wrong.
    #[source]
    pub error: StoreError,
}

impl CommitError {
    /// The target of this index does not take the message.
    pub const fn of_target(target: usize, error: StoreError) -> Self {
        Self { target: Some(target), joined: None, error }
    }

    /// The same fault, of this one of the uploads that were joined.
    #[must_use]
    pub fn of_joined(mut self, joined: usize) -> Self {
        self.joined = Some(joined);
        self
    }
}

impl From<StoreError> for CommitError {
    fn from(error: StoreError) -> Self {
        Self { target: None, joined: None, error }
    }
}

mod erased {
    use std::{any::Any, ops::Range, pin::Pin};

    use bytes::Bytes;
    use mailwright_mail_model::UidSet;

    use super::{Appended, CommitError, Joined, Target};
    use crate::{Batch, Committed, MailboxRef, StoreError, Summary};

    type Pending<'a, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

    pub(super) trait Sink: Send {
        fn write(&mut self, chunk: Bytes) -> Pending<'_, (), StoreError>;
        fn read(&mut self, range: Range<u64>) -> Pending<'_, Bytes, StoreError>;
        fn commit<'a>(&'a mut self, targets: &'a [Target]) -> Pending<'a, Vec<Appended>, CommitError>;
        fn commit_batch<'a>(&'a mut self, batch: &'a Batch) -> Pending<'a, Committed, CommitError>;
        fn commit_joined<'a>(
            &'a mut self,
            batch: &'a Batch,
            joined: Vec<Joined<'a>>,
        ) -> Pending<'a, Committed, CommitError>;
        fn set_aside(&mut self) -> Pending<'_, (), StoreError>;
        fn as_any_mut(&mut self) -> &mut dyn Any;
        fn summarize(&mut self, summary: Summary);
        fn relate(&mut self, ids: Vec<Bytes>);
        fn next<'a>(&'a mut self, targets: &'a [Target]) -> Pending<'a, (), StoreError>;
        fn replace(&mut self, mailbox: &MailboxRef, uids: &UidSet) -> Result<(), StoreError>;
    }

    impl<S: super::Sink + 'static> Sink for S {
        fn write(&mut self, chunk: Bytes) -> Pending<'_, (), StoreError> {
            Box::pin(super::Sink::write(self, chunk))
        }

        fn read(&mut self, range: Range<u64>) -> Pending<'_, Bytes, StoreError> {
            Box::pin(super::Sink::read(self, range))
        }

        fn commit<'a>(&'a mut self, targets: &'a [Target]) -> Pending<'a, Vec<Appended>, CommitError> {
            Box::pin(super::Sink::commit(self, targets))
        }

        fn commit_batch<'a>(&'a mut self, batch: &'a Batch) -> Pending<'a, Committed, CommitError> {
            Box::pin(super::Sink::commit_batch(self, batch))
        }

        fn commit_joined<'a>(
            &'a mut self,
            batch: &'a Batch,
            joined: Vec<Joined<'a>>,
        ) -> Pending<'a, Committed, CommitError> {
            Box::pin(super::Sink::commit_joined(self, batch, joined))
        }

        fn set_aside(&mut self) -> Pending<'_, (), StoreError> {
            Box::pin(super::Sink::set_aside(self))
        }

        fn as_any_mut(&mut self) -> &mut dyn Any {
            self
        }

        fn summarize(&mut self, summary: Summary) {
            super::Sink::summarize(self, summary);
        }

        fn relate(&mut self, ids: Vec<Bytes>) {
            super::Sink::relate(self, ids);
        }

        fn next<'a>(&'a mut self, targets: &'a [Target]) -> Pending<'a, (), StoreError> {
            Box::pin(super::Sink::next(self, targets))
        }

        fn replace(&mut self, mailbox: &MailboxRef, uids: &UidSet) -> Result<(), StoreError> {
            super::Sink::replace(self, mailbox, uids)
        }
    }
}
