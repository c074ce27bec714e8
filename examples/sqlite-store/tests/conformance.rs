//! The store does what every store must.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use bytes::Bytes;
use mailwright_mail_model::{DateTime, MailboxName};
use mailwright_mailstore::memory::Memory;
use mailwright_mailstore::{SharedQueue, Store, Target, User, WithQueue, Write, block_on, conformance};
use mailwright_sqlite_store::SqliteStore;

#[test]
fn it_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("mail.db")).unwrap();
    let report = block_on(conformance::check(&store)).unwrap();
    assert!(!report.skipped.contains(&"writer") && !report.skipped.contains(&"folders"), "{report:?}");
    assert!(!report.skipped.contains(&"watch") && report.passed.len() >= 29, "{report:?}");
}

/// Its uploads cannot be read back, so that what may be for the queue goes there as it comes.
#[test]
fn it_conforms_beside_a_queue() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("mail.db")).unwrap();
    let queue = block_on(SharedQueue::open(Memory::new())).unwrap();
    let report = block_on(conformance::check(&WithQueue::new(store, queue))).unwrap();
    assert!(!report.skipped.contains(&"spool") && report.skipped.contains(&"several"), "{report:?}");
}

#[test]
fn what_was_committed_is_there_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mail.db");
    let (alice, inbox) = (User::new("alice").unwrap(), MailboxName::inbox());
    let arrived = DateTime::new(1_700_000_000, 60).unwrap();
    let store = SqliteStore::open(&path).unwrap();
    let mut upload = block_on(store.begin(None)).unwrap();
    block_on(upload.write(Bytes::from_static(b"kept"))).unwrap();
    block_on(upload.commit(&[Target::new(alice.clone(), inbox.clone(), arrived)])).unwrap();
    // Cut short: as a crash leaves it.
    let mut upload = block_on(store.begin(None)).unwrap();
    block_on(upload.write(Bytes::from(vec![b'x'; 600_000]))).unwrap();
    std::mem::forget(upload);
    let before = block_on(store.open(&alice, &inbox)).unwrap();
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    let after = block_on(store.open(&alice, &inbox)).unwrap();
    assert_eq!((after.uids(), after.uid_next()), (before.uids(), before.uid_next()));
    let bodies = rusqlite::Connection::open(&path).unwrap();
    let bodies: u32 = bodies.query_row("SELECT count(*) FROM body", [], |row| row.get(0)).unwrap();
    assert_eq!(bodies, 1);
}
