//! The octets of a message in the queue, as a stream.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use mailwright_mailstore::{QueueEntry, Spool, Store, StoreError};
use tokio::io::{AsyncRead, ReadBuf};

/// How much is read from the store at a time, in octets.
const CHUNK: u64 = 256 * 1024;

/// Reads a message from a store: no more than a part of it is in memory. If the store fails, reading does: a message is
/// never cut short in silence.
pub(super) struct Source<S> {
    store: Arc<S>,
    entry: Arc<QueueEntry>,
    offset: u64,
    end: u64,
    chunk: Bytes,
    pending: Option<Pending>,
}

type Pending = Pin<Box<dyn Future<Output = Result<Bytes, StoreError>> + Send>>;

impl<S: Store + 'static> Source<S> {
    /// All that is sent of a message.
    pub(super) fn new(store: Arc<S>, entry: Arc<QueueEntry>) -> Self {
        let (offset, end) = (entry.skip.min(entry.size), entry.size);
        Self { store, entry, offset, end, chunk: Bytes::new(), pending: None }
    }

    /// The same with other octets in place of so many at its beginning.
    pub(super) fn with_beginning(mut self, beginning: Bytes, in_place_of: u64) -> Self {
        self.chunk = beginning;
        self.offset = (self.offset + in_place_of).min(self.end);
        self
    }

    /// The same with this in front of it.
    pub(super) fn behind(mut self, field: &str) -> Self {
        self.chunk = Bytes::from([field.as_bytes(), &self.chunk].concat());
        self
    }

    fn fetch(&self) -> Pending {
        let (store, entry) = (Arc::clone(&self.store), Arc::clone(&self.entry));
        let range = self.offset..self.end.min(self.offset + CHUNK);
        Box::pin(async move {
            let spool = store.spool().ok_or_else(|| StoreError::Invalid("no queue".into()))?;
            let chunk = spool.octets(&entry, range).await?;
            if chunk.is_empty() {
                Err(StoreError::Corrupt("a message without its end".into()))
            } else {
                Ok(chunk)
            }
        })
    }
}

impl<S: Store + 'static> AsyncRead for Source<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.chunk.is_empty() {
            if self.offset >= self.end {
                return Poll::Ready(Ok(()));
            }
            let mut pending = match self.pending.take() {
                Some(pending) => pending,
                None => self.fetch(),
            };
            match pending.as_mut().poll(context) {
                Poll::Pending => {
                    self.pending = Some(pending);
                    return Poll::Pending;
                }
                ready => {
                    let chunk = ready!(ready).map_err(io::Error::other)?;
                    self.offset += chunk.len() as u64;
                    self.chunk = chunk;
                }
            }
        }
        let length = self.chunk.len().min(buffer.remaining());
        buffer.put_slice(self.chunk.get(..length).unwrap_or_default());
        self.chunk.advance(length);
        Poll::Ready(Ok(()))
    }
}
