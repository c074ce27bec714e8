//! Addresses that nothing is sent to any more, since they refused for good too often.

use super::Diagnosis;

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

    /// With one more, now. What a clock that was ahead has written down does not count.
    #[must_use]
    pub const fn and_one_more(self, now: u64) -> Self {
        let before = if self.last > now { 0 } else { self.count };
        Self { count: before.saturating_add(1), last: now }
    }
}

impl Suppression {
    /// Whether a refusal is about the address itself: a host said for good, to RCPT, that there is nobody, or nobody any more. Refusals of
    /// the message, of its sender or of us say nothing of the address.
    pub fn is_hard(diagnosis: &Diagnosis) -> bool {
        // RFC 3463 §3.2 and §3.3: X.1.x is about addresses, of which 7 and 8 are about the sender's; X.2.1 is a mailbox that is disabled.
        let about_address = match diagnosis.reply.enhanced() {
            Some((_, 1, detail)) => !matches!(detail, 7 | 8),
            Some((_, subject, detail)) => (subject, detail) == (2, 1),
            None => matches!(diagnosis.reply.code(), 550 | 551),
        };
        diagnosis.quoted && diagnosis.of_recipient && diagnosis.is_permanent() && about_address
    }

    /// Whether the address is to be left alone.
    pub const fn suppresses(&self, bounces: &Bounces, now: u64) -> bool {
        bounces.count >= self.bounces && self.remembers(bounces, now)
    }

    /// Whether they count still. A last one that is yet to come was written down by a clock that was ahead: it is as none.
    pub const fn remembers(&self, bounces: &Bounces, now: u64) -> bool {
        bounces.last <= now && now.saturating_sub(bounces.last) < self.period
    }
}

#[cfg(test)]
mod tests {
    use mailwright_smtp_proto::Reply;

    use super::*;

    #[test]
    fn what_is_about_the_address() {
        for (text, hard) in [
            ("550 5.1.1 no such user", true),
            ("550 5.1.10 null mx", true),
            ("550 5.2.1 disabled", true),
            ("550 no such user", true),
            ("550 5.7.1 spam", false),
            ("550 5.1.8 bad sender", false),
            ("552 5.2.2 full", false),
            ("554 no", false),
            ("450 4.1.1 later", false),
        ] {
            let reply = Reply::parse(format!("{text}\r\n").as_bytes()).unwrap();
            let said = Diagnosis::said_of_recipient("b.example", &reply);
            assert_eq!(Suppression::is_hard(&said), hard, "{text}");
            assert!(
                !Suppression::is_hard(&Diagnosis::said("b.example", &reply)),
                "to MAIL, or behind the dot"
            );
            assert!(!Suppression::is_hard(&Diagnosis::found(reply)), "what we found is no answer");
        }
    }

    #[test]
    fn what_a_clock_that_was_ahead_wrote_down_is_as_none() {
        let (rule, now, year) = (Suppression::default(), 1_700_000_000, 366 * 86_400);
        let ahead = Bounces::new(2, now + year);
        assert!(!rule.suppresses(&ahead, now) && !rule.remembers(&ahead, now));
        assert_eq!(ahead.and_one_more(now), Bounces::new(1, now));
        assert!(rule.suppresses(&Bounces::new(2, now), now));
    }
}
