//! The facets that extensions need.

use std::sync::Arc;

use bytes::Bytes;
use mailwright_mail_model::{MailboxName, Uid, UidSet, UidValidity};

use crate::embedded::Embedded;
use crate::{
    Acl, AclChange, AclEntry, Annotate, Annotated, Annotation, AnnotationChange, AnnotationLimits,
    AnnotationsStored, Appended, Carried, Copied, Delivery, EntryName, ExpungedMessage, Feed, FeedPosition,
    Identifier, Identity, Import, MailboxRef, MessageAnnotation, MessageRef, Metadata, News, ObjectId,
    Offload, Origins, Quota, QuotaLimits, QuotaStatus, QuotaWarning, Result, SharedMailbox, Subject,
    Undelete, User,
};

impl<O: Offload + Clone> Quota for Embedded<O> {
    async fn quota_of(&self, user: &User) -> Result<QuotaStatus> {
        self.live(user, &MailboxName::inbox()).await?;
        let user = user.clone();
        self.run(move |core| Ok(core.quota_status(&user, &core.account(user.as_str().as_bytes())?))).await
    }

    async fn set_quota(&self, user: &User, limits: Option<QuotaLimits>) -> Result<()> {
        let user = user.clone();
        let operation = move |group: &mut super::Group<'_>| {
            group.account(user.as_str().as_bytes())?.set_limits(limits);
            Ok(())
        };
        self.shared.committer.submit(operation).await
    }

    async fn quotas(&self) -> Result<Vec<QuotaStatus>> {
        self.run(|core| core.quotas()).await
    }

    async fn quota_warnings(&self) -> Result<Vec<QuotaWarning>> {
        loop {
            // Counted before looking, so that what comes after the look is not slept through.
            let raised = self.shared.lasting.warned.raised();
            let warnings = self.run(|core| core.warnings()).await?;
            if !warnings.is_empty() {
                return Ok(warnings);
            }
            self.shared.lasting.warned.wait(raised).await;
        }
    }

    async fn settle_warnings(&self, warnings: &[QuotaWarning]) -> Result<()> {
        let warnings = warnings.to_vec();
        let operation = move |group: &mut super::Group<'_>| {
            group.settle_warnings(&warnings);
            Ok(())
        };
        self.shared.committer.submit(operation).await
    }
}

impl<O: Offload + Clone> Acl for Embedded<O> {
    async fn access_list(&self, owner: &User, name: &MailboxName) -> Result<Vec<AclEntry>> {
        self.live(owner, name).await?;
        let (owner, name) = (owner.clone(), name.clone());
        self.run(move |core| core.access_list(&owner, &name)).await
    }

    async fn change_access(
        &self,
        owner: &User,
        name: &MailboxName,
        identifier: &Identifier,
        change: AclChange,
    ) -> Result<()> {
        let (owner, name, identifier) = (owner.clone(), name.clone(), identifier.clone());
        let operation =
            move |group: &mut super::Group<'_>| group.change_access(&owner, &name, &identifier, change);
        self.shared.committer.submit(operation).await
    }

    async fn shared_with(&self, who: &Identity) -> Result<Vec<SharedMailbox>> {
        let who = who.clone();
        self.run(move |core| core.shared_with(&who)).await
    }

    async fn listing(&self, subject: &Subject) -> Result<Vec<(User, MailboxName)>> {
        let subject = subject.clone();
        self.run(move |core| core.listing(&subject)).await
    }
}

impl<O: Offload + Clone> Metadata for Embedded<O> {
    async fn annotations(&self, place: &Annotated, reader: &User) -> Result<Vec<Annotation>> {
        if let Annotated::Mailbox { owner, name } = place {
            self.live(owner, name).await?;
        }
        let (place, reader) = (place.clone(), reader.clone());
        self.run(move |core| core.annotations(&place, &reader)).await
    }

    async fn annotate(
        &self,
        place: &Annotated,
        writer: &User,
        changes: &[(EntryName, Option<Bytes>)],
    ) -> Result<()> {
        let (place, writer, changes) = (place.clone(), writer.clone(), changes.to_vec());
        self.shared.committer.submit(move |group| group.annotate(&place, &writer, &changes)).await
    }
}

impl<O: Offload + Clone> Annotate for Embedded<O> {
    fn annotation_limits(&self) -> AnnotationLimits {
        self.shared.lasting.options.annotations
    }

    async fn message_annotations(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        reader: &User,
    ) -> Result<Vec<(Uid, Vec<MessageAnnotation>)>> {
        let (mailbox, uids, reader) = (mailbox.clone(), uids.clone(), reader.clone());
        self.run(move |core| core.message_annotations(&mailbox, &uids, &reader)).await
    }

    async fn annotate_messages(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        writer: &User,
        change: &AnnotationChange,
    ) -> Result<AnnotationsStored> {
        let (mailbox, uids) = (mailbox.clone(), uids.clone());
        let (writer, change) = (writer.clone(), change.clone());
        let operation =
            move |group: &mut super::Group<'_>| group.annotate_messages(&mailbox, &uids, &writer, &change);
        self.shared.committer.submit(operation).await
    }

    async fn copy_annotated(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        target: &MailboxName,
        carried: &Carried,
    ) -> Result<Copied> {
        let (mailbox, uids) = (mailbox.clone(), uids.clone());
        let (target, carried) = (target.clone(), carried.clone());
        let operation =
            move |group: &mut super::Group<'_>| group.copy_carrying(&mailbox, &uids, &target, &carried);
        self.shared.committer.submit(operation).await
    }

    async fn move_annotated(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        target: &MailboxName,
        carried: &Carried,
    ) -> Result<Copied> {
        let (mailbox, uids) = (mailbox.clone(), uids.clone());
        let (target, carried) = (target.clone(), carried.clone());
        let operation =
            move |group: &mut super::Group<'_>| group.move_carrying(&mailbox, &uids, &target, &carried);
        self.shared.committer.submit(operation).await
    }
}

impl<O: Offload + Clone> Origins for Embedded<O> {
    async fn deliveries(&self, messages: &[MessageRef]) -> Result<Vec<Option<Arc<Delivery>>>> {
        let messages = messages.to_vec();
        self.run(move |core| core.deliveries(&messages)).await
    }

    async fn unique_ids(&self, mailbox: &MailboxRef) -> Result<Vec<(Uid, String)>> {
        let mailbox = mailbox.clone();
        self.run(move |core| core.unique_ids(&mailbox)).await
    }
}

impl<O: Offload + Clone> Import for Embedded<O> {
    async fn adopt(
        &self,
        user: &User,
        name: &MailboxName,
        uid_validity: UidValidity,
        uid_next: Option<Uid>,
    ) -> Result<()> {
        let (user, name) = (user.clone(), name.clone());
        self.shared.committer.submit(move |group| group.adopt(&user, &name, uid_validity, uid_next)).await
    }
}

impl<O: Offload + Clone> Feed for Embedded<O> {
    async fn position(&self, user: &User) -> Result<FeedPosition> {
        Ok(self.shared.lasting.feeds.position(user.as_str().as_bytes()))
    }

    async fn after(&self, user: &User, since: FeedPosition) -> Result<News> {
        Ok(self.shared.lasting.feeds.after(user.as_str().as_bytes(), since).await)
    }
}

impl<O: Offload + Clone> Undelete for Embedded<O> {
    async fn expunged_messages(&self, user: &User) -> Result<Vec<ExpungedMessage>> {
        let user = user.clone();
        self.run(move |core| core.expunged_messages(&user)).await
    }

    async fn bring_back(&self, user: &User, id: ObjectId, target: &MailboxName) -> Result<Appended> {
        let (user, target) = (user.clone(), target.clone());
        self.shared.committer.submit(move |group| group.undelete(&user, id, &target)).await
    }
}
