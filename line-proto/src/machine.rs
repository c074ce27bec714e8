//! The contract that every protocol machine follows: bytes and time go in, events and bytes come out.

use std::{fmt, marker::PhantomData, ops::Deref, time::Instant};

use bytes::BytesMut;
use thiserror::Error;

use crate::{TlsInfo, Transmit};

/// One side of one connection, without I/O.
///
/// A driver owns the socket and the buffer of unread octets and does, in a loop:
///
/// 1. [`poll`](Self::poll) until it returns [`Output::Wait`], handing every event to the application;
/// 2. write [`transmit`](Self::transmit) whenever it is not empty and the socket takes it;
/// 3. read into `rx` if the wait says so, calling [`handle_eof`](Self::handle_eof) at the end of input;
/// 4. sleep no longer than the wait's `until`.
///
/// The laws (each one is tested over every machine by `testing::laws`):
///
/// 1. One event a `poll`; there is no queue of events. What is not needed yet stays in `rx`, so not polling
///    is back-pressure.
/// 2. Any number of calls may come between polls. Poll again after any of them, and after any output but `Wait`.
/// 3. Time enters only through `poll` and never goes back. No clock, no randomness, no thread, no log.
/// 4. `Wait { read: false }` means that an answer is owed or a body is being sent: `rx` is left untouched.
/// 5. `transmit` may hold octets at any moment. Its length against [`Limits::transmit`](crate::Limits::transmit)
///    is the only signal of outbound back-pressure.
/// 6. After `handle_eof` there is never a `Wait { read: true }`.
/// 7. `Close` is final, comes after exactly one closing event, and `transmit` is flushed before it.
/// 8. STARTTLS with octets behind it is refused and the connection closed (CVE-2011-0411). After `handle_tls` all
///    that was known of the peer is forgotten.
/// 9. Memory is bounded by [`Limits`](crate::Limits), whatever the peer sends.
/// 10. The same calls, octets and times give the same outputs, and any split of the input gives the same events.
pub trait Machine {
    /// What the application is told. Owned, so that it may cross an `.await`.
    type Event;

    /// One step: takes what it can use from the front of `rx` and yields one output.
    fn poll(&mut self, now: Instant, rx: &mut BytesMut) -> Output<Self::Event>;

    /// The octets that wait to go to the peer.
    fn transmit(&mut self) -> &mut Transmit;

    /// The peer will send nothing more.
    fn handle_eof(&mut self);

    /// The TLS layer beneath is up. `Secure` calls this; a driver never does.
    ///
    /// It comes after the machine's own [`Output::Start`], or, where the connection begins with TLS, before the
    /// first [`poll`](Self::poll): the greeting is still to come then.
    fn handle_tls(&mut self, tls: TlsInfo);

    /// The layer beneath failed: a handshake, a record, or their deadline. Nothing more can be read, as after
    /// [`handle_eof`](Self::handle_eof), and nothing can be sent. `Secure` calls this; a driver never does.
    ///
    /// A machine that says why in its closing event takes `reason` for it; by default this is the end of input.
    fn handle_failure(&mut self, reason: Closed) {
        drop(reason);
        self.handle_eof();
    }
}

/// What a [`Machine::poll`] wants of its driver.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
#[expect(
    clippy::exhaustive_enums,
    reason = "every driver matches on it; a fifth output would be a new contract"
)]
pub enum Output<E> {
    /// Tell the application.
    Event(E),
    /// Flush [`Machine::transmit`], then put this layer between the machine and the socket, or take it away. The layer itself
    /// (`Secure`, `Deflate`) does so; a driver that sees this was handed a machine without the layer.
    Start(Layer),
    /// Flush [`Machine::transmit`], then close. Final.
    Close,
    /// Nothing to do before one of the things named in it.
    Wait(Wait),
}

/// A layer between a machine and its socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layer {
    /// TLS, implicit or after a STARTTLS command.
    Tls,
    /// DEFLATE compression (RFC 4978).
    Deflate,
    /// The end of compression, in both directions (RFC 8437 §4.1): what was put into `transmit` before leaves compressed, what comes
    /// later as it is.
    EndOfDeflate,
}

/// What a machine waits for: an answer or call of the application always, and what the fields say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// Whether more input is wanted. If not, the driver must not read: that is the back-pressure.
    pub read: bool,
    /// When to poll again even if nothing happens.
    pub until: Option<Instant>,
}

/// A request, the same type on both sides: what a server is asked and what a client calls.
pub trait Request {
    /// What the asked side answers.
    type Answer;
}

/// A peer's request that waits for the application's answer. Dereferences to the request.
///
/// It can be answered once: the machine's `answer` takes it by value. One that is dropped is refused by the
/// machine itself when [`Timeouts::answer`](crate::Timeouts::answer) has passed.
#[must_use = "an unanswered request is refused when its deadline passes"]
#[derive(PartialEq, Eq)]
pub struct Ask<R> {
    id: u32,
    request: R,
}

impl<R> Ask<R> {
    /// For writers of machines: pairs a request with its slot in the reply pipeline.
    pub fn new(id: u32, request: R) -> Self {
        Self { id, request }
    }

    /// The slot of this request, unique among the requests that are in flight on one connection.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The request itself.
    pub fn request(&self) -> &R {
        &self.request
    }

    /// For writers of machines: takes the two apart again.
    pub fn into_parts(self) -> (u32, R) {
        (self.id, self.request)
    }
}

impl<R> Deref for Ask<R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.request
    }
}

impl<R: fmt::Debug> fmt::Debug for Ask<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Ask").field(&self.request).finish()
    }
}

/// A request of ours that is on its way: comes back with its answer in the client's event.
pub struct Ticket<R> {
    id: u32,
    request: PhantomData<fn() -> R>,
}

impl<R> Ticket<R> {
    /// For writers of machines.
    pub fn new(id: u32) -> Self {
        Self { id, request: PhantomData }
    }

    /// The number of the call, unique among the calls that are in flight on one connection.
    pub fn id(&self) -> u32 {
        self.id
    }
}

impl<R> Clone for Ticket<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Ticket<R> {}

impl<R> PartialEq for Ticket<R> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl<R> Eq for Ticket<R> {}

impl<R> fmt::Debug for Ticket<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Ticket({})", self.id)
    }
}

/// The application called a machine at a moment at which the protocol does not allow it.
///
/// A fault of ours, never of the peer. The call had no effect, unless the variant says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Misuse {
    /// No body was agreed on, so none can be sent.
    #[error("no body is being sent now")]
    NoBody,
    /// A body is under way; it must be ended first.
    #[error("a body is being sent; end it before the next call")]
    BodyOpen,
    /// A counted body is longer than announced, or was ended short. The connection closes rather than
    /// being corrupted.
    #[error("the body is not of the announced length of {announced} octets")]
    BodyLength {
        /// How many octets were promised to the peer.
        announced: u64,
    },
    /// The session is in a state in which this request cannot be made.
    #[error("{request} cannot be called {state}")]
    WrongState {
        /// The request that was called.
        request: &'static str,
        /// The state, as words that follow "called": "before login".
        state: &'static str,
    },
    /// The peer never said that it can do this.
    #[error("the peer does not offer {0}")]
    NotOffered(&'static str),
    /// An argument cannot be put on the wire.
    #[error("{0}")]
    Argument(&'static str),
    /// Too many calls are in flight.
    #[error("too many calls are in flight; wait for an answer")]
    Busy,
    /// The connection is closed or closing.
    #[error("the connection is closed")]
    Closed,
}

/// The request was answered already, timed out, or its connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the request is gone: answered before, past its deadline, or its connection closed")]
pub struct Gone;

/// How the peer broke the protocol beyond repair.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PeerMisbehaved {
    /// Too many bad commands.
    #[error("more than {limit} bad commands")]
    TooManyErrors {
        /// The limit that was passed.
        limit: u32,
    },
    /// Too many failed logins.
    #[error("more than {limit} failed logins")]
    TooManyLogins {
        /// The limit that was passed.
        limit: u32,
    },
    /// A line or literal went so far over its limit that skipping it was given up.
    #[error("a line or literal without an end: more than {limit} octets")]
    Endless {
        /// The limit that was passed, in octets.
        limit: u64,
    },
    /// An answer went on for longer than any answer may.
    #[error("an answer that is too long: more than {limit} {what}")]
    TooLongAnswer {
        /// What was counted, as `octets`.
        what: &'static str,
        /// The limit that was passed, in these.
        limit: u64,
    },
    /// There were octets behind the command that starts TLS (CVE-2011-0411).
    #[error("octets behind the command that starts TLS")]
    PlaintextBehindTls,
    /// The TLS handshake or a record failed.
    #[error("TLS: {0}")]
    Tls(String),
    /// The compressed stream cannot be inflated (RFC 1951).
    #[error("compression: {0}")]
    Deflate(String),
    /// A reply that cannot be understood, so that no later one can be trusted.
    #[error("expected {expected}, received {received:?}")]
    BadReply {
        /// What would have been right here.
        expected: &'static str,
        /// The start of what came, at most 128 octets, control octets escaped.
        received: String,
    },
    /// A reply to nothing that was asked.
    #[error("a reply that nothing had asked for: {received:?}")]
    Unsolicited {
        /// The start of what came.
        received: String,
    },
}

/// Why a connection closed: the content of each machine's one closing event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Closed {
    /// By the protocol's own farewell (QUIT, LOGOUT), from either side.
    Farewell,
    /// The peer ended the connection without one.
    Eof,
    /// A deadline passed; which one is said.
    TimedOut(Deadline),
    /// The peer broke the protocol.
    Misbehaved(PeerMisbehaved),
    /// The application asked for it with `shutdown`.
    Shutdown(Shutdown),
    /// The application misused the machine so that the stream could not be saved.
    Misuse(Misuse),
    /// A client was told by the server to go away, before or instead of an answer (421, `* BYE`, `-ERR`).
    Refused(String),
}

/// The deadlines a connection can miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Deadline {
    /// The peer's greeting did not come.
    Greeting,
    /// No command came.
    Command,
    /// The peer did not log in.
    Login,
    /// The next part of a body did not come.
    Body,
    /// The answer to a call did not come.
    Reply,
    /// The TLS handshake was not finished.
    Tls,
    /// The peer took nothing of what waits to be sent.
    Write,
}

/// Why the application ends a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Shutdown {
    /// The server is stopping.
    Stopping,
    /// There are too many connections.
    TooBusy,
    /// An operator or a policy wants this connection gone.
    Kicked,
    /// The account is gone or has another password; who still may logs in again.
    Revoked,
    /// What the session has open is gone: deleted, renamed, or made anew under the same name.
    Gone,
    /// The user may no longer read what the session has open.
    Forbidden,
    /// What the application was asked is not going to be answered, such as when its store hangs: each open question is refused at once, as
    /// when its time is over, and a message that is being received is not waited for.
    Unanswered,
}
