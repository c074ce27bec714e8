//! Backups that are damaged, or of a store that is: what is told, and what comes back.

use super::backups::{back_up, names, restored, texts};
use super::*;

#[test]
fn of_a_damaged_backup_comes_back_what_can_be_read() {
    let (directory, whole) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(directory.path());
    let text = |number: u32| format!("{number} {}", "x".repeat(3_000));
    for number in 0..30 {
        block_on(deliver(&store, "alice", text(number).as_bytes()));
    }
    back_up(&store, whole.path());
    // Octets in a part of a message, at the beginning of a record, over several records, and all behind one.
    let file = fs::read(whole.path().join("000001.bodies")).unwrap();
    let place =
        |number: u32| file.windows(7).position(|octets| octets == format!("{number} xxxx").as_bytes());
    let (tenth, twentieth, octets_of_all) = (place(10).unwrap(), place(20).unwrap(), file.len());
    for (from, length, lost) in [
        (tenth + 500, 1, 1),
        (tenth - 20, 4, 1),
        (tenth + 500, 4_096, 2),
        (twentieth + 10, octets_of_all, 10),
    ] {
        let (backup, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut octets = file.clone();
        match octets.get_mut(from..from + length) {
            Some(damaged) => damaged.fill(0),
            None => octets.truncate(from),
        }
        fs::write(backup.path().join("000001.bodies"), octets).unwrap();
        fs::copy(whole.path().join("000001.index"), backup.path().join("000001.index")).unwrap();
        assert!(matches!(
            restore(backup.path(), None, target.path(), &mut |_| {}),
            Err(StoreError::Corrupt(_))
        ));
        let report = restore_damaged(backup.path(), None, target.path(), &mut |_| {}).unwrap();
        let (file, messages) = report.missing.split_last().unwrap();
        assert!(file.contains("000001.bodies"), "{report:?}");
        assert_eq!(file.contains("breaks off at octet"), length == octets_of_all, "{report:?}");
        assert!(messages.iter().all(|what| what.contains(" in alice INBOX: its body is missing")));
        assert_eq!(messages.len(), lost, "{report:?}");
        let back = open(target.path());
        let (mailbox, snapshot) = inbox(&back, "alice");
        assert_eq!(snapshot.len(), 30);
        let whole = snapshot.messages().filter(|message| {
            let octets = block_on(back.read(&mailbox.message(message), 0..message.size));
            octets.is_ok_and(|octets| octets == text(message.uid.get() - 1).as_bytes())
        });
        assert_eq!(whole.count(), 30 - lost, "{from} {length}");
    }
    // A file that is gone, and an index in which a row is damaged.
    let (backup, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut index = fs::read(whole.path().join("000001.index")).unwrap();
    let middle = index.len() / 2;
    index[middle] ^= 1;
    fs::write(backup.path().join("000001.index"), index).unwrap();
    let report = restore_damaged(backup.path(), None, target.path(), &mut |_| {}).unwrap();
    let (messages, files): (Vec<_>, Vec<_>) =
        report.missing.iter().partition(|what| what.contains("INBOX: its body is missing"));
    assert_eq!(files.len(), 2, "{report:?}");
    assert_eq!(messages.len(), inbox(&open(target.path()), "alice").1.len() as usize);
    assert!(open(target.path()).damage().is_empty());
    // One that ends in the middle: what it is that is missing.
    let (backup, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::copy(whole.path().join("000001.bodies"), backup.path().join("000001.bodies")).unwrap();
    let index = fs::read(whole.path().join("000001.index")).unwrap();
    fs::write(backup.path().join("000001.index"), &index[..index.len() / 2]).unwrap();
    let report = restore_damaged(backup.path(), None, target.path(), &mut |_| {}).unwrap();
    assert_eq!(report.missing.len(), 2, "{report:?}");
    let cut = format!(
        "000001.index breaks off at octet {}, before its end: {} records",
        index.len() / 2,
        report.rows
    );
    assert!(report.missing[0].contains(&cut), "{report:?}");
    assert!(report.missing[1].starts_with("with it rows of these kinds: "), "{report:?}");
    assert!(report.missing[1].ends_with(", subscriptions, tables (accounts too), lost"), "{report:?}");
}

#[test]
fn a_body_that_is_gone_is_missed_by_backup_and_restore() {
    let (directory, backup, target) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(directory.path());
    let large = vec![b'x'; 2 * body::CHUNK + 1];
    for octets in [&b"first"[..], b"second", &large, b""] {
        block_on(deliver(&store, "alice", octets));
    }
    let (_, snapshot) = inbox(&store, "alice");
    let key = |uid: u32, chunk| {
        let message = snapshot.message(Uid::new(uid).unwrap()).unwrap();
        body::key(body::of(message).unwrap(), chunk)
    };
    let core = store.shared.core().unwrap();
    core.database.bodies.remove(key(2, 0)).unwrap();
    core.database.bodies.remove(key(3, 1)).unwrap();
    let missing = [
        "UID 2 in alice INBOX: its body is missing",
        "UID 3 in alice INBOX: its body is missing from octet 262144 on",
    ];
    for generation in [1, 2] {
        let report = back_up(&store, backup.path());
        assert_eq!((report.generation, &report.missing[..]), (generation, &missing.map(str::to_owned)[..]));
    }
    let report = restore(backup.path(), None, target.path(), &mut |_| {}).unwrap();
    assert_eq!(report.missing, missing);
    let (mailbox, snapshot) = { inbox(&open(target.path()), "alice") };
    assert_eq!((mailbox.user().as_str(), snapshot.len()), ("alice", 4));
}

#[test]
fn a_generation_that_lost_its_index_is_not_passed_over_in_silence() {
    let (directory, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(directory.path());
    for text in [b"one", b"two"] {
        block_on(deliver(&store, "alice", text));
        back_up(&store, backup.path());
    }
    fs::remove_file(backup.path().join("000002.index")).unwrap();
    for generation in [None, Some(2)] {
        let target = tempfile::tempdir().unwrap();
        let error = restore(backup.path(), generation, target.path(), &mut |_| {}).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
        assert!(error.to_string().contains("000002.index is missing"), "{error}");
        assert_eq!(error.to_string().contains("is generation 1"), generation.is_none(), "{error}");
        assert_eq!(names(target.path()), Vec::<String>::new());
    }
    assert_eq!(restored(backup.path(), Some(1)), ["one"]);
    let target = tempfile::tempdir().unwrap();
    let report = restore_damaged(backup.path(), None, target.path(), &mut |_| {}).unwrap();
    assert_eq!((report.generation, report.missing.len()), (1, 1));
    assert!(report.missing[0].contains("000002.index is missing"), "{report:?}");
    assert_eq!(texts(&open(target.path())), ["one"]);
    // The next one takes none of its files, and needs nothing twice.
    let third = back_up(&store, backup.path());
    assert_eq!((third.generation, third.bases, third.chunks), (3, 2, 0));
    assert_eq!(restored(backup.path(), None), ["one", "two"]);
}

#[test]
fn bodies_that_were_removed_are_copied_again() {
    let (directory, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(directory.path());
    for text in [b"one", b"two"] {
        block_on(deliver(&store, "alice", text));
        back_up(&store, backup.path());
    }
    fs::remove_file(backup.path().join("000001.bodies")).unwrap();
    let third = back_up(&store, backup.path());
    assert_eq!((third.generation, third.bases, third.chunks), (3, 1, 1));
    assert!(third.missing.len() == 1 && third.missing[0].contains("000001.bodies is gone"), "{third:?}");
    assert_eq!(restored(backup.path(), None), ["one", "two"]);
    // Without the rest of it nobody misses it.
    fs::remove_file(backup.path().join("000001.index")).unwrap();
    let fourth = back_up(&store, backup.path());
    assert_eq!((fourth.bases, fourth.chunks, fourth.missing.len()), (2, 0, 0));
}

#[test]
fn a_damaged_generation_is_not_built_upon() {
    let (directory, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(directory.path());
    block_on(deliver(&store, "alice", b"one"));
    back_up(&store, backup.path());
    let first = backup.path().join("000001.bodies");
    let octets = fs::read(&first).unwrap();
    fs::write(&first, &octets[..octets.len() - 5]).unwrap();
    let second = back_up(&store, backup.path());
    assert_eq!((second.generation, second.bases, second.chunks), (2, 0, 1));
    assert!(
        second.missing.len() == 1 && second.missing[0].contains("000001.bodies is damaged"),
        "{second:?}"
    );
    assert_eq!(restored(backup.path(), None), ["one"]);
}

/// What a restore wrote is not in the journal any more, where damage to one octet would cost all that follows.
#[test]
fn damage_to_a_restored_store_costs_little() {
    let (directory, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(directory.path());
    let users: Vec<_> = (0..20).map(|number| format!("user{number}")).collect();
    for user in &users {
        for number in 0..5 {
            block_on(deliver(&store, user, format!("{number} {}", "x".repeat(1_000)).as_bytes()));
        }
    }
    back_up(&store, backup.path());
    let restored = tempfile::tempdir().unwrap();
    restore(backup.path(), None, restored.path(), &mut |_| {}).unwrap();
    let journals = || {
        let entries = fs::read_dir(restored.path()).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "jnl"))
    };
    assert_eq!(journals().count(), 1);
    for path in journals() {
        let mut octets = fs::read(&path).unwrap();
        if let Some(first) = octets.iter().position(|octet| *octet != 0) {
            octets[first] ^= 1;
            fs::write(&path, octets).unwrap();
        }
    }
    for _ in 0..2 {
        let back = open(restored.path());
        assert_eq!(back.damage(), Vec::<String>::new());
        for user in &users {
            let (mailbox, snapshot) = inbox(&back, user);
            assert!(snapshot.len() >= 5, "{user}");
            assert!(snapshot.messages().all(|message| read(&back, &mailbox.message(message)).is_ok()));
        }
        assert_eq!(block_on(back.check(false, &mut |_| {})).unwrap().findings, []);
        // What comes now gets numbers that nothing had.
        block_on(deliver(&back, "user0", b"new"));
    }
    assert_eq!(inbox(&open(restored.path()), "user0").1.len(), 7);
}

fn check(backup: &Path) -> BackupCheck {
    check_backup(backup, &mut |_| {}).unwrap()
}

#[test]
fn a_check_of_a_backup_finds_what_no_later_backup_sees() {
    let (directory, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_eq!(check_backup(backup.path(), &mut |_| {}), Err(StoreError::NotFound));
    let store = open(directory.path());
    for number in 0..3 {
        block_on(deliver(&store, "alice", format!("text {number} {}", "x".repeat(3_000)).as_bytes()));
        back_up(&store, backup.path());
    }
    let whole = check(backup.path());
    assert_eq!((&whole.whole[..], whole.damaged.len(), whole.findings.len()), (&[1, 2, 3][..], 0, 0));
    assert!(whole.records > 30 && whole.octets > 9_000, "{whole:?}");
    let damage = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let path = backup.path().join(name);
        let octets = fs::read(&path).unwrap();
        let mut changed = octets.clone();
        change(&mut changed);
        fs::write(&path, changed).unwrap();
        let found = check(backup.path());
        fs::write(path, octets).unwrap();
        found
    };
    // An octet of a message of the second: a later backup passes over it, and every generation that has the message lacks it.
    let found = damage("000002.bodies", &|octets| octets[2_000] ^= 1);
    assert_eq!((&found.whole[..], &found.damaged[..]), (&[1][..], &[2, 3][..]));
    assert!(found.findings[0].contains("000002.bodies are damaged"), "{found:?}");
    let named = |number| format!("generation {number}: UID 2 in alice INBOX: its body is missing");
    assert_eq!(found.findings[1..], [named(2), named(3)]);
    // An octet of an index, an index that breaks off, files of no octets, and files that have changed places.
    let found = damage("000001.index", &|octets| {
        let middle = octets.len() / 2;
        octets[middle] ^= 1;
    });
    assert_eq!((&found.damaged[..], found.findings.len()), (&[1][..], 1), "{found:?}");
    let found = damage("000003.index", &|octets| octets.truncate(octets.len() - 1));
    assert_eq!((&found.damaged[..], found.findings.len()), (&[3][..], 1), "{found:?}");
    assert!(found.findings[0].contains("000003.index breaks off"), "{found:?}");
    let found = damage("000001.bodies", &Vec::clear);
    assert_eq!(found.damaged, [1, 2, 3]);
    let index = fs::read(backup.path().join("000002.index")).unwrap();
    let found = damage("000002.bodies", &|octets| octets.clone_from(&index));
    assert_eq!(found.damaged, [2, 3]);
    assert!(found.findings[0].ends_with("000002.bodies do not belong there"), "{found:?}");
    // And what is gone.
    for (name, damaged) in [("000002.bodies", &[2, 3][..]), ("000003.index", &[3])] {
        let path = backup.path().join(name);
        let octets = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let found = check(backup.path());
        assert_eq!(found.damaged, damaged, "{found:?}");
        assert!(found.findings[0].contains(name), "{found:?}");
        fs::write(path, octets).unwrap();
    }
    assert_eq!(check(backup.path()), whole);
}
