//! Reports to senders, into their mailboxes or back into the queue.

use bytes::Bytes;
use mailwright_mail_model::{DateTime, ForwardPath, ReversePath};
use mailwright_mailstore::{QueueEntry, ReturnContent, Settlement, Spool, Store, StoreError, Write};
use mailwright_relay_policy::{
    Session,
    delivery::{Action, Diagnosis, Report, ReportedRecipient, Returned},
    dns::Resolve,
};
use mailwright_smtp_proto::{Mail, MailParameters, Message, Rcpt};

use super::{Queue, judge::Judgement};
use crate::smtp::{Addressing, Origin, Times, now, queue_id};

/// How much is read from the store at a time, and of a header that has no end.
const CHUNK: u64 = 64 * 1024;

impl<S, R, P> Queue<S, R, P>
where
    S: Store + 'static,
    R: Resolve + 'static,
    P: Addressing + 'static,
{
    /// Writes down what was judged: the entry as it is now, and the reports, all in one commit if there is one report, as
    /// there nearly always is.
    ///
    /// # Errors
    /// If the store takes nothing now. What it took is no more in the judgement then.
    pub(super) async fn settle(&self, judgement: &mut Judgement) -> Result<(), StoreError> {
        let settlement = match judgement.stays {
            true => Settlement::Attempted(Box::new(judgement.entry.clone()), judgement.began),
            false => Settlement::Remove(judgement.entry.number),
        };
        self.settle_with(judgement, settlement).await
    }

    /// The same, with something else to write down of the entry.
    ///
    /// # Errors
    /// As above.
    pub(super) async fn settle_with(
        &self,
        judgement: &mut Judgement,
        settlement: Settlement,
    ) -> Result<(), StoreError> {
        let entry = judgement.entry.clone();
        let mut settle = vec![settlement];
        while let Some((action, recipients)) = judgement.reports.first().cloned() {
            // The entry is settled with the last of them: a crash before repeats a report and loses none.
            let last = judgement.reports.len() == 1;
            let with = if last { std::mem::take(&mut settle) } else { Vec::new() };
            match self.report(&entry, action, recipients, with.clone()).await {
                Ok(()) => {}
                // Without room for a report there may be room still to forget the entry: nobody would hear of it then.
                Err(error @ (StoreError::Full(_) | StoreError::ReadOnly(_) | StoreError::Unavailable(_))) => {
                    return Err(error);
                }
                Err(error) => {
                    tracing::error!(id = entry.id, %error, "a report cannot be made");
                    if last {
                        settle = with;
                    }
                }
            }
            judgement.reports.remove(0);
        }
        if settle.is_empty() { Ok(()) } else { self.spool()?.settle(&settle).await }
    }

    /// Tells the sender, if there is one who can be told.
    async fn report(
        &self,
        entry: &QueueEntry,
        action: Action,
        recipients: Vec<(usize, Diagnosis)>,
        settle: Vec<Settlement>,
    ) -> Result<(), StoreError> {
        let Some(sender) = entry.sender.address() else {
            return self.spool()?.settle(&settle).await;
        };
        // Whoever wrote it is one of ours, or is told by way of those who are.
        let mut session = Session::default();
        session.user = Some("MAILER-DAEMON".into());
        let to = ForwardPath::Address(sender.clone());
        let expansion = self.addressing.expand(&session, &to).await;
        if let Some(reply) = expansion.as_ref().err().filter(|reply| reply.is_permanent()) {
            // Nobody is left to be told.
            tracing::warn!(id = entry.id, %sender, reply = %reply.to_string().trim_end(), "the sender of a message cannot be told");
            return self.spool()?.settle(&settle).await;
        }
        let id = queue_id().map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let report = self.describe(entry, action, recipients, &id, sender.clone());
        let writer = self.store.writer().ok_or_else(|| StoreError::Invalid("expected a writer".into()))?;
        let signatures = self.signatures(entry, &report).await?;
        let mut upload = writer.begin(None).await?;
        let path = "Return-Path: <>\r\n";
        upload.write(Bytes::from_static(path.as_bytes())).await?;
        let head = report.head();
        // RFC 6152 §3: what it says itself counts as well, for addresses may be beyond ASCII.
        let eight_bit = report.eight_bit || !head.is_ascii();
        upload.write(Bytes::from(signatures + &head)).await?;
        let mut place = entry.skip;
        while let Some(chunk) = self.returned(entry, report.returned, &mut place).await? {
            upload.write(chunk).await?;
        }
        upload.write(Bytes::from(report.tail())).await?;
        let mut parameters = MailParameters::default();
        parameters.smtputf8 = !sender.is_ascii();
        // RFC 8689 §5: what it returns was to be protected.
        parameters.require_tls = entry.require_tls;
        let mail = Mail::new(ReversePath::Null).with_parameters(parameters);
        let message = Message::new(mail, vec![Rcpt::new(to)]);
        let origin = Origin {
            message: &message,
            user: None,
            id: &id,
            date: now(),
            skip: path.len() as u64,
            eight_bit,
            message_id: Some(format!("<{}@{}>", report.unique, report.reporter)),
            times: Times::default(),
        };
        match self.commit_report(&mut upload, &origin, expansion, &settle).await? {
            Ok(()) => tracing::info!(id = entry.id, report = id, ?action, to = %sender, "sender told"),
            Err(reply) => {
                let reply = reply.to_string();
                tracing::warn!(id = entry.id, report = id, ?action, to = %sender, reply = reply.trim_end(), "the sender is told later");
            }
        }
        Ok(())
    }

    fn describe(
        &self,
        entry: &QueueEntry,
        action: Action,
        recipients: Vec<(usize, Diagnosis)>,
        id: &str,
        sender: mailwright_mail_model::Address,
    ) -> Report {
        let date = |seconds: u64| i64::try_from(seconds).ok().and_then(|seconds| DateTime::new(seconds, 0));
        let arrival = date(entry.arrival).unwrap_or(DateTime::EPOCH);
        let reporter = self.config.hostname.as_str().to_owned();
        let mut report = Report::new(action, reporter, sender, arrival, now());
        id.clone_into(&mut report.unique);
        report.queue_id.clone_from(&entry.id);
        report.envelope_id.clone_from(&entry.envelope_id);
        let given_up = entry.began() + self.config.retry.lifetime.as_secs();
        // RFC 2852: or when the sender wants it back.
        let deadline = entry.deadline.filter(|deadline| deadline.gives_up);
        report.retry_until = date(deadline.map_or(given_up, |deadline| given_up.min(deadline.at)));
        (report.eight_bit, report.internationalized) = (entry.eight_bit, entry.smtputf8);
        let wanted = entry.return_content.unwrap_or(ReturnContent::Full);
        // RFC 3461 §4.3: RET is about failure; other reports return the header.
        let whole = wanted == ReturnContent::Full
            && action == Action::Failed
            // RFC 8689 §5
            && !entry.require_tls
            && entry.size <= self.config.returned_octets;
        report.returned = if whole { Returned::Full } else { Returned::Headers };
        report.recipients = recipients
            .into_iter()
            .filter_map(|(place, diagnosis)| {
                let recipient = entry.recipients.get(place)?;
                let mut reported = ReportedRecipient::new(recipient.address.clone(), diagnosis);
                reported.original.clone_from(&recipient.original);
                reported.attempted = entry.attempted.and_then(date);
                Some(reported)
            })
            .collect();
        report
    }

    /// The next part of what a report returns of the message, from `place` on; `None` at its end.
    pub(super) async fn returned(
        &self,
        entry: &QueueEntry,
        returned: Returned,
        place: &mut u64,
    ) -> Result<Option<Bytes>, StoreError> {
        if *place >= entry.size {
            return Ok(None);
        }
        let end = match returned {
            Returned::Full => entry.size,
            Returned::Headers => entry.size.min(*place + CHUNK),
        };
        let chunk = self.spool()?.octets(entry, *place..end).await?;
        if returned == Returned::Headers {
            *place = entry.size;
            let end = chunk.windows(4).position(|four| four == b"\r\n\r\n").map_or(chunk.len(), |at| at + 2);
            return Ok(Some(chunk.slice(..end.min(chunk.len()))));
        }
        if chunk.is_empty() {
            return Err(StoreError::Corrupt("a message without its end".into()));
        }
        *place += chunk.len() as u64;
        Ok(Some(chunk))
    }
}

/// Now, in seconds since 1970.
pub(super) fn seconds() -> u64 {
    u64::try_from(now().seconds()).unwrap_or(0)
}
