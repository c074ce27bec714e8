//! The index of texts: with it the same is found as without, whatever happens to it.

use mailwright_mail_model::query::{Candidates, Key, Matcher, Metadata, Query, Trigrams};
use mailwright_mail_model::{FlagSet, UidSet};

use super::*;
use crate::Search;

mod dice;

use dice::Dice;

fn indexed(directory: &Path) -> Embedded {
    Embedded::open(directory, Options { fulltext: true, ..Options::default() }).unwrap()
}

#[test]
fn it_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let report = block_on(conformance::check(&AnyStore::new(indexed(directory.path())))).unwrap();
    assert_eq!(report.skipped, ["undelete"]);
}

/// What a search finds that reads every message, or those among these.
fn scan(store: &Embedded, name: &str, query: &Query, among: Option<&UidSet>) -> UidSet {
    let (mailbox, snapshot) = inbox(store, name);
    let mut matcher = Matcher::new(query);
    let read_one = |message: &crate::Message| {
        let flags = FlagSet::new();
        let (date, size) = (message.internal_date, message.size);
        matcher.metadata(&Metadata::new(message.uid, &flags, date, size, message.modseq));
        matcher.message_chunk(&read(store, &mailbox.message(message)).unwrap());
        matcher.finish().then_some(message.uid)
    };
    let meant = snapshot.messages().filter(|message| among.is_none_or(|among| among.contains(message.uid)));
    meant.filter_map(read_one).collect()
}

fn candidates(store: &Embedded, name: &str, query: &Query) -> Option<UidSet> {
    let (mailbox, snapshot) = inbox(store, name);
    block_on(Search::candidates(store, &mailbox, &snapshot, query)).unwrap()
}

/// What an index can know at best.
fn noted(store: &Embedded, name: &str) -> Vec<(Uid, Option<Vec<u32>>)> {
    let (mailbox, snapshot) = inbox(store, name);
    let note = |message: &crate::Message| {
        let mut trigrams = Trigrams::new();
        trigrams.push(&read(store, &mailbox.message(message)).unwrap());
        (message.uid, trigrams.finish())
    };
    snapshot.messages().map(note).collect()
}

/// How many messages the index spared of so many queries.
fn compare(store: &Embedded, dice: &mut Dice, queries: usize) -> u64 {
    let mut spared = 0;
    for _ in 0..queries {
        let query = dice.query(3);
        let all = scan(store, "alice", &query, None);
        if let Some(few) = candidates(store, "alice", &query) {
            spared += u64::from(inbox(store, "alice").1.len()) - few.len();
            assert_eq!(scan(store, "alice", &query, Some(&few)), all, "{query:?}");
        }
    }
    spared
}

/// The index is up to the mail: it spares what can be spared.
fn is_best(store: &Embedded, dice: &mut Dice, queries: usize) {
    let noted = noted(store, "alice");
    for _ in 0..queries {
        let query = dice.query(2);
        let may = |wanted: &Candidates, runs: &Option<Vec<u32>>| {
            runs.as_ref().is_none_or(|runs| wanted.admit(&|run| runs.binary_search(&run).is_ok()))
        };
        let best = Candidates::of(&query).map(|wanted| {
            noted.iter().filter(|(_, runs)| may(&wanted, runs)).map(|(uid, _)| *uid).collect::<UidSet>()
        });
        assert_eq!(candidates(store, "alice", &query), best, "{query:?}");
    }
}

fn keep_up(store: &Embedded, name: &str) {
    block_on(store.keep_up(&user(name))).unwrap();
}

#[test]
fn the_same_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let store = indexed(directory.path());
    let mut dice = Dice(1);
    let fill = |store: &Embedded, dice: &mut Dice, messages: usize| {
        for _ in 0..messages {
            block_on(deliver(store, "alice", dice.message().as_bytes()));
        }
    };
    fill(&store, &mut dice, 60);
    // Nobody has looked at the mail yet: it is searched without the index.
    assert_eq!(candidates(&store, "alice", &Key::Text("nowhere".into()).into()), None);
    keep_up(&store, "alice");
    let spared = compare(&store, &mut dice, 150);
    assert!(spared > 2_000, "{spared}");
    is_best(&store, &mut dice, 50);
    // More comes, some goes, and some is elsewhere too: what is new is searched.
    fill(&store, &mut dice, 10);
    let (mailbox, _) = inbox(&store, "alice");
    block_on(store.expunge(&mailbox, &Expunge::Exactly("3:9".parse().unwrap()))).unwrap();
    block_on(store.copy(&mailbox, &"1:2".parse().unwrap(), &MailboxName::inbox())).unwrap();
    compare(&store, &mut dice, 100);
    keep_up(&store, "alice");
    compare(&store, &mut dice, 50);
    is_best(&store, &mut dice, 30);
    // After the store was opened anew, before and after anybody has looked at what came at the last moment.
    fill(&store, &mut dice, 3);
    drop(store);
    let store = indexed(directory.path());
    assert!(compare(&store, &mut dice, 50) > 500);
    assert_eq!(block_on(store.behind()), user("alice"));
    keep_up(&store, "alice");
    is_best(&store, &mut dice, 30);
}

#[test]
fn other_mailboxes_have_their_own_candidates() {
    let directory = tempfile::tempdir().unwrap();
    let store = indexed(directory.path());
    let other = name("Other");
    block_on(store.create(&user("alice"), &other, None)).unwrap();
    for subject in ["tea", "coffee"] {
        block_on(deliver(&store, "alice", format!("Subject: {subject}\r\n\r\n").as_bytes()));
    }
    let (mailbox, _) = inbox(&store, "alice");
    block_on(store.copy(&mailbox, &"2".parse().unwrap(), &other)).unwrap();
    keep_up(&store, "alice");
    let snapshot = block_on(store.open(&user("alice"), &other)).unwrap();
    let there = MailboxRef::new(user("alice"), other, &snapshot);
    for (word, here, elsewhere) in [("tea", "1", ""), ("coffee", "2", "1")] {
        let query = Key::Text(word.into()).into();
        assert_eq!(candidates(&store, "alice", &query).unwrap().to_string(), here);
        let found = block_on(Search::candidates(&store, &there, &snapshot, &query)).unwrap();
        assert_eq!(found.unwrap().to_string(), elsewhere);
    }
    // What is moved is where it is, without another look.
    block_on(store.move_to(&mailbox, &"1".parse().unwrap(), &name("Other"))).unwrap();
    let snapshot = block_on(store.open(&user("alice"), &name("Other"))).unwrap();
    let found =
        block_on(Search::candidates(&store, &there, &snapshot, &Key::Text("tea".into()).into())).unwrap();
    assert_eq!(found.unwrap().to_string(), "2");
}

#[test]
fn what_cannot_be_told_is_searched() {
    let directory = tempfile::tempdir().unwrap();
    let store = indexed(directory.path());
    let long = format!("Subject: tea\r\nX: {}\r\n\r\nbody\r\n", "x".repeat(Trigrams::HEADER));
    block_on(deliver(&store, "alice", long.as_bytes()));
    block_on(deliver(&store, "alice", b"Subject: coffee\r\n\r\nbody\r\n"));
    keep_up(&store, "alice");
    let found = |word: &str| candidates(&store, "alice", &Key::Text(word.into()).into()).unwrap().to_string();
    assert_eq!([found("tea"), found("coffee"), found("water")], ["1", "1:2", "1"]);
}

fn index_of(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory.join("fulltext")) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// The files of all indexes.
fn files(directory: &Path) -> Vec<PathBuf> {
    let all = index_of(directory).into_iter().flat_map(|place| fs::read_dir(place).unwrap());
    all.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn one_that_is_damaged_or_missing_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let wanted: Query = Key::Text("invoice".into()).into();
    let mut dice = Dice(2);
    let store = indexed(directory.path());
    for _ in 0..30 {
        block_on(deliver(&store, "alice", dice.message().as_bytes()));
    }
    keep_up(&store, "alice");
    let (mailbox, _) = inbox(&store, "alice");
    block_on(store.expunge(&mailbox, &Expunge::Exactly("7".parse().unwrap()))).unwrap();
    keep_up(&store, "alice");
    let expected = candidates(&store, "alice", &wanted).unwrap();
    assert!(!expected.is_empty() && expected != inbox(&store, "alice").1.uids());
    drop(store);
    type Damage = (&'static str, fn(&Path));
    let damages: [Damage; 4] = [
        ("emptied", |path| fs::write(path, b"").unwrap()),
        ("removed", |path| fs::remove_file(path).unwrap()),
        ("changed", |path| {
            let mut octets = fs::read(path).unwrap();
            let middle = octets.len() / 2;
            if let Some(octet) = octets.get_mut(middle) {
                *octet ^= 0x55;
            }
            fs::write(path, octets).unwrap();
        }),
        ("other digits", |path| {
            let octets = fs::read(path).unwrap();
            let other = |octet| if matches!(octet, b'0'..=b'8') { octet + 1 } else { octet };
            fs::write(path, octets.into_iter().map(other).collect::<Vec<_>>()).unwrap();
        }),
    ];
    let kind = |path: &Path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.split_once('.').map_or_else(|| name.clone(), |(_, kind)| kind.to_owned())
    };
    // Each repair makes other files, of the same kinds.
    let kinds: BTreeSet<String> = files(directory.path()).iter().map(|path| kind(path)).collect();
    assert!(kinds.len() > 5, "{kinds:?}");
    for (damage, does) in damages {
        for wrong in &kinds {
            for path in files(directory.path()).iter().filter(|path| kind(path) == *wrong) {
                does(path);
            }
            let store = indexed(directory.path());
            let told = format!("{wrong} {damage}");
            let found =
                candidates(&store, "alice", &wanted).unwrap_or_else(|| inbox(&store, "alice").1.uids());
            assert_eq!(found.intersection(&expected), expected, "{told}");
            assert_eq!(
                scan(&store, "alice", &wanted, Some(&found)),
                scan(&store, "alice", &wanted, None),
                "{told}"
            );
            assert_eq!(block_on(store.behind()), user("alice"), "{told}");
            keep_up(&store, "alice");
            assert_eq!(candidates(&store, "alice", &wanted).unwrap(), expected, "{told}");
        }
    }
    fs::remove_dir_all(directory.path().join("fulltext")).unwrap();
    fs::write(directory.path().join("fulltext"), b"a file in its place").unwrap();
    let store = indexed(directory.path());
    assert_eq!(candidates(&store, "alice", &wanted), None);
    assert!(block_on(store.keep_up(&user("alice"))).is_err());
    fs::remove_file(directory.path().join("fulltext")).unwrap();
    keep_up(&store, "alice");
    assert_eq!(candidates(&store, "alice", &wanted).unwrap(), expected);
}

#[test]
fn it_is_caught_up_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let store = indexed(directory.path());
    let mut dice = Dice(3);
    for number in 0..12 {
        block_on(deliver(&store, "alice", dice.message().as_bytes()));
        if number % 3 == 2 {
            keep_up(&store, "alice");
        }
        // What the disk holds at this moment is what a killed process would leave.
        let killed = tempfile::tempdir().unwrap();
        copy_directory(directory.path(), killed.path());
        let copy = indexed(killed.path());
        compare(&copy, &mut dice, 5);
        assert_eq!(block_on(copy.behind()), user("alice"));
        keep_up(&copy, "alice");
        is_best(&copy, &mut dice, 5);
    }
}

#[test]
fn it_goes_with_the_mail() {
    let directory = tempfile::tempdir().unwrap();
    let store = indexed(directory.path());
    block_on(deliver(&store, "alice", b"Subject: secret plans\r\n\r\nx\r\n"));
    block_on(deliver(&store, "alice", b"Subject: lunch\r\n\r\nx\r\n"));
    block_on(deliver(&store, "bob", b"Subject: other plans\r\n\r\nx\r\n"));
    let behind: Vec<User> = (0..2).map(|_| block_on(store.behind())).collect();
    assert_eq!(behind, [user("alice"), user("bob")]);
    for user in &behind {
        block_on(store.keep_up(user)).unwrap();
    }
    assert_eq!(index_of(directory.path()).len(), 2);
    let wanted: Query = Key::Text("secret plans".into()).into();
    assert_eq!(candidates(&store, "alice", &wanted).unwrap().len(), 1);
    assert_eq!(candidates(&store, "bob", &wanted).unwrap().len(), 0);
    let size = || files(directory.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum::<u64>();
    let before = size();
    // Flags change nothing that is of interest; what is expunged is gone from the files, and nothing is left of nobody's mail.
    let (mailbox, _) = inbox(&store, "alice");
    let seen = FlagChange::new(crate::FlagOperation::Add, "(\\Seen)".parse().unwrap());
    block_on(store.store_flags(&mailbox, &"1:2".parse().unwrap(), &seen)).unwrap();
    block_on(store.expunge(&mailbox, &Expunge::Exactly("1".parse().unwrap()))).unwrap();
    assert_eq!(block_on(store.behind()), user("alice"));
    keep_up(&store, "alice");
    assert!(size() < before, "{} {before}", size());
    assert!(files(directory.path()).iter().all(|path| path.extension().is_none_or(|kind| kind != "del")));
    block_on(store.expunge(&mailbox, &Expunge::Exactly("2".parse().unwrap()))).unwrap();
    assert_eq!(block_on(store.behind()), user("alice"));
    keep_up(&store, "alice");
    assert_eq!(index_of(directory.path()).len(), 1);
    block_on(store.erase(&user("bob"))).unwrap();
    assert_eq!(index_of(directory.path()).len(), 0);
}

#[test]
fn what_is_there_of_nobody_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let store = indexed(directory.path());
    for name in ["alice", "bob"] {
        block_on(deliver(&store, name, b"Subject: plans\r\n\r\nx\r\n"));
        keep_up(&store, name);
    }
    // As if the erasure had been interrupted.
    let kept = tempfile::tempdir().unwrap();
    copy_directory(&directory.path().join("fulltext"), kept.path());
    block_on(store.erase(&user("bob"))).unwrap();
    drop(store);
    copy_directory(kept.path(), &directory.path().join("fulltext"));
    assert_eq!(index_of(directory.path()).len(), 2);
    drop(indexed(directory.path()));
    assert_eq!(index_of(directory.path()).len(), 1);
    // Nobody would keep it up.
    drop(open(directory.path()));
    assert!(!directory.path().join("fulltext").exists());
}

#[test]
fn whoever_is_gone_meanwhile_does_not_come_back() {
    use std::pin::pin;
    use std::task::{Context, Waker};

    let directory = tempfile::tempdir().unwrap();
    let store = indexed(directory.path());
    block_on(deliver(&store, "alice", b"Subject: plans\r\n\r\nx\r\n"));
    for name in ["alice", "bob"] {
        block_on(deliver(&store, name, b"Subject: plans\r\n\r\nx\r\n"));
    }
    let alice = user("alice");
    let mut work = pin!(store.keep_up(&alice));
    let mut context = Context::from_waker(Waker::noop());
    assert!(work.as_mut().poll(&mut context).is_pending());
    block_on(store.erase(&alice)).unwrap();
    block_on(work).unwrap();
    assert_eq!(index_of(directory.path()), Vec::<PathBuf>::new());
}

#[cfg(feature = "encryption")]
#[test]
fn what_is_encrypted_is_not_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = indexed(directory.path());
    let wanted: Query = Key::Text("eagle".into()).into();
    block_on(deliver(&store, "alice", b"Subject: eagle\r\n\r\nx\r\n"));
    keep_up(&store, "alice");
    assert!(candidates(&store, "alice", &wanted).is_some());
    block_on(store.encrypt(&user("alice"), b"swordfish")).unwrap();
    assert_eq!(index_of(directory.path()).len(), 0);
    block_on(deliver(&store, "alice", b"Subject: eagle\r\n\r\nx\r\n"));
    keep_up(&store, "alice");
    let alice = block_on(store.unlock(&user("alice"), b"swordfish")).unwrap();
    block_on(store.keep_up(&alice)).unwrap();
    let snapshot = block_on(store.open(&alice, &MailboxName::inbox())).unwrap();
    let mailbox = MailboxRef::new(alice.clone(), MailboxName::inbox(), &snapshot);
    assert_eq!(block_on(Search::candidates(&store, &mailbox, &snapshot, &wanted)).unwrap(), None);
    assert_eq!(index_of(directory.path()).len(), 0);
    // Who has keys has encrypted mail, even if what comes is not.
    block_on(store.stop_encrypting(&alice)).unwrap();
    keep_up(&store, "alice");
    assert_eq!(index_of(directory.path()).len(), 0);
}
