//! Mail that was held back until its time (FUTURERELEASE, RFC 4865).

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, PoisonError, RwLock, Weak},
};

use mailwright_mailstore::{QueueEntry, Store};
use mailwright_relay_policy::{delivery::Diagnosis, dns::Resolve};
use mailwright_smtp_proto::{Capabilities, Message, Reply};

use super::{
    Outcome, Queue,
    attempt::{Attempted, each},
    envelope::{Host, message},
    report::seconds,
    scheduler::Contact,
};
use crate::smtp::Addressing;

/// The destination of entries that are taken in anew at their time.
pub(crate) const RELEASE: &str = "release:";

/// What takes in mail that was held back until now: a [`StoreInbox`](crate::smtp::StoreInbox).
pub trait Release: Send + Sync {
    /// Delivers an entry to those of its recipients that wait, or queues it for them, and takes it out of the queue in the same commit. One
    /// reply for each of them, by their places.
    fn release<'a>(&'a self, entry: &'a QueueEntry) -> Released<'a>;
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
    /// [holds it back](crate::smtp::StoreInbox::with_longest_hold). It is kept for as long as somebody else keeps it; the one
    /// that was named last counts.
    pub fn release_to<I: Release + 'static>(&self, inbox: &Arc<I>) {
        let inbox: Weak<I> = Arc::downgrade(inbox);
        *self.releases.0.write().unwrap_or_else(PoisonError::into_inner) = Some(inbox);
    }

    /// Lets an entry go, if it is one of those.
    pub(super) async fn let_go(&self, entry: &QueueEntry) -> Option<Attempted> {
        if entry.destination != RELEASE {
            return None;
        }
        let Some(inbox) = self.releases.inbox() else {
            let reply = Reply::transient((3, 5), "Nobody is here who takes in what was held back");
            return Some(each(entry, |_| Outcome::Refused(Diagnosis::found(reply.clone()))));
        };
        let outcome = |(place, reply): (usize, Reply)| {
            let (taken, diagnosis) = (reply.is_positive(), Diagnosis::found(reply));
            // What was asked to be told of it is told by whoever has it now.
            let outcome = match taken {
                true => Outcome::Taken { diagnosis, reports: true, delivered: true, timed: true },
                false => Outcome::Refused(diagnosis),
            };
            (place, outcome)
        };
        let outcomes = inbox.release(entry).await.into_iter().map(outcome).collect();
        Some(Attempted { outcomes, contact: Contact::Unknown, failure: None })
    }
}

/// The message of an entry for these of its recipients, with all that was asked for it.
pub(crate) fn released_message(entry: &QueueEntry, places: &[usize]) -> Message {
    let mut capabilities = Capabilities::default();
    (capabilities.require_tls, capabilities.valid_since) = (true, true);
    let host = Host { capabilities: &capabilities, is_last: false, now: seconds() };
    message(entry, places, entry.size.saturating_sub(entry.skip), &host)
}
