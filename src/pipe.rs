//! Connections in memory: what services and machines can be tried over without a socket.

use std::{
    io::{self, IoSlice},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::BytesMut;
use tokio::sync::{Notify, futures::Notified};

use crate::Socket;

/// One end of a connection in memory: what is written to one end is read from the other. An end that is dropped or
/// closed is the end of the stream for the other.
///
/// With tokio's paused clock a service and its client run in simulated time: nothing in them knows another clock.
///
/// ```
/// use std::io::IoSlice;
///
/// use bytes::BytesMut;
/// use mailwright::{Pipe, Socket};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let (server, client) = Pipe::pair(1024);
/// server.try_write_vectored(&[IoSlice::new(b"* OK "), IoSlice::new(b"ready\r\n")])?;
/// drop(server);
/// let mut read = BytesMut::new();
/// client.readable().await?;
/// assert_eq!(client.try_read_buf(&mut read, 100)?, 12);
/// assert_eq!(client.try_read_buf(&mut read, 100)?, 0);
/// assert_eq!(read, "* OK ready\r\n");
/// # Ok::<(), std::io::Error>(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Pipe {
    inbound: Arc<Direction>,
    outbound: Arc<Direction>,
}

/// What goes one way.
#[derive(Debug)]
struct Direction {
    queue: Mutex<Queue>,
    /// Raised whenever the queue is no longer as it was.
    changed: Notify,
    /// The most octets that wait in it.
    capacity: usize,
}

#[derive(Debug, Default)]
struct Queue {
    octets: BytesMut,
    closed: bool,
}

impl Pipe {
    /// Both ends. Each direction holds at most `capacity` octets, at least one.
    pub fn pair(capacity: usize) -> (Self, Self) {
        let one = Arc::new(Direction::new(capacity));
        let other = Arc::new(Direction::new(capacity));
        (
            Self { inbound: Arc::clone(&one), outbound: Arc::clone(&other) },
            Self { inbound: other, outbound: one },
        )
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.inbound.close();
        self.outbound.close();
    }
}

impl Direction {
    fn new(capacity: usize) -> Self {
        Self { queue: Mutex::default(), changed: Notify::new(), capacity: capacity.max(1) }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing that is done under the lock can leave it in a bad state.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.queue().closed = true;
        self.changed.notify_waiters();
    }

    /// Waits until something is true of the queue.
    async fn until(&self, ready: impl Fn(&Self, &Queue) -> bool) {
        loop {
            // Before the look, so that no change is missed between the two.
            let changed: Notified<'_> = self.changed.notified();
            if ready(self, &self.queue()) {
                return;
            }
            changed.await;
        }
    }
}

impl Socket for Pipe {
    async fn readable(&self) -> io::Result<()> {
        self.inbound.until(|_, queue| queue.closed || !queue.octets.is_empty()).await;
        Ok(())
    }

    async fn writable(&self) -> io::Result<()> {
        self.outbound.until(|way, queue| queue.closed || queue.octets.len() < way.capacity).await;
        Ok(())
    }

    fn try_read_buf(&self, buffer: &mut BytesMut, size: usize) -> io::Result<usize> {
        let mut queue = self.inbound.queue();
        let count = queue.octets.len().min(size);
        if count == 0 && !queue.closed {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        buffer.extend_from_slice(&queue.octets.split_to(count));
        drop(queue);
        self.inbound.changed.notify_waiters();
        Ok(count)
    }

    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut queue = self.outbound.queue();
        if queue.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut written = 0;
        for slice in slices {
            let room = self.outbound.capacity - queue.octets.len();
            let some = slice.get(..room).unwrap_or(slice);
            queue.octets.extend_from_slice(some);
            written += some.len();
        }
        drop(queue);
        if written == 0 && slices.iter().any(|slice| !slice.is_empty()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.outbound.changed.notify_waiters();
        Ok(written)
    }

    async fn close(&mut self) -> io::Result<()> {
        self.outbound.close();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn holds_no_more_than_its_capacity_and_ends() {
        let (one, mut other) = Pipe::pair(4);
        assert_eq!(one.try_write_vectored(&[IoSlice::new(b"abc"), IoSlice::new(b"def")]).unwrap(), 4);
        let full = one.try_write_vectored(&[IoSlice::new(b"ef")]).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        let mut read = BytesMut::new();
        let (written, ()) = tokio::join!(one.writable(), async {
            other.readable().await.unwrap();
            assert_eq!(other.try_read_buf(&mut read, 3).unwrap(), 3);
        });
        written.unwrap();
        assert_eq!(other.try_read_buf(&mut read, 9).unwrap(), 1);
        assert_eq!(read, "abcd");
        let empty = other.try_read_buf(&mut read, 9).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        other.close().await.unwrap();
        one.readable().await.unwrap();
        assert_eq!(one.try_read_buf(&mut read, 9).unwrap(), 0);
        assert_eq!(one.try_write_vectored(&[IoSlice::new(b"x")]).unwrap(), 1);
        drop(other);
        let gone = one.try_write_vectored(&[IoSlice::new(b"x")]).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::BrokenPipe);
    }
}
