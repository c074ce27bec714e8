//! What a restore leaps over, so that nothing is given out again that the store gave out after the backup was made; and so does a store that
//! lost changes with its journal, over what it gave out in them.
//!
//! What came after the backup is lost to the store, but not to clients: they have the UIDs, mod-sequences and identities of that time in
//! their caches, and POP3 clients the ids of what they need not fetch. Were these given to other messages, a client would take the one for
//! the other (RFC 9051 §2.3.1.1, RFC 1939 §7, RFC 8474 §4). So every number goes on well above: by a fixed distance, and by more the
//! later it is, so that the same generation may be restored twice. Mailboxes keep their UIDVALIDITY, which spares clients from fetching
//! all mail anew; only where no UIDs are left to leap over do they get another.
//!
//! All messages get higher mod-sequences, too: flags are again as they were, which a client that saw them change has to be told (RFC 7162
//! §3.1). What was expunged before is forgotten, so that clients are told which messages are there instead (RFC 7162 §3.2.5).

use mailwright_mail_model::{ModSeq, Uid, UidValidity};

use crate::embedded::database::{Database, failed};
use crate::embedded::header::Header;
use crate::embedded::row;
use crate::{Result, StoreError};

/// What is leapt over whatever the time; and beyond it one UID for every eight seconds, and so many of the others a second.
const UIDS: u32 = 1 << 20;
const SECONDS_OF_A_UID: u64 = 8;
const MODSEQS: u64 = 1 << 32;
const MODSEQS_A_SECOND: u64 = 1 << 8;
const IDENTITIES: u64 = 1 << 40;
/// A server takes as many at each start.
const IDENTITIES_A_SECOND: u64 = 1 << 20;
const VALIDITIES: u64 = 1 << 16;

/// From when on the seconds of a store are counted that was never restored: 2026-01-01.
const BEGINNING: u64 = 1_767_225_600;

/// Where the mod-sequence is in the row of a message: behind its size, date and zone.
const MODSEQ: usize = 8 + 8 + 2;

/// The numbers of the whole store, by their names in the keyspace `meta`.
const IDENTITY: &str = "identities";
const VALIDITY: &str = "validity";
/// When the store was made of a backup, in seconds since 1970.
const RESTORED: &str = "restored";

/// How far a restore leaps.
pub(super) struct Leap {
    now: u64,
    /// When the store that was backed up was restored itself.
    since: u64,
    identities: Option<u64>,
    validity: Option<u64>,
}

impl Leap {
    /// `now` in seconds since 1970.
    pub(super) fn new(now: i64) -> Self {
        let now = u64::try_from(now).unwrap_or(0);
        Self { now, since: BEGINNING, identities: None, validity: None }
    }

    const fn seconds(&self) -> u64 {
        self.now.saturating_sub(self.since)
    }

    /// Takes a row of `meta` that [`finish`](Self::finish) writes; whether it is one. All of them come before any other row.
    pub(super) fn takes(&mut self, key: &[u8], sealed: &[u8]) -> bool {
        let number = || row::open(key, sealed)?.try_into().ok().map(u64::from_be_bytes);
        let Some(number) = str::from_utf8(key).ok().and_then(|key| Some((key, number()?))) else {
            return false;
        };
        match number {
            (IDENTITY, number) => self.identities = Some(number),
            (VALIDITY, number) => self.validity = Some(number.saturating_add(VALIDITIES)),
            (RESTORED, number) => self.since = number,
            _ => return false,
        }
        true
    }

    /// The header of a mailbox as it goes on. Packed messages are in no backup.
    pub(super) fn header(&mut self, key: &[u8], value: Vec<u8>) -> Result<Vec<u8>> {
        // A damaged one comes back as it is, for `fsck` to find.
        let Ok(mut header) = Header::decode(key, &value) else { return Ok(value) };
        header.packed = None;
        header.highest_modseq = self.modseq(header.highest_modseq);
        (header.history, header.history_since) = (0, header.highest_modseq);
        if let Some(next) = header.uid_next {
            let uids = u32::try_from(self.seconds() / SECONDS_OF_A_UID).unwrap_or(u32::MAX);
            match next.get().checked_add(UIDS.saturating_add(uids)).and_then(Uid::new) {
                Some(next) => header.uid_next = Some(next),
                None => header.uid_validity = self.fresh_validity()?,
            }
        }
        Ok(header.encode(key))
    }

    /// The row of a message as it goes on.
    pub(super) fn message(&self, key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
        let Some(mut row) = row::open(key, &value).map(<[u8]>::to_vec) else { return value };
        let field = row.get_mut(MODSEQ..).and_then(|rest| rest.first_chunk_mut::<8>());
        if let Some((field, modseq)) = field.and_then(|field| {
            let modseq = ModSeq::new(u64::from_be_bytes(*field))?;
            Some((field, modseq))
        }) {
            *field = self.modseq(modseq).get().to_be_bytes();
            value = row::seal(key, row);
        }
        value
    }

    /// Writes the numbers of a store that was restored.
    pub(super) fn finish(self, database: &Database) -> Result<()> {
        let restored = number_row(RESTORED, self.now.max(self.since));
        for (name, value) in self.numbers().into_iter().chain([restored]) {
            database.meta.insert(name, value).map_err(failed)?;
        }
        Ok(())
    }

    /// The rows of the numbers of the store.
    pub(super) fn numbers(&self) -> Vec<(&'static str, Vec<u8>)> {
        let leap = self.seconds().saturating_mul(IDENTITIES_A_SECOND).saturating_add(IDENTITIES);
        let identities = self.identities.map(|number| number.saturating_add(leap));
        let numbers = [(IDENTITY, identities), (VALIDITY, self.validity)];
        numbers.into_iter().filter_map(|(name, number)| Some(number_row(name, number?))).collect()
    }

    /// Rising with what it is given, so that no message is above its mailbox.
    fn modseq(&self, before: ModSeq) -> ModSeq {
        let leap = self.seconds().saturating_mul(MODSEQS_A_SECOND).saturating_add(MODSEQS);
        ModSeq::new(before.get().saturating_add(leap)).unwrap_or(ModSeq::MAX)
    }

    /// A UIDVALIDITY above all there were.
    fn fresh_validity(&mut self) -> Result<UidValidity> {
        let next = self.validity.unwrap_or(VALIDITIES).max(self.now.min(u64::from(u32::MAX / 2))) + 1;
        self.validity = Some(next);
        let validity = u32::try_from(next).ok().and_then(UidValidity::new);
        validity.ok_or_else(|| StoreError::Unavailable("no UIDVALIDITY is left".into()))
    }
}

fn number_row(name: &'static str, number: u64) -> (&'static str, Vec<u8>) {
    (name, row::seal(name.as_bytes(), number.to_be_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;
    const KEY: &[u8] = b"alice\0INBOX";

    fn number(name: &str, number: u64) -> Vec<u8> {
        row::seal(name.as_bytes(), number.to_be_bytes().to_vec())
    }

    fn leapt(leap: &mut Leap, header: &Header) -> Header {
        Header::decode(KEY, &leap.header(KEY, header.encode(KEY)).unwrap()).unwrap()
    }

    #[test]
    fn who_restores_the_same_again_leaps_further() {
        let header = Header::new(9, UidValidity::new(3).unwrap(), None);
        let mut before = header.clone();
        before.uid_next = None;
        for later in [0, 3_600, 7_200] {
            let header = leapt(&mut Leap::new(NOW + later), &header);
            assert_eq!((header.uid_validity.get(), header.history_since), (3, header.highest_modseq));
            assert!(header.uid_next.is_some_and(|next| next.get() > UIDS));
            assert!(header.uid_next > before.uid_next.map(|next| Uid::new(next.get() + 400).unwrap()));
            assert!(header.highest_modseq > before.highest_modseq);
            before = header;
        }
        // And one that was restored is told from the time on at which it was, so that nothing is used up twice.
        let mut leap = Leap::new(NOW + 80);
        assert!(leap.takes(RESTORED.as_bytes(), &number(RESTORED, u64::try_from(NOW).unwrap())));
        assert_eq!(leapt(&mut leap, &header).uid_next, Uid::new(1 + UIDS + 10));
        // A clock that was set back does no harm.
        let mut leap = Leap::new(NOW - 80);
        assert!(leap.takes(RESTORED.as_bytes(), &number(RESTORED, u64::try_from(NOW).unwrap())));
        assert_eq!(leapt(&mut leap, &header).uid_next, Uid::new(1 + UIDS));
    }

    #[test]
    fn a_mailbox_near_the_end_of_its_uids_gets_another_validity() {
        let mut header = Header::new(9, UidValidity::new(3).unwrap(), None);
        let mut leap = Leap::new(NOW);
        assert!(leap.takes(VALIDITY.as_bytes(), &number(VALIDITY, 1_900_000_000)));
        header.uid_next = Uid::new(u32::MAX - UIDS);
        let first = leapt(&mut leap, &header);
        assert_eq!((first.uid_next, first.uid_validity.get()), (header.uid_next, 1_900_065_537));
        assert_eq!(leapt(&mut leap, &header).uid_validity.get(), 1_900_065_538);
        // None is given out any more, so none is given out again.
        header.uid_next = None;
        assert_eq!(leapt(&mut leap, &header).uid_validity.get(), 3);
    }

    #[test]
    fn damaged_rows_come_back_as_they_are() {
        let mut leap = Leap::new(NOW);
        assert_eq!(leap.header(KEY, b"abc".to_vec()).unwrap(), b"abc");
        assert_eq!(leap.message(b"key", b"abcdefg".to_vec()), b"abcdefg");
        assert!(!leap.takes(VALIDITY.as_bytes(), b"abcdefghijkl"));
        assert!(!leap.takes(b"format", &number("format", 2)));
    }
}
