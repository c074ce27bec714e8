//! Mailboxes are made, renamed and deleted.

use mailwright_mail_model::{MailboxName, SpecialUse};

use super::{Outcome, append, ensure, equal, filled, name, refused, some, user};
use crate::{Folders, Store, StoreError, User};

pub(super) fn folders(store: &impl Store) -> Outcome<&impl Folders> {
    some(store.folders(), "the folders that were there before")
}

pub(super) async fn names(store: &impl Store, user: &User) -> Outcome<Vec<String>> {
    let mut names: Vec<_> =
        store.mailboxes(user).await?.iter().map(|mailbox| mailbox.name.to_string()).collect();
    names.sort();
    Ok(names)
}

pub(super) async fn mailboxes_are_made_with_those_above(store: &impl Store) -> Outcome {
    let user = user("create")?;
    let made = folders(store)?.create(&user, &name("a/b/c")?, Some(SpecialUse::Sent)).await?;
    equal("special use", made.special_use, Some(SpecialUse::Sent))?;
    equal("names", names(store, &user).await?, ["INBOX", "a", "a/b", "a/b/c"].map(str::to_owned).to_vec())?;
    let listed = store.mailboxes(&user).await?;
    equal("in the list", listed.into_iter().find(|mailbox| mailbox.name == made.name), Some(made))?;
    refused(folders(store)?.create(&user, &name("a/b")?, None).await, &StoreError::Exists)?;
    // Others below it stay, and so does the name of what is not there as a mailbox.
    folders(store)?.delete(&user, &name("a")?).await?;
    equal("names", names(store, &user).await?, ["INBOX", "a/b", "a/b/c"].map(str::to_owned).to_vec())?;
    refused(folders(store)?.delete(&user, &name("a")?).await, &StoreError::NotFound)?;
    refused(store.open(&user, &name("a")?).await, &StoreError::NotFound)
}

pub(super) async fn subscriptions_need_no_mailbox(store: &impl Store) -> Outcome {
    let (user, folders) = (user("subscribe")?, folders(store)?);
    for wanted in ["z", "INBOX", "z"] {
        folders.subscribe(&user, &name(wanted)?).await?;
    }
    equal("subscriptions", folders.subscriptions(&user).await?, vec![MailboxName::inbox(), name("z")?])?;
    folders.unsubscribe(&user, &name("z")?).await?;
    folders.unsubscribe(&user, &name("never")?).await?;
    equal("subscriptions", folders.subscriptions(&user).await?, vec![MailboxName::inbox()])
}

pub(super) async fn names_that_cannot_be(store: &impl Store) -> Outcome {
    let (user, folders, inbox) = (user("wrong")?, folders(store)?, MailboxName::inbox());
    let invalid = StoreError::Invalid(String::new());
    folders.create(&user, &name("x")?, None).await?;
    folders.create(&user, &name("y")?, None).await?;
    refused(folders.create(&user, &inbox, None).await, &StoreError::Exists)?;
    refused(folders.delete(&user, &inbox).await, &invalid)?;
    refused(folders.rename(&user, &name("x")?, &name("y")?).await, &StoreError::Exists)?;
    refused(folders.rename(&user, &name("x")?, &inbox).await, &StoreError::Exists)?;
    refused(folders.rename(&user, &inbox, &name("y")?).await, &StoreError::Exists)?;
    refused(folders.rename(&user, &name("x")?, &name("x/y")?).await, &invalid)?;
    refused(folders.rename(&user, &name("nowhere")?, &name("z")?).await, &StoreError::NotFound)?;
    equal("names", names(store, &user).await?, ["INBOX", "x", "y"].map(str::to_owned).to_vec())
}

pub(super) async fn a_name_made_again_is_another_mailbox(store: &impl Store) -> Outcome {
    let (user, box_name, folders) = (user("again")?, name("box")?, folders(store)?);
    let first = folders.create(&user, &box_name, None).await?;
    let before = store.open(&user, &box_name).await?;
    folders.delete(&user, &box_name).await?;
    let second = folders.create(&user, &box_name, None).await?;
    let after = store.open(&user, &box_name).await?;
    ensure(before.uid_validity() < after.uid_validity(), "another, higher UIDVALIDITY")?;
    ensure(first.id.is_none() || first.id != second.id, "another identity")?;
    ensure(after.is_empty(), "no messages")
}

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
    let place = crate::MailboxRef::new(user.clone(), name("kept")?, &kept);
    let first = some(kept.messages().next(), "a message")?;
    equal("octets", super::read_all(store, &place.message(first), 99).await?, b"message 0\r\n".to_vec())?;
    append(store, &user, &inbox, "next", "()").await?;
    equal("messages", store.open(&user, &inbox).await?.len(), 1)
}
