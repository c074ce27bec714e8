//! What is told of the messages of a mailbox while a copy of it is brought up to date.

use std::{collections::BTreeMap, ops::RangeInclusive};

use mailwright_imap_proto::{
    client::Event,
    response::{Fetched, Response},
};
use mailwright_mail_model::{FlagSet, Uid, UidSet};

use super::Replica;

/// What is told of messages. All the rest is as it was, so that little is copied of a large mailbox.
#[derive(Default)]
pub(super) struct Told {
    /// Whether it is all there is, and what it does not name is gone.
    pub(super) whole: bool,
    pub(super) flags: BTreeMap<Uid, FlagSet>,
    pub(super) gone: Gone,
    /// Whether something was told of a message that could not be read, or of which nobody knows which it is: then not all that has changed
    /// is known.
    pub(super) unreadable: bool,
    /// How many octets the flags take, about.
    octets: u64,
}

/// Messages that are gone, as they are told: perhaps in any number of lines, in any order.
#[derive(Default)]
pub(super) struct Gone {
    merged: UidSet,
    /// How many ranges have been merged.
    runs: usize,
    more: Vec<RangeInclusive<Uid>>,
}

/// How many messages there are, as the server says it.
#[derive(Debug, Default)]
pub(super) struct Count {
    pub(super) now: u32,
    /// How many there have been since the mailbox was opened, those included that are gone.
    pub(super) ever: u64,
}

/// About as much as a keyword takes in a set.
const KEYWORD: u64 = 64;
/// So many ranges are merged at once at least.
const LEAST: usize = 1024;

impl Told {
    pub(super) fn note(&mut self, uid: Option<Uid>, fetched: &Fetched) {
        let Some(flags) = fetched.flags() else { return };
        let Some(uid) = uid else {
            self.unreadable = true;
            return;
        };
        let octets = |flags: &FlagSet| {
            size_of::<(Uid, FlagSet)>() as u64 + KEYWORD.saturating_mul(flags.keywords().len() as u64)
        };
        self.octets = self.octets.saturating_add(octets(&flags.flags));
        if let Some(before) = self.flags.insert(uid, flags.flags.clone()) {
            self.octets = self.octets.saturating_sub(octets(&before));
        }
    }

    /// How many octets it takes, about.
    pub(super) fn octets(&self) -> u64 {
        let ranges = self.gone.runs.max(self.gone.more.capacity()) as u64;
        self.octets.saturating_add(ranges.saturating_mul(size_of::<RangeInclusive<Uid>>() as u64))
    }

    /// What is there is not gone, whatever was said of it before.
    pub(super) fn in_order(mut self) -> Self {
        self.gone.merge();
        self.gone.merged = self.gone.merged.difference(&self.flags.keys().copied().collect());
        self
    }

    /// Only these messages are there.
    pub(super) fn only(&mut self, there: &UidSet, before: &Replica) {
        self.flags.retain(|uid, _| there.contains(*uid));
        let gone = before.flags.keys().copied().filter(|uid| !there.contains(*uid));
        self.gone = Gone { merged: gone.collect(), ..Gone::default() };
    }

    /// How many messages there are, by this.
    pub(super) fn count(&self, before: &Replica) -> usize {
        let new = self.flags.keys().filter(|uid| !before.flags.contains_key(*uid)).count();
        // Not the other way round: servers may name four thousand million.
        let gone = before.flags.keys().filter(|uid| self.gone.merged.contains(**uid)).count();
        before.flags.len() + new - gone
    }
}

impl Gone {
    /// In time that grows with what is told, and little more.
    pub(super) fn add(&mut self, uids: &UidSet) {
        self.more.extend(uids.ranges());
        if self.more.len() > self.runs.max(LEAST) {
            self.merge();
        }
    }

    fn merge(&mut self) {
        let more: UidSet = std::mem::take(&mut self.more).into_iter().collect();
        self.merged = self.merged.union(&more);
        self.runs = self.merged.ranges().count();
    }

    /// Of those that are [in order](Told::in_order).
    pub(super) fn contains(&self, uid: Uid) -> bool {
        self.merged.contains(uid)
    }
}

impl Count {
    pub(super) fn of(messages: u32) -> Self {
        Self { now: messages, ever: messages.into() }
    }

    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Exists(messages) => {
                self.ever = self.ever.saturating_add(messages.saturating_sub(self.now).into());
                self.now = *messages;
            }
            Event::Expunged { .. } => self.now = self.now.saturating_sub(1),
            Event::Unasked(Response::Vanished { earlier: false, uids }) => {
                self.now = self.now.saturating_sub(u32::try_from(uids.len()).unwrap_or(u32::MAX));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn uids(text: &str) -> UidSet {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_gone_is_the_same_in_whatever_lines_it_is_told() {
        let lines: Vec<UidSet> =
            (0..5_000_u32).map(|number| uids(&(1 + number * 7_919 % 5_000 * 2).to_string())).collect();
        let mut told = Told::default();
        lines.iter().for_each(|line| told.gone.add(line));
        told.flags.insert(Uid::new(3).unwrap(), FlagSet::new());
        let told = told.in_order();
        let expected: UidSet = (0..5_000).filter_map(|number| Uid::new(1 + number * 2)).collect();
        assert_eq!(told.gone.merged, expected.difference(&uids("3")));
        assert!(told.gone.contains(Uid::MIN) && !told.gone.contains(Uid::new(2).unwrap()));
    }

    /// Sixteen times as many lines may cost as much as sixteen times as few, and not sixteen times that.
    #[test]
    fn many_lines_cost_in_proportion() {
        let cost = |lines: u32| {
            let all: Vec<UidSet> = (0..lines)
                .map(|number| Uid::new(10 + (number * 7_919 % lines) * 2).into_iter().collect())
                .collect();
            let before = Instant::now();
            let mut told = Told::default();
            all.iter().for_each(|line| told.gone.add(line));
            assert_eq!(told.in_order().gone.merged.len(), u64::from(lines));
            before.elapsed()
        };
        let (mut few, mut many) = (Duration::MAX, Duration::MAX);
        let grows = (0..10).all(|_| {
            few = few.min((0..16).map(|_| cost(4_096)).sum());
            many = many.min(cost(65_536));
            many > few * 4 + Duration::from_millis(1)
        });
        assert!(!grows, "{few:?} for few, {many:?} for many");
    }

    #[test]
    fn messages_are_counted_as_they_come_and_go() {
        let mut count = Count::of(3);
        count.note(&Event::Expunged { sequence: std::num::NonZeroU32::MIN, uid: None });
        count.note(&Event::Exists(4));
        assert_eq!((count.now, count.ever), (4, 5));
        count.note(&Event::Unasked(Response::Vanished { earlier: false, uids: uids("1:3") }));
        count.note(&Event::Unasked(Response::Vanished { earlier: true, uids: uids("1:3") }));
        assert_eq!((count.now, count.ever), (1, 5));
        count.note(&Event::Unasked(Response::Vanished { earlier: false, uids: uids("1:4294967295") }));
        count.note(&Event::Exists(2));
        assert_eq!((count.now, count.ever), (2, 7));
    }
}
