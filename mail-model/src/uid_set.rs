//! A set of UIDs held as ranges: small for dense mailboxes, with rank and select in logarithmic time.

use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;

use crate::Uid;

#[cfg(test)]
mod tests;

/// A set of [`Uid`]s as sorted ranges that neither overlap nor touch.
///
/// Memory is twelve octets a range. Looking up, [`rank`](Self::rank) and [`select`](Self::select) take
/// time logarithmic in the number of ranges; changing one element takes at most linear time in it,
/// constant time at the end. Shown and parsed in the wire form of RFC 9051 §9 `sequence-set`.
///
/// ```
/// use mailwright_mail_model::{Uid, UidSet};
///
/// let mut set: UidSet = "1:3,7".parse()?;
/// set.insert(Uid::new(4).ok_or("zero")?);
/// assert_eq!(set.to_string(), "1:4,7");
/// assert_eq!(set.len(), 5);
/// assert_eq!(set.select(4), Uid::new(7));
/// assert_eq!(set.rank(Uid::new(7).ok_or("zero")?), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct UidSet {
    runs: Vec<Run>,
}

/// One range, and how many UIDs the ranges before it hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Run {
    first: Uid,
    last: Uid,
    before: u32,
}

impl Run {
    /// At most `u32::MAX`, since there are no more UIDs than that; so is `before + count()`.
    fn count(self) -> u32 {
        self.last.get() - self.first.get() + 1
    }
}

impl UidSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self { runs: Vec::new() }
    }

    /// How many UIDs are in the set.
    pub fn len(&self) -> u64 {
        self.runs.last().map_or(0, |run| u64::from(run.before) + u64::from(run.count()))
    }

    /// Whether there is no UID in the set.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The lowest UID.
    pub fn first(&self) -> Option<Uid> {
        self.runs.first().map(|run| run.first)
    }

    /// The highest UID.
    pub fn last(&self) -> Option<Uid> {
        self.runs.last().map(|run| run.last)
    }

    /// Whether the set holds `uid`.
    pub fn contains(&self, uid: Uid) -> bool {
        self.runs.get(self.reaching(uid)).is_some_and(|run| run.first <= uid)
    }

    /// How many UIDs of the set are below `uid`, which itself may be absent.
    pub fn rank(&self, uid: Uid) -> u64 {
        match self.runs.get(self.reaching(uid)) {
            Some(run) => u64::from(run.before) + u64::from(uid.get().saturating_sub(run.first.get())),
            None => self.len(),
        }
    }

    /// The UID with exactly `index` others below it: `select(0)` is the first.
    pub fn select(&self, index: u64) -> Option<Uid> {
        let after = self.runs.partition_point(|run| u64::from(run.before) <= index);
        let run = self.runs.get(after.checked_sub(1)?)?;
        let offset = u32::try_from(index - u64::from(run.before)).ok()?;
        (offset < run.count()).then(|| run.first.get() + offset).and_then(Uid::new)
    }

    /// The UIDs whose [`rank`](Self::rank) lies in `ranks`; ranks past the end are ignored.
    pub fn at(&self, ranks: Range<u64>) -> Self {
        let last = ranks.end.min(self.len()).checked_sub(1).and_then(|rank| self.select(rank));
        match (self.select(ranks.start), last) {
            (Some(first), Some(last)) => self.within(first..=last),
            _ => Self::new(),
        }
    }

    /// The UIDs that lie in `range`. Takes time logarithmic in the set plus linear in the result.
    pub fn within(&self, range: RangeInclusive<Uid>) -> Self {
        let (first, last) = range.into_inner();
        let mut result = Self::new();
        if first > last {
            return result;
        }
        let start = self.reaching(first);
        for run in self.runs.iter().skip(start).take_while(|run| run.first <= last) {
            result.push(run.first.max(first), run.last.min(last));
        }
        result
    }

    /// Adds one UID; `false` if it was there already.
    pub fn insert(&mut self, uid: Uid) -> bool {
        let new = !self.contains(uid);
        if new {
            self.insert_range(uid..=uid);
        }
        new
    }

    /// Adds every UID of `range`, nothing if its start lies above its end.
    pub fn insert_range(&mut self, range: RangeInclusive<Uid>) {
        let (mut first, mut last) = range.into_inner();
        if first > last {
            return;
        }
        // The runs that overlap or touch the new one, and become one with it.
        let start = self.runs.partition_point(|run| run.last.get() < first.get() - 1);
        let end = self.runs.partition_point(|run| run.first.get() <= last.get().saturating_add(1));
        for run in self.runs.iter().take(end).skip(start) {
            first = first.min(run.first);
            last = last.max(run.last);
        }
        self.runs.splice(start..end, [Run { first, last, before: 0 }]);
        self.recount(start);
    }

    /// Removes one UID; `false` if it was not there. Use [`difference`](Self::difference) to remove many.
    pub fn remove(&mut self, uid: Uid) -> bool {
        let index = self.reaching(uid);
        let Some(run) = self.runs.get(index).copied().filter(|run| run.first <= uid) else { return false };
        let below = uid.previous().filter(|last| *last >= run.first).map(|last| Run { last, ..run });
        let above = uid.next().filter(|first| *first <= run.last).map(|first| Run { first, ..run });
        self.runs.splice(index..=index, [below, above].into_iter().flatten());
        self.recount(index);
        true
    }

    /// The UIDs in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut result = Self { runs: Vec::with_capacity(self.runs.len().max(other.runs.len())) };
        let mut left = self.runs.iter().peekable();
        let mut right = other.runs.iter().peekable();
        loop {
            let next = match (left.peek(), right.peek()) {
                (Some(a), Some(b)) if a.first <= b.first => left.next(),
                (Some(_), None) => left.next(),
                _ => right.next(),
            };
            let Some(run) = next else { return result };
            result.push(run.first, run.last);
        }
    }

    /// The UIDs in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut result = Self::new();
        let (Some(start), Some(other_start)) = (self.first(), other.first()) else { return result };
        let mut left = self.runs.iter().skip(self.reaching(other_start)).peekable();
        let mut right = other.runs.iter().skip(other.reaching(start)).peekable();
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            let first = a.first.max(b.first);
            let last = a.last.min(b.last);
            if first <= last {
                result.push(first, last);
            }
            if a.last < b.last {
                left.next()
            } else {
                right.next()
            };
        }
        result
    }

    /// The UIDs in this set that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut result = Self::new();
        let mut cuts = other.runs.iter().peekable();
        for run in &self.runs {
            let mut rest = Some(run.first);
            while let (Some(first), Some(cut)) = (rest, cuts.peek()) {
                if cut.last < first {
                    cuts.next();
                    continue;
                }
                if cut.first > run.last {
                    break;
                }
                if let Some(last) = cut.first.previous().filter(|last| *last >= first) {
                    result.push(first, last);
                }
                rest = cut.last.next().filter(|next| *next <= run.last);
            }
            if let Some(first) = rest {
                result.push(first, run.last);
            }
        }
        result
    }

    /// Every UID, ascending; `.rev()` gives them descending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Uid> + Clone + '_ {
        self.runs.iter().flat_map(|run| (run.first.get()..=run.last.get()).filter_map(Uid::new))
    }

    /// The ranges, ascending; between two of them at least one UID is missing.
    pub fn ranges(
        &self,
    ) -> impl DoubleEndedIterator<Item = RangeInclusive<Uid>> + ExactSizeIterator + Clone + '_ {
        self.runs.iter().map(|run| run.first..=run.last)
    }

    /// The index of the first run that ends at `uid` or later.
    fn reaching(&self, uid: Uid) -> usize {
        self.runs.partition_point(|run| run.last < uid)
    }

    /// Appends a range that starts no lower than the last one does.
    fn push(&mut self, first: Uid, last: Uid) {
        let before = match self.runs.last_mut() {
            Some(run) if run.last.get() >= first.get() - 1 => {
                run.last = run.last.max(last);
                return;
            }
            Some(run) => run.before + run.count(),
            None => 0,
        };
        self.runs.push(Run { first, last, before });
    }

    /// Renews the counts of the runs from `start` on.
    fn recount(&mut self, start: usize) {
        let previous = start.checked_sub(1).and_then(|index| self.runs.get(index));
        let mut before = previous.map_or(0, |run| run.before + run.count());
        for run in self.runs.iter_mut().skip(start) {
            run.before = before;
            before += run.count();
        }
    }
}

impl From<RangeInclusive<Uid>> for UidSet {
    fn from(range: RangeInclusive<Uid>) -> Self {
        let mut set = Self::new();
        set.insert_range(range);
        set
    }
}

impl From<Uid> for UidSet {
    fn from(uid: Uid) -> Self {
        Self::from(uid..=uid)
    }
}

/// Linear for ascending input, a sort of the ranges otherwise.
impl FromIterator<RangeInclusive<Uid>> for UidSet {
    fn from_iter<I: IntoIterator<Item = RangeInclusive<Uid>>>(ranges: I) -> Self {
        let mut sorted = Self::new();
        let mut strays = Vec::new();
        for (first, last) in ranges.into_iter().map(RangeInclusive::into_inner) {
            if first > last {
                continue;
            }
            if sorted.runs.last().is_none_or(|run| run.first <= first) {
                sorted.push(first, last);
            } else {
                strays.push((first, last));
            }
        }
        if strays.is_empty() {
            return sorted;
        }
        strays.sort_unstable();
        let mut rest = Self::new();
        for (first, last) in strays {
            rest.push(first, last);
        }
        sorted.union(&rest)
    }
}

/// Linear for ascending input, a sort otherwise.
impl FromIterator<Uid> for UidSet {
    fn from_iter<I: IntoIterator<Item = Uid>>(uids: I) -> Self {
        uids.into_iter().map(|uid| uid..=uid).collect()
    }
}

impl Extend<Uid> for UidSet {
    fn extend<I: IntoIterator<Item = Uid>>(&mut self, uids: I) {
        *self = self.union(&uids.into_iter().collect());
    }
}

/// The wire form, such as `1:3,7`. The empty set, which the wire cannot say, is the empty text.
impl fmt::Display for UidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, run) in self.runs.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{}", run.first)?;
            if run.first < run.last {
                write!(f, ":{}", run.last)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for UidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UidSet({self})")
    }
}

/// Why a text is not a [`UidSet`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected UIDs and ranges of UIDs separated by commas, such as 1:3,7, without `*`")]
pub struct UidSetError;

impl FromStr for UidSet {
    type Err = UidSetError;

    /// RFC 9051 §9 `sequence-set` without `*`, which has a meaning only in a mailbox. `7:3` is `3:7`.
    fn from_str(text: &str) -> Result<Self, UidSetError> {
        text.split(',').map(range).collect()
    }
}

fn range(text: &str) -> Result<RangeInclusive<Uid>, UidSetError> {
    let uid = |text: &str| text.parse::<Uid>().map_err(|_| UidSetError);
    match text.split_once(':') {
        None => uid(text).map(|uid| uid..=uid),
        Some((one, other)) => {
            let (one, other) = (uid(one)?, uid(other)?);
            Ok(one.min(other)..=one.max(other))
        }
    }
}
