//! What a backup could not copy, in words.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use mailwright_mail_model::Uid;

use crate::embedded::header::Header;
use crate::embedded::row::{self, Fields};
use crate::embedded::walk::{Hole, shown};
use crate::embedded::{detail, undelete};
use crate::{QueueNumber, StoreError};

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
    /// By the number of the rows: the mailbox. Filled if anything is missing.
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
        self.tell(format!("{what} is damaged: what it has is copied again, and generations that build upon it cannot be restored"));
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

    /// A row of the index: it may be of a message whose body is missing.
    pub(super) fn row(&mut self, keyspace: u8, key: &[u8], value: &[u8]) {
        if self.bodies.is_empty() {
            return;
        }
        let (object, who) = match keyspace {
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
                let owner = self.mailboxes.get(&rows).map_or("a mailbox that is gone", String::as_str);
                (message.and_then(|message| message.object), format!("UID {uid} in {owner}"))
            }
            QUEUE => {
                let number = Fields(key).u64().map(QueueNumber::new).zip(row::open(key, value));
                let entry = number.and_then(|(number, row)| crate::spool::row::decode(number, row));
                let Some(entry) = entry else { return };
                (entry.object, format!("entry {} of the queue", entry.number))
            }
            DETAILS if key.first() == Some(&detail::EXPUNGED) => {
                let Some((_, name, message)) = row::open(key, value).and_then(undelete::decode) else {
                    return;
                };
                (message.object, format!("an expunged message of {name}"))
            }
            _ => return,
        };
        let Some(body) = object.and_then(row::number_of) else { return };
        if let Some(why) = self.bodies.get(&body).cloned() {
            self.named.insert(body);
            self.tell(format!("{who}: its body cannot be read: {why}"));
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

/// The numbers of keyspaces in backups, as [`Database::index`](crate::embedded::database::Database::index) has them.
const NAMES: u8 = 2;
const ROWS: u8 = 3;
const DETAILS: u8 = 10;
const QUEUE: u8 = 11;
