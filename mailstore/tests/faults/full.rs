//! A disk without room.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mailwright_mail_model::MailboxName;
use mailwright_mailstore::embedded::Embedded;
use mailwright_mailstore::{MailboxRef, Store, StoreError, block_on};

use crate::ledger::Ledger;
use crate::number;
use crate::workload::{alice, deliver, options, text};

/// How often the disk runs full, unless `MAILSTORE_FULL` says another number.
const ROUNDS: usize = 12;

/// A small file system that goes when it is dropped.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=160m", "none"])
            .arg(directory.path())
            .stderr(Stdio::null())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(directory));
        }
        println!("skipped: only root can mount a small file system");
        None
    }

    fn free(&self) -> u64 {
        let disk = rustix::fs::statvfs(self.0.path()).unwrap();
        disk.f_bavail * disk.f_frsize
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_refuses_for_the_time_being_and_loses_nothing() {
    let Some(disk) = Small::mount() else { return };
    let (directory, ballast) = (disk.0.path().join("store"), disk.0.path().join("ballast"));
    let store = Embedded::open(&directory, options()).unwrap();
    let (mut ledger, mut number_of_message, mut slowest) = (Ledger::default(), 0, Duration::ZERO);
    for round in 0..number("MAILSTORE_FULL", ROUNDS) {
        // Each time another amount of room is left, so that it ends at another stage.
        let left = (round as u64 * 677 % 3_000) << 10;
        let fill = vec![1; usize::try_from(disk.free().saturating_sub(left)).unwrap()];
        // The database, which writes out in the background, may have taken some of the room just now: then the rest is filled.
        if let Err(error) = std::fs::write(&ballast, fill) {
            assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{error}");
        }
        let mut refused = 0;
        while refused < 25 {
            number_of_message += 1;
            let name = format!("{round}-{}-{number_of_message}", number_of_message % 4);
            match deliver(&store, &name) {
                Ok(uid) => ledger.note(&format!("delivered {name} {uid}")),
                Err(StoreError::Full(_)) => {
                    refused += 1;
                    ledger.note(&format!("refused {name}"));
                }
                // A part of it went to the database that is not there any more.
                Err(StoreError::Unavailable(_)) => ledger.note(&format!("refused {name}")),
                Err(other) => panic!("expected a disk without room, got {other:?}"),
            }
        }
        assert!(store.failure().is_some_and(|text| text.contains("no room")), "{:?}", store.failure());
        read_all(&store, &directory);
        std::fs::remove_file(&ballast).unwrap();
        let since = Instant::now();
        loop {
            number_of_message += 1;
            let name = format!("{round}-0-{number_of_message}");
            if let Ok(uid) = deliver(&store, &name) {
                ledger.note(&format!("delivered {name} {uid}"));
                break;
            }
            ledger.note(&format!("refused {name}"));
            assert!(since.elapsed() < Duration::from_secs(20), "nothing is taken although there is room");
            std::thread::sleep(Duration::from_millis(10));
        }
        slowest = slowest.max(since.elapsed());
        assert_eq!(store.failure(), None);
    }
    drop(store);
    ledger.check(&directory, true).unwrap();
    println!(
        "{} acknowledged, {} refused; at the slowest after {slowest:?} taken again",
        ledger.acknowledged, ledger.refused
    );
}

/// What is there can be read all the time.
fn read_all(store: &Embedded, directory: &Path) {
    let snapshot = block_on(store.open(&alice(), &MailboxName::inbox())).unwrap();
    let inbox = MailboxRef::new(alice(), MailboxName::inbox(), &snapshot);
    for message in snapshot.messages() {
        let octets = block_on(store.read(&inbox.message(message), 0..100)).unwrap();
        let line = octets.split(|octet| *octet == b'\n').next().unwrap();
        assert!(
            text(str::from_utf8(line).unwrap()).as_bytes().starts_with(&octets),
            "{}",
            directory.display()
        );
    }
}
