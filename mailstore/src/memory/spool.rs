//! Mail that waits to be sent on.

use std::ops::{Bound, Range};

use bytes::Bytes;

use super::{Memory, State};
use crate::{
    Due, ObjectId, QueueEntry, QueueNews, QueueNumber, Result, Scheduled, Settlement, Spool, StoreError,
};

impl State {
    pub(super) fn enqueue(&mut self, entry: &QueueEntry, object: ObjectId, size: u64) -> QueueNumber {
        self.last_queued += 1;
        let number = QueueNumber::new(self.last_queued);
        let due = entry.due.max(entry.release.unwrap_or(0));
        let entry = QueueEntry { number, due, size, object: Some(object), ..entry.clone() };
        self.wrote(&entry);
        self.queue.insert(number, entry);
        number
    }

    fn wrote(&mut self, entry: &QueueEntry) {
        let due = Due::new(entry.due, entry.number);
        self.first_written = Some(self.first_written.map_or(due, |first| first.min(due)));
    }

    pub(super) fn settle(&mut self, settlement: &Settlement) {
        self.change_entry(settlement);
        let changed = match settlement {
            Settlement::Update(entry) | Settlement::Attempted(entry, _) => entry.number,
            Settlement::Hold(number, _) | Settlement::Due(number, _) => *number,
            _ => return,
        };
        if let Some(entry) = self.queue.get(&changed).cloned() {
            self.wrote(&entry);
        }
    }

    fn change_entry(&mut self, settlement: &Settlement) {
        match settlement {
            Settlement::Update(entry) | Settlement::Attempted(entry, _) => {
                let began = match settlement {
                    Settlement::Attempted(_, began) => Some(*began),
                    _ => None,
                };
                if let Some(found) = self.queue.get_mut(&entry.number) {
                    let (held, size, object) = (found.held, found.size, found.object);
                    let due = entry.due.max(entry.release.unwrap_or(0));
                    let told = QueueEntry { held, due, size, object, ..(**entry).clone() };
                    match Settlement::left(found, told, began) {
                        Some(left) => *found = left,
                        None => self.remove_entry(entry.number),
                    }
                }
            }
            Settlement::Remove(number) => self.remove_entry(*number),
            Settlement::Recipients(number, told) => {
                self.queue.entry(*number).and_modify(|entry| Settlement::tell(entry, told));
            }
            Settlement::RemoveRecipients(number, gone) => {
                if let Some(found) = self.queue.get_mut(number) {
                    match Settlement::without(found, gone) {
                        Some(left) => *found = left,
                        None => self.remove_entry(*number),
                    }
                }
            }
            Settlement::Expire(number, expires) => {
                self.queue.entry(*number).and_modify(|entry| entry.expires = *expires);
            }
            Settlement::Reroute(number, route) => {
                let entry = self.queue.entry(*number);
                entry.and_modify(|entry| Settlement::reroute(entry, route.as_ref()));
            }
            Settlement::Hold(number, held) => {
                self.queue.entry(*number).and_modify(|entry| entry.held = *held);
            }
            Settlement::Due(number, due) => {
                self.queue
                    .entry(*number)
                    .and_modify(|entry| entry.due = (*due).max(entry.release.unwrap_or(0)));
            }
        }
    }
    fn remove_entry(&mut self, number: QueueNumber) {
        if let Some(object) = self.queue.remove(&number).and_then(|entry| entry.object) {
            self.release_body(object);
        }
    }
}

impl Spool for Memory {
    async fn due(&self, until: u64, after: Option<Due>, limit: usize) -> Result<Vec<Scheduled>> {
        let state = self.state();
        let waiting = state.queue.values().filter(|entry| !entry.held && entry.due <= until);
        let mut due: Vec<_> = waiting.map(Scheduled::of).filter(|entry| Some(entry.due) > after).collect();
        due.sort_unstable_by_key(|entry| entry.due);
        due.truncate(limit);
        Ok(due)
    }

    async fn next_due(&self, after: u64) -> Result<Option<u64>> {
        let state = self.state();
        let waiting = state.queue.values().filter(|entry| !entry.held && entry.due > after);
        Ok(waiting.map(|entry| entry.due).min())
    }

    async fn entries(&self, after: Option<QueueNumber>, limit: usize) -> Result<Vec<QueueEntry>> {
        let behind = after.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.state();
        Ok(state
            .queue
            .range((behind, Bound::Unbounded))
            .take(limit)
            .map(|(_, entry)| entry.clone())
            .collect())
    }

    async fn entry(&self, number: QueueNumber) -> Result<Option<QueueEntry>> {
        Ok(self.state().queue.get(&number).cloned())
    }

    async fn octets(&self, entry: &QueueEntry, range: Range<u64>) -> Result<Bytes> {
        let state = self.state();
        let object = state.queue.get(&entry.number).and_then(|entry| entry.object);
        let body = object.and_then(|object| state.bodies.get(&object)).ok_or(StoreError::NotFound)?;
        let end = usize::try_from(range.end).unwrap_or(usize::MAX).min(body.octets.len());
        let start = usize::try_from(range.start).unwrap_or(usize::MAX).min(end);
        Ok(body.octets.slice(start..end))
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<()> {
        {
            let mut state = self.state();
            settlements.iter().for_each(|settlement| state.settle(settlement));
            if let Some(first) = state.first_written.take() {
                self.0.written.note(first);
            }
        }
        let made_due =
            |settlement: &Settlement| matches!(settlement, Settlement::Hold(_, false) | Settlement::Due(..));
        if settlements.iter().any(made_due) {
            self.0.added.raise();
        }
        Ok(())
    }

    async fn added(&self, seen: u64) -> u64 {
        self.0.added.wait(seen).await;
        self.0.added.raised()
    }

    fn news(&self, mark: u64) -> (u64, QueueNews) {
        self.0.written.since(mark)
    }
}
