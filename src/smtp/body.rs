//! A message as it comes in.

use std::io;

use bytes::Bytes;
use mailwright_line_proto::Ask;
use mailwright_smtp_proto::{
    Burl, Commit, Reply,
    server::{Event, Server},
};
use thiserror::Error;

use super::{
    border::BorderFilter,
    urls::{LineEnds, UrlOctets, UrlSource},
};
use crate::service::Session;

/// The octets of a message, pulled from its connection: what is not pulled is not read from the network.
pub struct Body<'a> {
    connection: &'a mut Session<Server>,
    border: Option<BorderFilter>,
    end: Option<Result<Ask<Commit>, Incomplete>>,
    /// Where parts are fetched from, and for whom.
    urls: Option<(&'a dyn UrlSource, String)>,
    /// The part that is being fetched.
    fetched: Option<(Ask<Burl>, Box<dyn UrlOctets + 'a>, LineEnds)>,
}

/// Why a message has no end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Incomplete {
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Connection(io::Error),
    /// The machine refused the message or the session ended; the event that says so, where there is one left.
    #[error("the message was not completed")]
    Event(Option<Box<Event>>),
}

impl<'a> Body<'a> {
    /// A message from outside passes through a filter.
    pub(super) fn new(
        connection: &'a mut Session<Server>,
        border: Option<BorderFilter>,
        urls: Option<(&'a dyn UrlSource, String)>,
    ) -> Self {
        Self { connection, border, end: None, urls, fetched: None }
    }

    /// The next part of the message, dots unstuffed, cut anywhere; `None` at its end.
    ///
    /// # Errors
    /// If the message will not be complete. Nothing of it may be kept.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Incomplete> {
        match &self.end {
            Some(Ok(_)) => return Ok(None),
            Some(Err(_)) => return Err(Incomplete::Event(None)),
            None => {}
        }
        let event = loop {
            if let Some(chunk) = self.next_fetched().await {
                return Ok(Some(chunk));
            }
            match self.connection.next().await {
                Ok(Some(Event::Burl(ask))) => self.open(ask).await,
                event => break event,
            }
        };
        let incomplete = match event {
            Ok(Some(Event::Body(chunk))) => {
                return Ok(Some(match &mut self.border {
                    Some(border) => border.push(chunk),
                    None => chunk,
                }));
            }
            Ok(Some(Event::BodyEnd(ask))) => {
                self.end = Some(Ok(ask));
                let kept = self.border.as_mut().map(BorderFilter::finish);
                return Ok(kept.filter(|kept| !kept.is_empty()));
            }
            // The machine has refused it already.
            Ok(Some(Event::BodyAborted(_))) => Incomplete::Event(None),
            Ok(event) => Incomplete::Event(event.map(Box::new)),
            Err(error) => Incomplete::Connection(error),
        };
        self.end = Some(Err(incomplete));
        Err(Incomplete::Event(None))
    }

    /// Breaks the connection without a word, as a host does that fails: for tests of those who send. Whatever the inbox answers then is
    /// not sent.
    pub fn break_off(&mut self) {
        self.fetched = None;
        self.end = Some(Err(Incomplete::Connection(io::ErrorKind::ConnectionAborted.into())));
    }

    /// Begins to fetch a part, or refuses it.
    async fn open(&mut self, ask: Ask<Burl>) {
        let opened = match &self.urls {
            Some((urls, user)) => {
                let urls: &'a dyn UrlSource = *urls;
                urls.open(user, &ask.url).await
            }
            None => Err(Reply::permanent((7, 0), "Parts are fetched for users who have logged in")),
        };
        let counted = opened.and_then(|octets| {
            self.connection.machine().inner_mut().count_fetched(octets.length()).map(|()| octets)
        });
        match counted {
            Ok(octets) => self.fetched = Some((ask, octets, LineEnds::default())),
            Err(reply) => self.settle(ask, reply),
        }
    }

    /// The next octets of the part that is being fetched; `None` if there is none or it is at its end.
    async fn next_fetched(&mut self) -> Option<Bytes> {
        let (_, octets, ends) = self.fetched.as_mut()?;
        let reply = match octets.next().await {
            Ok(Some(chunk)) if ends.push(&chunk) => return Some(chunk),
            Ok(None) if ends.finish() => Reply::positive((6, 0), "Ok: fetched"),
            Ok(_) => Reply::permanent((6, 0), "The part has octets that no message may have"),
            Err(error) => {
                tracing::warn!(%error, "cannot fetch a part of a message");
                Reply::INTERNAL
            }
        };
        let (ask, ..) = self.fetched.take()?;
        self.settle(ask, reply);
        None
    }

    /// An answer that comes too late was given by the machine already.
    fn settle(&mut self, ask: Ask<Burl>, reply: Reply) {
        let _ = self.connection.machine().inner_mut().answer(ask, reply);
    }

    /// Passes over what was not pulled; gives the question that waits at the end.
    pub(super) async fn finish(mut self) -> Result<Ask<Commit>, Incomplete> {
        while let Ok(Some(_)) = self.next().await {}
        self.end.unwrap_or(Err(Incomplete::Event(None)))
    }
}

impl std::fmt::Debug for Body<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Body").field("end", &self.end).finish_non_exhaustive()
    }
}
