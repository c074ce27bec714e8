//! Work that goes on while nobody waits for it.

use std::{future::pending, panic::resume_unwind};

use tokio_util::task::AbortOnDropHandle;

/// Work that the runtime goes on with meanwhile, on another thread if it has one. It ends with this.
///
/// A task, and no thread of the blocking pool: those that wait for others of that pool, as work on a store that offloads its reads would, can use it up.
#[derive(Debug)]
pub(crate) struct Begun<T>(AbortOnDropHandle<T>);

impl<T: Send + 'static> Begun<T> {
    /// The work waits for the thread that it is begun on. Whoever does not wait for something next has to yield to it.
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
