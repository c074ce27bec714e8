//! `snooze` (draft-ietf-extra-sieve-snooze): messages wait in a mailbox of their own, and come back at their time.
//!
//! When a message is to come back is written in the commit that stores it, under its UIDVALIDITY and UID there: whoever moves it away
//! by hand has another message, which nobody is to bring back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mailwright_mail_model::{Flag, FlagSet, MailboxName, SpecialUse, Uid, UidSet, UidValidity};
use mailwright_mailstore::{
    FlagChange, FlagOperation, Folders, MailboxRef, Result, Row, Store, StoreError, User, Write,
    embedded::Table,
};
use mailwright_sieve::{Delivery, Snooze};
use ring::digest;
use serde_json::{Value, json};
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::actions::mailbox_for;

/// What the mailbox is called where nobody has one yet.
const NAME: &str = "Snoozed";
/// How often to look at the clock, which may be set.
const TICK: Duration = Duration::from_secs(1);
/// After so many ticks the notes are looked at whatever was told of them.
const LOOK: u32 = 15;
/// How long to leave alone what could not be brought back, in seconds.
const RETRY: u64 = 60;
/// So many bits of a time are one window: some 18 hours, whose notes are read together.
const WINDOW: u32 = 16;

/// What messages that wait are noted in, for filters. Give the same one to the [`Alarm`] that brings them back.
///
/// The notes are rows of a batch, so the store must [take them](Write::takes_rows).
#[derive(Debug, Clone)]
pub struct Snoozing {
    table: String,
    /// The earliest time of a note that the alarm has not heard of.
    told: Arc<AtomicU64>,
}

impl Snoozing {
    /// In the table of this name, which is for nothing else.
    pub fn new(table: impl Into<String>) -> Self {
        Self { table: table.into(), told: Arc::new(AtomicU64::new(u64::MAX)) }
    }

    /// The note that a message of this user is to come back then, in seconds since 1970.
    pub(super) fn note(&self, user: &User, at: u64, snooze: &Snooze) -> Row {
        self.told.fetch_min(at, Ordering::Relaxed);
        let awaken = &snooze.awaken;
        let value = json!({
            "user": user.as_str(),
            "mailbox": awaken.mailbox,
            "mailbox_id": awaken.mailbox_id,
            "special_use": awaken.special_use,
            "create": awaken.create,
            "add": snooze.add_flags,
            "remove": snooze.remove_flags,
        });
        Row::new(&self.table, key(user, at), Some(value.to_string().into_bytes()))
    }
}

impl PartialEq for Snoozing {
    fn eq(&self, other: &Self) -> bool {
        self.table == other.table
    }
}

/// The key but for the name of the message, which comes behind it. Names of users are of any length, keys are not.
fn key(user: &User, at: u64) -> Vec<u8> {
    let user = digest::digest(&digest::SHA256, user.as_str().as_bytes());
    [&at.to_be_bytes()[..], user.as_ref().get(..16).unwrap_or_default()].concat()
}

/// The mailbox where messages of a user wait, made if need be; `None` if there cannot be one.
pub(super) async fn waiting_room<S: Store>(store: &S, user: &User) -> Option<MailboxName> {
    let mailboxes = store.mailboxes(user).await.ok()?;
    let used = mailboxes.iter().find(|mailbox| mailbox.special_use == Some(SpecialUse::Snoozed));
    if let Some(found) = used {
        return Some(found.name.clone());
    }
    let name = MailboxName::new(NAME).ok()?;
    let folders = store.folders()?;
    match folders.create(user, &name, Some(SpecialUse::Snoozed)).await {
        // That it is not shown at once does not keep anything from waiting there.
        Ok(_) => drop(folders.subscribe(user, &name).await),
        Err(StoreError::Exists) => {}
        Err(error) => {
            tracing::warn!(%user, %error, "the mailbox for snoozed messages cannot be made");
            return None;
        }
    }
    Some(name)
}

/// Brings snoozed messages back at their time: into their mailboxes, with their flags. A message that is not where it was put any more,
/// or is marked `\Deleted`, is left alone.
#[derive(Debug)]
pub struct Alarm<S> {
    store: S,
    table: Table,
    told: Arc<AtomicU64>,
    /// The oldest window that may have notes, and the earliest time of one.
    oldest: u64,
    first: u64,
    /// When to look next, in seconds since 1970.
    next: u64,
}

impl<S: Store> Alarm<S> {
    /// Over the mail of `store`. `table` is the one that `snoozing` names, in the same database.
    pub fn new(store: S, table: Table, snoozing: &Snoozing) -> Self {
        Self { store, table, told: Arc::clone(&snoozing.told), oldest: 0, first: 0, next: 0 }
    }

    /// Runs until it is to stop. What was to come back in the meantime comes back at once.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut rest = 0;
        loop {
            let now = seconds();
            let told = self.told.swap(u64::MAX, Ordering::Relaxed);
            self.next = self.next.min(told);
            if rest == 0 || self.next <= now {
                rest = LOOK;
                tokio::select! {
                    () = stop.cancelled() => return,
                    looked = self.look(now) => if let Err(error) = looked {
                        tracing::error!(%error, "it cannot be read which snoozed messages are to come back");
                    }
                }
                // Its commit may still be on its way.
                self.next = self.next.min(told.max(now + 1));
            }
            rest -= 1;
            tokio::select! {
                () = stop.cancelled() => return,
                () = time::sleep(TICK) => {}
            }
        }
    }

    /// Brings back what is due, and finds out when the next one is. All of it is read once, later only what may be due.
    async fn look(&mut self, now: u64) -> Result<()> {
        // A note may have been written an hour after its time, if its message was that long on its way.
        (self.next, self.first) = (u64::MAX, now.saturating_sub(3_600));
        let current = now >> WINDOW;
        if self.oldest == 0 {
            self.look_at(b"", now).await?;
        } else {
            // The clock may have been set back.
            for window in self.oldest.min(current)..=current {
                let prefix = window.to_be_bytes();
                self.look_at(prefix.get(2..).unwrap_or_default(), now).await?;
            }
        }
        self.oldest = self.first >> WINDOW;
        Ok(())
    }

    async fn look_at(&mut self, prefix: &[u8], now: u64) -> Result<()> {
        for (key, value) in self.table.scan(prefix)? {
            let due = key.first_chunk().map_or(0, |due| u64::from_be_bytes(*due));
            if due > now {
                self.next = self.next.min(due);
                break;
            }
            match self.awaken(&key, &value).await {
                Ok(()) => drop(self.table.delete(&key).await?),
                Err(error) => {
                    tracing::error!(%error, "a snoozed message cannot be brought back; it is tried again");
                    self.next = self.next.min(now + RETRY);
                    self.first = self.first.min(due);
                }
            }
        }
        Ok(())
    }

    /// Moves a message to where it is wanted, if it still waits.
    async fn awaken(&self, key: &[u8], value: &[u8]) -> Result<()> {
        let Some(note) = Note::read(key, value) else {
            tracing::error!(
                "a note about a snoozed message cannot be understood; the message stays where it is"
            );
            return Ok(());
        };
        let Note { user, uid_validity, uid, awaken, add, remove } = note;
        // It may have another name by now.
        let list = self.store.list(&user).await?;
        let Some((waiting, _)) = list.iter().find(|(_, status)| status.uid_validity == uid_validity) else {
            return Ok(());
        };
        let snapshot = match self.store.open(&user, &waiting.name).await {
            Ok(snapshot) => snapshot,
            Err(StoreError::NotFound) => return Ok(()),
            Err(error) => return Err(error),
        };
        // Clients that cannot move copy, mark what they have copied, and expunge it later.
        let message = snapshot.message(uid).filter(|message| !message.flags.contains(&Flag::Deleted));
        if message.is_none() || snapshot.uid_validity() != uid_validity {
            return Ok(());
        }
        let read_only = || StoreError::ReadOnly("the store takes no mail".into());
        let writer = self.store.writer().ok_or_else(read_only)?;
        let mailbox = MailboxRef::new(user.clone(), waiting.name.clone(), &snapshot);
        let uids = UidSet::from(uid);
        // Done again after a crash they do no harm, and the move is what ends it.
        for (operation, flags) in [(FlagOperation::Add, add), (FlagOperation::Remove, remove)] {
            if !flags.is_empty() {
                writer.store_flags(&mailbox, &uids, &FlagChange::new(operation, flags)).await?;
            }
        }
        let mut target =
            mailbox_for(&self.store, &user, &awaken).await.unwrap_or_else(|_| MailboxName::inbox());
        if target == waiting.name {
            return Ok(());
        }
        let mut moved = writer.move_to(&mailbox, &uids, &target).await;
        if matches!(moved, Err(StoreError::NotFound)) && !target.is_inbox() {
            target = MailboxName::inbox();
            moved = writer.move_to(&mailbox, &uids, &target).await;
        }
        match moved {
            Ok(_) => {
                tracing::info!(%user, from = %waiting.name, mailbox = %target, "a snoozed message is back")
            }
            // Somebody took it, or its mailbox, away just now.
            Err(StoreError::NotFound) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// What is to become of a message.
struct Note {
    user: User,
    uid_validity: UidValidity,
    uid: Uid,
    awaken: Delivery,
    add: FlagSet,
    remove: FlagSet,
}

impl Note {
    fn read(key: &[u8], value: &[u8]) -> Option<Self> {
        let (rest, uid) = key.split_last_chunk()?;
        let (_, uid_validity) = rest.split_last_chunk()?;
        let value: Value = serde_json::from_slice(value).ok()?;
        let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
        let flags = |name: &str| -> FlagSet {
            let words = value.get(name).and_then(Value::as_array).into_iter().flatten();
            words.filter_map(|word| word.as_str()?.parse().ok()).collect()
        };
        let mut awaken = Delivery::default();
        awaken.mailbox = text("mailbox");
        awaken.mailbox_id = text("mailbox_id");
        awaken.special_use = text("special_use");
        awaken.create = value.get("create").and_then(Value::as_bool).unwrap_or(false);
        Some(Self {
            user: User::new(&text("user")?).ok()?,
            uid_validity: UidValidity::new(u32::from_be_bytes(*uid_validity))?,
            uid: Uid::new(u32::from_be_bytes(*uid))?,
            awaken,
            add: flags("add"),
            remove: flags("remove"),
        })
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use mailwright_mail_model::DateTime;
    use mailwright_mailstore::{
        Batch, Target, block_on,
        embedded::{Embedded, Options},
    };

    use super::*;

    fn user() -> User {
        User::new("ann@a.example").unwrap()
    }

    fn name(text: &str) -> MailboxName {
        MailboxName::new(text).unwrap()
    }

    /// Stores a message that comes back then; its UID where it waits.
    async fn put(store: &Embedded, snoozing: &Snoozing, at: u64, change: impl FnOnce(&mut Snooze)) -> Uid {
        let mut snooze = Snooze::default();
        change(&mut snooze);
        let room = waiting_room(store, &user()).await.unwrap();
        let mut upload = store.begin(None).await.unwrap();
        upload.write("Subject: later\r\n\r\n".into()).await.unwrap();
        // Another target in front, which the note is not about.
        let targets = [MailboxName::inbox(), room].map(|name| Target::new(user(), name, DateTime::EPOCH));
        let rows = vec![snoozing.note(&user(), at, &snooze).of_target(1)];
        upload.commit_batch(&Batch::to(targets).with_rows(rows)).await.unwrap().appended[1].uid
    }

    fn subjects(store: &Embedded, mailbox: &str) -> Vec<String> {
        let found = block_on(store.open(&user(), &name(mailbox)));
        found.map_or_else(
            |_| Vec::new(),
            |found| found.messages().map(|message| message.flags.to_string()).collect(),
        )
    }

    #[test]
    fn messages_come_back_at_their_time_and_those_that_were_taken_away_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path(), Options::default()).unwrap();
        let snoozing = Snoozing::new("snoozed");
        let (a_day, now) = (86_400, 1_700_000_000);
        let mut alarm = block_on(async {
            put(&store, &snoozing, now + 5, |snooze| {
                snooze.add_flags = vec!["\\Flagged".into(), "back".into()];
            })
            .await;
            let moved = put(&store, &snoozing, now + 5, |_| {}).await;
            let deleted = put(&store, &snoozing, now + 5, |_| {}).await;
            put(&store, &snoozing, now + a_day, |snooze| {
                (snooze.awaken.mailbox, snooze.awaken.create) = (Some("New/Place".into()), true);
            })
            .await;
            put(&store, &snoozing, now + 2 * a_day, |snooze| {
                snooze.awaken.mailbox = Some("Nowhere".into());
                snooze.add_flags = vec!["lost".into()];
            })
            .await;
            store.create(&user(), &name("Kept"), None).await.unwrap();
            let snapshot = store.open(&user(), &name(NAME)).await.unwrap();
            let room = MailboxRef::new(user(), name(NAME), &snapshot);
            store.move_to(&room, &UidSet::from(moved), &name("Kept")).await.unwrap();
            let flag = FlagChange::new(FlagOperation::Add, FlagSet::from_iter([Flag::Deleted]));
            store.store_flags(&room, &UidSet::from(deleted), &flag).await.unwrap();
            let mut alarm = Alarm::new(store.clone(), store.table("snoozed").unwrap(), &snoozing);
            alarm.look(now + 4).await.unwrap();
            alarm
        });
        assert_eq!((subjects(&store, "INBOX").len(), subjects(&store, NAME).len()), (5, 4));
        assert_eq!(alarm.next, now + 5);
        assert_eq!(snoozing.told.load(Ordering::Relaxed), now + 5);
        // Its mailbox may have another name, and the clock may go back before it goes on.
        block_on(async {
            store.rename(&user(), &name(NAME), &name("Zzz")).await.unwrap();
            alarm.look(now - a_day).await.unwrap();
            alarm.look(now + 5).await.unwrap();
        });
        assert_eq!(subjects(&store, "INBOX")[5..], ["(\\Flagged back)"]);
        assert_eq!((subjects(&store, "Kept").len(), subjects(&store, "Zzz").len()), (1, 3));
        // A long time later, by another process.
        let mut alarm = Alarm::new(store.clone(), store.table("snoozed").unwrap(), &snoozing);
        block_on(alarm.look(now + 365 * a_day)).unwrap();
        assert_eq!(subjects(&store, "New/Place").len(), 1);
        assert_eq!(subjects(&store, "INBOX")[6..], ["(lost)"]);
        // What is marked is still there, and nobody waits any more.
        assert_eq!(subjects(&store, "Zzz"), ["(\\Deleted)"]);
        assert_eq!(store.table("snoozed").unwrap().scan(b"").unwrap().len(), 0);
        assert_eq!(alarm.next, u64::MAX);
    }
}
