//! The server machine, for SMTP, submission and LMTP: states and transitions.
//!
//! What holds here:
//!
//! * Replies leave in the order of the commands. RCPTs are decided side by side; every other command waits until
//!   all before it have been answered, and nothing overtakes it.
//! * Only CRLF `.` CRLF ends a message, and a message is always taken to its end, even if it is refused.
//! * After a refused DATA the client must say RSET or EHLO before anything is delivered, and a line that is no
//!   command closes the connection: it is a message sent without consent (RFC 2920 §3.1), and lines of a message
//!   must not be run as commands.

mod abilities;
mod answer;
mod commands;
mod config;
mod event;
mod lines;
mod parts;
mod questions;
mod replies;
mod session;

use std::{sync::Arc, time::Instant};

use bytes::BytesMut;
use mailwright_line_proto::{
    Ask, Closed, Deadline, Layer, Machine, Output, Peer, Pipeline, Shutdown, TlsInfo, Trace, Transmit, Wait,
    can_offer,
    frame::{LineEnds, Lines},
};

pub use abilities::{Abilities, Extension};
pub use answer::Serve;
pub use config::{BareLineEnds, Config, Protocol, VrfyPolicy};
pub use event::{Aborted, Event};
pub use session::Session;

use crate::{
    Capabilities, Command, Commit, Connect, Reply, SessionLimits, SizeLimit, Syntax, XClient, XForward,
    body::{Part, Receiver},
    client,
    command::Row,
};
use lines::Beginning;
use parts::{Parts, Skipped};
use session::Transaction;

/// One connection of a client to a server. See [`Machine`] for how it is driven.
#[derive(Debug)]
pub struct Server {
    config: Arc<Config>,
    session: Session,
    transaction: Option<Transaction>,
    /// A message that comes in parts, between two of them.
    parts: Option<Parts>,
    /// The message under way wants a reply for each recipient (PRDR).
    each_recipient: bool,
    phase: Phase,
    pipeline: Pipeline,
    transmit: Transmit,
    lines: Lines,
    /// What the line begins with that is too long.
    beginning: Beginning,
    /// A command that was read and must wait for the answers to those before it.
    held: Option<(&'static Row, Command)>,
    /// A transaction has ended, which is still to be told.
    reset: bool,
    /// A message that was being taken has ended without its last part, which is still to be told.
    abandoned: bool,
    /// DATA was refused, and neither RSET nor EHLO came since.
    data_refused: bool,
    /// The greeting was a refusal; all that is left is QUIT.
    refused: bool,
    shutdown: Option<Shutdown>,
    ended: bool,
    errors: u32,
    junk: u32,
    failed_logins: u32,
    /// How many errors are borne, if fewer than the configuration says.
    most_errors: u32,
    /// How many messages were begun.
    messages: u32,
    started: Option<Instant>,
    /// Since when the client has had the turn.
    since: Option<Instant>,
    trace: Trace,
}

/// Whose turn it is.
#[derive(Debug)]
enum Phase {
    /// Nobody was greeted.
    Start,
    /// The client's, to send commands; RCPTs may be undecided.
    Command,
    /// The application's: nothing is read before it has answered.
    Asked(Asked),
    /// The client's, to answer the challenge of this mechanism.
    Challenged(String),
    /// The client's, to send a message.
    Body(Receiver),
    /// The client's, to send a part of a message that is refused.
    Skip(Skipped),
    /// The roles have turned (ATRN).
    Turned,
    /// The go-ahead for TLS was given; first it is to be started, then it is being negotiated.
    Tls { started: bool },
    /// The connection is to be closed for this reason once all is answered.
    Closing(Closed),
    /// It is over.
    Closed,
}

/// The question that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Connect,
    Hello,
    Authenticate,
    Mail,
    Message,
    /// The same, of a message in parts.
    Parts,
    Burl,
    Commit {
        recipients: usize,
    },
    Other,
}

impl Server {
    /// A connection from this peer.
    pub fn new(config: Arc<Config>, peer: Peer) -> Self {
        let ends = match config.syntax {
            Syntax::Strict => LineEnds::Strict,
            Syntax::Lenient => LineEnds::Lenient,
        };
        Self {
            config,
            session: Session::new(peer),
            transaction: None,
            parts: None,
            each_recipient: false,
            phase: Phase::Start,
            pipeline: Pipeline::default(),
            transmit: Transmit::default(),
            lines: Lines::new(ends),
            beginning: Beginning::default(),
            held: None,
            reset: false,
            abandoned: false,
            data_refused: false,
            refused: false,
            shutdown: None,
            ended: false,
            errors: 0,
            junk: 0,
            failed_logins: 0,
            most_errors: u32::MAX,
            messages: 0,
            started: None,
            since: None,
            trace: Trace::default(),
        }
    }

    /// Reports every line to this callback, secrets left out.
    pub fn set_trace(&mut self, trace: Trace) {
        self.trace = trace;
    }

    /// What is known of the client.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn shared_config(&self) -> Arc<Config> {
        Arc::clone(&self.config)
    }

    /// Ends the connection with 421 as soon as nothing is under way; a message that has begun is still taken.
    pub fn shutdown(&mut self, why: Shutdown) {
        self.shutdown.get_or_insert(why);
        if why == Shutdown::Unanswered {
            self.shutdown = Some(why);
            while let Some(id) = self.pipeline.first_open() {
                self.expire(id);
            }
        }
    }

    /// Takes only so many errors from now on, bad commands and failed logins each, if the configuration allows more: for a server whose
    /// connections run out. [`u32::MAX`] is what the configuration says.
    pub fn limit_errors(&mut self, most: u32) {
        self.most_errors = most;
    }

    /// What is announced to the client now.
    pub fn capabilities(&self) -> Capabilities {
        let tls = self.session.tls.is_some();
        let auth = (tls || self.config.allow_plaintext_auth) && !self.session.authenticated;
        let config = &self.config;
        let announced = |number: usize| u32::try_from(number).ok().filter(|number| *number <= 999_999);
        let limits = SessionLimits {
            recipients: announced(config.max_recipients),
            messages: config.max_messages.filter(|number| *number <= 999_999),
            ..SessionLimits::default()
        };
        let mut capabilities = Capabilities {
            pipelining: true,
            size: Some(config.max_message_size.map_or(SizeLimit::Unknown, SizeLimit::AtMost)),
            vrfy: config.vrfy == VrfyPolicy::Ask,
            expn: config.expn == VrfyPolicy::Ask,
            starttls: config.starttls && !tls,
            auth: if auth { self.offered().map(str::to_owned).collect() } else { Vec::new() },
            legacy_auth: config.legacy_auth,
            enhanced_status_codes: true,
            eight_bit_mime: true,
            smtputf8: config.smtputf8,
            chunking: true,
            limits: Some(limits),
            xclient: if config.xclient { XClient::names() } else { Vec::new() },
            xforward: if config.xforward { XForward::names() } else { Vec::new() },
            verp: config.verp,
            ..Capabilities::default()
        };
        config.abilities.announce(tls, &mut capabilities);
        if config.require_auth && !self.session.authenticated {
            // RFC 4468 §3.2: whose URLs they are is known by the login.
            capabilities.burl = None;
        }
        // LMTP has that of itself.
        capabilities.each_recipient &= config.protocol == Protocol::Smtp;
        capabilities
    }

    /// Whether ATRN was accepted: the client is the server from here on, and will greet. Hand the connection, with its
    /// TLS, to a [`Client`](crate::client::Client).
    pub fn is_turned(&self) -> bool {
        matches!(self.phase, Phase::Turned)
    }

    /// The client that this becomes where the roles [have turned](Self::is_turned), with what is still to be sent. It waits for the
    /// greeting, within the same TLS.
    pub fn turn_round(&mut self, config: Arc<client::Config>) -> client::Client {
        let mut client = client::Client::new(config);
        if let Some(tls) = &self.session.tls {
            client.handle_tls(tls.clone());
        }
        // What the server said last goes first.
        client.transmit().append(&mut self.transmit);
        client
    }

    /// The mechanisms that work on this connection.
    fn offered(&self) -> impl Iterator<Item = &str> {
        let tls = self.session.tls.as_ref();
        let names = self.config.auth_mechanisms.iter().map(String::as_str);
        names.filter(move |name| can_offer(name, tls))
    }

    /// One transition; `None` if there is another to make at once.
    fn step(&mut self, now: Instant, rx: &mut BytesMut) -> Option<Output<Event>> {
        if std::mem::take(&mut self.reset) {
            return Some(Output::Event(Event::Reset));
        }
        if std::mem::take(&mut self.abandoned) {
            return Some(Output::Event(Event::BodyAborted(Aborted::Unfinished)));
        }
        let since = *self.since.get_or_insert(now);
        let timeouts = &self.config.timeouts;
        match &mut self.phase {
            Phase::Start => self.start(now),
            Phase::Command | Phase::Challenged(_) => self.read_line(now, since, rx),
            Phase::Asked(_) => wait(false, self.pipeline.deadline()),
            // RFC 5321 §3.8: 421 may be said at any time.
            Phase::Body(_) if self.shutdown == Some(Shutdown::Unanswered) => {
                self.say_goodbye(Shutdown::Unanswered)
            }
            Phase::Body(receiver) => {
                let until = since + timeouts.body;
                match receiver.next(rx) {
                    Part::Partial if self.ended => self.close(Closed::Eof),
                    Part::Partial if until <= now => self.time_out(Deadline::Body),
                    Part::Partial => wait(true, Some(until)),
                    Part::Chunk(chunk) => {
                        // However long the application takes over it is not the client's fault.
                        self.since = None;
                        Some(Output::Event(Event::Body(chunk)))
                    }
                    Part::TooLarge => Some(Output::Event(Event::BodyAborted(Aborted::TooLarge))),
                    Part::Complete => self.end_of_part(now),
                    Part::End(end) => {
                        let recipients = receiver.recipients();
                        self.end_of_body(now, recipients, end)
                    }
                }
            }
            Phase::Skip(_) => self.skip_on(now, since, rx),
            Phase::Turned if self.ended => self.close(Closed::Eof),
            Phase::Turned => match since + timeouts.command {
                until if until <= now => self.close(Closed::TimedOut(Deadline::Command)),
                until => wait(false, Some(until)),
            },
            Phase::Tls { started: false } => {
                self.phase = Phase::Tls { started: true };
                Some(Output::Start(Layer::Tls))
            }
            Phase::Tls { started: true } if self.ended => self.close(Closed::Eof),
            Phase::Tls { started: true } => match since + timeouts.tls {
                until if until <= now => self.close(Closed::TimedOut(Deadline::Tls)),
                until => wait(false, Some(until)),
            },
            Phase::Closing(_) if !self.pipeline.is_empty() => wait(false, self.pipeline.deadline()),
            Phase::Closing(_) => {
                let Phase::Closing(why) = std::mem::replace(&mut self.phase, Phase::Closed) else {
                    return None;
                };
                Some(Output::Event(Event::Closed(why)))
            }
            Phase::Closed => Some(Output::Close),
        }
    }

    fn start(&mut self, now: Instant) -> Option<Output<Event>> {
        self.started.get_or_insert(now);
        if let Some(why) = self.shutdown {
            return self.say_goodbye(why);
        }
        if self.config.ask_connect {
            let id = self.ask(now, Asked::Connect);
            return event(Event::Connect, id, Connect);
        }
        self.greet();
        None
    }

    fn greet(&mut self) {
        let config = Arc::clone(&self.config);
        let protocol = match config.protocol {
            // The word that clients look for (RFC 1869 has no such rule; they do it all the same).
            Protocol::Smtp => "ESMTP",
            Protocol::Lmtp => "LMTP",
        };
        let text = format!("{} {protocol} {}", config.hostname, config.greeting);
        self.reply(&Reply::plain(220, text.trim_end().to_owned()));
        self.phase = Phase::Command;
    }

    fn end_of_body(
        &mut self,
        now: Instant,
        recipients: usize,
        end: Result<Commit, Aborted>,
    ) -> Option<Output<Event>> {
        self.since = Some(now);
        self.junk = 0;
        let (reply, told) = match end {
            Ok(commit) => {
                let id = self.ask(now, Asked::Commit { recipients });
                return event(Event::BodyEnd, id, commit);
            }
            // RFC 1870 §6.3
            Err(Aborted::TooLarge) => (Self::too_large(), false),
            Err(_) => (Reply::fixed(550, (5, 6, 11), "Message has CR without LF or LF without CR"), true),
        };
        self.phase = Phase::Command;
        self.reply_each(vec![reply; self.replies_to(recipients)]);
        told.then_some(Output::Event(Event::BodyAborted(Aborted::BareLineEnds)))
    }

    /// Opens a question that nothing may overtake.
    fn ask(&mut self, now: Instant, asked: Asked) -> u32 {
        self.phase = Phase::Asked(asked);
        self.pipeline.open(now + self.config.timeouts.answer)
    }
}

impl Machine for Server {
    type Event = Event;

    fn poll(&mut self, now: Instant, rx: &mut BytesMut) -> Output<Event> {
        while let Some(id) = self.pipeline.expired(now) {
            self.expire(id);
        }
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
        // Nothing can reach the client any more, so nothing more is answered, taken or begun.
        self.pipeline.clear();
        if !matches!(self.phase, Phase::Closing(_) | Phase::Closed) {
            self.close(reason);
        }
    }

    fn handle_tls(&mut self, tls: TlsInfo) {
        // RFC 3207 §4.2: all that was known of the client is forgotten, its EHLO first.
        self.session.tls = Some(tls);
        self.session.hello = None;
        self.session.authenticated = false;
        self.transaction = None;
        self.parts = None;
        self.data_refused = false;
        self.held = None;
        self.since = None;
        self.lines.reset();
        if matches!(self.phase, Phase::Tls { .. }) {
            self.phase = Phase::Command;
        }
    }
}

fn wait(read: bool, until: Option<Instant>) -> Option<Output<Event>> {
    Some(Output::Wait(Wait { read, until }))
}

/// Asks a question.
fn event<R>(make: impl FnOnce(Ask<R>) -> Event, id: u32, request: R) -> Option<Output<Event>> {
    Some(Output::Event(make(Ask::new(id, request))))
}
