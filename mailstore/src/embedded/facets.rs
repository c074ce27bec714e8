//! The facets of the embedded store: each says what to read, or sends the committer what to do.

use std::sync::Arc;

use bytes::Bytes;
use mailwright_mail_model::{MailboxName, ModSeq, SpecialUse, Uid, UidSet};

use super::committer::Group;
use super::database::failed;
use super::row::{self, name_key};
use super::summary::Wanted;
use super::{Core, Embedded, body, upload};
use crate::{
    Cache, Changes, Column, Copied, Expunge, Expunged, FlagChange, FlagsStored, Folders, Mailbox, MailboxRef,
    MessageRef, Offload, Result, Snapshot, StoreError, Summary, Upload, User, Watch, Write,
};

mod extended;

impl<O: Offload + Clone> Write for Embedded<O> {
    async fn begin(&self, size: Option<u64>) -> Result<Upload> {
        self.shared.lasting.writable()?;
        self.shared.lasting.room(size.unwrap_or(0))?;
        upload::Incoming::begin(Arc::clone(&self.shared), self.offload.clone(), size).map(Upload::new)
    }

    async fn store_flags(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        change: &FlagChange,
    ) -> Result<FlagsStored> {
        let (mailbox, uids, change) = (mailbox.clone(), uids.clone(), change.clone());
        self.shared.committer.submit(move |group| group.store_flags(&mailbox, &uids, &change)).await
    }

    async fn expunge(&self, mailbox: &MailboxRef, which: &Expunge) -> Result<Expunged> {
        let (mailbox, which) = (mailbox.clone(), which.clone());
        self.shared.committer.submit(move |group| group.expunge(&mailbox, &which)).await
    }

    async fn copy(&self, mailbox: &MailboxRef, uids: &UidSet, target: &MailboxName) -> Result<Copied> {
        let (mailbox, uids, target) = (mailbox.clone(), uids.clone(), target.clone());
        self.shared.committer.submit(move |group| group.copy(&mailbox, &uids, &target)).await
    }

    async fn move_to(&self, mailbox: &MailboxRef, uids: &UidSet, target: &MailboxName) -> Result<Copied> {
        let (mailbox, uids, target) = (mailbox.clone(), uids.clone(), target.clone());
        self.shared.committer.submit(move |group| group.move_to(&mailbox, &uids, &target)).await
    }

    fn takes_several(&self) -> bool {
        true
    }

    fn takes_rows(&self) -> bool {
        true
    }

    async fn claim_recent(&self, mailbox: &MailboxRef) -> Result<Option<Uid>> {
        let wanted = mailbox.clone();
        let header = self.run(move |core| core.header_of(&wanted)).await?;
        if header.recent_from == header.uid_next {
            return Ok(header.recent_from);
        }
        let mailbox = mailbox.clone();
        self.shared.committer.submit(move |group| group.claim_recent(&mailbox)).await
    }
}

impl<O: Offload + Clone> Folders for Embedded<O> {
    async fn create(
        &self,
        user: &User,
        name: &MailboxName,
        special_use: Option<SpecialUse>,
    ) -> Result<Mailbox> {
        let (user, name) = (user.clone(), name.clone());
        self.shared.committer.submit(move |group| group.make(&user, &name, special_use)).await
    }

    async fn delete(&self, user: &User, name: &MailboxName) -> Result<()> {
        let (user, name) = (user.clone(), name.clone());
        self.shared.committer.submit(move |group| group.drop_mailbox(&user, &name)).await
    }

    async fn rename(&self, user: &User, from: &MailboxName, to: &MailboxName) -> Result<()> {
        let (user, from, to) = (user.clone(), from.clone(), to.clone());
        self.shared.committer.submit(move |group| group.rename(&user, &from, &to)).await
    }

    async fn subscribe(&self, user: &User, name: &MailboxName) -> Result<()> {
        let (user, key) = (user.clone(), name_key(user.as_str(), name.as_str()).into_vec());
        let operation = move |group: &mut Group<'_>| {
            group.subscriptions_change(&user);
            group.put(&group.core.database.subscriptions, key, Bytes::new());
            Ok(())
        };
        self.shared.committer.submit(operation).await
    }

    async fn unsubscribe(&self, user: &User, name: &MailboxName) -> Result<()> {
        let (user, key) = (user.clone(), name_key(user.as_str(), name.as_str()).into_vec());
        let operation = move |group: &mut Group<'_>| {
            group.subscriptions_change(&user);
            group.delete(&group.core.database.subscriptions, key);
            Ok(())
        };
        self.shared.committer.submit(operation).await
    }

    async fn subscriptions(&self, user: &User) -> Result<Vec<MailboxName>> {
        let user = user.clone();
        self.run(move |core| core.subscriptions(&user)).await
    }

    async fn erase(&self, user: &User) -> Result<()> {
        let owner = user.clone();
        self.shared.committer.submit(move |group| group.erase(&owner)).await?;
        #[cfg(feature = "fulltext")]
        self.forget_texts(user).await?;
        Ok(())
    }
}

impl<O: Offload + Clone> Watch for Embedded<O> {
    async fn changed(&self, user: &User, name: &MailboxName, seen: &Snapshot) -> Result<Arc<Snapshot>> {
        loop {
            let (key, live) = self.live(user, name).await?;
            // Counted before looking, so that a change after the look is not slept through.
            let raised = live.changed.raised();
            let snapshot = self.snapshot(key, Arc::clone(&live)).await?;
            let version = |snapshot: &Snapshot| (snapshot.uid_validity(), snapshot.highest_modseq());
            if version(&snapshot) != version(seen) {
                return Ok(snapshot);
            }
            drop(snapshot);
            if !live.is_gone() {
                live.changed.wait(raised).await;
            }
        }
    }
}

impl<O: Offload + Clone> Changes for Embedded<O> {
    async fn expunged(&self, mailbox: &MailboxRef, since: ModSeq) -> Result<Option<UidSet>> {
        let mailbox = mailbox.clone();
        let header = self.run(move |core| core.header_of(&mailbox)).await?;
        if since < header.history_since {
            return Ok(None);
        }
        self.run(move |core| core.history(header.id, since)).await.map(Some)
    }
}

impl Core {
    /// What was expunged from a mailbox after this mod-sequence.
    fn history(&self, mailbox: u64, since: ModSeq) -> Result<UidSet> {
        let bound = |modseq: u64| row::key(mailbox, &modseq.to_be_bytes());
        let mut ranges = Vec::new();
        for entry in self.database.expunged.range(bound(since.get().saturating_add(1))..=bound(u64::MAX)) {
            let (key, sealed) = entry.into_inner().map_err(failed)?;
            let corrupt = || StoreError::Corrupt("the history of a mailbox".into());
            let mut fields = row::Fields(row::open(&key, &sealed).ok_or_else(corrupt)?);
            while let (Some(first), Some(last)) = (fields.u32(), fields.u32()) {
                ranges.extend(Uid::new(first).zip(Uid::new(last)).map(|(first, last)| first..=last));
            }
        }
        Ok(ranges.into_iter().collect())
    }
}

impl<O: Offload + Clone> Cache for Embedded<O> {
    async fn load(&self, messages: &[MessageRef]) -> Result<Vec<Option<Summary>>> {
        let wanted = Wanted::of(messages);
        self.run(move |core| core.summaries(&wanted)).await
    }

    async fn column(&self, messages: &[MessageRef], column: Column) -> Result<Vec<Option<Bytes>>> {
        let wanted = Wanted::of(messages);
        self.run(move |core| core.summary_column(&wanted, column)).await
    }

    async fn save(&self, message: &MessageRef, summary: &Summary) -> Result<()> {
        let (message, summary) = (message.clone(), summary.clone());
        let operation = move |group: &mut Group<'_>| {
            // Only while the message is there: nobody would remove the summary of a body that is gone.
            let Ok((key, _)) = group.selected(&message.mailbox) else { return Ok(()) };
            if let Some(found) = group.snapshot(&key)?.message(message.uid) {
                let body = body::of(found)?;
                let user = message.mailbox.user();
                // Without the key nothing can be kept that would not be in the clear.
                if let Ok(key) = group.core.summary_key(body, found.size, user) {
                    group.put_summary(body, &summary, key.as_ref())?;
                }
            }
            Ok(())
        };
        self.shared.committer.submit(operation).await
    }
}
