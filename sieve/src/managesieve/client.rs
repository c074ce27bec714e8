//! The client side of a session: transitions only.
//!
//! What it holds to: every reply is matched to the call it answers; nothing that comes before TLS is believed
//! after it; no login leaves without TLS unless the configuration allows it; whatever a server sends, little of it is
//! held, and nothing of a script.

mod call;
mod config;
mod event;
mod reply;

use std::{sync::Arc, time::Instant};

use bytes::{Bytes, BytesMut};
use mailwright_line_proto::{
    Closed, Deadline, Layer, Machine, Misuse, Outgoing, Output, PeerMisbehaved, Shutdown, TlsInfo, Trace,
    Traced, Transmit, Wait, frame::LineEnds,
};

use self::call::Queue;
use super::{
    Capabilities,
    gather::{Gather, Gathered, Source},
};

pub use self::{call::Call, config::Config, event::Event};

/// The client's end of one ManageSieve connection.
///
/// It begins with [`Event::Greeting`]. Then [`call`](Self::call) whatever is wanted, and each call's ticket comes
/// back with its answer.
///
/// ```
/// use std::{sync::Arc, time::Instant};
///
/// use bytes::{BufMut, BytesMut};
/// use mailwright_line_proto::{Authenticate, Machine, Output, Secret};
/// use mailwright_sieve::managesieve::{Client, Logout, PutScript, client::{Config, Event}};
///
/// let mut config = Config::default();
/// config.allow_plaintext_auth = true; // this example has no TLS beneath it
/// let mut client = Client::new(Arc::new(config));
///
/// // What the server sends; a driver would read it when the machine waits.
/// let mut replies = ["\"SIEVE\" \"fileinto\"\r\n\"SASL\" \"PLAIN\"\r\nOK\r\n", "OK\r\n", "OK\r\n", "OK\r\n"].into_iter();
/// let (mut rx, mut sent) = (BytesMut::new(), Vec::new());
/// loop {
///     match client.poll(Instant::now(), &mut rx) {
///         Output::Event(Event::Greeting) => {
///             let response = Secret::from("\0tim\0tanstaaf");
///             client.call(Authenticate::new("PLAIN".to_owned(), Some(response)))?;
///         }
///         Output::Event(Event::Authenticate(_, Ok(_))) => {
///             client.call(PutScript { name: "a".parse()?, size: 5 })?;
///             client.send_body("keep;".into())?;
///             client.end_body()?;
///         }
///         Output::Event(Event::PutScript(_, Ok(_))) => {
///             client.call(Logout)?;
///         }
///         Output::Event(Event::Logout(..) | Event::Closed(_)) => {}
///         Output::Event(other) => panic!("{other:?}"),
///         Output::Start(_) => unreachable!("STARTTLS was not called"),
///         Output::Close => break,
///         Output::Wait(_) => {
///             sent.put(client.transmit());
///             rx.extend_from_slice(replies.next().unwrap_or_default().as_bytes());
///         }
///     }
/// }
/// assert!(sent.ends_with(b"PUTSCRIPT \"a\" {5+}\r\nkeep;\r\nLOGOUT\r\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Client {
    config: Arc<Config>,
    out: Outgoing,
    gather: Gather,
    phase: Phase,
    logged_in: bool,
    queue: Queue,
    /// The number of the last call.
    calls: u32,
    tls: bool,
    /// What the server can do, as it last said.
    capabilities: Capabilities,
    /// What it says now.
    listing: Capabilities,
    /// A SASL challenge waits for the application's response.
    challenged: bool,
    /// A script is being sent: so many more octets, of so many.
    sending: Option<(u32, u32)>,
    /// A script is being read.
    reading: Option<Source>,
    /// Since when nothing came of what is awaited.
    since: Option<Instant>,
    eof: bool,
}

#[derive(Debug)]
enum Phase {
    Greeting,
    Open,
    /// The layer was asked for by this call.
    Tls(u32),
    /// The layer is up, and the capabilities are on their way.
    Secured(u32),
    /// The closing event is next.
    Closing(Closed),
    Closed,
}

impl Client {
    /// A client's end, for a connection that was just opened. TLS may be put beneath it before the first poll.
    pub fn new(config: Arc<Config>) -> Self {
        Self {
            config,
            out: Outgoing::default(),
            gather: Gather::new(LineEnds::Lenient),
            phase: Phase::Greeting,
            logged_in: false,
            queue: Queue::new(),
            calls: 0,
            tls: false,
            capabilities: Capabilities::default(),
            listing: Capabilities::default(),
            challenged: false,
            sending: None,
            reading: None,
            since: None,
            eof: false,
        }
    }

    /// What the server can do, as it last said; it is known from the greeting on. After a login it may be more: call
    /// [`Capability`](super::Capability).
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Watches the lines of this session, without their secrets. Scripts are not shown.
    pub fn set_trace(&mut self, trace: Trace) {
        self.out.watch(trace);
    }

    /// Ends the session at once, whatever is under way.
    pub fn shutdown(&mut self, why: Shutdown) {
        self.close(Closed::Shutdown(why));
    }

    /// Sends the next part of the script that was called for, cut anywhere.
    ///
    /// # Errors
    /// [`Misuse::NoBody`] if none is awaited, [`Misuse::Closed`] if the connection is gone, [`Misuse::BodyLength`] if
    /// it is more than was announced: the connection closes.
    pub fn send_body(&mut self, chunk: Bytes) -> Result<(), Misuse> {
        let Some((remaining, announced)) = self.sending else { return Err(self.no_body()) };
        let left = u32::try_from(chunk.len()).ok().and_then(|length| remaining.checked_sub(length));
        let Some(left) = left else { return Err(self.wrong_length(announced)) };
        self.sending = Some((left, announced));
        self.since = None;
        self.out.body(|transmit| transmit.put_bytes(chunk));
        Ok(())
    }

    /// Ends the script.
    ///
    /// # Errors
    /// As [`send_body`](Self::send_body); [`Misuse::BodyLength`] if it is less than was announced.
    pub fn end_body(&mut self) -> Result<(), Misuse> {
        let Some((remaining, announced)) = self.sending else { return Err(self.no_body()) };
        if remaining > 0 {
            return Err(self.wrong_length(announced));
        }
        self.sending = None;
        self.since = None;
        self.out.body(|transmit| transmit.put(b"\r\n"));
        Ok(())
    }

    fn no_body(&self) -> Misuse {
        if matches!(self.phase, Phase::Closing(_) | Phase::Closed) { Misuse::Closed } else { Misuse::NoBody }
    }

    fn wrong_length(&mut self, announced: u32) -> Misuse {
        let misuse = Misuse::BodyLength { announced: announced.into() };
        self.close(Closed::Misuse(misuse));
        misuse
    }

    /// The first reason stands.
    fn close(&mut self, why: Closed) {
        if !matches!(self.phase, Phase::Closing(_) | Phase::Closed) {
            self.phase = Phase::Closing(why);
        }
        self.queue = Queue::new();
        self.sending = None;
        self.reading = None;
    }

    fn misbehaved(&mut self, expected: &'static str, received: &str) {
        let received = received.escape_default().take(128).collect();
        self.close(Closed::Misbehaved(PeerMisbehaved::BadReply { expected, received }));
    }

    /// The next part of the script that is being read.
    fn next_part(&mut self, now: Instant, rx: &mut BytesMut) -> Result<Option<Event>, Wait> {
        let Some(source) = &mut self.reading else { return Ok(None) };
        if let Some(chunk) = source.next(rx) {
            self.since = Some(now);
            return Ok(self.is_heard().then_some(Event::Body(chunk)));
        }
        if !source.is_done() {
            return self.nothing(now);
        }
        // A literal stands on a line, whose end is still to come.
        let line_end = matches!(source, Source::Literal(_));
        self.await_status(line_end);
        Ok(None)
    }

    fn next_input(&mut self, now: Instant, rx: &mut BytesMut) -> Result<Option<Event>, Wait> {
        let limits = &self.config.limits;
        let exchange = self.is_exchange();
        let line = if exchange { limits.sasl_line.max(limits.line) } else { limits.line };
        let gathered = self.gather.next(rx, line);
        if !matches!(gathered, Gathered::Partial) {
            self.since = Some(now);
        }
        Ok(match gathered {
            Gathered::Partial => return self.nothing(now),
            Gathered::Lost => {
                self.close(Closed::Misbehaved(PeerMisbehaved::Endless { limit: line as u64 }));
                None
            }
            Gathered::Malformed => {
                self.misbehaved("atoms, strings and numbers", "something else");
                None
            }
            Gathered::Literal(length) => self.literal(length),
            Gathered::Whole(tokens) => {
                self.out.received(if exchange {
                    Traced::ReceivedSecret("SASL challenge")
                } else {
                    Traced::Received(b"a line")
                });
                self.line(tokens, rx.is_empty())
            }
        })
    }

    /// Nothing whole is there: waits for more, or gives up.
    fn nothing(&mut self, now: Instant) -> Result<Option<Event>, Wait> {
        if self.eof {
            self.close(Closed::Eof);
            return Ok(None);
        }
        let timeouts = &self.config.timeouts;
        let (duration, deadline) = match self.phase {
            Phase::Greeting => (timeouts.greeting, Deadline::Greeting),
            _ if self.reading.is_some() => (timeouts.body, Deadline::Body),
            Phase::Secured(_) => (timeouts.command, Deadline::Reply),
            _ if self.queue.is_empty() || self.challenged || self.sending.is_some() => {
                return Err(Wait { read: true, until: None });
            }
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
                _ if self.reading.is_some() => self.next_part(now, rx),
                _ => self.next_input(now, rx),
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
        // RFC 5804 §2.2: what was learned before TLS must be forgotten.
        self.capabilities = Capabilities::default();
        self.listing = Capabilities::default();
        self.gather.reset(LineEnds::Lenient);
        if let Phase::Tls(id) = self.phase {
            self.phase = Phase::Secured(id);
            self.since = None;
        }
    }
}
