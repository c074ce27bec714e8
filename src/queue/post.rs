//! Messages that this server writes itself.

use std::collections::HashMap;

use bytes::Bytes;
use mailwright_mail_model::{Address, ForwardPath, ReversePath};
use mailwright_mailstore::{Notify, Store, StoreError, Write};
use mailwright_relay_policy::{Session, authentication::Examiner, dns::Resolve};
use mailwright_smtp_proto::{Mail, Message, Rcpt, Reply};

use super::Queue;
use crate::smtp::{Addressing, Origin, Plan, Times, Way, now, queue_id};

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
        let mut session = Session::default();
        session.user = Some("MAILER-DAEMON".into());
        let path = ForwardPath::Address(to);
        let impossible = |reply: Reply| StoreError::Invalid(reply.to_string().trim_end().to_owned());
        let expansion = self.addressing.expand(&session, &path).await.map_err(impossible)?;
        let id = queue_id().map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let writer = self.store.writer().ok_or_else(|| StoreError::Invalid("expected a writer".into()))?;
        let front = format!("Return-Path: {sender}\r\n");
        let skip = front.len() as u64;
        let mut upload = writer.begin(Some(skip + octets.len() as u64)).await?;
        upload.write(Bytes::from(front)).await?;
        upload.write(octets).await?;
        let mut way = Way::default();
        way.recipients.push((path.clone(), Ok(expansion)));
        let plan = Plan::new(&sender, &way).map_err(impossible)?;
        let from_nobody = sender == ReversePath::Null;
        let message = Message::new(Mail::new(sender), vec![Rcpt::new(path)]);
        let date = now();
        let (user, eight_bit, times) = (None, false, Times::default());
        let origin = Origin { message: &message, user, id: &id, date, skip, eight_bit, message_id, times };
        let (mut batch, _) = plan.batch(&origin, &HashMap::new(), &self.current().config.routes);
        if from_nobody {
            let recipients = batch.queue.iter_mut().flat_map(|entry| &mut entry.recipients);
            recipients.for_each(|recipient| recipient.notify = Notify::NEVER);
        }
        upload.commit_batch(&batch).await.map_err(|error| error.error)?;
        Ok(id)
    }
}
