//! One attempt to send an entry to all its recipients.

use std::sync::Arc;

use mailwright_line_proto::{Closed, Misuse};
use mailwright_mailstore::{QueueEntry, QueueRecipient, RecipientState, Store};
use mailwright_relay_policy::{
    delivery::Diagnosis,
    dns::{LookupError, Resolve},
    route::{NextHop, RouteError},
};
use mailwright_smtp_proto::{Reply, SizeLimit};

use super::{
    DELIVERED, EXPANDED, Outcome, Place, Queue, UNDELIVERED,
    envelope::{Host, message},
    open::{Terms, requires, said_for_now},
    report::seconds,
    scheduler::Contact,
    sessions::Open,
    source::Source,
    wishes,
};
use crate::{
    client::{ClientError, Refusal},
    service::entropy,
    smtp::Addressing,
};

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

    fn all(diagnosis: Diagnosis) -> Self {
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
        if wishes::is_over(entry, seconds()) {
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

    /// Over a connection to a next hop that waits for more, or over a new one.
    pub(super) async fn deliver_over(
        &self,
        hop: &NextHop,
        entry: &Arc<QueueEntry>,
        places: &[usize],
    ) -> Result<Vec<Outcome>, Unreached> {
        let destination = hop.destination();
        let lane = Terms::lane(&destination, requires(entry));
        if let Some(open) = self.sessions.take(&lane, self.config.idle) {
            // The host may have hung up meanwhile, which says nothing of it.
            if let Ok(outcomes) = self.send(open, &destination, entry, places, true).await {
                return Ok(outcomes);
            }
        }
        self.deliver_to(hop, &destination, entry, places).await
    }

    /// Over a new connection to one of the hosts of a next hop.
    async fn deliver_to(
        &self,
        hop: &NextHop,
        destination: &str,
        entry: &Arc<QueueEntry>,
        places: &[usize],
    ) -> Result<Vec<Outcome>, Unreached> {
        let random = entropy()
            .map_or(0, |octets| octets.iter().take(8).fold(0, |sum, octet| sum << 8 | u64::from(*octet)));
        let exchangers =
            self.config.lookup.exchangers(&*self.resolver, hop, random).await.map_err(|error| {
                let forged = matches!(error, RouteError::Lookup { error: LookupError::Bogus(_), .. });
                let diagnosis = Diagnosis::found(error.reply());
                let all = !diagnosis.is_permanent();
                Unreached { diagnosis, all, untrusted: forged }
            })?;
        let terms = self.terms(hop, destination, entry, &exchangers).await;
        let (mut last, mut untrusted) = (None, false);
        for exchanger in &exchangers {
            match self.reach(&terms, exchanger, &entry.id).await {
                Ok(open) => return self.send(open, destination, entry, places, false).await,
                Err(unopened) => {
                    untrusted |= unopened.untrusted;
                    last = unopened.diagnosis.or(last);
                }
            }
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
        reused: bool,
    ) -> Result<Vec<Outcome>, Unreached> {
        let (outcomes, usable) = self.transfer(&mut open, destination, entry, places, reused).await;
        if usable && open.messages < self.config.messages_per_connection && self.is_current() {
            self.sessions.keep(open);
        }
        outcomes
    }

    /// Sends the message over a connection; says also whether that can be used for another one.
    pub(super) async fn transfer(
        &self,
        open: &mut Open,
        destination: &str,
        entry: &Arc<QueueEntry>,
        places: &[usize],
        reused: bool,
    ) -> (Result<Vec<Outcome>, Unreached>, bool) {
        // A recipient who may not be the one that is meant does not keep the message from the others.
        let is_last = destination.starts_with("lmtp:");
        let strangers = places.iter().map(|place| {
            let recipient = entry.recipients.get(*place).filter(|_| !is_last)?;
            wishes::stranger(recipient, open.client.capabilities())
        });
        let strangers: Vec<Option<Reply>> = strangers.collect();
        if strangers.iter().all(Option::is_none) {
            return self.carry(open, destination, entry, places, reused).await;
        }
        let host = open.host.clone();
        let known = places.iter().zip(&strangers).filter(|(_, reply)| reply.is_none());
        let known: Vec<usize> = known.map(|(place, _)| *place).collect();
        let (outcomes, usable) = match known.is_empty() {
            true => (Ok(Vec::new()), true),
            false => self.carry(open, destination, entry, &known, reused).await,
        };
        (outcomes.map(|outcomes| between(outcomes, strangers, &host)), usable)
    }

    async fn carry(
        &self,
        open: &mut Open,
        destination: &str,
        entry: &Arc<QueueEntry>,
        places: &[usize],
        reused: bool,
    ) -> (Result<Vec<Outcome>, Unreached>, bool) {
        let host = open.host.clone();
        let size = entry.size.saturating_sub(entry.skip);
        let capabilities = open.client.capabilities();
        let too_large =
            matches!(capabilities.size, Some(SizeLimit::AtMost(limit)) if size > limit && limit > 0);
        let unreadable = entry.smtputf8 && !capabilities.smtputf8;
        let reports = capabilities.dsn;
        let is_last = destination.starts_with("lmtp:");
        let timed = capabilities.deliver_by.is_some();
        let refused = if too_large {
            // RFC 1870 §6.3: no use to begin.
            Some(Reply::permanent((3, 4), format!("The message has {size} octets, more than the host takes")))
        } else if unreadable {
            // RFC 6531 §3.5
            Some(Reply::permanent((6, 7), "The host takes no internationalized addresses"))
        } else if is_last {
            None
        } else {
            wishes::unfit(entry, capabilities, seconds())
        };
        if let Some(reply) = refused {
            let diagnosis = Diagnosis::found_at(host, reply);
            return (Ok(vec![Outcome::Refused(diagnosis); places.len()]), true);
        }
        let field = if is_last { None } else { wishes::field(entry, places, capabilities) };
        let encoded = entry.eight_bit && !capabilities.eight_bit_mime;
        if encoded && !self.config.encode_signed && self.is_signed_by_others(entry).await {
            let text = "The host takes seven bits only, and to encode the message would break the signature of its author's domain";
            let diagnosis = Diagnosis::found_at(host, Reply::permanent((6, 3), text));
            return (Ok(vec![Outcome::Refused(diagnosis); places.len()]), true);
        }
        let mut body = Source::new(Arc::clone(&self.store), Arc::clone(entry));
        let capabilities = open.client.capabilities();
        let message = message(entry, places, size, &Host { capabilities, is_last, now: seconds() });
        if encoded && let Some((fields, in_place_of)) = self.signed_anew(entry).await {
            body = body.with_beginning(fields, in_place_of);
        }
        if let Some(field) = field {
            body = body.behind(&field);
        }
        let replies = match open.client.send_from(message, &mut body).await {
            Ok(replies) => replies,
            Err(error) => {
                let diagnosis = sending(&host, &error);
                // An old connection that is closed is tried anew, unless the host may have the message.
                let outcomes = match (reused, &error) {
                    (true, ClientError::Closed(Closed::Eof) | ClientError::Io(_)) => {
                        Err(Unreached::one(diagnosis))
                    }
                    (true, _) => Ok(vec![Outcome::Refused(diagnosis); places.len()]),
                    (false, ClientError::Body(_) | ClientError::Misuse(_)) => Err(Unreached::one(diagnosis)),
                    (false, _) => Err(Unreached::all(diagnosis)),
                };
                return (outcomes, false);
            }
        };
        // RFC 5321 §3.8: after 421 the host closes, and takes nothing now.
        let closing = replies.iter().find(|reply| reply.code() == 421).cloned();
        open.messages += 1;
        let usable = closing.is_none();
        if let Some(reply) = closing.filter(|_| replies.iter().all(|reply| !reply.is_positive())) {
            return (Err(Unreached::all(Diagnosis::said(host, &reply))), usable);
        }
        let outcome = |reply: &Reply| {
            let diagnosis = Diagnosis::said(host.clone(), reply);
            if reply.is_positive() {
                Outcome::Taken { diagnosis, reports, delivered: is_last, timed }
            } else {
                Outcome::Refused(diagnosis)
            }
        };
        (Ok(replies.iter().map(outcome).collect()), usable)
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

/// The outcomes of those who were asked about, between those who were refused before.
fn between(outcomes: Vec<Outcome>, refused: Vec<Option<Reply>>, host: &str) -> Vec<Outcome> {
    let mut outcomes = outcomes.into_iter();
    let one = |reply: Option<Reply>| match reply {
        Some(reply) => Some(Outcome::Refused(Diagnosis::found_at(host, reply))),
        None => outcomes.next(),
    };
    refused.into_iter().filter_map(one).collect()
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

/// Why the message did not get through.
fn sending(host: &str, error: &ClientError) -> Diagnosis {
    let reply = match error {
        ClientError::Refused(Refusal::Smtp(reply)) => return said_for_now(host, reply),
        ClientError::Body(error) => {
            let reply = Reply::transient((3, 0), format!("The message cannot be read: {error}"));
            return Diagnosis::found(reply);
        }
        ClientError::Misuse(Misuse::NotOffered(what)) => {
            Reply::permanent((5, 3), format!("The host does not offer {what}, which the message needs"))
        }
        ClientError::Misuse(misuse) => Reply::permanent((5, 4), misuse.to_string()),
        // RFC 1047: whether the host has it is not known; better twice than never.
        _ => Reply::transient((4, 2), error.to_string()),
    };
    Diagnosis::found_at(host, reply)
}
