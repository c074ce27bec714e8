//! `\Recent`: which messages a session is the first to be told of.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use mailwright_mail_model::{Uid, UidSet, UidValidity};
use mailwright_mailstore::{MailboxRef, Snapshot};

/// How many mailboxes are remembered. Past that all are forgotten: messages are recent once too often, which RFC 3501
/// §2.3.2 prefers to once too seldom.
const MOST: usize = 100_000;

/// Up to where each mailbox was shown to a session that may change it. Kept while the server runs.
#[derive(Debug, Default)]
pub(super) struct RecentMarks(Mutex<HashMap<(String, String, UidValidity), Uid>>);

impl RecentMarks {
    /// The recent messages of a mailbox. Unless the session only looks (EXAMINE, STATUS), they are nobody else's then.
    pub(super) fn of(&self, mailbox: &MailboxRef, snapshot: &Snapshot, claim: bool) -> UidSet {
        let key =
            (mailbox.user().as_str().to_owned(), mailbox.name().as_str().to_owned(), snapshot.uid_validity());
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = marks.get(&key).copied();
        let first = mark.map_or(Some(Uid::MIN), Uid::next);
        let recent = first.map(|first| snapshot.uids().within(first..=Uid::MAX)).unwrap_or_default();
        if claim && let Some(last) = recent.last() {
            if marks.len() >= MOST {
                marks.clear();
            }
            marks.insert(key, last);
        }
        recent
    }
}
