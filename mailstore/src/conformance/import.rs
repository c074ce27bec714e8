//! Mailboxes are taken over, and messages keep where they came from.

use std::sync::Arc;

use bytes::Bytes;
use mailwright_mail_model::{DateTime, MailboxName, Uid, UidValidity};

use super::{Outcome, append, date, ensure, equal, message, name, refused, some, user, writer};
use crate::{Delivery, Folders, Import, MailboxRef, Origins, Store, StoreError, Target, Write};

pub(super) async fn origins_go_along_with_copies(store: &impl Store) -> Outcome {
    let (user, inbox) = (user("origins")?, MailboxName::inbox());
    let origins = some(store.origins(), "the origins that were there before")?;
    let delivery = Delivery::new("", "me@example.org").original_recipient("rfc822;alias@example.org");
    let mut upload = writer(store)?.begin(None).await?;
    upload.write(Bytes::from_static(b"text")).await?;
    let target = Target::new(user.clone(), inbox.clone(), date()?)
        .with_unique_id("0000000A4b2c")
        .with_delivery(Arc::new(delivery.clone()));
    let bad = target.clone().with_unique_id("with space");
    refused(upload.commit(&[bad]).await.map_err(|error| error.error), &StoreError::Invalid(String::new()))?;
    let uid = some(upload.commit(&[target]).await?.first().copied(), "an answer")?.uid;
    append(store, &user, &inbox, "without", "()").await?;
    let mailbox = MailboxRef::new(user.clone(), inbox.clone(), &*store.open(&user, &inbox).await?);
    let copied = writer(store)?.copy(&mailbox, &uid.into(), &inbox).await?;
    let copy = some(copied.target.first(), "a copy")?;
    let snapshot = store.open(&user, &inbox).await?;
    let messages: Vec<_> = snapshot.messages().map(|message| mailbox.message(message)).collect();
    let known = origins.deliveries(&messages).await?;
    let known: Vec<_> = known.iter().map(|known| known.as_deref().cloned()).collect();
    equal("deliveries", known, vec![Some(delivery.clone()), None, Some(delivery)])?;
    let ids = vec![(uid, "0000000A4b2c".to_owned()), (copy, "0000000A4b2c".to_owned())];
    equal("unique ids", origins.unique_ids(&mailbox).await?, ids)?;
    writer(store)?.expunge(&mailbox, &crate::Expunge::Exactly(uid.into())).await?;
    equal("unique ids", origins.unique_ids(&mailbox).await?.len(), 1)
}

pub(super) async fn a_mailbox_keeps_its_numbers(store: &impl Store) -> Outcome {
    let (user, moved) = (user("import")?, name("Moved")?);
    let import = some(store.import(), "the import that was there before")?;
    let folders = some(store.folders(), "the folders that were there before")?;
    folders.create(&user, &moved, None).await?;
    let validity = some(UidValidity::new(77), "a UIDVALIDITY")?;
    let uid = |number| some(Uid::new(number), "a UID");
    import.adopt(&user, &moved, validity, Some(uid(500)?)).await?;
    let snapshot = store.open(&user, &moved).await?;
    equal("numbers", (snapshot.uid_validity(), snapshot.uid_next()), (validity, Some(uid(500)?)))?;
    equal("numbers", store.status(&user, &moved).await?.uid_validity, validity)?;
    let date = date()?;
    let saved = some(DateTime::new(date.seconds() + 86_400, 0), "a date")?;
    let put = async |number: u32| -> Outcome<crate::Result<Uid>> {
        let mut upload = writer(store)?.begin(None).await?;
        upload.write(Bytes::from_static(b"text")).await?;
        let target = Target::new(user.clone(), moved.clone(), date).with_uid(uid(number)?).with_saved(saved);
        let appended = upload.commit(&[target]).await.map_err(|error| error.error);
        Ok(appended.map(|appended| appended.first().map_or(Uid::MIN, |appended| appended.uid)))
    };
    equal("the UID that was given", put(512).await?, Ok(uid(512)?))?;
    equal("the UID that was given", put(700).await?, Ok(uid(700)?))?;
    refused(put(600).await?, &StoreError::Exists)?;
    let next = append(store, &user, &moved, "later", "()").await?;
    equal("the next one", (next.uid, next.uid_validity), (uid(701)?, validity))?;
    // A second run may raise UIDNEXT, but not renumber what is there.
    import.adopt(&user, &moved, validity, Some(uid(900)?)).await?;
    import.adopt(&user, &moved, validity, Some(uid(10)?)).await?;
    let snapshot = store.open(&user, &moved).await?;
    equal("messages", snapshot.uids().to_string(), "512,700:701".to_owned())?;
    equal("UIDNEXT", snapshot.uid_next(), Some(uid(900)?))?;
    let taken = message(&snapshot, uid(512)?)?;
    equal("the date it arrived", taken.internal_date, date)?;
    // RFC 8514: a store that knows when messages were saved takes that over, too.
    ensure(taken.saved().is_none_or(|known| known.seconds() == saved.seconds()), "the date it was saved")?;
    let other = some(UidValidity::new(78), "a UIDVALIDITY")?;
    refused(import.adopt(&user, &moved, other, None).await, &StoreError::Exists)?;
    // A mailbox made later has another.
    folders.create(&user, &name("Later")?, None).await?;
    let later = store.open(&user, &name("Later")?).await?.uid_validity();
    ensure(later != validity, "a UIDVALIDITY of its own")
}
