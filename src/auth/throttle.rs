//! Slowing down who guesses passwords: one memory for all protocols.

mod tried;

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use mailwright_relay_policy::networks::AddressRange;
use tokio::sync::Notify;

use self::tried::Tried;
use super::generations::Generations;
use crate::network;

/// How failed logins are answered.
///
/// Addresses count with their network: an IPv6 address stands for its /64. A user at a network from which that user has
/// logged in before is *familiar* there, and is judged by what fails between the two of them alone: neither a ban of the
/// network for guessing at others, nor a botnet's guesses at this user from elsewhere, keep the user out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThrottleLimits {
    /// What the second failure in a row from a network costs it before it is told; each further one costs twice as much.
    /// The first costs half of it. Zero switches delays off.
    pub penalty: Duration,
    /// The longest such delay.
    pub longest_penalty: Duration,
    /// After so many failures from a network it is banned; 0 bans nobody.
    pub failures_per_address: u32,
    /// After so many failures for one user, from networks where it is not familiar, all such networks wait; 0 is no
    /// limit.
    pub failures_per_user: u32,
    /// How long a ban lasts, and for how long a failure counts.
    pub ban: Duration,
    /// How many networks and users are remembered, each; the least recent are forgotten first.
    pub remembered: usize,
    /// Networks that are never slowed down or banned: those of a webmail or a proxy, which log in for everybody.
    pub exempt: Vec<AddressRange>,
}

impl Default for ThrottleLimits {
    fn default() -> Self {
        Self {
            penalty: Duration::from_millis(500),
            longest_penalty: Duration::from_secs(15), // Dovecot AUTH_PENALTY_MAX_SECS
            failures_per_address: 20,
            failures_per_user: 100,
            ban: Duration::from_secs(15 * 60),
            remembered: 65_536,
            exempt: vec![
                AddressRange::network(IpAddr::V4([127, 0, 0, 0].into()), 8),
                AddressRange::from(IpAddr::V6(Ipv6Addr::LOCALHOST)),
            ],
        }
    }
}

/// How many exchanges of SCRAM a network may leave once it knows the salt of the name: clients do that whose user goes away, and
/// several may be under way at a time. What goes beyond counts as failed logins.
const LEFT: u32 = 20;

/// Of how many networks, and users where they are familiar, it is known which names were tried: of more of them a ban says nothing but
/// how many logins failed.
const TRIED: usize = 4_096;

/// What failed lately, everywhere.
#[derive(Debug)]
pub struct Throttle {
    limits: ThrottleLimits,
    /// Users are remembered by a hash of what was sent, which may be long and no user's name at all.
    hasher: RandomState,
    memory: Mutex<Memory>,
    /// Whoever waits for room looks again.
    pub(super) released: Notify,
}

#[derive(Debug)]
struct Memory {
    networks: Generations<IpAddr, Failures>,
    users: Generations<u64, Failures>,
    familiar: Generations<(u64, IpAddr), Failures>,
    /// Exchanges in which keys were shown and no proof came, yet or ever.
    left: Generations<IpAddr, Failures>,
    /// Which names failed.
    tried: Generations<Slot, Tried>,
    /// How many logins are being decided: as many as there are at most.
    reserved: HashMap<Slot, u32>,
}

/// What failures are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Slot {
    Network(IpAddr),
    User(u64),
    Familiar(u64, IpAddr),
}

/// Failures in a row; an old one is forgotten.
#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Failures {
    fn none(now: Instant) -> Self {
        Self { count: 0, last: now }
    }

    /// How many count at this moment.
    fn at(&self, now: Instant, memory: Duration) -> u32 {
        if now.saturating_duration_since(self.last) < memory { self.count } else { 0 }
    }
}

/// A network that is banned.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ban {
    /// The address, or the first of an IPv6 /64.
    pub network: IpAddr,
    /// For how long it still is.
    pub left: Duration,
    /// How many logins failed.
    pub failures: u32,
    /// Whether only one user is kept out there, who has logged in from there before and whose logins failed: a program with an old
    /// password does that. Others are heard.
    pub familiar: bool,
    /// The names that failed last, no more than five and each cut to 64 characters: what was sent in place of a name, which need not be
    /// anybody's.
    pub users: Vec<String>,
}

/// Why a login is not even tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Throttled {
    #[error("the address is banned for failed logins")]
    Address,
    #[error("too many failed logins of this user from unfamiliar addresses")]
    User,
}

impl Throttle {
    /// With nothing remembered.
    pub fn new(limits: ThrottleLimits) -> Self {
        let most = limits.remembered;
        let memory = Memory {
            networks: Generations::new(most),
            users: Generations::new(most),
            familiar: Generations::new(most),
            left: Generations::new(most),
            tried: Generations::new(most.min(TRIED)),
            reserved: HashMap::new(),
        };
        let hasher = RandomState::new();
        Self { limits, hasher, memory: Mutex::new(memory), released: Notify::new() }
    }

    /// The networks that are banned now, for all or for a user of theirs, those whose ban ends first in front.
    pub fn bans(&self, now: Instant) -> Vec<Ban> {
        let memory = self.memory();
        let banned = |slot: Slot, network: IpAddr, failures: &Failures| {
            let count = failures.at(now, self.limits.ban);
            self.is_over(count, self.limits.failures_per_address).then(|| Ban {
                network,
                left: (failures.last + self.limits.ban).saturating_duration_since(now),
                failures: count,
                familiar: matches!(slot, Slot::Familiar(..)),
                users: memory.tried.get(&slot).map(Tried::names).unwrap_or_default(),
            })
        };
        let networks = memory.networks.iter();
        let networks =
            networks.filter_map(|(network, failures)| banned(Slot::Network(*network), *network, failures));
        let users = memory.familiar.iter();
        let users = users.filter_map(|((user, network), failures)| {
            banned(Slot::Familiar(*user, *network), *network, failures)
        });
        let mut bans: Vec<Ban> = networks.chain(users).collect();
        bans.sort_by_key(|ban| ban.left);
        bans
    }

    /// Forgets what failed from the network of this address, be it of users that are familiar there; says whether anything had.
    pub fn lift(&self, address: IpAddr) -> bool {
        let (network, memory) = (network(address), &mut *self.memory());
        let found = memory.networks.remove(&network).is_some();
        memory.tried.remove(&Slot::Network(network));
        found | forget(&mut memory.familiar, |(_, place)| *place == network)
    }

    /// Forgets what failed for this user, by the name that was sent, wherever it was; says whether anything had.
    pub fn lift_user(&self, user: &str) -> bool {
        let Some(user) = self.key(user) else { return false };
        let memory = &mut *self.memory();
        let found = memory.users.remove(&user).is_some();
        found | forget(&mut memory.familiar, |(known, _)| *known == user)
    }

    /// Whether secrets from there are looked at now, for those who check some of their own that are no user's, like tokens of
    /// administrators. They count together with logins.
    pub fn hears(&self, from: Option<IpAddr>) -> bool {
        self.admit(Instant::now(), from, "").is_ok()
    }

    /// Such a secret from there was wrong: how long to wait before that is told.
    pub fn wrong(&self, from: Option<IpAddr>) -> Duration {
        self.failed(Instant::now(), from, "")
    }

    /// Whether this user may try to log in from there now, and whether it is familiar there.
    pub(super) fn admit(&self, now: Instant, from: Option<IpAddr>, user: &str) -> Result<bool, Throttled> {
        let (Some(network), user) = (self.judged(from), self.key(user)) else { return Ok(true) };
        let memory = self.memory();
        let (slots, familiar) = slots(&memory, network, user);
        self.judge(&memory, now, &slots).map(|_| familiar)
    }

    /// Reserves room for a failure of this login, by what is given, and says whether the user is familiar there; `None` if there is no room
    /// until other logins are decided.
    pub(super) fn try_reserve(
        &self,
        now: Instant,
        from: Option<IpAddr>,
        user: &str,
    ) -> Result<Option<(Vec<Slot>, bool)>, Throttled> {
        let (Some(network), user) = (self.judged(from), self.key(user)) else {
            return Ok(Some((Vec::new(), true)));
        };
        let mut memory = self.memory();
        let (mut slots, familiar) = slots(&memory, network, user);
        if !self.judge(&memory, now, &slots)? {
            return Ok(None);
        }
        slots.retain(|slot| self.limit(*slot) != 0);
        for slot in &slots {
            *memory.reserved.entry(*slot).or_insert(0) += 1;
        }
        Ok(Some((slots, familiar)))
    }

    /// Gives back what was reserved.
    pub(super) fn release(&self, slots: &[Slot]) {
        let mut memory = self.memory();
        for slot in slots {
            let left = memory.reserved.get(slot).map_or(0, |count| count.saturating_sub(1));
            match left {
                0 => drop(memory.reserved.remove(slot)),
                left => drop(memory.reserved.insert(*slot, left)),
            }
        }
        drop(memory);
        self.released.notify_waiters();
    }

    /// By how much logins are judged that are being decided.
    #[cfg(test)]
    pub(super) fn reserved(&self) -> usize {
        self.memory().reserved.len()
    }

    /// Whether there is room for a failure beside those of the logins that are being decided.
    fn judge(&self, memory: &Memory, now: Instant, slots: &[Slot]) -> Result<bool, Throttled> {
        let mut room = true;
        for slot in slots {
            let (failures, why) = match slot {
                Slot::Network(network) => (memory.networks.get(network), Throttled::Address),
                Slot::User(user) => (memory.users.get(user), Throttled::User),
                Slot::Familiar(user, network) => {
                    (memory.familiar.get(&(*user, *network)), Throttled::Address)
                }
            };
            let count = failures.map_or(0, |found| found.at(now, self.limits.ban));
            if self.is_over(count, self.limit(*slot)) {
                return Err(why);
            }
            let reserved = memory.reserved.get(slot).copied().unwrap_or(0);
            room &= !self.is_over(count.saturating_add(reserved), self.limit(*slot));
        }
        Ok(room)
    }

    /// How many failures there may be; 0 is no limit.
    const fn limit(&self, slot: Slot) -> u32 {
        match slot {
            Slot::User(_) => self.limits.failures_per_user,
            Slot::Network(_) | Slot::Familiar(..) => self.limits.failures_per_address,
        }
    }

    /// This user has logged in from there.
    pub(super) fn succeeded(&self, now: Instant, from: Option<IpAddr>, user: &str) {
        let (Some(network), Some(user)) = (self.judged(from), self.key(user)) else { return };
        let mut memory = self.memory();
        *memory.familiar.entry(&(user, network), || Failures::none(now)) = Failures::none(now);
        // What the network did to others still counts: whoever has one account must not buy new guesses with it.
    }

    /// Keys of some user are to be shown there, for a proof to come. If too many came without one this counts as a failure: how long to
    /// wait then.
    pub(super) fn asked(&self, now: Instant, from: Option<IpAddr>) -> Option<Duration> {
        let network = self.judged(from)?;
        let left = {
            let memory = &mut *self.memory();
            let left = memory.left.entry(&network, || Failures::none(now));
            *left = Failures { count: left.at(now, self.limits.ban).saturating_add(1), last: now };
            left.count
        };
        (left > LEFT).then(|| self.failed(now, from, ""))
    }

    /// The proof has come, right or wrong; whether its absence was [counted](Self::asked) as a failure.
    pub(super) fn proved(&self, now: Instant, from: Option<IpAddr>, counted: bool) {
        let Some(network) = self.judged(from) else { return };
        let less = |failures: &mut Failures| failures.count = failures.count.saturating_sub(1);
        less(self.memory().left.entry(&network, || Failures::none(now)));
        if counted {
            self.forgive(now, from, "");
        }
    }

    /// The last failure of this user from there was none.
    pub(super) fn forgive(&self, now: Instant, from: Option<IpAddr>, user: &str) {
        let (Some(network), user) = (self.judged(from), self.key(user)) else { return };
        let memory = &mut *self.memory();
        let less = |failures: &mut Failures| failures.count = failures.count.saturating_sub(1);
        let none = || Failures::none(now);
        match user {
            Some(user) if memory.familiar.get(&(user, network)).is_some() => {
                less(memory.familiar.entry(&(user, network), none));
            }
            _ => {
                if let Some(user) = user {
                    less(memory.users.entry(&user, none));
                }
                less(memory.networks.entry(&network, none));
            }
        }
    }

    /// A login of this user from there failed: how long to wait before that is told. Unknown users and wrong passwords
    /// are the same here.
    pub(super) fn failed(&self, now: Instant, from: Option<IpAddr>, user: &str) -> Duration {
        let (Some(network), key) = (self.judged(from), self.key(user)) else { return Duration::ZERO };
        let memory = &mut *self.memory();
        let forget = self.limits.ban;
        let count = |failures: &mut Failures| {
            *failures = Failures { count: failures.at(now, forget).saturating_add(1), last: now };
            failures.count
        };
        let none = || Failures::none(now);
        let (slot, failures) = match key {
            Some(key) if memory.familiar.get(&(key, network)).is_some() => {
                let failures = count(memory.familiar.entry(&(key, network), none));
                (Slot::Familiar(key, network), failures)
            }
            _ => {
                if let Some(key) = key {
                    count(memory.users.entry(&key, none));
                }
                (Slot::Network(network), count(memory.networks.entry(&network, none)))
            }
        };
        let tried = memory.tried.entry(&slot, Tried::default);
        if failures == 1 {
            *tried = Tried::default();
        }
        tried.add(user);
        if self.limits.failures_per_address == failures {
            let (users, seconds) = (tried.names().join(", "), self.limits.ban.as_secs());
            tracing::warn!(%network, failures, users, seconds, "banned for failed logins");
        }
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        (self.limits.penalty / 2).saturating_mul(doubled).min(self.limits.longest_penalty)
    }

    fn is_over(&self, count: u32, limit: u32) -> bool {
        limit != 0 && count >= limit
    }

    /// The network that is judged; `None` for what is not slowed down.
    fn judged(&self, from: Option<IpAddr>) -> Option<IpAddr> {
        let address = from?.to_canonical();
        (!self.limits.exempt.iter().any(|exempt| exempt.contains(address))).then(|| network(address))
    }

    /// `None` if no user was named, as with tokens that say themselves whose they are: counted as one, all who log in that way could
    /// be kept out by anybody.
    fn key(&self, user: &str) -> Option<u64> {
        (!user.is_empty()).then(|| self.hasher.hash_one(user.to_lowercase()))
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets what failed between users and networks, and not that they know each other; says whether anything had.
fn forget(
    familiar: &mut Generations<(u64, IpAddr), Failures>,
    which: impl Fn(&(u64, IpAddr)) -> bool,
) -> bool {
    let mut found = false;
    for (_, failures) in familiar.iter_mut().filter(|(key, failures)| which(key) && failures.count > 0) {
        failures.count = 0;
        found = true;
    }
    found
}

/// What a login is judged by, and whether its user is familiar there.
fn slots(memory: &Memory, network: IpAddr, user: Option<u64>) -> (Vec<Slot>, bool) {
    match user {
        Some(user) if memory.familiar.get(&(user, network)).is_some() => {
            (vec![Slot::Familiar(user, network)], true)
        }
        _ => (std::iter::once(Slot::Network(network)).chain(user.map(Slot::User)).collect(), false),
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new(ThrottleLimits::default())
    }
}

#[cfg(test)]
mod tests;
