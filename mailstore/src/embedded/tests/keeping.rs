//! Backups come back as they were; a check finds what is wrong.

use super::*;
use crate::{Annotated, QueueEntry};

/// A store with some of everything.
fn fill(store: &Embedded) {
    block_on(async {
        for number in 0..30_u32 {
            let name = if number % 3 == 0 { "bob" } else { "alice" };
            let mut upload =
                upload(store, format!("message {number}").repeat(number as usize * 900).as_bytes()).await;
            upload
                .relate(vec![Bytes::from(format!("{number}@example")), Bytes::from_static(b"root@example")]);
            let delivery = Arc::new(crate::Delivery::new("from@example", "to@example"));
            let to =
                [target(name).with_delivery(delivery), target("carol").with_unique_id(format!("u{number}"))];
            upload.commit(&to).await.unwrap();
        }
        let (mailbox, _) = inbox(store, "alice");
        store.create(&user("alice"), &name("Archive/2026"), None).await.unwrap();
        store.copy(&mailbox, &"1:5".parse().unwrap(), &name("Archive/2026")).await.unwrap();
        store.move_to(&mailbox, &"3".parse().unwrap(), &name("Archive")).await.unwrap();
        store.expunge(&mailbox, &Expunge::Exactly("4:6".parse().unwrap())).await.unwrap();
        store.subscribe(&user("alice"), &name("Archive")).await.unwrap();
        let place = Annotated::Mailbox { owner: user("alice"), name: name("Archive") };
        let entry = ("/shared/comment".parse().unwrap(), Some(Bytes::from_static(b"old")));
        store.annotate(&place, &user("alice"), &[entry]).await.unwrap();
        let entry = QueueEntry::new("1D", mailwright_mail_model::ReversePath::Null, "b.example", 7);
        let batch = Batch::to([target("alice")]).with_queue(vec![entry]);
        upload(store, b"queued").await.commit_batch(&batch).await.unwrap();
        store.table("accounts").unwrap().put(b"alice", b"secret").await.unwrap();
    });
}

/// The number of a keyspace, a key and a value.
type IndexRow = (u8, Vec<u8>, Vec<u8>);

fn index(store: &Embedded) -> Vec<IndexRow> {
    let mut rows = Vec::new();
    let core = store.shared.core().unwrap();
    let database = &core.database;
    for (number, keyspace) in database.index().into_iter().chain([(0, &database.bodies)]) {
        for entry in keyspace.iter() {
            let (key, value) = entry.into_inner().unwrap();
            // How often it was opened, and the numbers set aside, differ.
            if number != 1 {
                rows.push((number, key.to_vec(), value.to_vec()));
            }
        }
    }
    rows
}

/// The rows but for the numbers that go on from another place after a restore; and the mod-sequences among these, as they come.
fn without_numbers(rows: Vec<IndexRow>) -> (Vec<IndexRow>, Vec<u64>) {
    use crate::embedded::{header::Header, live, row};

    let (mut plain, mut modseqs) = (Vec::new(), Vec::new());
    for (number, key, value) in rows {
        let value = match number {
            2 => {
                let mut header = Header::decode(&key, &value).unwrap();
                modseqs.push(header.highest_modseq.get());
                (header.uid_next, header.highest_modseq) = (None, ModSeq::MIN);
                (header.history, header.history_since) = (0, ModSeq::ZERO);
                header.encode(&key)
            }
            3 => {
                let mut message = live::decode_row(b"", &key, &value).unwrap();
                modseqs.push(message.modseq.get());
                message.modseq = ModSeq::MIN;
                row::seal(&key, row::encode_message(&message))
            }
            // What was expunged is told by what is there.
            13 => continue,
            _ => value,
        };
        plain.push((number, key, value));
    }
    (plain, modseqs)
}

fn check(store: &Embedded, repair: bool) -> CheckReport {
    block_on(store.check(repair, &mut |_| {})).unwrap()
}

#[test]
fn a_restored_backup_is_no_different() {
    let (directory, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(directory.path());
    fill(&store);
    let first = store.back_up(backup.path(), &mut |_| {}).unwrap();
    // The first message is empty.
    assert_eq!((first.generation, first.chunks), (1, 30));
    let before = index(&store);
    block_on(deliver(&store, "bob", b"after the first backup"));
    let second = store.back_up(backup.path(), &mut |_| {}).unwrap();
    assert_eq!((second.generation, second.chunks), (2, 1));
    let after = index(&store);
    assert_ne!(before, after);
    for (generation, expected) in [(Some(1), before), (None, after)] {
        let target = tempfile::tempdir().unwrap();
        let report = restore(backup.path(), generation, target.path(), &mut |_| {}).unwrap();
        assert_eq!(report.generation, generation.unwrap_or(2));
        let restored = open(target.path());
        let (expected, before) = without_numbers(expected);
        let (found, after) = without_numbers(index(&restored));
        assert!(found == expected, "the rows are the same");
        let leaps: BTreeSet<_> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
        assert!(leaps.len() == 1 && leaps.iter().all(|leap| *leap >= 1 << 32), "{leaps:?}");
        assert_eq!(check(&restored, false).findings, []);
        block_on(deliver(&restored, "bob", b"life goes on"));
        drop(restored);
        assert_eq!(restore(backup.path(), None, target.path(), &mut |_| {}), Err(StoreError::Exists));
    }
}

#[test]
fn a_damaged_backup_is_refused() {
    let (directory, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(directory.path());
    fill(&store);
    store.back_up(backup.path(), &mut |_| {}).unwrap();
    for name in ["000001.index", "000001.bodies"] {
        let path = backup.path().join(name);
        let whole = fs::read(&path).unwrap();
        let mut broken = whole.clone();
        broken[whole.len() / 2] ^= 1;
        for octets in [&broken[..], &whole[..whole.len() - 20], &whole[..7]] {
            fs::write(&path, octets).unwrap();
            let target = tempfile::tempdir().unwrap();
            let restored = restore(backup.path(), None, target.path(), &mut |_| {});
            assert!(matches!(restored, Err(StoreError::Corrupt(_))), "{name}: {restored:?}");
        }
        fs::write(&path, whole).unwrap();
    }
}

/// What a check finds and no repair changes: octets that are gone, and what may be of the row that cannot be read.
fn cannot_be_helped(what: &str) -> bool {
    ["damaged", "bodies that nothing", "so the counts are kept"].iter().any(|part| what.contains(part))
}

#[test]
fn a_check_finds_and_repairs() {
    let directory = tempfile::tempdir().unwrap();
    {
        let store = open_unpacked(directory.path());
        fill(&store);
        let report = check(&store, false);
        assert_eq!(report.findings, []);
        assert!(report.messages > 60 && report.octets > 1_000_000, "{report:?}");
        let core = store.shared.core().unwrap();
        let database = &core.database;
        let spoil = |keyspace: &fjall::Keyspace, place: usize| {
            let (key, value) = keyspace.iter().nth(place).unwrap().into_inner().unwrap();
            let mut value = value.to_vec();
            let last = value.len() - 1;
            value[last] ^= 1;
            keyspace.insert(key, value).unwrap();
        };
        spoil(&database.rows, 7);
        spoil(&database.bodies, 3);
        spoil(&database.users, 0);
        spoil(&database.threads, 2);
        spoil(&database.references, 1);
        let key = name_key("carol", "INBOX");
        let mut header = Header::decode(&key, &database.names.get(&key).unwrap().unwrap()).unwrap();
        header.messages += 5;
        database.names.insert(&*key, header.encode(&key)).unwrap();
    }
    let store = open_unpacked(directory.path());
    let report = check(&store, false);
    let what =
        |report: &CheckReport| report.findings.iter().map(|found| found.what.clone()).collect::<Vec<_>>();
    assert!(report.findings.iter().all(|found| !found.repaired), "{:?}", what(&report));
    for part in [
        "its row cannot be read",
        "octets from 0 on are damaged",
        "usage",
        "threads",
        "references are counted",
        "carol INBOX: counts",
    ] {
        assert!(what(&report).iter().any(|what| what.contains(part)), "{part}: {:#?}", what(&report));
    }
    let report = check(&store, true);
    let left: Vec<_> =
        report.findings.iter().filter(|found| !found.repaired).map(|found| &found.what).collect();
    assert!(left.iter().all(|what| cannot_be_helped(what)), "{left:#?}");
    drop(store);
    let store = open_unpacked(directory.path());
    let rest = check(&store, true);
    let rest = what(&rest);
    assert!(rest.iter().all(|what| cannot_be_helped(what)), "{rest:#?}");
    assert_eq!(store.shared.core().unwrap().database.lost.iter().count(), 1);
}
