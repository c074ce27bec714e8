//! Uploads into a store that keeps bodies in chunks of one size.

use bytes::{Bytes, BytesMut};

use crate::{Appended, CommitError, Result, Sink, StoreError, Target, Upload};

/// Where the chunks of one message go. Dropped before it is committed, it sees to it that those that it has written are removed.
///
/// `Drop` cannot await. It sends the number of the upload to a task or thread that removes chunks, and does not wait; and because a process may
/// end before that, chunks that belong to no message are looked for when the store is opened, as after a crash. If the storage does not
/// block for long, `Drop` may remove them itself.
pub trait Chunks: Send {
    /// Writes a whole chunk, which begins at this octet of the message.
    ///
    /// # Errors
    /// As for [`Upload::write`].
    fn write(&mut self, start: u64, chunk: Bytes) -> impl Future<Output = Result<()>> + Send;

    /// Writes what is left behind the chunks, which may be nothing, and makes the message appear in every target, or does nothing; as
    /// [`Upload::commit`]. The size of the message is that of both.
    ///
    /// # Errors
    /// As for [`Upload::commit`]: what was written stays, for another attempt.
    fn commit(
        &mut self,
        start: u64,
        rest: Bytes,
        targets: &[Target],
    ) -> impl Future<Output = Result<Vec<Appended>, CommitError>> + Send;
}

/// An upload in chunks of `size` octets, which is at least 1: what [`Write::begin`](crate::Write::begin) returns. No more than one of them, and
/// what the caller has in hand, is in memory.
pub fn in_chunks(size: usize, chunks: impl Chunks + 'static) -> Upload {
    Upload::new(Chunked { chunks, size: size.max(1), written: 0, tail: BytesMut::new(), state: State::Open })
}

struct Chunked<C> {
    chunks: C,
    size: usize,
    /// The octets of all chunks so far.
    written: u64,
    tail: BytesMut,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// A chunk could not be written, or nobody waited for that, so the message may have a hole.
    Broken,
    Committed,
}

impl<C> Chunked<C> {
    fn check(&self) -> Result<()> {
        match self.state {
            State::Open => Ok(()),
            State::Broken => {
                Err(StoreError::Unavailable("an earlier part of the message was not stored".into()))
            }
            State::Committed => {
                Err(StoreError::Invalid("expected an upload that is not committed yet".into()))
            }
        }
    }
}

impl<C: Chunks> Sink for Chunked<C> {
    async fn write(&mut self, mut octets: Bytes) -> Result<()> {
        self.check()?;
        while !octets.is_empty() {
            let room = self.size.saturating_sub(self.tail.len());
            self.tail.extend_from_slice(&octets.split_to(room.min(octets.len())));
            if self.tail.len() == self.size {
                let chunk = std::mem::take(&mut self.tail).freeze();
                let start = self.written;
                self.written += chunk.len() as u64;
                self.state = State::Broken;
                self.chunks.write(start, chunk).await?;
                self.state = State::Open;
            }
        }
        Ok(())
    }

    async fn commit(&mut self, targets: &[Target]) -> Result<Vec<Appended>, CommitError> {
        self.check()?;
        let rest = Bytes::copy_from_slice(&self.tail);
        self.state = State::Broken;
        let outcome = self.chunks.commit(self.written, rest, targets).await;
        self.state = if outcome.is_ok() { State::Committed } else { State::Open };
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::block_on;
    use crate::signal::lock;

    /// What was written, and the chunk that fails.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<(u64, Bytes)>>>, Option<u64>);

    impl Chunks for Written {
        async fn write(&mut self, start: u64, chunk: Bytes) -> Result<()> {
            if self.1 == Some(start) {
                return Err(StoreError::Full("no room".into()));
            }
            lock(&self.0).push((start, chunk));
            Ok(())
        }

        async fn commit(
            &mut self,
            start: u64,
            rest: Bytes,
            _: &[Target],
        ) -> Result<Vec<Appended>, CommitError> {
            lock(&self.0).push((start, rest));
            Ok(Vec::new())
        }
    }

    #[test]
    fn chunks_are_whole_however_the_octets_come() {
        for piece in 1..12 {
            let written = Written::default();
            let mut upload = in_chunks(4, written.clone());
            for octets in b"0123456789".chunks(piece) {
                block_on(upload.write(Bytes::from_static(octets))).unwrap();
            }
            block_on(upload.commit(&[])).unwrap();
            assert!(block_on(upload.commit(&[])).is_err() && block_on(upload.write(Bytes::new())).is_err());
            let expected =
                [(0, "0123"), (4, "4567"), (8, "89")].map(|(at, octets)| (at, Bytes::from(octets)));
            assert_eq!(*lock(&written.0), expected, "{piece}");
        }
    }

    #[test]
    fn after_a_hole_nothing_is_committed() {
        let written = Written(Arc::default(), Some(4));
        let mut upload = in_chunks(4, written.clone());
        assert!(matches!(
            block_on(upload.write(Bytes::from_static(b"0123456789"))),
            Err(StoreError::Full(_))
        ));
        assert!(block_on(upload.write(Bytes::from_static(b"x"))).is_err());
        assert!(block_on(upload.commit(&[])).is_err());
        assert_eq!(lock(&written.0).len(), 1);
    }
}
