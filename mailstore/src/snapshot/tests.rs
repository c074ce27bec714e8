use std::collections::BTreeMap;

use mailwright_mail_model::Keyword;
use proptest::prelude::*;

use super::*;

fn uid(value: u32) -> Uid {
    Uid::new(value).unwrap()
}

fn validity() -> UidValidity {
    UidValidity::new(7).unwrap()
}

fn message(uid: Uid, size: u64) -> Message {
    Message::new(uid, size, DateTime::new(0, 0).unwrap())
}

fn of(range: std::ops::Range<u32>) -> Snapshot {
    Snapshot::builder(validity()).messages(range.map(|number| message(uid(number), 10))).build()
}

#[test]
fn a_message_takes_at_most_100_octets() {
    assert_eq!(size_of::<Message>(), 96);
    let snapshot = of(1..100_001);
    assert!(snapshot.memory() <= 100 * 100_000, "{}", snapshot.memory());
}

#[test]
fn a_change_shares_all_blocks_but_one() {
    let before = of(1..2_001);
    let mut after = before.clone();
    after.set_flags(uid(1_000), "(\\Seen)".parse().unwrap(), ModSeq::new(2).unwrap());
    let copied = before.blocks.iter().zip(&after.blocks).filter(|(a, b)| !Arc::ptr_eq(a, b)).count();
    assert_eq!(copied, 1);
    let difference = before.difference(&after).unwrap();
    assert_eq!(difference.changed, UidSet::from(uid(1_000)));
    assert!(difference.added.is_empty() && difference.removed.is_empty());
}

#[test]
fn another_uid_validity_has_no_difference() {
    let other = Snapshot::builder(UidValidity::new(8).unwrap()).build();
    assert_eq!(of(1..3).difference(&other), None);
}

#[test]
fn the_builder_takes_any_order_and_the_last_of_equals() {
    let snapshot = Snapshot::builder(validity())
        .messages([5, 3, 5].into_iter().zip(1..).map(|(number, size)| message(uid(number), size)))
        .uid_next(Uid::new(20))
        .build();
    assert_eq!(snapshot.uids().to_string(), "3,5");
    assert_eq!(snapshot.message(uid(5)).unwrap().size, 3);
    assert_eq!(snapshot.uid_next(), Some(uid(20)));
}

#[test]
fn the_last_uid_leaves_no_next_one() {
    let mut snapshot = of(1..2);
    snapshot.add(message(Uid::MAX, 1));
    assert_eq!(snapshot.uid_next(), None);
    snapshot.add(message(Uid::MAX, 1));
    assert_eq!(snapshot.len(), 2);
    snapshot.advance(Some(uid(5)), ModSeq::MIN);
    assert_eq!(snapshot.uid_next(), None);
}

#[derive(Clone, Debug)]
enum Step {
    Add(u32),
    Flag(u32, u8),
    Remove(u32, u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u32..400).prop_map(Step::Add),
        2 => (1_u32..1_500, 0_u8..32).prop_map(|(uid, bits)| Step::Flag(uid, bits)),
        2 => (1_u32..1_500, 0_u32..600).prop_map(|(first, length)| Step::Remove(first, length)),
    ]
}

proptest! {
    #[test]
    fn a_snapshot_behaves_like_a_map(steps in prop::collection::vec(step(), 0..40)) {
        let first = of(1..500);
        let mut model: BTreeMap<u32, FlagSet> = (1..500).map(|number| (number, FlagSet::new())).collect();
        let mut snapshot = first.clone();
        let (mut next, mut modseq) = (500, ModSeq::MIN);
        for step in steps {
            modseq = modseq.next().unwrap();
            // What is found out once is to hold no longer than it is true.
            let _ = (snapshot.keywords(), snapshot.first_unseen());
            match step {
                Step::Add(count) => for _ in 0..count {
                    snapshot.add(Message { modseq, ..message(uid(next), 10) });
                    model.insert(next, FlagSet::new());
                    next += 1;
                },
                Step::Flag(number, bits) => {
                    let mut flags = FlagSet::from_system_bits(bits).unwrap();
                    if bits & 2 != 0 {
                        flags.insert(Flag::Keyword(Keyword::JUNK));
                    }
                    snapshot.set_flags(uid(number), flags.clone(), modseq);
                    if let Some(old) = model.get_mut(&number) { *old = flags }
                }
                Step::Remove(start, length) => {
                    snapshot.remove(&UidSet::from(uid(start)..=uid(start + length)), modseq);
                    model.retain(|number, _| !(start..=start + length).contains(number));
                }
            }
        }
        prop_assert!(snapshot.messages().map(|m| (m.uid.get(), &m.flags)).eq(model.iter().map(|(n, f)| (*n, f))));
        let counted = |wanted: &dyn Fn(&FlagSet) -> bool| model.values().filter(|flags| wanted(flags)).count() as u32;
        prop_assert_eq!(snapshot.len(), counted(&|_| true));
        prop_assert_eq!(snapshot.unseen(), counted(&|flags| !flags.contains(&Flag::Seen)));
        prop_assert_eq!(snapshot.deleted(), counted(&|flags| flags.contains(&Flag::Deleted)));
        prop_assert_eq!(snapshot.size(), u64::from(snapshot.len()) * 10);
        prop_assert_eq!(snapshot.uid_next(), Uid::new(next));
        prop_assert!(snapshot.blocks.iter().all(|block| !block.is_empty()));
        for number in [1, 2, 255, 256, 257, 499, 500, 501, 900, 1_400] {
            prop_assert_eq!(snapshot.message(uid(number)).is_some(), model.contains_key(&number));
            let found = snapshot.range(uid(number)..=uid(number + 100)).map(|m| m.uid.get());
            prop_assert!(found.eq(model.range(number..=number + 100).map(|(n, _)| *n)));
        }
        let difference = first.difference(&snapshot).unwrap();
        prop_assert_eq!(snapshot.uids(), model.keys().map(|number| uid(*number)).collect());
        let junk = model.values().any(|flags| !flags.keywords().is_empty());
        prop_assert_eq!(snapshot.keywords(), FlagSet::from_iter(junk.then_some(Flag::Keyword(Keyword::JUNK))));
        let unseen = model.iter().find(|(_, flags)| !flags.contains(&Flag::Seen)).map(|(number, _)| *number);
        prop_assert_eq!(snapshot.first_unseen().map(|message| message.uid.get()), unseen);
        let (old, new) = (first.uids(), snapshot.uids());
        prop_assert_eq!(difference.added, new.difference(&old));
        prop_assert_eq!(difference.removed, old.difference(&new));
        let changed: UidSet = first.messages()
            .filter(|m| snapshot.message(m.uid).is_some_and(|now| now != *m)).map(|m| m.uid).collect();
        prop_assert_eq!(difference.changed, changed);
    }
}
