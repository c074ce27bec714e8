//! The driver for machines on `std::io`, without a runtime.

use std::{
    io::{self, Read, Write},
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};

use crate::{Machine, Output};

/// How much is read at a time, in octets.
const READ: usize = 16 * 1024;

/// A machine on a stream that blocks: one connection for one thread.
///
/// A deadline can pass only if the stream can stop waiting, so give it a way to: with
/// [`on_wait`](Self::on_wait) it is told before each read how long the read may take, and a read that ends with
/// [`WouldBlock`](io::ErrorKind::WouldBlock) or [`TimedOut`](io::ErrorKind::TimedOut) then lets the machine act. Without
/// it the driver waits for the peer for ever.
///
/// ```no_run
/// use std::net::TcpStream;
/// use mailwright_line_proto::{Blocking, Machine};
///
/// fn drive<M: Machine>(machine: M, answer: impl Fn(&mut M, M::Event)) -> std::io::Result<()> {
///     let stream = TcpStream::connect("mail.example.org:110")?;
///     let mut connection =
///         Blocking::new(machine, stream).on_wait(|stream, timeout| stream.set_read_timeout(timeout));
///     while let Some(event) = connection.next()? {
///         answer(connection.machine(), event);
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Blocking<M, S> {
    machine: M,
    stream: S,
    rx: BytesMut,
    on_wait: fn(&S, Option<Duration>) -> io::Result<()>,
}

impl<M: Machine, S: Read + Write> Blocking<M, S> {
    /// Puts a machine on a stream.
    pub fn new(machine: M, stream: S) -> Self {
        Self { machine, stream, rx: BytesMut::new(), on_wait: |_, _| Ok(()) }
    }

    /// Sets what is called before each read with the longest time it may take.
    #[must_use]
    pub fn on_wait(mut self, on_wait: fn(&S, Option<Duration>) -> io::Result<()>) -> Self {
        self.on_wait = on_wait;
        self
    }

    /// The machine, to answer it or to call it.
    pub fn machine(&mut self) -> &mut M {
        &mut self.machine
    }

    /// The stream.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// The next event, or `None` once the connection is closed.
    ///
    /// # Errors
    /// The stream's. [`WouldBlock`](io::ErrorKind::WouldBlock) also if the machine waits for an answer that it was not
    /// given: nobody else could.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator could not lend the machine between events"
    )]
    pub fn next(&mut self) -> io::Result<Option<M::Event>> {
        loop {
            let wait = match self.machine.poll(Instant::now(), &mut self.rx) {
                Output::Event(event) => return Ok(Some(event)),
                Output::Close => return self.write().map(|_| None),
                Output::Start(layer) => {
                    return Err(io::Error::other(format!("the machine has no {layer:?} layer to start")));
                }
                Output::Wait(wait) => wait,
            };
            if self.write()? {
                // There is room again: the machine may want to go on.
                continue;
            }
            let left = wait.until.map(|until| until.saturating_duration_since(Instant::now()));
            if !wait.read {
                return Err(io::Error::new(io::ErrorKind::WouldBlock, "the machine waits for an answer"));
            }
            self.read(left)?;
        }
    }

    /// Writes everything that waits; says whether that was anything.
    ///
    /// # Errors
    /// The stream's.
    pub fn write(&mut self) -> io::Result<bool> {
        let mut wrote = false;
        loop {
            let transmit = self.machine.transmit();
            if !transmit.has_remaining() {
                break;
            }
            match self.stream.write(transmit.chunk()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => transmit.advance(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            wrote = true;
        }
        if wrote {
            self.stream.flush()?;
        }
        Ok(wrote)
    }

    fn read(&mut self, left: Option<Duration>) -> io::Result<()> {
        // A timeout of nothing means none at all to the sockets of std.
        (self.on_wait)(&self.stream, left.map(|left| left.max(Duration::from_millis(1))))?;
        let mut buffer = [0; READ];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.machine.handle_eof(),
            Ok(count) => self.rx.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                // The time was up, which is the machine's business.
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut if left.is_some() => {}
                _ => return Err(error),
            },
        }
        Ok(())
    }
}
