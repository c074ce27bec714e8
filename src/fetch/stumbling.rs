//! Messages at which the connection breaks whenever they are asked for: they wait, so that those behind them come.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{FetchError, MessageName, pass::Listed};

/// How often it has to break: once is any connection's right.
const OFTEN: u32 = 3;
/// How often the wait is doubled at most.
const DOUBLED: u32 = 4;

/// What is known of them, for as long as the account is fetched from.
#[derive(Debug, Default)]
pub(super) struct Stumbling(Mutex<HashMap<MessageName, Stumble>>);

#[derive(Debug)]
struct Stumble {
    times: u32,
    /// Until when it waits.
    until: Instant,
}

impl Stumbling {
    fn known(&self) -> MutexGuard<'_, HashMap<MessageName, Stumble>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets those that are there no more.
    pub(super) fn keep(&self, listed: &[Listed]) {
        let mut known = self.known();
        if !known.is_empty() {
            known.retain(|name, _| listed.iter().any(|message| message.name == *name));
        }
    }

    /// Whether a message is not to be asked for yet.
    pub(super) fn waits(&self, name: MessageName) -> bool {
        self.known().get(&name).is_some_and(|stumble| stumble.until > Instant::now())
    }

    /// Notes what came of asking for a message. Where the connection breaks too often, it waits for `wait`, and twice as long each time
    /// after that.
    pub(super) fn note<T>(&self, name: MessageName, came: &Result<T, FetchError>, wait: Duration) {
        match came {
            Err(FetchError::Client(_) | FetchError::Server(_) | FetchError::Slow) => {
                let (mut known, now) = (self.known(), Instant::now());
                let stumble = known.entry(name).or_insert(Stumble { times: 0, until: now });
                stumble.times = stumble.times.saturating_add(1);
                if let Some(more) = stumble.times.checked_sub(OFTEN) {
                    stumble.until = now + wait.saturating_mul(1 << more.min(DOUBLED));
                }
            }
            Err(_) => {}
            Ok(_) => drop(self.known().remove(&name)),
        }
    }

    /// What is to be told of those that wait, if any do.
    pub(super) fn told(&self) -> Option<String> {
        let now = Instant::now();
        match self.known().values().filter(|stumble| stumble.until > now).count() {
            0 => None,
            1 => Some("1 message waits: the connection breaks whenever it is asked for".into()),
            count => {
                Some(format!("{count} messages wait: the connection breaks whenever they are asked for"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn who_stumbles_often_waits_longer_each_time() {
        let (stumbling, name) = (Stumbling::default(), MessageName([1; 16]));
        let listed = |name| [Listed { name, handle: 1, size: None, shared: None }];
        let broken = || Err::<(), _>(FetchError::Slow);
        for times in 1..=10 {
            assert!(!stumbling.waits(name), "{times}");
            stumbling.note(name, &broken(), WAIT);
            assert_eq!(stumbling.waits(name), times >= OFTEN);
            assert_eq!(stumbling.told().is_some(), times >= OFTEN);
            let doubled = [1, 2, 4, 8, 16].get(times.saturating_sub(OFTEN) as usize).unwrap_or(&16);
            tokio::time::sleep(WAIT * *doubled - Duration::from_secs(1)).await;
            assert_eq!(stumbling.waits(name), times >= OFTEN);
            stumbling.keep(&listed(name));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        // What is no fault of the message says nothing of it, and what came is forgotten.
        stumbling.note(name, &Err::<(), _>(FetchError::NoTrust), WAIT);
        assert!(!stumbling.waits(name) && stumbling.told().is_none());
        stumbling.note(name, &broken(), WAIT);
        assert_eq!(
            stumbling.told().unwrap(),
            "1 message waits: the connection breaks whenever it is asked for"
        );
        stumbling.keep(&listed(MessageName([2; 16])));
        assert!(!stumbling.waits(name));
        for _ in 0..OFTEN {
            stumbling.note(name, &broken(), WAIT);
        }
        stumbling.note(name, &Ok(()), WAIT);
        assert!(!stumbling.waits(name));
    }
}
