//! One message: what comes of it is what was asked for, and nothing else.

use bytes::Bytes;
use mailwright_imap_proto::{
    MessageSet,
    client::Event,
    command::{BodySection, Fetch, FetchItem, Section, SectionText},
    response::{FetchedItem, FetchedSection},
};
use mailwright_mail_model::{Uid, UidSet};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{ImapClient, unread::unread};
use crate::client::ClientError;

impl ImapClient {
    /// Asks for a message, or for a section of it, and gives its octets as they come. Only the first section that is the one asked for
    /// counts, of the message asked for: servers send others in between, and the same twice.
    ///
    /// ```no_run
    /// # use mailwright::{client::{ClientError, ImapClient}, mail_model::Uid};
    /// # use mailwright::imap_proto::command::{BodySection, Section, SectionText};
    /// # async fn example(client: &mut ImapClient, uid: Uid) -> Result<(), ClientError> {
    /// let header = Section::new(Vec::new(), SectionText::Header);
    /// let mut body = client.body(uid, BodySection::peek(header)).await?;
    /// while let Some(octets) = body.next().await? {
    ///     println!("{} octets of {:?}", octets.len(), body.length());
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ClientError`] if it cannot be called; the server's refusal comes from [`FetchingBody::next`].
    pub async fn body(&mut self, uid: Uid, section: BodySection) -> Result<FetchingBody<'_>, ClientError> {
        let wanted = Wanted::new(uid, &section);
        let messages = MessageSet::from(UidSet::from(uid));
        self.fetch(Fetch::new(messages, [FetchItem::Section(section)])).await?;
        Ok(FetchingBody { client: self, wanted })
    }

    /// Writes a message into a sink as it comes, without marking it seen; the result is its octets, or `None` if there
    /// is no such message.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Body`] if the sink failed. What was written until then is of no use, whatever the error.
    pub async fn message<W: AsyncWrite + Unpin>(
        &mut self,
        uid: Uid,
        sink: &mut W,
    ) -> Result<Option<u64>, ClientError> {
        self.section(uid, BodySection::peek(Section::default()), sink).await
    }

    /// As [`message`](Self::message), of any part of it.
    ///
    /// # Errors
    /// As for [`message`](Self::message).
    pub async fn section<W: AsyncWrite + Unpin>(
        &mut self,
        uid: Uid,
        section: BodySection,
        sink: &mut W,
    ) -> Result<Option<u64>, ClientError> {
        let mut body = self.body(uid, section).await?;
        while let Some(octets) = body.next().await? {
            sink.write_all(&octets).await.map_err(ClientError::Body)?;
        }
        let length = body.length();
        sink.flush().await.map_err(ClientError::Body)?;
        Ok(length)
    }
}

/// A message, or a section of it, under way: see [`ImapClient::body`]. What is not pulled is not read from the network.
#[derive(Debug)]
pub struct FetchingBody<'a> {
    client: &'a mut ImapClient,
    wanted: Wanted,
}

impl FetchingBody<'_> {
    /// The next octets; `None` at the end. All of it has come then, if there is a [`length`](Self::length).
    ///
    /// # Errors
    /// [`ClientError`]; a refusal may come behind some octets. [`ClientError::AnotherMessage`] if the server gave another message in
    /// its place, which may be known only behind the octets, and [`ClientError::Unreadable`] if the response with them cannot be read.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(event) = self.client.next_fetched().await? {
            let skipped = self.client.skipped_uid();
            if let Some(octets) = self.wanted.take(event, skipped)? {
                return Ok(Some(octets));
            }
        }
        self.wanted.end().map(|()| None)
    }

    /// How many octets it has, once the first have come; `None` if there are none, for there is no such message or section.
    pub fn length(&self) -> Option<u64> {
        self.wanted.length
    }
}

/// Tells the octets of the one section that is wanted from others.
#[derive(Debug)]
pub(crate) struct Wanted {
    uid: Uid,
    section: Section,
    origin: u64,
    /// How many octets it has, once they have begun.
    length: Option<u64>,
    /// Whether the octets that come are its.
    reading: bool,
    /// Whether its octets came in this response, which has more to say.
    open: bool,
    /// Whether a response said that they are of the message that is wanted.
    named: bool,
    /// Whether there were octets of another message.
    others: bool,
    /// How a response began that may have had its octets, and could not be read.
    unreadable: Option<Bytes>,
}

impl Wanted {
    pub(crate) fn new(uid: Uid, section: &BodySection) -> Self {
        Self {
            uid,
            section: section.section.clone(),
            origin: section.partial.map_or(0, |partial| partial.offset),
            length: None,
            reading: false,
            open: false,
            named: false,
            others: false,
            unreadable: None,
        }
    }

    pub(crate) fn uid(&self) -> Uid {
        self.uid
    }

    /// Octets of it, if these are some. `skipped` is the message of a response that was passed over, if that is known.
    pub(crate) fn take(&mut self, event: Event, skipped: Option<Uid>) -> Result<Option<Bytes>, ClientError> {
        match event {
            Event::FetchBody { uid, section, length, .. } => {
                let other = uid.is_some_and(|uid| uid != self.uid);
                self.others |= other;
                self.reading = !other && length.is_some() && self.length.is_none() && self.is_it(&section);
                if self.reading {
                    self.length = length;
                    self.named = uid.is_some();
                    self.open = true;
                }
            }
            Event::Body(octets) if self.reading => return Ok(Some(octets)),
            Event::BodyEnd => self.reading = false,
            // RFC 9051 §7.5.2: the UID may stand behind the octets.
            Event::Fetched { uid, fetched } if std::mem::take(&mut self.open) => {
                let is_other = |item: &_| matches!(item, FetchedItem::Uid(uid) if *uid != self.uid);
                self.named = uid == Some(self.uid) && !fetched.items.iter().any(is_other);
                if !self.named && uid.is_some() {
                    return Err(ClientError::AnotherMessage);
                }
            }
            // The octets may have been fewer, or more, than their length said.
            Event::Skipped(start) if std::mem::take(&mut self.open) => {
                self.named = false;
                return Err(unread(&start));
            }
            Event::Skipped(start) if skipped.is_none_or(|uid| uid == self.uid) => {
                self.unreadable.get_or_insert(start);
            }
            _ => {}
        }
        Ok(None)
    }

    /// Where nothing of it came, but of another, or nothing that could be read.
    pub(crate) fn end(&self) -> Result<(), ClientError> {
        match (self.length, &self.unreadable) {
            (None, Some(start)) => Err(unread(start)),
            (None, None) if self.others => Err(ClientError::AnotherMessage),
            _ => Ok(()),
        }
    }

    /// Whether all of it came, and the server said whose it is.
    pub(crate) fn is_named(&self) -> bool {
        self.named
    }

    /// Whether some of it came.
    pub(crate) fn has_begun(&self) -> bool {
        self.length.is_some()
    }

    /// How a server writes the names of header fields is up to it.
    fn is_it(&self, given: &FetchedSection) -> bool {
        let same_text = match (&self.section.text, &given.section.text) {
            (SectionText::HeaderFields(_), SectionText::HeaderFields(_))
            | (SectionText::HeaderFieldsNot(_), SectionText::HeaderFieldsNot(_)) => true,
            (wanted, given) => wanted == given,
        };
        same_text && self.section.part == given.section.part && self.origin == given.origin.unwrap_or(0)
    }
}
