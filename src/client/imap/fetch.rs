//! FETCH: what is known of messages, and their octets as they come.

use mailwright_imap_proto::{
    MessageSet,
    client::Event,
    command::{Fetch, FetchItem},
    response::Fetched,
};

use super::ImapClient;
use crate::client::ClientError;

impl ImapClient {
    /// Asks for items of messages, their octets among them, and gives what comes one by one: also what the server says of other messages
    /// meanwhile. For the octets of one message there is [`body`](Self::body).
    ///
    /// # Errors
    /// [`ClientError`] if it cannot be called; the server's refusal comes from [`Fetching::next`].
    pub async fn fetch(&mut self, fetch: Fetch) -> Result<Fetching<'_>, ClientError> {
        self.settle().await?;
        self.fetching = Some(self.link.machine().call(fetch)?);
        Ok(Fetching { client: self })
    }

    /// Asks for small items of messages: flags, sizes, envelopes, structures. All of them are held, so do not ask for
    /// a large mailbox at once. What the server has to say of other messages meanwhile is among them.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Closed`] if they are more than [`Config::answer`](mailwright_imap_proto::client::Config::answer)
    /// octets, which are counted as they are held here.
    pub async fn items(
        &mut self,
        messages: impl Into<MessageSet>,
        items: impl IntoIterator<Item = FetchItem>,
    ) -> Result<Vec<Fetched>, ClientError> {
        let (mut all, mut held) = (Vec::new(), 0_u64);
        self.fetch(Fetch::new(messages.into(), items)).await?;
        while let Some(event) = self.next_fetched().await? {
            let octets = self.held(&event) as u64;
            if let Event::Fetched { fetched, .. } = event {
                held = held.saturating_add(octets);
                if held > self.config.answer {
                    return Err(self.too_long("octets", self.config.answer));
                }
                all.push(fetched);
            }
        }
        Ok(all)
    }
}

/// A FETCH under way: what is not pulled is not read from the network.
#[derive(Debug)]
pub struct Fetching<'a> {
    client: &'a mut ImapClient,
}

impl Fetching<'_> {
    /// The next of [`Event::FetchBody`], [`Event::Body`], [`Event::BodyEnd`] and [`Event::Fetched`], `None` at the end.
    /// Other events are kept for [`news`](ImapClient::news).
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
                    outcome?;
                }
                event @ (Event::FetchBody { .. }
                | Event::Body(_)
                | Event::BodyEnd
                | Event::Fetched { .. }) => return Ok(Some(event)),
                other => self.note(other),
            }
        }
        Ok(None)
    }
}
