//! The side that asks.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};

use super::fields::{AuthRequest, MechanismOffer, decode, unescape};
use crate::{
    Closed, Deadline, Machine, Misuse, Output, PeerMisbehaved, Secret, TlsInfo, Transmit, Wait,
    frame::{Line, LineEnds, Lines},
};

/// As long as a server's line may be.
const LINE: usize = 64 * 1024;
/// How long the handshake may take, and how long an answer: Dovecot waits as long.
const HANDSHAKE: Duration = Duration::from_secs(30);
const ANSWER: Duration = Duration::from_secs(150);
/// How many mechanisms a server may offer.
const MECHANISMS: usize = 64;

/// What the application is told.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// The handshake is done: these mechanisms are offered.
    Ready(Vec<MechanismOffer>),
    /// The exchange of this number is to go on with a response to this.
    Challenge(u32, Secret),
    /// The exchange of this number is over.
    Done(u32, Outcome),
    /// The connection is over, and with it every exchange.
    Closed(Closed),
}

/// How an exchange ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is this user.
    Accepted {
        /// As the server names it.
        user: String,
        /// What the server had left to say, for the user's program.
        last: Option<Bytes>,
    },
    /// It is not, or it may not.
    Refused {
        /// Nobody can tell now.
        temporary: bool,
        /// The password was right, and is too old.
        expired: bool,
        /// Whatever the password, its owner may not log in, or not there or as that identity: no guess was wrong.
        denied: bool,
        /// Why, for people; often absent.
        reason: Option<String>,
    },
}

/// The client's side of a connection.
#[derive(Debug)]
pub struct Client {
    lines: Lines,
    transmit: Transmit,
    phase: Phase,
    offers: Vec<MechanismOffer>,
    greeted: bool,
    next: u32,
    open: HashSet<u32>,
    /// Since when we wait for the server.
    since: Option<Instant>,
    ended: bool,
}

#[derive(Debug)]
enum Phase {
    Handshake,
    Ready,
    Closing(Closed),
    Closed,
}

impl Client {
    /// A new connection. `process` tells this process from others.
    pub fn new(process: u32) -> Self {
        let mut transmit = Transmit::default();
        transmit.put(format!("VERSION\t1\t2\nCPID\t{process}\n").as_bytes());
        Self {
            lines: Lines::new(LineEnds::Lenient),
            transmit,
            phase: Phase::Handshake,
            offers: Vec::new(),
            greeted: false,
            next: 1,
            open: HashSet::new(),
            since: None,
            ended: false,
        }
    }

    /// Begins an exchange; its number comes back in the events.
    ///
    /// # Errors
    /// [`Misuse::WrongState`] before [`ClientEvent::Ready`], [`Misuse::NotOffered`] for a mechanism that the server does
    /// not have, [`Misuse::Closed`].
    pub fn authenticate(&mut self, request: &AuthRequest) -> Result<u32, Misuse> {
        match self.phase {
            Phase::Ready => {}
            Phase::Handshake => {
                return Err(Misuse::WrongState { request: "AUTH", state: "before the handshake is done" });
            }
            Phase::Closing(_) | Phase::Closed => return Err(Misuse::Closed),
        }
        if !self.offers.iter().any(|offer| offer.name == request.mechanism) {
            return Err(Misuse::NotOffered("the mechanism"));
        }
        let id = self.next;
        self.next = self.next.checked_add(1).unwrap_or(1);
        self.open.insert(id);
        self.since = None;
        self.transmit.put(request.encode(id).as_bytes());
        Ok(id)
    }

    /// Responds to a challenge.
    ///
    /// # Errors
    /// [`Misuse::Argument`] if there is no such exchange.
    pub fn respond(&mut self, id: u32, response: &Secret) -> Result<(), Misuse> {
        if !self.open.contains(&id) {
            return Err(Misuse::Argument("there is no such exchange"));
        }
        self.since = None;
        self.transmit.put(format!("CONT\t{id}\t{}\n", STANDARD.encode(response.expose())).as_bytes());
        Ok(())
    }

    /// Ends the connection.
    pub fn quit(&mut self) {
        if !matches!(self.phase, Phase::Closing(_) | Phase::Closed) {
            self.phase = Phase::Closing(Closed::Farewell);
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<Option<ClientEvent>, PeerMisbehaved> {
        let bad = |expected| PeerMisbehaved::BadReply {
            expected,
            received: line.escape_ascii().to_string().chars().take(64).collect(),
        };
        let text = std::str::from_utf8(line).map_err(|_| bad("UTF-8"))?;
        let mut fields = text.split('\t');
        let command = fields.next().unwrap_or_default();
        if !self.greeted {
            self.greeted = command == "VERSION" && fields.next() == Some("1");
            return if self.greeted { Ok(None) } else { Err(bad("VERSION 1")) };
        }
        if let Phase::Handshake = self.phase {
            match command {
                "MECH" if self.offers.len() < MECHANISMS => self.offers.extend(MechanismOffer::parse(fields)),
                "DONE" => {
                    self.phase = Phase::Ready;
                    return Ok(Some(ClientEvent::Ready(self.offers.clone())));
                }
                _ => {}
            }
            return Ok(None);
        }
        if !matches!(command, "OK" | "FAIL" | "CONT") {
            return Ok(None);
        }
        let id = fields.next().and_then(|id| id.parse::<u32>().ok()).ok_or_else(|| bad("a number"))?;
        if !self.open.contains(&id) {
            return Err(PeerMisbehaved::Unsolicited { received: format!("{command} {id}") });
        }
        if command == "CONT" {
            let challenge = decode(fields.next().unwrap_or_default()).ok_or_else(|| bad("Base64"))?;
            return Ok(Some(ClientEvent::Challenge(id, challenge)));
        }
        self.open.remove(&id);
        let (mut user, mut last, mut temporary, mut reason, mut code) = (None, None, false, None, "");
        let mut elsewhere = false;
        for field in fields {
            let (key, value) = field.split_once('=').unwrap_or((field, ""));
            match key {
                "user" => user = unescape(value),
                "resp" => last = decode(value).map(|last| Bytes::copy_from_slice(last.expose())),
                // Before 2.3 Dovecot said `temp`.
                "temp" => temporary = true,
                "code" => code = value,
                "reason" => reason = unescape(value),
                // The password is right, and its owner may not log in, or not here: Dovecot's own login processes heed both.
                "nologin" | "proxy" => elsewhere = true,
                _ => {}
            }
        }
        let outcome = match (command, user) {
            ("OK", None) => return Err(bad("OK id user=…")),
            ("OK", Some(_)) if elsewhere => {
                Outcome::Refused { temporary: false, expired: false, denied: true, reason }
            }
            ("OK", Some(user)) => Outcome::Accepted { user, last },
            _ => Outcome::Refused {
                temporary: temporary || code == "temp_fail",
                expired: code == "pass_expired",
                denied: matches!(code, "user_disabled" | "authz_fail"),
                reason,
            },
        };
        Ok(Some(ClientEvent::Done(id, outcome)))
    }

    /// One transition; `None` if there is another to make at once.
    fn step(&mut self, now: Instant, rx: &mut BytesMut) -> Option<Output<ClientEvent>> {
        let since = *self.since.get_or_insert(now);
        let until = match self.phase {
            Phase::Handshake => Some(since + HANDSHAKE),
            _ => (!self.open.is_empty()).then(|| since + ANSWER),
        };
        let closed = match self.lines.next(rx, LINE, LINE as u64) {
            Line::Whole(line) => match self.line(&line) {
                Ok(event) => {
                    if !matches!(self.phase, Phase::Handshake) {
                        self.since = None;
                    }
                    return event.map(Output::Event);
                }
                Err(why) => Closed::Misbehaved(why),
            },
            Line::TooLong | Line::Endless => {
                Closed::Misbehaved(PeerMisbehaved::Endless { limit: LINE as u64 })
            }
            Line::Partial if self.ended => Closed::Eof,
            Line::Partial if until.is_some_and(|until| until <= now) => Closed::TimedOut(match self.phase {
                Phase::Handshake => Deadline::Greeting,
                _ => Deadline::Reply,
            }),
            Line::Partial => return Some(Output::Wait(Wait { read: true, until })),
        };
        self.phase = Phase::Closing(closed);
        None
    }
}

impl Machine for Client {
    type Event = ClientEvent;

    fn poll(&mut self, now: Instant, rx: &mut BytesMut) -> Output<ClientEvent> {
        loop {
            match &self.phase {
                Phase::Closed => return Output::Close,
                Phase::Closing(why) => {
                    let why = why.clone();
                    self.phase = Phase::Closed;
                    self.open.clear();
                    return Output::Event(ClientEvent::Closed(why));
                }
                Phase::Handshake | Phase::Ready => {
                    if let Some(output) = self.step(now, rx) {
                        return output;
                    }
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
