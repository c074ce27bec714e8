//! Waking tasks without a runtime: a counter to wait on.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use mailwright_mail_model::MailboxName;

use crate::{Result, Snapshot, Store, User};

/// Locks, also after a panic elsewhere: the data of these locks is never left half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A count that tasks wait on, under any runtime: what a store raises at each change, and [`Watch`](crate::Watch) waits for.
///
/// ```
/// use std::sync::Arc;
///
/// use mailwright_mail_model::MailboxName;
/// use mailwright_mailstore::{Result, Snapshot, Store, User, Watch, backend::Signal};
/// # use mailwright_mailstore::{Mailbox, MessageRef, memory::Memory};
///
/// struct Mine {
///     changed: Signal,
///     // and the mail
/// #   mail: Memory,
/// }
///
/// impl Mine {
///     fn deliver(&self) {
///         // First the change, then the signal.
///         self.changed.raise();
///     }
/// }
///
/// impl Watch for Mine {
///     async fn changed(&self, user: &User, name: &MailboxName, seen: &Snapshot) -> Result<Arc<Snapshot>> {
///         self.changed.changed(self, user, name, seen).await
///     }
/// }
/// # impl Store for Mine {
/// #     async fn mailboxes(&self, user: &User) -> Result<Vec<Mailbox>> { self.mail.mailboxes(user).await }
/// #     async fn open(&self, user: &User, name: &MailboxName) -> Result<Arc<Snapshot>> { self.mail.open(user, name).await }
/// #     async fn read(&self, message: &MessageRef, range: std::ops::Range<u64>) -> Result<bytes::Bytes> { self.mail.read(message, range).await }
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Signal(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    raised: u64,
    next: u64,
    wakers: BTreeMap<u64, Waker>,
}

impl Signal {
    /// How often it was raised. Take it before looking at what it is about, then wait for more.
    pub fn raised(&self) -> u64 {
        lock(&self.0).raised
    }

    /// Raises it, and wakes everybody who waits.
    pub fn raise(&self) {
        let wakers = {
            let mut waiting = lock(&self.0);
            waiting.raised += 1;
            std::mem::take(&mut waiting.wakers)
        };
        wakers.into_values().for_each(Waker::wake);
    }

    /// Waits until it was raised more often than `seen`.
    pub fn wait(&self, seen: u64) -> impl Future<Output = ()> + Send {
        Wait { signal: self, seen, place: None }
    }

    /// What [`Watch::changed`](crate::Watch::changed) is for a store that raises this after each change: looks at the mailbox, and again
    /// each time it was raised, until it is no longer as `seen`. With the facet [`Changes`](crate::Changes) the highest mod-sequence tells;
    /// without, all messages are compared.
    ///
    /// # Errors
    /// Those of [`Store::open`].
    pub async fn changed<S: Store>(
        &self,
        store: &S,
        user: &User,
        name: &MailboxName,
        seen: &Snapshot,
    ) -> Result<Arc<Snapshot>> {
        let version = |snapshot: &Snapshot| (snapshot.uid_validity(), snapshot.highest_modseq());
        // Without them every message may have the same mod-sequence for good.
        let counts = store.changes().is_some();
        let same = |snapshot: &Snapshot| {
            version(snapshot) == version(seen) && (counts || std::ptr::eq(snapshot, seen) || snapshot == seen)
        };
        loop {
            // Counted before looking, so that a change after the look is not slept through.
            let raised = self.raised();
            let snapshot = store.open(user, name).await?;
            if !same(&snapshot) {
                return Ok(snapshot);
            }
            self.wait(raised).await;
        }
    }
}

struct Wait<'a> {
    signal: &'a Signal,
    seen: u64,
    place: Option<u64>,
}

impl Future for Wait<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut waiting = lock(&self.signal.0);
        if waiting.raised > self.seen {
            return Poll::Ready(());
        }
        let place = self.place.unwrap_or_else(|| {
            waiting.next += 1;
            waiting.next
        });
        waiting.wakers.insert(place, context.waker().clone());
        drop(waiting);
        self.place = Some(place);
        Poll::Pending
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            lock(&self.signal.0).wakers.remove(&place);
        }
    }
}
