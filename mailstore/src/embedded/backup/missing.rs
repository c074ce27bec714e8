//! What a backup could not copy, in words.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use mailwright_mail_model::{MailboxName, Uid};

use super::keys::first_missing;
use crate::embedded::header::Header;
use crate::embedded::row::{self, Fields};
use crate::embedded::walk::{Hole, shown};
use crate::embedded::{detail, undelete};
use crate::{QueueNumber, StoreError};

/// Whether there is a chunk, by body and number.
pub(super) type Has<'h> = &'h dyn Fn((u64, u32)) -> bool;

/// What has a body.
enum Who {
    /// A message of the mailbox with these rows.
    Message(u64, Uid),
    Entry(QueueNumber),
    Expunged(MailboxName),
}

/// How much is told; more is counted.
const MOST: usize = 1_000;

/// Collects what is missing while the rows go by, bodies first.
#[derive(Default)]
pub(super) struct Missing {
    told: BTreeSet<String>,
    more: u64,
    /// By body: why it is not whole.
    bodies: BTreeMap<u64, String>,
    /// Those that something refers to.
    named: BTreeSet<u64>,
    /// By the number of the rows: the mailbox.
    mailboxes: HashMap<u64, String>,
}

impl Missing {
    fn tell(&mut self, what: String) {
        if self.told.len() < MOST {
            self.told.insert(what);
        } else {
            self.more += 1;
        }
    }

    /// An earlier generation, of which this is said, cannot be built upon.
    pub(super) fn generation(&mut self, what: &str) {
        self.tell(format!(
            "{what}: what it had is copied again, and it and those that build upon it cannot be restored whole. As long as its files are there, \
             this is told each time"
        ));
    }

    /// A part of a body cannot be read.
    pub(super) fn chunk(&mut self, key: &[u8], error: &StoreError) {
        if let Some(body) = Fields(key).u64() {
            self.bodies.entry(body).or_insert_with(|| error.to_string());
        }
    }

    /// A row cannot be read.
    pub(super) fn unreadable(&mut self, keyspace: &str, key: &[u8], error: &StoreError) {
        self.tell(format!("{keyspace}: the row {:?}: {error}", shown(key)));
    }

    /// Rows cannot be read.
    pub(super) fn hole(&mut self, keyspace: &str, hole: &Hole, error: &StoreError) {
        self.tell(format!("{keyspace}: {}: {error}", hole.describe()));
    }

    /// A row of the index: it may be of a message whose body is missing. `has` says which chunks there are.
    pub(super) fn row(&mut self, keyspace: u8, key: &[u8], value: &[u8], has: Has<'_>) {
        let (object, size, who) = match keyspace {
            NAMES => {
                if let Ok(header) = Header::decode(key, value) {
                    self.mailboxes.insert(header.rows, shown(key));
                }
                return;
            }
            ROWS => {
                let mut fields = Fields(key);
                let (Some(rows), Some(uid)) = (fields.u64(), fields.u32().and_then(Uid::new)) else { return };
                let message = row::open(key, value).and_then(|value| row::decode_message(uid, value));
                let Some(message) = message else { return };
                (message.object, message.size, Who::Message(rows, uid))
            }
            QUEUE => {
                let number = Fields(key).u64().map(QueueNumber::new).zip(row::open(key, value));
                let entry = number.and_then(|(number, row)| crate::spool::row::decode(number, row));
                let Some(entry) = entry else { return };
                (entry.object, entry.size, Who::Entry(entry.number))
            }
            DETAILS if key.first() == Some(&detail::EXPUNGED) => {
                let Some((_, name, message)) = row::open(key, value).and_then(undelete::decode) else {
                    return;
                };
                (message.object, message.size, Who::Expunged(name))
            }
            _ => return,
        };
        let Some(body) = object.and_then(row::number_of) else { return };
        let why = if let Some(why) = self.bodies.get(&body) {
            self.named.insert(body);
            format!("its body cannot be read: {why}")
        } else {
            match first_missing(body, size, has) {
                None => return,
                Some(0) => "its body is missing".to_owned(),
                Some(octet) => format!("its body is missing from octet {octet} on"),
            }
        };
        let who = self.name(who);
        self.tell(format!("{who}: {why}"));
    }

    fn name(&self, who: Who) -> String {
        match who {
            Who::Message(rows, uid) => {
                let owner = self.mailboxes.get(&rows).map_or("a mailbox that is gone", String::as_str);
                format!("UID {uid} in {owner}")
            }
            Who::Entry(number) => format!("entry {number} of the queue"),
            Who::Expunged(name) => format!("an expunged message of {name}"),
        }
    }

    /// All of it.
    pub(super) fn told(mut self) -> Vec<String> {
        let nobodys = self.bodies.len() - self.named.len();
        if nobodys > 0 {
            self.tell(format!("{nobodys} bodies that nothing refers to cannot be read"));
        }
        let more = (self.more > 0).then(|| format!("and {} more", self.more));
        self.told.into_iter().chain(more).collect()
    }
}

/// The numbers of keyspaces in backups that tell who has which body, as
/// [`Database::index`](crate::embedded::database::Database::index) has them.
pub(super) const TELLING: [u8; 4] = [NAMES, ROWS, DETAILS, QUEUE];
const NAMES: u8 = 2;
const ROWS: u8 = 3;
const DETAILS: u8 = 10;
const QUEUE: u8 = 11;
