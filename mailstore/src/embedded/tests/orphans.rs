//! Bodies that nothing refers to, as restores of earlier versions brought them back.

use super::*;
use crate::{QueueEntry, Undelete};

/// Octets that need more than one chunk.
const LARGE: usize = 300_000;

fn check(store: &Embedded, repair: bool) -> Vec<Finding> {
    block_on(store.check(repair, &mut |_| {})).unwrap().findings
}

/// Copies the chunks of bodies under other numbers, which nobody has, as if they had been there before.
fn bring_back(store: &Embedded, bodies: Range<u64>, octets: &[u8]) {
    let database = &store.shared.core().unwrap().database;
    for number in bodies {
        for (index, part) in octets.chunks(body::CHUNK).enumerate() {
            let index = u32::try_from(index).unwrap();
            let mut chunk = body::empty_chunk(part.len());
            chunk.extend_from_slice(part);
            assert_eq!(chunk::Packing::default().pack(number, index, &mut chunk), None);
            database.bodies.insert(body::key(number, index), chunk.freeze()).unwrap();
        }
    }
}

fn orphans(found: &[Finding]) -> Vec<(&str, bool)> {
    let orphans = found.iter().filter(|found| found.what.contains("bodies that nothing refers to"));
    orphans.map(|found| (&*found.what, found.repaired)).collect()
}

#[test]
fn bodies_that_nothing_refers_to_go_and_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let options = || Options { undelete: Duration::from_secs(1_000), ..Options::default() };
    let store = Embedded::open(directory.path(), options()).unwrap();
    let large = vec![b'x'; LARGE];
    // Each kind of what may refer to a body: a message, a copy, an entry of the queue, an expunged message.
    block_on(deliver(&store, "alice", &large));
    let expunged = block_on(deliver(&store, "alice", b"expunged"));
    let (mailbox, _) = inbox(&store, "alice");
    block_on(store.expunge(&mailbox, &Expunge::Exactly(expunged.into()))).unwrap();
    let entry = QueueEntry::new("1D", mailwright_mail_model::ReversePath::Null, "b.example", 6);
    let batch = Batch::to([]).with_queue(vec![entry]);
    let queued = block_on(async { upload(&store, b"queued").await.commit_batch(&batch).await }).unwrap();
    // More than are kept in mind at a time, before, among and behind those that are needed.
    for _ in 0..20 {
        block_on(deliver(&store, "bob", b"among them"));
    }
    for _ in 0..3 {
        let number = store.shared.core().unwrap().identity().unwrap();
        bring_back(&store, number..number + 1, &large);
    }
    for _ in 0..20 {
        block_on(deliver(&store, "bob", b"behind them"));
    }
    bring_back(&store, 1 << 40..(1 << 40) + 12, b"small");
    // And what is being delivered: its beginning is written, and nothing refers to it yet.
    let mut under_way = block_on(upload(&store, &large));

    let told = format!("15 bodies that nothing refers to, {} octets", 3 * LARGE + 12 * 5);
    for _ in 0..2 {
        assert_eq!(orphans(&check(&store, false)), [(&*told, false)]);
    }
    let before = rows(&store.shared.core().unwrap().database.bodies);
    let mut steps = Vec::new();
    let report = block_on(store.check(true, &mut |at| steps.push((at.step, at.rows)))).unwrap();
    assert_eq!(orphans(&report.findings), [(&*told, true)]);
    assert!(steps.contains(&("bodies that nothing refers to", 15)), "{steps:?}");
    assert_eq!(rows(&store.shared.core().unwrap().database.bodies), before - 3 * 2 - 12);
    assert_eq!(check(&store, false), []);

    block_on(under_way.commit(&[target("carol")])).unwrap();
    assert_eq!(read(&store, &first(&store, "carol")).unwrap(), large);
    assert_eq!(read(&store, &first(&store, "alice")).unwrap(), large);
    let (mailbox, snapshot) = inbox(&store, "bob");
    assert_eq!(snapshot.len(), 40);
    assert!(snapshot.messages().all(|message| read(&store, &mailbox.message(message)).is_ok()));
    let kept = block_on(store.expunged_messages(&user("alice"))).unwrap();
    assert_eq!(kept.len(), 1);
    let entry = block_on(store.entry(queued.queued[0])).unwrap().unwrap();
    assert_eq!(block_on(store.octets(&entry, 0..6)).unwrap(), "queued");
    drop(under_way);
    drop(store);
    assert_eq!(check(&Embedded::open(directory.path(), options()).unwrap(), false), []);
}

#[test]
fn they_are_kept_while_something_cannot_be_read_that_they_may_belong_to() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_unpacked(directory.path());
    let uid = block_on(deliver(&store, "alice", b"whose row is damaged"));
    block_on(deliver(&store, "alice", b"whole"));
    {
        let core = store.shared.core().unwrap();
        let (key, value) = core.database.rows.iter().next().unwrap().into_inner().unwrap();
        core.database.rows.insert(key, &value[1..]).unwrap();
    }
    drop(store);
    let store = open_unpacked(directory.path());
    let before = rows(&store.shared.core().unwrap().database.bodies);
    // The row is set aside by the first, and known to be by the second.
    for _ in 0..2 {
        let found = check(&store, true);
        let [(what, false)] = orphans(&found)[..] else { panic!("{found:?}") };
        let why = "so they are kept (1 rows of messages, those that were set aside included)";
        assert!(what.starts_with("1 bodies") && what.ends_with(why), "{what}");
    }
    assert_eq!(rows(&store.shared.core().unwrap().database.bodies), before, "{uid}");
}
