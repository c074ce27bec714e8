//! The stores without a directory pass the suite; one that does wrong does not.
#![allow(clippy::unwrap_used, missing_docs)]

use std::ops::Range;
use std::sync::Arc;

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
