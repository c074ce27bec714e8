//! The driver: one for all machines and both sides.

mod turns;

use std::{
    future::Future,
    io::{self, IoSlice},
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use mailwright_line_proto::{Machine, Output, Wait};
use tokio::{
    io::Interest,
    net::{TcpStream, UnixStream},
    task::coop::consume_budget,
    time,
};

use turns::Turns;

/// The smallest and the largest read. A connection that fills its reads is given larger ones.
const READ_SMALL: u32 = 4 * 1024;
const READ_LARGE: u32 = 256 * 1024;
/// How many chunks one `writev` takes: as many as small messages that wait together have.
const SLICES: usize = 64;
/// How long a peer may take nothing of what waits to be sent, unless told otherwise.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long to wait for what a peer has still said that takes nothing any more.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A machine on a socket.
///
/// All protocol state is in the machine and none in a future, so every future of this type can be dropped at any
/// moment without losing anything.
#[derive(Debug)]
pub struct Connection<M, S = TcpStream> {
    machine: M,
    socket: S,
    rx: BytesMut,
    read_size: u32,
    ended: bool,
    /// Since when the peer has taken nothing of what waits; `None` while nothing waits.
    stalled: Option<Instant>,
    /// In milliseconds: every waiting session has room for this.
    write_timeout: u32,
    /// When all of it ends, whatever is under way.
    deadline: Option<Instant>,
    turns: Turns,
}

impl<M: Machine, S: Socket> Connection<M, S> {
    /// Puts a machine on a socket.
    pub fn new(machine: M, socket: S) -> Self {
        Self {
            machine,
            socket,
            rx: BytesMut::new(),
            read_size: READ_SMALL,
            ended: false,
            stalled: None,
            write_timeout: milliseconds(WRITE_TIMEOUT),
            deadline: None,
            turns: Turns::default(),
        }
    }

    /// Sets how long the peer may take nothing of what waits to be sent.
    pub fn set_write_timeout(&mut self, timeout: Duration) {
        self.write_timeout = milliseconds(timeout);
    }

    /// Gives the peer so long from now on; then the connection ends with `TimedOut`, whatever is under way.
    pub fn end_within(&mut self, time: Duration) {
        self.deadline = Some(now() + time);
    }

    /// The same connection with the machine that takes the place of this one: what came and was not taken is the new one's.
    #[must_use]
    pub fn map<N: Machine>(self, change: impl FnOnce(M) -> N) -> Connection<N, S> {
        let Self { machine, socket, rx, read_size, ended, stalled, write_timeout, deadline, turns } = self;
        Connection {
            machine: change(machine),
            socket,
            rx,
            read_size,
            ended,
            stalled,
            write_timeout,
            deadline,
            turns,
        }
    }

    /// Whose turn it is: the peer's, or that of whoever has the connection.
    pub(crate) fn turns(&self) -> Turns {
        self.turns.clone()
    }

    /// The machine, to answer it or to call it.
    pub fn machine(&mut self) -> &mut M {
        &mut self.machine
    }

    /// The socket.
    pub fn socket(&self) -> &S {
        &self.socket
    }

    /// Whether octets have come that the machine has not taken yet.
    pub fn has_input(&self) -> bool {
        !self.rx.is_empty()
    }

    /// The next event, or `None` once the connection is closed.
    ///
    /// # Errors
    /// The socket's, and `TimedOut` if the peer takes nothing of what waits to be sent.
    pub async fn next(&mut self) -> io::Result<Option<M::Event>> {
        loop {
            match self.machine.poll(now(), &mut self.rx) {
                Output::Event(event) => return Ok(Some(event)),
                Output::Wait(wait) => self.wait(wait).await?,
                Output::Close => {
                    self.flush().await?;
                    self.socket.close().await?;
                    return Ok(None);
                }
                Output::Start(layer) => {
                    return Err(io::Error::other(format!("the machine has no {layer:?} layer to start")));
                }
            }
        }
    }

    /// Writes until at most `room` octets wait: what a sender of a large body does between its chunks.
    ///
    /// # Errors
    /// As for [`next`](Self::next).
    pub async fn flush_below(&mut self, room: usize) -> io::Result<()> {
        while self.drain()? > room {
            self.writable().await?;
        }
        // A peer that takes everything at once never makes this wait; others want to go on too.
        consume_budget().await;
        Ok(())
    }

    /// As [`flush_below`](Self::flush_below) to a peer that may have something to say meanwhile, or instead of reading on: the event that
    /// came first, if one did.
    ///
    /// # Errors
    /// As for [`next`](Self::next).
    pub(crate) async fn flush_listening(&mut self, room: usize) -> io::Result<Option<M::Event>> {
        while self.drain()? > room {
            match self.machine.poll(now(), &mut self.rx) {
                Output::Event(event) => return Ok(Some(event)),
                Output::Wait(wait) => self.wait(wait).await?,
                // It is the same with the next look.
                Output::Close | Output::Start(_) => return Ok(None),
            }
        }
        consume_budget().await;
        Ok(None)
    }

    /// What the peer said before it took nothing any more: the next event of what has come, after a write that failed.
    pub(crate) async fn last_words(&mut self) -> Option<M::Event> {
        loop {
            match self.machine.poll(now(), &mut self.rx) {
                Output::Event(event) => return Some(event),
                Output::Wait(wait) if wait.read && !self.ended => {
                    // The reset that made the write fail is something to read, too, so that this is over at once.
                    time::timeout(LAST_WORDS, self.socket.readable()).await.ok()?.ok()?;
                    self.fill().ok()?;
                }
                _ => return None,
            }
        }
    }

    /// Writes everything that waits.
    ///
    /// # Errors
    /// As for [`next`](Self::next).
    pub async fn flush(&mut self) -> io::Result<()> {
        self.flush_below(0).await
    }

    async fn wait(&mut self, wait: Wait) -> io::Result<()> {
        if self.rx.is_empty() {
            // An idle connection holds no buffer.
            self.rx = BytesMut::new();
        }
        // What follows may find something to do each time it looks, for as long as the peer likes. tokio gives a task so
        // many turns before it has to let others go on; reading and writing without waiting take none of them.
        consume_budget().await;
        let before = self.machine.transmit().remaining();
        let write = self.drain()? > 0;
        if self.machine.transmit().remaining() < before {
            // The machine may have waited for exactly that.
            return Ok(());
        }
        let read = wait.read && !self.ended;
        // Without an await where there is something to read already: the busy path needs no timer.
        if read && self.fill()? {
            return Ok(());
        }
        let stalled = self.stalled.filter(|_| write).map(|since| since + self.patience());
        let _turn = self.turns.of_the_peer();
        let until = wait.until.into_iter().chain(stalled).chain(self.deadline).min();
        tokio::select! {
            ready = self.socket.readable(), if read => { ready?; self.fill()?; }
            ready = self.socket.writable(), if write => { ready?; self.drain()?; }
            () = sleep_until(until) => self.check_stalled()?,
        }
        Ok(())
    }

    #[expect(
        clippy::needless_pass_by_ref_mut,
        reason = "a machine cannot be shared between threads, only sent"
    )]
    async fn writable(&mut self) -> io::Result<()> {
        let stalled = self.stalled.map(|since| since + self.patience());
        let _turn = self.turns.of_the_peer();
        tokio::select! {
            ready = self.socket.writable() => ready,
            () = sleep_until(stalled.into_iter().chain(self.deadline).min()) => self.check_stalled(),
        }
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(self.write_timeout.into())
    }

    fn check_stalled(&self) -> io::Result<()> {
        if self.deadline.is_some_and(|deadline| now() >= deadline) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the time that it was given has passed"));
        }
        match self.stalled {
            Some(since) if now().duration_since(since) >= self.patience() => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing of what waits for it"))
            }
            _ => Ok(()),
        }
    }

    /// Reads once; says whether anything came, the end of the stream included.
    fn fill(&mut self) -> io::Result<bool> {
        match self.socket.try_read_buf(&mut self.rx, self.read_size as usize) {
            Ok(0) => {
                self.ended = true;
                self.machine.handle_eof();
                Ok(true)
            }
            Ok(count) => {
                let count = u32::try_from(count).unwrap_or(READ_LARGE);
                self.read_size = if count >= self.read_size {
                    (self.read_size * 4).min(READ_LARGE)
                } else {
                    count.next_power_of_two().clamp(READ_SMALL, self.read_size)
                };
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if self.rx.is_empty() {
                    self.rx = BytesMut::new();
                }
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes what the socket takes; says how much still waits.
    fn drain(&mut self) -> io::Result<usize> {
        loop {
            let transmit = self.machine.transmit();
            if !transmit.has_remaining() {
                self.stalled = None;
                return Ok(0);
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = transmit.chunks_vectored(&mut slices);
            match self.socket.try_write_vectored(slices.get(..filled).unwrap_or_default()) {
                Ok(count) => {
                    transmit.advance(count);
                    self.stalled = Some(now());
                    self.turns.pass();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stalled.get_or_insert_with(now);
                    return Ok(transmit.remaining());
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// At most some fifty days.
fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// The time that timers go by: in tests, a simulated one.
fn now() -> Instant {
    time::Instant::now().into_std()
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => time::sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}

/// A stream socket of tokio's, as far as the driver needs it. TLS is inside the machine, so this is always a plain
/// socket.
pub trait Socket: Send {
    /// Completes when a read may find something.
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send;
    /// Completes when a write may be taken.
    fn writable(&self) -> impl Future<Output = io::Result<()>> + Send;
    /// Reads without waiting, with room for `size` octets; 0 is the end of the stream. Makes the room only if there
    /// is something to read.
    ///
    /// # Errors
    /// The socket's; `WouldBlock` if there is nothing.
    fn try_read_buf(&self, buffer: &mut BytesMut, size: usize) -> io::Result<usize>;
    /// Writes without waiting.
    ///
    /// # Errors
    /// The socket's; `WouldBlock` if nothing is taken.
    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
    /// Ends our side of the stream.
    fn close(&mut self) -> impl Future<Output = io::Result<()>> + Send;
}

macro_rules! socket {
    ($kind:ty) => {
        impl Socket for $kind {
            async fn readable(&self) -> io::Result<()> {
                <$kind>::readable(self).await
            }

            async fn writable(&self) -> io::Result<()> {
                <$kind>::writable(self).await
            }

            fn try_read_buf(&self, buffer: &mut BytesMut, size: usize) -> io::Result<usize> {
                let mut short = None;
                let read = self.try_io(Interest::READABLE, || {
                    buffer.reserve(size);
                    let room = buffer.capacity() - buffer.len();
                    let count = <$kind>::try_read_buf(self, buffer)?;
                    if count == 0 || count == room {
                        return Ok(count);
                    }
                    // There was no more: said this way, the next look costs no call of the system, but waits for news.
                    // What came since is news (epoll(7), on reading less than was asked for).
                    short = Some(count);
                    Err(io::ErrorKind::WouldBlock.into())
                });
                short.map_or(read, Ok)
            }

            fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
                <$kind>::try_write_vectored(self, slices)
            }

            async fn close(&mut self) -> io::Result<()> {
                match tokio::io::AsyncWriteExt::shutdown(self).await {
                    // The peer was faster.
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
                    done => done,
                }
            }
        }
    };
}

socket!(TcpStream);
socket!(UnixStream);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use mailwright_line_proto::{TlsInfo, Transmit};

    use super::*;

    /// More looks than this without letting go are for ever.
    const STARVED: usize = 1_000_000;

    /// A peer that never pauses: there is always something to read and always room to write.
    #[derive(Default)]
    struct Restless(AtomicUsize);

    impl Restless {
        fn count(&self) {
            assert!(self.0.fetch_add(1, Ordering::Relaxed) < STARVED, "nobody else got a turn");
        }
    }

    impl Socket for Restless {
        async fn readable(&self) -> io::Result<()> {
            Ok(())
        }

        async fn writable(&self) -> io::Result<()> {
            Ok(())
        }

        fn try_read_buf(&self, buffer: &mut BytesMut, _: usize) -> io::Result<usize> {
            self.count();
            buffer.extend_from_slice(b"NOOP\r\n");
            Ok(6)
        }

        fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            self.count();
            Ok(slices.iter().map(|slice| slice.len()).sum())
        }

        async fn close(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Answers whatever comes and tells nobody.
    #[derive(Default)]
    struct Silent {
        transmit: Transmit,
        answer: bool,
    }

    impl Machine for Silent {
        type Event = ();

        fn poll(&mut self, _: Instant, rx: &mut BytesMut) -> Output<()> {
            if self.answer && !rx.is_empty() {
                self.transmit.put(b"OK\r\n");
            }
            rx.clear();
            Output::Wait(Wait { read: true, until: None })
        }

        fn transmit(&mut self) -> &mut Transmit {
            &mut self.transmit
        }

        fn handle_eof(&mut self) {}

        fn handle_tls(&mut self, _: TlsInfo) {}
    }

    #[tokio::test]
    async fn a_peer_that_never_pauses_does_not_starve_others() {
        const TURN: Duration = Duration::from_millis(20);
        for answer in [false, true] {
            let machine = Silent { answer, ..Silent::default() };
            let mut connection = Connection::new(machine, Restless::default());
            // On one thread: the time passes only if the connection lets go.
            assert!(time::timeout(TURN, connection.next()).await.is_err());
        }
        let mut connection = Connection::new(Silent::default(), Restless::default());
        let sending = async {
            loop {
                connection.machine().transmit.put(b"more\r\n");
                connection.flush_below(0).await.unwrap();
            }
        };
        assert!(time::timeout(TURN, sending).await.is_err());
    }
}
