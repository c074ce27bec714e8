//! What earlier runs brought, message by message: which of the messages here is the source's is known, and not guessed.
//!
//! A row of the database stands under the account, the mailbox and the UIDVALIDITY and UID of the source; behind them come those that the
//! message got here. Where the mail is in the same database, it is written at the moment of its message. Elsewhere it is written soon
//! after: a message of which a run that was killed has written nothing is looked for by all of its octets ([`Others`](super::places::Others)).

use std::collections::{HashMap, HashSet};

use mailwright::{
    mail_model::{FlagSet, MailboxName, Uid, UidValidity},
    mailstore::{Row, Snapshot, StoreError, User, embedded::Table},
};
use ring::digest;

use super::source::{Entry, Folder};

/// The table.
pub(crate) const MIGRATED: &str = "migrated";
/// So many rows change together.
const TOGETHER: usize = 200;
/// How a row is written.
const FORMAT: u8 = 1;

/// The digest of all octets of a message.
pub(super) type Content = [u8; 16];

/// A message that was brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Its UID here.
    pub(super) here: Uid,
    /// What the source told of it then: when it came, how large it is, and all of it, where that is at hand.
    date: i64,
    size: u64,
    content: Option<Content>,
    /// Its flags there, as of the last run.
    pub(super) flags: FlagSet,
}

/// What was brought into a mailbox.
pub(super) struct Brought {
    table: Table,
    /// Account, mailbox and the source's UIDVALIDITY.
    prefix: Vec<u8>,
    /// The mailbox's UIDVALIDITY here.
    pub(super) validity: UidValidity,
    /// Whether rows are committed with their messages.
    together: bool,
    known: HashMap<Uid, Record>,
    /// Those of this run.
    fresh: HashSet<Uid>,
    pending: Vec<Row>,
}

impl Brought {
    /// Reads what was brought into a mailbox that has this UIDVALIDITY here. What was brought into another one of its name counts no more.
    pub(super) async fn read(
        table: Table,
        (user, folder): (&User, &Folder),
        validity: UidValidity,
        together: bool,
    ) -> Result<Self, StoreError> {
        let place = place(user, &folder.name);
        let there = folder.numbers.map_or(0, |(validity, _)| validity.get()).to_be_bytes();
        let prefix = [&place[..], &there].concat();
        let (mut known, mut over) = (HashMap::<Uid, Record>::new(), Vec::new());
        for (key, value) in table.scan(&place)? {
            let Some(name) = Name::read(&key, &place) else { continue };
            if name.validity != validity {
                over.push(table.row(&key, None));
            } else if name.source == there
                && let Some(record) = decode(name.here, &value)
                && known.get(&name.there).is_none_or(|other| other.here < record.here)
            {
                known.insert(name.there, record);
            }
        }
        for some in over.chunks(TOGETHER) {
            table.change(some.to_vec()).await?;
        }
        Ok(Self { table, prefix, validity, together, known, fresh: HashSet::new(), pending: Vec::new() })
    }

    /// What became of a message of the source, if it is certain that it was brought.
    pub(super) fn record(&self, entry: &Entry, snapshot: &Snapshot) -> Option<&Record> {
        self.known.get(&entry.uid).filter(|record| match (entry.content, record.content) {
            (Some(there), Some(brought)) => there == brought,
            // What is told of the size may be wrong, and be put right since.
            _ => {
                let shown = snapshot.message(record.here).map(|message| message.size);
                entry.date.seconds() == record.date
                    && (entry.size == record.size || shown == Some(entry.size))
            }
        })
    }

    /// Whether this run brought it.
    pub(super) fn is_fresh(&self, there: Uid) -> bool {
        self.fresh.contains(&there)
    }

    /// The rows that are to be committed with a message.
    pub(super) fn rows(&self, entry: &Entry) -> Vec<Row> {
        if !self.together {
            return Vec::new();
        }
        let earlier = self.known.get(&entry.uid).map(|record| self.row(entry.uid, record.here, None));
        let value = encode(&told(entry, Uid::MIN));
        let key = [&self.prefix[..], &entry.uid.get().to_be_bytes()].concat();
        earlier.into_iter().chain([self.table.row(&key, Some(&value)).of_target(0)]).collect()
    }

    /// A message was committed, with its [rows](Self::rows).
    pub(super) async fn came(&mut self, entry: &Entry, here: Uid) -> Result<(), StoreError> {
        self.fresh.insert(entry.uid);
        if self.together {
            self.known.insert(entry.uid, told(entry, here));
            return Ok(());
        }
        self.found(entry, here).await
    }

    /// A message is here, with the flags it has there.
    pub(super) async fn found(&mut self, entry: &Entry, here: Uid) -> Result<(), StoreError> {
        let record = told(entry, here);
        if let Some(earlier) = self.known.get(&entry.uid).filter(|earlier| earlier.here != here) {
            self.pending.push(self.row(entry.uid, earlier.here, None));
        }
        self.pending.push(self.row(entry.uid, here, Some(&encode(&record))));
        self.known.insert(entry.uid, record);
        if self.pending.len() >= TOGETHER { self.write().await } else { Ok(()) }
    }

    /// Writes what is not written yet.
    pub(super) async fn write(&mut self) -> Result<(), StoreError> {
        let rows = std::mem::take(&mut self.pending);
        if rows.is_empty() { Ok(()) } else { self.table.change(rows).await }
    }

    fn row(&self, there: Uid, here: Uid, value: Option<&[u8]>) -> Row {
        let numbers = [there.get(), self.validity.get(), here.get()].map(u32::to_be_bytes).concat();
        self.table.row(&[&self.prefix[..], &numbers].concat(), value)
    }
}

/// Nothing is known any more of what was brought for an account.
pub(crate) async fn forget(table: &Table, user: &User) -> Result<(), StoreError> {
    let rows: Vec<_> =
        table.scan(&hash(user.as_str()))?.iter().map(|(key, _)| table.row(key, None)).collect();
    for some in rows.chunks(TOGETHER) {
        table.change(some.to_vec()).await?;
    }
    Ok(())
}

fn told(entry: &Entry, here: Uid) -> Record {
    let (date, flags) = (entry.date.seconds(), entry.flags.clone());
    Record { here, date, size: entry.size, content: entry.content, flags }
}

/// What the key of a row says behind account and mailbox.
struct Name {
    source: [u8; 4],
    there: Uid,
    validity: UidValidity,
    here: Uid,
}

impl Name {
    fn read(key: &[u8], place: &[u8]) -> Option<Self> {
        let (source, rest) = key.strip_prefix(place)?.split_first_chunk::<4>()?;
        let mut numbers = rest.chunks_exact(4).map(|octets| octets.try_into().ok().map(u32::from_be_bytes));
        let mut next = || numbers.next().flatten();
        let (there, validity, here) = (next()?, next()?, next()?);
        let validity = UidValidity::new(validity)?;
        Some(Self { source: *source, there: Uid::new(there)?, validity, here: Uid::new(here)? })
    }
}

/// Under which the rows of a mailbox stand.
fn place(user: &User, mailbox: &MailboxName) -> Vec<u8> {
    [hash(user.as_str()), hash(mailbox.as_str())].concat()
}

fn hash(text: &str) -> Content {
    shortened(&digest::digest(&digest::SHA256, text.as_bytes()))
}

/// As much of a digest as nobody finds another message to.
pub(super) fn shortened(digest: &digest::Digest) -> Content {
    digest.as_ref().first_chunk().copied().unwrap_or_default()
}

fn encode(record: &Record) -> Vec<u8> {
    let mut value = vec![FORMAT];
    value.extend_from_slice(&record.date.to_be_bytes());
    value.extend_from_slice(&record.size.to_be_bytes());
    value.push(u8::from(record.content.is_some()));
    value.extend(record.content.iter().flatten());
    value.extend_from_slice(record.flags.to_string().as_bytes());
    value
}

fn decode(here: Uid, value: &[u8]) -> Option<Record> {
    let (date, rest) = value.strip_prefix(&[FORMAT])?.split_first_chunk::<8>()?;
    let (size, rest) = rest.split_first_chunk::<8>()?;
    let (content, flags) = match rest.split_first()? {
        (0, rest) => (None, rest),
        (_, rest) => rest.split_first_chunk::<16>().map(|(content, rest)| (Some(*content), rest))?,
    };
    let flags = std::str::from_utf8(flags).ok()?.parse().ok()?;
    let (date, size) = (i64::from_be_bytes(*date), u64::from_be_bytes(*size));
    Some(Record { here, date, size, content, flags })
}

#[cfg(test)]
pub(super) mod tests {
    use mailwright::{
        mail_model::DateTime,
        mailstore::{
            block_on,
            embedded::{Embedded, Options},
        },
    };

    use super::*;

    pub(in crate::migrate) fn folder(name: &str, validity: u32) -> Folder {
        Folder {
            name: name.parse().unwrap(),
            original: name.into(),
            special_use: None,
            subscribed: true,
            numbers: UidValidity::new(validity).map(|validity| (validity, None)),
            view: false,
        }
    }

    pub(in crate::migrate) fn entry((uid, size, date): (u32, u64, i64)) -> Entry {
        let (uid, date) = (Uid::new(uid).unwrap(), DateTime::new(date, 0).unwrap());
        Entry { uid, flags: FlagSet::new(), date, size, unique_id: None, likeness: 0, content: None }
    }

    #[test]
    fn rows_are_there_again_of_the_same_mailbox_alone() {
        let data = tempfile::tempdir().unwrap();
        let store = Embedded::open(data.path(), Options::default()).unwrap();
        let table = store.table(MIGRATED).unwrap();
        let user = User::new("alice@example.org").unwrap();
        let [one, two] = [1, 2].map(|validity| UidValidity::new(validity).unwrap());
        let read = |name: &str, there: u32, here: UidValidity| {
            let folder = folder(name, there);
            block_on(Brought::read(table.clone(), (&user, &folder), here, false)).unwrap()
        };
        let nothing = Snapshot::builder(one).build();
        let mut first = entry((7, 20, 300));
        first.flags = "(\\Seen Work)".parse().unwrap();
        let mut brought = read("A", 9, one);
        block_on(brought.came(&first, Uid::new(3).unwrap())).unwrap();
        block_on(brought.came(&first, Uid::new(4).unwrap())).unwrap();
        block_on(brought.write()).unwrap();
        assert!(brought.is_fresh(first.uid));
        let again = read("A", 9, one);
        let record = again.record(&first, &nothing).unwrap();
        assert_eq!((record.here.get(), &record.flags), (4, &first.flags));
        // Another message of this number, another source, another mailbox.
        let other = |size: u64, date: i64| entry((7, size, date));
        assert_eq!(again.record(&other(21, 300), &nothing), None);
        assert_eq!(again.record(&other(20, 301), &nothing), None);
        assert_eq!(read("A", 8, one).record(&first, &nothing), None);
        assert_eq!(read("B", 9, one).record(&first, &nothing), None);
        // Where the octets are known, they alone count.
        let mut known = entry((8, 20, 300));
        known.content = Some([1; 16]);
        block_on(brought.came(&known, Uid::new(5).unwrap())).unwrap();
        assert!(brought.record(&known, &nothing).is_some());
        known.content = Some([2; 16]);
        assert_eq!(brought.record(&known, &nothing), None);
        // One that was removed, and made again under its name.
        assert_eq!(read("A", 9, two).record(&first, &nothing), None);
        assert_eq!(read("A", 9, one).record(&first, &nothing), None);
        block_on(forget(&table, &user)).unwrap();
        assert_eq!(table.scan(b"").unwrap(), []);
    }
}
