//! Work that goes on while nobody waits for it.

use std::{
    future::{pending, poll_fn},
    mem,
    panic::resume_unwind,
    task::Poll,
};

use tokio_util::task::AbortOnDropHandle;

/// Work that the runtime goes on with meanwhile, on another thread if it has one. It ends with this.
///
/// A task, and no thread of the blocking pool: those that wait for others of that pool, as work on a store that offloads its reads would, can use it up.
#[derive(Debug)]
pub(crate) struct Begun<T>(AbortOnDropHandle<T>);

impl<T: Send + 'static> Begun<T> {
    /// The work waits for the thread that it is begun on. Whoever does not wait for something next has to [pass that on](pass_on).
    pub(crate) fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(AbortOnDropHandle::new(tokio::spawn(work)))
    }

    /// Waits for what it comes to.
    pub(crate) async fn end(self) -> T {
        match self.0.await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                // As it would have here.
                Ok(panic) => resume_unwind(panic),
                // The runtime ends, and with it whoever waits here.
                Err(_) => pending().await,
            },
        }
    }
}

/// Leaves this thread to work that was begun on it; whoever calls this goes on at another one that is idle, or here later. The runtime's own
/// `yield_now` keeps the caller for this thread until it has nothing else to do: both would go on in turns, and others stand by.
pub(crate) async fn pass_on() {
    let mut passed = false;
    poll_fn(|context| {
        if mem::replace(&mut passed, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc::channel, time::Duration};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_begins_it_goes_on_beside_it() {
        // As a task, for those alone have a thread of the runtime.
        let session = tokio::spawn(async {
            for _ in 0..20 {
                let (tell, told) = channel();
                // Done only when whoever began it has gone on meanwhile.
                let work = Begun::new(async move { told.recv_timeout(LONG) });
                pass_on().await;
                tell.send(()).unwrap();
                assert_eq!(work.end().await, Ok(()));
            }
        });
        session.await.unwrap();
    }
}
