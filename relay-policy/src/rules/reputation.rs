//! What lists in the domain name system say of clients (RFC 5782): black ones, white ones, each with its weight.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use mailwright_smtp_proto::{Rcpt, Reply};

use super::{Clock, client, is_for_trouble};
use crate::{
    Policy, Session, Verdict,
    dns::{LookupError, RecordType, Resolve, name},
    networks::AddressRange,
};

/// One list.
///
/// ```
/// use mailwright_relay_policy::rules::List;
///
/// // Weight 1, any answer in 127.0.0.0/8; a white list that takes two away; some answers only.
/// assert_eq!("bl.example.org".parse::<List>()?.weight, 1);
/// assert_eq!("wl.example.org*-2".parse::<List>()?.weight, -2);
/// assert!("bl.example.org=127.0.0.2-127.0.0.11*3".parse::<List>()?.counts("127.0.0.4".parse()?));
/// // Nothing else is an answer, whatever the range says.
/// assert!(!"bl.example.org=127.0.0.2-227.0.0.11".parse::<List>()?.counts("192.0.2.1".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct List {
    /// Its zone, lower case.
    pub zone: String,
    /// How much it counts: below zero for a white list.
    pub weight: i32,
    answers: Option<AddressRange>,
}

/// What is no list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a list as zone, zone*weight or zone=answers*weight, like \"bl.example.org=127.0.0.2-127.0.0.9*2\", got {0:?}"
)]
pub struct ListError(String);

impl FromStr for List {
    type Err = ListError;

    fn from_str(text: &str) -> Result<Self, ListError> {
        let wrong = || ListError(text.to_owned());
        let (rest, weight) = match text.rsplit_once('*') {
            Some((rest, weight)) => (rest, weight.trim().parse().map_err(|_| wrong())?),
            None => (text, 1),
        };
        let (zone, answers) = match rest.split_once('=') {
            Some((zone, answers)) => (zone, Some(answers.parse().map_err(|_| wrong())?)),
            None => (rest, None),
        };
        let zone = zone.trim().trim_end_matches('.').to_ascii_lowercase();
        if weight == 0 || !zone.contains('.') || name(&zone).is_err() {
            return Err(wrong());
        }
        Ok(Self { zone, weight, answers })
    }
}

impl List {
    /// Whether an answer says that the client is listed. RFC 5782 §2.1: in 127.0.0.0/8; 127.255.255.0/24 is how lists say that
    /// they will not answer, and answers from elsewhere are a parked domain's.
    pub fn counts(&self, answer: IpAddr) -> bool {
        let IpAddr::V4(address) = answer else { return false };
        let is_answer = address.is_loopback() && address.octets().get(..3) != Some(&[127, 255, 255]);
        is_answer && self.answers.is_none_or(|range| range.contains(answer))
    }
}

/// Refuses clients of which the lists say enough.
pub struct Reputation<R> {
    resolver: R,
    lists: Vec<List>,
    /// From which sum of weights on.
    limit: i32,
    clock: Clock,
    /// Whether each list is to be believed, and until when.
    tested: Mutex<HashMap<String, (bool, Duration)>>,
}

/// For so long a test of a list counts.
const TESTED: Duration = Duration::from_secs(3_600);

impl<R: Resolve> Reputation<R> {
    /// Refuses from this sum of weights on.
    pub fn new(resolver: R, lists: Vec<List>, limit: i32, clock: Clock) -> Self {
        Self { resolver, lists, limit: limit.max(1), clock, tested: Mutex::default() }
    }

    /// What the lists say of an address: the sum of their weights, and the zones that have it. One that cannot be asked has nobody.
    pub async fn score(&self, address: IpAddr) -> (i32, Vec<&str>) {
        let said = self.said(address).await;
        (said.sum, said.by.iter().map(|list| &*list.zone).collect())
    }

    /// The zones of lists that have an address, if they say enough of it to refuse, and for how long their answers hold. Nothing while a
    /// white list that might say otherwise cannot be asked.
    pub async fn listing(&self, address: IpAddr) -> Option<(Vec<&str>, Duration)> {
        let said = self.said(address).await;
        let listed = said.sum.saturating_add(said.unsaid) >= self.limit;
        listed.then(|| (said.black().collect(), said.holds))
    }

    async fn said(&self, address: IpAddr) -> Said<'_> {
        let mut said = Said { sum: 0, by: Vec::new(), unsaid: 0, holds: Duration::MAX };
        for list in &self.lists {
            let believed = match self.entry(list, address).await {
                Entry::Listed(lifetime) => self.is_believed(list).await.map(|believed| (believed, lifetime)),
                Entry::Unlisted => Some((false, Duration::MAX)),
                Entry::Unknown => None,
            };
            match believed {
                Some((true, lifetime)) => {
                    said.sum = said.sum.saturating_add(list.weight);
                    said.holds = said.holds.min(lifetime);
                    said.by.push(list);
                }
                Some((false, _)) => {}
                None => said.unsaid = said.unsaid.saturating_add(list.weight.min(0)),
            }
        }
        said
    }

    /// Whether a list has an address.
    async fn entry(&self, list: &List, address: IpAddr) -> Entry {
        let reversed = match address {
            IpAddr::V4(address) => {
                let [a, b, c, d] = address.octets();
                format!("{d}.{c}.{b}.{a}")
            }
            IpAddr::V6(address) => {
                let digits = format!("{:032x}", address.to_bits());
                digits.chars().rev().map(String::from).collect::<Vec<_>>().join(".")
            }
        };
        let Ok(at) = name(&format!("{reversed}.{}", list.zone)) else { return Entry::Unlisted };
        let answer = match self.resolver.lookup(&at, RecordType::A).await {
            Ok(answer) => answer,
            Err(LookupError::NoName | LookupError::NotAName(_)) => return Entry::Unlisted,
            Err(_) => return Entry::Unknown,
        };
        if !answer.addresses().any(|answer| list.counts(answer)) {
            return Entry::Unlisted;
        }
        let shortest = answer.records.iter().map(|record| record.ttl).min();
        Entry::Listed(Duration::from_secs(shortest.unwrap_or_default().into()))
    }

    /// RFC 5782 §5: a list that is alive has 127.0.0.2 and not 127.0.0.1, or, of IPv6, these mapped into it; one that has everybody is dead.
    /// Asked only when it would count; `None` if nobody can tell now, which is asked again.
    async fn is_believed(&self, list: &List) -> Option<bool> {
        let now = (self.clock)();
        let known = self.tested.lock().unwrap_or_else(PoisonError::into_inner).get(&list.zone).copied();
        // By a clock that was ahead, a test would count for longer.
        let counts = |until: Duration| now < until && until <= now + TESTED;
        if let Some((believed, _)) = known.filter(|(_, until)| counts(*until)) {
            return Some(believed);
        }
        let any = List { answers: None, ..list.clone() };
        let [listed, unlisted] = [2, 1].map(|last| Ipv4Addr::new(127, 0, 0, last));
        let mut believed = false;
        for map in [IpAddr::V4, |point: Ipv4Addr| IpAddr::V6(point.to_ipv6_mapped())] {
            match self.entry(&any, map(listed)).await {
                Entry::Unlisted => continue,
                Entry::Listed(_) => {}
                Entry::Unknown => return None,
            }
            believed = match self.entry(&any, map(unlisted)).await {
                Entry::Unlisted => true,
                Entry::Listed(_) => false,
                Entry::Unknown => return None,
            };
            break;
        }
        let mut tested = self.tested.lock().unwrap_or_else(PoisonError::into_inner);
        tested.insert(list.zone.clone(), (believed, now + TESTED));
        Some(believed)
    }
}

/// Whether a list has an address.
enum Entry {
    /// It has, and that counts for so long.
    Listed(Duration),
    Unlisted,
    /// It cannot be asked now.
    Unknown,
}

/// What lists say.
struct Said<'a> {
    sum: i32,
    by: Vec<&'a List>,
    /// What white lists might say that cannot be asked now.
    unsaid: i32,
    /// For how long all of it holds.
    holds: Duration,
}

impl<'a> Said<'a> {
    /// The zones that speak against the address.
    fn black(&self) -> impl Iterator<Item = &'a str> {
        self.by.iter().filter(|list| list.weight > 0).map(|list| &*list.zone)
    }
}

impl<R: Resolve> Policy for Reputation<R> {
    fn name(&self) -> &str {
        "reputation"
    }

    async fn rcpt(&self, session: &Session, rcpt: &Rcpt) -> Verdict {
        let Some(address) = client(session).filter(|_| !is_for_trouble(rcpt)) else { return Verdict::Pass };
        let said = self.said(address).await;
        if said.sum < self.limit {
            return Verdict::Pass;
        }
        let text = format!("{address} is listed by {}", said.black().collect::<Vec<_>>().join(", "));
        Verdict::Reject(if said.sum.saturating_add(said.unsaid) < self.limit {
            Reply::transient((7, 1), format!("{text}, and a white list cannot be asked now: try again later"))
        } else {
            Reply::permanent((7, 1), text)
        })
    }
}

impl<R> fmt::Debug for Reputation<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Reputation").field("lists", &self.lists).finish_non_exhaustive()
    }
}
