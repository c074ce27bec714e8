//! URLFETCH: what URLs name, sent to whom they were given to (RFC 4467 §7, RFC 5524); and had for what is sent (RFC 4468).

use std::{fmt, io, num::NonZeroU32, sync::Arc};

use bytes::Bytes;
use mailwright_imap_proto::{
    command::{BinarySection, Partial, SectionText, UrlFetch, UrlOctets, WantedUrl},
    server::{Server, UrlContent},
};
use mailwright_line_proto::{Ask, Deflate};
use mailwright_mail_model::mime::Structure;
use mailwright_mailstore::{MailboxRef, MessageRef, Result, Store, StoreError, accounts::Accounts};
use mailwright_smtp_proto::Reply;

use super::{
    Visit,
    derived::{Decoder, Decoding},
    described::{CHUNK, structures},
    url::{Part, part_of},
    url_auth::{Bearer, check},
};
use crate::{
    Authenticator,
    service::Session,
    smtp::{OpenUrl, UrlOctets as Fetched, UrlSource},
};

/// What a URL names, ready to be sent.
struct Named {
    content: Option<Content>,
    /// If that is wanted: the structure of the message, and which part of it is meant.
    structure: Option<(Structure, Vec<NonZeroU32>)>,
}

enum Content {
    Part(Part),
    Decoded { message: MessageRef, decoder: Box<Decoder>, length: u64 },
}

impl Content {
    fn length(&self) -> u64 {
        match self {
            Self::Part(part) => part.length(),
            Self::Decoded { length, .. } => *length,
        }
    }

    async fn next(&mut self, store: &impl Store) -> Result<Option<Bytes>> {
        match self {
            Self::Part(part) => part.next(store, CHUNK).await,
            Self::Decoded { message, decoder, .. } => decoder.next(store, message).await,
        }
    }
}

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    pub(super) async fn fetch_urls(
        &self,
        connection: &mut Session<Deflate<Server>>,
        ask: Ask<UrlFetch>,
    ) -> io::Result<()> {
        for (place, wanted) in ask.urls.iter().enumerate() {
            let named = self.named_by(wanted).await;
            if let Err(error) = &named {
                tracing::debug!(%error, "a URL is of no use");
            }
            let (mut named, mut first) = (named.ok(), None);
            // The length is told before the octets, and nothing takes it back: what cannot be read is NIL, as what is not there (RFC 4467
            // §7).
            let mut length = None;
            if let Some(content) = named.as_mut().and_then(|named| named.content.as_mut()) {
                length = Some(content.length());
                match content.next(self.store).await {
                    Ok(chunk) => first = chunk,
                    Err(error) => {
                        tracing::warn!(%error, "what a URL names cannot be read");
                        named = None;
                    }
                }
            }
            let content = named.as_ref().map(|named| match &named.structure {
                Some((structure, path)) => UrlContent::part(structure, path, length),
                None => UrlContent::octets(length.unwrap_or_default()),
            });
            let sent = connection.machine().inner_mut().inner_mut().fetch_url(&ask, place, content);
            if sent.is_err() {
                // The request is gone.
                return Ok(());
            }
            if let Some(content) = named.as_mut().and_then(|named| named.content.as_mut())
                && !self.send_url(connection, content, first).await?
            {
                return Ok(());
            }
            connection.flush_below(self.service.config.limits.transmit / 2).await?;
        }
        let _ = connection.machine().inner_mut().inner_mut().answer(ask, Ok(()));
        Ok(())
    }

    /// Sends the octets that a URL names; says whether all of them could be had.
    async fn send_url(
        &self,
        connection: &mut Session<Deflate<Server>>,
        content: &mut Content,
        mut first: Option<Bytes>,
    ) -> io::Result<bool> {
        loop {
            let chunk = match first.take() {
                Some(first) => Ok(Some(first)),
                None => content.next(self.store).await,
            };
            let server = connection.machine().inner_mut().inner_mut();
            match chunk {
                Ok(Some(chunk)) => {
                    if server.send_body(chunk).is_err() {
                        return Ok(false);
                    }
                }
                Ok(None) => return Ok(server.end_body().is_ok()),
                Err(error) => {
                    tracing::error!(%error, "cannot read a message that is being sent");
                    // Short of what was announced: the machine closes, so that nobody takes the part for the whole.
                    let _ = server.end_body();
                    return Ok(false);
                }
            }
            connection.flush_below(self.service.config.limits.transmit / 2).await?;
        }
    }

    async fn named_by(&self, wanted: &WantedUrl) -> Result<Named> {
        let user = self.user.as_ref().ok_or(StoreError::Denied)?;
        let (owner, mailbox, url) =
            check(self.store, &self.service.authenticator, &wanted.url, Bearer::Reader(user)).await?;
        // Whoever reads what is the user's own has what opens it.
        let owner = if owner == *user { user.clone() } else { owner };
        let url = &url.url;
        let section = url.section.clone().unwrap_or_default();
        let decodes = wanted.octets == Some(UrlOctets::Decoded) && section.text == SectionText::Whole;
        if !decodes && !wanted.structure {
            let part = part_of(self.store, &owner, &mailbox, url).await?;
            return Ok(Named { content: Some(Content::Part(part)), structure: None });
        }
        let snapshot = self.store.open(&owner, &mailbox).await?;
        if url.uid_validity.is_some_and(|validity| validity != snapshot.uid_validity()) {
            return Err(StoreError::NotFound);
        }
        let message = snapshot.message(url.uid).ok_or(StoreError::NotFound)?;
        let message = MailboxRef::new(owner.clone(), mailbox.clone(), &snapshot).message(message);
        let found = structures(self.store, std::slice::from_ref(&message)).await?.pop().flatten();
        let structure = found.ok_or(StoreError::NotFound)?;
        structure.part_at(&section.part).ok_or(StoreError::NotFound)?;
        let content = match wanted.octets {
            None => None,
            Some(_) if decodes => {
                let mut binary = BinarySection::peek(section.part.clone());
                binary.partial =
                    url.partial.map(|(from, length)| Partial::new(from, length.unwrap_or(u64::MAX)));
                let decoding = Decoding::new(&message, &structure, &binary)?.ok_or(StoreError::NotFound)?;
                let length = decoding.length(self.store, &message).await?;
                let decoder = Box::new(decoding.start());
                Some(Content::Decoded { message, decoder, length })
            }
            Some(_) => Some(Content::Part(part_of(self.store, &owner, &mailbox, url).await?)),
        };
        let structure = wanted.structure.then_some((structure, section.part));
        Ok(Named { content, structure })
    }
}

/// What users have in their mailboxes, for the messages that they send by BURL (RFC 4468).
pub struct MailboxUrls<S, A> {
    store: Arc<S>,
    authenticator: Arc<Authenticator<A>>,
}

impl<S, A> MailboxUrls<S, A> {
    /// From the mailboxes of this store, whose URLs the IMAP service over it gives out, as long as their accounts are there.
    pub fn new(store: Arc<S>, authenticator: Arc<Authenticator<A>>) -> Self {
        Self { store, authenticator }
    }
}

impl<S, A> fmt::Debug for MailboxUrls<S, A> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MailboxUrls").finish_non_exhaustive()
    }
}

impl<S: Store + 'static, A: Accounts + 'static> UrlSource for MailboxUrls<S, A> {
    fn open<'source: 'request, 'request>(
        &'source self,
        user: &'request str,
        url: &'request str,
    ) -> OpenUrl<'source, 'request> {
        Box::pin(async move {
            // RFC 4468 §3.3
            let reply = |status, text| Reply::new(554, Some(status), text).unwrap_or(Reply::INTERNAL);
            let denied = || reply((5, 7, 0), "The URL gives no right to what it names");
            let gone = || reply((5, 6, 6), "There is no such message or part");
            let store = &*self.store;
            let (owner, mailbox, url) = check(store, &self.authenticator, url, Bearer::Sender(user))
                .await
                .map_err(|error| match error {
                    StoreError::Unavailable(_) => Reply::INTERNAL,
                    _ => denied(),
                })?;
            let part = part_of(store, &owner, &mailbox, &url.url).await.map_err(|_| gone())?;
            Ok(Box::new(Opened { store, part }) as Box<dyn Fetched + 'source>)
        })
    }
}

struct Opened<'a, S> {
    store: &'a S,
    part: Part,
}

impl<S: Store> Fetched for Opened<'_, S> {
    fn length(&self) -> u64 {
        self.part.length()
    }

    fn next(&mut self) -> crate::smtp::NextOctets<'_> {
        Box::pin(async move { self.part.next(self.store, CHUNK).await.map_err(io::Error::other) })
    }
}
