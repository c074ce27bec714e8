//! Where a queue was written lately, so that nobody has to look for it.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::Due;
use crate::signal::lock;

/// Where a queue was written since somebody looked at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueNews {
    /// Nowhere.
    Nothing,
    /// At this place, and perhaps behind it: nothing in front of it is new.
    From(Due),
    /// Perhaps anywhere: it is not known, or not any more.
    Anywhere,
}

/// How many commits are remembered: more come between two looks only if nobody looks.
const REMEMBERED: usize = 1024;

/// The first place that each of the last commits has written in the order of the queue.
#[derive(Debug, Default)]
pub(crate) struct Written(Mutex<Commits>);

#[derive(Debug, Default)]
struct Commits {
    count: u64,
    last: VecDeque<Due>,
}

impl Written {
    /// One more commit, whose rows can be read by now, or as soon as whoever reads them gets the lock that is held.
    pub(crate) fn note(&self, first: Due) {
        let mut commits = lock(&self.0);
        commits.count += 1;
        if commits.last.len() == REMEMBERED {
            commits.last.pop_front();
        }
        commits.last.push_back(first);
    }

    /// As [`Spool::news`](super::Spool::news) has it.
    pub(crate) fn since(&self, mark: u64) -> (u64, QueueNews) {
        let commits = lock(&self.0);
        let new = commits.count.checked_sub(mark).and_then(|new| usize::try_from(new).ok());
        let news = match new.and_then(|new| commits.last.len().checked_sub(new)) {
            Some(before) => {
                commits.last.iter().skip(before).min().copied().map_or(QueueNews::Nothing, QueueNews::From)
            }
            None => QueueNews::Anywhere,
        };
        (commits.count, news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::QueueNumber;

    #[test]
    fn what_was_written_is_known_for_a_while() {
        let due = |at| Due::new(at, QueueNumber::new(7));
        let written = Written::default();
        assert_eq!(written.since(0), (0, QueueNews::Nothing));
        for at in [5, 3, 9] {
            written.note(due(at));
        }
        for (mark, news) in [
            (0, QueueNews::From(due(3))),
            (1, QueueNews::From(due(3))),
            (2, QueueNews::From(due(9))),
            (3, QueueNews::Nothing),
        ] {
            assert_eq!(written.since(mark), (3, news), "{mark}");
        }
        // Another store's, or this one's before it was opened again.
        assert_eq!(written.since(4), (3, QueueNews::Anywhere));
        for at in 0..REMEMBERED as u64 {
            written.note(due(at + 100));
        }
        assert_eq!(written.since(3), (1027, QueueNews::From(due(100))));
        assert_eq!(written.since(2), (1027, QueueNews::Anywhere));
    }
}
