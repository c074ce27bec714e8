//! How many messages a second the embedded store makes durable: `deliveries [MESSAGES] [OCTETS] [DIRECTORY]`.
//!
//! Each thread delivers one message after the other and waits for each to be on disk, as an SMTP session does.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use mailwright_mail_model::{DateTime, MailboxName};
use mailwright_mailstore::embedded::{Embedded, Options};
use mailwright_mailstore::{Store, Target, User, Write, block_on};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number =
        |index: usize, default: u64| arguments.get(index).map_or(default, |text| text.parse().unwrap());
    let (messages, octets) = (number(1, 50_000), number(2, 4_096));
    let parent = arguments.get(3).map_or_else(std::env::temp_dir, PathBuf::from);
    // Text, since what is stored is compressed in the background.
    let text: Vec<u8> =
        (0..octets).map(|index| b"It was a dark and stormy night; \r\n"[index as usize % 34]).collect();
    let body = Bytes::from(text);

    for threads in [1, 20, 100] {
        let directory = tempfile::tempdir_in(&parent).unwrap();
        let store = Embedded::open(directory.path(), Options::default()).unwrap();
        let next = AtomicU64::new(0);
        let start = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let (store, next, body) = (&store, &next, &body);
                scope.spawn(move || {
                    let user = User::new(&format!("user-{thread}@example.org")).unwrap();
                    let target = [Target::new(user, MailboxName::inbox(), DateTime::new(0, 0).unwrap())];
                    while next.fetch_add(1, Ordering::Relaxed) < messages {
                        block_on(async {
                            let mut upload = store.begin(Some(body.len() as u64)).await.unwrap();
                            upload.write(body.clone()).await.unwrap();
                            upload.commit(&target).await.unwrap();
                        });
                    }
                });
            }
        });
        let seconds = start.elapsed().as_secs_f64();
        println!("{threads:>3} threads: {:>8.0} messages/s, {}", messages as f64 / seconds, memory());

        let user = User::new("user-0@example.org").unwrap();
        drop(store);
        let start = Instant::now();
        let store = Embedded::open(directory.path(), Options::default()).unwrap();
        let opened = start.elapsed();
        let start = Instant::now();
        let count = block_on(store.open(&user, &MailboxName::inbox())).unwrap().len();
        println!(
            "    reopened in {opened:.1?}; a mailbox of {count} messages read in {:.1?}",
            start.elapsed()
        );
    }
}

/// The resident memory of this process, where the system tells.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    line.unwrap_or("VmRSS: unknown").split_whitespace().collect::<Vec<_>>().join(" ")
}
