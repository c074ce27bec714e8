use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn uid(value: u32) -> Uid {
    Uid::new(value).unwrap()
}

fn set(values: &BTreeSet<u32>) -> UidSet {
    values.iter().map(|value| uid(*value)).collect()
}

/// The set holds exactly `model`, its runs neither touch nor overlap, and its counts are right.
fn check(set: &UidSet, model: &BTreeSet<u32>) {
    assert!(set.iter().map(Uid::get).eq(model.iter().copied()));
    assert!(set.iter().rev().map(Uid::get).eq(model.iter().rev().copied()));
    assert_eq!(set.len(), model.len() as u64);
    let mut before = 0;
    for pair in set.runs.windows(2) {
        assert!(pair[0].last.next().unwrap() < pair[1].first);
    }
    for run in &set.runs {
        assert!(run.first <= run.last);
        assert_eq!(run.before, before);
        before += run.count();
    }
}

fn near_both_ends() -> impl Strategy<Value = u32> {
    prop_oneof![1..80_u32, u32::MAX - 20..=u32::MAX]
}

fn models() -> impl Strategy<Value = BTreeSet<u32>> {
    prop::collection::btree_set(near_both_ends(), 0..60)
}

proptest! {
    #[test]
    fn bulk_construction_takes_any_order(values in prop::collection::vec(near_both_ends(), 0..80)) {
        let built: UidSet = values.iter().map(|value| uid(*value)).collect();
        check(&built, &values.iter().copied().collect());
    }

    #[test]
    fn ranges_of_any_order_overlap_freely(
        ranges in prop::collection::vec((1..90_u32, 0..12_u32), 0..30),
    ) {
        let built: UidSet = ranges.iter().map(|(first, more)| uid(*first)..=uid(first + more)).collect();
        let mut inserted = UidSet::new();
        for (first, more) in &ranges {
            inserted.insert_range(uid(*first)..=uid(first + more));
        }
        let model = ranges.iter().flat_map(|(first, more)| *first..=first + more).collect();
        check(&built, &model);
        check(&inserted, &model);
    }

    #[test]
    fn single_changes(mut model in models(), changes in prop::collection::vec((near_both_ends(), any::<bool>()), 0..60)) {
        let mut changed = set(&model);
        for (value, insert) in changes {
            if insert {
                prop_assert_eq!(changed.insert(uid(value)), model.insert(value));
            } else {
                prop_assert_eq!(changed.remove(uid(value)), model.remove(&value));
            }
        }
        check(&changed, &model);
    }

    #[test]
    fn set_algebra(a in models(), b in models()) {
        let (left, right) = (set(&a), set(&b));
        check(&left.union(&right), &(&a | &b));
        check(&left.intersection(&right), &(&a & &b));
        check(&left.difference(&right), &(&a - &b));
        let mut extended = left;
        extended.extend(right.iter());
        check(&extended, &(&a | &b));
    }

    #[test]
    fn rank_and_select_agree_with_counting(model in models(), probe in near_both_ends()) {
        let set = set(&model);
        prop_assert_eq!(set.rank(uid(probe)), model.range(..probe).count() as u64);
        prop_assert_eq!(set.contains(uid(probe)), model.contains(&probe));
        for (index, value) in model.iter().enumerate() {
            prop_assert_eq!(set.select(index as u64), Some(uid(*value)));
        }
        prop_assert_eq!(set.select(model.len() as u64), None);
        prop_assert_eq!(set.select(u64::MAX), None);
        prop_assert_eq!(set.first().map(Uid::get), model.first().copied());
        prop_assert_eq!(set.last().map(Uid::get), model.last().copied());
    }

    #[test]
    fn parts_by_uid_and_by_rank(model in models(), low in near_both_ends(), high in near_both_ends(), start in 0..70_u64, end in 0..70_u64) {
        let set = set(&model);
        let within = model.iter().copied().filter(|value| (low..=high).contains(value)).collect();
        check(&set.within(uid(low)..=uid(high)), &within);
        let ranks = start..end;
        let at = model.iter().copied().enumerate().filter(|(rank, _)| ranks.contains(&(*rank as u64)));
        check(&set.at(start..end), &at.map(|(_, value)| value).collect());
    }

    #[test]
    fn the_wire_form_round_trips(model in models()) {
        let set = set(&model);
        if set.is_empty() {
            prop_assert_eq!(set.to_string(), "");
        } else {
            prop_assert_eq!(set.to_string().parse::<UidSet>().unwrap(), set);
        }
    }
}

#[test]
fn parses_ranges_in_any_order_and_direction() {
    assert_eq!("7,3:1,2:4".parse::<UidSet>().unwrap().to_string(), "1:4,7");
    assert_eq!("4294967295:1".parse::<UidSet>().unwrap().len(), u64::from(u32::MAX));
}

#[test]
fn refuses_what_is_not_a_set_of_uids() {
    for text in
        ["", ",", "1,", ",1", "0", "0:3", "1:", ":1", "1:2:3", "*", "1:*", " 1", "1 ,2", "01", "4294967296"]
    {
        assert_eq!(text.parse::<UidSet>(), Err(UidSetError), "{text:?}");
    }
}

#[test]
fn a_range_backwards_is_empty() {
    let mut set = UidSet::from(uid(3)..=uid(2));
    assert!(set.is_empty());
    set.insert_range(uid(9)..=uid(1));
    assert!(set.is_empty());
}

#[test]
fn a_dense_million_is_one_range_and_two_after_a_removal() {
    let mut set: UidSet = (1..=1_000_000).filter_map(Uid::new).collect();
    assert_eq!(set.ranges().len(), 1);
    assert!(set.remove(uid(500_000)));
    assert_eq!(set.to_string(), "1:499999,500001:1000000");
    assert_eq!(set.select(499_999), Uid::new(500_001));
    assert_eq!(set.rank(uid(1_000_000)), 999_998);
}
