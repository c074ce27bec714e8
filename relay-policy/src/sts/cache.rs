//! What is done with policies that were seen before (RFC 8461 §5.1).

use super::{PolicyId, StsPolicy};

/// A policy that was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeptPolicy {
    /// What the record said when it was fetched.
    pub id: PolicyId,
    /// The policy.
    pub policy: StsPolicy,
    /// When, in seconds since 1970.
    pub fetched: u64,
}

/// What to do for a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// There is no policy.
    NoPolicy,
    /// The one that is kept holds.
    Keep,
    /// It is to be fetched. If that fails, the one that is kept holds as long as it is [fresh](KeptPolicy::is_fresh), and without
    /// one there is none.
    Fetch,
}

/// One that is older than this is fetched again although it holds, so that it does not end while nobody can be asked.
const REFRESH: u64 = 86_400;

impl KeptPolicy {
    /// Fetched now.
    pub const fn new(id: PolicyId, policy: StsPolicy, now: u64) -> Self {
        Self { id, policy, fetched: now }
    }

    /// Whether it still holds.
    pub fn is_fresh(&self, now: u64) -> bool {
        now < self.fetched.saturating_add(self.policy.max_age)
    }

    fn is_old(&self, now: u64) -> bool {
        // By a clock that was ahead it was fetched at a time that is yet to come: nobody knows how old it is.
        now < self.fetched || now >= self.fetched.saturating_add(REFRESH.min(self.policy.max_age / 2))
    }
}

impl Step {
    /// By what is kept, and by what the record says now: `None` if there is none or nobody can tell, which must not end a policy
    /// that holds (RFC 8461 §5.1).
    ///
    /// ```
    /// use mailwright_relay_policy::sts::{KeptPolicy, PolicyId, Step, StsMode, StsPolicy};
    ///
    /// let id = PolicyId::new("1").unwrap();
    /// let policy = StsPolicy::new(StsMode::Enforce, ["mx.b.example".to_owned()], 604_800);
    /// let kept = KeptPolicy::new(id.clone(), policy, 1_000);
    /// assert_eq!(Step::of(Some(&kept), Some(&id), 1_001), Step::Keep);
    /// assert_eq!(Step::of(Some(&kept), PolicyId::new("2").as_ref(), 1_001), Step::Fetch);
    /// assert_eq!(Step::of(Some(&kept), None, 1_001), Step::Keep);
    /// assert_eq!(Step::of(None, None, 1_001), Step::NoPolicy);
    /// ```
    pub fn of(kept: Option<&KeptPolicy>, said: Option<&PolicyId>, now: u64) -> Self {
        match (kept.filter(|kept| kept.is_fresh(now)), said) {
            (Some(kept), Some(said)) if kept.id == *said && !kept.is_old(now) => Self::Keep,
            (_, Some(_)) => Self::Fetch,
            (Some(_), None) => Self::Keep,
            (None, None) => Self::NoPolicy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sts::StsMode;

    #[test]
    fn a_week_of_a_policy() {
        let (one, two) = (PolicyId::new("1").unwrap(), PolicyId::new("2").unwrap());
        let policy = |max_age| StsPolicy::new(StsMode::Enforce, ["mx".to_owned()], max_age);
        let kept = KeptPolicy::new(one.clone(), policy(604_800), 0);
        let day = 86_400;
        for (now, said, expected) in [
            (1, Some(&one), Step::Keep),
            (1, Some(&two), Step::Fetch),
            (day - 1, Some(&one), Step::Keep),
            // Renewed every day, so that it is there when it is needed.
            (day, Some(&one), Step::Fetch),
            // The record cannot be looked up, or somebody suppresses it.
            (day, None, Step::Keep),
            (7 * day - 1, None, Step::Keep),
            (7 * day, None, Step::NoPolicy),
            (7 * day, Some(&one), Step::Fetch),
        ] {
            assert_eq!(Step::of(Some(&kept), said, now), expected, "{now} {said:?}");
        }
        let short = KeptPolicy::new(one.clone(), policy(600), 0);
        assert_eq!(Step::of(Some(&short), Some(&one), 299), Step::Keep);
        assert_eq!(Step::of(Some(&short), Some(&one), 300), Step::Fetch);
        assert_eq!(Step::of(None, Some(&one), 0), Step::Fetch);
        let ahead = KeptPolicy::new(one.clone(), policy(604_800), 400 * day);
        assert_eq!(Step::of(Some(&ahead), Some(&one), day), Step::Fetch);
        assert!(!KeptPolicy::new(one, policy(0), 5).is_fresh(5));
    }
}
