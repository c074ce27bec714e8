//! A run of messages in few octets: how a store keeps those of a large mailbox, so that it opens without a look at each.
//!
//! In front is what a [`Snapshot`](super::Snapshot) asks of all of them together; behind it are the messages, each as the difference to
//! the one before it, some ten octets long. Nobody reads those before somebody asks for one of them.
//!
//! Numbers have seven bits an octet, lowest first, and the highest bit where more follow; those that may be negative are folded, so that
//! small ones are short.

use mailwright_mail_model::{DateTime, Flag, FlagSet, Keyword, ModSeq, Uid};

use super::Message;
use crate::ObjectId;

/// The most messages a run may have, so that what is in memory of one is bounded whatever its octets say.
const MOST: u32 = 4_096;

/// What is known of a run without a look at its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outline {
    pub(super) first: Uid,
    pub(super) last: Uid,
    pub(super) messages: u32,
    pub(super) unseen: u32,
    pub(super) deleted: u32,
    pub(super) size: u64,
    /// Where the first is that has no `\Seen`.
    pub(super) first_unseen: Option<usize>,
    /// The sets of keywords that messages have.
    pub(super) sets: Vec<FlagSet>,
}

/// What the octet of flags says beside the system flags.
const KEYWORDS: u8 = 1 << 5;
const OBJECT: u8 = 1 << 6;
const THREAD: u8 = 1 << 7;
const SYSTEM: u8 = KEYWORDS - 1;

/// Appends messages, which ascend by UID; `None` if they would not come back as they are.
pub(crate) fn encode(messages: &[&Message], octets: &mut Vec<u8>) -> Option<()> {
    let outline = Outline::of(messages)?;
    let mut run = Vec::with_capacity(64 + messages.len() * 16);
    outline.encode(&mut run);
    let mut before = Before::new(outline.first);
    for message in messages {
        before.encode(message, &outline.sets, &mut run)?;
    }
    let same = decode(&run).is_some_and(|decoded| decoded.iter().eq(messages.iter().copied()));
    if !same {
        return None;
    }
    put(octets, run.len() as u64);
    octets.extend_from_slice(&run);
    Some(())
}

/// Takes a run from the front of `octets`; `None` if there is none.
pub(super) fn split<'a>(octets: &mut &'a [u8]) -> Option<(Outline, &'a [u8])> {
    let mut reader = Reader(octets);
    let length = usize::try_from(reader.number()?).ok()?;
    let run = reader.octets(length)?;
    let outline = Outline::decode(&mut Reader(run))?;
    *octets = reader.0;
    Some((outline, run))
}

/// The messages of a run; `None` if it is none.
pub(super) fn decode(run: &[u8]) -> Option<Vec<Message>> {
    let mut reader = Reader(run);
    let outline = Outline::decode(&mut reader)?;
    let mut messages = Vec::with_capacity(usize::try_from(outline.messages).ok()?);
    let mut before = Before::new(outline.first);
    for _ in 0..outline.messages {
        messages.push(before.decode(&mut reader, &outline.sets)?);
    }
    reader.0.is_empty().then_some(messages)
}

impl Outline {
    fn of(messages: &[&Message]) -> Option<Self> {
        let (first, last) = (messages.first()?.uid, messages.last()?.uid);
        let seen = |message: &&&Message| message.flags.contains(&Flag::Seen);
        let mut sets: Vec<FlagSet> = Vec::new();
        for message in messages.iter().filter(|message| !message.flags.keywords().is_empty()) {
            if !sets.iter().any(|set| same(set, &message.flags)) {
                sets.push(message.flags.keywords().iter().cloned().map(Flag::Keyword).collect());
            }
        }
        let deleted = messages.iter().filter(|message| message.flags.contains(&Flag::Deleted)).count();
        Some(Self {
            first,
            last,
            messages: u32::try_from(messages.len()).ok().filter(|count| *count <= MOST)?,
            unseen: u32::try_from(messages.len() - messages.iter().filter(seen).count()).ok()?,
            deleted: u32::try_from(deleted).ok()?,
            size: messages.iter().try_fold(0_u64, |size, message| size.checked_add(message.size))?,
            first_unseen: messages.iter().position(|message| !seen(&message)),
            sets,
        })
    }

    fn encode(&self, run: &mut Vec<u8>) {
        put(run, u64::from(self.first.get()));
        put(run, u64::from(self.last.get().saturating_sub(self.first.get())));
        for number in [self.messages, self.unseen, self.deleted] {
            put(run, u64::from(number));
        }
        put(run, self.size);
        put(run, self.first_unseen.map_or(0, |index| index as u64 + 1));
        put(run, self.sets.len() as u64);
        for set in &self.sets {
            put(run, set.keywords().len() as u64);
            for keyword in set.keywords() {
                put(run, keyword.as_str().len() as u64);
                run.extend_from_slice(keyword.as_str().as_bytes());
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let first = reader.small()?;
        let last = Uid::new(first.checked_add(reader.small()?)?)?;
        let first = Uid::new(first)?;
        let messages = reader.small()?;
        let mut outline = Self {
            first,
            last,
            messages,
            unseen: reader.small()?,
            deleted: reader.small()?,
            size: reader.number()?,
            first_unseen: usize::try_from(reader.number()?).ok()?.checked_sub(1),
            sets: Vec::new(),
        };
        for _ in 0..reader.small()? {
            let mut set = FlagSet::new();
            for _ in 0..reader.small()? {
                let length = usize::try_from(reader.number()?).ok()?;
                let keyword = str::from_utf8(reader.octets(length)?).ok()?;
                set.insert(Flag::Keyword(Keyword::new(keyword).ok()?));
            }
            outline.sets.push(set);
        }
        let fits = (1..=MOST).contains(&messages)
            && last.get() - first.get() >= messages - 1
            && outline.unseen <= messages
            && outline.deleted <= messages;
        fits.then_some(outline)
    }
}

/// Whether two sets have the same keywords, written the same way.
fn same(one: &FlagSet, other: &FlagSet) -> bool {
    one.keywords().iter().map(Keyword::as_str).eq(other.keywords().iter().map(Keyword::as_str))
}

/// What the next message is told as the difference to.
struct Before {
    /// The lowest UID it can have.
    uid: u64,
    date: i64,
    zone: i64,
    modseq: u64,
    object: u64,
}

impl Before {
    fn new(first: Uid) -> Self {
        Self { uid: u64::from(first.get()), date: 0, zone: 0, modseq: 0, object: 0 }
    }

    fn encode(&mut self, message: &Message, sets: &[FlagSet], run: &mut Vec<u8>) -> Option<()> {
        let number = |id: ObjectId| u64::try_from(u128::from(id)).ok();
        let keywords = sets.iter().position(|set| same(set, &message.flags));
        let mark = |is: bool, bit: u8| if is { bit } else { 0 };
        run.push(
            message.flags.system_bits()
                | mark(keywords.is_some(), KEYWORDS)
                | mark(message.object.is_some(), OBJECT)
                | mark(message.thread.is_some(), THREAD),
        );
        let uid = u64::from(message.uid.get());
        put(run, uid.checked_sub(self.uid)?);
        put(run, message.size);
        let (date, zone) =
            (message.internal_date.seconds(), i64::from(message.internal_date.offset_minutes()));
        put(run, fold(date.wrapping_sub(self.date)));
        put(run, fold(zone.wrapping_sub(self.zone)));
        put(run, difference(message.modseq.get(), self.modseq));
        // Mail is saved when it arrives, mostly.
        put(run, fold(i64::from(message.saved).wrapping_sub(date)));
        if let Some(object) = message.object {
            let object = number(object)?;
            put(run, difference(object, self.object));
            self.object = object;
        }
        // A thread has the number that was next when its first message came.
        if let Some(thread) = message.thread {
            put(run, difference(number(thread)?, self.object));
        }
        if let Some(keywords) = keywords {
            put(run, keywords as u64);
        }
        (self.uid, self.date, self.zone, self.modseq) = (uid + 1, date, zone, message.modseq.get());
        Some(())
    }

    fn decode(&mut self, reader: &mut Reader<'_>, sets: &[FlagSet]) -> Option<Message> {
        let [flags] = *reader.octets(1)? else { return None };
        let uid = self.uid.checked_add(reader.number()?)?;
        let size = reader.number()?;
        self.date = self.date.wrapping_add(unfold(reader.number()?));
        self.zone = self.zone.wrapping_add(unfold(reader.number()?));
        let internal_date = DateTime::new(self.date, i16::try_from(self.zone).ok()?)?;
        let mut message = Message::new(Uid::new(u32::try_from(uid).ok()?)?, size, internal_date);
        self.uid = uid + 1;
        self.modseq = sum(self.modseq, reader.number()?);
        message.modseq = ModSeq::new(self.modseq)?;
        message.saved = u32::try_from(self.date.wrapping_add(unfold(reader.number()?))).ok()?;
        if flags & OBJECT != 0 {
            self.object = sum(self.object, reader.number()?);
            message.object = Some(ObjectId::from(u128::from(self.object)));
        }
        if flags & THREAD != 0 {
            message.thread = Some(ObjectId::from(u128::from(sum(self.object, reader.number()?))));
        }
        message.flags = FlagSet::from_system_bits(flags & SYSTEM)?;
        if flags & KEYWORDS != 0 {
            // All that have them share one copy.
            message.flags = message.flags.union(sets.get(usize::try_from(reader.number()?).ok()?)?);
        }
        Some(message)
    }
}

/// A number that may be negative as one that is not.
const fn fold(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

const fn unfold(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

const fn difference(number: u64, before: u64) -> u64 {
    fold(number.wrapping_sub(before).cast_signed())
}

const fn sum(before: u64, difference: u64) -> u64 {
    before.wrapping_add(unfold(difference).cast_unsigned())
}

fn put(run: &mut Vec<u8>, mut number: u64) {
    loop {
        let octet = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            return run.push(octet);
        }
        run.push(octet | 0x80);
    }
}

/// Reads from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (octet, rest) = self.0.split_first()?;
            self.0 = rest;
            let bits = u64::from(octet & 0x7f);
            // Of the tenth octet there is room for one bit.
            number |= bits.checked_shl(shift).filter(|shifted| shifted >> shift == bits)?;
            if octet & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn small(&mut self) -> Option<u32> {
        self.number().and_then(|number| u32::try_from(number).ok())
    }

    fn octets(&mut self, length: usize) -> Option<&'a [u8]> {
        let (octets, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(octets)
    }
}

#[cfg(test)]
mod tests {
    use mailwright_mail_model::UidValidity;
    use proptest::prelude::*;

    use super::*;
    use crate::Snapshot;

    /// A message, and how far its UID is from the one before it.
    fn message() -> impl Strategy<Value = (u32, Message)> {
        let flags =
            prop::sample::select(vec!["()", "(\\Seen)", "(\\Deleted $Junk)", "(\\Seen $Junk a b)", "(A B)"]);
        let numbers = (any::<u32>(), any::<i64>(), -720_i16..720, 0..=i64::MAX.cast_unsigned(), any::<u32>());
        let ids = (any::<Option<u64>>(), any::<Option<u64>>());
        let near = prop_oneof![4 => Just(1), 1 => 1..2_000_u32];
        (near, flags, numbers, ids).prop_map(
            |(gap, flags, (size, date, zone, modseq, saved), (object, thread))| {
                let date = DateTime::new(date % 50_000_000_000, zone).unwrap();
                let id = |id: u64| ObjectId::from(u128::from(id));
                let mut message = Message::new(Uid::MIN, u64::from(size), date);
                message.flags = flags.parse().unwrap();
                message.modseq = ModSeq::new(modseq).unwrap();
                message.saved = saved;
                (message.object, message.thread) = (object.map(id), thread.map(id));
                (gap, message)
            },
        )
    }

    fn messages() -> impl Strategy<Value = Vec<Message>> {
        prop::collection::vec(message(), 1..40).prop_map(|messages| {
            let mut uid = 0;
            let numbered = messages.into_iter().map(|(gap, mut message)| {
                uid += gap;
                message.uid = Uid::new(uid).unwrap();
                message
            });
            numbered.collect()
        })
    }

    fn encoded(messages: &[Message], length: usize) -> Vec<u8> {
        let mut octets = Vec::new();
        for run in messages.chunks(length) {
            encode(&run.iter().collect::<Vec<_>>(), &mut octets).unwrap();
        }
        octets
    }

    fn empty() -> Snapshot {
        Snapshot::builder(UidValidity::new(1).unwrap()).highest_modseq(ModSeq::MAX).build()
    }

    fn snapshot(octets: &[u8]) -> Option<Snapshot> {
        let (mut snapshot, mut octets) = (empty(), octets);
        while !octets.is_empty() {
            snapshot.add_run(&mut octets)?;
        }
        Some(snapshot)
    }

    proptest! {
        #[test]
        fn runs_are_the_messages_that_they_were_made_of(messages in messages(), length in 1_usize..12) {
            let mut plain = empty();
            messages.iter().for_each(|message| plain.add(message.clone()));
            let of_runs = || snapshot(&encoded(&messages, length)).unwrap();
            // What is known without a look at the messages.
            let lazy = of_runs();
            prop_assert_eq!(lazy.uids(), plain.uids());
            prop_assert_eq!(lazy.keywords().to_string(), plain.keywords().to_string());
            prop_assert_eq!(lazy.first_unseen(), plain.first_unseen());
            prop_assert_eq!(&lazy, &plain);
            let written = |snapshot: &Snapshot| -> Vec<_> { snapshot.messages().map(|message| message.flags.to_string()).collect() };
            prop_assert_eq!(written(&lazy), written(&plain));
            // And after changes.
            let (first, middle) = (messages[0].uid, messages[messages.len() / 2].uid);
            let (mut changed, mut expected) = (of_runs(), plain.clone());
            for snapshot in [&mut changed, &mut expected] {
                snapshot.set_flags(middle, "(\\Deleted new)".parse().unwrap(), ModSeq::MAX);
                snapshot.remove(&first.into(), ModSeq::MAX);
                let next = snapshot.uid_next().unwrap();
                snapshot.add(Message::new(next, 5, DateTime::new(0, 0).unwrap()));
            }
            prop_assert_eq!(&changed, &expected);
            prop_assert_eq!(changed.keywords().to_string(), expected.keywords().to_string());
            prop_assert_eq!(changed.difference(&of_runs()), expected.difference(&plain));
        }

        #[test]
        fn whatever_the_octets_are_they_are_refused_or_read(
            messages in messages(), place in any::<prop::sample::Index>(), bit in 0..8, cut in any::<bool>(),
        ) {
            let mut octets = encoded(&messages, 7);
            let place = place.index(octets.len());
            if cut { octets.truncate(place) } else { octets[place] ^= 1_u8 << bit }
            if let Some(snapshot) = snapshot(&octets) {
                prop_assert!(snapshot.messages().count() <= 8_192);
            }
        }
    }

    #[test]
    fn they_are_short() {
        let mut messages: Vec<Message> = Vec::new();
        for number in 1..=256_u32 {
            let date = DateTime::new(1_700_000_000 + i64::from(number) * 30, 60).unwrap();
            let mut message = Message::new(Uid::new(number).unwrap(), u64::from(number) * 77, date);
            let body = ObjectId::from(u128::from(number) * 2 + 1_000_000);
            message.modseq = ModSeq::new(u64::from(number) + 1).unwrap();
            (message.object, message.thread) =
                (Some(body), Some(ObjectId::from(u128::from(number) * 2 + 1_000_001)));
            messages.push(message.with_saved(DateTime::new(date.seconds() + 1, 0)));
        }
        let octets = encoded(&messages, 256);
        assert!(octets.len() < 256 * 12, "{}", octets.len());
    }

    #[test]
    fn numbers_of_all_sizes_and_no_others() {
        for number in (0..64).flat_map(|shift| [1_u64 << shift, (1 << shift) - 1, u64::MAX >> shift]) {
            let mut octets = Vec::new();
            put(&mut octets, number);
            assert_eq!(Reader(&octets).number(), Some(number));
            assert_eq!(fold(unfold(number)), number);
        }
        assert_eq!(Reader(&[0xff; 9]).number(), None);
        assert_eq!(Reader(&[0xff; 11]).number(), None);
        assert_eq!(Reader(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).number(), None);
    }

    #[test]
    fn what_would_not_come_back_is_not_written() {
        let message = |uid: u32| Message::new(Uid::new(uid).unwrap(), 1, DateTime::new(0, 0).unwrap());
        let mut octets = Vec::new();
        assert_eq!(encode(&[], &mut octets), None);
        assert_eq!(encode(&[&message(2), &message(2)], &mut octets), None);
        let large = Message { object: Some(ObjectId::from(u128::MAX)), ..message(1) };
        assert_eq!(encode(&[&large], &mut octets), None);
        assert!(octets.is_empty());
        // Nor is a run added to messages that it does not follow.
        let mut snapshot = empty();
        snapshot.add(message(9));
        let run = encoded(&[message(9)], 1);
        assert_eq!(snapshot.add_run(&mut &run[..]), None);
        assert_eq!(snapshot.len(), 1);
    }
}
