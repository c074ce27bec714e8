//! Sending a message.

use std::{num::NonZeroU32, time::Instant};

use bytes::Bytes;
use mailwright_line_proto::{Closed, Deadline, Misuse, frame::DotWriter};

use super::{Server, State, Workarounds, surrogate::Surrogate};
use crate::command::Cut;

/// A body under way.
#[derive(Debug)]
pub(super) struct Body {
    writer: DotWriter,
    /// The message's number, of RETR.
    retrieved: Option<NonZeroU32>,
    change: Change,
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
    pub(super) fn new(number: NonZeroU32, lines: Option<u32>, workarounds: Workarounds, as_is: bool) -> Self {
        Self {
            writer: DotWriter::default(),
            retrieved: lines.is_none().then_some(number),
            change: Change::new(workarounds, as_is),
            cut: lines.map(Cut::new),
            complete: false,
            since: None,
        }
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
        let chunk = body.change.take(chunk);
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
                let Body { mut writer, retrieved, change, complete, .. } = body;
                let rest = if complete { Bytes::new() } else { change.end() };
                self.out.body(|transmit| {
                    writer.put(rest, transmit);
                    writer.end(transmit);
                });
                if let (Some(session), Some(number)) = (&mut self.session, retrieved) {
                    session.retrieved(number);
                }
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

/// What of a message is sent otherwise than it is.
#[derive(Debug)]
struct Change {
    workarounds: Workarounds,
    /// Finds the end of the header; none once it is found, or if nobody wants to know.
    header: Option<Cut>,
    surrogate: Option<Surrogate>,
}

impl Change {
    fn new(workarounds: Workarounds, as_is: bool) -> Self {
        // RFC 6856 §2.1: strings beyond ASCII must not be sent as they are. That is about header fields: bodies are 8bit
        // wherever they are anything.
        let surrogate = (!as_is).then(Surrogate::default);
        let header = (surrogate.is_some() || workarounds.end_of_header).then(|| Cut::new(0));
        Self { workarounds, header, surrogate }
    }

    /// The next part, as it is to be sent.
    fn take(&mut self, chunk: Bytes) -> Bytes {
        let chunk = match &mut self.header {
            Some(cut) => {
                let (length, ends) = cut.take(&chunk);
                let header = chunk.get(..length).unwrap_or_default();
                let made = self.surrogate.as_mut().and_then(|surrogate| surrogate.take(header));
                if ends {
                    self.header = None;
                }
                match made {
                    None => chunk,
                    Some(mut made) => {
                        if ends {
                            made.append(
                                &mut self.surrogate.take().map(|mut rest| rest.end()).unwrap_or_default(),
                            );
                        }
                        made.extend_from_slice(chunk.get(length..).unwrap_or_default());
                        made.into()
                    }
                }
            }
            None => chunk,
        };
        if !self.workarounds.no_nuls || memchr::memchr(0, &chunk).is_none() {
            return chunk;
        }
        chunk.iter().map(|octet| if *octet == 0 { 0x80 } else { *octet }).collect()
    }

    /// What is to be sent behind the last part.
    fn end(self) -> Bytes {
        let mut rest = self.surrogate.map(|mut surrogate| surrogate.end()).unwrap_or_default();
        if let Some(cut) = self.header.filter(|_| self.workarounds.end_of_header) {
            rest.extend_from_slice(cut.line_end());
            rest.extend_from_slice(b"\r\n");
        }
        rest.into()
    }
}
