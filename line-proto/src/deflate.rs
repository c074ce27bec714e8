//! DEFLATE compression (RFC 4978) as a layer of the machine, like TLS.

mod codec;

use std::time::{Duration, Instant};

use bytes::BytesMut;

use self::codec::{Deflater, Inflater};
use crate::{Closed, Layer, Limits, Machine, Misuse, Output, PeerMisbehaved, TlsInfo, Transmit, Wait};

/// How much is inflated at a time, in octets.
const INFLATE: usize = 64 * 1024;
/// As [`Limits::transmit`].
const AHEAD: usize = 256 * 1024;
/// After so long without a word from us the compressor's memory is given back.
const FORGET: Duration = Duration::from_secs(30);

/// A machine with compression between it and the socket: a machine itself, with the same events.
///
/// Compression begins when the machine says [`Output::Start`] with [`Layer::Deflate`]: what it put into its `transmit`
/// before leaves as it is, and whatever is in `rx` behind that moment is taken for compressed, in both directions. Until
/// then the layer costs nothing, so it can stand around every machine that may ask for it.
///
/// Together with TLS it stands inside: `Secure<Deflate<M>>`, for what is sent is compressed first and encrypted then
/// (RFC 4978 §3). A `Start(Layer::Tls)` of the machine goes through to `Secure`, before or after compression began.
///
/// Everything that waits is compressed and flushed each time `transmit` is taken, so no answer hangs in the compressor.
/// At most [`Limits::transmit`] octets are compressed ahead of the peer, and one block more, so the length of `transmit`
/// stays the signal of back-pressure. What comes in is inflated only when the machine asks for input, 64 KiB at a time
/// and under the machine's own limits: however much a few octets would inflate to, no more than that is ever held. A
/// stream that cannot be inflated ends the connection with [`PeerMisbehaved::Deflate`]; one that the peer ends with a final
/// block is over like a connection that is closed, unless the machine takes compression away.
///
/// That it does with [`Layer::EndOfDeflate`] (RFC 8437 §4.1): our stream ends with a final block, the peer's has to end behind what the
/// machine took of it, with a final block or a flush, and both go on without compression. It may begin anew later.
///
/// The compressor takes some 300 KiB. Where nothing was sent for 30 seconds it is given back, and made anew with the next
/// answer, which then cannot refer to what was sent before (RFC 1951 §2 lets it). What stays, about 45 KiB, is the window of the
/// peer's stream.
///
/// ```
/// use mailwright_line_proto::{Deflate, Machine, Secure, TlsSide};
///
/// fn serve<M: Machine>(machine: M, side: TlsSide) -> Secure<Deflate<M>> {
///     Secure::starttls(Deflate::new(machine), side)
/// }
/// ```
#[derive(Debug)]
pub struct Deflate<M> {
    machine: M,
    phase: Phase,
    /// What was inflated and not yet taken.
    plain: BytesMut,
    /// Compressed, behind what had to leave as it was.
    transmit: Transmit,
    ahead: usize,
    /// The peer will send nothing more, and whether the machine knows.
    ended: bool,
    told: bool,
    failure: Option<Closed>,
    /// The moment of the last poll, and when something was compressed last, if the compressor is still there.
    now: Option<Instant>,
    used: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    /// No compression, or not yet.
    Plain,
    Up {
        inflater: Box<Inflater>,
        deflater: Option<Box<Deflater>>,
    },
    /// The peer's stream is damaged: nothing is read any more.
    Broken {
        deflater: Option<Box<Deflater>>,
    },
    /// There is no compression any more, once the end of the peer's stream was read.
    Ending(Box<Inflater>),
}

impl<M: Machine> Deflate<M> {
    /// Compression begins when the machine asks for it.
    pub fn new(machine: M) -> Self {
        Self {
            machine,
            phase: Phase::Plain,
            plain: BytesMut::new(),
            transmit: Transmit::default(),
            ahead: AHEAD,
            ended: false,
            told: false,
            failure: None,
            now: None,
            used: None,
        }
    }

    /// Sets how much may be compressed ahead of the peer ([`Limits::transmit`], 256 KiB by default).
    #[must_use]
    pub fn with_limits(mut self, limits: &Limits) -> Self {
        self.ahead = limits.transmit.max(1);
        self
    }

    /// The machine inside.
    pub fn inner(&self) -> &M {
        &self.machine
    }

    /// The machine inside, to answer it or to call it.
    pub fn inner_mut(&mut self) -> &mut M {
        &mut self.machine
    }

    /// The machine inside, without the layer.
    pub fn into_inner(self) -> M {
        self.machine
    }

    /// Whether everything goes compressed.
    pub fn is_compressing(&self) -> bool {
        matches!(self.phase, Phase::Up { .. } | Phase::Broken { .. })
    }

    /// Why inflating failed, if it did: what the machine inside was told with [`Machine::handle_failure`].
    pub fn failure(&self) -> Option<&Closed> {
        self.failure.as_ref()
    }

    fn begin(&mut self) {
        // RFC 4978 §3: the answer that agrees to it is not compressed yet.
        self.transmit.append(self.machine.transmit());
        self.phase = Phase::Up { inflater: Box::default(), deflater: None };
    }

    /// One step of the machine inside compression; `None` if there is another to be made at once.
    fn exchange(&mut self, now: Instant, rx: &mut BytesMut) -> Option<Output<M::Event>> {
        let unread = match &self.phase {
            Phase::Up { inflater, .. } => !inflater.is_finished() && !rx.is_empty() || inflater.holds_more(),
            Phase::Plain | Phase::Ending(_) | Phase::Broken { .. } => false,
        };
        // Behind the end of the stream there may be what the machine has yet to ask for.
        if self.ended && !self.told && !unread && rx.is_empty() {
            self.told = true;
            self.machine.handle_eof();
            return None;
        }
        match self.machine.poll(now, &mut self.plain) {
            Output::Wait(wait) if wait.read && unread => {
                self.inflate(rx);
                None
            }
            Output::Wait(wait) if wait.read && self.is_over() => {
                (self.ended, self.told) = (true, true);
                rx.clear();
                self.machine.handle_eof();
                None
            }
            Output::Wait(wait) => {
                if self.told {
                    rx.clear();
                }
                if self.plain.is_empty() {
                    // An idle connection holds no buffer.
                    self.plain = BytesMut::new();
                }
                self.seal(self.ahead);
                Some(Output::Wait(self.forget(now, wait)))
            }
            Output::Close => {
                // The driver may flush in one go, so nothing may be held back now.
                self.seal(usize::MAX);
                Some(Output::Close)
            }
            Output::Start(Layer::Deflate) => {
                self.fail(Closed::Misuse(Misuse::Argument(
                    "the machine asks for compression that runs already",
                )));
                None
            }
            Output::Start(Layer::EndOfDeflate) => {
                self.end();
                None
            }
            Output::Start(layer) => {
                // What was said before the layer leaves before it.
                self.seal(usize::MAX);
                Some(Output::Start(layer))
            }
            event @ Output::Event(_) => Some(event),
        }
    }

    /// Whether the peer has ended the stream and the machine does not know.
    fn is_over(&self) -> bool {
        matches!(&self.phase, Phase::Up { inflater, .. } if inflater.is_finished()) && !self.told
    }

    /// Ends our stream.
    fn end(&mut self) {
        match std::mem::replace(&mut self.phase, Phase::Plain) {
            Phase::Up { inflater, deflater } => {
                deflater.unwrap_or_default().finish(self.machine.transmit(), &mut self.transmit);
                self.machine.transmit().append(&mut self.transmit);
                self.used = None;
                self.phase = Phase::Ending(inflater);
                if !std::mem::take(&mut self.plain).is_empty() {
                    let problem = "octets behind the end of compression".to_owned();
                    self.fail(Closed::Misbehaved(PeerMisbehaved::Deflate(problem)));
                } else if self.ended && !std::mem::replace(&mut self.told, true) {
                    self.machine.handle_eof();
                }
            }
            // Nothing can be read any more.
            other => self.phase = other,
        }
    }

    /// Reads the end of the peer's stream, as far as it is there.
    fn drain(&mut self, rx: &mut BytesMut) {
        let Phase::Ending(inflater) = &mut self.phase else { return };
        match inflater.drain(rx) {
            Ok(false) => {}
            Ok(true) => self.phase = Phase::Plain,
            Err(problem) => {
                rx.clear();
                self.fail(Closed::Misbehaved(PeerMisbehaved::Deflate(problem)));
            }
        }
    }

    /// Inflates only what is asked for: that is the back-pressure, and what keeps memory bounded.
    fn inflate(&mut self, rx: &mut BytesMut) {
        let Phase::Up { inflater, .. } = &mut self.phase else { return };
        match inflater.inflate(rx, &mut self.plain, INFLATE) {
            // The machine may have compression taken away by what it has not read yet.
            Ok(_) => {}
            Err(problem) => {
                rx.clear();
                self.fail(Closed::Misbehaved(PeerMisbehaved::Deflate(problem)));
            }
        }
    }

    /// Gives the compressor back when it was not used for long; else the machine is polled again when that is due.
    fn forget(&mut self, now: Instant, wait: Wait) -> Wait {
        let Some(due) = self.used.map(|used| used + FORGET) else { return wait };
        if due > now {
            return Wait { until: Some(wait.until.map_or(due, |until| until.min(due))), ..wait };
        }
        self.used = None;
        if let Phase::Up { deflater, .. } | Phase::Broken { deflater } = &mut self.phase {
            *deflater = None;
        }
        wait
    }

    /// Compresses what waits until `ahead` octets are there.
    fn seal(&mut self, ahead: usize) {
        let waiting = self.machine.transmit();
        if let Phase::Up { deflater, .. } | Phase::Broken { deflater } = &mut self.phase
            && !waiting.is_empty()
        {
            deflater.get_or_insert_default().deflate(waiting, &mut self.transmit, ahead);
            self.used = self.now;
        }
    }

    fn fail(&mut self, reason: Closed) {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Plain) {
            Phase::Plain | Phase::Ending(_) => Phase::Plain,
            // The farewell can still be read by a peer that only sent nonsense.
            Phase::Up { deflater, .. } | Phase::Broken { deflater } => Phase::Broken { deflater },
        };
        self.plain = BytesMut::new();
        self.ended = true;
        self.told = true;
        self.machine.handle_failure(reason.clone());
        self.failure = Some(reason);
    }
}

impl<M: Machine> Machine for Deflate<M> {
    type Event = M::Event;

    fn poll(&mut self, now: Instant, rx: &mut BytesMut) -> Output<M::Event> {
        self.now = Some(now);
        loop {
            self.drain(rx);
            if let Phase::Plain | Phase::Ending(_) = self.phase {
                match self.machine.poll(now, rx) {
                    Output::Start(Layer::Deflate) => self.begin(),
                    other => return other,
                }
            } else {
                if let Phase::Broken { .. } = self.phase {
                    rx.clear();
                }
                if let Some(output) = self.exchange(now, rx) {
                    return output;
                }
            }
        }
    }

    fn transmit(&mut self) -> &mut Transmit {
        if let Phase::Plain | Phase::Ending(_) = self.phase {
            return self.machine.transmit();
        }
        self.seal(self.ahead);
        &mut self.transmit
    }

    fn handle_eof(&mut self) {
        self.ended = true;
        // Otherwise there may be octets in front of it that only a poll can inflate.
        if let Phase::Plain | Phase::Ending(_) = self.phase {
            self.told = true;
            self.machine.handle_eof();
        }
    }

    fn handle_tls(&mut self, tls: TlsInfo) {
        self.machine.handle_tls(tls);
    }

    /// The layer beneath failed; nothing can be sent any more.
    fn handle_failure(&mut self, reason: Closed) {
        self.fail(reason);
    }
}
