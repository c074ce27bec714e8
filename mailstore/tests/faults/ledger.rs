//! What a workload was told, and whether a store still keeps to it.

use std::collections::BTreeMap;
use std::path::Path;

use mailwright_mail_model::MailboxName;
use mailwright_mailstore::embedded::Embedded;
use mailwright_mailstore::{MailboxRef, QueueNumber, Spool, Store, StoreError, User, block_on};

use crate::workload::{BOX, COPIES, alice, bob, deliver, folders, options, text};

/// What is known of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    Inbox(u32),
    /// Being moved: in one of the two.
    Moving,
    Moved(u32),
    /// Being expunged: there or not.
    Leaving,
    Gone,
    Refused,
}

/// What is known of a mailbox that was made for one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// There or not, with the message or without.
    Making,
    Made,
    /// Under one of its two names.
    Renaming,
    Renamed,
    /// There or not, with the message.
    Deleting,
    Deleted,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    messages: BTreeMap<String, Known>,
    /// Messages that went to bob in the same commit, and their UIDs there.
    also: BTreeMap<String, u32>,
    /// Copies beside the INBOX, and their UIDs, which are known when they are there for certain.
    copies: BTreeMap<String, Option<u32>>,
    places: BTreeMap<String, Place>,
    validity: Option<u32>,
    highest: u32,
    queued: Vec<u64>,
    pub(crate) acknowledged: usize,
    pub(crate) refused: usize,
}

impl Ledger {
    /// Notes a line of the workload.
    pub(crate) fn note(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |index: usize| words[index].parse().unwrap();
        let (name, known) = match words[0] {
            "validity" => {
                let validity = number(1);
                assert_eq!(*self.validity.get_or_insert(validity), validity);
                return;
            }
            "also" => {
                self.also.insert(words[1].to_owned(), number(2));
                return;
            }
            "copying" | "copied" => {
                let uid = (words[0] == "copied").then(|| number(2));
                self.copies.insert(words[1].to_owned(), uid);
                return;
            }
            "making" => return self.place(words[1], Place::Making),
            "made" => return self.place(words[1], Place::Made),
            "renaming" => return self.place(words[1], Place::Renaming),
            "renamed" => return self.place(words[1], Place::Renamed),
            "deleting" => return self.place(words[1], Place::Deleting),
            "deleted" => return self.place(words[1], Place::Deleted),
            "queued" => return self.queued.push(words[1].parse().unwrap()),
            "delivered" => {
                self.acknowledged += 1;
                self.highest = self.highest.max(number(2));
                (words[1], Known::Inbox(number(2)))
            }
            "moving" => (words[1], Known::Moving),
            "moved" => (words[1], Known::Moved(number(2))),
            "leaving" => (words[1], Known::Leaving),
            "gone" => (words[1], Known::Gone),
            "refused" => {
                self.refused += 1;
                (words[1], Known::Refused)
            }
            other => panic!("an unknown line: {other}"),
        };
        self.messages.insert(name.to_owned(), known);
    }

    fn place(&mut self, name: &str, place: Place) {
        self.places.insert(name.to_owned(), place);
    }

    /// Whether what is not in the INBOX or the box is where it has to be.
    fn check_others(&self, store: &Embedded) -> Result<(), String> {
        let bobs = contents(store, &bob(), &MailboxName::inbox())?;
        for (name, uid) in &self.also {
            if bobs.names.get(name) != Some(uid) {
                return Err(format!("{name} of bob is {uid}, found {:?}", bobs.names.get(name)));
            }
        }
        let refused = |name: &&String| self.messages.get(*name) == Some(&Known::Refused);
        if let Some(name) = bobs.names.keys().find(refused) {
            return Err(format!("{name} was refused, but bob has it"));
        }
        let copies = contents(store, &alice(), &MailboxName::new(COPIES).unwrap()).unwrap_or_default();
        for (name, uid) in &self.copies {
            if uid.is_some() && copies.names.get(name) != uid.as_ref() {
                return Err(format!("the copy of {name} is {uid:?}, found {:?}", copies.names.get(name)));
            }
        }
        for (name, place) in &self.places {
            let [made, kept] = folders(name).map(|folder| match block_on(store.open(&alice(), &folder)) {
                Ok(_) => contents(store, &alice(), &folder).map(|found| Some(found.names.contains_key(name))),
                Err(StoreError::NotFound) => Ok(None),
                Err(error) => Err(format!("{folder}: {error}")),
            });
            let found = (made?, kept?);
            let right = match place {
                Place::Making => found.1.is_none(),
                Place::Made => found == (Some(true), None),
                Place::Renaming => matches!(found, (Some(true), None) | (None, Some(true))),
                Place::Renamed => found == (None, Some(true)),
                Place::Deleting => matches!(found, (None, Some(true) | None)),
                Place::Deleted => found == (None, None),
            };
            if !right {
                return Err(format!("the mailbox for {name} is {place:?}, found {found:?}"));
            }
        }
        Ok(())
    }

    /// Whether the store in a directory keeps to it. Delivers one message more.
    pub(crate) fn check(&self, directory: &Path, thorough: bool) -> Result<(), String> {
        let store =
            Embedded::open(directory, options()).map_err(|error| format!("does not open: {error}"))?;
        let inbox = contents(&store, &alice(), &MailboxName::inbox())?;
        let archive = contents(&store, &alice(), &MailboxName::new(BOX).unwrap()).unwrap_or_default();
        self.check_others(&store)?;
        for (name, known) in &self.messages {
            let found = (inbox.names.get(name), archive.names.get(name));
            let right = match known {
                Known::Inbox(uid) => found == (Some(uid), None),
                Known::Moving => found.0.is_some() != found.1.is_some(),
                Known::Moved(uid) => found == (None, Some(uid)),
                Known::Leaving => found.1.is_none(),
                Known::Gone | Known::Refused => found == (None, None),
            };
            if !right {
                return Err(format!("{name} is {known:?}, found {found:?}"));
            }
        }
        if self.validity.is_some_and(|validity| validity != inbox.validity) {
            return Err(format!("UIDVALIDITY {:?} became {}", self.validity, inbox.validity));
        }
        for number in &self.queued {
            let entry = block_on(store.entry(QueueNumber::new(*number)));
            if !entry.as_ref().is_ok_and(Option::is_some) {
                return Err(format!("entry {number} of the queue: {entry:?}"));
            }
        }
        if !store.damage().is_empty() {
            return Err(format!("damage: {:?}", store.damage()));
        }
        if thorough {
            let report = block_on(store.check(false, &mut |_| {})).map_err(|error| error.to_string())?;
            if !report.findings.is_empty() {
                return Err(format!("{:?}", report.findings));
            }
        }
        let uid = deliver(&store, "9-9-9").map_err(|error| format!("takes nothing: {error}"))?;
        if uid <= self.highest.max(inbox.highest) {
            return Err(format!("UID {uid} after {} and {}", self.highest, inbox.highest));
        }
        Ok(())
    }
}

#[derive(Default)]
struct Contents {
    names: BTreeMap<String, u32>,
    validity: u32,
    highest: u32,
}

/// The messages of a mailbox, each of them whole and once.
fn contents(store: &Embedded, user: &User, name: &MailboxName) -> Result<Contents, String> {
    let snapshot = block_on(store.open(user, name)).map_err(|error| format!("{name}: {error}"))?;
    let mailbox = MailboxRef::new(user.clone(), name.clone(), &snapshot);
    let mut found = Contents { validity: snapshot.uid_validity().get(), ..Contents::default() };
    for message in snapshot.messages() {
        let uid = message.uid.get();
        found.highest = found.highest.max(uid);
        let mut octets = Vec::new();
        while (octets.len() as u64) < message.size {
            let range = octets.len() as u64..message.size;
            let part = block_on(store.read(&mailbox.message(message), range));
            octets.extend_from_slice(&part.map_err(|error| format!("UID {uid} of {name}: {error}"))?);
        }
        let line = octets.split(|octet| *octet == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line).into_owned();
        if line.split('-').count() != 3 || octets != text(&line).into_bytes() {
            return Err(format!("UID {uid} of {name} is torn: {line:?}"));
        }
        if found.names.insert(line.clone(), uid).is_some() {
            return Err(format!("{line} is there twice"));
        }
    }
    Ok(found)
}
