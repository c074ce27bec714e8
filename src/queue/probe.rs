//! Asking the next host whether it would take mail for an address, before it is taken here.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use mailwright_mail_model::{Address, ReversePath};
use mailwright_mailstore::{QueueEntry, Store};
use mailwright_relay_policy::{dns::Resolve, route::NextHop};
use mailwright_smtp_proto::{Mail, Rcpt, Reply};
use tokio::time;

use super::{Queue, report::seconds};
use crate::{service::entropy, smtp::Addressing};

/// How long whoever asks waits for an answer: clients wait five minutes for a reply to RCPT (RFC 5321 §4.5.3.2.3), and have several.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long an answer counts. Who was not there may be soon; a host that does not answer is not asked for every recipient.
const TAKEN_FOR: Duration = Duration::from_secs(24 * 3_600);
const REFUSED_FOR: Duration = Duration::from_secs(3_600);
const UNCLEAR_FOR: Duration = Duration::from_secs(300);
/// How many answers are remembered.
const MOST: usize = 10_000;

/// What the next host says of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Probed {
    /// It would take mail for it.
    Taken,
    /// It would not, for good: its words.
    Refused(Reply),
    /// It does not say, or it cannot be reached now.
    Unclear,
}

impl Probed {
    fn counts_for(&self) -> Duration {
        match self {
            Self::Taken => TAKEN_FOR,
            Self::Refused(_) => REFUSED_FOR,
            Self::Unclear => UNCLEAR_FOR,
        }
    }
}

/// The answers that still count.
#[derive(Debug, Default)]
pub(super) struct Probes(Mutex<HashMap<String, (Instant, Probed)>>);

impl Probes {
    fn known(&self, address: &str) -> Option<Probed> {
        let probes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, probed) = probes.get(address)?;
        (since.elapsed() < probed.counts_for()).then(|| probed.clone())
    }

    fn remember(&self, address: String, probed: Probed) {
        let mut probes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if probes.len() >= MOST {
            probes.retain(|_, (since, probed)| since.elapsed() < probed.counts_for());
        }
        // Whoever makes up addresses gets no more memory for it.
        if probes.len() >= MOST {
            probes.clear();
        }
        probes.insert(address, (Instant::now(), probed));
    }
}

impl<S, R, P> Queue<S, R, P>
where
    S: Store + 'static,
    R: Resolve + 'static,
    P: Addressing + 'static,
{
    /// Asks the host that mail for an address goes to whether it would take it, from the null sender; what it said is remembered for a while.
    pub async fn probe(&self, address: &Address) -> Probed {
        let name = address.as_str().to_lowercase();
        if let Some(known) = self.probes.known(&name) {
            return known;
        }
        let probed = time::timeout(PATIENCE, self.current().ask(address)).await.ok().flatten();
        let probed = probed.unwrap_or(Probed::Unclear);
        tracing::info!(%address, ?probed, "asked the next host");
        self.probes.remember(name, probed.clone());
        probed
    }

    async fn ask(&self, address: &Address) -> Option<Probed> {
        let hop = self.config.routes.next_hop(address);
        if !matches!(hop, NextHop::Exchangers { .. } | NextHop::Host { .. } | NextHop::Lmtp { .. }) {
            return None;
        }
        let destination = hop.destination();
        let random = entropy()
            .map_or(0, |octets| octets.iter().take(8).fold(0, |sum, octet| sum << 8 | u64::from(*octet)));
        let exchangers = self.config.lookup.exchangers(&*self.resolver, &hop, random).await.ok()?;
        let entry = QueueEntry::new("probe", ReversePath::Null, destination.clone(), seconds());
        let terms = self.terms(&hop, &destination, &entry, &exchangers).await;
        for exchanger in &exchangers {
            let Ok(mut open) = self.reach(&terms, exchanger, &entry.id).await else { continue };
            // RFC 5321 §6.1: the null sender is nobody whom an answer could go to, and no host may refuse it.
            let reply = open.client.probe(Mail::new(ReversePath::Null), Rcpt::new(address.clone().into()));
            let reply = reply.await.ok()?;
            match open.client.takes_more() {
                true => self.sessions.keep(open),
                false => open.leave(),
            }
            // A host that wants nothing from nobody says nothing of the recipient.
            return reply.map(judged).ok();
        }
        None
    }
}

/// What a reply says of the address: refusals of who asks (RFC 3463 §3.8, X.7.Z) say nothing.
fn judged(reply: Reply) -> Probed {
    let policy = reply.enhanced().is_some_and(|(_, subject, _)| subject == 7);
    match reply.code() {
        _ if reply.is_positive() => Probed::Taken,
        550 | 551 | 553 if !policy => Probed::Refused(reply),
        _ => Probed::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_of_the_address_counts() {
        for (line, expected) in [
            ("250 2.1.5 fine", "taken"),
            ("550 5.1.1 no such user", "refused"),
            ("550 no such user", "refused"),
            ("553 5.1.3 no such name", "refused"),
            ("550 5.7.1 not from you", "unclear"),
            ("554 5.7.1 not from you", "unclear"),
            ("450 4.2.0 greylisted", "unclear"),
            ("452 4.2.2 full", "unclear"),
            ("502 5.5.1 what?", "unclear"),
        ] {
            let found = match judged(Reply::parse(format!("{line}\r\n").as_bytes()).unwrap()) {
                Probed::Taken => "taken",
                Probed::Refused(_) => "refused",
                Probed::Unclear => "unclear",
            };
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let probes = Probes::default();
        for number in 0..=MOST {
            probes.remember(format!("{number}@b.example"), Probed::Taken);
        }
        assert!(probes.0.lock().unwrap().len() <= MOST);
        assert_eq!(probes.known(&format!("{MOST}@b.example")), Some(Probed::Taken));
    }
}
