//! Who is logged in, so that sessions can be ended when their account is no more what it was.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mailwright_mailstore::User;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

/// So many names are remembered whose sessions were ended, before it is looked which of them logins are under way for.
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
    /// How often sessions were ended at all, and whose at which time, as long as a login that began before that is under way.
    times: u64,
    ended: HashMap<Box<str>, u64>,
    /// The logins that are under way, by how often sessions had been ended when they began.
    under_way: BTreeMap<u64, usize>,
    /// So many names are kept before those are forgotten that nobody asks for.
    room: usize,
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
    /// Whether sessions of these were ended since it was done so many times.
    fn has_ended_since(&self, times: u64, who: &Who) -> bool {
        let names = [Some(&who.0), who.1.as_ref()];
        names.into_iter().flatten().any(|name| self.ended.get(name).is_some_and(|at| *at > times))
    }

    /// Remembers whose sessions are ended, and forgets those that ended before every login that is under way. Each is looked at as
    /// often as names come.
    fn remember(&mut self, account: &str) {
        self.times += 1;
        let Some((&oldest, _)) = self.under_way.first_key_value() else { return self.ended.clear() };
        if self.ended.len() >= self.room.max(REMEMBERED) {
            self.ended.retain(|_, at| *at > oldest);
            self.room = 2 * self.ended.len();
        }
        self.ended.insert(account.into(), self.times);
    }

    fn begin(&mut self) -> u64 {
        *self.under_way.entry(self.times).or_default() += 1;
        self.times
    }

    fn finish(&mut self, since: u64) {
        if let Some(count) = self.under_way.get_mut(&since) {
            *count -= 1;
            if *count == 0 {
                self.under_way.remove(&since);
            }
        }
    }
}

impl Sessions {
    /// Ends the sessions of an account, by its canonical name, with those that it has opened as a master user: it was removed, or its
    /// password is another. Each is told so by its protocol; who still may logs in again.
    pub fn end(&self, account: &str) {
        let mut state = self.lock();
        state.remember(account);
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
        Seat { since: None, sessions: Arc::clone(self), taken: None }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session's place among those of its account.
#[derive(Debug)]
pub(crate) struct Seat {
    sessions: Arc<Sessions>,
    /// How often sessions had been ended when the login began that is under way: what was ended before is none of it.
    since: Option<u64>,
    taken: Option<Arc<Entry>>,
}

impl Seat {
    /// A login begins, with whatever secrets there are now.
    pub(crate) fn begin(&mut self) {
        let mut state = self.sessions.lock();
        if let Some(since) = self.since.take() {
            state.finish(since);
        }
        self.since = Some(state.begin());
    }

    /// Somebody has logged in. If their sessions were ended while the login was under way, so is this one.
    pub(crate) fn take(&mut self, user: &User) {
        let since = self.since;
        self.leave();
        let who = Who(user.as_str().into(), user.opener().map(Into::into));
        let mut state = self.sessions.lock();
        let entry = || Arc::new(Entry { who: who.clone(), over: CancellationToken::new() });
        let entry = if since.is_some_and(|since| state.has_ended_since(since, &who)) {
            let entry = entry();
            entry.over.cancel();
            entry
        } else {
            Arc::clone(state.entered.entry(who.clone()).or_insert_with(entry))
        };
        drop(state);
        self.taken = Some(entry);
    }

    /// Completes when the session is to end.
    pub(crate) fn ended(&self) -> WaitForCancellationFuture<'_> {
        self.taken.as_ref().map_or(&self.sessions.never, |entry| &entry.over).cancelled()
    }

    /// Nobody is logged in any more, nor about to be.
    pub(crate) fn leave(&mut self) {
        if self.since.is_none() && self.taken.is_none() {
            return;
        }
        let mut state = self.sessions.lock();
        if let Some(since) = self.since.take() {
            state.finish(since);
        }
        let Some(entry) = self.taken.take() else { return };
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
        seat.begin();
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
        let root = user("root@a.test");
        let mut seats = [(); 3].map(|()| sessions.seat());
        seats.iter_mut().for_each(Seat::begin);
        sessions.end("ann@a.test");
        sessions.end("root@a.test");
        seats[0].take(&ann);
        seats[1].take(&user("bob@a.test"));
        seats[2].take(&user("bob@a.test").opened_by(&root));
        assert!(has_ended(&seats[0]).await && !has_ended(&seats[1]).await && has_ended(&seats[2]).await);
        // Once it was told, another login on the same connection is none of that time.
        seats[0].begin();
        seats[0].take(&ann);
        assert!(!has_ended(&seats[0]).await);
    }

    #[tokio::test]
    async fn what_ended_before_a_login_began_is_none_of_it() {
        let sessions = Arc::new(Sessions::default());
        let (ann, bob) = (user("ann@a.test"), user("bob@a.test"));
        // The connection was there before the password was changed, and so was a login that failed.
        let mut seat = sessions.seat();
        sessions.end("ann@a.test");
        seat.begin();
        sessions.end("ann@a.test");
        seat.begin();
        seat.take(&ann);
        assert!(!has_ended(&seat).await);
        // Who has logged out on a connection is told nothing there, nor is the next.
        seat.leave();
        sessions.end("ann@a.test");
        sessions.end("bob@a.test");
        assert!(!has_ended(&seat).await && sessions.lock().entered.is_empty());
        seat.begin();
        seat.take(&bob);
        assert!(!has_ended(&seat).await);
        sessions.end("bob@a.test");
        assert!(has_ended(&seat).await);
    }

    #[tokio::test]
    async fn however_many_change_meanwhile_others_come_in_and_nothing_is_kept() {
        let sessions = Arc::new(Sessions::default());
        let [ann, bob] = ["ann@a.test", "bob@a.test"].map(user);
        let mut seats = [(); 2].map(|()| sessions.seat());
        seats.iter_mut().for_each(Seat::begin);
        sessions.end("bob@a.test");
        for number in 0..3 * REMEMBERED {
            sessions.end(&format!("user{number}@a.test"));
        }
        seats[0].take(&ann);
        seats[1].take(&bob);
        assert!(!has_ended(&seats[0]).await && has_ended(&seats[1]).await);
        assert!(sessions.lock().under_way.is_empty());
        // Names that no login is under way for are forgotten.
        let mut late = sessions.seat();
        sessions.end("bob@a.test");
        assert!(sessions.lock().ended.is_empty());
        for number in 0..10 * REMEMBERED {
            late.begin();
            sessions.end(&format!("user{number}@a.test"));
        }
        assert!(sessions.lock().ended.len() <= REMEMBERED);
        drop(late);
        assert!(sessions.lock().under_way.is_empty());
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
