//! When to try again, and when no more.

use std::time::Duration;

/// How long mail waits between attempts, and how long in all.
///
/// ```
/// use std::time::Duration;
///
/// use mailwright_relay_policy::retry::{Next, RetrySchedule};
///
/// let schedule = RetrySchedule::default();
/// let arrival = 1_700_000_000;
/// // The first attempt failed at once: the next is about a minute away.
/// let Next::Retry { at } = schedule.next(arrival, 1, arrival, 0) else { unreachable!() };
/// assert!((54..=66).contains(&(at - arrival)));
/// // After four days it is over.
/// assert_eq!(schedule.next(arrival, 90, arrival + 4 * 86_400, 0), Next::GiveUp);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetrySchedule {
    /// How long after the first attempt the second is made. Each wait after that is twice as long.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
    /// How long mail is kept. RFC 5321 §4.5.4.1: at least four or five days.
    pub lifetime: Duration,
    /// How long reports of failure are kept: nobody waits for them as long.
    pub lifetime_of_reports: Duration,
    /// After what time the sender is told that it takes long; never if zero.
    pub warn_after: Duration,
}

impl Default for RetrySchedule {
    /// One minute, doubled up to 4000 seconds, for four days, with a warning after four hours.
    fn default() -> Self {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        Self {
            first: Duration::from_secs(60),
            longest: Duration::from_secs(4_000),
            lifetime: days(4),
            lifetime_of_reports: days(4),
            warn_after: Duration::from_secs(4 * 3_600),
        }
    }
}

/// What is to happen after an attempt that brought no decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third way")]
pub enum Next {
    /// Try again at this time, in seconds since 1970.
    Retry {
        /// When.
        at: u64,
    },
    /// It was tried for long enough.
    GiveUp,
}

impl RetrySchedule {
    /// What is to happen after this attempt (the first is 1), which ended at `now`, with mail that arrived at `arrival`; both
    /// in seconds since 1970. `random` is any number: it moves the time by up to a tenth to either side, so that what
    /// failed together does not come again together.
    pub fn next(&self, arrival: u64, attempts: u32, now: u64, random: u64) -> Next {
        self.next_within(self.lifetime, arrival, attempts, now, random)
    }

    /// As [`next`](Self::next), for a report, whose sender is `<>`.
    pub fn next_of_report(&self, arrival: u64, attempts: u32, now: u64, random: u64) -> Next {
        self.next_within(self.lifetime_of_reports, arrival, attempts, now, random)
    }

    /// As [`next`](Self::next), for mail that is given up at `end`, whenever it arrived.
    pub fn next_until(&self, end: u64, attempts: u32, now: u64, random: u64) -> Next {
        if now >= end {
            return Next::GiveUp;
        }
        let wait = self.wait(attempts).as_secs().max(1);
        let tenth = wait / 10;
        let moved = wait - tenth + random % (2 * tenth + 1);
        // The last attempt is at the very end, so that none of the time is lost.
        Next::Retry { at: now.saturating_add(moved).min(end) }
    }

    /// Whether the sender is to be told now that it takes long.
    pub fn warns(&self, arrival: u64, now: u64) -> bool {
        !self.warn_after.is_zero() && now.saturating_sub(arrival) >= self.warn_after.as_secs()
    }

    /// The wait after this attempt, before chance has its say.
    pub fn wait(&self, attempts: u32) -> Duration {
        let doubled = 1_u32.checked_shl(attempts.saturating_sub(1)).and_then(|by| self.first.checked_mul(by));
        doubled.unwrap_or(self.longest).min(self.longest)
    }

    fn next_within(&self, lifetime: Duration, arrival: u64, attempts: u32, now: u64, random: u64) -> Next {
        self.next_until(arrival.saturating_add(lifetime.as_secs()), attempts, now, random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All attempts of a message that never gets through, in seconds after its arrival.
    fn attempts(schedule: &RetrySchedule, mut random: impl FnMut() -> u64) -> Vec<u64> {
        let (arrival, mut now, mut times) = (1_700_000_000, 1_700_000_000, Vec::new());
        loop {
            times.push(now - arrival);
            let attempts = u32::try_from(times.len()).unwrap();
            match schedule.next(arrival, attempts, now, random()) {
                Next::Retry { at } => now = at,
                Next::GiveUp => return times,
            }
        }
    }

    #[test]
    fn four_days_without_chance() {
        let schedule = RetrySchedule::default();
        // The number in the middle of what chance may do.
        let mut number = 0;
        let times = attempts(&schedule, || {
            number += 1;
            schedule.wait(number).as_secs() / 10
        });
        assert_eq!(times[..9], [0, 60, 180, 420, 900, 1_860, 3_780, 7_620, 11_620]);
        assert!(times[8..].windows(2).all(|pair| pair[1] - pair[0] <= 4_000));
        assert_eq!(times.last(), Some(&(4 * 86_400)));
        assert_eq!(times.len(), 93);
    }

    #[test]
    fn chance_moves_each_by_a_tenth_at_most() {
        let schedule = RetrySchedule::default();
        let mut random = 0x2545_F491_4F6C_DD1D_u64;
        let times = attempts(&schedule, || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        });
        for (number, pair) in times.windows(2).enumerate() {
            let wait = schedule.wait(u32::try_from(number + 1).unwrap()).as_secs();
            let last = pair[1] == 4 * 86_400;
            assert!(last || pair[1] - pair[0] >= wait * 9 / 10, "{pair:?}");
            assert!(pair[1] - pair[0] <= wait * 11 / 10, "{pair:?}");
        }
        assert_eq!(times.last(), Some(&(4 * 86_400)));
    }

    #[test]
    fn extremes_do_not_overflow() {
        let schedule =
            RetrySchedule { first: Duration::MAX, longest: Duration::MAX, ..RetrySchedule::default() };
        assert!(matches!(schedule.next(0, u32::MAX, 0, u64::MAX), Next::Retry { at } if at == 4 * 86_400));
        assert_eq!(schedule.next(u64::MAX, 1, u64::MAX, 0), Next::GiveUp);
        assert!(!schedule.warns(100, 50));
    }
}
