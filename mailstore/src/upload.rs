//! A message on its way into a store.

use bytes::Bytes;
use mailwright_mail_model::{DateTime, FlagSet, MailboxName, Uid, UidValidity};

use crate::{Batch, Committed, Result, StoreError, Summary, User};

/// A message that streams into a store: written piece by piece, then committed into mailboxes, all at once.
///
/// Dropped before it is committed, it leaves nothing behind. Made by [`Write::begin`](crate::Write::begin).
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

    /// Gives what was found out about the message on its way, to be kept if the store has a
    /// [`Cache`](crate::Cache).
    pub fn summarize(&mut self, summary: Summary) {
        self.0.summarize(summary);
    }

    /// Makes the message appear in every target, durably, at one moment, or in none. One answer a target, in order.
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
            let appended = self.commit(&batch.targets).await?;
            Ok(Committed::new(appended, Vec::new()))
        }
    }

    /// As [`Upload::summarize`]; by default the store has no use for it.
    fn summarize(&mut self, _summary: Summary) {}
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
}

impl Target {
    /// A mailbox, without flags.
    pub const fn new(user: User, mailbox: MailboxName, internal_date: DateTime) -> Self {
        Self { user, mailbox, internal_date, flags: FlagSet::new() }
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
    /// What is wrong.
    #[source]
    pub error: StoreError,
}

impl CommitError {
    /// The target of this index does not take the message.
    pub const fn of_target(target: usize, error: StoreError) -> Self {
        Self { target: Some(target), error }
    }
}

impl From<StoreError> for CommitError {
    fn from(error: StoreError) -> Self {
        Self { target: None, error }
    }
}

mod erased {
    use std::pin::Pin;

    use bytes::Bytes;

    use super::{Appended, CommitError, Target};
    use crate::{Batch, Committed, StoreError, Summary};

    type Pending<'a, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

    pub(super) trait Sink: Send {
        fn write(&mut self, chunk: Bytes) -> Pending<'_, (), StoreError>;
        fn commit<'a>(&'a mut self, targets: &'a [Target]) -> Pending<'a, Vec<Appended>, CommitError>;
        fn commit_batch<'a>(&'a mut self, batch: &'a Batch) -> Pending<'a, Committed, CommitError>;
        fn summarize(&mut self, summary: Summary);
    }

    impl<S: super::Sink> Sink for S {
        fn write(&mut self, chunk: Bytes) -> Pending<'_, (), StoreError> {
            Box::pin(super::Sink::write(self, chunk))
        }

        fn commit<'a>(&'a mut self, targets: &'a [Target]) -> Pending<'a, Vec<Appended>, CommitError> {
            Box::pin(super::Sink::commit(self, targets))
        }

        fn commit_batch<'a>(&'a mut self, batch: &'a Batch) -> Pending<'a, Committed, CommitError> {
            Box::pin(super::Sink::commit_batch(self, batch))
        }

        fn summarize(&mut self, summary: Summary) {
            super::Sink::summarize(self, summary);
        }
    }
}
