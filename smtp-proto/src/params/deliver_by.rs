//! BY of MAIL: deliver within a time (RFC 2852).

use std::fmt;

use crate::words::{number, split_at_octet};

/// How soon a message is to be delivered, and what happens if it is not.
///
/// ```
/// use mailwright_smtp_proto::{ByMode, DeliverBy};
///
/// let by = DeliverBy::new(120, ByMode::Return, true).ok_or("no time")?;
/// assert_eq!(by.to_string(), "120;RT");
/// assert_eq!(DeliverBy::new(-1, ByMode::Return, false), None, "it cannot be returned before it came");
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeliverBy {
    seconds: i32,
    mode: ByMode,
    trace: bool,
}

/// What happens to a message that could not be delivered in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ByMode {
    /// It is returned.
    Return,
    /// The sender is told, and the trying goes on.
    Notify,
}

impl DeliverBy {
    /// The longest time, in seconds: nine digits.
    pub const MOST_SECONDS: i32 = 999_999_999;

    /// Within so many seconds. `None` if they have more than nine digits, or are not positive and the mode is
    /// [`Return`](ByMode::Return).
    pub fn new(seconds: i32, mode: ByMode, trace: bool) -> Option<Self> {
        let fits = seconds.checked_abs().is_some_and(|size| size <= Self::MOST_SECONDS);
        (fits && (seconds > 0 || mode != ByMode::Return)).then_some(Self { seconds, mode, trace })
    }

    /// How many seconds are left, by the clock of whoever sent this; negative if the time is over.
    pub fn seconds(self) -> i32 {
        self.seconds
    }

    /// What happens when they are over.
    pub fn mode(self) -> ByMode {
        self.mode
    }

    /// Whether every server on the way is to report that it passed the message on.
    pub fn is_traced(self) -> bool {
        self.trace
    }

    /// `by-time ";" by-mode [by-trace]`
    pub(super) fn parse(value: &str) -> Option<Self> {
        let (time, mode) = split_at_octet(value, b';');
        let (negative, time) = match time.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, time.strip_prefix('+').unwrap_or(time)),
        };
        let size = i32::try_from(number(time, 9)?).ok()?;
        let (mode, trace) = match mode?.as_bytes() {
            [b'R' | b'r'] => (ByMode::Return, false),
            [b'R' | b'r', b'T' | b't'] => (ByMode::Return, true),
            [b'N' | b'n'] => (ByMode::Notify, false),
            [b'N' | b'n', b'T' | b't'] => (ByMode::Notify, true),
            _ => return None,
        };
        Self::new(if negative { -size } else { size }, mode, trace)
    }
}

impl fmt::Display for DeliverBy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            ByMode::Return => 'R',
            ByMode::Notify => 'N',
        };
        write!(formatter, "{};{mode}{}", self.seconds, if self.trace { "T" } else { "" })
    }
}
