//! Mail that the server itself has written.

use bytes::Bytes;
use mailwright_mail_model::{Address, ForwardPath, ReversePath};
use mailwright_mailstore::{Store, StoreError, Write};
use mailwright_relay_policy::{Session, dns::Resolve};
use mailwright_smtp_proto::{Mail, Message, Rcpt, Reply};

use super::Queue;
use crate::smtp::{Addressing, Origin, Plan, Way, now, queue_id};

impl<S, R, P> Queue<S, R, P>
where
    S: Store + 'static,
    R: Resolve + 'static,
    P: Addressing + 'static,
{
    /// Puts a message of the server's own on its way, into mailboxes here or into the queue, and gives the id it has there. It is
    /// not filtered and not signed; of 7-bit lines that end in CRLF.
    ///
    /// # Errors
    /// If the recipient is refused, or the store fails.
    pub async fn submit(
        &self,
        sender: ReversePath,
        to: Address,
        message_id: Option<String>,
        octets: Bytes,
    ) -> Result<String, StoreError> {
        let mut session = Session::default();
        session.user = Some("MAILER-DAEMON".into());
        let to = ForwardPath::Address(to);
        let expansion = self.addressing.expand(&session, &to).await;
        let expansion = expansion.map_err(|reply| StoreError::Invalid(reply.to_string()))?;
        let id = queue_id().map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let writer = self.store.writer().ok_or_else(|| StoreError::Invalid("expected a writer".into()))?;
        let mut upload = writer.begin(None).await?;
        let path = format!("Return-Path: {sender}\r\n");
        let skip = path.len() as u64;
        upload.write(Bytes::from(path)).await?;
        upload.write(octets).await?;
        let mut way = Way::default();
        way.recipients.push((to.clone(), Ok(expansion)));
        let impossible = |reply: Reply| StoreError::Unavailable(reply.to_string());
        let plan = Plan::new(&sender, &way).map_err(impossible)?;
        let message = Message::new(Mail::new(sender), vec![Rcpt::new(to)]);
        let date = now();
        let origin =
            Origin { message: &message, user: None, id: &id, date, skip, eight_bit: false, message_id };
        let (batch, _) = plan.batch(&origin, &std::collections::HashMap::new(), &self.config.routes);
        upload.commit_batch(&batch).await.map_err(|error| error.error)?;
        Ok(id)
    }
}
