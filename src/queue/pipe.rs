//! Mail for files and programs of this machine.

use std::sync::Arc;

use mailwright_mailstore::{QueueEntry, RecipientState, Store};
use mailwright_relay_policy::{delivery::Diagnosis, dns::Resolve};
use mailwright_smtp_proto::Reply;

use super::{Outcome, Place, Queue, attempt::Attempted, scheduler::Contact, source::Source};
use crate::smtp::Addressing;

impl<S, R, P> Queue<S, R, P>
where
    S: Store + 'static,
    R: Resolve + 'static,
    P: Addressing + 'static,
{
    /// Hands an entry over whole. What one message meets there says nothing of the next.
    pub(super) async fn hand(&self, place: Place, entry: &Arc<QueueEntry>) -> Attempted {
        let waiting = entry.recipients.iter().enumerate();
        let places: Vec<usize> = waiting
            .filter(|(_, recipient)| recipient.state == RecipientState::Waiting)
            .map(|(place, _)| place)
            .collect();
        let outcomes = self.pipe(&place, entry, &places).await;
        let outcomes = places.into_iter().zip(outcomes).collect();
        Attempted { outcomes, contact: Contact::Unknown, failure: None }
    }

    /// Hands the message over, once for each recipient.
    pub(super) async fn pipe(
        &self,
        place: &Place,
        entry: &Arc<QueueEntry>,
        places: &[usize],
    ) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let recipients = places.iter().filter_map(|place| Some((*place, entry.recipients.get(*place)?)));
        for (at, recipient) in recipients {
            let Some(pipes) = &self.config.pipes else {
                let reply = Reply::transient((3, 5), "Programs are not enabled here");
                outcomes.push(Outcome::Refused(Diagnosis::found(reply)));
                continue;
            };
            let Some(begun) = self.begin(entry).await else {
                outcomes.extend(self.leave(entry, &[at]));
                continue;
            };
            let body = Source::new(Arc::clone(&self.store), Arc::clone(entry));
            let outcome = match pipes.run(place, entry, recipient, Box::pin(body)).await {
                Ok(()) => {
                    let diagnosis = Diagnosis::found(Reply::OK);
                    Outcome::Taken { diagnosis, reports: false, delivered: true, timed: true }
                }
                Err(diagnosis) => Outcome::Refused(diagnosis),
            };
            self.under_way.took(entry.number, [(at, &outcome)]);
            drop(begun);
            outcomes.push(outcome);
        }
        outcomes
    }
}
