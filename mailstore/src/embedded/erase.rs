//! Removing all that is kept of a user.

use std::collections::BTreeMap;

use bytes::Bytes;
use fjall::Readable;

use super::account::Account;
use super::committer::Group;
use super::database::failed;
use super::detail::{ANNOTATION, NOTES};
use super::header::Header;
use super::row::{name_key, user_of};
use super::{account, annotations, body, detail, scripts, sealed, threads, undelete};
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
        self.forget_private(user)?;
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

    /// What the user noted for themselves about mailboxes of others, messages in them and the server: nobody would see it, until
    /// somebody else has the name. No key leads there from the user, so all rows of the kind are looked through.
    fn forget_private(&mut self, user: &User) -> Result<()> {
        let (mut of_mailboxes, mut of_messages) = (BTreeMap::new(), BTreeMap::new());
        for key in self.detail_keys(ANNOTATION)? {
            let Some((mailbox, name)) = detail::private_annotation(&key, user.as_str()) else { continue };
            // Of a row that cannot be read nobody knows how long it is; a check of the store counts anew.
            let octets = match self.detail(&key) {
                Ok(Some(value)) => (name.len() + value.len()) as u64,
                Ok(None) => continue,
                Err(_) => 0,
            };
            *of_mailboxes.entry(mailbox).or_insert(0) += octets;
            self.set_detail(key, None);
        }
        for key in self.detail_keys(NOTES)? {
            let Some((rows, uid, _)) = annotations::parts(&key).filter(|(.., whose)| *whose == user.as_str())
            else {
                continue;
            };
            let octets = match self.detail(&key) {
                Ok(Some(value)) => annotations::octets(&value),
                Ok(None) => continue,
                Err(_) => 0,
            };
            // Those of expunged messages count for nobody.
            if uid != 0 {
                *of_messages.entry(rows).or_insert(0) += octets;
            }
            self.set_detail(key, None);
        }
        of_mailboxes.remove(&detail::SERVER);
        if of_mailboxes.is_empty() && of_messages.is_empty() {
            return Ok(());
        }
        for (key, header) in self.all_mailboxes()? {
            if let Some(octets) = of_mailboxes.get(&header.id) {
                self.account(user_of(&key))?.change_annotations(*octets, 0);
            }
            if let Some(octets) = of_messages.get(&header.rows) {
                self.count_notes(&key, *octets, 0)?;
            }
        }
        Ok(())
    }

    /// The keys of details of a kind, some of which this group may have removed already.
    fn detail_keys(&self, kind: u8) -> Result<Vec<Vec<u8>>> {
        let committed = self.core.database.details.prefix([kind]);
        let mut keys =
            committed.map(|entry| Ok(entry.key().map_err(failed)?.to_vec())).collect::<Result<Vec<_>>>()?;
        keys.extend(self.details.keys().filter(|key| key.first() == Some(&kind)).cloned());
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    /// Every mailbox of everybody as this group leaves it.
    fn all_mailboxes(&self) -> Result<Vec<(Box<[u8]>, Header)>> {
        let staged = self.mailboxes.iter();
        let mut all: Vec<_> =
            staged.filter_map(|(key, staged)| Some((key.clone(), staged.header.clone()?))).collect();
        for entry in self.core.database.moment().prefix(&self.core.database.names, []) {
            let (key, sealed) = entry.into_inner().map_err(failed)?;
            if !self.mailboxes.contains_key(&*key)
                && let Ok(header) = Header::decode(&key, &sealed)
            {
                all.push((Box::from(&*key), header));
            }
        }
        Ok(all)
    }
}
