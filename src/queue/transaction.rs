//! A message given to a host, over a connection that is open: in one transaction, or in several where the host takes no more recipients
//! in one.

use std::sync::Arc;

use mailwright_line_proto::{Closed, Misuse};
use mailwright_mailstore::{QueueEntry, Store, clock};
use mailwright_relay_policy::{delivery::Diagnosis, dns::Resolve};
use mailwright_smtp_proto::{Reply, SizeLimit};

use super::{
    Outcome, Queue,
    attempt::Unreached,
    envelope::{Host, message},
    report::seconds,
    sessions::Open,
    source::Source,
    unopened::said_for_now,
    wishes,
};
use crate::{
    client::{ClientError, Refusal, Sent},
    smtp::Addressing,
};

/// What came of giving a message to a host.
pub(super) struct Carried {
    /// What became of each recipient; or why nobody took anything.
    pub(super) outcomes: Result<Vec<Outcome>, Unreached>,
    /// The places of those for whom there is no room in the same transaction: they are for another one, at once.
    pub(super) rest: Vec<usize>,
    /// Whether the connection was over before the host heard of the message, so that it costs nothing to try another one.
    pub(super) unheard: bool,
    /// Whether all was over before the message itself was begun, so that another host may be given it.
    pub(super) untouched: bool,
    /// Whether it was the connection that was over then, so that nobody was given a word of the host's own.
    pub(super) cut: bool,
}

impl Carried {
    pub(super) fn of(outcomes: Result<Vec<Outcome>, Unreached>) -> Self {
        Self { outcomes, rest: Vec::new(), unheard: false, untouched: false, cut: false }
    }

    fn refused(diagnosis: &Diagnosis, count: usize) -> Self {
        Self::of(Ok(vec![Outcome::Refused(diagnosis.clone()); count]))
    }
}

impl<S, R, P> Queue<S, R, P>
where
    S: Store + 'static,
    R: Resolve + 'static,
    P: Addressing + 'static,
{
    /// Sends the message over a connection, which may have been `kept` from another one. Whether it can be used for the next, it tells
    /// itself.
    pub(super) async fn transfer(
        &self,
        open: &mut Open,
        destination: &str,
        entry: &Arc<QueueEntry>,
        places: &[usize],
        kept: bool,
    ) -> Carried {
        // A recipient who may not be the one that is meant does not keep the message from the others.
        let is_last = destination.starts_with("lmtp:");
        let strangers = places.iter().map(|place| {
            let recipient = entry.recipients.get(*place).filter(|_| !is_last)?;
            wishes::stranger(recipient, open.client.capabilities())
        });
        let strangers: Vec<Option<Reply>> = strangers.collect();
        if strangers.iter().all(Option::is_none) {
            return self.carry(open, destination, entry, places, kept).await;
        }
        let host = open.host.clone();
        let known = places.iter().zip(&strangers).filter(|(_, reply)| reply.is_none());
        let known: Vec<usize> = known.map(|(place, _)| *place).collect();
        let carried = match known.is_empty() {
            true => Carried::of(Ok(Vec::new())),
            false => self.carry(open, destination, entry, &known, kept).await,
        };
        Carried { outcomes: carried.outcomes.map(|outcomes| between(outcomes, strangers, &host)), ..carried }
    }

    /// In as many transactions as it takes.
    async fn carry(
        &self,
        open: &mut Open,
        destination: &str,
        entry: &Arc<QueueEntry>,
        places: &[usize],
        kept: bool,
    ) -> Carried {
        let mut carried = self.transaction(open, destination, entry, places, kept).await;
        let Ok(outcomes) = &mut carried.outcomes else { return carried };
        while !carried.rest.is_empty() && open.client.takes_more() {
            let again = self.transaction(open, destination, entry, &carried.rest, true).await;
            if again.unheard || again.cut {
                // It takes them over another connection, perhaps.
                break;
            }
            put(outcomes, places, &carried.rest, again.outcomes);
            carried.rest = again.rest;
        }
        carried
    }

    async fn transaction(
        &self,
        open: &mut Open,
        destination: &str,
        entry: &Arc<QueueEntry>,
        places: &[usize],
        kept: bool,
    ) -> Carried {
        let host = open.host.clone();
        if kept && let Err(error) = open.client.settle().await {
            return lost(&host, &error, kept, false, places.len());
        }
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
            wishes::unfit(entry, capabilities, clock::read().to_judge_age())
        };
        if let Some(reply) = refused {
            return Carried::refused(&Diagnosis::found_at(host, reply), places.len());
        }
        let field = if is_last { None } else { wishes::field(entry, places, capabilities) };
        let encoded = entry.eight_bit && !capabilities.eight_bit_mime;
        if encoded && !self.config.encode_signed && self.is_signed_by_others(entry).await {
            let text = "The host takes seven bits only, and to encode the message would break the signature of its author's domain";
            let diagnosis = Diagnosis::found_at(host, Reply::permanent((6, 3), text));
            return Carried::refused(&diagnosis, places.len());
        }
        let Some(begun) = self.begin(entry).await else {
            return Carried::of(Ok(self.leave(entry, places)));
        };
        let mut body = Source::new(Arc::clone(&self.store), Arc::clone(entry));
        let capabilities = open.client.capabilities();
        let message = message(entry, places, size, &Host { capabilities, is_last, now: seconds() });
        if encoded && let Some((fields, in_place_of)) = self.signed_anew(entry).await {
            body = body.with_beginning(fields, in_place_of);
        }
        if let Some(field) = field {
            body = body.behind(&field);
        }
        let sent = match open.client.send_told(message, &mut body).await {
            Ok(sent) => sent,
            Err(error) => {
                let heard = is_heard(&error, open);
                // The end of the connection came before the message, which nobody has then.
                let cut = matches!(error, ClientError::Closed(_) | ClientError::Io(_))
                    && !open.client.is_body_begun();
                return Carried { untouched: cut, cut, ..lost(&host, &error, kept, heard, places.len()) };
            }
        };
        open.messages += 1;
        let of_taken = |diagnosis| Outcome::Taken { diagnosis, reports, delivered: is_last, timed };
        let carried = judged(&host, &sent, places, of_taken);
        let outcomes = carried.outcomes.iter().flatten();
        self.under_way.took(entry.number, places.iter().copied().zip(outcomes));
        drop(begun);
        carried
    }
}

/// Puts what became of some of the places among what became of all.
pub(super) fn put(
    outcomes: &mut [Outcome],
    places: &[usize],
    some: &[usize],
    became: Result<Vec<Outcome>, Unreached>,
) {
    let became = became.unwrap_or_else(|unreached| vec![Outcome::Refused(unreached.diagnosis); some.len()]);
    for (place, outcome) in some.iter().zip(became) {
        let slot = places.iter().position(|other| other == place);
        if let Some(slot) = slot.and_then(|at| outcomes.get_mut(at)) {
            *slot = outcome;
        }
    }
}

/// What a host's replies mean for each recipient.
fn judged(host: &str, sent: &Sent, places: &[usize], of_taken: impl Fn(Diagnosis) -> Outcome) -> Carried {
    let Sent { addressed, replies } = sent;
    let somebody = replies.iter().any(Reply::is_positive);
    // RFC 5321 §3.8: after 421 the host closes, and takes nothing now.
    let closing = replies.iter().find(|reply| reply.code() == 421);
    let begun = addressed.mail.is_positive();
    let named = if begun { replies.len().saturating_sub(addressed.unnamed) } else { replies.len() };
    let accepted = |at: usize| begun && addressed.recipients.get(at).is_some_and(Reply::is_positive);
    let others = (0..named).any(accepted);
    if let Some(reply) = closing.filter(|_| !somebody) {
        let unreached = Unreached::all(Diagnosis::said(host, reply));
        return Carried { untouched: !others, ..Carried::of(Err(unreached)) };
    }
    // What is refused for now when the message has come is not sent again at once for others.
    let stalled = !somebody && (0..named).any(|at| accepted(at) && is_transient(replies, at));
    let (mut outcomes, mut rest) = (Vec::new(), Vec::new());
    for (at, reply) in replies.iter().enumerate() {
        let to_rcpt = begun && !accepted(at);
        let too_many = to_rcpt && others && is_too_many(reply);
        let unnamed = at >= named;
        let again = if unnamed { !stalled } else { too_many && somebody };
        if again && closing.is_none() {
            rest.extend(places.get(at).copied());
        }
        outcomes.push(match reply {
            reply if reply.is_positive() => of_taken(Diagnosis::said(host, reply)),
            // It has said nothing of them.
            reply if unnamed => Outcome::Refused(Diagnosis::found_at(host, reply.clone())),
            reply if too_many => Outcome::Refused(for_now(host, reply)),
            reply if to_rcpt => Outcome::Refused(Diagnosis::said_of_recipient(host, reply)),
            reply => Outcome::Refused(Diagnosis::said(host, reply)),
        });
    }
    Carried { rest, untouched: !others, ..Carried::of(Ok(outcomes)) }
}

fn is_transient(replies: &[Reply], at: usize) -> bool {
    replies.get(at).is_some_and(Reply::is_transient)
}

/// Whether a reply to RCPT says that the transaction has as many recipients as it may have. RFC 5321 §4.5.3.1.10: 452, and 552 of hosts
/// that go by RFC 821. A mailbox that is full has an enhanced code of its own (5.2.2), or is refused again when it is named alone.
fn is_too_many(reply: &Reply) -> bool {
    matches!(reply.code(), 452 | 552)
        && reply.enhanced().is_none_or(|(_, subject, detail)| (subject, detail) == (5, 3))
}

/// RFC 5321 §4.5.3.1.10: a 552 that means so is a temporary failure, and not a permanent one.
fn for_now(host: &str, reply: &Reply) -> Diagnosis {
    if !reply.is_permanent() {
        return Diagnosis::said(host, reply);
    }
    let text = reply.lines().collect::<Vec<_>>().join(" ");
    Diagnosis::found_at(host, Reply::transient((5, 3), format!("{} {text}", reply.code())))
}

/// Whether the host may have heard of the message before the connection was over.
fn is_heard(error: &ClientError, open: &mut Open) -> bool {
    match error {
        // It never began: the state of our own connection is no verdict on a message.
        ClientError::Misuse(misuse) if is_of_state(misuse) => false,
        ClientError::Closed(Closed::Eof | Closed::Refused(_)) | ClientError::Io(_) => {
            open.client.is_mail_answered()
        }
        _ => true,
    }
}

const fn is_of_state(misuse: &Misuse) -> bool {
    matches!(
        misuse,
        Misuse::Closed | Misuse::WrongState { .. } | Misuse::Busy | Misuse::BodyOpen | Misuse::NoBody
    )
}

/// What follows from a connection that came to nothing.
fn lost(host: &str, error: &ClientError, kept: bool, heard: bool, count: usize) -> Carried {
    let diagnosis = sending(host, error);
    if kept && heard {
        // The host may have the message; and that it had others says that it is there.
        return Carried::refused(&diagnosis, count);
    }
    let unreached = match error {
        ClientError::Body(_) | ClientError::Misuse(_) => Unreached::one(diagnosis),
        _ => Unreached::all(diagnosis),
    };
    Carried { unheard: !heard, ..Carried::of(Err(unreached)) }
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
        ClientError::Misuse(misuse) if !is_of_state(misuse) => Reply::permanent((5, 4), misuse.to_string()),
        // RFC 1047: whether the host has it is not known; better twice than never.
        _ => Reply::transient((4, 2), error.to_string()),
    };
    Diagnosis::found_at(host, reply)
}

#[cfg(test)]
mod tests;
