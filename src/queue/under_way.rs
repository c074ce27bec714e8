//! What is being sent at this moment. What was taken of a message is written down before more of it is begun, so that a crash repeats
//! no more than the transaction that it met (RFC 1047); and nothing is begun once all is to end, which waits for transactions alone.

use std::{
    collections::{HashMap, HashSet},
    fmt, mem,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mailwright_mailstore::{QueueEntry, QueueNumber, RecipientState, Settlement, Store};
use mailwright_relay_policy::{delivery::Diagnosis, dns::Resolve};
use mailwright_smtp_proto::Reply;

use tokio::{sync::Notify, time};

use super::{Outcome, Queue};
use crate::smtp::Addressing;

/// How long to wait after the store failed.
const PAUSE: Duration = Duration::from_secs(1);

/// The entries that are being sent, and how far they have come.
#[derive(Default)]
pub(super) struct UnderWay {
    ending: AtomicBool,
    /// Told at the end, and of each transaction that ends after it.
    changed: Notify,
    entries: Mutex<HashMap<QueueNumber, Progress>>,
}

/// How far an entry has come in one attempt. The recipients are named by their places.
#[derive(Default)]
struct Progress {
    /// What was taken and is not written down yet.
    taken: Vec<(usize, Outcome)>,
    /// Whose outcome is written down, in the log, and told of.
    known: HashSet<usize>,
    /// For whom nothing was begun.
    left: HashSet<usize>,
    /// Whether a transaction, or a program, is under way.
    busy: bool,
    /// Whether the store could not take what was to be written down.
    failed: bool,
}

/// Takes an entry out of the list, however its attempt ends.
pub(super) struct Listed<'a>(&'a UnderWay, QueueNumber);

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}

/// A transaction, or a program, until what came of it was noted.
pub(super) struct Begun<'a>(&'a UnderWay, QueueNumber);

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if let Some(progress) = self.0.lock().get_mut(&self.1) {
            progress.busy = false;
        }
        if self.0.is_ending() {
            self.0.changed.notify_waiters();
        }
    }
}

impl UnderWay {
    fn lock(&self) -> MutexGuard<'_, HashMap<QueueNumber, Progress>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on transactions are begun.
    pub(super) fn open(&self) {
        self.ending.store(false, Ordering::Release);
    }

    /// From now on none is.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// An attempt begins.
    pub(super) fn list(&self, number: QueueNumber) -> Listed<'_> {
        self.lock().insert(number, Progress::default());
        Listed(self, number)
    }

    /// Waits for the end, and for the transaction of an entry that is under way then.
    pub(super) async fn idle_at_end(&self, number: QueueNumber) {
        loop {
            let changed = self.changed.notified();
            if self.is_ending() && self.lock().get(&number).is_none_or(|progress| !progress.busy) {
                return;
            }
            changed.await;
        }
    }

    fn begin(&self, number: QueueNumber) -> Option<Begun<'_>> {
        let mut entries = self.lock();
        // Looked at within the lock: either the end sees that this is busy, or this sees the end.
        if self.is_ending() {
            return None;
        }
        if let Some(progress) = entries.get_mut(&number) {
            if progress.failed {
                return None;
            }
            progress.busy = true;
        }
        drop(entries);
        Some(Begun(self, number))
    }

    /// What was taken of an entry and is not written down.
    fn take(&self, number: QueueNumber) -> Vec<(usize, Outcome)> {
        self.lock().get_mut(&number).map(|progress| mem::take(&mut progress.taken)).unwrap_or_default()
    }

    /// Notes what was taken in a transaction.
    pub(super) fn took<'a>(
        &self,
        number: QueueNumber,
        outcomes: impl IntoIterator<Item = (usize, &'a Outcome)>,
    ) {
        let taken = outcomes.into_iter().filter(|(_, outcome)| matches!(outcome, Outcome::Taken { .. }));
        let taken = taken.map(|(place, outcome)| (place, outcome.clone()));
        if let Some(progress) = self.lock().get_mut(&number) {
            progress.taken.extend(taken);
        }
    }
}

impl fmt::Debug for UnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnderWay").field(&self.lock().len()).finish()
    }
}

impl<S, R, P> Queue<S, R, P>
where
    S: Store + 'static,
    R: Resolve + 'static,
    P: Addressing + 'static,
{
    /// Another transaction, or program, begins for an entry, and lasts as long as what is given: not at the end, nor where it cannot be
    /// written down what came of those before. That is done first.
    pub(super) async fn begin(&self, entry: &QueueEntry) -> Option<Begun<'_>> {
        let begun = self.under_way.begin(entry.number)?;
        let taken = self.under_way.take(entry.number);
        if taken.is_empty() {
            // Of most messages there is one transaction, and what came of that is written down at the end.
            return Some(begun);
        }
        let written = self.note(entry, &taken).await;
        if let Some(progress) = self.under_way.lock().get_mut(&entry.number) {
            if written {
                progress.known.extend(taken.iter().map(|(place, _)| *place));
            } else {
                progress.failed = true;
                progress.taken = taken;
            }
        }
        (written && !self.under_way.is_ending()).then_some(begun)
    }

    /// Writes down who has the message of an attempt that the end has met between two transactions. The others wait as they did before.
    pub(super) async fn break_off(&self, entry: &QueueEntry) {
        let taken = self.under_way.take(entry.number);
        while !taken.is_empty() && !self.note(entry, &taken).await {
            time::sleep(PAUSE).await;
        }
    }

    /// Writes down who has the message by now, with the reports that the sender wants of it: they are lost otherwise with the memory.
    async fn note(&self, entry: &QueueEntry, taken: &[(usize, Outcome)]) -> bool {
        let mut judgement = self.judged(entry.clone(), taken.to_vec());
        let recipients = taken.iter().filter_map(|(place, _)| judgement.entry.recipients.get(*place));
        let recipients = recipients.filter(|recipient| recipient.state == RecipientState::Delivered);
        let settlement = Settlement::Recipients(entry.number, recipients.cloned().collect());
        if let Err(error) = self.settle_with(&mut judgement, settlement).await {
            tracing::error!(id = entry.id, %error, "who has a message cannot be written down");
            return false;
        }
        for (place, outcome) in taken {
            self.log(entry, *place, outcome);
            self.remember(entry, *place, outcome);
        }
        true
    }

    /// Nothing is begun for these recipients: what is given for each is not to be judged.
    pub(super) fn leave(&self, entry: &QueueEntry, places: &[usize]) -> Vec<Outcome> {
        if let Some(progress) = self.under_way.lock().get_mut(&entry.number) {
            progress.left.extend(places);
        }
        let reply = Reply::transient((3, 2), "Nothing is sent now");
        vec![Outcome::Refused(Diagnosis::found(reply)); places.len()]
    }

    /// What there is to judge of an attempt that has ended, once it is in the log; and whether recipients are left for whom nothing was begun.
    pub(super) fn come_of(
        &self,
        entry: &QueueEntry,
        outcomes: Vec<(usize, Outcome)>,
    ) -> (Vec<(usize, Outcome)>, bool) {
        let Progress { known, left, .. } = self.under_way.lock().remove(&entry.number).unwrap_or_default();
        let mut judged = Vec::with_capacity(outcomes.len());
        for (place, outcome) in outcomes {
            if left.contains(&place) {
                continue;
            }
            if !known.contains(&place) {
                self.log(entry, place, &outcome);
                self.remember(entry, place, &outcome);
                judged.push((place, outcome));
                continue;
            }
            judged.push((place, told(outcome)));
        }
        (judged, !left.is_empty())
    }
}

/// The outcome of a recipient of whom all was told that was to be told.
fn told(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Taken { diagnosis, .. } => {
            Outcome::Taken { diagnosis, reports: true, delivered: true, timed: true }
        }
        other => other,
    }
}
