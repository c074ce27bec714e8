//! What all clients of one account have found out together, and what can be true only once.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

/// One mailbox in one of its lives.
type Mailbox = (String, u64);

#[derive(Default)]
struct Known {
    /// The text of every message, by mailbox and UID: the first who sees it says what it is for ever.
    texts: BTreeMap<(Mailbox, u64), String>,
    /// Every text that was appended, and where.
    appended: BTreeMap<(Mailbox, u64), String>,
    /// What each client saw when all was over.
    last: BTreeMap<Mailbox, BTreeMap<u64, Vec<String>>>,
    counts: BTreeMap<String, u64>,
}

#[derive(Default)]
pub(crate) struct Ledger(Mutex<Known>);

impl Ledger {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap()
    }

    pub(crate) fn count(&self, command: &str) {
        *self.known().counts.entry(command.to_owned()).or_default() += 1;
    }

    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.known().counts.clone()
    }

    /// A message has this text; it must have had it before.
    pub(crate) fn text(&self, mailbox: &Mailbox, uid: u64, text: &str) -> Result<(), String> {
        let mut known = self.known();
        let before = known.texts.entry((mailbox.clone(), uid)).or_insert_with(|| text.to_owned());
        if before != text {
            return Err(format!("UID {uid} of {mailbox:?} was {before:?} and is {text:?}"));
        }
        Ok(())
    }

    /// A message was stored under this UID: no other ever.
    pub(crate) fn append(&self, mailbox: &Mailbox, uid: u64, text: &str) -> Result<(), String> {
        self.text(mailbox, uid, text)?;
        match self.known().appended.insert((mailbox.clone(), uid), text.to_owned()) {
            Some(before) => Err(format!("UID {uid} was given to {before:?} and to {text:?}")),
            None => Ok(()),
        }
    }

    /// What one client sees at the end; the others must see the same.
    pub(crate) fn last(&self, mailbox: &Mailbox, seen: &BTreeMap<u64, Vec<String>>) -> Result<(), String> {
        let mut known = self.known();
        let before = known.last.entry(mailbox.clone()).or_insert_with(|| seen.clone());
        if before != seen {
            return Err(format!("one client sees {before:?}, another {seen:?} in {mailbox:?}"));
        }
        Ok(())
    }

    /// What was told at the end is all there.
    pub(crate) fn agree(&self) -> Result<(), String> {
        let known = self.known();
        match known.last.is_empty() {
            true => Err("nobody has seen anything".into()),
            false => Ok(()),
        }
    }
}
