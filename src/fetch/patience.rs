//! How long a server elsewhere may take. One that says something now and then, or an octet, would hold a place for ever.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, timeout};

use super::FetchError;

/// So long nothing may come to an end.
const MOST: Duration = Duration::from_secs(15 * 60);
/// What a server that goes on is given for each answer, and for each octet of a message.
const ANSWER: Duration = Duration::from_secs(1);
const OCTET: Duration = Duration::from_millis(1);

/// How long a server may still take. Waiting for it makes it less, what comes of that makes it more.
#[derive(Debug)]
pub(super) struct Patience {
    left: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { left: MOST }
    }
}

impl Patience {
    /// Waits for an answer.
    pub(super) async fn answer<T, E>(
        &mut self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, FetchError>
    where
        FetchError: From<E>,
    {
        let answer = self.part(answer).await?;
        self.gain(ANSWER);
        Ok(answer)
    }

    /// Waits for a part of one.
    pub(super) async fn part<T, E>(
        &mut self,
        part: impl Future<Output = Result<T, E>>,
    ) -> Result<T, FetchError>
    where
        FetchError: From<E>,
    {
        let begun = Instant::now();
        let outcome = timeout(self.left, part).await;
        self.left = self.left.saturating_sub(begun.elapsed());
        Ok(outcome.map_err(|_| FetchError::Slow)??)
    }

    /// So much of a message came.
    pub(super) fn came(&mut self, octets: usize) {
        self.gain(OCTET.saturating_mul(u32::try_from(octets).unwrap_or(u32::MAX)));
    }

    /// A message came to its end.
    pub(super) fn ended(&mut self) {
        self.gain(ANSWER);
    }

    fn gain(&mut self, time: Duration) {
        self.left = self.left.saturating_add(time).min(MOST);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    async fn after(seconds: u64) -> Result<(), FetchError> {
        sleep(Duration::from_secs(seconds)).await;
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_may_take_for_ever() {
        let mut patience = Patience::default();
        patience.answer(after(899)).await.unwrap();
        let slow = patience.answer(after(3)).await;
        assert!(matches!(slow, Err(FetchError::Slow)), "{slow:?}");

        // Octet by octet.
        let (mut patience, mut parts) = (Patience::default(), 0);
        while patience.part(after(10)).await.is_ok() {
            patience.came(1);
            parts += 1;
        }
        assert!((89..100).contains(&parts), "{parts}");

        // What goes on, however slowly, is waited for.
        let mut patience = Patience::default();
        for _ in 0..10_000 {
            patience.part(after(10)).await.unwrap();
            patience.came(10_000);
        }
        for _ in 0..10_000 {
            patience.answer(after(1)).await.unwrap();
        }
        patience.part(after(890)).await.unwrap();
    }
}
