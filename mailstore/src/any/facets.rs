//! The facets of a store chosen at run time: each passes its calls on.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use mailwright_mail_model::{
    MailboxName, ModSeq, ScriptName, SpecialUse, Uid, UidSet, UidValidity, query::Query,
};

use super::AnyStore;
use crate::{
    Acl, AclChange, AclEntry, Annotate, Annotated, Annotation, AnnotationChange, AnnotationLimits,
    AnnotationsStored, Appended, Cache, Carried, Changes, Column, Copied, Delivery, Due, EntryName, Expunge,
    Expunged, ExpungedMessage, Feed, FeedPosition, FlagChange, FlagsStored, Folders, Identifier, Identity,
    Import, Mailbox, MailboxRef, MessageAnnotation, MessageRef, Metadata, News, ObjectId, Origins,
    QueueEntry, QueueNews, QueueNumber, Quota, QuotaLimits, QuotaStatus, QuotaWarning, Result, Rights,
    Scheduled, ScriptEntry, ScriptLimits, Scripts, Search, Settlement, SharedMailbox, Snapshot, Spool,
    Subject, Summary, Undelete, Upload, User, Watch, Write,
};

impl Write for AnyStore {
    async fn begin(&self, size: Option<u64>) -> Result<Upload> {
        self.facet(|store| store.writer())?.begin(size).await
    }

    async fn store_flags(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        change: &FlagChange,
    ) -> Result<FlagsStored> {
        self.facet(|store| store.writer())?.store_flags(mailbox, uids, change).await
    }

    async fn expunge(&self, mailbox: &MailboxRef, which: &Expunge) -> Result<Expunged> {
        self.facet(|store| store.writer())?.expunge(mailbox, which).await
    }

    async fn copy(&self, mailbox: &MailboxRef, uids: &UidSet, target: &MailboxName) -> Result<Copied> {
        self.facet(|store| store.writer())?.copy(mailbox, uids, target).await
    }

    async fn move_to(&self, mailbox: &MailboxRef, uids: &UidSet, target: &MailboxName) -> Result<Copied> {
        self.facet(|store| store.writer())?.move_to(mailbox, uids, target).await
    }

    fn takes_several(&self) -> bool {
        self.erased().writer().is_some_and(|writer| writer.takes_several())
    }

    fn takes_rows(&self) -> bool {
        self.erased().writer().is_some_and(|writer| writer.takes_rows())
    }

    async fn claim_recent(&self, mailbox: &MailboxRef) -> Result<Option<Uid>> {
        self.facet(|store| store.writer())?.claim_recent(mailbox).await
    }
}

impl Folders for AnyStore {
    async fn create(
        &self,
        user: &User,
        name: &MailboxName,
        special_use: Option<SpecialUse>,
    ) -> Result<Mailbox> {
        self.facet(|store| store.folders())?.create(user, name, special_use).await
    }

    async fn delete(&self, user: &User, name: &MailboxName) -> Result<()> {
        self.facet(|store| store.folders())?.delete(user, name).await
    }

    async fn rename(&self, user: &User, from: &MailboxName, to: &MailboxName) -> Result<()> {
        self.facet(|store| store.folders())?.rename(user, from, to).await
    }

    async fn subscribe(&self, user: &User, name: &MailboxName) -> Result<()> {
        self.facet(|store| store.folders())?.subscribe(user, name).await
    }

    async fn unsubscribe(&self, user: &User, name: &MailboxName) -> Result<()> {
        self.facet(|store| store.folders())?.unsubscribe(user, name).await
    }

    async fn subscriptions(&self, user: &User) -> Result<Vec<MailboxName>> {
        self.facet(|store| store.folders())?.subscriptions(user).await
    }

    async fn erase(&self, user: &User) -> Result<()> {
        self.facet(|store| store.folders())?.erase(user).await
    }
}

impl Watch for AnyStore {
    async fn changed(&self, user: &User, name: &MailboxName, seen: &Snapshot) -> Result<Arc<Snapshot>> {
        self.facet(|store| store.watch())?.changed(user, name, seen).await
    }
}

impl Changes for AnyStore {
    async fn expunged(&self, mailbox: &MailboxRef, since: ModSeq) -> Result<Option<UidSet>> {
        self.facet(|store| store.changes())?.expunged(mailbox, since).await
    }
}

impl Cache for AnyStore {
    async fn load(&self, messages: &[MessageRef]) -> Result<Vec<Option<Summary>>> {
        self.facet(|store| store.cache())?.load(messages).await
    }

    async fn column(&self, messages: &[MessageRef], column: Column) -> Result<Vec<Option<Bytes>>> {
        self.facet(|store| store.cache())?.column(messages, column).await
    }

    async fn save(&self, message: &MessageRef, summary: &Summary) -> Result<()> {
        self.facet(|store| store.cache())?.save(message, summary).await
    }
}

impl Search for AnyStore {
    async fn candidates(
        &self,
        mailbox: &MailboxRef,
        snapshot: &Arc<Snapshot>,
        query: &Query,
    ) -> Result<Option<UidSet>> {
        self.facet(|store| store.search())?.candidates(mailbox, snapshot, query).await
    }

    async fn behind(&self) -> User {
        match self.facet(|store| store.search()) {
            Ok(facet) => facet.behind().await,
            Err(_) => std::future::pending().await,
        }
    }

    async fn keep_up(&self, user: &User) -> Result<()> {
        self.facet(|store| store.search())?.keep_up(user).await
    }
}

impl Quota for AnyStore {
    async fn quota_of(&self, user: &User) -> Result<QuotaStatus> {
        self.facet(|store| store.quota())?.quota_of(user).await
    }

    async fn set_quota(&self, user: &User, limits: Option<QuotaLimits>) -> Result<()> {
        self.facet(|store| store.quota())?.set_quota(user, limits).await
    }

    async fn quotas(&self) -> Result<Vec<QuotaStatus>> {
        self.facet(|store| store.quota())?.quotas().await
    }

    async fn check_quota(&self, user: &User, octets: u64) -> Result<()> {
        self.facet(|store| store.quota())?.check_quota(user, octets).await
    }

    async fn quota_warnings(&self) -> Result<Vec<QuotaWarning>> {
        self.facet(|store| store.quota())?.quota_warnings().await
    }

    async fn settle_warnings(&self, warnings: &[QuotaWarning]) -> Result<()> {
        self.facet(|store| store.quota())?.settle_warnings(warnings).await
    }
}

impl Acl for AnyStore {
    async fn access_list(&self, owner: &User, name: &MailboxName) -> Result<Vec<AclEntry>> {
        self.facet(|store| store.acl())?.access_list(owner, name).await
    }

    async fn change_access(
        &self,
        owner: &User,
        name: &MailboxName,
        identifier: &Identifier,
        change: AclChange,
    ) -> Result<()> {
        self.facet(|store| store.acl())?.change_access(owner, name, identifier, change).await
    }

    async fn rights_of(&self, who: &Identity, owner: &User, name: &MailboxName) -> Result<Rights> {
        self.facet(|store| store.acl())?.rights_of(who, owner, name).await
    }

    async fn shared_with(&self, who: &Identity) -> Result<Vec<SharedMailbox>> {
        self.facet(|store| store.acl())?.shared_with(who).await
    }

    async fn listing(&self, subject: &Subject) -> Result<Vec<(User, MailboxName)>> {
        self.facet(|store| store.acl())?.listing(subject).await
    }
}

impl Metadata for AnyStore {
    async fn annotations(&self, place: &Annotated, reader: &User) -> Result<Vec<Annotation>> {
        self.facet(|store| store.metadata())?.annotations(place, reader).await
    }

    async fn annotate(
        &self,
        place: &Annotated,
        writer: &User,
        changes: &[(EntryName, Option<Bytes>)],
    ) -> Result<()> {
        self.facet(|store| store.metadata())?.annotate(place, writer, changes).await
    }
}

impl Annotate for AnyStore {
    fn annotation_limits(&self) -> AnnotationLimits {
        self.facet(|store| store.annotator()).map(|facet| facet.annotation_limits()).unwrap_or_default()
    }

    async fn message_annotations(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        reader: &User,
    ) -> Result<Vec<(Uid, Vec<MessageAnnotation>)>> {
        self.facet(|store| store.annotator())?.message_annotations(mailbox, uids, reader).await
    }

    async fn annotate_messages(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        writer: &User,
        change: &AnnotationChange,
    ) -> Result<AnnotationsStored> {
        self.facet(|store| store.annotator())?.annotate_messages(mailbox, uids, writer, change).await
    }

    async fn copy_annotated(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        target: &MailboxName,
        carried: &Carried,
    ) -> Result<Copied> {
        self.facet(|store| store.annotator())?.copy_annotated(mailbox, uids, target, carried).await
    }

    async fn move_annotated(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        target: &MailboxName,
        carried: &Carried,
    ) -> Result<Copied> {
        self.facet(|store| store.annotator())?.move_annotated(mailbox, uids, target, carried).await
    }
}

impl Origins for AnyStore {
    async fn deliveries(&self, messages: &[MessageRef]) -> Result<Vec<Option<Arc<Delivery>>>> {
        self.facet(|store| store.origins())?.deliveries(messages).await
    }

    async fn unique_ids(&self, mailbox: &MailboxRef) -> Result<Vec<(Uid, String)>> {
        self.facet(|store| store.origins())?.unique_ids(mailbox).await
    }
}

impl Import for AnyStore {
    async fn adopt(
        &self,
        user: &User,
        name: &MailboxName,
        uid_validity: UidValidity,
        uid_next: Option<Uid>,
    ) -> Result<()> {
        self.facet(|store| store.import())?.adopt(user, name, uid_validity, uid_next).await
    }
}

impl Feed for AnyStore {
    async fn position(&self, user: &User) -> Result<FeedPosition> {
        self.facet(|store| store.feed())?.position(user).await
    }

    async fn after(&self, user: &User, since: FeedPosition) -> Result<News> {
        self.facet(|store| store.feed())?.after(user, since).await
    }
}

impl Undelete for AnyStore {
    async fn expunged_messages(&self, user: &User) -> Result<Vec<ExpungedMessage>> {
        self.facet(|store| store.undelete())?.expunged_messages(user).await
    }

    async fn bring_back(&self, user: &User, id: ObjectId, target: &MailboxName) -> Result<Appended> {
        self.facet(|store| store.undelete())?.bring_back(user, id, target).await
    }
}

impl Spool for AnyStore {
    async fn due(&self, until: u64, after: Option<Due>, limit: usize) -> Result<Vec<Scheduled>> {
        self.facet(|store| store.spool())?.due(until, after, limit).await
    }

    async fn next_due(&self, after: u64) -> Result<Option<u64>> {
        self.facet(|store| store.spool())?.next_due(after).await
    }

    async fn entries(&self, after: Option<QueueNumber>, limit: usize) -> Result<Vec<QueueEntry>> {
        self.facet(|store| store.spool())?.entries(after, limit).await
    }

    async fn entry(&self, number: QueueNumber) -> Result<Option<QueueEntry>> {
        self.facet(|store| store.spool())?.entry(number).await
    }

    async fn octets(&self, entry: &QueueEntry, range: Range<u64>) -> Result<Bytes> {
        self.facet(|store| store.spool())?.octets(entry, range).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<()> {
        self.facet(|store| store.spool())?.settle(settlements).await
    }

    async fn added(&self, seen: u64) -> u64 {
        match self.erased().spool() {
            Some(spool) => spool.added(seen).await,
            // There is no such facet, so nothing is ever added.
            None => std::future::pending().await,
        }
    }

    fn news(&self, mark: u64) -> (u64, QueueNews) {
        self.erased().spool().map_or((mark, QueueNews::Anywhere), |spool| spool.news(mark))
    }
}

impl Scripts for AnyStore {
    async fn all_scripts(&self, user: &User) -> Result<Vec<ScriptEntry>> {
        self.facet(|store| store.scripts())?.all_scripts(user).await
    }

    async fn script(&self, user: &User, name: &ScriptName) -> Result<Bytes> {
        self.facet(|store| store.scripts())?.script(user, name).await
    }

    async fn active_script(&self, user: &User) -> Result<Option<(ScriptName, Bytes)>> {
        self.facet(|store| store.scripts())?.active_script(user).await
    }

    async fn admit_script(
        &self,
        user: &User,
        name: &ScriptName,
        size: u64,
        limits: ScriptLimits,
    ) -> Result<()> {
        self.facet(|store| store.scripts())?.admit_script(user, name, size, limits).await
    }

    async fn put_script(
        &self,
        user: &User,
        name: &ScriptName,
        script: Bytes,
        limits: ScriptLimits,
    ) -> Result<()> {
        self.facet(|store| store.scripts())?.put_script(user, name, script, limits).await
    }

    async fn activate_script(&self, user: &User, name: Option<&ScriptName>) -> Result<()> {
        self.facet(|store| store.scripts())?.activate_script(user, name).await
    }

    async fn delete_script(&self, user: &User, name: &ScriptName) -> Result<()> {
        self.facet(|store| store.scripts())?.delete_script(user, name).await
    }

    async fn rename_script(&self, user: &User, from: &ScriptName, to: &ScriptName) -> Result<()> {
        self.facet(|store| store.scripts())?.rename_script(user, from, to).await
    }
}
