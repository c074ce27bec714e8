//! Messages of the queue that are taken in as if they came now: those that were held back until their time (FUTURERELEASE, RFC 4865),
//! whole, and those for domains that have become ours.

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
    trace_fields::{now, return_path},
};
use crate::{
    filter::Filter,
    queue::{RELEASE, Release, Released, released_message},
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

    async fn let_go(&self, entry: &QueueEntry, places: &[usize]) -> Vec<(usize, Reply)> {
        let all = |reply: &Reply| places.iter().map(|place| (*place, reply.clone())).collect();
        let Some(spool) = self.store.spool() else { return all(&Reply::INTERNAL) };
        let message = released_message(entry, places);
        let held_back = entry.destination == RELEASE;
        let mut session = Conversation::default();
        session.user.clone_from(&entry.user);
        if held_back {
            // Whoever submitted it was a user; what they may do was found out then.
            session.user.get_or_insert_with(|| "MAILER-DAEMON".into());
        }
        session.mail = Some(message.mail.clone());
        let intake = Intake {
            store: &self.store,
            policy: &self.policy,
            authentication: None,
            hostname: &self.hostname,
            forwarder: None,
            delivered_to: "",
        };
        // RFC 5321 §4.4: who forwarded it meanwhile may have given it another sender.
        let front = return_path(&message.mail.from);
        let mut source = Stored { spool, entry, at: entry.skip };
        let size = entry.size.saturating_sub(entry.skip) + front.len() as u64;
        let received = match intake.fetch(Some(size), &front, &mut source).await {
            Ok(received) => received,
            Err(reply) => return all(&reply),
        };
        let deliver::Received { mut upload, structure, .. } = received;
        let proved: Option<&Address> = message.mail.from.address().filter(|_| entry.user.is_some());
        let mut way = self.way(&session, &message, proved).await;
        if !held_back {
            // Those that are made of every message were made when it came.
            let made = self.addressing.copies(proved, &[]);
            way.copies.retain(|(to, _)| made.iter().all(|copy| to.address() != Some(&copy.to)));
        }
        let origin = Origin {
            message: &message,
            user: entry.user.as_deref(),
            id: &entry.id,
            date: now(),
            skip: front.len() as u64,
            eight_bit: entry.eight_bit,
            message_id: entry.message_id.clone(),
            times: Times::of_released(entry),
        };
        let settled = |way: &Way| settled(entry, places, way);
        let (routes, date, rows, quarantine) = (&*self.routes, None, &[][..], false);
        let about = About { origin: &origin, routes, date, rows, settled: Some(&settled), quarantine };
        let replies = self.filter_and_commit(&mut upload, &structure, way, &about, Told::Nobody, true).await;
        places.iter().copied().zip(replies).collect()
    }
}

impl<S: Store, R: Addressing, F: Filter> Release for StoreInbox<S, R, F> {
    fn release<'a>(&'a self, entry: &'a QueueEntry, places: &'a [usize]) -> Released<'a> {
        Box::pin(self.let_go(entry, places))
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
