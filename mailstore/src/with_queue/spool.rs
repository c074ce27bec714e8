//! The queue as everybody sees it: without what is reserved.

use std::ops::Range;

use bytes::Bytes;

use super::{RESERVED, SharedQueue, is_reserved};
use crate::{Due, QueueEntry, QueueNews, QueueNumber, Result, Scheduled, Settlement, Spool, Store};

impl<Q: Store> Spool for SharedQueue<Q> {
    async fn due(&self, until: u64, after: Option<Due>, limit: usize) -> Result<Vec<Scheduled>> {
        self.inner()?.due(until.min(RESERVED - 1), after, limit).await
    }

    async fn next_due(&self, after: u64) -> Result<Option<u64>> {
        let next = self.inner()?.next_due(after).await?;
        Ok(next.filter(|next| *next < RESERVED))
    }

    async fn entries(&self, mut after: Option<QueueNumber>, limit: usize) -> Result<Vec<QueueEntry>> {
        let mut found = Vec::new();
        loop {
            let wanted = limit - found.len();
            let page = self.inner()?.entries(after, wanted).await?;
            let is_last = page.len() < wanted;
            after = page.last().map(|entry| entry.number).or(after);
            found.extend(page.into_iter().filter(|entry| !is_reserved(entry)));
            // An answer with fewer is the last: those that are left out do not make it one.
            if is_last || found.len() >= limit {
                return Ok(found);
            }
        }
    }

    async fn entry(&self, number: QueueNumber) -> Result<Option<QueueEntry>> {
        let entry = self.inner()?.entry(number).await?;
        Ok(entry.filter(|entry| !is_reserved(entry)))
    }

    async fn octets(&self, entry: &QueueEntry, range: Range<u64>) -> Result<Bytes> {
        self.inner()?.octets(entry, range).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<()> {
        self.inner()?.settle(settlements).await
    }

    async fn added(&self, seen: u64) -> u64 {
        match self.inner() {
            Ok(spool) => spool.added(seen).await,
            // It was there when it was opened, and stays.
            Err(_) => std::future::pending().await,
        }
    }

    fn news(&self, mark: u64) -> (u64, QueueNews) {
        self.inner().map_or((mark, QueueNews::Anywhere), |spool| spool.news(mark))
    }
}
