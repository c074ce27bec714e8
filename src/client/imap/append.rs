//! APPEND: a message on its way to the server.

use mailwright_imap_proto::{
    client::{Appended, Client, Event},
    command::Append,
};
use tokio::io::AsyncRead;

use super::ImapClient;
use crate::client::ClientError;

impl ImapClient {
    /// Stores a message that is streamed; where it went, if the server tells. Its size is part of the request.
    ///
    /// From one server to another, with flags and date, and never whole in memory:
    ///
    /// ```no_run
    /// # use mailwright::{client::{ClientError, ImapClient}, imap_proto::command::{Append, FetchItem}};
    /// # use mailwright::mail_model::{MailboxName, Uid, UidSet};
    /// # async fn example(source: &mut ImapClient, target: &mut ImapClient, uid: Uid) -> Result<(), ClientError> {
    /// let items = [FetchItem::Size, FetchItem::Flags, FetchItem::InternalDate];
    /// if let Some(found) = source.items(UidSet::from(uid), items).await?.first() {
    ///     let mut append = Append::new(MailboxName::inbox(), found.size().unwrap_or_default());
    ///     append.internal_date = found.internal_date();
    ///     append.flags = found.flags().map(|list| list.flags.clone()).unwrap_or_default();
    ///     let (mut write, mut read) = tokio::io::duplex(64 * 1024);
    ///     let fetch = async {
    ///         let fetched = source.message(uid, &mut write).await;
    ///         drop(write);
    ///         fetched
    ///     };
    ///     let (fetched, appended) = tokio::join!(fetch, target.append(append, &mut read));
    ///     (fetched?, appended?);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ClientError::Refused`]; if much of the message was still to come then, the connection is of no further use.
    /// [`ClientError::Body`] if it could not be read, [`Misuse::BodyLength`](mailwright_line_proto::Misuse) if it is not of the size announced: the
    /// connection is of no further use after either.
    pub async fn append<R: AsyncRead + Unpin>(
        &mut self,
        append: Append,
        body: &mut R,
    ) -> Result<Option<Appended>, ClientError> {
        self.settle().await?;
        let ticket = self.link.machine().call(append)?;
        let mut sending = false;
        loop {
            let event = match sending {
                true => self.link.send_body(body, Client::send_body).await?,
                false => Some(self.link.next().await?),
            };
            let Some(event) = event else {
                self.link.machine().end_body()?;
                sending = false;
                continue;
            };
            match event {
                Event::Ready(ready) if ready == ticket => sending = true,
                Event::Append(answered, outcome) if answered == ticket => {
                    self.send_owed(body).await;
                    return Ok(outcome?);
                }
                other => self.note(other),
            }
        }
    }

    /// Sends what is left of a message that is refused, if the session can go on behind it. If it cannot, the next call says so.
    async fn send_owed<R: AsyncRead + Unpin>(&mut self, body: &mut R) {
        while self.link.machine().owes_body() {
            match self.link.send_body(body, Client::send_body).await {
                Ok(Some(event)) => self.note(event),
                Ok(None) => {
                    // One that is too short has closed the connection.
                    let _ = self.link.machine().end_body();
                }
                Err(_) => return,
            }
        }
    }
}
