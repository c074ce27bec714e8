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

#[test]
fn a_hole_in_the_file_spares_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    {
        let store = open(directory.path());
        block_on(async {
            let mut upload = upload(&store, b"first").await;
            for _ in 1..2_000 {
                upload.next(&[target("alice")]).await.unwrap();
                upload.write(Bytes::from_static(b"next")).await.unwrap();
            }
            upload.commit(&[target("alice")]).await.unwrap();
        });
        store.shared.core().unwrap().database.rows.rotate_memtable_and_wait().unwrap();
    }
    // The rows lie in the largest table that is not of bodies or summaries; the octets in its middle are lost.
    let rows = {
        let store = open(directory.path());
        store.shared.core().unwrap().database.rows.path().to_owned()
    };
    let mut tables: Vec<_> =
        fs::read_dir(rows.join("tables")).unwrap().map(|entry| entry.unwrap().path()).collect();
    tables.sort_by_key(|path| fs::metadata(path).unwrap().len());
    let table = tables.last().unwrap();
    let mut octets = fs::read(table).unwrap();
    let middle = octets.len() / 3;
    octets[middle..middle + 8].iter_mut().for_each(|octet| *octet ^= 0xff);
    fs::write(table, octets).unwrap();
    let store = open(directory.path());
    let (_, snapshot) = inbox(&store, "alice");
    let lost = 2_000 - snapshot.len();
    assert!((1..500).contains(&lost), "{lost} of 2000 messages are not shown");
    assert!(!store.damage().is_empty());
    assert_eq!(snapshot.messages().last().unwrap().uid.get(), 2_000);
    block_on(deliver(&store, "alice", b"still taken"));
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
