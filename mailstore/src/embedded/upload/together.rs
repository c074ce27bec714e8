//! The commit of an upload, and of others that were joined to it, as one change.

use std::ops::Range;

use super::{Incoming, State};
use crate::embedded::append::Arrival;
use crate::{Batch, CommitError, Committed, Joined, Offload, Result, StoreError};

impl<O: Offload + Clone + 'static> Incoming<O> {
    pub(super) async fn commit_together(
        &mut self,
        batch: &Batch,
        joined: Vec<Joined<'_>>,
    ) -> Result<Committed, CommitError> {
        let mut arrival = Arrival::default();
        let own = self.take_part(batch, &mut arrival, 0).await?;
        let mut taking = vec![(self, !arrival.messages.is_empty())];
        let mut places = Vec::with_capacity(joined.len());
        for (index, Joined { upload, batch, .. }) in joined.into_iter().enumerate() {
            let of_joined = |error: StoreError| CommitError::from(error).of_joined(index);
            let sink = upload.sink_mut::<Self>().ok_or_else(|| of_joined(foreign()))?;
            let first = places.last().map_or(own.end, |range: &Range<usize>| range.end);
            let before = arrival.messages.len();
            places.push(sink.take_part(batch, &mut arrival, first).await.map_err(of_joined)?);
            taking.push((sink, arrival.messages.len() > before));
        }
        if arrival.messages.is_empty() && arrival.settle.is_empty() && arrival.rows.is_empty() {
            return Ok(Committed::default());
        }
        let Some(shared) = taking.first().map(|(sink, _)| std::sync::Arc::clone(&sink.shared)) else {
            return Ok(Committed::default());
        };
        // Until the answer is there the messages may or may not be in; a dropped future must not remove them.
        let mut set = |state| {
            taking.iter_mut().filter(|(_, takes)| *takes).for_each(|(sink, _)| sink.state = state);
        };
        set(State::Committed);
        match shared.committer.submit(move |group| group.append(arrival)).await {
            Ok(mut committed) => {
                committed.appended.truncate(own.end);
                committed.queued.truncate(batch.queue.len());
                Ok(committed)
            }
            Err(failed) => {
                set(State::Open);
                Err(at_fault(failed, &places))
            }
        }
    }

    /// Adds what is to be committed of this upload, whose targets come behind those of others: their places.
    async fn take_part(
        &mut self,
        batch: &Batch,
        arrival: &mut Arrival,
        first: usize,
    ) -> Result<Range<usize>> {
        self.check()?;
        arrival.settle.extend_from_slice(&batch.settle);
        // Targets of this message come behind those of earlier ones.
        let before = first + self.placed;
        arrival.rows.extend(batch.rows.iter().cloned().map(|mut row| {
            row.target = row.target.map(|target| target + before);
            row
        }));
        if batch.targets.is_empty() && batch.queue.is_empty() && self.earlier.messages.is_empty() {
            return Ok(first..first);
        }
        let last = self.complete(&batch.targets, &batch.queue).await?;
        let messages = self.earlier.messages.iter().cloned().chain(last);
        arrival.messages.extend(messages.map(|mut message| {
            message.places.iter_mut().for_each(|place| *place += first);
            message
        }));
        arrival.replaced.extend_from_slice(&self.earlier.replaced);
        Ok(first..before + batch.targets.len())
    }
}

/// The fault as a caller knows it, who counts the targets of each upload.
fn at_fault(failed: CommitError, places: &[Range<usize>]) -> CommitError {
    let found = failed.target.and_then(|target| {
        let index = places.iter().position(|range| range.contains(&target))?;
        Some((index, target - places.get(index)?.start))
    });
    match found {
        Some((index, target)) => CommitError::of_target(target, failed.error).of_joined(index),
        None => failed,
    }
}

fn foreign() -> StoreError {
    StoreError::Invalid("expected uploads of one store".into())
}
