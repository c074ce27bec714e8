//! By what sealed bodies are opened. Each has a key of its own, and a row for each of its owners with that key sealed to them.
//!
//! The body of a message that came in parts, each written before anybody knew for whom it is, may be sealed although no owner has
//! a lock; then its key rests beside it, in a row for everybody.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::Core;
use super::committer::Group;
use super::database::{Database, failed};
use super::detail::{BODY_KEY, LOCK};
use super::row::{self, Fields};
use crate::vault::{BodyKey, KeyId, Lock};
use crate::{Result, StoreError, User};

/// Whether anything is encrypted here. As long as nothing is, nobody pays for it.
#[derive(Debug)]
pub(super) struct Sealing {
    on: AtomicBool,
    /// A lock that everybody has, with what opens it.
    #[cfg(test)]
    everybody: std::sync::OnceLock<(Lock, crate::vault::MailKey)>,
}

impl Sealing {
    pub(super) fn of(database: &Database) -> Self {
        let any = [LOCK, BODY_KEY].iter().any(|kind| database.details.prefix([*kind]).next().is_some());
        Self {
            on: AtomicBool::new(any),
            #[cfg(test)]
            everybody: std::sync::OnceLock::new(),
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.on.load(Ordering::Acquire)
    }

    #[cfg(feature = "encryption")]
    pub(super) fn begin(&self) {
        self.on.store(true, Ordering::Release);
    }

    /// For tests that know of no locks.
    #[cfg(test)]
    pub(super) fn lock_everybody(&self) {
        let (lock, _) = Lock::new(b"secret").unwrap();
        let key = lock.open(b"secret").unwrap();
        self.everybody.set((lock, key)).unwrap();
        self.begin();
    }
}

/// Who wants to read a body.
#[derive(Clone, Copy)]
pub(super) enum Reader<'a> {
    /// A user, who has a key if a login has opened it.
    User(&'a User),
    /// Whoever is making the body.
    Maker(Option<&'a BodyKey>),
    /// The queue, in which nothing is encrypted.
    Queue,
}

/// A row by which a body is opened.
#[derive(Clone, Debug)]
pub(super) struct KeyRow {
    /// The user and their pair of keys; `None` for everybody.
    pub(super) owner: Option<(User, KeyId)>,
    value: Bytes,
}

impl KeyRow {
    /// For everybody.
    pub(super) fn open(key: &BodyKey) -> Self {
        Self { owner: None, value: [&[OPEN], key.octets()].concat().into() }
    }

    /// For one owner.
    pub(super) fn sealed(body: u64, size: u64, key: &BodyKey, user: &User, lock: &Lock) -> Result<Self> {
        let sealed = lock.seal(body, size, key)?;
        let value = [&[SEALED], &lock.id()[..], &sealed].concat().into();
        Ok(Self { owner: Some((user.clone(), lock.id())), value })
    }
}

const OPEN: u8 = 0;
const SEALED: u8 = 1;

impl Core {
    pub(super) fn lock_of(&self, user: &User) -> Result<Option<Lock>> {
        if !self.sealing.is_on() {
            return Ok(None);
        }
        #[cfg(test)]
        if let Some((lock, _)) = self.sealing.everybody.get() {
            return Ok(Some(lock.clone()));
        }
        self.detail(&lock_key(user))?.map(|row| decode(user, &row)).transpose()
    }

    /// By what a sealed body is opened.
    pub(super) fn body_key(&self, body: u64, size: u64, reader: Reader<'_>) -> Result<BodyKey> {
        let corrupt = || StoreError::Corrupt(format!("the key of the body {body}"));
        if let Reader::Maker(key) = reader {
            return key.cloned().ok_or_else(corrupt);
        }
        if let Reader::User(user) = reader
            && let Some(row) = self.detail(&body_key(body, user.as_str()))?
        {
            let locked = || StoreError::Locked(user.to_string());
            let mut fields = Fields(&row);
            let (Some(SEALED), Some(id)) = (fields.u8(), fields.take()) else { return Err(corrupt()) };
            let key = user.key();
            #[cfg(test)]
            let key = key.or_else(|| self.sealing.everybody.get().map(|(_, key)| key));
            let key = key.filter(|key| key.id() == id).ok_or_else(locked)?;
            return key.open(body, size, fields.0).ok_or_else(corrupt);
        }
        let row = self.detail(&body_key(body, ""))?;
        let octets = row.as_ref().and_then(|row| row.strip_prefix(&[OPEN]));
        // Others who are let into a mailbox cannot read what only its owner opens.
        let locked = || match reader {
            Reader::User(user) => StoreError::Locked(user.to_string()),
            _ => corrupt(),
        };
        octets.ok_or_else(locked).and_then(|octets| BodyKey::from_octets(octets).ok_or_else(corrupt))
    }

    /// What a summary of this body is sealed with, or none if it is not sealed for this user.
    ///
    /// # Errors
    /// If it is sealed and cannot be opened.
    pub(super) fn summary_key(&self, body: u64, size: u64, user: &User) -> Result<Option<BodyKey>> {
        if !self.sealing.is_on() || self.detail(&body_key(body, user.as_str()))?.is_none() {
            return Ok(None);
        }
        self.body_key(body, size, Reader::User(user)).map(Some)
    }
}

impl Group<'_> {
    pub(super) fn lock_of(&self, user: &User) -> Result<Option<Lock>> {
        if !self.core.sealing.is_on() {
            return Ok(None);
        }
        match self.details.get(&lock_key(user)) {
            Some(staged) => staged.as_ref().map(|row| decode(user, row)).transpose(),
            None => self.core.lock_of(user),
        }
    }

    /// Whether what was sealed a moment ago is sealed to the pairs of keys that the owners have still.
    pub(super) fn check_keys(&self, rows: &[KeyRow]) -> Result<()> {
        for (user, id) in rows.iter().filter_map(|row| row.owner.as_ref()) {
            if self.lock_of(user)?.is_none_or(|lock| lock.id() != *id) {
                return Err(StoreError::Unavailable(format!("{user} has just got other keys")));
            }
        }
        Ok(())
    }

    pub(super) fn put_keys(&mut self, body: u64, rows: &[KeyRow]) {
        for row in rows {
            let key = body_key(body, row.owner.as_ref().map_or("", |(user, _)| user.as_str()));
            let sealed = row::seal(&key, row.value.to_vec());
            self.put(&self.core.database.details, key, sealed);
        }
    }

    /// Removes what a body is opened by.
    pub(super) fn forget_keys(&mut self, body: u64) -> Result<()> {
        let core = self.core;
        if core.sealing.is_on() {
            for entry in core.database.details.prefix(row_prefix(body)) {
                self.delete_lazily(&core.database.details, Bytes::from(entry.key().map_err(failed)?));
            }
        }
        Ok(())
    }
}

fn decode(user: &User, row: &[u8]) -> Result<Lock> {
    // What is lost is only what one cannot read anyway; but mail that comes must not rest in the clear for it.
    Lock::decode(row).ok_or_else(|| StoreError::Corrupt(format!("the keys of {user}")))
}

pub(super) fn lock_key(user: &User) -> Vec<u8> {
    [&[LOCK], user.as_str().as_bytes()].concat()
}

fn row_prefix(body: u64) -> Vec<u8> {
    [&[BODY_KEY][..], &body.to_be_bytes()].concat()
}

fn body_key(body: u64, user: &str) -> Vec<u8> {
    [&row_prefix(body)[..], user.as_bytes()].concat()
}
