//! Mailboxes of one store beside the queue of another: whenever the process dies, nothing that was acknowledged is lost, and nothing is
//! sent that the mailboxes have refused.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

#[path = "with_queue/mortal.rs"]
mod mortal;

use std::future::{Future, poll_fn};
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use mailwright_mail_model::{DateTime, MailboxName, ReversePath};
use mailwright_mailstore::memory::Memory;
use mailwright_mailstore::{
    Batch, CommitError, Committed, Joined, Mailbox, MessageRef, QueueEntry, QueueNews, QueueNumber,
    QueueRecipient, Result, Settlement, SharedQueue, Snapshot, Spool, Store, StoreError, Target, User,
    WithQueue, Write, block_on, conformance,
};
use mortal::{End, Life, Mortal};

#[test]
fn memory_beside_memory_conforms() {
    let queue = block_on(SharedQueue::open(Memory::new())).unwrap();
    let report = block_on(conformance::check(&WithQueue::new(Memory::new(), queue))).unwrap();
    assert_eq!(report.skipped, ["rows", "quota warnings", "search"]);
    assert!(report.passed.contains(&"queue::a_message_goes_into_mailboxes_and_queue_at_once"));
}

#[cfg(all(feature = "maildir", feature = "embedded"))]
#[test]
fn maildirs_beside_a_database_conform() {
    use mailwright_mailstore::AnyStore;
    use mailwright_mailstore::embedded::{Embedded, Options};
    use mailwright_mailstore::maildir::{self, Maildir, Template};

    let directory = tempfile::tempdir().unwrap();
    let template = Template::new(&format!("{}/%u", directory.path().display())).unwrap();
    let mut options = maildir::Options::default();
    options.spool = directory.path().join("spool");
    let database = Embedded::open(directory.path().join("queue"), Options::default()).unwrap();
    let queue = block_on(SharedQueue::open(database.clone())).unwrap();
    let store = WithQueue::new(Maildir::new(template, options), queue);
    let report = block_on(conformance::check(&AnyStore::new(store))).unwrap();
    assert!(!report.skipped.contains(&"spool"), "{:?}", report.skipped);
    // What goes into mailboxes alone leaves the database alone.
    assert!(block_on(database.mailboxes(&alice())).unwrap().len() == 1);
}

/// What is on the disks.
struct Disks {
    mail: Memory,
    queue: Memory,
}

type Both = WithQueue<Mortal, Mortal>;

impl Disks {
    fn new() -> Self {
        Self { mail: Memory::new(), queue: Memory::new() }
    }

    /// A process that serves what is there.
    fn start(&self, life: &Life, reads_back: bool) -> Both {
        let mortal = |memory: &Memory| Mortal { memory: memory.clone(), life: life.clone(), reads_back };
        let queue = block_on(SharedQueue::open(mortal(&self.queue))).unwrap();
        WithQueue::new(mortal(&self.mail), queue)
    }

    fn in_mail(&self) -> usize {
        block_on(self.mail.open(&alice(), &MailboxName::inbox())).unwrap().len() as usize
    }

    fn entries(&self) -> Vec<QueueEntry> {
        block_on(self.queue.entries(None, usize::MAX)).unwrap()
    }

    /// What would be sent.
    fn due(&self) -> usize {
        block_on(self.queue.due(1 << 40, None, usize::MAX)).unwrap().len()
    }
}

fn alice() -> User {
    User::new("alice@example.org").unwrap()
}

fn target() -> Target {
    Target::new(alice(), MailboxName::inbox(), DateTime::EPOCH)
}

fn entry(id: &str) -> QueueEntry {
    let mut entry = QueueEntry::new(id, ReversePath::Null, "b.example", 1_000);
    entry.recipients.push(QueueRecipient::new("bob@b.example".parse().unwrap()));
    entry.due = 2_000;
    entry
}

/// The entry with what is the store's to say.
fn stored(mut entry: QueueEntry, found: &QueueEntry) -> QueueEntry {
    (entry.number, entry.size, entry.object) = (found.number, found.size, found.object);
    entry
}

fn commit(store: &impl Store, text: &str, batch: &Batch) -> Result<Committed, CommitError> {
    block_on(async {
        let mut upload = store.writer().unwrap().begin(None).await?;
        for piece in text.as_bytes().chunks(100_000) {
            upload.write(Bytes::copy_from_slice(piece)).await?;
        }
        upload.commit_batch(batch).await
    })
}

fn octets(store: &impl Store, entry: &QueueEntry) -> Vec<u8> {
    let mut octets = Vec::new();
    while (octets.len() as u64) < entry.size {
        let range = octets.len() as u64..entry.size;
        octets.extend_from_slice(&block_on(store.spool().unwrap().octets(entry, range)).unwrap());
    }
    octets
}

/// An earlier entry, by its number.
fn earlier(disks: &Disks) -> QueueNumber {
    let store = disks.start(&Life::eternal(), true);
    commit(&store, "earlier", &Batch::default().with_queue(vec![entry("earlier")])).unwrap().queued[0]
}

#[test]
fn whenever_the_process_dies_nothing_acknowledged_is_lost() {
    let mut acknowledged = Vec::new();
    // Whether the commit has mailboxes, entries of its own, and an earlier entry to settle.
    for (mailboxes, entries, settles) in (0..8).map(|bits| (bits & 1 > 0, bits & 2 > 0, bits & 4 > 0)) {
        for (acts, end) in (1..=5).flat_map(|acts| [(acts, End::BeforeIt), (acts, End::BehindIt)]) {
            let shown = (mailboxes, entries, settles, acts, end);
            let disks = Disks::new();
            let old = earlier(&disks);
            let mut batch = Batch::default();
            batch.targets.extend(mailboxes.then(target));
            if entries {
                batch.queue.extend([entry("one"), entry("two")]);
            }
            batch.settle.extend(settles.then_some(Settlement::Remove(old)));
            let life = Life::of(acts, end);
            let done = commit(&disks.start(&life, true), "both", &batch);
            // Nobody has sent anything that the mailboxes have not got.
            let sent = disks.due() - usize::from(disks.entries().iter().any(|entry| entry.number == old));
            assert!(sent == 0 || disks.in_mail() == usize::from(mailboxes), "{shown:?}");

            let again = disks.start(&Life::eternal(), true);
            let left = disks.entries();
            let had = |id: &str| left.iter().filter(|entry| entry.id == id).count();
            let (got, queued, settled) = (disks.in_mail(), had("one") + had("two"), had("earlier") == 0);
            assert_eq!(left.len(), queued + usize::from(!settled), "{shown:?}: nothing stays reserved");
            assert_eq!(disks.due(), left.len(), "{shown:?}");
            if done.is_ok() {
                assert_eq!((got > 0, queued > 0, settled), (mailboxes, entries, settles), "{shown:?}");
                acknowledged.push((mailboxes, entries, settles, acts));
            }
            // All of the queue or nothing of it, and not before the mailboxes.
            assert!(queued == 0 || (queued == 2 && got == usize::from(mailboxes)), "{shown:?}");
            assert!(
                !settled || (got, queued) == (usize::from(mailboxes), 2 * usize::from(entries)),
                "{shown:?}"
            );
            if done.is_err() {
                commit(&again, "both", &batch).unwrap();
                assert!(disks.in_mail() <= got + 1 && disks.in_mail() >= usize::from(mailboxes), "{shown:?}");
                let left = disks.entries();
                let now = left.iter().filter(|entry| entry.id != "earlier").count();
                assert_eq!(now, queued + 2 * usize::from(entries), "{shown:?}");
                assert_eq!(left.len() - now, usize::from(!settles), "{shown:?}");
            }
        }
    }
    // What concerns one of both is one act, else there are three.
    let acts = |which: (bool, bool, bool)| {
        let found = acknowledged.iter().filter(|done| (done.0, done.1, done.2) == which);
        found.map(|done| done.3 - 1).min()
    };
    for (which, expected) in [
        ((false, false, false), 0),
        ((true, false, false), 1),
        ((false, true, false), 1),
        ((false, false, true), 1),
        ((false, true, true), 1),
        ((true, true, false), 3),
        ((true, false, true), 3),
        ((true, true, true), 3),
    ] {
        assert_eq!(acts(which), Some(expected), "{which:?}");
    }
}

#[test]
fn what_mailboxes_refuse_is_taken_back_and_may_come_again() {
    let text = "0123456789".repeat(70_000);
    for reads_back in [true, false] {
        let disks = Disks::new();
        let store = disks.start(&Life::eternal(), reads_back);
        let unknown = Target::new(alice(), MailboxName::new("Nowhere").unwrap(), DateTime::EPOCH);
        let faulty = Batch::to([target(), unknown]).with_queue(vec![entry("one"), entry("two")]);
        let fine = Batch::to([target()]).with_queue(vec![entry("three")]);
        block_on(async {
            let mut upload = store.begin(None).await.unwrap();
            for piece in text.as_bytes().chunks(99_999) {
                upload.write(Bytes::copy_from_slice(piece)).await.unwrap();
            }
            for _ in 0..2 {
                let failed = upload.commit_batch(&faulty).await.unwrap_err();
                assert_eq!((failed.target, failed.error), (Some(1), StoreError::NotFound));
                assert!(disks.entries().is_empty() && disks.in_mail() == 0);
            }
            let committed = upload.commit_batch(&fine).await.unwrap();
            assert_eq!((committed.appended.len(), committed.queued.len()), (1, 1));
            // After success it is spent, for both.
            for batch in [&fine, &Batch::to([target()]), &Batch::default().with_queue(vec![entry("x")])] {
                let failed = upload.commit_batch(batch).await.unwrap_err();
                assert!(matches!(failed.error, StoreError::Invalid(_)), "{failed:?}");
            }
        });
        let left = disks.entries();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].size, text.len() as u64);
        assert_eq!(left[0], stored(entry("three"), &left[0]));
        assert!(octets(&store, &left[0]) == text.as_bytes());
        assert_eq!(disks.in_mail(), 1);
    }
}

#[test]
fn wishes_of_entries_are_kept() {
    let disks = Disks::new();
    let store = disks.start(&Life::eternal(), true);
    let (mut held, mut later, mut ordered) = (entry("held"), entry("later"), entry("ordered"));
    held.held = true;
    (later.release, later.due) = (Some(9_000), 9_000);
    (ordered.expires, ordered.route) = (Some(7_000), Some("relay.example".into()));
    let queue = vec![held, later, ordered];
    let queued = commit(&store, "x", &Batch::to([target()]).with_queue(queue.clone())).unwrap().queued;
    let found = disks.entries();
    assert_eq!(found.iter().map(|entry| entry.number).collect::<Vec<_>>(), queued);
    for (found, wanted) in found.into_iter().zip(queue) {
        assert_eq!(found, stored(wanted, &found));
    }
}

/// Polls a future once, and drops it.
fn begin_and_drop<T>(future: impl Future<Output = T>) {
    let mut future = pin!(future);
    block_on(poll_fn(|context| {
        assert!(future.as_mut().poll(context).is_pending());
        Poll::Ready(())
    }));
}

#[test]
fn what_is_reserved_is_nobodys_affair_and_goes() {
    let disks = Disks::new();
    let hanging = disks.start(&Life::of(2, End::Hangs), true);
    let spool = hanging.spool().unwrap();
    let batch = Batch::to([target()]).with_queue(vec![entry("one"), entry("two")]);
    let mut upload = block_on(hanging.begin(None)).unwrap();
    block_on(upload.write("x".into())).unwrap();
    begin_and_drop(upload.commit_batch(&batch));
    let reserved: Vec<_> = disks.entries().iter().map(|entry| entry.number).collect();
    assert_eq!(reserved.len(), 2);
    // Not even whoever knows it and wants it sent now can have it sent.
    let due = reserved.iter().map(|number| Settlement::Due(*number, 5)).collect::<Vec<_>>();
    block_on(disks.queue.settle(&due)).unwrap();
    assert_eq!(block_on(spool.entries(None, 10)).unwrap(), []);
    assert_eq!(block_on(spool.entry(reserved[0])).unwrap(), None);
    assert_eq!(block_on(spool.due(u64::MAX, None, 10)).unwrap(), []);
    assert_eq!(block_on(spool.next_due(0)).unwrap(), None);
    assert_eq!(disks.due(), 0);
    // A list goes on behind what nobody is to see.
    let mortal = |memory: &Memory| Mortal { memory: memory.clone(), life: Life::eternal(), reads_back: true };
    let beside =
        WithQueue::new(mortal(&disks.mail), block_on(SharedQueue::open(disks.queue.clone())).unwrap());
    assert!(disks.entries().is_empty(), "the next start removes it");
    for id in ["three", "four"] {
        commit(&beside, "x", &Batch::to([target()]).with_queue(vec![entry(id)])).unwrap();
    }
    let ids = |found: Vec<QueueEntry>| found.into_iter().map(|entry| entry.id).collect::<Vec<_>>();
    assert_eq!(ids(block_on(beside.spool().unwrap().entries(None, 1)).unwrap()), ["three"]);
    assert_eq!(ids(block_on(beside.spool().unwrap().entries(None, 10)).unwrap()), ["three", "four"]);
}

#[test]
fn the_next_commit_removes_what_was_abandoned() {
    let disks = Disks::new();
    // The first commit hangs at its second act; those that follow have mailboxes that answer.
    let shared = block_on(SharedQueue::open(disks.queue.clone())).unwrap();
    let life = Life::of(1, End::Hangs);
    let hanging =
        WithQueue::new(Mortal { memory: disks.mail.clone(), life, reads_back: true }, shared.clone());
    let batch = Batch::to([target()]).with_queue(vec![entry("one"), entry("two")]);
    let mut upload = block_on(hanging.begin(None)).unwrap();
    block_on(upload.write("x".into())).unwrap();
    begin_and_drop(upload.commit_batch(&batch));
    assert_eq!(disks.entries().len(), 2);
    let store = WithQueue::new(disks.mail.clone(), shared);
    // Not those of a commit that is under way.
    let spool = store.spool().unwrap();
    let seen = block_on(spool.added(0));
    let (mark, _) = spool.news(0);
    commit(&store, "x", &Batch::to([target()]).with_queue(vec![entry("three")])).unwrap();
    let ids: Vec<_> = disks.entries().into_iter().map(|entry| entry.id).collect();
    assert_eq!(ids, ["three"]);
    // Whoever waits for entries is woken, and told where.
    assert!(block_on(spool.added(seen)) > seen);
    let QueueNews::From(first) = spool.news(mark).1 else { panic!("no news") };
    assert!(first.at <= 2_000);
}

/// What was settled with them counts: they must not go though somebody was told that nothing was done.
#[test]
fn entries_that_may_be_released_stay() {
    let disks = Disks::new();
    let old = earlier(&disks);
    let store = disks.start(&Life::of(3, End::Unheard), true);
    let batch = Batch::to([target()])
        .with_queue(vec![entry("one"), entry("two")])
        .with_settlements(vec![Settlement::Remove(old)]);
    commit(&store, "x", &batch).unwrap_err();
    commit(&store, "y", &Batch::to([target()]).with_queue(vec![entry("three")])).unwrap();
    let ids: Vec<_> = disks.entries().into_iter().map(|entry| entry.id).collect();
    assert_eq!(ids, ["one", "two", "three"]);
    assert_eq!(disks.due(), 3);
}

#[test]
fn what_is_joined_comes_with_it() {
    let disks = Disks::new();
    let shared = block_on(SharedQueue::open(disks.queue.clone())).unwrap();
    let store = WithQueue::new(disks.mail.clone(), shared);
    let uploads = ["own", "answer", "redirect"].map(|text| {
        let mut upload = block_on(store.begin(None)).unwrap();
        block_on(upload.write(text.into())).unwrap();
        upload
    });
    let [mut own, mut answer, mut redirect] = uploads;
    let unknown = Target::new(alice(), MailboxName::new("Nowhere").unwrap(), DateTime::EPOCH);
    let (here, sent) = (Batch::to([target()]), |id| Batch::default().with_queue(vec![entry(id)]));
    let (first, second, faulty) = (sent("answer"), sent("redirect"), Batch::to([unknown]));
    let joined = vec![Joined::new(&mut answer, &first), Joined::new(&mut redirect, &faulty)];
    let failed = block_on(own.commit_joined(&here, joined)).unwrap_err();
    assert_eq!((failed.joined, failed.target, failed.error), (Some(1), Some(0), StoreError::NotFound));
    assert!(disks.entries().is_empty() && disks.in_mail() == 0);
    // Nothing for mailboxes, and two for the queue.
    let joined = vec![Joined::new(&mut answer, &first), Joined::new(&mut redirect, &second)];
    let committed = block_on(own.commit_joined(&Batch::default(), joined)).unwrap();
    assert_eq!(committed, Committed::default());
    let found = disks.entries();
    for (found, text) in found.iter().zip(["answer", "redirect"]) {
        assert_eq!((found.id.as_str(), octets(&store, found)), (text, text.as_bytes().to_vec()));
    }
    assert_eq!((found.len(), disks.due()), (2, 2));
    let joined = vec![Joined::new(&mut answer, &first)];
    let failed = block_on(own.commit_joined(&here, joined)).unwrap_err();
    assert_eq!(failed.joined, Some(0), "it is spent");
    block_on(own.commit_joined(&here, Vec::new())).unwrap();
    assert_eq!(disks.in_mail(), 1);
}

#[test]
fn a_queue_without_room_gives_the_mailboxes_nothing() {
    let disks = Disks::new();
    let (old, shared) = (earlier(&disks), Life::of(0, End::BeforeIt));
    let broken = Mortal { memory: disks.queue.clone(), life: shared, reads_back: true };
    let store = WithQueue::new(disks.mail.clone(), block_on(SharedQueue::open(broken)).unwrap());
    for batch in [
        Batch::to([target()]).with_queue(vec![entry("one")]),
        Batch::to([target()]).with_settlements(vec![Settlement::Remove(old)]),
    ] {
        for _ in 0..3 {
            commit(&store, "x", &batch).unwrap_err();
        }
    }
    assert_eq!((disks.in_mail(), disks.entries().len()), (0, 1));
    // What is for mailboxes alone is not the queue's affair.
    commit(&store, "x", &Batch::to([target()])).unwrap();
    assert_eq!(disks.in_mail(), 1);
}

#[test]
fn a_store_without_a_queue_is_none_to_share() {
    struct Plain(Memory);
    impl Store for Plain {
        async fn mailboxes(&self, user: &User) -> Result<Vec<Mailbox>> {
            self.0.mailboxes(user).await
        }
        async fn open(&self, user: &User, name: &MailboxName) -> Result<Arc<Snapshot>> {
            self.0.open(user, name).await
        }
        async fn read(&self, message: &MessageRef, range: Range<u64>) -> Result<Bytes> {
            self.0.read(message, range).await
        }
    }
    let refused = block_on(SharedQueue::open(Plain(Memory::new()))).unwrap_err();
    assert!(matches!(refused, StoreError::Invalid(_)), "{refused:?}");
    // Mailboxes that are read alone fill no queue.
    let queue = block_on(SharedQueue::open(Memory::new())).unwrap();
    let store = WithQueue::new(Plain(Memory::new()), queue);
    assert!(store.writer().is_none() && store.spool().is_none());
}
