//! The commit of an upload, and of others that were joined to it, in mailboxes and queue.

use mailwright_mail_model::ReversePath;

use super::upload::{Incoming, State};
use super::{RESERVED, SharedQueue};
use crate::{
    Batch, CommitError, Committed, Joined, QueueEntry, QueueNumber, Result, Settlement, Spool, Store,
    StoreError, Write,
};

/// The uploads, that of the caller first, and what the commit of each does.
type Parts<'a, Q> = [(&'a mut Incoming<Q>, &'a Batch)];

impl<Q: Store + 'static> Incoming<Q> {
    pub(super) async fn commit_together(
        &mut self,
        batch: &Batch,
        joined: Vec<Joined<'_>>,
    ) -> Result<Committed, CommitError> {
        self.check()?;
        let queue = self.queue.clone();
        let mut parts = vec![(self, batch)];
        for (index, Joined { upload, batch, .. }) in joined.into_iter().enumerate() {
            let of_joined = |error: StoreError| CommitError::from(error).of_joined(index);
            let sink = upload.sink_mut::<Self>().ok_or_else(|| of_joined(foreign()))?;
            sink.check().map_err(of_joined)?;
            parts.push((sink, batch));
        }
        let in_mail = parts.iter().any(|(upload, batch)| upload.is_for_mailboxes(batch));
        let queued = parts.iter().filter(|(_, batch)| !batch.queue.is_empty()).count();
        let settle: Vec<_> = parts.iter().flat_map(|(_, batch)| batch.settle.iter().cloned()).collect();
        // Until the answer is there the messages may or may not be in.
        let taking: Vec<bool> = parts.iter().map(|(upload, batch)| upload.takes_part(batch)).collect();
        let set = |parts: &mut Parts<'_, Q>, state| {
            let parts = parts.iter_mut().zip(&taking).filter(|((part, _), takes)| **takes && part.is_sound());
            parts.for_each(|((part, _), _)| part.state = state);
        };
        set(&mut parts, State::Committed);
        let done = match (in_mail, queued) {
            (true, 0) if settle.is_empty() => commit_mail(&mut parts).await,
            (false, 0) if settle.is_empty() => Ok(Committed::default()),
            (false, 0) => settled(&queue, &settle).await,
            (false, 1) => commit_queue(&mut parts, settle).await,
            _ => match reserve(&queue, &mut parts).await {
                Ok(reserved) => match commit_mail(&mut parts).await {
                    // Whatever comes of it: the mailboxes have the message.
                    Ok(committed) => return reserved.release(&mut parts, settle, committed).await,
                    Err(failed) => {
                        reserved.take_back(&mut parts).await;
                        Err(failed)
                    }
                },
                Err(failed) => Err(failed),
            },
        };
        if done.is_err() {
            set(&mut parts, State::Open);
        }
        done
    }

    const fn is_for_mailboxes(&self, batch: &Batch) -> bool {
        self.earlier || !batch.targets.is_empty() || !batch.rows.is_empty()
    }

    const fn takes_part(&self, batch: &Batch) -> bool {
        self.is_for_mailboxes(batch) || !batch.queue.is_empty()
    }

    fn is_sound(&self) -> bool {
        self.state != State::Broken
    }
}

async fn settled<Q: Store>(queue: &SharedQueue<Q>, settle: &[Settlement]) -> Result<Committed, CommitError> {
    queue.inner()?.settle(settle).await?;
    Ok(Committed::default())
}

/// Where the mailboxes alone are concerned, and the second step where both are.
async fn commit_mail<Q>(parts: &mut Parts<'_, Q>) -> Result<Committed, CommitError> {
    let for_mail = |batch: &Batch| Batch::to(batch.targets.clone()).with_rows(batch.rows.clone());
    let batches: Vec<Batch> = parts.iter().map(|(_, batch)| for_mail(batch)).collect();
    let mut each = parts.iter_mut().zip(&batches);
    let Some(((own, _), batch)) = each.next() else { return Ok(Committed::default()) };
    let joined = each.map(|((upload, _), batch)| Joined::new(&mut upload.mail, batch)).collect();
    own.mail.commit_joined(batch, joined).await
}

/// Where the queue alone is concerned, and one of the messages goes there.
async fn commit_queue<Q: Store>(
    parts: &mut Parts<'_, Q>,
    settle: Vec<Settlement>,
) -> Result<Committed, CommitError> {
    for (place, (upload, batch)) in parts.iter_mut().enumerate() {
        if batch.queue.is_empty() {
            continue;
        }
        let batch = Batch::default().with_queue(batch.queue.clone()).with_settlements(settle);
        let queued = upload.enqueue(&batch).await.map_err(|error| of_part(place, error))?;
        let own = if place == 0 { queued } else { Vec::new() };
        return Ok(Committed::new(Vec::new(), own));
    }
    Ok(Committed::default())
}

/// The first step: the entries are in the queue, and nobody sees them.
async fn reserve<Q: Store>(
    queue: &SharedQueue<Q>,
    parts: &mut Parts<'_, Q>,
) -> Result<Reserved<Q>, CommitError> {
    let mut reserved = Reserved { queue: queue.clone(), entries: Vec::new(), others: Vec::new() };
    for place in 0..parts.len() {
        let Some((upload, batch)) = parts.get_mut(place) else { break };
        let mut numbers = Vec::new();
        if !batch.queue.is_empty() {
            let batch = Batch::default().with_queue(batch.queue.iter().map(put_off).collect());
            match upload.enqueue(&batch).await {
                Ok(queued) => numbers = queued,
                Err(error) => {
                    reserved.take_back(parts).await;
                    return Err(of_part(place, error));
                }
            }
        }
        reserved.entries.push(numbers);
    }
    // A queue that cannot be written to would be found out when the mailboxes have the message, and the next attempt would
    // give it to them again. So something is written first, even if only earlier entries are to be settled.
    if reserved.entries.iter().all(Vec::is_empty) {
        let nothing = QueueEntry::new("-", ReversePath::Null, "", 0);
        let batch = Batch::default().with_queue(vec![put_off(&nothing)]);
        reserved.others = queue.writer()?.begin(Some(0)).await?.commit_batch(&batch).await?.queued;
    }
    Ok(reserved)
}

fn put_off(entry: &QueueEntry) -> QueueEntry {
    QueueEntry { due: RESERVED, release: Some(RESERVED), held: false, ..entry.clone() }
}

/// Entries that nobody sees. If it is dropped, they are removed along with others some time.
struct Reserved<Q> {
    queue: SharedQueue<Q>,
    /// Those of each part.
    entries: Vec<Vec<QueueNumber>>,
    /// Those that go in any case.
    others: Vec<QueueNumber>,
}

impl<Q: Store> Reserved<Q> {
    /// The third step: the entries are as they are wanted, and all else is settled.
    #[expect(
        clippy::needless_pass_by_ref_mut,
        reason = "an upload cannot be shared between threads, only sent"
    )]
    async fn release(
        mut self,
        parts: &mut Parts<'_, Q>,
        settle: Vec<Settlement>,
        mut committed: Committed,
    ) -> Result<Committed, CommitError> {
        let mut changes = Vec::new();
        for ((_, batch), numbers) in parts.iter().zip(&self.entries) {
            for (entry, number) in batch.queue.iter().zip(numbers) {
                // What is to be held is never to be seen as due.
                changes.extend(entry.held.then_some(Settlement::Hold(*number, true)));
                changes.push(Settlement::Update(Box::new(QueueEntry { number: *number, ..entry.clone() })));
                // It wakes who waits for entries.
                changes.push(Settlement::Due(*number, entry.due));
            }
        }
        changes.extend(settle);
        self.others.extend(self.queue.take_abandoned());
        changes.extend(self.others.iter().map(|number| Settlement::Remove(*number)));
        // From here on nothing is taken back: if this is done and its answer is lost, what was settled is settled, and the entries are all
        // that is left of it. If it is not done, they stay reserved until the next start.
        let entries = std::mem::take(&mut self.entries);
        self.queue.inner()?.settle(&changes).await?;
        committed.queued = entries.into_iter().next().unwrap_or_default();
        self.forget();
        Ok(committed)
    }

    /// Nothing of it is wanted.
    async fn take_back(mut self, parts: &mut Parts<'_, Q>) {
        for ((upload, _), numbers) in parts.iter_mut().zip(&self.entries) {
            if let Some(number) = numbers.first() {
                upload.recover(*number).await;
            }
        }
        self.others.extend(self.queue.take_abandoned());
        let gone = self.entries.iter().flatten().chain(&self.others);
        let settle: Vec<_> = gone.map(|number| Settlement::Remove(*number)).collect();
        let removed = match self.queue.inner() {
            Ok(spool) => spool.settle(&settle).await,
            Err(error) => Err(error),
        };
        if removed.is_ok() {
            self.forget();
        }
    }
}

impl<Q> Reserved<Q> {
    fn forget(&mut self) {
        self.entries.clear();
        self.others.clear();
    }
}

impl<Q> Drop for Reserved<Q> {
    fn drop(&mut self) {
        self.queue.abandon(self.entries.iter().flatten().chain(&self.others).copied());
    }
}

/// A fault of this part of the commit; of the caller's own it is nobody else's.
fn of_part(place: usize, error: StoreError) -> CommitError {
    let failed = CommitError::from(error);
    match place.checked_sub(1) {
        Some(joined) => failed.of_joined(joined),
        None => failed,
    }
}

fn foreign() -> StoreError {
    StoreError::Invalid("expected uploads of one store".into())
}
