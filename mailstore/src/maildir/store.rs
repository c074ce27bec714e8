//! The traits of a store, each over what the other files do.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use mailwright_mail_model::{MailboxName, ModSeq, Uid, UidSet, UidValidity};

use super::{Maildir, Shared, copy, keywords, read, upload, watch};
use crate::{
    Acl, Cache, Changes, Copied, Expunge, Expunged, Feed, FlagChange, FlagsStored, Folders, Import, Mailbox,
    MailboxRef, MessageRef, Metadata, Offload, Origins, Quota, QuotaUsage, Result, Scripts, Snapshot, Store,
    Undelete, Upload, User, Watch, Write,
};

impl<O: Offload + Clone> Store for Maildir<O> {
    async fn mailboxes(&self, user: &User) -> Result<Vec<Mailbox>> {
        let user = user.clone();
        self.run(move |shared| shared.mailboxes(&user)).await
    }

    async fn open(&self, user: &User, name: &MailboxName) -> Result<Arc<Snapshot>> {
        let (user, name) = (user.clone(), name.clone());
        self.run(move |shared| shared.open(&user, &name)).await
    }

    async fn read(&self, message: &MessageRef, range: Range<u64>) -> Result<Bytes> {
        let message = message.clone();
        self.run(move |shared| {
            let mailbox = &message.mailbox;
            let folder = shared.existing(mailbox.user(), mailbox.name())?;
            let (setting, marks) = (&shared.setting, &shared.marks);
            let which = (mailbox.uid_validity(), message.uid, message.size);
            read::read(&folder, setting, marks, which, &range)
        })
        .await
    }

    async fn read_together(&self, messages: &[MessageRef]) -> Result<Vec<Option<Bytes>>> {
        let messages = messages.to_vec();
        self.run(move |shared| {
            let whole = |message: &MessageRef| {
                let mailbox = &message.mailbox;
                let folder = shared.existing(mailbox.user(), mailbox.name()).ok()?;
                let (setting, marks, all) = (&shared.setting, &shared.marks, 0..message.size);
                let which = (mailbox.uid_validity(), message.uid, message.size);
                let octets = read::read(&folder, setting, marks, which, &all);
                octets.ok().filter(|octets| octets.len() as u64 == message.size)
            };
            Ok(messages.iter().map(whole).collect())
        })
        .await
    }

    fn keyword_limit(&self) -> Option<usize> {
        Some(keywords::MOST.into())
    }

    fn writer(&self) -> Option<&impl Write> {
        Some(self)
    }

    fn folders(&self) -> Option<&impl Folders> {
        Some(self)
    }

    fn quota(&self) -> Option<&impl Quota> {
        Some(self)
    }

    fn scripts(&self) -> Option<&impl Scripts> {
        Some(self)
    }

    fn watch(&self) -> Option<&impl Watch> {
        Some(self)
    }

    fn changes(&self) -> Option<&impl Changes> {
        Some(self)
    }

    fn import(&self) -> Option<&impl Import> {
        Some(self)
    }

    fn cache(&self) -> Option<&impl Cache> {
        Some(self)
    }

    fn acl(&self) -> Option<&impl Acl> {
        Some(self)
    }

    fn metadata(&self) -> Option<&impl Metadata> {
        Some(self)
    }

    fn origins(&self) -> Option<&impl Origins> {
        Some(self)
    }

    fn feed(&self) -> Option<&impl Feed> {
        Some(self)
    }

    fn undelete(&self) -> Option<&impl Undelete> {
        (!self.shared.options.undelete.is_zero()).then_some(self)
    }
}

impl<O: Offload + Clone> Write for Maildir<O> {
    async fn begin(&self, _size: Option<u64>) -> Result<Upload> {
        Ok(Upload::new(upload::Incoming::begin(Arc::clone(&self.shared), self.offload.clone())))
    }

    async fn store_flags(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        change: &FlagChange,
    ) -> Result<FlagsStored> {
        let (mailbox, uids, change) = (mailbox.clone(), uids.clone(), change.clone());
        self.run(move |shared| {
            let folder = shared.existing(mailbox.user(), mailbox.name())?;
            let stored = folder.lock(&shared.setting)?.store_flags(mailbox.uid_validity(), &uids, &change);
            shared.tell_messages(mailbox.user(), mailbox.name());
            stored
        })
        .await
    }

    async fn expunge(&self, mailbox: &MailboxRef, which: &Expunge) -> Result<Expunged> {
        let (mailbox, which) = (mailbox.clone(), which.clone());
        self.run(move |shared| shared.expunge(&mailbox, &which)).await
    }

    async fn copy(&self, mailbox: &MailboxRef, uids: &UidSet, target: &MailboxName) -> Result<Copied> {
        let (mailbox, uids, target) = (mailbox.clone(), uids.clone(), target.clone());
        self.run(move |shared| {
            let snapshot = shared.open(mailbox.user(), mailbox.name())?;
            let octets = snapshot.among(&uids).map(|message| message.size).sum();
            let more = QuotaUsage::of_messages(snapshot.among(&uids).count() as u64, octets);
            shared.existing(mailbox.user(), &target)?;
            shared.admit(mailbox.user(), &more)?;
            let copied = shared.copy(&mailbox, &uids, &target)?;
            shared.note_messages(mailbox.user(), &snapshot, &copied.source, true);
            shared.tell_messages(mailbox.user(), &target);
            Ok(copied)
        })
        .await
    }

    async fn move_to(&self, mailbox: &MailboxRef, uids: &UidSet, target: &MailboxName) -> Result<Copied> {
        let (mailbox, uids, target) = (mailbox.clone(), uids.clone(), target.clone());
        self.run(move |shared| {
            let source = shared.existing(mailbox.user(), mailbox.name())?;
            let into = shared.existing(mailbox.user(), &target)?;
            // The user has no more and no less than before.
            let copied = copy::move_messages(&source, &into, &shared.setting, mailbox.uid_validity(), &uids)?;
            shared.tell_messages(mailbox.user(), &target);
            shared.tell_messages(mailbox.user(), mailbox.name());
            Ok(copied)
        })
        .await
    }
}

impl Shared {
    fn expunge(&self, mailbox: &MailboxRef, which: &Expunge) -> Result<Expunged> {
        let folder = self.existing(mailbox.user(), mailbox.name())?;
        let before = folder.snapshot(&self.setting)?;
        let keep = self.keeping(mailbox.user(), mailbox.name())?;
        let locked = folder.lock(&self.setting)?;
        let (expunged, _) = locked.expunge(mailbox.uid_validity(), which, keep.as_ref())?;
        drop(locked);
        self.note_messages(mailbox.user(), &before, &expunged.uids, false);
        self.tell_messages(mailbox.user(), mailbox.name());
        Ok(expunged)
    }

    fn copy(&self, mailbox: &MailboxRef, uids: &UidSet, target: &MailboxName) -> Result<Copied> {
        let source = self.existing(mailbox.user(), mailbox.name())?;
        let target = self.existing(mailbox.user(), target)?;
        copy::copy(&source, &target, &self.setting, mailbox.uid_validity(), uids)
    }
}

impl<O: Offload + Clone> Watch for Maildir<O> {
    async fn changed(&self, user: &User, name: &MailboxName, seen: &Snapshot) -> Result<Arc<Snapshot>> {
        self.shared.look_out()?;
        loop {
            let folder = self.shared.folder(user, name)?;
            let _waiting = watch::Waiting::new(&self.shared, &folder);
            // Counted before looking, so that a change after the look is not slept through.
            let raised = folder.changed.raised();
            let snapshot = self.open(user, name).await?;
            let version = |snapshot: &Snapshot| (snapshot.uid_validity(), snapshot.highest_modseq());
            if version(&snapshot) != version(seen) {
                return Ok(snapshot);
            }
            drop(snapshot);
            folder.changed.wait(raised).await;
        }
    }
}

impl<O: Offload + Clone> Changes for Maildir<O> {
    async fn expunged(&self, mailbox: &MailboxRef, since: ModSeq) -> Result<Option<UidSet>> {
        let mailbox = mailbox.clone();
        self.run(move |shared| {
            let folder = shared.existing(mailbox.user(), mailbox.name())?;
            folder
                .lock(&shared.setting)?
                .with_valid(mailbox.uid_validity(), |state| Ok(state.journal.expunged_since(since)))
        })
        .await
    }
}

impl<O: Offload + Clone> Import for Maildir<O> {
    async fn adopt(
        &self,
        user: &User,
        name: &MailboxName,
        uid_validity: UidValidity,
        uid_next: Option<Uid>,
    ) -> Result<()> {
        let (user, name) = (user.clone(), name.clone());
        self.run(move |shared| {
            let folder = shared.existing(&user, &name)?;
            folder.lock(&shared.setting)?.adopt(uid_validity, uid_next.map(Uid::get))?;
            shared.tell_messages(&user, &name);
            Ok(())
        })
        .await
    }
}
