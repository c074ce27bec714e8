//! Two machines back to back in simulated time.

use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};

use crate::{Layer, Machine, Output, Wait};

/// A server and a client machine joined by two queues of octets, with a clock of their own.
///
/// TLS, when both ask for it without being wrapped in `Secure`, is simulated by telling both that it is up.
#[derive(Debug)]
pub struct Pair<S, C> {
    /// The server's end.
    pub server: End<S>,
    /// The client's end.
    pub client: End<C>,
    /// The time that both are told.
    pub now: Instant,
    /// How many octets cross at a time.
    pub split: usize,
}

/// One end of a [`Pair`].
#[derive(Debug)]
pub struct End<M> {
    /// The machine.
    pub machine: M,
    /// All it sent so far, encrypted or not.
    pub sent: Vec<u8>,
    /// Whether it closed.
    pub closed: bool,
    rx: BytesMut,
    wait: Wait,
}

impl<M: Machine> End<M> {
    fn new(machine: M) -> Self {
        Self {
            machine,
            sent: Vec::new(),
            closed: false,
            rx: BytesMut::new(),
            wait: Wait { read: true, until: None },
        }
    }

    /// Polls until it waits; says whether anything happened.
    fn settle(&mut self, now: Instant, on_event: &mut impl FnMut(&mut M, M::Event)) -> bool {
        let mut moved = false;
        while !self.closed {
            match self.machine.poll(now, &mut self.rx) {
                Output::Event(event) => on_event(&mut self.machine, event),
                Output::Start(Layer::Tls) => self.machine.handle_tls(super::simulated_tls()),
                Output::Start(Layer::Deflate | Layer::EndOfDeflate) => {}
                Output::Close => self.closed = true,
                Output::Wait(wait) => {
                    self.wait = wait;
                    break;
                }
            }
            moved = true;
        }
        moved
    }

    fn take(&mut self, split: usize) -> Vec<u8> {
        let transmit = self.machine.transmit();
        let length = transmit.remaining().min(split);
        let octets = transmit.copy_to_bytes(length).to_vec();
        self.sent.extend_from_slice(&octets);
        octets
    }
}

impl<S: Machine, C: Machine> Pair<S, C> {
    /// Joins two machines; `split` octets at most cross at a time.
    pub fn new(server: S, client: C, split: usize) -> Self {
        Self { server: End::new(server), client: End::new(client), now: Instant::now(), split }
    }

    /// Runs until nothing moves any more at this moment. The closures play the two applications.
    pub fn run(
        &mut self,
        mut on_server: impl FnMut(&mut S, S::Event),
        mut on_client: impl FnMut(&mut C, C::Event),
    ) {
        loop {
            let mut moved = self.server.settle(self.now, &mut on_server);
            moved |= cross(&mut self.server, &mut self.client, self.split);
            moved |= self.client.settle(self.now, &mut on_client);
            moved |= cross(&mut self.client, &mut self.server, self.split);
            if !moved {
                return;
            }
        }
    }

    /// Lets time pass, then runs. Deadlines on the way are kept in their order.
    pub fn pass(
        &mut self,
        duration: Duration,
        mut on_server: impl FnMut(&mut S, S::Event),
        mut on_client: impl FnMut(&mut C, C::Event),
    ) {
        let end = self.now + duration;
        loop {
            self.run(&mut on_server, &mut on_client);
            let server = self.server.wait.until.filter(|_| !self.server.closed);
            let client = self.client.wait.until.filter(|_| !self.client.closed);
            match server.into_iter().chain(client).min().filter(|until| *until <= end) {
                Some(until) if until > self.now => self.now = until,
                _ => break,
            }
        }
        self.now = end;
        self.run(&mut on_server, &mut on_client);
    }
}

/// Carries one piece from one end to the other, or the end of the stream.
fn cross<A: Machine, B: Machine>(from: &mut End<A>, to: &mut End<B>, split: usize) -> bool {
    // The driver would not read: that is back-pressure.
    if !to.wait.read && !to.rx.is_empty() {
        return false;
    }
    let octets = from.take(split);
    if octets.is_empty() {
        if from.closed && !to.closed && to.wait.read {
            to.machine.handle_eof();
            to.wait.read = false;
            return true;
        }
        return false;
    }
    to.rx.extend_from_slice(&octets);
    true
}
