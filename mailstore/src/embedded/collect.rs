//! Taking away what nobody needs: bodies without messages, rows of deleted mailboxes, uploads that never ended.
//!
//! A body goes into the trash when its last message is expunged, and is taken from there some time later, so
//! that a session which still shows the message can read it to its end. The key of an entry is the
//! epoch (how often the database had been opened), seconds since that opening, what it is, and its number: entries of
//! earlier epochs are due at once, since their sessions are gone, and no clock is trusted.

use bytes::Bytes;

use super::Core;
use super::body;
use super::committer::Group;
use super::database::failed;
use super::live::decode_row;
use super::row::{self, Fields};
use super::{summary, threads};
use crate::{Column, Result};

const BODY: u8 = 1;
const ROWS: u8 = 2;
const HISTORY: u8 = 3;
const THREADS: u8 = 4;

/// Where in the trash the rows of an owner's threads are.
fn threads_key(owner: u64) -> Vec<u8> {
    [&[0; 8][..], &[THREADS], &owner.to_be_bytes()].concat()
}

/// How many rows one step removes.
const STEP: usize = 512;

impl Core {
    /// Removes the chunks of uploads that were under way when the store was last closed or killed.
    pub(super) fn collect_uploads(&self) -> Result<()> {
        loop {
            let Some(first) = self.database.uploads.first_key_value() else { return Ok(()) };
            let upload = Bytes::from(first.key().map_err(failed)?);
            let mut batch = self.database.handle.batch();
            let mut more = false;
            for entry in self.database.bodies.prefix(&upload) {
                more = batch.len() >= STEP;
                if more {
                    break;
                }
                batch.remove(&self.database.bodies, entry.key().map_err(failed)?);
            }
            if !more {
                batch.remove(&self.database.uploads, upload);
            }
            self.database.commit(batch, STEP * 64)?;
        }
    }

    /// Where in the trash something belongs that is thrown away now.
    fn trash_key(&self, kind: u8, number: u64) -> Vec<u8> {
        let seconds = u32::try_from(self.opened.elapsed().as_secs()).unwrap_or(u32::MAX);
        let mut trash_key = Vec::with_capacity(17);
        trash_key.extend_from_slice(&self.database.epoch.to_be_bytes());
        trash_key.extend_from_slice(&seconds.to_be_bytes());
        trash_key.push(kind);
        trash_key.extend_from_slice(&number.to_be_bytes());
        trash_key
    }

    fn is_due(&self, epoch: u32, seconds: u32) -> bool {
        let due = u64::from(seconds).saturating_add(self.options.grace.as_secs());
        epoch < self.lasting.epoch || due <= self.opened.elapsed().as_secs()
    }
}

impl Group<'_> {
    pub(super) fn discard_body(&mut self, body: u64) {
        self.discard(BODY, body);
    }

    /// The same for a body that no session can have seen.
    pub(super) fn discard_at_once(&mut self, body: u64) {
        let trash_key = [&[0; 8][..], &[BODY], &body.to_be_bytes()].concat();
        self.put(&self.core.database.trash, trash_key, Bytes::new());
    }

    /// Throws away message rows and what they refer to.
    pub(super) fn discard_rows(&mut self, rows: u64) {
        self.discard(ROWS, rows);
    }

    /// Throws away what is remembered of a mailbox's past.
    pub(super) fn discard_history(&mut self, mailbox: u64) {
        self.discard(HISTORY, mailbox);
    }

    /// Throws away the rows of an owner's threads that began before the one of this number. No session needs them, so they are due at once.
    pub(super) fn discard_threads(&mut self, owner: u64, before: u64) {
        self.put(&self.core.database.trash, threads_key(owner), before.to_be_bytes().to_vec());
    }

    /// From which number on threads of an owner count, because those before are thrown away.
    pub(super) fn erased_threads(&self, owner: u64) -> Result<u64> {
        let before = self.core.database.trash.get(threads_key(owner)).map_err(failed)?;
        Ok(before.and_then(|before| Fields(&before).u64()).unwrap_or(0))
    }

    fn discard(&mut self, kind: u8, number: u64) {
        let trash_key = self.core.trash_key(kind, number);
        self.put(&self.core.database.trash, trash_key, Bytes::new());
    }

    /// Takes some of what is due out of the trash, some of the expunged messages whose time is over, and threads that nothing is left of;
    /// whether there may be more.
    pub(super) fn collect(&mut self) -> Result<bool> {
        let core = self.core;
        // Without a window too: there may have been one when the store was open before.
        let mut removed = self.collect_expunged(STEP)?;
        if removed >= STEP {
            return Ok(true);
        }
        for entry in core.database.trash.iter() {
            let (trash_key, value) = entry.into_inner().map_err(failed)?;
            let trash_key = Bytes::from(trash_key);
            let mut fields = Fields(&trash_key);
            let (Some(epoch), Some(seconds)) = (fields.u32(), fields.u32()) else { continue };
            if !core.is_due(epoch, seconds) {
                break;
            }
            let (Some(kind), Some(number)) = (fields.u8(), fields.u64()) else { continue };
            let (count, complete) = match kind {
                BODY => self.collect_body(number, STEP - removed)?,
                ROWS => self.collect_rows(number, STEP - removed)?,
                THREADS => self.collect_threads(number, &value, STEP - removed)?,
                _ => self.collect_history(number, STEP - removed)?,
            };
            removed += count + 1;
            if complete {
                self.delete_lazily(&core.database.trash, trash_key);
            }
            if removed >= STEP {
                return Ok(true);
            }
        }
        // With an error nobody knows which threads are left, so they stay; what else was taken away is gone all the same.
        Ok(self.sweep().unwrap_or(false))
    }

    fn collect_body(&mut self, number: u64, limit: usize) -> Result<(usize, bool)> {
        let core = self.core;
        let mut count = 0;
        for entry in core.database.bodies.prefix(number.to_be_bytes()) {
            if count >= limit {
                return Ok((count, false));
            }
            self.delete_lazily(&core.database.bodies, Bytes::from(entry.key().map_err(failed)?));
            count += 1;
        }
        for column in Column::ALL.iter().copied() {
            self.delete_lazily(&core.database.summaries, summary::key(column, number));
        }
        self.delete_lazily(&core.database.references, number.to_be_bytes().to_vec());
        self.forget_keys(number)?;
        Ok((count, true))
    }

    fn collect_rows(&mut self, number: u64, limit: usize) -> Result<(usize, bool)> {
        let core = self.core;
        let (mut count, complete) = self.collect_notes(number, limit)?;
        if !complete {
            return Ok((count, false));
        }
        for entry in core.database.packs.prefix(number.to_be_bytes()) {
            self.delete_lazily(&core.database.packs, Bytes::from(entry.key().map_err(failed)?));
        }
        for entry in core.database.rows.prefix(number.to_be_bytes()) {
            if count >= limit {
                return Ok((count, false));
            }
            let (row_key, value) = entry.into_inner().map_err(failed)?;
            // Of a corrupt row nobody knows the body, which then stays for good.
            if let Ok(message) = decode_row(b"a deleted mailbox", &row_key, &value) {
                let body = body::of(&message)?;
                let references = self.references(body)?.saturating_sub(1);
                self.set_references(body, references);
            }
            self.delete_lazily(&core.database.origins, row_key.to_vec());
            self.delete_lazily(&core.database.rows, Bytes::from(row_key));
            count += 1;
        }
        Ok((count, true))
    }

    fn collect_threads(&mut self, owner: u64, before: &[u8], limit: usize) -> Result<(usize, bool)> {
        let core = self.core;
        let before = Fields(before).u64().unwrap_or(0);
        let mut count = 0;
        for entry in core.database.threads.prefix(owner.to_be_bytes()) {
            if count >= limit {
                return Ok((count, false));
            }
            let (key, value) = entry.into_inner().map_err(failed)?;
            // What is later is of somebody who has the name now.
            if threads::decode(&key, &value).is_none_or(|thread| thread < before) {
                self.delete_lazily(&core.database.threads, Bytes::from(key));
                count += 1;
            }
        }
        Ok((count, true))
    }

    fn collect_history(&mut self, number: u64, limit: usize) -> Result<(usize, bool)> {
        let core = self.core;
        let mut count = 0;
        for entry in core.database.expunged.prefix(row::key(number, b"")) {
            if count >= limit {
                return Ok((count, false));
            }
            self.delete_lazily(&core.database.expunged, Bytes::from(entry.key().map_err(failed)?));
            count += 1;
        }
        Ok((count, true))
    }
}
