//! What is damaged, and what is done about it.

use super::*;

#[test]
fn a_corrupt_row_of_a_message_spares_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    {
        let store = open(directory.path());
        for number in 0..5 {
            block_on(deliver(&store, "alice", format!("message {number}").as_bytes()));
        }
        let core = store.shared.core().unwrap();
        let database = &core.database;
        let entry = database.rows.iter().nth(2).unwrap();
        let (key, value) = entry.into_inner().unwrap();
        let mut value = value.to_vec();
        value[3] ^= 1;
        database.rows.insert(key, value).unwrap();
    }
    let store = open(directory.path());
    let (_, snapshot) = inbox(&store, "alice");
    assert_eq!(snapshot.uids().to_string(), "1:2,4:5");
    let damage = store.damage();
    assert_eq!(damage.len(), 1);
    assert!(damage[0].contains("UID 3 in \"alice\\0INBOX\""), "{damage:?}");
    block_on(deliver(&store, "alice", b"still taken"));
    assert_eq!(inbox(&store, "alice").1.uids().to_string(), "1:2,4:6");
}

/// Delivers 2,000 messages to alice, and writes their rows to a table.
fn fill_table(store: &Embedded) {
    block_on(async {
        let mut upload = upload(store, b"first").await;
        for _ in 1..2_000 {
            upload.next(&[target("alice")]).await.unwrap();
            upload.write(Bytes::from_static(b"next")).await.unwrap();
        }
        upload.commit(&[target("alice")]).await.unwrap();
    });
    store.shared.core().unwrap().database.rows.rotate_memtable_and_wait().unwrap();
}

/// Damages octets in the middle of the largest of the tables with the rows of messages.
fn make_hole(directory: &Path) {
    let rows = open_unpacked(directory).shared.core().unwrap().database.rows.path().to_owned();
    let mut tables: Vec<_> =
        fs::read_dir(rows.join("tables")).unwrap().map(|entry| entry.unwrap().path()).collect();
    tables.sort_by_key(|path| fs::metadata(path).unwrap().len());
    let table = tables.last().unwrap();
    let mut octets = fs::read(table).unwrap();
    let middle = octets.len() / 3;
    octets[middle..middle + 8].iter_mut().for_each(|octet| *octet ^= 0xff);
    fs::write(table, octets).unwrap();
}

fn usage(store: &Embedded) -> crate::QuotaUsage {
    block_on(store.quota_of(&user("alice"))).unwrap().usage
}

#[test]
fn a_hole_in_the_file_spares_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    fill_table(&open_unpacked(directory.path()));
    make_hole(directory.path());
    let store = open_unpacked(directory.path());
    let (_, snapshot) = inbox(&store, "alice");
    let lost = 2_000 - snapshot.len();
    assert!((1..500).contains(&lost), "{lost} of 2000 messages are not shown");
    assert!(!store.damage().is_empty());
    assert_eq!(snapshot.messages().last().unwrap().uid.get(), 2_000);
    block_on(deliver(&store, "alice", b"still taken"));
    // A check goes on behind it, but nothing is made of sums that lack what is in it.
    let before = (usage(&store), block_on(store.status(&user("alice"), &MailboxName::inbox())).unwrap());
    let report = block_on(store.check(true, &mut |_| {})).unwrap();
    assert_eq!(report.messages, 2_001 - u64::from(lost), "{report:?}");
    let found: Vec<_> = report.findings.iter().map(|found| &*found.what).collect();
    assert!(found.iter().any(|what| what.starts_with("messages: rows between")), "{found:#?}");
    assert!(found.iter().all(|what| !what.contains("usage") && !what.contains("counts")), "{found:#?}");
    assert!(report.findings.iter().all(|found| !found.repaired), "{found:#?}");
    let after = (usage(&store), block_on(store.status(&user("alice"), &MailboxName::inbox())).unwrap());
    assert_eq!(after, before);
}

#[test]
fn what_lies_in_a_hole_is_taken_from_packed_messages() {
    let directory = tempfile::tempdir().unwrap();
    {
        let store = open(directory.path());
        fill_table(&store);
        assert_eq!(inbox(&store, "alice").1.len(), 2_000);
    }
    make_hole(directory.path());
    let store = open(directory.path());
    let report = block_on(store.check(true, &mut |_| {})).unwrap();
    let rescued = report.findings.iter().filter(|found| found.repaired).count();
    assert!((1..500).contains(&rescued), "{rescued}: {:#?}", report.findings);
    assert_eq!(report.messages, 2_000);
    // A change takes the packed ones back.
    let (mailbox, _) = inbox(&store, "alice");
    let change = FlagChange::new(crate::FlagOperation::Add, "(\\Seen)".parse().unwrap());
    block_on(store.store_flags(&mailbox, &Uid::MIN.into(), &change)).unwrap();
    drop(store);
    assert_eq!(inbox(&open(directory.path()), "alice").1.len(), 2_000);
}

#[test]
fn the_body_of_a_row_set_aside_stays() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { grace: Duration::ZERO, ..Options::default() };
    let store = Embedded::open(directory.path(), options).unwrap();
    let both = [target("alice"), target("bob")];
    block_on(async { upload(&store, b"shared").await.commit(&both).await.unwrap() });
    let core = store.shared.core().unwrap();
    let database = &core.database;
    let (key, value) = database.rows.iter().next().unwrap().into_inner().unwrap();
    let mut value = value.to_vec();
    value[3] ^= 1;
    database.rows.insert(key, value).unwrap();
    for _ in 0..2 {
        let report = block_on(store.check(true, &mut |_| {})).unwrap();
        let found: Vec<_> = report.findings.iter().map(|found| &*found.what).collect();
        assert!(found.iter().any(|what| what.contains("1 bodies are shared by fewer")), "{found:#?}");
    }
    assert_eq!(rows(&database.lost), 1);
    let (mailbox, snapshot) = inbox(&store, "bob");
    block_on(store.expunge(&mailbox, &Expunge::Exactly(snapshot.uids()))).unwrap();
    block_on(store.shared.committer.submit(|group| {
        while group.collect()? {}
        Ok::<(), StoreError>(())
    }))
    .unwrap();
    assert_eq!(rows(&database.bodies), 1, "the row may be of this one");
}

/// Damages one octet of `text` where the database keeps bodies.
fn damage_body(directory: &Path, text: &[u8]) {
    let bodies = open(directory).shared.core().unwrap().database.bodies.path().join("blobs");
    for entry in fs::read_dir(bodies).unwrap() {
        let path = entry.unwrap().path();
        let mut octets = fs::read(&path).unwrap();
        if let Some(place) = octets.windows(text.len()).position(|part| part == text) {
            octets[place] ^= 1;
            fs::write(path, octets).unwrap();
            return;
        }
    }
    panic!("the body is in no file");
}

#[test]
fn a_damaged_octet_of_a_body_costs_that_body_alone() {
    let directory = tempfile::tempdir().unwrap();
    let text = |number: u32| format!("body {number} ").repeat(1_000).into_bytes();
    {
        let store = open(directory.path());
        for number in 0..9 {
            let to = [target("alice"), target("bob")];
            let to = if number == 4 { &to[..] } else { &to[..1] };
            block_on(async { upload(&store, &text(number)).await.commit(to).await.unwrap() });
        }
        store.shared.core().unwrap().database.bodies.rotate_memtable_and_wait().unwrap();
    }
    damage_body(directory.path(), &text(4));
    let store = open(directory.path());
    let report = block_on(store.check(false, &mut |_| {})).unwrap();
    assert_eq!(report.octets, 9 * text(0).len() as u64, "what is behind it was looked at");
    assert_eq!(report.findings.len(), 1, "{report:?}");
    let what = &report.findings[0].what;
    assert!(what.starts_with("UID 5 in alice INBOX, UID 1 in bob INBOX: octets from 0 on"), "{what}");

    let (backup, restored) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (generation, chunks) in [(1, 8), (2, 0)] {
        let report = store.back_up(backup.path(), &mut |_| {}).unwrap();
        assert_eq!((report.generation, report.chunks), (generation, chunks));
        assert_eq!(report.missing.len(), 2, "{report:?}");
        assert!(report.missing[0].starts_with("UID 1 in bob INBOX: its body"), "{report:?}");
        assert!(report.missing[1].starts_with("UID 5 in alice INBOX: its body"), "{report:?}");
    }
    restore(backup.path(), None, restored.path(), &mut |_| {}).unwrap();
    let restored = open(restored.path());
    let (mailbox, snapshot) = inbox(&restored, "alice");
    for (number, message) in snapshot.messages().enumerate() {
        let octets = read(&restored, &mailbox.message(message));
        match number {
            4 => assert!(matches!(octets, Err(StoreError::Corrupt(_))), "{octets:?}"),
            _ => assert!(octets.unwrap() == text(number as u32)),
        }
    }
    block_on(deliver(&store, "alice", b"still taken"));
}

#[test]
fn all_messages_are_named_that_lack_the_same_octets() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let everybody: Vec<_> = (10..33).map(|number| target(&format!("user{number}"))).collect();
    block_on(async { upload(&store, b"of three").await.commit(&everybody[..3]).await.unwrap() });
    block_on(async { upload(&store, b"of all").await.commit(&everybody).await.unwrap() });
    let database = &store.shared.core().unwrap().database;
    let chunks: Vec<_> = database.bodies.iter().map(|chunk| chunk.key().unwrap()).collect();
    chunks.into_iter().for_each(|chunk| database.bodies.remove(chunk).unwrap());
    let report = block_on(store.check(false, &mut |_| {})).unwrap();
    let mut found: Vec<_> = report.findings.iter().map(|found| &*found.what).collect();
    found.sort_by_key(|what| what.len());
    let three =
        "UID 1 in user10 INBOX, UID 1 in user11 INBOX, UID 1 in user12 INBOX: of 8 octets 0 are there";
    assert!(found.len() == 2 && found[0] == three, "{found:#?}");
    assert!(found[1].ends_with(", and 3 more: of 6 octets 0 are there"), "{found:#?}");
    assert_eq!(found[1].matches("UID").count(), 20);
}

#[test]
fn without_room_messages_are_refused_for_the_time_being() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    let options = Options { reserve: u64::MAX, ..Options::default() };
    let store = Embedded::open(directory.path(), options).unwrap();
    let error = block_on(store.begin(None)).unwrap_err();
    assert!(matches!(error, StoreError::Full(_)), "{error:?}");
    assert_eq!(error.smtp_status(), (452, "4.3.1"));
    assert_eq!(store.failure(), None);
}
