//! The side that knows who may log in.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};

use super::fields::{AuthRequest, BadRequest, MechanismOffer, decode, escape};
use crate::{
    Ask, AuthRefusal, Closed, Deadline, Gone, Machine, Output, PeerMisbehaved, Request, Secret, TlsInfo,
    Transmit, Wait,
    frame::{Line, LineEnds, Lines},
};

/// Dovecot's `AUTH_CLIENT_MAX_LINE_LENGTH`, so that its clients meet the limit they know.
const LINE: usize = 16 * 1024;
/// How long a connection may be silent. Clients keep it for the next login, and connect anew when it is gone.
const IDLE: Duration = Duration::from_secs(30 * 60);
/// How long a client may take over its response to a challenge: Dovecot's `AUTH_REQUEST_TIMEOUT_SECS`.
const RESPONSE: Duration = Duration::from_secs(150);
/// How much may wait to be sent.
const AHEAD: usize = 64 * 1024;

/// What a server says of itself, and how much it bears.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerConfig {
    /// The mechanisms that are offered.
    pub mechanisms: Vec<MechanismOffer>,
    /// A number that tells this process from others.
    pub process: u32,
    /// A number that tells this connection from others of the process.
    pub connection: u32,
    /// 16 random octets, for clients that talk to other parts of Dovecot.
    pub cookie: [u8; 16],
    /// How many exchanges a client may have open at once: 128 by default.
    pub exchanges: usize,
}

impl ServerConfig {
    /// These mechanisms, and numbers that say nothing.
    pub fn new(mechanisms: Vec<MechanismOffer>) -> Self {
        Self { mechanisms, process: 1, connection: 1, cookie: [0; 16], exchanges: 128 }
    }
}

/// What the application is told.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerEvent {
    /// An exchange begins or goes on: answer it.
    Exchange(Ask<Exchange>),
    /// The client does not go on with the exchange of this number. If it is still asked about, that is to be answered all the same, with
    /// anything: until then the number is in use.
    Cancelled(u32),
    /// The connection is over.
    Closed(Closed),
}

/// A step of an exchange. [`Ask::id`] is the number of the exchange.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exchange {
    /// Somebody wants to log in.
    Begin(AuthRequest),
    /// The response to the last challenge.
    Response(Secret),
}

impl Request for Exchange {
    type Answer = Answer;
}

/// How an exchange goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// The client is to respond to this.
    Challenge(Bytes),
    /// It is this user.
    Accept(String),
    /// It is not, or it may not.
    Refuse(AuthRefusal),
}

/// The server's side of a connection.
///
/// ```
/// use bytes::BytesMut;
/// use mailwright_line_proto::{Machine, Output, dovecot_auth::{Answer, MechanismOffer, Server, ServerConfig, ServerEvent}};
///
/// let now = std::time::Instant::now();
/// let mut server = Server::new(ServerConfig::new(vec![MechanismOffer::new("PLAIN", true)]));
/// let mut rx = BytesMut::from("VERSION\t1\t2\nCPID\t9\nAUTH\t1\tPLAIN\tservice=smtp\tresp=AHRpbQBwYXNz\n");
/// let Output::Event(ServerEvent::Exchange(ask)) = server.poll(now, &mut rx) else { panic!() };
/// server.answer(ask, Answer::Accept("tim@example.org".into()))?;
/// let length = server.transmit().len();
/// let sent = bytes::Buf::copy_to_bytes(server.transmit(), length);
/// assert!(sent.ends_with(b"DONE\nOK\t1\tuser=tim@example.org\n"));
/// # Ok::<(), mailwright_line_proto::Gone>(())
/// ```
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    lines: Lines,
    transmit: Transmit,
    phase: Phase,
    /// The client has told its version.
    greeted: bool,
    exchanges: HashMap<u32, State>,
    /// Since when nothing came.
    since: Option<Instant>,
    ended: bool,
}

#[derive(Debug)]
enum Phase {
    Start,
    Open,
    Closing(Closed),
    Closed,
}

/// Where an exchange is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The application is asked.
    Asked,
    /// The application is asked, and the client does not want to know any more.
    Dropped,
    /// The client is challenged; `None` until the next poll tells the time.
    Challenged(Option<Instant>),
}

impl Server {
    /// A connection that was just accepted.
    pub fn new(config: ServerConfig) -> Self {
        Self {
            config,
            lines: Lines::new(LineEnds::Lenient),
            transmit: Transmit::default(),
            phase: Phase::Start,
            greeted: false,
            exchanges: HashMap::new(),
            since: None,
            ended: false,
        }
    }

    /// Answers a step of an exchange.
    ///
    /// # Errors
    /// [`Gone`] if the client has cancelled it or the connection is closed.
    pub fn answer(&mut self, ask: Ask<Exchange>, answer: Answer) -> Result<(), Gone> {
        let (id, _) = ask.into_parts();
        let open = matches!(self.phase, Phase::Open);
        match self.exchanges.get_mut(&id) {
            Some(state @ State::Asked) if open => {
                let line = match answer {
                    Answer::Challenge(challenge) => {
                        *state = State::Challenged(None);
                        format!("CONT\t{id}\t{}\n", STANDARD.encode(challenge))
                    }
                    Answer::Accept(user) => {
                        self.exchanges.remove(&id);
                        format!("OK\t{id}\tuser={}\n", escape(&user))
                    }
                    Answer::Refuse(refusal) => {
                        self.exchanges.remove(&id);
                        format!("FAIL\t{id}{}\n", failure(refusal))
                    }
                };
                self.transmit.put(line.as_bytes());
                Ok(())
            }
            Some(State::Dropped) => {
                self.exchanges.remove(&id);
                Err(Gone)
            }
            _ => Err(Gone),
        }
    }

    /// Ends the connection.
    pub fn shutdown(&mut self, why: crate::Shutdown) {
        if !matches!(self.phase, Phase::Closing(_) | Phase::Closed) {
            self.phase = Phase::Closing(Closed::Shutdown(why));
        }
    }

    fn handshake(&mut self) {
        self.transmit.put(b"VERSION\t1\t2\n");
        for mechanism in &self.config.mechanisms {
            self.transmit.put(mechanism.encode().as_bytes());
        }
        let ServerConfig { process, connection, cookie, .. } = &self.config;
        let cookie: String = cookie.iter().map(|octet| format!("{octet:02x}")).collect();
        let rest = format!("SPID\t{process}\nCUID\t{connection}\nCOOKIE\t{cookie}\nDONE\n");
        self.transmit.put(rest.as_bytes());
    }

    /// Does what a line says; `None` if there is nothing to tell.
    fn line(&mut self, line: &[u8]) -> Result<Option<ServerEvent>, PeerMisbehaved> {
        let bad = |expected| PeerMisbehaved::BadReply {
            expected,
            received: line.escape_ascii().to_string().chars().take(64).collect(),
        };
        // What a user's program said may stand in fields that mean nothing here, and in any octets.
        let text = String::from_utf8_lossy(line);
        let mut fields = text.split('\t');
        let command = fields.next().unwrap_or_default();
        if !self.greeted {
            // Another major version is another protocol.
            let ours = command == "VERSION" && fields.next() == Some("1");
            self.greeted = ours;
            return if ours { Ok(None) } else { Err(bad("VERSION 1")) };
        }
        if !matches!(command, "AUTH" | "CONT" | "CANCEL") {
            // CPID, and what newer clients say.
            return Ok(None);
        }
        let id = fields.next().and_then(|id| id.parse::<u32>().ok()).ok_or_else(|| bad("a number"))?;
        let state = self.exchanges.get(&id).copied();
        match (command, state) {
            ("AUTH", None) => {
                // The connection is that of all who log in by this program: one of them must not end it.
                let request = match AuthRequest::parse(fields) {
                    Ok(request) => request,
                    Err(BadRequest::Response) => {
                        self.fail_base64(id);
                        return Ok(None);
                    }
                    Err(BadRequest::Line) => return Err(bad("AUTH id mechanism service=…")),
                };
                let offered = self.config.mechanisms.iter().any(|offer| offer.name == request.mechanism);
                if !offered {
                    self.fail(id, AuthRefusal::Mechanism);
                    return Ok(None);
                }
                if self.exchanges.len() >= self.config.exchanges {
                    self.fail(id, AuthRefusal::Busy);
                    return Ok(None);
                }
                self.exchanges.insert(id, State::Asked);
                Ok(Some(ServerEvent::Exchange(Ask::new(id, Exchange::Begin(request)))))
            }
            ("AUTH", Some(_)) => Err(bad("a number that is not in use")),
            ("CONT", Some(State::Challenged(_))) => {
                let response = fields.next().unwrap_or_default();
                let Some(response) = decode(response) else {
                    self.exchanges.remove(&id);
                    self.fail_base64(id);
                    return Ok(Some(ServerEvent::Cancelled(id)));
                };
                self.exchanges.insert(id, State::Asked);
                Ok(Some(ServerEvent::Exchange(Ask::new(id, Exchange::Response(response)))))
            }
            ("CONT", Some(State::Asked | State::Dropped)) => Err(bad("to be challenged first")),
            ("CANCEL", Some(State::Challenged(_))) => {
                self.exchanges.remove(&id);
                Ok(Some(ServerEvent::Cancelled(id)))
            }
            ("CANCEL", Some(State::Asked)) => {
                self.exchanges.insert(id, State::Dropped);
                Ok(Some(ServerEvent::Cancelled(id)))
            }
            // It ran out of time a moment ago.
            _ => Ok(None),
        }
    }

    fn fail(&mut self, id: u32, refusal: AuthRefusal) {
        self.transmit.put(format!("FAIL\t{id}{}\n", failure(refusal)).as_bytes());
    }

    fn fail_base64(&mut self, id: u32) {
        let fields = "code=invalid_base64\treason=Invalid base64 data";
        self.transmit.put(format!("FAIL\t{id}\t{fields}\n").as_bytes());
    }

    /// The earliest end of a client's time to respond; what ran out is refused.
    fn responses(&mut self, now: Instant) -> Result<Option<Instant>, u32> {
        let mut earliest = None;
        for (id, state) in &mut self.exchanges {
            if let State::Challenged(since) = state {
                let due = *since.get_or_insert(now) + RESPONSE;
                if due <= now {
                    return Err(*id);
                }
                earliest = Some(earliest.map_or(due, |earliest: Instant| earliest.min(due)));
            }
        }
        Ok(earliest)
    }

    /// One transition; `None` if there is another to make at once.
    fn step(&mut self, now: Instant, rx: &mut BytesMut) -> Option<Output<ServerEvent>> {
        let asked = self.exchanges.values().filter(|state| !matches!(state, State::Challenged(_))).count();
        let responses = match self.responses(now) {
            Ok(responses) => responses,
            Err(id) => {
                self.exchanges.remove(&id);
                self.fail(id, AuthRefusal::Credentials);
                return Some(Output::Event(ServerEvent::Cancelled(id)));
            }
        };
        let idle = *self.since.get_or_insert(now) + IDLE;
        let wait = |read, until: Option<Instant>| Some(Output::Wait(Wait { read, until }));
        if asked >= self.config.exchanges || self.transmit.len() >= AHEAD {
            return wait(false, responses.or_else(|| Some(idle).filter(|idle| *idle > now)));
        }
        let closed = match self.lines.next(rx, LINE, LINE as u64) {
            Line::Whole(line) => {
                self.since = None;
                match self.line(&line) {
                    Ok(event) => return event.map(Output::Event),
                    Err(why) => Closed::Misbehaved(why),
                }
            }
            Line::TooLong | Line::Endless => {
                Closed::Misbehaved(PeerMisbehaved::Endless { limit: LINE as u64 })
            }
            // Who has said all and waits for the answers gets them.
            Line::Partial if self.ended && asked == 0 => Closed::Eof,
            // However long the application takes is not the client's fault.
            Line::Partial if asked > 0 => return wait(true, responses),
            Line::Partial if idle <= now => Closed::TimedOut(Deadline::Command),
            Line::Partial => return wait(true, Some(responses.map_or(idle, |due| due.min(idle)))),
        };
        self.phase = Phase::Closing(closed);
        None
    }
}

impl Machine for Server {
    type Event = ServerEvent;

    fn poll(&mut self, now: Instant, rx: &mut BytesMut) -> Output<ServerEvent> {
        loop {
            match std::mem::replace(&mut self.phase, Phase::Open) {
                Phase::Start => self.handshake(),
                Phase::Open => {
                    if let Some(output) = self.step(now, rx) {
                        return output;
                    }
                }
                Phase::Closing(why) => {
                    self.phase = Phase::Closed;
                    self.exchanges.clear();
                    return Output::Event(ServerEvent::Closed(why));
                }
                Phase::Closed => {
                    self.phase = Phase::Closed;
                    return Output::Close;
                }
            }
        }
    }

    fn transmit(&mut self) -> &mut Transmit {
        &mut self.transmit
    }

    fn handle_eof(&mut self) {
        self.ended = true;
    }

    fn handle_tls(&mut self, _: TlsInfo) {}
}

/// The fields behind the number of a refusal.
fn failure(refusal: AuthRefusal) -> &'static str {
    match refusal {
        AuthRefusal::Credentials | AuthRefusal::NeedsTls => "",
        AuthRefusal::NotAuthorized => "\tcode=authz_fail",
        AuthRefusal::Unavailable | AuthRefusal::Busy => "\ttemp\tcode=temp_fail",
        AuthRefusal::Expired => "\tcode=pass_expired\treason=The password has expired",
        AuthRefusal::Malformed => "\treason=The response cannot be understood",
        AuthRefusal::Mechanism => "\treason=The mechanism is not offered",
    }
}
