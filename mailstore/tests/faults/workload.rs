//! The process whose disk fails, and what it says of what it was told.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use mailwright_mail_model::{DateTime, MailboxName, ReversePath, Uid, UidSet};
use mailwright_mailstore::embedded::{Embedded, Options};
use mailwright_mailstore::{
    Batch, Expunge, FlagChange, FlagOperation, Folders, MailboxRef, QueueEntry, Store, StoreError, Target,
    User, Write, block_on,
};

use crate::ledger::Ledger;

pub(crate) const BOX: &str = "box";
/// Where copies go that are in the INBOX still.
pub(crate) const COPIES: &str = "copies";
const DIRECTORY: &str = "MAILSTORE_FAULTS_DIRECTORY";
const ROUND: &str = "MAILSTORE_FAULTS_ROUND";
const EACH: &str = "MAILSTORE_FAULTS_EACH";
const SOCKET: &str = "MAILSTORE_FAULTS_SOCKET";

pub(crate) fn alice() -> User {
    User::new("alice@example.org").unwrap()
}

pub(crate) fn bob() -> User {
    User::new("bob@example.org").unwrap()
}

/// The names that a mailbox for one message has, one after the other.
pub(crate) fn folders(name: &str) -> [MailboxName; 2] {
    ["made", "kept"].map(|kind| MailboxName::new(&format!("{kind}-{name}")).unwrap())
}

/// The text of a message by its name, `round-thread-number`: some are small, some have several chunks.
pub(crate) fn text(name: &str) -> String {
    let number: usize = name.rsplit('-').next().unwrap().parse().unwrap();
    let length = match number % 12 {
        7 => 400_000,
        3 => 20_000,
        rest => 50 + rest * 150,
    };
    let line = format!("{name}\n");
    line.repeat(length / line.len() + 1)
}

pub(crate) fn deliver(store: &Embedded, name: &str) -> Result<u32, StoreError> {
    block_on(async {
        let mut upload = store.begin(None).await?;
        let text = Bytes::from(text(name));
        for part in text.chunks(60_000) {
            upload.write(text.slice_ref(part)).await?;
        }
        let target = |user| Target::new(user, MailboxName::inbox(), DateTime::new(0, 0).unwrap());
        let thread: u32 = name.split('-').nth(1).unwrap().parse().unwrap();
        let mut batch = Batch::to([target(alice())]);
        if thread == 2 {
            batch.targets.push(target(bob()));
        }
        if thread == 3 {
            batch = batch.with_queue(vec![QueueEntry::new("1D", ReversePath::Null, "b.example", 1)]);
        }
        let committed = upload.commit_batch(&batch).await.map_err(|error| error.error)?;
        for number in committed.queued {
            say(&format!("queued {number}"));
        }
        if let Some(also) = committed.appended.get(1) {
            say(&format!("also {name} {}", also.uid));
        }
        Ok(committed.appended[0].uid.get())
    })
}

/// Without a reserve, so that what fails is the disk, and with little memory, so that much is written; small mailboxes are packed, too.
pub(crate) fn options() -> Options {
    let mut options = Options::default();
    (options.memtable, options.reserve, options.grace) = (32 << 10, 0, Duration::ZERO);
    options.pack_from = 8;
    options
}

/// Tells whoever started this process. By a call of its own, which is neither a write nor a flush.
fn say(line: &str) {
    if let Some(path) = std::env::var_os(SOCKET) {
        let socket = UnixDatagram::unbound().unwrap();
        socket.send_to(line.as_bytes(), path).unwrap();
    }
}

/// Not a test of its own: the process whose disk fails.
#[test]
fn work() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let round = std::env::var(ROUND).unwrap();
    let each = crate::number(EACH, 20);
    let Ok(store) = Embedded::open(directory, options()) else { return };
    for name in [BOX, COPIES] {
        let _ = block_on(store.create(&alice(), &MailboxName::new(name).unwrap(), None));
    }
    if let Ok(snapshot) = block_on(store.open(&alice(), &MailboxName::inbox())) {
        say(&format!("validity {}", snapshot.uid_validity()));
    }
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (store, round) = (&store, &round);
            scope.spawn(move || {
                (0..each).for_each(|number| one(store, thread, &format!("{round}-{thread}-{number}"), number))
            });
        }
    });
}

/// Delivers a message, and does something to it now and then.
fn one(store: &Embedded, thread: usize, name: &str, number: usize) {
    let Ok(uid) = deliver(store, name) else { return say(&format!("refused {name}")) };
    say(&format!("delivered {name} {uid}"));
    if number % 6 == 5 {
        // Or not, if there is nothing to pack or no room for it.
        let _ = block_on(store.wind_down());
    }
    let Ok(snapshot) = block_on(store.open(&alice(), &MailboxName::inbox())) else { return };
    let inbox = MailboxRef::new(alice(), MailboxName::inbox(), &snapshot);
    let uids = Uid::new(uid).unwrap().into();
    match (thread, number % 4) {
        (0, 3) => {
            say(&format!("copying {name}"));
            if let Ok(copied) = block_on(store.copy(&inbox, &uids, &MailboxName::new(COPIES).unwrap())) {
                say(&format!("copied {name} {}", copied.target));
            }
        }
        (3, 2) => {
            let _ = folder(store, &inbox, &uids, name, number);
        }
        (_, 1) => change(store, thread, &inbox, &uids, name),
        _ => {}
    }
}

/// Makes a mailbox with a copy of the message, gives it another name, and deletes every second one.
fn folder(
    store: &Embedded,
    inbox: &MailboxRef,
    uids: &UidSet,
    name: &str,
    number: usize,
) -> Result<(), StoreError> {
    let [made, kept] = folders(name);
    block_on(async {
        say(&format!("making {name}"));
        store.create(&alice(), &made, None).await?;
        store.copy(inbox, uids, &made).await?;
        say(&format!("made {name}"));
        say(&format!("renaming {name}"));
        store.rename(&alice(), &made, &kept).await?;
        say(&format!("renamed {name}"));
        if number % 8 == 2 {
            say(&format!("deleting {name}"));
            store.delete(&alice(), &kept).await?;
            say(&format!("deleted {name}"));
        }
        Ok(())
    })
}

/// Changes the flags of a message, or takes it away from where it is.
fn change(store: &Embedded, thread: usize, inbox: &MailboxRef, uids: &UidSet, name: &str) {
    match thread {
        0 => {
            let change = FlagChange::new(FlagOperation::Add, "(\\Seen Work)".parse().unwrap());
            let _ = block_on(store.store_flags(inbox, uids, &change));
        }
        1 => {
            say(&format!("leaving {name}"));
            if block_on(store.expunge(inbox, &Expunge::Exactly(uids.clone()))).is_ok() {
                say(&format!("gone {name}"));
            }
        }
        _ => {
            say(&format!("moving {name}"));
            if let Ok(moved) = block_on(store.move_to(inbox, uids, &MailboxName::new(BOX).unwrap())) {
                say(&format!("moved {name} {}", moved.target));
            }
        }
    }
}

/// Where a workload tells what it was told.
pub(crate) struct Listener {
    _directory: tempfile::TempDir,
    path: PathBuf,
    thread: JoinHandle<Ledger>,
}

impl Listener {
    pub(crate) fn start(mut ledger: Ledger) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let socket = UnixDatagram::bind(&path).unwrap();
        let thread = std::thread::spawn(move || {
            let mut line = [0; 200];
            loop {
                let length = socket.recv(&mut line).unwrap();
                match str::from_utf8(&line[..length]).unwrap() {
                    "over" => return ledger,
                    line => ledger.note(line),
                }
            }
        });
        Self { _directory: directory, path, thread }
    }

    /// Makes `command`, whose last argument is a program to run, run the workload.
    pub(crate) fn equip(&self, command: &mut Command, directory: &Path, round: usize, each: usize) {
        command
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "workload::work", "--nocapture"])
            .env(DIRECTORY, directory)
            .env(ROUND, round.to_string())
            .env(EACH, each.to_string())
            .env(SOCKET, &self.path);
    }

    pub(crate) fn finish(self) -> Ledger {
        UnixDatagram::unbound().unwrap().send_to(b"over", &self.path).unwrap();
        self.thread.join().unwrap()
    }
}
