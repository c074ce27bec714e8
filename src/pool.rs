//! Where blocking work runs.

use mailwright_mailstore::Offload;
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::block_in_place,
};

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

/// Writes on a thread of tokio's multi-threaded runtime, while another thread does what that one would do: for
/// [`Options::in_place`](mailwright_mailstore::embedded::Options::in_place). Elsewhere it does nothing.
///
/// Not for stores that are used from a [`LocalSet`](tokio::task::LocalSet), whose tasks no other thread can take over: tokio panics
/// there.
pub fn in_place(work: &mut dyn FnMut()) {
    let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    if matches!(flavor, Ok(RuntimeFlavor::MultiThread)) {
        block_in_place(work);
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn work_is_done_in_place_where_other_threads_can_take_over() {
        let done = || {
            let mut done = false;
            in_place(&mut || done = true);
            done
        };
        assert!(!done());
        assert!(!Builder::new_current_thread().build().unwrap().block_on(async { done() }));
        let several = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        assert!(several.block_on(async { done() }));
        // While the only thread works in place, its other tasks go on.
        let (told, heard) = std::sync::mpsc::channel();
        let went_on = async move {
            tokio::spawn(async move {
                tokio::spawn(async move { told.send(()) });
                let mut went_on = false;
                in_place(&mut || went_on = heard.recv_timeout(std::time::Duration::from_secs(10)).is_ok());
                went_on
            })
            .await
        };
        assert!(several.block_on(went_on).unwrap());
    }
}
