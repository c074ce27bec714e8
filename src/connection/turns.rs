//! Whether a session waits for its peer or for what is done here.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use tokio::time::{self, Instant};

/// How often it became the peer's turn, and somebody else's again: an odd number while the peer is waited for. What the peer takes at once is
/// a turn, too.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turns(Arc<AtomicU64>);

impl Turns {
    /// The number now.
    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// It is the peer's turn as long as this is there.
    pub(super) fn of_the_peer(&self) -> Turn {
        self.0.fetch_add(1, Ordering::Relaxed);
        Turn(self.clone())
    }

    /// The peer has taken something.
    pub(super) fn pass(&self) {
        self.0.fetch_add(2, Ordering::Relaxed);
    }

    /// What some work comes to; `None`, and no more of the work, once it has gone on for so long without a turn of the peer's.
    pub(crate) async fn within<T>(self, patience: Duration, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        // Most is done at once, and needs no timer.
        if let Poll::Ready(done) = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await {
            return Some(done);
        }
        let (mut before, mut since) = (self.count(), Instant::now());
        let mut timer = pin!(time::sleep(patience));
        poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(Some(done));
            }
            // Turns are taken by the work itself, so each is seen here.
            let now = self.count();
            if now != before {
                (before, since) = (now, Instant::now());
            }
            while timer.as_mut().poll(context).is_ready() {
                if !before.is_multiple_of(2) {
                    since = Instant::now();
                } else if since.elapsed() >= patience {
                    return Poll::Ready(None);
                }
                timer.as_mut().reset(since + patience);
            }
            Poll::Pending
        })
        .await
    }
}

/// A turn of the peer's.
pub(super) struct Turn(Turns);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_ends_when_nobody_does_anything_and_not_while_the_peer_is_waited_for() {
        let (turns, patience) = (Turns::default(), Duration::from_secs(10));
        let begun = Instant::now();
        assert_eq!(turns.clone().within(patience, async { 1 }).await, Some(1));
        assert_eq!(turns.clone().within(patience, time::sleep(Duration::from_secs(9))).await, Some(()));
        assert_eq!(begun.elapsed().as_secs(), 9);
        assert_eq!(turns.clone().within(patience, pending::<()>()).await, None);
        assert_eq!(begun.elapsed().as_secs(), 19);
        // A slow peer is none of the work's fault, and each turn of its own is something that was done.
        let slow = async {
            let turn = turns.of_the_peer();
            time::sleep(Duration::from_secs(35)).await;
            drop(turn);
            for _ in 0..5 {
                time::sleep(Duration::from_secs(9)).await;
                drop(turns.of_the_peer());
            }
        };
        assert_eq!(turns.clone().within(patience, slow).await, Some(()));
        assert_eq!(begun.elapsed().as_secs(), 19 + 35 + 45);
        // What hangs after that is found to, from then on.
        let stuck = async {
            time::sleep(Duration::from_secs(5)).await;
            drop(turns.of_the_peer());
            pending::<()>().await;
        };
        assert_eq!(turns.clone().within(patience, stuck).await, None);
        assert_eq!(begun.elapsed().as_secs(), 19 + 35 + 45 + 5 + 10);
        assert_eq!(turns.clone().within(Duration::MAX, time::sleep(patience)).await, Some(()));
    }
}
