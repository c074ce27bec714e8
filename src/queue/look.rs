//! Looking at what is due: how far is read, and from where on when there is room again.

use mailwright_mailstore::{Due, QueueNews, QueueNumber, Result, Scheduled};

use super::scheduler::{Offer, Scheduler};

/// How many entries are looked at together.
pub(super) const PAGE: usize = 1_000;

/// What is due.
pub(super) trait Pages: Send + Sync {
    /// The next [`PAGE`] entries behind a place.
    fn page(&self, after: Option<Due>) -> impl Future<Output = Result<Vec<Scheduled>>> + Send;
}

/// What a look came to.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// What goes to destinations that cannot be reached at present.
    pub(super) dead: Vec<Scheduled>,
    /// The last entry that was offered.
    pub(super) last: Option<Due>,
    /// The first one that there was no room for at all. Nothing behind it was offered.
    pub(super) full: Option<Due>,
}

/// Offers what is due behind `after` to the scheduler. With `hungry` only as far as those need who were sent away: the rest was
/// offered before.
pub(super) async fn offer_all(
    scheduler: &mut Scheduler,
    mut after: Option<Due>,
    hungry: bool,
    clock: impl Fn() -> u64,
    pages: &impl Pages,
) -> Result<Looked> {
    let mut looked = Looked::default();
    loop {
        let entries = pages.page(after).await?;
        let last = entries.len() < PAGE;
        for entry in entries {
            let due = entry.due;
            match scheduler.offer(entry.clone(), clock()) {
                Offer::Full => {
                    looked.full = Some(due);
                    return Ok(looked);
                }
                Offer::Dead => looked.dead.push(entry),
                Offer::Taken | Offer::Known | Offer::LaneFull => {}
            }
            (after, looked.last) = (Some(due), Some(due));
            if hungry && !scheduler.is_hungry() {
                return Ok(looked);
            }
        }
        if last {
            scheduler.sated();
            return Ok(looked);
        }
    }
}

/// How many seconds a look goes back where the store does not say what is new: commits that began earlier may end later.
const OVERLAP: u64 = 30;

/// Behind which place a look begins, after one that came as far as `cursor`; `None` for the beginning.
pub(super) fn behind(cursor: Option<Due>, news: QueueNews) -> Option<Due> {
    let cursor = cursor?;
    match news {
        QueueNews::Nothing => Some(cursor),
        QueueNews::From(first) => before(first).map(|place| place.min(cursor)),
        _ => Some(Due::new(cursor.at.saturating_sub(OVERLAP), QueueNumber::new(0))),
    }
}

/// Behind which place there may be what no look has seen, after one at what was due at this time.
pub(super) fn unseen(looked: u64, news: QueueNews) -> Option<Due> {
    behind(Some(Due::new(looked, QueueNumber::new(u64::MAX))), news)
}

/// The place right before an entry.
pub(super) fn before(due: Due) -> Option<Due> {
    match due.number.get().checked_sub(1) {
        Some(number) => Some(Due::new(due.at, QueueNumber::new(number))),
        None => due.at.checked_sub(1).map(|at| Due::new(at, QueueNumber::new(u64::MAX))),
    }
}

#[cfg(test)]
mod tests;
