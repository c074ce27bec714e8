//! Sets of messages as they are written: `2,4:7,9,12:*` (RFC 3501 §9, `sequence-set`).

use std::{fmt, num::NonZeroU32};

use mailwright_mail_model::{Uid, UidSet};

use crate::grammar::{GrammarError, Input, Wire};

/// How many numbers and ranges a set of a command may have. Those of responses are bounded by the octets of the response.
pub const MAX_RANGES: usize = 10_000;

/// Which messages a command is about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageSet {
    /// By message sequence number: `FETCH`, `STORE`, `COPY`, `MOVE`.
    Sequence(SequenceSet),
    /// By UID: `UID FETCH` and so on.
    Uid(SequenceSet),
}

impl MessageSet {
    /// Takes a set; `by_uid` says what its numbers are.
    ///
    /// # Errors
    /// As [`SequenceSet::parse`].
    pub fn parse(input: &mut Input<'_>, by_uid: bool) -> Result<Self, GrammarError> {
        let set = SequenceSet::parse(input)?;
        Ok(if by_uid { Self::Uid(set) } else { Self::Sequence(set) })
    }

    /// Whether the numbers are UIDs.
    pub fn is_uid(&self) -> bool {
        matches!(self, Self::Uid(_))
    }

    /// The set itself.
    pub fn set(&self) -> &SequenceSet {
        match self {
            Self::Sequence(set) | Self::Uid(set) => set,
        }
    }

    /// The same UIDs in sets that are written in about so many octets each, for servers take lines of so many only: 8,192 (RFC 7162 §4),
    /// some of them more. One command for each set does what one for all of them would, step by step.
    ///
    /// Sequence numbers stay together, for they may mean other messages once the first command is done.
    ///
    /// ```
    /// use mailwright_imap_proto::MessageSet;
    /// use mailwright_mail_model::UidSet;
    ///
    /// let uids: UidSet = "1:3,5,7,9:100".parse()?;
    /// let sets = MessageSet::from(uids).split(6);
    /// let written: Vec<_> = sets.iter().map(|set| set.set().to_string()).collect();
    /// assert_eq!(written, ["1:3,5", "7", "9:100"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn split(self, octets: usize) -> Vec<Self> {
        let Self::Uid(SequenceSet { ranges, saved: false }) = self else { return vec![self] };
        let (mut sets, mut set, mut written) = (Vec::new(), Vec::new(), 0);
        for range in ranges {
            let length = Ranges(&[range]).to_string().len() + 1;
            // No comma stands behind the last.
            if written + length > octets.saturating_add(1) && !set.is_empty() {
                sets.push(std::mem::take(&mut set));
                written = 0;
            }
            written += length;
            set.push(range);
        }
        sets.push(set);
        sets.into_iter().map(|ranges| Self::Uid(SequenceSet { ranges, saved: false })).collect()
    }

    /// The messages meant, among those the client knows; `saved` is what `$` stands for. UIDs that are not there are
    /// passed over.
    ///
    /// # Errors
    /// [`GrammarError::OutOfRange`] for a sequence number that is not there.
    pub fn resolve(&self, known: &UidSet, saved: &UidSet) -> Result<UidSet, GrammarError> {
        match self {
            _ if self.set().saved => Ok(saved.intersection(known)),
            Self::Sequence(set) => set.sequence_numbers_in(known),
            Self::Uid(set) => Ok(set.uids_in(known)),
        }
    }
}

impl From<UidSet> for MessageSet {
    /// The messages with these UIDs.
    ///
    /// An empty set has no form on the wire; it is never sent.
    fn from(uids: UidSet) -> Self {
        let ranges = uids.ranges().map(|range| {
            let (first, last) = range.into_inner();
            (Number::from(first), Number::from(last))
        });
        Self::Uid(SequenceSet { ranges: ranges.collect(), saved: false })
    }
}

impl From<Uid> for MessageSet {
    /// The message with this UID.
    fn from(uid: Uid) -> Self {
        Self::from(UidSet::from(uid))
    }
}

/// A set of numbers as a client writes it: sequence numbers or UIDs, with `*` for the last message.
///
/// ```
/// use mailwright_imap_proto::{SequenceSet, grammar::Input};
/// use mailwright_mail_model::UidSet;
///
/// let known: UidSet = "5,7,9,20:22".parse()?;
/// let set = SequenceSet::parse(&mut Input::new(b"2,5:*"))?;
/// assert_eq!(set.sequence_numbers_in(&known)?, "7,21:22".parse()?);
/// assert_eq!(set.uids_in(&known), "5,7,9,20:22".parse()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceSet {
    ranges: Vec<(Number, Number)>,
    /// `$` (RFC 5182), and no ranges.
    saved: bool,
}

/// A number of a set; `None` is `*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Number(Option<NonZeroU32>);

impl From<Uid> for Number {
    fn from(uid: Uid) -> Self {
        Self(NonZeroU32::new(uid.get()))
    }
}

impl Number {
    fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        if input.eat(b'*') {
            return Ok(Self(None));
        }
        let before = input.clone();
        let number = NonZeroU32::new(input.number()?);
        number.map(|number| Self(Some(number))).ok_or_else(|| before.expected("a number above 0"))
    }

    /// The number as a UID: the type of sets knows no difference.
    fn or(self, last: Uid) -> Uid {
        self.0.and_then(|number| Uid::new(number.get())).unwrap_or(last)
    }
}

impl SequenceSet {
    /// One range of numbers, in either order.
    pub fn range(first: NonZeroU32, last: NonZeroU32) -> Self {
        Self { ranges: vec![(Number(Some(first)), Number(Some(last)))], saved: false }
    }

    /// `first:*`: the messages from this number on, and the last one in any case.
    pub fn from(first: NonZeroU32) -> Self {
        Self { ranges: vec![(Number(Some(first)), Number(None))], saved: false }
    }

    /// `1:*`: every message.
    pub fn all() -> Self {
        Self::from(NonZeroU32::MIN)
    }

    /// `$`: what the last SEARCH with SAVE found (RFC 5182).
    pub fn saved() -> Self {
        Self { ranges: Vec::new(), saved: true }
    }

    /// Whether it is `$`.
    pub fn is_saved(&self) -> bool {
        self.saved
    }

    /// The numbers themselves, `*` being `last`; none of `$`.
    pub fn numbers_to(&self, last: Uid) -> UidSet {
        self.numbers(last)
    }

    /// Adds a range to the set.
    pub fn push(&mut self, first: NonZeroU32, last: NonZeroU32) {
        self.ranges.push((Number(Some(first)), Number(Some(last))));
    }

    /// Takes a set from the front.
    ///
    /// # Errors
    /// If none is here, a number is 0 or of more than 32 bits, or there are more than [`MAX_RANGES`] ranges.
    pub fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        if input.eat(b'$') {
            return Ok(Self::saved());
        }
        let mut ranges = Vec::new();
        while ranges.is_empty() || input.eat(b',') {
            if ranges.len() == MAX_RANGES {
                return Err(GrammarError::TooMany { what: "ranges in a set", limit: MAX_RANGES });
            }
            ranges.push(range(input)?);
        }
        Ok(Self { ranges, saved: false })
    }

    /// Writes the set.
    pub fn encode(&self, wire: &mut impl Wire) {
        wire.put_display(self);
    }

    /// The messages with these sequence numbers; `known` are the UIDs of all messages the client knows, the first
    /// of them being message 1.
    ///
    /// In an empty mailbox a set with `*` means nothing, but is no error: clients say `1:*` without looking.
    ///
    /// # Errors
    /// [`GrammarError::OutOfRange`] for a number above the number of messages.
    pub fn sequence_numbers_in(&self, known: &UidSet) -> Result<UidSet, GrammarError> {
        let messages = known.len();
        let out_of_range = || GrammarError::OutOfRange { messages };
        let Some(last) = u32::try_from(messages).ok().and_then(Uid::new) else {
            let has_star = self.ranges.iter().any(|(first, last)| first.0.is_none() || last.0.is_none());
            return if has_star { Ok(UidSet::new()) } else { Err(out_of_range()) };
        };
        let numbers = self.numbers(last);
        if numbers.last().is_some_and(|number| number > last) {
            return Err(out_of_range());
        }
        // The ranges are sorted and apart by now, so this costs no more than the result is long.
        let parts = numbers
            .ranges()
            .map(|range| known.at(u64::from(range.start().get()) - 1..u64::from(range.end().get())));
        Ok(parts.flat_map(|part| part.ranges().collect::<Vec<_>>()).collect())
    }

    /// Those of the `known` UIDs that are in the set.
    pub fn uids_in(&self, known: &UidSet) -> UidSet {
        known.last().map(|last| self.numbers(last).intersection(known)).unwrap_or_default()
    }

    fn numbers(&self, star: Uid) -> UidSet {
        let ranges = self.ranges.iter().map(|(first, last)| {
            let (first, last) = (first.or(star), last.or(star));
            first.min(last)..=first.max(last) // RFC 3501 §9: 2:4 and 4:2 are the same
        });
        ranges.collect()
    }
}

/// A number, or two with a colon between them.
fn range(input: &mut Input<'_>) -> Result<(Number, Number), GrammarError> {
    let first = Number::parse(input)?;
    let last = if input.eat(b':') { Number::parse(input)? } else { first };
    Ok((first, last))
}

/// The numbers of a set that stands in a response, however many ranges they make: what is held of them is in proportion to the response.
pub(crate) fn numbers_in_response(input: &mut Input<'_>) -> Result<UidSet, GrammarError> {
    let (mut failed, mut begun) = (None, false);
    let ranges = std::iter::from_fn(|| {
        if std::mem::replace(&mut begun, true) && !input.eat(b',') {
            return None;
        }
        range(input).map_err(|error| failed = Some(error)).ok()
    });
    let numbers = ranges
        .map(|(first, last)| (first.or(Uid::MAX), last.or(Uid::MAX)))
        .map(|(first, last)| first.min(last)..=first.max(last))
        .collect();
    failed.map_or(Ok(numbers), Err)
}

impl fmt::Display for SequenceSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.saved {
            return formatter.write_str("$");
        }
        Ranges(&self.ranges).fmt(formatter)
    }
}

/// Ranges as they are written.
struct Ranges<'a>(&'a [(Number, Number)]);

impl fmt::Display for Ranges<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str(",")?;
            }
            write!(formatter, "{first}")?;
            if first != last {
                write!(formatter, ":{last}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => number.fmt(formatter),
            None => formatter.write_str("*"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn sequence_sets() -> impl Strategy<Value = SequenceSet> {
        let number =
            || prop::option::weighted(0.9, 1_u32..40).prop_map(|n| Number(n.and_then(NonZeroU32::new)));
        prop::collection::vec((number(), number()), 1..6)
            .prop_map(|ranges| SequenceSet { ranges, saved: false })
    }

    pub(crate) fn message_sets() -> impl Strategy<Value = MessageSet> {
        (sequence_sets(), any::<bool>())
            .prop_map(|(set, uid)| if uid { MessageSet::Uid(set) } else { MessageSet::Sequence(set) })
    }

    fn parse(text: &str) -> Result<SequenceSet, GrammarError> {
        let mut input = Input::new(text.as_bytes());
        SequenceSet::parse(&mut input).and_then(|set| input.end().map(|()| set))
    }

    #[test]
    fn refuses_what_is_no_set() {
        for bad in ["", "0", "1:0", "4294967296", "1,", ",1", "1:", ":1", "1:2:3", "a", "**", "1 ", "-1"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        let many = vec!["1"; MAX_RANGES].join(",");
        assert!(parse(&many).is_ok());
        assert!(matches!(parse(&format!("{many},1")), Err(GrammarError::TooMany { .. })));
    }

    #[test]
    fn star_is_the_last_message() {
        let known: UidSet = "3,5,8".parse().unwrap();
        let sequence =
            |text: &str| parse(text).unwrap().sequence_numbers_in(&known).map(|set| set.to_string());
        assert_eq!(sequence("*"), Ok("8".into()));
        assert_eq!(sequence("*:2"), Ok("5,8".into()));
        assert_eq!(sequence("3,1"), Ok("3,8".into()));
        assert_eq!(sequence("1:4"), Err(GrammarError::OutOfRange { messages: 3 }));
        assert_eq!(sequence("1:4294967295"), Err(GrammarError::OutOfRange { messages: 3 }));
        // RFC 3501 §6.4.8: 559:* always has the last message in it.
        assert_eq!(parse("559:*").unwrap().uids_in(&known).to_string(), "8");
        let empty = UidSet::new();
        assert_eq!(parse("1:*").unwrap().sequence_numbers_in(&empty), Ok(UidSet::new()));
        assert_eq!(parse("*").unwrap().uids_in(&empty), UidSet::new());
        assert_eq!(
            parse("1").unwrap().sequence_numbers_in(&empty),
            Err(GrammarError::OutOfRange { messages: 0 })
        );
    }

    #[test]
    fn sets_are_split_where_they_are_long() {
        let uids: UidSet = (1..=50_000_u32).filter_map(|number| Uid::new(number * 3)).collect();
        let sets = MessageSet::from(uids.clone()).split(7_000);
        assert!(sets.iter().all(|set| set.is_uid() && set.set().to_string().len() <= 7_000));
        assert!(sets.len() < 51, "{}", sets.len());
        let again = sets.iter().fold(UidSet::new(), |all, set| all.union(&set.set().uids_in(&uids)));
        assert_eq!(again, uids);
        for whole in [
            MessageSet::from(UidSet::new()),
            MessageSet::from(Uid::MAX),
            MessageSet::Uid(SequenceSet::saved()),
            MessageSet::Sequence(parse("1,3,5,7").unwrap()),
        ] {
            assert_eq!(whole.clone().split(3), [whole]);
        }
    }

    proptest! {
        #[test]
        fn is_read_as_it_was_written(set in sequence_sets()) {
            prop_assert_eq!(parse(&set.to_string()).unwrap(), set);
        }

        #[test]
        fn resolves_like_a_list(set in sequence_sets(), known in prop::collection::btree_set(1_u32..60, 1..30)) {
            let list: Vec<u32> = known.iter().copied().collect();
            let uids: UidSet = list.iter().filter_map(|uid| Uid::new(*uid)).collect();
            let contains = |number: u32, star: u32| set.ranges.iter().any(|(first, last)| {
                let (first, last) = (first.0.map_or(star, NonZeroU32::get), last.0.map_or(star, NonZeroU32::get));
                (first.min(last)..=first.max(last)).contains(&number)
            });
            let by_uid = list.iter().filter(|uid| contains(**uid, *list.last().unwrap()));
            prop_assert!(set.uids_in(&uids).iter().map(Uid::get).eq(by_uid.copied()));
            let count = list.len() as u32;
            if (count + 1..60).any(|number| contains(number, count)) {
                prop_assert!(set.sequence_numbers_in(&uids).is_err());
            } else {
                let by_number = (1..=count).filter(|number| contains(*number, count)).map(|n| list[n as usize - 1]);
                prop_assert!(set.sequence_numbers_in(&uids).unwrap().iter().map(Uid::get).eq(by_number));
            }
        }
    }
}
