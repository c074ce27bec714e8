//! The stores without a directory pass the suite; one that does wrong does not.
#![allow(clippy::unwrap_used, missing_docs)]

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mailwright_mail_model::{DateTime, MailboxName, ModSeq, SpecialUse, UidSet};
use mailwright_mailstore::backend::Signal;
use mailwright_mailstore::memory::Memory;
use mailwright_mailstore::{
    AnyStore, Appended, CommitError, Copied, Expunge, Expunged, FlagChange, FlagsStored, Folders, Mailbox,
    MailboxRef, MessageRef, Result, Sink, Snapshot, Store, Target, Upload, User, Watch, Write, block_on,
    conformance,
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

/// It was not the suite that put it there: it cannot.
#[test]
fn a_store_that_takes_no_mail_may_have_some() {
    let memory = Memory::new();
    let user = User::new("conformance-append@example.org").unwrap();
    block_on(async {
        let mut upload = memory.begin(None).await.unwrap();
        upload.write(Bytes::from_static(b"text")).await.unwrap();
        let date = DateTime::new(1_700_000_000, 0).unwrap();
        upload.commit(&[Target::new(user, MailboxName::inbox(), date)]).await.unwrap();
    });
    let store = Partial { memory, writes: false, loses: 0 };
    assert_eq!(block_on(conformance::check(&store)).unwrap().passed.len(), 2);
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
            "append::a_new_user_has_an_empty_inbox: not done within 20ms: the store hangs, or is very slow"
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

/// Memory without mod-sequences: each message keeps the first there is, and a signal tells of changes.
struct Unnumbered {
    memory: Memory,
    changed: Arc<Signal>,
}

impl Unnumbered {
    /// Raises the signal if something was done.
    fn told<T, E>(&self, done: Result<T, E>) -> Result<T, E> {
        if done.is_ok() {
            self.changed.raise();
        }
        done
    }
}

impl Store for Unnumbered {
    async fn mailboxes(&self, user: &User) -> Result<Vec<Mailbox>> {
        self.memory.mailboxes(user).await
    }

    async fn open(&self, user: &User, name: &MailboxName) -> Result<Arc<Snapshot>> {
        let found = self.memory.open(user, name).await?;
        let messages = found.messages().cloned().map(|mut message| {
            message.modseq = ModSeq::MIN;
            message
        });
        let snapshot = Snapshot::builder(found.uid_validity()).uid_next(found.uid_next()).messages(messages);
        Ok(Arc::new(snapshot.build()))
    }

    async fn read(&self, message: &MessageRef, range: Range<u64>) -> Result<Bytes> {
        self.memory.read(message, range).await
    }

    fn writer(&self) -> Option<&impl Write> {
        Some(self)
    }

    fn folders(&self) -> Option<&impl Folders> {
        Some(self)
    }

    fn watch(&self) -> Option<&impl Watch> {
        Some(self)
    }
}

impl Watch for Unnumbered {
    async fn changed(&self, user: &User, name: &MailboxName, seen: &Snapshot) -> Result<Arc<Snapshot>> {
        self.changed.changed(self, user, name, seen).await
    }
}

impl Write for Unnumbered {
    async fn begin(&self, size: Option<u64>) -> Result<Upload> {
        Ok(Upload::new(Told { upload: self.memory.begin(size).await?, changed: Arc::clone(&self.changed) }))
    }

    async fn store_flags(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        change: &FlagChange,
    ) -> Result<FlagsStored> {
        let mut planned =
            change.plan_without_modseqs(&*self.open(mailbox.user(), mailbox.name()).await?, uids);
        let stored = self.told(self.memory.store_flags(mailbox, uids, change).await)?;
        planned.0.messages.retain(|(uid, ..)| stored.messages.iter().any(|(other, ..)| other == uid));
        Ok(planned.0)
    }

    async fn expunge(&self, mailbox: &MailboxRef, which: &Expunge) -> Result<Expunged> {
        let expunged = self.told(self.memory.expunge(mailbox, which).await)?;
        Ok(Expunged::new(expunged.uids, ModSeq::MIN))
    }

    async fn copy(&self, mailbox: &MailboxRef, uids: &UidSet, target: &MailboxName) -> Result<Copied> {
        let copied = self.told(self.memory.copy(mailbox, uids, target).await)?;
        Ok(Copied::new(copied.uid_validity, copied.source, copied.target, ModSeq::MIN))
    }

    async fn move_to(&self, mailbox: &MailboxRef, uids: &UidSet, target: &MailboxName) -> Result<Copied> {
        let moved = self.told(self.memory.move_to(mailbox, uids, target).await)?;
        Ok(Copied::new(moved.uid_validity, moved.source, moved.target, ModSeq::MIN))
    }
}

struct Told {
    upload: Upload,
    changed: Arc<Signal>,
}

impl Sink for Told {
    async fn write(&mut self, octets: Bytes) -> Result<()> {
        self.upload.write(octets).await
    }

    fn relate(&mut self, ids: Vec<Bytes>) {
        self.upload.relate(ids);
    }

    async fn commit(&mut self, targets: &[Target]) -> Result<Vec<Appended>, CommitError> {
        let appended = self.upload.commit(targets).await?;
        self.changed.raise();
        Ok(appended)
    }
}

impl Folders for Unnumbered {
    async fn create(&self, user: &User, name: &MailboxName, used: Option<SpecialUse>) -> Result<Mailbox> {
        self.told(self.memory.create(user, name, used).await)
    }

    async fn delete(&self, user: &User, name: &MailboxName) -> Result<()> {
        self.told(self.memory.delete(user, name).await)
    }

    async fn rename(&self, user: &User, from: &MailboxName, to: &MailboxName) -> Result<()> {
        self.told(self.memory.rename(user, from, to).await)
    }

    async fn subscribe(&self, user: &User, name: &MailboxName) -> Result<()> {
        self.memory.subscribe(user, name).await
    }

    async fn unsubscribe(&self, user: &User, name: &MailboxName) -> Result<()> {
        self.memory.unsubscribe(user, name).await
    }

    async fn subscriptions(&self, user: &User) -> Result<Vec<MailboxName>> {
        self.memory.subscriptions(user).await
    }

    async fn erase(&self, user: &User) -> Result<()> {
        self.told(self.memory.erase(user).await)
    }
}

/// In the order of `docs/backends.md` a store is here before it has mod-sequences.
#[test]
fn a_store_without_mod_sequences_conforms() {
    let store = Unnumbered { memory: Memory::new(), changed: Arc::default() };
    let report = block_on(conformance::check(&store)).unwrap();
    assert!(report.passed.contains(&"told::whoever_waits_at_a_mailbox_is_told"), "{report:?}");
    assert!(report.skipped.contains(&"changes"), "{report:?}");
}
