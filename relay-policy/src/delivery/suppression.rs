//! Addresses that nothing is sent to any more, since they refused for good too often.

/// When an address is left alone.
///
/// ```
/// use mailwright_relay_policy::delivery::{Bounces, Suppression};
///
/// let rule = Suppression::default();
/// let (once, day) = (Bounces::default().and_one_more(1_000), 86_400);
/// assert!(!rule.suppresses(&once, 1_000));
/// let twice = once.and_one_more(1_000 + day);
/// assert!(rule.suppresses(&twice, 1_000 + day));
/// // One that was heard of too long ago is tried again.
/// assert!(!rule.suppresses(&twice, 1_000 + 40 * day));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Suppression {
    /// After how many hard bounces.
    pub bounces: u32,
    /// For how long after the last one, in seconds.
    pub period: u64,
}

impl Default for Suppression {
    /// Two bounces, thirty days.
    fn default() -> Self {
        Self { bounces: 2, period: 30 * 86_400 }
    }
}

/// How often an address refused for good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bounces {
    /// How often since it last took anything.
    pub count: u32,
    /// When it did last, in seconds since 1970.
    pub last: u64,
}

impl Bounces {
    /// As they were written down.
    pub const fn new(count: u32, last: u64) -> Self {
        Self { count, last }
    }

    /// With one more, now.
    #[must_use]
    pub const fn and_one_more(self, now: u64) -> Self {
        Self { count: self.count.saturating_add(1), last: now }
    }
}

impl Suppression {
    /// Whether the address is to be left alone.
    pub const fn suppresses(&self, bounces: &Bounces, now: u64) -> bool {
        bounces.count >= self.bounces && now.saturating_sub(bounces.last) < self.period
    }
}
