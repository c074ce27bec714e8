//! Backup directories: whose generations they are, and what becomes of a restore that is cut short.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::{QueueEntry, Undelete};

pub(super) fn back_up(store: &Embedded, directory: &Path) -> BackupReport {
    store.back_up(directory, &mut |_| {}).unwrap()
}

/// What is in alice's INBOX of a generation.
pub(super) fn restored(backup: &Path, generation: Option<u32>) -> Vec<String> {
    let target = tempfile::tempdir().unwrap();
    restore(backup, generation, target.path(), &mut |_| {}).unwrap();
    texts(&open(target.path()))
}

pub(super) fn texts(store: &Embedded) -> Vec<String> {
    let (mailbox, snapshot) = inbox(store, "alice");
    let text = |message| String::from_utf8(read(store, &mailbox.message(message)).unwrap()).unwrap();
    snapshot.messages().map(text).collect()
}

#[test]
fn two_stores_may_share_a_directory() {
    let (one, other, backup) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, other) = (open(one.path()), open(other.path()));
    block_on(deliver(&one, "alice", b"of the one"));
    block_on(deliver(&other, "alice", b"of another"));
    let reports = [&one, &other, &one, &other].map(|store| {
        let report = back_up(store, backup.path());
        (report.generation, report.bases, report.chunks)
    });
    assert_eq!(reports, [(1, 0, 1), (2, 0, 1), (3, 1, 0), (4, 1, 0)]);
    for (generation, text) in [(1, "of the one"), (2, "of another"), (3, "of the one"), (4, "of another")] {
        assert_eq!(restored(backup.path(), Some(generation)), [text]);
    }
}

#[test]
fn a_store_that_was_put_back_builds_upon_its_own_past_alone() {
    let (directory, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (put_back, copied) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(directory.path());
    block_on(deliver(&store, "alice", b"one"));
    assert_eq!(back_up(&store, backup.path()).bases, 0);
    drop(store);
    // Numbers of bodies begin anew with each opening: all of these give out the same.
    copy_directory(directory.path(), copied.path());
    let store = open(directory.path());
    block_on(deliver(&store, "alice", b"two"));
    assert_eq!(back_up(&store, backup.path()).bases, 1);

    restore(backup.path(), Some(1), put_back.path(), &mut |_| {}).unwrap();
    let put_back = open(put_back.path());
    block_on(deliver(&put_back, "alice", b"2"));
    let third = back_up(&put_back, backup.path());
    assert_eq!((third.generation, third.bases, third.chunks), (3, 1, 1));
    let copied = open(copied.path());
    block_on(deliver(&copied, "alice", b"zwei"));
    let fourth = back_up(&copied, backup.path());
    assert_eq!((fourth.generation, fourth.bases, fourth.chunks), (4, 1, 1));
    let fifth = back_up(&store, backup.path());
    assert_eq!((fifth.generation, fifth.bases, fifth.chunks), (5, 2, 0));
    for (generation, expected) in
        [(1, None), (2, Some("two")), (3, Some("2")), (4, Some("zwei")), (5, Some("two"))]
    {
        let expected: Vec<_> = std::iter::once("one").chain(expected).collect();
        assert_eq!(restored(backup.path(), Some(generation)), expected, "{generation}");
    }
    // What it builds upon is told if it is gone, and nothing is put back without it.
    fs::remove_file(backup.path().join("000001.bodies")).unwrap();
    let target = tempfile::tempdir().unwrap();
    let error = restore(backup.path(), Some(4), target.path(), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("generation 4 needs"), "{error}");
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0);
}

#[test]
fn what_was_given_out_after_the_backup_is_not_given_out_again() {
    let (directory, backup, target) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(directory.path());
    for text in [b"one", b"two"] {
        block_on(deliver(&store, "alice", text));
    }
    back_up(&store, backup.path());
    // What clients see of the time that is lost: a message, a flag, an expunge, a mailbox.
    let lost = block_on(deliver(&store, "alice", b"lost"));
    let (mailbox, snapshot) = inbox(&store, "alice");
    let change = FlagChange::new(crate::FlagOperation::Add, "(\\Seen)".parse().unwrap());
    block_on(store.store_flags(&mailbox, &"1".parse().unwrap(), &change)).unwrap();
    block_on(store.expunge(&mailbox, &Expunge::Exactly("2".parse().unwrap()))).unwrap();
    let lost_object = snapshot.message(lost).unwrap().object;
    let (_, seen) = inbox(&store, "alice");
    let lost_mailbox = block_on(store.create(&user("alice"), &name("Later"), None)).unwrap();
    drop(store);

    restore(backup.path(), None, target.path(), &mut |_| {}).unwrap();
    let store = open(target.path());
    let (mailbox, back) = inbox(&store, "alice");
    assert_eq!(mailbox.uid_validity(), seen.uid_validity());
    assert_eq!(back.messages().map(|message| message.uid.get()).collect::<Vec<_>>(), [1, 2]);
    // Whoever asks what has changed since is told of all messages, and of none that is gone but by what is there.
    assert!(back.messages().all(|message| message.modseq > seen.highest_modseq()));
    assert!(back.highest_modseq() >= back.messages().map(|message| message.modseq).max().unwrap());
    assert_eq!(block_on(store.expunged(&mailbox, seen.highest_modseq())).unwrap(), None);
    let uid = block_on(deliver(&store, "alice", b"another"));
    assert!(uid > lost, "{uid}");
    let (_, now) = inbox(&store, "alice");
    assert!(now.message(uid).unwrap().object > lost_object);
    let mailbox_again = block_on(store.create(&user("alice"), &name("Later"), None)).unwrap();
    assert_ne!(mailbox_again.id, lost_mailbox.id);
    let validity = |name| block_on(store.status(&user("alice"), &name)).unwrap().uid_validity;
    assert!(validity(name("Later")) > validity(MailboxName::inbox()));
    // From here on what is expunged is known again.
    let (mailbox, before) = inbox(&store, "alice");
    block_on(store.expunge(&mailbox, &Expunge::Exactly("1".parse().unwrap()))).unwrap();
    let expunged = block_on(store.expunged(&mailbox, before.highest_modseq())).unwrap().unwrap();
    assert_eq!(expunged.to_string(), "1");
    let report = block_on(store.check(false, &mut |_| {})).unwrap();
    assert_eq!(report.findings, []);
}

#[test]
fn generations_of_earlier_programs_come_back_and_nothing_builds_upon_them() {
    let (directory, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(directory.path());
    block_on(deliver(&store, "alice", b"one"));
    back_up(&store, backup.path());
    for name in ["000001.bodies", "000001.index"] {
        // They had no record at the beginning: a head of 13 octets, and a number of 16.
        let path = backup.path().join(name);
        let octets = fs::read(&path).unwrap();
        fs::write(path, [b"mailwright-bak1\n", &octets[16 + 13 + 16..]].concat()).unwrap();
    }
    block_on(deliver(&store, "alice", b"two"));
    let second = back_up(&store, backup.path());
    assert_eq!((second.generation, second.bases, second.chunks), (2, 0, 2));
    assert_eq!(restored(backup.path(), Some(1)), ["one"]);
    assert_eq!(restored(backup.path(), None), ["one", "two"]);
}

#[test]
fn a_restore_that_is_cut_short_is_begun_anew() {
    let (directory, backup, target) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(directory.path());
    block_on(deliver(&store, "alice", b"one"));
    back_up(&store, backup.path());
    let cut = || {
        let mut progress = |_: &BackupReport| panic!("killed");
        catch_unwind(AssertUnwindSafe(|| restore(backup.path(), None, target.path(), &mut progress)))
    };
    for _ in 0..2 {
        assert!(cut().is_err());
        let Err(StoreError::Unavailable(text)) = Embedded::open(target.path(), Options::default()) else {
            panic!("half a store was opened")
        };
        assert!(text.contains("was cut short: restore again"), "{text}");
    }
    restore(backup.path(), None, target.path(), &mut |_| {}).unwrap();
    assert_eq!(texts(&open(target.path())), ["one"]);
    assert_eq!(restore(backup.path(), None, target.path(), &mut |_| {}), Err(StoreError::Exists));
}

#[cfg(unix)]
#[test]
fn a_store_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("deep/store");
    let store = open(&place);
    block_on(deliver(&store, "alice", b"one"));
    assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o700);
}

#[cfg(unix)]
#[test]
fn a_backup_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    let (directory, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let backup = folder.path().join("deep/backup");
    let store = open(directory.path());
    block_on(deliver(&store, "alice", b"one"));
    back_up(&store, &backup);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&backup), 0o700);
    for entry in fs::read_dir(&backup).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn what_was_deleted_before_a_generation_does_not_come_back_with_it() {
    let (directory, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(directory.path());
    for text in [&b"kept"[..], b"SECRET"] {
        block_on(deliver(&store, "alice", text));
    }
    back_up(&store, backup.path());
    let (mailbox, _) = inbox(&store, "alice");
    block_on(store.expunge(&mailbox, &Expunge::Exactly("2".parse().unwrap()))).unwrap();
    block_on(deliver(&store, "alice", b"later"));
    assert_eq!(back_up(&store, backup.path()).bases, 1);
    for (generation, expected) in [(1, ["kept", "SECRET"]), (2, ["kept", "later"])] {
        let target = tempfile::tempdir().unwrap();
        let report = restore(backup.path(), Some(generation), target.path(), &mut |_| {}).unwrap();
        assert_eq!(report.chunks, 2, "{generation}");
        let store = open(target.path());
        assert_eq!(texts(&store), expected);
        assert_eq!(block_on(store.check(false, &mut |_| {})).unwrap().findings, []);
    }
}

/// A generation has what its queue and its users can still have, though no mailbox does.
#[test]
fn what_only_the_queue_or_a_deleted_message_refers_to_comes_back() {
    let options = || Options { undelete: Duration::from_secs(1_000), ..Options::default() };
    let (directory, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Embedded::open(directory.path(), options()).unwrap();
    for text in [&b"kept"[..], b"deleted"] {
        block_on(deliver(&store, "alice", text));
    }
    let entry = QueueEntry::new("1D", mailwright_mail_model::ReversePath::Null, "b.example", 6);
    let batch = Batch::to([]).with_queue(vec![entry]);
    let committed = block_on(async { upload(&store, b"queued").await.commit_batch(&batch).await });
    let queued = committed.unwrap().queued[0];
    let (mailbox, _) = inbox(&store, "alice");
    block_on(store.expunge(&mailbox, &Expunge::Exactly("2".parse().unwrap()))).unwrap();
    back_up(&store, backup.path());
    block_on(deliver(&store, "alice", b"later"));
    back_up(&store, backup.path());
    for (generation, expected) in [(1, &["kept", "deleted"][..]), (2, &["kept", "later", "deleted"])] {
        let target = tempfile::tempdir().unwrap();
        restore(backup.path(), Some(generation), target.path(), &mut |_| {}).unwrap();
        let store = Embedded::open(target.path(), options()).unwrap();
        let entry = block_on(store.entry(queued)).unwrap().unwrap();
        assert_eq!(block_on(store.octets(&entry, 0..6)).unwrap(), &b"queued"[..], "{generation}");
        let deleted = block_on(store.expunged_messages(&user("alice"))).unwrap();
        assert_eq!(deleted.len(), 1);
        block_on(store.bring_back(&user("alice"), deleted[0].id, &MailboxName::inbox())).unwrap();
        assert_eq!(texts(&store), expected);
        assert_eq!(block_on(store.check(false, &mut |_| {})).unwrap().findings, []);
    }
}

#[test]
fn one_backup_at_a_time_goes_into_a_directory() {
    let (directory, other, backup) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, other) = (open(directory.path()), open(other.path()));
    block_on(deliver(&store, "alice", b"one"));
    let mut refused = 0;
    let mut meanwhile = |_: &BackupReport| {
        for second in [&store, &other] {
            let error = second.back_up(backup.path(), &mut |_| {}).unwrap_err();
            assert!(error.to_string().contains("is running already"), "{error}");
            refused += 1;
        }
    };
    assert_eq!(store.back_up(backup.path(), &mut meanwhile).unwrap().generation, 1);
    assert!(refused > 0);
    assert_eq!(restored(backup.path(), None), ["one"]);
    let second = back_up(&store, backup.path());
    assert_eq!((second.generation, second.bases, second.chunks), (2, 1, 0));
}

/// The names in a directory, without the file that is locked.
pub(super) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != "lock");
    names.sort();
    names
}

#[test]
fn a_backup_that_is_broken_off_leaves_nothing() {
    use std::ops::ControlFlow;

    let (directory, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(directory.path());
    block_on(deliver(&store, "alice", b"one"));
    // What one that was killed has left, this program's or an earlier one's; and what is somebody else's.
    for name in ["000001.part", "000001.bodies.part", "000001.index.part", "notes.part"] {
        fs::write(backup.path().join(name), "part").unwrap();
    }
    let broken = store.back_up_while(backup.path(), &mut |_| ControlFlow::Break(()));
    assert!(broken.unwrap_err().to_string().contains("broken off"));
    assert_eq!(names(backup.path()), ["notes.part"]);
    // In the middle of writing.
    for _ in 0..2 {
        let mut calls = 0;
        let mut killed = |_: &BackupReport| {
            calls += 1;
            assert!(calls < 2, "killed");
        };
        for number in 0..70 {
            block_on(deliver(&store, "alice", format!("more {number}").as_bytes()));
        }
        assert!(catch_unwind(AssertUnwindSafe(|| store.back_up(backup.path(), &mut killed))).is_err());
        assert_eq!(names(backup.path()), ["000001.bodies.part", "notes.part"]);
    }
    assert_eq!(back_up(&store, backup.path()).generation, 1);
    assert_eq!(names(backup.path()), ["000001.bodies", "000001.index", "notes.part"]);
    assert_eq!(restored(backup.path(), None).len(), 141);
}
