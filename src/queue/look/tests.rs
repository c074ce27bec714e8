//! Looks at queues in memory.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use mailwright_mail_model::ReversePath;
use mailwright_mailstore::{Batch, QueueEntry, Settlement, Spool as _, Write as _, block_on, memory::Memory};

use super::{
    super::scheduler::{Concurrency, Contact},
    *,
};

/// Rows in the order in which they are due, and how many were read.
struct Rows<'a>(&'a [Scheduled], AtomicUsize);

impl Pages for Rows<'_> {
    async fn page(&self, after: Option<Due>) -> Result<Vec<Scheduled>> {
        let begin = self.0.partition_point(|row| Some(row.due) <= after);
        let page: Vec<_> = self.0[begin..].iter().take(PAGE).cloned().collect();
        self.1.fetch_add(page.len(), Ordering::Relaxed);
        Ok(page)
    }
}

/// Sends all of it, a hundred at a time; gives in which order, and how many rows were read for that.
fn send_all(rows: &[Scheduled]) -> (Vec<Scheduled>, usize) {
    let pages = Rows(rows, AtomicUsize::new(0));
    let mut scheduler = Scheduler::new(Concurrency::default());
    let mut sent = Vec::new();
    let mut full = block_on(offer_all(&mut scheduler, None, false, || 0, &pages)).unwrap().full;
    loop {
        let batch: Vec<_> = std::iter::from_fn(|| scheduler.next(0)).collect();
        if batch.is_empty() {
            return (sent, pages.1.into_inner());
        }
        for entry in batch {
            assert!(scheduler.finished(&entry, Contact::Reached, 0).is_empty());
            sent.push(entry);
        }
        if let Some(first) = scheduler.take_starved() {
            let again = offer_all(&mut scheduler, before(first), true, || 0, &pages);
            full = block_on(again).unwrap().full.into_iter().chain(full).min();
        }
        if scheduler.has_room()
            && let Some(first) = full.take()
        {
            full = block_on(offer_all(&mut scheduler, before(first), false, || 0, &pages)).unwrap().full;
        }
    }
}

fn row(number: u64, sender: &str, destination: String) -> Scheduled {
    Scheduled::new(Due::new(1, QueueNumber::new(number)), destination, sender.into())
}

#[test]
fn a_newsletter_is_read_a_few_times_and_not_once_a_batch() {
    const ROWS: u64 = 100_000;
    for (what, domains, senders) in [
        ("one sender, all elsewhere", ROWS, 1),
        ("one sender, ten domains", 10, 1),
        ("ten senders", 1_000, 10),
    ] {
        let rows: Vec<_> = (0..ROWS)
            .map(|number| row(number, &format!("s{}", number % senders), format!("d{}", number % domains)))
            .collect();
        let (sent, read) = send_all(&rows);
        let mut numbers: Vec<u64> = sent.iter().map(|entry| entry.due.number.get()).collect();
        numbers.sort_unstable();
        assert!(numbers.iter().copied().eq(0..ROWS), "{what}: {} were sent", numbers.len());
        assert!(read < 6 * rows.len(), "{what}: {read} rows were read");
    }
}

#[test]
fn who_comes_behind_a_newsletter_does_not_wait_for_its_end() {
    let mut rows: Vec<_> = (0..20_000).map(|number| row(number, "bulk", format!("d{number}"))).collect();
    rows.push(row(20_000, "ann", "x".into()));
    let (sent, _) = send_all(&rows);
    let place = sent.iter().position(|entry| entry.sender == "ann").unwrap();
    assert!(place < 200, "{place}");
}

/// A store whose queue somebody writes to, and a loop that looks at it as the real one does.
struct World {
    store: Memory,
    scheduler: Scheduler,
    now: u64,
    cursor: Option<Due>,
    looked: u64,
    mark: u64,
    seen: u64,
    keeps_account: bool,
    read: AtomicUsize,
    random: u64,
    /// Entries that are written while somebody reads.
    meanwhile: Mutex<Vec<QueueEntry>>,
}

struct Store<'a>(&'a World);

impl Pages for Store<'_> {
    async fn page(&self, after: Option<Due>) -> Result<Vec<Scheduled>> {
        let World { store, now, read, meanwhile, .. } = self.0;
        let (early, late) = {
            let mut entries = meanwhile.lock().unwrap();
            let half = entries.len() / 2;
            let late = entries.split_off(half);
            (std::mem::take(&mut *entries), late)
        };
        add(store, early).await;
        let page = store.due(*now, after, PAGE).await?;
        read.fetch_add(page.len(), Ordering::Relaxed);
        add(store, late).await;
        Ok(page)
    }
}

async fn add(store: &Memory, entries: Vec<QueueEntry>) {
    for entry in entries {
        let mut upload = store.begin(None).await.unwrap();
        upload.write("x".into()).await.unwrap();
        upload.commit_batch(&Batch::default().with_queue(vec![entry])).await.unwrap();
    }
}

impl World {
    fn new(keeps_account: bool) -> Self {
        let mut limits = Concurrency::default();
        (limits.waiting, limits.waiting_per_destination) = (1_000_000, 1_000_000);
        Self {
            store: Memory::new(),
            scheduler: Scheduler::new(limits),
            now: 1_000,
            cursor: None,
            looked: 0,
            mark: 0,
            seen: 0,
            keeps_account,
            read: AtomicUsize::new(0),
            random: 7,
            meanwhile: Mutex::default(),
        }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % limit
    }

    fn entry(&self, due: u64) -> QueueEntry {
        QueueEntry::new("1D", ReversePath::Null, "b.example", due)
    }

    /// What the loop does when it was woken, or when something is due that was not.
    fn turn(&mut self) {
        let woken = {
            let mut added = std::pin::pin!(self.store.added(self.seen));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            match added.as_mut().poll(&mut context) {
                std::task::Poll::Ready(count) => Some(count),
                std::task::Poll::Pending => None,
            }
        };
        let is_due = block_on(self.store.next_due(self.looked)).unwrap().is_some_and(|next| next <= self.now);
        if woken.is_none() && !is_due {
            return;
        }
        self.seen = woken.unwrap_or(self.seen);
        let (mark, news) = self.store.news(self.mark);
        self.mark = mark;
        let after = behind(self.cursor, if self.keeps_account { news } else { QueueNews::Anywhere });
        self.looked = self.now;
        let mut scheduler = std::mem::replace(&mut self.scheduler, Scheduler::new(Concurrency::default()));
        let looked = block_on(offer_all(&mut scheduler, after, false, || 0, &Store(self))).unwrap();
        assert!(looked.full.is_none() && looked.dead.is_empty());
        self.scheduler = scheduler;
        self.cursor = self.cursor.max(looked.last);
    }

    /// What is due and was not offered.
    fn missed(&mut self) -> Vec<Due> {
        let due = block_on(self.store.due(self.now, None, usize::MAX)).unwrap();
        let offer = |entry: &Scheduled| self.scheduler.offer(entry.clone(), 0) != Offer::Known;
        due.into_iter().filter(offer).map(|entry| entry.due).collect()
    }
}

#[test]
fn an_arrival_is_read_once() {
    for (keeps_account, most) in [(true, 1_000), (false, 500_500)] {
        let mut world = World::new(keeps_account);
        // Forty a second, and nothing of it can be sent at present.
        for number in 0..1_000 {
            world.now = 1_000 + number / 40;
            let entry = world.entry(world.now);
            block_on(add(&world.store, vec![entry]));
            world.turn();
        }
        assert_eq!(world.missed(), []);
        // Without account, all that came within half a minute is read again with each of them.
        assert_eq!(world.read.into_inner(), most);
    }
}

#[test]
fn nothing_is_lost_in_whatever_order_it_is_written() {
    for seed in 0..200 {
        let mut world = World::new(true);
        world.random = seed;
        let mut numbers: Vec<QueueNumber> = Vec::new();
        for _ in 0..60 {
            // A commit that took its time is due long before others that have been looked at; others are due later.
            let due = (world.now + 15).saturating_sub(world.below(90));
            match world.below(8) {
                0..=2 => {
                    let entry = world.entry(due);
                    block_on(add(&world.store, vec![entry]));
                }
                // While the next look is under way.
                3 | 4 => {
                    let entries = (0..=world.below(3)).map(|_| world.entry(due)).collect();
                    *world.meanwhile.lock().unwrap() = entries;
                }
                5 => {
                    let all = block_on(world.store.entries(None, 1_000)).unwrap();
                    numbers = all.iter().map(|entry| entry.number).collect();
                }
                6 if !numbers.is_empty() => {
                    let number = numbers[world.below(numbers.len() as u64) as usize];
                    let settlements = match world.below(3) {
                        0 => vec![Settlement::Due(number, due)],
                        1 => vec![Settlement::Hold(number, true), Settlement::Hold(number, false)],
                        _ => vec![Settlement::Remove(number)],
                    };
                    block_on(world.store.settle(&settlements)).unwrap();
                }
                // A retry, which is later than now.
                7 if !numbers.is_empty() => {
                    let number = numbers[world.below(numbers.len() as u64) as usize];
                    if let Some(mut entry) = block_on(world.store.entry(number)).unwrap() {
                        entry.due = world.now + 1 + world.below(20);
                        block_on(world.store.settle(&[Settlement::Update(Box::new(entry))])).unwrap();
                    }
                }
                _ => world.now += world.below(10),
            }
            world.turn();
        }
        // Whatever was written during the last look wakes the loop again.
        world.meanwhile.lock().unwrap().clear();
        world.turn();
        world.now += 100;
        world.turn();
        assert_eq!(world.missed(), [], "{seed}");
    }
}
