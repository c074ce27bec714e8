//! What filters make of a message on its way in: messages that wait until they are committed along with it.

use mailwright_mailstore::{Batch, CommitError, Joined, Store, StoreError, Target, Upload, User, Write};

use super::{Addressing, StoreInbox, journal};
use crate::filter::{Claim, Filing, Filter, Filtered, Seen};

/// So many octets of what was made wait in memory; the rest goes to disk.
const HELD: u64 = 1 << 20;

/// A message that a filter made: whole, and nowhere yet.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) number: usize,
    /// The part at whose delivery it was made, if that was not the delivery of the message itself.
    pub(super) within: Option<usize>,
    /// To whom the message itself was being delivered.
    pub(super) account: User,
    /// Whose filter made it.
    pub(super) owner: User,
    /// Whether it is an answer or a notice: no loss if it is not sent.
    pub(super) automatic: bool,
    pub(super) upload: Upload,
    pub(super) batch: Batch,
    /// What is remembered with it.
    pub(super) seen: Vec<Seen>,
    /// Whether it is committed already, in a store that takes one at a time.
    pub(super) done: bool,
}

/// All that filters made of one message.
#[derive(Debug, Default)]
pub(super) struct Parts {
    list: Vec<Part>,
    numbers: usize,
    held: u64,
    /// What nobody else has remembered until all of this is over.
    claim: Option<Claim>,
}

/// What is at fault if nothing is committed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The message itself.
    Message(CommitError),
    /// The part of this number.
    Part(usize, StoreError),
}

impl Fault {
    /// Whether nothing is at fault, but what was found before the commit has changed meanwhile.
    pub(super) fn is_conflict(&self) -> bool {
        let (Self::Message(CommitError { error, .. }) | Self::Part(_, error)) = self;
        *error == StoreError::Conflict
    }
}

impl Parts {
    /// The number of the next part. Those that are made at its delivery come before it.
    pub(super) const fn next(&mut self) -> usize {
        self.numbers += 1;
        self.numbers
    }

    /// Adds a part, of so many octets.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn add(&mut self, mut part: Part, octets: u64) -> Result<(), StoreError> {
        self.held = self.held.saturating_add(octets);
        if self.held > HELD {
            part.upload.set_aside().await?;
        }
        self.list.push(part);
        Ok(())
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Goes on without what was made at the delivery of a part.
    pub(super) fn leave_out_within(&mut self, number: usize) {
        let mut gone = vec![number];
        while let Some(number) = gone.pop() {
            gone.extend(self.list.extract_if(.., |part| part.within == Some(number)).map(|part| part.number));
        }
    }

    /// Goes on without what was made at the delivery to an account that does not get the message.
    pub(super) fn leave_out_account(&mut self, account: &User) {
        self.list.retain(|part| part.account != *account);
    }

    /// Goes on with what was made at the delivery to these accounts alone.
    pub(super) fn retain(&mut self, accounts: &[User]) {
        self.list.retain(|part| accounts.contains(&part.account));
    }

    /// Goes on without a part that cannot be sent or filed, and has whoever's filter made it keep the message that it was made of. If
    /// that is the message itself, this gives who is to keep it.
    pub(super) fn leave_out(&mut self, number: usize) -> Option<User> {
        self.leave_out_within(number);
        let place = self.list.iter().position(|part| part.number == number)?;
        let part = self.list.remove(place);
        if part.automatic {
            return None;
        }
        let Some(within) = part.within else { return Some(part.owner) };
        let parent = self.list.iter_mut().find(|parent| parent.number == within)?;
        let targets = &mut parent.batch.targets;
        if !targets.iter().any(|target| target.user == part.owner) {
            let date = part.batch.targets.first().map(|target| target.internal_date);
            let filing = Filing::inbox();
            targets.push(Target::new(part.owner, filing.mailbox, date.unwrap_or_else(super::now)));
        }
        None
    }
}

/// An account keeps a message of which something was made that cannot be sent, unless it has it anyway.
pub(super) fn keep_instead(filtered: &mut Filtered) {
    if filtered.filings.is_empty() {
        filtered.filings.push(Filing::inbox());
    }
}

impl<S: Store, R: Addressing, F: Filter> StoreInbox<S, R, F> {
    /// Commits a message, what filters made of it and what they remember of it, all at one moment where the store can; elsewhere the
    /// message last, so that a redirect that fails can be kept instead, and what is remembered after it.
    ///
    /// # Errors
    /// What is at fault. Nothing has happened then, but in stores that take one message at a time.
    pub(super) async fn commit_with(
        &self,
        id: &str,
        upload: &mut Upload,
        batch: &mut Batch,
        parts: &mut Parts,
        seen: &[Seen],
    ) -> Result<(), Fault> {
        let later = self.remembered(seen, batch);
        self.claim(&later, parts).await?;
        if self.store.writer().is_some_and(Write::takes_several) {
            let numbers: Vec<usize> = parts.list.iter().map(|part| part.number).collect();
            let joined = parts.list.iter_mut().map(|part| Joined::new(&mut part.upload, &part.batch));
            let committed = upload.commit_joined(batch, joined.collect()).await;
            committed.map_err(|failed| {
                match failed.joined.and_then(|joined| numbers.get(joined).copied()) {
                    Some(number) => Fault::Part(number, failed.error),
                    None => Fault::Message(failed),
                }
            })?;
        } else {
            for part in parts.list.iter_mut().filter(|part| !part.done) {
                let committed = part.upload.commit_batch(&part.batch).await;
                committed.map_err(|failed| Fault::Part(part.number, failed.error))?;
                part.done = true;
                // Whatever becomes of the message: who has had an answer gets no second one.
                for seen in std::mem::take(&mut part.seen) {
                    self.filter.remember(&seen).await;
                }
            }
            upload.commit_batch(batch).await.map_err(Fault::Message)?;
        }
        for part in &parts.list {
            journal::committed(id, &part.batch, "by a filter");
        }
        let of_parts = parts.list.iter_mut().flat_map(|part| std::mem::take(&mut part.seen));
        for seen in of_parts.chain(later).collect::<Vec<_>>() {
            self.filter.remember(&seen).await;
        }
        Ok(())
    }

    /// Makes sure, before anything is committed, that what is remembered only afterwards is remembered by nobody else meanwhile.
    ///
    /// # Errors
    /// A conflict, if it has been.
    async fn claim(&self, later: &[Seen], parts: &mut Parts) -> Result<(), Fault> {
        // In another round it is there already, and some parts may have been committed.
        if parts.claim.is_some() {
            return Ok(());
        }
        let of_parts = parts.list.iter().flat_map(|part| &part.seen);
        let all: Vec<Seen> = later.iter().chain(of_parts).cloned().collect();
        if !all.is_empty() {
            let claim = self.filter.claim(&all).await;
            parts.claim = Some(claim.ok_or_else(|| Fault::Message(StoreError::Conflict.into()))?);
        }
        Ok(())
    }

    /// Adds the rows by which things are remembered; what is to be remembered otherwise, when the commit is over.
    pub(super) fn remembered(&self, seen: &[Seen], batch: &mut Batch) -> Vec<Seen> {
        let takes_rows = self.store.writer().is_some_and(Write::takes_rows);
        let (with_rows, later): (Vec<_>, Vec<_>) =
            seen.iter().cloned().partition(|seen| takes_rows && seen.row.is_some());
        batch.rows.extend(with_rows.into_iter().filter_map(|seen| seen.row));
        later
    }
}
