//! What was expunged can be had back.

use mailwright_mail_model::MailboxName;

use super::{
    Outcome, append, ensure, equal, filled, flags, message, name, read_all, refused, some, user, writer,
};
use crate::{Expunge, Folders, ObjectId, Store, StoreError, Undelete, Write};

pub(super) async fn what_was_expunged_can_be_had_back(store: &impl Store) -> Outcome {
    let (user, inbox) = (user("undelete")?, MailboxName::inbox());
    let (mailbox, uids) = filled(store, &user, &["(\\Seen \\Deleted)", "()"]).await?;
    let facet = some(store.undelete(), "the undelete that was there before")?;
    ensure(facet.expunged_messages(&user).await?.is_empty(), "nothing before an expunge")?;
    let before = store.open(&user, &inbox).await?;
    let first = message(&before, some(uids.first().copied(), "a UID")?)?;
    writer(store)?.expunge(&mailbox, &Expunge::Deleted).await?;
    let kept = facet.expunged_messages(&user).await?;
    let found = some(kept.first(), "an expunged message")?;
    equal("how many", kept.len(), 1)?;
    equal("which", (found.uid, found.size, &found.mailbox), (first.uid, first.size, &inbox))?;
    equal("its date", found.internal_date, first.internal_date)?;
    refused(facet.bring_back(&user, found.id, &name("unknown")?).await, &StoreError::NotFound)?;
    refused(facet.bring_back(&user, ObjectId::from(u128::MAX), &inbox).await, &StoreError::NotFound)?;
    let back = facet.bring_back(&user, found.id, &inbox).await?;
    let snapshot = store.open(&user, &inbox).await?;
    ensure(back.uid > some(uids.last().copied(), "a UID")?, "a UID of its own")?;
    let again = message(&snapshot, back.uid)?;
    equal("flags", &again.flags, &flags("(\\Seen)")?)?;
    equal("octets", read_all(store, &mailbox.message(again), 100).await?, b"message 0\r\n".to_vec())?;
    refused(facet.bring_back(&user, found.id, &inbox).await, &StoreError::NotFound)?;
    ensure(facet.expunged_messages(&user).await?.is_empty(), "what is back is expunged no more")?;
    // So can be what was in a mailbox that is deleted.
    let (folders, gone) = (some(store.folders(), "the folders that were there before")?, name("Gone")?);
    folders.create(&user, &gone, None).await?;
    append(store, &user, &gone, "in a mailbox", "(\\Flagged)").await?;
    folders.delete(&user, &gone).await?;
    refused(store.open(&user, &gone).await, &StoreError::NotFound)?;
    let kept = facet.expunged_messages(&user).await?;
    let found = some(kept.first(), "the message of the mailbox")?;
    equal("where it was", (kept.len(), &found.mailbox), (1, &gone))?;
    let had = facet.bring_back(&user, found.id, &inbox).await?;
    let snapshot = store.open(&user, &inbox).await?;
    let again = message(&snapshot, had.uid)?;
    equal("flags", &again.flags, &flags("(\\Flagged)")?)?;
    equal("octets", read_all(store, &mailbox.message(again), 100).await?, b"in a mailbox".to_vec())?;
    // Somebody else's cannot be had.
    writer(store)?.expunge(&mailbox, &Expunge::Exactly(back.uid.into())).await?;
    let kept = facet.expunged_messages(&user).await?;
    let stranger = super::user("undelete-stranger")?;
    let id = some(kept.first(), "an expunged message")?.id;
    store.open(&stranger, &inbox).await?;
    refused(facet.bring_back(&stranger, id, &inbox).await, &StoreError::NotFound)
}
