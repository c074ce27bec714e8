//! The server side of a session: transitions only.
//!
//! What it holds to: the peer's replies leave in the order of its commands; nothing is deleted but by a QUIT that
//! was answered (RFC 1939 §6); a password is not looked at without TLS unless the configuration allows it; `rx` is
//! untouched while the application owes an answer or a body.

mod answer;
mod body;
mod config;
mod event;
mod execute;
mod session;
mod surrogate;

use std::{sync::Arc, time::Instant};

use bytes::BytesMut;
use mailwright_line_proto::{
    Ask, Closed, Deadline, Language, Layer, Machine, Outgoing, Output, Peer, PeerMisbehaved, Request,
    Shutdown, TlsInfo, Trace, Traced, Transmit, Wait,
    frame::{Line, Lines},
};

use self::{answer::Question, body::Body, execute::Listing, session::Session};
use crate::{Refusal, Timestamp, language::CATALOGUE};

pub use self::{
    answer::Serve,
    body::BodyWanted,
    config::{Announced, Config, Workarounds},
    event::{Commit, Event, Open, Read},
};

/// The server's end of one POP3 connection.
///
/// By itself it answers CAPA, STLS, STAT, LIST, UIDL, DELE, NOOP, RSET and everything that is wrong. Its application
/// is asked for [`Event::Login`], [`Event::Apop`] or [`Event::Authenticate`], then [`Event::Open`], then [`Event::Read`] for each
/// message, and [`Event::Commit`] at the end.
///
/// See the crate's documentation for a server around it.
#[derive(Debug)]
pub struct Server {
    config: Arc<Config>,
    peer: Peer,
    tls: Option<TlsInfo>,
    out: Outgoing,
    lines: Lines,
    state: State,
    /// What USER said, until a PASS.
    user: Option<String>,
    /// What the greeting bears for APOP.
    timestamp: Option<Timestamp>,
    workarounds: Workarounds,
    /// The language of what people read (RFC 6856 §3).
    language: Language,
    /// The peer has said UTF8.
    utf8: bool,
    /// There is one in the TRANSACTION state, and none in the AUTHORIZATION state.
    session: Option<Session>,
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
    /// The greeting was not sent: TLS may come first.
    Greeting,
    /// A command is awaited, in whichever of the two states the session is in.
    Command,
    /// A SASL response is awaited.
    Challenged {
        mechanism: String,
    },
    /// The layer was asked for.
    Tls,
    /// The login was accepted, the maildrop not yet asked for.
    Opening,
    /// The application owes an answer.
    Asking {
        id: u32,
        question: Question,
        deadline: Instant,
    },
    /// A listing is being written, as fast as the peer takes it.
    Listing(Listing),
    /// The application owes a body.
    Body(Body),
    /// The closing event is next.
    Closing(Closed),
    Closed,
}

impl Server {
    /// A server's end. Nothing is sent before the first poll, so TLS may be put beneath it before the greeting.
    pub fn new(config: Arc<Config>, peer: Peer) -> Self {
        Self {
            lines: Lines::new(config.line_ends),
            workarounds: config.workarounds,
            config,
            peer,
            tls: None,
            out: Outgoing::default(),
            state: State::Greeting,
            user: None,
            timestamp: None,
            language: Language::default(),
            utf8: false,
            session: None,
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

    /// Offers APOP with this timestamp, which no other greeting may ever have had. To be called before the first poll.
    pub fn offer_apop(&mut self, timestamp: Timestamp) {
        self.timestamp = Some(timestamp);
    }

    /// What the greeting bore for APOP.
    pub fn timestamp(&self) -> Option<&Timestamp> {
        self.timestamp.as_ref()
    }

    /// Sets what is done for this peer that is wrong, in the place of [`Config::workarounds`].
    pub fn set_workarounds(&mut self, workarounds: Workarounds) {
        self.workarounds = workarounds;
    }

    /// What the TLS handshake agreed on, if TLS is up.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_ref()
    }

    /// Watches the lines of this session, without their secrets. Bodies are not shown.
    pub fn set_trace(&mut self, trace: Trace) {
        self.out.watch(trace);
    }

    /// Ends the session with a `-ERR` as soon as no command, answer or body is under way. Nothing is deleted.
    pub fn shutdown(&mut self, why: Shutdown) {
        self.shutdown.get_or_insert(why);
        if why == Shutdown::Unanswered {
            self.shutdown = Some(why);
            self.answer_is_late();
            // Half of a message is none.
            self.abort_body();
        }
    }

    /// Takes only so many errors from now on, bad commands and failed logins each, if the configuration allows more: for a server whose
    /// connections run out. [`u32::MAX`] is what the configuration says.
    pub fn limit_errors(&mut self, most: u32) {
        self.most_errors = most;
    }

    /// Whether logins are allowed as things stand.
    fn may_log_in(&self) -> bool {
        self.tls.is_some() || self.config.allow_plaintext_auth
    }

    /// Takes the next line and does what it says. Without an event, the state says how to go on.
    fn next_line(&mut self, now: Instant, rx: &mut BytesMut) -> Result<Option<Event>, Wait> {
        let challenged = matches!(self.state, State::Challenged { .. });
        let limit = self.line_limit(challenged, rx);
        let line = match self.lines.next(rx, limit, self.config.limits.skip) {
            Line::Whole(line) => line,
            Line::TooLong if challenged => {
                self.out.received(Traced::ReceivedSecret("over-long SASL response"));
                self.state = State::Command;
                self.fail_login(&Refusal::fixed(None, "the response is too long"));
                return Ok(None);
            }
            Line::TooLong => {
                self.out.received(Traced::ReceivedSecret("over-long line"));
                self.bad_command("the line is too long");
                self.idle_since = Some(now);
                return Ok(None);
            }
            Line::Endless => {
                self.refuse(&Refusal::fixed(None, "the line is too long"));
                let limit = self.config.limits.skip;
                self.close(Closed::Misbehaved(PeerMisbehaved::Endless { limit }));
                return Ok(None);
            }
            Line::Partial => return self.no_line(now),
        };
        self.idle_since = Some(now);
        Ok(match std::mem::replace(&mut self.state, State::Command) {
            State::Challenged { mechanism } => self.response(now, mechanism, &line),
            _ => self.command(now, &line, rx.is_empty()),
        })
    }

    /// How long the line at the front of `rx` may be. One that begins an exchange with an initial response may be
    /// as long as any response: access tokens are.
    fn line_limit(&self, challenged: bool, rx: &BytesMut) -> usize {
        let limits = &self.config.limits;
        let begins_login = || rx.get(..5).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH "));
        match &self.session {
            Some(_) => limits.line,
            None if challenged || begins_login() => limits.sasl_line.max(limits.line_before_login),
            None => limits.line_before_login,
        }
    }

    /// No whole line is there: waits for one, or gives up.
    fn no_line(&mut self, now: Instant) -> Result<Option<Event>, Wait> {
        if self.eof {
            self.close(Closed::Eof);
            return Ok(None);
        }
        let timeouts = &self.config.timeouts;
        let (until, deadline) = match self.session {
            // RFC 1939 §3: an autologout timer, of at least 10 minutes.
            Some(_) => (*self.idle_since.get_or_insert(now) + timeouts.command, Deadline::Command),
            None => (*self.started.get_or_insert(now) + timeouts.login, Deadline::Login),
        };
        if until > now {
            return Err(Wait { read: true, until: Some(until) });
        }
        // RFC 1939 §3: without removing any messages or sending any response.
        self.close(Closed::TimedOut(deadline));
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

    fn ask<R: Request>(&mut self, now: Instant, question: Question, request: R) -> Ask<R> {
        self.asked = self.asked.wrapping_add(1);
        let deadline = now + self.config.timeouts.answer;
        self.state = State::Asking { id: self.asked, question, deadline };
        Ask::new(self.asked, request)
    }

    /// The language that the peer has chosen for what people read; English before it has.
    pub fn language(&self) -> Language {
        self.language
    }

    fn ok(&mut self, text: &str) {
        let text = CATALOGUE.text(self.language, text);
        self.ok_with(&text);
    }

    /// The same with what programs read, which is in no language.
    fn ok_with(&mut self, data: &str) {
        // A session may be long: what its user once did wrong is forgotten when something goes well. Before login it counts, for anybody can
        // have CAPA answered.
        if self.session.is_some() {
            self.errors = 0;
        }
        let line = if data.is_empty() { "+OK".to_owned() } else { format!("+OK {data}") };
        self.out.line(line.as_bytes());
    }

    fn refuse(&mut self, refusal: &Refusal) {
        let code = refusal.code().map(|code| format!("[{}] ", code.as_str())).unwrap_or_default();
        let text = CATALOGUE.text(self.language, refusal.text().as_str());
        self.out.line(format!("-ERR {code}{text}").as_bytes());
    }

    fn bad_command(&mut self, text: &str) {
        let text = CATALOGUE.text(self.language, text);
        self.out.line(format!("-ERR {text}").as_bytes());
        self.errors += 1;
        let limit = self.config.limits.errors.min(self.most_errors);
        if self.errors > limit {
            self.close(Closed::Misbehaved(PeerMisbehaved::TooManyErrors { limit }));
        }
    }

    fn fail_login(&mut self, refusal: &Refusal) {
        self.refuse(refusal);
        self.failed_logins += 1;
        let limit = self.config.limits.logins.min(self.most_errors);
        if self.failed_logins > limit {
            self.close(Closed::Misbehaved(PeerMisbehaved::TooManyLogins { limit }));
        }
    }

    /// The first reason stands.
    fn close(&mut self, why: Closed) {
        if !matches!(self.state, State::Closing(_) | State::Closed) {
            self.state = State::Closing(why);
        }
        self.session = None;
        self.user = None;
    }

    fn obey_shutdown(&mut self, why: Shutdown) {
        let refusal = match why {
            Shutdown::Stopping => {
                Refusal::fixed(Some(crate::ResponseCode::SysTemp), "the server is stopping")
            }
            Shutdown::TooBusy => Refusal::fixed(Some(crate::ResponseCode::SysTemp), "too many connections"),
            Shutdown::Unanswered => {
                Refusal::fixed(Some(crate::ResponseCode::SysTemp), "an answer took too long; try again later")
            }
            // Not AUTH, which RFC 3206 §4 has for answers to logins only.
            Shutdown::Revoked => Refusal::fixed(None, "the account has changed; log in again"),
            _ => Refusal::fixed(None, "the connection is closed by the operator"),
        };
        self.refuse(&refusal);
        self.close(Closed::Shutdown(why));
    }
}

impl Machine for Server {
    type Event = Event;

    fn poll(&mut self, now: Instant, rx: &mut BytesMut) -> Output<Event> {
        let taken_since = self.out.observe(now);
        self.started.get_or_insert(now);
        loop {
            let full = self.out.len() >= self.config.limits.transmit;
            let wait = match &mut self.state {
                State::Closed => return Output::Close,
                State::Closing(why) => {
                    let why = why.clone();
                    self.state = State::Closed;
                    return Output::Event(Event::Closed(why));
                }
                State::Tls if self.eof => {
                    self.close(Closed::Eof);
                    None
                }
                State::Tls => return Output::Start(Layer::Tls),
                State::Greeting | State::Command | State::Challenged { .. } if self.shutdown.is_some() => {
                    let why = self.shutdown.unwrap_or(Shutdown::Stopping);
                    self.obey_shutdown(why);
                    None
                }
                State::Greeting => {
                    self.state = State::Command;
                    let mut greeting = self.config.greeting.to_string();
                    if let Some(timestamp) = &self.timestamp {
                        greeting += &format!(" {timestamp}");
                    }
                    self.ok_with(&greeting);
                    None
                }
                State::Command | State::Challenged { .. } | State::Listing(_) | State::Body(_) if full => {
                    self.stalled(now, taken_since)
                }
                State::Command | State::Challenged { .. } => match self.next_line(now, rx) {
                    Ok(Some(event)) => return Output::Event(event),
                    Ok(None) => None,
                    Err(wait) => Some(wait),
                },
                State::Opening => {
                    let ask = self.ask(now, Question::Open, Open);
                    return Output::Event(Event::Open(ask));
                }
                State::Asking { deadline, .. } => {
                    let deadline = *deadline;
                    let wait = owed(now, deadline);
                    if wait.is_none() {
                        self.answer_is_late();
                    }
                    wait
                }
                State::Listing(_) => {
                    self.go_on_listing();
                    None
                }
                State::Body(body) => {
                    let until = body.since(now) + self.config.timeouts.answer;
                    let wait = owed(now, until);
                    if wait.is_none() {
                        self.abort_body();
                    }
                    wait
                }
            };
            if let Some(wait) = wait {
                return Output::Wait(wait);
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
        // RFC 2595 §4: back to the AUTHORIZATION state, with nothing known. No second greeting.
        self.user = None;
        self.utf8 = false;
        self.language = Language::default();
        self.session = None;
        self.lines.reset();
        if !matches!(self.state, State::Greeting | State::Closing(_) | State::Closed) {
            self.state = State::Command;
        }
    }
}

/// The wait for the application, up to `until`.
fn owed(now: Instant, until: Instant) -> Option<Wait> {
    (until > now).then_some(Wait { read: false, until: Some(until) })
}
