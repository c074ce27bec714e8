//! What is about to be remembered: of messages that come at the same moment, one is the first of its kind, in stores too that do not write
//! what is remembered in the commit of the message.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mailwright_mailstore::User;
use tokio::sync::Notify;

/// Whose, and what.
pub(super) type Key = (User, String);

/// The keys that messages are being committed for. It is for one process: the data are no other's.
#[derive(Debug, Clone, Default)]
pub(super) struct Claims(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    held: Mutex<BTreeSet<Key>>,
    released: Notify,
}

/// The right to have keys remembered for as long as this lives: whoever wants the same waits. The default one is about none.
#[derive(Debug, Default)]
pub struct Claim {
    claims: Claims,
    keys: BTreeSet<Key>,
}

impl Claim {
    /// Whether this is about that key too.
    pub(super) fn holds(&self, key: &Key) -> bool {
        self.keys.contains(key)
    }
}

impl Claims {
    /// Waits until nobody else holds any of these keys. All are taken at once, so that no two wait for each other.
    pub(super) async fn take(&self, keys: BTreeSet<Key>) -> Claim {
        loop {
            let mut released = std::pin::pin!(self.0.released.notified());
            // From here on no release is missed.
            released.as_mut().enable();
            if self.try_take(&keys) {
                return Claim { claims: self.clone(), keys };
            }
            released.await;
        }
    }

    fn try_take(&self, keys: &BTreeSet<Key>) -> bool {
        let mut held = self.0.held();
        let free = held.is_disjoint(keys);
        if free {
            held.extend(keys.iter().cloned());
        }
        free
    }
}

impl Shared {
    fn held(&self) -> MutexGuard<'_, BTreeSet<Key>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.keys.is_empty() {
            return;
        }
        let shared = &self.claims.0;
        shared.held().retain(|key| !self.keys.contains(key));
        shared.released.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn keys(names: &[&str]) -> BTreeSet<Key> {
        let user = User::new("ann").unwrap();
        names.iter().map(|name| (user.clone(), (*name).to_owned())).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn who_wants_the_same_waits() {
        const LONG: Duration = Duration::from_secs(60);
        let claims = Claims::default();
        let first = claims.take(keys(&["a", "b"])).await;
        let other = timeout(LONG, claims.take(keys(&["c"]))).await.unwrap();
        assert!(timeout(LONG, claims.take(keys(&["b", "d"]))).await.is_err());
        // Who has waited in vain holds nothing.
        drop(timeout(LONG, claims.take(keys(&["d"]))).await.unwrap());
        let waiting = claims.clone();
        let waiting = tokio::spawn(async move { waiting.take(keys(&["b", "c"])).await });
        tokio::task::yield_now().await;
        drop(other);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        drop(timeout(LONG, waiting).await.unwrap().unwrap());
        assert!(claims.0.held().is_empty());
    }
}
