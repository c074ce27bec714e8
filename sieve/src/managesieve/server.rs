//! The server side of a session: transitions only.
//!
//! What it holds to: replies leave in the order of the commands; a script is never held, and one that is refused is
//! passed over to its true end; a password is not looked at without TLS unless the configuration allows it; `rx` is
//! untouched while the application owes an answer or a body.

mod answer;
mod body;
mod config;
mod event;
mod execute;

use std::{sync::Arc, time::Instant};

use bytes::BytesMut;
use mailwright_line_proto::{
    Ask, Closed, Deadline, Layer, Machine, Outgoing, Output, Peer, PeerMisbehaved, Request, Shutdown,
    TlsInfo, Trace, Traced, Transmit, Wait, frame::LineEnds,
};

use self::answer::Question;
use super::{
    Refusal, ResponseCode,
    gather::{Gather, Gathered, Source},
    reply::{Reply, Status},
};

pub use self::{
    answer::Serve,
    config::Config,
    event::{Event, Upload},
};

/// The server's end of one ManageSieve connection.
///
/// By itself it answers CAPABILITY, STARTTLS, NOOP, LOGOUT and everything that is wrong. Its application is asked the
/// rest. See the module's documentation for a server around it.
#[derive(Debug)]
pub struct Server {
    config: Arc<Config>,
    peer: Peer,
    tls: Option<TlsInfo>,
    out: Outgoing,
    gather: Gather,
    state: State,
    logged_in: bool,
    owner: Option<String>,
    /// What the command under way will be told at its end, and whether it counts as a bad one.
    doom: Option<(Refusal, bool)>,
    /// The number of the last ask.
    asked: u32,
    errors: u32,
    failed_logins: u32,
    /// How many errors are borne, if fewer than the configuration says.
    most_errors: u32,
    started: Option<Instant>,
    /// Since when nothing happened that the peer or the application did.
    idle_since: Option<Instant>,
    shutdown: Option<Shutdown>,
    eof: bool,
}

#[derive(Debug)]
enum State {
    /// The capabilities are to be sent: at the start, and once TLS is up.
    Greeting,
    /// A command is awaited.
    Command,
    /// A SASL response is awaited.
    Challenged {
        mechanism: String,
    },
    /// The layer was asked for.
    Tls,
    /// The application owes an answer.
    Asking {
        id: u32,
        question: Question,
        deadline: Instant,
    },
    /// It is asked whether a script may come.
    Uploading {
        id: u32,
        upload: Incoming,
        deadline: Instant,
    },
    /// A script comes.
    Receiving(Incoming),
    /// It was passed on, and the end of its command is awaited.
    Received(Incoming),
    /// The application owes the octets of a script: so many more.
    Body {
        remaining: u32,
        announced: u32,
        since: Option<Instant>,
    },
    /// The closing event is next.
    Closing(Closed),
    Closed,
}

/// A script that comes.
#[derive(Debug)]
struct Incoming {
    upload: Upload,
    source: Source,
}

impl Server {
    /// A server's end. Nothing is sent before the first poll, so TLS may be put beneath it before the greeting.
    pub fn new(config: Arc<Config>, peer: Peer) -> Self {
        Self {
            gather: Gather::new(config.line_ends),
            config,
            peer,
            tls: None,
            out: Outgoing::default(),
            state: State::Greeting,
            logged_in: false,
            owner: None,
            doom: None,
            asked: 0,
            errors: 0,
            failed_logins: 0,
            most_errors: u32::MAX,
            started: None,
            idle_since: None,
            shutdown: None,
            eof: false,
        }
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// What the TLS handshake agreed on, if TLS is up.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_ref()
    }

    /// Watches the lines of this session, without their secrets. Scripts are not shown.
    pub fn set_trace(&mut self, trace: Trace) {
        self.out.watch(trace);
    }

    /// Says whose scripts they are: what CAPABILITY calls `OWNER`. To be called before a login is accepted; forgotten
    /// by UNAUTHENTICATE.
    pub fn set_owner(&mut self, owner: impl Into<String>) {
        self.owner = Some(owner.into());
    }

    /// Ends the session with a `BYE` as soon as no command, answer or body is under way.
    pub fn shutdown(&mut self, why: Shutdown) {
        self.shutdown.get_or_insert(why);
        if why == Shutdown::Unanswered {
            self.shutdown = Some(why);
            if matches!(self.state, State::Asking { .. } | State::Uploading { .. }) {
                self.answer_is_late();
            }
            // Half of a script is none.
            self.abort_body();
        }
    }

    /// Takes only so many errors from now on, bad commands and failed logins each, if the configuration allows more: for a server whose
    /// connections run out. [`u32::MAX`] is what the configuration says.
    pub fn limit_errors(&mut self, most: u32) {
        self.most_errors = most;
    }

    /// Sends the peer to another server, in the place of the answer that is owed: `BYE (REFERRAL "url")`, and the end.
    /// The URL is a Sieve URL without a script's name (RFC 5804 §1.3, §3).
    pub fn refer(&mut self, url: impl Into<String>) {
        let code = Some(ResponseCode::Referral(url.into()));
        self.bye(code, "your scripts are on another server", Closed::Farewell);
    }

    fn may_log_in(&self) -> bool {
        self.tls.is_some() || self.config.allow_plaintext_auth
    }

    /// Takes what comes next and does what it says. Without an event, the state says how to go on.
    fn next_input(&mut self, now: Instant, rx: &mut BytesMut) -> Result<Option<Event>, Wait> {
        let limits = &self.config.limits;
        let line = if self.logged_in { limits.line } else { limits.line_before_login };
        let line =
            if matches!(self.state, State::Challenged { .. }) { line.max(limits.sasl_line) } else { line };
        let gathered = self.gather.next(rx, line);
        if !matches!(gathered, Gathered::Partial) {
            self.idle_since = Some(now);
        }
        let challenged = matches!(self.state, State::Challenged { .. });
        Ok(match gathered {
            Gathered::Partial => return self.nothing(now),
            Gathered::Lost => {
                self.out.received(Traced::ReceivedSecret("over-long line"));
                let limit = line as u64;
                let why = Closed::Misbehaved(PeerMisbehaved::Endless { limit });
                self.bye(None, "the line is too long, or its literal is", why);
                None
            }
            Gathered::Literal(length) if challenged => {
                self.hold_or_skip(length, self.config.limits.sasl_line as u64);
                None
            }
            Gathered::Literal(length) => self.literal(now, length),
            Gathered::Whole(_) | Gathered::Malformed if self.doom.is_some() => {
                self.fulfil_doom();
                None
            }
            Gathered::Whole(tokens) => match std::mem::replace(&mut self.state, State::Command) {
                State::Challenged { mechanism } => self.response(now, mechanism, tokens),
                State::Received(incoming) => self.received(now, incoming.upload, &tokens),
                _ => self.command(now, tokens, rx.is_empty()),
            },
            Gathered::Malformed => {
                self.state = State::Command;
                let refusal = Refusal::new(None, "expected atoms, strings and numbers");
                if challenged {
                    self.fail_login(refusal)
                } else {
                    self.bad_command(refusal)
                }
                None
            }
        })
    }

    /// The command that was refused before its end has come to it.
    fn fulfil_doom(&mut self) {
        let Some((refusal, bad)) = self.doom.take() else { return };
        match std::mem::replace(&mut self.state, State::Command) {
            State::Challenged { .. } => self.fail_login(refusal),
            _ if bad => self.bad_command(refusal),
            _ => self.no(refusal),
        }
    }

    /// The next part of a script that comes.
    fn next_part(&mut self, now: Instant, rx: &mut BytesMut) -> Result<Option<Event>, Wait> {
        let State::Receiving(incoming) = &mut self.state else { return Ok(None) };
        if let Some(chunk) = incoming.source.next(rx) {
            self.idle_since = Some(now);
            return Ok(Some(Event::Body(chunk)));
        }
        if !incoming.source.is_done() {
            return self.nothing(now);
        }
        let State::Receiving(incoming) = std::mem::replace(&mut self.state, State::Command) else {
            return Ok(None);
        };
        match incoming.source {
            Source::Literal(_) => self.state = State::Received(incoming),
            Source::Quoted(_) => return Ok(self.received(now, incoming.upload, &[])),
        }
        Ok(None)
    }

    /// Nothing whole is there: waits for more, or gives up.
    fn nothing(&mut self, now: Instant) -> Result<Option<Event>, Wait> {
        if self.eof {
            self.close(Closed::Eof);
            return Ok(None);
        }
        let timeouts = &self.config.timeouts;
        let idle_since = *self.idle_since.get_or_insert(now);
        let (until, deadline) = match self.state {
            State::Receiving(_) | State::Received(_) => (idle_since + timeouts.body, Deadline::Body),
            // RFC 5804 §2: an inactivity timer of at least 30 minutes.
            _ if self.logged_in => (idle_since + timeouts.command, Deadline::Command),
            _ => (*self.started.get_or_insert(now) + timeouts.login, Deadline::Login),
        };
        if until > now {
            return Err(Wait { read: true, until: Some(until) });
        }
        self.bye(Some(ResponseCode::TryLater), "you were silent for too long", Closed::TimedOut(deadline));
        Ok(None)
    }

    /// Waits for the peer to take what it was sent, or gives up.
    fn stalled(&mut self, now: Instant, since: Instant) -> Option<Wait> {
        let until = since + self.config.timeouts.write;
        if until > now {
            return Some(Wait { read: false, until: Some(until) });
        }
        self.out.clear();
        self.close(Closed::TimedOut(Deadline::Write));
        None
    }

    /// The number and the deadline of a new question.
    fn number(&mut self, now: Instant) -> (u32, Instant) {
        self.asked = self.asked.wrapping_add(1);
        (self.asked, now + self.config.timeouts.answer)
    }

    fn ask<R: Request>(&mut self, now: Instant, question: Question, request: R) -> Ask<R> {
        let (id, deadline) = self.number(now);
        self.state = State::Asking { id, question, deadline };
        Ask::new(id, request)
    }

    fn reply(&mut self, reply: &Reply) {
        // A session may be long: what its user once did wrong is forgotten when something goes well.
        if reply.status == Status::Ok && self.logged_in {
            self.errors = 0;
        }
        self.out.line(&reply.encode());
    }

    fn ok(&mut self, text: &str) {
        self.reply(&Reply::new(Status::Ok, None, text));
    }

    fn no(&mut self, refusal: Refusal) {
        let code = refusal.code().cloned();
        self.reply(&Reply::new(Status::No, code, refusal.text()));
    }

    fn bye(&mut self, code: Option<ResponseCode>, text: &str, why: Closed) {
        if !matches!(self.state, State::Closing(_) | State::Closed) {
            self.reply(&Reply::new(Status::Bye, code, text));
        }
        self.close(why);
    }

    fn bad_command(&mut self, refusal: Refusal) {
        self.errors += 1;
        let limit = self.config.limits.errors.min(self.most_errors);
        if self.errors > limit {
            let why = Closed::Misbehaved(PeerMisbehaved::TooManyErrors { limit });
            return self.bye(None, "too many bad commands", why);
        }
        self.no(refusal);
    }

    fn fail_login(&mut self, refusal: Refusal) {
        self.failed_logins += 1;
        let limit = self.config.limits.logins.min(self.most_errors);
        if self.failed_logins > limit {
            // RFC 5804 §2.1, the third example.
            let why = Closed::Misbehaved(PeerMisbehaved::TooManyLogins { limit });
            return self.bye(None, "too many failed logins", why);
        }
        self.no(refusal);
    }

    /// The first reason stands.
    fn close(&mut self, why: Closed) {
        if !matches!(self.state, State::Closing(_) | State::Closed) {
            self.state = State::Closing(why);
        }
    }

    fn obey_shutdown(&mut self, why: Shutdown) {
        let (code, text) = match why {
            Shutdown::Stopping => (Some(ResponseCode::TryLater), "the server is stopping"),
            Shutdown::TooBusy => (Some(ResponseCode::TryLater), "too many connections"),
            Shutdown::Unanswered => {
                (Some(ResponseCode::TryLater), "an answer took too long; try again later")
            }
            Shutdown::Revoked => (None, "the account has changed; log in again"),
            _ => (None, "the connection is closed by the operator"),
        };
        self.bye(code, text, Closed::Shutdown(why));
    }
}

impl Machine for Server {
    type Event = Event;

    fn poll(&mut self, now: Instant, rx: &mut BytesMut) -> Output<Event> {
        let taken_since = self.out.observe(now);
        self.started.get_or_insert(now);
        loop {
            let full = self.out.len() >= self.config.limits.transmit;
            let step = match &mut self.state {
                State::Closed => return Output::Close,
                State::Closing(why) => {
                    let why = why.clone();
                    self.state = State::Closed;
                    return Output::Event(Event::Closed(why));
                }
                State::Tls if self.eof => {
                    self.close(Closed::Eof);
                    Ok(None)
                }
                State::Tls => return Output::Start(Layer::Tls),
                State::Greeting | State::Command | State::Challenged { .. } if self.shutdown.is_some() => {
                    let why = self.shutdown.unwrap_or(Shutdown::Stopping);
                    self.obey_shutdown(why);
                    Ok(None)
                }
                State::Greeting => {
                    self.state = State::Command;
                    self.capabilities();
                    Ok(None)
                }
                State::Command | State::Challenged { .. } | State::Body { .. } if full => {
                    self.stalled(now, taken_since).map_or(Ok(None), Err)
                }
                State::Command | State::Challenged { .. } | State::Received(_) => self.next_input(now, rx),
                State::Receiving(_) => self.next_part(now, rx),
                State::Asking { deadline, .. } | State::Uploading { deadline, .. } => {
                    let until = *deadline;
                    if until > now {
                        Err(Wait { read: false, until: Some(until) })
                    } else {
                        self.answer_is_late();
                        Ok(None)
                    }
                }
                State::Body { since, .. } => {
                    let until = *since.get_or_insert(now) + self.config.timeouts.answer;
                    if until > now {
                        Err(Wait { read: false, until: Some(until) })
                    } else {
                        self.abort_body();
                        Ok(None)
                    }
                }
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

    fn handle_tls(&mut self, tls: TlsInfo) {
        self.tls = Some(tls);
        // RFC 5804 §2.2: nothing of before is known, and the capabilities are sent anew.
        let ends: LineEnds = self.config.line_ends;
        self.gather.reset(ends);
        self.owner = None;
        if !matches!(self.state, State::Closing(_) | State::Closed) {
            self.state = State::Greeting;
        }
    }
}
