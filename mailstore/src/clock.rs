//! The system's clock, which may be wrong for a while: nothing is removed because of that.
//!
//! A clock that differs by more than an hour from what it should show by the time that has passed is in doubt, until it has gone on like
//! that for a day. As long, what comes is dated by the later of the two times, and how old something is goes by the earlier one: whatever
//! is wrong, mail lives longer and not shorter. There is one system clock, so there is one of this for the whole process. What the clock
//! showed when the process before ended is known if that kept it ([`to_keep`], [`resume`]).

use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::signal::lock;

/// So many seconds the clock may differ from what it should show without being in doubt.
const JUMP: u64 = 3_600;
/// After so long a clock that was in doubt is believed.
const SETTLED: Duration = Duration::from_secs(86_400);
/// So many seconds a process may have been stopped without being asked whether it really was.
const STOPPED: u64 = 86_400;

/// What the clock shows, and what it should show; both in seconds since 1970.
///
/// ```
/// use mailwright_mailstore::clock::{self, Reading};
///
/// let now = clock::read();
/// assert!(!now.is_in_doubt());
/// // Ten days ahead all of a sudden: nothing is ten days older because of it.
/// let jumped = Reading::new(now.shown() + 864_000, now.shown());
/// assert!(jumped.is_in_doubt());
/// assert_eq!(jumped.to_judge_age(), now.shown());
/// assert_eq!(jumped.to_date_with(), jumped.shown());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    shown: u64,
    expected: u64,
}

impl Reading {
    /// A clock that shows one time where another was expected.
    pub const fn new(shown: u64, expected: u64) -> Self {
        Self { shown, expected }
    }

    /// A clock without doubt.
    pub const fn sure(now: u64) -> Self {
        Self::new(now, now)
    }

    /// What the clock shows, right or wrong.
    pub const fn shown(self) -> u64 {
        self.shown
    }

    /// What it should show.
    pub const fn expected(self) -> u64 {
        self.expected
    }

    /// Whether it has jumped, and nobody knows yet where it is right.
    pub const fn is_in_doubt(self) -> bool {
        self.shown != self.expected
    }

    /// The time by which to say how old something is that would be removed for its age: the earlier one.
    pub const fn to_judge_age(self) -> u64 {
        if self.shown < self.expected { self.shown } else { self.expected }
    }

    /// The time that something comes at which is removed when it is old: the later one.
    pub const fn to_date_with(self) -> u64 {
        if self.shown > self.expected { self.shown } else { self.expected }
    }
}

/// Looks at the clock.
pub fn read() -> Reading {
    lock(&GUARD).read(shown(), Instant::now())
}

/// What is known of the clock, for the next process: to be kept every now and then, and at the end.
pub fn to_keep() -> [u8; KEPT] {
    lock(&GUARD).keep(shown(), Instant::now())
}

/// Goes on from what an earlier process kept. A clock that shows less than then, or over a day more, is in doubt. Anything else than what
/// [`to_keep`] gave is ignored.
pub fn resume(kept: &[u8]) {
    if let Ok(kept) = kept.try_into() {
        lock(&GUARD).resume(kept, shown(), Instant::now());
    }
}

/// How many octets [`to_keep`] gives.
pub const KEPT: usize = 24;

static GUARD: LazyLock<Mutex<Guard>> = LazyLock::new(|| Mutex::new(Guard::new(shown(), Instant::now())));

fn shown() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A moment: what a clock shows at it.
#[derive(Debug, Clone, Copy)]
struct Mark {
    shown: u64,
    at: Instant,
    /// For how long it had shown the same in an earlier process.
    before: Duration,
}

impl Mark {
    fn new(shown: u64, at: Instant) -> Self {
        Self { shown, at, before: Duration::ZERO }
    }

    fn lasts(self, at: Instant) -> Duration {
        self.before + at.saturating_duration_since(self.at)
    }

    /// What the clock shows later if it goes on from here.
    fn later(self, at: Instant) -> u64 {
        self.shown.saturating_add(at.saturating_duration_since(self.at).as_secs())
    }
}

#[derive(Debug)]
struct Guard {
    /// When it was right the last time.
    right: Mark,
    /// Since when it shows something else.
    doubted: Option<Mark>,
}

impl Guard {
    fn new(shown: u64, at: Instant) -> Self {
        Self { right: Mark::new(shown, at), doubted: None }
    }

    fn read(&mut self, shown: u64, at: Instant) -> Reading {
        let expected = self.right.later(at);
        let goes_on = |mark: Mark| mark.later(at).abs_diff(shown) <= JUMP;
        if goes_on(self.right) {
            *self = Self::new(shown, at);
            return Reading::sure(shown);
        }
        let since = *self.doubted.get_or_insert_with(|| Mark::new(shown, at));
        if !goes_on(since) {
            self.doubted = Some(Mark::new(shown, at));
        } else if since.lasts(at) >= SETTLED {
            *self = Self::new(shown, at);
            return Reading::sure(shown);
        }
        Reading::new(shown, expected)
    }

    /// What it should show, what it shows, and since how many seconds it has been in doubt.
    fn keep(&mut self, shown: u64, at: Instant) -> [u8; KEPT] {
        let reading = self.read(shown, at);
        let doubted = self.doubted.map_or(0, |since| since.lasts(at).as_secs());
        let mut kept = [0; KEPT];
        let numbers = [reading.expected, reading.shown, doubted].into_iter().flat_map(u64::to_be_bytes);
        kept.iter_mut().zip(numbers).for_each(|(place, octet)| *place = octet);
        kept
    }

    fn resume(&mut self, kept: [u8; KEPT], shown: u64, at: Instant) {
        let number = |at: usize| {
            kept.iter().skip(8 * at).take(8).fold(0, |sum: u64, octet| sum << 8 | u64::from(*octet))
        };
        let (expected, showed, doubted) = (number(0), number(1), number(2));
        let goes_on = |from: u64| shown.saturating_add(JUMP) >= from && shown <= from.saturating_add(STOPPED);
        if !goes_on(expected) {
            let before = if goes_on(showed) { Duration::from_secs(doubted) } else { Duration::ZERO };
            *self = Self {
                right: Mark::new(expected, at),
                doubted: Some(Mark { before, ..Mark::new(shown, at) }),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600;
    const DAY: u64 = 24 * HOUR;
    const BEGIN: u64 = 1_700_000_000;

    /// Seconds after the beginning, what the clock shows then, and whether it is in doubt.
    fn go(guard: &mut Guard, began: Instant, steps: &[(u64, u64, bool)]) {
        for (passed, shown, doubted) in steps {
            let reading = guard.read(*shown, began + Duration::from_secs(*passed));
            assert_eq!(reading.is_in_doubt(), *doubted, "after {passed}");
            if *doubted {
                assert_eq!(reading, Reading::new(*shown, BEGIN + passed));
            }
        }
    }

    #[test]
    fn a_clock_that_goes_on_is_never_in_doubt() {
        let began = Instant::now();
        let mut guard = Guard::new(BEGIN, began);
        // It may be slow or fast, and set by up to an hour.
        go(&mut guard, began, &[(60, BEGIN + 61, false), (DAY, BEGIN + DAY + HOUR, false)]);
        go(&mut guard, began, &[(DAY + 60, BEGIN + DAY + 60, false), (9 * DAY, BEGIN + 9 * DAY, false)]);
    }

    #[test]
    fn a_jump_is_believed_after_a_day_and_its_end_at_once() {
        let began = Instant::now();
        for jumped in [BEGIN + 40 * DAY, BEGIN - 40 * DAY] {
            let mut guard = Guard::new(BEGIN, began);
            go(
                &mut guard,
                began,
                &[(1, jumped + 1, true), (HOUR, jumped + HOUR, true), (DAY, jumped + DAY, true)],
            );
            go(&mut guard, began, &[(DAY + 1, BEGIN + DAY + 1, false), (DAY + 2, jumped + DAY + 2, true)]);
            // Another place meanwhile: the day begins anew.
            go(&mut guard, began, &[(DAY + HOUR, BEGIN, true), (2 * DAY, jumped + 2 * DAY, true)]);
            go(
                &mut guard,
                began,
                &[(3 * DAY, jumped + 3 * DAY, false), (3 * DAY + 1, jumped + 3 * DAY + 1, false)],
            );
        }
    }

    #[test]
    fn a_start_long_after_the_end_is_in_doubt() {
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        let kept_at = |last| Guard::new(last, began).keep(last, began);
        let started = |kept, seconds| {
            let mut guard = Guard::new(BEGIN + seconds, after(seconds));
            guard.resume(kept, BEGIN + seconds, after(seconds));
            guard
        };
        let read = |guard: &mut Guard, seconds| guard.read(BEGIN + seconds, after(seconds));
        for last in [BEGIN, BEGIN - DAY, BEGIN + HOUR] {
            assert!(!read(&mut started(kept_at(last), 0), 0).is_in_doubt());
        }
        for last in [BEGIN - 3 * DAY, BEGIN + 3 * DAY] {
            let mut guard = started(kept_at(last), 0);
            assert_eq!(read(&mut guard, 60), Reading::new(BEGIN + 60, last + 60));
            assert!(read(&mut guard, DAY - 1).is_in_doubt());
            assert!(!read(&mut guard, DAY).is_in_doubt());
            // Who starts every few hours gets there, too.
            let mut guard = started(kept_at(last), 0);
            for hours in [10, 20] {
                let kept = guard.keep(BEGIN + hours * HOUR, after(hours * HOUR));
                guard = started(kept, hours * HOUR);
            }
            assert!(read(&mut guard, 23 * HOUR).is_in_doubt());
            assert!(!read(&mut guard, DAY).is_in_doubt());
            // But not by a clock that is elsewhere each time.
            let elsewhere = started(kept_at(last), 0).keep(BEGIN - 40 * DAY, after(20 * HOUR));
            let mut guard = started(elsewhere, 20 * HOUR);
            assert!(read(&mut guard, DAY).is_in_doubt());
        }
    }
}
