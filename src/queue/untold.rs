//! Reports whose reader cannot get them now. They wait in the queue by themselves: what they tell of is written down at once, so that
//! nothing is sent twice for a report, and nobody's trouble keeps a place that others need.

use std::collections::HashMap;

use mailwright_mail_model::{ForwardPath, ReversePath};
use mailwright_mailstore::{
    Batch, Notify, QueueEntry, Settlement, Spool, Store, StoreError, Upload, Write, clock,
};
use mailwright_relay_policy::{Session, delivery::Diagnosis, directory::Expansion, dns::Resolve};
use mailwright_smtp_proto::{Mail, MailParameters, Message, Rcpt, Reply};

use super::{
    Outcome, Queue,
    attempt::{Attempted, each},
};
use crate::smtp::{Addressing, Origin, Plan, Times, Way, journal, now};

/// The destination of these entries.
pub(super) const UNTOLD: &str = "report:untold";

/// How much is read from the store at a time, in octets.
const CHUNK: u64 = 256 * 1024;

impl<S, R, P> Queue<S, R, P>
where
    S: Store + 'static,
    R: Resolve + 'static,
    P: Addressing + 'static,
{
    /// Commits a report for everybody its recipient stands for, together with what it tells of. If nobody can get it now, or nobody knows
    /// whom it is for, it waits in the queue, in the same commit: what was said then.
    ///
    /// # Errors
    /// If the store takes nothing.
    pub(super) async fn commit_report(
        &self,
        upload: &mut Upload,
        origin: &Origin<'_>,
        expansion: Result<Expansion, Reply>,
        settle: &[Settlement],
    ) -> Result<Result<(), Reply>, StoreError> {
        let reply = match self.spread(upload, origin, expansion, settle).await? {
            Ok(()) => return Ok(Ok(())),
            Err(reply) => reply,
        };
        let mut entry = way(origin, Err(reply.clone())).held(origin, UNTOLD);
        (entry.attempts, entry.attempted) = (1, Some(entry.arrival));
        entry.due = entry.arrival.saturating_add(self.config.retry.first.as_secs());
        entry.last_error = Some(Diagnosis::found(reply.clone()).to_string());
        // RFC 3461 §6.1: of a report nobody wants to hear.
        entry.recipients.iter_mut().for_each(|recipient| recipient.notify = Notify::NEVER);
        let batch = Batch::default().with_queue(vec![entry]).with_settlements(settle.to_vec());
        upload.commit_batch(&batch).await.map_err(|error| error.error)?;
        journal::committed(origin.id, &batch, "a report, until its reader can get it");
        Ok(Err(reply))
    }

    /// Commits a message of ours for everybody who can get it, or gives why nobody can now. One mailbox that is full is no reason that the
    /// others hear nothing.
    async fn spread(
        &self,
        upload: &mut Upload,
        origin: &Origin<'_>,
        expansion: Result<Expansion, Reply>,
        settle: &[Settlement],
    ) -> Result<Result<(), Reply>, StoreError> {
        let mut way = way(origin, expansion);
        loop {
            if let Some((_, Err(reply))) = way.recipients.first() {
                return Ok(Err(reply.clone()));
            }
            let impossible = |reply: Reply| StoreError::Invalid(reply.to_string().trim_end().to_owned());
            let plan = Plan::new(&ReversePath::Null, &way).map_err(impossible)?;
            // Reports are not filtered: nothing may answer them, and nobody may miss them.
            let (batch, places) = plan.batch(origin, &HashMap::new(), &self.config.routes);
            let mut batch = batch.with_settlements(settle.to_vec());
            // RFC 3461 §6.1: of a report nobody wants to hear.
            let recipients = batch.queue.iter_mut().flat_map(|entry| &mut entry.recipients);
            recipients.for_each(|recipient| recipient.notify = Notify::NEVER);
            let Err(failed) = upload.commit_batch(&batch).await else {
                journal::committed(origin.id, &batch, "a report");
                return Ok(Ok(()));
            };
            let place = failed.target.and_then(|target| places.get(target).copied());
            let account = place.and_then(|place| plan.account(place));
            // No room at all is not the matter of one mailbox.
            let account = account.filter(|_| !matches!(failed.error, StoreError::Full(_)));
            let Some(account) = account else { return Err(failed.error) };
            tracing::warn!(id = origin.id, %account, error = %failed.error, "a report leaves out a mailbox");
            if !way.go_without(account) {
                // A mailbox may be emptied.
                return Ok(Err(Reply::transient((2, 0), failed.error.to_string())));
            }
        }
    }

    /// Tries again to tell what waits to be told, if an entry is that.
    pub(super) async fn tell_again(&self, entry: &QueueEntry) -> Option<Attempted> {
        if entry.destination != UNTOLD {
            return None;
        }
        let outcome = match self.told(entry).await {
            Ok(()) => {
                let diagnosis = Diagnosis::found(Reply::positive((1, 5), "Told"));
                Outcome::Taken { diagnosis, reports: true, delivered: true, timed: true }
            }
            Err(reply) => Outcome::Refused(Diagnosis::found(reply)),
        };
        Some(each(entry, |_| outcome.clone()))
    }

    async fn told(&self, entry: &QueueEntry) -> Result<(), Reply> {
        let Some(recipient) = entry.waiting().next() else { return Ok(()) };
        let to = ForwardPath::Address(recipient.address.clone());
        let Err(reply) = self.pass_on(entry, to).await else { return Ok(()) };
        let lifetime = self.config.retry.lifetime_of_reports.as_secs();
        let end = entry.expires.unwrap_or_else(|| entry.began().saturating_add(lifetime));
        if reply.is_permanent() || clock::read().to_judge_age() >= end {
            // RFC 3461 §6.1: somebody hears of it.
            match self.pass_on(entry, ForwardPath::Postmaster).await {
                Ok(()) => {
                    tracing::warn!(id = entry.id, "the postmaster gets a report that its reader cannot get")
                }
                Err(reply) => {
                    let reply = reply.to_string();
                    tracing::error!(id = entry.id, reply = reply.trim_end(), "nobody gets a report");
                }
            }
        }
        Err(reply)
    }

    /// Gives a report that waits to somebody, and takes it out of the queue in the same commit.
    async fn pass_on(&self, entry: &QueueEntry, to: ForwardPath) -> Result<(), Reply> {
        let mut session = Session::default();
        session.user = Some("MAILER-DAEMON".into());
        let expansion = self.addressing.expand(&session, &to).await?;
        let mut parameters = MailParameters::default();
        (parameters.smtputf8, parameters.require_tls) = (entry.smtputf8, entry.require_tls);
        let mail = Mail::new(ReversePath::Null).with_parameters(parameters);
        let message = Message::new(mail, vec![Rcpt::new(to)]);
        let origin = Origin {
            message: &message,
            user: None,
            id: &entry.id,
            date: now(),
            skip: entry.skip,
            eight_bit: entry.eight_bit,
            message_id: entry.message_id.clone(),
            times: Times::default(),
        };
        let failed = |error: StoreError| {
            tracing::error!(id = entry.id, %error, "a report cannot be passed on");
            Reply::transient((3, 0), error.to_string())
        };
        let mut upload = self.copied(entry).await.map_err(failed)?;
        let settle = [Settlement::Remove(entry.number)];
        self.spread(&mut upload, &origin, Ok(expansion), &settle).await.map_err(failed)?
    }

    /// The message of an entry once more.
    async fn copied(&self, entry: &QueueEntry) -> Result<Upload, StoreError> {
        let writer = self.store.writer().ok_or_else(|| StoreError::Invalid("expected a writer".into()))?;
        let (mut upload, mut at) = (writer.begin(Some(entry.size)).await?, 0);
        while at < entry.size {
            let chunk = self.spool()?.octets(entry, at..entry.size.min(at + CHUNK)).await?;
            if chunk.is_empty() {
                return Err(StoreError::Corrupt("a message without its end".into()));
            }
            at += chunk.len() as u64;
            upload.write(chunk).await?;
        }
        Ok(upload)
    }
}

/// The way of a message of ours to its one recipient.
fn way(origin: &Origin<'_>, expansion: Result<Expansion, Reply>) -> Way {
    let mut way = Way::default();
    let to = origin.message.recipients.first().map(|rcpt| rcpt.to.clone());
    way.recipients.extend(to.map(|to| (to, expansion)));
    way
}

#[cfg(test)]
mod tests;
