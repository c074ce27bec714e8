//! Mailboxes as a group of operations is going to leave them.

use std::sync::Arc;

use mailwright_mail_model::{MailboxName, ModSeq, SpecialUse, UidSet, UidValidity};

use super::committer::Group;
use super::header::Header;
use super::live::{Change, ChangeKind, Live};
use super::row;
use crate::{MailboxRef, Message, Result, Snapshot, StoreError, User};

/// A mailbox that a group looks at or changes.
pub(super) struct Staged {
    live: Arc<Live>,
    /// `None` if it is to be deleted.
    pub(super) header: Option<Header>,
    /// With all of `changes`; `None` as long as nobody had to look at the messages.
    snapshot: Option<Arc<Snapshot>>,
    pub(super) changes: Vec<Change>,
    pub(super) dirty: bool,
    /// Whether all that changed may be lost in a crash.
    lazy: bool,
    /// Whether the name is new, so that nobody else can have it in memory.
    pub(super) new: bool,
}

/// What stays of a mailbox while its name changes.
pub(super) struct Contents {
    pub(super) header: Header,
    snapshot: Option<Arc<Snapshot>>,
    changes: Vec<Change>,
}

impl From<Header> for Contents {
    fn from(header: Header) -> Self {
        Self { header, snapshot: None, changes: Vec::new() }
    }
}

impl Staged {
    pub(super) fn header(&mut self) -> Result<&mut Header> {
        self.header.as_mut().ok_or(StoreError::NotFound)
    }

    /// Notes a change to the header that must last.
    pub(super) const fn touch(&mut self) {
        (self.dirty, self.lazy) = (true, false);
    }

    /// Notes a change to the header that may be lost.
    pub(super) const fn touch_lazily(&mut self) {
        self.dirty = true;
    }

    /// Notes a change to messages. The header is the caller's affair.
    fn change(&mut self, change: Change) {
        (self.dirty, self.lazy) = (true, false);
        if let Some(snapshot) = &mut self.snapshot {
            change.clone().apply(Arc::make_mut(snapshot));
        }
        self.changes.push(change);
    }
}

impl Group<'_> {
    /// A mailbox to look at or change, if it exists.
    pub(super) fn find(&mut self, key: &[u8]) -> Result<Option<&mut Staged>> {
        if !self.mailboxes.contains_key(key) {
            let Some(live) = self.core.live(key)? else { return Ok(None) };
            let header = Some(crate::signal::lock(&live.state).header.clone());
            let staged = Staged {
                live,
                header,
                snapshot: None,
                changes: Vec::new(),
                dirty: false,
                lazy: true,
                new: false,
            };
            self.mailboxes.insert(key.into(), staged);
        }
        Ok(self.mailboxes.get_mut(key).filter(|staged| staged.header.is_some()))
    }

    /// A mailbox by name; `INBOX` is made if need be.
    pub(super) fn named(&mut self, user: &User, name: &MailboxName) -> Result<(Box<[u8]>, &mut Staged)> {
        let key = row::name_key(user.as_str(), name.as_str());
        if self.find(&key)?.is_none() {
            if !name.is_inbox() {
                return Err(StoreError::NotFound);
            }
            self.create(&key, None)?;
        }
        let staged = self.find(&key)?.ok_or(StoreError::NotFound)?;
        Ok((key, staged))
    }

    /// The mailbox a session selected, if it is still the same.
    pub(super) fn selected(&mut self, mailbox: &MailboxRef) -> Result<(Box<[u8]>, &mut Staged)> {
        let key = row::name_key(mailbox.user().as_str(), mailbox.name().as_str());
        let staged = self.find(&key)?.ok_or(StoreError::NotFound)?;
        let same = staged.header()?.uid_validity == mailbox.uid_validity();
        if same { Ok((key, staged)) } else { Err(StoreError::NotFound) }
    }

    /// The messages of a mailbox as this group leaves them so far.
    pub(super) fn snapshot(&mut self, key: &[u8]) -> Result<Arc<Snapshot>> {
        let core = self.core;
        let staged = self.find(key)?.ok_or(StoreError::NotFound)?;
        if let Some(snapshot) = &staged.snapshot {
            return Ok(Arc::clone(snapshot));
        }
        let mut snapshot = match &staged.header {
            Some(header) if staged.new => Arc::new(core.committed(key, header)?),
            _ => core.snapshot(key, &staged.live)?,
        };
        for change in staged.changes.iter().cloned() {
            change.apply(Arc::make_mut(&mut snapshot));
        }
        staged.snapshot = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }

    /// Stages the making of a mailbox, whose name must be free.
    pub(super) fn create(&mut self, key: &[u8], special_use: Option<SpecialUse>) -> Result<Header> {
        let core = self.core;
        let identity = core.database.identity()?;
        let (validity, name, value) = core.database.uid_validity()?;
        let validity = UidValidity::new(validity)
            .ok_or_else(|| StoreError::Unavailable("no UIDVALIDITY is left".into()))?;
        self.put(&core.database.meta, name.as_bytes().to_vec(), value);
        self.account(row::user_of(key))?.add_mailbox();
        let header = Header::new(identity, validity, special_use);
        self.install(key, header.clone().into());
        Ok(header)
    }

    /// Stages a mailbox under a name that is free.
    pub(super) fn install(&mut self, key: &[u8], contents: Contents) {
        let Contents { header, snapshot, changes } = contents;
        // Not in the map of live mailboxes before it is committed: nobody may see it yet.
        let live = Arc::new(Live::new(header.clone()));
        let staged =
            Staged { live, header: Some(header), snapshot, changes, dirty: true, lazy: false, new: true };
        if let Some(old) = self.mailboxes.insert(key.into(), staged) {
            // Deleted earlier in this group: whoever waits on it must hear of it.
            self.replaced.push((key.into(), old));
        }
    }

    /// Stages a mailbox made in this group to be another one, whose messages are those of `snapshot`.
    pub(super) fn replace(&mut self, key: &[u8], header: Header, snapshot: &Snapshot) -> Result<()> {
        let builder = Snapshot::builder(header.uid_validity)
            .id(header.object_id())
            .highest_modseq(header.highest_modseq)
            .uid_next(header.uid_next)
            .messages(snapshot.messages().cloned());
        let staged = self.find(key)?.ok_or(StoreError::NotFound)?;
        staged.snapshot = Some(Arc::new(builder.build()));
        staged.header = Some(Header { packed: None, ..header });
        Ok(())
    }

    /// Makes the snapshot of a mailbox anew after its numbers changed.
    pub(super) fn renew(&mut self, key: &[u8]) -> Result<()> {
        let snapshot = self.snapshot(key)?;
        let header = self.find(key)?.ok_or(StoreError::NotFound)?.header()?.clone();
        self.replace(key, header, &snapshot)
    }

    /// Stages the end of a name. What happens to the mailbox is the caller's affair.
    pub(super) fn uninstall(&mut self, key: &[u8]) -> Result<Contents> {
        let staged = self.find(key)?.ok_or(StoreError::NotFound)?;
        let header = staged.header.take().ok_or(StoreError::NotFound)?;
        (staged.dirty, staged.lazy) = (true, false);
        Ok(Contents {
            header,
            snapshot: staged.snapshot.take(),
            changes: std::mem::take(&mut staged.changes),
        })
    }

    /// Stages new messages, whose UIDs and mod-sequence the header gave, and counts them.
    pub(super) fn add_messages(&mut self, key: &[u8], messages: Vec<Message>) -> Result<()> {
        let core = self.core;
        let Some(modseq) = messages.last().map(|message| message.modseq) else { return Ok(()) };
        let staged = self.find(key)?.ok_or(StoreError::NotFound)?;
        let header = staged.header()?;
        messages.iter().for_each(|message| header.count(message));
        let rows = header.rows;
        core.sweeping.note(row::user_of(key), &messages);
        let values: Vec<_> = messages.iter().map(|message| message_row(rows, message)).collect();
        let octets = messages.iter().map(|message| message.size).sum();
        let count = messages.len() as u64;
        staged.change(Change { modseq, kind: ChangeKind::Add(messages) });
        self.account(row::user_of(key))?.add_messages(count, octets);
        for (row_key, value) in values {
            self.put(&core.database.rows, row_key, value);
        }
        Ok(())
    }

    /// Stages messages with other flags and the mod-sequence the header gave, and counts them.
    pub(super) fn change_flags(&mut self, key: &[u8], messages: Vec<(Message, Message)>) -> Result<()> {
        let core = self.core;
        let Some(modseq) = messages.first().map(|(_, after)| after.modseq) else { return Ok(()) };
        let staged = self.find(key)?.ok_or(StoreError::NotFound)?;
        let header = staged.header()?;
        header.packed = None;
        for (before, after) in &messages {
            header.discount(before);
            header.count(after);
        }
        let rows = header.rows;
        let values: Vec<_> = messages.iter().map(|(_, after)| message_row(rows, after)).collect();
        let flags = messages.into_iter().map(|(_, after)| (after.uid, after.flags)).collect();
        staged.change(Change { modseq, kind: ChangeKind::Flags(flags) });
        for (row_key, value) in values {
            self.put(&core.database.rows, row_key, value);
        }
        Ok(())
    }

    /// Stages the removal of messages that exist, as the change of this mod-sequence, and counts them. Their rows and bodies
    /// are the caller's affair.
    pub(super) fn forget_messages(
        &mut self,
        key: &[u8],
        messages: &[Message],
        modseq: ModSeq,
    ) -> Result<UidSet> {
        let staged = self.find(key)?.ok_or(StoreError::NotFound)?;
        let header = staged.header()?;
        header.packed = None;
        messages.iter().for_each(|message| header.discount(message));
        let uids: UidSet = messages.iter().map(|message| message.uid).collect();
        staged.change(Change { modseq, kind: ChangeKind::Remove(uids.clone()) });
        let octets = messages.iter().map(|message| message.size).sum();
        self.account(row::user_of(key))?.remove_messages(messages.len() as u64, octets);
        Ok(uids)
    }

    /// Stages the rows of the mailboxes that changed.
    pub(super) fn stage_headers(&mut self) {
        let core = self.core;
        let rows: Vec<_> = self
            .mailboxes
            .iter()
            .filter(|(_, staged)| staged.dirty)
            .map(|(key, staged)| {
                (key.clone(), staged.header.as_ref().map(|header| header.encode(key)), staged.lazy)
            })
            .collect();
        for (key, value, lazy) in rows {
            match value {
                Some(value) if lazy => self.put_lazily(&core.database.names, key.into_vec(), value),
                Some(value) => self.put(&core.database.names, key.into_vec(), value),
                None => self.delete(&core.database.names, key.into_vec()),
            }
        }
    }

    /// Shows everybody what was committed.
    pub(super) fn publish(&mut self) {
        let news = self.news();
        #[cfg(feature = "fulltext")]
        let moved = self.moved();
        for (key, old) in std::mem::take(&mut self.replaced) {
            self.core.live.remove(&key);
            old.live.publish(None, None, Vec::new());
        }
        for (key, staged) in
            std::mem::take(&mut self.mailboxes).into_iter().filter(|(_, staged)| staged.dirty)
        {
            let mut live = staged.live;
            match &staged.header {
                None => self.core.live.remove(&key),
                Some(header) => {
                    // What is in memory is packed when it leaves that: whoever reads mail changes flags all the time.
                    if staged.snapshot.is_none() && !live.is_open() {
                        self.core.ripening.note(&key, header, self.core.options.pack_from);
                    }
                    if staged.new {
                        live = self.core.live.add(key, live);
                    }
                }
            }
            live.publish(staged.header, staged.snapshot, staged.changes);
        }
        self.tell(news);
        #[cfg(feature = "fulltext")]
        self.tell_moved(&moved);
    }
}

/// The row of a message of the mailbox with these rows.
fn message_row(rows: u64, message: &Message) -> (Vec<u8>, Vec<u8>) {
    let key = row::key(rows, &message.uid.get().to_be_bytes());
    let value = row::seal(&key, row::encode_message(message));
    (key, value)
}
