//! Sending a message.

use std::time::Instant;

use bytes::Bytes;
use mailwright_line_proto::{Closed, Deadline, Misuse, frame::DotWriter};

use super::{Server, State};
use crate::command::Cut;

/// A body under way.
#[derive(Debug)]
pub(super) struct Body {
    writer: DotWriter,
    /// Of TOP, where it ends.
    cut: Option<Cut>,
    complete: bool,
    /// When the application last did something about it.
    since: Option<Instant>,
}

/// Whether more of a body is of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub enum BodyWanted {
    /// Send the next part.
    More,
    /// All that TOP asked for was sent: end the body now. More parts are taken and dropped.
    Enough,
}

impl Body {
    pub(super) fn new(lines: Option<u32>) -> Self {
        Self { writer: DotWriter::default(), cut: lines.map(Cut::new), complete: false, since: None }
    }

    pub(super) fn since(&mut self, now: Instant) -> Instant {
        *self.since.get_or_insert(now)
    }
}

impl Server {
    /// Sends the next part of a message, cut anywhere. Dots are stuffed here. Stop while
    /// [`transmit`](mailwright_line_proto::Machine::transmit) is longer than
    /// [`Limits::transmit`](mailwright_line_proto::Limits::transmit).
    ///
    /// # Errors
    /// [`Misuse::NoBody`] if no [`Read`](super::Read) was granted, [`Misuse::Closed`] if the connection is gone.
    pub fn send_body(&mut self, chunk: Bytes) -> Result<BodyWanted, Misuse> {
        let body = match &mut self.state {
            State::Body(body) => body,
            State::Closing(_) | State::Closed => return Err(Misuse::Closed),
            _ => return Err(Misuse::NoBody),
        };
        body.since = None;
        if body.complete {
            return Ok(BodyWanted::Enough);
        }
        let (length, complete) = body.cut.as_mut().map_or((chunk.len(), false), |cut| cut.take(&chunk));
        body.complete = complete;
        self.out.body(|transmit| body.writer.put(chunk.slice(..length), transmit));
        Ok(if complete { BodyWanted::Enough } else { BodyWanted::More })
    }

    /// Ends the message. If its last line had no CRLF, it gets one.
    ///
    /// # Errors
    /// As [`send_body`](Self::send_body).
    pub fn end_body(&mut self) -> Result<(), Misuse> {
        match std::mem::replace(&mut self.state, State::Command) {
            State::Body(body) => {
                self.out.body(|transmit| body.writer.end(transmit));
                self.idle_since = None;
                Ok(())
            }
            other => {
                self.state = other;
                let closed = matches!(self.state, State::Closing(_) | State::Closed);
                Err(if closed { Misuse::Closed } else { Misuse::NoBody })
            }
        }
    }

    /// The rest of the message cannot be had: closes the connection, so that the peer does not take the part for
    /// the whole. The reason of closing is [`Deadline::Body`]: the next part did not come. Without a body under way,
    /// nothing happens.
    pub fn abort_body(&mut self) {
        if matches!(self.state, State::Body(_)) {
            self.close(Closed::TimedOut(Deadline::Body));
        }
    }
}
