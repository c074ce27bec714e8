//! The stores without a directory pass the suite; one that does wrong does not.
#![allow(clippy::unwrap_used, missing_docs)]

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mailwright_mail_model::MailboxName;
use mailwright_mailstore::memory::Memory;
use mailwright_mailstore::{
    AnyStore, Mailbox, MessageRef, Result, Snapshot, Store, User, Write, block_on, conformance,
};

#[test]
fn memory_conforms() {
    let report = block_on(conformance::check(&Memory::new())).unwrap();
    assert_eq!(report.skipped, ["rows", "quota warnings", "search"]);
}

#[test]
fn any_store_conforms() {
    let report = block_on(conformance::check(&AnyStore::new(Memory::new()))).unwrap();
    assert_eq!(report.skipped, ["rows", "quota warnings", "search"]);
    assert!(report.passed.len() > 20);
}

/// Memory, seen through three methods and perhaps the writer, with octets lost if so wanted.
struct Partial {
    memory: Memory,
    writes: bool,
    loses: u64,
}

impl Store for Partial {
    async fn mailboxes(&self, user: &User) -> Result<Vec<Mailbox>> {
        self.memory.mailboxes(user).await
    }

    async fn open(&self, user: &User, name: &MailboxName) -> Result<Arc<Snapshot>> {
        self.memory.open(user, name).await
    }

    async fn read(&self, message: &MessageRef, range: Range<u64>) -> Result<Bytes> {
        self.memory.read(message, range.start + self.loses..range.end + self.loses).await
    }

    fn writer(&self) -> Option<&impl Write> {
        Some(&self.memory).filter(|_| self.writes)
    }
}

#[test]
fn facets_that_are_not_there_are_skipped() {
    let store = Partial { memory: Memory::new(), writes: false, loses: 0 };
    let report = block_on(conformance::check(&store)).unwrap();
    assert_eq!(
        report.skipped,
        [
            "writer", "folders", "watch", "changes", "cache", "several", "rows", "spool", "quota", "acl",
            "metadata", "annotate", "scripts", "origins", "import", "feed", "undelete", "search"
        ]
    );
    let store = Partial { memory: Memory::new(), writes: true, loses: 0 };
    let report = block_on(conformance::check(&AnyStore::new(store))).unwrap();
    assert_eq!(
        report.skipped,
        [
            "folders", "watch", "changes", "cache", "rows", "spool", "quota", "acl", "metadata", "annotate",
            "scripts", "origins", "import", "feed", "undelete", "search"
        ]
    );
}

#[test]
fn a_store_that_loses_octets_does_not_pass() {
    let store = Partial { memory: Memory::new(), writes: true, loses: 1 };
    let failure = block_on(conformance::check(&store)).unwrap_err();
    assert_eq!(failure.check, "append::a_message_comes_back_as_it_was");
}

/// Nobody answers, or whoever answers blocks the thread for a while.
struct Hanging(bool);

impl Store for Hanging {
    async fn mailboxes(&self, _: &User) -> Result<Vec<Mailbox>> {
        Ok(vec![Mailbox::inbox()])
    }

    async fn open(&self, _: &User, _: &MailboxName) -> Result<Arc<Snapshot>> {
        if self.0 {
            std::thread::sleep(Duration::from_millis(100));
        }
        std::future::pending().await
    }

    async fn read(&self, _: &MessageRef, _: Range<u64>) -> Result<Bytes> {
        Ok(Bytes::new())
    }
}

#[test]
fn a_store_that_hangs_does_not_hang_the_suite() {
    for blocks in [false, true] {
        let limit = Duration::from_millis(20);
        let failure = block_on(conformance::check_within(&Hanging(blocks), limit)).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "before the first check: not done within 20ms: the store hangs, or is very slow"
        );
    }
}

#[test]
fn a_second_run_says_what_it_wants() {
    let store = Memory::new();
    block_on(conformance::check(&store)).unwrap();
    let failure = block_on(conformance::check(&store)).unwrap_err();
    assert!(failure.to_string().contains("earlier run"), "{failure}");
    assert!(failure.to_string().contains("conformance-append@example.org"), "{failure}");
}

/// The suite may be run on a task of any runtime.
#[test]
fn a_check_can_be_sent() {
    fn sent(check: impl Send) {
        drop(check);
    }
    sent(conformance::check(&Memory::new()));
}
