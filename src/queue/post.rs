//! Messages that this server writes itself.

use std::collections::HashMap;

use bytes::Bytes;
use mailwright_mail_model::{Address, ForwardPath, ReversePath};
use mailwright_mailstore::{Batch, Notify, Store, StoreError, Write};
use mailwright_relay_policy::{Session, authentication::Examiner, dns::Resolve};
use mailwright_smtp_proto::{Mail, Message, Rcpt, Reply};

use super::Queue;
use crate::smtp::{Addressing, Origin, Plan, Times, Way, now, queue_id, return_path};

impl<S, R, P> Queue<S, R, P>
where
    S: Store + 'static,
    R: Resolve + 'static,
    P: Addressing + 'static,
{
    /// Sends a message that this server wrote, from nobody, so that nothing comes back: to a mailbox here, or by way of the
    /// queue. It is signed if the domain of this host, or one above it, has a key.
    ///
    /// `message` is ASCII, with its header; its lines end with CRLF.
    ///
    /// # Errors
    /// If the address is refused, or the store takes nothing.
    pub async fn post(&self, to: &Address, message: String) -> Result<(), StoreError> {
        let (mut signatures, this) = (String::new(), self.current());
        if let Some((signing, domain)) = this.config.signing.as_ref().zip(this.signing_domain()) {
            let mut examiner = Examiner::new().without_verifying().for_signing();
            examiner.push(message.as_bytes());
            signatures = signing.signatures(std::iter::once(domain), &examiner.finish());
        }
        self.submit(ReversePath::Null, to.clone(), None, Bytes::from(signatures + &message)).await.map(drop)
    }

    /// Puts a message of the server's own on its way as it is, into mailboxes here or into the queue, and gives the id it has
    /// there. It is not filtered and not signed; of 7-bit lines that end in CRLF. If it is from nobody, nothing is reported of it.
    ///
    /// # Errors
    /// As for [`post`](Self::post).
    pub async fn submit(
        &self,
        sender: ReversePath,
        to: Address,
        message_id: Option<String>,
        octets: Bytes,
    ) -> Result<String, StoreError> {
        let from_nobody = sender == ReversePath::Null;
        let message = Message::new(Mail::new(sender), vec![Rcpt::new(ForwardPath::Address(to))]);
        let impossible =
            |(_, reply): (_, Reply)| StoreError::Invalid(reply.to_string().trim_end().to_owned());
        let way = self.way(&message).await.map_err(impossible)?;
        let front = return_path(&message.mail.from);
        let writer = self.store.writer().ok_or_else(|| StoreError::Invalid("expected a writer".into()))?;
        let mut upload = writer.begin(Some((front.len() + octets.len()) as u64)).await?;
        let skip = front.len() as u64;
        upload.write(Bytes::from(front)).await?;
        upload.write(octets).await?;
        let id = queue_id().map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let (user, date, eight_bit, times) = (None, now(), false, Times::default());
        let origin = Origin { message: &message, user, id: &id, date, skip, eight_bit, message_id, times };
        let mut batch = self.batch(&origin, &way)?;
        if from_nobody {
            let recipients = batch.queue.iter_mut().flat_map(|entry| &mut entry.recipients);
            recipients.for_each(|recipient| recipient.notify = Notify::NEVER);
        }
        upload.commit_batch(&batch).await.map_err(|error| error.error)?;
        Ok(id)
    }

    /// What the recipients of a message of ours stand for.
    ///
    /// # Errors
    /// The first that is refused, and why.
    pub(super) async fn way(&self, message: &Message) -> Result<Way, (ForwardPath, Reply)> {
        let mut session = Session::default();
        session.user = Some("MAILER-DAEMON".into());
        let mut way = Way::default();
        for rcpt in &message.recipients {
            match self.addressing.expand(&session, &rcpt.to).await {
                Ok(expansion) => way.recipients.push((rcpt.to.clone(), Ok(expansion))),
                Err(reply) => return Err((rcpt.to.clone(), reply)),
            }
        }
        Ok(way)
    }

    /// What is to be written for a message that goes this way.
    pub(super) fn batch(&self, origin: &Origin<'_>, way: &Way) -> Result<Batch, StoreError> {
        let impossible = |reply: Reply| StoreError::Invalid(reply.to_string().trim_end().to_owned());
        let plan = Plan::new(&origin.message.mail.from, way).map_err(impossible)?;
        Ok(plan.batch(origin, &HashMap::new(), &self.current().config.routes).0)
    }
}
