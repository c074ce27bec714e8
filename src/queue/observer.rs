//! Telling what becomes of messages that are sent on: the log, the list of addresses that are left alone, and whoever listens.

use std::{fmt, sync::atomic::Ordering};

use mailwright_mailstore::{QueueEntry, Store};
use mailwright_relay_policy::{
    delivery::{LocalTarget, Suppression},
    dns::Resolve,
};

use super::{Outcome, Queue, fallback::is_listing, judge::Judgement, report::seconds};
use crate::smtp::Addressing;

/// Hears of every attempt to send a message on, once it is written down what came of it. Told within the delivery, so it answers from
/// memory; a channel is enough. A crash in between keeps an attempt from it: what counts is what is in the store.
pub trait DeliveryObserver: Send + Sync {
    /// An attempt has ended. The entry is as it is from now on; `tried` are the places, in it, of the recipients that were tried. Their
    /// [`state`](mailwright_mailstore::QueueRecipient::state) says what became of each: delivered; given up; or still waiting, to be tried
    /// again when the entry is [`due`](QueueEntry::due). What was said is in
    /// [`last_error`](mailwright_mailstore::QueueRecipient::last_error), also where it is good.
    fn attempted(&self, entry: &QueueEntry, tried: &[usize]);
}

impl fmt::Debug for dyn DeliveryObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeliveryObserver")
    }
}

impl<S, R, P> Queue<S, R, P>
where
    S: Store + 'static,
    R: Resolve + 'static,
    P: Addressing + 'static,
{
    /// Tells whoever listens.
    pub(super) fn observed(&self, judgement: &Judgement) {
        if let Some(observer) = &self.config.observer {
            observer.attempted(&judgement.entry, &judgement.tried);
        }
    }

    /// What an answer says of the address.
    pub(super) fn remember(&self, entry: &QueueEntry, place: usize, outcome: &Outcome) {
        let Some((list, recipient)) = self.config.suppressions.as_ref().zip(entry.recipients.get(place))
        else {
            return;
        };
        // What a program of ours says of an address of ours is no reason to leave that alone.
        if entry.destination.parse::<LocalTarget>().is_ok() {
            return;
        }
        match outcome {
            Outcome::Taken { .. } => list.taken(&recipient.address),
            Outcome::Refused(diagnosis) if Suppression::is_hard(diagnosis) && !is_listing(outcome) => {
                list.refused(&recipient.address)
            }
            _ => {}
        }
    }

    /// Writes a line of the log.
    pub(super) fn log(&self, entry: &QueueEntry, place: usize, outcome: &Outcome) {
        let Some(recipient) = entry.recipients.get(place) else { return };
        let (status, diagnosis) = match outcome {
            Outcome::Taken { diagnosis, .. } => {
                self.delivered.fetch_add(1, Ordering::Relaxed);
                ("sent", diagnosis)
            }
            Outcome::Expanded(diagnosis) => ("expanded", diagnosis),
            Outcome::Refused(diagnosis) if diagnosis.is_permanent() => ("bounced", diagnosis),
            Outcome::Refused(diagnosis) => ("deferred", diagnosis),
        };
        let delay = seconds().saturating_sub(entry.arrival);
        tracing::info!(
            id = entry.id,
            from = %entry.sender,
            to = %recipient.address,
            destination = entry.destination,
            delay,
            status,
            reply = %diagnosis,
            "sent on"
        );
    }
}
