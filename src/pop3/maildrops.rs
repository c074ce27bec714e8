//! Who is in a maildrop, and who was there lately.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use mailwright_mail_model::MailboxName;
use mailwright_mailstore::User;

/// So many logins are remembered before those are looked for that can be forgotten.
const REMEMBERED: usize = 1024;

/// The maildrops that are open, and when users logged in: one for all services that are to know of each other.
#[derive(Debug, Clone, Default)]
pub struct Maildrops(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    open: HashSet<(User, MailboxName)>,
    /// When each user logged in, and until when that matters.
    logins: HashMap<User, Instant>,
    /// How many logins there may be before the next look for those that can be forgotten.
    full: usize,
}

impl Maildrops {
    /// The right to be in a maildrop alone; nothing if somebody else has it.
    pub(super) fn lock(&self, user: &User, mailbox: &MailboxName) -> Option<Lock> {
        let key = (user.clone(), mailbox.clone());
        self.state().open.insert(key.clone()).then(|| Lock { maildrops: self.clone(), key })
    }

    /// Whether a user may log in again now.
    pub(super) fn may_come(&self, user: &User, now: Instant) -> bool {
        self.state().logins.get(user).is_none_or(|until| *until <= now)
    }

    /// Remembers a login for as long as it keeps the user from the next.
    pub(super) fn came(&self, user: &User, now: Instant, delay: Duration) {
        if delay.is_zero() {
            return;
        }
        let mut state = self.state();
        if state.logins.len() >= state.full.max(REMEMBERED) {
            state.logins.retain(|_, until| *until > now);
            state.full = state.logins.len() * 2;
        }
        state.logins.insert(user.clone(), now + delay);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to be in a maildrop alone, for as long as this lives.
#[derive(Debug)]
pub(super) struct Lock {
    maildrops: Maildrops,
    key: (User, MailboxName),
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.maildrops.state().open.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_alone_until_it_goes() {
        let (maildrops, user) = (Maildrops::default(), User::new("alice").unwrap());
        let lock = maildrops.lock(&user, &MailboxName::inbox());
        assert!(lock.is_some() && maildrops.lock(&user, &MailboxName::inbox()).is_none());
        assert!(maildrops.lock(&user, &MailboxName::new("Lists").unwrap()).is_some());
        drop(lock);
        assert!(maildrops.lock(&user, &MailboxName::inbox()).is_some());
    }

    #[test]
    fn logins_are_forgotten_in_time() {
        let (maildrops, start) = (Maildrops::default(), Instant::now());
        let minute = Duration::from_secs(60);
        for number in 0..REMEMBERED * 3 {
            let user = User::new(format!("user{number}").as_str()).unwrap();
            let now = start + minute * u32::try_from(number / REMEMBERED).unwrap();
            assert!(maildrops.may_come(&user, now));
            maildrops.came(&user, now, minute);
            assert!(!maildrops.may_come(&user, now + minute / 2) && maildrops.may_come(&user, now + minute));
        }
        assert!(maildrops.state().logins.len() <= REMEMBERED * 2);
    }
}
