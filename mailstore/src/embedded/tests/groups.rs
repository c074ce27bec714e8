//! Operations that are committed together.

use super::*;

#[test]
fn operations_of_one_group_see_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    block_on(deliver(&store, "alice", b"before"));
    let (mailbox, old) = inbox(&store, "alice");
    let arrival = |body: u64, targets: &[Target]| append::Arrival {
        messages: vec![append::Complete {
            body,
            size: 4,
            tail: {
                let mut chunk = body::empty_chunk(body::USUAL);
                chunk.extend_from_slice(b"text");
                let packed = chunk::Packing::default().pack(body, 0, &mut chunk);
                Some((0, packed.unwrap_or_else(|| chunk.freeze())))
            },
            spilled: None,
            summary: None,
            ids: Vec::new(),
            targets: targets.to_vec(),
            places: (0..targets.len()).collect(),
            seal: None,
            keys: Vec::new(),
            queue: Vec::new(),
        }],
        replaced: Vec::new(),
        rows: Vec::new(),
        settle: Vec::new(),
    };
    let to = |mailbox| Target { mailbox: name(mailbox), ..target("alice") };
    let operation = move |group: &mut committer::Group<'_>| {
        let alice = user("alice");
        let identity = || group.core.database.identity().unwrap();
        let bodies = [identity(), identity(), identity(), identity()];
        let appended = group.append(arrival(bodies[0], &[to("INBOX")]))?;
        let seen = FlagChange::new(crate::FlagOperation::Add, "(\\Seen)".parse().unwrap());
        let stored = group.store_flags(&mailbox, &appended.appended[0].uid.into(), &seen)?;
        assert_eq!(stored.messages.len(), 1);
        group.make(&alice, &name("a/b"), None)?;
        group.append(arrival(bodies[1], &[to("a/b"), to("a/b")]))?;
        group.rename(&alice, &name("a"), &name("c"))?;
        group.append(arrival(bodies[2], &[to("c/b")]))?;
        let moved = group.move_to(&mailbox, &appended.appended[0].uid.into(), &name("c/b"))?;
        assert_eq!(moved.target.to_string(), "4");
        group.rename(&alice, &MailboxName::inbox(), &name("kept"))?;
        group.append(arrival(bodies[3], &[to("INBOX")]))?;
        group.make(&alice, &name("a"), None)?;
        group.drop_mailbox(&alice, &name("a"))?;
        group.make(&alice, &name("a"), None)?;
        let rival = group.make(&alice, &name("c/b"), None);
        assert_eq!(rival, Err(StoreError::Exists));
        Ok::<(), CommitError>(())
    };
    block_on(store.shared.committer.submit(operation)).unwrap();
    let look = |store: &Embedded| {
        let names: Vec<_> = block_on(store.mailboxes(&user("alice"))).unwrap();
        let mut all = Vec::new();
        for mailbox in names {
            let snapshot = block_on(store.open(&user("alice"), &mailbox.name)).unwrap();
            let status = block_on(store.status(&user("alice"), &mailbox.name)).unwrap();
            assert_eq!(Status { recent: None, ..status }, Status::from(&*snapshot));
            let place = MailboxRef::new(user("alice"), mailbox.name.clone(), &snapshot);
            snapshot.messages().for_each(|message| drop(read(store, &place.message(message)).unwrap()));
            all.push((mailbox.name.to_string(), snapshot.uids().to_string(), snapshot));
        }
        let usage = block_on(store.quota_of(&user("alice"))).unwrap().usage;
        assert_eq!(usage, store.shared.core().unwrap().recount(b"alice").unwrap());
        assert_eq!(usage.messages, all.iter().map(|(_, _, snapshot)| u64::from(snapshot.len())).sum::<u64>());
        all
    };
    let live = look(&store);
    let shown: Vec<_> = live.iter().map(|(name, uids, _)| (name.as_str(), uids.as_str())).collect();
    assert_eq!(shown, [("INBOX", "3"), ("a", ""), ("c", ""), ("c/b", "1:4"), ("kept", "1")]);
    assert_eq!(live[0].2.uid_validity(), old.uid_validity());
    drop(store);
    assert_eq!(look(&open(directory.path())), live);
}

#[test]
fn who_is_told_that_a_mailbox_exists_finds_it() {
    use std::sync::mpsc::{RecvTimeoutError, channel};
    use std::thread;
    use std::time::Duration;

    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let hold = |store: &Embedded| {
        let (release, held) = channel::<()>();
        assert!(store.shared.committer.post(move |_| {
            // Held until the other end is dropped.
            let _ = held.recv();
        }));
        release
    };
    // Two make the same at once: both are in one group, which is not committed while its last operation lasts.
    let first = hold(&store);
    let (tell, told) = channel();
    let makers: Vec<_> = (0..2)
        .map(|_| {
            let (store, tell) = (store.clone(), tell.clone());
            thread::spawn(move || {
                let made = block_on(store.create(&user("ann"), &name("Lists"), None));
                let found = block_on(store.open(&user("ann"), &name("Lists")));
                tell.send((made.is_ok(), found.is_ok())).unwrap();
            })
        })
        .collect();
    thread::sleep(Duration::from_millis(100));
    let last = hold(&store);
    drop(first);
    assert_eq!(told.recv_timeout(Duration::from_millis(200)), Err(RecvTimeoutError::Timeout));
    drop(last);
    makers.into_iter().for_each(|maker| maker.join().unwrap());
    let mut ends: Vec<_> = told.try_iter().collect();
    ends.sort_unstable();
    assert_eq!(ends, [(false, true), (true, true)]);
}
