//! Which messages are here already.

use mailwright_mailstore::{Result, Row, StoreError, embedded::Table};
use ring::digest;

use super::{BodyDigest, Fingerprint};

/// The name of a message on the server it is fetched from, made so that every name has one length: of a unique id, or of mailbox,
/// UIDVALIDITY and UID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageName(pub [u8; 16]);

impl MessageName {
    /// The name that these parts make.
    pub(super) fn of(parts: &[&[u8]]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut octets = [0; 16];
        octets.iter_mut().zip(context.finish().as_ref()).for_each(|(octet, found)| *octet = *found);
        Self(octets)
    }
}

/// What is known of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Its name there.
    pub name: MessageName,
    /// Its header's fingerprint; `None` if it was never seen.
    pub fingerprint: Option<Fingerprint>,
    /// What became of it.
    pub state: EntryState,
    /// When that was, in seconds since 1970.
    pub since: u64,
    /// Since when the server does not show it, in seconds since 1970; 0 while it does.
    pub gone: u64,
    /// Its size as the server listed it, in octets, if it did.
    pub size: Option<u64>,
    /// The digest of its body; `None` if it was never read whole, or by a version that did not look.
    pub body: Option<BodyDigest>,
    /// Whether we deleted it there: what comes with its header afterwards is another message.
    pub deleted: bool,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryState {
    /// It is here.
    Delivered,
    /// It will not be fetched, and stays where it is: why.
    Refused(String),
    /// It is larger than what was taken when it was looked at: so many octets. It is looked at again when such are taken.
    TooLarge(u64),
}

impl EntryState {
    /// Why it stays where it is, if it does.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Delivered => None,
            Self::Refused(reason) => Some(reason.clone()),
            Self::TooLarge(octets) => Some(format!("too large: {octets} octets")),
        }
    }
}

impl Entry {
    /// An entry of a message that the server shows.
    pub const fn new(
        name: MessageName,
        fingerprint: Option<Fingerprint>,
        state: EntryState,
        since: u64,
    ) -> Self {
        Self { name, fingerprint, state, since, gone: 0, size: None, body: None, deleted: false }
    }
}

/// Remembers which messages of which account are here.
pub trait Ledger: Send + Sync {
    /// All that is known of an account's messages.
    ///
    /// # Errors
    /// If it cannot be read; then nothing may be fetched.
    fn entries(&self, account: u64) -> Result<Vec<Entry>>;

    /// The row that holds an entry, to be committed along with its message.
    fn row(&self, account: u64, entry: &Entry) -> Row;

    /// Writes these entries and removes those of the names, all at one moment.
    ///
    /// # Errors
    /// If it cannot be written.
    fn change(
        &self,
        account: u64,
        written: &[Entry],
        removed: &[MessageName],
    ) -> impl Future<Output = Result<()>> + Send;

    /// Forgets an account.
    ///
    /// # Errors
    /// If it cannot be written.
    fn forget(&self, account: u64) -> impl Future<Output = Result<()>> + Send;
}

/// The ledger in a table of the embedded store, which is for nothing else.
#[derive(Debug, Clone)]
pub struct TableLedger(Table);

/// How many rows change together.
const TOGETHER: usize = 1_000;

impl TableLedger {
    /// In this table.
    pub const fn new(table: Table) -> Self {
        Self(table)
    }
}

impl Ledger for TableLedger {
    fn entries(&self, account: u64) -> Result<Vec<Entry>> {
        let rows = self.0.scan(&account.to_be_bytes())?;
        let read = |(key, value): (bytes::Bytes, bytes::Bytes)| {
            let name = key.get(8..).and_then(|name| name.try_into().ok()).map(MessageName);
            let damaged = || StoreError::Corrupt("a line of the ledger of fetched messages".into());
            name.and_then(|name| decode(name, &value)).ok_or_else(damaged)
        };
        rows.into_iter().map(read).collect()
    }

    fn row(&self, account: u64, entry: &Entry) -> Row {
        self.0.row(&key(account, entry.name), Some(&encode(entry)))
    }

    async fn change(&self, account: u64, written: &[Entry], removed: &[MessageName]) -> Result<()> {
        let mut rows: Vec<Row> = written.iter().map(|entry| self.row(account, entry)).collect();
        rows.extend(removed.iter().map(|name| self.0.row(&key(account, *name), None)));
        if rows.is_empty() { Ok(()) } else { self.0.change(rows).await }
    }

    async fn forget(&self, account: u64) -> Result<()> {
        let keys = self.0.scan(&account.to_be_bytes())?;
        for some in keys.chunks(TOGETHER) {
            self.0.change(some.iter().map(|(key, _)| self.0.row(key, None)).collect()).await?;
        }
        Ok(())
    }
}

fn key(account: u64, name: MessageName) -> Vec<u8> {
    [&account.to_be_bytes()[..], &name.0].concat()
}

const DELIVERED: u8 = 1;
const REFUSED: u8 = 2;
/// The reason is the size.
const TOO_LARGE: u8 = 3;
/// Added to these if there is no fingerprint, if we deleted it, and if there are the size and the digest of the body.
const UNSEEN: u8 = 0x10;
const DELETED: u8 = 0x20;
const SIZE: u8 = 0x40;
const BODY: u8 = 0x80;

/// State, fingerprint, since, gone, size, body, reason.
fn encode(entry: &Entry) -> Vec<u8> {
    let (state, reason) = match &entry.state {
        EntryState::Delivered => (DELIVERED, Vec::new()),
        EntryState::Refused(reason) => (REFUSED, reason.clone().into_bytes()),
        EntryState::TooLarge(size) => (TOO_LARGE, size.to_be_bytes().to_vec()),
    };
    let (unseen, fingerprint) = entry.fingerprint.map_or((UNSEEN, [0; 16]), |found| (0, found.0));
    let deleted = if entry.deleted { DELETED } else { 0 };
    let (has_size, has_body) = (entry.size.map_or(0, |_| SIZE), entry.body.map_or(0, |_| BODY));
    let mut octets = vec![state | unseen | deleted | has_size | has_body];
    octets.extend_from_slice(&fingerprint);
    octets.extend_from_slice(&entry.since.to_be_bytes());
    octets.extend_from_slice(&entry.gone.to_be_bytes());
    octets.extend(entry.size.iter().flat_map(|size| size.to_be_bytes()));
    octets.extend(entry.body.iter().flat_map(|body| body.0));
    octets.extend_from_slice(&reason);
    octets
}

fn decode(name: MessageName, octets: &[u8]) -> Option<Entry> {
    let (state, rest) = octets.split_first()?;
    let (fingerprint, rest) = rest.split_first_chunk::<16>()?;
    let (since, rest) = rest.split_first_chunk::<8>()?;
    let (gone, mut reason) = rest.split_first_chunk::<8>()?;
    let (mut size, mut body) = (None, None);
    if state & SIZE != 0 {
        let (octets, rest) = reason.split_first_chunk::<8>()?;
        (size, reason) = (Some(u64::from_be_bytes(*octets)), rest);
    }
    if state & BODY != 0 {
        let (octets, rest) = reason.split_first_chunk::<16>()?;
        (body, reason) = (Some(BodyDigest(*octets)), rest);
    }
    let (fingerprint, deleted) =
        ((state & UNSEEN == 0).then_some(Fingerprint(*fingerprint)), state & DELETED != 0);
    let state = match state & !(UNSEEN | DELETED | SIZE | BODY) {
        DELIVERED => EntryState::Delivered,
        REFUSED => EntryState::Refused(String::from_utf8_lossy(reason).into_owned()),
        TOO_LARGE => EntryState::TooLarge(u64::from_be_bytes(reason.try_into().ok()?)),
        _ => return None,
    };
    let (since, gone) = (u64::from_be_bytes(*since), u64::from_be_bytes(*gone));
    Some(Entry { name, fingerprint, state, since, gone, size, body, deleted })
}

#[cfg(test)]
mod tests {
    use mailwright_mailstore::{
        block_on,
        embedded::{Embedded, Options},
    };

    use super::*;

    #[test]
    fn entries_are_there_again_and_accounts_are_apart() {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path(), Options::default()).unwrap();
        let ledger = TableLedger::new(store.table("ledger").unwrap());
        let name = |text: &str| MessageName::of(&[text.as_bytes()]);
        let print = Some(Fingerprint([7; 16]));
        let mut one = Entry::new(name("1"), print, EntryState::Delivered, 5);
        let two = Entry::new(name("2"), None, EntryState::Refused("too large".into()), 6);
        (one.gone, one.deleted, one.size) = (9, true, Some(77));
        let mut three = Entry::new(name("3"), None, EntryState::TooLarge(1 << 40), 7);
        three.body = Some(BodyDigest([8; 16]));
        block_on(ledger.change(1, &[one.clone(), two.clone(), three.clone()], &[])).unwrap();
        block_on(ledger.change(2, std::slice::from_ref(&two), &[])).unwrap();
        let mut found = ledger.entries(1).unwrap();
        found.sort_by_key(|entry| entry.since);
        assert_eq!(found, [one, two.clone(), three.clone()]);
        block_on(ledger.change(1, &[], &[two.name, three.name])).unwrap();
        assert_eq!(ledger.entries(1).unwrap().len(), 1);
        block_on(ledger.forget(1)).unwrap();
        assert_eq!(ledger.entries(1).unwrap(), []);
        assert_eq!(ledger.entries(2).unwrap(), [two]);
        assert_ne!(MessageName::of(&[b"a", b"bc"]), MessageName::of(&[b"ab", b"c"]));
    }

    #[test]
    fn lines_of_earlier_versions_are_read() {
        let name = MessageName([3; 16]);
        let line = |state: u8, reason: &[u8]| {
            [&[state][..], &[7; 16], &5_u64.to_be_bytes(), &9_u64.to_be_bytes(), reason].concat()
        };
        let mut expected = Entry::new(name, Some(Fingerprint([7; 16])), EntryState::Delivered, 5);
        expected.gone = 9;
        assert_eq!(decode(name, &line(1, b"")), Some(expected.clone()));
        expected.state = EntryState::Refused("why".into());
        assert_eq!(decode(name, &line(2, b"why")), Some(expected.clone()));
        (expected.fingerprint, expected.state) = (None, EntryState::TooLarge(6));
        assert_eq!(decode(name, &line(0x13, &6_u64.to_be_bytes())), Some(expected));
        assert_eq!(decode(name, &line(4, b"")), None);
    }
}
