//! A user goes, and with them all that is kept of them.

use bytes::Bytes;
use mailwright_mail_model::{AnnotationEntry, AnnotationScope, MailboxName, UidSet};

use super::folders::{folders, names};
use super::sharing::{entry, give};
use super::{Outcome, append, ensure, equal, filled, name, some, user};
use crate::{
    Acl, Annotate, Annotated, AnnotationChange, Folders, Identity, Metadata, Quota, QuotaLimits, Scripts,
    Store, Undelete,
};

pub(super) async fn who_is_erased_begins_anew(store: &impl Store) -> Outcome {
    let (user, other, folders, inbox) =
        (user("erase")?, user("stays")?, folders(store)?, MailboxName::inbox());
    folders.erase(&user).await?;
    folders.create(&user, &name("a/b")?, None).await?;
    folders.subscribe(&user, &name("a/b")?).await?;
    for owner in [&user, &other] {
        append(store, owner, &inbox, "text", "()").await?;
    }
    append(store, &user, &name("a/b")?, "more", "()").await?;
    let before = store.open(&user, &inbox).await?;
    if let Some(quota) = store.quota() {
        quota.set_quota(&user, Some(QuotaLimits::NONE.messages(Some(1_000)))).await?;
    }
    folders.erase(&user).await?;
    if let Some(quota) = store.quota() {
        let left = quota.quotas().await?;
        ensure(!left.iter().any(|status| status.user == user), "nobody of that name among all")?;
        ensure(!quota.quota_of(&user).await?.own, "no limits of their own")?;
    }
    equal("names", names(store, &user).await?, vec!["INBOX".to_owned()])?;
    let after = store.open(&user, &inbox).await?;
    ensure(after.is_empty(), "an empty INBOX")?;
    ensure(after.uid_validity() != before.uid_validity(), "another UIDVALIDITY")?;
    equal("subscriptions", folders.subscriptions(&user).await?, Vec::new())?;
    if let Some(undelete) = store.undelete() {
        ensure(undelete.expunged_messages(&user).await?.is_empty(), "nothing to be had back")?;
    }
    if let Some(scripts) = store.scripts() {
        ensure(scripts.all_scripts(&user).await?.is_empty(), "no scripts")?;
    }
    equal("messages of another", store.open(&other, &inbox).await?.len(), 1)?;
    append(store, &user, &inbox, "anew", "()").await?;
    equal("messages", store.open(&user, &inbox).await?.len(), 1)
}

/// Whoever has the name next is somebody else, and must not find what the one before noted.
pub(super) async fn nothing_private_is_left_with_others(store: &impl Store) -> Outcome {
    // Names of one length, so that a store may count them too.
    let (owner, guest, other) = (user("erase-owner")?, user("erase-guest")?, user("erase-third")?);
    let inbox = MailboxName::inbox();
    let metadata = some(store.metadata(), "the metadata that was there before")?;
    let places = [Annotated::Mailbox { owner: owner.clone(), name: inbox.clone() }, Annotated::Server];
    store.open(&owner, &inbox).await?;
    let used = used(store, &owner).await?;
    let (private, value) = (entry("/private/comment")?, Some(Bytes::from_static(b"private")));
    for place in &places {
        for who in [&guest, &other] {
            metadata.annotate(place, who, &[(private.clone(), value.clone())]).await?;
        }
    }
    let noted = self::used(store, &owner).await?;
    folders(store)?.erase(&guest).await?;
    for place in &places {
        let left = metadata.annotations(place, &guest).await?;
        ensure(left.iter().all(|left| !left.entry.is_private()), "nothing private of who was erased")?;
        let kept = metadata.annotations(place, &other).await?;
        let kept = kept.into_iter().filter(|kept| kept.entry.is_private());
        equal("of another", kept.map(|kept| kept.entry).collect(), vec![private.clone()])?;
    }
    if let (Some(used), Some(noted), Some(left)) = (used, noted, self::used(store, &owner).await?) {
        // A store need not count annotations; what it has counted it takes back.
        equal("annotations that count", left - used, (noted - used) / 2)?;
    }
    // Nor with the mailboxes of the one who is erased.
    folders(store)?.erase(&owner).await?;
    store.open(&owner, &inbox).await?;
    for who in [&owner, &other] {
        let [mailbox, _] = &places;
        equal("of the new mailbox", metadata.annotations(mailbox, who).await?, Vec::new())?;
    }
    Ok(())
}

async fn used(store: &impl Store, user: &crate::User) -> Outcome<Option<u64>> {
    let Some(quota) = store.quota() else { return Ok(None) };
    Ok(Some(quota.quota_of(user).await?.usage.annotations))
}

pub(super) async fn no_private_note_is_left_with_others(store: &impl Store) -> Outcome {
    let (owner, guest) = (user("erase-noted")?, user("erase-noting")?);
    let (mailbox, uids) = filled(store, &owner, &["()", "()"]).await?;
    let annotator = some(store.annotator(), "the annotations that were there before")?;
    let (all, before) = (uids.into_iter().collect::<UidSet>(), used(store, &owner).await?);
    let comment: AnnotationEntry = some("/comment".parse().ok(), "the name of an entry")?;
    for (who, scope) in [(&guest, AnnotationScope::Private), (&owner, AnnotationScope::Private)] {
        let value = Some(Bytes::from_static(b"note"));
        let change = AnnotationChange::new(vec![(comment.clone(), scope, value)]);
        annotator.annotate_messages(&mailbox, &all, who, &change).await?;
    }
    let noted = used(store, &owner).await?;
    folders(store)?.erase(&guest).await?;
    equal("of who was erased", annotator.message_annotations(&mailbox, &all, &guest).await?, Vec::new())?;
    equal("of the owner", annotator.message_annotations(&mailbox, &all, &owner).await?.len(), 2)?;
    if let (Some(before), Some(noted), Some(left)) = (before, noted, used(store, &owner).await?) {
        equal("annotations that count", left - before, (noted - before) / 2)?;
    }
    Ok(())
}

pub(super) async fn nothing_is_shared_any_more(store: &impl Store) -> Outcome {
    let (owner, guest) = (user("erase-sharing")?, user("erase-shared")?);
    let (inbox, box_name) = (MailboxName::inbox(), name("Shared")?);
    let acl = some(store.acl(), "the access control that was there before")?;
    folders(store)?.create(&owner, &box_name, None).await?;
    for place in [&inbox, &box_name] {
        give(store, &owner, place, guest.as_str(), "lr").await?;
    }
    folders(store)?.erase(&owner).await?;
    let guest = Identity::new(guest);
    ensure(acl.shared_with(&guest).await?.is_empty(), "nothing of who was erased is shared")?;
    append(store, &owner, &inbox, "anew", "()").await?;
    folders(store)?.create(&owner, &box_name, None).await?;
    for place in [&inbox, &box_name] {
        equal("the list of a new mailbox", acl.access_list(&owner, place).await?, Vec::new())?;
    }
    ensure(acl.shared_with(&guest).await?.is_empty(), "nothing of who was erased is shared")
}
