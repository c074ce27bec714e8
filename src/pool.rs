//! Where blocking work runs.

use mailwright_mailstore::Offload;

/// tokio's pool of blocking threads, for stores over files.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pool;

impl Offload for Pool {
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            // The pool is never shut down while a store is in use, so the work itself panicked: as it would have here.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}
