//! Messages that are held back until their time (FUTURERELEASE, RFC 4865): whole, in the queue, and then taken in as if they came now.

use bytes::Bytes;
use mailwright_mail_model::Address;
use mailwright_mailstore::{QueueEntry, RecipientState, Settlement, Spool, Store, Upload};
use mailwright_relay_policy::Session as Conversation;
use mailwright_smtp_proto::Reply;

use super::{
    Addressing, StoreInbox,
    commit::{About, refusal},
    deliver,
    filtering::Told,
    intake::{Intake, Source},
    journal,
    plan::{Origin, Way},
    timing::Times,
    trace_fields::now,
};
use crate::{
    filter::Filter,
    queue::{RELEASE, Release, Released, released_message, waiting},
};

/// How much is read from the store at a time, in octets.
const CHUNK: u64 = 256 * 1024;

impl<S: Store, R: Addressing, F: Filter> StoreInbox<S, R, F> {
    /// Puts a message into the queue until its time, for all of its recipients together; one reply for each.
    pub(super) async fn hold_back(&self, upload: &mut Upload, origin: &Origin<'_>, way: &Way) -> Vec<Reply> {
        let refused = way.recipients.iter().any(|(_, expansion)| expansion.is_err());
        let entry = way.held(origin, RELEASE);
        let reply = if refused {
            None
        } else {
            let batch = mailwright_mailstore::Batch::default().with_queue(vec![entry]);
            match upload.commit_batch(&batch).await {
                Ok(_) => {
                    journal::committed(origin.id, &batch, "until its time");
                    Some(Reply::queued(origin.id))
                }
                Err(failed) => Some(refusal(&failed.error)),
            }
        };
        let one = |expansion: &Result<_, Reply>| match (&reply, expansion) {
            (Some(reply), _) => reply.clone(),
            (None, Err(refusal)) => refusal.clone(),
            // Nobody has it: the client is told of those who refused.
            (None, Ok(_)) => Reply::transient((5, 0), "Not taken, for another recipient was refused"),
        };
        way.recipients.iter().map(|(_, expansion)| one(expansion)).collect()
    }

    async fn let_go(&self, entry: &QueueEntry) -> Vec<(usize, Reply)> {
        let places = waiting(entry);
        let all = |reply: &Reply| places.iter().map(|place| (*place, reply.clone())).collect();
        let Some(spool) = self.store.spool() else { return all(&Reply::INTERNAL) };
        let message = released_message(entry, &places);
        let mut session = Conversation::default();
        // Whoever submitted it was a user; what they may do was found out then.
        session.user = Some(entry.user.clone().unwrap_or_else(|| "MAILER-DAEMON".into()));
        session.mail = Some(message.mail.clone());
        let intake = Intake {
            store: &self.store,
            policy: &self.policy,
            authentication: None,
            hostname: &self.hostname,
            forwarder: None,
            delivered_to: "",
        };
        let mut source = Stored { spool, entry, at: 0 };
        let received = match intake.fetch(Some(entry.size), "", &mut source).await {
            Ok(received) => received,
            Err(reply) => return all(&reply),
        };
        let deliver::Received { mut upload, structure, .. } = received;
        let proved: Option<&Address> = message.mail.from.address().filter(|_| entry.user.is_some());
        let way = self.way(&session, &message, proved).await;
        let origin = Origin {
            message: &message,
            user: entry.user.as_deref(),
            id: &entry.id,
            date: now(),
            skip: entry.skip,
            eight_bit: entry.eight_bit,
            message_id: entry.message_id.clone(),
            times: Times::of_released(entry),
        };
        let settled = |way: &Way| settled(entry, &places, way);
        let (routes, date, rows, quarantine) = (&*self.routes, None, &[][..], false);
        let about = About { origin: &origin, routes, date, rows, settled: Some(&settled), quarantine };
        let replies = self.filter_and_commit(&mut upload, &structure, way, &about, Told::Nobody, true).await;
        places.into_iter().zip(replies).collect()
    }
}

impl<S: Store, R: Addressing, F: Filter> Release for StoreInbox<S, R, F> {
    fn release<'a>(&'a self, entry: &'a QueueEntry) -> Released<'a> {
        Box::pin(self.let_go(entry))
    }
}

/// What becomes of the entry in the commit by which these get the message: nobody gets it twice.
fn settled(entry: &QueueEntry, places: &[usize], way: &Way) -> Settlement {
    let mut left = entry.clone();
    for (place, (_, expansion)) in places.iter().zip(&way.recipients) {
        if let (Some(recipient), Ok(_)) = (left.recipients.get_mut(*place), expansion) {
            recipient.state = RecipientState::Delivered;
        }
    }
    let all = left.waiting().next().is_none();
    if all { Settlement::Remove(entry.number) } else { Settlement::Update(Box::new(left)) }
}

/// The octets of a message in the queue.
struct Stored<'a, Q> {
    spool: &'a Q,
    entry: &'a QueueEntry,
    at: u64,
}

impl<Q: Spool> Source for Stored<'_, Q> {
    async fn chunk(&mut self) -> Result<Option<Bytes>, Reply> {
        if self.at >= self.entry.size {
            return Ok(None);
        }
        let range = self.at..self.entry.size.min(self.at + CHUNK);
        let octets = self.spool.octets(self.entry, range).await.map_err(|error| refusal(&error))?;
        if octets.is_empty() {
            return Err(Reply::transient((3, 0), "The message cannot be read"));
        }
        self.at += octets.len() as u64;
        Ok(Some(octets))
    }
}
