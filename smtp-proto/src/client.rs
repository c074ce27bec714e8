//! The client machine, for SMTP, submission and LMTP: states and transitions.
//!
//! What holds here:
//!
//! * Every reply belongs to the oldest command without one. A reply to nothing, or one that is not to be
//!   understood, closes the connection: no later one could be trusted.
//! * Nothing is called that was not announced, and nothing is announced before the last hello on this side of TLS.
//! * While a body is sent the server is listened to: what it refuses in the middle is not sent to its end.
//! * A message whose final dot was sent and not answered is neither delivered nor refused.

mod body;
mod call;
mod config;
mod group;
mod replies;

use std::{collections::VecDeque, sync::Arc, time::Instant};

use bytes::BytesMut;
use mailwright_line_proto::{
    Authenticate, Closed, Deadline, Layer, Machine, Misuse, Output, Peer, PeerMisbehaved, Secret, Shutdown,
    Ticket, TlsInfo, Trace, Traced, Transmit, Wait,
    frame::{Line, LineEnds as Ends, Lines},
};

pub use call::Call;
pub use config::{Addressed, Chunking, Config, EightBit, Event, LineEnds};

use crate::{
    Capabilities, Hello, Reply,
    body::Sender,
    reply::{ReplyReader, Step},
    server::{self, Protocol},
};
use body::Way;
use group::Group;

/// One connection to a server. See [`Machine`] for how it is driven.
#[derive(Debug)]
pub struct Client {
    config: Arc<Config>,
    capabilities: Capabilities,
    phase: Phase,
    /// What is in flight, oldest first.
    expected: VecDeque<(u32, Expected)>,
    group: Option<Group>,
    /// How the message that was begun goes.
    way: Way,
    sender: Option<Sender>,
    /// The number of the body.
    body: u32,
    /// Why a part of it was refused.
    refused: Option<Reply>,
    /// How many messages were begun.
    messages: u32,
    /// Whether the last of them had an answer to its MAIL.
    mail_answered: bool,
    /// Whether a message was asked for since the last of them was begun.
    body_begun: bool,
    transmit: Transmit,
    lines: Lines,
    reader: ReplyReader,
    next: u32,
    tls: Option<TlsInfo>,
    /// Hello was accepted on this side of TLS.
    greeted: bool,
    /// Hello was the last thing answered: the rest of a torn list may follow, of so many lines.
    torn: Option<usize>,
    authenticated: bool,
    challenges: u32,
    /// The recipients accepted since MAIL.
    accepted: usize,
    /// The replies to the message so far, of those that come one a recipient.
    outcome: Vec<Reply>,
    ended: bool,
    /// Why the input ended, if not as the server wished.
    failure: Option<Closed>,
    since: Option<Instant>,
    trace: Trace,
}

/// What the connection is doing.
#[derive(Debug)]
enum Phase {
    /// Commands and replies.
    Open,
    /// The application owes the response to a challenge of this call.
    Challenged(u32),
    /// A body may be sent.
    Body,
    /// The server agreed to TLS: it is to be started, then being negotiated.
    Tls { id: u32, reply: Reply, started: bool },
    /// TLS is up, which is to be told.
    Secured { id: u32, reply: Reply },
    /// DATA was called for a message that goes without it; that is to be told.
    Granted(u32),
    /// The roles have turned (ATRN).
    Turned,
    /// To be closed for this reason.
    Closing(Closed),
    /// It is over.
    Closed,
}

/// What a reply is awaited for.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Greeting,
    Hello(Hello),
    StartTls,
    Authenticate,
    Mail,
    Rcpt,
    Data,
    /// The message, of which so many replies are to come.
    Commit(usize),
    /// The replies of PRDR, so many more and one.
    Each(usize),
    /// A part of the message that is not the last.
    Part,
    /// The end of a message of which a part was refused.
    PartsRset,
    Burl,
    Rset,
    Noop,
    Vrfy,
    Expn,
    Etrn,
    Atrn,
    XClient,
    XForward,
    Quit,
    GroupMail,
    GroupRcpt,
    GroupData,
    /// The empty message that stands for none.
    GroupEmpty,
    GroupRset,
}

/// The most challenges of one login: a server may not ask for ever.
const MOST_CHALLENGES: u32 = 32;

impl Client {
    /// A connection that waits for the server's greeting.
    pub fn new(config: Arc<Config>) -> Self {
        Self {
            config,
            capabilities: Capabilities::default(),
            phase: Phase::Open,
            expected: VecDeque::from([(0, Expected::Greeting)]),
            group: None,
            way: Way::default(),
            sender: None,
            body: 0,
            refused: None,
            messages: 0,
            mail_answered: false,
            body_begun: false,
            transmit: Transmit::default(),
            lines: Lines::new(Ends::Lenient),
            reader: ReplyReader::default(),
            next: 1,
            tls: None,
            greeted: false,
            torn: None,
            authenticated: false,
            challenges: 0,
            accepted: 0,
            outcome: Vec::new(),
            ended: false,
            failure: None,
            since: None,
            trace: Trace::default(),
        }
    }

    /// Reports every line to this callback, secrets left out.
    pub fn set_trace(&mut self, trace: Trace) {
        self.trace = trace;
    }

    pub(crate) fn shared_config(&self) -> Arc<Config> {
        Arc::clone(&self.config)
    }

    /// What the server announced last; nothing before hello, and nothing again after STARTTLS.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// What TLS agreed on, if there is TLS.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_ref()
    }

    /// Whether another message can be begun now: the connection is open, no answer is awaited, and the server takes more messages over
    /// it (MAILMAX, RFC 9422 §4.1). What has come and was not polled yet is not known.
    pub fn takes_more(&self) -> bool {
        let open = matches!(self.phase, Phase::Open) && self.greeted && !self.ended;
        open && self.expected.is_empty() && !self.is_spent()
    }

    /// Whether the server has answered the MAIL of the last [`Message`](crate::Message), by another reply than the 421 with which it
    /// closes: if not, a connection that is over has cost that message nothing, and it may go over another one at once.
    pub fn is_mail_answered(&self) -> bool {
        self.mail_answered
    }

    /// Whether the server has asked for the body of the last [`Message`](crate::Message): if not, it cannot have taken that message, and
    /// another server may be given it.
    pub fn is_body_begun(&self) -> bool {
        self.body_begun
    }

    /// Makes a call; its answer comes as an event with the same ticket.
    ///
    /// Where the server announces PIPELINING, MAIL, RCPT and RSET may be called before the answers to those before
    /// them have come. [`Message`](crate::Message) does so by itself.
    ///
    /// # Errors
    /// [`Misuse`] if it cannot be called now; nothing was sent.
    pub fn call<R: Call>(&mut self, request: R) -> Result<Ticket<R>, Misuse> {
        match self.phase {
            Phase::Open => {}
            Phase::Body | Phase::Granted(_) => return Err(Misuse::BodyOpen),
            Phase::Closing(_) | Phase::Closed | Phase::Turned => return Err(Misuse::Closed),
            Phase::Challenged(_) | Phase::Tls { .. } | Phase::Secured { .. } => return Err(Misuse::Busy),
        }
        if self.expected.front().is_some_and(|(_, expected)| *expected == Expected::Greeting) {
            return Err(Misuse::WrongState { request: R::NAME, state: "before the greeting" });
        }
        request.send(self).map(Ticket::new)
    }

    /// Answers a challenge; `None` cancels the login.
    ///
    /// # Errors
    /// [`Misuse`] if no challenge of this call waits.
    pub fn respond(&mut self, ticket: Ticket<Authenticate>, response: Option<&Secret>) -> Result<(), Misuse> {
        let Phase::Challenged(id) = self.phase else {
            return Err(Misuse::WrongState { request: "respond", state: "without a challenge" });
        };
        if id != ticket.id() {
            return Err(Misuse::WrongState { request: "respond", state: "for another login" });
        }
        self.put_response(response);
        self.phase = Phase::Open;
        self.expect(id, Expected::Authenticate);
        Ok(())
    }

    /// Whether ATRN was accepted: this side is the server from here on, and is to greet. Hand the connection, with its
    /// TLS, to a [`Server`](crate::server::Server).
    pub fn is_turned(&self) -> bool {
        matches!(self.phase, Phase::Turned)
    }

    /// The server that this becomes where the roles [have turned](Self::is_turned), with what is still to be sent. It greets, within
    /// the same TLS.
    pub fn turn_round(&mut self, config: Arc<server::Config>, peer: Peer) -> server::Server {
        let mut server = server::Server::new(config, peer);
        if let Some(tls) = &self.tls {
            server.handle_tls(tls.clone());
        }
        server.transmit().append(&mut self.transmit);
        server
    }

    /// Closes the connection at once. A body that was not ended is not delivered.
    pub fn shutdown(&mut self, why: Shutdown) {
        if !matches!(self.phase, Phase::Closing(_) | Phase::Closed) {
            self.phase = Phase::Closing(Closed::Shutdown(why));
        }
    }

    fn step(&mut self, now: Instant, rx: &mut BytesMut) -> Option<Output<Event>> {
        match &mut self.phase {
            Phase::Open | Phase::Body => self.read(now, rx),
            Phase::Challenged(_) | Phase::Turned if self.ended => self.close_ended(),
            Phase::Challenged(_) | Phase::Turned => wait(false, None),
            Phase::Granted(id) => {
                let id = *id;
                self.open_body();
                Some(Output::Event(Event::Data(Ticket::new(id), Ok(()))))
            }
            Phase::Tls { started, .. } if !*started => {
                *started = true;
                self.since = Some(now);
                Some(Output::Start(Layer::Tls))
            }
            Phase::Tls { .. } if self.ended => self.close_ended(),
            Phase::Tls { .. } => match *self.since.get_or_insert(now) + self.config.timeouts.tls {
                until if until <= now => self.close(Closed::TimedOut(Deadline::Tls)),
                until => wait(false, Some(until)),
            },
            Phase::Secured { .. } => {
                let phase = std::mem::replace(&mut self.phase, Phase::Open);
                let Phase::Secured { id, reply } = phase else { return None };
                Some(Output::Event(Event::StartTls(Ticket::new(id), reply)))
            }
            Phase::Closing(_) => {
                let phase = std::mem::replace(&mut self.phase, Phase::Closed);
                let Phase::Closing(why) = phase else { return None };
                Some(Output::Event(Event::Closed(why)))
            }
            Phase::Closed => Some(Output::Close),
        }
    }

    fn read(&mut self, now: Instant, rx: &mut BytesMut) -> Option<Output<Event>> {
        let limit = self.config.limits.line;
        match self.lines.next(rx, limit, 0) {
            Line::Whole(line) => {
                self.since = None;
                self.trace.line(Traced::Received(&line));
                match self.reader.line(&line) {
                    Ok(Step::More) => None,
                    Ok(Step::Done(reply)) => self.take(reply, rx),
                    Err(expected) => {
                        let received = escape(&line);
                        self.close(Closed::Misbehaved(PeerMisbehaved::BadReply { expected, received }))
                    }
                }
            }
            // Found at once or after skipping, it is the same fault.
            Line::TooLong | Line::Endless => {
                self.close(Closed::Misbehaved(PeerMisbehaved::Endless { limit: limit as u64 }))
            }
            Line::Partial if self.ended => self.end_of_input(),
            Line::Partial => {
                let timeouts = &self.config.timeouts;
                let (patience, deadline) = match self.expected.front() {
                    // Between calls there is nothing to wait for; but a farewell is heard. So is a refusal while a
                    // body is sent.
                    None => return wait(true, None),
                    Some((_, Expected::Part)) if self.sender.is_some() => return wait(true, None),
                    Some((_, Expected::Greeting)) => (timeouts.greeting, Deadline::Greeting),
                    // RFC 5321 §4.5.3.2.6
                    Some((_, Expected::Commit(_))) => (timeouts.body_end, Deadline::Reply),
                    Some(_) => (timeouts.command, Deadline::Reply),
                };
                match *self.since.get_or_insert(now) + patience {
                    until if until <= now => self.close(Closed::TimedOut(deadline)),
                    until => wait(true, Some(until)),
                }
            }
        }
    }

    fn end_of_input(&mut self) -> Option<Output<Event>> {
        match self.expected.pop_front() {
            Some((_, Expected::Quit)) if self.failure.is_none() => self.close(Closed::Farewell),
            Some((id, Expected::Commit(_))) if !self.outcome.is_empty() => {
                // Some LMTP recipients are known.
                self.close_ended();
                let outcome = std::mem::take(&mut self.outcome).into();
                Some(Output::Event(Event::BodyEnd(Ticket::new(id), outcome)))
            }
            _ => self.close_ended(),
        }
    }

    /// Closes after the last octet of input.
    fn close_ended(&mut self) -> Option<Output<Event>> {
        let why = self.failure.take().unwrap_or(Closed::Eof);
        self.close(why)
    }

    fn close(&mut self, why: Closed) -> Option<Output<Event>> {
        self.expected = VecDeque::new();
        self.group = None;
        self.sender = None;
        self.phase = Phase::Closing(why);
        None
    }

    fn number(&mut self) -> u32 {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        id
    }

    fn expect(&mut self, id: u32, expected: Expected) {
        if self.expected.is_empty() {
            self.since = None;
        }
        self.expected.push_back((id, expected));
    }
}

impl Machine for Client {
    type Event = Event;

    fn poll(&mut self, now: Instant, rx: &mut BytesMut) -> Output<Event> {
        loop {
            if let Some(output) = self.step(now, rx) {
                return output;
            }
        }
    }

    fn transmit(&mut self) -> &mut Transmit {
        &mut self.transmit
    }

    fn handle_eof(&mut self) {
        self.ended = true;
    }

    fn handle_failure(&mut self, reason: Closed) {
        // Replies that came before it still hold: a message that was taken must not be sent again.
        self.failure.get_or_insert(reason);
        self.ended = true;
    }

    fn handle_tls(&mut self, tls: TlsInfo) {
        // RFC 3207 §4.2: what the server said in the clear is forgotten.
        self.tls = Some(tls);
        self.capabilities = Capabilities::default();
        self.greeted = false;
        self.torn = None;
        self.authenticated = false;
        self.since = None;
        self.lines.reset();
        if let Phase::Tls { .. } = self.phase
            && let Phase::Tls { id, reply, .. } = std::mem::replace(&mut self.phase, Phase::Open)
        {
            self.phase = Phase::Secured { id, reply };
        }
    }
}

fn wait(read: bool, until: Option<Instant>) -> Option<Output<Event>> {
    Some(Output::Wait(Wait { read, until }))
}

/// The start of what came, fit to be shown.
fn escape(octets: &[u8]) -> String {
    octets.iter().take(128).flat_map(|octet| octet.escape_ascii()).map(char::from).collect()
}
