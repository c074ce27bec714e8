//! Mail that waits to be sent on: a row for each entry, and a row in the order in which they are due.

use std::ops::{Bound, Range};

use bytes::Bytes;

use super::committer::Group;
use super::database::failed;
use super::row::{self, Fields};
use super::sealed::Reader;
use super::{Core, Embedded};
use crate::spool::row::{decode, encode};
use crate::{
    Due, ObjectId, Offload, QueueEntry, QueueNews, QueueNumber, Result, Scheduled, Settlement, Spool,
    StoreError,
};

impl<O: Offload + Clone> Spool for Embedded<O> {
    async fn due(&self, until: u64, after: Option<Due>, limit: usize) -> Result<Vec<Scheduled>> {
        self.run(move |core| core.due(until, after, limit)).await
    }

    async fn next_due(&self, after: u64) -> Result<Option<u64>> {
        self.run(move |core| {
            let Some(start) = after.checked_add(1) else { return Ok(None) };
            let Some(first) = core.database.queue_due.range(start.to_be_bytes()..).next() else {
                return Ok(None);
            };
            let key = first.key().map_err(failed)?;
            Ok(Fields(&key).u64())
        })
        .await
    }

    async fn entries(&self, after: Option<QueueNumber>, limit: usize) -> Result<Vec<QueueEntry>> {
        self.run(move |core| {
            let behind = after.map(|number| number.get().to_be_bytes());
            let start = behind.map_or(Bound::Unbounded, Bound::Excluded);
            let rows = core.database.queue.range::<[u8; 8], _>((start, Bound::Unbounded)).take(limit);
            rows.map(|row| {
                let (key, sealed) = row.into_inner().map_err(failed)?;
                open(&key, &sealed)
            })
            .collect()
        })
        .await
    }

    async fn entry(&self, number: QueueNumber) -> Result<Option<QueueEntry>> {
        self.run(move |core| core.entry(number)).await
    }

    async fn octets(&self, entry: &QueueEntry, range: Range<u64>) -> Result<Bytes> {
        let (number, object, size) = (entry.number, entry.object, entry.size);
        self.run(move |core| {
            let corrupt = || StoreError::Corrupt(format!("the message of entry {number} of the queue"));
            let exists = || core.entry(number).map(|entry| entry.is_some());
            core.octets(object, size, &range, Reader::Queue, corrupt, exists)
        })
        .await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<()> {
        let settlements = settlements.to_vec();
        self.shared.committer.submit(move |group| group.settle(&settlements)).await
    }

    async fn added(&self, seen: u64) -> u64 {
        let queued = &self.shared.lasting.queued;
        queued.wait(seen).await;
        queued.raised()
    }

    fn news(&self, mark: u64) -> (u64, QueueNews) {
        self.shared.lasting.written.since(mark)
    }
}

impl Core {
    fn entry(&self, number: QueueNumber) -> Result<Option<QueueEntry>> {
        let key = number.get().to_be_bytes();
        let sealed = self.database.queue.get(key).map_err(failed)?;
        sealed.map(|sealed| open(&key, &sealed)).transpose()
    }

    fn due(&self, until: u64, after: Option<Due>, limit: usize) -> Result<Vec<Scheduled>> {
        let start = after.map_or(Bound::Unbounded, |after| Bound::Excluded(due_key(after.at, after.number)));
        let end = Bound::Included(due_key(until, QueueNumber::new(u64::MAX)));
        let rows = self.database.queue_due.range::<Vec<u8>, _>((start, end)).take(limit);
        rows.map(|row| {
            let (key, value) = row.into_inner().map_err(failed)?;
            let corrupt = || StoreError::Corrupt("a row of the order of the queue".into());
            let mut fields = Fields(&key);
            let (at, number) = fields.u64().zip(fields.u64()).ok_or_else(corrupt)?;
            let value = row::open(&key, &value).and_then(|value| str::from_utf8(value).ok());
            let due = Due::new(at, QueueNumber::new(number));
            value.and_then(|value| scheduled(due, value)).ok_or_else(corrupt)
        })
        .collect()
    }
}

impl Group<'_> {
    /// Stages a new entry for a body that already counts it.
    pub(super) fn enqueue(&mut self, entry: &QueueEntry, body: u64, size: u64) -> Result<QueueNumber> {
        // Given out here, one commit after the other, so that they rise.
        let number = QueueNumber::new(self.core.database.identity()?);
        let object = Some(ObjectId::from(u128::from(body)));
        self.queue_added = true;
        self.put_entry(None, QueueEntry { number, size, object, ..entry.clone() });
        Ok(number)
    }

    pub(super) fn settle(&mut self, settlements: &[Settlement]) -> Result<()> {
        for settlement in settlements {
            let number = match settlement {
                Settlement::Update(entry) | Settlement::Attempted(entry, _) => entry.number,
                Settlement::Remove(number)
                | Settlement::Hold(number, _)
                | Settlement::Due(number, _)
                | Settlement::Recipients(number, _)
                | Settlement::RemoveRecipients(number, _)
                | Settlement::Expire(number, _)
                | Settlement::Reroute(number, _) => *number,
            };
            let before = match self.queue.get(&number) {
                Some(staged) => staged.clone(),
                None => self.core.entry(number)?,
            };
            let Some(before) = before else { continue };
            let mut after = before.clone();
            match settlement {
                Settlement::Update(entry) | Settlement::Attempted(entry, _) => {
                    let began = match settlement {
                        Settlement::Attempted(_, began) => Some(*began),
                        _ => None,
                    };
                    let (held, size, object) = (before.held, before.size, before.object);
                    let told = QueueEntry { held, size, object, ..(**entry).clone() };
                    let Some(left) = Settlement::left(&before, told, began) else {
                        self.remove_entry(&before)?;
                        continue;
                    };
                    after = left;
                }
                Settlement::Recipients(_, told) => {
                    Settlement::tell(&mut after, told);
                    // It is being sent: when it is due, and by which way, is as it was, and nobody has to look at it.
                    self.put_row(after);
                    continue;
                }
                Settlement::RemoveRecipients(_, gone) => {
                    let Some(left) = Settlement::without(&before, gone) else {
                        self.remove_entry(&before)?;
                        continue;
                    };
                    after = left;
                }
                Settlement::Remove(_) => {
                    self.remove_entry(&before)?;
                    continue;
                }
                Settlement::Expire(_, expires) => after.expires = *expires,
                Settlement::Reroute(_, route) => Settlement::reroute(&mut after, route.as_ref()),
                Settlement::Hold(_, held) => {
                    after.held = *held;
                    self.queue_added |= !held;
                }
                Settlement::Due(_, due) => {
                    after.due = *due;
                    self.queue_added = true;
                }
            }
            self.put_entry(Some(&before), after);
        }
        Ok(())
    }

    fn put_entry(&mut self, before: Option<&QueueEntry>, mut after: QueueEntry) {
        let core = self.core;
        after.due = after.due.max(after.release.unwrap_or(0));
        if let Some(before) = before.filter(|before| !before.held && (after.held || before.due != after.due))
        {
            self.delete(&core.database.queue_due, due_key(before.due, before.number));
        }
        if !after.held {
            let key = due_key(after.due, after.number);
            let sealed = row::seal(&key, value(&Scheduled::of(&after)).into_bytes());
            self.put(&core.database.queue_due, key, sealed);
            let due = Due::new(after.due, after.number);
            self.queue_written = Some(self.queue_written.map_or(due, |first| first.min(due)));
        }
        self.put_row(after);
    }

    fn put_row(&mut self, entry: QueueEntry) {
        let core = self.core;
        let key = entry.number.get().to_be_bytes().to_vec();
        let sealed = row::seal(&key, encode(&entry));
        self.put(&core.database.queue, key, sealed);
        self.queue.insert(entry.number, Some(entry));
    }

    fn remove_entry(&mut self, entry: &QueueEntry) -> Result<()> {
        let core = self.core;
        if let Some(body) = entry.object.and_then(row::number_of) {
            self.release_body(body)?;
        }
        if !entry.held {
            self.delete(&core.database.queue_due, due_key(entry.due, entry.number));
        }
        self.delete(&core.database.queue, entry.number.get().to_be_bytes().to_vec());
        self.queue.insert(entry.number, None);
        Ok(())
    }
}

fn due_key(at: u64, number: QueueNumber) -> Vec<u8> {
    row::key(at, &number.get().to_be_bytes())
}

/// What stands beside the time: destination and sender, and if there are any, the priority and the time of release.
fn value(entry: &Scheduled) -> String {
    let Scheduled { destination, sender, priority, release, .. } = entry;
    match (priority, release) {
        (0, None) => format!("{destination}\0{sender}"),
        (_, None) => format!("{destination}\0{sender}\0{priority}"),
        (_, Some(release)) => format!("{destination}\0{sender}\0{priority}\0{release}"),
    }
}

fn scheduled(due: Due, value: &str) -> Option<Scheduled> {
    let mut words = value.split('\0');
    let mut entry = Scheduled::new(due, words.next()?.to_owned(), words.next()?.to_owned());
    if let Some(priority) = words.next() {
        entry.priority = priority.parse().ok()?;
    }
    if let Some(release) = words.next() {
        entry.release = Some(release.parse().ok()?);
    }
    words.next().is_none().then_some(entry)
}

fn open(key: &[u8], sealed: &[u8]) -> Result<QueueEntry> {
    let number = Fields(key).u64().map(QueueNumber::new);
    let row = number.zip(row::open(key, sealed));
    let entry = row.and_then(|(number, row)| decode(number, row));
    entry.ok_or_else(|| {
        StoreError::Corrupt(format!("entry {} of the queue", number.map_or(0, QueueNumber::get)))
    })
}

#[cfg(test)]
mod tests {
    use mailwright_mail_model::ReversePath;

    use super::*;
    use crate::embedded::Options;
    use crate::{Batch, Write, block_on};

    #[test]
    fn the_queue_is_there_after_the_store_was_closed() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Embedded::open(directory.path(), Options::default()).unwrap();
        let entry = |due| QueueEntry::new("1D", ReversePath::Null, "b.example", due);
        let octets = Bytes::from(vec![b'x'; 700_000]);
        let queued = block_on(async {
            let mut upload = open().begin(None).await.unwrap();
            upload.write(octets.clone()).await.unwrap();
            let batch = Batch::default().with_queue(vec![entry(30), entry(10), entry(20)]);
            upload.commit_batch(&batch).await.unwrap().queued
        });
        block_on(open().settle(&[Settlement::Hold(queued[2], true)])).unwrap();
        let store = open();
        let due = block_on(store.due(100, None, 10)).unwrap();
        assert_eq!(due.iter().map(|entry| entry.due.at).collect::<Vec<_>>(), [10, 30]);
        let entry = block_on(store.entry(queued[0])).unwrap().unwrap();
        assert_eq!(block_on(store.octets(&entry, 600_000..600_100)).unwrap(), octets.slice(..100));
        let all = queued.iter().map(|number| Settlement::Remove(*number)).collect::<Vec<_>>();
        block_on(store.settle(&all)).unwrap();
        // With its last entry the body goes.
        assert_eq!(store.shared.core().unwrap().database.trash.iter().count(), 1);
        assert_eq!(store.shared.core().unwrap().database.queue_due.iter().count(), 0);
    }
}
