//! Waiting with an end, and many futures at a time, under any runtime and without one: the clock is a thread.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use super::{Outcome, wrong};
use crate::signal::lock;

/// How long a notice may take: a store that looks now and then is right, too.
const NOTICE: Duration = Duration::from_secs(15);

/// What `future` comes to, if that is within the limit. `stuck` is called if the thread that runs it is still in it a while after.
pub(super) async fn within<T>(
    limit: Duration,
    stuck: impl FnOnce() + Send + 'static,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut future = pin!(future);
    let alarm = Alarm::after(limit, stuck);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if alarm.has_rung(context) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// What a wait for a notice comes to.
#[track_caller]
pub(super) fn told<T>(what: &str, future: impl Future<Output = T>) -> impl Future<Output = Outcome<T>> {
    let untold = wrong(&format!("expected: {what} is told; for {} seconds it was not", NOTICE.as_secs()));
    async { within(NOTICE, || {}, future).await.ok_or(untold) }
}

/// Lets whoever else there is go on for so long.
pub(super) async fn pause(time: Duration) {
    within(time, || {}, std::future::pending::<()>()).await;
}

/// All of them at once, on this task.
pub(super) async fn together<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.into_iter().map(|future| (Some(Box::pin(future)), None)).collect();
    poll_fn(|context| {
        for (future, output) in &mut waiting {
            if let Some(Poll::Ready(ready)) = future.as_mut().map(|future| future.as_mut().poll(context)) {
                (*future, *output) = (None, Some(ready));
            }
        }
        if waiting.iter().all(|(future, _)| future.is_none()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    waiting.into_iter().filter_map(|(_, output)| output).collect()
}

/// Two of them at once, on this task; the first is polled first.
pub(super) async fn both<A: Future, B: Future>(one: A, other: B) -> (A::Output, B::Output) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut first, mut second) = (None, None);
    poll_fn(|context| {
        if first.is_none()
            && let Poll::Ready(output) = one.as_mut().poll(context)
        {
            first = Some(output);
        }
        if second.is_none()
            && let Poll::Ready(output) = other.as_mut().poll(context)
        {
            second = Some(output);
        }
        match (first.take(), second.take()) {
            (Some(first), Some(second)) => Poll::Ready((first, second)),
            (one, other) => {
                (first, second) = (one, other);
                Poll::Pending
            }
        }
    })
    .await
}

/// How far a future has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// It would go on if it were polled.
    Step,
    /// It waits, and nothing happens.
    Rest,
    /// It has ended.
    End,
}

/// Polls a future so many times, each time once it asks for it, and leaves it there. One that does not ask within `patience` is at rest.
pub(super) async fn poll_times<F: Future>(
    mut future: Pin<&mut F>,
    times: usize,
    patience: Duration,
) -> Reached {
    for _ in 0..times {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            return Reached::End;
        }
        let asked = poll_fn(|context| {
            let mut state = lock(&woken.0);
            state.1 = Some(context.waker().clone());
            if state.0 { Poll::Ready(()) } else { Poll::Pending }
        });
        if within(patience, || {}, asked).await.is_none() {
            return Reached::Rest;
        }
    }
    Reached::Step
}

/// Whether it was woken, and whom to wake then.
#[derive(Default)]
struct Woken(Mutex<(bool, Option<Waker>)>);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        let waker = {
            let mut state = lock(&self.0);
            state.0 = true;
            state.1.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }
}

/// Wakes a task some time from now, unless it is dropped before.
struct Alarm(Arc<(Mutex<Ringing>, Condvar)>);

#[derive(Default)]
struct Ringing {
    rung: bool,
    dropped: bool,
    waker: Option<Waker>,
}

impl Alarm {
    fn after(limit: Duration, stuck: impl FnOnce() + Send + 'static) -> Self {
        let shared = Arc::new((Mutex::<Ringing>::default(), Condvar::new()));
        let (ringing, bell) = (Arc::clone(&shared), limit);
        let ring = move || {
            let sleep = |time| {
                let state = lock(&ringing.0);
                let waited = ringing.1.wait_timeout_while(state, time, |state| !state.dropped);
                waited.unwrap_or_else(PoisonError::into_inner).0
            };
            let mut state = sleep(bell);
            if state.dropped {
                return;
            }
            state.rung = true;
            let waker = state.waker.take();
            drop(state);
            waker.into_iter().for_each(Waker::wake);
            if !sleep(Duration::from_secs(2)).dropped {
                stuck();
            }
        };
        // Without a thread there is no limit.
        let _unlimited = thread::Builder::new().name("conformance".into()).spawn(ring);
        Self(shared)
    }

    fn has_rung(&self, context: &Context<'_>) -> bool {
        let mut state = lock(&self.0.0);
        state.waker = Some(context.waker().clone());
        state.rung
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        lock(&self.0.0).dropped = true;
        self.0.1.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::mpsc;

    use super::*;
    use crate::backend::Signal;
    use crate::block_on;

    #[test]
    fn what_does_not_end_is_left() {
        assert_eq!(block_on(within(Duration::from_secs(60), || {}, ready(1))), Some(1));
        assert_eq!(block_on(within(Duration::from_millis(1), || {}, pending::<u8>())), None);
    }

    #[test]
    fn a_thread_that_is_stuck_is_told_of() {
        let (tell, told) = mpsc::channel();
        let stuck = move || tell.send("stuck").unwrap();
        let blocking = async { told.recv().unwrap() };
        assert_eq!(block_on(within(Duration::from_millis(1), stuck, blocking)), Some("stuck"));
    }

    #[test]
    fn a_future_is_polled_so_many_times() {
        let signal = Signal::default();
        let mut polled = 0;
        let mut future = pin!(poll_fn(|context| {
            polled += 1;
            if polled < 3 {
                context.waker().wake_by_ref();
            }
            pin!(signal.wait(0)).poll(context)
        }));
        let patience = Duration::from_millis(20);
        assert_eq!(block_on(poll_times(future.as_mut(), 2, patience)), Reached::Step);
        assert_eq!(block_on(poll_times(future.as_mut(), 9, patience)), Reached::Rest);
        signal.raise();
        assert_eq!(block_on(poll_times(future, 9, patience)), Reached::End);
        assert_eq!(polled, 4);
    }

    #[test]
    fn together_they_come_in_order() {
        assert_eq!(block_on(together(vec![ready(1), ready(2)])), [1, 2]);
    }
}
