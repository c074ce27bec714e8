//! A message on its way to a server, piece by piece.

use bytes::Bytes;
use mailwright_smtp_proto::{
    Outcome, Reply,
    client::{Addressed, Client, Event},
};
use tokio::io::AsyncRead;

use crate::client::{
    ClientError,
    link::{Client as _, Link},
};

/// A message that is being sent piece by piece. Made by [`SmtpClient::begin`](super::SmtpClient::begin).
///
/// Dropped before [`finish`](Self::finish) it takes the connection with it: half a message is none.
///
/// What a gateway does with what it is handed:
///
/// ```no_run
/// use mailwright::{
///     client::{ClientError, SmtpClient},
///     smtp::Body,
///     smtp_proto::{Message, Outcome, Reply},
/// };
///
/// async fn pass_on(next: &mut SmtpClient, message: &Message, body: &mut Body<'_>) -> Result<Outcome, ClientError> {
///     let mut sending = next.begin(message.clone()).await?;
///     sending.write("X-Passed-On: yes\r\n".into()).await?;
///     loop {
///         match body.next().await {
///             Ok(Some(chunk)) => sending.write(chunk).await?,
///             Ok(None) => return sending.finish().await.map(Outcome::from),
///             // Not complete: the next host must not get it, and this answer is not sent.
///             Err(_) => return Ok(Reply::INTERNAL.into()),
///         }
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Sending<'a> {
    link: &'a mut Link<Client>,
    addressed: Addressed,
    /// How many recipients there are.
    recipients: usize,
    /// What was said before the end.
    early: Option<Outcome>,
    /// Whether the server waits for the end.
    owed: bool,
}

impl<'a> Sending<'a> {
    pub(super) fn new(link: &'a mut Link<Client>, addressed: Addressed, recipients: usize) -> Self {
        let owed = addressed.is_ready();
        Self { link, addressed, recipients, early: None, owed }
    }

    /// What the server has said of the envelope.
    pub fn addressed(&self) -> &Addressed {
        &self.addressed
    }

    /// Whether the server takes more of it. If not, what is written is passed over, and [`finish`](Self::finish) tells why.
    pub fn is_wanted(&self) -> bool {
        self.owed && self.early.is_none()
    }

    /// Sends a piece, of any size, and waits until there is room for the next. Lines end with CRLF, and dots are as they are.
    ///
    /// # Errors
    /// [`ClientError`]; the connection is of no further use.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), ClientError> {
        if self.is_wanted() {
            let event = self.link.put_body(chunk, Client::send_body).await?;
            self.note(event);
        }
        Ok(())
    }

    /// Sends what a source has, up to its end.
    pub(super) async fn read_from<R: AsyncRead + Unpin>(
        &mut self,
        source: &mut R,
    ) -> Result<(), ClientError> {
        while self.is_wanted() {
            match self.link.send_body(source, Client::send_body).await? {
                None => break,
                event => self.note(event),
            }
        }
        Ok(())
    }

    /// Ends the message. The result is the server's last word about each recipient, in their order; it has taken the message for
    /// those whose reply [is positive](Reply::is_positive).
    ///
    /// # Errors
    /// [`ClientError`]; after [`ClientError::Closed`] the server may have the message or not.
    pub async fn finish(mut self) -> Result<Vec<Reply>, ClientError> {
        if !self.owed {
            return Ok(unsent(&self.addressed, self.recipients));
        }
        let outcome = match self.early.take() {
            // Refused in the middle: the rest was not sent.
            Some(outcome) => outcome,
            None => self.end().await?,
        };
        self.owed = false;
        Ok(sent(&self.addressed, outcome))
    }

    async fn end(&mut self) -> Result<Outcome, ClientError> {
        let ticket = self.link.machine().end_body()?;
        loop {
            if let Event::BodyEnd(answered, outcome) = self.link.next().await?
                && answered == ticket
            {
                return Ok(outcome);
            }
        }
    }

    fn note(&mut self, event: Option<Event>) {
        if let Some(Event::BodyEnd(_, outcome)) = event {
            self.early = Some(outcome);
        }
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if self.owed {
            self.link.machine().give_up();
        }
    }
}

/// What a server said to a message.
#[derive(Debug)]
pub(crate) struct Sent {
    /// To the envelope.
    pub(crate) addressed: Addressed,
    /// Its last word about each recipient.
    pub(crate) replies: Vec<Reply>,
}

/// The word about each recipient of a message that was not sent.
fn unsent(addressed: &Addressed, recipients: usize) -> Vec<Reply> {
    let Addressed { mail, recipients: replies, data, .. } = addressed;
    if !mail.is_positive() {
        return vec![mail.clone(); recipients];
    }
    let refused = |reply: &&Reply| reply.is_transient() || reply.is_permanent();
    let rest = data.as_ref().filter(refused).cloned();
    let rest = rest.unwrap_or_else(|| Reply::transient((5, 0), "The message was not asked for"));
    let last = replies.iter().map(|reply| if reply.is_positive() { &rest } else { reply });
    let mut last: Vec<_> = last.cloned().collect();
    last.resize(recipients, rest);
    last
}

/// The word about each recipient of a message that was sent.
fn sent(addressed: &Addressed, outcome: Outcome) -> Vec<Reply> {
    let (all, each) = match outcome {
        Outcome::All(reply) => (Some(reply), Vec::new()),
        Outcome::Each(replies) => (None, replies),
        // RFC 1047: better twice than never.
        _ => (None, Vec::new()),
    };
    let mut each = each.into_iter();
    let mut next = || {
        let reply = all.clone().or_else(|| each.next());
        reply.unwrap_or_else(|| Reply::transient((4, 2), "The connection ended before the answer"))
    };
    let replies = addressed.recipients.iter();
    replies.map(|reply| if reply.is_positive() { next() } else { reply.clone() }).collect()
}
