//! Bodies that are compressed, beside those that are not.

use super::*;

fn compressing(directory: &Path) -> Embedded {
    Embedded::open(directory, Options { zstd: Some(3), ..Options::default() }).unwrap()
}

/// Three chunks and a bit of text that repeats itself now and then.
fn text() -> Vec<u8> {
    let line = |number: u32| format!("{number} {}\r\n", number.wrapping_mul(2_654_435_761) >> 20);
    let mut text: Vec<u8> =
        (0..).flat_map(|number| line(number).into_bytes()).take(3 * body::CHUNK + 17).collect();
    text.truncate(3 * body::CHUNK + 17);
    text
}

#[test]
fn it_conforms() {
    let directory = tempfile::tempdir().unwrap();
    block_on(conformance::check(&compressing(directory.path()))).unwrap();
}

#[test]
fn what_is_there_stays_readable_whatever_is_chosen() {
    let (directory, backup, restored) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let text = text();
    let store = open(directory.path());
    block_on(deliver(&store, "alice", &text));
    drop(store);
    let store = compressing(directory.path());
    block_on(deliver(&store, "alice", &text));
    block_on(deliver(&store, "alice", b"small"));
    let core = store.shared.core().unwrap();
    let database = &core.database;
    let stored = |number: u64| -> usize {
        database.bodies.prefix(number.to_be_bytes()).map(|entry| entry.into_inner().unwrap().1.len()).sum()
    };
    let (_, snapshot) = inbox(&store, "alice");
    let bodies: Vec<_> = snapshot.messages().map(|message| body::of(message).unwrap()).collect();
    assert_eq!(stored(bodies[0]), text.len() + 4 * body::CHUNK_HEAD);
    assert!(stored(bodies[1]) * 2 < text.len(), "{}", stored(bodies[1]));
    assert_eq!(stored(bodies[2]), 5 + body::CHUNK_HEAD);
    block_on(store.check(false, &mut |_| {})).map(|report| assert_eq!(report.findings, [])).unwrap();
    store.back_up(backup.path(), &mut |_| {}).unwrap();
    drop((core, store));
    restore(backup.path(), None, restored.path(), &mut |_| {}).unwrap();
    for place in [directory.path(), restored.path()] {
        let store = open(place);
        let (mailbox, snapshot) = inbox(&store, "alice");
        let messages: Vec<_> = snapshot.messages().map(|message| mailbox.message(message)).collect();
        for (message, expected) in messages.iter().zip([&text[..], &text, b"small"]) {
            assert_eq!(message.size, expected.len() as u64);
            assert_eq!(read(&store, message).unwrap(), expected);
        }
        for start in [0, 1, body::CHUNK - 1, body::CHUNK, 2 * body::CHUNK + 3, text.len() - 1] {
            let range = start as u64..start as u64 + 10;
            let octets = block_on(store.read(&messages[1], range)).unwrap();
            assert!(!octets.is_empty() && text[start..].starts_with(&octets), "{start}");
        }
        let report = block_on(store.check(false, &mut |_| {})).unwrap();
        assert_eq!((report.findings, report.octets), (Vec::new(), 2 * text.len() as u64 + 5));
    }
}

#[test]
fn a_damaged_chunk_names_its_message() {
    let directory = tempfile::tempdir().unwrap();
    let store = compressing(directory.path());
    block_on(deliver(&store, "alice", &text()));
    let message = first(&store, "alice");
    let key = body::key(row::number_of(message.object.unwrap()).unwrap(), 1);
    let core = store.shared.core().unwrap();
    let database = &core.database;
    let mut chunk = database.bodies.get(&key).unwrap().unwrap().to_vec();
    chunk[100] ^= 1;
    database.bodies.insert(key, chunk).unwrap();
    assert_eq!(read(&store, &message), Err(StoreError::Corrupt("UID 1 in INBOX of alice".into())));
    assert_eq!(block_on(store.read(&message, 0..10)).unwrap().len(), 10);
    let report = block_on(store.check(false, &mut |_| {})).unwrap();
    assert!(report.findings.iter().any(|found| found.what.contains("octets from 262144 on are damaged")));
}
