//! Rows of threads of which no message is left go, and no others.

use mailwright_mail_model::UidSet;

use super::*;
use crate::ObjectId;

/// Delivers a message with these identifiers, its own first; its UID and thread.
fn answer(store: &Embedded, who: &str, ids: &[&str]) -> (Uid, ObjectId) {
    let appended = block_on(async {
        let mut upload = upload(store, b"x").await;
        upload.relate(ids.iter().map(|id| Bytes::copy_from_slice(id.as_bytes())).collect());
        upload.commit(&[target(who)]).await.unwrap()
    });
    let uid = appended[0].uid;
    (uid, inbox(store, who).1.message(uid).unwrap().thread.unwrap())
}

/// As the store does from time to time, until there is nothing more.
fn collect(store: &Embedded) {
    while block_on(store.shared.committer.submit(|group| group.collect())).unwrap() {}
}

/// How many rows of threads there are.
fn threads(store: &Embedded) -> usize {
    rows(&store.shared.core().unwrap().database.threads)
}

fn expunge(store: &Embedded, uids: impl IntoIterator<Item = Uid>) {
    let (mailbox, _) = inbox(store, "alice");
    let uids: UidSet = uids.into_iter().collect();
    block_on(store.expunge(&mailbox, &Expunge::Exactly(uids))).unwrap();
}

fn no_grace() -> Options {
    Options { grace: Duration::ZERO, ..Options::default() }
}

#[test]
fn those_of_a_user_who_is_erased_go() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for number in 0..600 {
        answer(&store, "alice", &[&format!("{number}"), "root"]);
    }
    let (_, bobs) = answer(&store, "bob", &["0", "root"]);
    assert_eq!(threads(&store), 603);
    block_on(store.erase(&user("alice"))).unwrap();
    // Somebody of the same name comes before they are gone, and keeps theirs.
    let (_, first) = answer(&store, "alice", &["a", "root"]);
    collect(&store);
    assert_eq!(threads(&store), 4);
    assert_eq!(answer(&store, "bob", &["1", "0"]).1, bobs);
    assert_eq!(answer(&store, "alice", &["b", "a"]).1, first);
    assert_ne!(answer(&store, "alice", &["c", "0"]).1, first);
    assert_eq!(block_on(store.check(false, &mut |_| {})).unwrap().findings, []);
}

#[test]
fn those_that_no_message_is_left_of_go() {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(directory.path(), no_grace()).unwrap();
    let messages: Vec<_> = (0..40).map(|number| answer(&store, "alice", &[&format!("{number}")])).collect();
    let (_, bobs) = answer(&store, "bob", &["0"]);
    assert_eq!(threads(&store), 41);
    // A few are not worth it.
    expunge(&store, [messages[0].0]);
    collect(&store);
    assert_eq!(threads(&store), 41);
    // One of each four stays, and one of these in another mailbox.
    block_on(store.create(&user("alice"), &name("Archive"), None)).unwrap();
    let (mailbox, _) = inbox(&store, "alice");
    block_on(store.move_to(&mailbox, &messages[36].0.into(), &name("Archive"))).unwrap();
    let gone = messages.iter().enumerate().filter(|(index, _)| index % 4 != 0);
    expunge(&store, gone.map(|(_, (uid, _))| *uid));
    collect(&store);
    assert_eq!(threads(&store), 1 + 9);
    for (number, (_, thread)) in messages.iter().enumerate().filter(|(number, _)| *number > 0) {
        let (_, found) = answer(&store, "alice", &[&format!("late {number}"), &format!("{number}")]);
        assert_eq!(found == *thread, number % 4 == 0, "{number}");
    }
    assert_eq!(answer(&store, "bob", &["1", "0"]).1, bobs);
    assert_eq!(block_on(store.check(false, &mut |_| {})).unwrap().findings, []);
}

#[test]
fn what_comes_while_others_go_keeps_its_thread() {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(directory.path(), no_grace()).unwrap();
    let messages: Vec<_> = (0..60).map(|number| answer(&store, "alice", &[&format!("{number}")])).collect();
    expunge(&store, messages.iter().skip(20).map(|(uid, _)| *uid));
    let (mut number, mut answered) = (20, Vec::new());
    // Each step may forget threads that nobody answers before.
    while block_on(store.shared.committer.submit(|group| group.collect())).unwrap() {
        let (_, thread) = answer(&store, "alice", &[&format!("answer {number}"), &format!("{number}")]);
        answered.push((number, thread));
        number = (number + 1).min(59);
    }
    assert!(answered.iter().any(|(number, thread)| messages[*number].1 == *thread), "none came in time");
    for (number, thread) in answered {
        let (_, found) = answer(&store, "alice", &[&format!("again {number}"), &format!("answer {number}")]);
        assert_eq!(found, thread, "{number}");
    }
    for (number, (_, thread)) in messages.iter().take(20).enumerate() {
        let (_, found) = answer(&store, "alice", &[&format!("late {number}"), &format!("{number}")]);
        assert_eq!(found, *thread, "{number}");
    }
}

#[test]
fn those_of_messages_that_can_be_had_back_stay() {
    let directory = tempfile::tempdir().unwrap();
    let day = Duration::from_secs(86_400);
    let store = Embedded::open(directory.path(), Options { undelete: day, ..no_grace() }).unwrap();
    let messages: Vec<_> = (0..30).map(|number| answer(&store, "alice", &[&format!("{number}")])).collect();
    expunge(&store, messages.iter().map(|(uid, _)| *uid));
    collect(&store);
    assert_eq!(threads(&store), 30);
    drop(store);
    // Their time is over.
    let store = Embedded::open(directory.path(), no_grace()).unwrap();
    collect(&store);
    collect(&store);
    assert_eq!(threads(&store), 0);
}

#[test]
fn a_check_finds_those_of_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(directory.path(), no_grace()).unwrap();
    let (_, thread) = answer(&store, "alice", &["mine"]);
    let core = store.shared.core().unwrap();
    let put = |key: Vec<u8>| {
        let value = row::seal(&key, 5_u64.to_be_bytes().to_vec());
        core.database.threads.insert(key, value).unwrap();
    };
    // Of somebody who is not there, and of the form that there was before.
    (0..20_u8).for_each(|number| put([&threads::owner(b"bob").to_be_bytes()[..], &[number; 16]].concat()));
    (0..20_u8).for_each(|number| put(vec![number; 16]));
    let found = block_on(store.check(true, &mut |_| {})).unwrap().findings;
    assert!(found.len() == 1 && found[0].repaired && found[0].what.contains("40 rows"), "{found:?}");
    collect(&store);
    assert_eq!(threads(&store), 1);
    assert_eq!(answer(&store, "alice", &["other", "mine"]).1, thread);
    assert_eq!(block_on(store.check(false, &mut |_| {})).unwrap().findings, []);
}
