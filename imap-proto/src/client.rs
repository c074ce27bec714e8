//! The client machine.
//!
//! What it holds to: every answer is matched to its call by its tag, and tags never leave the machine; nothing that
//! comes before TLS is believed after it; no password leaves without TLS unless the configuration allows it; bodies
//! of messages are streamed, whatever else a server sends is bounded, and what cannot be read is passed over in step.
//!
//! A client that reads the first message of INBOX. Here the server's words are written down; a driver reads them
//! from a socket:
//!
//! ```
//! use std::{num::NonZeroU32, sync::Arc, time::Instant};
//!
//! use bytes::BytesMut;
//! use mailwright_imap_proto::{
//!     MessageSet, SequenceSet,
//!     client::{Client, Config, Event, Logout},
//!     command::{BodySection, Fetch, FetchItem, Section, Select},
//! };
//! use mailwright_line_proto::{Login, Machine, Output, Secret, TlsInfo};
//! use mailwright_mail_model::MailboxName;
//!
//! let mut client = Client::new(Arc::new(Config::default()), [0; 32]);
//! client.handle_tls(TlsInfo::default()); // a connection that began with TLS
//! let mut rx = BytesMut::from(concat!(
//!     "* OK IMAP4rev1 ready\r\n",
//!     "aaaa1 OK logged in\r\n",
//!     "* 1 EXISTS\r\n* OK [UIDVALIDITY 7] valid\r\naaaa2 OK [READ-ONLY] examined\r\n",
//!     "* 1 FETCH (UID 42 BODY[] {13}\r\nSubject: x\r\n\r)\r\naaaa3 OK fetched\r\n",
//!     "* BYE\r\naaaa4 OK bye\r\n",
//! ));
//! let mut message = Vec::new();
//! loop {
//!     match client.poll(Instant::now(), &mut rx) {
//!         Output::Event(Event::Greeting { .. }) => {
//!             client.call(Login::new("ann", Secret::from("correct horse")))?;
//!         }
//!         Output::Event(Event::Login(_, outcome)) => {
//!             outcome?;
//!             client.call(Select::new(MailboxName::inbox(), true))?;
//!         }
//!         Output::Event(Event::Select(_, outcome)) => {
//!             assert_eq!(outcome?.messages, 1);
//!             let first = SequenceSet::range(NonZeroU32::MIN, NonZeroU32::MIN);
//!             let body = FetchItem::Section(BodySection::peek(Section::default()));
//!             client.call(Fetch::new(MessageSet::Sequence(first), [FetchItem::Uid, body]))?;
//!         }
//!         Output::Event(Event::FetchBody { uid, length, .. }) => {
//!             assert_eq!((uid.map(u32::from), length), (Some(42), Some(13)));
//!         }
//!         Output::Event(Event::Body(chunk)) => message.extend_from_slice(&chunk),
//!         Output::Event(Event::Fetch(_, outcome)) => {
//!             outcome?;
//!             client.call(Logout)?;
//!         }
//!         Output::Event(_) => {}
//!         Output::Close => break,
//!         other => panic!("{other:?}"), // a driver writes, reads and sleeps here
//!     }
//! }
//! assert_eq!(message, b"Subject: x\r\n\r");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod about;
mod calls;
mod config;
mod data;
mod event;
mod fetching;
mod frames;
mod messages;
mod replies;
mod request;
mod skipped;

use std::{collections::VecDeque, sync::Arc, time::Instant};

use bytes::{Bytes, BytesMut};
use mailwright_line_proto::{
    Closed, Deadline, Layer, Machine, Output, PeerMisbehaved, Shutdown, Ticket, TlsInfo, Trace, Traced,
    Transmit, Wait,
};

use self::{
    calls::{Kind, Outgoing, Pending, Unsent},
    fetching::Fetching,
    frames::{Bounds, Frame, Frames},
    messages::Messages,
};
use crate::{Referral, response::Capabilities};

pub use self::{
    config::Config,
    event::{Appended, Event, Opened, Outcome, Refused},
    request::{Call, Capability, Check, Close, Compress, Find, Idle, Logout, Noop, StartTls, Unselect},
    skipped::Skipped,
};

/// The client's end of one IMAP connection.
///
/// It begins with [`Event::Greeting`]. Then [`call`](Self::call) whatever is wanted, several at once if it helps: the
/// machine holds back what must wait. Each call's ticket comes back with its answer. The [module](self) shows one at work.
#[derive(Debug)]
pub struct Client {
    config: Arc<Config>,
    out: Transmit,
    trace: Trace,
    frames: Frames,
    reading: Reading,
    phase: Phase,
    session: Session,
    /// What all tags begin with.
    prefix: Box<str>,
    /// The number of the last call.
    calls: u32,
    /// The calls that were sent, the last perhaps in part.
    pending: VecDeque<Pending>,
    /// What is left of the last call: a `+` must come first.
    parts: VecDeque<Bytes>,
    /// The calls that wait for others.
    unsent: VecDeque<Unsent>,
    /// The message that is being sent.
    body: Option<Outgoing>,
    /// The application is to be told that it can send a message, for this call.
    ready: Option<u32>,
    /// A SASL challenge waits for the application's response.
    challenged: bool,
    tls: bool,
    compressed: bool,
    /// What the server can do, as far as it has said so.
    capabilities: Option<Capabilities>,
    /// Where else the user's mail is.
    referral: Option<Referral>,
    messages: Messages,
    /// Since when nothing came of what is awaited.
    since: Option<Instant>,
    /// When octets came last, of whatever.
    heard: Option<Instant>,
    /// How many octets the last response had that was read to its end.
    response_length: usize,
    /// Of the response that was passed over last.
    skipped: Skipped,
    /// Since when the server is idle.
    idle_since: Option<Instant>,
    eof: bool,
}

#[derive(Debug)]
enum Phase {
    Greeting,
    Open,
    /// The layer was asked for by this call.
    Tls(u32),
    /// The layer is up.
    Secured(u32),
    /// Compression is to begin, as this call asked.
    Deflate(u32),
    /// It has begun.
    Deflated(u32),
    /// The closing event is next.
    Closing(Closed),
    Closed,
}

#[derive(Debug, Clone, Copy)]
enum Session {
    NotAuthenticated,
    Authenticated,
    Selected,
}

#[derive(Debug, Default)]
enum Reading {
    #[default]
    Response,
    Fetch(Box<Fetching>),
}

impl Client {
    /// A client's end, for a connection that was just opened. TLS may be put beneath it before the first poll.
    ///
    /// `entropy` makes tags that a server cannot know before it has seen them.
    pub fn new(config: Arc<Config>, entropy: [u8; 32]) -> Self {
        let letters = entropy.iter().take(4).map(|octet| char::from(b'a' + octet % 26));
        Self {
            config,
            out: Transmit::default(),
            trace: Trace::default(),
            frames: Frames::default(),
            reading: Reading::Response,
            phase: Phase::Greeting,
            session: Session::NotAuthenticated,
            prefix: letters.collect::<String>().into(),
            calls: 0,
            pending: VecDeque::new(),
            parts: VecDeque::new(),
            unsent: VecDeque::new(),
            body: None,
            ready: None,
            challenged: false,
            tls: false,
            compressed: false,
            capabilities: None,
            referral: None,
            messages: Messages::default(),
            since: None,
            heard: None,
            response_length: 0,
            skipped: Skipped::default(),
            idle_since: None,
            eof: false,
        }
    }

    /// What the server can do, if it has said so since TLS came up and since login.
    pub fn capabilities(&self) -> Option<&Capabilities> {
        self.capabilities.as_ref()
    }

    /// Where else the mail of the user is, as the server said when it took the login (RFC 2221 §4). A server that refuses the login and
    /// knows says it in the refusal's code.
    pub fn referral(&self) -> Option<&Referral> {
        self.referral.as_ref()
    }

    /// How many octets the response had that the last event was told of, bodies not counted: what whoever keeps events bounds them by.
    pub fn response_length(&self) -> usize {
        self.response_length
    }

    /// Watches the lines of this session, without their secrets. Bodies are not shown.
    pub fn set_trace(&mut self, trace: Trace) {
        self.trace = trace;
    }

    /// Ends the session at once, whatever is under way.
    pub fn shutdown(&mut self, why: Shutdown) {
        self.close(Closed::Shutdown(why));
    }

    /// The first reason stands.
    fn close(&mut self, why: Closed) {
        if !matches!(self.phase, Phase::Closing(_) | Phase::Closed) {
            self.phase = Phase::Closing(why);
        }
        self.pending = VecDeque::new();
        self.unsent = VecDeque::new();
        self.parts = VecDeque::new();
        self.messages.clear();
        self.frames.reset();
        (self.body, self.ready, self.reading) = (None, None, Reading::Response);
    }

    fn endless(&mut self) {
        let limit = self.config.limits.skip;
        self.close(Closed::Misbehaved(PeerMisbehaved::Endless { limit }));
    }

    fn next_frame(&mut self, now: Instant, rx: &mut BytesMut) -> Frame {
        let greeting = matches!(self.phase, Phase::Greeting);
        let limits = &self.config.limits;
        let bounds = Bounds {
            response: if greeting { limits.line_before_login } else { self.config.response },
            literal: limits.literal,
            skip: limits.skip,
        };
        let before = rx.len();
        let frame = self.frames.next(rx, bounds);
        if rx.len() != before {
            self.heard = Some(now);
        }
        frame
    }

    /// The next event of whatever response.
    fn next(&mut self, now: Instant, rx: &mut BytesMut) -> Result<Option<Event>, Wait> {
        let (part, next) = match self.next_frame(now, rx) {
            Frame::Partial => return self.nothing(now),
            Frame::Endless => {
                self.endless();
                return Ok(None);
            }
            Frame::Skipped(start) => {
                self.response_length = start.len();
                if matches!(self.phase, Phase::Greeting) || !start.starts_with(b"*") {
                    self.endless();
                    return Ok(None);
                }
                return Ok(self.skip(start, None));
            }
            Frame::Whole(part) => (part, None),
            Frame::Body(part, next) => (part, Some(next)),
        };
        let exchange =
            self.pending.front().is_some_and(|call| matches!(call.kind, Kind::Authenticate { .. }));
        self.trace.line(match exchange && part.starts_with(b"+") {
            true => Traced::ReceivedSecret("SASL challenge"),
            false => Traced::Received(&part),
        });
        match Fetching::begin(&part, next, self).filter(|_| matches!(self.phase, Phase::Open)) {
            Some(fetching) => self.reading = Reading::Fetch(fetching.into()),
            // A literal that only FETCH can have: what follows is anybody's guess.
            None if next.is_some() => self.endless(),
            None => {
                self.response_length = part.len();
                return Ok(self.response(&part, rx.is_empty()));
            }
        }
        Ok(None)
    }

    /// Nothing whole is there: waits for more, or gives up.
    fn nothing(&mut self, now: Instant) -> Result<Option<Event>, Wait> {
        if self.eof {
            self.close(match self.pending.iter().any(|call| matches!(call.kind, Kind::Logout)) {
                true => Closed::Farewell,
                false => Closed::Eof,
            });
            return Ok(None);
        }
        let idling = matches!(
            self.pending.front(),
            Some(Pending { kind: Kind::Idle { idling: true, done: false }, .. })
        );
        if !idling {
            self.idle_since = None;
        }
        let amid = self.frames.is_amid();
        // Whoever sends decides when.
        let awaits = !(self.pending.is_empty() || idling || self.challenged || self.body.is_some());
        let timeouts = &self.config.timeouts;
        // The next octets of what has begun, and what is awaited: whatever else is said moves no deadline of that.
        let next = self.heard.unwrap_or(now) + timeouts.body;
        let (until, deadline) = match &self.reading {
            _ if matches!(self.phase, Phase::Greeting) => {
                (*self.since.get_or_insert(now) + timeouts.greeting, Deadline::Greeting)
            }
            Reading::Fetch(_) => (next, Deadline::Body),
            Reading::Response if awaits => {
                let reply = *self.since.get_or_insert(now) + timeouts.command;
                (if amid { next.min(reply) } else { reply }, Deadline::Reply)
            }
            Reading::Response if amid => (next, Deadline::Reply),
            Reading::Response if idling => return self.idle(now),
            Reading::Response => return Err(Wait { read: true, until: None }),
        };
        if until > now {
            return Err(Wait { read: true, until: Some(until) });
        }
        self.close(Closed::TimedOut(deadline));
        Ok(None)
    }

    /// RFC 2177 §3: an IDLE is ended before the server takes the client for gone.
    fn idle(&mut self, now: Instant) -> Result<Option<Event>, Wait> {
        let until = *self.idle_since.get_or_insert(now) + self.config.idle;
        if until > now {
            return Err(Wait { read: true, until: Some(until) });
        }
        if let Some(Pending { kind: Kind::Idle { done, .. }, .. }) = self.pending.front_mut() {
            *done = true;
            self.out.put(b"DONE\r\n");
            self.since = Some(now);
        }
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
                    self.phase = Phase::Open;
                    return Output::Event(Event::StartTls(ticket, Ok(())));
                }
                Phase::Deflate(id) => {
                    self.phase = Phase::Deflated(*id);
                    return Output::Start(Layer::Deflate);
                }
                Phase::Deflated(id) => {
                    let ticket = Ticket::new(*id);
                    self.phase = Phase::Open;
                    return Output::Event(Event::Compress(ticket, Ok(())));
                }
                // A message that is being sent may be refused before its end.
                Phase::Greeting | Phase::Open => match (self.ready.take(), &self.reading) {
                    (Some(id), _) => return Output::Event(Event::Ready(Ticket::new(id))),
                    (None, Reading::Fetch(_)) => self.fetch(now, rx),
                    (None, Reading::Response) => self.next(now, rx),
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
        &mut self.out
    }

    fn handle_eof(&mut self) {
        self.eof = true;
    }

    fn handle_tls(&mut self, _: TlsInfo) {
        self.tls = true;
        // RFC 9051 §6.2.1: what was learned before TLS must be forgotten.
        self.capabilities = None;
        self.frames.reset();
        if let Phase::Tls(id) = self.phase {
            self.phase = Phase::Secured(id);
        }
    }

    fn handle_failure(&mut self, reason: Closed) {
        self.eof = true;
        self.close(reason);
    }
}

/// The start of a response, fit for an error.
fn excerpt(octets: &[u8]) -> String {
    octets.escape_ascii().take(128).map(char::from).collect()
}

/// The start of a response, as it came.
fn shown(octets: &[u8]) -> Bytes {
    Bytes::copy_from_slice(octets.get(..128).unwrap_or(octets))
}
