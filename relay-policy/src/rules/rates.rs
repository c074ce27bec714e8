//! How many messages one may send.

use std::{
    collections::{BTreeSet, hash_map::RandomState},
    fmt,
    hash::BuildHasher,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use mailwright_smtp_proto::{Mail, Message, Rcpt, Reply};

use super::{Clock, client, is_for_trouble, memory::Memory};
use crate::{Policy, Session, Verdict, authentication::Examined};

/// So many in so long a time, which come back one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    time: Duration,
}

impl Rate {
    /// `count` in `time`; `None` if either is nothing.
    pub fn new(count: u32, time: Duration) -> Option<Self> {
        (count > 0 && !time.is_zero()).then_some(Self { count, time })
    }
}

/// Limits for messages by client (an IPv6 address counts with its /64), by account and by sender, and for recipients by
/// recipient. Whatever is tried, as many of each are remembered as was said, and twice as many at most.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use mailwright_relay_policy::rules::{Clock, Rate, Rates};
///
/// let clock: Clock = Arc::new(|| Duration::from_secs(0));
/// let mut rates = Rates::new(clock, 10_000);
/// rates.client = Rate::new(100, Duration::from_secs(3_600));
/// ```
pub struct Rates {
    /// Messages of one client.
    pub client: Option<Rate>,
    /// Messages of one account.
    pub user: Option<Rate>,
    /// Messages of one envelope sender.
    pub sender: Option<Rate>,
    /// Messages to one recipient, but for postmaster and abuse. One that was refused does not count.
    pub recipient: Option<Rate>,
    /// What separates the name of a recipient from details (RFC 5233 §4), which do not make it another one. None by default.
    pub separators: String,
    clock: Clock,
    counts: RateCounts,
}

/// What [`Rates`] have counted: rules that take the place of others go on with it. Cheap to clone.
#[derive(Clone)]
pub struct RateCounts(Arc<Counts>);

struct Counts {
    /// By a hash of what each is called.
    memory: [Mutex<Memory<u64, Owed>>; 4],
    hasher: RandomState,
}

/// The messages that have not come back yet.
#[derive(Clone, Copy)]
struct Owed {
    /// When all of them are back, in nanoseconds since 1970.
    until: u64,
    /// How long each of them takes, in nanoseconds.
    each: u64,
    /// How long as many as there may be take, in nanoseconds.
    most: u64,
}

impl RateCounts {
    /// Nothing is counted yet; so many of each will be remembered, and twice as many at most.
    pub fn new(remembered: usize) -> Self {
        let memory = std::array::from_fn(|_| Mutex::new(Memory::new(remembered)));
        Self(Arc::new(Counts { memory, hasher: RandomState::new() }))
    }
}

impl fmt::Debug for RateCounts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RateCounts").finish_non_exhaustive()
    }
}

/// The places in the memory.
const CLIENT: usize = 0;
const USER: usize = 1;
const SENDER: usize = 2;
const RECIPIENT: usize = 3;

impl Rates {
    /// Without limits, remembering so many of each.
    pub fn new(clock: Clock, remembered: usize) -> Self {
        Self::with_counts(clock, RateCounts::new(remembered))
    }

    /// Without limits, and with what was counted before. Where a limit is another one than it was, as many messages count as had not come
    /// back yet.
    pub const fn with_counts(clock: Clock, counts: RateCounts) -> Self {
        let (client, user, sender, recipient) = (None, None, None, None);
        Self { client, user, sender, recipient, separators: String::new(), clock, counts }
    }

    /// How a recipient is counted; `None` for one who can always be written to.
    fn counted(&self, rcpt: &Rcpt) -> Option<String> {
        let address = rcpt.to.address().filter(|_| !is_for_trouble(rcpt))?;
        let (local, domain) = (address.local().as_str(), address.domain().key());
        let base = local.find(|letter| self.separators.contains(letter)).filter(|at| *at > 0);
        let local = base.and_then(|at| local.get(..at)).unwrap_or(local);
        Some(format!("{local}@{domain}").to_lowercase())
    }

    /// Takes one message of a rate; `false` if there is none left. A rehearsal takes nothing.
    fn take(&self, place: usize, rate: Option<Rate>, key: &str, rehearsal: bool) -> bool {
        let Counts { memory, hasher } = &*self.counts.0;
        let (Some(rate), Some(memory)) = (rate, memory.get(place)) else { return true };
        // Each message puts the moment off at which all are back, by what it takes one to come back.
        let (now, each) = (nanoseconds((self.clock)()), nanoseconds(rate.time / rate.count).max(1));
        let key = hasher.hash_one(key);
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody owes more than that: if it seems so, the clock was ahead, and what was noted then holds no longer than it would have.
        let before = memory.find(&key).copied().map(|owed| (owed, owed.until.saturating_sub(now)));
        if let Some((owed, _)) = before.filter(|(owed, left)| *left > owed.most && !rehearsal) {
            memory.put(key, Owed { until: now.saturating_add(owed.most), ..owed });
        }
        let owed = before.map_or(0, |(owed, left)| {
            // By another rate, each of them takes another time.
            let left = u128::from(left.min(owed.most)) * u128::from(each) / u128::from(owed.each);
            u64::try_from(left).unwrap_or(u64::MAX)
        });
        let (owed, most) = (owed.saturating_add(each), each.saturating_mul(rate.count.into()));
        if owed > most {
            return false;
        }
        if !rehearsal {
            memory.put(key, Owed { until: now.saturating_add(owed), each, most });
        }
        true
    }
}

/// Enough for six hundred years.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Policy for Rates {
    fn name(&self) -> &str {
        "rates"
    }

    async fn mail(&self, session: &Session, mail: &Mail) -> Verdict {
        let rehearsal = session.rehearsal;
        let client = client(session).map(|address| network(address).to_string());
        let sender = mail.from.address().map(|address| address.to_string().to_lowercase());
        let counted = [
            (CLIENT, self.client, client, "from your address"),
            (USER, self.user, session.user.clone(), "from your account"),
            (SENDER, self.sender, sender, "from this sender"),
        ];
        let take = |place, rate, key: &Option<String>, rehearsal| {
            key.as_ref().is_none_or(|key| self.take(place, rate, key, rehearsal))
        };
        // What is refused for one takes nothing from the others, who may be others' too: those behind one address share it.
        for (place, rate, key, what) in &counted {
            if !take(*place, *rate, key, true) {
                let text = format!("Too many messages {what}; try again later");
                return Verdict::Reject(Reply::transient((7, 1), text));
            }
        }
        for (place, rate, key, _) in &counted {
            take(*place, *rate, key, rehearsal);
        }
        Verdict::Pass
    }

    // A recipient that was named is no message yet: it counts when that is there.
    async fn rcpt(&self, _: &Session, rcpt: &Rcpt) -> Verdict {
        match self.counted(rcpt) {
            Some(recipient) if !self.take(RECIPIENT, self.recipient, &recipient, true) => {
                over_for_recipient()
            }
            _ => Verdict::Pass,
        }
    }

    async fn message(&self, session: &Session, message: &Message, _: &Examined) -> Verdict {
        let recipients: BTreeSet<String> =
            message.recipients.iter().filter_map(|rcpt| self.counted(rcpt)).collect();
        let take = |recipient: &String, rehearsal| self.take(RECIPIENT, self.recipient, recipient, rehearsal);
        // Others may have been faster. What is refused takes nothing from anybody.
        if !recipients.iter().all(|recipient| take(recipient, true)) {
            return over_for_recipient();
        }
        for recipient in &recipients {
            take(recipient, session.rehearsal);
        }
        Verdict::Pass
    }
}

fn over_for_recipient() -> Verdict {
    Verdict::Reject(Reply::transient((7, 1), "Too many messages to this recipient; try again later"))
}

impl fmt::Debug for Rates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rates = [self.client, self.user, self.sender, self.recipient];
        formatter.debug_tuple("Rates").field(&rates).finish()
    }
}

/// The unit by which addresses are judged.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use super::*;

    #[test]
    fn messages_come_back_one_by_one_and_memory_is_bounded() {
        let time = Arc::new(AtomicU64::new(1_000));
        let clock = Arc::clone(&time);
        let rates = Rates::new(Arc::new(move || Duration::from_secs(clock.load(Ordering::Relaxed))), 100);
        let rate = Rate::new(3, Duration::from_secs(30));
        let take = |key: &str| rates.take(CLIENT, rate, key, false);
        assert!(rates.take(CLIENT, rate, "a", true));
        assert_eq!([take("a"), take("a"), take("a"), take("a")], [true, true, true, false]);
        assert!(take("b") && !rates.take(CLIENT, rate, "a", true));
        time.store(1_009, Ordering::Relaxed);
        assert!(!take("a"));
        time.store(1_010, Ordering::Relaxed);
        assert_eq!([take("a"), take("a")], [true, false]);
        for number in 0..10_000 {
            take(&number.to_string());
        }
        assert!(rates.counts.0.memory[CLIENT].lock().unwrap().len() <= 200);
        assert_eq!(Rate::new(0, Duration::from_secs(1)), None);
    }

    #[test]
    fn a_clock_that_was_ahead_keeps_nobody_longer_than_the_rate_does() {
        let time = Arc::new(AtomicU64::new(900_000));
        let clock = Arc::clone(&time);
        let rates = Rates::new(Arc::new(move || Duration::from_secs(clock.load(Ordering::Relaxed))), 100);
        let rate = Rate::new(3, Duration::from_secs(30));
        let take = || rates.take(CLIENT, rate, "a", false);
        assert_eq!([take(), take(), take(), take()], [true, true, true, false]);
        time.store(1_000, Ordering::Relaxed);
        assert!(!rates.take(CLIENT, rate, "a", true) && !take());
        time.store(1_009, Ordering::Relaxed);
        assert!(!take());
        time.store(1_010, Ordering::Relaxed);
        assert_eq!([take(), take()], [true, false]);
        time.store(1_040, Ordering::Relaxed);
        assert_eq!([take(), take(), take(), take()], [true, true, true, false]);
    }

    #[test]
    fn what_was_counted_counts_by_other_rules_too() {
        let time = Arc::new(AtomicU64::new(1_000));
        let counts = RateCounts::new(100);
        let rates = || {
            let clock = Arc::clone(&time);
            let clock: Clock = Arc::new(move || Duration::from_secs(clock.load(Ordering::Relaxed)));
            Rates::with_counts(clock, counts.clone())
        };
        let (slow, fast) = (Rate::new(4, Duration::from_secs(4_000)), Rate::new(6, Duration::from_secs(60)));
        let take = |rates: &Rates, rate, key| rates.take(USER, rate, key, false);
        let first = rates();
        assert_eq!([(); 5].map(|()| take(&first, slow, "a")), [true, true, true, true, false]);
        // Others by the same rate go on with it, and another kind of limit does not.
        assert!(!take(&rates(), slow, "a") && rates().take(CLIENT, slow, "a", false));
        // Whoever has had four of four has had four of six, and waits no longer than the new rate wants.
        let second = rates();
        assert_eq!([(); 3].map(|()| take(&second, fast, "a")), [true, true, false]);
        time.store(1_010, Ordering::Relaxed);
        assert_eq!([(); 2].map(|()| take(&second, fast, "a")), [true, false]);
        // And of fewer than were taken nothing is left.
        time.store(1_030, Ordering::Relaxed);
        assert!(!take(&rates(), slow, "a"));
        time.store(1_030 + 1_000, Ordering::Relaxed);
        assert!(take(&rates(), slow, "a"));
    }
}
