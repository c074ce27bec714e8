//! FETCH: what is known of messages, and their octets as they come.

use bytes::Bytes;
use mailwright_imap_proto::{
    MessageSet,
    client::Event,
    command::{Fetch, FetchItem},
    response::Fetched,
};

use super::{ImapClient, many::parts, unread::unread};
use crate::client::ClientError;

impl ImapClient {
    /// Asks for items of messages, their octets among them, and gives what comes one by one: also what the server says of other messages
    /// meanwhile. For the octets of one message there is [`body`](Self::body).
    /// Of many messages that are scattered, several commands ask.
    ///
    /// # Errors
    /// [`ClientError`] if it cannot be called; the server's refusal comes from [`Fetching::next`].
    pub async fn fetch(&mut self, fetch: Fetch) -> Result<Fetching<'_>, ClientError> {
        self.settle().await?;
        self.to_fetch = parts(fetch).into();
        self.fetch_next()?;
        Ok(Fetching { client: self })
    }

    fn fetch_next(&mut self) -> Result<(), ClientError> {
        if let Some(part) = self.to_fetch.pop_front() {
            self.fetching = Some(self.link.machine().call(part)?);
        }
        Ok(())
    }

    /// Asks for small items of messages: flags, sizes, envelopes, structures. All of them are held, so do not ask for
    /// a large mailbox at once. What the server has to say of other messages meanwhile is among them. Of messages that are not there, nothing
    /// is.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Closed`] if they are more than [`Config::answer`](mailwright_imap_proto::client::Config::answer)
    /// octets, which are counted as they are held here; [`ClientError::Unreadable`] if what is told of a message cannot be read, which
    /// [`readable_items`](Self::readable_items) passes over.
    pub async fn items(
        &mut self,
        messages: impl Into<MessageSet>,
        items: impl IntoIterator<Item = FetchItem>,
    ) -> Result<Vec<Fetched>, ClientError> {
        let (all, unreadable) = self.all_items(Fetch::new(messages.into(), items)).await?;
        unreadable.map_or(Ok(all), |start| Err(unread(&start)))
    }

    /// As [`items`](Self::items), without those of messages of which something is told that cannot be read. A message that is not among them is
    /// not gone therefore: SEARCH knows.
    ///
    /// # Errors
    /// As for [`items`](Self::items), but for [`ClientError::Unreadable`].
    pub async fn readable_items(
        &mut self,
        messages: impl Into<MessageSet>,
        items: impl IntoIterator<Item = FetchItem>,
    ) -> Result<Vec<Fetched>, ClientError> {
        Ok(self.all_items(Fetch::new(messages.into(), items)).await?.0)
    }

    /// All of them, and how the first response began that could not be read.
    async fn all_items(&mut self, fetch: Fetch) -> Result<(Vec<Fetched>, Option<Bytes>), ClientError> {
        let (mut all, mut held, mut unreadable) = (Vec::new(), 0_u64, None);
        self.fetch(fetch).await?;
        while let Some(event) = self.next_fetched().await? {
            let octets = self.held(&event) as u64;
            match event {
                Event::Fetched { fetched, .. } => {
                    held = held.saturating_add(octets);
                    if held > self.config.answer {
                        return Err(self.too_long("octets", self.config.answer));
                    }
                    all.push(fetched);
                }
                Event::Skipped(start) => drop(unreadable.get_or_insert(start)),
                _ => {}
            }
        }
        Ok((all, unreadable))
    }
}

/// A FETCH under way: what is not pulled is not read from the network.
#[derive(Debug)]
pub struct Fetching<'a> {
    client: &'a mut ImapClient,
}

impl Fetching<'_> {
    /// The next of [`Event::FetchBody`], [`Event::Body`], [`Event::BodyEnd`] and [`Event::Fetched`], `None` at the end; or
    /// [`Event::Skipped`] in place of them, where what is told of a message cannot be read. If that comes behind octets, they may be wrong. Other events are kept for [`news`](ImapClient::news).
    ///
    /// # Errors
    /// [`ClientError`]; a refusal may come after some of what was asked for.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        self.client.next_fetched().await
    }
}

impl ImapClient {
    /// What [`Fetching::next`] gives.
    pub(crate) async fn next_fetched(&mut self) -> Result<Option<Event>, ClientError> {
        while let Some(ticket) = self.fetching {
            match self.link.next().await? {
                Event::Fetch(answered, outcome) if answered == ticket => {
                    self.fetching = None;
                    if let Err(refused) = outcome {
                        self.to_fetch.clear();
                        return Err(refused.into());
                    }
                    self.fetch_next()?;
                }
                event @ (Event::FetchBody { .. }
                | Event::Body(_)
                | Event::BodyEnd
                | Event::Fetched { .. }) => return Ok(Some(event)),
                event @ Event::Skipped(_) if self.lacks(ticket) => return Ok(Some(event)),
                other => self.note(other),
            }
        }
        Ok(None)
    }
}
