//! The server machine: states and transitions.
//!
//! What holds here:
//!
//! * A command starts when everything before it is answered, or when both it and all that runs only read. So the
//!   outcome is always that of one command after the other (RFC 3501 §5.5).
//! * An untagged response is never torn: while the octets of a section are being sent, all else is held back.
//! * Numbers of messages change only where the session's view announces it, and never while a FETCH, STORE or SEARCH
//!   by number runs (RFC 9051 §7.5.1).
//! * A literal over a limit is never asked for; one that comes unasked is skipped to its end or ends the connection.

mod annotating;
mod answer;
mod append;
mod ask;
mod beyond;
mod contexts;
mod enabled;
mod ending;
mod event;
mod fetch;
mod filtering;
mod intake;
mod language;
mod listing;
mod login;
mod multi_search;
mod news;
mod notifying;
mod opening;
mod progress;
mod reading;
mod referring;
mod refiltering;
mod run;
mod saying;
mod searching;
mod sharing;
mod slots;
mod sorting;
mod url_fetching;

use std::{sync::Arc, time::Instant};

use bytes::{Bytes, BytesMut};
use mailwright_line_proto::{
    Closed, Layer, Limits, Machine, Output, Peer, PeerMisbehaved, Shutdown, TlsInfo, Trace, Transmit, Wait,
};
use mailwright_mail_model::UidSet;

pub use answer::Serve;
pub use ask::{
    AppendUid, Close, Commit, Idle, Include, ListEntry, Mailboxes, Message, Open, Opened, Refresh,
};
pub use contexts::{Question, Watched};
pub(crate) use enabled::Enabled;
pub use event::Event;
pub use fetch::FetchData;
pub use multi_search::FoundIn;
pub use searching::{Find, Found, ModSeqOf};
pub use sorting::{Gather, Order, Ordered};
pub use url_fetching::UrlContent;

pub use crate::{
    config::{Abilities, Config, Workarounds},
    view::Change,
};

use crate::{
    Referral,
    capability::capabilities,
    command::{Command, List, Spec},
    grammar::Input,
    language::Wording,
    response::{Capabilities, ResponseCode, Status},
    view::View,
};
use append::Incoming;
use contexts::Context;
use fetch::Stream;
use intake::{Intake, Taken};
use news::News;
use notifying::Notifying;
use slots::{Slot, Slots};

/// One connection of a client to a server. See [`Machine`] for how it is driven.
#[derive(Debug)]
pub struct Server {
    config: Arc<Config>,
    peer: Peer,
    tls: Option<TlsInfo>,
    state: State,
    enabled: Enabled,
    compressed: bool,
    /// Whether the user may set quotas.
    sets_quota: bool,
    workarounds: Workarounds,
    /// The language of what people read.
    wording: Wording,
    /// Where the mail is of the user who logs in, if elsewhere.
    referral: Option<Referral>,
    /// The searches with names that the command names that is being read.
    filters: Vec<(Box<str>, Box<str>)>,
    phase: Phase,
    /// The messages to be sent before a SELECT ends: those that changed since the client saw the mailbox last.
    follow: Option<(Slot, UidSet)>,
    /// What NOTIFY has asked for; without it, the client is told of the open mailbox when it says something (RFC 5465 §3.1).
    notifying: Option<Notifying>,
    news: News,
    slots: Slots,
    intake: Intake,
    /// A command that has come and waits for its turn.
    ready: Option<Ready>,
    transmit: Transmit,
    /// What waits behind a section that is being sent.
    held: Transmit,
    stream: Option<Stream>,
    shutdown: Option<Shutdown>,
    ended: bool,
    errors: u32,
    failed_logins: u32,
    /// How many errors are borne, if fewer than the configuration says.
    most_errors: u32,
    /// When the connection began.
    started: Option<Instant>,
    /// Since when the client has had the turn.
    since: Option<Instant>,
    trace: Trace,
}

/// How far the client has come.
#[derive(Debug)]
enum State {
    NotAuthenticated,
    Authenticated,
    /// `annotates` is whether annotations can be changed (RFC 5257 §4.1), `saved` what `$` stands for (RFC 5182).
    Selected {
        view: Box<View>,
        read_only: bool,
        annotates: bool,
        saved: UidSet,
        contexts: Vec<Context>,
    },
}

/// What the next octets are.
#[derive(Debug)]
enum Phase {
    /// Nobody was greeted.
    Start,
    /// Commands.
    Commands,
    /// The response to a challenge of this mechanism.
    Challenged { tag: Box<str>, mechanism: String },
    /// A message.
    Body(Incoming),
    /// What ends IDLE.
    Idle { tag: Box<str> },
    /// The handshake of TLS: to be started, or under way.
    Tls { started: bool },
    /// Compression is to be started, or has been; then commands go on.
    Deflate,
    /// The same of its end.
    EndOfDeflate,
    /// Of no interest. The closing event is still to be told.
    Closing(Closed),
    /// Of no interest.
    Closed,
}

/// What waits for its turn.
#[derive(Debug)]
enum Ready {
    /// A command as it came.
    Command(Bytes),
    /// One that was understood already.
    Parsed { tag: Box<str>, spec: &'static Spec, command: Box<Command> },
    /// An APPEND or REPLACE up to the octets of a message, or to its end if there are none.
    Message { head: Bytes },
    /// A command that names a search, which must be known before it can be read; and whether what it finds is to be saved.
    Filter { tag: Box<str>, spec: &'static Spec, name: Box<str>, octets: Bytes, saves: bool },
    /// The refusal of a command that was not understood.
    Bad { tag: Option<Box<str>>, status: Box<Status> },
    /// The same of a search whose result was to be saved: nothing is (RFC 5182 §2.1).
    Unsaved { tag: Box<str>, status: Box<Status> },
}

impl Server {
    /// A connection from this peer.
    pub fn new(config: Arc<Config>, peer: Peer) -> Self {
        Self {
            config,
            peer,
            tls: None,
            state: State::NotAuthenticated,
            enabled: Enabled::default(),
            compressed: false,
            sets_quota: true,
            workarounds: Workarounds::default(),
            wording: Wording::default(),
            referral: None,
            filters: Vec::new(),
            follow: None,
            notifying: None,
            news: News::default(),
            phase: Phase::Start,
            slots: Slots::default(),
            intake: Intake::default(),
            ready: None,
            transmit: Transmit::default(),
            held: Transmit::default(),
            stream: None,
            shutdown: None,
            ended: false,
            errors: 0,
            failed_logins: 0,
            most_errors: u32::MAX,
            started: None,
            since: None,
            trace: Trace::default(),
        }
    }

    /// Reports every command and every status response to this callback, secrets and the octets of literals left out.
    pub fn set_trace(&mut self, trace: Trace) {
        self.trace = trace;
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The TLS layer, if it is up.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_ref()
    }

    /// What is announced to the client now.
    pub fn capabilities(&self) -> Capabilities {
        capabilities(&self.config, self.tls.as_ref(), self.is_logged_in(), self.compressed, self.sets_quota)
    }

    /// Reports what happened in the open mailbox; without one it is ignored. The client is told when the protocol
    /// allows it: at once during IDLE, else at the end of a command.
    ///
    /// Report changes of the session's own making too, or leave that out: an expunge or move says in its answer what
    /// is gone, and what was reported before is not announced twice.
    pub fn notify(&mut self, change: Change) {
        if matches!(change, Change::Annotations { .. }) && !self.tells_annotations() {
            return;
        }
        let State::Selected { view, .. } = &mut self.state else { return };
        view.note(change);
        self.announce_now();
    }

    /// Whether the client wants to be told which annotations of messages others change: with [`Change::Annotations`].
    pub fn tells_annotations(&self) -> bool {
        match (&self.state, &self.notifying) {
            (State::Selected { .. }, Some(notifying)) => notifying.selected.message_annotations,
            (State::Selected { view, .. }, None) => view.tells_annotations(),
            _ => false,
        }
    }

    /// Ends the connection with BYE as soon as nothing is under way; a message that has begun is still taken.
    pub fn shutdown(&mut self, why: Shutdown) {
        self.shutdown.get_or_insert(why);
        if why == Shutdown::Unanswered {
            self.shutdown = Some(why);
            while let Some(id) = self.slots.first() {
                self.expire(id);
            }
        }
    }

    /// Takes only so many errors from now on, bad commands and failed logins each, if the configuration allows more: for a server whose
    /// connections run out. [`u32::MAX`] is what the configuration says.
    pub fn limit_errors(&mut self, most: u32) {
        self.most_errors = most;
    }

    fn is_logged_in(&self) -> bool {
        !matches!(self.state, State::NotAuthenticated)
    }

    /// One transition; `None` if there is another to make at once.
    fn step(&mut self, now: Instant, rx: &mut BytesMut) -> Option<Output<Event>> {
        match &mut self.phase {
            Phase::Start => return self.greet(now),
            Phase::Tls { started: false } => {
                self.phase = Phase::Tls { started: true };
                return Some(Output::Start(Layer::Tls));
            }
            Phase::Deflate => {
                self.phase = Phase::Commands;
                return Some(Output::Start(Layer::Deflate));
            }
            Phase::EndOfDeflate => {
                self.phase = Phase::Commands;
                return Some(Output::Start(Layer::EndOfDeflate));
            }
            Phase::Closing(why) => {
                let why = why.clone();
                self.phase = Phase::Closed;
                return Some(Output::Event(Event::Closed(why)));
            }
            Phase::Closed => return Some(Output::Close),
            _ => {}
        }
        let answer = self.slots.deadline(now, self.config.timeouts.answer);
        if let Some(id) = self.slots.expired(now) {
            self.expire(id);
            return None;
        }
        // Nothing is read while a section is being sent, or the client does not take what was sent.
        if self.stream.is_some() || self.transmit.len() >= self.config.limits.transmit {
            return wait(false, answer);
        }
        if let Some(output) = self.follow_select().or_else(|| self.follow_news()) {
            return Some(output);
        }
        if let Some(ready) = self.ready.take() {
            let output = self.start(ready, rx.is_empty());
            return if output.is_none() && self.ready.is_some() { wait(false, answer) } else { output };
        }
        let at_rest =
            self.slots.is_empty() && !matches!(self.phase, Phase::Body(_) | Phase::Challenged { .. });
        if let Some(why) = self.shutdown
            && (at_rest || why == Shutdown::Unanswered)
        {
            return self.stop(why);
        }
        if !self.slots.all_read() {
            // Its outcome decides what comes next: a message, a command, and what is allowed.
            return wait(false, answer);
        }
        let limits = &self.config.limits;
        let taken = match &mut self.phase {
            Phase::Body(_) => return self.take_body(now, rx),
            Phase::Challenged { .. } => self.intake.line(rx, limits.sasl_line, limits.skip),
            Phase::Idle { .. } => self.intake.line(rx, limits.line_before_login, limits.skip),
            Phase::Tls { .. } => Taken::Partial,
            _ => {
                let logged_in = !matches!(self.state, State::NotAuthenticated);
                self.intake.extra_separator = self.workarounds.extra_separator;
                self.intake.next(rx, limits, self.config.literals, logged_in)
            }
        };
        match taken {
            Taken::Partial => return self.wait_for_client(now, answer),
            Taken::Endless { limit } => {
                return self.misbehaved(PeerMisbehaved::Endless { limit }, "line or literal too long");
            }
            Taken::Consent => self.transmit.put(b"+ OK\r\n"),
            Taken::TooBig { start, too_long: true } => {
                let status = Status::bad("command line too long");
                self.ready = Some(Ready::Bad { tag: tag_of(&start), status: status.into() });
            }
            Taken::TooBig { start, .. } => {
                let tag = tag_of(&start);
                let status = Status::no("literal too large").with(too_big(&start, limits));
                self.ready = Some(Ready::Bad { tag, status: status.into() });
            }
            Taken::Message { head } => {
                self.trace_received(&head);
                self.ready = Some(Ready::Message { head });
            }
            Taken::Command(line) => {
                self.since = None;
                self.trace_received(&line);
                match &self.phase {
                    Phase::Challenged { .. } => return self.sasl_response(&line),
                    Phase::Idle { .. } => return Some(self.end_idle(&line)),
                    _ => self.ready = Some(Ready::Command(line)),
                }
            }
        }
        self.since = None;
        None
    }

    fn greet(&mut self, now: Instant) -> Option<Output<Event>> {
        self.started = Some(now);
        self.phase = Phase::Commands;
        if let Some(why) = self.shutdown {
            return self.stop(why);
        }
        let code = ResponseCode::Capability(self.capabilities());
        self.say(None, &Status::ok(self.config.greeting.clone()).with(code));
        None
    }

    fn end_idle(&mut self, line: &[u8]) -> Output<Event> {
        if let Phase::Idle { tag } = std::mem::replace(&mut self.phase, Phase::Commands) {
            if line.eq_ignore_ascii_case(b"DONE") {
                self.finish(&tag, &Status::ok("IDLE completed"), true);
            } else if self.bad(Some(&tag), &Status::bad("expected DONE")).is_none() {
                // RFC 2177 §3: nothing but DONE; the line is not run as a command.
            }
        }
        Output::Event(Event::IdleEnd)
    }
}

impl Machine for Server {
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
        self.ended = true;
        if !matches!(self.phase, Phase::Closing(_) | Phase::Closed) {
            let _ = self.close(reason);
        }
    }

    fn handle_tls(&mut self, tls: TlsInfo) {
        self.tls = Some(tls);
        if matches!(self.phase, Phase::Tls { .. }) {
            // RFC 3501 §6.2.1: what was said before is forgotten. There was no login, so that is nothing but input.
            self.intake = Intake::default();
            // RFC 5255 §3.1: a language too, which others may have chosen.
            self.wording = Wording::default();
            self.phase = Phase::Commands;
            self.since = None;
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the form in which every transition ends")]
fn wait(read: bool, until: Option<Instant>) -> Option<Output<Event>> {
    Some(Output::Wait(Wait { read, until }))
}

/// Why a command is refused that is larger than all that is taken.
fn too_big(command: &[u8], limits: &Limits) -> ResponseCode {
    let mut input = Input::new(command);
    let noted = input.tag().is_ok() && input.space().is_ok() && input.keyword("SETMETADATA");
    // RFC 5464 §4.3
    let most = format!("MAXSIZE {}", limits.literal.min(limits.command));
    let code = ResponseCode::other("METADATA", Some(&most)).filter(|_| noted);
    code.unwrap_or(ResponseCode::TooBig)
}

/// The tag at the start of a command, if one is there.
fn tag_of(command: &[u8]) -> Option<Box<str>> {
    Input::new(command).tag().ok().map(Into::into)
}
