//! TLS as a layer of the machine, not of the socket.

mod session;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use rustls::{ClientConfig, ServerConfig, pki_types::ServerName};

use self::session::Session;
use crate::{
    Closed, Deadline, Layer, Limits, Machine, Misuse, Output, PeerMisbehaved, Timeouts, TlsInfo, Transmit,
    Wait,
};

/// How much is decrypted at a time, in octets; one record more may come with it.
const DECRYPT: usize = 64 * 1024;
/// As [`Limits::transmit`], and as [`Timeouts::tls`].
const AHEAD: usize = 256 * 1024;
const HANDSHAKE: Duration = Duration::from_secs(30);

/// Which side of the handshake we are, and how we do it. [`tls`](crate::tls) makes the configurations.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TlsSide {
    /// The side that shows its certificate.
    Server(Arc<ServerConfig>),
    /// The side that checks it against this name.
    Client(Arc<ClientConfig>, ServerName<'static>),
}

/// A machine with TLS between it and the socket: a machine itself, with the same events.
///
/// The machine inside sees plaintext, and [`TlsInfo`] when the handshake is done. What it has put into its
/// `transmit` before it said [`Output::Start`] leaves in the clear, before the first octet of the handshake; whatever
/// comes later leaves encrypted or not at all.
///
/// A connection that ends without `close_notify` is to the machine inside like one that ends with it: every mail
/// protocol says itself where its messages end, so a cut one is known by that. A handshake or record that fails is
/// answered with an alert; then the machine inside is told by [`Machine::handle_failure`] and gives its closing event.
///
/// At most [`Limits::transmit`] octets are encrypted ahead of the peer, and one write more. As long as anything waits
/// unencrypted, `transmit` holds no less than that, so its length goes on being the signal of back-pressure: take
/// `transmit` anew after writing, for it fills up again.
///
/// ```
/// use mailwright_line_proto::{Machine, Secure, TlsSide, tls};
///
/// # fn serve<M: Machine>(machine: M, certificate: &str, key: &str) -> Result<Secure<M>, tls::TlsConfigError> {
/// let mut config = tls::server_config(certificate.as_bytes(), key.as_bytes())?;
/// config.alpn_protocols = vec![b"pop3".to_vec()];
/// let secure = Secure::starttls(machine, TlsSide::Server(config.into()));
/// # Ok(secure) }
/// ```
#[derive(Debug)]
pub struct Secure<M> {
    machine: M,
    side: Option<TlsSide>,
    phase: Phase,
    /// What was decrypted and not yet taken.
    plain: BytesMut,
    /// Ciphertext, behind what had to leave in the clear.
    transmit: Transmit,
    ahead: usize,
    handshake: Duration,
    /// The peer will send nothing more, and whether the machine knows.
    ended: bool,
    told: bool,
    failure: Option<Closed>,
    /// A failure to encrypt that the next poll must act on.
    fault: Option<rustls::Error>,
}

#[derive(Debug)]
enum Phase {
    /// No TLS, or not yet.
    Plain,
    /// TLS begins with the next poll.
    Due,
    Handshake {
        session: Box<Session>,
        deadline: Instant,
    },
    Up(Box<Session>),
    /// TLS failed: nothing is read or sent any more.
    Broken,
}

impl<M: Machine> Secure<M> {
    /// TLS begins when the machine asks for it.
    pub fn starttls(machine: M, side: TlsSide) -> Self {
        Self::new(machine, Some(side), Phase::Plain)
    }

    /// TLS begins at once; even the greeting goes inside (RFC 8314 §3).
    pub fn implicit(machine: M, side: TlsSide) -> Self {
        Self::new(machine, Some(side), Phase::Due)
    }

    /// No TLS at all, for a driver that is to deal with one type. A machine that asks for it nevertheless is closed
    /// with [`Closed::Misuse`].
    pub fn plain(machine: M) -> Self {
        Self::new(machine, None, Phase::Plain)
    }

    fn new(machine: M, side: Option<TlsSide>, phase: Phase) -> Self {
        Self {
            machine,
            side,
            phase,
            plain: BytesMut::new(),
            transmit: Transmit::default(),
            ahead: AHEAD,
            handshake: HANDSHAKE,
            ended: false,
            told: false,
            failure: None,
            fault: None,
        }
    }

    /// Sets how much may be encrypted ahead of the peer ([`Limits::transmit`], 256 KiB by default) and how long the
    /// handshake may take ([`Timeouts::tls`], 30 s by default).
    #[must_use]
    pub fn with_limits(mut self, limits: &Limits, timeouts: &Timeouts) -> Self {
        self.ahead = limits.transmit.max(1);
        self.handshake = timeouts.tls;
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

    /// The same layer around the machine that takes the place of the one inside, on the same connection: what was decrypted is the
    /// new one's. It cannot ask for TLS any more where there is none yet.
    #[must_use]
    pub fn map<N: Machine>(self, change: impl FnOnce(M) -> N) -> Secure<N> {
        let Self { machine, phase, plain, transmit, ahead, handshake, ended, told, failure, fault, .. } =
            self;
        let mut machine = change(machine);
        if told {
            machine.handle_eof();
        }
        Secure { machine, side: None, phase, plain, transmit, ahead, handshake, ended, told, failure, fault }
    }

    /// Whether the handshake is done and everything goes encrypted.
    pub fn is_secure(&self) -> bool {
        matches!(self.phase, Phase::Up(_))
    }

    /// Why TLS failed, if it did: what the machine inside was told with [`Machine::handle_failure`].
    pub fn failure(&self) -> Option<&Closed> {
        self.failure.as_ref()
    }

    fn begin(&mut self, now: Instant) {
        // What the machine said before goes first, in the clear (RFC 3207 §4).
        if matches!(self.phase, Phase::Plain) {
            self.transmit.append(self.machine.transmit());
        }
        let Some(side) = &self.side else { return self.fail(unconfigured()) };
        match Session::new(side) {
            Ok(session) => {
                self.phase = Phase::Handshake { session: Box::new(session), deadline: now + self.handshake }
            }
            Err(error) => self.fail(misbehaved(&error)),
        }
    }

    /// Goes on with the handshake; `None` once it is over, either way.
    fn shake_hands(&mut self, now: Instant, rx: &mut BytesMut) -> Option<Wait> {
        let Phase::Handshake { session, deadline } = &mut self.phase else { return None };
        let closed = match session.receive(rx, &mut self.plain, DECRYPT) {
            Ok(closed) => closed,
            Err(error) => {
                self.fail(misbehaved(&error));
                return None;
            }
        };
        session.flush(&mut self.transmit);
        self.ended |= closed;
        if session.is_handshaking() {
            if self.ended {
                self.fail(Closed::Eof);
            } else if *deadline <= now {
                self.fail(Closed::TimedOut(Deadline::Tls));
            } else {
                return Some(Wait { read: true, until: Some(*deadline) });
            }
            return None;
        }
        if let Phase::Handshake { session, .. } = std::mem::replace(&mut self.phase, Phase::Broken) {
            self.machine.handle_tls(session.info());
            self.phase = Phase::Up(session);
        }
        None
    }

    /// One step of the machine inside TLS; `None` if there is another to be made at once.
    fn exchange(&mut self, now: Instant, rx: &mut BytesMut) -> Option<Output<M::Event>> {
        if let Some(error) = self.fault.take() {
            self.fail(misbehaved(&error));
            return None;
        }
        if rx.is_empty() && self.tell_end() {
            return None;
        }
        match self.machine.poll(now, &mut self.plain) {
            Output::Wait(wait) => {
                let Phase::Up(session) = &mut self.phase else { return None };
                // Decrypting only what is asked for is the back-pressure.
                if wait.read && !rx.is_empty() {
                    match session.receive(rx, &mut self.plain, DECRYPT) {
                        Ok(closed) => self.ended |= closed,
                        Err(error) => self.fail(misbehaved(&error)),
                    }
                    return None;
                }
                if self.plain.is_empty() {
                    // An idle connection holds no buffer.
                    self.plain = BytesMut::new();
                }
                self.seal(self.ahead);
                self.fault.is_none().then_some(Output::Wait(wait))
            }
            Output::Close => {
                // The driver may flush in one go, so nothing may be held back now.
                self.seal(usize::MAX);
                if let Phase::Up(session) = &mut self.phase {
                    session.close(&mut self.transmit);
                }
                Some(Output::Close)
            }
            Output::Start(Layer::Tls) => {
                self.fail(unconfigured());
                None
            }
            other => Some(other),
        }
    }

    /// Tells the machine of the end of input, once; says whether it did.
    fn tell_end(&mut self) -> bool {
        let due = self.ended && !self.told;
        if due {
            self.told = true;
            self.machine.handle_eof();
        }
        due
    }

    fn seal(&mut self, ahead: usize) {
        match &mut self.phase {
            Phase::Up(session) => {
                if let Err(error) = session.seal(self.machine.transmit(), &mut self.transmit, ahead) {
                    self.fault = Some(error);
                }
            }
            // It was meant for inside TLS: it never leaves in the clear.
            Phase::Broken => self.machine.transmit().clear(),
            Phase::Plain | Phase::Due | Phase::Handshake { .. } => {}
        }
    }

    fn fail(&mut self, reason: Closed) {
        let phase = std::mem::replace(&mut self.phase, Phase::Broken);
        if let Phase::Handshake { mut session, .. } | Phase::Up(mut session) = phase {
            // The alert.
            session.flush(&mut self.transmit);
        }
        self.ended = true;
        self.told = true;
        self.machine.handle_failure(reason.clone());
        self.failure = Some(reason);
    }
}

impl<M: Machine> Machine for Secure<M> {
    type Event = M::Event;

    fn poll(&mut self, now: Instant, rx: &mut BytesMut) -> Output<M::Event> {
        loop {
            match &self.phase {
                Phase::Plain => match self.machine.poll(now, rx) {
                    Output::Start(Layer::Tls) => self.begin(now),
                    other => return other,
                },
                Phase::Due => self.begin(now),
                Phase::Handshake { .. } => {
                    if let Some(wait) = self.shake_hands(now, rx) {
                        return Output::Wait(wait);
                    }
                }
                Phase::Up(_) => {
                    if let Some(output) = self.exchange(now, rx) {
                        return output;
                    }
                }
                Phase::Broken => {
                    rx.clear();
                    return match self.machine.poll(now, &mut self.plain) {
                        Output::Start(_) => Output::Close,
                        other => other,
                    };
                }
            }
        }
    }

    fn transmit(&mut self) -> &mut Transmit {
        if matches!(self.phase, Phase::Plain) {
            return self.machine.transmit();
        }
        self.seal(self.ahead);
        &mut self.transmit
    }

    fn handle_eof(&mut self) {
        self.ended = true;
        // Otherwise there may be records in front of it that only a poll can see.
        if matches!(self.phase, Phase::Plain) {
            self.tell_end();
        }
    }

    /// Passes it on: something else than this layer speaks TLS, a proxy in front of us.
    fn handle_tls(&mut self, tls: TlsInfo) {
        self.machine.handle_tls(tls);
    }

    fn handle_failure(&mut self, reason: Closed) {
        self.fail(reason);
    }
}

fn misbehaved(error: &rustls::Error) -> Closed {
    Closed::Misbehaved(PeerMisbehaved::Tls(error.to_string()))
}

fn unconfigured() -> Closed {
    Closed::Misuse(Misuse::Argument("the machine asks for TLS that was not configured, or runs already"))
}
