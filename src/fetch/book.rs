//! What is known of an account's messages while one look goes on, and which of them may have another name now.

use std::collections::{HashMap, HashSet};

use super::{BodyDigest, Entry, FetchPolicy, Fingerprint, MessageName, pass::Listed};

/// What is known.
pub(super) struct Book {
    /// The messages that the server shows under the names they are known by.
    pub(super) known: HashMap<MessageName, Entry>,
    /// What it does not show any more, or what may be another message by now, by its fingerprint.
    missing: HashMap<Fingerprint, Vec<Entry>>,
}

/// How much of a message was looked at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Looked {
    /// Its header, and its size as it is listed.
    Header(Option<u64>),
    /// All of it.
    Whole(BodyDigest),
}

impl Looked {
    /// Whether a message of the same header is this one.
    fn is(self, entry: &Entry) -> bool {
        match (self, entry.body) {
            // It was written down before more than the fingerprint was.
            (_, None) => true,
            // What follows one that we deleted is another, however much its header resembles the other's: scanners send such.
            (Self::Header(size), Some(_)) => !entry.deleted && size.is_some() && size == entry.size,
            (Self::Whole(body), Some(known)) => body == known,
        }
    }
}

impl Book {
    /// From the ledger and what the server lists.
    pub(super) fn new(
        mut known: HashMap<MessageName, Entry>,
        listed: &[Listed],
        policy: FetchPolicy,
    ) -> Self {
        let doubtful: HashSet<MessageName> = listed
            .iter()
            .filter(|message| known.get(&message.name).is_some_and(|entry| is_doubtful(message, entry)))
            .map(|message| message.name)
            .collect();
        let mut missing: HashMap<Fingerprint, Vec<Entry>> = HashMap::new();
        for (name, entry) in known.extract_if(|name, entry| entry.gone != 0 || doubtful.contains(name)) {
            // Of an account whose messages are deleted, those that are gone were; older ledgers did not say so.
            let ours = entry.deleted || (entry.body.is_none() && policy != FetchPolicy::Keep);
            if let Some(fingerprint) = entry.fingerprint.filter(|_| doubtful.contains(&name) || !ours) {
                missing.entry(fingerprint).or_default().push(entry);
            }
        }
        Self { known, missing }
    }

    /// Whether nothing is missing, so that no message can have got another name.
    pub(super) fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// Whether a message was known by another name.
    pub(super) fn was_known(&self, fingerprint: Fingerprint, looked: Looked) -> bool {
        self.missing.get(&fingerprint).is_some_and(|entries| entries.iter().any(|entry| looked.is(entry)))
    }

    /// Takes the entry of a message that was known by another name.
    pub(super) fn take(&mut self, fingerprint: Fingerprint, looked: Looked) -> Option<Entry> {
        let entries = self.missing.get_mut(&fingerprint)?;
        let place = entries.iter().rposition(|entry| looked.is(entry))?;
        Some(entries.swap_remove(place))
    }
}

/// Whether a message may be another than the one that is known by its name.
fn is_doubtful(message: &Listed, entry: &Entry) -> bool {
    let differs = message.size.zip(entry.size).is_some_and(|(now, then)| now != then);
    // Where names are shared, the next message has that of the one before it, as soon as this one is deleted. Servers have been met that
    // give a name again to one that came later (RFC 1939 §7 forbids it).
    let follows = entry.deleted && (message.shared.is_some() || entry.gone != 0);
    entry.body.is_some() && (differs || follows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::EntryState;

    const PRINT: Fingerprint = Fingerprint([1; 16]);

    fn entry(number: u8, gone: u64, deleted: bool) -> Entry {
        let mut entry = Entry::new(MessageName([number; 16]), Some(PRINT), EntryState::Delivered, 1);
        (entry.gone, entry.deleted) = (gone, deleted);
        (entry.size, entry.body) = (Some(10), Some(BodyDigest([number; 16])));
        entry
    }

    fn book(entries: &[Entry], listed: &[Listed], policy: FetchPolicy) -> Book {
        Book::new(entries.iter().map(|entry| (entry.name, entry.clone())).collect(), listed, policy)
    }

    fn listed(number: u8, size: u64, shared: Option<u8>) -> Listed {
        let shared = shared.map(|number| MessageName([number; 16]));
        Listed { name: MessageName([number; 16]), handle: number.into(), size: Some(size), shared }
    }

    #[test]
    fn what_was_deleted_by_us_has_no_other_name() {
        let book = book(&[entry(1, 5, true)], &[], FetchPolicy::Delete);
        assert!(book.is_complete());
    }

    #[test]
    fn the_same_message_has_the_same_size_or_the_same_body() {
        let mut book = book(&[entry(1, 5, false)], &[], FetchPolicy::Keep);
        assert!(
            !book.was_known(PRINT, Looked::Header(Some(11))) && !book.was_known(PRINT, Looked::Header(None))
        );
        assert!(!book.was_known(PRINT, Looked::Whole(BodyDigest([2; 16]))));
        assert!(book.was_known(PRINT, Looked::Header(Some(10))));
        assert!(book.take(PRINT, Looked::Whole(BodyDigest([1; 16]))).is_some());
        assert!(book.take(PRINT, Looked::Whole(BodyDigest([1; 16]))).is_none());
    }

    #[test]
    fn older_lines_are_believed_unless_messages_are_deleted() {
        let mut old = entry(1, 5, false);
        (old.size, old.body) = (None, None);
        let entries = [old];
        assert!(book(&entries, &[], FetchPolicy::Keep).was_known(PRINT, Looked::Header(Some(3))));
        assert!(book(&entries, &[], FetchPolicy::Delete).is_complete());
    }

    #[test]
    fn a_name_that_is_shared_or_another_size_is_looked_into() {
        let same = book(&[entry(1, 0, true)], &[listed(1, 10, None)], FetchPolicy::Delete);
        assert!(same.known.len() == 1 && same.is_complete());
        for (message, gone) in
            [(listed(1, 11, None), 0), (listed(1, 10, Some(1)), 0), (listed(1, 10, None), 5)]
        {
            let book = book(&[entry(1, gone, true)], &[message], FetchPolicy::Delete);
            assert!(book.known.is_empty(), "{message:?}");
            assert!(!book.was_known(PRINT, Looked::Header(Some(10))));
            assert!(book.was_known(PRINT, Looked::Whole(BodyDigest([1; 16]))));
        }
    }
}
