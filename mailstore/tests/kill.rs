//! A process that delivers into the embedded store is killed at odd moments; what it acknowledged is there, each message once.
#![cfg(feature = "embedded")]
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use mailwright_mail_model::{DateTime, MailboxName};
use mailwright_mailstore::embedded::{Embedded, Options};
use mailwright_mailstore::{MailboxRef, Store, Target, User, Write, block_on};

const DIRECTORY: &str = "MAILSTORE_KILL_DIRECTORY";
const THREADS: u32 = 8;
/// How often to kill, unless `MAILSTORE_KILLS` says another number. More than five hundred take a quarter of an hour.
const KILLS: u64 = 10;

fn alice() -> User {
    User::new("alice@example.org").unwrap()
}

/// The text of a message, from which it can be told whether it is whole: most are small, some have several chunks.
fn text(round: u64, thread: u32, number: u32) -> String {
    let length = if number % 16 == 15 { 50_000 } else { 40 };
    format!("{round} {thread} {number}\n").repeat(length)
}

/// Not a test of its own: the process that is killed. It delivers until then, and says what was acknowledged.
#[test]
fn deliver_until_killed() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let round: u64 = std::env::var("MAILSTORE_KILL_ROUND").unwrap().parse().unwrap();
    let mut options = Options::default();
    // Alone, whoever delivers commits; several leave it to the thread of the store, or take turns with it.
    let threads = [THREADS, 1, THREADS, 2][usize::try_from(round % 4).unwrap()];
    options.in_place = (!round.is_multiple_of(4)).then_some(|work| work());
    let store = Embedded::open(directory, options).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let store = &store;
            scope.spawn(move || {
                for number in 0.. {
                    block_on(async {
                        let mut upload = store.begin(None).await.unwrap();
                        let text = Bytes::from(text(round, thread, number));
                        for part in text.chunks(60_000) {
                            upload.write(text.slice_ref(part)).await.unwrap();
                        }
                        let target = Target::new(alice(), MailboxName::inbox(), DateTime::new(0, 0).unwrap());
                        let uid = upload.commit(&[target]).await.unwrap().first().unwrap().uid;
                        // One write, so that lines of several threads do not mix.
                        let line = format!("\nacknowledged {uid} {round} {thread} {number}\n");
                        std::io::stdout().write_all(line.as_bytes()).unwrap();
                    });
                }
            });
        }
    });
}

#[test]
fn what_was_acknowledged_survives_kills() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeMap::new();
    let kills = std::env::var("MAILSTORE_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    for round in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "deliver_until_killed", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .env("MAILSTORE_KILL_ROUND", round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let reader = std::thread::spawn(move || output.lines().map_while(Result::ok).collect::<Vec<_>>());
        std::thread::sleep(Duration::from_millis(150 + round * 67 % 300));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in reader.join().unwrap() {
            let Some(line) = line.strip_prefix("acknowledged ") else { continue };
            let fields: Vec<u64> = line.split(' ').map_while(|field| field.parse().ok()).collect();
            // The last line may be cut short: then nobody has heard it.
            let &[uid, round, thread, number] = &*fields else { continue };
            let message = (round, u32::try_from(thread).unwrap(), u32::try_from(number).unwrap());
            assert_eq!(acknowledged.insert(uid, message), None, "a UID given twice");
        }
        check(directory.path(), &acknowledged);
    }
    assert!(acknowledged.len() > 20, "{} messages are too few to say anything", acknowledged.len());
}

fn check(directory: &Path, acknowledged: &BTreeMap<u64, (u64, u32, u32)>) {
    let store = Embedded::open(directory, Options::default()).unwrap();
    let snapshot = block_on(store.open(&alice(), &MailboxName::inbox())).unwrap();
    let mailbox = MailboxRef::new(alice(), MailboxName::inbox(), &snapshot);
    let mut seen = BTreeMap::new();
    for message in snapshot.messages() {
        let mut octets = Vec::new();
        while (octets.len() as u64) < message.size {
            let range = octets.len() as u64..message.size;
            octets.extend_from_slice(&block_on(store.read(&mailbox.message(message), range)).unwrap());
        }
        let line = octets.split(|octet| *octet == b'\n').next().unwrap();
        let line = str::from_utf8(line).unwrap();
        let fields: Vec<u64> = line.split(' ').map(|field| field.parse().unwrap()).collect();
        let &[round, thread, number] = &*fields else { unreachable!("three numbers: {line}") };
        let origin = (round, u32::try_from(thread).unwrap(), u32::try_from(number).unwrap());
        assert!(octets == text(origin.0, origin.1, origin.2).into_bytes(), "{line} is torn");
        assert_eq!(seen.insert(origin, u64::from(message.uid.get())), None, "{line} is there twice");
    }
    for (uid, origin) in acknowledged {
        assert_eq!(seen.get(origin), Some(uid), "acknowledged as UID {uid}");
    }
}
