//! The index of texts, kept up with the mail.

use std::{sync::Arc, time::Duration};

use mailwright_mailstore::{Result, Search, Store, StoreError, User};
use tokio::{runtime::Handle, select, task::spawn_blocking};
use tokio_util::sync::CancellationToken;

/// Mail that comes in a burst is indexed at once.
const PAUSE: Duration = Duration::from_secs(2);

/// Keeps the index of a store's texts up with the mail that comes and goes, until it is stopped. A store without one needs none of this:
/// it returns at once.
///
/// Searches do not depend on it, but for their speed: they read what is not in the index.
///
/// ```
/// use std::sync::Arc;
/// use mailwright::mailstore::memory::Memory;
/// use tokio_util::sync::CancellationToken;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let (store, stop) = (Arc::new(Memory::new()), CancellationToken::new());
/// let keeper = tokio::spawn(mailwright::keep_index(store, stop.clone()));
/// stop.cancel();
/// assert!(keeper.await.is_ok());
/// # }
/// ```
pub async fn keep_index<S: Store + 'static>(store: Arc<S>, stop: CancellationToken) {
    let Some(index) = store.search() else { return };
    loop {
        let mut next = select! {
            () = stop.cancelled() => return,
            user = index.behind() => Some(user),
        };
        select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
        while let Some(user) = next.filter(|_| !stop.is_cancelled()) {
            let (store, stop, name) = (Arc::clone(&store), stop.clone(), user.clone());
            // Long work, where nobody else waits for the thread.
            let work = move || Handle::current().block_on(keep_up(&*store, &name, &stop));
            if let Ok(Err(error)) = spawn_blocking(work).await {
                tracing::warn!(%user, %error, "cannot index the mail of a user");
            }
            next = select! {
                biased;
                user = index.behind() => Some(user),
                () = std::future::ready(()) => None,
            };
        }
    }
}

async fn keep_up<S: Store>(store: &S, user: &User, stop: &CancellationToken) -> Result<()> {
    let index = store.search().ok_or(StoreError::NotFound)?;
    select! {
        () = stop.cancelled() => Ok(()),
        done = index.keep_up(user) => done,
    }
}
