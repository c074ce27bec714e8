//! Running one machine through a session.

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};

use super::{Side, Step, Transcript};
use crate::{Layer, Machine, Output, Wait};

/// A machine under test, with an application that behaves the same every time.
pub trait Subject {
    /// The machine.
    type Machine: Machine;

    /// A new machine, at the start of its connection.
    fn build(&self) -> Self::Machine;

    /// Which side it is.
    fn side(&self) -> Side;

    /// What the application does before the first poll: a client's first calls. Nothing by default.
    fn start(&mut self, _machine: &mut Self::Machine) {}

    /// What the application does on an event: answers it, makes the next call, sends a body. The result says what
    /// was seen; it must not tell how a body was cut.
    fn react(&mut self, machine: &mut Self::Machine, event: <Self::Machine as Machine>::Event) -> Seen;
}

/// What an application saw.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Seen {
    /// An event, as text.
    Event(String),
    /// A part of a body. Parts that follow each other are joined before they are compared.
    Body(Bytes),
    /// The closing event, as text.
    Closed(String),
}

/// How a session is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The input comes in pieces of at most so many octets.
    pub split: usize,
    /// The application reacts only when the machine has nothing more to tell it.
    pub lazy: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self { split: usize::MAX, lazy: false }
    }
}

/// What came of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// What the application saw, bodies joined.
    pub seen: Vec<Seen>,
    /// All that the machine sent.
    pub sent: Vec<u8>,
    /// The layers it asked for, each with the number of octets sent before it.
    pub layers: Vec<(Layer, usize)>,
    /// Whether the machine closed.
    pub closed: bool,
}

/// Plays `transcript` against the subject and checks what it sends, step by step.
///
/// # Panics
/// If the machine sends something else than the transcript says, or breaks a law that can be seen from outside.
pub fn run<S: Subject>(subject: &mut S, transcript: &Transcript, pace: Pace) -> Run {
    let mut player = Player::new(subject, pace);
    player.settle();
    for step in &transcript.steps {
        match (step, player.subject.side()) {
            (Step::Time(duration), _) => player.pass(*duration),
            (Step::Eof, _) => player.eof(),
            (Step::Client(input), Side::Server) | (Step::Server(input), Side::Client) => {
                player.expect_nothing_unread(input);
                player.feed(input);
            }
            (Step::Client(expected), Side::Client) | (Step::Server(expected), Side::Server) => {
                player.expect(expected, pace);
            }
        }
    }
    player.expect(b"", pace);
    player.run
}

/// Feeds `input` to the subject, then the end of the stream if `eof`; checks nothing but the laws.
///
/// # Panics
/// If the machine breaks a law that can be seen from outside.
pub fn run_input<S: Subject>(subject: &mut S, input: &[u8], pace: Pace, eof: bool) -> Run {
    let mut player = Player::new(subject, pace);
    player.settle();
    player.feed(input);
    if eof {
        player.eof();
    }
    player.run
}

/// More polls than this without a wait are an endless loop.
const MOST_POLLS: u32 = 5_000_000;

pub(super) struct Player<'a, S: Subject> {
    pub(super) subject: &'a mut S,
    pub(super) machine: S::Machine,
    pub(super) now: Instant,
    pub(super) rx: BytesMut,
    pub(super) run: Run,
    pub(super) wait: Wait,
    /// The peer takes nothing: what waits in `transmit` stays there until [`collect`](Self::collect).
    pub(super) stalled: bool,
    pace: Pace,
    checked: usize,
    ended: bool,
}

#[allow(clippy::panic, reason = "a test harness reports by panicking")]
impl<'a, S: Subject> Player<'a, S> {
    pub(super) fn new(subject: &'a mut S, pace: Pace) -> Self {
        let mut machine = subject.build();
        subject.start(&mut machine);
        Self {
            subject,
            machine,
            now: Instant::now(),
            rx: BytesMut::new(),
            run: Run::default(),
            wait: Wait { read: true, until: None },
            stalled: false,
            pace,
            checked: 0,
            ended: false,
        }
    }

    pub(super) fn feed(&mut self, input: &[u8]) {
        for piece in input.chunks(self.pace.split.clamp(1, 64 * 1024)) {
            self.rx.extend_from_slice(piece);
            self.settle();
        }
    }

    pub(super) fn eof(&mut self) {
        self.ended = true;
        self.machine.handle_eof();
        self.settle();
    }

    /// Lets time pass, waking the machine whenever it asked for it.
    pub(super) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(until) = self.wait.until.filter(|until| *until <= end) {
            if self.run.closed {
                break;
            }
            self.now = until;
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    /// Polls until the machine waits or closes, playing the application.
    pub(super) fn settle(&mut self) {
        let mut pending = Vec::new();
        for _ in 0..MOST_POLLS {
            match self.machine.poll(self.now, &mut self.rx) {
                Output::Event(event) if self.pace.lazy => pending.push(event),
                Output::Event(event) => self.react(event),
                Output::Start(layer) => {
                    self.collect();
                    self.run.layers.push((layer, self.run.sent.len()));
                    if layer == Layer::Tls {
                        self.machine.handle_tls(super::simulated_tls());
                    }
                }
                Output::Close => {
                    for event in pending.drain(..) {
                        self.react(event);
                    }
                    self.collect();
                    return self.close();
                }
                // Law 2: there is room now, so the machine may want to go on.
                Output::Wait(_) if pending.is_empty() && !self.stalled && self.collect() => {}
                Output::Wait(wait) if pending.is_empty() => return self.waits(wait),
                Output::Wait(wait) => {
                    self.waits(wait);
                    for event in std::mem::take(&mut pending) {
                        self.react(event);
                    }
                }
            }
        }
        panic!("the machine never waits: {:?}", self.run.seen.last());
    }

    fn react(&mut self, event: <S::Machine as Machine>::Event) {
        let seen = self.subject.react(&mut self.machine, event);
        match (self.run.seen.last_mut(), seen) {
            (Some(Seen::Closed(reason)), seen) => {
                panic!("law 7: after the closing event {reason} came {seen:?}")
            }
            (Some(Seen::Body(body)), Seen::Body(more)) => *body = [&body[..], &more[..]].concat().into(),
            (_, seen) => self.run.seen.push(seen),
        }
    }

    /// Takes all that waits to be sent; says whether that was anything.
    pub(super) fn collect(&mut self) -> bool {
        let before = self.run.sent.len();
        let transmit = self.machine.transmit();
        while transmit.has_remaining() {
            let chunk = transmit.chunk();
            assert!(!chunk.is_empty(), "transmit has octets remaining but an empty chunk");
            self.run.sent.extend_from_slice(chunk);
            let length = chunk.len();
            transmit.advance(length);
        }
        self.run.sent.len() > before
    }

    fn waits(&mut self, wait: Wait) {
        self.wait = wait;
        assert!(!(self.ended && wait.read), "law 6: the machine waits for input after the end of it");
        assert!(
            wait.until.is_none_or(|until| until > self.now),
            "law 3: the machine waits for a moment that has passed"
        );
        // Laws 2, 4 and 10: another poll changes nothing.
        let before = self.rx.clone();
        let again = self.machine.poll(self.now, &mut self.rx);
        assert!(
            matches!(again, Output::Wait(same) if same == wait),
            "laws 2 and 10: a second poll said something else than {wait:?}"
        );
        assert_eq!(before, self.rx, "law 4: a poll that only waits changed the input");
    }

    fn close(&mut self) {
        self.run.closed = true;
        let closings = self.run.seen.iter().filter(|seen| matches!(seen, Seen::Closed(_))).count();
        assert_eq!(closings, 1, "law 7: one closing event comes before Close: {:?}", self.run.seen);
        assert!(matches!(self.machine.poll(self.now, &mut self.rx), Output::Close), "law 7: Close is final");
        self.rx.clear();
    }

    fn expect_nothing_unread(&self, next: &[u8]) {
        let sent = self.run.sent.get(self.checked..).unwrap_or_default();
        assert!(
            sent.is_empty(),
            "sent {:?} where the transcript goes on with {:?}",
            String::from_utf8_lossy(sent),
            String::from_utf8_lossy(next)
        );
    }

    fn expect(&mut self, expected: &[u8], pace: Pace) {
        let sent = self.run.sent.get(self.checked..).unwrap_or_default();
        assert_eq!(
            String::from_utf8_lossy(sent),
            String::from_utf8_lossy(expected),
            "what the machine sends (left) is not what the transcript says (right), {pace:?}"
        );
        self.checked = self.run.sent.len();
    }
}
