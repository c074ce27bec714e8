//! Small machines for the tests: a server with bodies both ways and STARTTLS, and a client that says what it is told.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use mailwright_line_proto::{
    Ask, Closed, Deadline, Layer, Machine, Output, PeerMisbehaved, TlsInfo, Transmit, Wait,
    frame::{Counted, Line, LineEnds, Lines},
};

pub(crate) const IDLE: Duration = Duration::from_secs(300);

/// `ECHO x` → `250 x`; `GIVE n` → the application sends n octets; `TAKE n` → n octets follow; `STARTTLS`; `COMPRESS`;
/// `QUIT`.
#[derive(Debug)]
pub(crate) struct Toy {
    lines: Lines,
    transmit: Transmit,
    state: State,
    until: Option<Instant>,
    ended: bool,
    bad: u32,
    pub tls: Option<TlsInfo>,
    pub failure: Option<Closed>,
}

#[derive(Debug)]
enum State {
    Greet,
    Ready,
    Giving,
    Taking(Counted),
    StartTls,
    Compress,
    Plain,
    Closing(Closed),
    Closed,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ToyEvent {
    Give(Ask<usize>),
    Body(Bytes),
    Taken,
    Closed(Closed),
}

impl Toy {
    pub(crate) fn new() -> Self {
        Self {
            lines: Lines::new(LineEnds::Strict),
            transmit: Transmit::default(),
            state: State::Greet,
            until: None,
            ended: false,
            bad: 0,
            tls: None,
            failure: None,
        }
    }

    /// Sends a body and is done with it.
    pub(crate) fn give(&mut self, body: Bytes) {
        self.give_part(body);
        self.give_end();
    }

    pub(crate) fn give_part(&mut self, body: Bytes) {
        assert!(matches!(self.state, State::Giving));
        self.transmit.put_bytes(body);
    }

    pub(crate) fn give_end(&mut self) {
        self.state = State::Ready;
        self.until = None;
    }

    fn say(&mut self, text: &str) {
        self.transmit.put(text.as_bytes());
        self.transmit.put(b"\r\n");
    }

    fn command(&mut self, line: &[u8], rest: usize) -> Option<Output<ToyEvent>> {
        let line = String::from_utf8_lossy(line).into_owned();
        let number = |text: &str| text.parse::<u32>().ok();
        self.until = None;
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("ECHO", text) => self.say(&format!("250 {text}")),
            ("GIVE", count) if number(count).is_some() => {
                self.state = State::Giving;
                let count = number(count)? as usize;
                return Some(Output::Event(ToyEvent::Give(Ask::new(0, count))));
            }
            ("TAKE", count) if number(count).is_some() => {
                self.state = State::Taking(Counted::new(number(count)?.into()));
            }
            ("STARTTLS", "") if rest > 0 => {
                self.state = State::Closing(Closed::Misbehaved(PeerMisbehaved::PlaintextBehindTls));
            }
            ("STARTTLS", "") => {
                self.say("220 go ahead");
                self.state = State::StartTls;
            }
            ("COMPRESS", "") => {
                self.say("220 deflating");
                self.state = State::Compress;
            }
            ("PLAIN", "") => {
                self.say("220 inflated");
                self.state = State::Plain;
            }
            ("QUIT", "") => {
                self.say("221 bye");
                self.state = State::Closing(Closed::Farewell);
            }
            _ => self.unknown(),
        }
        None
    }

    fn unknown(&mut self) {
        self.say("500 what?");
        self.bad += 1;
        if self.bad > 20 {
            self.state = State::Closing(Closed::Misbehaved(PeerMisbehaved::TooManyErrors { limit: 20 }));
        }
    }
}

impl Machine for Toy {
    type Event = ToyEvent;

    fn poll(&mut self, now: Instant, rx: &mut BytesMut) -> Output<ToyEvent> {
        let until = *self.until.get_or_insert(now + IDLE);
        loop {
            let giving = matches!(self.state, State::Giving);
            let taking = matches!(self.state, State::Taking(_));
            match &mut self.state {
                State::Greet => {
                    self.state = State::Ready;
                    self.say("220 toy");
                }
                State::Closed => return Output::Close,
                State::Closing(_) => {
                    let State::Closing(why) = std::mem::replace(&mut self.state, State::Closed) else {
                        continue;
                    };
                    return Output::Event(ToyEvent::Closed(why));
                }
                _ if self.ended && !taking && (rx.is_empty() || giving) => {
                    self.state = State::Closing(self.failure.clone().unwrap_or(Closed::Eof));
                }
                State::Compress => {
                    self.state = State::Ready;
                    return Output::Start(Layer::Deflate);
                }
                State::Plain => {
                    self.state = State::Ready;
                    return Output::Start(Layer::EndOfDeflate);
                }
                State::StartTls if self.tls.is_none() => return Output::Start(Layer::Tls),
                State::StartTls => self.state = State::Ready,
                _ if until <= now => self.state = State::Closing(Closed::TimedOut(Deadline::Command)),
                State::Giving => return Output::Wait(Wait { read: false, until: Some(until) }),
                State::Taking(body) => match body.next(rx) {
                    Some(chunk) => return Output::Event(ToyEvent::Body(chunk)),
                    None if body.is_done() => {
                        self.say("250 taken");
                        self.state = State::Ready;
                        self.until = None;
                        return Output::Event(ToyEvent::Taken);
                    }
                    None if self.ended => {
                        self.state = State::Closing(self.failure.clone().unwrap_or(Closed::Eof))
                    }
                    None => return Output::Wait(Wait { read: true, until: Some(until) }),
                },
                State::Ready if self.transmit.len() >= 1 << 18 => {
                    return Output::Wait(Wait { read: false, until: Some(until) });
                }
                State::Ready => match self.lines.next(rx, 512, 65536) {
                    Line::Whole(line) => {
                        if let Some(output) = self.command(&line, rx.len()) {
                            return output;
                        }
                    }
                    Line::TooLong => self.unknown(),
                    Line::Endless => {
                        self.state =
                            State::Closing(Closed::Misbehaved(PeerMisbehaved::Endless { limit: 65536 }));
                    }
                    Line::Partial if self.ended => rx.clear(),
                    Line::Partial => return Output::Wait(Wait { read: true, until: Some(until) }),
                },
            }
        }
    }

    fn transmit(&mut self) -> &mut Transmit {
        &mut self.transmit
    }

    fn handle_eof(&mut self) {
        self.ended = true;
    }

    fn handle_tls(&mut self, tls: TlsInfo) {
        self.tls = Some(tls);
    }

    fn handle_failure(&mut self, reason: Closed) {
        self.failure = Some(reason);
        self.handle_eof();
    }
}

/// Sends what it is told and reports what comes. With `starttls` it starts TLS after the line `220 go ahead`, with
/// `compress` compression after the line `220 deflating`.
#[derive(Debug, Default)]
pub(crate) struct Caller {
    transmit: Transmit,
    pub starttls: bool,
    pub compress: bool,
    pub hang_up: bool,
    pub tls: Option<TlsInfo>,
    ended: bool,
    state: u8,
    failure: Option<Closed>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CallerEvent {
    Heard(Bytes),
    Secured,
    Closed(Closed),
}

impl Caller {
    pub(crate) fn say(&mut self, octets: impl Into<Bytes>) {
        self.transmit.put_bytes(octets.into());
    }
}

impl Machine for Caller {
    type Event = CallerEvent;

    fn poll(&mut self, _: Instant, rx: &mut BytesMut) -> Output<CallerEvent> {
        if self.state == 2 {
            return Output::Close;
        }
        if self.tls.is_some() && self.state == 0 {
            self.state = 1;
            return Output::Event(CallerEvent::Secured);
        }
        if self.starttls && self.tls.is_none() && !self.ended {
            if rx.ends_with(b"220 go ahead\r\n") {
                rx.clear();
                return Output::Start(Layer::Tls);
            }
            return Output::Wait(Wait { read: true, until: None });
        }
        if self.compress && !self.ended {
            const AGREED: &[u8] = b"220 deflating\r\n";
            let Some(at) = rx.windows(AGREED.len()).position(|window| window == AGREED) else {
                return Output::Wait(Wait { read: true, until: None });
            };
            let _ = rx.split_to(at + AGREED.len());
            self.compress = false;
            return Output::Start(Layer::Deflate);
        }
        if !rx.is_empty() {
            return Output::Event(CallerEvent::Heard(rx.split().freeze()));
        }
        if self.ended || self.hang_up {
            self.state = 2;
            let why = if self.hang_up { Closed::Farewell } else { Closed::Eof };
            return Output::Event(CallerEvent::Closed(self.failure.take().unwrap_or(why)));
        }
        Output::Wait(Wait { read: true, until: None })
    }

    fn transmit(&mut self) -> &mut Transmit {
        &mut self.transmit
    }

    fn handle_eof(&mut self) {
        self.ended = true;
    }

    fn handle_tls(&mut self, tls: TlsInfo) {
        self.tls = Some(tls);
    }

    fn handle_failure(&mut self, reason: Closed) {
        self.failure = Some(reason);
        self.handle_eof();
    }
}
