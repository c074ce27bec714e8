//! Who is logged in, so that sessions can be ended when their account is no more what it was.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mailwright_mailstore::User;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

/// How many names are remembered whose sessions were ended last: for logins that were under way just then.
const REMEMBERED: usize = 1_000;

/// The sessions of all services by their accounts: one for all [`Authenticator`](super::Authenticator)s that have it. A session costs
/// nothing here; an account that has any costs an entry.
///
/// ```
/// use std::sync::Arc;
/// use mailwright::{Authenticator, Sessions, line_proto::Secret, mailstore::accounts::Nobody};
///
/// let sessions = Arc::new(Sessions::default());
/// let authenticator = Authenticator::new(Nobody, Secret::from("salt")).with_sessions(Arc::clone(&sessions));
/// // Somebody has changed her password, or she is no longer here.
/// sessions.end("alice@example.org");
/// ```
#[derive(Debug, Default)]
pub struct Sessions {
    state: Mutex<State>,
    /// What those wait for that nobody has logged in to: it does not come.
    never: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    entered: HashMap<Who, Arc<Entry>>,
    /// Whose sessions were ended last, and how often that was done at all.
    ended: VecDeque<Box<str>>,
    times: u64,
}

/// An account, and who has opened it in its owner's place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Who(Box<str>, Option<Box<str>>);

impl Who {
    fn is(&self, name: &str) -> bool {
        *self.0 == *name || self.1.as_deref() == Some(name)
    }
}

#[derive(Debug)]
struct Entry {
    who: Who,
    over: CancellationToken,
}

impl State {
    /// Whether sessions of these were ended since it was done so many times. Too long ago to be known counts as yes.
    fn has_ended_since(&self, times: u64, who: &Who) -> bool {
        let since = usize::try_from(self.times - times).unwrap_or(usize::MAX);
        since > self.ended.len() || self.ended.iter().rev().take(since).any(|name| who.is(name))
    }
}

impl Sessions {
    /// Ends the sessions of an account, by its canonical name, with those that it has opened as a master user: it was removed, or its
    /// password is another. Each is told so by its protocol; who still may logs in again.
    pub fn end(&self, account: &str) {
        let mut state = self.lock();
        state.times += 1;
        if state.ended.len() >= REMEMBERED {
            state.ended.pop_front();
        }
        state.ended.push_back(account.into());
        state.entered.retain(|who, entry| {
            let stays = !who.is(account);
            if !stays {
                entry.over.cancel();
            }
            stays
        });
    }

    /// A place for a session that nobody has logged in to.
    pub(crate) fn seat(self: &Arc<Self>) -> Seat {
        Seat { since: self.lock().times, sessions: Arc::clone(self), taken: None }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session's place among those of its account.
#[derive(Debug)]
pub(crate) struct Seat {
    sessions: Arc<Sessions>,
    /// What was ended before this need not be looked at: then the login had not begun.
    since: u64,
    taken: Option<Arc<Entry>>,
}

impl Seat {
    /// Somebody has logged in. If their sessions were ended while the login was under way, so is this one.
    pub(crate) fn take(&mut self, user: &User) {
        self.leave();
        let who = Who(user.as_str().into(), user.opener().map(Into::into));
        let mut state = self.sessions.lock();
        let entry = || Arc::new(Entry { who: who.clone(), over: CancellationToken::new() });
        let entry = if state.has_ended_since(self.since, &who) {
            let entry = entry();
            entry.over.cancel();
            entry
        } else {
            Arc::clone(state.entered.entry(who.clone()).or_insert_with(entry))
        };
        self.since = state.times;
        drop(state);
        self.taken = Some(entry);
    }

    /// Completes when the session is to end.
    pub(crate) fn ended(&self) -> WaitForCancellationFuture<'_> {
        self.taken.as_ref().map_or(&self.sessions.never, |entry| &entry.over).cancelled()
    }

    /// Nobody is logged in any more.
    pub(crate) fn leave(&mut self) {
        let Some(entry) = self.taken.take() else { return };
        let mut state = self.sessions.lock();
        let known = state.entered.get(&entry.who).is_some_and(|known| Arc::ptr_eq(known, &entry));
        // The table's and this one. Others come and go under the same lock.
        if known && Arc::strong_count(&entry) == 2 {
            state.entered.remove(&entry.who);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn user(name: &str) -> User {
        User::new(name).unwrap()
    }

    fn taken(sessions: &Arc<Sessions>, user: &User) -> Seat {
        let mut seat = sessions.seat();
        seat.take(user);
        seat
    }

    async fn has_ended(seat: &Seat) -> bool {
        tokio::time::timeout(Duration::ZERO, seat.ended()).await.is_ok()
    }

    #[tokio::test]
    async fn sessions_of_the_account_end_and_no_others() {
        let sessions = Arc::new(Sessions::default());
        let (ann, bob) = (user("ann@a.test"), user("bob@a.test"));
        let opened = ann.clone().opened_by(&user("root@a.test"));
        let seats = [&ann, &ann, &bob, &opened].map(|user| taken(&sessions, user));
        let free = sessions.seat();
        sessions.end("bob@a.test");
        for (seat, expected) in seats.iter().zip([false, false, true, false]) {
            assert_eq!(has_ended(seat).await, expected, "{seat:?}");
        }
        sessions.end("root@a.test");
        assert!(has_ended(&seats[3]).await && !has_ended(&seats[0]).await);
        sessions.end("ann@a.test");
        assert!(has_ended(&seats[0]).await && has_ended(&seats[1]).await && !has_ended(&free).await);
        // Who comes afterwards stays.
        assert!(!has_ended(&taken(&sessions, &ann)).await);
        // A master user's session is one of the account's, too.
        let opened = taken(&sessions, &opened);
        sessions.end("ann@a.test");
        assert!(has_ended(&opened).await);
    }

    #[tokio::test]
    async fn a_login_under_way_is_ended_too() {
        let sessions = Arc::new(Sessions::default());
        let ann = user("ann@a.test");
        let mut seats = [sessions.seat(), sessions.seat()];
        sessions.end("ann@a.test");
        seats[0].take(&ann);
        seats[1].take(&user("bob@a.test"));
        assert!(has_ended(&seats[0]).await && !has_ended(&seats[1]).await);
        // Once it was told, another login on the same connection is none of that time.
        seats[0].take(&ann);
        assert!(!has_ended(&seats[0]).await);
        let mut old = sessions.seat();
        for number in 0..=REMEMBERED {
            sessions.end(&format!("user{number}@a.test"));
        }
        old.take(&ann);
        assert!(has_ended(&old).await, "what was forgotten counts");
    }

    #[tokio::test]
    async fn only_accounts_with_sessions_take_room() {
        let sessions = Arc::new(Sessions::default());
        let ann = user("ann@a.test");
        let (one, mut other) = (taken(&sessions, &ann), taken(&sessions, &ann));
        assert_eq!(sessions.lock().entered.len(), 1);
        drop(one);
        assert_eq!(sessions.lock().entered.len(), 1);
        other.take(&user("bob@a.test"));
        assert_eq!(sessions.lock().entered.len(), 1);
        drop(other);
        assert!(sessions.lock().entered.is_empty());
    }
}
