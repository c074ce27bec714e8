//! Mail of the queue that is taken in as if it came now: what was held back until its time (FUTURERELEASE, RFC 4865), and what was to
//! go elsewhere and is for a domain of ours by now.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, PoisonError, RwLock, Weak},
};

use mailwright_mailstore::{QueueEntry, Store};
use mailwright_relay_policy::{
    delivery::{Diagnosis, LocalTarget},
    dns::Resolve,
};
use mailwright_smtp_proto::{Capabilities, Message, Reply, VerpDelimiters};

use super::{
    DELIVERED, EXPANDED, Outcome, Queue, UNDELIVERED,
    attempt::{Attempted, each},
    envelope::{Host, message},
    report::seconds,
    run::waiting,
    scheduler::Contact,
    untold::UNTOLD,
};
use crate::smtp::Addressing;

/// The destination of entries that are taken in anew at their time.
pub(crate) const RELEASE: &str = "release:";
/// The destination of entries for somebody whose domain has become ours. None is put off because of what others met.
pub(super) const OURS: &str = "ours:";

/// What takes in mail of the queue: a [`StoreInbox`](crate::smtp::StoreInbox).
pub trait Release: Send + Sync {
    /// Delivers an entry to those of its recipients that are at these places, or queues it for them, and takes them out of the entry in the
    /// same commit: the whole entry, if nobody else waits. One reply for each of them, by their places.
    fn release<'a>(&'a self, entry: &'a QueueEntry, places: &'a [usize]) -> Released<'a>;
}

/// The replies of a [`Release`], by the places of the recipients they are for.
pub type Released<'a> = Pin<Box<dyn Future<Output = Vec<(usize, Reply)>> + Send + 'a>>;

/// What does it, if somebody does.
#[derive(Default)]
pub(super) struct Releases(RwLock<Option<Weak<dyn Release>>>);

impl Releases {
    fn inbox(&self) -> Option<Arc<dyn Release>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref()?.upgrade()
    }
}

impl fmt::Debug for Releases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Releases").field(&self.inbox().is_some()).finish()
    }
}

impl<S, R, P> Queue<S, R, P>
where
    S: Store + 'static,
    R: Resolve + 'static,
    P: Addressing + 'static,
{
    /// Gives mail that was held back to this inbox when its time has come: the one that
    /// [holds it back](crate::smtp::StoreInbox::with_longest_hold). It gets as well what waits for domains that [have become
    /// ours](crate::smtp::Addressing::delivers); without it, that goes to where routes lead. It is kept for as long as somebody else keeps
    /// it; the one that was named last counts.
    pub fn release_to<I: Release + 'static>(&self, inbox: &Arc<I>) {
        let inbox: Weak<I> = Arc::downgrade(inbox);
        *self.releases.0.write().unwrap_or_else(PoisonError::into_inner) = Some(inbox);
    }

    /// Lets an entry go, if it is one of those that were held back.
    pub(super) async fn let_go(&self, entry: &QueueEntry) -> Option<Attempted> {
        if entry.destination != RELEASE {
            return None;
        }
        if self.releases.inbox().is_none() {
            let reply = Reply::transient((3, 5), "Nobody is here who takes in what was held back");
            return Some(each(entry, |_| Outcome::Refused(Diagnosis::found(reply.clone()))));
        }
        let outcomes = self.take_in(entry, &waiting(entry)).await;
        Some(Attempted { outcomes, contact: Contact::Unknown, failure: None })
    }

    /// Takes in the mail of an entry for these of its recipients.
    pub(super) async fn take_in(&self, entry: &QueueEntry, places: &[usize]) -> Vec<(usize, Outcome)> {
        let inbox = if places.is_empty() { None } else { self.releases.inbox() };
        let Some(inbox) = inbox else { return Vec::new() };
        let outcome = |(place, reply): (usize, Reply)| {
            let (taken, diagnosis) = (reply.is_positive(), Diagnosis::found(reply));
            // What was asked to be told of it is told by whoever has it now.
            let outcome = match taken {
                true => Outcome::Taken { diagnosis, reports: true, delivered: true, timed: true },
                false => Outcome::Refused(diagnosis),
            };
            (place, outcome)
        };
        inbox.release(entry, places).await.into_iter().map(outcome).collect()
    }

    /// The places of those who wait and whose domain is ours by now. What somebody has given another way goes that way.
    pub(super) fn ours(&self, entry: &QueueEntry) -> Vec<usize> {
        let mut places = waiting(entry);
        if entry.route.is_some() || self.releases.inbox().is_none() {
            return Vec::new();
        }
        let address = |place: &usize| entry.recipients.get(*place).map(|recipient| &recipient.address);
        places.retain(|place| address(place).is_some_and(|address| self.addressing.delivers(address)));
        places
    }

    /// The destination that an entry has by now, if that is another than it was: where its recipients who wait lead to, if all lead to
    /// one. It stands beside what else goes there then, and is not put off with what has stayed.
    pub(super) fn moved(&self, entry: &QueueEntry) -> Option<String> {
        if entry.route.is_some() || !goes_on(entry) {
            return None;
        }
        let now = match self.ours(entry)[..] {
            [] => {
                let mut ways =
                    entry.waiting().map(|recipient| self.config.routes.next_hop(&recipient.address));
                let first = ways.next()?;
                ways.all(|other| other == first).then(|| first.destination())?
            }
            _ => OURS.to_owned(),
        };
        (now != entry.destination).then_some(now)
    }
}

/// Whether an entry is sent to other hosts: it is not one that is there to be told of, to be taken in at its time, or for a file or a
/// program of this machine.
pub(super) fn goes_on(entry: &QueueEntry) -> bool {
    let special = [DELIVERED, EXPANDED, UNDELIVERED, UNTOLD, RELEASE].contains(&&*entry.destination);
    !special && entry.destination.parse::<LocalTarget>().is_err()
}

/// The message of an entry for these of its recipients, with all that was asked for it.
pub(crate) fn released_message(entry: &QueueEntry, places: &[usize]) -> Message {
    let mut capabilities = Capabilities::default();
    (capabilities.require_tls, capabilities.valid_since) = (true, true);
    let host = Host { capabilities: &capabilities, is_last: false, now: seconds() };
    let mut message = message(entry, places, entry.size.saturating_sub(entry.skip), &host);
    message.mail.parameters.verp = entry.verp.as_deref().and_then(|delimiters| {
        let mut letters = delimiters.chars();
        VerpDelimiters::new(letters.next()?, letters.next()?)
    });
    message
}
