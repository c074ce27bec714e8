//! Walks over the rows of a keyspace that go on behind what the disk has lost.

use std::cell::Cell;
use std::ops::Bound;

use fjall::{Guard, Iter, Keyspace, Readable, Snapshot, UserKey, UserValue};

use super::database::failed;
use crate::StoreError;

/// What a walk comes to.
pub(super) enum Step {
    /// A row, and its value if that was wanted.
    Row(UserKey, Option<UserValue>),
    /// A row whose value cannot be read.
    Unreadable(UserKey, StoreError),
    /// Rows that cannot be read, of which nobody knows how many there were.
    Hole(Hole, StoreError),
}

/// Where rows cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    /// The last key before them, unless they are the first.
    pub(super) after: Option<UserKey>,
    /// The first key behind them, unless they are the last.
    pub(super) before: Option<UserKey>,
}

/// A walk over all rows as they were at one moment, in the order of their keys.
pub(super) struct Walk {
    moment: Snapshot,
    keyspace: Keyspace,
    /// `None` when there is no more.
    rows: Option<Iter>,
    last: Option<UserKey>,
    /// The first key behind a hole that was come to, and why it is one, until the rows at its edge have been looked for.
    hole: Option<(Option<UserKey>, StoreError)>,
}

impl Walk {
    pub(super) fn new(moment: &Snapshot, keyspace: &Keyspace) -> Self {
        let rows = Some(moment.iter(keyspace));
        Self { moment: moment.clone(), keyspace: keyspace.clone(), rows, last: None, hole: None }
    }

    /// The next step; a value is read if `wanted` says so of its key.
    pub(super) fn step(&mut self, wanted: impl Fn(&[u8]) -> bool) -> Option<Step> {
        if self.hole.is_none() {
            let entry = self.rows.as_mut()?.next()?;
            match self.read(entry, &wanted) {
                Ok(step) => return Some(step),
                Err(error) => self.hole = Some((self.behind(), error)),
            }
        }
        if let Some(step) = self.edge(&wanted) {
            return Some(step);
        }
        let (before, error) = self.hole.take()?;
        self.rows = before.as_ref().map(|key| self.moment.range(&self.keyspace, key.to_vec()..));
        Some(Step::Hole(Hole { after: self.last.clone(), before }, error))
    }

    fn read(&mut self, entry: Guard, wanted: &impl Fn(&[u8]) -> bool) -> Result<Step, StoreError> {
        // The key is told before the value is read, which may lie in another file.
        let seen = Cell::new(None);
        let entry = entry.into_inner_if(|key| {
            seen.set(Some(key.clone()));
            wanted(key)
        });
        let (key, step) = match (entry, seen.into_inner()) {
            (Ok((key, value)), _) => (key.clone(), Step::Row(key, value)),
            (Err(error), Some(key)) => (key.clone(), Step::Unreadable(key, failed(error))),
            (Err(error), None) => return Err(failed(error)),
        };
        self.last = Some(key);
        Ok(step)
    }

    /// The first key that can be read behind a hole that begins behind the last one. It is looked for by halves, since what lies
    /// beyond a damaged block can be found, but not what lies in it.
    fn behind(&self) -> Option<UserKey> {
        let after = self.last.as_deref().unwrap_or_default();
        let mut found = self.moment.iter(&self.keyspace).next_back()?.key().ok()?;
        if *found <= *after {
            return None;
        }
        let mut between = Between::new(after, &found);
        while let Some(middle) = between.middle() {
            match self.moment.range(&self.keyspace, middle..).next().and_then(|entry| entry.key().ok()) {
                Some(key) => {
                    between.lower();
                    found = key;
                }
                None => between.raise(),
            }
        }
        Some(found)
    }

    /// The next row before a hole: the database reads a little ahead, and comes to the hole before it gives the last ones. So it is
    /// asked for no more than these, and how far they reach is looked for by halves, too; the very last is asked for by its key.
    fn edge(&mut self, wanted: &impl Fn(&[u8]) -> bool) -> Option<Step> {
        let after = self.last.as_deref().unwrap_or_default().to_vec();
        let end = self.hole.as_ref().and_then(|(before, _)| before.as_deref()).unwrap_or(&[u8::MAX; 16]);
        // Keys that are numbers are of one length, and a longer one would lie beyond the last row that can be read.
        let length = if after.len() == end.len() { end.len() } else { usize::MAX };
        let mut between = Between::new(&after, end);
        while let Some(mut middle) = between.middle() {
            middle.truncate(length);
            let bounds = (Bound::Excluded(after.clone()), Bound::Included(middle));
            let first = || self.moment.range(&self.keyspace, bounds.clone()).next();
            match first().map(Guard::key) {
                Some(Ok(_)) => return self.read(first()?, wanted).ok(),
                Some(Err(_)) => between.lower(),
                None => between.raise(),
            }
        }
        let mut last = between.high();
        last.truncate(length);
        let value = self.moment.get(&self.keyspace, &last).ok()?.filter(|_| last > after && last != end)?;
        let key = UserKey::from(last);
        self.last = Some(key.clone());
        let value = Some(value).filter(|_| wanted(&key));
        Some(Step::Row(key, value))
    }
}

/// Keys between two others.
struct Between<'a> {
    /// What both begin with.
    common: &'a [u8],
    low: u128,
    high: u128,
}

impl<'a> Between<'a> {
    fn new(low: &'a [u8], high: &[u8]) -> Self {
        let length = low.iter().zip(high).take_while(|(a, b)| a == b).count();
        let number = |key: &[u8]| {
            let octets = key.iter().skip(length).chain(std::iter::repeat(&0)).take(size_of::<u128>());
            octets.fold(0_u128, |number, octet| number << 8 | u128::from(*octet))
        };
        Self { common: low.get(..length).unwrap_or_default(), low: number(low), high: number(high) }
    }

    const fn half(&self) -> u128 {
        self.low + self.high.saturating_sub(self.low) / 2
    }

    /// The key in the middle, until there is none.
    fn middle(&self) -> Option<Vec<u8>> {
        let more = self.high.saturating_sub(self.low) > 1;
        more.then(|| [self.common, &self.half().to_be_bytes()].concat())
    }

    fn high(&self) -> Vec<u8> {
        [self.common, &self.high.to_be_bytes()].concat()
    }

    const fn lower(&mut self) {
        self.high = self.half();
    }

    const fn raise(&mut self) {
        self.low = self.half();
    }
}

impl Hole {
    /// In words.
    pub(super) fn describe(&self) -> String {
        let end = |key: &Option<UserKey>, none: &str| {
            key.as_ref().map_or_else(|| none.to_owned(), |key| format!("{:?}", shown(key)))
        };
        let (after, before) = (end(&self.after, "the first"), end(&self.before, "the last"));
        format!("rows between {after} and {before} cannot be read")
    }
}

/// A key for people to read.
pub(super) fn shown(key: &[u8]) -> String {
    String::from_utf8_lossy(key).replace('\0', " ")
}
