//! What is no mailbox, or no more: nothing is found there, and nothing changes.

use std::sync::Arc;

use bytes::Bytes;
use mailwright_mail_model::{AnnotationScope, ModSeq, UidSet, UidValidity};

use super::{
    Outcome, append, date, ensure, equal, filled, flags, message, name, refused, some, user, writer,
};
use crate::{
    Annotate, AnnotationChange, Carried, Changes, Expunge, FlagChange, FlagOperation, Folders, MailboxRef,
    Origins, Snapshot, Status, Store, StoreError, Target, Write,
};

/// What a mailbox is, and how many of its messages are recent.
async fn state(store: &impl Store, place: &MailboxRef) -> Outcome<(Arc<Snapshot>, Status)> {
    let (user, name) = (place.user(), place.name());
    Ok((store.open(user, name).await?, store.status(user, name).await?))
}

/// Another UIDVALIDITY than that of the mailbox.
fn stale(mailbox: &MailboxRef) -> Outcome<MailboxRef> {
    let other = some(another(mailbox.uid_validity()), "a UIDVALIDITY")?;
    Ok(MailboxRef::with_validity(mailbox.user().clone(), mailbox.name().clone(), other))
}

fn another(validity: UidValidity) -> Option<UidValidity> {
    // There is no UIDVALIDITY of 0.
    let near = UidValidity::new(validity.get() ^ 1);
    near.or_else(|| UidValidity::new(validity.get() ^ 2))
}

/// Every method that takes `gone` refuses it. `now` has its name, and keeps what it has, as does `target`.
async fn nothing_is_found(
    store: &impl Store,
    gone: &MailboxRef,
    now: &MailboxRef,
    target: &MailboxRef,
    uids: &UidSet,
) -> Outcome {
    let before = (state(store, now).await?, state(store, target).await?);
    // Compared behind each refusal: a store may do what it says that it does not.
    macro_rules! refuses {
        ($what:literal, $call:expr) => {
            refused($call.await, &StoreError::NotFound).map_err(|wrong| wrong.within($what))?;
            equal($what, (state(store, now).await?, state(store, target).await?), before.clone())?;
        };
    }
    let writer = writer(store)?;
    for operation in [FlagOperation::Add, FlagOperation::Remove, FlagOperation::Replace] {
        let change = FlagChange::new(operation, flags("(\\Deleted Stale)")?);
        refuses!("STORE", writer.store_flags(gone, uids, &change));
    }
    refuses!("EXPUNGE", writer.expunge(gone, &Expunge::Deleted));
    refuses!("UID EXPUNGE", writer.expunge(gone, &Expunge::DeletedAmong(uids.clone())));
    refuses!("an expunge of a set", writer.expunge(gone, &Expunge::Exactly(uids.clone())));
    for into in [now.name(), target.name()] {
        refuses!("COPY", writer.copy(gone, uids, into));
        refuses!("MOVE", writer.move_to(gone, uids, into));
    }
    // A store that keeps no count of recent messages knows nothing of any mailbox's.
    match writer.claim_recent(gone).await {
        Ok(None) => {}
        claimed => refused(claimed, &StoreError::NotFound).map_err(|wrong| wrong.within("\\Recent"))?,
    }
    equal("\\Recent", (state(store, now).await?, state(store, target).await?), before.clone())?;
    if let Some(changes) = store.changes() {
        refuses!("what was expunged", changes.expunged(gone, ModSeq::ZERO));
    }
    if let Some(origins) = store.origins() {
        refuses!("unique ids", origins.unique_ids(gone));
    }
    if let Some(annotator) = store.annotator() {
        let entry = some("/comment".parse().ok(), "the name of an entry")?;
        let value = Some(Bytes::from_static(b"stale"));
        let change = AnnotationChange::new(vec![(entry, AnnotationScope::Shared, value)]);
        let (reader, carried) = (gone.user(), Carried::new(Some(gone.user().clone()), true));
        refuses!("annotations", annotator.message_annotations(gone, uids, reader));
        refuses!("STORE ANNOTATION", annotator.annotate_messages(gone, uids, reader, &change));
        let noted = annotator.message_annotations(now, uids, reader).await?;
        equal("annotations", noted, Vec::new())?;
        for into in [now.name(), target.name()] {
            refuses!("COPY with annotations", annotator.copy_annotated(gone, uids, into, &carried));
            refuses!("MOVE with annotations", annotator.move_annotated(gone, uids, into, &carried));
        }
    }
    if writer.takes_several() {
        let mut upload = writer.begin(None).await?;
        upload.write(Bytes::from_static(b"draft 2")).await?;
        upload.replace(gone, uids)?;
        let into = Target::new(target.user().clone(), target.name().clone(), date()?);
        // RFC 8508 §3.4: one that is gone by then is no error, as little as a mailbox that is.
        let replaced = upload.commit(&[into]).await;
        equal("REPLACE", state(store, now).await?, before.0)?;
        if replaced.is_err() {
            equal("REPLACE", state(store, target).await?, before.1)?;
        }
    }
    Ok(())
}

pub(super) async fn references_of_another_mailbox_find_nothing(store: &impl Store) -> Outcome {
    let user = user("stale")?;
    let (mailbox, uids) = filled(store, &user, &["(\\Deleted)", "(\\Seen)"]).await?;
    let uids = uids.into_iter().collect();
    let mut target = mailbox.clone();
    if let Some(folders) = store.folders() {
        let archive = name("Archive")?;
        folders.create(&user, &archive, None).await?;
        target = MailboxRef::new(user.clone(), archive.clone(), &*store.open(&user, &archive).await?);
    }
    nothing_is_found(store, &stale(&mailbox)?, &mailbox, &target, &uids).await
}

/// A session that has it selected goes on asking for what it saw there.
pub(super) async fn a_mailbox_made_again_keeps_what_it_has(store: &impl Store) -> Outcome {
    let (user, again) = (user("again-stale")?, name("again")?);
    let folders = some(store.folders(), "the folders that were there before")?;
    folders.create(&user, &again, None).await?;
    let old = append(store, &user, &again, "the old message\r\n", "()").await?;
    let seen = store.open(&user, &again).await?;
    let gone = MailboxRef::new(user.clone(), again.clone(), &seen);
    let reference = gone.message(message(&seen, old.uid)?);
    folders.delete(&user, &again).await?;
    folders.create(&user, &again, None).await?;
    let mut uids = UidSet::from(old.uid);
    // Its UIDs may begin anew.
    for text in ["the new message\r\n", "another message\r\n"] {
        uids = uids.union(&append(store, &user, &again, text, "(\\Deleted)").await?.uid.into());
    }
    let snapshot = store.open(&user, &again).await?;
    let now = MailboxRef::new(user.clone(), again, &snapshot);
    // For a while the message that was meant may be there, another never.
    match store.read(&reference, 0..reference.size).await {
        Ok(octets) => ensure(b"the old message\r\n".starts_with(&octets), "no octets of another message")?,
        other => refused(other, &StoreError::NotFound)?,
    }
    let together = store.read_together(&[reference]).await?;
    let right = together.iter().flatten().all(|octets| octets == "the old message\r\n");
    ensure(right && together.len() == 1, "no octets of another message")?;
    let (inbox, _) = filled(store, &user, &["()"]).await?;
    nothing_is_found(store, &gone, &now, &inbox, &uids).await
}

/// The same where the mailbox of that name has gone, and nothing came for it.
pub(super) async fn a_deleted_mailbox_is_not_found(store: &impl Store) -> Outcome {
    let (user, box_name) = (user("deleted")?, name("deleted")?);
    let folders = some(store.folders(), "the folders that were there before")?;
    folders.create(&user, &box_name, None).await?;
    let uids = append(store, &user, &box_name, "text", "()").await?.uid.into();
    let gone = MailboxRef::new(user.clone(), box_name.clone(), &*store.open(&user, &box_name).await?);
    folders.delete(&user, &box_name).await?;
    let (inbox, _) = filled(store, &user, &["(\\Deleted)"]).await?;
    let before = state(store, &inbox).await?;
    let writer = writer(store)?;
    let seen = FlagChange::new(FlagOperation::Add, flags("(\\Seen)")?);
    refused(writer.store_flags(&gone, &uids, &seen).await, &StoreError::NotFound)?;
    refused(writer.expunge(&gone, &Expunge::Exactly(uids.clone())).await, &StoreError::NotFound)?;
    refused(writer.copy(&gone, &uids, inbox.name()).await, &StoreError::NotFound)?;
    refused(writer.move_to(&gone, &uids, inbox.name()).await, &StoreError::NotFound)?;
    if let Some(changes) = store.changes() {
        refused(changes.expunged(&gone, ModSeq::ZERO).await, &StoreError::NotFound)?;
    }
    equal("another mailbox", state(store, &inbox).await?, before)?;
    refused(store.open(&user, &box_name).await, &StoreError::NotFound)
}

/// RFC 6851 §3.3: a move is a copy and an expunge as one change. Where nothing can be copied, nothing goes.
pub(super) async fn nothing_goes_where_there_is_no_mailbox(store: &impl Store) -> Outcome {
    let (user, unknown) = (user("nowhere")?, name("conformance-unknown")?);
    let (mailbox, uids) = filled(store, &user, &["(\\Deleted)", "(\\Seen)"]).await?;
    let (uids, writer): (UidSet, _) = (uids.into_iter().collect(), writer(store)?);
    let before = state(store, &mailbox).await?;
    refused(writer.copy(&mailbox, &uids, &unknown).await, &StoreError::NotFound)?;
    equal("COPY", state(store, &mailbox).await?, before.clone())?;
    refused(writer.move_to(&mailbox, &uids, &unknown).await, &StoreError::NotFound)?;
    equal("MOVE", state(store, &mailbox).await?, before.clone())?;
    if let Some(annotator) = store.annotator() {
        let carried = Carried::new(Some(user.clone()), true);
        let copied = annotator.copy_annotated(&mailbox, &uids, &unknown, &carried).await;
        refused(copied, &StoreError::NotFound)?;
        equal("COPY with annotations", state(store, &mailbox).await?, before.clone())?;
        let moved = annotator.move_annotated(&mailbox, &uids, &unknown, &carried).await;
        refused(moved, &StoreError::NotFound)?;
        equal("MOVE with annotations", state(store, &mailbox).await?, before.clone())?;
    }
    if writer.takes_several() {
        let mut upload = writer.begin(None).await?;
        upload.write(Bytes::from_static(b"draft 2")).await?;
        upload.replace(&mailbox, &uids)?;
        let into = Target::new(user.clone(), unknown.clone(), date()?);
        refused(upload.commit(&[into]).await.map_err(|failed| failed.error), &StoreError::NotFound)?;
        equal("REPLACE", state(store, &mailbox).await?, before)?;
    }
    refused(store.open(&user, &unknown).await, &StoreError::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_every_uid_validity_there_is_another() {
        for number in [1, 2, 3, 1_700_000_000, u32::MAX] {
            let validity = UidValidity::new(number).unwrap();
            assert!(another(validity).is_some_and(|other| other != validity), "{number}");
        }
    }
}
