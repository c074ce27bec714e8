//! One attempt to send an entry to all its recipients.

use std::sync::Arc;

use mailwright_mailstore::{QueueEntry, QueueRecipient, RecipientState, Store, clock};
use mailwright_relay_policy::{
    delivery::Diagnosis,
    dns::{LookupError, Resolve},
    route::{Exchanger, NextHop, RouteError},
};
use mailwright_smtp_proto::Reply;

use super::{
    DELIVERED, EXPANDED, Outcome, Place, Queue, UNDELIVERED,
    onward::{Asked, MOST_SESSIONS},
    open::{Terms, requires},
    scheduler::Contact,
    sessions::Open,
    transaction::{Carried, put},
    wishes,
};
use crate::{service::entropy, smtp::Addressing};

/// What came of an attempt.
pub(super) struct Attempted {
    /// What became of each recipient that was tried, by its place.
    pub(super) outcomes: Vec<(usize, Outcome)>,
    /// What it tells of the destination.
    pub(super) contact: Contact,
    /// Why nobody was there, if so: it holds for all mail that goes the same way.
    pub(super) failure: Option<Diagnosis>,
}

/// Nobody took anything.
pub(super) struct Unreached {
    pub(super) diagnosis: Diagnosis,
    /// Whether all mail that goes the same way would meet the same.
    pub(super) all: bool,
    /// Whether somebody may be there who could not prove to be the one that was meant.
    pub(super) untrusted: bool,
}

impl Unreached {
    pub(super) fn one(diagnosis: Diagnosis) -> Self {
        Self { diagnosis, all: false, untrusted: false }
    }

    pub(super) fn all(diagnosis: Diagnosis) -> Self {
        Self { diagnosis, all: true, untrusted: false }
    }
}

impl<S, R, P> Queue<S, R, P>
where
    S: Store + 'static,
    R: Resolve + 'static,
    P: Addressing + 'static,
{
    /// Tries every recipient that waits, by the ways that lead to them now.
    pub(super) async fn attempt(&self, entry: &Arc<QueueEntry>) -> Attempted {
        if let Some(news) = news(entry) {
            return news;
        }
        if let Some(released) = self.let_go(entry).await {
            return released;
        }
        if let Some(told) = self.tell_again(entry).await {
            return told;
        }
        if wishes::is_over(entry, clock::read().to_judge_age()) {
            return each(entry, |_| Outcome::Refused(wishes::over(None)));
        }
        if let Ok(target) = entry.destination.parse() {
            return self.hand(Place::Target(target), entry).await;
        }
        let ours = self.ours(entry);
        let mut alone = self.take_in(entry, &ours).await;
        let mut ways: Vec<(NextHop, Vec<usize>)> = Vec::new();
        for (place, recipient) in entry.recipients.iter().enumerate() {
            if recipient.state == RecipientState::Waiting && !ours.contains(&place) {
                let suppressions = self.config.suppressions.as_ref();
                if let Some(why) = suppressions.and_then(|list| list.suppressed(&recipient.address)) {
                    let diagnosis = Diagnosis::found(Reply::permanent((1, 1), why));
                    alone.push((place, Outcome::Refused(diagnosis)));
                    continue;
                }
                let domain = recipient.address.domain().key();
                let ordered = entry.route.as_ref().and_then(|route| route.parse().ok());
                let hop = match (ordered, self.handings.has(domain)) {
                    (Some(hop), _) => hop,
                    // Its host is here for it.
                    (None, true) => NextHop::OnDemand(domain.to_owned()),
                    (None, false) => self.config.routes.next_hop(&recipient.address),
                };
                match ways.iter_mut().find(|(other, _)| *other == hop) {
                    Some((_, places)) => places.push(place),
                    None => ways.push((hop, vec![place])),
                }
            }
        }
        let mut attempted = Attempted { outcomes: alone, contact: Contact::Unknown, failure: None };
        for (hop, places) in ways {
            let outcomes = match self.deliver(&hop, entry, &places).await {
                Ok(outcomes) => {
                    attempted.contact = Contact::Reached;
                    outcomes
                }
                Err(Unreached { diagnosis, all, .. }) => {
                    if all && hop.destination() == entry.destination {
                        attempted.contact = Contact::Failed;
                        attempted.failure = Some(diagnosis.clone());
                    }
                    vec![Outcome::Refused(diagnosis); places.len()]
                }
            };
            attempted.outcomes.extend(places.into_iter().zip(outcomes));
        }
        attempted
    }

    async fn deliver(
        &self,
        hop: &NextHop,
        entry: &Arc<QueueEntry>,
        places: &[usize],
    ) -> Result<Vec<Outcome>, Unreached> {
        match hop {
            NextHop::Refuse(text) => {
                Err(Unreached::one(Diagnosis::found(Reply::permanent((1, 2), text.clone()))))
            }
            NextHop::OnDemand(domain) => self.deliver_on_demand(domain, entry, places).await,
            NextHop::Pipe(name) => Ok(self.pipe(&Place::Transport(name.clone()), entry, places).await),
            _ => {
                if let Some(outcomes) = self.as_listed(hop, entry, places).await {
                    return Ok(outcomes);
                }
                let outcome = self.deliver_over(hop, entry, places).await;
                self.or_fall_back(hop, entry, places, outcome).await
            }
        }
    }

    /// Over a connection to a next hop that waits for more, or over a new one; over several, where a host takes no more over one.
    pub(super) async fn deliver_over(
        &self,
        hop: &NextHop,
        entry: &Arc<QueueEntry>,
        places: &[usize],
    ) -> Result<Vec<Outcome>, Unreached> {
        let Carried { outcomes, mut rest, .. } = self.deliver_some(hop, entry, places).await;
        let mut outcomes = outcomes?;
        while !rest.is_empty() {
            let theirs = std::mem::take(&mut rest);
            let again = self.deliver_some(hop, entry, &theirs).await;
            put(&mut outcomes, places, &theirs, again.outcomes);
            rest = again.rest;
        }
        Ok(outcomes)
    }

    async fn deliver_some(&self, hop: &NextHop, entry: &Arc<QueueEntry>, places: &[usize]) -> Carried {
        if self.under_way.is_ending() {
            return Carried::of(Ok(self.leave(entry, places)));
        }
        let destination = hop.destination();
        let lane = Terms::lane(&destination, requires(entry));
        let mut before = None;
        if let Some(open) = self.sessions.take(&lane, self.config.idle) {
            let host = open.exchanger.clone();
            let carried = self.send(open, &destination, entry, places, true).await;
            // The host may have hung up meanwhile, which says nothing of it.
            if !carried.unheard {
                let asked = Asked::of(carried, places);
                if asked.onward.is_empty() {
                    return asked.carried;
                }
                before = Some((host, asked));
            }
        }
        let sent = self.deliver_to(hop, &destination, entry, places, before).await;
        sent.unwrap_or_else(|unreached| Carried::of(Err(unreached)))
    }

    /// By which setting mail goes this way; none if it is the recipients' own domain that leads there.
    fn setting(&self, hop: &NextHop, entry: &QueueEntry, places: &[usize]) -> Option<&'static str> {
        let recipients = places.iter().filter_map(|place| entry.recipients.get(*place));
        let mut domains = recipients.map(|recipient| recipient.address.domain());
        match hop {
            hop if self.config.fallback.as_ref() == Some(hop) => Some("fallback"),
            hop if self.config.routes.smarthost() == Some(hop) => Some("smarthost"),
            NextHop::Exchangers { domain, .. } if domains.any(|theirs| theirs.key() == domain) => None,
            _ if entry.route.is_some() => Some("next hop"),
            _ => Some("transport"),
        }
    }

    /// Over a new connection to one of the hosts of a next hop; over one to another of them, for whom that one does not take now, or one
    /// that was asked `before` over a connection that was kept.
    async fn deliver_to(
        &self,
        hop: &NextHop,
        destination: &str,
        entry: &Arc<QueueEntry>,
        places: &[usize],
        before: Option<(String, Asked)>,
    ) -> Result<Carried, Unreached> {
        let (kept, mut asked) = before.unzip();
        let random = entropy()
            .map_or(0, |octets| octets.iter().take(8).fold(0, |sum, octet| sum << 8 | u64::from(*octet)));
        let exchangers = match self.config.lookup.exchangers(&*self.resolver, hop, random).await {
            Ok(exchangers) => exchangers,
            Err(error) => {
                if let Some(asked) = asked {
                    return Ok(asked.carried);
                }
                let forged = matches!(error, RouteError::Lookup { error: LookupError::Bogus(_), .. });
                let error = match self.setting(hop, entry, places) {
                    Some(setting) => error.of_configured(setting, hop),
                    None => error,
                };
                let diagnosis = Diagnosis::found(error.reply());
                let all = !diagnosis.is_permanent();
                return Err(Unreached { diagnosis, all, untrusted: forged });
            }
        };
        let was_asked = |host: &Exchanger| kept.as_ref() == Some(&host.name);
        let others: Vec<&Exchanger> = exchangers.iter().filter(|host| !was_asked(host)).collect();
        if let Some(asked) = asked.take_if(|_| others.is_empty()) {
            return Ok(asked.carried);
        }
        let terms = self.terms(hop, destination, entry, &exchangers).await;
        let (mut last, mut untrusted) = (None, false);
        let mut sessions = usize::from(asked.is_some());
        for exchanger in others {
            let theirs = asked.as_ref().map_or(places, |asked| &asked.onward).to_vec();
            if theirs.is_empty() || sessions >= MOST_SESSIONS {
                break;
            }
            match self.reach(&terms, exchanger, &entry.id).await {
                Ok(open) => {
                    sessions += 1;
                    let carried = self.send(open, destination, entry, &theirs, false).await;
                    let next = Asked::of(carried, &theirs);
                    asked = Some(match asked {
                        Some(before) => before.then(next, places),
                        None => next,
                    });
                }
                Err(unopened) => {
                    untrusted |= unopened.untrusted;
                    last = unopened.diagnosis.or(last);
                }
            }
        }
        if let Some(Asked { mut carried, .. }) = asked {
            if let Err(unreached) = &mut carried.outcomes {
                unreached.untrusted |= untrusted;
            }
            return Ok(carried);
        }
        let nowhere = || Diagnosis::found(Reply::transient((4, 1), "No host of the destination was tried"));
        let diagnosis = last.unwrap_or_else(nowhere);
        if requires(entry) && diagnosis.status_text().contains(".7.") {
            // RFC 8689 §4.2.1: not that somebody waits for days for what will not be.
            return Err(Unreached::one(for_good(diagnosis)));
        }
        Err(Unreached { untrusted, ..Unreached::all(diagnosis) })
    }

    /// Sends the message over a connection, and keeps that for the next one.
    async fn send(
        &self,
        mut open: Open,
        destination: &str,
        entry: &Arc<QueueEntry>,
        places: &[usize],
        kept: bool,
    ) -> Carried {
        let carried = self.transfer(&mut open, destination, entry, places, kept).await;
        let more = open.client.takes_more() && open.messages < self.config.messages_per_connection;
        match more && self.is_current() {
            true => self.sessions.keep(open),
            false => open.leave(),
        }
        carried
    }
}

/// What becomes of an entry that is there to be told of.
fn news(entry: &QueueEntry) -> Option<Attempted> {
    let outcome = match &*entry.destination {
        DELIVERED => {
            let diagnosis = Diagnosis::found(Reply::positive((1, 5), "Delivered"));
            Outcome::Taken { diagnosis, reports: false, delivered: true, timed: true }
        }
        EXPANDED => {
            let text = "Sent on to several recipients, of whom nothing more is told";
            Outcome::Expanded(Diagnosis::found(Reply::positive((1, 5), text)))
        }
        UNDELIVERED => {
            let text = "The mailbox cannot take the message";
            Outcome::Refused(Diagnosis::found(Reply::permanent((2, 0), text)))
        }
        _ => return None,
    };
    // What was said of each alone, where that was noted.
    let said = |recipient: &QueueRecipient| {
        let text = recipient.last_error.as_ref().filter(|_| entry.destination == UNDELIVERED)?;
        let reply = Reply::parse(format!("{text}\r\n").as_bytes()).ok()?;
        reply.is_permanent().then(|| Outcome::Refused(Diagnosis::found(reply)))
    };
    Some(each(entry, |recipient| said(recipient).unwrap_or_else(|| outcome.clone())))
}

/// What is found without asking anybody, of each recipient that waits.
pub(super) fn each(entry: &QueueEntry, outcome: impl Fn(&QueueRecipient) -> Outcome) -> Attempted {
    let places = entry.recipients.iter().enumerate();
    let waiting = places.filter(|(_, recipient)| recipient.state == RecipientState::Waiting);
    let outcomes = waiting.map(|(place, recipient)| (place, outcome(recipient))).collect();
    Attempted { outcomes, contact: Contact::Unknown, failure: None }
}

/// TLS as the sender requires it cannot be had, and will not be had later.
fn for_good(diagnosis: Diagnosis) -> Diagnosis {
    if diagnosis.is_permanent() {
        return diagnosis;
    }
    let text = diagnosis.reply.lines().collect::<Vec<_>>().join(" ");
    let reply = Reply::permanent((7, 10), text);
    match diagnosis.host {
        Some(host) => Diagnosis::found_at(host, reply),
        None => Diagnosis::found(reply),
    }
}
