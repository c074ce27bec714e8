//! How many connections there are, and from where.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::time::Instant;

use super::{network, probation::Standing};

/// After this many new connections the table of addresses is tidied.
const TIDY_EVERY: u32 = 4096;
/// How many connections that were told to go may still be there beside as many as there may be: they have a second, but file
/// descriptors are counted.
const MOST_LEAVING: u32 = 64;
/// How long a session is left alone while connections run out: a client that means well answers within a round trip.
const ROUND_TRIP: Duration = Duration::from_secs(1);
/// How many sessions are looked at for one that can go, for each connection that comes.
const LOOKS: usize = 1024;

/// How many connections an address may have. An IPv6 address stands for its /64. Zero is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections at once from one address.
    pub per_address: u32,
    /// New connections a minute from one address.
    pub new_per_minute: u32,
    /// Connections at once in all.
    pub total: u32,
    /// What holds when most of them are in use.
    pub stress: Stress,
}

impl ConnectionLimits {
    /// No limits: for tests, and behind something else that counts.
    pub const NONE: Self = Self { per_address: 0, new_per_minute: 0, total: 0, stress: Stress::DEFAULT };
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { per_address: 100, new_per_minute: 300, total: 20_000, stress: Stress::default() }
    }
}

/// What holds while most of [`ConnectionLimits::total`] is in use, for sessions that have proved nothing: nobody has logged in, and no
/// recipient was accepted. They get little time and few errors, as with Postfix's `stress`; and when all connections are in use, the
/// one of them that has been idle for longest makes room for each that comes. Sessions that have proved something are left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stress {
    /// From more than so many percent of all connections on. Zero switches all of this off.
    pub percent: u32,
    /// How long such a session may wait before it asks for something.
    pub patience: Duration,
    /// How many bad commands and failed logins it may have, each, if its protocol allows more.
    pub errors: u32,
}

impl Stress {
    // Postfix STRESS_README: smtpd_timeout is 10 s then. smtpd_hard_error_limit is 1, which cuts off who types a password wrong.
    const DEFAULT: Self = Self { percent: 80, patience: Duration::from_secs(10), errors: 3 };
}

impl Default for Stress {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Counts the connections of every address. Shared by all listeners that count together.
#[derive(Debug)]
pub struct Admission {
    pub(super) limits: ConnectionLimits,
    rate: Option<DefaultKeyedRateLimiter<IpAddr>>,
    /// What times are counted from.
    base: Instant,
    /// Whether most connections are in use.
    stressed: AtomicBool,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    by_address: HashMap<IpAddr, u32>,
    total: u32,
    /// How many of them were told to go to make room.
    leaving: u32,
    since_tidy: u32,
    /// Sessions that have proved nothing, by when they began to wait: as it was when they were last looked at.
    unproven: BTreeMap<(u64, u64), Arc<Standing>>,
    numbers: u64,
}

impl Admission {
    /// Counts from zero.
    pub fn new(limits: ConnectionLimits) -> Arc<Self> {
        let rate =
            NonZeroU32::new(limits.new_per_minute).map(|count| RateLimiter::keyed(Quota::per_minute(count)));
        let (base, stressed) = (Instant::now(), AtomicBool::new(false));
        Arc::new(Self { limits, rate, base, stressed, counts: Mutex::default() })
    }

    /// Admits one more connection of this address, as long as the guard lives.
    ///
    /// # Errors
    /// Which limit it would pass.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Admitted, TooMany> {
        self.enter(Some(network(address)))
    }

    /// Admits one more connection from this machine, by a socket of the file system: it counts with all others, but has no
    /// address that could have too many.
    ///
    /// # Errors
    /// [`TooMany::Total`].
    pub fn admit_local(self: &Arc<Self>) -> Result<Admitted, TooMany> {
        self.enter(None)
    }

    fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Admitted, TooMany> {
        let counts = &mut *self.counts();
        if let (Some(rate), Some(address)) = (&self.rate, &address) {
            counts.since_tidy += 1;
            if counts.since_tidy >= TIDY_EVERY {
                counts.since_tidy = 0;
                rate.retain_recent();
            }
            if rate.check_key(address).is_err() {
                return Err(TooMany::New);
            }
        }
        let of_address = address.and_then(|address| counts.by_address.get(&address)).copied().unwrap_or(0);
        if self.limits.per_address != 0 && of_address >= self.limits.per_address {
            return Err(TooMany::FromAddress);
        }
        let full = self.limits.total != 0 && counts.in_use() >= self.limits.total;
        if full && !self.make_room(counts) {
            return Err(TooMany::Total);
        }
        if let Some(address) = address {
            counts.by_address.insert(address, of_address + 1);
        }
        counts.total += 1;
        self.judge(counts);
        Ok(Admitted { admission: Arc::clone(self), address, leaving: Arc::default() })
    }

    /// Sends away the session that has proved nothing and has been idle for longest; says whether there was one.
    fn make_room(&self, counts: &mut Counts) -> bool {
        if self.limits.stress.percent == 0 || counts.leaving >= MOST_LEAVING {
            return false;
        }
        let now = self.now();
        for _ in 0..LOOKS {
            let Some(((filed, number), standing)) = counts.unproven.pop_first() else { return false };
            // It went on since it was filed; one that is not waiting for its client at all is as if it had begun to now.
            let since = standing.idle_since().unwrap_or(now);
            if since > filed {
                standing.file(since);
                counts.unproven.insert((since, number), standing);
            } else if Duration::from_nanos(now.saturating_sub(filed)) < ROUND_TRIP {
                counts.unproven.insert((filed, number), standing);
                return false;
            } else {
                counts.leaving += 1;
                standing.dismiss();
                return true;
            }
        }
        false
    }

    /// Whether most connections are in use now, and what follows if that changes.
    fn judge(&self, counts: &Counts) {
        let Stress { percent, .. } = self.limits.stress;
        if percent == 0 || self.limits.total == 0 {
            return;
        }
        let (in_use, stressed) = (u64::from(counts.in_use()), self.is_stressed());
        let most = u64::from(self.limits.total) * u64::from(percent) / 100;
        if !stressed && in_use > most {
            self.stressed.store(true, Ordering::Relaxed);
            tracing::warn!(
                connections = in_use,
                of = self.limits.total,
                "most connections are in use: who has proved nothing has little time"
            );
            counts.unproven.values().for_each(|standing| standing.look_again());
        } else if stressed && in_use < most - most / 8 {
            // Well below, so that it does not go to and fro with each connection.
            self.stressed.store(false, Ordering::Relaxed);
            tracing::info!(connections = in_use, "connections are no longer short");
        }
    }

    pub(super) fn is_stressed(&self) -> bool {
        self.stressed.load(Ordering::Relaxed)
    }

    /// The time, in nanoseconds; never zero.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    /// The moment of such a time.
    pub(super) fn moment(&self, time: u64) -> Instant {
        self.base + Duration::from_nanos(time)
    }

    /// A session that has proved nothing begins.
    pub(super) fn watch(&self, admitted: &Admitted) -> Arc<Standing> {
        let mut counts = self.counts();
        counts.numbers += 1;
        let now = self.now();
        let standing = Arc::new(Standing::new(now, counts.numbers, Arc::clone(&admitted.leaving)));
        counts.unproven.insert((now, standing.number), Arc::clone(&standing));
        standing
    }

    /// It has proved something, or ended.
    pub(super) fn unwatch(&self, standing: &Standing) {
        // Nobody files it while this is held.
        let mut counts = self.counts();
        counts.unproven.remove(&(standing.filed(), standing.number));
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn in_use(&self) -> u32 {
        self.total.saturating_sub(self.leaving)
    }
}

/// A connection that was admitted; counted until dropped.
#[derive(Debug)]
pub struct Admitted {
    pub(super) admission: Arc<Admission>,
    address: Option<IpAddr>,
    /// Whether it was told to go to make room.
    leaving: Arc<AtomicBool>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let counts = &mut *self.admission.counts();
        counts.total = counts.total.saturating_sub(1);
        if self.leaving.load(Ordering::Relaxed) {
            counts.leaving = counts.leaving.saturating_sub(1);
        }
        if let Some(address) = self.address
            && let Some(count) = counts.by_address.get_mut(&address)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.by_address.remove(&address);
            }
        }
        self.admission.judge(counts);
    }
}

/// Which limit on connections was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TooMany {
    /// [`ConnectionLimits::per_address`].
    #[error("too many connections from this address")]
    FromAddress,
    /// [`ConnectionLimits::new_per_minute`].
    #[error("too many new connections from this address")]
    New,
    /// [`ConnectionLimits::total`].
    #[error("too many connections")]
    Total,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(per_address: u32, new_per_minute: u32, total: u32) -> ConnectionLimits {
        ConnectionLimits { per_address, new_per_minute, total, stress: Stress::default() }
    }

    #[test]
    fn an_address_has_so_many_connections_and_no_more() {
        let admission = Admission::new(limits(2, 0, 3));
        let [one, two, three] = ["192.0.2.1", "2001:db8::1", "2001:db8::ffff"].map(|ip| ip.parse().unwrap());
        let first = admission.admit(one).unwrap();
        let _second = admission.admit(two).unwrap();
        let third = admission.admit(three).unwrap();
        assert_eq!(admission.admit(one).unwrap_err(), TooMany::Total);
        assert_eq!(admission.admit_local().unwrap_err(), TooMany::Total);
        drop(first);
        assert_eq!(admission.admit(two).unwrap_err(), TooMany::FromAddress);
        drop(third);
        assert!(admission.admit(three).is_ok());
    }

    #[test]
    fn an_address_makes_so_many_connections_a_minute() {
        let admission = Admission::new(limits(0, 5, 0));
        let address = "192.0.2.1".parse().unwrap();
        for _ in 0..5 {
            admission.admit(address).unwrap();
        }
        assert_eq!(admission.admit(address).unwrap_err(), TooMany::New);
        assert!(admission.admit("192.0.2.2".parse().unwrap()).is_ok());
        // This machine is no address.
        assert!((0..10).all(|_| admission.admit_local().is_ok()));
    }
}
