//! The client side of a session: transitions only.
//!
//! What it holds to: every reply is matched to the call it answers; nothing that comes before TLS is believed
//! after it; no password leaves without TLS unless the configuration allows it; whatever a server sends, no more
//! than a line of it is held.

mod call;
mod config;
mod event;
mod reply;

use std::{sync::Arc, time::Instant};

use bytes::BytesMut;
use mailwright_line_proto::{
    Closed, Deadline, Layer, Machine, Outgoing, Output, PeerMisbehaved, Shutdown, Ticket, TlsInfo, Trace,
    Traced, Transmit, Wait,
    frame::{BodyPart, DotReader, Line, LineEnds, Lines},
};

use self::call::Queue;
use crate::{Capabilities, Text, Timestamp};

pub use self::{call::Call, config::Config, event::Event};

/// The client's end of one POP3 connection.
///
/// It begins with [`Event::Greeting`]. Then [`call`](Self::call) whatever is wanted, and each call's ticket comes
/// back with its answer.
///
/// See the crate's documentation for a client around it.
#[derive(Debug)]
pub struct Client {
    config: Arc<Config>,
    out: Outgoing,
    lines: Lines,
    phase: Phase,
    reading: Reading,
    queue: Queue,
    /// The number of the last call.
    calls: u32,
    tls: bool,
    /// What the server can do, since it was last asked.
    capabilities: Option<Capabilities>,
    /// What the greeting bore for APOP.
    timestamp: Option<Timestamp>,
    /// A SASL challenge waits for the application's response.
    challenged: bool,
    /// Since when nothing came of what is awaited.
    since: Option<Instant>,
    eof: bool,
}

#[derive(Debug)]
enum Phase {
    Greeting,
    Authorization,
    Transaction,
    /// The layer was asked for by this call.
    Tls(u32),
    /// The layer is up.
    Secured(u32),
    /// The closing event is next.
    Closing(Closed),
    Closed,
}

/// What the input is.
#[derive(Debug)]
enum Reading {
    /// The first line of a reply.
    Status,
    /// The other lines of one, up to the dot.
    Listing,
    /// Nothing: the entry of a listing of one was told, and its answer is next.
    Only,
    /// A message.
    Body(DotReader),
}

impl Client {
    /// A client's end, for a connection that was just opened. TLS may be put beneath it before the first poll.
    pub fn new(config: Arc<Config>) -> Self {
        Self {
            config,
            out: Outgoing::default(),
            lines: Lines::new(LineEnds::Lenient),
            phase: Phase::Greeting,
            reading: Reading::Status,
            queue: Queue::new(),
            calls: 0,
            tls: false,
            capabilities: None,
            timestamp: None,
            challenged: false,
            since: None,
            eof: false,
        }
    }

    /// What the server can do, if it was asked since TLS came up.
    pub fn capabilities(&self) -> Option<&Capabilities> {
        self.capabilities.as_ref()
    }

    /// What the greeting bore for [`Apop`](crate::Apop), if the server offers that.
    pub fn timestamp(&self) -> Option<&Timestamp> {
        self.timestamp.as_ref()
    }

    /// Watches the lines of this session, without their secrets. Bodies are not shown.
    pub fn set_trace(&mut self, trace: Trace) {
        self.out.watch(trace);
    }

    /// Ends the session at once, whatever is under way. Nothing is deleted: only [`Quit`](crate::Quit) does that.
    pub fn shutdown(&mut self, why: Shutdown) {
        self.close(Closed::Shutdown(why));
    }

    /// The first reason stands.
    fn close(&mut self, why: Closed) {
        if !matches!(self.phase, Phase::Closing(_) | Phase::Closed) {
            self.phase = Phase::Closing(why);
        }
        self.queue = Queue::new();
        self.reading = Reading::Status;
    }

    fn misbehaved(&mut self, expected: &'static str, line: &[u8]) {
        self.close(Closed::Misbehaved(PeerMisbehaved::BadReply { expected, received: excerpt(line) }));
    }

    /// The next part of the message that is being read.
    fn body(&mut self, now: Instant, rx: &mut BytesMut) -> Result<Option<Event>, Wait> {
        let Reading::Body(reader) = &mut self.reading else { return Ok(None) };
        let part = reader.next(rx);
        let (length, limit) = (reader.length(), self.config.body);
        let muted = self.queue.front().is_some_and(|expected| expected.muted);
        let event = match part {
            BodyPart::Chunk(_) if length > limit => {
                self.close(Closed::Misbehaved(PeerMisbehaved::Endless { limit }));
                return Ok(None);
            }
            BodyPart::Chunk(chunk) => Event::Body(chunk),
            BodyPart::End => {
                self.reading = Reading::Status;
                self.queue.pop_front();
                Event::BodyEnd
            }
            BodyPart::Partial => return self.nothing(now),
        };
        self.since = Some(now);
        Ok((!muted).then_some(event))
    }

    /// The next line, of whatever reply.
    fn line(&mut self, now: Instant, rx: &mut BytesMut) -> Result<Option<Event>, Wait> {
        let limits = &self.config.limits;
        let exchange =
            matches!(self.queue.front(), Some(call::Expected { kind: call::Kind::Authenticate, .. }));
        let limit = if exchange { limits.sasl_line.max(limits.line) } else { limits.line };
        let line = match self.lines.next(rx, limit, limits.skip) {
            Line::Whole(line) => line,
            Line::TooLong => {
                self.since = Some(now);
                self.too_long();
                return Ok(None);
            }
            Line::Endless => {
                let limit = limits.skip;
                self.close(Closed::Misbehaved(PeerMisbehaved::Endless { limit }));
                return Ok(None);
            }
            Line::Partial => return self.nothing(now),
        };
        self.since = Some(now);
        self.out.received(if exchange {
            Traced::ReceivedSecret("SASL challenge")
        } else {
            Traced::Received(&line)
        });
        Ok(match self.reading {
            Reading::Listing => self.listing_line(&line),
            _ => self.status_line(&line, rx.is_empty()),
        })
    }

    /// Nothing whole is there: waits for more, or gives up.
    fn nothing(&mut self, now: Instant) -> Result<Option<Event>, Wait> {
        if self.eof {
            self.close(Closed::Eof);
            return Ok(None);
        }
        let timeouts = &self.config.timeouts;
        let (duration, deadline) = match (&self.phase, &self.reading) {
            (Phase::Greeting, _) => (timeouts.greeting, Deadline::Greeting),
            (_, Reading::Body(_) | Reading::Listing) => (timeouts.body, Deadline::Body),
            _ if self.queue.is_empty() || self.challenged => return Err(Wait { read: true, until: None }),
            _ => (timeouts.command, Deadline::Reply),
        };
        let until = *self.since.get_or_insert(now) + duration;
        if until > now {
            return Err(Wait { read: true, until: Some(until) });
        }
        self.close(Closed::TimedOut(deadline));
        Ok(None)
    }
}

impl Machine for Client {
    type Event = Event;

    fn poll(&mut self, now: Instant, rx: &mut BytesMut) -> Output<Event> {
        loop {
            let step = match &self.phase {
                Phase::Closed => return Output::Close,
                Phase::Closing(why) => {
                    let why = why.clone();
                    self.phase = Phase::Closed;
                    return Output::Event(Event::Closed(why));
                }
                Phase::Tls(_) if self.eof => {
                    self.close(Closed::Eof);
                    Ok(None)
                }
                Phase::Tls(_) => return Output::Start(Layer::Tls),
                Phase::Secured(id) => {
                    let ticket = Ticket::new(*id);
                    self.phase = Phase::Authorization;
                    return Output::Event(Event::Stls(ticket, Ok(())));
                }
                _ => match self.reading {
                    Reading::Body(_) => self.body(now, rx),
                    Reading::Only => Ok(self.end_of_listing()),
                    Reading::Status | Reading::Listing => self.line(now, rx),
                },
            };
            match step {
                Ok(Some(event)) => return Output::Event(event),
                Ok(None) => {}
                Err(wait) => return Output::Wait(wait),
            }
        }
    }

    fn transmit(&mut self) -> &mut Transmit {
        self.out.transmit()
    }

    fn handle_eof(&mut self) {
        self.eof = true;
    }

    fn handle_failure(&mut self, reason: Closed) {
        self.close(reason);
    }

    fn handle_tls(&mut self, _: TlsInfo) {
        self.tls = true;
        // RFC 2595 §4: what was learned before TLS must be forgotten.
        self.capabilities = None;
        self.lines.reset();
        if let Phase::Tls(id) = self.phase {
            self.phase = Phase::Secured(id);
        }
    }
}

/// The start of a line, fit to be shown.
fn excerpt(line: &[u8]) -> String {
    let mut shown = String::new();
    for letter in line.escape_ascii().take(128).map(char::from) {
        shown.push(letter);
    }
    shown
}

/// What the server says, for an event.
fn said(text: &[u8]) -> Text {
    Text::received(text)
}
