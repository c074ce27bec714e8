//! What programs were given of a message on its way to its commit: nobody can take it back, so that what is filtered once more is not given
//! once more.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mailwright_mailstore::User;
use mailwright_sieve::Pipe;

use super::claims::{Claim, Key};

/// What is known of one message until it is committed, whoever gets it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The rights to give it.
    claims: Vec<Claim>,
    /// Whose programs took it before it was filtered again, and since.
    before: Vec<(User, Pipe)>,
    now: Vec<(User, Pipe)>,
}

impl Given {
    /// The message is filtered again.
    pub(crate) fn again(&self) {
        let mut state = self.state();
        let now = std::mem::take(&mut state.now);
        state.before.extend(now);
    }

    /// Whether a program of this user's has had it before it was filtered again. As often as it took it then, this says so.
    pub(super) fn had(&self, user: &User, pipe: &Pipe) -> bool {
        let mut state = self.state();
        let place = state.before.iter().position(|(whose, before)| whose == user && before == pipe);
        place.map(|place| state.before.swap_remove(place)).is_some()
    }

    /// A program of this user's has it.
    pub(super) fn took(&self, user: &User, pipe: &Pipe) {
        self.state().now.push((user.clone(), pipe.clone()));
    }

    /// Those of these keys that have not been claimed for it.
    pub(super) fn unclaimed(&self, mut keys: BTreeSet<Key>) -> BTreeSet<Key> {
        let state = self.state();
        keys.retain(|key| !state.claims.iter().any(|claim| claim.holds(key)));
        keys
    }

    /// Keeps a claim until the message is committed.
    pub(super) fn hold(&self, claim: Claim) {
        self.state().claims.push(claim);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_not_given_again_and_what_is_new_is() {
        let (ann, bob) = (User::new("ann").unwrap(), User::new("bob").unwrap());
        let (given, pipe) = (Given::default(), Pipe::default());
        // Two of the same, for ann has the message by two ways.
        for _ in 0..2 {
            assert!(!given.had(&ann, &pipe));
            given.took(&ann, &pipe);
        }
        for _ in 0..3 {
            given.again();
            for _ in 0..2 {
                assert!(given.had(&ann, &pipe));
                given.took(&ann, &pipe);
            }
            assert!(!given.had(&ann, &pipe) && !given.had(&bob, &pipe));
        }
        let mut other = Pipe::default();
        other.arguments.push("x".into());
        given.again();
        assert!(!given.had(&ann, &other));
    }
}
