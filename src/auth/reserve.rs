//! Logins that are being decided: each counts as a failure until it is none, so that guesses that are sent at once are no more than
//! guesses one after the other.

use std::{
    net::IpAddr,
    sync::{Arc, Weak},
    time::Instant,
};

use super::throttle::{Slot, Throttle, Throttled};

/// Room for one failure, until it is dropped.
#[derive(Debug)]
pub(super) struct Reserved {
    throttle: Weak<Throttle>,
    slots: Vec<Slot>,
    familiar: bool,
}

impl Reserved {
    /// Whether the user is familiar there.
    pub(super) const fn is_familiar(&self) -> bool {
        self.familiar
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(throttle) = self.throttle.upgrade().filter(|_| !self.slots.is_empty()) {
            throttle.release(&self.slots);
        }
    }
}

impl Throttle {
    /// Waits until this user may try to log in from there: while as many logins are being decided as may still fail, nobody knows whether
    /// there may be another. Whoever holds what this gives must not wait for the client.
    pub(super) async fn reserve(
        self: &Arc<Self>,
        from: Option<IpAddr>,
        user: &str,
    ) -> Result<Reserved, Throttled> {
        loop {
            // Before it is looked: what is released from here on wakes us.
            let released = self.released.notified();
            if let Some((slots, familiar)) = self.try_reserve(Instant::now(), from, user)? {
                return Ok(Reserved { throttle: Arc::downgrade(self), slots, familiar });
            }
            released.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use mailwright_line_proto::{AuthRefusal, Login, Peer};
    use mailwright_mailstore::{
        User,
        accounts::{LoginError, LoginRequest, Service, from_fn},
    };
    use tokio::{task::JoinSet, time};

    use super::*;
    use crate::{Authenticator, ThrottleLimits};

    fn limits() -> ThrottleLimits {
        ThrottleLimits { failures_per_address: 5, failures_per_user: 8, ..ThrottleLimits::default() }
    }

    /// Sends so many logins at once, each from the address and for the user of its number; gives the outcomes and how many were decided.
    async fn at_once(
        password: &'static str,
        count: usize,
        whence: impl Fn(usize) -> (String, String),
    ) -> (Vec<Result<User, AuthRefusal>>, usize) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let accounts = from_fn(move |request: LoginRequest| {
            counter.fetch_add(1, Ordering::Relaxed);
            async move {
                time::sleep(Duration::from_millis(100)).await;
                match request.credentials.is_password(b"pencil") {
                    true => User::new(&request.user).map_err(|_| LoginError::Unavailable),
                    false => Err(LoginError::Credentials),
                }
            }
        });
        let throttle = Arc::new(Throttle::new(limits()));
        let authenticator =
            Authenticator::new(accounts, "secret".into()).with_throttle(Arc::clone(&throttle));
        let authenticator = Arc::new(authenticator);
        let mut logins = JoinSet::new();
        for number in 0..count {
            let ((address, user), authenticator) = (whence(number), Arc::clone(&authenticator));
            logins.spawn(async move {
                let peer = Peer::new(Some(format!("{address}:1").parse().unwrap()), None);
                let login = Login::new(user, password.into());
                authenticator.password(&login, &peer, true, Service::Imap).await
            });
        }
        let outcomes = logins.join_all().await;
        assert_eq!(throttle.reserved(), 0);
        (outcomes, asked.load(Ordering::Relaxed))
    }

    #[tokio::test(start_paused = true)]
    async fn guesses_at_once_are_no_more_than_guesses_one_after_the_other() {
        let (outcomes, asked) = at_once("pen", 90, |n| ("192.0.2.1".into(), format!("{n}@a.test"))).await;
        assert_eq!(asked, 5);
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Err(AuthRefusal::Unavailable)).count(), 85);
        // From everywhere at one user.
        let (_, asked) = at_once("pen", 90, |n| (format!("198.51.{n}.1"), "alice@a.test".into())).await;
        assert_eq!(asked, 8);
    }

    #[tokio::test(start_paused = true)]
    async fn right_passwords_at_once_are_all_let_in() {
        for same in [true, false] {
            let user = move |n| if same { "alice@a.test".into() } else { format!("{n}@a.test") };
            let (outcomes, asked) = at_once("pencil", 90, |n| ("192.0.2.1".into(), user(n))).await;
            assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
            assert_eq!(asked, 90);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_meanwhile_leaves_nothing_reserved() {
        let throttle = Arc::new(Throttle::new(limits()));
        let (from, user) = (Some("192.0.2.1".parse().unwrap()), "alice@a.test");
        let held: Vec<_> = (0..5).map(|_| throttle.reserve(from, user)).collect();
        let mut all = Vec::new();
        for waiting in held {
            all.push(waiting.await.unwrap());
        }
        assert!(time::timeout(Duration::from_secs(1), throttle.reserve(from, user)).await.is_err());
        // Others elsewhere do not wait for it.
        let elsewhere = throttle.reserve(Some("192.0.2.2".parse().unwrap()), "bob@a.test").await.unwrap();
        assert!(!elsewhere.is_familiar());
        all.pop();
        assert!(throttle.reserve(from, user).await.is_ok());
        drop((all, elsewhere));
        assert_eq!(throttle.reserved(), 0);
    }
}
