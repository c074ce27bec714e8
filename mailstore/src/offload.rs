//! Where blocking work of a file-backed store runs.

/// Runs blocking closures somewhere. A store over files takes one of these instead of having a second, blocking API.
///
/// [`Inline`] runs them in place; a runtime's blocking pool makes a better one for a server with many sessions.
pub trait Offload: Send + Sync + 'static {
    /// Runs `work` and gives its result.
    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send;
}

/// Runs blocking work in place: tests, benchmarks, single-threaded embedders.
///
/// ```
/// use mailwright_mailstore::{Inline, Offload, block_on};
///
/// assert_eq!(block_on(Inline.run(|| 1 + 1)), 2);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Inline;

impl Offload for Inline {
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        work()
    }
}
