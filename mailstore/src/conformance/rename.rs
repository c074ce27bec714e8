//! RENAME, and what DELETE leaves.

use mailwright_mail_model::{MailboxName, SpecialUse};

use super::folders::{folders, names};
use super::{Outcome, append, ensure, equal, filled, name, refused, some, user, writer};
use crate::{Changes, Expunge, Folders, MailboxRef, Store, StoreError, Write};

pub(super) async fn a_new_name_keeps_messages_and_children(store: &impl Store) -> Outcome {
    let (user, folders) = (user("rename")?, folders(store)?);
    folders.create(&user, &name("old/child")?, None).await?;
    folders.create(&user, &name("older")?, None).await?;
    let appended = append(store, &user, &name("old")?, "in old", "()").await?;
    let inside = append(store, &user, &name("old/child")?, "in child", "()").await?;
    folders.rename(&user, &name("old")?, &name("far/new")?).await?;
    let expected = ["INBOX", "far", "far/new", "far/new/child", "older"].map(str::to_owned);
    equal("names", names(store, &user).await?, expected.to_vec())?;
    for (renamed, appended) in [("far/new", appended), ("far/new/child", inside)] {
        let snapshot = store.open(&user, &name(renamed)?).await?;
        equal("UIDVALIDITY", snapshot.uid_validity(), appended.uid_validity)?;
        equal("messages", snapshot.uids(), appended.uid.into())?;
        let next = append(store, &user, &name(renamed)?, "more", "()").await?;
        ensure(next.uid > appended.uid, "UIDs go on")?;
    }
    refused(store.open(&user, &name("old")?).await, &StoreError::NotFound)?;
    // The old name is free.
    folders.create(&user, &name("old")?, None).await?;
    let snapshot = store.open(&user, &name("old")?).await?;
    ensure(snapshot.is_empty() && snapshot.uid_validity() != appended.uid_validity, "a new mailbox")
}

pub(super) async fn inbox_is_emptied_by_a_new_name(store: &impl Store) -> Outcome {
    let (user, folders, inbox) = (user("inbox")?, folders(store)?, MailboxName::inbox());
    folders.create(&user, &name("INBOX/child")?, None).await?;
    let (mailbox, numbers) = filled(store, &user, &["(\\Seen)", "()"]).await?;
    let old = store.open(&user, &inbox).await?;
    folders.rename(&user, &inbox, &name("kept")?).await?;
    equal("names", names(store, &user).await?, ["INBOX", "INBOX/child", "kept"].map(str::to_owned).to_vec())?;
    let (emptied, kept) = (store.open(&user, &inbox).await?, store.open(&user, &name("kept")?).await?);
    ensure(emptied.is_empty(), "INBOX is empty")?;
    equal("messages", (kept.len(), kept.unseen(), kept.size()), (2, 1, old.size()))?;
    ensure(kept.uid_validity() != old.uid_validity(), "the new mailbox has a UIDVALIDITY of its own")?;
    if emptied.uid_validity() == mailbox.uid_validity() {
        let last = some(numbers.last().copied(), "a UID")?;
        ensure(emptied.uid_next() > Some(last), "UIDs of INBOX are not used again")?;
    }
    let place = MailboxRef::new(user.clone(), name("kept")?, &kept);
    let first = some(kept.messages().next(), "a message")?;
    equal("octets", super::read_all(store, &place.message(first), 99).await?, b"message 0\r\n".to_vec())?;
    append(store, &user, &inbox, "next", "()").await?;
    equal("messages", store.open(&user, &inbox).await?.len(), 1)
}

pub(super) async fn a_new_name_keeps_what_the_mailbox_is(store: &impl Store) -> Outcome {
    let (user, folders) = (user("rename-keeps")?, folders(store)?);
    let (sent, new) = (name("Sent")?, name("Mail/Gesendet")?);
    let made = folders.create(&user, &sent, Some(SpecialUse::Sent)).await?;
    let gone = append(store, &user, &sent, "gone", "()").await?.uid;
    append(store, &user, &sent, "kept", "(\\Seen Work)").await?;
    let before = store.open(&user, &sent).await?;
    let mailbox = MailboxRef::new(user.clone(), sent.clone(), &before);
    writer(store)?.expunge(&mailbox, &Expunge::Exactly(gone.into())).await?;
    let expunged = store.open(&user, &sent).await?;
    folders.rename(&user, &sent, &new).await?;
    let after = store.open(&user, &new).await?;
    equal("the mailbox", &*after, &*expunged)?;
    let listed = store.mailboxes(&user).await?.into_iter().find(|mailbox| mailbox.name == new);
    let listed = some(listed, "the mailbox in the list")?;
    equal("special use", listed.special_use, Some(SpecialUse::Sent))?;
    // RFC 8474 §4: a mailbox keeps its MAILBOXID.
    equal("identity", listed.id, made.id)?;
    if let Some(changes) = store.changes() {
        let mailbox = MailboxRef::new(user.clone(), new, &after);
        let known = changes.expunged(&mailbox, before.highest_modseq()).await?;
        ensure(known.is_none_or(|known| known == gone.into()), "what was expunged, or that nobody knows")?;
    }
    Ok(())
}

pub(super) async fn subscriptions_stay_with_the_name(store: &impl Store) -> Outcome {
    let (user, folders) = (user("subscribed")?, folders(store)?);
    for text in ["Kept", "Gone", "Renamed/Below"] {
        folders.create(&user, &name(text)?, None).await?;
    }
    let subscribed = ["Gone", "Kept", "Renamed", "Renamed/Below"];
    for text in subscribed {
        folders.subscribe(&user, &name(text)?).await?;
    }
    // RFC 9051 §6.3.7: nobody unsubscribes but the user.
    folders.delete(&user, &name("Gone")?).await?;
    folders.rename(&user, &name("Renamed")?, &name("New")?).await?;
    let now = folders.subscriptions(&user).await?;
    equal(
        "subscriptions",
        now.iter().map(ToString::to_string).collect(),
        subscribed.map(str::to_owned).to_vec(),
    )
}

/// RFC 9051 §2.3.1.1: a name and a UIDVALIDITY with it mean one mailbox for good, whatever way another comes by the name.
pub(super) async fn a_name_taken_by_another_has_its_own_uid_validity(store: &impl Store) -> Outcome {
    let (user, folders) = (user("taken")?, folders(store)?);
    let (name_a, name_b) = (name("A")?, name("B")?);
    folders.create(&user, &name_a, None).await?;
    folders.create(&user, &name_b, None).await?;
    let first = append(store, &user, &name_a, "of A", "()").await?;
    append(store, &user, &name_b, "of B", "()").await?;
    folders.delete(&user, &name_a).await?;
    folders.rename(&user, &name_b, &name_a).await?;
    let now = store.open(&user, &name_a).await?.uid_validity();
    ensure(now != first.uid_validity, "another UIDVALIDITY than the mailbox had that was called so before")?;
    // A chain of names: each is somebody else's by then.
    for (from, to) in [("A", "C"), ("C", "B")] {
        folders.rename(&user, &name(from)?, &name(to)?).await?;
    }
    equal("UIDVALIDITY", store.open(&user, &name_b).await?.uid_validity(), now)
}
