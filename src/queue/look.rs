//! Looking at what is due: how far is read, and from where on when there is room again.

use mailwright_mailstore::{Due, QueueNumber, Result, Scheduled};

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

/// The place right before an entry.
pub(super) fn before(due: Due) -> Option<Due> {
    match due.number.get().checked_sub(1) {
        Some(number) => Some(Due::new(due.at, QueueNumber::new(number))),
        None => due.at.checked_sub(1).map(|at| Due::new(at, QueueNumber::new(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use mailwright_mailstore::block_on;

    use super::{
        super::scheduler::{Concurrency, Contact},
        *,
    };

    /// Rows in the order in which they are due, and how many were read.
    struct Rows<'a>(&'a [Scheduled], AtomicUsize);

    impl Pages for Rows<'_> {
        async fn page(&self, after: Option<Due>) -> Result<Vec<Scheduled>> {
            let begin = self.0.partition_point(|row| Some(row.due) <= after);
            let page: Vec<_> = self.0[begin..].iter().take(PAGE).cloned().collect();
            self.1.fetch_add(page.len(), Ordering::Relaxed);
            Ok(page)
        }
    }

    /// Sends all of it, a hundred at a time; gives in which order, and how many rows were read for that.
    fn send_all(rows: &[Scheduled]) -> (Vec<Scheduled>, usize) {
        let pages = Rows(rows, AtomicUsize::new(0));
        let mut scheduler = Scheduler::new(Concurrency::default());
        let mut sent = Vec::new();
        let mut full = block_on(offer_all(&mut scheduler, None, false, || 0, &pages)).unwrap().full;
        loop {
            let batch: Vec<_> = std::iter::from_fn(|| scheduler.next(0)).collect();
            if batch.is_empty() {
                return (sent, pages.1.into_inner());
            }
            for entry in batch {
                assert!(scheduler.finished(&entry, Contact::Reached, 0).is_empty());
                sent.push(entry);
            }
            if let Some(first) = scheduler.take_starved() {
                let again = offer_all(&mut scheduler, before(first), true, || 0, &pages);
                full = block_on(again).unwrap().full.into_iter().chain(full).min();
            }
            if scheduler.has_room()
                && let Some(first) = full.take()
            {
                full = block_on(offer_all(&mut scheduler, before(first), false, || 0, &pages)).unwrap().full;
            }
        }
    }

    fn row(number: u64, sender: &str, destination: String) -> Scheduled {
        Scheduled::new(Due::new(1, QueueNumber::new(number)), destination, sender.into())
    }

    #[test]
    fn a_newsletter_is_read_a_few_times_and_not_once_a_batch() {
        const ROWS: u64 = 100_000;
        for (what, domains, senders) in [
            ("one sender, all elsewhere", ROWS, 1),
            ("one sender, ten domains", 10, 1),
            ("ten senders", 1_000, 10),
        ] {
            let rows: Vec<_> = (0..ROWS)
                .map(|number| {
                    row(number, &format!("s{}", number % senders), format!("d{}", number % domains))
                })
                .collect();
            let (sent, read) = send_all(&rows);
            let mut numbers: Vec<u64> = sent.iter().map(|entry| entry.due.number.get()).collect();
            numbers.sort_unstable();
            assert!(numbers.iter().copied().eq(0..ROWS), "{what}: {} were sent", numbers.len());
            assert!(read < 6 * rows.len(), "{what}: {read} rows were read");
        }
    }

    #[test]
    fn who_comes_behind_a_newsletter_does_not_wait_for_its_end() {
        let mut rows: Vec<_> = (0..20_000).map(|number| row(number, "bulk", format!("d{number}"))).collect();
        rows.push(row(20_000, "ann", "x".into()));
        let (sent, _) = send_all(&rows);
        let place = sent.iter().position(|entry| entry.sender == "ann").unwrap();
        assert!(place < 200, "{place}");
    }
}
