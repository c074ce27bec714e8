//! Removing all that is kept of a user.

use bytes::Bytes;

use super::account::Account;
use super::committer::Group;
use super::database::failed;
use super::row::name_key;
use super::{account, body, scripts, sealed, threads, undelete};
use crate::{FeedEvent, Result, User};

impl Group<'_> {
    /// One batch for all of it: the rows of messages go to the trash, and their bodies follow when they are taken from there.
    pub(super) fn erase(&mut self, user: &User) -> Result<()> {
        let (core, octets) = (self.core, user.as_str().as_bytes());
        for name in self.names(user)? {
            let header = self.uninstall(&name_key(user.as_str(), name.as_str()))?.header;
            self.forget_details(octets, header.id)?;
            self.discard_rows(header.rows);
            self.discard_history(header.id);
        }
        for entry in core.database.details.prefix(undelete::key(octets, None)) {
            let row_key = entry.key().map_err(failed)?.to_vec();
            self.forget_expunged(row_key)?;
        }
        for entry in core.database.details.prefix(account::warning_prefix(octets)) {
            self.delete(&core.database.details, Bytes::from(entry.key().map_err(failed)?));
        }
        for entry in core.database.subscriptions.prefix(name_key(user.as_str(), "")) {
            self.delete(&core.database.subscriptions, Bytes::from(entry.key().map_err(failed)?));
        }
        for entry in core.database.tables.prefix(scripts::key(user, "")) {
            self.set_row(entry.key().map_err(failed)?.to_vec(), None)?;
        }
        self.set_detail(sealed::lock_key(user), None);
        self.discard_threads(threads::owner(octets), core.database.identity()?);
        self.accounts.insert(octets.into(), Account::erased());
        self.events.push((octets.into(), FeedEvent::Mailboxes));
        Ok(())
    }

    /// Lets go of an expunged message for good.
    fn forget_expunged(&mut self, row_key: Vec<u8>) -> Result<()> {
        let core = self.core;
        // A row that cannot be read keeps its body for good, until a check of the store finds it.
        if let Ok(Some(value)) = self.detail(&row_key)
            && let Some((seconds, _, message)) = undelete::decode(&value)
        {
            let body = body::of(&message)?;
            let references = self.references(body)?.saturating_sub(1);
            self.set_references(body, references);
            self.delete(&core.database.details, undelete::time_key(seconds, &row_key));
        }
        if let Some(identity) = row_key.last_chunk::<8>() {
            self.forget_notes_aside(u64::from_be_bytes(*identity))?;
        }
        self.set_detail(row_key, None);
        Ok(())
    }
}
