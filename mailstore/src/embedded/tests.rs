use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mailwright_mail_model::{DateTime, ModSeq, Uid};

use super::*;
use crate::{AnyStore, Batch, CommitError, Expunge, FlagChange, Target, Upload, block_on, conformance};

mod backups;
#[cfg(feature = "zstd")]
mod compressed;
mod damage;
mod damaged_backups;
mod described;
#[cfg(feature = "encryption")]
mod encrypted;
mod groups;
mod in_place;
#[cfg(feature = "fulltext")]
mod indexed;
mod keeping;
mod lost;
mod moments;
mod noted;
mod orphans;
mod packed;
mod swept;
mod together;
mod told;
mod whole;

fn user(name: &str) -> User {
    User::new(name).unwrap()
}

fn name(name: &str) -> MailboxName {
    MailboxName::new(name).unwrap()
}

fn open(directory: &Path) -> Embedded {
    Embedded::open(directory, Options::default()).unwrap()
}

/// The same where no messages are packed: for tests that damage, behind the store's back, what else tells of them.
fn open_unpacked(directory: &Path) -> Embedded {
    Embedded::open(directory, Options { pack_from: u32::MAX, ..Options::default() }).unwrap()
}

fn target(name: &str) -> Target {
    Target::new(user(name), MailboxName::inbox(), DateTime::new(0, 0).unwrap())
}

async fn upload(store: &Embedded, octets: &[u8]) -> Upload {
    let mut upload = store.begin(None).await.unwrap();
    upload.write(Bytes::copy_from_slice(octets)).await.unwrap();
    upload
}

async fn deliver(store: &Embedded, name: &str, octets: &[u8]) -> Uid {
    upload(store, octets).await.commit(&[target(name)]).await.unwrap()[0].uid
}

fn inbox(store: &Embedded, name: &str) -> (MailboxRef, Arc<Snapshot>) {
    let snapshot = block_on(store.open(&user(name), &MailboxName::inbox())).unwrap();
    (MailboxRef::new(user(name), MailboxName::inbox(), &snapshot), snapshot)
}

fn read(store: &Embedded, message: &MessageRef) -> Result<Vec<u8>> {
    let mut octets = Vec::new();
    while (octets.len() as u64) < message.size {
        octets.extend_from_slice(&block_on(store.read(message, octets.len() as u64..message.size))?);
    }
    Ok(octets)
}

fn first(store: &Embedded, name: &str) -> MessageRef {
    let (mailbox, snapshot) = inbox(store, name);
    mailbox.message(snapshot.messages().next().unwrap())
}

pub(super) fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn rows(keyspace: &fjall::Keyspace) -> usize {
    keyspace.len().unwrap()
}

#[test]
fn it_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { undelete: Duration::from_secs(1_000), ..Options::default() };
    let store = Embedded::open(directory.path(), options).unwrap();
    let report = block_on(conformance::check(&store)).unwrap();
    assert_eq!(report.skipped, ["search"]);
}

#[test]
fn it_conforms_with_its_type_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let store = AnyStore::new(open(directory.path()));
    let report = block_on(conformance::check(&store)).unwrap();
    assert_eq!(report.skipped, ["undelete", "search"]);
}

#[test]
fn everything_is_there_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let before = {
        let store = open(directory.path());
        for number in 0..10 {
            block_on(deliver(&store, "alice", format!("message {number}").as_bytes()));
        }
        let (mailbox, _) = inbox(&store, "alice");
        let change = FlagChange::new(crate::FlagOperation::Add, "(\\Deleted $Junk)".parse().unwrap());
        block_on(store.store_flags(&mailbox, &"2:3,7".parse().unwrap(), &change)).unwrap();
        block_on(store.expunge(&mailbox, &Expunge::Exactly("3,10".parse().unwrap()))).unwrap();
        inbox(&store, "alice").1
    };
    let store = open(directory.path());
    let (mailbox, after) = inbox(&store, "alice");
    assert_eq!(after.messages().collect::<Vec<_>>(), before.messages().collect::<Vec<_>>());
    assert_eq!(*after, *before);
    assert_eq!(after.uid_next(), Uid::new(11));
    let status = block_on(store.status(&user("alice"), &MailboxName::inbox())).unwrap();
    assert_eq!(Status { recent: None, ..status }, Status::from(&*after));
    let expunged = block_on(store.expunged(&mailbox, ModSeq::ZERO)).unwrap().unwrap();
    assert_eq!(expunged.to_string(), "3,10");
    assert_eq!(block_on(deliver(&store, "alice", b"next")), Uid::new(11).unwrap());
    assert_eq!(read(&store, &mailbox.message(after.message(Uid::MIN).unwrap())).unwrap(), b"message 0");
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let large = vec![b'L'; 3 * body::CHUNK + 17];
    for number in 0..40_u8 {
        let octets = if number % 10 == 9 { large.clone() } else { vec![number; 5_000] };
        block_on(deliver(&store, "alice", &octets));
        if number % 8 != 0 {
            continue;
        }
        // What the disk holds at this moment is what a killed process would leave.
        let killed = tempfile::tempdir().unwrap();
        copy_directory(directory.path(), killed.path());
        let copy = open(killed.path());
        let (mailbox, snapshot) = inbox(&copy, "alice");
        assert_eq!(snapshot.len(), u32::from(number) + 1);
        for (message, number) in snapshot.messages().zip(0_u8..) {
            let octets = read(&copy, &mailbox.message(message)).unwrap();
            assert_eq!(octets, if number % 10 == 9 { large.clone() } else { vec![number; 5_000] });
        }
    }
}

#[test]
fn deliveries_from_many_threads_have_each_uid_once() {
    const THREADS: usize = 32;
    const EACH: usize = 25;
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    // Open from the start, so that the snapshot is kept up to date all along.
    let (_, _held) = inbox(&store, "alice");
    let uids: Vec<Uid> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let store = store.clone();
                scope.spawn(move || {
                    let deliver = |number| {
                        let uid = block_on(deliver(&store, "alice", format!("{thread} {number}").as_bytes()));
                        assert!(inbox(&store, "alice").1.message(uid).is_some(), "seen once acknowledged");
                        uid
                    };
                    (0..EACH).map(deliver).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(uids.iter().collect::<BTreeSet<_>>().len(), THREADS * EACH);
    let check = |store: &Embedded| {
        let (mailbox, snapshot) = inbox(store, "alice");
        assert_eq!(snapshot.uids(), uids.iter().copied().collect());
        let octets: BTreeSet<_> =
            snapshot.messages().map(|message| read(store, &mailbox.message(message)).unwrap()).collect();
        assert_eq!(octets.len(), THREADS * EACH);
    };
    check(&store);
    drop(store);
    check(&open(directory.path()));
}

#[test]
fn flags_and_deliveries_at_once_leave_what_the_rows_say() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    block_on(deliver(&store, "alice", b"first"));
    let (mailbox, _) = inbox(&store, "alice");
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (store, mailbox) = (store.clone(), mailbox.clone());
            scope.spawn(move || {
                for number in 0..20 {
                    let uid = block_on(deliver(&store, "alice", b"text"));
                    let flags = if number % 2 == 0 { "(\\Seen)" } else { "(\\Deleted)" };
                    let change = FlagChange::new(crate::FlagOperation::Add, flags.parse().unwrap());
                    block_on(store.store_flags(&mailbox, &uid.into(), &change)).unwrap();
                    if thread == 0 {
                        block_on(store.expunge(&mailbox, &Expunge::Deleted)).unwrap();
                    }
                }
            });
        }
    });
    let (_, live) = inbox(&store, "alice");
    let status = block_on(store.status(&user("alice"), &MailboxName::inbox())).unwrap();
    assert_eq!(Status { recent: None, ..status }, Status::from(&*live));
    drop(store);
    assert_eq!(*inbox(&open(directory.path()), "alice").1, *live);
}

#[test]
fn an_upload_cut_short_is_collected() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let pending = block_on(upload(&store, &vec![b'x'; 5 * body::CHUNK + 1]));
    block_on(deliver(&store, "alice", b"makes it all last"));
    let killed = tempfile::tempdir().unwrap();
    copy_directory(directory.path(), killed.path());
    let core = store.shared.core().unwrap();
    let database = &core.database;
    assert_eq!((rows(&database.uploads), rows(&database.bodies)), (1, 6));
    let copy = open(killed.path());
    let core = copy.shared.core().unwrap();
    let database = &core.database;
    assert_eq!((rows(&database.uploads), rows(&database.bodies)), (0, 1));
    assert_eq!(inbox(&copy, "alice").1.len(), 1);
    drop(pending);
}

#[test]
fn bodies_go_with_their_last_message_after_the_grace() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { grace: Duration::ZERO, ..Options::default() };
    let store = Embedded::open(directory.path(), options).unwrap();
    let large = vec![b'x'; 2 * body::CHUNK];
    let both = [target("alice"), target("bob")];
    block_on(async { upload(&store, &large).await.commit(&both).await.unwrap() });
    let collect = || {
        // In this group's own words: as the committer does when it has nothing else to do.
        block_on(store.shared.committer.submit(|group| {
            while group.collect()? {}
            Ok::<(), StoreError>(())
        }))
        .unwrap();
    };
    let expunge = |name| {
        let (mailbox, snapshot) = inbox(&store, name);
        block_on(store.expunge(&mailbox, &Expunge::Exactly(snapshot.uids()))).unwrap();
    };
    let core = store.shared.core().unwrap();
    let database = &core.database;
    expunge("alice");
    collect();
    assert_eq!((rows(&database.bodies), rows(&database.references)), (2, 0));
    assert_eq!(read(&store, &first(&store, "bob")).unwrap(), large);
    let bob = first(&store, "bob");
    block_on(store.create(&user("bob"), &MailboxName::new("box").unwrap(), None)).unwrap();
    let (mailbox, snapshot) = inbox(&store, "bob");
    block_on(store.move_to(&mailbox, &snapshot.uids(), &MailboxName::new("box").unwrap())).unwrap();
    collect();
    assert_eq!(rows(&database.bodies), 2);
    block_on(store.delete(&user("bob"), &MailboxName::new("box").unwrap())).unwrap();
    collect();
    collect();
    assert_eq!((rows(&database.bodies), rows(&database.rows), rows(&database.trash)), (0, 0, 0));
    assert_eq!(read(&store, &bob), Err(StoreError::NotFound));
}

#[test]
fn an_expunged_message_can_be_read_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    block_on(deliver(&store, "alice", b"still here"));
    let (mailbox, snapshot) = inbox(&store, "alice");
    let message = first(&store, "alice");
    block_on(store.expunge(&mailbox, &Expunge::Exactly(snapshot.uids()))).unwrap();
    assert_eq!(read(&store, &message).unwrap(), b"still here");
}

#[test]
fn a_corrupt_chunk_names_its_message_and_spares_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    block_on(deliver(&store, "alice", b"good"));
    block_on(deliver(&store, "alice", b"bad!"));
    let (mailbox, snapshot) = inbox(&store, "alice");
    let messages: Vec<_> = snapshot.messages().map(|message| mailbox.message(message)).collect();
    let core = store.shared.core().unwrap();
    let database = &core.database;
    let key = body::key(row::number_of(messages[1].object.unwrap()).unwrap(), 0);
    let mut chunk = database.bodies.get(&key).unwrap().unwrap().to_vec();
    *chunk.last_mut().unwrap() ^= 1;
    database.bodies.insert(key.clone(), chunk).unwrap();
    let corrupt = StoreError::Corrupt("UID 2 in INBOX of alice".into());
    assert_eq!(read(&store, &messages[1]), Err(corrupt.clone()));
    assert_eq!(read(&store, &messages[0]).unwrap(), b"good");
    database.bodies.remove(key).unwrap();
    assert_eq!(read(&store, &messages[1]), Err(corrupt));
}

#[test]
fn a_second_opening_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let Err(StoreError::Unavailable(text)) = Embedded::open(directory.path(), Options::default()) else {
        panic!("opened twice")
    };
    assert!(text.contains("has it open"), "{text}");
    drop(store);
    open(directory.path());
}

#[test]
fn after_a_failed_write_nothing_is_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    block_on(deliver(&store, "alice", b"before"));
    let mut pending = block_on(upload(&store, b"pending"));
    store.shared.core().unwrap().fail(&StoreError::Unavailable("disk on fire".into()));
    let error = block_on(pending.commit(&[target("alice")])).unwrap_err();
    assert_eq!(error.error, StoreError::ReadOnly("store unavailable: disk on fire".into()));
    assert!(block_on(store.begin(None)).is_err());
    assert_eq!(read(&store, &first(&store, "alice")).unwrap(), b"before");
}

#[test]
fn uid_validity_rises_over_reopening_and_deletion() {
    let directory = tempfile::tempdir().unwrap();
    let name = MailboxName::new("box").unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let store = open(directory.path());
        for _ in 0..2 {
            block_on(store.create(&user("alice"), &name, None)).unwrap();
            seen.push(block_on(store.open(&user("alice"), &name)).unwrap().uid_validity());
            block_on(store.delete(&user("alice"), &name)).unwrap();
        }
    }
    assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
}

#[test]
fn idle_mailboxes_are_forgotten_and_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { snapshots: 20_000, ..Options::default() };
    let store = Embedded::open(directory.path(), options).unwrap();
    let held = {
        block_on(deliver(&store, "held", b"held"));
        inbox(&store, "held").1
    };
    for number in 0..100 {
        let name = format!("user-{number}");
        for _ in 0..3 {
            block_on(deliver(&store, &name, b"text"));
        }
        assert_eq!(inbox(&store, &name).1.len(), 3);
    }
    let cached = |name: &str| store.shared.lasting.live.cached(&name_key(name, "INBOX")).is_some();
    assert!(cached("held"), "somebody holds its snapshot");
    assert!(!cached("user-0"));
    assert_eq!(held.len(), 1);
    for number in 0..100 {
        assert_eq!(inbox(&store, &format!("user-{number}")).1.len(), 3);
    }
}

#[test]
fn a_long_history_is_halved_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    block_on(deliver(&store, "alice", b"text"));
    let (mailbox, _) = inbox(&store, "alice");
    let key = name_key("alice", "INBOX");
    let start = inbox(&store, "alice").1.highest_modseq();
    let operation = move |group: &mut committer::Group<'_>| {
        for _ in 0..8_192 {
            let modseq = group.find(&key)?.ok_or(StoreError::NotFound)?.header()?.next_modseq()?;
            group.forget_messages(&key, &[], modseq)?;
            group.remember(&key, modseq, &Uid::MIN.into())?;
        }
        Ok::<(), StoreError>(())
    };
    block_on(store.shared.committer.submit(operation)).unwrap();
    assert_eq!(block_on(store.expunged(&mailbox, start)).unwrap(), Some(Uid::MIN.into()));
    let (mailbox, snapshot) = inbox(&store, "alice");
    block_on(store.expunge(&mailbox, &Expunge::Exactly(snapshot.uids()))).unwrap();
    assert_eq!(block_on(store.expunged(&mailbox, start)).unwrap(), None);
    assert_eq!(rows(&store.shared.core().unwrap().database.expunged), 8_192 / 2 + 1);
}

#[test]
fn tables_keep_rows_apart_and_for_good() {
    let directory = tempfile::tempdir().unwrap();
    {
        let store = open(directory.path());
        let (users, domains) = (store.table("users").unwrap(), store.table("use").unwrap());
        block_on(users.put_new(b"alice", b"1")).unwrap();
        assert_eq!(block_on(users.put_new(b"alice", b"2")), Err(StoreError::Exists));
        block_on(users.put(b"bob", b"")).unwrap();
        block_on(domains.put(b"rsalice", b"3")).unwrap();
        assert_eq!(block_on(users.delete(b"carol")), Ok(false));
        assert!(store.table("").is_err());
        assert!(block_on(users.put(&[b'k'; 256], b"")).is_err());
    }
    let store = open(directory.path());
    let users = store.table("users").unwrap();
    let found: Vec<_> =
        users.scan(b"").unwrap().into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    assert_eq!(found, [(b"alice".to_vec(), b"1".to_vec()), (b"bob".to_vec(), Vec::new())]);
    assert_eq!(block_on(users.delete(b"bob")), Ok(true));
    assert_eq!(users.get(b"bob").unwrap(), None);
    assert_eq!(store.table("use").unwrap().scan(b"").unwrap().len(), 1);
}

#[test]
fn rows_change_at_the_moment_of_a_commit_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let table = store.table("ledger").unwrap();
    let commit = |batch: Batch| {
        block_on(async {
            let mut upload = upload(&store, b"text").await;
            upload.commit_batch(&batch).await.map_err(|failed| failed.error)
        })
    };
    let rows = |key: &[u8]| vec![table.row(key, Some(b"1"))];
    let mut nowhere = target("alice");
    nowhere.mailbox = name("nowhere");
    assert!(commit(Batch::to([nowhere]).with_rows(rows(b"a"))).is_err());
    assert_eq!(table.get(b"a").unwrap(), None);
    assert!(commit(Batch::to([target("alice")]).with_rows(rows(&[b'x'; 256]))).is_err());
    commit(Batch::to([target("alice")]).with_rows(rows(b"a"))).unwrap();
    assert_eq!(table.get(b"a").unwrap().as_deref(), Some(&b"1"[..]));
    // A message that nobody gets leaves its row all the same.
    commit(Batch::default().with_rows(rows(b"b"))).unwrap();
    assert_eq!(table.scan(b"").unwrap().len(), 2);
    block_on(table.change(vec![table.row(b"a", None), table.row(b"c", Some(b"2"))])).unwrap();
    let keys: Vec<_> = table.scan(b"").unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [&b"b"[..], b"c"]);
    // A condition is about what was there before, and keeps everything else from being done.
    let only = |value: &[u8], above: &[u8]| {
        vec![table.row(b"only", Some(value)).unless_above(above), table.row(b"too", Some(value))]
    };
    let twice = [only(b"5", b""), only(b"6", b"")].concat();
    commit(Batch::to([target("alice")]).with_rows(twice)).unwrap();
    let refused = commit(Batch::to([target("alice")]).with_rows(only(b"9", b"5")));
    assert_eq!(refused.map(|_| ()), Err(StoreError::Conflict));
    assert_eq!(block_on(table.change(only(b"9", b"5"))), Err(StoreError::Conflict));
    let held = |key: &[u8]| table.get(key).unwrap().map(|value| value.to_vec());
    assert_eq!((held(b"only"), held(b"too")), (Some(b"6".to_vec()), Some(b"6".to_vec())));
    commit(Batch::to([target("alice")]).with_rows(only(b"7", b"6"))).unwrap();
    assert_eq!(held(b"only"), Some(b"7".to_vec()));
    let about = vec![table.row(b"d", Some(b"1")).unless_above(b"").of_target(0)];
    let refused = commit(Batch::to([target("alice")]).with_rows(about));
    assert!(matches!(refused, Err(StoreError::Invalid(_))));
}
