//! Processes that deliver into one Maildir, change and move its messages are killed at odd moments; what they acknowledged is
//! there, each message once, under the UID that was told. And a disk that is full is an error, not a loss.
#![cfg(feature = "maildir")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use mailwright_mail_model::{DateTime, MailboxName, UidSet};
use mailwright_mailstore::maildir::{Maildir, Options, Template};
use mailwright_mailstore::{
    Expunge, FlagChange, FlagOperation, Folders, MailboxRef, Snapshot, Store, StoreError, Target, User,
    Write, block_on,
};

const DIRECTORY: &str = "MAILSTORE_MAILDIR_DIRECTORY";
const KILLS: u64 = 100;
const THREADS: u32 = 3;

fn alice() -> User {
    User::new("alice@example.org").unwrap()
}

fn archive() -> MailboxName {
    MailboxName::new("Archive").unwrap()
}

fn store(directory: &Path) -> Maildir {
    let template = Template::new(&format!("{}/%u", directory.display())).unwrap();
    let mut options = Options::default();
    options.spool = directory.join("spool");
    Maildir::new(template, options)
}

/// The text of a message, from which it can be told whether it is whole.
fn text(name: &str, number: u32) -> String {
    let length = if number % 16 == 15 { 20_000 } else { 10 };
    format!("{name}-{number}\r\n").repeat(length)
}

fn deliver(store: &Maildir, name: &str, number: u32) -> Result<u32, StoreError> {
    block_on(async {
        let mut upload = store.begin(None).await?;
        upload.write(Bytes::from(text(name, number))).await?;
        let target = Target::new(alice(), MailboxName::inbox(), DateTime::new(1_000_000_000, 0).unwrap());
        let appended = upload.commit(&[target]).await.map_err(|error| error.error)?;
        Ok(appended[0].uid.get())
    })
}

/// Not a test of its own: the process that is killed.
#[test]
fn work_until_killed() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let round = std::env::var("MAILSTORE_MAILDIR_ROUND").unwrap();
    let store = store(Path::new(&directory));
    // One write, so that lines of several threads do not mix.
    let say = |line: String| std::io::stdout().write_all(format!("\n{line}\n").as_bytes()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, round) = (&store, &round);
            scope.spawn(move || {
                for number in 0.. {
                    let name = format!("{round}.{thread}");
                    let uid = deliver(store, &name, number).unwrap();
                    say(format!("delivered {uid} {name}-{number}"));
                }
            });
        }
        // One changes flags, and moves every third message away.
        loop {
            let snapshot = block_on(store.open(&alice(), &MailboxName::inbox())).unwrap();
            let mailbox = MailboxRef::new(alice(), MailboxName::inbox(), &snapshot);
            for message in snapshot.messages().filter(|message| message.flags.is_empty()).take(5) {
                let uids = UidSet::from(message.uid);
                let change = FlagChange::new(FlagOperation::Add, "(\\Seen Work)".parse().unwrap());
                block_on(store.store_flags(&mailbox, &uids, &change)).unwrap();
                say(format!("seen {}", message.uid));
                if message.uid.get() % 3 == 0 {
                    block_on(store.move_to(&mailbox, &uids, &archive())).unwrap();
                    say(format!("moved {}", message.uid));
                }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}

fn start(directory: &Path, round: &str) -> (Child, std::thread::JoinHandle<Vec<String>>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "work_until_killed", "--nocapture"])
        .env(DIRECTORY, directory)
        .env("MAILSTORE_MAILDIR_ROUND", round)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    // The last line may be cut short: then nobody has heard it.
    let whole = |line: &String| line.split(' ').count() >= 2;
    (child, std::thread::spawn(move || output.lines().map_while(Result::ok).filter(whole).collect()))
}

/// What processes acknowledged.
#[derive(Default)]
struct Ledger {
    delivered: BTreeMap<u32, String>,
    seen: Vec<u32>,
    moved: Vec<u32>,
}

impl Ledger {
    fn note(&mut self, lines: Vec<String>) {
        for line in lines {
            let words: Vec<_> = line.split(' ').collect();
            let Some(uid) = words.get(1).and_then(|uid| uid.parse::<u32>().ok()) else { continue };
            match words[..] {
                ["delivered", _, name] if name.contains('-') => {
                    let before = self.delivered.insert(uid, name.to_owned());
                    assert_eq!(before, None, "UID {uid} was given twice");
                }
                ["seen", _] => self.seen.push(uid),
                ["moved", _] => self.moved.push(uid),
                _ => {}
            }
        }
    }
}

#[test]
fn what_was_acknowledged_survives_kills() {
    let directory = tempfile::tempdir().unwrap();
    block_on(store(directory.path()).create(&alice(), &archive(), None)).unwrap();
    let mut ledger = Ledger::default();
    let enough = |ledger: &Ledger| ledger.delivered.len() > 200 && ledger.moved.len() > 10;
    // A busy machine gets less done between two kills, and so is killed more often.
    for round in 0..KILLS * 5 {
        if round >= KILLS / 2 && enough(&ledger) {
            break;
        }
        // Two processes at the same mailbox, killed one after the other: the second one meets the first one's locks.
        let (mut one, first) = start(directory.path(), &format!("{round}a"));
        let (mut other, second) = start(directory.path(), &format!("{round}b"));
        // And gets more time, the longer that takes.
        std::thread::sleep(Duration::from_millis(60 + round * 37 % 120) * (1 + (round / KILLS) as u32));
        one.kill().unwrap();
        std::thread::sleep(Duration::from_millis(round * 13 % 40));
        other.kill().unwrap();
        for (child, reader) in [(&mut one, first), (&mut other, second)] {
            child.wait().unwrap();
            ledger.note(reader.join().unwrap());
        }
    }
    assert!(enough(&ledger), "too little was done to say anything");
    check(directory.path(), &ledger);
    println!("{KILLS} kills or more, {} delivered, {} moved", ledger.delivered.len(), ledger.moved.len());
}

/// The messages of a mailbox: UID to name, each of them whole.
fn contents(store: &Maildir, name: &MailboxName) -> (std::sync::Arc<Snapshot>, BTreeMap<u32, String>) {
    let snapshot = block_on(store.open(&alice(), name)).unwrap();
    let mailbox = MailboxRef::new(alice(), name.clone(), &snapshot);
    let mut found = BTreeMap::new();
    for message in snapshot.messages() {
        let mut octets = Vec::new();
        while (octets.len() as u64) < message.size {
            let range = octets.len() as u64..message.size;
            octets.extend_from_slice(&block_on(store.read(&mailbox.message(message), range)).unwrap());
        }
        let octets = String::from_utf8(octets).unwrap();
        let line = octets.lines().next().unwrap().to_owned();
        let (name, number) = line.split_once('-').unwrap();
        assert!(octets == text(name, number.parse().unwrap()), "{line} is torn");
        found.insert(message.uid.get(), line);
    }
    (snapshot, found)
}

fn check(directory: &Path, ledger: &Ledger) {
    let store = store(directory);
    let (snapshot, inbox) = contents(&store, &MailboxName::inbox());
    let (_, archived) = contents(&store, &archive());
    let mut names: Vec<_> = inbox.values().collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), inbox.len(), "a message is there twice");
    for (uid, name) in &ledger.delivered {
        match inbox.get(uid) {
            Some(found) => assert_eq!(found, name, "UID {uid} is another message"),
            None => assert!(archived.values().any(|found| found == name), "{name} is lost"),
        }
    }
    for uid in &ledger.moved {
        assert!(!inbox.contains_key(uid), "UID {uid} was moved away");
    }
    for uid in ledger.seen.iter().filter(|uid| inbox.contains_key(uid)) {
        let message = snapshot.message((*uid).try_into().unwrap()).unwrap();
        assert_eq!(message.flags.to_string(), "(\\Seen Work)", "UID {uid}");
    }
    // Nothing is locked, and all can be changed.
    let mailbox = MailboxRef::new(alice(), MailboxName::inbox(), &snapshot);
    block_on(store.expunge(&mailbox, &Expunge::Exactly(snapshot.uids()))).unwrap();
    assert!(block_on(store.open(&alice(), &MailboxName::inbox())).unwrap().is_empty());
}

/// A small file system that goes when it is dropped.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "none"])
            .arg(directory.path())
            .stderr(Stdio::null())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(directory));
        }
        println!("skipped: only root can mount a small file system");
        None
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let Some(disk) = Small::mount() else { return };
    let directory = disk.0.path();
    let store = store(directory);
    let (mut acknowledged, mut refused) = (BTreeMap::new(), 0);
    for number in 0..2_000 {
        match deliver(&store, "x", number) {
            Ok(uid) => assert_eq!(acknowledged.insert(uid, format!("x-{number}")), None),
            Err(StoreError::Full(_)) => refused += 1,
            Err(other) => panic!("expected a full disk, got {other:?}"),
        }
        if refused > 50 {
            break;
        }
    }
    assert!(refused > 50 && acknowledged.len() > 20);
    let (_, found) = contents(&store, &MailboxName::inbox());
    assert_eq!(found, acknowledged);
    // Flags are names, which need no room; whatever happens, no message goes.
    let snapshot = block_on(store.open(&alice(), &MailboxName::inbox())).unwrap();
    let mailbox = MailboxRef::new(alice(), MailboxName::inbox(), &snapshot);
    let change = FlagChange::new(FlagOperation::Add, "(\\Seen)".parse().unwrap());
    let _full = block_on(store.store_flags(&mailbox, &snapshot.uids(), &change));
    assert_eq!(contents(&self::store(directory), &MailboxName::inbox()).1, acknowledged);
    // With room again, it goes on.
    let half = acknowledged.keys().copied().take(acknowledged.len() / 2);
    let half: UidSet = half.map(|uid| mailwright_mail_model::Uid::new(uid).unwrap()).collect();
    let mailbox = MailboxRef::new(alice(), MailboxName::inbox(), &snapshot);
    block_on(store.expunge(&mailbox, &Expunge::Exactly(half.clone()))).unwrap();
    acknowledged.retain(|uid, _| !half.contains((*uid).try_into().unwrap()));
    let uid = deliver(&store, "y", 1).unwrap();
    assert!(acknowledged.keys().all(|before| *before < uid));
    acknowledged.insert(uid, "y-1".into());
    assert_eq!(contents(&store, &MailboxName::inbox()).1, acknowledged);
}
