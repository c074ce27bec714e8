//! Operations on mailboxes: making, deleting, renaming, subscribing.

use fjall::Readable;
use mailwright_mail_model::{MailboxName, SpecialUse};

use super::Core;
use super::committer::Group;
use super::database::failed;
use super::header::Header;
use super::row::name_key;
use crate::folders::{check_rename, parents, renamed};
use crate::{Mailbox, QuotaUsage, Result, Status, StoreError, User};

impl Core {
    /// The mailboxes of a user, as committed.
    pub(super) fn mailboxes(&self, user: &User) -> Result<Vec<Mailbox>> {
        let prefix = name_key(user.as_str(), "");
        let mut mailboxes = Vec::new();
        for entry in self.database.moment().prefix(&self.database.names, &prefix) {
            let (key, row) = entry.into_inner().map_err(failed)?;
            let header = Header::decode(&key, &row)?;
            mailboxes.push(describe(name_of(&prefix, &key)?, &header));
        }
        Ok(mailboxes)
    }

    /// The same with their counts, which their rows hold.
    pub(super) fn list(&self, user: &User) -> Result<Vec<(Mailbox, Status)>> {
        let prefix = name_key(user.as_str(), "");
        let mut list = Vec::new();
        for entry in self.database.moment().prefix(&self.database.names, &prefix) {
            let (key, row) = entry.into_inner().map_err(failed)?;
            let header = Header::decode(&key, &row)?;
            list.push((describe(name_of(&prefix, &key)?, &header), header.status()));
        }
        Ok(list)
    }

    pub(super) fn subscriptions(&self, user: &User) -> Result<Vec<MailboxName>> {
        let prefix = name_key(user.as_str(), "");
        let entries = self.database.moment().prefix(&self.database.subscriptions, &prefix);
        entries.map(|entry| name_of(&prefix, &entry.key().map_err(failed)?)).collect()
    }
}

impl Group<'_> {
    pub(super) fn make(
        &mut self,
        user: &User,
        name: &MailboxName,
        special_use: Option<SpecialUse>,
    ) -> Result<Mailbox> {
        let key = name_key(user.as_str(), name.as_str());
        if name.is_inbox() || self.find(&key)?.is_some() {
            return Err(StoreError::Exists);
        }
        self.admit_mailboxes(user, name, 1)?;
        self.make_parents(user, name)?;
        let header = self.make_below(user, name, special_use)?;
        Ok(describe(name.clone(), &header))
    }

    /// Whether a user may have so many mailboxes more, and those above `name` that are missing.
    fn admit_mailboxes(&mut self, user: &User, name: &MailboxName, mut made: u64) -> Result<()> {
        for parent in parents(name) {
            made += u64::from(self.is_missing(user, &parent)?);
        }
        if made == 0 {
            return Ok(());
        }
        let more = QuotaUsage { mailboxes: made, ..QuotaUsage::NOTHING };
        self.admit(user.as_str().as_bytes(), &more, &QuotaUsage::NOTHING)
    }

    fn is_missing(&mut self, user: &User, name: &MailboxName) -> Result<bool> {
        self.find(&name_key(user.as_str(), name.as_str())).map(|found| found.is_none())
    }

    /// Makes a mailbox, with the access control list of the one above it.
    fn make_below(
        &mut self,
        user: &User,
        name: &MailboxName,
        special_use: Option<SpecialUse>,
    ) -> Result<Header> {
        let header = self.create(&name_key(user.as_str(), name.as_str()), special_use)?;
        if let Some(parent) = name.parent()
            && let Some(above) = self.find(&name_key(user.as_str(), parent.as_str()))?
        {
            let above = above.header()?.id;
            self.inherit_access(user, above, header.id)?;
        }
        Ok(header)
    }

    fn make_parents(&mut self, user: &User, name: &MailboxName) -> Result<()> {
        for parent in parents(name) {
            if self.is_missing(user, &parent)? {
                self.make_below(user, &parent, None)?;
            }
        }
        Ok(())
    }

    pub(super) fn drop_mailbox(&mut self, user: &User, name: &MailboxName) -> Result<()> {
        if name.is_inbox() {
            return Err(StoreError::Invalid("expected a mailbox other than INBOX to delete".into()));
        }
        let key = name_key(user.as_str(), name.as_str());
        let keeps = !self.core.options.undelete.is_zero();
        if keeps {
            // They can be had back, each by itself.
            let messages: Vec<_> = self.snapshot(&key)?.messages().cloned().collect();
            self.let_go(&key, &messages)?;
            self.remove(&key, &messages)?;
        }
        let header = self.uninstall(&key)?.header;
        let account = self.account(user.as_str().as_bytes())?;
        account.remove_messages(header.messages.into(), header.size);
        account.remove_mailbox();
        account.change_annotations(header.annotated.unwrap_or(0), 0);
        self.forget_details(user.as_str().as_bytes(), header.id)?;
        self.discard_rows(header.rows);
        self.discard_history(header.id);
        Ok(())
    }

    pub(super) fn rename(&mut self, user: &User, from: &MailboxName, to: &MailboxName) -> Result<()> {
        let moves = check_rename(&self.names(user)?, from, to)?;
        // INBOX stays, and another one is made.
        self.admit_mailboxes(user, to, from.is_inbox().into())?;
        self.make_parents(user, to)?;
        if from.is_inbox() {
            return self.empty_inbox(user, to);
        }
        for name in moves {
            let contents = self.uninstall(&name_key(user.as_str(), name.as_str()))?;
            self.install(&name_key(user.as_str(), renamed(&name, from, to)?.as_str()), contents);
        }
        Ok(())
    }

    /// RFC 9051 §6.3.6: renaming INBOX moves its messages and leaves it empty. The new mailbox takes over the rows, so this
    /// costs the same whatever there is; to whoever looks at INBOX its messages are expunged.
    fn empty_inbox(&mut self, user: &User, to: &MailboxName) -> Result<()> {
        let (key, _) = self.named(user, &MailboxName::inbox())?;
        let snapshot = self.snapshot(&key)?;
        let rows = self.core.database.identity()?;
        let target = name_key(user.as_str(), to.as_str());
        let fresh = self.create(&target, None)?;

        let inbox = self.find(&key)?.ok_or(StoreError::NotFound)?.header()?;
        let messages: Vec<_> = snapshot.messages().cloned().collect();
        let taken = Header {
            id: fresh.id,
            uid_validity: fresh.uid_validity,
            special_use: None,
            history: 0,
            history_since: inbox.highest_modseq,
            ..inbox.clone()
        };
        (inbox.rows, inbox.annotated) = (rows, None);
        let modseq = inbox.next_modseq()?;
        let uids = self.forget_messages(&key, &messages, modseq)?;
        self.remember(&key, modseq, &uids)?;
        self.account(user.as_str().as_bytes())?.add_messages(taken.messages.into(), taken.size);
        // The rows may be of this very group, so the messages go along.
        self.replace(&target, taken, &snapshot)
    }

    /// The names of a user's mailboxes as this group leaves them so far.
    pub(super) fn names(&self, user: &User) -> Result<Vec<MailboxName>> {
        let prefix = name_key(user.as_str(), "");
        let staged: Vec<_> = self.mailboxes.iter().filter(|(key, _)| key.starts_with(&prefix)).collect();
        let mut names = Vec::new();
        for (key, _) in staged.iter().filter(|(_, staged)| staged.header.is_some()) {
            names.push(name_of(&prefix, key)?);
        }
        for entry in self.core.database.names.prefix(&prefix) {
            let key = entry.key().map_err(failed)?;
            if !self.mailboxes.contains_key(&*key) {
                names.push(name_of(&prefix, &key)?);
            }
        }
        Ok(names)
    }
}

pub(super) fn describe(name: MailboxName, header: &Header) -> Mailbox {
    Mailbox { special_use: header.special_use, id: Some(header.object_id()), ..Mailbox::new(name) }
}

/// The mailbox name in a key that begins with `prefix`.
pub(super) fn name_of(prefix: &[u8], key: &[u8]) -> Result<MailboxName> {
    let name = key.strip_prefix(prefix).and_then(|name| str::from_utf8(name).ok());
    let corrupt = || StoreError::Corrupt(format!("the mailbox name {:?}", String::from_utf8_lossy(key)));
    name.and_then(|name| MailboxName::lookup(name).ok()).ok_or_else(corrupt)
}
