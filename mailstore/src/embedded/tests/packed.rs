//! Packed messages never say anything else than the rows of the messages do.

use proptest::prelude::*;

use super::super::packed::Packing;
use super::*;
use crate::FlagOperation;

const INBOX: &[u8] = b"alice\0INBOX";

/// The header of the INBOX as the disk has it.
fn header(store: &Embedded) -> Header {
    let core = store.shared.core().unwrap();
    Header::decode(INBOX, &core.database.names.get(INBOX).unwrap().unwrap()).unwrap()
}

/// The INBOX read from the rows of its messages, and from packed ones if they are any good.
fn read_both(store: &Embedded) -> (Snapshot, Option<Snapshot>) {
    let (core, header) = (store.shared.core().unwrap(), header(store));
    let moment = core.database.moment();
    let rows = Header { packed: None, ..header };
    let rows = core.load_rows(INBOX, &rows, &moment).unwrap();
    let good = core.unpack(&header, &moment).is_some();
    (rows, good.then(|| core.load_rows(INBOX, &header, &moment).unwrap()))
}

/// Delivers messages and opens the mailbox: one that nobody reads is not in memory.
fn fill(store: &Embedded, count: u32) {
    for number in 0..count {
        block_on(deliver(store, "alice", number.to_string().as_bytes()));
    }
    assert!(inbox(store, "alice").1.len() >= count);
}

fn flag(store: &Embedded, uids: &str, flag: &str) {
    let (mailbox, _) = inbox(store, "alice");
    let change = FlagChange::new(FlagOperation::Add, flag.parse().unwrap());
    block_on(store.store_flags(&mailbox, &uids.parse().unwrap(), &change)).unwrap();
}

fn expunge(store: &Embedded, uids: &str) {
    let (mailbox, _) = inbox(store, "alice");
    block_on(store.expunge(&mailbox, &Expunge::Exactly(uids.parse().unwrap()))).unwrap();
}

#[test]
fn a_mailbox_is_packed_when_the_store_closes() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    fill(&store, 40);
    flag(&store, "3,9", "(\\Seen $Junk custom)");
    let (_, before) = inbox(&store, "alice");
    assert_eq!(read_both(&store), (Snapshot::clone(&before), None));
    drop(store);
    let store = open(directory.path());
    let (rows, packed) = read_both(&store);
    assert_eq!(packed.as_ref(), Some(&rows));
    // And when it is told to.
    flag(&store, "4", "(\\Seen)");
    assert_eq!(read_both(&store).1, None);
    block_on(store.wind_down()).unwrap();
    let (rows, packed) = read_both(&store);
    assert_eq!(packed, Some(rows));
    let before = inbox(&store, "alice").1;
    assert_eq!(inbox(&store, "alice").1, before);
    // What comes later does not spoil it.
    fill(&store, 2);
    let (_, packed) = read_both(&store);
    assert_eq!(packed.as_ref(), Some(&*inbox(&store, "alice").1));
    assert_eq!(packed.map(|snapshot| snapshot.len()), Some(42));
}

/// Waits until the INBOX on disk is packed, all of it.
fn wait_until_packed(store: &Embedded, messages: u32) {
    for _ in 0..3_000 {
        if header(store).packed.is_some_and(|packed| packed.messages == messages) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("nothing was packed of {:?}", header(store));
}

#[test]
fn a_mailbox_that_nobody_opens_is_packed_when_it_rests() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for number in 0..40_u32 {
        block_on(deliver(&store, "alice", number.to_string().as_bytes()));
    }
    assert_eq!(header(&store).packed, None);
    wait_until_packed(&store, 40);
    let keys = rows(&store.shared.core().unwrap().database.packs);
    assert!(keys > 3, "{keys}");
    // As a killed process leaves it.
    let killed = tempfile::tempdir().unwrap();
    copy_directory(directory.path(), killed.path());
    let copy = open(killed.path());
    let (rows, packed) = read_both(&copy);
    assert_eq!(packed.as_ref(), Some(&rows));
    assert_eq!(*inbox(&copy, "alice").1, rows);
    // It goes on with what comes later.
    for number in 0..40_u32 {
        block_on(deliver(&store, "alice", number.to_string().as_bytes()));
    }
    wait_until_packed(&store, 80);
    let (rows, packed) = read_both(&store);
    assert_eq!(packed.as_ref(), Some(&rows));
    assert_eq!(*inbox(&store, "alice").1, rows);
    assert_eq!(block_on(store.check(false, &mut |_| {})).unwrap().findings, []);
    assert_eq!(store.damage(), [""; 0]);
}

#[test]
fn a_mailbox_rests_too_when_the_thread_that_packs_had_nothing_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { in_place: Some(|work| work()), ..Options::default() };
    let store = Embedded::open(directory.path(), options).unwrap();
    for number in 0..40_u32 {
        block_on(deliver(&store, "alice", number.to_string().as_bytes()));
    }
    let begun = Instant::now();
    wait_until_packed(&store, 40);
    // It looks every fifteen seconds by itself.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn a_mailbox_that_nobody_opened_is_packed_when_the_store_closes() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for number in 0..40_u32 {
        block_on(deliver(&store, "alice", number.to_string().as_bytes()));
    }
    drop(store);
    let store = open(directory.path());
    let (rows, packed) = read_both(&store);
    assert_eq!(packed.as_ref(), Some(&rows));
    assert_eq!(*inbox(&store, "alice").1, rows);
}

#[test]
fn a_crash_while_it_is_packed_anew_is_no_damage() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    fill(&store, 40);
    drop(store);
    let store = open(directory.path());
    assert!(header(&store).packed.is_some());
    fill(&store, 60);
    // The test packs it. On a slow machine the store would find the time to do so in between.
    drop(store.shared.core().unwrap().ripening.take(Instant::now() + Duration::from_secs(60)));
    // Row by row, as it is done while others want something, and at each moment as a killed process leaves it.
    let (mut packing, mut steps) = (None, 0);
    loop {
        let step = move |group: &mut committer::Group<'_>| {
            let mut packing = match packing {
                Some(packing) => packing,
                None => Packing::begin(group.core, INBOX).ok_or(StoreError::NotFound)?,
            };
            group.must_last();
            Ok::<_, StoreError>(packing.step(group)?.then_some(packing))
        };
        packing = block_on(store.shared.committer.submit(step)).unwrap();
        steps += 1;
        let killed = tempfile::tempdir().unwrap();
        copy_directory(directory.path(), killed.path());
        let copy = open_unpacked(killed.path());
        assert_eq!(header(&copy).packed.is_some(), packing.is_none());
        assert_eq!(inbox(&copy, "alice").1, inbox(&store, "alice").1);
        assert_eq!(copy.damage(), [""; 0]);
        if packing.is_none() {
            break;
        }
    }
    assert!(steps > 3, "{steps}");
    let (rows, packed) = read_both(&store);
    assert_eq!(packed, Some(rows));
}

#[test]
fn a_change_while_it_is_packed_makes_it_for_nothing() {
    for change in [|store: &Embedded| flag(store, "7", "(\\Seen)"), |store: &Embedded| fill(store, 1)] {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        fill(&store, 40);
        let begin = |group: &mut committer::Group<'_>| {
            let mut packing = Packing::begin(group.core, INBOX).ok_or(StoreError::NotFound)?;
            assert!(packing.step(group)?);
            Ok::<_, StoreError>(packing)
        };
        let mut packing = block_on(store.shared.committer.submit(begin)).unwrap();
        change(&store);
        let step = move |group: &mut committer::Group<'_>| packing.step(group);
        assert!(!block_on(store.shared.committer.submit(step)).unwrap());
        assert_eq!(header(&store).packed, None);
        assert_eq!(inbox(&store, "alice").1, inbox(&store, "alice").1);
    }
}

#[test]
fn a_change_takes_it_back_at_once() {
    for change in [|store: &Embedded| flag(store, "7", "(\\Seen)"), |store: &Embedded| expunge(store, "8")] {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        fill(&store, 20);
        drop(store);
        let store = open(directory.path());
        assert!(header(&store).packed.is_some());
        change(&store);
        assert_eq!(header(&store).packed, None);
        let (_, before) = inbox(&store, "alice");
        // As a killed process leaves it.
        let killed = tempfile::tempdir().unwrap();
        copy_directory(directory.path(), killed.path());
        let copy = open(killed.path());
        assert_eq!(inbox(&copy, "alice").1, before);
    }
}

#[test]
fn a_mailbox_is_packed_when_it_leaves_memory() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { snapshots: 4_000, ..Options::default() };
    let store = Embedded::open(directory.path(), options).unwrap();
    fill(&store, 40);
    for number in 0..100 {
        block_on(deliver(&store, &format!("user{number}"), b"x"));
        drop(inbox(&store, &format!("user{number}")));
    }
    assert!(header(&store).packed.is_some());
    let (rows, packed) = read_both(&store);
    assert_eq!(packed, Some(rows));
}

#[test]
fn damaged_or_missing_ones_are_not_missed() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    fill(&store, 40);
    let (_, before) = inbox(&store, "alice");
    drop(store);
    let whole = tempfile::tempdir().unwrap();
    copy_directory(directory.path(), whole.path());
    let store = open(whole.path());
    let rows = header(&store).rows;
    let keys: Vec<_> = store
        .shared
        .core()
        .unwrap()
        .database
        .packs
        .prefix(rows.to_be_bytes())
        .map(|row| row.key().unwrap())
        .collect();
    assert!(keys.len() > 3, "{}", keys.len());
    drop(store);
    for (number, key) in keys.iter().enumerate() {
        let copy = tempfile::tempdir().unwrap();
        copy_directory(directory.path(), copy.path());
        let store = open(copy.path());
        let core = store.shared.core().unwrap();
        let database = &core.database;
        let mut value = database.packs.get(key).unwrap().unwrap().to_vec();
        match number % 3 {
            0 => database.packs.remove(key.to_vec()).unwrap(),
            1 => {
                let middle = value.len() / 2;
                value[middle] ^= 1;
                database.packs.insert(key.to_vec(), value).unwrap();
            }
            // One of another time.
            _ => {
                value.truncate(value.len() - 4);
                value[7] ^= 1;
                database.packs.insert(key.to_vec(), row::seal(key, value)).unwrap();
            }
        }
        drop(core);
        assert_eq!(read_both(&store).1, None);
        assert_eq!(store.damage(), [""; 0]);
        assert_eq!(inbox(&store, "alice").1, before);
        let damage = store.damage();
        assert!(damage.len() == 1 && damage[0].contains("packed messages"), "{damage:?}");
        let found = block_on(store.check(false, &mut |_| {})).unwrap().findings;
        assert!(found.len() == 1 && found[0].what.contains("damaged or missing"), "{found:?}");
        // A repair takes them back; without one they are packed again when the mailbox leaves memory.
        if number % 2 == 0 {
            let found = block_on(store.check(true, &mut |_| {})).unwrap().findings;
            assert!(found.len() == 1 && found[0].repaired, "{found:?}");
            assert_eq!(header(&store).packed, None);
            assert_eq!(block_on(store.check(false, &mut |_| {})).unwrap().findings, []);
        }
        drop(store);
        let store = open(copy.path());
        let (rows, packed) = read_both(&store);
        assert_eq!(packed, Some(rows));
        assert_eq!(inbox(&store, "alice").1, before);
        assert_eq!(store.damage(), [""; 0]);
        assert_eq!(block_on(store.check(false, &mut |_| {})).unwrap().findings, []);
    }
}

/// A store whose INBOX is packed, and the keys of the rows of its messages.
fn packed_store(directory: &Path, count: u32) -> (Embedded, Vec<Vec<u8>>) {
    let store = open(directory);
    fill(&store, count);
    drop(store);
    let store = open(directory);
    assert!(header(&store).packed.is_some());
    let rows = header(&store).rows;
    let keys = {
        let core = store.shared.core().unwrap();
        core.database.rows.prefix(rows.to_be_bytes()).map(|row| row.key().unwrap().to_vec()).collect()
    };
    (store, keys)
}

#[test]
fn a_check_takes_messages_from_there_whose_rows_are_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let (store, keys) = packed_store(directory.path(), 20);
    let (_, before) = inbox(&store, "alice");
    let core = store.shared.core().unwrap();
    let database = &core.database;
    for key in [&keys[3], &keys[19]] {
        let mut value = database.rows.get(key).unwrap().unwrap().to_vec();
        value[2] ^= 1;
        database.rows.insert(key.clone(), value).unwrap();
    }
    let found = block_on(store.check(true, &mut |_| {})).unwrap().findings;
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|found| found.repaired && found.what.contains("it is packed")), "{found:?}");
    assert_eq!(rows(&database.lost), 0);
    assert_eq!(block_on(store.check(false, &mut |_| {})).unwrap().findings, []);
    // It takes the packed ones back, so that the rows alone tell.
    flag(&store, "1", "(\\Seen)");
    drop(core);
    drop(store);
    let store = open(directory.path());
    assert_eq!(inbox(&store, "alice").1.uids(), before.uids());
    assert_eq!(store.damage(), [""; 0]);
}

#[test]
fn a_restored_store_claims_none() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = packed_store(directory.path(), 20);
    let (backup, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    store.back_up(backup.path(), &mut |_| {}).unwrap();
    restore(backup.path(), None, target.path(), &mut |_| {}).unwrap();
    let restored = open(target.path());
    assert_eq!(header(&restored).packed, None);
    let messages = |store| -> Vec<_> {
        // Mod-sequences go on from another place.
        let plain = |message: &crate::Message| crate::Message { modseq: ModSeq::MIN, ..message.clone() };
        inbox(store, "alice").1.messages().map(plain).collect()
    };
    assert_eq!(messages(&restored), messages(&store));
    assert_eq!(restored.damage(), [""; 0]);
    assert_eq!(block_on(restored.check(false, &mut |_| {})).unwrap().findings, []);
}

#[test]
fn a_check_finds_those_that_lie_and_repairs() {
    // Of the first run, behind the mod-sequence and a length: how many are unseen, and the size of the first message.
    for place in [8 + 1 + 3, 8 + 1 + 8 + 2] {
        a_check_finds_a_lie(place);
    }
}

fn a_check_finds_a_lie(place: usize) {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    fill(&store, 20);
    let (_, before) = inbox(&store, "alice");
    drop(store);
    let store = open(directory.path());
    let rows = header(&store).rows;
    let database = &store.shared.core().unwrap().database;
    let (key, value) = database.packs.prefix(rows.to_be_bytes()).next().unwrap().into_inner().unwrap();
    let mut value = value.to_vec();
    value.truncate(value.len() - 4);
    value[place] ^= 1;
    database.packs.insert(key.to_vec(), row::seal(&key, value)).unwrap();
    let found = block_on(store.check(true, &mut |_| {})).unwrap().findings;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].repaired && found[0].what.contains("packed"), "{found:?}");
    assert_eq!(header(&store).packed, None);
    assert_eq!(inbox(&store, "alice").1, before);
    assert_eq!(block_on(store.check(false, &mut |_| {})).unwrap().findings, []);
}

#[test]
fn fewer_messages_take_fewer_rows() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let packs = || rows(&store.shared.core().unwrap().database.packs);
    fill(&store, 40);
    block_on(store.wind_down()).unwrap();
    let many = packs();
    expunge(&store, "5:40");
    assert_eq!(header(&store).packed, None);
    block_on(store.wind_down()).unwrap();
    assert!(packs() < many, "{} of {many}", packs());
    let (rows, packed) = read_both(&store);
    assert_eq!(packed, Some(rows));
}

#[test]
fn they_go_with_their_mailbox() {
    let directory = tempfile::tempdir().unwrap();
    let options = || Options { grace: Duration::ZERO, ..Options::default() };
    let store = Embedded::open(directory.path(), options()).unwrap();
    fill(&store, 20);
    drop(store);
    let store = Embedded::open(directory.path(), options()).unwrap();
    assert!(rows(&store.shared.core().unwrap().database.packs) > 0);
    block_on(store.erase(&user("alice"))).unwrap();
    drop(store);
    let store = Embedded::open(directory.path(), options()).unwrap();
    for _ in 0..1_000 {
        if rows(&store.shared.core().unwrap().database.packs) == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("packed messages of an erased mailbox are still there");
}

#[derive(Clone, Debug)]
enum Step {
    Deliver(u32),
    Flag(u32, u32),
    Expunge(u32, u32),
    Reopen,
    Rename,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1_u32..12).prop_map(Step::Deliver),
        2 => (1_u32..40, 0_u32..6).prop_map(|(first, more)| Step::Flag(first, first + more)),
        1 => (1_u32..40, 0_u32..6).prop_map(|(first, more)| Step::Expunge(first, first + more)),
        4 => Just(Step::Reopen),
        1 => Just(Step::Rename),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_happens_it_is_what_the_rows_say(steps in prop::collection::vec(step(), 1..14)) {
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(directory.path());
        let mut names = 0;
        for step in steps {
            match step {
                Step::Deliver(count) => fill(&store, count),
                Step::Flag(first, last) => flag(&store, &format!("{first}:{last}"), "(\\Flagged word)"),
                Step::Expunge(first, last) => expunge(&store, &format!("{first}:{last}")),
                Step::Rename => {
                    names += 1;
                    block_on(store.rename(&user("alice"), &MailboxName::inbox(), &name(&format!("old{names}")))).unwrap();
                }
                Step::Reopen => {
                    let before = block_on(store.list(&user("alice"))).unwrap();
                    drop(store);
                    store = open(directory.path());
                    prop_assert_eq!(block_on(store.list(&user("alice"))).unwrap(), before);
                }
            }
            let (_, shown) = inbox(&store, "alice");
            let (rows, packed) = read_both(&store);
            prop_assert_eq!(&rows, &*shown);
            if let Some(packed) = packed {
                prop_assert_eq!(&packed, &rows);
            }
        }
        prop_assert_eq!(block_on(store.check(false, &mut |_| {})).unwrap().findings, vec![]);
    }
}
