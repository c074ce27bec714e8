//! Mail that only a login opens, beside mail that everybody may read.

use super::*;
use crate::{Column, Delivery, QueueEntry, Summary, vault::MailKey};

const SECRET: &[u8] = b"swordfish";

/// A text of so many octets that nobody can have by chance.
fn text(octets: usize) -> Vec<u8> {
    "The eagle lands at midnight. ".bytes().cycle().take(octets).collect()
}

/// Whether the words are in any file below a directory.
fn is_on_disk(directory: &Path, words: &str) -> bool {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
        let found = |octets: Vec<u8>| String::from_utf8_lossy(&octets).contains(words);
        if path.is_dir() { is_on_disk(&path, words) } else { found(fs::read(path).unwrap()) }
    })
}

fn unlocked(store: &Embedded, name: &str, secret: &[u8]) -> User {
    block_on(store.unlock(&user(name), secret)).unwrap()
}

/// The messages of a user's INBOX, as they read them.
fn messages(store: &Embedded, reader: &User) -> Vec<MessageRef> {
    let snapshot = block_on(store.open(reader, &MailboxName::inbox())).unwrap();
    let mailbox = MailboxRef::new(reader.clone(), MailboxName::inbox(), &snapshot);
    snapshot.messages().map(|message| mailbox.message(message)).collect()
}

fn locked<T>(result: &Result<T>) -> bool {
    matches!(result, Err(StoreError::Locked(_)))
}

fn assert_sound(store: &Embedded) {
    assert_eq!(block_on(store.check(false, &mut |_| {})).unwrap().findings, []);
}

#[test]
fn it_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { undelete: Duration::from_secs(1_000), ..Options::default() };
    let store = Embedded::open(directory.path(), options).unwrap();
    store.shared.lasting.sealing.lock_everybody();
    let report = block_on(conformance::check(&store)).unwrap();
    assert_eq!(report.skipped, ["search"]);
    assert_sound(&store);
}

#[test]
fn what_comes_is_sealed_and_a_login_opens_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let summary =
        Summary::new(Bytes::from_static(b"envelope of an eagle"), Bytes::from_static(b"structure of it"))
            .with_header(Bytes::from_static(b"header of an eagle"))
            .with_body_structure(Bytes::from_static(b"parts of an eagle"));
    let sizes = [0, 20, body::CHUNK, 3 * body::CHUNK + 7];
    let recovery = block_on(store.encrypt(&user("alice"), SECRET)).unwrap();
    assert_eq!(block_on(store.encrypt(&user("alice"), SECRET)), Err(StoreError::Exists));
    assert!(block_on(store.is_encrypted(&user("alice"))).unwrap());
    for size in sizes {
        let mut upload = block_on(upload(&store, &text(size)));
        upload.summarize(summary.clone());
        let delivery = Arc::new(Delivery::new("spy@example.net".to_owned(), "alice".to_owned()));
        block_on(upload.commit(&[target("alice").with_delivery(delivery).with_unique_id("!id")])).unwrap();
    }
    assert!(locked(&block_on(store.read(&messages(&store, &user("alice"))[1], 0..10))));
    let without = messages(&store, &user("alice"));
    assert_eq!(block_on(store.load(&without)).unwrap(), vec![None; 4]);
    assert_eq!(block_on(store.deliveries(&without)).unwrap(), vec![None; 4]);
    assert_eq!(block_on(store.unlock(&user("alice"), b"sword")).unwrap_err(), StoreError::Denied);
    assert_sound(&store);
    drop(store);
    for words in ["eagle lands", "an eagle", "spy@", "swordfish", recovery.as_str()] {
        assert!(!is_on_disk(directory.path(), words), "{words}");
    }
    let store = open(directory.path());
    for secret in [SECRET, recovery.as_str().as_bytes()] {
        let alice = unlocked(&store, "alice", secret);
        let there = messages(&store, &alice);
        for (message, size) in there.iter().zip(sizes) {
            assert_eq!(read(&store, message).unwrap(), text(size));
            assert_eq!(message.size, size as u64);
        }
        let range = body::CHUNK as u64 - 3..body::CHUNK as u64 + 9;
        let part = block_on(store.read(&there[3], range)).unwrap();
        assert!(!part.is_empty() && text(body::CHUNK * 2)[body::CHUNK - 3..].starts_with(&part));
        assert_eq!(block_on(store.load(&there)).unwrap(), vec![Some(summary.clone()); 4]);
        let header = block_on(store.column(&there[..1], Column::Header)).unwrap();
        assert_eq!(header, [Some(summary.header.clone())]);
        let deliveries = block_on(store.deliveries(&there)).unwrap();
        assert!(deliveries.iter().all(|known| known.as_ref().unwrap().sender == "spy@example.net"));
        assert_eq!(block_on(store.unique_ids(&there[0].mailbox)).unwrap()[0].1, "!id");
    }
}

#[test]
fn what_sessions_find_out_is_sealed_too() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    block_on(store.encrypt(&user("alice"), SECRET)).unwrap();
    block_on(deliver(&store, "alice", b"an eagle"));
    let summary = Summary::new(Bytes::from_static(b"envelope of an eagle"), Bytes::new());
    let alice = unlocked(&store, "alice", SECRET);
    // Without the key nothing is kept.
    block_on(store.save(&messages(&store, &user("alice"))[0], &summary)).unwrap();
    assert_eq!(block_on(store.load(&messages(&store, &alice))).unwrap(), [None]);
    block_on(store.save(&messages(&store, &alice)[0], &summary)).unwrap();
    assert_eq!(block_on(store.load(&messages(&store, &alice))).unwrap(), [Some(summary)]);
    drop(store);
    assert!(!is_on_disk(directory.path(), "an eagle"));
}

#[test]
fn copies_moves_and_what_is_had_back_stay_readable() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { undelete: Duration::from_secs(1_000), ..Options::default() };
    let store = Embedded::open(directory.path(), options).unwrap();
    block_on(store.encrypt(&user("alice"), SECRET)).unwrap();
    block_on(deliver(&store, "alice", &text(20)));
    block_on(deliver(&store, "alice", &text(30)));
    let alice = unlocked(&store, "alice", SECRET);
    let inbox = messages(&store, &alice)[0].mailbox.clone();
    block_on(async {
        store.create(&alice, &name("Archive"), None).await.unwrap();
        store.copy(&inbox, &"1".parse().unwrap(), &MailboxName::inbox()).await.unwrap();
        store.move_to(&inbox, &"1".parse().unwrap(), &name("Archive")).await.unwrap();
        store.rename(&alice, &name("Archive"), &name("Old")).await.unwrap();
        store.expunge(&inbox, &Expunge::Exactly("2".parse().unwrap())).await.unwrap();
        let expunged = store.expunged_messages(&alice).await.unwrap();
        store.bring_back(&alice, expunged[0].id, &MailboxName::inbox()).await.unwrap();
    });
    let there = messages(&store, &alice);
    assert_eq!(there.len(), 2);
    assert_eq!(read(&store, &there[0]).unwrap(), text(20));
    assert_eq!(read(&store, &there[1]).unwrap(), text(30));
    assert_sound(&store);
}

#[test]
fn each_has_what_is_theirs_of_a_message_to_all() {
    let sizes = [20, body::CHUNK, 2 * body::CHUNK + 5];
    for size in sizes {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        block_on(store.encrypt(&user("alice"), SECRET)).unwrap();
        block_on(store.encrypt(&user("bob"), b"pencil")).unwrap();
        let mut upload = block_on(upload(&store, &text(size)));
        // The sieve of a delivery reads what is not anybody's yet.
        assert_eq!(block_on(upload.read(0..5)).unwrap(), text(5));
        let names = ["carol", "alice", "dave", "bob"];
        let mut batch = Batch::to(names.map(target));
        batch.queue = vec![QueueEntry::new("1D", mailwright_mail_model::ReversePath::Null, "b.example", 0)];
        let committed = block_on(upload.commit_batch(&batch)).unwrap();
        assert_eq!(committed.appended.len(), 4);
        drop(upload);
        let readers = [
            user("carol"),
            unlocked(&store, "alice", SECRET),
            user("dave"),
            unlocked(&store, "bob", b"pencil"),
        ];
        for (reader, appended) in readers.iter().zip(&committed.appended) {
            let found = messages(&store, reader);
            assert_eq!(found[0].mailbox.uid_validity(), appended.uid_validity, "in the order of the targets");
            assert_eq!(read(&store, &found[0]).unwrap(), text(size), "{reader} {size}");
        }
        assert!(locked(&block_on(store.read(&messages(&store, &user("alice"))[0], 0..5))));
        let object = |index: usize| messages(&store, &readers[index])[0].object;
        assert_eq!((object(0), object(1)), (object(2), object(3)), "shared among those of a kind");
        assert_ne!(object(0), object(1));
        let entry = block_on(store.entry(committed.queued[0])).unwrap().unwrap();
        assert_eq!(block_on(store.octets(&entry, 0..5)).unwrap(), text(5));
        assert_sound(&store);
    }
}

#[test]
fn nothing_is_left_in_the_clear_of_what_began_before_the_switch() {
    let directory = tempfile::tempdir().unwrap();
    let store =
        Embedded::open(directory.path(), Options { grace: Duration::ZERO, ..Options::default() }).unwrap();
    let size = 2 * body::CHUNK + 5;
    let mut upload = block_on(upload(&store, &text(size)));
    block_on(store.encrypt(&user("alice"), SECRET)).unwrap();
    block_on(upload.commit(&[target("alice")])).unwrap();
    drop(upload);
    let alice = unlocked(&store, "alice", SECRET);
    assert_eq!(read(&store, &messages(&store, &alice)[0]).unwrap(), text(size));
    // And the reverse: sealed on its way, for somebody without a lock.
    let mut upload = block_on(self::upload(&store, &text(size)));
    block_on(upload.commit(&[target("bob")])).unwrap();
    drop(upload);
    assert_eq!(read(&store, &messages(&store, &user("bob"))[0]).unwrap(), text(size));
    // An upload that is dropped leaves nothing.
    drop(block_on(self::upload(&store, &text(size))));
    let mut refused = block_on(self::upload(&store, &text(size)));
    let nowhere = Target::new(user("alice"), name("Nowhere"), DateTime::new(0, 0).unwrap());
    assert!(block_on(refused.commit(&[nowhere, target("bob")])).is_err());
    drop(refused);
    let chunks = 3 * 2;
    let core = store.shared.core().unwrap();
    let begun = Instant::now();
    while rows(&core.database.bodies) > chunks || rows(&core.database.uploads) > 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", rows(&core.database.bodies));
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(core);
    assert_sound(&store);
}

#[test]
fn passwords_change_and_encryption_ends_and_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let alice = user("alice");
    let recovery = block_on(store.encrypt(&alice, SECRET)).unwrap();
    block_on(deliver(&store, "alice", b"first"));
    assert_eq!(block_on(store.add_password(&alice, b"wrong", b"new")), Err(StoreError::Denied));
    block_on(store.add_password(&alice, SECRET, b"new")).unwrap();
    unlocked(&store, "alice", SECRET);
    block_on(store.forget_old_passwords(&alice)).unwrap();
    assert_eq!(block_on(store.unlock(&alice, SECRET)).unwrap_err(), StoreError::Denied);
    block_on(store.stop_encrypting(&alice)).unwrap();
    assert!(!block_on(store.is_encrypted(&alice)).unwrap());
    block_on(deliver(&store, "alice", b"second"));
    assert_eq!(read(&store, &messages(&store, &alice)[1]).unwrap(), b"second");
    assert!(locked(&block_on(store.read(&messages(&store, &alice)[0], 0..5))));
    // It goes on with the keys there were, which only the right password opens.
    assert_eq!(block_on(store.encrypt(&alice, b"wrong")), Err(StoreError::Denied));
    let other = block_on(store.encrypt(&alice, b"new")).unwrap();
    assert_eq!(block_on(store.unlock(&alice, recovery.as_str().as_bytes())).unwrap_err(), StoreError::Denied);
    block_on(deliver(&store, "alice", b"third"));
    drop(store);
    let store = open(directory.path());
    let opened = unlocked(&store, "alice", other.as_str().as_bytes());
    let texts: Vec<_> =
        messages(&store, &opened).iter().map(|message| read(&store, message).unwrap()).collect();
    assert_eq!(texts, [&b"first"[..], b"second", b"third"]);
    // Whoever takes the name later begins anew.
    block_on(store.erase(&alice)).unwrap();
    assert!(!block_on(store.has_keys(&alice)).unwrap());
    block_on(deliver(&store, "alice", b"anew"));
    assert_eq!(read(&store, &first(&store, "alice")).unwrap(), b"anew");
}

#[test]
fn a_key_goes_where_its_user_goes_and_is_no_part_of_the_name() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    block_on(store.encrypt(&user("alice"), SECRET)).unwrap();
    let alice = unlocked(&store, "alice", SECRET);
    assert_eq!(alice, user("alice"));
    assert!(alice.key().is_some() && user("alice").key().is_none());
    assert_eq!(format!("{alice:?}"), "User(\"alice\")");
    let _: &MailKey = alice.key().unwrap();
    assert!(block_on(store.unlock(&user("bob"), b"whatever")).unwrap().key().is_none());
}

#[test]
fn a_backup_has_the_keys_with_it() {
    let (directory, backup, restored) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(directory.path());
    block_on(store.encrypt(&user("alice"), SECRET)).unwrap();
    block_on(deliver(&store, "alice", &text(body::CHUNK + 1)));
    store.back_up(backup.path(), &mut |_| {}).unwrap();
    drop(store);
    assert!(!is_on_disk(backup.path(), "eagle lands"));
    restore(backup.path(), None, restored.path(), &mut |_| {}).unwrap();
    let store = open(restored.path());
    let alice = unlocked(&store, "alice", SECRET);
    assert_eq!(read(&store, &messages(&store, &alice)[0]).unwrap(), text(body::CHUNK + 1));
}

#[test]
fn what_another_version_found_in_sealed_messages_is_forgotten_for_who_reads_them_finds_out() {
    struct Found;
    impl crate::Describe for Found {
        fn push(&mut self, _: &[u8]) {}

        fn finish(self: Box<Self>) -> Summary {
            Summary::new("new".into(), "new".into())
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let describing = |version| {
        let describer = crate::Describer::new(version, || Box::new(Found));
        Embedded::open(directory.path(), Options { describer: Some(describer), ..Options::default() })
            .unwrap()
    };
    let deliver_old = |store: &Embedded, names: &[&str], size| {
        let mut upload = block_on(upload(store, &text(size)));
        upload.summarize(Summary::new("old".into(), "old".into()));
        let targets: Vec<_> = names.iter().map(|name| target(name)).collect();
        block_on(upload.commit(&targets)).unwrap();
    };
    let envelopes = |store: &Embedded, reader: &User| {
        let kept = block_on(store.column(&messages(store, reader), Column::Envelope)).unwrap();
        kept.into_iter()
            .map(|kept| kept.map(|kept| String::from_utf8(kept.to_vec()).unwrap()))
            .collect::<Vec<_>>()
    };
    let store = describing(1);
    block_on(store.encrypt(&user("alice"), SECRET)).unwrap();
    // The octets of the third lie there under a key that is open to everybody.
    deliver_old(&store, &["alice"], 600_000);
    deliver_old(&store, &["alice", "bob"], 20);
    deliver_old(&store, &["bob"], 600_000);
    let reader = unlocked(&store, "alice", SECRET);
    // Of the same version nothing is forgotten that cannot be looked at.
    assert_eq!(block_on(store.check(true, &mut |_| {})).unwrap().findings.len(), 1);
    assert_eq!(envelopes(&store, &reader), [Some("old".to_owned()), Some("old".to_owned())]);
    assert_eq!(envelopes(&store, &user("bob")), [Some("new".to_owned()), Some("new".to_owned())]);
    drop(store);
    let store = describing(2);
    assert!(store.is_described_by_another());
    let found = block_on(store.check(true, &mut |_| {})).unwrap().findings;
    let [found] = &found[..] else { panic!("{found:?}") };
    assert!(found.repaired && found.what.starts_with("2 encrypted messages"), "{found:?}");
    let reader = unlocked(&store, "alice", SECRET);
    assert_eq!(envelopes(&store, &reader), [None, None]);
    assert_eq!(envelopes(&store, &user("bob")), [Some("new".to_owned()), Some("new".to_owned())]);
    assert_eq!(block_on(store.read(&messages(&store, &reader)[0], 0..10)).unwrap(), &text(10)[..]);
    assert_sound(&store);
}
