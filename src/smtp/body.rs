//! A message as it comes in.

use std::io;

use bytes::Bytes;
use mailwright_line_proto::Ask;
use mailwright_smtp_proto::{
    Commit,
    server::{Event, Server},
};
use thiserror::Error;

use super::border::BorderFilter;
use crate::service::{Session, Stream};

/// The octets of a message, pulled from its connection: what is not pulled is not read from the network.
pub struct Body<'a> {
    connection: &'a mut Session<Server, Stream>,
    border: Option<BorderFilter>,
    end: Option<Result<Ask<Commit>, Incomplete>>,
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
    pub(super) fn new(connection: &'a mut Session<Server, Stream>, border: Option<BorderFilter>) -> Self {
        Self { connection, border, end: None }
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
        let incomplete = match self.connection.next().await {
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
