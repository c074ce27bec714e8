//! Strangers are asked to come again: programs that send to millions do not.

use std::{fmt, future::Future, net::IpAddr, sync::Arc, time::Duration};

use mailwright_smtp_proto::{Rcpt, Reply};
use ring::digest;

use super::{Clock, client, is_for_trouble, sender};
use crate::{Policy, Session, Verdict, networks::AddressRange};

/// How long strangers wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct GreylistLimits {
    /// An attempt sooner than this after the first is too soon.
    pub delay: Duration,
    /// One later than this is a first attempt again.
    pub window: Duration,
    /// For so long after its last message, who came again is known.
    pub known: Duration,
}

impl Default for GreylistLimits {
    /// Five minutes, within two days, known for 36 days: whoever writes once a month stays known.
    fn default() -> Self {
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        Self { delay: Duration::from_secs(300), window: hours(48), known: hours(36 * 24) }
    }
}

/// Who has tried what, kept by somebody who may forget but never grows without end.
pub trait GreylistMemory: Send + Sync {
    /// What is known under a key.
    fn find(&self, key: &[u8; 16]) -> impl Future<Output = Option<Seen>> + Send;

    /// Remembers something until a time; who is full forgets others.
    fn keep(&self, key: [u8; 16], seen: Seen) -> impl Future<Output = ()> + Send;
}

impl<M: GreylistMemory> GreylistMemory for Arc<M> {
    async fn find(&self, key: &[u8; 16]) -> Option<Seen> {
        M::find(self, key).await
    }

    async fn keep(&self, key: [u8; 16], seen: Seen) {
        M::keep(self, key, seen).await;
    }
}

/// What is known of a client, a sender and a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    /// When they were first seen, in seconds since 1970.
    pub first: u64,
    /// Whether they came again in time.
    pub passed: bool,
    /// When it can be forgotten, in seconds since 1970.
    pub until: u64,
}

impl Seen {
    /// From its parts, for those who keep it.
    pub const fn new(first: u64, passed: bool, until: u64) -> Self {
        Self { first, passed, until }
    }
}

/// The rule. An IPv4 client counts with its /24 and an IPv6 one with its /64, for large senders come again from a neighbour.
pub struct Greylist<M> {
    memory: M,
    limits: GreylistLimits,
    clock: Clock,
    /// Clients that need not come again.
    pub exempt: Vec<AddressRange>,
}

impl<M: GreylistMemory> Greylist<M> {
    /// With this memory.
    pub fn new(memory: M, limits: GreylistLimits, clock: Clock) -> Self {
        Self { memory, limits, clock, exempt: Vec::new() }
    }
}

impl<M: GreylistMemory> Policy for Greylist<M> {
    fn name(&self) -> &str {
        "greylist"
    }

    async fn rcpt(&self, session: &Session, rcpt: &Rcpt) -> Verdict {
        let Some(address) = client(session) else { return Verdict::Pass };
        if is_for_trouble(rcpt) || self.exempt.iter().any(|range| range.contains(address)) {
            return Verdict::Pass;
        }
        let key = key(address, &sender(session), &rcpt.to.to_string().to_lowercase());
        let now = (self.clock)().as_secs();
        let after = |from: u64, time: Duration| from.saturating_add(time.as_secs());
        let seen = self.memory.find(&key).await.filter(|seen| now <= seen.until);
        // Whoever was first seen in time to come was seen by a clock that was ahead.
        let in_time = seen.map(|seen| match seen.first > now {
            true => Seen { first: now, until: seen.until.min(after(now, self.limits.window)), ..seen },
            false => seen,
        });
        let (next, verdict) = match in_time {
            Some(seen) if seen.passed || now >= after(seen.first, self.limits.delay) => {
                (Seen { passed: true, until: after(now, self.limits.known), ..seen }, Verdict::Pass)
            }
            Some(seen) => (seen, later(after(seen.first, self.limits.delay) - now)),
            None => {
                let first = Seen { first: now, passed: false, until: after(now, self.limits.window) };
                (first, later(self.limits.delay.as_secs()))
            }
        };
        if !session.rehearsal && seen != Some(next) {
            self.memory.keep(key, next).await;
        }
        verdict
    }
}

fn later(seconds: u64) -> Verdict {
    let text = format!("Greylisted: try again in {seconds} seconds");
    Verdict::Reject(Reply::transient((7, 1), text))
}

/// Sixteen octets that stand for the three.
fn key(client: IpAddr, sender: &str, recipient: &str) -> [u8; 16] {
    let network = AddressRange::network(client, if client.is_ipv4() { 24 } else { 64 });
    let hash = digest::digest(&digest::SHA256, format!("{network}\n{sender}\n{recipient}").as_bytes());
    let mut key = [0; 16];
    for (target, octet) in key.iter_mut().zip(hash.as_ref()) {
        *target = *octet;
    }
    key
}

impl<M> fmt::Debug for Greylist<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Greylist").field("limits", &self.limits).finish_non_exhaustive()
    }
}
