//! Waking tasks without a runtime: a counter to wait on.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Locks, also after a panic elsewhere: the data of these locks is never left half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A count that tasks wait on.
#[derive(Debug, Default)]
pub(crate) struct Signal(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    raised: u64,
    next: u64,
    wakers: BTreeMap<u64, Waker>,
}

impl Signal {
    /// How often it was raised. Take it before looking at what it is about, then wait for more.
    pub(crate) fn raised(&self) -> u64 {
        lock(&self.0).raised
    }

    /// Raises it, and wakes everybody who waits.
    pub(crate) fn raise(&self) {
        let wakers = {
            let mut waiting = lock(&self.0);
            waiting.raised += 1;
            std::mem::take(&mut waiting.wakers)
        };
        wakers.into_values().for_each(Waker::wake);
    }

    /// Waits until it was raised more often than `seen`.
    pub(crate) const fn wait(&self, seen: u64) -> Wait<'_> {
        Wait { signal: self, seen, place: None }
    }
}

pub(crate) struct Wait<'a> {
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
