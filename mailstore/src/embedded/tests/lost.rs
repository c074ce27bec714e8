//! Rows that were lost with a part of the journal: what else there is of a message stays, and comes back.

use super::*;

/// A store whose INBOX of so many messages is packed.
fn packed_store(directory: &Path, count: u32) -> Embedded {
    let store = open(directory);
    for number in 1..=count {
        block_on(deliver(&store, "alice", format!("message {number}").as_bytes()));
    }
    drop(store);
    open(directory)
}

fn check(store: &Embedded, repair: bool) -> Vec<Finding> {
    block_on(store.check(repair, &mut |_| {})).unwrap().findings
}

/// Every message of alice with its octets.
fn all(store: &Embedded) -> Vec<(crate::Message, Bytes)> {
    let (mailbox, snapshot) = inbox(store, "alice");
    let read =
        |message: &crate::Message| (message.clone(), read(store, &mailbox.message(message)).unwrap().into());
    snapshot.messages().map(read).collect()
}

/// The keys of the rows of messages.
fn row_keys(store: &Embedded) -> Vec<Vec<u8>> {
    let core = store.shared.core().unwrap();
    core.database.rows.iter().map(|row| row.key().unwrap().to_vec()).collect()
}

#[test]
fn packed_messages_whose_rows_are_missing_get_them_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = packed_store(directory.path(), 20);
    let before = all(&store);
    for key in [3, 8, 19].map(|index| row_keys(&store)[index].clone()) {
        store.shared.core().unwrap().database.rows.remove(key).unwrap();
    }
    let what = "UID 4,9,20 in alice INBOX: rows of messages are missing; they are packed";
    for repair in [false, true] {
        let found = check(&store, repair);
        assert!(found.len() == 1 && found[0].what == what && found[0].repaired == repair, "{found:?}");
    }
    assert_eq!(check(&store, true), []);
    // A change takes the packed ones back, so that the rows alone tell.
    let (mailbox, _) = inbox(&store, "alice");
    let change = FlagChange::new(crate::FlagOperation::Add, "(\\Seen)".parse().unwrap());
    block_on(store.store_flags(&mailbox, &"1".parse().unwrap(), &change)).unwrap();
    drop(store);
    let after = all(&open_unpacked(directory.path()));
    assert_eq!(after[1..], before[1..]);
}

#[test]
fn of_a_message_that_changed_since_its_row_the_packed_one_counts() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for _ in 0..20 {
        block_on(deliver(&store, "alice", b"text"));
    }
    let key = row_keys(&store)[6].clone();
    let old = store.shared.core().unwrap().database.rows.get(&key).unwrap().unwrap();
    let (mailbox, _) = inbox(&store, "alice");
    let change = FlagChange::new(crate::FlagOperation::Add, "(\\Seen \\Flagged)".parse().unwrap());
    block_on(store.store_flags(&mailbox, &"7".parse().unwrap(), &change)).unwrap();
    drop(store);
    let store = open(directory.path());
    let before = all(&store);
    store.shared.core().unwrap().database.rows.insert(key, old).unwrap();
    let found = check(&store, true);
    assert!(found.len() == 1 && found[0].what.starts_with("UID 7 in alice INBOX: rows"), "{found:?}");
    assert_eq!(check(&store, false), []);
    assert_eq!(all(&store), before);
}

#[test]
fn of_packed_messages_of_which_some_are_damaged_the_others_count() {
    let directory = tempfile::tempdir().unwrap();
    let store = packed_store(directory.path(), 40);
    let before = all(&store);
    let keys = row_keys(&store);
    {
        let core = store.shared.core().unwrap();
        // The last row of packed messages is damaged, and the first messages have no rows of their own.
        let (key, value) = core.database.packs.iter().last().unwrap().into_inner().unwrap();
        core.database.packs.insert(key, &value[1..]).unwrap();
        keys[..3].iter().for_each(|key| core.database.rows.remove(key.clone()).unwrap());
    }
    let found = check(&store, true);
    assert!(found.iter().any(|found| found.what.starts_with("UID 1:3 in alice INBOX")), "{found:?}");
    assert_eq!(check(&store, false), []);
    assert_eq!(row_keys(&store), keys);
    drop(store);
    assert_eq!(all(&open(directory.path())), before);
}

#[test]
fn what_was_set_aside_at_an_earlier_start_keeps_bodies_until_it_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_unpacked(directory.path());
    for _ in 0..3 {
        block_on(deliver(&store, "alice", b"text"));
    }
    let key = row_keys(&store)[1].clone();
    store.shared.core().unwrap().database.rows.remove(key).unwrap();
    drop(store);
    let aside = directory.path().join("0.damaged-0");
    fs::write(&aside, b"a journal").unwrap();

    let store = open_unpacked(directory.path());
    let told = store.damage();
    assert!(told.len() == 1 && told[0].starts_with(aside.to_str().unwrap()), "{told:?}");
    let orphans = |found: &[Finding]| {
        let mut found =
            found.iter().filter(|found| found.what.contains("1 bodies that nothing refers to, 4"));
        found.next().map(|found| found.repaired)
    };
    for _ in 0..2 {
        let found = check(&store, true);
        assert_eq!(orphans(&found), Some(false), "{found:?}");
        assert!(found[0].what.contains("0.damaged-0") && !found[0].repaired, "{found:?}");
    }
    assert_eq!(rows(&store.shared.core().unwrap().database.bodies), 3);
    drop(store);
    // Whoever removes it says that nothing of it is needed any more.
    fs::remove_file(aside).unwrap();
    let store = open_unpacked(directory.path());
    assert_eq!(store.damage(), [""; 0]);
    assert_eq!(orphans(&check(&store, true)), Some(true));
    assert_eq!(check(&store, false), []);
    assert_eq!(all(&store).len(), 2);
}

/// The UIDs and mod-sequences of alice's INBOX.
fn numbers(store: &Embedded) -> (u32, u64, u64) {
    let snapshot = inbox(store, "alice").1;
    let highest = snapshot.messages().map(|message| message.modseq.get()).max().unwrap();
    (snapshot.uid_next().unwrap().get(), snapshot.highest_modseq().get(), highest)
}

#[test]
fn after_a_loss_packed_messages_have_their_rows_again_and_no_number_is_given_out_twice() {
    const UIDS: u32 = 1 << 20;
    let directory = tempfile::tempdir().unwrap();
    let store = packed_store(directory.path(), 20);
    let before = all(&store);
    let archive = MailboxName::new("archive").unwrap();
    let validity =
        || |store: &Embedded| block_on(store.status(&user("alice"), &archive)).unwrap().uid_validity;
    block_on(store.create(&user("alice"), &archive, None)).unwrap();
    let given = validity()(&store);
    let first = numbers(&store);
    let keys = row_keys(&store);
    for index in [3, 8, 19] {
        store.shared.core().unwrap().database.rows.remove(keys[index].clone()).unwrap();
    }
    drop(store);
    fs::write(directory.path().join("0.damaged-0"), b"a journal").unwrap();

    let store = open(directory.path());
    assert_eq!(row_keys(&store), keys);
    assert!(
        store.damage().iter().any(|told| told.starts_with("rows of 3 messages were lost")),
        "{:?}",
        store.damage()
    );
    let found = check(&store, false);
    assert!(found.len() == 1 && found[0].what.contains("0.damaged-0"), "{found:?}");
    let second = numbers(&store);
    assert!(second.0 > first.0 + UIDS && second.1 > first.1 && second.2 > first.1, "{first:?} {second:?}");
    let history = block_on(store.expunged(&inbox(&store, "alice").0, ModSeq::new(first.1).unwrap()));
    assert_eq!(history.unwrap(), None);
    // Nothing that was there is another.
    let (mailbox, _) = inbox(&store, "alice");
    let change = FlagChange::new(crate::FlagOperation::Add, "(\\Seen)".parse().unwrap());
    block_on(store.store_flags(&mailbox, &"1".parse().unwrap(), &change)).unwrap();
    let after = all(&store);
    assert_eq!(after.len(), before.len());
    for ((before, octets), (after, same)) in before.iter().zip(&after) {
        assert_eq!((before.uid, before.object, octets), (after.uid, after.object, same));
    }
    block_on(store.delete(&user("alice"), &archive)).unwrap();
    block_on(store.create(&user("alice"), &archive, None)).unwrap();
    assert!(validity()(&store) > given);
    drop(store);

    // Once for each loss, whether it was told of or is found.
    let store = open(directory.path());
    assert_eq!(numbers(&store).0, second.0);
    drop(store);
    fs::rename(directory.path().join("0.damaged-0"), directory.path().join("3.damaged-0")).unwrap();
    let store = open(directory.path());
    let third = numbers(&store);
    assert!(third.0 > second.0 + UIDS && third.2 > second.2 && third.2 <= third.1, "{second:?} {third:?}");
    drop(store);
    fs::remove_file(directory.path().join("3.damaged-0")).unwrap();
    let store = open(directory.path());
    assert_eq!((numbers(&store), check(&store, false)), (third, Vec::new()));
}

#[test]
fn leaping_that_was_cut_short_begins_anew() {
    let directory = tempfile::tempdir().unwrap();
    let store = packed_store(directory.path(), 20);
    let before = numbers(&store);
    drop(store);
    fs::write(directory.path().join("0.damaged-0"), b"a journal").unwrap();
    drop(open(directory.path()));
    // As if only the mailboxes and some of the messages had been written.
    let store = open(directory.path());
    store.shared.core().unwrap().database.meta.remove("leapt").unwrap();
    drop(store);
    let store = open(directory.path());
    let after = numbers(&store);
    assert!(after.0 > before.0 + (1 << 21) && after.2 <= after.1, "{after:?}");
    assert_eq!(check(&store, false).len(), 1);
}

#[test]
fn what_was_set_aside_is_given_up_when_somebody_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_unpacked(directory.path());
    for _ in 0..3 {
        block_on(deliver(&store, "alice", b"text"));
    }
    let key = row_keys(&store)[1].clone();
    store.shared.core().unwrap().database.rows.insert(key, b"damaged".as_slice()).unwrap();
    check(&store, true);
    let kept = |found: &[Finding]| {
        found.iter().any(|found| {
            found.what.contains("so they are kept (1 rows of messages, those") && !found.repaired
        })
    };
    assert!(kept(&check(&store, true)));
    drop(store);
    let aside = directory.path().join("0.damaged-0");
    fs::write(&aside, b"a journal").unwrap();

    let store = open_unpacked(directory.path());
    // What was found since the store was opened stays.
    store.shared.core().unwrap().damage.note_text("something else");
    let gone = block_on(store.forget_set_aside()).unwrap();
    assert!(gone.len() == 2 && gone[0].what.starts_with("1 rows") && !aside.exists(), "{gone:?}");
    assert_eq!(store.damage(), ["something else"]);
    assert!(check(&store, true).iter().any(|found| found.what.ends_with("so they are kept")));
    assert_eq!(block_on(store.forget_set_aside()).unwrap(), []);
    drop(store);
    let store = open_unpacked(directory.path());
    let found = check(&store, true);
    assert!(found.len() == 1 && found[0].what.starts_with("1 bodies") && found[0].repaired, "{found:?}");
    assert_eq!((check(&store, false), all(&store).len()), (Vec::new(), 2));
}
