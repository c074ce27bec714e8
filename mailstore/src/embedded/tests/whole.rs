//! A store of which files are missing or damaged: it says which, and nothing of the rest goes.

use super::*;

/// A store with messages, of which some are in tables and the rest is in the journal, closed.
fn filled() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let store = open_unpacked(directory.path());
    for number in 0..6 {
        block_on(deliver(&store, "alice", format!("message {number}").as_bytes()));
        let database = &store.shared.core().unwrap().database;
        if number == 2 {
            let all = database.index().map(|(_, keyspace)| keyspace.clone());
            all.iter().chain([&database.bodies]).for_each(|keyspace| {
                keyspace.rotate_memtable_and_wait().unwrap();
            });
        }
    }
    directory
}

/// What is said when it is opened.
fn refusal(directory: &Path) -> String {
    match Embedded::open(directory, Options { pack_from: u32::MAX, ..Options::default() }) {
        Ok(_) => panic!("it was opened"),
        Err(error) => {
            assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
            error.to_string()
        }
    }
}

/// Every file and folder below one, but for the file that is locked.
fn below(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(below(&path));
        }
        all.push(path);
    }
    all.sort();
    all
}

/// The folder of the keyspace of this name.
fn folder(directory: &Path, of: impl Fn(&Database) -> &fjall::Keyspace) -> PathBuf {
    of(&open_unpacked(directory).shared.core().unwrap().database).path().to_owned()
}

#[test]
fn without_its_journal_it_is_not_opened_unless_somebody_says_so() {
    let directory = filled();
    fs::remove_file(directory.path().join("0.jnl")).unwrap();
    let before = below(directory.path());
    for _ in 0..2 {
        let text = refusal(directory.path());
        assert!(text.contains("has no journal") && text.contains("journal.damaged-0"), "{text}");
    }
    assert_eq!(below(directory.path()), before);
    let aside = directory.path().join("journal.damaged-0");
    fs::File::create(&aside).unwrap();
    let store = open_unpacked(directory.path());
    assert_eq!(inbox(&store, "alice").1.len(), 3);
    let bodies = rows(&store.shared.core().unwrap().database.bodies);
    let report = block_on(store.check(true, &mut |_| {})).unwrap();
    assert!(report.findings[0].what.contains("journal.damaged-0"), "{report:?}");
    assert_eq!(rows(&store.shared.core().unwrap().database.bodies), bodies);
    assert!(store.damage()[0].contains("journal.damaged-0"), "{:?}", store.damage());
    drop(store);
    let store = open_unpacked(directory.path());
    let (mailbox, snapshot) = inbox(&store, "alice");
    let read = |message| read(&store, &mailbox.message(message)).unwrap();
    let texts: Vec<_> = snapshot.messages().map(read).collect();
    assert_eq!(texts, [b"message 0", b"message 1", b"message 2"]);
    // What comes now is newer than what was there.
    block_on(deliver(&store, "alice", b"another"));
    drop(store);
    assert_eq!(inbox(&open_unpacked(directory.path()), "alice").1.len(), 4);
}

#[test]
fn numbers_of_bodies_are_not_given_out_again_when_it_is_not_known_which_were() {
    let directory = filled();
    let store = open_unpacked(directory.path());
    let highest = {
        let core = store.shared.core().unwrap();
        core.database.meta.remove("identities").unwrap();
        core.database.highest_identity()
    };
    drop(store);
    let store = open_unpacked(directory.path());
    assert!(highest > 1 && store.shared.core().unwrap().identity().unwrap() > highest);
}

#[test]
fn a_part_that_is_missing_is_named_and_nothing_else_goes() {
    let directory = filled();
    let rows = folder(directory.path(), |database| &database.rows);
    let keyspaces = directory.path().join("keyspaces");
    let parts = [
        "version".into(),
        "keyspaces".into(),
        keyspaces.join("0"),
        keyspaces.join("0/current"),
        rows.join("current"),
    ];
    for part in parts.map(|part: PathBuf| directory.path().join(part)) {
        let away = tempfile::tempdir().unwrap();
        fs::rename(&part, away.path().join("part")).unwrap();
        let before = below(directory.path());
        let text = refusal(directory.path());
        assert!(text.contains(part.to_str().unwrap()) && text.contains("is missing"), "{text}");
        assert_eq!(below(directory.path()), before);
        fs::rename(away.path().join("part"), &part).unwrap();
    }
    assert_eq!(inbox(&open_unpacked(directory.path()), "alice").1.len(), 6);
}

#[test]
fn a_keyspace_whose_folder_is_missing_is_named() {
    let directory = filled();
    let rows = folder(directory.path(), |database| &database.rows);
    fs::remove_dir_all(rows).unwrap();
    for _ in 0..2 {
        let text = refusal(directory.path());
        assert!(text.contains("the folder of rows is missing"), "{text}");
    }
}

#[test]
fn a_file_for_which_it_cannot_be_opened_is_named() {
    let directory = filled();
    let rows = folder(directory.path(), |database| &database.rows);
    let current = fs::read(rows.join("current")).unwrap();
    let list = rows.join(format!("v{}", u64::from_le_bytes(*current.first_chunk().unwrap())));
    let table = fs::read_dir(rows.join("tables")).unwrap().next().unwrap().unwrap().path();
    for path in [&list, &table] {
        let whole = fs::read(path).unwrap();
        let mut octets = whole.clone();
        // The end is where a file says what is in it.
        octets.iter_mut().rev().take(32).for_each(|octet| *octet ^= 1);
        fs::write(path, octets).unwrap();
        let text = refusal(directory.path());
        assert!(text.contains(path.to_str().unwrap()) && text.contains("restore"), "{text}");
        fs::write(path, whole).unwrap();
    }
    assert_eq!(inbox(&open_unpacked(directory.path()), "alice").1.len(), 6);
}
