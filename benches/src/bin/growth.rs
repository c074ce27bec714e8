//! How the embedded store grows: deliveries into mailboxes of 1,000 to 1,000,000 messages, and over 10 to 10,000 mailboxes.
//!
//! `growth [MOST [MEASURED]]`: up to so many messages in a mailbox, and so many mailboxes, 1,000,000 if nothing is said; and so many more
//! messages that are measured, 20,000 if nothing is said. Flushes are those of the whole machine (`/proc/diskstats`), so nothing
//! else should write to its disks meanwhile. The directory is `BENCH_DIR`, or the current one.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use mailwright_benches::Result;
use mailwright_mail_model::{DateTime, MailboxName};
use mailwright_mailstore::{
    Store, Target, User, Write, block_on,
    embedded::{Embedded, Options},
};

/// How many deliver at once.
const SESSIONS: usize = 64;
/// How many messages are measured, after those that fill, if nothing is said.
const MEASURED: usize = 20_000;
/// How many messages fill the rows of several mailboxes.
const FILLED: usize = 10_000;
/// The octets of a message.
const SIZE: usize = 4096;

fn main() -> Result<()> {
    let number = |place, default| std::env::args().nth(place).map_or(Ok(default), |number| number.parse());
    let (most, measured) = (number(1, 1_000_000)?, number(2, MEASURED)?);
    println!("{SIZE} octets a message, {SESSIONS} sessions, {measured} messages a row");
    println!(
        "  messages  mailboxes  messages/s  flushes/message  written/stored   opened cold  octets/message"
    );
    for messages in [1_000, 10_000, 100_000, 1_000_000] {
        if messages <= most {
            row(messages, 1, measured)?;
        }
    }
    for mailboxes in [10, 100, 1_000, 10_000] {
        if mailboxes <= most {
            row(FILLED.min(most), mailboxes, measured)?;
        }
    }
    Ok(())
}

/// Fills mailboxes with messages, then measures more of them.
fn row(messages: usize, mailboxes: usize, measured: usize) -> Result<()> {
    let folder = tempfile::tempdir_in(std::env::var_os("BENCH_DIR").unwrap_or_else(|| ".".into()))?;
    let open = || Embedded::open(folder.path().join("store"), Options::default());
    let store = open()?;
    deliver(&store, messages, mailboxes)?;
    let before = Counted::now()?;
    let begun = Instant::now();
    deliver(&store, measured, mailboxes)?;
    let took = begun.elapsed().as_secs_f64();
    let after = Counted::now()?;
    drop(store);
    let (cold, octets) = opened(open)?;
    println!(
        "{messages:10}  {mailboxes:9}  {:10.0}  {:15.3}  {:14.2}  {:9.1} ms  {octets:14.0}",
        measured as f64 / took,
        (after.flushes - before.flushes) as f64 / measured as f64,
        (after.written - before.written) as f64 / (measured * SIZE) as f64,
        cold.as_secs_f64() * 1000.0,
    );
    Ok(())
}

/// Delivers messages from several sessions at once, one mailbox after another.
fn deliver(store: &Embedded, messages: usize, mailboxes: usize) -> Result<()> {
    let next = AtomicUsize::new(0);
    let text =
        Bytes::from("The quick brown fox jumps over the lazy dog.\r\n".repeat(SIZE / 46 + 1)).slice(..SIZE);
    thread::scope(|scope| {
        let sessions: Vec<_> = (0..SESSIONS)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= messages {
                            return Ok(());
                        }
                        let date = DateTime::new(1_800_000_000, 0).ok_or("no such date")?;
                        let target = Target::new(user(number % mailboxes)?, MailboxName::inbox(), date);
                        block_on(async {
                            let mut upload = store.begin(Some(SIZE as u64)).await?;
                            upload.write(text.clone()).await?;
                            upload.commit(&[target]).await.map(drop)
                        })?;
                    }
                })
            })
            .collect();
        sessions.into_iter().try_for_each(|session| session.join().map_err(|_| "a session panicked")?)
    })
}

fn user(number: usize) -> Result<User> {
    Ok(User::new(&format!("user{number}@example.org"))?)
}

/// How long a mailbox takes to open that nobody had open, nothing of it in the memory of the system, and what it takes in ours
/// for each message.
fn opened(open: impl Fn() -> mailwright_mailstore::Result<Embedded>) -> Result<(Duration, f64)> {
    // Only root may; else it is opened warm.
    let _ = fs::write("/proc/sys/vm/drop_caches", "3");
    let store = open()?;
    let resident = resident()?;
    let begun = Instant::now();
    let snapshot = block_on(store.open(&user(0)?, &MailboxName::inbox()))?;
    let took = begun.elapsed();
    let grown = self::resident()?.saturating_sub(resident);
    Ok((took, grown as f64 / snapshot.len().max(1) as f64))
}

/// The octets of memory that this process has resident.
fn resident() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no value")?.parse::<u64>()? * 1024)
}

/// What the disks did so far.
struct Counted {
    flushes: u64,
    written: u64,
}

impl Counted {
    fn now() -> Result<Self> {
        let field = |line: &str, number: usize| line.split_whitespace().nth(number)?.parse::<u64>().ok();
        // The 16th figure behind the name is flushes that the device completed; partitions have none of their own.
        let flushes = fs::read_to_string("/proc/diskstats")?
            .lines()
            .filter(|line| {
                let name = line.split_whitespace().nth(2).unwrap_or_default();
                Path::new("/sys/block").join(name).exists()
            })
            .filter_map(|line| field(line, 18))
            .sum();
        let own = fs::read_to_string("/proc/self/io")?;
        let written =
            own.lines().find_map(|line| line.strip_prefix("write_bytes:")).ok_or("no write_bytes")?;
        Ok(Self { flushes, written: written.trim().parse()? })
    }
}
