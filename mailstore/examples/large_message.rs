//! How much memory a large message takes on its way in and out: `large_message [MEBIBYTES] [DIRECTORY]`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::PathBuf;
use std::time::Instant;

use bytes::Bytes;
use mailwright_mail_model::{DateTime, MailboxName};
use mailwright_mailstore::embedded::{Embedded, Options};
use mailwright_mailstore::{MailboxRef, Store, Target, User, Write, block_on};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let mebibytes: u32 = arguments.get(1).map_or(2_048, |text| text.parse().unwrap());
    let parent = arguments.get(2).map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = tempfile::tempdir_in(parent).unwrap();
    let store = Embedded::open(directory.path(), Options::default()).unwrap();
    let (alice, inbox) = (User::new("alice").unwrap(), MailboxName::inbox());
    println!("before: {}", memory());

    // Octets that do not compress, in the portions a socket gives.
    let noise = |block: u32| {
        let mut state = u64::from(block) | 1 << 40;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        };
        Bytes::from(std::iter::repeat_with(next).take(65_536).collect::<Vec<_>>())
    };
    let start = Instant::now();
    block_on(async {
        let mut upload = store.begin(None).await.unwrap();
        for block in 0..mebibytes * 16 {
            upload.write(noise(block)).await.unwrap();
        }
        upload
            .commit(&[Target::new(alice.clone(), inbox.clone(), DateTime::new(0, 0).unwrap())])
            .await
            .unwrap();
    });
    println!("written in {:.1?}: {}", start.elapsed(), memory());

    let start = Instant::now();
    block_on(async {
        let snapshot = store.open(&alice, &inbox).await.unwrap();
        let message = MailboxRef::new(alice, inbox, &snapshot).message(snapshot.messages().next().unwrap());
        let (mut place, mut block) = (0, 0);
        while place < message.size {
            let chunk = store.read(&message, place..place + 65_536).await.unwrap();
            assert_eq!(chunk, noise(block));
            place += chunk.len() as u64;
            block += 1;
        }
    });
    println!("read in {:.1?}: {}", start.elapsed(), memory());
}

/// The highest resident memory of this process so far, where the system tells.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    line.unwrap_or("VmHWM: unknown").split_whitespace().collect::<Vec<_>>().join(" ")
}
