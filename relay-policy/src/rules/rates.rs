//! How many messages one may send.

use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::BuildHasher,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use mailwright_smtp_proto::{Mail, Rcpt, Reply};

use super::{Clock, client, memory::Memory};
use crate::{Policy, Session, Verdict};

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
    /// Messages to one recipient.
    pub recipient: Option<Rate>,
    clock: Clock,
    /// When each will have all of its messages again, by a hash of what it is called.
    memory: [Mutex<Memory<u64, Duration>>; 4],
    hasher: RandomState,
}

/// The places in the memory.
const CLIENT: usize = 0;
const USER: usize = 1;
const SENDER: usize = 2;
const RECIPIENT: usize = 3;

impl Rates {
    /// Without limits, remembering so many of each.
    pub fn new(clock: Clock, remembered: usize) -> Self {
        let memory = std::array::from_fn(|_| Mutex::new(Memory::new(remembered)));
        let (client, user, sender, recipient) = (None, None, None, None);
        Self { client, user, sender, recipient, clock, memory, hasher: RandomState::new() }
    }

    /// Takes one message of a rate; `false` if there is none left. A rehearsal takes nothing.
    fn take(&self, place: usize, rate: Option<Rate>, key: &str, rehearsal: bool) -> bool {
        let (Some(rate), Some(memory)) = (rate, self.memory.get(place)) else { return true };
        // Each message puts the moment off at which all are back, by what it takes one to come back.
        let (now, one) = ((self.clock)(), rate.time / rate.count);
        let key = self.hasher.hash_one(key);
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        let full = memory.find(&key).copied().unwrap_or(now).max(now);
        let then = full + one;
        if then > now + one * rate.count {
            return false;
        }
        if !rehearsal {
            memory.put(key, then);
        }
        true
    }
}

impl Policy for Rates {
    fn name(&self) -> &str {
        "rates"
    }

    async fn mail(&self, session: &Session, mail: &Mail) -> Verdict {
        let rehearsal = session.rehearsal;
        let client = client(session).map(|address| network(address).to_string());
        let sender = mail.from.address().map(|address| address.to_string().to_lowercase());
        let over = |what: &str| {
            Verdict::Reject(Reply::transient((7, 1), format!("Too many messages {what}; try again later")))
        };
        if client.is_some_and(|client| !self.take(CLIENT, self.client, &client, rehearsal)) {
            return over("from your address");
        }
        if session.user.as_ref().is_some_and(|user| !self.take(USER, self.user, user, rehearsal)) {
            return over("from your account");
        }
        if sender.is_some_and(|sender| !self.take(SENDER, self.sender, &sender, rehearsal)) {
            return over("from this sender");
        }
        Verdict::Pass
    }

    async fn rcpt(&self, session: &Session, rcpt: &Rcpt) -> Verdict {
        let recipient = rcpt.to.address().map(|address| address.to_string().to_lowercase());
        if recipient
            .is_some_and(|recipient| !self.take(RECIPIENT, self.recipient, &recipient, session.rehearsal))
        {
            let text = "Too many messages to this recipient; try again later";
            return Verdict::Reject(Reply::transient((7, 1), text));
        }
        Verdict::Pass
    }
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
        assert!(rates.memory[CLIENT].lock().unwrap().len() <= 200);
        assert_eq!(Rate::new(0, Duration::from_secs(1)), None);
    }
}
