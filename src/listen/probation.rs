//! Sessions that have proved nothing yet, and what they are told when connections run out.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::{sync::Notify, time};

use super::Admitted;

/// A session, as long as it has proved nothing: what of it [`Admission`](super::Admission) sees.
#[derive(Debug)]
pub(super) struct Standing {
    /// Since when the session waits for its client, as [`Admission::now`](super::Admission) counts; zero while it does not.
    idle_since: AtomicU64,
    /// By which time it is filed. Changes only under the lock of what it is filed in.
    filed: AtomicU64,
    pub(super) number: u64,
    /// It is to go. Shared with what counts the connection.
    dismissed: Arc<AtomicBool>,
    news: Notify,
}

impl Standing {
    pub(super) fn new(filed: u64, number: u64, dismissed: Arc<AtomicBool>) -> Self {
        let (idle_since, filed) = (AtomicU64::new(0), AtomicU64::new(filed));
        Self { idle_since, filed, number, dismissed, news: Notify::new() }
    }

    pub(super) fn idle_since(&self) -> Option<u64> {
        Some(self.idle_since.load(Ordering::Relaxed)).filter(|since| *since != 0)
    }

    pub(super) fn filed(&self) -> u64 {
        self.filed.load(Ordering::Relaxed)
    }

    pub(super) fn file(&self, time: u64) {
        self.filed.store(time, Ordering::Relaxed);
    }

    /// It has to go.
    pub(super) fn dismiss(&self) {
        self.dismissed.store(true, Ordering::Relaxed);
        self.look_again();
    }

    pub(super) fn look_again(&self) {
        self.news.notify_one();
    }

    /// Since when it waits: since now, if it did not.
    fn wait(&self, now: u64) -> u64 {
        match self.idle_since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => now,
            Err(since) => since,
        }
    }
}

/// What a session that has proved nothing must be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// From now on it may have so many errors.
    Errors(u32),
    /// It is over.
    Over,
}

/// A session's time until it has proved something: its owner says when it has.
#[derive(Debug)]
pub(crate) struct Probation {
    /// `None` if nobody counts the connection, or it is over.
    watched: Option<Watched>,
    /// Whether errors are limited.
    strict: bool,
}

#[derive(Debug)]
struct Watched {
    admitted: Arc<Admitted>,
    standing: Arc<Standing>,
}

impl Probation {
    pub(crate) fn new(admitted: Option<Arc<Admitted>>) -> Self {
        let watched = admitted.map(|admitted| {
            let standing = admitted.admission.watch(&admitted);
            Watched { admitted, standing }
        });
        Self { watched, strict: false }
    }

    /// What it must be told before anything is read.
    pub(crate) fn first(&mut self) -> Option<News> {
        let Watched { admitted, .. } = self.watched.as_ref()?;
        self.strict = admitted.admission.is_stressed();
        self.strict.then(|| News::Errors(admitted.admission.limits.stress.errors))
    }

    /// What the session must be told, while it waits for its client; nothing, for ever, once it has proved something. Can be dropped
    /// and asked for again at any moment: the time goes on until [`busy`](Self::busy).
    pub(crate) async fn news(&mut self) -> News {
        match &self.watched {
            // In a box, so that a session that has proved something holds no room for it.
            Some(_) => Box::pin(self.wait()).await,
            None => pending().await,
        }
    }

    async fn wait(&mut self) -> News {
        let Some(Watched { admitted, standing }) = &self.watched else { return pending().await };
        let (admission, stress) = (&admitted.admission, admitted.admission.limits.stress);
        let until = admission.moment(standing.wait(admission.now())).checked_add(stress.patience);
        loop {
            if standing.dismissed.load(Ordering::Relaxed) {
                break;
            }
            let stressed = admission.is_stressed();
            if stressed != self.strict {
                self.strict = stressed;
                return News::Errors(if stressed { stress.errors } else { u32::MAX });
            }
            let until = until.filter(|_| stressed);
            if until.is_some_and(|until| time::Instant::now() >= until) {
                break;
            }
            tokio::select! {
                () = standing.news.notified() => {}
                () = sleep_until(until) => {}
            }
        }
        self.watched = None;
        News::Over
    }

    /// The client has asked for something: it is not idle.
    pub(crate) fn busy(&self) {
        if let Some(watched) = &self.watched {
            watched.standing.idle_since.store(0, Ordering::Relaxed);
        }
    }

    /// The session has proved something. Says whether its errors were limited until now.
    pub(crate) fn prove(&mut self) -> bool {
        self.watched = None;
        std::mem::take(&mut self.strict)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.admitted.admission.unwatch(&self.standing);
    }
}

async fn sleep_until(until: Option<time::Instant>) {
    match until {
        Some(until) => time::sleep_until(until).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Admission, ConnectionLimits, Stress, TooMany};

    const SECOND: Duration = Duration::from_secs(1);

    /// A connection and what it has to prove.
    #[derive(Debug)]
    struct Guest(Probation, #[expect(dead_code, reason = "it counts as long as it is there")] Arc<Admitted>);

    impl Guest {
        fn of(admission: &Arc<Admission>) -> Result<Self, TooMany> {
            let admitted = Arc::new(admission.admit("192.0.2.1".parse().unwrap())?);
            Ok(Self(Probation::new(Some(Arc::clone(&admitted))), admitted))
        }

        /// What it is told within this time.
        async fn told(&mut self, within: Duration) -> Option<News> {
            time::timeout(within, self.0.news()).await.ok()
        }

        /// Whether it is told to go now.
        async fn must_go(&mut self) -> bool {
            loop {
                match self.told(Duration::ZERO).await {
                    Some(News::Errors(_)) => {}
                    told => return told.is_some(),
                }
            }
        }
    }

    fn admission(total: u32) -> Arc<Admission> {
        let stress = Stress { percent: 80, patience: 10 * SECOND, errors: 2 };
        Admission::new(ConnectionLimits { per_address: 0, new_per_minute: 0, total, stress })
    }

    fn guests(admission: &Arc<Admission>, count: usize) -> Vec<Guest> {
        (0..count).map(|_| Guest::of(admission).unwrap()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_hurried_while_there_are_connections_enough() {
        let admission = admission(10);
        for guest in &mut guests(&admission, 8) {
            assert_eq!(guest.0.first(), None);
            assert_eq!(guest.told(1000 * SECOND).await, None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_while_most_are_in_use_has_few_errors_and_little_time() {
        let admission = admission(10);
        let mut waiting = Guest::of(&admission).unwrap();
        assert_eq!(waiting.told(4 * SECOND).await, None);
        let mut others = guests(&admission, 8);
        assert_eq!(waiting.told(SECOND).await, Some(News::Errors(2)));
        // All the time that it waited counts.
        let begun = time::Instant::now();
        assert_eq!(waiting.told(100 * SECOND).await, Some(News::Over));
        assert!((5 * SECOND..7 * SECOND).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        let busy = &mut others[0];
        assert_eq!(busy.0.first(), Some(News::Errors(2)));
        for _ in 0..5 {
            busy.0.busy();
            assert_eq!(busy.told(9 * SECOND).await, None);
        }
        // What was proved counts for ever.
        assert!(busy.0.prove());
        assert_eq!(busy.told(1000 * SECOND).await, None);
        assert!(!busy.0.prove());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_already_is_told_when_connections_run_short() {
        let admission = admission(10);
        let mut waiting = Guest::of(&admission).unwrap();
        let told = tokio::spawn(async move { (waiting.told(100 * SECOND).await, waiting) });
        time::sleep(SECOND).await;
        let _others = guests(&admission, 8);
        let (told, mut waiting) = told.await.unwrap();
        assert_eq!(told, Some(News::Errors(2)));
        assert_eq!(waiting.told(10 * SECOND).await, Some(News::Over));
    }

    #[tokio::test(start_paused = true)]
    async fn errors_count_as_ever_once_there_are_connections_again() {
        let admission = admission(10);
        let mut guests = guests(&admission, 9);
        let mut last = guests.pop().unwrap();
        assert_eq!(last.told(SECOND).await, Some(News::Errors(2)));
        guests.truncate(6);
        assert_eq!(last.told(SECOND).await, None);
        guests.truncate(5);
        assert_eq!(last.told(SECOND).await, Some(News::Errors(u32::MAX)));
        assert_eq!(last.told(1000 * SECOND).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_idle_for_longest_makes_room() {
        let admission = admission(3);
        let mut guests = Vec::new();
        for _ in 0..3 {
            let mut guest = Guest::of(&admission).unwrap();
            assert!(!guest.must_go().await);
            guests.push(guest);
            time::advance(SECOND).await;
        }
        let [first, second, third] = &mut guests[..] else { panic!() };
        first.0.prove();
        second.0.busy();
        assert!(!second.must_go().await);
        time::advance(SECOND).await;
        let fourth = Guest::of(&admission).unwrap();
        assert!(third.must_go().await && !second.must_go().await);
        let fifth = Guest::of(&admission).unwrap();
        assert!(second.must_go().await && !first.must_go().await);
        // Who has just come is not sent away at once, nor is one whose question is being answered.
        assert_eq!(Guest::of(&admission).unwrap_err(), TooMany::Total);
        time::advance(100 * SECOND).await;
        assert_eq!(Guest::of(&admission).unwrap_err(), TooMany::Total);
        drop((fourth, fifth, guests));
        let again: Vec<_> = (0..3).map(|_| Guest::of(&admission).unwrap()).collect();
        assert_eq!(Guest::of(&admission).unwrap_err(), TooMany::Total);
        drop(again);
    }

    #[tokio::test(start_paused = true)]
    async fn those_told_to_go_are_not_many_at_once() {
        let admission = admission(200);
        let mut all = guests(&admission, 200);
        for guest in &mut all {
            assert!(!guest.must_go().await);
        }
        time::advance(2 * SECOND).await;
        let more = guests(&admission, 64);
        assert_eq!(Guest::of(&admission).unwrap_err(), TooMany::Total);
        for mut guest in all.drain(..64) {
            assert!(guest.must_go().await);
        }
        assert!(!all[1].must_go().await);
        assert!(Guest::of(&admission).is_ok());
        drop(more);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_of_it_where_it_is_switched_off() {
        let stress = Stress { percent: 0, ..Stress::default() };
        let admission =
            Admission::new(ConnectionLimits { per_address: 0, new_per_minute: 0, total: 2, stress });
        for guest in &mut guests(&admission, 2) {
            assert_eq!(guest.told(1000 * SECOND).await, None);
        }
        let _two = guests(&admission, 2);
        time::advance(100 * SECOND).await;
        assert_eq!(Guest::of(&admission).unwrap_err(), TooMany::Total);
    }
}
